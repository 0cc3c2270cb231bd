"""A bulletin in Markdown, to be pasted where there is no word processor."""

import re
from collections.abc import Iterator

from app.files.bulletin_sheet import Block, Heading, Paragraph, Sheet, Table

__all__ = ["write_markdown"]

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


def write_markdown(sheet: Sheet) -> bytes:
    """The bulletin as UTF-8 text; what people wrote is never read as markup."""
    parts = [f"# {_plain(sheet.title)}", f"{_plain(sheet.issuer)} {_plain(sheet.number)}"]
    for block in sheet.blocks:
        parts += _block(block)
    parts.append("  \n".join(_plain(line) for line in (sheet.signer, sheet.dated) if line))
    parts += [_plain(line) for line in (sheet.contact, sheet.copy_to) if line]
    return ("\n\n".join(parts) + "\n").encode()


def _block(block: Block) -> Iterator[str]:
    match block:
        case Heading(level, text):
            yield f"{'#' * (level + 1)} {_plain(text)}"
        case Paragraph(text, lead):
            yield f"**{_plain(lead)}** {_plain(text)}" if lead else _plain(text)
        case Table():
            yield f"{_plain(block.caption)}"
            rules = ["---" if place in block.left else ":---:" for place in range(len(block.header))]
            yield "\n".join(_row(cells) for cells in (block.header, rules, *block.rows))


def _row(cells: object) -> str:
    return f"| {' | '.join(_cell(str(cell)) for cell in cells)} |"  # type: ignore[attr-defined]


def _cell(text: str) -> str:
    return text if text in {"---", ":---:"} else _plain(text).replace("\n", "<br>")


def _plain(text: str) -> str:
    """Text that says in Markdown what it says: no markup of its own, one paragraph a line."""
    escaped = _SPECIAL.sub(r"\\\1", text.replace("\r", ""))
    return re.sub(r"\n+", "\n\n", escaped).strip()
