"""The audit trail: rows chained by hashes, appended by one function, changed by nobody.

Revision: 0008, after 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ACTIONS = (
    "'account.change', 'account.create', 'account.grant', 'extension.grant', 'key.issue', 'key.revoke', 'key.rotate', "
    "'material.create', 'plan.load', 'schedule.set', 'submission.certify', 'submission.correct', 'submission.create', "
    "'submission.edit', 'submission.read_draft', 'submission.return', 'submission.submit', 'waiver.grant'"
)
_COLUMNS = {
    "chain": "text",
    "at": "timestamptz",
    "actor": "text",
    "actor_name": "text",
    "address": "text",
    "request_id": "text",
    "action": "text",
    "subject": "text",
    "plan": "text",
    "unit": "text",
    "before": "text",
    "after": "text",
}
_TYPES = ", ".join(f"{kind}[]" for kind in (*_COLUMNS.values(), "text"))


def _field(name: str) -> str:
    """A column as app.domain.audit hashes it."""
    value = f"a.{name}"
    if name == "at":
        value = f"CAST(CAST(extract(epoch FROM {value}) * 1000000 AS bigint) AS text)"
    return f"coalesce(octet_length({value}) || ':' || {value} || ',', '-,')"


# One array a column, for they are read many times faster than JSON; ``kept``, if given, are the subjects whose acts
# came to pass. Chains are taken in their order and locked one after the other, so that two who append cannot wait for
# each other, as long as each transaction appends once and last. Whoever has waited for a head reads it anew, for every
# statement of a volatile function sees what was committed before it.
_APPEND = f"""
    CREATE FUNCTION append_audit({", ".join(f"{name} {kind}[]" for name, kind in _COLUMNS.items())}, kept text[])
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    #variable_conflict use_column
    DECLARE
        which text;
        head audit_heads;
    BEGIN
        FOR which IN
            SELECT DISTINCT a.chain COLLATE "C" FROM unnest(append_audit.chain, append_audit.subject) AS a(chain, subject)
            WHERE append_audit.kept IS NULL OR a.subject IN (SELECT unnest(append_audit.kept))
            ORDER BY 1
        LOOP
            INSERT INTO audit_heads VALUES (which, 0, decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING;
            SELECT * INTO STRICT head FROM audit_heads h WHERE h.chain = which FOR UPDATE;
            WITH placed AS (
                SELECT a.*, head.position + row_number() OVER (ORDER BY a.n) AS position,
                       convert_to({" || ".join(map(_field, _COLUMNS))}, 'UTF8') AS fields
                FROM unnest({", ".join(f"append_audit.{name}" for name in _COLUMNS)}) WITH ORDINALITY
                     AS a({", ".join(_COLUMNS)}, n)
                WHERE a.chain = which
                  AND (append_audit.kept IS NULL OR a.subject IN (SELECT unnest(append_audit.kept)))
            ), sealed AS (
                SELECT p.*, audit_seal(int8send(p.position) || p.fields, head.hash)
                            OVER (ORDER BY p.position ROWS UNBOUNDED PRECEDING) AS hash
                FROM placed p
            ), added AS (
                INSERT INTO audit_entries ({", ".join(_COLUMNS)}, position, previous_hash, hash)
                SELECT {", ".join(f"CAST(s.{n} AS json)" if n in {"before", "after"} else f"s.{n}" for n in _COLUMNS)},
                       s.position, lag(s.hash, 1, head.hash) OVER (ORDER BY s.position), s.hash
                FROM sealed s
                RETURNING position, hash
            )
            UPDATE audit_heads h
            SET (position, hash) = (SELECT a.position, a.hash FROM added a ORDER BY a.position DESC LIMIT 1)
            WHERE h.chain = which;
        END LOOP;
    END $$
"""


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("chain", sa.Text(collation="C"), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("after", sa.JSON(), nullable=True),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(f"action IN ({_ACTIONS})", name=op.f("ck_audit_entries_action_known")),
        sa.CheckConstraint(
            "octet_length(hash) = 32 AND octet_length(previous_hash) = 32",
            name=op.f("ck_audit_entries_hashes_are_sha256"),
        ),
        sa.CheckConstraint("position > 0", name=op.f("ck_audit_entries_position_positive")),
        sa.PrimaryKeyConstraint("chain", "position", name=op.f("pk_audit_entries")),
    )
    op.create_index(op.f("ix_audit_entries_at"), "audit_entries", ["at"], unique=False)
    op.create_index(op.f("ix_audit_entries_subject"), "audit_entries", ["subject"], unique=False)
    op.create_table(
        "audit_heads",
        sa.Column("chain", sa.Text(collation="C"), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("octet_length(hash) = 32", name=op.f("ck_audit_heads_hash_is_sha256")),
        sa.PrimaryKeyConstraint("chain", name=op.f("pk_audit_heads")),
    )
    op.execute("""
        CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
                MESSAGE = format('rows of %s are only ever added: %s is refused', TG_TABLE_NAME, TG_OP);
        END $$
    """)
    # Always: whoever replicates rows or restores them changes none of these either.
    for table, events in (("audit_entries", "UPDATE OR DELETE OR TRUNCATE"), ("audit_heads", "DELETE OR TRUNCATE")):
        op.execute(f"""
            CREATE TRIGGER refuse_change BEFORE {events} ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """)
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER refuse_change")
    op.execute("""
        CREATE FUNCTION seal_audit(before bytea, fields bytea, start bytea) RETURNS bytea
        IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN sha256(coalesce(before, start) || fields); END $$
    """)
    op.execute("CREATE AGGREGATE audit_seal(fields bytea, start bytea) (SFUNC = seal_audit, STYPE = bytea)")
    op.execute(_APPEND)
    op.execute(f"REVOKE EXECUTE ON FUNCTION append_audit({_TYPES}) FROM PUBLIC")


def downgrade() -> None:
    op.execute(f"DROP FUNCTION append_audit({_TYPES})")
    op.execute("DROP AGGREGATE audit_seal(bytea, bytea)")
    op.execute("DROP FUNCTION seal_audit(bytea, bytea, bytea)")
    op.drop_table("audit_heads")
    op.drop_table("audit_entries")
    op.execute("DROP FUNCTION refuse_change()")
