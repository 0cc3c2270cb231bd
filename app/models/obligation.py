"""应报: every report that is expected, as a row, and what moves its due instant.

Rows are keyed by unit first, so that the table can be spread over several PostgreSQL by unit.
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
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.deadlines import WaiverKind
from app.models.base import Base, one_of

__all__ = ["ComplianceCount", "Extension", "Obligation", "Waiver"]

Instant = DateTime(timezone=True)


class Obligation(Base):
    """One report that one unit owes for one period (and one task, where the rule says so).

    ``due_at`` and ``lock_at`` are the last instants on time and acceptable; they and the versions of rule and calendar
    that gave them never change once the due instant has passed. ``effective_due_at`` and ``waived_at`` are what the
    extensions and waivers granted so far make of it. ``filed_at`` is the first filing: a correction keeps it.
    ``submitted_at`` is the submission that was filed, or the one that waits for certification.
    """

    __tablename__ = "obligations"
    __table_args__ = (
        PrimaryKeyConstraint("unit_id", "id"),
        UniqueConstraint(
            *("unit_id", "rule_id", "period", "task_id", "battle_id"),
            postgresql_nulls_not_distinct=True,
        ),
        ForeignKeyConstraint(["battle_id", "plan_id"], ["battles.id", "battles.plan_id"], ondelete="CASCADE"),
        Index(None, "plan_id", "rule_id", "period_start", "unit_id"),
        Index(None, "rule_id", "period_start"),
        Index(None, "battle_id", "plan_id"),
        Index(None, "task_id", "period_start"),
        Index(None, "effective_due_at"),
        Index(None, "lock_at"),
        Index(
            None,
            "submitted_at",
            postgresql_where=text("submitted_at IS NOT NULL AND filed_at IS NULL AND waived_at IS NULL"),
        ),
        CheckConstraint("lock_at >= due_at", name="lock_after_due"),
        CheckConstraint("filed_at >= submitted_at", name="filed_after_submitted"),
    )

    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id", ondelete="CASCADE"))
    battle_id: Mapped[int | None] = mapped_column(BigInteger)
    rule_id: Mapped[int] = mapped_column(ForeignKey("rules.id", ondelete="CASCADE"))
    task_id: Mapped[int | None] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"))
    period: Mapped[str]
    period_start: Mapped[date]
    due_at: Mapped[datetime] = mapped_column(Instant)
    effective_due_at: Mapped[datetime] = mapped_column(Instant)
    lock_at: Mapped[datetime] = mapped_column(Instant)
    rule_version: Mapped[int]
    calendar_version: Mapped[str]
    provisional: Mapped[bool]
    waived_at: Mapped[datetime | None] = mapped_column(Instant)
    submitted_at: Mapped[datetime | None] = mapped_column(Instant)
    filed_at: Mapped[datetime | None] = mapped_column(Instant)


class Extension(Base):
    """延期: a new due instant for what one unit owes under one rule for one period (one task, or all)."""

    __tablename__ = "extensions"
    __table_args__ = (
        PrimaryKeyConstraint("unit_id", "id"),
        Index(None, "id"),
        Index(None, "unit_id", "rule_id", "period"),
        Index(None, "rule_id"),
        Index(None, "task_id"),
    )

    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    id: Mapped[UUID]
    rule_id: Mapped[int] = mapped_column(ForeignKey("rules.id"))
    task_id: Mapped[int | None] = mapped_column(ForeignKey("tasks.id"))
    period: Mapped[str]
    due_at: Mapped[datetime] = mapped_column(Instant)
    reason: Mapped[str]
    approver: Mapped[str]
    granted_at: Mapped[datetime] = mapped_column(Instant)


class Waiver(Base):
    """免报 or 零报告: what one unit owes under one rule for one period need not be reported."""

    __tablename__ = "waivers"
    __table_args__ = (
        PrimaryKeyConstraint("unit_id", "id"),
        Index(None, "id"),
        Index(None, "unit_id", "rule_id", "period"),
        Index(None, "rule_id"),
        Index(None, "task_id"),
        one_of("kind", WaiverKind),
    )

    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    id: Mapped[UUID]
    rule_id: Mapped[int] = mapped_column(ForeignKey("rules.id"))
    task_id: Mapped[int | None] = mapped_column(ForeignKey("tasks.id"))
    period: Mapped[str]
    kind: Mapped[str]
    reason: Mapped[str]
    approver: Mapped[str]
    granted_at: Mapped[datetime] = mapped_column(Instant)


class ComplianceCount(Base):
    """How many obligations of one unit, rule, battle and period share their instants, and how they stand.

    ``due_at`` is the effective due instant.

    Kept by triggers in the transaction that changes an obligation; a recount proves it equal. It refers to nothing by
    foreign key: it follows the obligations, which do. What is neither waived
    nor filed is upcoming, overdue or missed by the clock alone, so that the present needs no row of ``obligations``.
    """

    __tablename__ = "compliance_counts"
    __table_args__ = (
        UniqueConstraint(
            *("unit_id", "rule_id", "period_start", "battle_id", "due_at", "lock_at"),
            # The convention's name would be longer than PostgreSQL keeps.
            name="uq_compliance_counts_instants",
            postgresql_nulls_not_distinct=True,
        ),
        PrimaryKeyConstraint("unit_id", "id"),
        Index(None, "rule_id", "period_start"),
    )

    unit_id: Mapped[int] = mapped_column(BigInteger)
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    plan_id: Mapped[int] = mapped_column(BigInteger)
    battle_id: Mapped[int | None] = mapped_column(BigInteger)
    rule_id: Mapped[int] = mapped_column(BigInteger)
    period: Mapped[str]
    period_start: Mapped[date]
    due_at: Mapped[datetime] = mapped_column(Instant)
    lock_at: Mapped[datetime] = mapped_column(Instant)
    expected: Mapped[int]
    waived: Mapped[int]
    on_time: Mapped[int]
    late: Mapped[int]
