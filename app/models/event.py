"""事件: what other systems are told of.

Whoever changes something writes what happened into ``outbox``, in the same transaction. Once that is committed, the one
process that leads moves it to ``events``, which gives it its place in the stream: a row that becomes visible later
never comes before one that is visible already, however long the transaction of the former took.

Events are of codes, not of keys: a plan that is loaded anew does not change what happened.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKeyConstraint, Identity, PrimaryKeyConstraint
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.events import EventType, Reminder
from app.models.base import Base, one_of

__all__ = ["Event", "OutboxEvent", "RaisedReminder", "ReminderProgress"]

Instant = DateTime(timezone=True)


class _Told:
    """What an event tells, wherever it is kept."""

    at: Mapped[datetime] = mapped_column(Instant)
    type: Mapped[str]
    plan: Mapped[str]
    battle: Mapped[str | None]
    unit: Mapped[str]
    subject: Mapped[UUID | None]
    data: Mapped[dict[str, Any]] = mapped_column(JSON)


class OutboxEvent(_Told, Base):
    """An event on its way to the stream."""

    __tablename__ = "outbox"
    __table_args__ = (one_of("type", EventType),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)


class Event(_Told, Base):
    """An event at its place in the stream; rows are only ever added, without gaps."""

    __tablename__ = "events"

    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class RaisedReminder(Base):
    """That an obligation was said to be due soon, overdue or missed, for one instant: said once, whoever says it."""

    __tablename__ = "raised_reminders"
    __table_args__ = (
        PrimaryKeyConstraint("unit_id", "obligation_id", "kind", "instant"),
        ForeignKeyConstraint(
            ["unit_id", "obligation_id"], ["obligations.unit_id", "obligations.id"], ondelete="CASCADE"
        ),
        one_of("kind", Reminder),
    )

    unit_id: Mapped[int] = mapped_column(BigInteger)
    obligation_id: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str]
    instant: Mapped[datetime] = mapped_column(Instant)


class ReminderProgress(Base):
    """Up to which instant everything that came due has been said; one row."""

    __tablename__ = "reminder_progress"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    reached: Mapped[datetime] = mapped_column(Instant)
