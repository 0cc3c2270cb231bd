"""Due instants with who still owes what, and the calendar that phones and Outlook subscribe to."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest
from icalendar import Calendar

from app.main import create_app
from app.schemas.agenda import DeadlinePage
from app.settings import Settings
from tests.conftest import Clone, serving

DEADLINES, CALENDAR = "/api/v1/deadlines", "/api/v1/calendar.ics"
YEAR = {"from": "2023-01-01", "to": "2023-12-31", "limit": "500"}
APRIL = {"from": "2023-04-20", "to": "2023-04-20", "rule": "monthly-form"}
DUE = "2023-04-20T23:59:59.999999+08:00"
SHANGHAI = ZoneInfo("Asia/Shanghai")


async def listed(client: httpx.AsyncClient, **query: str) -> list[dict[str, Any]]:
    answer = await client.get(DEADLINES, params=query)
    assert answer.status_code == 200, answer.text
    assert DeadlinePage.model_validate(answer.json())
    return answer.json()["items"]


async def calendar_of(client: httpx.AsyncClient, **query: str) -> Calendar:
    answer = await client.get(CALENDAR, params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
    lines = answer.content.split(b"\r\n")
    assert lines[-1] == b""
    assert all(len(line) <= 75 and b"\n" not in line for line in lines)
    return Calendar.from_ical(answer.content)


def described(event: Any) -> str:
    return str(event["DESCRIPTION"])


def triggers(event: Any) -> list[datetime]:
    return [event["DTSTART"].dt + alarm["TRIGGER"].dt for alarm in event.walk("VALARM")]


async def test_due_instants_come_in_order_each_once(client: httpx.AsyncClient) -> None:
    items = await listed(client, **YEAR)
    keys = [(item["due_at"], item["rule"], item["period"]) for item in items]
    assert len(set(keys)) == len(keys)
    assert [key[0] for key in keys] == sorted(key[0] for key in keys)
    monthly = [item for item in items if item["rule"] == "monthly-form"]
    assert [item["period"] for item in monthly] == [f"2023-{month:02}" for month in range(4, 13)]
    assert [item["due_at"] for item in monthly] == [
        f"2023-{month:02}-20T23:59:59.999999+08:00" for month in range(4, 13)
    ]
    backwards = await listed(client, **YEAR, sort="-due_at")
    # The explanation tells the time that has passed, which is another one by now.
    assert [(item["due_at"], item["rule"]) for item in backwards] == [(key[0], key[1]) for key in keys[::-1]]


async def test_each_says_who_still_owes_what(client: httpx.AsyncClient) -> None:
    (item,) = await listed(client, **APRIL, as_of="2023-04-18T09:00:00+08:00")
    owed = (await client.get("/api/v1/obligations?rule=monthly-form&period=2023-04&limit=500")).json()["items"]
    assert item["expected"] == item["outstanding_total"] == len(owed) == len(item["outstanding"])
    assert (item["filed"], item["waived"], item["provisional"]) == (0, 0, False)
    shown = [(part["unit"]["unit"], part["task"]) for part in item["outstanding"]]
    assert sorted(shown) == sorted((row["unit"]["unit"], row["task"]) for row in owed)
    assert [unit for unit, _ in shown] == sorted(unit for unit, _ in shown)
    for (unit, task), (next_unit, next_task) in pairwise(shown):
        assert unit != next_unit or [int(n) for n in task.split("-")] < [int(n) for n in next_task.split("-")]
    assert {part["status"] for part in item["outstanding"]} == {"due_soon"}
    assert item["explanation"] == (
        "2023-04 的月进度表应于 2023年4月20日24时前报出;"
        f"截至 2023-04-18 09:00:00 应报 {len(owed)} 份,已报 0 份,未报 {len(owed)} 份"
    )


@pytest.mark.parametrize(
    ("since", "until", "periods"),
    [
        ("2023-04-20", "2023-04-20", ["2023-04"]),
        ("2023-04-21", "2023-05-19", []),
        ("2023-04-21", "2023-05-20", ["2023-05"]),
        ("2023-04-20", "2023-05-20", ["2023-04", "2023-05"]),
        ("0001-01-01", "2023-04-20", ["2023-04"]),
        ("2023-12-20", "9999-12-31", ["2023-12"]),
    ],
)
async def test_both_days_are_part_of_the_span(
    client: httpx.AsyncClient, since: str, until: str, periods: list[str]
) -> None:
    items = await listed(client, **{"from": since, "to": until, "rule": "monthly-form"})
    assert [item["period"] for item in items] == periods


async def test_the_span_begins_on_the_day_of_the_question_and_lasts_sixty_days(client: httpx.AsyncClient) -> None:
    async def periods(**query: str) -> list[str]:
        return [item["period"] for item in await listed(client, rule="monthly-form", **query)]

    # 16:00 in UTC is the next day in Shanghai.
    assert await periods(as_of="2023-04-20T15:59:59Z") == ["2023-04", "2023-05"]
    assert await periods(as_of="2023-04-20T16:00:00Z") == ["2023-05", "2023-06"]
    assert await periods(**{"from": "2023-03-20"}) == ["2023-04"]
    assert await periods(**{"from": "2023-03-21"}) == ["2023-04", "2023-05"]
    assert await periods() == []


async def test_what_is_filed_leaves_the_outstanding_as_of_then(clone: Clone) -> None:
    async with clone() as url, serving(create_app(Settings(database_url=url))) as client:
        connection = await asyncpg.connect(url)
        mine = "rule_id = (SELECT id FROM rules WHERE code = 'monthly-form') AND period = '2023-04'"
        keys = await connection.fetch(f"SELECT id FROM obligations WHERE {mine} ORDER BY id")
        filings = [datetime(2023, 4, day, 10, tzinfo=SHANGHAI) for day in (10, 20, 25)]
        for key, filed in zip(keys, filings, strict=False):
            await connection.execute(
                "UPDATE obligations SET submitted_at = $2, filed_at = $2 WHERE id = $1", key["id"], filed
            )
        await connection.close()
        expected = len(keys)
        for as_of, filed, status in [
            ("2023-04-10T09:59:59+08:00", 0, "upcoming"),
            ("2023-04-10T10:00:00+08:00", 1, "upcoming"),
            ("2023-04-20T12:00:00+08:00", 2, "due_soon"),
            ("2023-04-24T12:00:00+08:00", 2, "overdue"),
            ("2023-06-01T12:00:00+08:00", 3, "missed"),
        ]:
            (item,) = await listed(client, **APRIL, as_of=as_of)
            assert (item["expected"], item["filed"]) == (expected, filed)
            assert item["outstanding_total"] == len(item["outstanding"]) == expected - filed
            assert {part["status"] for part in item["outstanding"]} == {status}


async def test_an_extension_and_a_waiver_count_from_when_they_were_granted(clone: Clone) -> None:
    async with clone() as url, serving(create_app(Settings(database_url=url))) as client:
        (before,) = await listed(client, **APRIL, as_of="2023-04-18T09:00:00+08:00")
        late, *_, free = before["outstanding"]
        assert late["unit"] != free["unit"]
        connection = await asyncpg.connect(url)
        for table, columns, values, effect, part in [
            ("extensions", "due_at", "'2023-04-25T17:00+08'", "effective_due_at = '2023-04-25T17:00+08'", late),
            ("waivers", "kind", "'exempt'", "waived_at = '2023-04-19T10:00+08'", free),
        ]:
            unit = f"(SELECT id FROM units WHERE code = '{part['unit']['unit']}')"
            rule = "(SELECT id FROM rules WHERE code = 'monthly-form')"
            await connection.execute(
                f"INSERT INTO {table} (unit_id, id, rule_id, period, {columns}, reason, approver, granted_at) "
                f"VALUES ({unit}, gen_random_uuid(), {rule}, '2023-04', {values}, '汛情', '甲', '2023-04-19T10:00+08')"
            )
            await connection.execute(
                f"UPDATE obligations SET {effect} WHERE unit_id = {unit} AND rule_id = {rule} AND period = '2023-04'"
            )
        await connection.close()
        span = {"from": "2023-04-20", "to": "2023-04-30", "rule": "monthly-form"}
        assert await listed(client, **span, as_of="2023-04-18T09:00:00+08:00") == [before]
        items = await listed(client, **span, as_of="2023-04-22T09:00:00+08:00")
        assert [item["due_at"] for item in items] == [DUE, "2023-04-25T17:00:00+08:00"]
        assert sum(item["expected"] for item in items) == before["expected"]
        first, second = items
        assert {part["unit"]["unit"] for part in second["outstanding"]} == {late["unit"]["unit"]}
        assert {part["status"] for part in second["outstanding"]} == {"due_soon"}
        assert "经批准延至 2023年4月25日 17:00:00前报出" in second["explanation"]
        assert first["waived"] > 0
        assert f"免报 {first['waived']} 份" in first["explanation"]
        assert first["outstanding_total"] == len(first["outstanding"]) == first["expected"] - first["waived"]
        units = {part["unit"]["unit"] for part in first["outstanding"]}
        assert units.isdisjoint({late["unit"]["unit"], free["unit"]["unit"]})

        only = {"rule": "monthly-form"}
        moved = (await calendar_of(client, **only, unit=late["unit"]["unit"])).walk("VEVENT")[0]
        assert moved["DTEND"].dt == datetime(2023, 4, 25, 17, tzinfo=SHANGHAI)
        assert moved["DTSTAMP"].dt == datetime(2023, 4, 19, 10, tzinfo=SHANGHAI)
        assert len((await calendar_of(client, **only, unit=free["unit"]["unit"])).walk("VEVENT")) == 8
        whole = (await calendar_of(client, **only)).walk("VEVENT")[0]
        assert whole["DTEND"].dt == datetime(2023, 4, 21, tzinfo=SHANGHAI)
        assert f"({late['unit']['name']},延至 2023年4月25日 17:00:00)" in described(whole)
        assert free["task"] not in described(whole)


@pytest.mark.parametrize("sort", ["due_at", "-due_at"])
async def test_pages_give_every_due_instant_once(client: httpx.AsyncClient, sort: str) -> None:
    whole = await listed(client, **YEAR, sort=sort)
    pages: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        query = {**YEAR, "limit": "4", "sort": sort, "include_total": "true", **({"cursor": cursor} if cursor else {})}
        page = (await client.get(DEADLINES, params=query)).json()
        assert page["total"] == len(whole)
        pages += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    without_time = [{**item, "explanation": "", "outstanding": []} for item in whole]
    assert [{**item, "explanation": "", "outstanding": []} for item in pages] == without_time


async def test_any_name_of_a_unit_finds_its_deadlines(client: httpx.AsyncClient) -> None:
    (found,) = (await client.get("/api/v1/units", params={"q": "县住房和城乡建设局"})).json()["items"]
    by_code = await listed(client, **YEAR, unit=found["code"], as_of="2023-04-01T00:00:00Z")
    assert by_code
    assert len(found["aliases"]) > 1
    for name in (found["name"], *found["aliases"]):
        assert await listed(client, **YEAR, unit=name, as_of="2023-04-01T00:00:00Z") == by_code
    assert all(part["unit"]["unit"] == found["code"] for item in by_code for part in item["outstanding"])
    assert all(item["expected"] == len(item["outstanding"]) for item in by_code)


async def test_filters_narrow_the_list(client: httpx.AsyncClient) -> None:
    every = await listed(client, **YEAR)
    monthly = await listed(client, **YEAR, rule="monthly-form", as_of="2023-04-01T00:00:00Z")
    assert 0 < len(monthly) < len(every)
    scope = {**YEAR, "rule": "monthly-form", "as_of": "2023-04-01T00:00:00Z"}
    assert await listed(client, **scope, battle="431228-2023-6", plan="431228-2023") == monthly
    assert await listed(client, **YEAR, battle="431228-2023-1", rule="monthly-form") == []


@pytest.mark.parametrize(
    ("path", "query", "pointer"),
    [
        (DEADLINES, "from=2023-05-01&to=2023-04-30", "/query/to"),
        (DEADLINES, "to=2023-04-30&as_of=2023-05-01T00:00:00%2B08:00", "/query/to"),
        (DEADLINES, "from=20230501", "/query/from"),
        (DEADLINES, "from=2023-02-29", "/query/from"),
        (DEADLINES, "to=2023-05-01T00:00:00", "/query/to"),
        (DEADLINES, "from_=2023-05-01", "/query/from_"),
        (DEADLINES, "unit=没有的单位", "/query/unit"),
        (DEADLINES, "rule=no-such-rule", "/query/rule"),
        (DEADLINES, "cursor=AAAA", "/query/cursor"),
        (CALENDAR, "unit=没有的单位", "/query/unit"),
        (CALENDAR, "rule=no-such-rule", "/query/rule"),
        (CALENDAR, "unit=431228-fgj&rule=no-such-rule", "/query/rule"),
        (CALENDAR, "plan=431228-2024", "/query/plan"),
        (CALENDAR, "from=2023-05-01", "/query/from"),
    ],
)
async def test_what_means_nothing_is_refused(client: httpx.AsyncClient, path: str, query: str, pointer: str) -> None:
    answer = await client.get(f"{path}?{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert pointer in [fault["pointer"] for fault in answer.json()["errors"]]


@pytest.mark.parametrize("path", [f"{DEADLINES}?from=2023-04-01&as_of=2023-04-18T09:00:00Z", CALENDAR])
async def test_an_unchanged_answer_is_304(client: httpx.AsyncClient, path: str) -> None:
    first = await client.get(path)
    again = await client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]


async def test_a_unit_has_one_event_for_each_report_it_owes(client: httpx.AsyncClient) -> None:
    owed = (await client.get("/api/v1/obligations?unit=县教育局&limit=500")).json()["items"]
    calendar = await calendar_of(client, unit="县教育局")
    events = calendar.walk("VEVENT")
    uids = [str(event["UID"]) for event in events]
    code = owed[0]["unit"]["unit"]
    assert set(uids) == {f"{row['rule']}-{row['period']}-{code}@liuzhang" for row in owed}
    assert len(uids) == len(set(uids))
    assert calendar["METHOD"] == "PUBLISH"
    assert calendar["X-WR-CALNAME"] == "县教育局报送期限"
    assert calendar["REFRESH-INTERVAL"].dt == timedelta(hours=6)
    assert calendar["REFRESH-INTERVAL"].params == {"VALUE": "DURATION"}
    assert [str(zone["TZID"]) for zone in calendar.walk("VTIMEZONE")] == ["Asia/Shanghai"]
    assert not calendar.get_missing_tzids()


async def test_an_event_is_the_last_hour_with_two_reminders(client: httpx.AsyncClient) -> None:
    calendar = await calendar_of(client, unit="县教育局", rule="monthly-form")
    assert calendar["X-WR-CALNAME"] == "县教育局月进度表期限"
    events = calendar.walk("VEVENT")
    assert len(events) == 9
    event = events[0]
    assert event["SUMMARY"] == "月进度表 2023-04 截止"
    assert event["DTSTART"].params["TZID"] == event["DTEND"].params["TZID"] == "Asia/Shanghai"
    assert event["DTSTART"].dt == datetime(2023, 4, 20, 23, tzinfo=SHANGHAI)
    assert event["DTEND"].dt == datetime(2023, 4, 21, tzinfo=SHANGHAI)
    assert event["DTSTAMP"].dt == datetime(2023, 3, 27, tzinfo=SHANGHAI)
    # Five days are the 16th to the 20th.
    assert triggers(event) == [datetime(2023, 4, day, 9, tzinfo=SHANGHAI) for day in (16, 20)]
    assert all(alarm["TRIGGER"].dt < timedelta() for alarm in event.walk("VALARM"))
    text = described(event)
    assert text.startswith("县教育局应于 2023年4月20日24时前报出 2023-04 的月进度表\n任务(")
    assert "送:县重点民生实事办、市直主管部门" in text
    assert "评估认定:县统计局" in text
    owed = (await client.get("/api/v1/obligations?unit=县教育局&rule=monthly-form&period=2023-04")).json()["items"]
    assert all(row["task"] in text for row in owed)


async def test_without_a_unit_everybody_is_in_one_event(client: httpx.AsyncClient) -> None:
    events = (await calendar_of(client)).walk("VEVENT")
    # The last bulletins of the year are due in the next.
    deadlines = await listed(client, **{**YEAR, "to": "2024-01-31"})
    assert [str(event["UID"]) for event in events] == [
        f"{item['rule']}-{item['period']}-{item['plan']}@liuzhang" for item in deadlines
    ]
    materials = next(event for event in events if str(event["UID"]).startswith("work-bulletin-item"))
    assert "、" in described(materials)
    assert "单位(" in described(materials)
    assert [event.to_ical() for event in (await calendar_of(client, plan="431228-2023")).walk("VEVENT")] == [
        event.to_ical() for event in events
    ]


async def test_what_is_filed_no_longer_reminds(clone: Clone) -> None:
    async with clone() as url, serving(create_app(Settings(database_url=url))) as client:
        path = f"{CALENDAR}?unit=县教育局&rule=monthly-form"
        before = await client.get(path)
        connection = await asyncpg.connect(url)
        await connection.execute(
            "UPDATE obligations SET submitted_at = $1, filed_at = $1 WHERE period = '2023-04' "
            "AND unit_id = (SELECT unit_id FROM unit_aliases WHERE name = '县教育局')",
            datetime(2023, 4, 18, 10, tzinfo=SHANGHAI),
        )
        await connection.close()
        after = await client.get(path, headers={"If-None-Match": before.headers["etag"]})
        assert after.status_code == 200
        first, second, *_ = Calendar.from_ical(after.content).walk("VEVENT")
        assert not triggers(first)
        assert "(已报出)" in described(first)
        assert first["DTEND"].dt == datetime(2023, 4, 21, tzinfo=SHANGHAI)
        assert first["DTSTAMP"].dt == datetime(2023, 4, 18, 10, tzinfo=SHANGHAI)
        assert len(triggers(second)) == 2
        uids = [[event["UID"] for event in Calendar.from_ical(seen.content).walk("VEVENT")] for seen in (before, after)]
        assert uids[0] == uids[1]
