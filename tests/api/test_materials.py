"""Work bulletin items and experience cases: received, counted, filed by the one that completes a period; refusals."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from app.clock import SHANGHAI
from app.main import create_app
from app.schemas.material import MaterialPage, MaterialReceipt
from app.settings import Settings
from tests.conftest import Clone, serving

PATH = "/api/v1/materials"
TICK = timedelta(microseconds=1)
NOW = datetime(2023, 4, 12, 9, 30, tzinfo=SHANGHAI)
APRIL_DUE = datetime(2023, 4, 30, 23, 59, 59, 999999, tzinfo=SHANGHAI)
APRIL_LOCK = datetime(2023, 5, 31, 23, 59, 59, 999999, tzinfo=SHANGHAI)
ITEM, CASE = "work-bulletin-item", "experience-case"
TOWN, OTHER = "芷江镇", "县妇联"
TEXT = {"rule": ITEM, "unit": TOWN, "title": "集中检查", "content": "本月完成六个乡镇的检查。"}


class Post:
    """A service on a database of its own, and the clock it goes by, which moves on with every text that is sent."""

    def __init__(self, client: httpx.AsyncClient, connection: Any) -> None:
        self.client = client
        self.connection = connection
        self.now = NOW

    def clock(self) -> datetime:
        return self.now

    def at(self, instant: datetime) -> None:
        """Make ``instant`` that of the next request."""
        self.now = instant - TICK

    async def send(self, **changes: Any) -> httpx.Response:
        self.now += TICK
        return await self.client.post(PATH, json={**TEXT, **changes})

    async def sent(self, **changes: Any) -> dict[str, Any]:
        answer = await self.send(**changes)
        assert answer.status_code == 201, answer.text
        assert MaterialReceipt.model_validate_json(answer.content)
        return answer.json()

    async def refused(self, pointer: str, code: str, **changes: Any) -> dict[str, Any]:
        """The problem; nothing is kept of what was sent."""
        before = await self.kept()
        answer = await self.send(**changes)
        body = problem(answer, 422)
        assert [(fault["pointer"], fault["code"]) for fault in body["errors"]] == [(pointer, code)], body
        assert await self.kept() == before
        return body

    async def kept(self) -> tuple[Any, ...]:
        return tuple(
            await self.connection.fetchrow(
                "SELECT (SELECT count(*) FROM materials), (SELECT count(filed_at) FROM obligations), "
                "(SELECT sum(on_time + late) FROM compliance_counts)"
            )
        )

    async def owed(self, rule: str = ITEM, unit: str = TOWN, period: str = "2023-04") -> dict[str, Any]:
        query = {"rule": rule, "unit": unit, "period": period}
        answer = await self.client.get("/api/v1/obligations", params=query)
        assert answer.status_code == 200, answer.text
        (item,) = answer.json()["items"]
        return item

    async def list(self, **query: Any) -> dict[str, Any]:
        answer = await self.client.get(PATH, params=query)
        assert answer.status_code == 200, answer.text
        assert MaterialPage.model_validate_json(answer.content)
        return answer.json()


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["type"].startswith("/problems/")
    assert body["detail"]
    return body


@asynccontextmanager
async def opened(clone: Clone) -> AsyncGenerator[Post]:
    async with clone() as url:
        connection = await asyncpg.connect(url)
        standing: list[Post] = []

        def clock() -> datetime:
            return standing[0].clock()

        try:
            async with serving(create_app(Settings(database_url=url), clock=clock)) as client:
                standing.append(Post(client, connection))
                yield standing[0]
        finally:
            await connection.close()


@pytest_asyncio.fixture
async def post(clone: Clone) -> AsyncGenerator[Post]:
    async with opened(clone) as ready:
        yield ready


@pytest_asyncio.fixture(scope="module")
async def strict(clone: Clone) -> AsyncGenerator[Post]:
    """For tests in which nothing is taken in, so that they can share a database."""
    async with opened(clone) as ready:
        yield ready


# What is taken in ----------------------------------------------------------------------------------------------------


async def test_the_first_item_of_a_month_files_it(post: Post) -> None:
    before = await post.owed()
    assert (before["status"], before["filed_at"]) == ("upcoming", None)
    body = await post.sent()
    assert uuid.UUID(body["id"]).version == 7
    assert (body["rule"], body["plan"], body["period"]) == (ITEM, "431228-2023", "2023-04")
    assert body["unit"]["name"] == TOWN
    assert (body["title"], body["content"]) == (TEXT["title"], TEXT["content"])
    assert body["received_at"] == (NOW + TICK).isoformat()
    assert (body["received"], body["required"]) == (1, 1)
    after = await post.owed()
    assert (after["status"], after["filed_at"], after["submitted_at"]) == ("on_time", *[body["received_at"]] * 2)
    # Nobody else's month, and no other month of the same unit, is filed.
    filed = await post.connection.fetchval("SELECT count(*) FROM obligations WHERE filed_at IS NOT NULL")
    assert filed == 1
    assert (await post.owed(period="2023-05"))["filed_at"] is None
    assert (await post.owed(unit=OTHER))["filed_at"] is None


async def test_the_second_case_of_a_year_files_it(post: Post) -> None:
    first = await post.sent(rule=CASE)
    assert (first["period"], first["received"], first["required"]) == ("2023", 1, 2)
    assert (await post.owed(CASE, period="2023"))["filed_at"] is None
    # Another unit's case counts for that unit, an item for no case.
    assert (await post.sent(rule=CASE, unit=OTHER))["received"] == 1
    assert (await post.sent())["received"] == 1
    assert (await post.owed(CASE, period="2023"))["filed_at"] is None
    second = await post.sent(rule=CASE)
    assert (second["received"], second["required"]) == (2, 2)
    owed = await post.owed(CASE, period="2023")
    assert (owed["status"], owed["filed_at"]) == ("on_time", second["received_at"])


async def test_what_comes_after_a_period_is_complete_leaves_its_filing(post: Post) -> None:
    first = await post.sent()
    post.at(APRIL_DUE + timedelta(days=3))
    again = await post.sent(period="2023-04")
    assert (again["received"], again["required"]) == (2, 1)
    owed = await post.owed()
    assert (owed["status"], owed["filed_at"]) == ("on_time", first["received_at"])


async def test_the_statistics_follow(post: Post) -> None:
    async def counted() -> tuple[int, int]:
        query = {"rule": ITEM, "from": "2023-04", "to": "2023-04", "group_by": "unit"}
        answer = await post.client.get("/api/v1/compliance", params=query)
        assert answer.status_code == 200, answer.text
        rows = answer.json()["items"]
        return sum(row["on_time"] for row in rows), sum(row["late"] for row in rows)

    assert await counted() == (0, 0)
    await post.sent()
    assert await counted() == (1, 0)
    post.at(APRIL_DUE + TICK)
    await post.sent(unit=OTHER, period="2023-04")
    assert await counted() == (1, 1)


async def test_a_rule_version_that_asks_for_more_is_asked_for(post: Post) -> None:
    await post.connection.execute(
        "UPDATE rule_versions SET schedule = schedule || '{\"minimum_count\": 3}' "
        "WHERE rule_id = (SELECT id FROM rules WHERE code = $1)",
        ITEM,
    )
    for received in (1, 2):
        body = await post.sent()
        assert (body["received"], body["required"]) == (received, 3)
        assert (await post.owed())["filed_at"] is None
    assert (await post.sent())["received"] == 3
    assert (await post.owed())["status"] == "on_time"


async def test_a_unit_is_known_by_code_and_by_every_printed_name(post: Post) -> None:
    code = await post.connection.fetchval(
        "SELECT u.code FROM obligations o JOIN units u ON u.id = o.unit_id JOIN rules r ON r.id = o.rule_id "
        "JOIN unit_aliases a ON a.unit_id = u.id WHERE r.code = $1 GROUP BY u.code ORDER BY count(*) DESC LIMIT 1",
        ITEM,
    )
    aliases = (await post.client.get(f"/api/v1/units/{code}")).json()["aliases"]
    assert len(aliases) > 1
    for received, name in enumerate([code, *aliases], 1):
        body = await post.sent(unit=name)
        assert (body["unit"]["unit"], body["received"]) == (code, received)


# Which period --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "period"),
    [
        (datetime(2023, 4, 1, tzinfo=SHANGHAI), "2023-04"),
        (APRIL_DUE, "2023-04"),
        (APRIL_DUE + TICK, "2023-05"),
        (datetime(2023, 12, 31, 23, 59, 59, tzinfo=SHANGHAI), "2023-12"),
    ],
)
async def test_without_a_period_the_clock_of_the_place_says_which(post: Post, at: datetime, period: str) -> None:
    post.at(at)
    assert (await post.sent())["period"] == period
    post.at(at)
    assert (await post.sent(rule=CASE))["period"] == "2023"


@pytest.mark.parametrize("at", [datetime(2023, 3, 31, 12, tzinfo=SHANGHAI), datetime(2024, 1, 1, tzinfo=SHANGHAI)])
async def test_outside_the_periods_of_a_rule_nothing_is_owed(strict: Post, at: datetime) -> None:
    strict.at(at)
    await strict.refused("/body/period", "not_owed")


async def test_a_period_that_is_past_but_open_can_be_named(post: Post) -> None:
    post.at(APRIL_LOCK)
    body = await post.sent(period="2023-04")
    assert body["period"] == "2023-04"
    owed = await post.owed()
    assert (owed["status"], owed["late_stage"]) == ("late", "unit")


async def test_after_the_lock_it_takes_an_extension(post: Post) -> None:
    post.at(APRIL_LOCK + TICK)
    body = await post.refused("/body/period", "locked", period="2023-04")
    assert "延期" in body["detail"]
    until = APRIL_LOCK + timedelta(days=5)
    grant = {"rule": ITEM, "unit": TOWN, "period": "2023-04", "due_at": until.isoformat()}
    answer = await post.client.post("/api/v1/extensions", json={**grant, "reason": "洪灾", "approver": "县政府办"})
    assert answer.status_code == 201, answer.text
    # Whom it was not granted to is locked as before.
    await post.refused("/body/period", "locked", period="2023-04", unit=OTHER)
    post.at(until + TICK)
    await post.refused("/body/period", "locked", period="2023-04")
    post.at(until)
    await post.sent(period="2023-04")
    owed = await post.owed()
    assert (owed["status"], owed["on_time_originally"]) == ("on_time", False)


@pytest.mark.parametrize("period", ["2023-05", "2023-12"])
async def test_a_period_ahead_is_refused(strict: Post, period: str) -> None:
    strict.at(APRIL_DUE)
    await strict.refused("/body/period", "period_ahead", period=period)


@pytest.mark.parametrize("period", ["2023-03", "2024-01", "2023-Q2", "2023", "2023-04-D1", "2023-W15"])
async def test_a_period_that_the_rule_does_not_ask_for_is_not_owed(strict: Post, period: str) -> None:
    strict.at(NOW)
    await strict.refused("/body/period", "not_owed", period=period)


@pytest.mark.parametrize("period", ["2023-13", "2023-00", "2023-W53", "0000"])
async def test_a_period_that_does_not_exist_is_refused(strict: Post, period: str) -> None:
    strict.at(NOW)
    await strict.refused("/body/period", "invalid_period", period=period)


# What is refused -----------------------------------------------------------------------------------------------------


async def test_a_unit_that_owes_none_is_refused(strict: Post) -> None:
    strict.at(NOW)
    unit = await strict.connection.fetchval(
        "SELECT code FROM units WHERE NOT EXISTS (SELECT FROM obligations WHERE unit_id = units.id) LIMIT 1"
    )
    await strict.refused("/body/period", "not_owed", unit=unit)


async def test_what_is_named_must_be_known(strict: Post) -> None:
    strict.at(NOW)
    await strict.refused("/body/rule", "unknown_rule", rule="no-such-rule")
    await strict.refused("/body/rule", "unknown_rule", plan="431228-2024")
    await strict.refused("/body/unit", "unknown_unit", unit="县不存在局")


async def test_rules_that_ask_for_no_material_take_none(strict: Post) -> None:
    """Above all not the monthly form, of which a unit owes several, none of them filed without certification."""
    strict.at(NOW)
    rules = await strict.connection.fetch(
        "SELECT DISTINCT r.code FROM rules r JOIN rule_versions v ON v.rule_id = r.id WHERE r.kind <> 'material'"
    )
    codes = {row["code"] for row in rules}
    assert {"monthly-form", "monthly-dispatch", "livelihood-quarterly-summary"} <= codes
    several = await strict.connection.fetchval(
        "SELECT u.code FROM obligations o JOIN units u ON u.id = o.unit_id JOIN rules r ON r.id = o.rule_id "
        "WHERE r.code = 'monthly-form' AND o.period = '2023-04' GROUP BY u.code HAVING count(*) > 1 LIMIT 1"
    )
    for code in sorted(codes):
        for unit in (several, TOWN):
            body = await strict.refused("/body/rule", "not_material", rule=code, unit=unit)
            assert code in body["detail"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        *(({name: None}, name) for name in ("rule", "unit", "title", "content")),
        *(({name: 7}, name) for name in (*TEXT, "period", "plan")),
        ({"rule": "Monthly Form"}, "rule"),
        ({"rule": "a" * 61}, "rule"),
        ({"unit": ""}, "unit"),
        ({"unit": "县\0局"}, "unit"),
        ({"period": "April"}, "period"),
        ({"period": ""}, "period"),
        ({"plan": "2023"}, "plan"),
        ({"title": "字" * 201}, "title"),
        ({"content": "字" * 50_001}, "content"),
        *(({name: blank}, name) for name in ("title", "content") for blank in ("", " ", "\n\t", "\u3000")),
        ({"received_at": "2023-04-01T00:00:00+08:00"}, "received_at"),
    ],
)
async def test_a_bad_body_is_a_problem(strict: Post, change: dict[str, Any], field: str) -> None:
    strict.at(NOW)
    before = await strict.kept()
    body = problem(await strict.send(**change), 422)
    assert [fault["pointer"] for fault in body["errors"]] == [f"/body/{field}"]
    assert await strict.kept() == before


@pytest.mark.parametrize("name", ["title", "content"])
@pytest.mark.parametrize("text", ["甲\0乙", "\0", "\0甲", "甲\0", " \0 ", "甲\0\0乙"], ids=ascii)
async def test_text_with_a_nul_is_refused(strict: Post, name: str, text: str) -> None:
    strict.at(NOW)
    before = await strict.kept()
    body = problem(await strict.send(**{name: text}), 422)
    assert [fault["pointer"] for fault in body["errors"]] == [f"/body/{name}"]
    assert await strict.kept() == before


@pytest.mark.parametrize("name", ["rule", "unit", "title", "content"])
async def test_a_field_left_out_is_a_problem(strict: Post, name: str) -> None:
    strict.at(NOW)
    answer = await strict.client.post(PATH, json={key: value for key, value in TEXT.items() if key != name})
    (fault,) = problem(answer, 422)["errors"]
    assert fault["pointer"] == f"/body/{name}"


@pytest.mark.parametrize(
    ("content", "status"), [(b"{", 400), (b"", 422), (b"[]", 422), (b"null", 422), (b'"text"', 422), (b"\xff", 400)]
)
async def test_what_is_no_object_is_a_problem(strict: Post, content: bytes, status: int) -> None:
    strict.at(NOW)
    answer = await strict.client.post(PATH, content=content, headers={"Content-Type": "application/json"})
    problem(answer, status)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_other_methods_are_a_problem(strict: Post, method: str) -> None:
    strict.at(NOW)
    problem(await strict.client.request(method, PATH, json=TEXT), 405)


async def test_the_longest_texts_are_taken_as_they_are(post: Post) -> None:
    title, content = "题" * 200, " 文\n" + "字" * 49_996 + "\t"
    body = await post.sent(title=title, content=content)
    assert (body["title"], body["content"]) == (title, content)
    ((item),) = (await post.list())["items"]
    assert (item["title"], item["content"]) == (title, content)


# Two at once ---------------------------------------------------------------------------------------------------------


async def both_waiting(connection: Any) -> None:
    for _ in range(1000):
        if await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") == 2:
            return
        await asyncio.sleep(0.02)
    pytest.fail("they do not wait for each other")


async def held(post: Post, send: Callable[[], Awaitable[httpx.Response]]) -> list[httpx.Response]:
    """The answers to two requests that both had begun before either could count."""
    async with post.connection.transaction():
        await post.connection.execute(
            "SELECT FROM obligations o JOIN rules r ON r.id = o.rule_id AND r.kind = 'material' FOR UPDATE OF o"
        )
        both = [asyncio.ensure_future(send()) for _ in range(2)]
        await both_waiting(post.connection)
    return list(await asyncio.gather(*both))


async def test_two_cases_at_once_complete_the_year_once(post: Post) -> None:
    answers = await held(post, lambda: post.send(rule=CASE))
    assert [answer.status_code for answer in answers] == [201, 201]
    bodies = sorted((answer.json() for answer in answers), key=lambda body: body["received"])
    assert [(body["received"], body["required"]) for body in bodies] == [(1, 2), (2, 2)]
    assert (await post.list(rule=CASE, include_total=True))["total"] == 2
    owed = await post.owed(CASE, period="2023")
    assert (owed["status"], owed["filed_at"]) == ("on_time", bodies[1]["received_at"])


async def test_two_items_at_once_file_the_month_by_the_first(post: Post) -> None:
    answers = await held(post, post.send)
    bodies = sorted((answer.json() for answer in answers), key=lambda body: body["received"])
    assert [body["received"] for body in bodies] == [1, 2]
    assert (await post.list(include_total=True))["total"] == 2
    assert (await post.owed())["filed_at"] == bodies[0]["received_at"]
    assert await post.connection.fetchval("SELECT sum(on_time) FROM compliance_counts") == 1


async def test_many_at_once_are_all_counted(post: Post) -> None:
    answers = await asyncio.gather(*(post.send(title=f"第{number}篇") for number in range(12)))
    assert sorted(answer.json()["received"] for answer in answers) == list(range(1, 13))


# The list ------------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module")
async def shelf(clone: Clone) -> AsyncGenerator[tuple[Post, list[dict[str, Any]]]]:
    """Seven texts of two units, rules and months, as they were answered."""
    async with opened(clone) as post:
        yield post, await filled(post)


async def filled(post: Post) -> list[dict[str, Any]]:
    sent = [await post.sent(title=f"第{number}篇", unit=(TOWN, OTHER)[number % 2]) for number in range(3)]
    sent += [await post.sent(rule=CASE, title="典型", unit=unit) for unit in (TOWN, OTHER)]
    post.at(APRIL_DUE + timedelta(days=1))
    sent += [await post.sent(title="五月", unit=unit) for unit in (TOWN, OTHER)]
    return [{key: body[key] for key in body if key not in {"received", "required"}} for body in sent]


async def test_the_list_shows_what_was_answered_oldest_first(shelf: tuple[Post, list[dict[str, Any]]]) -> None:
    post, sent = shelf
    page = await post.list(include_total=True)
    assert page == {"items": sent, "next_cursor": None, "total": len(sent)}
    assert (await post.list(sort="-id"))["items"] == sent[::-1]


@pytest.mark.parametrize(
    ("query", "keep"),
    [
        ({"rule": ITEM}, lambda body: body["rule"] == ITEM),
        ({"rule": CASE}, lambda body: body["rule"] == CASE),
        ({"rule": "monthly-form"}, lambda _: False),
        ({"plan": "431228-2023"}, lambda _: True),
        ({"plan": "431228-2024"}, lambda _: False),
        ({"unit": TOWN}, lambda body: body["unit"]["name"] == TOWN),
        ({"unit": OTHER}, lambda body: body["unit"]["name"] != TOWN),
        ({"period": "2023-04"}, lambda body: body["period"] == "2023-04"),
        ({"period": "2023"}, lambda body: body["period"] == "2023"),
        ({"period": "2023-06"}, lambda _: False),
        ({"rule": ITEM, "unit": TOWN, "period": "2023-05"}, lambda body: body["title"] == "五月"),
    ],
    ids=lambda value: None if callable(value) else str(value),
)
async def test_filters(shelf: tuple[Post, list[dict[str, Any]]], query: dict[str, str], keep: Any) -> None:
    post, sent = shelf
    expected = [body for body in sent if keep(body)]
    if len(query) == 3:
        expected = [body for body in expected if body["unit"]["name"] == TOWN]
    page = await post.list(**query, include_total=True)
    assert (page["items"], page["total"]) == (expected, len(expected))


@pytest.mark.parametrize("sort", ["id", "-id"])
@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7])
async def test_pages_follow_each_other(shelf: tuple[Post, list[dict[str, Any]]], limit: int, sort: str) -> None:
    post, sent = shelf
    found: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": limit, "sort": sort}
    while True:
        page = await post.list(**query)
        assert 0 < len(page["items"]) <= limit
        found += page["items"]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == (sent if sort == "id" else sent[::-1])


async def test_an_unchanged_list_is_304_until_another_text_comes(post: Post) -> None:
    await post.sent()
    etag = (await post.client.get(PATH)).headers["etag"]
    assert (await post.client.get(PATH, headers={"If-None-Match": etag})).status_code == 304
    await post.sent()
    assert (await post.client.get(PATH, headers={"If-None-Match": etag})).status_code == 200


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("unit=县不存在局", "unit"),
        ("unit=", "unit"),
        ("period=2023-13", "period"),
        ("period=april", "period"),
        ("rule=A B", "rule"),
        ("plan=x", "plan"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("cursor=abc", "cursor"),
        ("sort=title", "sort"),
        ("title=x", "title"),
    ],
)
async def test_a_bad_query_is_a_problem(client: httpx.AsyncClient, query: str, field: str) -> None:
    body = problem(await client.get(f"{PATH}?{query}"), 422)
    assert [fault["pointer"] for fault in body["errors"]] == [f"/query/{field}"]
