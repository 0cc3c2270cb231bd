"""Reports owed: obligations, what moves their due instants, and the counts of compliance.

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

# Each event on obligations, the rows it concerns, and by how much each of them counts.
EVENTS = {
    "inserted": ("INSERT", "NEW", 1),
    "updated_from": ("UPDATE", "OLD", -1),
    "updated_to": ("UPDATE", "NEW", 1),
    "deleted": ("DELETE", "OLD", -1),
}
revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "compliance_counts",
        sa.Column("unit_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("battle_id", sa.BigInteger(), nullable=True),
        sa.Column("rule_id", sa.BigInteger(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lock_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expected", sa.Integer(), nullable=False),
        sa.Column("waived", sa.Integer(), nullable=False),
        sa.Column("on_time", sa.Integer(), nullable=False),
        sa.Column("late", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("unit_id", "id", name=op.f("pk_compliance_counts")),
        sa.UniqueConstraint(
            "unit_id",
            "rule_id",
            "period_start",
            "battle_id",
            "due_at",
            "lock_at",
            name=op.f("uq_compliance_counts_instants"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_index(
        op.f("ix_compliance_counts_rule_id_period_start"),
        "compliance_counts",
        ["rule_id", "period_start"],
        unique=False,
    )
    op.create_table(
        "rule_versions",
        sa.Column("rule_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("effective_from", sa.Date(), nullable=False),
        sa.Column("schedule", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint("version > 0", name=op.f("ck_rule_versions_version_positive")),
        sa.ForeignKeyConstraint(
            ["rule_id"], ["rules.id"], name=op.f("fk_rule_versions_rule_id_rules"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rule_versions")),
        sa.UniqueConstraint("rule_id", "version", name=op.f("uq_rule_versions_rule_id_version")),
    )
    op.create_table(
        "extensions",
        sa.Column("unit_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rule_id", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=True),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("approver", sa.Text(), nullable=False),
        sa.Column("granted_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["rule_id"], ["rules.id"], name=op.f("fk_extensions_rule_id_rules")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_extensions_task_id_tasks")),
        sa.ForeignKeyConstraint(["unit_id"], ["units.id"], name=op.f("fk_extensions_unit_id_units")),
        sa.PrimaryKeyConstraint("unit_id", "id", name=op.f("pk_extensions")),
    )
    op.create_index(op.f("ix_extensions_rule_id"), "extensions", ["rule_id"], unique=False)
    op.create_index(op.f("ix_extensions_task_id"), "extensions", ["task_id"], unique=False)
    op.create_index(
        op.f("ix_extensions_unit_id_rule_id_period"), "extensions", ["unit_id", "rule_id", "period"], unique=False
    )
    op.create_table(
        "obligations",
        sa.Column("unit_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("battle_id", sa.BigInteger(), nullable=True),
        sa.Column("rule_id", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=True),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("effective_due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lock_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("calendar_version", sa.Text(), nullable=False),
        sa.Column("provisional", sa.Boolean(), nullable=False),
        sa.Column("waived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("filed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("filed_at >= submitted_at", name=op.f("ck_obligations_filed_after_submitted")),
        sa.CheckConstraint("lock_at >= due_at", name=op.f("ck_obligations_lock_after_due")),
        sa.ForeignKeyConstraint(
            ["battle_id", "plan_id"],
            ["battles.id", "battles.plan_id"],
            name=op.f("fk_obligations_battle_id_plan_id_battles"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["plan_id"], ["plans.id"], name=op.f("fk_obligations_plan_id_plans"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["rule_id"], ["rules.id"], name=op.f("fk_obligations_rule_id_rules"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name=op.f("fk_obligations_task_id_tasks"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["unit_id"], ["units.id"], name=op.f("fk_obligations_unit_id_units")),
        sa.PrimaryKeyConstraint("unit_id", "id", name=op.f("pk_obligations")),
        sa.UniqueConstraint(
            "unit_id",
            "rule_id",
            "period",
            "task_id",
            name=op.f("uq_obligations_unit_id_rule_id_period_task_id"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_index(op.f("ix_obligations_battle_id_plan_id"), "obligations", ["battle_id", "plan_id"], unique=False)
    op.create_index(op.f("ix_obligations_effective_due_at"), "obligations", ["effective_due_at"], unique=False)
    op.create_index(
        op.f("ix_obligations_plan_id_rule_id_period_start_unit_id"),
        "obligations",
        ["plan_id", "rule_id", "period_start", "unit_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_obligations_rule_id_period_start"), "obligations", ["rule_id", "period_start"], unique=False
    )
    op.create_index(
        op.f("ix_obligations_task_id_period_start"), "obligations", ["task_id", "period_start"], unique=False
    )
    op.create_table(
        "waivers",
        sa.Column("unit_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rule_id", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=True),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("approver", sa.Text(), nullable=False),
        sa.Column("granted_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('exempt', 'nil')", name=op.f("ck_waivers_kind_known")),
        sa.ForeignKeyConstraint(["rule_id"], ["rules.id"], name=op.f("fk_waivers_rule_id_rules")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_waivers_task_id_tasks")),
        sa.ForeignKeyConstraint(["unit_id"], ["units.id"], name=op.f("fk_waivers_unit_id_units")),
        sa.PrimaryKeyConstraint("unit_id", "id", name=op.f("pk_waivers")),
    )
    op.create_index(op.f("ix_waivers_rule_id"), "waivers", ["rule_id"], unique=False)
    op.create_index(op.f("ix_waivers_task_id"), "waivers", ["task_id"], unique=False)
    op.create_index(
        op.f("ix_waivers_unit_id_rule_id_period"), "waivers", ["unit_id", "rule_id", "period"], unique=False
    )
    for sign, name in ((1, "added"), (-1, "removed")):
        # Ordered, so that two transactions that touch the same counts take their locks in the same order.
        op.execute(f"""
            CREATE FUNCTION count_obligations_{name}() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                INSERT INTO compliance_counts AS counted (unit_id, plan_id, battle_id, rule_id, period, period_start,
                                                          due_at, lock_at, expected, waived, on_time, late)
                SELECT unit_id, plan_id, battle_id, rule_id, period, period_start, effective_due_at, lock_at,
                       {sign} * count(*),
                       {sign} * count(*) FILTER (WHERE waived_at IS NOT NULL),
                       {sign} * count(*) FILTER (WHERE waived_at IS NULL AND filed_at <= effective_due_at),
                       {sign} * count(*) FILTER (WHERE waived_at IS NULL AND filed_at > effective_due_at)
                FROM changed
                GROUP BY unit_id, plan_id, battle_id, rule_id, period, period_start, effective_due_at, lock_at
                ORDER BY unit_id, rule_id, period_start, battle_id, effective_due_at, lock_at
                ON CONFLICT (unit_id, rule_id, period_start, battle_id, due_at, lock_at) DO UPDATE
                SET expected = counted.expected + excluded.expected, waived = counted.waived + excluded.waived,
                    on_time = counted.on_time + excluded.on_time, late = counted.late + excluded.late;
                RETURN NULL;
            END $$
        """)
    for name, (event, rows, sign) in EVENTS.items():
        op.execute(f"""
            CREATE TRIGGER count_obligations_{name} AFTER {event} ON obligations REFERENCING {rows} TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION count_obligations_{"added" if sign > 0 else "removed"}()
        """)


def downgrade() -> None:
    for name in EVENTS:
        op.execute(f"DROP TRIGGER count_obligations_{name} ON obligations")
    op.execute("DROP FUNCTION count_obligations_added()")
    op.execute("DROP FUNCTION count_obligations_removed()")
    op.drop_index(op.f("ix_waivers_unit_id_rule_id_period"), table_name="waivers")
    op.drop_index(op.f("ix_waivers_task_id"), table_name="waivers")
    op.drop_index(op.f("ix_waivers_rule_id"), table_name="waivers")
    op.drop_table("waivers")
    op.drop_index(op.f("ix_obligations_task_id_period_start"), table_name="obligations")
    op.drop_index(op.f("ix_obligations_rule_id_period_start"), table_name="obligations")
    op.drop_index(op.f("ix_obligations_plan_id_rule_id_period_start_unit_id"), table_name="obligations")
    op.drop_index(op.f("ix_obligations_effective_due_at"), table_name="obligations")
    op.drop_index(op.f("ix_obligations_battle_id_plan_id"), table_name="obligations")
    op.drop_table("obligations")
    op.drop_index(op.f("ix_extensions_unit_id_rule_id_period"), table_name="extensions")
    op.drop_index(op.f("ix_extensions_task_id"), table_name="extensions")
    op.drop_index(op.f("ix_extensions_rule_id"), table_name="extensions")
    op.drop_table("extensions")
    op.drop_table("rule_versions")
    op.drop_index(op.f("ix_compliance_counts_rule_id_period_start"), table_name="compliance_counts")
    op.drop_table("compliance_counts")
