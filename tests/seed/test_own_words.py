"""What the real seed says of the plan it says in its own words: the document is not ours to copy.

Phrases that must be as printed (``text``, ``printed``, titles, names of units) are short and marked as such in the
format; ``deliverables``, ``summary``, ``objective`` and ``note`` are not, and share no long run with the document.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from seed.document import squeeze
from seed.reader import PlanSource, read_plan
from tests.seed.small_plan import printed_document

LONGEST_SHARED = 12
OWN = {"deliverables", "summary", "objective", "note", "interpretation"}
# Proper names that a text must quote whole, and why it must.
QUOTED = {
    "旭阳显示、和平光电、渝湘光电": "附件2: the companies the task supports, listed by name",
    "怀化(芷江)临空物流产业园": "the name of the project, printed in four places of which a note compares two",
    "雪峰、凯丰米业、天天食品": "附件2: the companies the task supports, listed by name",
}


def own_texts(content: object, where: str) -> Iterator[tuple[str, str]]:
    """Every text in own words with its place."""
    if isinstance(content, BaseModel):
        for name in type(content).model_fields:
            value = getattr(content, name)
            if name in OWN and isinstance(value, str):
                yield f"{where}.{name}", value
            else:
                yield from own_texts(value, f"{where}.{name}")
    elif isinstance(content, list):
        for index, item in enumerate(content):
            yield from own_texts(item, f"{where}.{index}")


def longest_shared(text: str, document: str, names: Iterable[str]) -> str:
    """The longest run of ``text`` that stands in ``document``, proper names not counted."""
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, "\0")
    best = ""
    for start in range(len(text)):
        while text[start : start + len(best) + 1] in document and start + len(best) < len(text):
            best = text[start : start + len(best) + 1]
    return best


@pytest.fixture(scope="module")
def document() -> str:
    return squeeze(printed_document().read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def source(plan_directory: Path) -> PlanSource:
    return read_plan(plan_directory)


@pytest.fixture(scope="module")
def texts(source: PlanSource) -> list[tuple[str, str]]:
    return [
        (f"{file.name}{where}", squeeze(text))
        for file in (source.plan, source.units, *source.battles)
        for where, text in own_texts(file.content, "")
    ]


def test_no_text_shares_a_long_run_with_the_document(
    source: PlanSource, texts: list[tuple[str, str]], document: str
) -> None:
    names = {*QUOTED, *source.unit_names()}
    shared = {where: longest_shared(text, document, names) for where, text in texts}
    assert {where: run for where, run in shared.items() if len(run) > LONGEST_SHARED} == {}


def test_every_task_says_what_is_delivered(texts: list[tuple[str, str]]) -> None:
    deliverables = [text for where, text in texts if where.endswith(".deliverables")]
    assert len(deliverables) == 163
    assert all(len(text) >= 8 for text in deliverables)


def test_every_quoted_name_is_printed_and_in_use(texts: list[tuple[str, str]], document: str) -> None:
    for name in QUOTED:
        assert name in document
        assert any(name in text for _, text in texts)
