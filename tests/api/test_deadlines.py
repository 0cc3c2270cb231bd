"""Deadlines: would it be on time, what is owed, and how that stood at any instant."""

import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.fragments import FragmentCache
from app.main import create_app
from app.schemas.obligation import CheckRead, ObligationPage
from app.services.reader import Reader
from app.settings import Settings
from tests.conftest import Clone, CountingDatabase, serving

CHECK = "/api/v1/deadlines/check"
OBLIGATIONS = "/api/v1/obligations"
DUE = "2023-04-20T23:59:59.999999+08:00"
LOCK = "2023-05-20T23:59:59.999999+08:00"
HIGH_SCHOOL = "431228-2023-6-1-1"
EDUCATION = "431228-jyj"


class Own:
    """A database of one test alone: a client on it, and what happens to the report of the high school in April."""

    def __init__(self, client: httpx.AsyncClient, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.client = client
        self.connection = connection

    async def fact(self, **columns: str) -> None:
        """Set columns of the obligation, instants as text."""
        given = ", ".join(f"{name} = ${place}::text::timestamptz" for place, name in enumerate(columns, 2))
        done = await self.connection.execute(
            f"UPDATE obligations SET {given} WHERE period = '2023-04' "
            "AND task_id = (SELECT id FROM tasks WHERE code = $1)",
            *(HIGH_SCHOOL, *columns.values()),
        )
        assert done == "UPDATE 1"

    async def grant(self, table: str, granted_at: str, **columns: Any) -> None:
        """Insert an extension or a waiver for the unit, rule and period, about the task."""
        names = "".join(f", {name}" for name in columns)
        values = "".join(f", ${place}" for place in range(5, 5 + len(columns)))
        await self.connection.execute(
            f"INSERT INTO {table} (unit_id, id, rule_id, task_id, period, reason, approver, granted_at{names}) "
            "SELECT o.unit_id, $1, o.rule_id, o.task_id, o.period, '设备故障', $2, $3::text::timestamptz"
            f"{values} FROM obligations o JOIN tasks t ON t.id = o.task_id WHERE t.code = $4 AND o.period = '2023-04'",
            *(uuid.uuid4(), "县重点民生实事办", granted_at, HIGH_SCHOOL, *columns.values()),
        )

    async def extend(self, granted_at: str, due_at: str) -> None:
        await self.grant("extensions", granted_at, due_at=datetime.fromisoformat(due_at))
        await self.fact(effective_due_at=due_at)

    async def waive(self, granted_at: str, kind: str) -> None:
        await self.grant("waivers", granted_at, kind=kind)
        await self.fact(waived_at=granted_at)

    async def shown(self, as_of: str) -> dict[str, Any]:
        (item,) = await items(self.client, task=HIGH_SCHOOL, period="2023-04", as_of=as_of)
        return item


@pytest_asyncio.fixture
async def own(clone: Clone) -> AsyncGenerator[Own]:
    async with clone() as url, serving(create_app(Settings(database_url=url))) as client:
        connection = await asyncpg.connect(url)
        try:
            yield Own(client, connection)
        finally:
            await connection.close()


async def check(client: httpx.AsyncClient, **query: str) -> dict[str, Any]:
    answer = await client.get(CHECK, params={"rule": "monthly-form", **query})
    assert answer.status_code == 200, answer.text
    assert CheckRead.model_validate_json(answer.content)
    return answer.json()


async def refused(client: httpx.AsyncClient, path: str, **query: str) -> tuple[str, str, str]:
    """The problem of a query that is refused: its type, and the pointer and code of its only fault."""
    answer = await client.get(path, params=query)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert answer.headers["content-type"].startswith("application/problem+json")
    (fault,) = problem["errors"]
    return problem["type"].removeprefix("/problems/"), fault["pointer"], fault["code"]


async def items(client: httpx.AsyncClient, **query: str) -> list[dict[str, Any]]:
    answer = await client.get(OBLIGATIONS, params={"limit": "500", **query})
    assert answer.status_code == 200, answer.text
    page = ObligationPage.model_validate_json(answer.content)
    assert page.next_cursor is None or len(page.items) == 500
    return answer.json()["items"]


async def every_item(client: httpx.AsyncClient, limit: int, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await client.get(OBLIGATIONS, params={"limit": str(limit), **query, **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        assert len(page["items"]) == limit
        cursor = {"cursor": page["next_cursor"]}


def key_of(item: dict[str, Any]) -> tuple[str, ...]:
    return item["rule"], item["unit"]["unit"], item["task"] or "", item["period"]


def before(instant: str) -> str:
    return (datetime.fromisoformat(instant) - timedelta(microseconds=1)).isoformat()


def after(instant: str) -> str:
    return (datetime.fromisoformat(instant) + timedelta(microseconds=1)).isoformat()


# Would it be on time? ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "on_time", "remaining"),
    [
        ("2023-04-20T23:59:59+08:00", True, 0),
        ("2023-04-20T15:59:59Z", True, 0),
        ("2023-04-20t15:59:59z", True, 0),
        ("2023-04-20T10:59:59-05:00", True, 0),
        (DUE, True, 0),
        ("2023-04-21T00:00:00+08:00", False, -1),
        ("2023-04-20T16:00:00Z", False, -1),
        ("2023-04-20T16:00:00.000000+00:00", False, -1),
        ("2023-04-21T00:00:01+08:00", False, -2),
        ("2023-04-20T23:59:58+08:00", True, 1),
        ("2023-04-19T23:59:59.999999+08:00", True, 86400),
        ("2023-04-21T23:59:59.999999+08:00", False, -86400),
    ],
)
@pytest.mark.parametrize("unit", [None, "县教育局", EDUCATION])
async def test_the_last_second_of_the_20th_is_on_time_and_the_next_is_not(
    client: httpx.AsyncClient, at: str, unit: str | None, *, on_time: bool, remaining: int
) -> None:
    answer = await check(client, at=at, **({"unit": unit} if unit else {}))
    assert (answer["on_time"], answer["remaining_seconds"]) == (on_time, remaining)
    assert (answer["period"], answer["due_at"], answer["original_due_at"]) == ("2023-04", DUE, DUE)
    assert answer["unit"] == ({"unit": EDUCATION, "name": "县教育局"} if unit else None)
    assert (answer["rule"], answer["plan"], answer["provisional"]) == ("monthly-form", "431228-2023", False)
    assert datetime.fromisoformat(answer["at"]) == datetime.fromisoformat(at.upper())


@pytest.mark.parametrize(
    ("at", "on_time"),
    [
        ("2023-04-20T23:59:59+08:00", True),
        ("2023-04-21T00:00:00+08:00", False),
        ("2023-04-20T23:59:59%2B08:00", True),
        ("2023-04-20T23%3A59%3A59%2B08%3A00", True),
        ("2023-04-20T15:59:59Z", True),
    ],
)
async def test_a_plus_sign_need_not_be_encoded(client: httpx.AsyncClient, at: str, *, on_time: bool) -> None:
    answer = await client.get(f"{CHECK}?rule=monthly-form&at={at}")
    assert answer.status_code == 200, answer.text
    assert answer.json()["on_time"] is on_time


async def test_the_explanation_is_a_chinese_sentence(client: httpx.AsyncClient) -> None:
    in_time = await check(client, at="2023-04-20T23:59:59+08:00", unit="县教育局")
    assert in_time["explanation"] == ("2023-04 的月进度表应于 2023年4月20日24时前报出;2023-04-20 23:59:59 报出为按时")
    late = await check(client, at="2023-04-20T16:00:00Z", unit="县教育局")
    assert late["explanation"] == (
        "2023-04 的月进度表应于 2023年4月20日24时前报出;2023-04-21 00:00:00 报出为迟报,迟 1 秒"
    )


async def test_without_an_instant_the_present_is_meant(database: str) -> None:
    instant = datetime.fromisoformat("2023-06-20T15:59:59+00:00")
    async with serving(create_app(Settings(database_url=database), clock=lambda: instant)) as client:
        answer = await check(client)
        assert (answer["period"], answer["on_time"], answer["at"]) == ("2023-06", True, "2023-06-20T23:59:59+08:00")
        status = {item["status"] for item in await items(client, rule="monthly-form", period="2023-06")}
        assert status == {"due_soon"}


@pytest.mark.parametrize(
    ("query", "period", "due_at", "on_time"),
    [
        ({"period": "2023-05", "at": "2023-04-21T00:00:00+08:00"}, "2023-05", LOCK, True),
        ({"period": "2023-04", "at": "2023-05-01T00:00:00+08:00"}, "2023-04", DUE, False),
        # The month is that of the place, not of UTC.
        ({"at": "2023-03-31T16:00:00Z"}, "2023-04", DUE, True),
        ({"at": "2023-03-31T15:59:59Z"}, "2023-03", "2023-03-20T23:59:59.999999+08:00", False),
        (
            {"rule": "work-bulletin-item", "at": "2023-04-30T15:59:59Z"},
            "2023-04",
            "2023-04-30T23:59:59.999999+08:00",
            True,
        ),
        ({"rule": "experience-case", "at": "2023-06-01T00:00:00Z"}, "2023", "2023-12-31T23:59:59.999999+08:00", True),
    ],
)
async def test_the_period_is_the_one_given_or_the_one_of_the_instant(
    client: httpx.AsyncClient, query: dict[str, str], period: str, due_at: str, *, on_time: bool
) -> None:
    answer = await check(client, **query)
    assert (answer["period"], answer["due_at"], answer["on_time"]) == (period, due_at, on_time)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"period": "2023-Q2"}, ("unknown-reference", "/query/period", "wrong_period")),
        ({"period": "2023"}, ("unknown-reference", "/query/period", "wrong_period")),
        ({"period": "2023-04-D2"}, ("unknown-reference", "/query/period", "wrong_period")),
        ({"period": "2023-13"}, ("unknown-reference", "/query/period", "invalid_period")),
        ({"period": "2023-00"}, ("unknown-reference", "/query/period", "invalid_period")),
        ({"period": "2023-W54"}, ("unknown-reference", "/query/period", "invalid_period")),
        ({"period": "0000-01"}, ("unknown-reference", "/query/period", "invalid_period")),
        ({"period": "四月"}, ("invalid-request", "/query/period", "string_pattern_mismatch")),
        ({"unit": "县税务局", "period": "2023-04"}, ("unknown-reference", "/query/unit", "not_owed")),
        ({"unit": "县教育局", "period": "2024-01"}, ("unknown-reference", "/query/unit", "not_owed")),
        ({"unit": "没有的局", "period": "2023-04"}, ("unknown-unit", "/query/unit", "unknown_unit")),
        ({"rule": "no-such-rule"}, ("unknown-reference", "/query/rule", "unknown_rule")),
        # A rule that has no schedule is nothing to be late for.
        ({"rule": "six-ones"}, ("unknown-reference", "/query/rule", "unknown_rule")),
        ({"plan": "431228-1999"}, ("unknown-reference", "/query/rule", "unknown_rule")),
        ({"at": "2023-04-20T23:59:59"}, ("invalid-request", "/query/at", "value_error")),
        ({"at": "1682006399"}, ("invalid-request", "/query/at", "value_error")),
        ({"at": "1682006399.5"}, ("invalid-request", "/query/at", "value_error")),
        ({"at": "2023-04-20"}, ("invalid-request", "/query/at", "value_error")),
        ({"at": ""}, ("invalid-request", "/query/at", "value_error")),
        ({"at": "2023-04-20 23:59:59+08:00"}, ("invalid-request", "/query/at", "value_error")),
        ({"at": "昨天"}, ("invalid-request", "/query/at", "value_error")),
    ],
)
async def test_what_cannot_be_answered_is_refused(
    client: httpx.AsyncClient, query: dict[str, str], problem: tuple[str, str, str]
) -> None:
    assert await refused(client, CHECK, **{"rule": "monthly-form", **query}) == problem


