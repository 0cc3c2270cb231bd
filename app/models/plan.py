"""Plans, their regions, the superior documents they cite, battles and their task forces."""

from datetime import date

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.plan import AnomalyKind, TaskForceRole
from app.models.base import Base, IdMixin, SortKey, one_of

__all__ = [
    "Anomaly",
    "Battle",
    "Plan",
    "Region",
    "SuperiorDocument",
    "TaskForce",
    "TaskForceHead",
    "TaskForceMember",
]


class Region(Base):
    """An administrative region by its GB/T 2260 code."""

    __tablename__ = "regions"
    __table_args__ = (CheckConstraint("code ~ '^[0-9]{6}$'", name="code_gbt2260"),)

    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]


class Plan(IdMixin, Base):
    """总体方案: one document, one region, one year."""

    __tablename__ = "plans"
    __table_args__ = (
        UniqueConstraint("code"),
        UniqueConstraint("sort_key"),
        CheckConstraint("year BETWEEN 2000 AND 2100", name="year_range"),
        Index(None, "region_code"),
    )

    code: Mapped[str]
    sort_key: Mapped[SortKey]
    region_code: Mapped[str] = mapped_column(ForeignKey("regions.code"))
    year: Mapped[int]
    title: Mapped[str]
    short_title: Mapped[str]
    document_number: Mapped[str]
    issuer: Mapped[str]
    issued_on: Mapped[date]
    objective: Mapped[str]
    seed_digest: Mapped[str]


class SuperiorDocument(IdMixin, Base):
    """A document of a superior government that a plan cites."""

    __tablename__ = "superior_documents"
    __table_args__ = (UniqueConstraint("plan_id", "position"),)

    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id", ondelete="CASCADE"))
    position: Mapped[int]
    number: Mapped[str]
    title: Mapped[str]
    issuer: Mapped[str]


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


class Anomaly(IdMixin, Base):
    """A misprint, contradiction, duplicate, omission or ambiguity of the document."""

    __tablename__ = "anomalies"
    __table_args__ = (
        UniqueConstraint("code"),
        UniqueConstraint("sort_key"),
        UniqueConstraint("plan_id", "ordinal"),
        ForeignKeyConstraint(["battle_id", "plan_id"], ["battles.id", "battles.plan_id"]),
        Index(None, "battle_id", "plan_id"),
        one_of("kind", AnomalyKind),
    )

    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id", ondelete="CASCADE"))
    battle_id: Mapped[int | None] = mapped_column(BigInteger)
    ordinal: Mapped[int]
    code: Mapped[str]
    sort_key: Mapped[SortKey]
    kind: Mapped[str]
    locator: Mapped[str]
    printed: Mapped[str | None]
    reading: Mapped[str | None]
    note: Mapped[str]
