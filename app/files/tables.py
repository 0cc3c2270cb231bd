"""The table of a form in a file: where its headings stand, and its rows below them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from app.domain.cells import BLANK, Cell, CellKind
from app.errors import unreadable
from app.files.columns import ASKED, SAID, Column, column_of, letter_of
from app.files.delimited import decode, read_lines
from app.files.workbooks import Line, Sheet, open_workbook

__all__ = ["FORMAT_VERSION", "MARKER_SHEET", "Entry", "Marker", "Row", "Table", "entries", "open_table"]

MARKER_SHEET: Final = "表格信息"
FORMAT_VERSION: Final = "1"
_ZIP: Final = b"PK"
_OLD_OFFICE: Final = b"\xd0\xcf\x11\xe0"
_HEADINGS_WITHIN: Final = 20


class Row(NamedTuple):
    """One row of the table: its number in the file, and what it says in each column."""

    number: int
    cells: Mapping[Column, Cell]

    def of(self, column: Column) -> Cell:
        """The cell in a column; blank where there is no such column."""
        return self.cells.get(column, BLANK)

    def says(self, columns: Iterable[Column]) -> bool:
        """Whether anything stands in any of these columns."""
        return any(self.of(column).kind is not CellKind.BLANK for column in columns)


class Marker(NamedTuple):
    """Which form a downloaded file is."""

    plan: str
    unit: str
    period: str


@dataclass(slots=True)
class Table:
    """A form in a file.

    Attributes:
        sheet: the name of its sheet; ``None`` in a CSV file.
        letters: the columns as a spreadsheet names them.
        notes: what whoever filled it in should know (Chinese).
    """

    sheet: str | None
    letters: Mapping[Column, str]
    marker: Marker | None
    rows: Iterator[Row]
    notes: list[str] = field(default_factory=list[str])


def open_table(content: bytes, charset: str | None, *, needed: Iterable[Column]) -> Table:
    """Find the table in a file, XLSX or CSV by what it is, whatever it is said to be; rows are read as asked for.

    Raises:
        UnreadableFileError: it is neither, is not taken, has no table or two, or lacks a column of ``needed``.
    """
    if not content.strip():
        raise unreadable("empty_file", "文件是空的")
    if content.startswith((_ZIP, _OLD_OFFICE)):
        return _in_workbook(open_workbook(content), needed)
    lines = read_lines(decode(content, charset))
    found = _headings(lines, needed)
    if found is None:
        raise _no_headings()
    return Table(None, _letters(found), None, _rows(lines, found))


def _in_workbook(sheets: list[Sheet], needed: Iterable[Column]) -> Table:
    found: list[tuple[Sheet, Iterator[Line], dict[int, Column]]] = []
    marker = None
    for sheet in sheets:
        if sheet.name == MARKER_SHEET:
            marker = _marker(sheet)
            continue
        if not sheet.visible:
            continue
        lines = sheet.lines()
        headings = _headings(lines, needed)
        if headings is not None:
            found.append((sheet, lines, headings))
    if not found:
        raise _no_headings()
    if len(found) > 1:
        names = "、".join(sheet.name for sheet, _, _ in found)
        raise unreadable("two_tables", f"有几张工作表都是进度表({names}),无法确定以哪张为准:请只留一张")
    (sheet, lines, headings) = found[0]
    first = next(line for line in sheet.lines() if _columns(line)).number + 1
    if any(bottom >= first for _, _, _, bottom in sheet.part.merged):
        raise unreadable("merged_cells", f"工作表“{sheet.name}”的数据行中有合并的单元格:请取消合并,逐行填写")
    table = Table(sheet.name, _letters(headings), marker, _rows(lines, headings))
    hidden = sorted(number for number in sheet.part.hidden if number >= first)
    if hidden:
        table.notes.append(f"有隐藏的行,同样读取: 第 {'、'.join(map(str, hidden[:20]))} 行")
    return table


def _marker(sheet: Sheet) -> Marker | None:
    said = {line.cells[0].text: line.cells[1].text for line in islice(sheet.lines(), 20) if len(line.cells) > 1}
    if "format" not in said:
        return None
    if said["format"] != FORMAT_VERSION:
        raise unreadable("other_version", f"表格的版本({said['format'][:20]})已不再使用:请重新下载")
    return Marker(said.get("plan", ""), said.get("unit", ""), said.get("period", ""))


def _columns(line: Line) -> dict[int, Column]:
    """The columns of a line of headings by their places; empty where it is none."""
    found = {index: column_of(cell.text) for index, cell in enumerate(line.cells) if cell.kind is not CellKind.BLANK}
    if Column.TASK not in found.values():
        return {}
    unknown = [line.cells[index].text.strip() for index, column in found.items() if column is None]
    if unknown:
        detail = (
            f"不认识的列: {'、'.join(heading[:20] for heading in unknown[:5])};自用的列请命名为“{Column.NOTE.label}”"
        )
        raise unreadable("unknown_column", detail)
    known = {index: column for index, column in found.items() if column is not None}
    # Notes may be as many as they like; of all else it would be unclear which counts.
    twice = sorted({c.label for c in known.values() if c is not Column.NOTE and list(known.values()).count(c) > 1})
    if twice:
        raise unreadable("repeated_column", f"列重复: {'、'.join(twice)}")
    return known


def _headings(lines: Iterator[Line], needed: Iterable[Column]) -> dict[int, Column] | None:
    """Read on to the line of headings; ``None`` where there is none near the top."""
    for line in islice(lines, _HEADINGS_WITHIN):
        known = _columns(line)
        if known:
            present = set(known.values())
            lacking = [column.label for column in needed if column not in present]
            if Column.VALUE in present and Column.TARGET not in present:
                lacking.append(Column.TARGET.label)
            if lacking:
                raise unreadable("missing_column", f"缺少列: {'、'.join(lacking)}")
            return known
    return None


def _no_headings() -> Exception:
    return unreadable(
        "no_table", f"没有找到表头:前 {_HEADINGS_WITHIN} 行中须有一行含“{Column.TASK.label}”等列名;请用下载的表填写"
    )


def _letters(headings: Mapping[int, Column]) -> dict[Column, str]:
    return {column: letter_of(index) for index, column in headings.items()}


def _rows(lines: Iterator[Line], headings: Mapping[int, Column]) -> Iterator[Row]:
    """The rows that say anything.

    Raises:
        UnreadableFileError: something stands beside the table.
    """
    for line in lines:
        cells: dict[Column, Cell] = {}
        for index, cell in enumerate(line.cells):
            if cell.kind is CellKind.BLANK:
                continue
            column = headings.get(index)
            if column is None:
                detail = f"{letter_of(index)}{line.number} 有内容,而该列没有列名:请删去,或补上列名"
                raise unreadable("no_heading", detail)
            cells[column] = cell
        if cells:
            yield Row(line.number, cells)


class Entry(NamedTuple):
    """One report in a table: its first row says what is reported, each further row adds a target's figure."""

    rows: list[Row]

    @property
    def is_blank(self) -> bool:
        """Whether nothing is filled in, and all that stands there is what was there for orientation."""
        return not any(row.says((*SAID, Column.VALUE)) for row in self.rows)


def entries(rows: Iterable[Row]) -> Iterator[Entry]:
    """The reports of a table.

    A row that names the task, unit and period of the one above, and beside them a target alone, belongs to it.
    """
    entry: list[Row] = []
    for row in rows:
        if not row.says(ASKED):
            continue
        if entry and _key(row) == _key(entry[0]) and row.says([Column.TARGET]) and not row.says(SAID):
            entry.append(row)
            continue
        if entry:
            yield Entry(entry)
        entry = [row]
    if entry:
        yield Entry(entry)


def _key(row: Row) -> tuple[str, ...]:
    return tuple(row.of(column).text.strip() for column in (Column.TASK, Column.UNIT, Column.PERIOD))
