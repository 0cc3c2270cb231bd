"""What a revision of a submission says: hashed the same way wherever it is written, and written anew by steps."""

import hashlib
from datetime import datetime
from operator import attrgetter
from typing import Any

import orjson
from sqlalchemy import text

from app.clock import SHANGHAI
from app.db import Database, Query
from app.domain.periods import parse_period
from app.errors import InvalidRequestError, summary_of
from app.rendering import exact
from app.schemas.submission import ReportWrite
from app.services.report_checks import (
    AIM,
    Named,
    aim_in,
    contradictions,
    limits_in,
    previous_figure_of,
    warnings_of,
)

__all__ = ["keep_content", "revision_of"]

_FIGURES = Query(
    text(f"""
    SELECT g.code AS target, {AIM} AS aim, {
        previous_figure_of(
            "g.id",
            task="CAST(:task AS bigint)",
            unit="CAST(:unit AS bigint)",
            start="CAST(:start AS date)",
            previous_id="CAST(:previous_id AS uuid)",
            previous_revision="CAST(:previous_revision AS int)",
        )
    } AS previous_figure
    FROM targets g JOIN indicators i ON i.id = g.indicator_id WHERE g.code = ANY(CAST(:codes AS text[]))
""")  # noqa: S608 - of constants
)
_KEEP_CONTENT = Query(
    text("""
    WITH given AS (
        SELECT * FROM jsonb_to_record(CAST(:content AS jsonb)) AS g(
            stage text, percent_complete numeric, progress text, problems text, next_steps text,
            as_of timestamptz, warnings jsonb, content_hash text, observations jsonb)
    ), figures AS (
        SELECT o.target_id, o.value FROM given,
               jsonb_to_recordset(given.observations) AS o(target_id bigint, value numeric)
    ), content AS (
        INSERT INTO submission_revisions AS r (task_id, submission_id, revision, stage, percent_complete, progress,
                                               problems, next_steps, client_as_of, warnings, created_at, submitted_at,
                                               content_hash)
        SELECT CAST(:task AS bigint), CAST(:id AS uuid), CAST(:revision AS int), stage, percent_complete, progress,
               problems, next_steps, as_of, warnings, :now, CAST(:submitted_at AS timestamptz), content_hash
        FROM given
        ON CONFLICT (task_id, submission_id, revision) DO UPDATE
        SET stage = excluded.stage, percent_complete = excluded.percent_complete, progress = excluded.progress,
            problems = excluded.problems, next_steps = excluded.next_steps, client_as_of = excluded.client_as_of,
            warnings = excluded.warnings, submitted_at = excluded.submitted_at, content_hash = excluded.content_hash
    ), dropped AS (
        DELETE FROM observations o
        WHERE (o.task_id, o.submission_id, o.revision) = (:task, :id, :revision)
          AND o.target_id NOT IN (SELECT target_id FROM figures)
    )
    INSERT INTO observations (task_id, submission_id, revision, target_id, value)
    SELECT :task, :id, :revision, target_id, value FROM figures
    ON CONFLICT (task_id, submission_id, revision, target_id) DO UPDATE SET value = excluded.value
""")
)

_BY_TARGET = attrgetter("target")


def revision_of(said: ReportWrite, *, task: str, unit: str, period: str, revision: int) -> dict[str, Any]:
    """What a revision says, as JSON has it, with its ``content_hash``.

    That is the SHA-256 of what the revision says, over its canonical JSON (sorted keys, no blanks, UTF-8). All of it
    stands in the answer, as it stands there (``unit`` is the code, figures are the JSON numbers, observations are
    ordered by target, ``as_of`` has the offset +08:00), so that whoever holds the answer can compute it again.
    """
    revised: dict[str, Any] = {
        "as_of": said.as_of.astimezone(SHANGHAI).isoformat() if said.as_of else None,
        "next_steps": said.next_steps,
        "observations": [
            {"target": observation.target, "value": exact(observation.value)}
            for observation in sorted(said.observations, key=_BY_TARGET)
        ],
        "percent_complete": exact(said.percent_complete),
        "period": period,
        "problems": said.problems,
        "progress": said.progress,
        "revision": revision,
        "stage": said.stage,
        "task": task,
        "unit": unit,
    }
    revised["content_hash"] = hashlib.sha256(orjson.dumps(revised)).hexdigest()
    return revised


async def keep_content(
    db: Database, case: Any, report: ReportWrite, *, revision: int, submitted_at: datetime | None, now: datetime
) -> str:
    """Write what a revision says, checked; it takes the place of what it said before. Its content hash."""
    codes = [observation.target for observation in report.observations]
    here = {
        "task": case["task_id"],
        "unit": case["unit_id"],
        "start": case["period_start"],
        "previous_id": case["previous_id"],
        "previous_revision": case["previous_revision"],
    }
    figures = {
        row["target"]: Named(aim_in(row["aim"]), row["previous_figure"])
        for row in await db.fetch(_FIGURES, codes=codes, **here)
    }
    faults = contradictions(report, case["task_id"], figures)
    if faults:
        raise InvalidRequestError(summary_of(faults), faults=faults)
    warnings = warnings_of(
        report,
        parse_period(case["period"]),
        limits=limits_in(case["limits"]),
        points=case["points"],
        previous_percent=case["previous_percent"],
        figures=figures,
    )
    subject = {name: case[name] for name in ("task", "unit", "period")}
    content = revision_of(report, **subject, revision=revision)
    observations = [{"target_id": figures[one["target"]].aim.id, **one} for one in content["observations"]]
    await db.fetch(
        _KEEP_CONTENT,
        task=case["task_id"],
        id=case["id"],
        revision=revision,
        submitted_at=submitted_at,
        now=now,
        content=orjson.dumps({**content, "observations": observations, "warnings": warnings}).decode(),
    )
    return content["content_hash"]
