"""The migrations: up, down and up again, safe when run twice at once, and what they make keeps the conventions."""

import asyncio
import re
from collections.abc import AsyncGenerator
from enum import StrEnum

import pytest
import pytest_asyncio
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from app.db import create_engine
from app.domain.assessment import Aspect, FaultKind, Grade
from app.domain.audit import AuditAction
from app.domain.bulletins import BulletinKind, BulletinState
from app.domain.cases import CaseAction, CaseKind, CaseReminder, CaseState
from app.domain.deadlines import WaiverKind
from app.domain.events import DeliveryState, EventType, PauseReason, Reminder, WebhookState
from app.domain.hearing import AppealState, FaultState
from app.domain.plan import (
    Accumulation,
    AnomalyKind,
    AssignmentRole,
    Direction,
    Operator,
    Qualitative,
    RuleKind,
    RuleUnitRole,
    TaskForceRole,
    UnitKind,
)
from app.domain.progress import Stage
from app.domain.rankings import RankingKind
from app.domain.roles import Role
from app.domain.search import EntryKind
from app.domain.work_items import WorkItemKind, WorkItemState
from app.domain.workflow import SubmissionAction, SubmissionState
from app.models import Base
from migrations import alembic_config
from tests.conftest import Clone

Strings = list[tuple[str, ...]]

CODES: dict[tuple[str, str], type[StrEnum]] = {
    ("bulletins", "kind"): BulletinKind,
    ("bulletins", "state"): BulletinState,
    ("account_grants", "role"): Role,
    ("anomalies", "kind"): AnomalyKind,
    ("audit_entries", "action"): AuditAction,
    ("assignments", "role"): AssignmentRole,
    ("outbox", "type"): EventType,
    ("raised_reminders", "kind"): Reminder,
    ("webhook_deliveries", "state"): DeliveryState,
    ("webhooks", "pause_reason"): PauseReason,
    ("webhooks", "state"): WebhookState,
    ("indicators", "accumulation"): Accumulation,
    ("indicators", "direction"): Direction,
    ("rule_units", "role"): RuleUnitRole,
    ("rules", "kind"): RuleKind,
    ("search_entries", "kind"): EntryKind,
    ("submission_revisions", "stage"): Stage,
    ("submission_transitions", "action"): SubmissionAction,
    ("submission_transitions", "to_state"): SubmissionState,
    ("submissions", "state"): SubmissionState,
    ("targets", "operator"): Operator,
    ("targets", "qualitative"): Qualitative,
    ("task_force_heads", "role"): TaskForceRole,
    ("units", "kind"): UnitKind,
    ("waivers", "kind"): WaiverKind,
    ("cases", "kind"): CaseKind,
    ("cases", "state"): CaseState,
    ("case_steps", "action"): CaseAction,
    ("case_steps", "to_state"): CaseState,
    ("raised_case_reminders", "kind"): CaseReminder,
    ("appeals", "state"): AppealState,
    ("assessments", "grade"): Grade,
    ("faults", "kind"): FaultKind,
    ("faults", "state"): FaultState,
    ("marks", "aspect"): Aspect,
    ("work_item_revisions", "state"): WorkItemState,
    ("work_items", "kind"): WorkItemKind,
    ("rankings", "kind"): RankingKind,
}
# Alembic's own table, and what belongs to it.
OURS = "n.nspname = 'public' AND c.relname NOT LIKE 'alembic_version%'"
RELATIONS = f"""
    SELECT c.relkind::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {OURS}
    UNION ALL SELECT 'function', p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = 'public'
    UNION ALL SELECT 'type', t.typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE n.nspname = 'public' AND t.typname !~ '^_?alembic_version$'
    ORDER BY 1, 2
"""
CONSTRAINTS = f"""
    SELECT k.contype::text, c.relname::text, k.conname::text, coalesce(f.relname, '')::text,
        (SELECT string_agg(a.attname, '_' ORDER BY o) FROM unnest(k.conkey) WITH ORDINALITY AS u(n, o)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.n)
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_class f ON f.oid = k.confrelid
    WHERE {OURS} AND k.contype IN ('p', 'u', 'f', 'c')
"""
# An index serves a foreign key where its first columns are the key's, in whatever order.
UNCOVERED = f"""
    SELECT c.relname::text, k.conname::text
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {OURS} AND k.contype = 'f' AND NOT EXISTS (
        SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indpred IS NULL AND i.indisvalid
        AND (SELECT array_agg(n ORDER BY n) FROM unnest((i.indkey::int2[])[0:cardinality(k.conkey) - 1]) AS n)
            = (SELECT array_agg(n ORDER BY n) FROM unnest(k.conkey) AS n)
    )
"""
INDEXES = f"""
    SELECT c.relname::text, i.relname::text,
        (SELECT string_agg(a.attname, '_' ORDER BY o) FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS u(n, o)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.n)
    FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {OURS} AND NOT x.indisprimary
    AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = x.indexrelid AND k.contype = 'u')
"""
CODE_CHECKS = f"""
    SELECT c.relname::text, k.conname::text, pg_get_constraintdef(k.oid)
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {OURS} AND k.contype = 'c' AND k.conname LIKE '%\\_known'
"""


