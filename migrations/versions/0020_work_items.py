"""Work items, figures that came from above with the documents that gave them, rankings and inspections.

A given figure is a target like any other, so the service now adds targets, indicators and what they are found by; the
versions of the tasks that this renews are renewed as the owner, for the service writes no task.

Revision: 0020, after 0019
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_ROLE = "liuzhang_service"
_ADDED_TO = ("targets", "indicators", "search_entries")
_RENEWING = ("targets", "indicators")
_FROZEN = (
    *("work_items", "work_item_revisions", "given_figures", "rankings", "ranking_revisions", "ranking_entries"),
    *("inspections", "inspection_revisions", "inspection_findings"),
)
_LOCKED = ("work_items", "rankings", "inspections")


def upgrade() -> None:
    op.create_table(
        "work_items",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("battle_id", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('policy', 'project', 'task')", name=op.f("ck_work_items_kind_known")),
        sa.ForeignKeyConstraint(
            ["battle_id", "plan_id"],
            ["battles.id", "battles.plan_id"],
            name=op.f("fk_work_items_battle_id_plan_id_battles"),
        ),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_work_items_task_id_tasks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_items")),
    )
    op.create_index(op.f("ix_work_items_plan_id_id"), "work_items", ["plan_id", "id"])
    op.create_index(op.f("ix_work_items_battle_id_plan_id"), "work_items", ["battle_id", "plan_id"])
    op.create_index(op.f("ix_work_items_task_id"), "work_items", ["task_id"])
    op.create_table(
        "work_item_revisions",
        sa.Column("work_item_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("unit_id", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=True),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("next_due_on", sa.Date(), nullable=True),
        sa.Column("missing", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("content", postgresql.JSONB(), nullable=False),
        sa.Column("haystack", sa.Text(), nullable=False),
        sa.Column("grams", sa.ARRAY(sa.Text()), nullable=False),
        sa.CheckConstraint("revision > 0", name=op.f("ck_work_item_revisions_revision_positive")),
        sa.CheckConstraint("due_on >= starts_on", name=op.f("ck_work_item_revisions_ends_after_start")),
        sa.CheckConstraint(
            "state IN ('cancelled', 'completed', 'planned', 'under_way')",
            name=op.f("ck_work_item_revisions_state_known"),
        ),
        sa.ForeignKeyConstraint(
            ["work_item_id"], ["work_items.id"], name=op.f("fk_work_item_revisions_work_item_id_work_items")
        ),
        sa.ForeignKeyConstraint(["unit_id"], ["units.id"], name=op.f("fk_work_item_revisions_unit_id_units")),
        sa.PrimaryKeyConstraint("work_item_id", "revision", name=op.f("pk_work_item_revisions")),
    )
    for column in ("unit_id", "state", "next_due_on"):
        op.create_index(op.f(f"ix_work_item_revisions_{column}"), "work_item_revisions", [column])
    op.create_index(op.f("ix_work_item_revisions_grams"), "work_item_revisions", ["grams"], postgresql_using="gin")
    op.create_table(
        "given_figures",
        sa.Column("target_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("replaces_id", sa.BigInteger(), nullable=True),
        sa.Column("document_number", sa.Text(), nullable=False),
        sa.Column("document_title", sa.Text(), nullable=False),
        sa.Column("document_issuer", sa.Text(), nullable=False),
        sa.Column("document_issued_on", sa.Date(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("replaces_id <> target_id", name=op.f("ck_given_figures_replaces_another")),
        sa.ForeignKeyConstraint(["target_id"], ["targets.id"], name=op.f("fk_given_figures_target_id_targets")),
        sa.ForeignKeyConstraint(
            ["replaces_id"], ["given_figures.target_id"], name=op.f("fk_given_figures_replaces_id_given_figures")
        ),
        sa.PrimaryKeyConstraint("target_id", name=op.f("pk_given_figures")),
        sa.UniqueConstraint("replaces_id", name=op.f("uq_given_figures_replaces_id")),
    )
    _rankings_and_inspections()
    for table in _FROZEN:
        op.execute(f"""
            CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """)
        op.execute(f"REVOKE UPDATE, DELETE ON {table} FROM {_ROLE}")
    for table in _LOCKED:
        # For the lock of a row alone: the trigger refuses any change.
        op.execute(f"GRANT UPDATE (id) ON {table} TO {_ROLE}")
    for table in _ADDED_TO:
        op.execute(f"GRANT INSERT ON {table} TO {_ROLE}")
    for table in _RENEWING:
        op.execute(f"""
            ALTER FUNCTION renew_tasks_of_{table}() SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
        """)


def _rankings_and_inspections() -> None:
    op.create_table(
        "rankings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("battle_id", sa.BigInteger(), nullable=True),
        sa.Column("rule_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('city_departments', 'county_townships')", name=op.f("ck_rankings_kind_known")),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_rankings_plan_id_plans")),
        sa.ForeignKeyConstraint(
            ["battle_id", "plan_id"],
            ["battles.id", "battles.plan_id"],
            name=op.f("fk_rankings_battle_id_plan_id_battles"),
        ),
        sa.ForeignKeyConstraint(["rule_id"], ["rules.id"], name=op.f("fk_rankings_rule_id_rules")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rankings")),
        sa.UniqueConstraint("plan_id", "kind", "period_start", name=op.f("uq_rankings_plan_id_kind_period_start")),
    )
    op.create_index(op.f("ix_rankings_battle_id_plan_id"), "rankings", ["battle_id", "plan_id"])
    op.create_index(op.f("ix_rankings_rule_id"), "rankings", ["rule_id"])
    op.create_index(op.f("ix_rankings_period_start"), "rankings", ["period_start"])
    op.create_table(
        "ranking_revisions",
        sa.Column("ranking_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.CheckConstraint("revision > 0", name=op.f("ck_ranking_revisions_revision_positive")),
        sa.CheckConstraint(
            "(revision = 1) = (reason IS NULL)", name=op.f("ck_ranking_revisions_corrected_for_a_reason")
        ),
        sa.ForeignKeyConstraint(["ranking_id"], ["rankings.id"], name=op.f("fk_ranking_revisions_ranking_id_rankings")),
        sa.PrimaryKeyConstraint("ranking_id", "revision", name=op.f("pk_ranking_revisions")),
    )
    op.create_table(
        "ranking_entries",
        sa.Column("ranking_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("unit_id", sa.BigInteger(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("of_ranked", sa.Integer(), nullable=False),
        sa.CheckConstraint("rank BETWEEN 1 AND of_ranked", name=op.f("ck_ranking_entries_rank_within")),
        sa.ForeignKeyConstraint(
            ["ranking_id", "revision"],
            ["ranking_revisions.ranking_id", "ranking_revisions.revision"],
            name=op.f("fk_ranking_entries_ranking_id_revision_ranking_revisions"),
        ),
        sa.ForeignKeyConstraint(["unit_id"], ["units.id"], name=op.f("fk_ranking_entries_unit_id_units")),
        sa.PrimaryKeyConstraint("ranking_id", "revision", "unit_id", name=op.f("pk_ranking_entries")),
    )
    op.create_index(op.f("ix_ranking_entries_unit_id"), "ranking_entries", ["unit_id"])
    op.create_table(
        "inspections",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("battle_id", sa.BigInteger(), nullable=True),
        sa.Column("rule_id", sa.BigInteger(), nullable=False),
        sa.Column("unit_id", sa.BigInteger(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("team", sa.Integer(), nullable=False),
        sa.Column("inspected_on", sa.Date(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("team > 0", name=op.f("ck_inspections_team_positive")),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_inspections_plan_id_plans")),
        sa.ForeignKeyConstraint(
            ["battle_id", "plan_id"],
            ["battles.id", "battles.plan_id"],
            name=op.f("fk_inspections_battle_id_plan_id_battles"),
        ),
        sa.ForeignKeyConstraint(["rule_id"], ["rules.id"], name=op.f("fk_inspections_rule_id_rules")),
        sa.ForeignKeyConstraint(["unit_id"], ["units.id"], name=op.f("fk_inspections_unit_id_units")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inspections")),
        sa.UniqueConstraint(
            "plan_id", "unit_id", "period_start", name=op.f("uq_inspections_plan_id_unit_id_period_start")
        ),
    )
    op.create_index(op.f("ix_inspections_plan_id_period_start"), "inspections", ["plan_id", "period_start"])
    op.create_index(op.f("ix_inspections_battle_id_plan_id"), "inspections", ["battle_id", "plan_id"])
    op.create_index(op.f("ix_inspections_rule_id"), "inspections", ["rule_id"])
    op.create_index(op.f("ix_inspections_unit_id"), "inspections", ["unit_id"])
    op.create_index(op.f("ix_inspections_team"), "inspections", ["team"])
    op.create_table(
        "inspection_revisions",
        sa.Column("inspection_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("score", sa.Numeric(), nullable=True),
        sa.Column("circular_ref", sa.Text(), nullable=True),
        sa.Column("exposure_ref", sa.Text(), nullable=True),
        sa.CheckConstraint("revision > 0", name=op.f("ck_inspection_revisions_revision_positive")),
        sa.ForeignKeyConstraint(
            ["inspection_id"], ["inspections.id"], name=op.f("fk_inspection_revisions_inspection_id_inspections")
        ),
        sa.PrimaryKeyConstraint("inspection_id", "revision", name=op.f("pk_inspection_revisions")),
    )
    op.create_table(
        "inspection_findings",
        sa.Column("inspection_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.CheckConstraint('"position" > 0', name=op.f("ck_inspection_findings_position_positive")),
        sa.ForeignKeyConstraint(
            ["inspection_id"], ["inspections.id"], name=op.f("fk_inspection_findings_inspection_id_inspections")
        ),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_inspection_findings_case_id_cases")),
        sa.PrimaryKeyConstraint("inspection_id", "position", name=op.f("pk_inspection_findings")),
        sa.UniqueConstraint("case_id", name=op.f("uq_inspection_findings_case_id")),
    )


def downgrade() -> None:
    for table in _RENEWING:
        op.execute(f"ALTER FUNCTION renew_tasks_of_{table}() SECURITY INVOKER RESET search_path")
    for table in _ADDED_TO:
        op.execute(f"REVOKE INSERT ON {table} FROM {_ROLE}")
    for table in ("inspection_findings", "inspection_revisions", "inspections"):
        op.drop_table(table)
    for table in ("ranking_entries", "ranking_revisions", "rankings"):
        op.drop_table(table)
    op.drop_table("given_figures")
    op.drop_table("work_item_revisions")
    op.drop_table("work_items")
