"""Quarterly rankings, every revision kept."""

from datetime import date, datetime
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

from app.domain.rankings import RankingKind
from app.models.base import Base, one_of

__all__ = ["Ranking", "RankingEntry", "RankingRevision"]


class Ranking(Base):
    """One ranking of a quarter: what never changes of it. Its row is what is locked while a revision is added."""

    __tablename__ = "rankings"
    __table_args__ = (
        ForeignKeyConstraint(["battle_id", "plan_id"], ["battles.id", "battles.plan_id"]),
        UniqueConstraint("plan_id", "kind", "period_start"),
        Index(None, "battle_id", "plan_id"),
        Index(None, "rule_id"),
        Index(None, "period_start"),
        one_of("kind", RankingKind),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id"))
    battle_id: Mapped[int | None] = mapped_column(BigInteger)
    rule_id: Mapped[int] = mapped_column(ForeignKey("rules.id"))
    kind: Mapped[str]
    period: Mapped[str]
    period_start: Mapped[date]
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class RankingRevision(Base):
    """What a ranking said from an instant on: where it is from, by whom it was recorded, and why it was corrected."""

    __tablename__ = "ranking_revisions"
    __table_args__ = (
        PrimaryKeyConstraint("ranking_id", "revision"),
        CheckConstraint("revision > 0", name="revision_positive"),
        CheckConstraint("(revision = 1) = (reason IS NULL)", name="corrected_for_a_reason"),
    )

    ranking_id: Mapped[UUID] = mapped_column(ForeignKey("rankings.id"))
    revision: Mapped[int]
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    actor: Mapped[str]
    reason: Mapped[str | None]
    source: Mapped[str]


class RankingEntry(Base):
    """The place of one unit in one revision of a ranking."""

    __tablename__ = "ranking_entries"
    __table_args__ = (
        PrimaryKeyConstraint("ranking_id", "revision", "unit_id"),
        ForeignKeyConstraint(
            ["ranking_id", "revision"], ["ranking_revisions.ranking_id", "ranking_revisions.revision"]
        ),
        Index(None, "unit_id"),
        CheckConstraint("rank BETWEEN 1 AND of_ranked", name="rank_within"),
    )

    ranking_id: Mapped[UUID]
    revision: Mapped[int]
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    rank: Mapped[int]
    of_ranked: Mapped[int]
