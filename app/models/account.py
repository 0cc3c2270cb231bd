"""Accounts of scripts and other systems, the roles they hold, and the keys they present."""

from datetime import datetime
from ipaddress import IPv4Network, IPv6Network

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import CIDR
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.roles import Role
from app.models.base import Base, IdMixin, one_of

__all__ = ["Account", "AccountGrant", "ApiKey"]

Instant = DateTime(timezone=True)


class Account(IdMixin, Base):
    """A service account. It is disabled, never deleted: the records name it."""

    __tablename__ = "accounts"
    __table_args__ = (
        UniqueConstraint("code"),
        CheckConstraint("code ~ '^[a-z0-9]{10}$'", name="code_form"),
    )

    code: Mapped[str]
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(Instant)
    disabled_at: Mapped[datetime | None] = mapped_column(Instant)


class AccountGrant(Base):
    """A role within its bounds.

    The bounds are codes and no foreign keys: codes are what a token's claim carries too, a grant outlives the reload
    of a plan, and no unit may become impossible to take out because somebody may report for it. Which role takes which
    bounds is a rule of ``app.domain.roles``; the checks here are on the form alone.
    """

    __tablename__ = "account_grants"
    __table_args__ = (
        PrimaryKeyConstraint("account_id", "position"),
        UniqueConstraint("account_id", "role", "plan", "unit", "battle", postgresql_nulls_not_distinct=True),
        CheckConstraint("plan ~ '^[0-9]{6}-[0-9]{4}$'", name="plan_form"),
        CheckConstraint("unit ~ '^[0-9]{6}-[a-z][a-z0-9]{1,39}$'", name="unit_form"),
        CheckConstraint("battle ~ '^[0-9]{6}-[0-9]{4}-[0-9]{1,2}$'", name="battle_form"),
        one_of("role", Role),
    )

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    position: Mapped[int]
    role: Mapped[str]
    plan: Mapped[str | None]
    unit: Mapped[str | None]
    battle: Mapped[str | None]


class ApiKey(IdMixin, Base):
    """A key of an account: its digest, never the key. ``networks`` that are null allow every address, empty ones none.

    ``last_used_at`` is written at most once a minute.
    """

    __tablename__ = "api_keys"
    __table_args__ = (
        UniqueConstraint("key_id"),
        Index(None, "account_id"),
        Index(None, "replaced_by"),
        CheckConstraint("octet_length(digest) = 32", name="digest_is_sha256"),
        CheckConstraint("expires_at >= created_at", name="expires_after_created"),
        CheckConstraint("replaced_by <> id", name="replaced_by_another"),
    )

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    key_id: Mapped[str]
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime | None] = mapped_column(Instant)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)
    networks: Mapped[list[IPv4Network | IPv6Network] | None] = mapped_column(ARRAY(CIDR))
    last_used_at: Mapped[datetime | None] = mapped_column(Instant)
    replaced_by: Mapped[int | None] = mapped_column(ForeignKey("api_keys.id"))
