"""Figures that came from above after the plan was issued, with the documents that gave them."""

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base

__all__ = ["GivenFigure"]


class GivenFigure(Base):
    """What gave a target: a document from above. ``replaces_id`` is the given target that it takes the place of."""

    __tablename__ = "given_figures"
    __table_args__ = (
        UniqueConstraint("replaces_id"),
        CheckConstraint("replaces_id <> target_id", name="replaces_another"),
    )

    target_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("targets.id"), primary_key=True, autoincrement=False)
    replaces_id: Mapped[int | None] = mapped_column(ForeignKey("given_figures.target_id"))
    document_number: Mapped[str]
    document_title: Mapped[str]
    document_issuer: Mapped[str]
    document_issued_on: Mapped[date]
    actor: Mapped[str]
    given_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