async def rows(engine: AsyncEngine, statement: str) -> Strings:
    async with engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(text(statement))]


@pytest_asyncio.fixture
async def empty(clone: Clone) -> AsyncGenerator[AsyncEngine]:
    """A database with nothing in it."""
    async with clone(seeded=False) as url:
        engine = create_engine(url)
        yield engine
        await engine.dispose()


@pytest_asyncio.fixture
async def migrated(database: str) -> AsyncGenerator[AsyncEngine]:
    """The database of all tests, only looked at."""
    engine = create_engine(database)
    yield engine
    await engine.dispose()


async def downgrade(engine: AsyncEngine, revision: str = "base") -> None:
    def run(connection: Connection) -> None:
        command.downgrade(alembic_config(connection), revision)

    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()


async def assert_up_to_date(engine: AsyncEngine) -> None:
    def run(connection: Connection) -> None:
        command.check(alembic_config(connection))
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []

    async with engine.connect() as connection:
        await connection.run_sync(run)


async def test_an_empty_database_becomes_what_the_models_say(empty: AsyncEngine) -> None:
    assert await migrations.upgrade(empty)
    await assert_up_to_date(empty)
    tables = {name for kind, name in await rows(empty, RELATIONS) if kind == "r"}
    assert tables == set(Base.metadata.tables)


async def test_nothing_of_ours_is_left_after_a_downgrade_and_an_upgrade_restores_all(empty: AsyncEngine) -> None:
    assert await rows(empty, RELATIONS) == []
    await migrations.upgrade(empty)
    made = await rows(empty, RELATIONS)
    assert {kind for kind, _ in made} >= {"r", "S", "i", "function"}
    await downgrade(empty)
    assert await rows(empty, RELATIONS) == []
    assert await migrations.upgrade(empty)
    assert await rows(empty, RELATIONS) == made
    await assert_up_to_date(empty)


async def test_a_database_with_a_plan_can_be_downgraded(clone: Clone) -> None:
    async with clone() as url:
        engine = create_engine(url)
        try:
            await downgrade(engine)
            assert await rows(engine, RELATIONS) == []
        finally:
            await engine.dispose()


async def test_what_was_a_constant_becomes_data_and_no_new_version_of_a_rule(clone: Clone) -> None:
    async with clone() as url:
        engine = create_engine(url)
        try:
            stored = (
                "SELECT schedule FROM rules WHERE schedule IS NOT NULL UNION ALL SELECT schedule FROM rule_versions"
            )
            before = await rows(engine, stored)
            await downgrade(engine, "0004")
            older = await rows(engine, stored)
            assert len(older) == len(before) > 10
            assert not any("jump_points" in schedule for (schedule,) in older)
            assert await migrations.upgrade(engine)
            assert sorted(map(str, await rows(engine, stored))) == sorted(map(str, before))
            assert await rows(engine, "SELECT ahead_points, behind_points FROM plans") == [(10, 30)]
        finally:
            await engine.dispose()


async def test_acts_that_an_older_version_does_not_know_outlive_it(clone: Clone) -> None:
    none = "ARRAY[CAST(NULL AS text)]"
    async with clone() as url:
        engine = create_engine(url)
        try:
            async with engine.begin() as connection:
                await connection.execute(
                    text(f"""
                        SELECT append_audit(ARRAY['service'], ARRAY[now()], ARRAY['a'], ARRAY['a'], {none},
                            ARRAY['-'], ARRAY['webhook.test'], ARRAY['a'], {", ".join([none] * 4)}, NULL)
                    """)
                )
            acts = "SELECT chain, position::text, action FROM audit_entries ORDER BY 1, 2"
            before = await rows(engine, acts)
            await downgrade(engine, "0014")
            assert await rows(engine, acts) == before
            assert await migrations.upgrade(engine)
            await assert_up_to_date(engine)
            assert any(action == "webhook.test" for *_, action in await rows(engine, acts))
        finally:
            await engine.dispose()


