"""The audit trail: who did what, when and from where, chained by hashes so that no row can be changed unnoticed.

Codes are text and nothing is a foreign key: a row outlives whatever it tells of. Rows are written by the function
``append_audit`` alone, which knows the newest row of each chain; triggers refuse every change of them.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, DateTime, Index, LargeBinary, PrimaryKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.audit import AuditAction
from app.models.base import Base, SortKey, one_of

__all__ = ["AuditEntry", "AuditHead"]


class AuditEntry(Base):
    """One act. ``before`` and ``after`` are kept as the very text that was hashed (``json``, not ``jsonb``)."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        PrimaryKeyConstraint("chain", "position"),
        Index(None, "at"),
        Index(None, "subject"),
        CheckConstraint("position > 0", name="position_positive"),
        CheckConstraint("octet_length(hash) = 32 AND octet_length(previous_hash) = 32", name="hashes_are_sha256"),
        one_of("action", AuditAction),
    )

    chain: Mapped[SortKey]
    position: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    actor: Mapped[str]
    actor_name: Mapped[str]
    address: Mapped[str | None]
    request_id: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    plan: Mapped[str | None]
    unit: Mapped[str | None]
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    previous_hash: Mapped[bytes] = mapped_column(LargeBinary)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


class AuditHead(Base):
    """The newest row of a chain: locked by whoever appends, and proof that none was cut off at the end."""

    __tablename__ = "audit_heads"
    __table_args__ = (
        PrimaryKeyConstraint("chain"),
        CheckConstraint("octet_length(hash) = 32", name="hash_is_sha256"),
    )

    chain: Mapped[SortKey]
    position: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
