"""Webhooks: who is told of events, and what has come of each telling."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    PrimaryKeyConstraint,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.events import DeliveryState, PauseReason, WebhookState
from app.models.base import Base, one_of

__all__ = ["Webhook", "WebhookDelivery"]

Instant = DateTime(timezone=True)


class Webhook(Base):
    """Where an account wants to be told of events.

    Its secret is not here: it is derived from the service's key, the id and ``secret_version``; the one before works
    until ``overlap_until``. ``position`` is how far in the stream it has been given its deliveries. ``failures`` counts
    the tries that failed since one succeeded; ``retry_at`` holds all its deliveries up where there are many.
    """

    __tablename__ = "webhooks"
    __table_args__ = (
        Index(None, "account_id"),
        CheckConstraint("(state = 'paused') = (pause_reason IS NOT NULL)", name="paused_for_a_reason"),
        one_of("state", WebhookState),
        one_of("pause_reason", PauseReason, optional=True),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    url: Mapped[str]
    types: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    plan: Mapped[str | None]
    unit: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(Instant)
    state: Mapped[str]
    pause_reason: Mapped[str | None]
    secret_version: Mapped[int]
    overlap_until: Mapped[datetime | None] = mapped_column(Instant)
    position: Mapped[int] = mapped_column(BigInteger)
    failures: Mapped[int]
    retry_at: Mapped[datetime | None] = mapped_column(Instant)


class WebhookDelivery(Base):
    """One event on its way to one webhook, with its newest tries.

    ``position`` is that of the event, which is never taken out of the stream; a foreign key would cost an index more.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        PrimaryKeyConstraint("webhook_id", "position"),
        # What waits, lane by lane: of each unit the first goes next.
        Index(None, "webhook_id", "unit", "position", postgresql_where=text("state = 'pending'")),
        Index(None, "webhook_id", "state", "position"),
        Index(None, "settled_at"),
        CheckConstraint("(state = 'pending') = (next_try_at IS NOT NULL)", name="tried_while_pending"),
        one_of("state", DeliveryState),
    )

    webhook_id: Mapped[UUID] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(BigInteger)
    unit: Mapped[str]
    state: Mapped[str]
    tries: Mapped[int]
    attempts: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    next_try_at: Mapped[datetime | None] = mapped_column(Instant)
    settled_at: Mapped[datetime | None] = mapped_column(Instant)