@pytest.mark.parametrize("at", ["2023-02-30T00:00:00+08:00", "2023-04-20T25:00:00Z", "2023-04-20T23:59:59+99:00"])
async def test_an_instant_that_does_not_exist_is_refused(client: httpx.AsyncClient, at: str) -> None:
    for path, name in ((CHECK, "at"), (OBLIGATIONS, "as_of")):
        rule = {"rule": "monthly-form", name: at}
        assert (await refused(client, path, **rule))[:2] == ("invalid-request", f"/query/{name}")


@pytest.mark.parametrize(
    "at",
    [
        "0001-01-01T00:00:00+08:00",
        pytest.param("1900-01-01T00:00:00+14:00"),
        "9999-12-31T23:59:59-08:00",
        "1500-01-01T00:00:00Z",
    ],
)
async def test_an_instant_out_of_reach_is_refused_or_answered(client: httpx.AsyncClient, at: str) -> None:
    for path, name in ((CHECK, "at"), (OBLIGATIONS, "as_of")):
        answer = await client.get(path, params={"rule": "monthly-form", name: at})
        assert answer.status_code in {200, 422}


async def test_a_missing_rule_and_an_unknown_parameter_are_refused(client: httpx.AsyncClient) -> None:
    assert await refused(client, CHECK) == ("invalid-request", "/query/rule", "missing")
    assert (await refused(client, CHECK, rule="monthly-form", when="now"))[2] == "extra_forbidden"


