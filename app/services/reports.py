"""Reports on their way in: what one is about, looked up for all that come together, and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from app.db import Database, Query
from app.domain.progress import ReportWarning
from app.domain.workflow import SubmissionState
from app.errors import Fault
from app.schemas.submission import ReportWrite
from app.services.caller import Caller
from app.services.report_checks import AIM, LIMITS, Figures, named_of, points_of, previous_figure_of, previous_of

__all__ = ["About", "Report", "Taken", "about"]

# One row a report and target that it names. Many reports name few tasks, units and targets: these are looked up once
# each, and what is the same for many reports comes as one text (see LIMITS and AIM).
_ABOUT = Query(
    text(f"""
    WITH named_tasks AS MATERIALIZED (
        SELECT t.code, t.id, t.plan_id, split_part(t.code, '-', 1) AS region,
               ARRAY(SELECT r.id FROM rules r WHERE r.plan_id = t.plan_id AND r.kind = 'reporting') AS rules,
               -- For few tasks has any unit given a schedule of its own.
               (SELECT true FROM progress_schedules y WHERE y.task_id = t.id LIMIT 1) AS scheduled
        FROM tasks t WHERE t.code = ANY(CAST(:tasks AS text[]))
    ), limits AS MATERIALIZED (
        SELECT v.rule_id, v.version, {LIMITS} AS limits
        FROM (SELECT DISTINCT t.plan_id FROM named_tasks t) t JOIN plans p ON p.id = t.plan_id
        JOIN rules r ON r.plan_id = p.id AND r.kind = 'reporting' JOIN rule_versions v ON v.rule_id = r.id
    ), named_targets AS MATERIALIZED (
        SELECT g.code, g.id, {AIM} AS aim
        FROM targets g JOIN indicators i ON i.id = g.indicator_id WHERE g.code = ANY(CAST(:targets AS text[]))
    ), figures AS MATERIALIZED (
        -- Kept apart: joined to the reports as they are found, each would be compared with every target.
        SELECT c.n, c.target, g.id, g.aim
        FROM unnest(CAST(:of AS bigint[]), CAST(:targets AS text[])) AS c(n, target)
        LEFT JOIN named_targets g ON g.code = c.target
    ), asked AS MATERIALIZED (
        -- A task's code begins with its region.
        SELECT w.n - 1 AS n, w.unit, w.period, t.id AS task_id, t.rules, t.scheduled, coalesce(t.region, '') AS region
        FROM unnest(CAST(:tasks AS text[]), CAST(:units AS text[]), CAST(:periods AS text[]))
             WITH ORDINALITY AS w(task, unit, period, n)
        LEFT JOIN named_tasks t ON t.code = w.task
    ), named_units AS MATERIALIZED (
        SELECT w.unit AS named, w.region, u.*
        FROM (SELECT DISTINCT w.unit, w.region FROM asked w) w, LATERAL (
            SELECT u.id, u.code, u.name FROM units u WHERE u.id = coalesce(
                (SELECT y.id FROM units y WHERE y.code = w.unit),
                (SELECT a.unit_id FROM unit_aliases a WHERE a.name = w.unit AND a.region_code = w.region))
            -- Kept apart: joined otherwise, all units would be read.
            OFFSET 0
        ) u
    ), owed AS MATERIALIZED (
        SELECT w.n, w.period, w.task_id, w.scheduled, u.id AS unit_id, u.code AS unit, u.name AS unit_name, o.*
        FROM asked w LEFT JOIN named_units u ON u.named = w.unit AND u.region = w.region
        LEFT JOIN LATERAL (
            SELECT o.id AS obligation_id, o.period_start, o.rule_id, o.rule_version,
                   -- Of no use, and not read, while it lies ahead.
                   CASE WHEN greatest(o.lock_at, o.effective_due_at) < CAST(:latest AS timestamptz)
                        THEN greatest(o.lock_at, o.effective_due_at) END AS locked_at
            FROM obligations o
            WHERE o.unit_id = u.id AND o.rule_id = ANY(w.rules) AND o.period = w.period AND o.task_id = w.task_id
            LIMIT 1
        ) o ON true
    )
    SELECT w.n, w.task_id, w.unit_id, w.unit, w.unit_name, w.obligation_id, w.locked_at, l.limits,
           CASE WHEN w.scheduled THEN {points_of("w.task_id", "w.unit_id")} END AS points,
           s.id AS existing, s.state, q.percent_complete AS previous_percent, f.target, f.aim,
           CASE WHEN f.id IS NOT NULL THEN {
        previous_figure_of(
            "f.id",
            task="w.task_id",
            unit="w.unit_id",
            start="w.period_start",
            previous_id="q.submission_id",
            previous_revision="q.revision",
        )
    } END AS previous_figure
    FROM owed w
    LEFT JOIN limits l ON l.rule_id = w.rule_id AND l.version = w.rule_version
    LEFT JOIN submissions s ON s.task_id = w.task_id AND s.unit_id = w.unit_id AND s.period = w.period
    LEFT JOIN LATERAL ({previous_of("w.task_id", "w.unit_id", "w.period_start")}) q ON true
    LEFT JOIN figures f ON f.n = w.n
    ORDER BY w.n
""")  # noqa: S608 - of constants
)


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


@dataclass(slots=True)
class Taken:
    """What became of one report: its id and hash once it is in, or why it was refused; ``about`` what it concerns."""

    about: Any = None
    id: str | None = None
    content_hash: str = ""
    warnings: Sequence[ReportWarning] = ()
    faults: Sequence[Fault] = ()
    existing: UUID | None = None


class About(NamedTuple):
    """What a report concerns, null where it names what does not exist or is not owed, and the targets it names."""

    row: Any
    figures: Figures


async def about(db: Database, reports: Sequence[Report]) -> list[About]:
    """What each report concerns."""
    named = [
        (number, observation.target)
        for number, report in enumerate(reports)
        for observation in report.said.observations
    ]
    rows = await db.fetch(
        _ABOUT,
        tasks=[report.task for report in reports],
        units=[report.unit for report in reports],
        periods=[report.period for report in reports],
        of=[number for number, _ in named],
        targets=[target for _, target in named],
        latest=max(report.at for report in reports),
    )
    found: list[About] = []
    for row in rows:
        if row["n"] == len(found):
            found.append(About(row, {}))
        if row["aim"] is not None:
            found[-1].figures[row["target"]] = named_of(row)
    return found
