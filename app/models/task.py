"""Task groups, tasks, their clauses and the units a clause assigns."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.plan import AssignmentRole
from app.models.base import Base, IdMixin, SortKey, VersionMixin, one_of

__all__ = ["Assignment", "Clause", "Task", "TaskGroup"]


class TaskGroup(IdMixin, Base):
    """（一）（二）…: a heading inside a battle."""

    __tablename__ = "task_groups"
    __table_args__ = (
        UniqueConstraint("code"),
        UniqueConstraint("sort_key"),
        UniqueConstraint("battle_id", "ordinal"),
        UniqueConstraint("id", "battle_id", "plan_id"),
        ForeignKeyConstraint(["battle_id", "plan_id"], ["battles.id", "battles.plan_id"], ondelete="CASCADE"),
        Index(None, "battle_id", "plan_id"),
        CheckConstraint("ordinal > 0", name="ordinal_positive"),
    )

    plan_id: Mapped[int] = mapped_column(BigInteger)
    battle_id: Mapped[int] = mapped_column(BigInteger)
    ordinal: Mapped[int]
    code: Mapped[str]
    sort_key: Mapped[SortKey]
    title: Mapped[str]
    locator: Mapped[str]
    summary: Mapped[str | None]
    upstream_note: Mapped[str | None]


class Task(IdMixin, VersionMixin, Base):
    """工作任务: a numbered item.

    ``plan_id`` and ``battle_id`` repeat what the group says, held equal by the composite foreign key, so that the
    filters of the task list need no join.
    """

    __tablename__ = "tasks"
    __table_args__ = (
        UniqueConstraint("code"),
        UniqueConstraint("sort_key"),
        UniqueConstraint("task_group_id", "number"),
        UniqueConstraint("id", "task_group_id"),
        ForeignKeyConstraint(
            ["task_group_id", "battle_id", "plan_id"],
            ["task_groups.id", "task_groups.battle_id", "task_groups.plan_id"],
            ondelete="CASCADE",
        ),
        Index(None, "task_group_id", "battle_id", "plan_id"),
        Index(None, "battle_id", "sort_key"),
        Index(None, "plan_id", "sort_key"),
        Index(None, "title", "sort_key"),
        CheckConstraint("number > 0", name="number_positive"),
    )

    plan_id: Mapped[int] = mapped_column(BigInteger)
    battle_id: Mapped[int] = mapped_column(BigInteger)
    task_group_id: Mapped[int] = mapped_column(BigInteger)
    number: Mapped[int]
    code: Mapped[str]
    sort_key: Mapped[SortKey]
    title: Mapped[str]
    locator: Mapped[str]
    deliverables: Mapped[str]
    upstream_note: Mapped[str | None]


class Clause(IdMixin, Base):
    """A responsible-unit bracket: of a part of a task, or of a group heading and so of every task in the group."""

    __tablename__ = "clauses"
    __table_args__ = (
        UniqueConstraint("code"),
        UniqueConstraint("task_id", "ordinal"),
        UniqueConstraint("task_group_id"),
        CheckConstraint("num_nonnulls(task_id, task_group_id) = 1", name="one_owner"),
        CheckConstraint("ordinal > 0", name="ordinal_positive"),
    )

    task_id: Mapped[int | None] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"))
    task_group_id: Mapped[int | None] = mapped_column(ForeignKey("task_groups.id", ondelete="CASCADE"))
    ordinal: Mapped[int]
    code: Mapped[str]
    summary: Mapped[str | None]
    open_ended: Mapped[bool]
    note: Mapped[str | None]


class Assignment(IdMixin, Base):
    """One unit in a clause: its role, the name printed there, and its place in the bracket (from 1)."""

    __tablename__ = "assignments"
    __table_args__ = (
        UniqueConstraint("clause_id", "position"),
        UniqueConstraint("clause_id", "unit_id", "role"),
        Index(None, "unit_id", "role", "clause_id"),
        CheckConstraint("position > 0", name="position_positive"),
        one_of("role", AssignmentRole),
    )

    clause_id: Mapped[int] = mapped_column(ForeignKey("clauses.id", ondelete="CASCADE"))
    position: Mapped[int]
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    role: Mapped[str]
    printed_name: Mapped[str]
