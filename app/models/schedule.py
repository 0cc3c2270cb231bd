"""序时进度 of a unit's own: the points it gave for a task, version by version, as stretches that SQL can add up.

Rows are keyed by task first, as submissions are.
"""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Numeric,
    PrimaryKeyConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base

__all__ = ["ProgressSchedule", "ScheduleStretch"]


class ProgressSchedule(Base):
    """A version of the schedule that a unit gave for a task; of those set by an instant the highest is in force.

    A version without stretches takes the unit back to the even schedule of the plan year. Rows are only ever added.
    """

    __tablename__ = "progress_schedules"
    __table_args__ = (
        PrimaryKeyConstraint("task_id", "unit_id", "version"),
        Index(None, "unit_id"),
        CheckConstraint("version > 0", name="version_positive"),
    )

    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"))
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    version: Mapped[int]
    reason: Mapped[str]
    set_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class ScheduleStretch(Base):
    """A span over which a schedule grows evenly, from the end of ``from_day`` to the end of ``to_day``."""

    __tablename__ = "schedule_stretches"
    __table_args__ = (
        PrimaryKeyConstraint("task_id", "unit_id", "version", "to_day"),
        ForeignKeyConstraint(
            ["task_id", "unit_id", "version"],
            ["progress_schedules.task_id", "progress_schedules.unit_id", "progress_schedules.version"],
            # The convention's name would be longer than PostgreSQL keeps.
            name="fk_schedule_stretches_schedule_progress_schedules",
            ondelete="CASCADE",
        ),
        CheckConstraint("to_day > from_day", name="days_in_order"),
        CheckConstraint("from_percent >= 0 AND to_percent BETWEEN from_percent AND 100", name="percent_rises"),
    )

    task_id: Mapped[int] = mapped_column(BigInteger)
    unit_id: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int]
    from_day: Mapped[date]
    to_day: Mapped[date]
    from_percent: Mapped[Decimal] = mapped_column(Numeric(5, 2))
    to_percent: Mapped[Decimal] = mapped_column(Numeric(5, 2))
