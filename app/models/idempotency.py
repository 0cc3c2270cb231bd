"""Answers kept under the keys of requests, so that one sent again has no second effect."""

from datetime import datetime

from sqlalchemy import CheckConstraint, DateTime, Index, LargeBinary, PrimaryKeyConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base

__all__ = ["IdempotencyKey"]

Instant = DateTime(timezone=True)


class IdempotencyKey(Base):
    """What one request of an actor was answered, written in the transaction of its effect.

    ``fingerprint`` is the SHA-256 of what was asked. A ``sealed`` body shows something once; it is encrypted so that
    only whoever sends the same credential and key again can read it.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        PrimaryKeyConstraint("actor", "key"),
        Index(None, "expires_at"),
        CheckConstraint("octet_length(fingerprint) = 32", name="fingerprint_is_sha256"),
        CheckConstraint("expires_at > created_at", name="expires_after_created"),
    )

    actor: Mapped[str]
    key: Mapped[str]
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int]
    headers: Mapped[dict[str, str]] = mapped_column(JSONB)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    sealed: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
