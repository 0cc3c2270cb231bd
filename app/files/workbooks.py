"""The sheets of an XLSX file as rows of cells, read one after the other."""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from io import BytesIO
from typing import Any, Final, NamedTuple

from openpyxl import load_workbook
from openpyxl.worksheet._read_only import ReadOnlyWorksheet

from app.domain.cells import BLANK, Cell, CellKind, figure_of_float
from app.errors import UnreadableFileError, unreadable
from app.files.package import Part, inspect

__all__ = ["Line", "Sheet", "open_workbook"]

# It warns of what it does not keep; nothing is kept here.
warnings.filterwarnings("ignore", module=r"openpyxl\.")

MOST_COLUMNS: Final = 256
# A sheet may have as many rows as it likes below its last that says something, but nobody waits for them.
MOST_LINES: Final = 200_000


class Line(NamedTuple):
    """One row of a sheet: its number, from 1, and its cells."""

    number: int
    cells: list[Cell]


class Sheet(NamedTuple):
    """One sheet: its name, whether people see it, what is odd about it, and its rows, which can be read again."""

    name: str
    visible: bool
    part: Part
    lines: Callable[[], Iterator[Line]]


def open_workbook(content: bytes) -> list[Sheet]:
    """The sheets of a workbook; of formulas the results that stand in the file.

    Raises:
        UnreadableFileError: it is no XLSX file, or has what is not taken.
    """
    parts = inspect(content)
    try:
        workbook = load_workbook(BytesIO(content), read_only=True, data_only=True, keep_links=False)
        return [
            # Which part a sheet was read from is known to nothing else.
            _sheet(sheet, parts.get(vars(sheet)["_worksheet_path"].lstrip("/"), Part()))
            for sheet in workbook.worksheets
        ]
    except Exception as error:
        # The library meets XML made by anybody: whatever it trips over is the file's.
        raise _broken() from error


def _sheet(sheet: ReadOnlyWorksheet, part: Part) -> Sheet:
    # The file says how large the sheet is, and nobody holds it to that.
    sheet.reset_dimensions()
    return Sheet(str(sheet.title), sheet.sheet_state == "visible", part, lambda: _lines(sheet, part))


def _lines(sheet: ReadOnlyWorksheet, part: Part) -> Iterator[Line]:
    rows: Iterator[tuple[Any, ...]] = iter(sheet.iter_rows())
    number = 0
    with closing(rows):  # pyright: ignore[reportArgumentType]
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except Exception as error:
                raise _broken() from error
            number += 1
            if len(row) > MOST_COLUMNS or number > MOST_LINES:
                detail = f"工作表“{sheet.title}”过大(至多 {MOST_COLUMNS} 列、{MOST_LINES} 行):请删去多余的行列"
                raise unreadable("too_many_cells", detail)
            cells = [_cell(one) for one in row]
            if part.uncomputed:
                for index in range(len(cells)):
                    if (number, index + 1) in part.uncomputed:
                        cells[index] = Cell(CellKind.UNCOMPUTED)
            yield Line(number, cells)


def _broken() -> UnreadableFileError:
    return unreadable("broken_file", "文件已损坏,无法读取:请用电子表格软件重新保存为 .xlsx 后再试")


def _cell(cell: Any) -> Cell:
    value = cell.value
    if value is None or (isinstance(value, str) and not value.strip()):
        return BLANK
    if cell.data_type == "e":
        return Cell(CellKind.ERROR, str(value)[:20])
    if isinstance(value, str):
        return Cell(CellKind.TEXT, value)
    if isinstance(value, bool):
        return Cell(CellKind.BOOLEAN, "TRUE" if value else "FALSE")
    if isinstance(value, int | float):
        number = figure_of_float(value) if isinstance(value, float) else Decimal(value)
        return Cell(CellKind.NUMBER, f"{number:f}", number, as_percent=_shows_percent(cell.number_format or ""))
    return _moment(value)


def _moment(value: datetime | time | timedelta) -> Cell:
    """A date, an instant, or a span of time, which a number becomes by its format alone."""
    if not isinstance(value, datetime):
        return Cell(CellKind.DATE, str(value))
    shown = value.date() if value.time() == time.min else value
    return Cell(CellKind.DATE, str(shown), day=value.date())


@lru_cache(maxsize=1000)
def _shows_percent(number_format: str) -> bool:
    """Whether numbers are shown a hundredfold; a per cent sign that is quoted is only written behind them."""
    return "%" in re.sub(r'"[^"]*"|\\.', "", number_format)
