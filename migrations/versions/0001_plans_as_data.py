"""Plans as data: regions, units, plans, battles, tasks, targets, rules, anomalies, search.

Revision: 0001, the first.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# What a task's rendering shows, by the table it comes from: the keys of the tasks that rows ``changed`` of it concern.
CONCERNS = {
    "clauses": """
        SELECT task_id FROM changed WHERE task_id IS NOT NULL
        UNION SELECT t.id FROM tasks t JOIN changed c ON c.task_group_id = t.task_group_id
    """,
    "assignments": """
        SELECT l.task_id FROM changed c JOIN clauses l ON l.id = c.clause_id WHERE l.task_id IS NOT NULL
        UNION SELECT t.id FROM changed c JOIN clauses l ON l.id = c.clause_id
        JOIN tasks t ON t.task_group_id = l.task_group_id
    """,
    "targets": "SELECT task_id FROM changed WHERE task_id IS NOT NULL",
    "indicators": "SELECT t.task_id FROM changed c JOIN targets t ON t.indicator_id = c.id WHERE t.task_id IS NOT NULL",
    "units": """
        SELECT l.task_id FROM changed c JOIN assignments a ON a.unit_id = c.id JOIN clauses l ON l.id = a.clause_id
        WHERE l.task_id IS NOT NULL
        UNION SELECT t.id FROM changed c JOIN assignments a ON a.unit_id = c.id JOIN clauses l ON l.id = a.clause_id
        JOIN tasks t ON t.task_group_id = l.task_group_id
    """,
}
# A row moved from one task to another concerns both, hence the two triggers on UPDATE.
EVENTS = {
    "inserted": ("INSERT", "NEW"),
    "updated_from": ("UPDATE", "OLD"),
    "updated_to": ("UPDATE", "NEW"),
    "deleted": ("DELETE", "OLD"),
}


def upgrade() -> None:
    op.execute("CREATE SEQUENCE content_version")
    # A database set up anew must not give out a version that a client has seen from its predecessor.
    op.execute("SELECT setval('content_version', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)")
    op.create_table(
        "regions",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.CheckConstraint("code ~ '^[0-9]{6}$'", name=op.f("ck_regions_code_gbt2260")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_regions")),
    )
    op.create_table(
        "indicators",
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("unit_of_measure", sa.Text(), nullable=True),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("accumulation", sa.Text(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint(
            "accumulation IN ('cumulative', 'period', 'point')", name=op.f("ck_indicators_accumulation_known")
        ),
        sa.CheckConstraint("direction IN ('higher', 'lower', 'steady')", name=op.f("ck_indicators_direction_known")),
        sa.ForeignKeyConstraint(["region_code"], ["regions.code"], name=op.f("fk_indicators_region_code_regions")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_indicators")),
        sa.UniqueConstraint("region_code", "code", name=op.f("uq_indicators_region_code_code")),
    )
    op.create_table(
        "plans",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("sort_key", sa.Text(collation="C"), nullable=False),
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("short_title", sa.Text(), nullable=False),
        sa.Column("document_number", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("issued_on", sa.Date(), nullable=False),
        sa.Column("objective", sa.Text(), nullable=False),
        sa.Column("seed_digest", sa.Text(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint("year BETWEEN 2000 AND 2100", name=op.f("ck_plans_year_range")),
        sa.ForeignKeyConstraint(["region_code"], ["regions.code"], name=op.f("fk_plans_region_code_regions")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plans")),
        sa.UniqueConstraint("code", name=op.f("uq_plans_code")),
        sa.UniqueConstraint("sort_key", name=op.f("uq_plans_sort_key")),
    )
    op.create_index(op.f("ix_plans_region_code"), "plans", ["region_code"], unique=False)
    op.create_table(
        "units",
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('collective', 'county_bureau', 'enterprise', 'institution', 'judicial_body', 'mass_organisation', 'party_body', 'standing_group', 'township', 'vertical_agency')",
            name=op.f("ck_units_kind_known"),
        ),
        sa.ForeignKeyConstraint(["region_code"], ["regions.code"], name=op.f("fk_units_region_code_regions")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_units")),
        sa.UniqueConstraint("code", name=op.f("uq_units_code")),
        sa.UniqueConstraint("id", "region_code", name=op.f("uq_units_id_region_code")),
    )
    op.create_index(op.f("ix_units_region_code"), "units", ["region_code"], unique=False)
    op.create_table(
        "battles",
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("sort_key", sa.Text(collation="C"), nullable=False),
        sa.Column("short_name", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("objective", sa.Text(), nullable=False),
        sa.Column("locator", sa.Text(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint("ordinal > 0", name=op.f("ck_battles_ordinal_positive")),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_battles_plan_id_plans"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_battles")),
        sa.UniqueConstraint("code", name=op.f("uq_battles_code")),
        sa.UniqueConstraint("id", "plan_id", name=op.f("uq_battles_id_plan_id")),
        sa.UniqueConstraint("plan_id", "ordinal", name=op.f("uq_battles_plan_id_ordinal")),
        sa.UniqueConstraint("sort_key", name=op.f("uq_battles_sort_key")),
    )
    op.create_table(
        "search_entries",
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("sort_key", sa.Text(collation="C"), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("names", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("pinyin", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("initials", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("haystack", sa.Text(), nullable=False),
        sa.Column("grams", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('anomaly', 'battle', 'group', 'plan', 'rule', 'target', 'task', 'unit')",
            name=op.f("ck_search_entries_kind_known"),
        ),
        sa.ForeignKeyConstraint(
            ["plan_id"], ["plans.id"], name=op.f("fk_search_entries_plan_id_plans"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["region_code"], ["regions.code"], name=op.f("fk_search_entries_region_code_regions")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_search_entries")),
        sa.UniqueConstraint(
            "kind",
            "code",
            "region_code",
            "plan_id",
            name=op.f("uq_search_entries_kind_code_region_code_plan_id"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_index(op.f("ix_search_entries_grams"), "search_entries", ["grams"], unique=False, postgresql_using="gin")
    op.create_index(op.f("ix_search_entries_plan_id"), "search_entries", ["plan_id"], unique=False)
    op.create_index(op.f("ix_search_entries_region_code"), "search_entries", ["region_code"], unique=False)
    op.create_table(
        "superior_documents",
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["plan_id"], ["plans.id"], name=op.f("fk_superior_documents_plan_id_plans"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_superior_documents")),
        sa.UniqueConstraint("plan_id", "position", name=op.f("uq_superior_documents_plan_id_position")),
    )
    op.create_table(
        "unit_aliases",
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["unit_id", "region_code"],
            ["units.id", "units.region_code"],
            name=op.f("fk_unit_aliases_unit_id_region_code_units"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unit_aliases")),
        sa.UniqueConstraint("name", "region_code", name=op.f("uq_unit_aliases_name_region_code")),
    )
    op.create_index(
        op.f("ix_unit_aliases_unit_id_region_code"), "unit_aliases", ["unit_id", "region_code"], unique=False
    )
    op.create_table(
        "anomalies",
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("battle_id", sa.BigInteger(), nullable=True),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("sort_key", sa.Text(collation="C"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("locator", sa.Text(), nullable=False),
        sa.Column("printed", sa.Text(), nullable=True),
        sa.Column("reading", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('ambiguity', 'contradiction', 'duplicate', 'misprint', 'naming', 'omission')",
            name=op.f("ck_anomalies_kind_known"),
        ),
        sa.ForeignKeyConstraint(
            ["battle_id", "plan_id"],
            ["battles.id", "battles.plan_id"],
            name=op.f("fk_anomalies_battle_id_plan_id_battles"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_anomalies_plan_id_plans"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_anomalies")),
        sa.UniqueConstraint("code", name=op.f("uq_anomalies_code")),
        sa.UniqueConstraint("plan_id", "ordinal", name=op.f("uq_anomalies_plan_id_ordinal")),
        sa.UniqueConstraint("sort_key", name=op.f("uq_anomalies_sort_key")),
    )
    op.create_index(op.f("ix_anomalies_battle_id_plan_id"), "anomalies", ["battle_id", "plan_id"], unique=False)
    op.create_table(
        "rules",
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("battle_id", sa.BigInteger(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("sort_key", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("locator", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("owed_by", sa.Text(), nullable=True),
        sa.Column("schedule", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("parameters", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("printed", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("interpretation", sa.Text(), nullable=True),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('bulletin', 'certification', 'commendation', 'dispatch', 'evaluation', 'inspection', 'ledger', 'material', 'publicity', 'ranking', 'reporting', 'sanction', 'supervision')",
            name=op.f("ck_rules_kind_known"),
        ),
        sa.ForeignKeyConstraint(
            ["battle_id", "plan_id"],
            ["battles.id", "battles.plan_id"],
            name=op.f("fk_rules_battle_id_plan_id_battles"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_rules_plan_id_plans"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rules")),
        sa.UniqueConstraint("code", "plan_id", name=op.f("uq_rules_code_plan_id")),
        sa.UniqueConstraint("sort_key", deferrable=True, initially="IMMEDIATE", name=op.f("uq_rules_sort_key")),
    )
    op.create_index(op.f("ix_rules_battle_id_plan_id"), "rules", ["battle_id", "plan_id"], unique=False)
    op.create_index(op.f("ix_rules_plan_id_sort_key"), "rules", ["plan_id", "sort_key"], unique=False)
    op.create_table(
        "task_forces",
        sa.Column("battle_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("locator", sa.Text(), nullable=False),
        sa.Column("office_unit_id", sa.BigInteger(), nullable=False),
        sa.Column("office_printed_name", sa.Text(), nullable=False),
        sa.Column("open_ended", sa.Boolean(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["battle_id"], ["battles.id"], name=op.f("fk_task_forces_battle_id_battles"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["office_unit_id"], ["units.id"], name=op.f("fk_task_forces_office_unit_id_units")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_forces")),
        sa.UniqueConstraint("battle_id", name=op.f("uq_task_forces_battle_id")),
    )
    op.create_index(op.f("ix_task_forces_office_unit_id"), "task_forces", ["office_unit_id"], unique=False)
    op.create_table(
        "task_groups",
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("battle_id", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("sort_key", sa.Text(collation="C"), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("locator", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("upstream_note", sa.Text(), nullable=True),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint("ordinal > 0", name=op.f("ck_task_groups_ordinal_positive")),
        sa.ForeignKeyConstraint(
            ["battle_id", "plan_id"],
            ["battles.id", "battles.plan_id"],
            name=op.f("fk_task_groups_battle_id_plan_id_battles"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_groups")),
        sa.UniqueConstraint("battle_id", "ordinal", name=op.f("uq_task_groups_battle_id_ordinal")),
        sa.UniqueConstraint("code", name=op.f("uq_task_groups_code")),
        sa.UniqueConstraint("id", "battle_id", "plan_id", name=op.f("uq_task_groups_id_battle_id_plan_id")),
        sa.UniqueConstraint("sort_key", name=op.f("uq_task_groups_sort_key")),
    )
    op.create_index(op.f("ix_task_groups_battle_id_plan_id"), "task_groups", ["battle_id", "plan_id"], unique=False)
    op.create_table(
        "rule_units",
        sa.Column("rule_id", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("unit_id", sa.BigInteger(), nullable=False),
        sa.Column("printed_name", sa.Text(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint("role IN ('certifier', 'receiver')", name=op.f("ck_rule_units_role_known")),
        sa.ForeignKeyConstraint(
            ["rule_id"], ["rules.id"], name=op.f("fk_rule_units_rule_id_rules"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["unit_id"], ["units.id"], name=op.f("fk_rule_units_unit_id_units")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rule_units")),
        sa.UniqueConstraint("rule_id", "role", "position", name=op.f("uq_rule_units_rule_id_role_position")),
    )
    op.create_index(op.f("ix_rule_units_unit_id"), "rule_units", ["unit_id"], unique=False)
    op.create_table(
        "task_force_heads",
        sa.Column("task_force_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("post", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=True),
        sa.Column("locator", sa.Text(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint(
            "role IN ('convener', 'coordinator', 'office_director', 'vice_convener')",
            name=op.f("ck_task_force_heads_role_known"),
        ),
        sa.ForeignKeyConstraint(
            ["task_force_id"],
            ["task_forces.id"],
            name=op.f("fk_task_force_heads_task_force_id_task_forces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_force_heads")),
        sa.UniqueConstraint("task_force_id", "position", name=op.f("uq_task_force_heads_task_force_id_position")),
    )
    op.create_table(
        "task_force_members",
        sa.Column("task_force_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("unit_id", sa.BigInteger(), nullable=False),
        sa.Column("printed_name", sa.Text(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["task_force_id"],
            ["task_forces.id"],
            name=op.f("fk_task_force_members_task_force_id_task_forces"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["unit_id"], ["units.id"], name=op.f("fk_task_force_members_unit_id_units")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_force_members")),
        sa.UniqueConstraint("task_force_id", "position", name=op.f("uq_task_force_members_task_force_id_position")),
    )
    op.create_index(op.f("ix_task_force_members_unit_id"), "task_force_members", ["unit_id"], unique=False)
    op.create_table(
        "tasks",
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("battle_id", sa.BigInteger(), nullable=False),
        sa.Column("task_group_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("sort_key", sa.Text(collation="C"), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("locator", sa.Text(), nullable=False),
        sa.Column("deliverables", sa.Text(), nullable=False),
        sa.Column("upstream_note", sa.Text(), nullable=True),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("nextval('content_version')"), nullable=False),
        sa.CheckConstraint("number > 0", name=op.f("ck_tasks_number_positive")),
        sa.ForeignKeyConstraint(
            ["task_group_id", "battle_id", "plan_id"],
            ["task_groups.id", "task_groups.battle_id", "task_groups.plan_id"],
            name=op.f("fk_tasks_task_group_id_battle_id_plan_id_task_groups"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("code", name=op.f("uq_tasks_code")),
        sa.UniqueConstraint("id", "task_group_id", name=op.f("uq_tasks_id_task_group_id")),
        sa.UniqueConstraint("sort_key", name=op.f("uq_tasks_sort_key")),
        sa.UniqueConstraint("task_group_id", "number", name=op.f("uq_tasks_task_group_id_number")),
    )
    op.create_index(op.f("ix_tasks_battle_id_sort_key"), "tasks", ["battle_id", "sort_key"], unique=False)
    op.create_index(op.f("ix_tasks_plan_id_sort_key"), "tasks", ["plan_id", "sort_key"], unique=False)
    op.create_index(
        op.f("ix_tasks_task_group_id_battle_id_plan_id"),
        "tasks",
        ["task_group_id", "battle_id", "plan_id"],
        unique=False,
    )
    op.create_index(op.f("ix_tasks_title_sort_key"), "tasks", ["title", "sort_key"], unique=False)
    op.create_table(
        "clauses",
        sa.Column("task_id", sa.BigInteger(), nullable=True),
        sa.Column("task_group_id", sa.BigInteger(), nullable=True),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("open_ended", sa.Boolean(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint("num_nonnulls(task_id, task_group_id) = 1", name=op.f("ck_clauses_one_owner")),
        sa.CheckConstraint("ordinal > 0", name=op.f("ck_clauses_ordinal_positive")),
        sa.ForeignKeyConstraint(
            ["task_group_id"], ["task_groups.id"], name=op.f("fk_clauses_task_group_id_task_groups"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_clauses_task_id_tasks"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clauses")),
        sa.UniqueConstraint("code", name=op.f("uq_clauses_code")),
        sa.UniqueConstraint("task_group_id", name=op.f("uq_clauses_task_group_id")),
        sa.UniqueConstraint("task_id", "ordinal", name=op.f("uq_clauses_task_id_ordinal")),
    )
    op.create_table(
        "targets",
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("battle_id", sa.BigInteger(), nullable=True),
        sa.Column("task_group_id", sa.BigInteger(), nullable=True),
        sa.Column("task_id", sa.BigInteger(), nullable=True),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("sort_key", sa.Text(collation="C"), nullable=False),
        sa.Column("indicator_id", sa.BigInteger(), nullable=False),
        sa.Column("operator", sa.Text(), nullable=True),
        sa.Column("value", sa.Numeric(), nullable=True),
        sa.Column("value_max", sa.Numeric(), nullable=True),
        sa.Column("qualitative", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("locator", sa.Text(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("due_printed", sa.Boolean(), nullable=False),
        sa.Column("baseline", sa.Numeric(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint(
            "(value_max IS NOT NULL) = (operator IS NOT DISTINCT FROM 'range')", name=op.f("ck_targets_range_has_max")
        ),
        sa.CheckConstraint(
            "operator IS NULL OR operator IN ('approx', 'eq', 'gt', 'gte', 'lt', 'lte', 'range')",
            name=op.f("ck_targets_operator_known"),
        ),
        sa.CheckConstraint(
            "qualitative IS NULL OR qualitative IN ('achieve', 'decrease', 'improve', 'increase', 'maintain', 'prevent')",
            name=op.f("ck_targets_qualitative_known"),
        ),
        sa.CheckConstraint("(operator IS NULL) <> (qualitative IS NULL)", name=op.f("ck_targets_figure_or_direction")),
        sa.CheckConstraint("(operator IS NULL) = (value IS NULL)", name=op.f("ck_targets_operator_with_value")),
        sa.CheckConstraint("task_group_id IS NULL OR battle_id IS NOT NULL", name=op.f("ck_targets_group_has_battle")),
        sa.CheckConstraint("task_id IS NULL OR task_group_id IS NOT NULL", name=op.f("ck_targets_task_has_group")),
        sa.CheckConstraint("value_max > value", name=op.f("ck_targets_range_order")),
        sa.ForeignKeyConstraint(
            ["battle_id", "plan_id"],
            ["battles.id", "battles.plan_id"],
            name=op.f("fk_targets_battle_id_plan_id_battles"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["indicator_id"], ["indicators.id"], name=op.f("fk_targets_indicator_id_indicators")),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_targets_plan_id_plans"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["task_group_id", "battle_id", "plan_id"],
            ["task_groups.id", "task_groups.battle_id", "task_groups.plan_id"],
            name=op.f("fk_targets_task_group_id_battle_id_plan_id_task_groups"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["task_id", "task_group_id"],
            ["tasks.id", "tasks.task_group_id"],
            name=op.f("fk_targets_task_id_task_group_id_tasks"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_targets")),
        sa.UniqueConstraint("code", name=op.f("uq_targets_code")),
        sa.UniqueConstraint("sort_key", name=op.f("uq_targets_sort_key")),
    )
    op.create_index(op.f("ix_targets_battle_id_plan_id"), "targets", ["battle_id", "plan_id"], unique=False)
    op.create_index(op.f("ix_targets_indicator_id"), "targets", ["indicator_id"], unique=False)
    op.create_index(op.f("ix_targets_plan_id_sort_key"), "targets", ["plan_id", "sort_key"], unique=False)
    op.create_index(
        op.f("ix_targets_task_group_id_battle_id_plan_id"),
        "targets",
        ["task_group_id", "battle_id", "plan_id"],
        unique=False,
    )
    op.create_index(op.f("ix_targets_task_id_task_group_id"), "targets", ["task_id", "task_group_id"], unique=False)
    op.create_table(
        "assignments",
        sa.Column("clause_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("unit_id", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("printed_name", sa.Text(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint("role IN ('cooperating', 'lead', 'responsible')", name=op.f("ck_assignments_role_known")),
        sa.CheckConstraint("position > 0", name=op.f("ck_assignments_position_positive")),
        sa.ForeignKeyConstraint(
            ["clause_id"], ["clauses.id"], name=op.f("fk_assignments_clause_id_clauses"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["unit_id"], ["units.id"], name=op.f("fk_assignments_unit_id_units")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignments")),
        sa.UniqueConstraint("clause_id", "position", name=op.f("uq_assignments_clause_id_position")),
        sa.UniqueConstraint("clause_id", "unit_id", "role", name=op.f("uq_assignments_clause_id_unit_id_role")),
    )
    op.create_index(
        op.f("ix_assignments_unit_id_role_clause_id"), "assignments", ["unit_id", "role", "clause_id"], unique=False
    )
    _create_version_triggers()


def downgrade() -> None:
    _drop_version_triggers()
    op.drop_index(op.f("ix_assignments_unit_id_role_clause_id"), table_name="assignments")
    op.drop_table("assignments")
    op.drop_index(op.f("ix_targets_task_id_task_group_id"), table_name="targets")
    op.drop_index(op.f("ix_targets_task_group_id_battle_id_plan_id"), table_name="targets")
    op.drop_index(op.f("ix_targets_plan_id_sort_key"), table_name="targets")
    op.drop_index(op.f("ix_targets_indicator_id"), table_name="targets")
    op.drop_index(op.f("ix_targets_battle_id_plan_id"), table_name="targets")
    op.drop_table("targets")
    op.drop_table("clauses")
    op.drop_index(op.f("ix_tasks_title_sort_key"), table_name="tasks")
    op.drop_index(op.f("ix_tasks_task_group_id_battle_id_plan_id"), table_name="tasks")
    op.drop_index(op.f("ix_tasks_plan_id_sort_key"), table_name="tasks")
    op.drop_index(op.f("ix_tasks_battle_id_sort_key"), table_name="tasks")
    op.drop_table("tasks")
    op.drop_index(op.f("ix_task_force_members_unit_id"), table_name="task_force_members")
    op.drop_table("task_force_members")
    op.drop_table("task_force_heads")
    op.drop_index(op.f("ix_rule_units_unit_id"), table_name="rule_units")
    op.drop_table("rule_units")
    op.drop_index(op.f("ix_task_groups_battle_id_plan_id"), table_name="task_groups")
    op.drop_table("task_groups")
    op.drop_index(op.f("ix_task_forces_office_unit_id"), table_name="task_forces")
    op.drop_table("task_forces")
    op.drop_index(op.f("ix_rules_plan_id_sort_key"), table_name="rules")
    op.drop_index(op.f("ix_rules_battle_id_plan_id"), table_name="rules")
    op.drop_table("rules")
    op.drop_index(op.f("ix_anomalies_battle_id_plan_id"), table_name="anomalies")
    op.drop_table("anomalies")
    op.drop_index(op.f("ix_unit_aliases_unit_id_region_code"), table_name="unit_aliases")
    op.drop_table("unit_aliases")
    op.drop_table("superior_documents")
    op.drop_index(op.f("ix_search_entries_region_code"), table_name="search_entries")
    op.drop_index(op.f("ix_search_entries_plan_id"), table_name="search_entries")
    op.drop_index(op.f("ix_search_entries_grams"), table_name="search_entries", postgresql_using="gin")
    op.drop_table("search_entries")
    op.drop_table("battles")
    op.drop_index(op.f("ix_units_region_code"), table_name="units")
    op.drop_table("units")
    op.drop_index(op.f("ix_plans_region_code"), table_name="plans")
    op.drop_table("plans")
    op.drop_table("indicators")
    op.drop_table("regions")
    op.execute("DROP SEQUENCE content_version")


def _create_version_triggers() -> None:
    op.execute("""
        CREATE FUNCTION renew_version() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.version := nextval('content_version');
            RETURN NEW;
        END $$
    """)
    op.execute("CREATE TRIGGER renew_version BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION renew_version()")
    for table, tasks in CONCERNS.items():
        op.execute(f"""
            CREATE FUNCTION renew_tasks_of_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                UPDATE tasks SET version = DEFAULT WHERE id IN ({tasks});
                RETURN NULL;
            END $$
        """)
        for name, (event, rows) in EVENTS.items():
            op.execute(f"""
                CREATE TRIGGER renew_tasks_{name} AFTER {event} ON {table} REFERENCING {rows} TABLE AS changed
                FOR EACH STATEMENT EXECUTE FUNCTION renew_tasks_of_{table}()
            """)


def _drop_version_triggers() -> None:
    for table in CONCERNS:
        for name in EVENTS:
            op.execute(f"DROP TRIGGER renew_tasks_{name} ON {table}")
        op.execute(f"DROP FUNCTION renew_tasks_of_{table}()")
    op.execute("DROP TRIGGER renew_version ON tasks")
    op.execute("DROP FUNCTION renew_version()")
