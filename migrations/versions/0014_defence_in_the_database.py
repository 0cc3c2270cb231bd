"""Defence in the database: the role of the service, append-only tables, row-level security.

The role ``liuzhang_service`` owns nothing and bypasses nothing. What it may see and write of the progress is decided by
policies on the setting ``liuzhang.caller``, a JSON object that ``app.domain.row_scope`` makes of a caller and that is
set for one transaction only; without it nothing is seen and nothing written. The policies mean what
``app.domain.visibility`` and ``app.domain.permissions`` mean. What does not depend on the row stands in a sub-select of
its own, which is evaluated at most once a statement, and only when it is reached.

What is certified, and every step, is refused any change by triggers, which hold for the owner as well.

Revision: 0014, after 0013
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_ROLE = "liuzhang_service"
_NO_ROLE = (
    f"须有数据库角色 {_ROLE},而迁移所用的账号无权创建;请由数据库管理员执行:"
    f"CREATE ROLE {_ROLE}; GRANT {_ROLE} TO 迁移所用的账号; 然后重试"
)

# What the service writes; it reads all tables, and plans are written by the owner's commands alone.
_WRITES = {
    "accounts": "INSERT, UPDATE",
    "account_grants": "INSERT, DELETE",
    "api_keys": "INSERT, UPDATE",
    "calendar_subscriptions": "INSERT, UPDATE",
    # By the triggers of the obligations.
    "compliance_counts": "INSERT, UPDATE",
    "events": "INSERT",
    "extensions": "INSERT",
    "idempotency_keys": "INSERT, UPDATE, DELETE",
    "materials": "INSERT",
    "obligations": "UPDATE (submitted_at, filed_at, waived_at, effective_due_at)",
    "observations": "INSERT, UPDATE, DELETE",
    "outbox": "INSERT, DELETE",
    "progress_schedules": "INSERT",
    "raised_reminders": "INSERT",
    "reminder_progress": "INSERT, UPDATE",
    "schedule_stretches": "INSERT",
    "submission_revisions": "INSERT, UPDATE",
    "submission_transitions": "INSERT",
    "submissions": "INSERT, UPDATE",
    # For the lock of a row alone: a key that is always generated cannot be set.
    "tasks": "UPDATE (id)",
    "waivers": "INSERT",
    "webhook_deliveries": "INSERT, UPDATE, DELETE",
    "webhooks": "INSERT, UPDATE, DELETE",
}


def _once(kind: str, part: str) -> str:
    """A part of the caller's scope, looked up at most once a statement."""
    return f"(SELECT caller_{kind}('{part}'))"


def _any(column: str, kind: str, part: str) -> str:
    return f"{column} = ANY (CAST({_once(kind, part)} AS bigint[]))"


def _of_unit(unit: str, plan: str, part: str) -> str:
    """Whether a row is of a unit that the scope names, for every plan or for this one."""
    paired = f"SELECT c.unit_id, c.plan_id FROM caller_units_in_plans('{part}_in_plans') c"
    return f"({_any(unit, 'units', part)} OR ({unit}, {plan}) IN ({paired}))"


# Conditions on a row ``s`` of submissions.


def _reported(s: str) -> str:
    return _of_unit(f"{s}.unit_id", f"{s}.plan_id", "reports")


def _judged(s: str) -> str:
    return f"({_once('is', 'certifies_everywhere')} OR {_any(f'{s}.plan_id', 'plans', 'certifies')})"


def _seen_with_draft(s: str) -> str:
    return f"({_any(f'{s}.plan_id', 'plans', 'plans_with_drafts')} OR {_reported(s)})"


def _seen(s: str) -> str:
    # Under correction, what is certified stays in force.
    return f"""
        {_once("is", "drafts_everywhere")}
        OR ({s}.state <> 'draft' OR {s}.certified_revision IS NOT NULL) AND (
            {_once("is", "everything")}
            OR {_any(f"{s}.plan_id", "plans", "plans")}
            OR {_any(f"{s}.battle_id", "battles", "battles")}
            OR {_of_unit(f"{s}.unit_id", f"{s}.plan_id", "units")})
        OR {_seen_with_draft(s)}
    """


