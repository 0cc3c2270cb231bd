"""进度报送: what units report on their tasks, revision by revision.

Rows are keyed by task first, so that the tables can be spread over several PostgreSQL by task.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Numeric,
    PrimaryKeyConstraint,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.progress import Stage
from app.domain.workflow import SubmissionAction, SubmissionState
from app.models.base import Base, one_of

__all__ = ["Observation", "Submission", "SubmissionRevision", "SubmissionTransition"]

Instant = DateTime(timezone=True)


class Submission(Base):
    """One unit's report on one task for one period; its revisions hold what was reported.

    ``state`` is that of the newest revision; ``certified_revision`` is the one in force.
    """

    __tablename__ = "submissions"
    __table_args__ = (
        PrimaryKeyConstraint("task_id", "id"),
        UniqueConstraint("task_id", "unit_id", "period"),
        Index(None, "id"),
        Index(None, "unit_id", "period"),
        Index(None, "battle_id", "plan_id", "period"),
        Index(None, "plan_id", "period"),
        ForeignKeyConstraint(["battle_id", "plan_id"], ["battles.id", "battles.plan_id"]),
        CheckConstraint("revision > 0", name="revision_positive"),
        CheckConstraint("certified_revision BETWEEN 1 AND revision", name="certified_revision_exists"),
        one_of("state", SubmissionState),
    )

    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"))
    id: Mapped[UUID]
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id"))
    battle_id: Mapped[int] = mapped_column(BigInteger)
    period: Mapped[str]
    period_start: Mapped[date]
    state: Mapped[str]
    revision: Mapped[int]
    certified_revision: Mapped[int | None]
    version: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(Instant)


class SubmissionRevision(Base):
    """What was reported; once certified it never changes, and ``content_hash`` proves it."""

    __tablename__ = "submission_revisions"
    __table_args__ = (
        PrimaryKeyConstraint("task_id", "submission_id", "revision"),
        ForeignKeyConstraint(["task_id", "submission_id"], ["submissions.task_id", "submissions.id"]),
        CheckConstraint("percent_complete BETWEEN 0 AND 100", name="percent_range"),
        CheckConstraint("(stage = 'completed') = (percent_complete = 100)", name="completed_is_100"),
        CheckConstraint("certified_at >= submitted_at", name="certified_after_submitted"),
        one_of("stage", Stage),
    )

    task_id: Mapped[int] = mapped_column(BigInteger)
    submission_id: Mapped[UUID]
    revision: Mapped[int]
    stage: Mapped[str]
    percent_complete: Mapped[Decimal] = mapped_column(Numeric(5, 2))
    progress: Mapped[str]
    problems: Mapped[str | None]
    next_steps: Mapped[str | None]
    client_as_of: Mapped[datetime | None] = mapped_column(Instant)
    warnings: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(Instant)
    submitted_at: Mapped[datetime | None] = mapped_column(Instant)
    certified_at: Mapped[datetime | None] = mapped_column(Instant)
    content_hash: Mapped[str]


class Observation(Base):
    """The figure a revision reports for one target of the task."""

    __tablename__ = "observations"
    __table_args__ = (
        PrimaryKeyConstraint("task_id", "submission_id", "revision", "target_id"),
        ForeignKeyConstraint(
            ["task_id", "submission_id", "revision"],
            ["submission_revisions.task_id", "submission_revisions.submission_id", "submission_revisions.revision"],
            # The convention's name would be longer than PostgreSQL keeps.
            name="fk_observations_revision_submission_revisions",
            ondelete="CASCADE",
        ),
        Index(None, "target_id"),
    )

    task_id: Mapped[int] = mapped_column(BigInteger)
    submission_id: Mapped[UUID]
    revision: Mapped[int]
    target_id: Mapped[int] = mapped_column(ForeignKey("targets.id"))
    value: Mapped[Decimal]


class SubmissionTransition(Base):
    """Every step of a submission: who, when, why. Rows are only ever added."""

    __tablename__ = "submission_transitions"
    __table_args__ = (
        PrimaryKeyConstraint("task_id", "submission_id", "id"),
        ForeignKeyConstraint(["task_id", "submission_id"], ["submissions.task_id", "submissions.id"]),
        Index(None, "actor_unit_id"),
        one_of("action", SubmissionAction),
        one_of("to_state", SubmissionState),
    )

    task_id: Mapped[int] = mapped_column(BigInteger)
    submission_id: Mapped[UUID]
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    revision: Mapped[int]
    action: Mapped[str]
    to_state: Mapped[str]
    at: Mapped[datetime] = mapped_column(Instant)
    actor_unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    reason: Mapped[str | None]
