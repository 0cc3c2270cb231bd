"""What the real seed says of the plan it says in its own words: the document is not ours to copy.

Phrases that must be as printed (``text``, ``printed``, titles, names of units) are short and marked as such in the
format; ``deliverables``, ``summary``, ``objective`` and ``note`` are not, and share no long run with the document.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from seed.document import squeeze
from seed.reader import read_plan
from tests.seed.small_plan import printed_document

LONGEST_SHARED = 12
OWN = {"deliverables", "summary", "objective", "note", "interpretation", "upstream_note"}
# Proper names that a text must quote whole, and why it must.
QUOTED = {
    "旭阳显示、和平光电、渝湘光电": "附件2: the companies the task supports, listed by name",
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


def longest_shared(text: str, document: str) -> str:
    """The longest run of ``text`` that stands in ``document``, quoted names not counted."""
    for name in QUOTED:
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
def texts(plan_directory: Path) -> list[tuple[str, str]]:
    source = read_plan(plan_directory)
    return [
        (f"{file.name}{where}", squeeze(text))
        for file in (source.plan, source.units, *source.battles)
        for where, text in own_texts(file.content, "")
    ]


def test_no_text_shares_a_long_run_with_the_document(texts: list[tuple[str, str]], document: str) -> None:
    copied = {where: run for where, text in texts if len(run := longest_shared(text, document)) > LONGEST_SHARED}
    assert copied == {}


def test_every_task_says_what_is_delivered(texts: list[tuple[str, str]]) -> None:
    deliverables = [text for where, text in texts if where.endswith(".deliverables")]
    assert len(deliverables) == 163
    assert all(len(text) >= 8 for text in deliverables)


def test_every_quoted_name_is_printed_and_in_use(texts: list[tuple[str, str]], document: str) -> None:
    for name in QUOTED:
        assert name in document
        assert any(name in text for _, text in texts)
