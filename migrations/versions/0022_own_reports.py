"""What a caller's own units reported, in one view, so that a report is compared with the one before at little cost.

The policies of revisions and figures look for the submission of each row that they show. Whoever takes hundreds of
reports in has found those submissions already. ``own_reports`` reads as the owner, with what the policy on submissions
asks of whoever reports for a unit as its only condition: it shows nobody more than the tables do. It is no security
barrier, which would read what is not asked for: the service runs no SQL but its own.

Revision: 0022, after 0021
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

# Of a submission, the revision that counts: the certified one, else the one that waits for certification.
_COUNTED = "coalesce(s.certified_revision, CASE s.state WHEN 'submitted' THEN s.revision END)"


def upgrade() -> None:
    # The reports are looked for in columns of their own, so that those of one submission alone are read.
    op.execute(f"""
        CREATE VIEW own_reports AS
        SELECT s.task_id, s.unit_id, s.period, s.period_start, s.id, s.state, {_COUNTED} AS counted_revision,
               (SELECT r.percent_complete FROM submission_revisions r
                WHERE r.task_id = s.task_id AND r.submission_id = s.id AND r.revision = {_COUNTED}) AS percent_complete,
               (SELECT json_object_agg(o.target_id, CAST(o.value AS text)) FROM observations o
                WHERE o.task_id = s.task_id AND o.submission_id = s.id AND o.revision = {_COUNTED}) AS figures
        FROM submissions s
        WHERE s.unit_id = ANY (CAST((SELECT caller_units('reports')) AS bigint[]))
           OR (s.unit_id, s.plan_id) IN (SELECT c.unit_id, c.plan_id FROM caller_units_in_plans('reports_in_plans') c)
    """)
    op.execute("REVOKE ALL ON own_reports FROM liuzhang_service")
    op.execute("GRANT SELECT ON own_reports TO liuzhang_service")


def downgrade() -> None:
    op.execute("DROP VIEW own_reports")
