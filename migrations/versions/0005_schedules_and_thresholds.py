"""Schedules that units give for their tasks; thresholds of lights and of jumps as data of the plan.

Revision: 0005, after 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "progress_schedules",
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("unit_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("version > 0", name=op.f("ck_progress_schedules_version_positive")),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name=op.f("fk_progress_schedules_task_id_tasks"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["unit_id"], ["units.id"], name=op.f("fk_progress_schedules_unit_id_units")),
        sa.PrimaryKeyConstraint("task_id", "unit_id", "version", name=op.f("pk_progress_schedules")),
    )
    op.create_index(op.f("ix_progress_schedules_unit_id"), "progress_schedules", ["unit_id"], unique=False)
    op.create_table(
        "schedule_stretches",
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("unit_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("from_day", sa.Date(), nullable=False),
        sa.Column("to_day", sa.Date(), nullable=False),
        sa.Column("from_percent", sa.Numeric(precision=5, scale=2), nullable=False),
        sa.Column("to_percent", sa.Numeric(precision=5, scale=2), nullable=False),
        sa.CheckConstraint("to_day > from_day", name=op.f("ck_schedule_stretches_days_in_order")),
        sa.CheckConstraint(
            "from_percent >= 0 AND to_percent BETWEEN from_percent AND 100",
            name=op.f("ck_schedule_stretches_percent_rises"),
        ),
        sa.ForeignKeyConstraint(
            ["task_id", "unit_id", "version"],
            ["progress_schedules.task_id", "progress_schedules.unit_id", "progress_schedules.version"],
            name="fk_schedule_stretches_schedule_progress_schedules",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("task_id", "unit_id", "version", "to_day", name=op.f("pk_schedule_stretches")),
    )
    for column, default in (("ahead_points", "10"), ("behind_points", "30")):
        op.add_column(
            "plans",
            sa.Column(column, sa.Numeric(precision=5, scale=2), server_default=sa.text(default), nullable=False),
        )
        op.create_check_constraint(op.f(f"ck_plans_{column}_range"), "plans", f"{column} BETWEEN 0 AND 100")
    # The stored schedules are those the seed would write today: what was the code's constant is their parameter now,
    # and no rule gets a new version for it.
    for table in ("rules", "rule_versions"):
        op.execute(f"UPDATE {table} SET schedule = schedule || '{{\"jump_points\": 40}}' WHERE schedule IS NOT NULL")


def downgrade() -> None:
    for table in ("rules", "rule_versions"):
        op.execute(f"UPDATE {table} SET schedule = schedule - 'jump_points' WHERE schedule IS NOT NULL")
    for column in ("behind_points", "ahead_points"):
        op.drop_constraint(op.f(f"ck_plans_{column}_range"), "plans", type_="check")
        op.drop_column("plans", column)
    op.drop_table("schedule_stretches")
    op.drop_index(op.f("ix_progress_schedules_unit_id"), table_name="progress_schedules")
    op.drop_table("progress_schedules")
