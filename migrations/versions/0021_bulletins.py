"""Bulletins: drawn up, numbered, issued and then never changed; and task forces that owe them.

Two task forces may have their offices in one unit, so what is expected once is of a battle as well.

Revision: 0021, after 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_ONCE = ("unit_id", "rule_id", "period", "task_id")
# What the service changes of a bulletin; whose it is, of which kind and period, stays.
_CHANGED = (
    "as_of, state, number, title, content, content_hash, parts, updated_at, issued_at, issued_by, document_hash, "
    "filed, discarded_at, discard_reason"
)


def upgrade() -> None:
    op.drop_constraint("uq_obligations_unit_id_rule_id_period_task_id", "obligations")
    op.create_unique_constraint(
        "uq_obligations_unit_id_rule_id_period_task_id_battle_id",
        "obligations",
        [*_ONCE, "battle_id"],
        postgresql_nulls_not_distinct=True,
    )
    op.create_table(
        "bulletins",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("battle_id", sa.BigInteger(), nullable=True),
        sa.Column("unit_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("parts", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("issued_by", sa.Text(), nullable=True),
        sa.Column("document_hash", sa.Text(), nullable=True),
        sa.Column("filed", sa.Integer(), nullable=True),
        sa.Column("discarded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("discard_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('dekad_brief', 'monthly_circular', 'quarterly_summary')", name=op.f("ck_bulletins_kind_known")
        ),
        sa.CheckConstraint("state IN ('discarded', 'draft', 'issued')", name=op.f("ck_bulletins_state_known")),
        sa.CheckConstraint("number > 0", name=op.f("ck_bulletins_number_positive")),
        sa.CheckConstraint(
            "CASE WHEN state = 'issued' THEN num_nulls(number, issued_at, issued_by, document_hash, filed) = 0"
            " ELSE num_nonnulls(number, issued_at, issued_by, document_hash, filed) = 0 END",
            name=op.f("ck_bulletins_issued_whole"),
        ),
        sa.CheckConstraint(
            "(state = 'discarded') = (discarded_at IS NOT NULL) AND (discarded_at IS NULL) = (discard_reason IS NULL)",
            name=op.f("ck_bulletins_discarded_for_a_reason"),
        ),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_bulletins_plan_id_plans")),
        sa.ForeignKeyConstraint(
            ["battle_id", "plan_id"],
            ["battles.id", "battles.plan_id"],
            name=op.f("fk_bulletins_battle_id_plan_id_battles"),
        ),
        sa.ForeignKeyConstraint(["unit_id"], ["units.id"], name=op.f("fk_bulletins_unit_id_units")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulletins")),
    )
    op.create_index(op.f("ix_bulletins_plan_id_period_start"), "bulletins", ["plan_id", "period_start"])
    op.create_index(op.f("ix_bulletins_battle_id_plan_id"), "bulletins", ["battle_id", "plan_id"])
    op.create_index(op.f("ix_bulletins_unit_id"), "bulletins", ["unit_id"])
    op.create_index(
        "ix_bulletins_plan_id_battle_id_kind_period",
        "bulletins",
        ["plan_id", "battle_id", "kind", "period"],
        unique=True,
        postgresql_where="state <> 'discarded'",
        postgresql_nulls_not_distinct=True,
    )
    op.create_index(
        "ix_bulletins_plan_id_battle_id_kind_year_number",
        "bulletins",
        ["plan_id", "battle_id", "kind", "year", "number"],
        unique=True,
        postgresql_where="number IS NOT NULL",
        postgresql_nulls_not_distinct=True,
    )
    op.execute("""
        CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON bulletins FOR EACH ROW
        WHEN (OLD.state <> 'draft') EXECUTE FUNCTION refuse_change()
    """)
    op.execute("""
        CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON bulletins
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
    """)
    op.execute("REVOKE UPDATE, DELETE ON bulletins FROM liuzhang_service")
    op.execute(f"GRANT UPDATE ({_CHANGED}) ON bulletins TO liuzhang_service")


def downgrade() -> None:
    op.drop_table("bulletins")
    # A unit that houses the offices of several task forces owes for one of them alone, as it did before.
    op.execute("""
        DELETE FROM obligations o USING obligations other
        WHERE o.task_id IS NULL AND o.battle_id IS NOT NULL AND other.task_id IS NULL
          AND (other.unit_id, other.rule_id, other.period) = (o.unit_id, o.rule_id, o.period) AND other.id < o.id
    """)
    op.drop_constraint("uq_obligations_unit_id_rule_id_period_task_id_battle_id", "obligations")
    op.create_unique_constraint(
        "uq_obligations_unit_id_rule_id_period_task_id", "obligations", [*_ONCE], postgresql_nulls_not_distinct=True
    )