def _step_taken(s: str) -> str:
    # A unit's own steps lead to these states, a certifier's to those; nobody certifies for a unit of their own.
    own = _any(f"{s}.unit_id", "units", "own")
    return f"""
        {s}.state IN ('draft', 'submitted') AND {_reported(s)}
        OR {s}.state IN ('certified', 'returned') AND {_judged(s)} AND NOT {own}
    """


# Conditions on a row of a table below submissions.


def _of_submission(part: str, condition: str) -> str:
    """Whether a row belongs to a submission ``s`` that is seen and meets a condition.

    Not by EXISTS: that could be answered by reading all submissions into a hash table.
    """
    return f"(SELECT {condition} FROM submissions s WHERE s.task_id = {part}.task_id AND s.id = {part}.submission_id)"


def _part_seen(part: str, handed_in: str = "false") -> str:
    """Whether a row of a revision is seen; that of a draft only by whoever sees drafts."""
    of_draft = f"s.state = 'draft' AND {part}.revision >= s.revision"
    return f"""
        {_once("is", "drafts_everywhere")}
        OR {_once("is", "everything")} AND {handed_in}
        OR {_of_submission(part, f"NOT ({of_draft}) OR {_seen_with_draft('s')}")}
    """


def _material(condition: str) -> str:
    """Whether a material is under a rule ``r`` that meets a condition."""
    return f"(SELECT {condition} FROM rules r WHERE r.id = materials.rule_id)"


_POLICIES = {
    "submissions": {
        "seen": f"FOR SELECT USING ({_seen('submissions')})",
        "reported": f"FOR INSERT WITH CHECK (state IN ('draft', 'submitted') AND {_reported('submissions')})",
        "stepped": f"FOR UPDATE USING ({_reported('submissions')} OR {_judged('submissions')})"
        f" WITH CHECK ({_step_taken('submissions')})",
    },
    "submission_revisions": {
        "seen": f"FOR SELECT USING ({_part_seen('submission_revisions', 'certified_at IS NOT NULL')})",
        # Whose it is, is asked after the statement: the same statement may write its submission.
        "reported": "FOR INSERT WITH CHECK (true)",
        # A certifier stamps what a unit said, which a trigger keeps as it is, and edits nothing.
        "stamped": "FOR UPDATE USING ("
        + _of_submission("submission_revisions", f"{_reported('s')} OR {_judged('s')}")
        + ") WITH CHECK (CASE WHEN certified_at IS NULL THEN "
        + _of_submission("submission_revisions", _reported("s"))
        + " ELSE "
        + _of_submission("submission_revisions", _judged("s"))
        + " END)",
    },
    "observations": {
        "seen": f"FOR SELECT USING ({_part_seen('observations')})",
        "reported": "FOR INSERT WITH CHECK (true)",
        "edited": f"FOR UPDATE USING ({_of_submission('observations', _reported('s'))})",
        "dropped": f"FOR DELETE USING ({_of_submission('observations', _reported('s'))})",
    },
    "submission_transitions": {
        "seen": f"FOR SELECT USING ({_part_seen('submission_transitions')})",
        "taken": "FOR INSERT WITH CHECK (true)",
    },
    "materials": {
        "seen": f"""FOR SELECT USING (
            {_once("is", "everything")}
            OR {_any("unit_id", "units", "units")}
            OR {_any("unit_id", "units", "reports")}
            OR {
            _material(
                f"{_any('r.plan_id', 'plans', 'plans')} OR {_any('r.plan_id', 'plans', 'plans_with_drafts')}"
                f" OR {_of_unit('materials.unit_id', 'r.plan_id', 'units')}"
                f" OR {_of_unit('materials.unit_id', 'r.plan_id', 'reports')}"
            )
        })""",
        "filed": f"FOR INSERT WITH CHECK ({_material(_of_unit('materials.unit_id', 'r.plan_id', 'reports'))})",
    },
}
# Of rows that came in below submissions, by whom they may be.
_ADDED = {
    "submission_revisions": _reported("s"),
    "observations": _reported("s"),
    "submission_transitions": f"{_reported('s')} OR {_judged('s')}",
}
_SAID = (
    *("task_id", "submission_id", "revision", "stage", "percent_complete", "progress", "problems", "next_steps"),
    *("client_as_of", "warnings", "created_at", "content_hash"),
)
# The rows of the statement that the triggers of figures look at.
_FIGURES = (
    ("added", "INSERT", "NEW"),
    ("edited_from", "UPDATE", "OLD"),
    ("edited_to", "UPDATE", "NEW"),
    ("dropped", "DELETE", "OLD"),
)
_SCOPE = (
    "caller_is(text)",
    *(f"caller_{kind}(text)" for kind in ("plans", "battles", "units", "units_in_plans")),
    "caller()",
)
_APPEND_ONLY = ("submission_transitions", "submission_revisions", "observations")