async def test_the_check_counts_an_extension_of_the_unit_once_it_is_granted(own: Own) -> None:
    extended = "2023-04-25T23:59:59.999999+08:00"
    await own.extend("2023-04-19T09:00:00+08:00", extended)
    late = {"unit": EDUCATION, "at": "2023-04-21T00:00:00+08:00"}
    # One task was extended; the form of the unit is on time only when the others are, too.
    assert not (await check(own.client, **late))["on_time"]
    await own.connection.execute("UPDATE extensions SET task_id = NULL")
    await own.connection.execute(
        "UPDATE obligations o SET effective_due_at = e.due_at FROM extensions e "
        "WHERE (o.unit_id, o.rule_id, o.period) = (e.unit_id, e.rule_id, e.period)"
    )
    answer = await check(own.client, **late)
    assert (answer["due_at"], answer["original_due_at"], answer["on_time"]) == (extended, DUE, True)
    assert answer["remaining_seconds"] == 431999
    assert "经批准延至 2023年4月25日24时" in answer["explanation"]
    # Neither another unit nor nobody in particular has it.
    assert not (await check(own.client, at=late["at"]))["on_time"]
    assert not (await check(own.client, at=late["at"], unit="431228-rsj"))["on_time"]
    earlier = await check(own.client, unit=EDUCATION, at="2023-04-19T08:59:59+08:00")
    assert earlier["due_at"] == DUE


