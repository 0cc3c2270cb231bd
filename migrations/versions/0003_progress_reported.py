"""Progress reported: submissions, their revisions, observations and transitions.

Revision: 0003, after 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "submissions",
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("unit_id", sa.BigInteger(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("battle_id", sa.BigInteger(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("certified_revision", sa.Integer(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('certified', 'draft', 'returned', 'submitted')", name=op.f("ck_submissions_state_known")
        ),
        sa.CheckConstraint(
            "certified_revision BETWEEN 1 AND revision", name=op.f("ck_submissions_certified_revision_exists")
        ),
        sa.CheckConstraint("revision > 0", name=op.f("ck_submissions_revision_positive")),
        sa.ForeignKeyConstraint(
            ["battle_id", "plan_id"],
            ["battles.id", "battles.plan_id"],
            name=op.f("fk_submissions_battle_id_plan_id_battles"),
        ),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_submissions_plan_id_plans")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_submissions_task_id_tasks")),
        sa.ForeignKeyConstraint(["unit_id"], ["units.id"], name=op.f("fk_submissions_unit_id_units")),
        sa.PrimaryKeyConstraint("task_id", "id", name=op.f("pk_submissions")),
        sa.UniqueConstraint("task_id", "unit_id", "period", name=op.f("uq_submissions_task_id_unit_id_period")),
    )
    op.create_index(
        op.f("ix_submissions_battle_id_plan_id_period"), "submissions", ["battle_id", "plan_id", "period"], unique=False
    )
    op.create_index(op.f("ix_submissions_id"), "submissions", ["id"], unique=False)
    op.create_index(op.f("ix_submissions_plan_id_period"), "submissions", ["plan_id", "period"], unique=False)
    op.create_index(op.f("ix_submissions_unit_id_period"), "submissions", ["unit_id", "period"], unique=False)
    op.create_table(
        "submission_revisions",
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("submission_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("percent_complete", sa.Numeric(precision=5, scale=2), nullable=False),
        sa.Column("progress", sa.Text(), nullable=False),
        sa.Column("problems", sa.Text(), nullable=True),
        sa.Column("next_steps", sa.Text(), nullable=True),
        sa.Column("client_as_of", sa.DateTime(timezone=True), nullable=True),
        sa.Column("warnings", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("certified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "(stage = 'completed') = (percent_complete = 100)", name=op.f("ck_submission_revisions_completed_is_100")
        ),
        sa.CheckConstraint(
            "stage IN ('completed', 'in_progress', 'not_started')", name=op.f("ck_submission_revisions_stage_known")
        ),
        sa.CheckConstraint(
            "certified_at >= submitted_at", name=op.f("ck_submission_revisions_certified_after_submitted")
        ),
        sa.CheckConstraint("percent_complete BETWEEN 0 AND 100", name=op.f("ck_submission_revisions_percent_range")),
        sa.ForeignKeyConstraint(
            ["task_id", "submission_id"],
            ["submissions.task_id", "submissions.id"],
            name=op.f("fk_submission_revisions_task_id_submission_id_submissions"),
        ),
        sa.PrimaryKeyConstraint("task_id", "submission_id", "revision", name=op.f("pk_submission_revisions")),
    )
    op.create_table(
        "submission_transitions",
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("submission_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_unit_id", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "action IN ('certify', 'correct', 'edit', 'return', 'submit')",
            name=op.f("ck_submission_transitions_action_known"),
        ),
        sa.CheckConstraint(
            "to_state IN ('certified', 'draft', 'returned', 'submitted')",
            name=op.f("ck_submission_transitions_to_state_known"),
        ),
        sa.ForeignKeyConstraint(
            ["actor_unit_id"], ["units.id"], name=op.f("fk_submission_transitions_actor_unit_id_units")
        ),
        sa.ForeignKeyConstraint(
            ["task_id", "submission_id"],
            ["submissions.task_id", "submissions.id"],
            name=op.f("fk_submission_transitions_task_id_submission_id_submissions"),
        ),
        sa.PrimaryKeyConstraint("task_id", "submission_id", "id", name=op.f("pk_submission_transitions")),
    )
    op.create_index(
        op.f("ix_submission_transitions_actor_unit_id"), "submission_transitions", ["actor_unit_id"], unique=False
    )
    op.create_table(
        "observations",
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("submission_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("target_id", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Numeric(), nullable=False),
        sa.ForeignKeyConstraint(["target_id"], ["targets.id"], name=op.f("fk_observations_target_id_targets")),
        sa.ForeignKeyConstraint(
            ["task_id", "submission_id", "revision"],
            ["submission_revisions.task_id", "submission_revisions.submission_id", "submission_revisions.revision"],
            name="fk_observations_revision_submission_revisions",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("task_id", "submission_id", "revision", "target_id", name=op.f("pk_observations")),
    )
    op.create_index(op.f("ix_observations_target_id"), "observations", ["target_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_observations_target_id"), table_name="observations")
    op.drop_table("observations")
    op.drop_index(op.f("ix_submission_transitions_actor_unit_id"), table_name="submission_transitions")
    op.drop_table("submission_transitions")
    op.drop_table("submission_revisions")
    op.drop_index(op.f("ix_submissions_unit_id_period"), table_name="submissions")
    op.drop_index(op.f("ix_submissions_plan_id_period"), table_name="submissions")
    op.drop_index(op.f("ix_submissions_id"), table_name="submissions")
    op.drop_index(op.f("ix_submissions_battle_id_plan_id_period"), table_name="submissions")
    op.drop_table("submissions")
