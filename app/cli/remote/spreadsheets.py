"""A unit's monthly form as a spreadsheet: the service writes it and reads it, row by row."""

from pathlib import Path
from typing import Any, Final

from app.cli.remote.output import print_table, working
from app.client.connection import Connection
from app.client.errors import InputError
from app.client.posting import form_path
from app.errors import UnreadableFileError
from app.files.columns import Column
from app.files.tables import open_table

__all__ = ["MEDIA_TYPES", "get_sheet", "put_sheet", "show_rows"]

MEDIA_TYPES: Final = {
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".csv": "text/csv",
}


def get_sheet(connection: Connection, unit: str, period: str, suffix: str) -> bytes:
    """The form as a file of this kind."""
    return connection.download(f"{form_path(unit, period)}/file", format=suffix.removeprefix(".")).content


def put_sheet(
    connection: Connection, file: Path, *, dry_run: bool, atomic: bool, draft: bool, idempotency_key: str | None
) -> dict[str, Any]:
    """Post a filled-in file; which form it is, it says itself.

    Raises:
        InputError: it cannot be read, or does not say which form it is.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"无法读取 {file}: {error.strerror}") from None
    unit, period = _form_of(file, content)
    said = {"dry_run": dry_run, "atomic": atomic, "submit": not draft}
    with working("上传"):
        return connection.upload(
            "PUT",
            f"{form_path(unit, period)}/file",
            content,
            MEDIA_TYPES[file.suffix.lower()],
            idempotency_key=idempotency_key,
            params={name: str(value).lower() for name, value in said.items()},
        )


def show_rows(answer: dict[str, Any], done: str) -> None:
    """Print what became of each row, and of the file."""
    rows: list[tuple[object, ...]] = []
    for row in answer["rows"]:
        faults = [
            f"{fault['column'] or ''}{fault['row']}: {fault['detail']}({fault['code']})" for fault in row["errors"]
        ]
        told = [*faults, *(warning["detail"] for warning in row["warnings"])]
        rows.append((row["row"], row["task"], "未接受" if faults else done, row["id"], ";".join(told)))
    print_table(("行", "任务", "结果", "报送编号", "说明"), rows)


def _form_of(file: Path, content: bytes) -> tuple[str, str]:
    """The unit and the period of a file: by the mark that the service left in it, else by its first row."""
    try:
        table = open_table(content, None, needed=())
        if table.marker is not None:
            return table.marker.unit, table.marker.period
        row = next(table.rows, None)
    except UnreadableFileError as error:
        raise InputError(f"{file}: {error.detail}") from None
    unit, period = (row.of(column).text.strip() if row else "" for column in (Column.UNIT, Column.PERIOD))
    if not unit or not period:
        raise InputError(f"{file} 没有写明是哪个单位哪一期的表,请用 liuzhang form get 所取的文件")
    return unit, period