# What is owed --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "total"),
    [
        ({}, 819),
        ({"rule": "monthly-form"}, 252),
        ({"rule": "no-such-rule"}, 0),
        ({"plan": "431228-2023"}, 819),
        ({"plan": "431228-2024"}, 0),
        ({"battle": "431228-2023-6"}, 264),
        ({"battle": "431228-2023-1"}, 39),
        ({"unit": EDUCATION}, 37),
        ({"unit": "县教育局"}, 37),
        ({"unit": "县税务局"}, 0),
        ({"task": HIGH_SCHOOL}, 9),
        ({"task": "431228-2023-6-1-10"}, 45),
        ({"period": "2023-04"}, 70),
        ({"period": "2023"}, 36),
        ({"period": "2023-Q2"}, 6),
        ({"rule": "monthly-form", "period": "2023-12"}, 28),
        ({"rule": "monthly-form", "unit": EDUCATION, "period": "2023-04"}, 3),
        ({"unit": EDUCATION, "task": HIGH_SCHOOL, "period": "2023-04"}, 1),
        ({"status": "missed", "as_of": "2023-05-21T00:00:00+08:00"}, 43),
        ({"status": "upcoming", "rule": "experience-case", "as_of": "2023-05-21T00:00:00+08:00"}, 36),
        ({"status": "waived"}, 0),
    ],
)
async def test_filters_and_the_total(client: httpx.AsyncClient, query: dict[str, str], total: int) -> None:
    answer = (await client.get(OBLIGATIONS, params={**query, "limit": "7", "include_total": "true"})).json()
    assert answer["total"] == total
    assert len(answer["items"]) == min(total, 7)
    found = await every_item(client, 200, **query)
    assert len(found) == total
    for item in found:
        for name in ("rule", "plan", "battle", "task", "period", "status"):
            assert item[name] == query.get(name, item[name])
        assert "unit" not in query or query["unit"] in item["unit"].values()


