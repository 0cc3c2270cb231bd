"""What the search looks in: one entry a plan, battle, group, task, unit, target, rule or anomaly."""

from sqlalchemy import ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.search import EntryKind
from app.models.base import Base, IdMixin, SortKey, one_of

__all__ = ["SearchEntry"]


class SearchEntry(IdMixin, Base):
    """Names, text and pinyin of one thing, folded for comparison, with the n-grams that the index knows.

    ``haystack`` joins all folded forms; ``sort_key`` orders hits of equal worth.
    ``plan_id`` is null for units, which belong to a region and outlive a plan.
    """

    __tablename__ = "search_entries"
    __table_args__ = (
        UniqueConstraint("kind", "code", "region_code", "plan_id", postgresql_nulls_not_distinct=True),
        Index(None, "grams", postgresql_using="gin"),
        Index(None, "plan_id"),
        Index(None, "region_code"),
        one_of("kind", EntryKind),
    )

    region_code: Mapped[str] = mapped_column(ForeignKey("regions.code"))
    plan_id: Mapped[int | None] = mapped_column(ForeignKey("plans.id", ondelete="CASCADE"))
    kind: Mapped[str]
    code: Mapped[str]
    sort_key: Mapped[SortKey]
    title: Mapped[str]
    detail: Mapped[str | None]
    names: Mapped[list[str]] = mapped_column(ARRAY(Text))
    pinyin: Mapped[list[str]] = mapped_column(ARRAY(Text))
    initials: Mapped[list[str]] = mapped_column(ARRAY(Text))
    haystack: Mapped[str]
    grams: Mapped[list[str]] = mapped_column(ARRAY(Text))
