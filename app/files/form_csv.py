"""A form as CSV: UTF-8 with a byte order mark, by which spreadsheets know it."""

import csv
import io
from typing import Final

from app.files.columns import Column
from app.files.delimited import PROTECTED
from app.files.forms import FORM_COLUMNS, Content, Form, form_rows

__all__ = ["write_csv"]

# Each row says which form it is of, for there is no other place.
_COLUMNS: Final = (Column.UNIT, Column.PERIOD, *FORM_COLUMNS)


def write_csv(form: Form) -> bytes:
    """The form as a CSV file."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([column.label for column in _COLUMNS])
    for row in form_rows(form):
        writer.writerow([_text(row.get(column)) for column in _COLUMNS])
    return out.getvalue().encode("utf-8-sig")


def _text(content: Content) -> str:
    if isinstance(content, str):
        # Or a spreadsheet would run it as a formula.
        return f"'{content}" if content.startswith(PROTECTED) else content
    return "" if content is None else f"{content.normalize():f}"
