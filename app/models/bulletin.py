"""Bulletins: what a task force issued of a period, as it was issued."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, ForeignKeyConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.bulletins import BulletinKind, BulletinState
from app.models.base import Base, one_of

__all__ = ["Bulletin"]

Instant = DateTime(timezone=True)


class Bulletin(Base):
    """One brief, circular or summary of a plan or a battle; triggers keep what is no draft any more as it is.

    ``content`` is what was generated from the data as of ``as_of``, and ``parts`` what was written by hand: canonical
    JSON, kept as text, so that the hashes are of these very bytes. ``document_hash`` is of both and of the number.
    ``unit_id`` is whose it is: where the office of the task force is. ``filed`` is how many obligations it filed.
    """

    __tablename__ = "bulletins"
    __table_args__ = (
        ForeignKeyConstraint(["battle_id", "plan_id"], ["battles.id", "battles.plan_id"]),
        Index(None, "plan_id", "period_start"),
        Index(None, "battle_id", "plan_id"),
        Index(None, "unit_id"),
        Index(
            None,
            *("plan_id", "battle_id", "kind", "period"),
            unique=True,
            postgresql_where=text("state <> 'discarded'"),
            postgresql_nulls_not_distinct=True,
        ),
        Index(
            None,
            *("plan_id", "battle_id", "kind", "year", "number"),
            unique=True,
            postgresql_where=text("number IS NOT NULL"),
            postgresql_nulls_not_distinct=True,
        ),
        one_of("kind", BulletinKind),
        one_of("state", BulletinState),
        CheckConstraint("number > 0", name="number_positive"),
        CheckConstraint(
            "CASE WHEN state = 'issued' THEN num_nulls(number, issued_at, issued_by, document_hash, filed) = 0"
            " ELSE num_nonnulls(number, issued_at, issued_by, document_hash, filed) = 0 END",
            name="issued_whole",
        ),
        CheckConstraint(
            "(state = 'discarded') = (discarded_at IS NOT NULL) AND (discarded_at IS NULL) = (discard_reason IS NULL)",
            name="discarded_for_a_reason",
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id"))
    battle_id: Mapped[int | None] = mapped_column(BigInteger)
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    kind: Mapped[str]
    period: Mapped[str]
    period_start: Mapped[date]
    year: Mapped[int]
    as_of: Mapped[datetime] = mapped_column(Instant)
    state: Mapped[str]
    number: Mapped[int | None]
    title: Mapped[str]
    content: Mapped[str]
    content_hash: Mapped[str]
    parts: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(Instant)
    created_by: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(Instant)
    issued_at: Mapped[datetime | None] = mapped_column(Instant)
    issued_by: Mapped[str | None]
    document_hash: Mapped[str | None]
    filed: Mapped[int | None]
    discarded_at: Mapped[datetime | None] = mapped_column(Instant)
    discard_reason: Mapped[str | None]
