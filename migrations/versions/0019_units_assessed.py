"""Units are assessed: schemes, faults that are entered, marks, results and appeals.

Revision: 0019, after 0018
"""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_ROLE = "liuzhang_service"
_ADDED_ONLY = ("assessment_schemes", "marks", "assessments")
# What is through stays as it is.
_STEPPED = {"faults": "OLD.state IN ('dismissed', 'withdrawn')", "appeals": "OLD.state <> 'filed'"}


def _instant(name: str, *, optional: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=optional)


def _text(*names: str, optional: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=optional) for name in names]


def _keys(table: str) -> list[sa.Column[int] | sa.ForeignKeyConstraint]:
    """The plan, the battle and the unit that a row is of."""
    return [
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("plan_id", "battle_id", "unit_id")),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f(f"fk_{table}_plan_id_plans")),
        sa.ForeignKeyConstraint(["unit_id"], ["units.id"], name=op.f(f"fk_{table}_unit_id_units")),
        sa.ForeignKeyConstraint(
            ["battle_id", "plan_id"],
            ["battles.id", "battles.plan_id"],
            name=op.f(f"fk_{table}_battle_id_plan_id_battles"),
        ),
    ]


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))


def _known(table: str, column: str, codes: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{code}'" for code in codes.split())
    return sa.CheckConstraint(f"{column} IN ({listed})", name=op.f(f"ck_{table}_{column}_known"))


def upgrade() -> None:
    op.create_table(
        "assessment_schemes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("effective_on", sa.Date(), nullable=False),
        sa.Column("parameters", postgresql.JSONB(), nullable=False),
        *_text("note"),
        _instant("created_at"),
        *_text("created_by", "created_by_name"),
        sa.CheckConstraint("version > 0", name=op.f("ck_assessment_schemes_version_positive")),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_assessment_schemes_plan_id_plans")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assessment_schemes")),
        sa.UniqueConstraint("plan_id", "version", name=op.f("uq_assessment_schemes_plan_id_version")),
    )
    op.create_table(
        "faults",
        sa.Column("id", sa.Uuid(), nullable=False),
        *_keys("faults"),
        sa.Column("task_id", sa.BigInteger(), nullable=True),
        *_text("period", optional=True),
        *_text("kind", "description", "evidence", "state"),
        _instant("answer_due_at"),
        _instant("recorded_at"),
        *_text("recorded_by", "recorded_by_name"),
        *_text("answer", optional=True),
        _instant("answered_at", optional=True),
        *_text("answered_by_name", "decision_reason", optional=True),
        _instant("decided_at", optional=True),
        *_text("decided_by_name", "withdrawal_reason", optional=True),
        _instant("withdrawn_at", optional=True),
        *_text("withdrawn_by_name", optional=True),
        sa.CheckConstraint("kind NOT IN ('late', 'missed')", name=op.f("ck_faults_kind_is_entered")),
        sa.CheckConstraint("(answer IS NULL) = (answered_at IS NULL)", name=op.f("ck_faults_answered_at_an_instant")),
        sa.CheckConstraint(
            "(state IN ('upheld', 'dismissed', 'withdrawn')) = (decided_at IS NOT NULL)",
            name=op.f("ck_faults_decided_at_an_instant"),
        ),
        sa.CheckConstraint(
            "(state = 'withdrawn') = (withdrawn_at IS NOT NULL)", name=op.f("ck_faults_withdrawn_at_an_instant")
        ),
        _known("faults", "kind", "concealed erroneous grave_effect late missed"),
        _known("faults", "state", "answered dismissed recorded upheld withdrawn"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_faults_task_id_tasks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_faults")),
    )
    for columns in (("battle_id", "plan_id", "unit_id"), ("plan_id", "kind"), ("unit_id",), ("task_id",)):
        _index("faults", *columns)
    op.create_table(
        "marks",
        sa.Column("id", sa.Uuid(), nullable=False),
        *_keys("marks"),
        *_text("aspect"),
        sa.Column("value", sa.Numeric(5, 2), nullable=False),
        *_text("reason"),
        _instant("marked_at"),
        *_text("marked_by", "marked_by_name"),
        sa.CheckConstraint("value BETWEEN 0 AND 100", name=op.f("ck_marks_value_range")),
        _known("marks", "aspect", "completion dispatch experience quality upkeep"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_marks")),
    )
    for columns in (("battle_id", "plan_id", "unit_id", "aspect", "id"), ("plan_id",), ("unit_id",)):
        _index("marks", *columns)
    op.create_table(
        "assessments",
        sa.Column("id", sa.Uuid(), nullable=False),
        *_keys("assessments"),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("interim", sa.Boolean(), nullable=False),
        sa.Column("scheme_id", sa.Uuid(), nullable=True),
        sa.Column("scheme_version", sa.Integer(), nullable=False),
        _instant("as_of"),
        _instant("judged_at"),
        sa.Column("total", sa.Numeric(7, 4), nullable=True),
        *_text("grade"),
        sa.Column("content", postgresql.JSON(), nullable=False),
        *_text("content_hash"),
        _instant("frozen_at"),
        *_text("frozen_by", "frozen_by_name"),
        sa.CheckConstraint("revision > 0", name=op.f("ck_assessments_revision_positive")),
        sa.CheckConstraint("total BETWEEN 0 AND 100", name=op.f("ck_assessments_total_range")),
        _known("assessments", "grade", "excellent qualified undetermined"),
        sa.ForeignKeyConstraint(
            ["scheme_id"], ["assessment_schemes.id"], name=op.f("fk_assessments_scheme_id_assessment_schemes")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assessments")),
        sa.UniqueConstraint("battle_id", "unit_id", "revision", name=op.f("uq_assessments_battle_id_unit_id_revision")),
    )
    for columns in (("battle_id", "plan_id"), ("plan_id", "unit_id"), ("unit_id",), ("scheme_id",), ("year",)):
        _index("assessments", *columns)
    op.create_table(
        "appeals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("assessment_id", sa.Uuid(), nullable=False),
        *_keys("appeals"),
        *_text("text", "state"),
        _instant("filed_at"),
        *_text("filed_by_name"),
        *_text("decision_reason", optional=True),
        _instant("decided_at", optional=True),
        *_text("decided_by", "decided_by_name", optional=True),
        sa.Column("result_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("(state = 'filed') = (decided_at IS NULL)", name=op.f("ck_appeals_decided_at_an_instant")),
        sa.CheckConstraint(
            "(state = 'upheld') = (result_id IS NOT NULL)", name=op.f("ck_appeals_upheld_with_a_result")
        ),
        _known("appeals", "state", "filed rejected upheld"),
        *(
            sa.ForeignKeyConstraint([column], ["assessments.id"], name=op.f(f"fk_appeals_{column}_assessments"))
            for column in ("assessment_id", "result_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_appeals")),
        sa.UniqueConstraint("assessment_id", name=op.f("uq_appeals_assessment_id")),
        sa.UniqueConstraint("result_id", name=op.f("uq_appeals_result_id")),
    )
    for columns in (("battle_id", "plan_id"), ("plan_id", "unit_id"), ("unit_id",)):
        _index("appeals", *columns)
    for table in (*_ADDED_ONLY, *_STEPPED):
        op.execute(f"""
            CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """)
    for table in _ADDED_ONLY:
        op.execute(f"REVOKE UPDATE, DELETE ON {table} FROM {_ROLE}")
        op.execute(f"""
            CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """)
    for table, through in _STEPPED.items():
        op.execute(f"REVOKE DELETE ON {table} FROM {_ROLE}")
        op.execute(f"""
            CREATE TRIGGER refuse_change BEFORE UPDATE ON {table} FOR EACH ROW
            WHEN ({through}) EXECUTE FUNCTION refuse_change()
        """)
        op.execute(f"""
            CREATE TRIGGER refuse_delete BEFORE DELETE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """)


def downgrade() -> None:
    for table in ("appeals", "assessments", "marks", "faults", "assessment_schemes"):
        op.drop_table(table)
