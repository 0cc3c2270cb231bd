"""The audit trail in the database: its hashes are those of the rules, and whatever is done to a row is found."""

import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.db import Database, open_write_pool
from app.domain.audit import START, AuditAction, Break, hash_of
from app.domain.roles import Actor
from app.services.audit import Act, record
from app.services.audit_check import TrailCheck, check_trail
from app.services.caller import Caller, Origin
from tests.conftest import Clone

NOW = datetime(2023, 5, 18, 8, 20, 5, 417203, tzinfo=UTC)
UNIT, PLAN = "431228-jyj", "431228-2023"
WHO = Caller(Actor("account:k3v9x0a7pd", "县教育局“脚本”,1:2"), Origin("10.20.3.7"), "request-0001")
CHAIN = "431228"
# What came with the plan stands in the chain already.
FIRST = 2


@pytest_asyncio.fixture(scope="module")
async def trail(clone: Clone) -> AsyncGenerator[str]:
    async with clone() as url:
        async with open_write_pool(url, size=1) as pool, Database(pool).transaction() as db:
            acts = [
                Act(AuditAction.SUBMISSION_EDIT, f"s{number}", PLAN, UNIT, {"n": number}, {"n": number + 1})
                for number in range(8)
            ]
            await record(db, WHO, acts, now=NOW)
        yield url


async def checked(url: str, noted: dict[str, dict[int, bytes]] | None = None) -> tuple[list[Break], TrailCheck]:
    report = TrailCheck()
    return [found async for found in check_trail(url, noted or {}, report)], report


async def test_what_was_written_is_whole(trail: str) -> None:
    found, report = await checked(trail)
    assert found == []
    heads = {head.chain: head.position for head in report.heads}
    assert heads[CHAIN] == FIRST + 7
    assert heads["service"] == report.entries - heads[CHAIN]


TAMPERINGS: dict[str, tuple[str, int]] = {
    **{
        f"one byte of {column}": (f"UPDATE audit_entries SET {column} = overlay({column} PLACING 'X' FROM 2)", 4)
        for column in ("actor", "actor_name", "address", "request_id", "subject", "plan", "unit")
    },
    "chain": ("UPDATE audit_entries SET chain = '431229'", 4),
    "action": ("UPDATE audit_entries SET action = 'submission.submit'", 4),
    "a microsecond": ("UPDATE audit_entries SET at = at + interval '1 microsecond'", 4),
    "a figure before": ("UPDATE audit_entries SET before = '{\"n\":9}'", 4),
    "a blank after": ("UPDATE audit_entries SET after = '{\"n\": 3}'", 4),
    "nothing before": ("UPDATE audit_entries SET before = NULL", 4),
    "no address": ("UPDATE audit_entries SET address = NULL", 4),
    "a moved border": (
        "UPDATE audit_entries SET actor = actor || left(actor_name, 1), actor_name = substr(actor_name, 2)",
        4,
    ),
    "the hash": ("UPDATE audit_entries SET hash = set_byte(hash, 3, get_byte(hash, 3) # 1)", 4),
    "the hash before": (
        "UPDATE audit_entries SET previous_hash = set_byte(previous_hash, 3, get_byte(previous_hash, 3) # 1)",
        4,
    ),
    "a row": ("DELETE FROM audit_entries", 4),
    "the first row": ("DELETE FROM audit_entries", 1),
    "the last row": ("DELETE FROM audit_entries", FIRST + 7),
    "the position": ("UPDATE audit_entries SET position = 1000", FIRST + 7),
}
_ROW = " WHERE chain = '431228' AND position = "
WHOLE: dict[str, str] = {
    "two rows change places": "UPDATE audit_entries SET position = 9 - position + 1000 WHERE chain = '431228' AND "
    "position IN (4, 5); UPDATE audit_entries SET position = position - 1000 WHERE position > 1000",
    "a row is cut out and the rest moved up": "DELETE FROM audit_entries WHERE chain = '431228' AND position = 4; "
    "UPDATE audit_entries SET position = position + 999 WHERE chain = '431228' AND position > 4; "
    "UPDATE audit_entries SET position = position - 1000 WHERE chain = '431228' AND position > 1000; "
    "UPDATE audit_heads SET position = position - 1 WHERE chain = '431228'",
    "a row is added": "INSERT INTO audit_entries SELECT chain, position + 1, at, actor, actor_name, address, "
    "request_id, action, subject, plan, unit, before, after, hash, hash FROM audit_entries WHERE chain = '431228' "
    "ORDER BY position DESC LIMIT 1",
    "the head is put back": "UPDATE audit_heads SET position = position - 1 WHERE chain = '431228'",
    "the head is moved on": "UPDATE audit_heads SET position = position + 1 WHERE chain = '431228'",
    "the hash of the head": "UPDATE audit_heads SET hash = sha256(hash) WHERE chain = '431228'",
    "the head is lost": "DELETE FROM audit_heads WHERE chain = '431228'",
    "all rows of a chain": "DELETE FROM audit_entries WHERE chain = '431228'",
}
EVERY = {**{name: f"{what}{_ROW}{where}" for name, (what, where) in TAMPERINGS.items()}, **WHOLE}


