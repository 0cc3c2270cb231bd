"""Reports taken in: one, a batch, or the whole form of a unit, all by the same path.

However many reports come at once, they cost the same round trips: one query for what they are about, one for the
targets they name, one statement that writes them with their revisions, figures, steps and obligations.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

import orjson
import uuid_utils.compat
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from app.clock import SHANGHAI
from app.domain.periods import Period, parse_period
from app.domain.plan import Accumulation, Operator
from app.domain.progress import Figure, ReportWarning, check_report, refuse_report, schedule_progress
from app.domain.workflow import SubmissionState
from app.errors import ConflictError, Fault, InvalidRequestError
from app.rendering import exact
from app.schemas.submission import ReportWrite, SubmissionCreate

__all__ = [
    "Taken",
    "content_hash",
    "contradictions",
    "figures_of",
    "refuse",
    "stored",
    "submit_one",
    "take",
    "warnings_of",
]

_ABOUT = text("""
    SELECT w.n, t.id AS task_id, t.plan_id, t.battle_id, p.year, u.id AS unit_id, u.code AS unit, o.id AS obligation_id,
           o.period_start, greatest(o.lock_at, o.effective_due_at) AS lock_at, s.id AS existing, v.percent_complete
    FROM unnest(CAST(:tasks AS text[]), CAST(:units AS text[]), CAST(:periods AS text[]))
         WITH ORDINALITY AS w(task, unit, period, n)
    LEFT JOIN tasks t ON t.code = w.task
    LEFT JOIN plans p ON p.id = t.plan_id
    LEFT JOIN LATERAL (
        SELECT x.id, x.code FROM units x WHERE x.code = w.unit
        UNION SELECT y.id, y.code FROM unit_aliases a JOIN units y ON y.id = a.unit_id
        WHERE a.name = w.unit AND a.region_code = p.region_code
    ) u ON true
    LEFT JOIN LATERAL (
        SELECT o.id, o.period_start, o.lock_at, o.effective_due_at FROM obligations o
        JOIN rules r ON r.id = o.rule_id AND r.kind = 'reporting'
        WHERE o.unit_id = u.id AND o.task_id = t.id AND o.period = w.period LIMIT 1
    ) o ON true
    LEFT JOIN submissions s ON s.task_id = t.id AND s.unit_id = u.id AND s.period = w.period
    LEFT JOIN LATERAL (
        SELECT r.percent_complete FROM submissions b
        JOIN submission_revisions r ON (r.task_id, r.submission_id, r.revision)
                                     = (b.task_id, b.id, coalesce(b.certified_revision, b.revision))
        WHERE b.task_id = t.id AND b.unit_id = u.id AND b.period_start < o.period_start
        ORDER BY b.period_start DESC LIMIT 1
    ) v ON true
    ORDER BY w.n
""")
_TARGETS = text("""
    SELECT w.n, w.code, t.id, t.task_id, i.name, i.accumulation, t.operator, t.value, v.value AS previous
    FROM unnest(CAST(:rows AS int[]), CAST(:codes AS text[]), CAST(:units AS bigint[]), CAST(:starts AS date[]))
         AS w(n, code, unit, start)
    LEFT JOIN targets t ON t.code = w.code
    LEFT JOIN indicators i ON i.id = t.indicator_id
    LEFT JOIN LATERAL (
        SELECT o.value FROM submissions b
        JOIN observations o ON (o.task_id, o.submission_id, o.revision)
                             = (b.task_id, b.id, coalesce(b.certified_revision, b.revision))
        WHERE b.task_id = t.task_id AND b.unit_id = w.unit AND b.period_start < w.start AND o.target_id = t.id
          AND extract(year FROM b.period_start) = extract(year FROM w.start)
        ORDER BY b.period_start DESC LIMIT 1
    ) v ON true
