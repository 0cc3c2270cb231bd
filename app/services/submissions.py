"""Reports taken in: one, a batch, or the whole form of a unit, all by the same path.

However many reports come at once, they cost the same round trips: one query for what they name, one for what they are
about, one statement that writes them with their revisions, figures, steps and obligations. That statement is complete
in itself, so that nothing needs a transaction around it.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import asyncpg
import orjson
import uuid_utils
from sqlalchemy import text

from app.clock import day_of
from app.db import SCOPE_GIVEN, Database, Query
from app.domain.periods import parse_period
from app.domain.permissions import Capability, Subject, may_report
from app.domain.plan import battle_of, plan_of
from app.errors import ConflictError, Fault, ForbiddenError, InvalidRequestError, summary_of
from app.metrics import REPORTS
from app.services.audit import APPEND, Entry, entry_of, given_once, record_all
from app.services.caller import Caller, forbidden
from app.services.columns import Kinds, columns_of, parameters, shortened
from app.services.report_checks import contradictions, warnings_of
from app.services.reports import About, Report, Taken, Unit, about
from app.services.revisions import revision_of
from app.services.submission_acts import created

__all__ = [
    "FORBIDDEN",
    "Cleared",
    "SpoiledError",
    "is_cleared",
    "refuse",
    "take",
    "take_forms",
    "take_known",
]

# Of each report that is written, and of each of their figures.
_KINDS: Final[Kinds] = {
    "identity": "text",
    "unit_id": "bigint",
    "obligation_id": "bigint",
    "state": "text",
    "at": "timestamptz",
    "stage": "text",
    "percent_complete": "float8",
    "progress": "text",
    "problems": "text",
    "next_steps": "text",
    "client_as_of": "timestamptz",
    "warnings": "text",
    "content_hash": "text",
    "task": "text",
    "unit": "text",
    "plan": "text",
    "battle": "text",
}
_FIGURE_KINDS: Final[Kinds] = {
    "figure_of": "text",
    "figure_task": "bigint",
    "figure_target": "bigint",
    "figure_value": "float8",
}
# What a report is about is copied from its obligation; a plan that was loaded anew in between may have taken it back.
_WRITE = f"""
    WITH given AS MATERIALIZED (
        SELECT g.*, CAST(g.identity AS uuid) AS id, o.task_id, o.plan_id, o.battle_id, o.period, o.period_start
        FROM unnest({parameters(_KINDS, whole="identity")}) AS g({", ".join(_KINDS)})
        LEFT JOIN obligations o ON o.unit_id = g.unit_id AND o.id = g.obligation_id
        WHERE {SCOPE_GIVEN}
    ), whole AS MATERIALIZED (
        SELECT count(*) = count(task_id) AS is_owed FROM given
    ), kept AS (
        INSERT INTO submissions (task_id, id, unit_id, plan_id, battle_id, period, period_start, state, revision,
                                 version, created_at)
        SELECT task_id, id, unit_id, plan_id, battle_id, period, period_start, state, 1, 1, at FROM given
        WHERE {{owed}}
        ORDER BY task_id, unit_id, period
        {{conflict}}
        RETURNING id
    ), written AS {{written}}, revisions AS (
        INSERT INTO submission_revisions (task_id, submission_id, revision, stage, percent_complete, progress, problems,
                                          next_steps, client_as_of, warnings, created_at, submitted_at, content_hash)
        SELECT task_id, id, 1, stage, percent_complete, progress, problems, next_steps, client_as_of,
               CAST(warnings AS jsonb), at, CASE state WHEN 'submitted' THEN at END, content_hash
        FROM written
    ), figures AS (
        INSERT INTO observations (task_id, submission_id, revision, target_id, value)
        SELECT f.figure_task, CAST(f.figure_of AS uuid), 1, f.figure_target, f.figure_value
        FROM unnest({parameters(_FIGURE_KINDS, whole="figure_of")}) AS f({", ".join(_FIGURE_KINDS)})
        WHERE {{figured}}
    ), steps AS (
        INSERT INTO submission_transitions (task_id, submission_id, revision, action, to_state, at, actor_unit_id)
        SELECT task_id, id, 1, CASE state WHEN 'submitted' THEN 'submit' ELSE 'edit' END, state, at, unit_id
        FROM written
    ), owed AS (
        UPDATE obligations o SET submitted_at = f.at
        FROM written f
        WHERE o.unit_id = f.unit_id AND o.id = f.obligation_id AND f.state = 'submitted' AND o.filed_at IS NULL
          -- Whoever comes second for a report waits for the first above, before anything is held here.
          AND (SELECT count(*) FROM kept) > 0
        RETURNING o.id
    ), told AS (
        INSERT INTO outbox (at, type, plan, battle, unit, subject, data)
        SELECT at, 'submission.submitted', plan, battle, unit, id,
               json_build_object('task', task, 'period', period, 'revision', 1, 'content_hash', content_hash)
        FROM written WHERE state = 'submitted'
    ), audited AS (
        -- When all is done that waits for others.
        SELECT {{append}} FROM (SELECT count(*) AS n FROM owed) AS done WHERE done.n >= 0
    )
    SELECT given.identity FROM given
    WHERE (SELECT count(*) FROM audited) > 0 AND {{unwritten}}
