"""Materials received.

Revision: 0004, after 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "materials",
        sa.Column("unit_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rule_id", sa.BigInteger(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["rule_id"], ["rules.id"], name=op.f("fk_materials_rule_id_rules")),
        sa.ForeignKeyConstraint(["unit_id"], ["units.id"], name=op.f("fk_materials_unit_id_units")),
        sa.PrimaryKeyConstraint("unit_id", "id", name=op.f("pk_materials")),
    )
    op.create_index(op.f("ix_materials_id"), "materials", ["id"], unique=False)
    op.create_index(op.f("ix_materials_rule_id_period_start"), "materials", ["rule_id", "period_start"], unique=False)
    op.create_index(
        op.f("ix_materials_unit_id_rule_id_period_start"),
        "materials",
        ["unit_id", "rule_id", "period_start"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_materials_unit_id_rule_id_period_start"), table_name="materials")
    op.drop_index(op.f("ix_materials_rule_id_period_start"), table_name="materials")
    op.drop_index(op.f("ix_materials_id"), table_name="materials")
    op.drop_table("materials")
