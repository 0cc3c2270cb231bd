"""Subscriptions to the calendar of due instants, each opened by a token in its address."""

from datetime import datetime

from sqlalchemy import ARRAY, CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, IdMixin

__all__ = ["CalendarSubscription"]

Instant = DateTime(timezone=True)


class CalendarSubscription(IdMixin, Base):
    """Whose it is, which due instants it shows, and the digest of its token, never the token.

    Of an account, what it may see is asked each time. Of a person the service knows nothing between two log-ins, so
    ``grants`` keeps what their token granted (in text), and ``expires_at`` bounds for how long that is believed. The
    filter is codes and no foreign keys, for the reason that grants are.
    """

    __tablename__ = "calendar_subscriptions"
    __table_args__ = (
        UniqueConstraint("token_id"),
        Index(None, "account_id"),
        Index(None, "owner"),
        CheckConstraint("octet_length(digest) = 32", name="digest_is_sha256"),
        CheckConstraint("expires_at > created_at", name="expires_after_created"),
        CheckConstraint(
            "account_id IS NOT NULL OR grants IS NOT NULL AND expires_at IS NOT NULL", name="bounded_for_persons"
        ),
    )

    token_id: Mapped[str]
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    owner: Mapped[str]
    account_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))
    grants: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    name: Mapped[str]
    unit: Mapped[str | None]
    rule: Mapped[str | None]
    plan: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime | None] = mapped_column(Instant)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)
