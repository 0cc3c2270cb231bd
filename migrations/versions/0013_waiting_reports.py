"""What waits for certification is found without looking at what does not.

Revision: 0013, after 0012
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_obligations_submitted_at",
        "obligations",
        ["submitted_at"],
        postgresql_where="submitted_at IS NOT NULL AND filed_at IS NULL AND waived_at IS NULL",
    )


def downgrade() -> None:
    op.drop_index("ix_obligations_submitted_at", table_name="obligations")
