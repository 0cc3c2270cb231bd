"""Indicators and the targets set for them."""

from datetime import date
from decimal import Decimal

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.plan import Accumulation, Direction, Operator, Qualitative
from app.models.base import Base, IdMixin, SortKey, one_of

__all__ = ["Indicator", "Target"]


class Indicator(IdMixin, Base):
    """指标: what is measured, one catalogue a region so that years can be compared."""

    __tablename__ = "indicators"
    __table_args__ = (
        UniqueConstraint("region_code", "code"),
        one_of("direction", Direction),
        one_of("accumulation", Accumulation),
    )

    region_code: Mapped[str] = mapped_column(ForeignKey("regions.code"))
    code: Mapped[str]
    name: Mapped[str]
    unit_of_measure: Mapped[str | None]
    direction: Mapped[str]
    accumulation: Mapped[str]


class Target(IdMixin, Base):
    """目标值: a figure with its operator, or a qualitative aim, owned by a plan, battle, group or task.

    Values have at most 15 significant digits, so that a JSON number carries them exactly.
    """

    __tablename__ = "targets"
    __table_args__ = (
        UniqueConstraint("code"),
        UniqueConstraint("sort_key"),
        ForeignKeyConstraint(["battle_id", "plan_id"], ["battles.id", "battles.plan_id"], ondelete="CASCADE"),
        ForeignKeyConstraint(
            ["task_group_id", "battle_id", "plan_id"],
            ["task_groups.id", "task_groups.battle_id", "task_groups.plan_id"],
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(["task_id", "task_group_id"], ["tasks.id", "tasks.task_group_id"], ondelete="CASCADE"),
        Index(None, "plan_id", "sort_key"),
        Index(None, "battle_id", "plan_id"),
        Index(None, "task_group_id", "battle_id", "plan_id"),
        Index(None, "task_id", "task_group_id"),
        Index(None, "indicator_id"),
        CheckConstraint("(operator IS NULL) = (value IS NULL)", name="operator_with_value"),
        CheckConstraint("(operator IS NULL) <> (qualitative IS NULL)", name="figure_or_direction"),
        CheckConstraint("(value_max IS NOT NULL) = (operator IS NOT DISTINCT FROM 'range')", name="range_has_max"),
        CheckConstraint("value_max > value", name="range_order"),
        CheckConstraint("task_group_id IS NULL OR battle_id IS NOT NULL", name="group_has_battle"),
        CheckConstraint("task_id IS NULL OR task_group_id IS NOT NULL", name="task_has_group"),
        one_of("operator", Operator, optional=True),
        one_of("qualitative", Qualitative, optional=True),
    )

    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id", ondelete="CASCADE"))
    battle_id: Mapped[int | None] = mapped_column(BigInteger)
    task_group_id: Mapped[int | None] = mapped_column(BigInteger)
    task_id: Mapped[int | None] = mapped_column(BigInteger)
    ordinal: Mapped[int]
    code: Mapped[str]
    sort_key: Mapped[SortKey]
    indicator_id: Mapped[int] = mapped_column(ForeignKey("indicators.id"))
    operator: Mapped[str | None]
    value: Mapped[Decimal | None]
    value_max: Mapped[Decimal | None]
    qualitative: Mapped[str | None]
    text: Mapped[str]
    locator: Mapped[str]
    due_on: Mapped[date]
    due_printed: Mapped[bool]
    baseline: Mapped[Decimal | None]
    note: Mapped[str | None]