""")
# Who comes second for one task, unit and period inserts nothing and is told so; all else follows from that row.
_WRITE = text("""
    WITH given AS (
        SELECT * FROM jsonb_to_recordset(:reports) AS g(
            id uuid, task_id bigint, unit_id bigint, plan_id bigint, battle_id bigint, period text, period_start date,
            obligation_id bigint, state text, stage text, percent_complete numeric, progress text, problems text,
            next_steps text, client_as_of timestamptz, warnings jsonb, content_hash text, observations jsonb)
    ), kept AS (
        INSERT INTO submissions (task_id, id, unit_id, plan_id, battle_id, period, period_start, state, revision,
                                 version, created_at)
        SELECT task_id, id, unit_id, plan_id, battle_id, period, period_start, state, 1, 1, :now FROM given
        ORDER BY task_id, unit_id, period
        ON CONFLICT (task_id, unit_id, period) DO NOTHING
        RETURNING id
    ), fresh AS (
        SELECT given.* FROM given JOIN kept USING (id)
    ), revisions AS (
        INSERT INTO submission_revisions (task_id, submission_id, revision, stage, percent_complete, progress, problems,
                                          next_steps, client_as_of, warnings, created_at, submitted_at, content_hash)
        SELECT task_id, id, 1, stage, percent_complete, progress, problems, next_steps, client_as_of, warnings, :now,
               CASE state WHEN 'submitted' THEN CAST(:now AS timestamptz) END, content_hash
        FROM fresh
    ), figures AS (
        INSERT INTO observations (task_id, submission_id, revision, target_id, value)
        SELECT f.task_id, f.id, 1, o.target_id, o.value
        FROM fresh f, jsonb_to_recordset(f.observations) AS o(target_id bigint, value numeric)
    ), steps AS (
        INSERT INTO submission_transitions (task_id, submission_id, revision, action, to_state, at, actor_unit_id)
        SELECT task_id, id, 1, CASE state WHEN 'submitted' THEN 'submit' ELSE 'edit' END, state, :now, unit_id
        FROM fresh
    ), owed AS (
        UPDATE obligations o SET submitted_at = :now
        FROM fresh f
        WHERE o.unit_id = f.unit_id AND o.id = f.obligation_id AND f.state = 'submitted' AND o.filed_at IS NULL
    )
    SELECT id FROM kept