"""  # noqa: S608 - of constants
# Who comes second for one task, unit and period inserts nothing and is told so; all else follows from that row.
_WRITE_EACH = Query(
    text(
        _WRITE.format(
            owed="task_id IS NOT NULL",
            conflict="ON CONFLICT (task_id, unit_id, period) DO NOTHING",
            written="MATERIALIZED (SELECT given.* FROM given JOIN kept USING (id))",
            figured="CAST(f.figure_of AS uuid) IN (SELECT kept.id FROM kept)",
            append=APPEND.format(kept="ARRAY(SELECT CAST(kept.id AS text) FROM kept)"),
            unwritten="NOT EXISTS (SELECT FROM kept WHERE kept.id = given.id)",
        )
    )
)
# All or none, for less: what one comes second with violates the constraint, and nothing is inserted.
_WRITE_ALL = Query(
    text(
        _WRITE.format(
            owed="(SELECT is_owed FROM whole)",
            conflict="",
            written="NOT MATERIALIZED (SELECT given.* FROM given WHERE (SELECT is_owed FROM whole))",
            figured="(SELECT is_owed FROM whole)",
            append=APPEND.format(kept="CASE WHEN (SELECT is_owed FROM whole) THEN NULL ELSE CAST('{}' AS text[]) END"),
            unwritten="NOT (SELECT is_owed FROM whole)",
        )
    )
)


@dataclass(slots=True)
class _Accepted:
    """Reports that are to be written: what becomes of each, by its id, its row, those of its figures, its act."""

    results: dict[str, Taken] = field(default_factory=dict[str, Taken])
    rows: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    figures: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    acts: list[Entry] = field(default_factory=list[Entry])

    def add(self, others: "_Accepted") -> None:
        """Take others in as well."""
        self.results |= others.results
        self.rows += others.rows
        self.figures += others.figures
        self.acts += others.acts


async def take(db: Database, reports: Sequence[Report], *, write: bool = True, atomic: bool = False) -> list[Taken]:
    """Take reports in, each with its own result; with ``atomic`` nothing is written unless all can be.

    A report is refused where its unit does not owe it, its period lies ahead or is locked, or it contradicts itself;
    what merely looks odd is a warning. Without ``write`` everything is checked and nothing kept.
    """
    return await take_known(db, reports, await about(db, reports), write=write, atomic=atomic)


async def take_known(
    db: Database,
    reports: Sequence[Report],
    concerned: Sequence[About],
    *,
    write: bool = True,
    atomic: bool = False,
) -> list[Taken]:
    """As :func:`take`, for reports whose :func:`about` has been asked for."""
    taken, accepted = _examined(reports, concerned)
    if not write:
        return taken
    if not accepted.rows or (atomic and len(accepted.rows) < len(reports)):
        _tally(taken)
        return taken
    unwritten = await _write(db, accepted, atomic=atomic)
    for identity, result in accepted.results.items():
        result.id = None if identity in unwritten else identity
    lost = [
        index
        for index, result in enumerate(taken)
        if result.id is None and result.existing is None and (not result.faults or result.faults == [_ALREADY_REPORTED])
    ]
    if lost:
        await _explain_lost(db, [reports[index] for index in lost], [taken[index] for index in lost], atomic=atomic)
    _tally(taken)
    return taken


class SpoiledError(Exception):
    """What was to be taken in together was not, for some of it is in the way of others; alone each can be tried."""


async def take_forms(db: Database, forms: Sequence[Sequence[Report]]) -> list[list[Taken]]:
    """Take whole forms in by the same statements, each as :func:`take` does with ``atomic``.

    Raises:
        SpoiledError: nothing was kept, because one of several was forestalled.
    """
    if len(forms) == 1:
        return [await take(db, forms[0], atomic=True)]
    concerned = iter(await about(db, [report for form in forms for report in form]))
    taken: list[list[Taken]] = []
    accepted = _Accepted()
    for form in forms:
        results, of_form = _examined(form, list(islice(concerned, len(form))))
        taken.append(results)
        if len(of_form.rows) == len(form):
            accepted.add(of_form)
    if accepted.rows and await _write(db, accepted, atomic=True):
        raise SpoiledError
    for identity, result in accepted.results.items():
        result.id = identity
    for results in taken:
        _tally(results)
    return taken


def _examined(reports: Sequence[Report], concerned: Sequence[About]) -> tuple[list[Taken], _Accepted]:
    """What is to become of reports, and what is written of those that are not refused."""
    taken: list[Taken] = []
    accepted = _Accepted()
    seen: set[int] = set()
    cleared: Cleared = {}
    for report, on in zip(reports, concerned, strict=True):
        result = Taken(on, faults=_refusals(report, on, cleared))
        taken.append(result)
        if not result.faults and (on.existing is not None or on.obligation_id in seen):
            result.existing = on.existing
            result.faults = [_ALREADY_REPORTED]
        if result.faults:
            continue
        assert on.unit is not None, "it is owed by a unit"
        assert on.obligation_id is not None, "it is owed"
        assert on.limits is not None, "it is owed under a rule"
        seen.add(on.obligation_id)
        result.warnings = warnings_of(
            report.said,
            parse_period(report.period),
            limits=on.limits,
            points=on.points,
            previous_percent=on.previous_percent,
            figures=on.figures,
        )
        _accept(accepted, report, result, on.unit)
    return taken, accepted


def _tally(taken: Sequence[Taken]) -> None:
    """For the metrics: what became of reports, by the code of the first fault; whole is refused what is not written."""
    outcomes = Counter(
        one.faults[0].code if one.faults else "accepted" if one.id is not None else "not_written" for one in taken
    )
    for outcome, reports in outcomes.items():
        REPORTS.labels(outcome).inc(reports)


async def _write(db: Database, accepted: _Accepted, *, atomic: bool) -> set[str]:
    """Write what can be, and record it; the ids of what could not."""
    reports = {
        **shortened(columns_of(_KINDS, accepted.rows), whole="identity"),
        **shortened(columns_of(_FIGURE_KINDS, accepted.figures), whole="figure_of"),
    }
    # Within a transaction there is more to come before acts may be put down.
    acts = given_once(accepted.acts if db.stands_alone else ())
    unwritten = set(accepted.results)
    # Seldom is one forestalled; within a transaction to try would cost round trips.
    if atomic or db.stands_alone:
        with suppress(asyncpg.UniqueViolationError):
            async with db.apart():
                unwritten = {row["identity"] for row in await db.fetch(_WRITE_ALL, **reports, **acts)}
    if unwritten and not atomic:
        unwritten = {row["identity"] for row in await db.fetch(_WRITE_EACH, **reports, **acts)}
    if not db.stands_alone:
        await record_all(
            db,
            [act for identity, act in zip(accepted.results, accepted.acts, strict=True) if identity not in unwritten],
        )
    return unwritten


async def _explain_lost(db: Database, reports: Sequence[Report], lost: Sequence[Taken], *, atomic: bool) -> None:
    """Say of reports that were not kept which submission was there first, or that nothing is owed any more.

    With ``atomic`` some were not kept only because of others.

    Raises:
        ConflictError: nothing explains it; what was in the way has gone again.
    """
    for report, result, now in zip(reports, lost, await about(db, reports), strict=True):
        result.existing = now.existing
        if now.obligation_id is None:
            result.faults = [_not_owed(report)]
        elif now.existing is not None or not atomic:
            result.faults = [_ALREADY_REPORTED]
    if not any(result.faults for result in lost):
        raise ConflictError("与同时提交的内容冲突,未写入任何内容,请重试")


def refuse(taken: Taken) -> None:
    """Raise for a report that was not taken in; nothing for one that was.

    Raises:
        ForbiddenError: the caller may not report for the unit.
        ConflictError: there is one already; its id is in ``existing``.
        InvalidRequestError: the report is refused.
    """
    if any(fault.code == FORBIDDEN for fault in taken.faults):
        raise ForbiddenError(taken.faults[0].detail, faults=taken.faults)
    if taken.existing is not None:
        raise ConflictError("该任务该期已有进度报送", faults=taken.faults, existing=str(taken.existing))
    if taken.faults:
        raise InvalidRequestError(summary_of(taken.faults), faults=taken.faults)


FORBIDDEN = "forbidden"
# Whether a caller may report for a unit on a plan: asked once for all of a batch.
Cleared = dict[tuple[int, str, str], bool]
_ALREADY_REPORTED = Fault("/body/period", "already_reported", "该任务该期已有进度报送")


def _not_owed(report: Report) -> Fault:
    detail = f"“{report.unit}”在 {report.period} 没有任务 {report.task} 的应报"
    return Fault("/body/period", "not_owed", detail)


# The reports of a batch all come at the same instant.
_day_of = lru_cache(maxsize=100)(day_of)


def is_cleared(caller: Caller, task: str, unit: str, cleared: Cleared) -> bool:
    """Whether a caller may report for the unit of this code on the task."""
    key = (id(caller), unit, plan_of(task))
    allowed = cleared.get(key)
    if allowed is None:
        allowed = cleared[key] = may_report(caller.actor, Subject(plan=key[2], unit=unit))
    return allowed


def _refusals(report: Report, on: About, cleared: Cleared) -> list[Fault]:
    """Why a report cannot be taken; what it names comes first, for nothing can be said of a report on nothing."""
    if on.task_id is None:
        fault = Fault("/body/task", "unknown_task", f"没有任务 {report.task}")
    elif on.unit is None:
        fault = Fault("/body/unit", "unknown_unit", f"没有编码或名称为“{report.unit}”的单位")
    elif not is_cleared(report.caller, report.task, on.unit.code, cleared):
        # Before anything is said of what the unit owes or has reported.
        detail = forbidden(report.caller.actor, Capability.REPORT, on.unit.name).detail
        fault = Fault("/body/unit", FORBIDDEN, detail)
    elif on.obligation_id is None:
        fault = _not_owed(report)
    elif parse_period(report.period).start > _day_of(report.at):
        fault = Fault("/body/period", "period_ahead", f"{report.period} 尚未开始")
    elif on.locked_at is not None and report.at > on.locked_at:
        fault = Fault("/body/period", "locked", f"{report.period} 的补报期限已过,须先批准延期")
    else:
        return contradictions(report.said, on.task_id, on.figures)
    return [fault]


def _accept(accepted: _Accepted, report: Report, result: Taken, unit: Unit) -> None:
    """Prepare what is written of a report, under an id of its own."""
    identity = str(uuid_utils.uuid7())
    on, said, task, period = result.about, report.said, report.task, report.period
    revision = revision_of(said, task=task, unit=unit.code, period=period, revision=1)
    content_hash = result.content_hash = revision["content_hash"]
    act = created(identity, task=task, unit=unit.code, period=period, state=report.state, content_hash=content_hash)
    accepted.results[identity] = result
    accepted.rows.append(
        (
            identity,
            unit.id,
            on.obligation_id,
            report.state,
            report.at,
            said.stage,
            revision["percent_complete"],
            said.progress,
            said.problems,
            said.next_steps,
            said.as_of,
            orjson.dumps(result.warnings).decode() if result.warnings else "[]",
            content_hash,
            task,
            unit.code,
            plan_of(task),
            battle_of(task),
        )
    )
    for figure in revision["observations"]:
        accepted.figures.append((identity, on.task_id, on.figures[figure["target"]].aim.id, figure["value"]))
    accepted.acts.append(entry_of(report.caller, act, now=report.at))