@pytest.mark.parametrize("what", EVERY)
async def test_what_a_superuser_does_to_it_is_found(trail: str, what: str) -> None:
    connection = await asyncpg.connect(trail)
    # As whoever owns the tables can; the check is made within, for it reads what is committed.
    try:
        async with connection.transaction():
            for table in ("audit_entries", "audit_heads"):
                await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
            kept = [await connection.fetch(f"SELECT * FROM {table}") for table in ("audit_entries", "audit_heads")]
            await connection.execute(EVERY[what])
        found, _ = await checked(trail)
        assert {one.chain for one in found} & {CHAIN, "431229"}, "not found"
    finally:
        async with connection.transaction():
            for table, rows in zip(("audit_entries", "audit_heads"), kept, strict=True):
                await connection.execute(f"DELETE FROM {table}")
                await connection.copy_records_to_table(table, records=rows)
                await connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER refuse_change")
        await connection.close()
    assert (await checked(trail))[0] == []


async def test_a_chain_that_was_written_anew_is_found_by_what_somebody_noted(trail: str) -> None:
    _, report = await checked(trail)
    (head,) = (head for head in report.heads if head.chain == CHAIN)
    assert (await checked(trail, {CHAIN: {head.position: head.hash}}))[0] == []
    for noted in ({CHAIN: {head.position: bytes(32)}}, {CHAIN: {head.position + 1: head.hash}}, {"110101": {1: START}}):
        found, _ = await checked(trail, noted)
        assert [(one.chain, one.position) for one in found] == [(c, p) for c, h in noted.items() for p in h]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET actor = 'x'",
        "DELETE FROM audit_entries WHERE position = 0",
        "TRUNCATE audit_entries",
        "DELETE FROM audit_heads",
        "TRUNCATE audit_heads",
    ],
)
async def test_nobody_changes_or_removes_a_row(trail: str, statement: str) -> None:
    connection = await asyncpg.connect(trail, server_settings={"session_replication_role": "replica"})
    try:
        with pytest.raises(asyncpg.RestrictViolationError, match="only ever added"):
            await connection.execute(statement)
    finally:
        await connection.close()


_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
_JSON = st.none() | st.dictionaries(
    _TEXT, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e15, 1e15) | _TEXT, max_size=4
)


_ACT = st.builds(Act, st.sampled_from(AuditAction), _TEXT, st.none(), st.none() | st.just(UNIT), _JSON, _JSON)
# Far back and far ahead, microseconds and all.
_INSTANT = st.integers(-2_177_452_800_000_000, 221_845_392_000_000_000).map(
    lambda micros: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actor=_TEXT, name=_TEXT, act=_ACT, at=_INSTANT)
async def test_the_database_hashes_as_the_rules_say(trail: str, actor: str, name: str, act: Act, at: datetime) -> None:
    connection = await asyncpg.connect(trail)
    try:
        second = act._replace(subject=f"{act.subject}2", before=act.after, after=act.before)
        await _hashed(connection, Caller(Actor(f"a{actor}", name)), [act, second], at)
    finally:
        await connection.close()


async def _hashed(connection: Any, caller: Caller, acts: list[Act], at: datetime) -> None:
    transaction = connection.transaction()
    await transaction.start()
    db = Database(connection)
    await record(db, caller, acts, now=at)
    await db._end()
    rows = await connection.fetch(
        "SELECT chain, position, at, actor, actor_name, address, request_id, action, subject, plan, unit, "
        "before::text, after::text, previous_hash, hash FROM audit_entries WHERE actor = $1 ORDER BY chain, position",
        caller.actor.id,
    )
    assert [(row["at"], row["subject"]) for row in rows] == [(at, act.subject) for act in acts]
    assert [row["before"] and json.loads(row["before"]) for row in rows] == [act.before for act in acts]
    assert all(hash_of(row["previous_hash"], dict(row)) == row["hash"] for row in rows)
    assert rows[1]["previous_hash"] == rows[0]["hash"]
    assert rows[1]["position"] - rows[0]["position"] == 1
    await transaction.rollback()


async def _fail(db: Database, act: Act) -> None:
    async with db.transaction() as within:
        await record(within, WHO, [act], now=NOW)
        raise ZeroDivisionError


async def test_acts_of_a_savepoint_that_is_undone_are_dropped(clone: Clone) -> None:
    async with clone() as url, open_write_pool(url, size=1) as pool:
        async with Database(pool).transaction() as db:
            await record(db, WHO, [Act(AuditAction.ACCOUNT_CHANGE, "kept", None, UNIT)], now=NOW)
            with pytest.raises(ZeroDivisionError):
                await _fail(db, Act(AuditAction.ACCOUNT_CHANGE, "dropped", None, UNIT))
            later = NOW + timedelta(seconds=1)
            await record(db, WHO, [Act(AuditAction.ACCOUNT_CHANGE, "elsewhere")], now=later)
        with pytest.raises(ZeroDivisionError):
            await _fail(Database(pool), Act(AuditAction.ACCOUNT_CHANGE, "undone"))
        rows = await pool.fetch("SELECT subject, chain, address FROM audit_entries WHERE actor = $1", WHO.actor.id)
        assert {tuple(row) for row in rows} == {("kept", CHAIN, "10.20.3.7"), ("elsewhere", "service", "10.20.3.7")}
        assert (await checked(url))[0] == []