""").bindparams(bindparam("reports", type_=JSONB))


@dataclass(slots=True)
class Taken:
    """What became of one report: its id once it is in, or why it was refused."""

    id: UUID | None = None
    warnings: list[ReportWarning] = field(default_factory=list[ReportWarning])
    faults: list[Fault] = field(default_factory=list[Fault])
    existing: UUID | None = None


async def take(
    connection: AsyncConnection,
    reports: Sequence[SubmissionCreate],
    *,
    now: datetime,
    write: bool = True,
    atomic: bool = False,
) -> list[Taken]:
    """Take reports in, each with its own result; with ``atomic`` nothing is written unless all can be.

    A report is refused where its unit does not owe it, its period lies ahead or is locked, or it contradicts itself;
    what merely looks odd is a warning. Without ``write`` everything is checked and nothing kept.
    """
    taken = [Taken() for _ in reports]
    about = (
        await connection.execute(
            _ABOUT,
            {
                "tasks": [report.task for report in reports],
                "units": [report.unit for report in reports],
                "periods": [report.period for report in reports],
            },
        )
    ).all()
    figures = await figures_of(connection, reports, about)
    rows: dict[UUID, tuple[int, dict[str, Any]]] = {}
    seen: set[tuple[int, int, str]] = set()
    for index, (report, row, result) in enumerate(zip(reports, about, taken, strict=True)):
        result.faults = _refusals(report, row, figures[index], now)
        key = (row.task_id, row.unit_id, report.period)
        if not result.faults and (row.existing is not None or key in seen):
            result.existing = row.existing
            result.faults = [Fault("/body/period", "already_reported", "该任务该期已有进度报送")]
        if result.faults:
            continue
        seen.add(key)
        result.warnings = warnings_of(
            report, row.year, parse_period(report.period), row.percent_complete, figures[index]
        )
        identity = uuid_utils.compat.uuid7()
        rows[identity] = (index, _row(identity, report, row, figures[index], result.warnings))
    if not write or not rows or (atomic and len(rows) < len(reports)):
        return taken
    values = {"reports": [row for _, row in rows.values()], "now": now}
    kept = set((await connection.execute(_WRITE, values)).scalars())
    for identity, (index, _) in rows.items():
        if identity in kept:
            taken[index].id = identity
        else:
            taken[index].faults = [Fault("/body/period", "already_reported", "该任务该期已有进度报送")]
    await _find_winners(connection, reports, taken)
    return taken


async def submit_one(connection: AsyncConnection, report: SubmissionCreate, *, now: datetime) -> Taken:
    """Take one report in.

    Raises:
        ConflictError: there is one already; its id is in ``existing``.
        InvalidRequestError: the report is refused.
    """
    (taken,) = await take(connection, [report], now=now)
    refuse(taken)
    return taken


def refuse(taken: Taken) -> None:
    """Raise for a report that was not taken in; nothing for one that was."""
    if taken.existing is not None:
        raise ConflictError("该任务该期已有进度报送", faults=taken.faults, existing=str(taken.existing))
    if taken.faults:
        summary = ";".join(fault.detail for fault in taken.faults[:3])
        raise InvalidRequestError(f"未接受: {summary}", faults=taken.faults)


async def figures_of(
    connection: AsyncConnection, reports: Sequence[ReportWrite], about: Sequence[Any]
) -> list[dict[str, Any]]:
    """The targets that each report's observations name, by code."""
    named = [
        (index, observation.target, row.unit_id, row.period_start)
        for index, (report, row) in enumerate(zip(reports, about, strict=True))
        for observation in report.observations
    ]
    figures: list[dict[str, Any]] = [{} for _ in reports]
    if named:
        rows, codes, units, starts = (list(column) for column in zip(*named, strict=True))
        found = await connection.execute(_TARGETS, {"rows": rows, "codes": codes, "units": units, "starts": starts})
        for target in found:
            figures[target.n][target.code] = target
    return figures


def warnings_of(
    report: ReportWrite, year: int, period: Period, previous: Any, figures: dict[str, Any]
) -> list[ReportWarning]:
    """What looks odd about a report that can be taken."""
    return check_report(
        percent=report.percent_complete,
        previous_percent=previous,
        scheduled=schedule_progress(year, period.end),
        figures=[
            Figure(
                name=figures[observation.target].name,
                accumulation=Accumulation(figures[observation.target].accumulation),
                value=observation.value,
                previous=figures[observation.target].previous,
                target_value=_aim(figures[observation.target]),
            )
            for observation in report.observations
        ],
    )


def _aim(target: Any) -> Any:
    """What a figure grows towards; a ceiling or an aim without a value is nothing to grow towards."""
    growing = {Operator.GTE.value, Operator.GT.value, Operator.EQ.value, Operator.APPROX.value}
    return target.value if target.operator in growing else None


