"""Battles and their task forces."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.plan import TaskForceRole
from app.models.base import Base, IdMixin, SortKey, one_of

__all__ = ["Battle", "TaskForce", "TaskForceHead", "TaskForceMember"]


class Battle(IdMixin, Base):
    """仗: one of the parts a plan is fought in; how many there are is the plan's affair."""

    __tablename__ = "battles"
    __table_args__ = (
        UniqueConstraint("code"),
        UniqueConstraint("sort_key"),
        UniqueConstraint("plan_id", "ordinal"),
        UniqueConstraint("id", "plan_id"),
        CheckConstraint("ordinal > 0", name="ordinal_positive"),
    )

    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id", ondelete="CASCADE"))
    ordinal: Mapped[int]
    code: Mapped[str]
    sort_key: Mapped[SortKey]
    short_name: Mapped[str]
    name: Mapped[str]
    objective: Mapped[str]
    locator: Mapped[str]


class TaskForce(IdMixin, Base):
    """工作专班 of a battle, with the unit that houses its office."""

    __tablename__ = "task_forces"
    __table_args__ = (UniqueConstraint("battle_id"), Index(None, "office_unit_id"))

    battle_id: Mapped[int] = mapped_column(ForeignKey("battles.id", ondelete="CASCADE"))
    name: Mapped[str]
    locator: Mapped[str]
    office_unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    office_printed_name: Mapped[str]
    open_ended: Mapped[bool]
    note: Mapped[str | None]


class TaskForceHead(IdMixin, Base):
    """A post (and the person, where printed) at the head of a task force."""

    __tablename__ = "task_force_heads"
    __table_args__ = (UniqueConstraint("task_force_id", "position"), one_of("role", TaskForceRole))

    task_force_id: Mapped[int] = mapped_column(ForeignKey("task_forces.id", ondelete="CASCADE"))
    position: Mapped[int]
    role: Mapped[str]
    post: Mapped[str]
    person: Mapped[str | None]
    locator: Mapped[str]


class TaskForceMember(IdMixin, Base):
    """成员单位 of a task force, under the name printed there."""

    __tablename__ = "task_force_members"
    __table_args__ = (UniqueConstraint("task_force_id", "position"), Index(None, "unit_id"))

    task_force_id: Mapped[int] = mapped_column(ForeignKey("task_forces.id", ondelete="CASCADE"))
    position: Mapped[int]
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    printed_name: Mapped[str]
