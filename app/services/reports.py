"""Reports on their way in: what one is about, looked up for all that come together, and what became of it."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from app.db import SCOPE_GIVEN, Database, Query
from app.domain.periods import parse_period
from app.domain.plan import region_of
from app.domain.progress import ReportWarning
from app.domain.row_scope import reporting_scope
from app.domain.workflow import SubmissionState
from app.errors import Fault
from app.schemas.submission import ReportWrite
from app.services.caller import Caller
from app.services.reader import decoded
from app.services.report_checks import (
    AIM,
    LIMITS,
    Aim,
    Figures,
    Limits,
    Named,
    aim_in,
    limits_in,
    newest_figure_of,
    points_of,
)

__all__ = ["About", "Report", "Reporters", "Taken", "Unit", "about"]

# Many reports name few tasks, units and targets: they are looked up once each, by their codes.
_NAMED = Query(
    text(f"""
    WITH named_tasks AS MATERIALIZED (
        -- For few tasks has any unit given a schedule of its own.
        SELECT t.code, t.id, t.plan_id, EXISTS (SELECT FROM progress_schedules y WHERE y.task_id = t.id) AS is_scheduled
        FROM tasks t WHERE t.code = ANY(CAST(:tasks AS text[]))
    )
    SELECT (SELECT json_agg(json_build_array(t.code, t.id, t.is_scheduled)) FROM named_tasks t) AS tasks,
           (SELECT json_agg(json_build_array(w.unit, w.region, u.id, u.code, u.name))
            FROM unnest(CAST(:units AS text[]), CAST(:regions AS text[])) AS w(unit, region), LATERAL (
                SELECT u.id, u.code, u.name FROM units u WHERE u.id = coalesce(
                    (SELECT y.id FROM units y WHERE y.code = w.unit),
                    (SELECT a.unit_id FROM unit_aliases a WHERE a.name = w.unit AND a.region_code = w.region))
                -- Kept apart: joined otherwise, all units would be read.
                OFFSET 0
            ) u) AS units,
           (SELECT json_agg(json_build_array(g.code, {AIM})) FROM targets g JOIN indicators i ON i.id = g.indicator_id
            WHERE g.code = ANY(CAST(:targets AS text[]))) AS targets,
           (SELECT json_agg(json_build_array(v.rule_id, v.version, {LIMITS}))
            FROM (SELECT DISTINCT t.plan_id FROM named_tasks t) t JOIN plans p ON p.id = t.plan_id
            JOIN rules r ON r.plan_id = p.id AND r.kind = 'reporting'
            JOIN rule_versions v ON v.rule_id = r.id) AS limits
""")  # noqa: S608 - of constants
)
# What a unit owes on a task and what it has reported, one row a report; of what is reported only whoever reports for it
# is told. Whose scope that is goes with the statement, within a transaction too: it may be another one's than before.
_CONCERNED = Query(
    text(f"""
    SELECT * FROM (
        SELECT o.id, o.rule_id, o.rule_version, o.locked_at, s.id AS existing, s.state,
               CAST(q.percent_complete AS text) AS previous_percent, q.figures AS previous_figures,
               CASE WHEN w.task_id = ANY(CAST(:scheduled AS bigint[]))
                    THEN {points_of("w.task_id", "w.unit_id")} END AS points
        FROM unnest(CAST(:tasks AS bigint[]), CAST(:units AS bigint[]), CAST(:periods AS text[]))
             WITH ORDINALITY AS w(task_id, unit_id, period, n)
        LEFT JOIN LATERAL (
            SELECT o.id, o.period_start, o.rule_id, o.rule_version,
                   -- Of no use, and not read, while it lies ahead.
                   CASE WHEN greatest(o.lock_at, o.effective_due_at) < CAST(:latest AS timestamptz)
                        THEN greatest(o.lock_at, o.effective_due_at) END AS locked_at
            FROM obligations o
            WHERE o.unit_id = w.unit_id AND o.rule_id = ANY(CAST(:rules AS bigint[])) AND o.period = w.period
              AND o.task_id = w.task_id
            LIMIT 1
        ) o ON true
        LEFT JOIN own_reports s ON s.task_id = w.task_id AND s.unit_id = w.unit_id AND s.period = w.period
        LEFT JOIN LATERAL (
            SELECT b.percent_complete, b.figures FROM own_reports b
            WHERE b.task_id = w.task_id AND b.unit_id = w.unit_id AND b.period_start < o.period_start
              AND b.counted_revision IS NOT NULL
            ORDER BY b.period_start DESC LIMIT 1
        ) q ON true
        ORDER BY w.n
    ) AS scoped WHERE {SCOPE_GIVEN}
""")  # noqa: S608 - of constants
)
# For targets that the report before gave no figure for.
_EARLIER_FIGURES = Query(
    text(f"""
    SELECT {newest_figure_of("w.target_id", task="w.task_id", unit="w.unit_id", start="w.start")} AS value
    FROM unnest(CAST(:targets AS bigint[]), CAST(:tasks AS bigint[]), CAST(:units AS bigint[]), CAST(:starts AS date[]))
         WITH ORDINALITY AS w(target_id, task_id, unit_id, start, n)
    ORDER BY w.n
""")  # noqa: S608 - of constants
)

_NO_FIGURES: Final[Figures] = MappingProxyType({})
# Many say the same round per cents.
_percent = lru_cache(maxsize=10_000)(Decimal)


class Report(NamedTuple):
    """One unit's report on one task for one period: what it is about, what it says, when it came, and from whom."""

    task: str
    unit: str
    period: str
    submit: bool
    said: ReportWrite
    at: datetime
    caller: Caller

    @property
    def state(self) -> SubmissionState:
        """The state in which it comes in."""
        return SubmissionState.SUBMITTED if self.submit else SubmissionState.DRAFT


