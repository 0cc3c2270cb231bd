"""A bulletin as it is set: what stands on its pages in which order, the same in Markdown and DOCX."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

__all__ = ["Block", "Heading", "Paragraph", "Sheet", "Table", "printed"]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of the first or the second level, with its number."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text; ``lead`` (作一句提头) is set apart from it."""

    text: str
    lead: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its caption; ``widths`` are shares of the type area, and of ``left`` columns the text is ragged."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    widths: Sequence[int]
    left: frozenset[int] = frozenset()


Block: TypeAlias = Heading | Paragraph | Table


@dataclass(frozen=True, slots=True)
class Sheet:
    """The whole: ``dated`` is the day of issue in words, ``None`` for a draft; ``at`` is what the file is dated."""

    issuer: str
    number: str
    title: str
    blocks: Sequence[Block]
    signer: str
    dated: str | None
    contact: str | None
    copy_to: str | None
    printed_by: str
    at: datetime


_WIDE = str.maketrans(",;:()?!", "\uff0c\uff1b\uff1a\uff08\uff09\uff1f\uff01")


def printed(sheet: Sheet) -> Sheet:
    """The same with the punctuation of print (GB/T 15834): wide between Chinese, as it is within figures and codes."""
    return replace(
        sheet,
        **{name: _wide(getattr(sheet, name)) for name in ("issuer", "number", "title", "signer", "printed_by")},
        contact=_wide(sheet.contact or "") or None,
        copy_to=_wide(sheet.copy_to or "") or None,
        blocks=[_printed(block) for block in sheet.blocks],
    )


def _printed(block: Block) -> Block:
    match block:
        case Heading(_, text):
            return replace(block, text=_wide(text))
        case Paragraph(text, lead):
            return Paragraph(_wide(text), _wide(lead))
        case Table():
            header = [_wide(cell) for cell in block.header]
            rows = [[_wide(cell) for cell in row] for row in block.rows]
            return replace(block, caption=_wide(block.caption), header=header, rows=rows)


def _wide(text: str) -> str:
    """Narrow marks made wide, brackets in pairs, but for those within codes, figures and times."""
    letters = list(text)
    opened: list[int] = []
    for place, letter in enumerate(text):
        before, after = text[place - 1 : place], text[place + 1 : place + 2]
        if letter == "(":
            opened.append(place)
        elif letter == ")" and opened:
            letters[opened.pop()], letters[place] = "(".translate(_WIDE), ")".translate(_WIDE)
        elif letter in ",;:?!" and not (_is_code(before) and _is_code(after)):
            letters[place] = letter.translate(_WIDE)
    return "".join(letters)


def _is_code(letter: str) -> bool:
    return letter.isascii() and (letter.isalnum() or letter in "/\\")
