"""Reports read from the rows of a file, and what became of them told by row and column."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypedDict, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from sqlalchemy import ARRAY, Text, any_, bindparam, select

from app.db import Database, Query
from app.domain.cells import (
    CellError,
    CellKind,
    read_code,
    read_figure,
    read_percent,
    read_period,
    read_prose,
    read_stage,
)
from app.domain.progress import ReportWarning
from app.errors import AppError, ConflictError, Fault
from app.files.columns import Column
from app.files.tables import Entry, Row, Table
from app.models import Indicator, Target
from app.validation import explain_validation

__all__ = ["Draft", "FileAnswer", "Result", "Upload", "draft_of", "measures_of"]

ModelT = TypeVar("ModelT", bound=BaseModel)
_MEASURES = Query(
    select(Target.code, Indicator.unit_of_measure)
    .join(Indicator, Indicator.id == Target.indicator_id)
    .where(Target.code == any_(bindparam("codes", type_=ARRAY(Text))))
)
_READERS: Final = {
    Column.TASK: read_code,
    Column.UNIT: read_code,
    Column.PERIOD: read_period,
    Column.STAGE: read_stage,
    Column.PERCENT: read_percent,
    Column.PROGRESS: read_prose,
    Column.PROBLEMS: read_prose,
    Column.NEXT_STEPS: read_prose,
}


class Upload(NamedTuple):
    """A file as it came: its bytes, and the encoding that it is said to be in."""

    content: bytes
    charset: str | None


class Place(NamedTuple):
    """Where in a file something stands."""

    row: int
    column: Column | None


class _FaultShown(TypedDict):
    row: int
    column: str | None
    heading: str | None
    code: str
    detail: str


@dataclass(slots=True)
class Draft:
    """A report as a file says it.

    Attributes:
        said: what could be read, by the names of the schema; ``faults`` say what could not.
        places: where each of it stands, by its JSON pointer within the report.
    """

    row: int
    said: dict[str, Any] = field(default_factory=dict[str, Any])
    places: dict[str, Place] = field(default_factory=dict[str, Place])
    faults: list[tuple[Place, str, str]] = field(default_factory=list[tuple[Place, str, str]])

    @property
    def task(self) -> str | None:
        """The code of the task, as far as it could be read."""
        return self.said.get("task")

    def refuse(self, pointer: str, code: str, detail: str) -> None:
        """Note what is wrong with what ``pointer`` names; what the file does not have is wrong with the row."""
        self.faults.append((self.places.get(pointer, Place(self.row, None)), code, detail))

    def refuse_all(self, faults: Sequence[Fault], before: str) -> None:
        """Note the faults of a request, whose pointers begin with ``before`` where they speak of this report."""
        for fault in faults:
            self.refuse(fault.pointer.removeprefix(before), fault.code, fault.detail)

    def validated(self, model: type[ModelT]) -> ModelT | None:
        """The report as ``model``; ``None`` where it is refused, which ``faults`` explain."""
        if self.faults:
            return None
        try:
            return model.model_validate({name: self.said[name] for name in model.model_fields if name in self.said})
        except ValidationError as error:
            for item in error.errors(include_url=False):
                pointer = "/" + "/".join(map(str, item["loc"]))
                self.refuse(pointer, item["type"], _explained(item["type"], item.get("ctx", {}), item["msg"]))
            return None


def _explained(kind: str, context: Mapping[str, Any], fallback: str) -> str:
    """What is wrong, for a clerk: the pattern of a code tells them nothing."""
    if kind == "string_pattern_mismatch":
        return "写法不符,或含有不允许的字符,请核对"
    return explain_validation(kind, context, fallback)


async def measures_of(db: Database, entries: Iterable[Entry]) -> dict[str, str | None]:
    """The units of measure of the targets that reports name, by their codes."""
    codes = {code for entry in entries for row in entry.rows if (code := _target_of(row)) is not None}
    return {row["code"]: row["unit_of_measure"] for row in await db.fetch(_MEASURES, codes=sorted(codes))}


def _target_of(row: Row) -> str | None:
    try:
        return read_code(row.of(Column.TARGET)) or None
    except CellError:
        return None


def draft_of(entry: Entry, measures: Mapping[str, str | None]) -> Draft:
    """Read one report; ``measures`` are the units of measure of its targets."""
    first = entry.rows[0]
    draft = Draft(first.number)
    for column, read in _READERS.items():
        place = Place(first.number, column)
        draft.places[f"/{column.value}"] = place
        try:
            value = read(first.of(column))
        except CellError as error:
            draft.faults.append((place, error.code, error.detail))
        else:
            if value not in {None, ""}:
                draft.said[column.value] = value
    observations: list[dict[str, Any]] = []
    for row in entry.rows:
        _read_figure(row, measures, draft, observations)
    draft.said["observations"] = observations
    return draft


def _read_figure(
    row: Row, measures: Mapping[str, str | None], draft: Draft, observations: list[dict[str, Any]]
) -> None:
    """Add the figure of a row, if it has one; a target without a figure says nothing."""
    if row.of(Column.VALUE).kind is CellKind.BLANK:
        return
    target_place, place = Place(row.number, Column.TARGET), Place(row.number, Column.VALUE)
    target = _target_of(row)
    if target is None:
        draft.faults.append((target_place, "missing", "填了本期数值,却没有读得出的目标编码"))
        return
    try:
        value = read_figure(row.of(Column.VALUE), measures.get(target))
    except CellError as error:
        draft.faults.append((place, error.code, error.detail))
        return
    if value is not None:
        pointer = f"/observations/{len(observations)}"
        draft.places[f"{pointer}/target"], draft.places[f"{pointer}/value"] = target_place, place
        observations.append({"target": target, "value": value})


@dataclass(slots=True)
class Result:
    """What became of one report: 201, 200, or the status of why not."""

    draft: Draft
    status: int = 422
    id: str | None = None
    warnings: Sequence[ReportWarning | Mapping[str, Any]] = ()
    unchanged: bool = False

    def refuse(self, error: AppError, before: str) -> None:
        """Take over why a request for this report alone was refused."""
        self.status = error.status
        if isinstance(error, ConflictError):
            self.id = error.extra.get("existing")
        self.draft.refuse_all(error.faults or [Fault("", error.slug, error.detail)], before)


class FileAnswer:
    """The answer to a file, made up as its reports are dealt with."""

    def __init__(self, table: Table, *, atomic: bool, dry_run: bool) -> None:
        """Answer for ``table``."""
        self.table = table
        self.atomic = atomic
        self.dry_run = dry_run
        self.blank = 0
        self.results: list[Result] = []

    @property
    def is_refused(self) -> bool:
        """Whether any report cannot be taken."""
        return any(result.draft.faults for result in self.results)

    @property
    def is_undone(self) -> bool:
        """Whether nothing may be kept."""
        return self.dry_run or (self.atomic and self.is_refused)

    def written(self) -> bytes:
        """The JSON of a :class:`~app.schemas.file.FileRead`."""
        undone = self.is_undone
        unchanged = sum(result.unchanged for result in self.results)
        refused = sum(bool(result.draft.faults) for result in self.results)
        accepted = len(self.results) - unchanged - refused
        if self.atomic and refused:
            accepted, refused = 0, accepted + refused
        answer = {
            "sheet": self.table.sheet,
            "dry_run": self.dry_run,
            "accepted": accepted,
            "unchanged": unchanged,
            "refused": refused,
            "blank": self.blank,
            "rows": [self._row(result, undone=undone) for result in self.results],
            "notes": self.table.notes,
        }
        return orjson.dumps(answer, default=str)

    def _row(self, result: Result, *, undone: bool) -> dict[str, Any]:
        # What was created and taken back again has neither an id nor been created.
        taken_back = undone and result.status == 201
        return {
            "sheet": self.table.sheet,
            "row": result.draft.row,
            "task": result.draft.task,
            "status": 200 if taken_back else result.status,
            "id": None if taken_back else result.id,
            "warnings": result.warnings,
            "errors": [self._fault(*fault) for fault in result.draft.faults],
        }

    def _fault(self, place: Place, code: str, detail: str) -> _FaultShown:
        column = place.column
        return {
            "row": place.row,
            "column": None if column is None else self.table.letters.get(column),
            "heading": None if column is None else column.label,
            "code": code,
            "detail": detail,
        }
