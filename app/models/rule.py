"""Rules of reporting, dispatch, ranking, sanction and evaluation."""

from datetime import date
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.plan import RuleKind, RuleUnitRole
from app.models.base import Base, IdMixin, SortKey, one_of

__all__ = ["Rule", "RuleUnit", "RuleVersion"]


class Rule(IdMixin, Base):
    """A rule with its source, its parameters, and a note where the text had to be interpreted."""

    __tablename__ = "rules"
    __table_args__ = (
        UniqueConstraint("code", "plan_id"),
        # Checked at commit: a rule entered between others moves all that follow.
        UniqueConstraint("sort_key", deferrable=True, initially="IMMEDIATE"),
        ForeignKeyConstraint(["battle_id", "plan_id"], ["battles.id", "battles.plan_id"], ondelete="CASCADE"),
        Index(None, "plan_id", "sort_key"),
        Index(None, "battle_id", "plan_id"),
        one_of("kind", RuleKind),
    )

    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id", ondelete="CASCADE"))
    battle_id: Mapped[int | None] = mapped_column(BigInteger)
    code: Mapped[str]
    sort_key: Mapped[SortKey]
    name: Mapped[str]
    kind: Mapped[str]
    locator: Mapped[str]
    summary: Mapped[str]
    owed_by: Mapped[str | None]
    schedule: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    parameters: Mapped[dict[str, Any]] = mapped_column(JSONB)
    printed: Mapped[list[str]] = mapped_column(ARRAY(Text))
    interpretation: Mapped[str | None]


class RuleVersion(IdMixin, Base):
    """The schedule of a rule from a period on; what an earlier version set for earlier periods stays as it was."""

    __tablename__ = "rule_versions"
    __table_args__ = (
        UniqueConstraint("rule_id", "version"),
        CheckConstraint("version > 0", name="version_positive"),
    )

    rule_id: Mapped[int] = mapped_column(ForeignKey("rules.id", ondelete="CASCADE"))
    version: Mapped[int]
    effective_from: Mapped[date]
    schedule: Mapped[dict[str, Any]] = mapped_column(JSONB)


class RuleUnit(IdMixin, Base):
    """A unit that receives what a rule demands, or certifies it."""

    __tablename__ = "rule_units"
    __table_args__ = (
        UniqueConstraint("rule_id", "role", "position"),
        Index(None, "unit_id"),
        one_of("role", RuleUnitRole),
    )

    rule_id: Mapped[int] = mapped_column(ForeignKey("rules.id", ondelete="CASCADE"))
    role: Mapped[str]
    position: Mapped[int]
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    printed_name: Mapped[str]
