"""The lines of a CSV file as rows of cells: which encoding and which delimiter it has is found out."""

import csv
import io
from collections.abc import Iterator
from typing import Final

from app.domain.cells import BLANK, Cell, CellKind
from app.errors import unreadable
from app.files.columns import Column, column_of
from app.files.workbooks import MOST_COLUMNS, Line

__all__ = ["PROTECTED", "decode", "read_lines"]

# A spreadsheet takes a text that begins so for a formula, unless it is protected by an apostrophe.
PROTECTED: Final = ("=", "+", "-", "@", "\t", "\r")
_DELIMITERS: Final = (",", "\t", ";", ",", "|")
_HEADINGS_WITHIN: Final = 20
_CHARSETS: Final = {
    "utf-8": "utf-8-sig",
    "utf8": "utf-8-sig",
    "gb18030": "gb18030",
    "gbk": "gb18030",
    "gb2312": "gb18030",
}


def decode(content: bytes, charset: str | None = None) -> str:
    """The text of a CSV file: by its byte order mark, as UTF-8, else as GB18030.

    Text that is UTF-8 is hardly ever GB18030 by chance, so that whatever is no UTF-8 is what Chinese spreadsheets save.

    Raises:
        UnreadableFileError: it is not in the encoding that it is said to be in, or in none of these.
    """
    if charset is not None:
        encodings = [_CHARSETS.get(charset.lower(), "")]
        if not encodings[0]:
            raise unreadable("unknown_charset", f"不支持的编码 {charset[:40]}:请用 UTF-8 或 GB18030")
    elif content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    else:
        encodings = ["utf-8-sig", "gb18030"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return text
    raise unreadable("not_text", "文件不是 CSV 文本:请另存为“CSV UTF-8”,或上传 XLSX 工作簿")


def read_lines(text: str) -> Iterator[Line]:
    """The rows of a CSV file, each with the number of the line that it begins on.

    Raises:
        UnreadableFileError: its quotes do not close, or a row is larger than any form's.
    """
    # Quotes that never close would take all that follows for one cell.
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter_of(text), strict=True)
    number = 1
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error:
            detail = f"第 {number} 行起的 CSV 格式有误:引号没有成对,或单元格过长"
            raise unreadable("broken_csv", detail) from None
        if len(row) > MOST_COLUMNS:
            raise unreadable("too_many_cells", f"第 {number} 行有 {len(row)} 列,至多 {MOST_COLUMNS} 列")
        yield Line(number, [_cell(value) for value in row])
        number = rows.line_num + 1


def _delimiter_of(text: str) -> str:
    """What stands between the headings; a comma where there are none."""
    lines = text.split("\n", _HEADINGS_WITHIN)[:_HEADINGS_WITHIN]
    for line in lines:
        if Column.TASK.label in line[:10_000]:
            for delimiter in _DELIMITERS:
                headings = [column_of(heading.strip('"\r')) for heading in line[:10_000].split(delimiter)]
                if Column.TASK in headings and len(headings) > 1:
                    return delimiter
    return ","


def _cell(value: str) -> Cell:
    if not value.strip():
        return BLANK
    if value.startswith("'") and value[1:].startswith(PROTECTED):
        return Cell(CellKind.TEXT, value[1:])
    return Cell(CellKind.TEXT, value)