def upgrade() -> None:
    _make_role()
    _refuse_changes()
    _read_scope()
    for table, policies in _POLICIES.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        for name, policy in policies.items():
            op.execute(f"CREATE POLICY {table}_{name} ON {table} {policy}")
    for table, allowed in _ADDED.items():
        _demand_writer(table, allowed)


def _make_role() -> None:
    # Roles are of the cluster: another database's migration may have made it, or be making it now.
    op.execute(f"""
        DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{_ROLE}') THEN
                CREATE ROLE {_ROLE};
                IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
                    GRANT {_ROLE} TO CURRENT_USER;
                END IF;
            END IF;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN RAISE EXCEPTION USING MESSAGE = '{_NO_ROLE}';
        END $$
    """)
    op.execute(f"GRANT USAGE ON SCHEMA public TO {_ROLE}")
    op.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {_ROLE}")
    for table, rights in _WRITES.items():
        op.execute(f"GRANT {rights} ON {table} TO {_ROLE}")
    op.execute(f"GRANT EXECUTE ON FUNCTION append_audit TO {_ROLE}")
    # Of later migrations; one whose tables are written less takes the rest away again.
    op.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {_ROLE}")
    op.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO {_ROLE}")


def _refuse_changes() -> None:
    for table in _APPEND_ONLY:
        op.execute(f"""
            CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """)
    op.execute("""
        CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON submission_transitions
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
    """)
    # What is being certified stays as it was handed in; what is certified stays as it is.
    said, kept = (", ".join(f"{row}.{name}" for name in _SAID) for row in ("OLD", "NEW"))
    op.execute(f"""
        CREATE TRIGGER refuse_change BEFORE UPDATE ON submission_revisions FOR EACH ROW
        WHEN (OLD.certified_at IS NOT NULL
              OR NEW.certified_at IS NOT NULL AND ({said}) IS DISTINCT FROM ({kept}))
        EXECUTE FUNCTION refuse_change()
    """)
    op.execute("""
        CREATE TRIGGER refuse_delete BEFORE DELETE ON submission_revisions FOR EACH ROW
        WHEN (OLD.certified_at IS NOT NULL) EXECUTE FUNCTION refuse_change()
    """)
    # As the owner, who sees all revisions.
    op.execute("""
        CREATE FUNCTION refuse_figures_of_certified() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
        BEGIN
            IF EXISTS (SELECT FROM changed c JOIN submission_revisions r USING (task_id, submission_id, revision)
                       WHERE r.certified_at IS NOT NULL) THEN
                RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
                    MESSAGE = format('figures of a certified revision stay as they are: %s is refused', TG_OP);
            END IF;
            RETURN NULL;
        END $$
    """)
    for name, event, rows in _FIGURES:
        op.execute(f"""
            CREATE TRIGGER refuse_certified_{name} AFTER {event} ON observations REFERENCING {rows} TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_figures_of_certified()
        """)