async def test_an_upgrade_of_what_is_up_to_date_does_nothing(empty: AsyncEngine) -> None:
    assert [await migrations.upgrade(empty) for _ in range(2)] == [True, False]


async def test_two_upgrades_at_once_migrate_once(clone: Clone) -> None:
    async with clone(seeded=False) as url:
        engines = [create_engine(url) for _ in range(2)]
        try:
            done = await asyncio.gather(*map(migrations.upgrade, engines))
            assert sorted(done) == [False, True]
            await assert_up_to_date(engines[0])
        finally:
            for engine in engines:
                await engine.dispose()


async def test_an_upgrade_leaves_no_lock_and_no_limit_on_its_connection(empty: AsyncEngine) -> None:
    await migrations.upgrade(empty)
    # Locks of other databases of the cluster are others' own.
    held = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE {})"
    assert await rows(empty, held.format("datname = current_database()")) == []
    async with empty.connect() as connection:
        limits = [await connection.scalar(text(f"SHOW {name}")) for name in ("lock_timeout", "statement_timeout")]
    assert limits == ["0", "0"]


async def test_versions_of_a_new_database_are_beyond_those_of_its_predecessor(empty: AsyncEngine) -> None:
    await migrations.upgrade(empty)
    ((first,),) = await rows(empty, "SELECT nextval('content_version')")
    await downgrade(empty)
    await migrations.upgrade(empty)
    ((second,),) = await rows(empty, "SELECT nextval('content_version')")
    assert second > first


def test_there_is_one_head() -> None:
    assert len(ScriptDirectory(str(migrations.__path__[0])).get_heads()) == 1


async def test_every_constraint_is_named_by_the_convention(migrated: AsyncEngine) -> None:
    found = await rows(migrated, CONSTRAINTS)
    assert {kind for kind, *_ in found} == {"p", "u", "f", "c"}
    for kind, table, name, referred, columns in found:
        expected = {
            "p": f"pk_{table}",
            # A name the convention would make longer than PostgreSQL keeps is given by hand.
            "u": name if len(f"uq_{table}_{columns}") > 63 else f"uq_{table}_{columns}",
            "f": name if len(f"fk_{table}_{columns}_{referred}") > 63 else f"fk_{table}_{columns}_{referred}",
            "c": name if re.fullmatch(rf"ck_{table}_[a-z0-9_]+", name) else f"ck_{table}_…",
        }[kind]
        assert name == expected
        assert len(name) <= 63


async def test_every_index_is_named_by_the_convention(migrated: AsyncEngine) -> None:
    found = await rows(migrated, INDEXES)
    assert found
    assert [name for table, name, columns in found if name != f"ix_{table}_{columns}"] == []


async def test_every_foreign_key_has_an_index_that_begins_with_its_columns(migrated: AsyncEngine) -> None:
    assert await rows(migrated, UNCOVERED) == []


async def test_every_check_of_codes_allows_those_of_the_domain(migrated: AsyncEngine) -> None:
    found = {
        (table, name.removeprefix(f"ck_{table}_").removesuffix("_known")): set(re.findall(r"'([^']*)'", definition))
        for table, name, definition in await rows(migrated, CODE_CHECKS)
    }
    assert found == {place: {code.value for code in codes} for place, codes in CODES.items()}


@pytest.mark.parametrize("table", sorted(Base.metadata.tables))
async def test_every_table_has_a_primary_key_and_text_without_a_length(migrated: AsyncEngine, table: str) -> None:
    columns = await rows(
        migrated, f"SELECT column_name, data_type FROM information_schema.columns WHERE table_name = '{table}'"
    )
    assert columns
    assert [
        name for name, kind in columns if kind in {"character varying", "character", "timestamp without time zone"}
    ] == []
    keys = await rows(
        migrated, f"SELECT conname FROM pg_constraint WHERE conrelid = '{table}'::regclass AND contype = 'p'"
    )
    assert len(keys) == 1
