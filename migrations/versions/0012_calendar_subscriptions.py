"""Subscriptions to the calendar of due instants.

Revision: 0012, after 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "calendar_subscriptions",
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("grants", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=True),
        sa.Column("plan", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_calendar_subscriptions_digest_is_sha256")),
        sa.CheckConstraint("expires_at > created_at", name=op.f("ck_calendar_subscriptions_expires_after_created")),
        sa.CheckConstraint(
            "account_id IS NOT NULL OR grants IS NOT NULL AND expires_at IS NOT NULL",
            name=op.f("ck_calendar_subscriptions_bounded_for_persons"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_calendar_subscriptions_account_id_accounts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calendar_subscriptions")),
        sa.UniqueConstraint("token_id", name=op.f("uq_calendar_subscriptions_token_id")),
    )
    op.create_index(op.f("ix_calendar_subscriptions_account_id"), "calendar_subscriptions", ["account_id"])
    op.create_index(op.f("ix_calendar_subscriptions_owner"), "calendar_subscriptions", ["owner"])


def downgrade() -> None:
    op.drop_table("calendar_subscriptions")