def _read_scope() -> None:
    """The functions that the policies read the caller's scope with; a code that names nothing reaches nothing."""
    op.execute("""
        CREATE FUNCTION caller() RETURNS jsonb LANGUAGE sql STABLE AS $$
            -- Once it was set, a setting that is not set is empty.
            SELECT CAST(nullif(current_setting('liuzhang.caller', true), '') AS jsonb)
        $$
    """)
    op.execute("""
        CREATE FUNCTION caller_is(part text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
        BEGIN
            RETURN coalesce(CAST(caller() -> part AS boolean), false);
        END $$
    """)
    for table in ("plans", "battles", "units"):
        op.execute(f"""
            CREATE FUNCTION caller_{table}(part text) RETURNS bigint[] LANGUAGE plpgsql STABLE AS $$
            DECLARE
                codes jsonb := caller() -> part;
            BEGIN
                IF codes IS NULL THEN
                    RETURN '{{}}';
                END IF;
                RETURN ARRAY(SELECT o.id FROM {table} o
                             WHERE o.code = ANY (ARRAY(SELECT jsonb_array_elements_text(codes))));
            END $$
        """)
    op.execute("""
        CREATE FUNCTION caller_units_in_plans(part text) RETURNS TABLE (unit_id bigint, plan_id bigint)
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


def _demand_writer(table: str, allowed: str) -> None:
    """Refuse rows of submissions that their writer may not write to, once the statement is through."""
    # As the owner, to whom the submission is there whoever sees it; asked of whom the policies hold for.
    op.execute(f"""
        CREATE FUNCTION demand_writer_of_{table}() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
        BEGIN
            IF EXISTS (SELECT FROM added a JOIN submissions s ON s.task_id = a.task_id AND s.id = a.submission_id
                       WHERE NOT ({allowed})) THEN
                RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
                    MESSAGE = 'new row of {table} is of a submission that its writer may not write to';
            END IF;
            RETURN NULL;
        END $$
    """)
    op.execute(f"""
        CREATE TRIGGER demand_writer AFTER INSERT ON {table} REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT WHEN (row_security_active('{table}')) EXECUTE FUNCTION demand_writer_of_{table}()
    """)


def downgrade() -> None:
    for table in _ADDED:
        op.execute(f"DROP TRIGGER demand_writer ON {table}")
        op.execute(f"DROP FUNCTION demand_writer_of_{table}()")
    for table, policies in _POLICIES.items():
        for name in policies:
            op.execute(f"DROP POLICY {table}_{name} ON {table}")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    for function in _SCOPE:
        op.execute(f"DROP FUNCTION {function}")
    for name, _, _ in _FIGURES:
        op.execute(f"DROP TRIGGER refuse_certified_{name} ON observations")
    op.execute("DROP FUNCTION refuse_figures_of_certified()")
    op.execute("DROP TRIGGER refuse_delete ON submission_revisions")
    for table in ("submission_revisions", "submission_transitions"):
        op.execute(f"DROP TRIGGER refuse_change ON {table}")
    for table in _APPEND_ONLY:
        op.execute(f"DROP TRIGGER refuse_truncate ON {table}")
    # The role stays: it is of the cluster, and other databases may use it.
    op.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM {_ROLE}")
    op.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON SEQUENCES FROM {_ROLE}")
    op.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {_ROLE}")
    for table, rights in _WRITES.items():
        op.execute(f"REVOKE {rights} ON {table} FROM {_ROLE}")
    op.execute(f"REVOKE EXECUTE ON FUNCTION append_audit FROM {_ROLE}")
    op.execute(f"REVOKE USAGE ON SCHEMA public FROM {_ROLE}")
