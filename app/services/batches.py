"""Reports on their way in: one, a batch with a result for each, the whole form of a unit."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import TypedDict
from uuid import UUID

import orjson

from app.db import Database
from app.domain.permissions import Capability
from app.domain.progress import ReportWarning
from app.domain.workflow import SubmissionAction, SubmissionState, allowed
from app.errors import AppError, Fault, InvalidRequestError
from app.rendering import Known, Rendered, render
from app.schemas.submission import (
    FormLine,
    FormWrite,
    SubmissionCreate,
    SubmissionPatch,
    SubmissionRead,
    SubmitStep,
)
from app.services import steps
from app.services.caller import Caller, forbidden
from app.services.deadlines import parsed_period
from app.services.idempotency import Attempt, Kept
from app.services.intake import Answered, Intake, Keyed, Outcome
from app.services.owed_reports import read_form
from app.services.reader import Reader
from app.services.reports import Report, Taken, about
from app.services.submission_reads import received
from app.services.submissions import (
    FORBIDDEN,
    Cleared,
    is_cleared,
    refuse,
    take,
    take_known,
)
from app.services.units import unit_named

__all__ = ["create_submission", "create_submissions", "get_form", "put_form", "put_together", "status_of"]


class _Result(TypedDict):
    """A :class:`BatchResult` as it is written; hundreds of them are checked by tests, not one by one as they go out."""

    index: int
    status: int
    id: str | UUID | None
    warnings: Sequence[ReportWarning]
    errors: Sequence[Mapping[str, str]]


async def create_submission(
    intake: Intake,
    given: SubmissionCreate,
    *,
    attempt: Attempt | None,
    answer: Callable[[SubmissionRead, str], Kept],
    now: datetime,
    caller: Caller,
) -> Answered:
    """Take one report in; ``answer`` makes its answer of what is shown.

    Raises:
        ConflictError: there is one already; its id is in ``existing``.
        ForbiddenError: the caller may not report for the unit.
        InvalidRequestError: the report is refused.
        KeyReusedError, StillRunningError: as :func:`~app.services.idempotency.take_up` has it.
    """
    report = _report(given, now, caller)

    def answered(report: Report, taken: Taken) -> Kept:
        return answer(*received(report, taken))

    if attempt is None:
        outcome: Outcome = await intake.take(report)
    else:
        outcome = await intake.take_once(Keyed(attempt, report, answered))
    if isinstance(outcome, AppError):
        raise outcome
    if isinstance(outcome, Answered):
        return outcome
    refuse(outcome)
    return Answered(answered(report, outcome), again=False)


def _report(given: SubmissionCreate, now: datetime, caller: Caller) -> Report:
    return Report(given.task, given.unit, given.period, given.submit, given, now, caller)


async def create_submissions(
    db: Database, given: Sequence[SubmissionCreate], *, atomic: bool, dry_run: bool, now: datetime, caller: Caller
) -> bytes:
    """Take a batch in, each report with its own result; with ``atomic`` all or none, with ``dry_run`` none.

    What became of it is the JSON of a :class:`~app.schemas.submission.BatchRead`.
    """
    reports = [_report(one, now, caller) for one in given]
    taken = await take(db, reports, write=not dry_run, atomic=atomic)
    results = [_result(index, one, dry_run=dry_run) for index, one in enumerate(taken)]
    accepted = sum(not one.faults for one in taken)
    if atomic and accepted < len(taken):
        accepted = 0
    return _written(accepted, results)


async def get_form(
    reader: Reader, trail: Database, unit: str, period: str, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """Every task that a unit owes a report on for a period, with its submission or null.

    Raises:
        UnknownUnitError, AmbiguousError: the unit means none or several.
        UnknownReferenceError: the period is none.
        NotFoundError: it is a form that the caller may not see.
    """
    named = await unit_named(reader, unit, scope=None, at="/path")
    code = parsed_period(period, "/path/period").code
    return render(await read_form(reader, trail, named, code, now=now, caller=caller), known)


async def put_form(
    db: Database,
    reader: Reader,
    unit: str,
    period: str,
    form: FormWrite,
    *,
    intake: Intake,
    now: datetime,
    caller: Caller,
) -> bytes:
    """Take the form of a unit in as a whole: drafts and returned reports are replaced, new ones created.

    What became of it is the JSON of a :class:`~app.schemas.submission.BatchRead`.

    Raises:
        UnknownUnitError, AmbiguousError: the unit means none or several.
        ForbiddenError: the caller may not report for the unit.
        ConflictError: a report of the form waits for certification or is certified.
        InvalidRequestError: any of the reports is refused; nothing of the form is kept.
    """
    parsed_period(period, "/path/period")
    _refuse_repeated([line.task for line in form.items])
    reports = [Report(line.task, unit, period, form.submit, line, now, caller) for line in form.items]
    taken = await intake.take_form(reports)
    if any(one.about.unit is None for one in taken):
        # Named by a task of no plan, the unit may be found all the same.
        named = await unit_named(reader, unit, scope=None, at="/path")
        reports = [report._replace(unit=named["code"]) for report in reports]
        taken = await intake.take_form(reports)
    if all(one.id is not None for one in taken):
        return _written(len(taken), [_result(index, one) for index, one in enumerate(taken)])
    # Before anything is told of what is there already.
    _refuse_others(reports, taken)
    if not any(_is_editable(one.about.state) for one in taken):
        _refuse_form(taken, range(len(taken)))
    async with db.transaction() as whole:
        results = await put_together(whole, reports, form, now=now)
    return _written(len(results), results)


def _is_editable(state: str | None) -> bool:
    return state is not None and SubmissionAction.EDIT in allowed(SubmissionState(state))


async def put_together(db: Database, reports: Sequence[Report], form: FormWrite, *, now: datetime) -> list[_Result]:
    """Take new reports in and replace older ones, in the transaction of ``db``, which an error leaves to be undone.

    Raises:
        AppError: as for :func:`put_form`.
    """
    results: dict[int, _Result] = {}
    concerned = await about(db, reports)
    editable = {
        index: (one.task_id, one.existing)
        for index, one in enumerate(concerned)
        if one.task_id is not None and one.existing is not None and _is_editable(one.state)
    }
    fresh = [index for index in range(len(reports)) if index not in editable]
    if fresh:
        taken = await take_known(
            db, [reports[index] for index in fresh], [concerned[index] for index in fresh], atomic=True
        )
        _refuse_form(taken, fresh)
        for index, result in zip(fresh, taken, strict=True):
            results[index] = _result(index, result)
    faults: list[Fault] = []
    # In the order in which all steps lock.
    for index, (_, identity) in sorted(editable.items(), key=itemgetter(1)):
        try:
            shown = await _replace(
                db, identity, form.items[index], submit=form.submit, now=now, caller=reports[index].caller
            )
        except InvalidRequestError as error:
            faults += _of_item(index, error.faults)
        else:
            warnings = [ReportWarning(warning.code, warning.detail) for warning in shown.warnings]
            results[index] = _Result(index=index, status=200, id=shown.id, warnings=warnings, errors=[])
    refuse(Taken(faults=faults))
    return [results[index] for index in sorted(results)]


def _refuse_others(reports: Sequence[Report], taken: Sequence[Taken]) -> None:
    cleared: Cleared = {}
    for report, one in zip(reports, taken, strict=True):
        unit = one.about.unit
        if unit is not None and not is_cleared(report.caller, report.task, unit.code, cleared):
            raise forbidden(report.caller.actor, Capability.REPORT, unit.name)


def _refuse_repeated(tasks: Sequence[str]) -> None:
    seen: set[str] = set()
    faults: list[Fault] = []
    for index, task in enumerate(tasks):
        if task in seen:
            faults.append(Fault(f"/body/items/{index}/task", "repeated", f"任务 {task} 重复"))
        seen.add(task)
    if faults:
        raise InvalidRequestError("同一份表中任务重复", faults=faults)


async def _replace(
    db: Database, identity: UUID, line: FormLine, *, submit: bool, now: datetime, caller: Caller
) -> SubmissionRead:
    said = SubmissionPatch(**line.model_dump(exclude={"task"}))
    shown, _ = await steps.edit_submission(db, identity, said, match=None, now=now, caller=caller)
    if submit:
        shown, _ = await steps.submit_submission(db, shown.id, SubmitStep(), match=None, now=now, caller=caller)
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


def _result(index: int, taken: Taken, *, dry_run: bool = False) -> _Result:
    return {
        "index": index,
        "status": status_of(taken, dry_run=dry_run),
        "id": taken.id or taken.existing,
        "warnings": taken.warnings,
        "errors": [fault.shown() for fault in taken.faults] if taken.faults else (),
    }


def _written(accepted: int, results: Sequence[_Result]) -> bytes:
    """The JSON of a :class:`BatchRead`."""
    answer = {"accepted": accepted, "refused": len(results) - accepted, "results": results}
    # An id that asyncpg read is of a type of its own.
    return orjson.dumps(answer, default=str)


def status_of(result: Taken, *, dry_run: bool) -> int:
    """The status that a request for one report alone would have been answered with."""
    if not result.faults:
        return 200 if dry_run or result.id is None else 201
    if any(fault.code == FORBIDDEN for fault in result.faults):
        return 403
    already = result.existing is not None or any(fault.code == "already_reported" for fault in result.faults)
    return 409 if already else 422
