"""Counts of compliance change by the difference that an update makes, in one statement and one order of locks.

Before, every update of an obligation took its old counts back and added its new ones, in two statements, even where the
counts were the same: a report handed in and not yet certified wrote four rows for nothing.

Revision: 0006, after 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_KEY = "unit_id, plan_id, battle_id, rule_id, period, period_start, effective_due_at, lock_at"
_COUNTED = f"""
    {_KEY}, 1 AS expected, (waived_at IS NOT NULL)::int AS waived,
    (waived_at IS NULL AND filed_at IS NOT NULL AND filed_at <= effective_due_at)::int AS on_time,
    (waived_at IS NULL AND filed_at IS NOT NULL AND filed_at > effective_due_at)::int AS late
"""


def upgrade() -> None:
    # Ordered, so that two transactions that touch the same counts take their locks in the same order.
    op.execute(f"""
        CREATE FUNCTION count_obligations_changed() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO compliance_counts AS counted (unit_id, plan_id, battle_id, rule_id, period, period_start,
                                                      due_at, lock_at, expected, waived, on_time, late)
            SELECT {_KEY}, sum(sign * expected), sum(sign * waived), sum(sign * on_time), sum(sign * late)
            FROM (SELECT 1 AS sign, {_COUNTED} FROM after_it
                  UNION ALL SELECT -1, {_COUNTED} FROM before_it) AS difference
            GROUP BY {_KEY}
            HAVING (sum(sign * expected), sum(sign * waived), sum(sign * on_time), sum(sign * late)) <> (0, 0, 0, 0)
            ORDER BY unit_id, rule_id, period_start, battle_id, effective_due_at, lock_at
            ON CONFLICT (unit_id, rule_id, period_start, battle_id, due_at, lock_at) DO UPDATE
            SET expected = counted.expected + excluded.expected, waived = counted.waived + excluded.waived,
                on_time = counted.on_time + excluded.on_time, late = counted.late + excluded.late;
            RETURN NULL;
        END $$
    """)
    op.execute("DROP TRIGGER count_obligations_updated_from ON obligations")
    op.execute("DROP TRIGGER count_obligations_updated_to ON obligations")
    op.execute("""
        CREATE TRIGGER count_obligations_updated AFTER UPDATE ON obligations
        REFERENCING OLD TABLE AS before_it NEW TABLE AS after_it
        FOR EACH STATEMENT EXECUTE FUNCTION count_obligations_changed()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER count_obligations_updated ON obligations")
    op.execute("DROP FUNCTION count_obligations_changed()")
    for name, rows, sign in (("updated_from", "OLD", "removed"), ("updated_to", "NEW", "added")):
        op.execute(f"""
            CREATE TRIGGER count_obligations_{name} AFTER UPDATE ON obligations REFERENCING {rows} TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION count_obligations_{sign}()
        """)
