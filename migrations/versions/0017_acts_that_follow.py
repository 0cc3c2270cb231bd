"""What follows from the figures may stand in the audit trail and in the stream of events.

Revision: 0017, after 0016
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# What is written most comes first: a check compares from the left.
_ACTIONS_BEFORE = (
    "submission.create submission.submit submission.certify account.change account.create account.grant "
    "calendar_subscription.create calendar_subscription.revoke extension.grant key.issue key.revoke key.rotate "
    "material.create plan.load schedule.set submission.correct submission.edit submission.read_draft "
    "submission.return waiver.grant webhook.change webhook.create webhook.delete webhook.redeliver "
    "webhook.resume webhook.rotate_secret webhook.test"
)
_ACTIONS_ADDED = (
    "appeal.decide appeal.file assessment.freeze assessment.mark bulletin.create bulletin.discard "
    "bulletin.edit bulletin.issue case.add_evidence case.assign case.change case.close case.escalate "
    "case.receive case.recheck case.register case.remind case.reopen case.report_done case.return case.start "
    "case.verify fault.answer fault.decide fault.record inspection.change inspection.record ranking.correct "
    "ranking.record scheme.create target.give work_item.change work_item.create"
)
_EVENTS_BEFORE = (
    "submission.submitted submission.certified extension.granted obligation.due_soon obligation.missed "
    "obligation.overdue submission.corrected submission.returned"
)
_EVENTS_ADDED = (
    "appeal.decided assessment.frozen bulletin.issued case.assigned case.closed case.due_soon case.escalated "
    "case.overdue case.registered case.reminded case.reopened case.reported_done case.returned fault.decided "
    "fault.recorded inspection.recorded ranking.recorded target.given work_item.changed work_item.created"
)


def upgrade() -> None:
    _allow("audit_entries", "action", f"{_ACTIONS_BEFORE} {_ACTIONS_ADDED}")
    _allow("outbox", "type", f"{_EVENTS_BEFORE} {_EVENTS_ADDED}")


def downgrade() -> None:
    # What was done stays in the trail, which gives nothing up.
    _allow("audit_entries", "action", _ACTIONS_BEFORE, "NOT VALID")
    _allow("outbox", "type", _EVENTS_BEFORE, "NOT VALID")


def _allow(table: str, column: str, codes: str, how: str = "") -> None:
    listed = ", ".join(f"'{code}'" for code in codes.split())
    op.execute(f"""
        ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{column}_known,
            ADD CONSTRAINT ck_{table}_{column}_known CHECK ({column} IN ({listed})) {how}
    """)