class Reporters:
    """All who report in one group, as a database is asked for them."""

    def __init__(self, reports: Iterable[Report]) -> None:
        self.scope = reporting_scope({id(report.caller): report.caller.visibility for report in reports}.values())


class Unit(NamedTuple):
    """A unit that reports name."""

    id: int
    code: str
    name: str


class About(NamedTuple):
    """What a report concerns: ``None`` where it names what does not exist, is not owed or was not reported.

    Attributes:
        task_id, unit, obligation_id: what it is on, from and for.
        locked_at: since when nothing more is taken, where that is over.
        limits, points: what it is measured by; the points of the unit's own schedule, as JSON.
        existing, state: the report that is there already.
        previous_percent: what the report before said.
        figures: the targets that it names.
    """

    task_id: int | None = None
    unit: Unit | None = None
    obligation_id: int | None = None
    locked_at: datetime | None = None
    limits: Limits | None = None
    points: str | None = None
    existing: UUID | None = None
    state: str | None = None
    previous_percent: Decimal | None = None
    figures: Figures = _NO_FIGURES


_OF_NOTHING: Final = About()


@dataclass(slots=True)
class Taken:
    """What became of one report: its id and hash once it is in, or why it was refused; ``about`` what it concerns."""

    about: About = _OF_NOTHING
    id: str | None = None
    content_hash: str = ""
    warnings: Sequence[ReportWarning] = ()
    faults: Sequence[Fault] = ()
    existing: UUID | None = None


class _Named(NamedTuple):
    """What reports name, by how they name it."""

    # Their keys, and whether any unit has a schedule of its own for them.
    tasks: dict[str, tuple[int, bool]]
    # By what is said for them, and the region.
    units: dict[tuple[str, str], Unit]
    targets: dict[str, Aim]
    # Of every version of the plans' rules.
    limits: dict[tuple[int, int], Limits]


async def about(db: Database, reports: Sequence[Report]) -> list[About]:
    """What each report concerns."""
    said_units = [(report.unit, region_of(report.task)) for report in reports]
    named = await _look_up(db, reports, set(said_units))
    tasks = [named.tasks[report.task][0] if report.task in named.tasks else None for report in reports]
    units = [named.units.get(said) for said in said_units]
    rows = await db.fetch(
        _CONCERNED,
        tasks=tasks,
        units=[None if unit is None else unit.id for unit in units],
        periods=[report.period for report in reports],
        scheduled=[key for key, is_scheduled in named.tasks.values() if is_scheduled],
        rules=list({rule for rule, _ in named.limits}),
        latest=max(report.at for report in reports),
    )
    found: list[About] = []
    unknown: list[_Unknown] = []
    for report, task, unit, row in zip(reports, tasks, units, rows, strict=True):
        obligation, rule, version, locked_at, existing, state, percent, previous, points = row
        figures: dict[str, Named] = {}
        values: dict[str, str] = {} if previous is None else decoded(previous)
        for observation in report.said.observations:
            aim = named.targets.get(observation.target)
            if aim is not None:
                value = values.get(str(aim.id))
                figures[observation.target] = Named(aim, None if value is None else Decimal(value))
                if value is None and percent is not None and task is not None and unit is not None:
                    start = parse_period(report.period).start
                    unknown.append(_Unknown(figures, observation.target, task, unit.id, start))
        previous_percent = None if percent is None else _percent(percent)
        limits = named.limits.get((rule, version))
        if obligation is not None and limits is None:
            # The plan was loaded anew since its rules were looked up.
            return await about(db, reports)
        found.append(
            About(task, unit, obligation, locked_at, limits, points, existing, state, previous_percent, figures)
        )
    if unknown:
        await _look_further_back(db, unknown)
    return found


async def _look_up(db: Database, reports: Sequence[Report], units: Collection[tuple[str, str]]) -> _Named:
    row = await db.fetch_row(
        _NAMED,
        tasks=list({report.task for report in reports}),
        units=[unit for unit, _ in units],
        regions=[region for _, region in units],
        targets=list({observation.target for report in reports for observation in report.said.observations}),
    )
    assert row is not None, "a row without a condition"
    return _Named(
        {code: (key, is_scheduled) for code, key, is_scheduled in decoded(row["tasks"]) or ()},
        {(said, region): Unit(*unit) for said, region, *unit in decoded(row["units"]) or ()},
        {code: aim_in(aim) for code, aim in decoded(row["targets"]) or ()},
        {(rule, version): limits_in(limits) for rule, version, limits in decoded(row["limits"]) or ()},
    )


class _Unknown(NamedTuple):
    """A target among the ``figures`` of a report for a period from ``start`` that the report before said nothing of."""

    figures: dict[str, Named]
    target: str
    task: int
    unit: int
    start: date


async def _look_further_back(db: Database, unknown: Sequence[_Unknown]) -> None:
    """Fill in the figures of earlier reports."""
    aims = [one.figures[one.target].aim for one in unknown]
    rows = await db.fetch(
        _EARLIER_FIGURES,
        targets=[aim.id for aim in aims],
        tasks=[one.task for one in unknown],
        units=[one.unit for one in unknown],
        starts=[one.start for one in unknown],
    )
    for one, aim, row in zip(unknown, aims, rows, strict=True):
        one.figures[one.target] = Named(aim, row["value"])
