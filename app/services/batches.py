"""Reports on their way in: one, a batch with a result for each, the whole form of a unit."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.workflow import SubmissionAction, SubmissionState, allowed
from app.errors import Fault, InvalidRequestError
from app.models import Submission, Task, Unit
from app.rendering import Known, Rendered
from app.schemas.submission import (
    BatchRead,
    BatchResult,
    FormLine,
    FormWrite,
    SubmissionCreate,
    SubmissionPatch,
    SubmissionRead,
    SubmitStep,
    WarningRead,
)
from app.services import steps, submission_reads
from app.services.deadlines import parsed_period
from app.services.reader import Reader
from app.services.submission_reads import read_submission
from app.services.submissions import Taken, refuse, submit_one, take
from app.services.units import resolve_unit

__all__ = ["create_submission", "create_submissions", "get_form", "put_form"]


async def create_submission(
    connection: AsyncConnection, report: SubmissionCreate, *, now: datetime
) -> tuple[SubmissionRead, str]:
    """Take one report in.

    Raises:
        ConflictError: there is one already; its id is in ``existing``.
        InvalidRequestError: the report is refused.
    """
    taken = await submit_one(connection, report, now=now)
    assert taken.id is not None, "what is not refused has been taken in"
    return await read_submission(connection, taken.id)


async def create_submissions(
    connection: AsyncConnection, reports: Sequence[SubmissionCreate], *, atomic: bool, dry_run: bool, now: datetime
) -> BatchRead:
    """Take a batch in, each report with its own result; with ``atomic`` all or none, with ``dry_run`` none."""
    savepoint = await connection.begin_nested()
    taken = await take(connection, reports, now=now, write=not dry_run, atomic=atomic)
    if atomic and any(result.faults for result in taken):
        # One that lost a race was found out only by writing.
        await savepoint.rollback()
        for result in taken:
            result.id = None
    else:
        await savepoint.commit()
    return _outcome(taken, dry_run=dry_run, atomic=atomic)


async def get_form(reader: Reader, unit: str, period: str, known: Known) -> Rendered:
    """Every task that a unit owes a report on for a period, with its submission or null.

    Raises:
        UnknownUnitError, AmbiguousError: the unit means none or several.
        UnknownReferenceError: the period is none.
    """
    key = await resolve_unit(reader, unit, scope=None, at="/path")
    return await submission_reads.get_form(reader, key, parsed_period(period, "/path/period").code, known)


async def put_form(
    connection: AsyncConnection, reader: Reader, unit: str, period: str, form: FormWrite, *, now: datetime
) -> BatchRead:
    """Take the form of a unit in as a whole: drafts and returned reports are replaced, new ones created.

    Raises:
        UnknownUnitError, AmbiguousError: the unit means none or several.
        ConflictError: a report of the form waits for certification or is certified.
        InvalidRequestError: any of the reports is refused; nothing of the form is kept.
    """
    key = await resolve_unit(reader, unit, scope=None, at="/path")
    code = await connection.scalar(select(Unit.code).where(Unit.id == key))
    assert code is not None, "the key was resolved from the unit's name"
    parsed_period(period, "/path/period")
    there = {
        row.task: row
        for row in await connection.execute(
            select(Task.code.label("task"), Submission.id, Submission.state)
            .join(Task, Task.id == Submission.task_id)
            .where(Submission.unit_id == key, Submission.period == period)
            .order_by(Submission.task_id)
            .with_for_update(of=Submission)
        )
    }
    tasks = [line.task for line in form.items]
    repeated = [index for index, task in enumerate(tasks) if task in tasks[:index]]
    if repeated:
        faults = [Fault(f"/body/items/{n}/task", "repeated", f"任务 {tasks[n]} 重复") for n in repeated]
        raise InvalidRequestError("同一份表中任务重复", faults=faults)
    editable = {task for task, row in there.items() if SubmissionAction.EDIT in allowed(SubmissionState(row.state))}
    results: dict[int, BatchResult] = {}
    fresh = [index for index, task in enumerate(tasks) if task not in editable]
    reports = [
        SubmissionCreate(**dict(form.items[index]), unit=code, period=period, submit=form.submit) for index in fresh
    ]
    if reports:
        taken = await take(connection, reports, now=now, atomic=True)
        _refuse_form(taken, fresh)
        results |= {
            index: result.model_copy(update={"index": index})
            for index, result in zip(fresh, _outcome(taken, dry_run=False).results, strict=True)
        }
    faults: list[Fault] = []
    for index, line in enumerate(form.items):
        if line.task not in editable:
            continue
        try:
            shown = await _replace(connection, there[line.task].id, line, submit=form.submit, now=now)
        except InvalidRequestError as error:
            faults += _of_item(index, error.faults)
        else:
            results[index] = BatchResult(index=index, status=200, id=shown.id, warnings=shown.warnings, errors=[])
    refuse(Taken(faults=faults))
    ordered = [results[index] for index in sorted(results)]
    return BatchRead(accepted=len(ordered), refused=0, results=ordered)


async def _replace(
    connection: AsyncConnection, identity: UUID, line: FormLine, *, submit: bool, now: datetime
) -> SubmissionRead:
    said = SubmissionPatch(**line.model_dump(exclude={"task"}))
    shown, _ = await steps.edit_submission(connection, identity, said, match=None, now=now)
    if submit:
        shown, _ = await steps.submit_submission(connection, shown.id, SubmitStep(), match=None, now=now)
    return shown


def _refuse_form(taken: Sequence[Taken], indexes: Sequence[int]) -> None:
    faults = [fault for index, result in zip(indexes, taken, strict=True) for fault in _of_item(index, result.faults)]
    existing = next((result.existing for result in taken if result.existing is not None), None)
    refuse(Taken(faults=faults, existing=existing))


def _of_item(index: int, faults: Sequence[Fault]) -> list[Fault]:
    """The faults of one report where they stand in the form; what is wrong with all of it stands at its task."""
    places = [fault.pointer if fault.pointer.startswith("/body/") else "/body/task" for fault in faults]
    return [
        Fault(f"/body/items/{index}{place.removeprefix('/body')}", fault.code, fault.detail)
        for place, fault in zip(places, faults, strict=True)
    ]


def _outcome(taken: Sequence[Taken], *, dry_run: bool, atomic: bool = False) -> BatchRead:
    results = [
        BatchResult(
            index=index,
            status=_status(result, dry_run=dry_run),
            id=result.id or result.existing,
            warnings=[WarningRead(code=warning.code, detail=warning.detail) for warning in result.warnings],
            errors=[{"pointer": f.pointer, "code": f.code, "detail": f.detail} for f in result.faults],
        )
        for index, result in enumerate(taken)
    ]
    accepted = sum(not result.faults for result in taken)
    if atomic and accepted < len(taken):
        accepted = 0
    return BatchRead(accepted=accepted, refused=len(taken) - accepted, results=results)


def _status(result: Taken, *, dry_run: bool) -> int:
    if result.existing is not None or any(fault.code == "already_reported" for fault in result.faults):
        return 409
    if result.faults:
        return 422
    return 200 if dry_run or result.id is None else 201