async def test_any_printed_name_of_a_unit_filters_alike(client: httpx.AsyncClient) -> None:
    owed = await items(client, unit="县住房城乡建设局", as_of=DUE)
    assert owed
    assert {item["unit"]["unit"] for item in owed} == {"431228-zjj"}
    for name in ("县住建局", "县住房和城乡建设局", "431228-zjj"):
        assert await items(client, unit=name, as_of=DUE) == owed


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"period": "2023-13"}, ("unknown-reference", "/query/period", "invalid_period")),
        ({"unit": "没有的局"}, ("unknown-unit", "/query/unit", "unknown_unit")),
        ({"status": "done"}, ("invalid-request", "/query/status", "enum")),
        ({"as_of": "2023-04-20T23:59:59"}, ("invalid-request", "/query/as_of", "value_error")),
        ({"as_of": "1682006399"}, ("invalid-request", "/query/as_of", "value_error")),
        ({"cursor": "abc"}, ("invalid-cursor", "/query/cursor", "invalid_cursor")),
        ({"sort": "unit"}, ("invalid-request", "/query/sort", "literal_error")),
        ({"limit": "501"}, ("invalid-request", "/query/limit", "less_than_equal")),
    ],
)
async def test_a_wrong_filter_is_refused(
    client: httpx.AsyncClient, query: dict[str, str], problem: tuple[str, str, str]
) -> None:
    assert await refused(client, OBLIGATIONS, **query) == problem


@pytest.mark.parametrize("sort", ["due_at", "-due_at"])
@pytest.mark.parametrize("limit", [23, 100, 500])
async def test_pages_give_every_row_once_in_order(client: httpx.AsyncClient, sort: str, limit: int) -> None:
    found = await every_item(client, limit, sort=sort, as_of=DUE)
    assert len(found) == 819
    assert len({key_of(item) for item in found}) == 819
    instants = [datetime.fromisoformat(item["due_at"]) for item in found]
    assert instants == sorted(instants, reverse=sort == "-due_at")
    assert found == await every_item(client, 500, sort=sort, as_of=DUE)
    if sort == "-due_at":
        assert found == list(reversed(await every_item(client, 500, as_of=DUE)))


async def test_pages_of_one_status_give_every_row_once(client: httpx.AsyncClient) -> None:
    query = {"rule": "monthly-form", "status": "overdue", "as_of": "2023-04-21T00:00:00+08:00"}
    found = await every_item(client, 5, **query)
    assert len({key_of(item) for item in found}) == len(found) == 28


