"""Work items: what units break their tasks down into, every revision kept."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.work_items import WorkItemKind, WorkItemState
from app.models.base import Base, one_of

__all__ = ["WorkItem", "WorkItemRevision"]


class WorkItem(Base):
    """An item of a list: what never changes of it. Its row is what is locked while a revision is added."""

    __tablename__ = "work_items"
    __table_args__ = (
        ForeignKeyConstraint(["battle_id", "plan_id"], ["battles.id", "battles.plan_id"]),
        Index(None, "plan_id", "id"),
        Index(None, "battle_id", "plan_id"),
        Index(None, "task_id"),
        one_of("kind", WorkItemKind),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    plan_id: Mapped[int] = mapped_column(BigInteger)
    battle_id: Mapped[int] = mapped_column(BigInteger)
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"))
    kind: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class WorkItemRevision(Base):
    """What an item said from an instant on: the whole of it, by whom and why.

    ``content`` holds the parts that nothing is filtered by; ``missing`` the six-ones that it lacked; ``next_due_on``
    the first milestone that was not done; ``haystack`` and ``grams`` are what it is found by.
    """

    __tablename__ = "work_item_revisions"
    __table_args__ = (
        PrimaryKeyConstraint("work_item_id", "revision"),
        Index(None, "unit_id"),
        Index(None, "state"),
        Index(None, "next_due_on"),
        Index(None, "grams", postgresql_using="gin"),
        CheckConstraint("revision > 0", name="revision_positive"),
        CheckConstraint("due_on >= starts_on", name="ends_after_start"),
        one_of("state", WorkItemState),
    )

    work_item_id: Mapped[UUID] = mapped_column(ForeignKey("work_items.id"))
    revision: Mapped[int]
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    actor: Mapped[str]
    reason: Mapped[str | None]
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    title: Mapped[str]
    state: Mapped[str]
    starts_on: Mapped[date | None]
    due_on: Mapped[date | None]
    next_due_on: Mapped[date | None]
    missing: Mapped[list[str]] = mapped_column(ARRAY(Text))
    content: Mapped[dict[str, Any]] = mapped_column(JSONB)
    haystack: Mapped[str]
    grams: Mapped[list[str]] = mapped_column(ARRAY(Text))
