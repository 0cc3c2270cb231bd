"""Responsible units and every name the documents print for them."""

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.plan import UnitKind
from app.models.base import Base, IdMixin, one_of

__all__ = ["Unit", "UnitAlias"]


class Unit(IdMixin, Base):
    """责任单位 of a region."""

    __tablename__ = "units"
    __table_args__ = (
        UniqueConstraint("code"),
        UniqueConstraint("id", "region_code"),
        Index(None, "region_code"),
        one_of("kind", UnitKind),
    )

    region_code: Mapped[str] = mapped_column(ForeignKey("regions.code"))
    code: Mapped[str]
    name: Mapped[str]
    kind: Mapped[str]
    note: Mapped[str | None]


class UnitAlias(IdMixin, Base):
    """A printed name of a unit, its canonical name included; within a region a name means one unit."""

    __tablename__ = "unit_aliases"
    __table_args__ = (
        UniqueConstraint("name", "region_code"),
        ForeignKeyConstraint(["unit_id", "region_code"], ["units.id", "units.region_code"], ondelete="CASCADE"),
        Index(None, "unit_id", "region_code"),
    )

    region_code: Mapped[str]
    unit_id: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str]
