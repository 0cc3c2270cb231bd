"""Files of reports on their way in: the filled-in form of a unit, and tables of many units.

A file is read in a thread, piece by piece, so that neither the service's other requests wait nor more of it stands in
memory than a few hundred rows; what is read goes the way of all reports.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Final

from app.db import Database
from app.domain.permissions import Capability
from app.domain.workflow import SubmissionAction, allowed
from app.errors import AppError, UnreadableFileError, unreadable
from app.files.columns import Column
from app.files.tables import Entry, Marker, Table, entries, open_table
from app.schemas.file import FormFileWriteQuery, SubmissionFileQuery
from app.schemas.submission import FormLine, FormWrite, SubmissionCreate, SubmissionRead
from app.services.batches import put_together, status_of
from app.services.caller import Caller, forbidden
from app.services.deadlines import parsed_period
from app.services.file_rows import Draft, FileAnswer, Result, Upload, draft_of, measures_of
from app.services.form_files import plan_of_form
from app.services.owed_reports import read_form
from app.services.reader import Reader
from app.services.reports import Report
from app.services.submissions import is_cleared, take
from app.services.units import unit_named

__all__ = ["create_submissions_of_file", "put_form_file"]

_MOST_OF_A_FORM: Final = 500
_MOST_OF_A_FILE: Final = 20_000
_AT_ONCE: Final = 500
_REPORTED: Final = (Column.TASK, Column.STAGE, Column.PERCENT)


class _Undone(Exception):  # noqa: N818 - no error: it only leaves a transaction
    pass


@asynccontextmanager
async def _undone_if(db: Database, undo: Callable[[], bool]) -> AsyncGenerator[Database]:
    """A transaction that is taken back where, at its end, it should be."""
    with suppress(_Undone):
        async with db.transaction() as within:
            yield within
            if undo():
                raise _Undone


async def put_form_file(
    db: Database,
    reader: Reader,
    unit: str,
    period: str,
    upload: Upload,
    *,
    query: FormFileWriteQuery,
    now: datetime,
    caller: Caller,
) -> bytes:
    """Take a filled-in form in, as the form of a unit is, and say of each row what became of it.

    Tasks that are not filled in are left alone, and so are those reported already that are as they were reported, so
    that a form may be handed in twice. The answer is the JSON of a :class:`~app.schemas.file.FileRead`.

    Raises:
        UnknownUnitError, AmbiguousError: the unit means none or several.
        UnknownReferenceError: the period is none.
        ForbiddenError, NotFoundError: the caller may not report for the unit, or not even see it.
        UnreadableFileError: the file cannot be read, or is another form.
    """
    named = await unit_named(reader, unit, scope=None, at="/path")
    code = parsed_period(period, "/path/period").code
    shown = await read_form(reader, db, named, code, now=now, caller=caller)
    if shown.items and not is_cleared(caller, shown.items[0].task, named["code"], {}):
        raise forbidden(caller.actor, Capability.REPORT, named["name"])
    table, found = await asyncio.to_thread(_read_form, upload)
    _refuse_other_form(table.marker, Marker(plan_of_form(shown), named["code"], code))
    filled = [entry for entry in found if not entry.is_blank]
    measures = await measures_of(db, filled)
    drafts = [draft_of(entry, measures) for entry in filled]
    _refuse_other_rows(drafts, {"unit": {named["code"], named["name"], unit}, "period": {code}})
    _refuse_repeated(drafts, {}, "task")
    answer = FileAnswer(table, atomic=query.atomic, dry_run=query.dry_run)
    answer.blank = len(found) - len(filled)
    existing = {item.task: item.submission for item in shown.items if item.submission is not None}

    async def take_one(within: Database, draft: Draft) -> None:
        result = Result(draft)
        answer.results.append(result)
        line = draft.validated(FormLine)
        if line is None:
            return
        before = existing.get(line.task)
        if before is not None and _is_unchanged(line, before):
            result.status, result.id, result.unchanged = 200, str(before.id), True
            return
        form = FormWrite(items=[line], submit=query.submit)
        try:
            async with within.transaction() as apart:
                report = Report(line.task, named["code"], code, query.submit, line, now, caller)
                (taken,) = await put_together(apart, [report], form, now=now)
        except AppError as error:
            result.refuse(error, "/body/items/0")
        else:
            result.status, result.warnings = taken["status"], taken["warnings"]
            result.id = str(taken["id"])

    if query.atomic:
        async with _undone_if(db, lambda: answer.is_undone) as whole:
            for draft in drafts:
                await take_one(whole, draft)
    else:
        for draft in drafts:
            async with _undone_if(db, lambda: query.dry_run) as alone:
                await take_one(alone, draft)
    return answer.written()


def _read_form(upload: Upload) -> tuple[Table, list[Entry]]:
    table = open_table(upload.content, upload.charset, needed=_REPORTED)
    found = list(islice(entries(table.rows), _MOST_OF_A_FORM + 1))
    if len(found) > _MOST_OF_A_FORM:
        raise unreadable("too_many_rows", f"一份月进度表至多 {_MOST_OF_A_FORM} 项任务")
    return table, found


def _refuse_other_form(marker: Marker | None, expected: Marker) -> None:
    """A table that somebody made themselves has no marker; one that has is of one form alone."""
    if marker is not None and marker != expected:
        detail = (
            f"这是 {marker.unit} {marker.period} 的表(方案 {marker.plan}),"
            f"不是 {expected.unit} {expected.period} 的:请核对文件与地址"
        )
        raise unreadable("other_form", detail)


def _refuse_other_rows(drafts: Sequence[Draft], expected: Mapping[str, set[str]]) -> None:
    """Where rows say themselves which form they are of, they must be of this one."""
    for draft in drafts:
        for name, values in expected.items():
            said = draft.said.get(name)
            if said is not None and said not in values:
                draft.refuse(f"/{name}", "other_form", f"该行是“{str(said)[:40]}”的,不属于这份表")


def _refuse_repeated(drafts: Sequence[Draft], seen: dict[tuple[Any, ...], int], *names: str) -> None:
    """Refuse what stands in the file twice; ``seen`` holds what stood there before, and where."""
    for draft in drafts:
        key = tuple(draft.said.get(name) for name in names)
        if None in key:
            continue
        first = seen.setdefault(key, draft.row)
        if first != draft.row:
            draft.refuse("/task", "repeated", f"任务 {draft.task} 与第 {first} 行重复,无法确定以哪行为准")


def _is_unchanged(line: FormLine, before: SubmissionRead) -> bool:
    """Whether a report that can no longer be edited would be the same again."""
    if SubmissionAction.EDIT in allowed(before.state):
        return False
    return (
        line.stage == before.stage
        and line.percent_complete == before.percent_complete
        and all(
            _plain(getattr(line, name)) == _plain(getattr(before, name))
            for name in ("progress", "problems", "next_steps")
        )
        and {(one.target, one.value) for one in line.observations}
        == {(one.target, one.value) for one in before.observations}
    )


def _plain(text: str | None) -> str:
    return (text or "").replace("\r\n", "\n").strip()


async def create_submissions_of_file(
    db: Database, upload: Upload, *, query: SubmissionFileQuery, now: datetime, caller: Caller
) -> bytes:
    """Take in a table of reports of any units and periods, and say of each row what became of it.

    The answer is the JSON of a :class:`~app.schemas.file.FileRead`.

    Raises:
        UnreadableFileError: the file cannot be read, and nothing of it has been taken in.
    """
    needed = (*_REPORTED, Column.UNIT, Column.PERIOD)
    table = await asyncio.to_thread(open_table, upload.content, upload.charset, needed=needed)
    answer = FileAnswer(table, atomic=query.atomic, dry_run=query.dry_run)
    taking = _Taking(answer, query, now, caller)
    if query.atomic:
        async with _undone_if(db, lambda: answer.is_undone) as whole:
            async for found in _pieces(table):
                await taking.take(whole, found)
        return answer.written()
    try:
        async for found in _pieces(table):
            await taking.take(db, found)
    except UnreadableFileError as error:
        # What is in is in, and whoever sent the file must learn of it.
        if query.dry_run or not answer.results:
            raise
        unread = Draft(answer.results[-1].draft.row + 1)
        unread.refuse_all(error.faults, "/body")
        answer.results.append(Result(unread))
        table.notes.append(f"第 {unread.row} 行起没有读取,未作任何处理: {error.detail}")
    return answer.written()


async def _pieces(table: Table) -> AsyncGenerator[list[Entry]]:
    """The reports of a table, a batch at a time."""
    found: Iterator[Entry] = entries(table.rows)
    count = 0
    while piece := await asyncio.to_thread(lambda: list(islice(found, _AT_ONCE))):
        count += len(piece)
        if count > _MOST_OF_A_FILE:
            raise unreadable("too_many_rows", f"一个文件至多 {_MOST_OF_A_FILE} 项:请分成几个文件")
        yield piece


@dataclass(slots=True)
class _Taking:
    """A table of reports that is being taken in."""

    answer: FileAnswer
    query: SubmissionFileQuery
    now: datetime
    caller: Caller
    seen: dict[tuple[Any, ...], int] = field(default_factory=dict[tuple[Any, ...], int])

    async def take(self, db: Database, found: Sequence[Entry]) -> None:
        """Take one batch in."""
        filled = [entry for entry in found if not entry.is_blank]
        self.answer.blank += len(found) - len(filled)
        measures = await measures_of(db, filled)
        drafted = await asyncio.to_thread(self._drafted, filled, measures)
        results = [Result(draft) for draft, _ in drafted]
        self.answer.results += results
        good = [(result, one) for result, (_, one) in zip(results, drafted, strict=True) if one is not None]
        reports = [Report(one.task, one.unit, one.period, one.submit, one, self.now, self.caller) for _, one in good]
        dry_run = self.query.dry_run
        for (result, _), taken in zip(good, await take(db, reports, write=not dry_run) if reports else [], strict=True):
            result.status = status_of(taken, dry_run=dry_run)
            result.id = taken.id or (None if taken.existing is None else str(taken.existing))
            result.warnings = taken.warnings
            result.draft.refuse_all(taken.faults, "/body")

    def _drafted(
        self, filled: Sequence[Entry], measures: Mapping[str, str | None]
    ) -> list[tuple[Draft, SubmissionCreate | None]]:
        drafts = [draft_of(entry, measures) for entry in filled]
        _refuse_repeated(drafts, self.seen, "task", "unit", "period")
        for draft in drafts:
            draft.said["submit"] = self.query.submit
        return [(draft, draft.validated(SubmissionCreate)) for draft in drafts]
