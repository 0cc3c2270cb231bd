"""Extensions and waivers are listed in the order of their ids: an index each, as submissions and materials have.

Revision: 0009, after 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_extensions_id"), "extensions", ["id"], unique=False)
    op.create_index(op.f("ix_waivers_id"), "waivers", ["id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_waivers_id"), table_name="waivers")
    op.drop_index(op.f("ix_extensions_id"), table_name="extensions")
