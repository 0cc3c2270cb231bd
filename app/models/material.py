"""Materials: work bulletin items and experience cases that units must also send.

Rows are keyed by unit first, so that the table can be spread over several PostgreSQL by unit.
"""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, PrimaryKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base

__all__ = ["Material"]


class Material(Base):
    """One text that a unit sent under a rule that asks for a number of them a period."""

    __tablename__ = "materials"
    __table_args__ = (
        PrimaryKeyConstraint("unit_id", "id"),
        Index(None, "unit_id", "rule_id", "period_start"),
        Index(None, "rule_id", "period_start"),
        Index(None, "id"),
    )

    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    id: Mapped[UUID]
    rule_id: Mapped[int] = mapped_column(ForeignKey("rules.id"))
    period: Mapped[str]
    period_start: Mapped[date]
    title: Mapped[str]
    content: Mapped[str]
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