# How it stood --------------------------------------------------------------------------------------------------------

SOON = "2023-04-15T23:59:59.999999+08:00"


@pytest.mark.parametrize(
    ("as_of", "status", "late_by"),
    [
        ("2023-01-01T00:00:00+08:00", "upcoming", None),
        (before(SOON), "upcoming", None),
        (SOON, "upcoming", None),
        (after(SOON), "due_soon", None),
        ("2023-04-20T23:59:59+08:00", "due_soon", None),
        (DUE, "due_soon", None),
        (after(DUE), "overdue", 1),
        ("2023-04-20T16:00:00Z", "overdue", 1),
        ("2023-04-21T00:00:01+08:00", "overdue", 2),
        (LOCK, "overdue", 30 * 86400),
        (after(LOCK), "missed", 30 * 86400 + 1),
    ],
)
async def test_the_status_changes_at_its_instants(
    client: httpx.AsyncClient, as_of: str, status: str, late_by: int | None
) -> None:
    rows = await items(client, rule="monthly-form", period="2023-04", as_of=as_of)
    assert len(rows) == 28
    assert {(row["status"], row["late_by_seconds"]) for row in rows} == {(status, late_by)}
    assert {row["late_stage"] for row in rows} == {"unit" if late_by else None}
    assert {(row["due_at"], row["effective_due_at"], row["lock_at"]) for row in rows} == {(DUE, DUE, LOCK)}
    for name in ("upcoming", "due_soon", "on_time", "late", "overdue", "missed", "waived"):
        of_status = await items(client, rule="monthly-form", period="2023-04", as_of=as_of, status=name)
        assert of_status == (rows if name == status else [])


async def test_a_filing_later_than_the_instant_is_not_known_yet(own: Own) -> None:
    await own.fact(submitted_at="2023-04-18T10:00:00+08:00", filed_at="2023-04-20T09:00:00+08:00")
    item = await own.shown(before("2023-04-18T10:00:00+08:00"))
    assert (item["status"], item["submitted_at"], item["filed_at"]) == ("due_soon", None, None)
    item = await own.shown("2023-04-20T08:59:59+08:00")
    assert (item["status"], item["submitted_at"], item["filed_at"]) == ("due_soon", "2023-04-18T10:00:00+08:00", None)
    assert "尚待评估认定" in item["explanation"]
    item = await own.shown("2023-04-20T09:00:00+08:00")
    assert (item["status"], item["filed_at"], item["on_time_originally"]) == (
        "on_time",
        "2023-04-20T09:00:00+08:00",
        True,
    )
    filed = {"period": "2023-04", "status": "on_time"}
    assert await items(own.client, **filed, as_of="2023-04-20T08:59:59+08:00") == []
    assert [row["task"] for row in await items(own.client, **filed)] == [HIGH_SCHOOL]


async def test_a_report_late_by_certification_says_so(own: Own) -> None:
    await own.fact(submitted_at="2023-04-18T10:00:00+08:00", filed_at="2023-04-21T09:00:00+08:00")
    item = await own.shown("2023-06-01T00:00:00+08:00")
    assert (item["status"], item["late_stage"], item["late_by_seconds"]) == ("late", "certification", 9 * 3600 + 1)
    assert item["on_time_originally"] is False
    assert "迟在评估认定" in item["explanation"]
    waiting = await own.shown(after(DUE))
    assert (waiting["status"], waiting["late_stage"]) == ("overdue", "certification")
    await own.fact(submitted_at=after(DUE))
    item = await own.shown("2023-06-01T00:00:00+08:00")
    assert (item["status"], item["late_stage"]) == ("late", "unit")


