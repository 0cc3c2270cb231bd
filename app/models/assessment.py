"""考核: how units are judged in the year, what was entered against them, what was settled and what they say to it.

Schemes, marks and results are only ever added. A fault and an appeal go forward step by step, each step with who, when
and why, and stay as they are once they are through.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, ForeignKeyConstraint, Index, Numeric
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.dialects.postgresql import JSON, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.assessment import Aspect, FaultKind, Grade
from app.domain.hearing import AppealState, FaultState
from app.models.base import Base, one_of

__all__ = ["Appeal", "Assessment", "AssessmentScheme", "Mark", "ReportingFault"]

Instant = DateTime(timezone=True)


def _of_battle() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["battle_id", "plan_id"], ["battles.id", "battles.plan_id"])


class AssessmentScheme(Base):
    """One version of how the units of a plan are scored; ``parameters`` are read by the schema of the API."""

    __tablename__ = "assessment_schemes"
    __table_args__ = (Unique("plan_id", "version"), CheckConstraint("version > 0", name="version_positive"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id"))
    version: Mapped[int]
    effective_on: Mapped[date]
    parameters: Mapped[dict[str, Any]] = mapped_column(JSONB)
    note: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(Instant)
    created_by: Mapped[str]
    created_by_name: Mapped[str]


class ReportingFault(Base):
    """A fault that somebody entered against a unit, with the evidence, what the unit answers, and what was decided."""

    __tablename__ = "faults"
    __table_args__ = (
        _of_battle(),
        Index(None, "battle_id", "plan_id", "unit_id"),
        Index(None, "plan_id", "kind"),
        Index(None, "unit_id"),
        Index(None, "task_id"),
        CheckConstraint("kind NOT IN ('late', 'missed')", name="kind_is_entered"),
        CheckConstraint("(answer IS NULL) = (answered_at IS NULL)", name="answered_at_an_instant"),
        CheckConstraint(
            "(state IN ('upheld', 'dismissed', 'withdrawn')) = (decided_at IS NOT NULL)", name="decided_at_an_instant"
        ),
        CheckConstraint("(state = 'withdrawn') = (withdrawn_at IS NOT NULL)", name="withdrawn_at_an_instant"),
        one_of("kind", FaultKind),
        one_of("state", FaultState),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id"))
    battle_id: Mapped[int] = mapped_column(BigInteger)
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    task_id: Mapped[int | None] = mapped_column(ForeignKey("tasks.id"))
    period: Mapped[str | None]
    kind: Mapped[str]
    description: Mapped[str]
    evidence: Mapped[str]
    state: Mapped[str]
    answer_due_at: Mapped[datetime] = mapped_column(Instant)
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    recorded_by: Mapped[str]
    recorded_by_name: Mapped[str]
    answer: Mapped[str | None]
    answered_at: Mapped[datetime | None] = mapped_column(Instant)
    answered_by_name: Mapped[str | None]
    decision_reason: Mapped[str | None]
    decided_at: Mapped[datetime | None] = mapped_column(Instant)
    decided_by_name: Mapped[str | None]
    withdrawal_reason: Mapped[str | None]
    withdrawn_at: Mapped[datetime | None] = mapped_column(Instant)
    withdrawn_by_name: Mapped[str | None]


class Mark(Base):
    """A mark that somebody gave a unit for one aspect; the newest counts."""

    __tablename__ = "marks"
    __table_args__ = (
        _of_battle(),
        Index(None, "battle_id", "plan_id", "unit_id", "aspect", "id"),
        Index(None, "plan_id"),
        Index(None, "unit_id"),
        CheckConstraint("value BETWEEN 0 AND 100", name="value_range"),
        one_of("aspect", Aspect),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id"))
    battle_id: Mapped[int] = mapped_column(BigInteger)
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    aspect: Mapped[str]
    value: Mapped[Decimal] = mapped_column(Numeric(5, 2))
    reason: Mapped[str]
    marked_at: Mapped[datetime] = mapped_column(Instant)
    marked_by: Mapped[str]
    marked_by_name: Mapped[str]


class Assessment(Base):
    """A result as it was settled: ``content`` is the very text that was hashed.

    ``as_of`` is the instant of the figures and ``judged_at`` that of marks and decisions; ``interim`` is a result of
    before the end of the year, which the next one supersedes. Of a unit the highest revision is in force.
    """

    __tablename__ = "assessments"
    __table_args__ = (
        Unique("battle_id", "unit_id", "revision"),
        _of_battle(),
        Index(None, "battle_id", "plan_id"),
        Index(None, "plan_id", "unit_id"),
        Index(None, "unit_id"),
        Index(None, "scheme_id"),
        Index(None, "year"),
        CheckConstraint("revision > 0", name="revision_positive"),
        CheckConstraint("total BETWEEN 0 AND 100", name="total_range"),
        one_of("grade", Grade),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id"))
    battle_id: Mapped[int] = mapped_column(BigInteger)
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    year: Mapped[int]
    revision: Mapped[int]
    interim: Mapped[bool]
    scheme_id: Mapped[UUID | None] = mapped_column(ForeignKey("assessment_schemes.id"))
    scheme_version: Mapped[int]
    as_of: Mapped[datetime] = mapped_column(Instant)
    judged_at: Mapped[datetime] = mapped_column(Instant)
    total: Mapped[Decimal | None] = mapped_column(Numeric(7, 4))
    grade: Mapped[str]
    content: Mapped[Any] = mapped_column(JSON)
    content_hash: Mapped[str]
    frozen_at: Mapped[datetime] = mapped_column(Instant)
    frozen_by: Mapped[str]
    frozen_by_name: Mapped[str]


class Appeal(Base):
    """What a unit says against its result, and what somebody else than who settled it decides; one a result."""

    __tablename__ = "appeals"
    __table_args__ = (
        Unique("assessment_id"),
        Unique("result_id"),
        _of_battle(),
        Index(None, "battle_id", "plan_id"),
        Index(None, "plan_id", "unit_id"),
        Index(None, "unit_id"),
        CheckConstraint("(state = 'filed') = (decided_at IS NULL)", name="decided_at_an_instant"),
        CheckConstraint("(state = 'upheld') = (result_id IS NOT NULL)", name="upheld_with_a_result"),
        one_of("state", AppealState),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    assessment_id: Mapped[UUID] = mapped_column(ForeignKey("assessments.id"))
    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id"))
    battle_id: Mapped[int] = mapped_column(BigInteger)
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    text: Mapped[str]
    state: Mapped[str]
    filed_at: Mapped[datetime] = mapped_column(Instant)
    filed_by_name: Mapped[str]
    decision_reason: Mapped[str | None]
    decided_at: Mapped[datetime | None] = mapped_column(Instant)
    decided_by: Mapped[str | None]
    decided_by_name: Mapped[str | None]
    result_id: Mapped[UUID | None] = mapped_column(ForeignKey("assessments.id"))
