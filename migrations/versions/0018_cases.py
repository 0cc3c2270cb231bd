"""Cases of the ledger, their steps, their evidence, and what was said of their due days.

Revision: 0018, after 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_KINDS = "'enterprise_problem', 'inspection_finding', 'major_hazard', 'risk_file', 'supervision_order'"
_STATES = "'assigned', 'closed', 'received', 'registered', 'reported_done', 'returned', 'verified', 'working'"
_ACTIONS = (
    "'add_evidence', 'assign', 'close', 'edit', 'escalate', 'receive', 'recheck', 'register', 'remind', 'reopen', "
    "'report_done', 'return', 'start', 'verify'"
)
_ROLE = "liuzhang_service"
_APPEND_ONLY = ("case_steps", "case_evidence", "raised_case_reminders")


def _standing() -> list[sa.Column[object]]:
    return [
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("recheck_due_on", sa.Date(), nullable=True),
        sa.Column("responsible_person", sa.Text(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
    ]


def upgrade() -> None:
    _cases()
    _steps()
    op.create_table(
        "case_evidence",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_case_evidence_case_id_cases")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case_evidence")),
    )
    op.create_index(op.f("ix_case_evidence_case_id_added_at"), "case_evidence", ["case_id", "added_at"])
    op.create_table(
        "raised_case_reminders",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.CheckConstraint("kind IN ('due_soon', 'overdue')", name=op.f("ck_raised_case_reminders_kind_known")),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_raised_case_reminders_case_id_cases")),
        sa.PrimaryKeyConstraint("case_id", "kind", "due_on", name=op.f("pk_raised_case_reminders")),
    )
    # The service has all rights on a new table; what it does not do it may not.
    op.execute(f"REVOKE DELETE ON cases FROM {_ROLE}")
    for table in _APPEND_ONLY:
        op.execute(f"REVOKE UPDATE, DELETE ON {table} FROM {_ROLE}")
        op.execute(f"""
            CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """)


def _cases() -> None:
    op.create_table(
        "cases",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("battle_id", sa.BigInteger(), nullable=True),
        sa.Column("task_id", sa.BigInteger(), nullable=True),
        sa.Column("unit_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("source_ref", sa.Text(), nullable=True),
        sa.Column("enterprise", sa.Text(), nullable=True),
        sa.Column("place", sa.Text(), nullable=True),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("registered_by", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        *_standing(),
        sa.CheckConstraint("round > 0", name=op.f("ck_cases_round_positive")),
        sa.CheckConstraint("level >= 0", name=op.f("ck_cases_level_not_negative")),
        sa.CheckConstraint("(state = 'closed') = (closed_at IS NOT NULL)", name=op.f("ck_cases_closed_at_an_instant")),
        sa.CheckConstraint("state = 'registered' OR due_on IS NOT NULL", name=op.f("ck_cases_due_once_assigned")),
        sa.CheckConstraint("task_id IS NULL OR battle_id IS NOT NULL", name=op.f("ck_cases_task_in_a_battle")),
        sa.CheckConstraint(f"kind IN ({_KINDS})", name=op.f("ck_cases_kind_known")),
        sa.CheckConstraint(f"state IN ({_STATES})", name=op.f("ck_cases_state_known")),
        sa.ForeignKeyConstraint(
            ["battle_id", "plan_id"], ["battles.id", "battles.plan_id"], name=op.f("fk_cases_battle_id_plan_id_battles")
        ),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_cases_plan_id_plans")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_cases_task_id_tasks")),
        sa.ForeignKeyConstraint(["unit_id"], ["units.id"], name=op.f("fk_cases_unit_id_units")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cases")),
    )
    for columns in (
        ["plan_id", "kind"],
        ["battle_id", "plan_id"],
        ["task_id", "unit_id"],
        ["unit_id", "kind"],
        ["kind", "state"],
        ["state"],
        ["level"],
        ["source_ref"],
    ):
        op.create_index(op.f(f"ix_cases_{'_'.join(columns)}"), "cases", columns)
    op.create_index(op.f("ix_cases_due_on"), "cases", ["due_on"], postgresql_where=sa.text("state <> 'closed'"))
    op.create_index(
        op.f("ix_cases_recheck_due_on"),
        "cases",
        ["recheck_due_on"],
        postgresql_where=sa.text("recheck_due_on IS NOT NULL"),
    )


def _steps() -> None:
    op.create_table(
        "case_steps",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("passed", sa.Boolean(), nullable=True),
        sa.Column("due_before", sa.Date(), nullable=True),
        sa.Column("sets_due", sa.Boolean(), nullable=False),
        *_standing(),
        sa.CheckConstraint(
            "(action = 'recheck') = (passed IS NOT NULL)", name=op.f("ck_case_steps_recheck_has_an_outcome")
        ),
        sa.CheckConstraint("NOT sets_due OR due_on IS NOT NULL", name=op.f("ck_case_steps_due_day_set")),
        sa.CheckConstraint(f"action IN ({_ACTIONS})", name=op.f("ck_case_steps_action_known")),
        sa.CheckConstraint(f"to_state IN ({_STATES})", name=op.f("ck_case_steps_to_state_known")),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_case_steps_case_id_cases")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case_steps")),
    )
    op.create_index(op.f("ix_case_steps_case_id_id"), "case_steps", ["case_id", "id"])
    op.create_index(op.f("ix_case_steps_due_on"), "case_steps", ["due_on"], postgresql_where=sa.text("sets_due"))


def downgrade() -> None:
    for table in ("raised_case_reminders", "case_evidence", "case_steps", "cases"):
        op.drop_table(table)