async def test_an_extension_moves_the_status_and_both_due_instants_are_shown(own: Own) -> None:
    extended = "2023-04-25T23:59:59.999999+08:00"
    granted = "2023-04-22T09:00:00+08:00"
    await own.extend(granted, extended)
    item = await own.shown(before(granted))
    assert (item["status"], item["effective_due_at"], item["extension"]) == ("overdue", DUE, None)
    item = await own.shown(granted)
    assert (item["status"], item["due_at"], item["effective_due_at"]) == ("due_soon", DUE, extended)
    assert item["extension"]["reason"] == "设备故障"
    assert item["extension"]["approver"] == "县重点民生实事办"
    assert datetime.fromisoformat(item["extension"]["due_at"]) == datetime.fromisoformat(extended)
    assert datetime.fromisoformat(item["extension"]["granted_at"]) == datetime.fromisoformat(granted)
    assert "经批准延至 2023年4月25日24时" in item["explanation"]
    assert item["on_time_originally"] is False
    assert (await own.shown(extended))["status"] == "due_soon"
    assert (await own.shown(after(extended)))["status"] == "overdue"
    assert (await own.shown(after(LOCK)))["status"] == "missed"
    await own.fact(submitted_at="2023-04-24T09:00:00+08:00", filed_at="2023-04-24T09:00:00+08:00")
    item = await own.shown("2023-06-01T00:00:00+08:00")
    assert (item["status"], item["on_time_originally"]) == ("on_time", False)
    # The other reports of the unit have no part in it.
    others = await items(own.client, unit=EDUCATION, rule="monthly-form", period="2023-04", as_of=extended)
    assert sorted((row["task"] == HIGH_SCHOOL, row["status"]) for row in others) == [
        (False, "overdue"),
        (False, "overdue"),
        (True, "on_time"),
    ]


async def test_an_extension_beyond_the_lock_moves_the_lock_along(own: Own) -> None:
    extended = "2023-06-05T23:59:59.999999+08:00"
    await own.extend("2023-05-10T09:00:00+08:00", extended)
    item = await own.shown(after(LOCK))
    assert (item["status"], item["lock_at"]) == ("upcoming", LOCK)
    assert (await own.shown(extended))["status"] == "due_soon"
    assert (await own.shown(after(extended)))["status"] == "missed"


async def test_the_last_extension_granted_by_then_holds(own: Own) -> None:
    first, second = "2023-04-25T23:59:59.999999+08:00", "2023-04-28T23:59:59.999999+08:00"
    await own.extend("2023-04-19T09:00:00+08:00", first)
    await own.extend("2023-04-24T09:00:00+08:00", second)
    assert (await own.shown("2023-04-18T00:00:00+08:00"))["effective_due_at"] == DUE
    assert (await own.shown("2023-04-20T00:00:00+08:00"))["effective_due_at"] == first
    assert (await own.shown("2023-04-24T09:00:00+08:00"))["effective_due_at"] == second


@pytest.mark.parametrize("kind", ["exempt", "nil"])
async def test_a_waiver_frees_from_its_instant_on(own: Own, kind: str) -> None:
    granted = "2023-04-22T09:00:00+08:00"
    await own.waive(granted, kind)
    item = await own.shown(before(granted))
    assert (item["status"], item["waiver"]) == ("overdue", None)
    item = await own.shown(granted)
    assert (item["status"], item["waiver"]["kind"]) == ("waived", kind)
    assert (item["late_by_seconds"], item["late_stage"], item["on_time_originally"]) == (None, None, None)
    assert item["explanation"].endswith("已批准免报")
    waived = await items(own.client, status="waived", as_of="2023-06-01T00:00:00+08:00")
    assert [row["task"] for row in waived] == [HIGH_SCHOOL]


