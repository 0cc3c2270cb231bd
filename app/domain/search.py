"""How text is folded, cut into n-grams and turned into pinyin, so that an index can find it by any part.

Chinese has no blanks between words, so an index by words misses most of what people type. Every text is therefore cut
into its single characters and pairs of neighbours: a query matches where all of its pairs do and the text holds it.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from pypinyin import Style, lazy_pinyin

from app.domain.plan import Labelled

__all__ = ["EntryKind", "SearchText", "fold", "grams", "index_text", "query_grams", "terms"]


class EntryKind(Labelled):
    """What a search hit is."""

    PLAN = "plan", "总体方案"
    BATTLE = "battle", "仗"
    GROUP = "group", "任务组"
    TASK = "task", "任务"
    UNIT = "unit", "责任单位"
    TARGET = "target", "目标"
    RULE = "rule", "规则"
    ANOMALY = "anomaly", "原文疑点"


@dataclass(frozen=True, slots=True)
class SearchText:
    """The folded forms of one thing: its names, their pinyin and pinyin initials, and all of its text together."""

    names: list[str]
    pinyin: list[str]
    initials: list[str]
    haystack: str
    grams: list[str]


def fold(text: str) -> str:
    """Fold for comparison: compatibility forms, case and white space do not matter."""
    # Once more after joining: an accent that stood apart may now belong to the letter before it.
    return unicodedata.normalize("NFKC", "".join(unicodedata.normalize("NFKC", text).casefold().split()))


def terms(query: str) -> list[str]:
    """The folded words of a query, in order, without repetition; all of them must match."""
    return list(dict.fromkeys(filter(None, map(fold, query.split()))))


def grams(text: str) -> set[str]:
    """Single characters and neighbouring pairs of a folded text."""
    return set(text) | {text[i : i + 2] for i in range(len(text) - 1)}


def query_grams(term: str) -> set[str]:
    """The grams a text must have to hold ``term``: its pairs, or the character itself."""
    return {term[i : i + 2] for i in range(len(term) - 1)} or {term}


def index_text(names: Sequence[str], body: Sequence[str]) -> SearchText:
    """Prepare one thing for the index: ``names`` are what it is called, ``body`` is what else is said of it."""
    folded = list(dict.fromkeys(fold(name) for name in names))
    spelt = [lazy_pinyin(name, style=Style.NORMAL, errors="default") for name in folded]
    pinyin = list(dict.fromkeys("".join(syllables) for syllables in spelt))
    # A name is also known without the level of government in front: 县发改局 answers to xfgj and to fgj alike.
    initials = list(dict.fromkeys("".join(syllable[0] for syllable in syllables) for syllables in spelt))
    parts = [*folded, *map(fold, body), *pinyin, *initials]
    return SearchText(folded, pinyin, initials, "\n".join(parts), sorted(set[str]().union(*map(grams, parts))))
