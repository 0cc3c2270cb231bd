"""Folding, n-grams and pinyin: whatever part of a text one types, the index knows it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.search import fold, grams, index_text, query_grams, terms

anything = st.text()
# What people and documents type; loose accents, which join what stood apart before folding, are left out.
typed = st.text(st.characters(exclude_categories=["Cs", "Lm", "Mc", "Me", "Mn", "Sk"]))
folded = anything.map(fold)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("县发改局", "县发改局"),
        ("FGJ", "fgj"),
        ("\uff26\uff27\uff2a", "fgj"),
        ("5G 基站", "5g基站"),
        ("湘易办\u3000\t\n", "湘易办"),
        ("\uff08一期\uff09", "(一期)"),
        ("\uff13\uff13\uff12万人次", "332万人次"),
        ("㎡", "m2"),
        ("", ""),
    ],
)
def test_width_case_and_blanks_do_not_matter(text: str, expected: str) -> None:
    assert fold(text) == expected


@given(typed)
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(anything)
def test_nothing_folded_has_a_blank(text: str) -> None:
    assert not any(character.isspace() for character in fold(text))


@given(typed, st.sampled_from([" ", "\u3000", "\n", "\t"]), st.data())
def test_a_blank_anywhere_changes_nothing(text: str, blank: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    assert fold(text[:at] + blank + text[at:]) == fold(text)


@given(folded.filter(bool), st.data())
def test_every_part_of_a_folded_text_is_found_by_its_grams(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    part = text[start : data.draw(st.integers(start + 1, len(text)))]
    assert query_grams(part) <= grams(text)


@given(folded)
def test_grams_are_the_characters_and_the_pairs_of_neighbours(text: str) -> None:
    found = grams(text)
    assert {gram for gram in found if len(gram) == 1} == set(text)
    assert {gram for gram in found if len(gram) != 1} == {a + b for a, b in pairwise(text)}


def test_a_longer_query_needs_pairs_only() -> None:
    assert query_grams("局") == {"局"}
    assert query_grams("发改局") == {"发改", "改局"}


@given(anything)
def test_the_words_of_a_query_are_folded_without_blanks_or_repetition(query: str) -> None:
    words = terms(query)
    assert all(words)
    assert len(words) == len(set(words))
    assert {fold(word) for word in query.split()} - {""} == set(words)


def test_words_keep_their_order() -> None:
    assert terms(" 农田\u3000县发改局 FGJ fgj 农田 ") == ["农田", "县发改局", "fgj"]
    assert terms(" \u3000\t") == []


def test_a_name_answers_to_its_pinyin_and_initials() -> None:
    searched = index_text(["县发改局"], [])
    assert searched.names == ["县发改局"]
    assert searched.pinyin == ["xianfagaiju"]
    assert searched.initials == ["xfgj"]


def test_latin_and_figures_in_a_name_stay_in_its_pinyin() -> None:
    searched = index_text(["5G基站"], [])
    assert searched.pinyin == ["5gjizhan"]
    assert searched.initials == ["5jz"]


def test_names_that_fold_alike_are_kept_once() -> None:
    searched = index_text(["县发改局", "县 发改局", "县發改局"], [])
    assert searched.names == ["县发改局", "县發改局"]
    assert searched.pinyin == ["xianfagaiju"]
    assert searched.initials == ["xfgj"]


@given(st.lists(anything, max_size=4), st.lists(anything, max_size=4), st.data())
def test_any_part_of_any_text_pinyin_or_initials_is_indexed(
    names: list[str], body: list[str], data: st.DataObject
) -> None:
    searched = index_text(names, body)
    assert searched.grams == sorted(set(searched.grams))
    texts = [text for text in (*map(fold, names), *map(fold, body), *searched.pinyin, *searched.initials) if text]
    if texts:
        text = data.draw(st.sampled_from(texts))
        start = data.draw(st.integers(0, len(text) - 1))
        part = text[start : data.draw(st.integers(start + 1, len(text)))]
        assert part in searched.haystack
        assert query_grams(part) <= set(searched.grams)


@given(st.lists(anything, max_size=4), st.lists(anything, max_size=4))
def test_texts_stay_apart_in_the_haystack(names: list[str], body: list[str]) -> None:
    searched = index_text(names, body)
    lines = set(searched.haystack.split("\n"))
    assert lines == {*searched.names, *map(fold, body), *searched.pinyin, *searched.initials} or lines == {""}
    assert "\n" not in searched.grams
