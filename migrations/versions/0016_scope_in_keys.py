"""The caller's scope is read in keys: its codes are looked up as it is given, not by each policy that asks for them.

Until now every mention of a part of the scope in a policy, of which a statement has a dozen, parsed the scope and looked
its codes up. What ``caller_in_keys`` makes of a scope is what the setting ``liuzhang.caller`` holds from here on; a
setting that holds codes is refused where it is read.

Revision: 0016, after 0015
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_KINDS = ("plans", "battles", "units")


def upgrade() -> None:
    # A part keeps its name. Keys are written as PostgreSQL writes arrays, so that the policies need not take JSON apart.
    op.execute("""
        CREATE FUNCTION caller_in_keys(scope text) RETURNS text LANGUAGE plpgsql STABLE AS $$
        BEGIN
            IF position('[' IN scope) = 0 THEN
                RETURN scope;
            END IF;
            RETURN (
                SELECT jsonb_object_agg(part, CASE
                    WHEN jsonb_typeof(named) <> 'array' THEN named
                    WHEN part LIKE '%\\_in\\_plans' THEN (
                        SELECT coalesce(jsonb_agg(jsonb_build_object('unit_id', u.id, 'plan_id', p.id)), '[]')
                        FROM jsonb_array_elements(named) AS pair
                        JOIN units u ON u.code = pair ->> 0 JOIN plans p ON p.code = pair ->> 1)
                    ELSE to_jsonb(CAST(CASE
                        WHEN part IN ('units', 'reports', 'own') THEN ARRAY(SELECT o.id FROM units o
                            WHERE o.code = ANY (ARRAY(SELECT jsonb_array_elements_text(named))))
                        WHEN part = 'battles' THEN ARRAY(SELECT o.id FROM battles o
                            WHERE o.code = ANY (ARRAY(SELECT jsonb_array_elements_text(named))))
                        ELSE ARRAY(SELECT o.id FROM plans o
                            WHERE o.code = ANY (ARRAY(SELECT jsonb_array_elements_text(named))))
                    END AS text))
                END)
                FROM jsonb_each(CAST(scope AS jsonb)) AS given(part, named));
        END $$
    """)
    # Plain SQL, which takes the place of its call.
    op.execute("""
        CREATE OR REPLACE FUNCTION caller_is(part text) RETURNS boolean LANGUAGE sql STABLE AS $$
            SELECT coalesce(CAST(caller() -> part AS boolean), false)
        $$
    """)
    for kind in _KINDS:
        op.execute(f"""
            CREATE OR REPLACE FUNCTION caller_{kind}(part text) RETURNS bigint[] LANGUAGE sql STABLE AS $$
                SELECT CAST(coalesce(caller() ->> part, '{{}}') AS bigint[])
            $$
        """)
    op.execute("""
        CREATE OR REPLACE FUNCTION caller_units_in_plans(part text) RETURNS TABLE (unit_id bigint, plan_id bigint)
        LANGUAGE sql STABLE AS $$
            SELECT c.unit_id, c.plan_id FROM jsonb_to_recordset(caller() -> part) AS c(unit_id bigint, plan_id bigint)
        $$
    """)


def downgrade() -> None:
    op.execute("""
        CREATE OR REPLACE FUNCTION caller_is(part text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
        BEGIN
            RETURN coalesce(CAST(caller() -> part AS boolean), false);
        END $$
    """)
    for kind in _KINDS:
        op.execute(f"""
            CREATE OR REPLACE FUNCTION caller_{kind}(part text) RETURNS bigint[] LANGUAGE plpgsql STABLE AS $$
            DECLARE
                codes jsonb := caller() -> part;
            BEGIN
                IF codes IS NULL THEN
                    RETURN '{{}}';
                END IF;
                RETURN ARRAY(SELECT o.id FROM {kind} o
                             WHERE o.code = ANY (ARRAY(SELECT jsonb_array_elements_text(codes))));
            END $$
        """)
    op.execute("""
        CREATE OR REPLACE FUNCTION caller_units_in_plans(part text) RETURNS TABLE (unit_id bigint, plan_id bigint)
        LANGUAGE plpgsql STABLE AS $$
        DECLARE
            pairs jsonb := caller() -> part;
        BEGIN
            IF pairs IS NOT NULL THEN
                RETURN QUERY SELECT u.id, p.id FROM jsonb_array_elements(pairs) AS pair
                    JOIN units u ON u.code = pair ->> 0 JOIN plans p ON p.code = pair ->> 1;
            END IF;
        END $$
    """)
    op.execute("DROP FUNCTION caller_in_keys(text)")
