"""Acts of webhooks and calendar subscriptions may stand in the audit trail.

Revision: 0015, after 0014
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_BEFORE = (
    "'account.change', 'account.create', 'account.grant', 'extension.grant', 'key.issue', 'key.revoke', 'key.rotate', "
    "'material.create', 'plan.load', 'schedule.set', 'submission.certify', 'submission.correct', 'submission.create', "
    "'submission.edit', 'submission.read_draft', 'submission.return', 'submission.submit', 'waiver.grant'"
)
_ADDED = (
    "'calendar_subscription.create', 'calendar_subscription.revoke', 'webhook.change', 'webhook.create', "
    "'webhook.delete', 'webhook.redeliver', 'webhook.resume', 'webhook.rotate_secret', 'webhook.test'"
)


def upgrade() -> None:
    _allow(f"{_BEFORE}, {_ADDED}")


def downgrade() -> None:
    # What was done stays in the trail, which gives nothing up.
    _allow(_BEFORE, "NOT VALID")


def _allow(actions: str, how: str = "") -> None:
    op.execute(f"""
        ALTER TABLE audit_entries DROP CONSTRAINT ck_audit_entries_action_known,
            ADD CONSTRAINT ck_audit_entries_action_known CHECK (action IN ({actions})) {how}
    """)
