"""Events out: the outbox, the stream, reminders raised, webhooks and their deliveries.

Revision: 0010, after 0009
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_TYPES = (
    "'extension.granted', 'obligation.due_soon', 'obligation.missed', 'obligation.overdue', "
    "'submission.certified', 'submission.corrected', 'submission.returned', 'submission.submitted'"
)
_REASONS = "'account_disabled', 'exhausted', 'gone', 'requested'"
_INSTANT = sa.DateTime(timezone=True)


def _told() -> list[sa.Column[object]]:
    return [
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("battle", sa.Text(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("subject", sa.Uuid(), nullable=True),
        sa.Column("data", postgresql.JSON(), nullable=False),
    ]


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        *_told(),
        sa.CheckConstraint(f"type IN ({_TYPES})", name=op.f("ck_outbox_type_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    # It is emptied as it fills: what was deleted must not make the next look at it slow.
    op.execute("ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)")
    op.create_table(
        "events",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        *_told(),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_events")),
    )
    op.create_table(
        "raised_reminders",
        sa.Column("unit_id", sa.BigInteger(), nullable=False),
        sa.Column("obligation_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("instant", _INSTANT, nullable=False),
        sa.CheckConstraint("kind IN ('due_soon', 'missed', 'overdue')", name=op.f("ck_raised_reminders_kind_known")),
        sa.ForeignKeyConstraint(
            ["unit_id", "obligation_id"],
            ["obligations.unit_id", "obligations.id"],
            name=op.f("fk_raised_reminders_unit_id_obligation_id_obligations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("unit_id", "obligation_id", "kind", "instant", name=op.f("pk_raised_reminders")),
    )
    op.create_table(
        "reminder_progress",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("reached", _INSTANT, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_reminder_progress_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reminder_progress")),
    )
    op.create_index(op.f("ix_obligations_lock_at"), "obligations", ["lock_at"], unique=False)
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("types", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("plan", sa.Text(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("pause_reason", sa.Text(), nullable=True),
        sa.Column("secret_version", sa.Integer(), nullable=False),
        sa.Column("overlap_until", _INSTANT, nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("retry_at", _INSTANT, nullable=True),
        sa.CheckConstraint(
            "(state = 'paused') = (pause_reason IS NOT NULL)", name=op.f("ck_webhooks_paused_for_a_reason")
        ),
        sa.CheckConstraint("state IN ('active', 'paused')", name=op.f("ck_webhooks_state_known")),
        sa.CheckConstraint(
            f"pause_reason IS NULL OR pause_reason IN ({_REASONS})", name=op.f("ck_webhooks_pause_reason_known")
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_webhooks_account_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_index(op.f("ix_webhooks_account_id"), "webhooks", ["account_id"], unique=False)
    op.create_table(
        "webhook_deliveries",
        sa.Column("webhook_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("attempts", postgresql.JSONB(), nullable=False),
        sa.Column("next_try_at", _INSTANT, nullable=True),
        sa.Column("settled_at", _INSTANT, nullable=True),
        sa.CheckConstraint(
            "state IN ('dead', 'delivered', 'pending', 'withheld')", name=op.f("ck_webhook_deliveries_state_known")
        ),
        sa.CheckConstraint(
            "(state = 'pending') = (next_try_at IS NOT NULL)", name=op.f("ck_webhook_deliveries_tried_while_pending")
        ),
        sa.ForeignKeyConstraint(
            ["webhook_id"],
            ["webhooks.id"],
            name=op.f("fk_webhook_deliveries_webhook_id_webhooks"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("webhook_id", "position", name=op.f("pk_webhook_deliveries")),
    )
    op.create_index(
        op.f("ix_webhook_deliveries_webhook_id_unit_position"),
        "webhook_deliveries",
        ["webhook_id", "unit", "position"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        op.f("ix_webhook_deliveries_webhook_id_state_position"),
        "webhook_deliveries",
        ["webhook_id", "state", "position"],
        unique=False,
    )
    op.create_index(op.f("ix_webhook_deliveries_settled_at"), "webhook_deliveries", ["settled_at"], unique=False)


def downgrade() -> None:
    op.drop_table("webhook_deliveries")
    op.drop_table("webhooks")
    op.drop_index(op.f("ix_obligations_lock_at"), table_name="obligations")
    op.drop_table("reminder_progress")
    op.drop_table("raised_reminders")
    op.drop_table("events")
    op.drop_table("outbox")
