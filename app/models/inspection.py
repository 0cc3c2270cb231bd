"""Quarterly inspections of units, every revision kept, with the cases that their findings are."""

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base

__all__ = ["Inspection", "InspectionFinding", "InspectionRevision"]


class Inspection(Base):
    """One unit inspected in one quarter: what never changes of it."""

    __tablename__ = "inspections"
    __table_args__ = (
        ForeignKeyConstraint(["battle_id", "plan_id"], ["battles.id", "battles.plan_id"]),
        UniqueConstraint("plan_id", "unit_id", "period_start"),
        Index(None, "plan_id", "period_start"),
        Index(None, "battle_id", "plan_id"),
        Index(None, "rule_id"),
        Index(None, "unit_id"),
        Index(None, "team"),
        CheckConstraint("team > 0", name="team_positive"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id"))
    battle_id: Mapped[int | None] = mapped_column(BigInteger)
    rule_id: Mapped[int] = mapped_column(ForeignKey("rules.id"))
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    period: Mapped[str]
    period_start: Mapped[date]
    team: Mapped[int]
    inspected_on: Mapped[date]
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class InspectionRevision(Base):
    """What came after an inspection, as far as it was there from an instant on."""

    __tablename__ = "inspection_revisions"
    __table_args__ = (
        PrimaryKeyConstraint("inspection_id", "revision"),
        CheckConstraint("revision > 0", name="revision_positive"),
    )

    inspection_id: Mapped[UUID] = mapped_column(ForeignKey("inspections.id"))
    revision: Mapped[int]
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    actor: Mapped[str]
    score: Mapped[Decimal | None]
    circular_ref: Mapped[str | None]
    exposure_ref: Mapped[str | None]


class InspectionFinding(Base):
    """A finding of an inspection: the case that it is in the ledger, and until when it is to be put right."""

    __tablename__ = "inspection_findings"
    __table_args__ = (
        PrimaryKeyConstraint("inspection_id", "position"),
        UniqueConstraint("case_id"),
        CheckConstraint('"position" > 0', name="position_positive"),
    )

    inspection_id: Mapped[UUID] = mapped_column(ForeignKey("inspections.id"))
    position: Mapped[int]
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    due_on: Mapped[date | None]