def content_hash(report: ReportWrite, *, task: str, unit: str, period: str, revision: int) -> str:
    """The SHA-256 of what a revision says, over its canonical JSON (sorted keys, no blanks, UTF-8).

    All of it stands in the answer, as it stands there (``unit`` is the code, figures are the JSON numbers, observations
    are ordered by target, ``as_of`` has the offset +08:00), so that whoever holds the answer can compute it again.
    """
    canonical = {
        "task": task,
        "unit": unit,
        "period": period,
        "revision": revision,
        "stage": report.stage.value,
        "percent_complete": exact(report.percent_complete),
        "progress": report.progress,
        "problems": report.problems,
        "next_steps": report.next_steps,
        "observations": [
            {"target": observation.target, "value": exact(observation.value)}
            for observation in sorted(report.observations, key=lambda observation: observation.target)
        ],
        "as_of": report.as_of.astimezone(SHANGHAI).isoformat() if report.as_of else None,
    }
    return hashlib.sha256(orjson.dumps(canonical, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _refusals(report: SubmissionCreate, row: Any, figures: dict[str, Any], now: datetime) -> list[Fault]:
    """Why a report cannot be taken; what it names comes first, for nothing can be said of a report on nothing."""
    if row.task_id is None:
        fault = Fault("/body/task", "unknown_task", f"没有任务 {report.task}")
    elif row.unit_id is None:
        fault = Fault("/body/unit", "unknown_unit", f"没有编码或名称为“{report.unit}”的单位")
    elif row.obligation_id is None:
        detail = f"“{report.unit}”在 {report.period} 没有任务 {report.task} 的应报"
        fault = Fault("/body/period", "not_owed", detail)
    elif row.period_start > _today(now):
        fault = Fault("/body/period", "period_ahead", f"{report.period} 尚未开始")
    elif now > row.lock_at:
        fault = Fault("/body/period", "locked", f"{report.period} 的补报期限已过,须先批准延期")
    else:
        return contradictions(report, row.task_id, figures)
    return [fault]


def contradictions(report: ReportWrite, task: int, figures: dict[str, Any]) -> list[Fault]:
    """Where a report contradicts itself or names a target that is not its task's."""
    faults = [
        Fault(f"/body/{part}", code, detail)
        for part, code, detail in refuse_report(report.stage, report.percent_complete)
    ]
    named = [observation.target for observation in report.observations]
    for index, code in enumerate(named):
        target = figures.get(code)
        if target is None or target.task_id != task:
            faults.append(Fault(f"/body/observations/{index}/target", "not_its_target", f"{code} 不是该任务的目标"))
        elif target.operator is None:
            faults.append(Fault(f"/body/observations/{index}/target", "qualitative", f"{code} 是定性目标,没有数值"))
        elif code in named[:index]:
            faults.append(Fault(f"/body/observations/{index}/target", "repeated", f"{code} 重复"))
    return faults


def _today(now: datetime) -> date:
    return now.astimezone(SHANGHAI).date()


def _row(
    identity: UUID, report: SubmissionCreate, row: Any, figures: dict[str, Any], warnings: list[ReportWarning]
) -> dict[str, Any]:
    state = SubmissionState.SUBMITTED if report.submit else SubmissionState.DRAFT
    return {
        "id": str(identity),
        "task_id": row.task_id,
        "unit_id": row.unit_id,
        "plan_id": row.plan_id,
        "battle_id": row.battle_id,
        "period": report.period,
        "period_start": row.period_start.isoformat(),
        "obligation_id": row.obligation_id,
        "state": state.value,
        **stored(report, figures, warnings),
        "content_hash": content_hash(report, task=report.task, unit=row.unit, period=report.period, revision=1),
    }


def stored(report: ReportWrite, figures: dict[str, Any], warnings: list[ReportWarning]) -> dict[str, Any]:
    """What a revision keeps of a report, as the writing statements read it."""
    return {
        "stage": report.stage.value,
        "percent_complete": exact(report.percent_complete),
        "progress": report.progress,
        "problems": report.problems,
        "next_steps": report.next_steps,
        "client_as_of": report.as_of.isoformat() if report.as_of else None,
        "warnings": [{"code": warning.code.value, "detail": warning.detail} for warning in warnings],
        "observations": [
            {"target_id": figures[observation.target].id, "value": exact(observation.value)}
            for observation in report.observations
        ],
    }


async def _find_winners(connection: AsyncConnection, reports: Sequence[SubmissionCreate], taken: list[Taken]) -> None:
    """Say which submission was there first, for reports that lost a race."""
    lost = [
        index for index, result in enumerate(taken) if result.faults and result.existing is None and result.id is None
    ]
    lost = [index for index in lost if taken[index].faults[0].code == "already_reported"]
    if not lost:
        return
    again = await connection.execute(
        _ABOUT,
        {
            "tasks": [reports[index].task for index in lost],
            "units": [reports[index].unit for index in lost],
            "periods": [reports[index].period for index in lost],
        },
    )
    for index, row in zip(lost, again, strict=True):
        taken[index].existing = row.existing