async def test_the_answer_of_a_past_instant_stays_what_it_was(own: Own) -> None:
    instants = ["2023-04-10T00:00:00+08:00", DUE, after(DUE), "2023-05-01T00:00:00+08:00"]

    async def answers(until: str) -> list[tuple[bytes, str]]:
        paths = [
            (OBLIGATIONS, {"period": "2023-04", "include_total": "true", "as_of": at}) for at in instants if at <= until
        ] + [(OBLIGATIONS, {"status": "overdue", "limit": "500", "as_of": at}) for at in instants if at <= until]
        paths += [(CHECK, {"rule": "monthly-form", "unit": EDUCATION, "at": at}) for at in instants if at <= until]
        found = [await own.client.get(path, params=query) for path, query in paths]
        assert {answer.status_code for answer in found} == {200}
        return [(answer.content, answer.headers["etag"]) for answer in found]

    until = instants[-1]
    known = await answers(until)
    await own.fact(submitted_at="2023-05-02T09:00:00+08:00")
    assert await answers(until) == known
    await own.extend("2023-05-03T09:00:00+08:00", "2023-05-25T23:59:59.999999+08:00")
    assert await answers(until) == known
    await own.fact(filed_at="2023-05-04T09:00:00+08:00")
    assert await answers(until) == known
    await own.extend("2023-05-05T09:00:00+08:00", "2023-06-25T23:59:59.999999+08:00")
    assert await answers(until) == known
    await own.waive("2023-05-06T09:00:00+08:00", "exempt")
    assert await answers(until) == known
    assert (await own.shown("2023-05-06T09:00:00+08:00"))["status"] == "waived"


async def test_an_unchanged_answer_is_304(client: httpx.AsyncClient) -> None:
    for path, name in ((CHECK, "at"), (OBLIGATIONS, "as_of")):
        query = {"rule": "monthly-form", name: DUE}
        first = await client.get(path, params=query)
        again = await client.get(path, params=query, headers={"If-None-Match": first.headers["etag"]})
        assert (first.status_code, again.status_code, again.content) == (200, 304, b"")


# What it costs -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def counting(database: str) -> AsyncGenerator[tuple[httpx.AsyncClient, CountingDatabase]]:
    app = create_app(Settings(database_url=database))
    lifespan = app.router.lifespan_context
    pools: list[CountingDatabase] = []

    @asynccontextmanager
    async def counted(of: FastAPI) -> AsyncGenerator[dict[str, Any]]:
        async with lifespan(of) as state:
            pools.append(CountingDatabase(state["reader"].pool))
            yield {**state, "reader": Reader(pools[0], FragmentCache(0))}

    app.router.lifespan_context = counted
    async with serving(app) as client:
        yield client, pools[0]


@pytest.mark.parametrize(
    ("query", "statements"),
    [
        ("", 1),
        ("rule=monthly-form&period=2023-04", 1),
        ("status=overdue&as_of=2023-04-21T00:00:00Z", 1),
        # The unit's name first.
        ("unit=县教育局", 2),
        # The total last.
        ("include_total=true", 2),
        ("unit=县教育局&include_total=true", 3),
    ],
)
async def test_a_page_costs_a_constant_number_of_statements(database: str, query: str, statements: int) -> None:
    async with counting(database) as (client, pool):
        counts = set[int]()
        for limit in (1, 50, 500):
            pool.statements.clear()
            answer = await client.get(f"{OBLIGATIONS}?limit={limit}&{query}")
            assert answer.status_code == 200, answer.text
            counts.add(len(pool.statements))
            if answer.json()["next_cursor"]:
                pool.statements.clear()
                await client.get(f"{OBLIGATIONS}?limit={limit}&{query}&cursor={answer.json()['next_cursor']}")
                counts.add(len(pool.statements))
        assert counts == {statements}


@pytest.mark.parametrize(("query", "statements"), [("", 1), ("&unit=县教育局", 3)])
async def test_a_check_costs_few_statements(database: str, query: str, statements: int) -> None:
    async with counting(database) as (client, pool):
        answer = await client.get(f"{CHECK}?rule=monthly-form&at=2023-04-20T00:00:00Z{query}")
        assert answer.status_code == 200, answer.text
        assert len(pool.statements) == statements
