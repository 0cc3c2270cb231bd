"""Plans, their regions and the superior documents they cite."""

from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.progress import DEFAULT_THRESHOLDS
from app.models.base import Base, IdMixin, SortKey

__all__ = ["Plan", "Region", "SuperiorDocument"]


def _points(default: Decimal) -> Any:
    return mapped_column(Numeric(5, 2), server_default=text(str(default)))


class Region(Base):
    """An administrative region by its GB/T 2260 code."""

    __tablename__ = "regions"
    __table_args__ = (CheckConstraint("code ~ '^[0-9]{6}$'", name="code_gbt2260"),)

    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]


class Plan(IdMixin, Base):
    """总体方案: one document, one region, one year.

    ``ahead_points`` and ``behind_points`` are the deviations at which the lights of its tasks change.
    """

    __tablename__ = "plans"
    __table_args__ = (
        UniqueConstraint("code"),
        UniqueConstraint("sort_key"),
        CheckConstraint("year BETWEEN 2000 AND 2100", name="year_range"),
        CheckConstraint("ahead_points BETWEEN 0 AND 100", name="ahead_points_range"),
        CheckConstraint("behind_points BETWEEN 0 AND 100", name="behind_points_range"),
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
    ahead_points: Mapped[Decimal] = _points(DEFAULT_THRESHOLDS.ahead_points)
    behind_points: Mapped[Decimal] = _points(DEFAULT_THRESHOLDS.behind_points)
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
