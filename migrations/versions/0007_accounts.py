"""Service accounts, the roles they hold, and their API keys.

Revision: 0007, after 0006
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ROLES = "'administrator', 'auditor', 'certifier', 'coordinator', 'reader', 'reporter', 'supervisor'"


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint("code ~ '^[a-z0-9]{10}$'", name=op.f("ck_accounts_code_form")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("code", name=op.f("uq_accounts_code")),
    )
    op.create_table(
        "account_grants",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column("battle", sa.Text(), nullable=True),
        sa.CheckConstraint("battle ~ '^[0-9]{6}-[0-9]{4}-[0-9]{1,2}$'", name=op.f("ck_account_grants_battle_form")),
        sa.CheckConstraint("plan ~ '^[0-9]{6}-[0-9]{4}$'", name=op.f("ck_account_grants_plan_form")),
        sa.CheckConstraint(f"role IN ({_ROLES})", name=op.f("ck_account_grants_role_known")),
        sa.CheckConstraint("unit ~ '^[0-9]{6}-[a-z][a-z0-9]{1,39}$'", name=op.f("ck_account_grants_unit_form")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_account_grants_account_id_accounts")),
        sa.PrimaryKeyConstraint("account_id", "position", name=op.f("pk_account_grants")),
        sa.UniqueConstraint(
            "account_id",
            "role",
            "plan",
            "unit",
            "battle",
            name=op.f("uq_account_grants_account_id_role_plan_unit_battle"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_table(
        "api_keys",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("networks", sa.ARRAY(postgresql.CIDR()), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("replaced_by", sa.BigInteger(), nullable=True),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.CheckConstraint("expires_at >= created_at", name=op.f("ck_api_keys_expires_after_created")),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_api_keys_digest_is_sha256")),
        sa.CheckConstraint("replaced_by <> id", name=op.f("ck_api_keys_replaced_by_another")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_api_keys_account_id_accounts")),
        sa.ForeignKeyConstraint(["replaced_by"], ["api_keys.id"], name=op.f("fk_api_keys_replaced_by_api_keys")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_id", name=op.f("uq_api_keys_key_id")),
    )
    op.create_index(op.f("ix_api_keys_account_id"), "api_keys", ["account_id"], unique=False)
    op.create_index(op.f("ix_api_keys_replaced_by"), "api_keys", ["replaced_by"], unique=False)


def downgrade() -> None:
    op.drop_table("api_keys")
    op.drop_table("account_grants")
    op.drop_table("accounts")
