"""What the database itself holds to, whatever a query forgets: who sees and writes which rows, and what never changes.

One world of two plans holds a report of every kind, with revisions, figures and steps, of three units on tasks of two
battles each, and materials. Everything is asked as the service asks it: as its role, in statements without any filter.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import text

from app.cli.database import check_service, let_service_in
from app.cli.failures import UsageError
from app.clock import system_clock
from app.db import PROTECTED, SERVICE_ROLE, Database, Query, create_engine, open_read_pool, open_write_pool
from app.domain.permissions import Subject
from app.domain.plan import battle_of, plan_of
from app.domain.roles import ANONYMOUS, Actor, Grant, Role, parse_grant
from app.domain.workflow import SubmissionState
from app.pagination import PageRequest
from app.services import materials, submission_reads
from app.services.caller import Caller, Public
from app.services.visible_rows import draft_rights
from seed.loader import load_plan
from tests.conftest import Clone
from tests.seed.small_plan import write_plan

PLANS = ("431228-2023", "430124-2023")
TASKS = tuple(f"{plan}-{place}" for plan in PLANS for place in ("1-1-1", "2-1-1"))
UNITS = ("431228-jyj", "431228-nyncj", "431228-tjj")
# State, newest revision, and the certified one; each kind in a period of its own.
KINDS = {
    "2023-04": ("draft", 1, None),
    "2023-05": ("submitted", 1, None),
    "2023-06": ("returned", 1, None),
    "2023-07": ("certified", 1, 1),
    "2023-08": ("draft", 2, 1),
    "2023-09": ("submitted", 3, 2),
}

SINGLE: tuple[str, ...] = (
    *("reader", f"reader@{PLANS[1]}", f"reader:{UNITS[0]}", f"reader:{UNITS[1]}@{PLANS[0]}"),
    *(f"reporter:{unit}" for unit in UNITS),
    *(f"reporter:{UNITS[0]}@{plan}" for plan in PLANS),
    *("certifier:431228-tjj", f"certifier:431228-tjj@{PLANS[0]}"),
    *(f"coordinator:{battle_of(task)}" for task in TASKS),
    *("supervisor", f"supervisor@{PLANS[1]}", "auditor", f"auditor@{PLANS[0]}", "administrator"),
    # Codes that are those of nothing here.
    *("reader@999999-2023", "reporter:431228-zz", f"reporter:431228-zz@{PLANS[0]}", "coordinator:999999-2023-1"),
)


def caller(*grants: str, public: bool = False) -> Caller:
    held: tuple[Grant, ...] = tuple(map(parse_grant, grants))
    return Caller(Actor("account:1", "某人", held) if held else ANONYMOUS, public=Public(progress=public))


def callers() -> list[Caller]:
    pairs = list(combinations(SINGLE, 2))
    several = random.Random(4).sample(pairs, 40)
    held = [(), *((one,) for one in SINGLE), *several]
    return [caller(*grants) for grants in held] + [caller(public=True), caller(f"reporter:{UNITS[0]}", public=True)]


@dataclass(frozen=True)
class Row:
    """A row of the world, under its key, with what the rules ask of it."""

    table: str
    key: tuple[Any, ...]
    subject: Subject


@dataclass
class World:
    url: str
    rows: list[Row]
    reports: dict[tuple[str, str, str], UUID]

    def seen_by(self, someone: Caller, table: str) -> list[tuple[Any, ...]]:
        return sorted(row.key for row in self.rows if row.table == table and someone.sees(row.subject))

    @asynccontextmanager
    async def service(self, opened: Any = open_write_pool, size: int = 1) -> AsyncGenerator[Database]:
        async with opened(self.url, size=size, role=SERVICE_ROLE) as pool:
            yield Database(pool)

    @asynccontextmanager
    async def owner(self) -> AsyncGenerator[Any]:
        """A connection of the owner, in a transaction that is undone."""
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute("BEGIN")
            yield connection
        finally:
            await connection.close()


KEYS = {
    "submissions": "CAST(id AS text)",
    "submission_revisions": "CAST(submission_id AS text), revision",
    "observations": "CAST(submission_id AS text), revision",
    "submission_transitions": "CAST(submission_id AS text), revision",
    "materials": "CAST(id AS text)",
}
EVERYTHING = {table: Query(text(f"SELECT {keys} FROM {table}")) for table, keys in KEYS.items()}


async def found(db: Database, query: Query) -> list[tuple[Any, ...]]:
    return sorted(tuple(row) for row in await db.fetch(query))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(clone: Clone, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[World]:
    async with clone() as url:
        engine = create_engine(url)
        try:
            await load_plan(engine, write_plan(Path(tmp_path_factory.mktemp("plan"))), now=system_clock())
        finally:
            await engine.dispose()
        connection = await asyncpg.connect(url)
        try:
            made = World(url, [], {})
            for task in TASKS:
                for unit in UNITS:
                    await fill(connection, made, task, unit)
            for plan in PLANS:
                for unit in UNITS:
                    identity = await connection.fetchval(
                        "INSERT INTO materials (unit_id, id, rule_id, period, period_start, title, content, "
                        "received_at) SELECT u.id, gen_random_uuid(), r.id, '2023-04', '2023-04-01', '', '', now() "
                        "FROM units u, (SELECT r.id FROM rules r JOIN plans p ON p.id = r.plan_id "
                        "WHERE p.code = $1 LIMIT 1) r WHERE u.code = $2 RETURNING CAST(id AS text)",
                        *(plan, unit),
                    )
                    made.rows.append(Row("materials", (identity,), Subject(plan, unit=unit)))
        finally:
            await connection.close()
        yield made


async def fill(connection: Any, made: World, task: str, unit: str) -> None:
    """Reports of every kind, written as the owner."""
    for period, (state, newest, certified) in KINDS.items():
        identity = uuid4()
        key, subject = str(identity), Subject(plan_of(task), battle_of(task), unit)
        made.reports[task, unit, period] = identity
        unfinished = state == SubmissionState.DRAFT
        made.rows.append(Row("submissions", (key,), replace(subject, draft=unfinished and certified is None)))
        await connection.execute(
            "INSERT INTO submissions (task_id, id, unit_id, plan_id, battle_id, period, period_start, state, revision, "
            "certified_revision, version, created_at) SELECT t.id, $1, u.id, t.plan_id, t.battle_id, $4, "
            "CAST($4 || '-01' AS date), $5, $6, $7, 1, now() FROM tasks t, units u WHERE t.code = $2 AND u.code = $3",
            *(identity, task, unit, period, state, newest, certified),
        )
        for revision in range(1, newest + 1):
            await connection.execute(
                "INSERT INTO submission_revisions (task_id, submission_id, revision, stage, percent_complete, "
                "progress, warnings, created_at, submitted_at, content_hash) SELECT task_id, id, $2, 'in_progress', "
                "40, '内容', '[]', now(), CASE WHEN $3 THEN now() END, '' FROM submissions WHERE id = $1",
                *(identity, revision, not (unfinished and revision == newest)),
            )
            await connection.execute(
                "INSERT INTO observations (task_id, submission_id, revision, target_id, value) "
                "SELECT task_id, id, $2, (SELECT min(id) FROM targets), 1 FROM submissions WHERE id = $1",
                *(identity, revision),
            )
            await connection.execute(
                "INSERT INTO submission_transitions (task_id, submission_id, revision, action, to_state, at, "
                "actor_unit_id) SELECT task_id, id, $2, 'submit', 'submitted', now(), unit_id FROM submissions "
                "WHERE id = $1",
                *(identity, revision),
            )
            await connection.execute(
                "UPDATE submission_revisions SET certified_at = now() WHERE submission_id = $1 AND revision = $2 "
                "AND revision <= $3",
                *(identity, revision, certified or 0),
            )
            part = Row("", (key, revision), replace(subject, draft=unfinished and revision == newest))
            made.rows += [replace(part, table=table) for table in KEYS if len(KEYS[table].split()) > 3]


# What is seen ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opened", [open_read_pool, open_write_pool])
async def test_a_query_without_a_filter_shows_exactly_what_the_rules_admit(world: World, opened: Any) -> None:
    shown: set[int] = set()
    async with world.service(opened) as db:
        for someone in callers():
            for table, query in EVERYTHING.items():
                expected = world.seen_by(someone, table)
                assert await found(db.for_caller(someone), query) == expected, (someone.actor.grants, table)
                shown.add(len(expected))
    # Nothing, everything, and much in between.
    assert 0 in shown
    assert len(shown) > 15


async def test_the_lists_of_the_api_without_their_filters_show_what_the_rules_admit(world: World) -> None:
    request = PageRequest(500, None, "id", include_total=True)
    async with world.service(open_read_pool) as db:
        for someone in callers():
            of = db.for_caller(someone)
            page = await submission_reads._LISTING.page(of, request, {}, draft_rights(someone.visibility))
            expected = world.seen_by(someone, "submissions")
            assert sorted((str(row["sort_key"]),) for row in page.rows) == expected
            assert page.total == len(expected)
            page = await materials._LISTING.page(of, request, {})
            assert sorted((str(row["sort_key"]),) for row in page.rows) == world.seen_by(someone, "materials")


async def test_who_claims_to_see_drafts_and_does_not_is_shown_none(world: World) -> None:
    request = PageRequest(500, None, "id", include_total=False)
    reader, auditor = caller("reader"), caller("auditor")
    async with world.service(open_read_pool) as db:
        of = db.for_caller(reader)
        page = await submission_reads._LISTING.page(of, request, {}, draft_rights(auditor.visibility))
    assert {row["state"] for row in page.rows} == {"submitted", "returned", "certified"}


async def test_the_view_of_own_reports_shows_those_that_the_caller_reports_for_with_what_counts(world: World) -> None:
    query = Query(text("SELECT id, state, counted_revision, percent_complete, CAST(figures AS text) FROM own_reports"))
    units, shown = {row.key[0]: row.subject for row in world.rows if row.table == "submissions"}, set[int]()
    kinds = {str(world.reports[key]): KINDS[key[2]] for key in world.reports}
    async with world.service() as db:
        for someone in callers():
            rows = await db.for_caller(someone).fetch(query)
            expected = {
                key
                for key, subject in units.items()
                if any(
                    grant.role is Role.REPORTER and grant.unit == subject.unit and grant.plan in {None, subject.plan}
                    for grant in someone.actor.grants
                )
            }
            assert {str(row["id"]) for row in rows} == expected, someone.actor.grants
            shown.add(len(expected))
            for row in rows:
                state, newest, certified = kinds[str(row["id"])]
                revision = certified or (newest if state == "submitted" else None)
                assert (row["state"], row["counted_revision"]) == (state, revision)
                assert (row["percent_complete"] is None, row["figures"] is None) == (revision is None, revision is None)
        assert await db.fetch(query) == []
    assert len(shown) > 3


async def test_without_a_caller_nothing_is_seen(world: World) -> None:
    async with world.service(open_read_pool) as db:
        for query in EVERYTHING.values():
            assert await db.fetch(query) == []
            async with db.transaction() as within:
                assert await within.fetch(query) == []


@pytest.mark.parametrize("scope", ["", "{}", '{"plans":[]}', '{"unknown":true}', '{"everything":false}'])
async def test_a_scope_without_parts_shows_nothing(world: World, scope: str) -> None:
    class Someone:
        def __init__(self) -> None:
            self.scope = scope

    async with world.service() as db:
        for query in EVERYTHING.values():
            assert await db.for_caller(Someone()).fetch(query) == []


# Each with the column that names a report.
SHAPES = (
    "SELECT id FROM submissions ORDER BY id DESC LIMIT 1000",
    "WITH s AS (SELECT id FROM submissions) SELECT id FROM s",
    "WITH s AS MATERIALIZED (SELECT id FROM submissions) SELECT id FROM s",
    "SELECT id FROM submissions WHERE period < '2023-06' UNION ALL SELECT id FROM submissions WHERE period > '2023-05'",
    "SELECT DISTINCT submission_id AS id FROM submission_revisions",
    "SELECT unnest(array_agg(id)) AS id FROM submissions",
    "SELECT s.id FROM units u JOIN submissions s ON s.unit_id = u.id",
    "SELECT s.id FROM units u LEFT JOIN submissions s ON s.unit_id = u.id WHERE s.id IS NOT NULL",
    "SELECT s.id FROM units u, LATERAL (SELECT id FROM submissions WHERE unit_id = u.id OFFSET 0) s",
    "SELECT id FROM submissions WHERE id = ANY (ARRAY(SELECT submission_id FROM submission_transitions))",
    "SELECT id FROM submissions s WHERE EXISTS (SELECT FROM observations o WHERE o.submission_id = s.id)",
    "SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id) FROM submissions) s",
)


@pytest.mark.parametrize("mode", ["auto", "force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_statement_of_any_shape_is_given_its_caller_before_it_reads(
    world: World, shape: str, mode: str
) -> None:
    query = Query(text(shape))
    some = [caller(f"reporter:{UNITS[0]}"), caller(), caller(f"reader@{PLANS[0]}"), caller("auditor")]
    async with world.service(open_read_pool) as db:
        await db.fetch(Query(text(f"SET plan_cache_mode = {mode}")))
        # More often than a plan is made anew.
        for someone in some * 4:
            rows = await db.for_caller(someone).fetch(query)
            expected = {key for (key,) in world.seen_by(someone, "submissions")}
            assert {str(row["id"]) for row in rows} == expected


async def test_the_caller_is_given_once_above_all_else_in_the_plan(world: World) -> None:
    query = Query(text("SELECT id FROM submissions"))
    async with world.service(open_read_pool) as db:
        plan = "\n".join(row[0] for row in await db._on.fetch(f"EXPLAIN {query.scoped_sql}", "{}"))
    assert plan.startswith("Result"), plan
    assert "One-Time Filter" in plan.splitlines()[1]


async def test_callers_who_share_a_connection_never_see_what_is_another_s(world: World) -> None:
    some = [caller(f"reporter:{unit}") for unit in UNITS] + [caller("auditor"), caller("administrator")]

    async def ask(db: Database, someone: Caller | None, table: str, within: bool) -> None:
        expected = [] if someone is None else world.seen_by(someone, table)
        of = db if someone is None else db.for_caller(someone)
        if within:
            async with of.transaction() as transaction:
                await asyncio.sleep(0)
                assert await found(transaction, EVERYTHING[table]) == expected
        else:
            assert await found(of, EVERYTHING[table]) == expected

    chance = random.Random(5)
    asked = [(someone, table, within) for someone in (*some, None) for table in KEYS for within in (False, True)] * 2
    chance.shuffle(asked)
    async with world.service(size=1) as db:
        await asyncio.gather(*(ask(db, *one) for one in asked))


@pytest.mark.parametrize("fails", [False, True])
async def test_the_caller_of_a_transaction_is_gone_after_it(world: World, fails: bool) -> None:
    query = EVERYTHING["submissions"]
    async with world.service(size=1) as db:
        with suppress(asyncpg.DivisionByZeroError):
            async with db.for_caller(caller("auditor")).transaction() as within:
                assert len(await within.fetch(query)) == len(TASKS) * len(UNITS) * len(KINDS)
                await within.fetch(Query(text(f"SELECT 1 / {0 if fails else 1}")))
        assert await db.fetch(query) == []
        assert await db.fetch_value(Query(text("SELECT current_setting('liuzhang.caller', true)"))) == ""


async def test_a_savepoint_that_is_undone_keeps_the_caller(world: World) -> None:
    async with world.service() as db, db.for_caller(caller("auditor")).transaction() as within:
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with within.transaction() as part:
                await part.fetch(Query(text("SELECT 1 / 0")))
        assert await within.fetch(EVERYTHING["submissions"])


async def test_the_protected_tables_are_those_with_row_security(world: World) -> None:
    async with world.owner() as connection:
        names = "SELECT relname FROM pg_class WHERE relrowsecurity ORDER BY relname"
        assert tuple(row["relname"] for row in await connection.fetch(names)) == PROTECTED


# What is written ------------------------------------------------------------------------------------------------------

TASK, OTHER_TASK = TASKS[0], TASKS[2]
MINE, OTHER, JUDGE = UNITS
STEPS = {
    "reports": (
        "INSERT INTO submissions (task_id, id, unit_id, plan_id, battle_id, period, period_start, state, revision, "
        "version, created_at) SELECT t.id, gen_random_uuid(), u.id, t.plan_id, t.battle_id, '2023-12', '2023-12-01', "
        "{state}, 1, 1, now() FROM tasks t, units u WHERE t.code = {task} AND u.code = {unit} "
    ),
    "steps": "UPDATE submissions s SET state = {state}, version = version + 1 WHERE s.id = {id} ",
    "certifies": (
        "UPDATE submission_revisions r SET certified_at = now() FROM submissions s WHERE s.id = {id} "
        "AND (r.task_id, r.submission_id, r.revision) = (s.task_id, s.id, s.revision) "
    ),
    "edits": (
        "UPDATE submission_revisions r SET progress = '改' FROM submissions s WHERE s.id = {id} "
        "AND (r.task_id, r.submission_id, r.revision) = (s.task_id, s.id, s.revision) "
    ),
    "certifies_edited": (
        "UPDATE submission_revisions r SET progress = '改', certified_at = now() FROM submissions s WHERE s.id = {id} "
        "AND (r.task_id, r.submission_id, r.revision) = (s.task_id, s.id, s.revision) "
    ),
    "adds_revision": (
        "INSERT INTO submission_revisions (task_id, submission_id, revision, stage, percent_complete, progress, "
        "warnings, created_at, content_hash) "
        "SELECT t.id, {id}, 9, 'in_progress', 1, '', '[]', now(), '' FROM tasks t WHERE t.code = {task} "
    ),
    "adds_figure": (
        "INSERT INTO observations (task_id, submission_id, revision, target_id, value) "
        "SELECT t.id, {id}, 1, (SELECT max(id) FROM targets), 1 FROM tasks t WHERE t.code = {task} "
    ),
    "edits_figure": "UPDATE observations SET value = 2 WHERE submission_id = {id} ",
    "drops_figure": "DELETE FROM observations WHERE submission_id = {id} ",
    "adds_step": (
        "INSERT INTO submission_transitions (task_id, submission_id, revision, action, to_state, at, actor_unit_id) "
        "SELECT t.id, {id}, 1, 'submit', 'submitted', now(), u.id FROM tasks t, units u "
        "WHERE t.code = {task} AND u.code = {unit} "
    ),
    "files": (
        "INSERT INTO materials (unit_id, id, rule_id, period, period_start, title, content, received_at) "
        "SELECT u.id, gen_random_uuid(), r.id, '2023-04', '2023-04-01', '', '', now() FROM units u, rules r "
        "JOIN plans p ON p.id = r.plan_id WHERE u.code = {unit} AND p.code = {plan} ORDER BY r.id LIMIT 1"
    ),
}
REPORTER, IN_PLAN = f"reporter:{MINE}", f"reporter:{MINE}@{PLANS[0]}"
CERTIFIER, CERTIFIER_IN_PLAN = f"certifier:{JUDGE}", f"certifier:{JUDGE}@{PLANS[0]}"
BOTH = f"{REPORTER} certifier:{MINE}"
WRITES: tuple[tuple[str, str, str, str, str, bool], ...] = (
    # Whoever holds this, does this, to the report of this unit, on this task, in this state: whether they may.
    (REPORTER, "reports", MINE, TASK, "draft", True),
    (REPORTER, "reports", MINE, OTHER_TASK, "submitted", True),
    (REPORTER, "reports", MINE, TASK, "certified", False),
    (REPORTER, "reports", OTHER, TASK, "submitted", False),
    (IN_PLAN, "reports", MINE, TASK, "submitted", True),
    (IN_PLAN, "reports", MINE, OTHER_TASK, "submitted", False),
    (CERTIFIER, "reports", MINE, TASK, "submitted", False),
    (CERTIFIER, "reports", JUDGE, TASK, "submitted", False),
    ("auditor supervisor administrator", "reports", MINE, TASK, "submitted", False),
    ("", "reports", MINE, TASK, "submitted", False),
    (REPORTER, "steps", MINE, TASK, "draft", True),
    (REPORTER, "steps", MINE, TASK, "submitted", True),
    (REPORTER, "steps", MINE, TASK, "certified", False),
    (REPORTER, "steps", MINE, TASK, "returned", False),
    (REPORTER, "steps", OTHER, TASK, "submitted", False),
    (IN_PLAN, "steps", MINE, OTHER_TASK, "submitted", False),
    (CERTIFIER, "steps", MINE, TASK, "certified", True),
    (CERTIFIER, "steps", MINE, TASK, "returned", True),
    (CERTIFIER, "steps", MINE, TASK, "submitted", False),
    (CERTIFIER, "steps", JUDGE, TASK, "certified", False),
    (CERTIFIER_IN_PLAN, "steps", MINE, TASK, "certified", True),
    (CERTIFIER_IN_PLAN, "steps", MINE, OTHER_TASK, "certified", False),
    (BOTH, "steps", MINE, TASK, "certified", False),
    (BOTH, "steps", OTHER, TASK, "certified", True),
    ("auditor supervisor reader administrator", "steps", MINE, TASK, "certified", False),
    ("", "steps", MINE, TASK, "submitted", False),
    (CERTIFIER, "certifies", MINE, TASK, "", True),
    (CERTIFIER_IN_PLAN, "certifies", MINE, OTHER_TASK, "", False),
    (REPORTER, "certifies", MINE, TASK, "", False),
    ("auditor", "certifies", MINE, TASK, "", False),
    (CERTIFIER, "edits", MINE, TASK, "", False),
    (CERTIFIER, "certifies_edited", MINE, TASK, "", False),
    (REPORTER, "edits", MINE, TASK, "", True),
    (REPORTER, "edits", OTHER, TASK, "", False),
    (IN_PLAN, "edits", MINE, OTHER_TASK, "", False),
    (REPORTER, "adds_revision", MINE, TASK, "", True),
    (REPORTER, "adds_revision", OTHER, TASK, "", False),
    (IN_PLAN, "adds_revision", MINE, OTHER_TASK, "", False),
    (CERTIFIER, "adds_revision", MINE, TASK, "", False),
    ("auditor", "adds_revision", MINE, TASK, "", False),
    (REPORTER, "adds_figure", MINE, TASK, "", True),
    (REPORTER, "adds_figure", OTHER, TASK, "", False),
    (CERTIFIER, "adds_figure", MINE, TASK, "", False),
    (REPORTER, "edits_figure", MINE, TASK, "", True),
    (f"{REPORTER} reader", "edits_figure", OTHER, TASK, "", False),
    (CERTIFIER, "edits_figure", MINE, TASK, "", False),
    (REPORTER, "drops_figure", MINE, TASK, "", True),
    (f"{REPORTER} reader", "drops_figure", OTHER, TASK, "", False),
    (CERTIFIER, "drops_figure", MINE, TASK, "", False),
    (REPORTER, "adds_step", MINE, TASK, "", True),
    (REPORTER, "adds_step", OTHER, TASK, "", False),
    (CERTIFIER, "adds_step", MINE, TASK, "", True),
    (CERTIFIER_IN_PLAN, "adds_step", MINE, OTHER_TASK, "", False),
    ("auditor", "adds_step", MINE, TASK, "", False),
    ("", "adds_step", MINE, TASK, "", False),
    (REPORTER, "files", MINE, TASK, "", True),
    (REPORTER, "files", OTHER, TASK, "", False),
    (IN_PLAN, "files", MINE, TASK, "", True),
    (IN_PLAN, "files", MINE, OTHER_TASK, "", False),
    ("auditor supervisor", "files", MINE, TASK, "", False),
    ("", "files", MINE, TASK, "", False),
)


@pytest.mark.parametrize("write", WRITES)
async def test_a_row_is_written_by_whom_the_rules_admit(
    world: World, write: tuple[str, str, str, str, str, bool]
) -> None:
    """What may not be is refused, or finds no row to change."""
    held, step, unit, task, state, may = write
    # Of what was handed in and waits.
    identity = world.reports[task, unit, "2023-05"]
    named = {"id": f"CAST('{identity}' AS uuid)", "state": f"'{state}'"}
    named |= {"task": f"'{task}'", "unit": f"'{unit}'", "plan": f"'{plan_of(task)}'"}
    async with world.owner() as connection:
        await connection.execute(f"SET LOCAL ROLE {SERVICE_ROLE}")
        scope = caller(*held.split()).scope
        await connection.execute("SELECT set_config('liuzhang.caller', caller_in_keys($1), true)", scope)
        try:
            written = await connection.execute(STEPS[step].format(**named))
        except (asyncpg.InsufficientPrivilegeError, asyncpg.RestrictViolationError):
            assert not may
        else:
            assert written.endswith(" 0") is not may


# What never changes ---------------------------------------------------------------------------------------------------

CERTIFIED, WAITING = "2023-07", "2023-05"
CHANGES = (
    "UPDATE submission_transitions SET reason = '改' WHERE submission_id = $1",
    "DELETE FROM submission_transitions WHERE submission_id = $1",
    "UPDATE submission_revisions SET progress = '改' WHERE submission_id = $1",
    "UPDATE submission_revisions SET certified_at = NULL WHERE submission_id = $1",
    "UPDATE submission_revisions SET certified_at = certified_at + interval '1 s' WHERE submission_id = $1",
    "DELETE FROM submission_revisions WHERE submission_id = $1",
    "UPDATE observations SET value = 2 WHERE submission_id = $1",
    (
        "UPDATE observations SET submission_id = $2, task_id = (SELECT task_id FROM submissions WHERE id = $2), "
        "target_id = (SELECT max(id) FROM targets) WHERE submission_id = $1"
    ),
    (
        "UPDATE observations SET submission_id = $1, task_id = (SELECT task_id FROM submissions WHERE id = $1), "
        "target_id = (SELECT max(id) FROM targets) WHERE submission_id = $2"
    ),
    "DELETE FROM observations WHERE submission_id = $1",
    (
        "INSERT INTO observations SELECT task_id, submission_id, revision, (SELECT max(id) FROM targets), 1 "
        "FROM submission_revisions WHERE submission_id = $1"
    ),
)
TRUNCATED = ("submission_transitions", "submission_revisions CASCADE", "observations")


@pytest.mark.parametrize("change", CHANGES)
async def test_what_is_certified_and_every_step_is_refused_a_change_by_the_owner_too(world: World, change: str) -> None:
    certified, waiting = (world.reports[TASK, MINE, period] for period in (CERTIFIED, WAITING))
    async with world.owner() as connection:
        with pytest.raises(asyncpg.RestrictViolationError):
            await connection.execute(change, *(certified, waiting)[: 1 + ("$2" in change)])


@pytest.mark.parametrize("table", TRUNCATED)
async def test_nobody_empties_a_table_that_is_only_added_to(world: World, table: str) -> None:
    async with world.owner() as connection:
        with pytest.raises(asyncpg.RestrictViolationError):
            await connection.execute(f"TRUNCATE {table}")


async def test_what_is_not_certified_may_still_be_changed(world: World) -> None:
    waiting = world.reports[TASK, MINE, WAITING]
    async with world.owner() as connection:
        for change, written in (
            ("UPDATE submission_revisions SET progress = '改' WHERE submission_id = $1", "UPDATE 1"),
            ("UPDATE observations SET value = 2 WHERE submission_id = $1", "UPDATE 1"),
            ("UPDATE submission_revisions SET certified_at = now() WHERE submission_id = $1", "UPDATE 1"),
        ):
            assert await connection.execute(change, waiting) == written
        # From then on it may not.
        with pytest.raises(asyncpg.RestrictViolationError):
            await connection.execute("UPDATE observations SET value = 3 WHERE submission_id = $1", waiting)


async def test_what_was_never_certified_goes_with_its_figures(world: World) -> None:
    waiting = world.reports[TASK, MINE, WAITING]
    async with world.owner() as connection:
        assert await connection.execute("DELETE FROM submission_revisions WHERE submission_id = $1", waiting) == (
            "DELETE 1"
        )
        assert await connection.fetchval("SELECT count(*) FROM observations WHERE submission_id = $1", waiting) == 0


# The role of the service ----------------------------------------------------------------------------------------------

READ = ("SELECT",)
BULLETIN_WRITES = (
    *("as_of", "content", "content_hash", "discard_reason", "discarded_at", "document_hash", "filed", "issued_at"),
    *("issued_by", "number", "parts", "state", "title", "updated_at"),
)
RIGHTS: dict[str, tuple[str, ...]] = {
    "account_grants": ("DELETE", "INSERT", "SELECT"),
    "accounts": ("INSERT", "SELECT", "UPDATE"),
    "alembic_version": READ,
    "anomalies": READ,
    "api_keys": ("INSERT", "SELECT", "UPDATE"),
    "assignments": READ,
    "audit_entries": READ,
    "audit_heads": READ,
    "battles": READ,
    "calendar_subscriptions": ("INSERT", "SELECT", "UPDATE"),
    "clauses": READ,
    "compliance_counts": ("INSERT", "SELECT", "UPDATE"),
    "events": ("INSERT", "SELECT"),
    "extensions": ("INSERT", "SELECT"),
    "given_figures": ("INSERT", "SELECT"),
    "idempotency_keys": ("DELETE", "INSERT", "SELECT", "UPDATE"),
    "indicators": ("INSERT", "SELECT"),
    "materials": ("INSERT", "SELECT"),
    "obligations": ("SELECT", "UPDATE (effective_due_at, filed_at, submitted_at, waived_at)"),
    "observations": ("DELETE", "INSERT", "SELECT", "UPDATE"),
    "outbox": ("DELETE", "INSERT", "SELECT"),
    "own_reports": READ,
    "plans": READ,
    "progress_schedules": ("INSERT", "SELECT"),
    "raised_reminders": ("INSERT", "SELECT"),
    "regions": READ,
    "reminder_progress": ("INSERT", "SELECT", "UPDATE"),
    "rule_units": READ,
    "rule_versions": READ,
    "rules": READ,
    "schedule_stretches": ("INSERT", "SELECT"),
    "search_entries": ("INSERT", "SELECT"),
    "submission_revisions": ("INSERT", "SELECT", "UPDATE"),
    "submission_transitions": ("INSERT", "SELECT"),
    "submissions": ("INSERT", "SELECT", "UPDATE"),
    "superior_documents": READ,
    "targets": ("INSERT", "SELECT"),
    "task_force_heads": READ,
    "task_force_members": READ,
    "task_forces": READ,
    "task_groups": READ,
    "tasks": ("SELECT", "UPDATE (id)"),
    "unit_aliases": READ,
    "units": READ,
    "waivers": ("INSERT", "SELECT"),
    "webhook_deliveries": ("DELETE", "INSERT", "SELECT", "UPDATE"),
    "webhooks": ("DELETE", "INSERT", "SELECT", "UPDATE"),
    "bulletins": (
        "INSERT",
        "SELECT",
        f"UPDATE ({', '.join(BULLETIN_WRITES)})",
    ),
    "cases": ("INSERT", "SELECT", "UPDATE"),
    "case_steps": ("INSERT", "SELECT"),
    "case_evidence": ("INSERT", "SELECT"),
    "raised_case_reminders": ("INSERT", "SELECT"),
    "appeals": ("INSERT", "SELECT", "UPDATE"),
    "assessment_schemes": ("INSERT", "SELECT"),
    "assessments": ("INSERT", "SELECT"),
    "faults": ("INSERT", "SELECT", "UPDATE"),
    "marks": ("INSERT", "SELECT"),
    "work_item_revisions": ("INSERT", "SELECT"),
    "work_items": ("INSERT", "SELECT", "UPDATE (id)"),
    "inspection_findings": ("INSERT", "SELECT"),
    "inspection_revisions": ("INSERT", "SELECT"),
    "inspections": ("INSERT", "SELECT", "UPDATE (id)"),
    "ranking_entries": ("INSERT", "SELECT"),
    "ranking_revisions": ("INSERT", "SELECT"),
    "rankings": ("INSERT", "SELECT", "UPDATE (id)"),
}


async def test_the_service_may_do_to_each_table_what_it_needs_and_no_more(world: World) -> None:
    async with world.owner() as connection:
        tables = await connection.fetch(
            "SELECT table_name, array_agg(privilege_type ORDER BY privilege_type) AS rights "
            "FROM information_schema.table_privileges WHERE grantee = $1 GROUP BY 1",
            SERVICE_ROLE,
        )
        columns = await connection.fetch(
            "SELECT c.relname AS table_name, string_agg(a.attname, ', ' ORDER BY a.attname) AS columns "
            "FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid CROSS JOIN aclexplode(a.attacl) x "
            "WHERE pg_get_userbyid(x.grantee) = $1 AND x.privilege_type = 'UPDATE' GROUP BY 1",
            SERVICE_ROLE,
        )
    rights = {row["table_name"]: tuple(row["rights"]) for row in tables}
    for row in columns:
        rights[row["table_name"]] += (f"UPDATE ({row['columns']})",)
    assert rights == RIGHTS


async def test_the_service_owns_nothing_and_bypasses_nothing(world: World) -> None:
    async with world.owner() as connection:
        owned = (
            "SELECT (SELECT count(*) FROM pg_class WHERE relowner = r.oid)"
            " + (SELECT count(*) FROM pg_proc WHERE proowner = r.oid)"
            " + (SELECT count(*) FROM pg_namespace WHERE nspowner = r.oid)"
            " + (SELECT count(*) FROM pg_database WHERE datdba = r.oid)"
            " + (SELECT count(*) FROM pg_auth_members WHERE member = r.oid) FROM pg_roles r WHERE rolname = $1"
        )
        assert await connection.fetchval(owned, SERVICE_ROLE) == 0
        powers = "SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication FROM pg_roles"
        assert await connection.fetchval(f"{powers} WHERE rolname = $1", SERVICE_ROLE) is False


FORBIDDEN = (
    "UPDATE submission_transitions SET reason = ''",
    "DELETE FROM submission_transitions",
    "DELETE FROM submission_revisions",
    "DELETE FROM submissions",
    "DELETE FROM materials",
    *(f"TRUNCATE {table}" for table in PROTECTED),
    "ALTER TABLE submissions DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE submission_transitions DISABLE TRIGGER refuse_change",
    "DROP TRIGGER refuse_change ON submission_transitions",
    "DROP POLICY submissions_seen ON submissions",
    "CREATE POLICY all_seen ON submissions USING (true)",
    "DROP TABLE submissions",
    "CREATE TABLE mine ()",
    "CREATE OR REPLACE FUNCTION caller_is(part text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "UPDATE plans SET title = ''",
    "DELETE FROM tasks",
    "INSERT INTO units (code) VALUES ('')",
    "UPDATE obligations SET due_at = now()",
    "DELETE FROM obligations",
    "DELETE FROM accounts",
    "UPDATE alembic_version SET version_num = ''",
    "SET session_replication_role = replica",
    "CREATE ROLE other",
)


@pytest.mark.parametrize("forbidden", FORBIDDEN)
async def test_the_service_is_refused_what_is_not_its_own(world: World, forbidden: str) -> None:
    async with world.service() as db, db.for_caller(caller("auditor")).transaction() as within:
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.RestrictViolationError)):
            await within._on.execute(forbidden)


@pytest.fixture
def opened(world: World) -> Callable[[str], Awaitable[Any]]:
    async def run(statement: str) -> Any:
        connection = await asyncpg.connect(await let_service_in(world.url), server_settings={"role": SERVICE_ROLE})
        try:
            await connection.execute(statement)
            return await connection.fetchval("SELECT concat_ws(' ', session_user, current_user)")
        finally:
            await connection.close()

    return run


async def test_who_logs_in_as_the_service_stays_the_service(opened: Callable[[str], Awaitable[Any]]) -> None:
    for left in ("RESET ROLE", "SET ROLE NONE", "RESET ALL"):
        assert await opened(left) == f"{SERVICE_ROLE} {SERVICE_ROLE}"
    for taken in ("SET ROLE liuzhang", "SET SESSION AUTHORIZATION liuzhang"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await opened(taken)


async def test_several_starts_let_the_service_in_at_once(world: World) -> None:
    addresses: Sequence[str] = await asyncio.gather(*(let_service_in(world.url) for _ in range(4)))
    assert len(set(addresses)) == 1
    await check_service(addresses[0])


async def test_an_address_that_cannot_be_the_service_is_told(world: World) -> None:
    async with world.owner() as connection:
        await connection.execute("ROLLBACK; CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
        try:
            stranger = world.url.replace(world.url.partition("//")[2].partition("@")[0], "stranger:stranger")
            with pytest.raises(UsageError, match="GRANT liuzhang_service TO"):
                await check_service(stranger)
        finally:
            await connection.execute("DROP ROLE stranger")
