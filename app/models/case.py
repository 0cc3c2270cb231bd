"""台账事项: cases of all kinds, and what was done with each.

A case holds how it stands; each of its steps holds how it left it, so that it can be shown as it stood at any instant.
"""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    PrimaryKeyConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.cases import CaseAction, CaseKind, CaseReminder, CaseState
from app.models.base import Base, one_of

__all__ = ["Case", "CaseEvidence", "CaseStep", "RaisedCaseReminder"]

Instant = DateTime(timezone=True)


class _Standing:
    """How a case stands; ``round`` counts how often it was opened, and each round has a due day of its own."""

    round: Mapped[int]
    level: Mapped[int]
    due_on: Mapped[date | None]
    recheck_due_on: Mapped[date | None]
    responsible_person: Mapped[str | None]
    closed_at: Mapped[datetime | None] = mapped_column(Instant)


class Case(_Standing, Base):
    """One thing to be dealt with, from its registration until it is closed.

    What it is about is set when it is registered, and can be mended until it is assigned.
    """

    __tablename__ = "cases"
    __table_args__ = (
        ForeignKeyConstraint(["battle_id", "plan_id"], ["battles.id", "battles.plan_id"]),
        Index(None, "plan_id", "kind"),
        Index(None, "battle_id", "plan_id"),
        Index(None, "task_id", "unit_id"),
        Index(None, "unit_id", "kind"),
        Index(None, "kind", "state"),
        Index(None, "state"),
        Index(None, "level"),
        Index(None, "source_ref"),
        Index(None, "due_on", postgresql_where=text("state <> 'closed'")),
        Index(None, "recheck_due_on", postgresql_where=text("recheck_due_on IS NOT NULL")),
        CheckConstraint("round > 0", name="round_positive"),
        CheckConstraint("level >= 0", name="level_not_negative"),
        CheckConstraint("(state = 'closed') = (closed_at IS NOT NULL)", name="closed_at_an_instant"),
        CheckConstraint("state = 'registered' OR due_on IS NOT NULL", name="due_once_assigned"),
        CheckConstraint("task_id IS NULL OR battle_id IS NOT NULL", name="task_in_a_battle"),
        one_of("kind", CaseKind),
        one_of("state", CaseState),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id"))
    battle_id: Mapped[int | None] = mapped_column(BigInteger)
    task_id: Mapped[int | None] = mapped_column(ForeignKey("tasks.id"))
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    kind: Mapped[str]
    title: Mapped[str]
    description: Mapped[str]
    source_ref: Mapped[str | None]
    enterprise: Mapped[str | None]
    place: Mapped[str | None]
    registered_at: Mapped[datetime] = mapped_column(Instant)
    registered_by: Mapped[str]
    state: Mapped[str]
    version: Mapped[int] = mapped_column(BigInteger)


class CaseStep(_Standing, Base):
    """One step, who took it, when and why, and how the case stood afterwards; never changed."""

    __tablename__ = "case_steps"
    __table_args__ = (
        Index(None, "case_id", "id"),
        # What fell due: the steps that set a due day.
        Index(None, "due_on", postgresql_where=text("sets_due")),
        CheckConstraint("(action = 'recheck') = (passed IS NOT NULL)", name="recheck_has_an_outcome"),
        CheckConstraint("NOT sets_due OR due_on IS NOT NULL", name="due_day_set"),
        one_of("action", CaseAction),
        one_of("to_state", CaseState),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    at: Mapped[datetime] = mapped_column(Instant)
    actor: Mapped[str]
    actor_name: Mapped[str]
    action: Mapped[str]
    to_state: Mapped[str]
    reason: Mapped[str | None]
    reference: Mapped[str | None]
    passed: Mapped[bool | None]
    due_before: Mapped[date | None]
    sets_due: Mapped[bool]


class CaseEvidence(Base):
    """Evidence: what it is and where it lies, for files are not kept here; never changed."""

    __tablename__ = "case_evidence"
    __table_args__ = (Index(None, "case_id", "added_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    round: Mapped[int]
    added_at: Mapped[datetime] = mapped_column(Instant)
    actor_name: Mapped[str]
    title: Mapped[str]
    reference: Mapped[str]
    sha256: Mapped[str | None]
    note: Mapped[str | None]


class RaisedCaseReminder(Base):
    """That a case was said to be due soon or overdue, for one due day: said once, whoever says it."""

    __tablename__ = "raised_case_reminders"
    __table_args__ = (PrimaryKeyConstraint("case_id", "kind", "due_on"), one_of("kind", CaseReminder))

    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    kind: Mapped[str]
    due_on: Mapped[date]
