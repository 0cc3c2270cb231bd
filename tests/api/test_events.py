"""The stream of events: told in the order of commits, without gaps, to whoever may see them; reminders among them."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text

from app.clock import SHANGHAI
from app.db import Database, Query, open_write_pool
from app.domain.events import EventType
from app.main import create_app
from app.services.events import NewEvent, emit, place
from app.services.reminders import remind
from app.settings import Settings
from tests.conftest import Clone, make_key, serving

CHANGES = "/api/v1/changes"
TASK, UNIT, OTHER = "431228-2023-6-3-4", "431228-jyj", "431228-nyncj"
PLAN, BATTLE = "431228-2023", "431228-2023-6"
SAID = {"stage": "in_progress", "percent_complete": 40}


@dataclass
class Place:
    """A database of one test alone, a clock that it moves, and a pool on which it does what the leader does."""

    url: str
    db: Database
    now: datetime = datetime(2023, 5, 10, 9, 0, tzinfo=SHANGHAI)
    client: httpx.AsyncClient = field(init=False)

    def clock(self) -> datetime:
        return self.now

    async def all(self, **query: Any) -> list[dict[str, Any]]:
        """Every event there is, once the outbox is empty."""
        while await self.db.fetch_value(OUTBOX):  # noqa: ASYNC110 - it is the database that is waited for
            await asyncio.sleep(0.05)
        found: list[dict[str, Any]] = []
        while True:
            page = (await self.client.get(CHANGES, params=query)).json()
            found += page["items"]
            if not page["has_more"]:
                return found
            query["cursor"] = page["next_cursor"]


OUTBOX = Query(text("SELECT count(*) FROM outbox"))


@pytest_asyncio.fixture
async def here(clone: Clone) -> AsyncGenerator[Place]:
    async with clone() as url, open_write_pool(url, size=1) as pool:
        place_ = Place(url, Database(pool))
        async with serving(create_app(Settings(database_url=url), clock=place_.clock)) as client:
            place_.client = client
            yield place_


def new(unit: str = UNIT, n: int = 1) -> NewEvent:
    at = datetime(2023, 5, 10, 9, 0, tzinfo=SHANGHAI)
    return NewEvent(EventType.SUBMITTED, at, PLAN, BATTLE, unit, None, {"period": "2023-04", "revision": n})


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [event["data"]["revision"] for event in events]


async def whole_pass(db: Database, now: datetime, **how: int) -> int:
    """How many events a whole pass raises."""
    return sum([raised async for raised in remind(db, now, **how)])


async def test_every_step_of_a_report_is_told_and_no_draft(here: Place) -> None:
    client = here.client
    report = {"task": TASK, "unit": UNIT, "period": "2023-04", **SAID}
    draft = (await client.post("/api/v1/submissions", json={**report, "submit": False})).json()["id"]
    base = f"/api/v1/submissions/{draft}"
    assert (await client.patch(base, json=SAID)).status_code == 200
    assert await here.all() == []
    for path, body in (
        ("/submit", {}),
        ("/return", {"reason": "核对"}),
        ("/submit", {}),
        ("/certify", {}),
        ("/correct", {**SAID, "reason": "漏计", "submit": False}),
        ("/submit", {}),
    ):
        answer = await client.post(base + path, json=body)
        assert answer.status_code == 200, answer.text
    told = await here.all()
    assert [(event["type"], event["data"]["revision"]) for event in told] == [
        ("submission.submitted", 1),
        ("submission.returned", 1),
        ("submission.submitted", 1),
        ("submission.certified", 1),
        ("submission.corrected", 2),
    ]
    assert {(e["subject"], e["unit"], e["plan"], e["battle"], e["data"]["task"]) for e in told} == {
        (draft, UNIT, PLAN, BATTLE, TASK)
    }
    receipt = (await client.get(f"{base}/receipt")).json()
    assert told[-1]["data"]["content_hash"] == receipt["content_hash"]


async def test_a_report_that_is_handed_in_at_once_is_told_with_its_hash_and_a_refused_one_is_not(here: Place) -> None:
    report = {"task": TASK, "unit": UNIT, "period": "2023-04", **SAID}
    made = (await here.client.post("/api/v1/submissions", json=report)).json()
    assert (await here.client.post("/api/v1/submissions", json=report)).status_code == 409
    wrong = {"items": [{**report, "period": "2023-05"}, {**report, "period": "2023-12"}]}
    await here.client.post("/api/v1/submissions/batch?atomic=true", json=wrong)
    (told,) = await here.all()
    assert (told["subject"], told["type"]) == (made["id"], "submission.submitted")
    assert told["data"]["content_hash"] == made["content_hash"]


async def test_what_becomes_visible_later_never_comes_before_a_cursor_that_was_given_out(here: Place) -> None:
    slow = await asyncpg.connect(here.url)
    try:
        held = slow.transaction()
        await held.start()
        await slow.execute(
            "INSERT INTO outbox (at, type, plan, battle, unit, data) VALUES "
            '(now(), \'submission.submitted\', $1, $2, $3, \'{"period": "2023-04", "revision": 1}\')',
            *(PLAN, BATTLE, UNIT),
        )
        await emit(here.db, [new(n=2)])
        # The one that began later is told at once; nothing waits for the long transaction.
        while not (page := (await here.client.get(CHANGES)).json())["items"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert numbers(page["items"]) == [2]
        await held.commit()
    finally:
        await slow.close()
    after = (await here.client.get(CHANGES, params={"cursor": page["next_cursor"], "wait": 20})).json()
    assert numbers(after["items"]) == [1]
    assert numbers(await here.all()) == [2, 1]


async def test_many_writers_at_once_leave_no_gap_and_no_event_twice(here: Place) -> None:
    async def write(n: int) -> None:
        connection = await asyncpg.connect(here.url)
        try:
            for i in range(10):
                async with connection.transaction():
                    await emit(Database(connection), [new(n=n * 10 + i)])
                    await asyncio.sleep(0.002 * (n % 3))
        finally:
            await connection.close()

    async def poll() -> list[int]:
        seen: list[int] = []
        cursor: dict[str, Any] = {}
        while len(seen) < 60:
            page = (await here.client.get(CHANGES, params={**cursor, "limit": 7, "wait": 5})).json()
            seen += numbers(page["items"])
            cursor = {"cursor": page["next_cursor"]}
        return seen

    _, *_, seen = await asyncio.wait_for(asyncio.gather(*map(write, range(6)), poll()), 60)
    assert sorted(seen) == list(range(60))
    assert all(seen.index(n * 10 + i) < seen.index(n * 10 + i + 1) for n in range(6) for i in range(9))


async def test_a_poller_is_shown_what_it_may_see_and_asked_for(here: Place) -> None:
    await emit(here.db, [new(UNIT, 1), new(OTHER, 2), new(UNIT, 3)])
    assert numbers(await here.all()) == [1, 2, 3]
    assert numbers(await here.all(unit="县教育局", plan=PLAN)) == [1, 3]
    assert await here.all(types="obligation.overdue,extension.granted") == []
    for grant, seen in ((f"reporter:{UNIT}", [1, 3]), (f"coordinator:{PLAN}-1", []), ("supervisor", [1, 2, 3])):
        key = await make_key(here.db, grant, [grant])
        page = await here.client.get(CHANGES, headers={"Authorization": f"Bearer {key}"})
        assert numbers(page.json()["items"]) == seen
        assert page.json()["next_cursor"] == "c3"
        assert page.json()["has_more"] is False


async def test_what_is_opened_to_everyone_is_progress_and_not_what_follows_from_it(here: Place) -> None:
    fault = new(UNIT, 2)
    await emit(here.db, [new(UNIT, 1), replace(fault, type=EventType.FAULT_RECORDED), new(OTHER, 3)])
    await here.all()
    keys = {grant: await make_key(here.db, grant, [grant]) for grant in (f"reporter:{UNIT}", f"reporter:{OTHER}")}
    async with serving(
        create_app(Settings(database_url=here.url, public_progress=True), clock=here.clock), auth=httpx.Auth()
    ) as client:
        for key, seen in (("", [1, 3]), (keys[f"reporter:{UNIT}"], [1, 2, 3]), (keys[f"reporter:{OTHER}"], [1, 3])):
            page = await client.get(CHANGES, headers={"Authorization": f"Bearer {key}"} if key else {})
            assert numbers(page.json()["items"]) == seen


async def test_pages_lead_on_and_the_end_has_a_cursor_too(here: Place) -> None:
    await emit(here.db, [new(n=n) for n in range(5)])
    await here.all()
    first = (await here.client.get(CHANGES, params={"limit": 3})).json()
    assert (numbers(first["items"]), first["has_more"]) == ([0, 1, 2], True)
    second = (await here.client.get(CHANGES, params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert (numbers(second["items"]), second["has_more"]) == ([3, 4], False)
    end = await here.client.get(CHANGES, params={"cursor": second["next_cursor"]})
    assert (end.json()["items"], end.json()["next_cursor"]) == ([], second["next_cursor"])
    again = await here.client.get(
        CHANGES, params={"cursor": second["next_cursor"]}, headers={"If-None-Match": end.headers["etag"]}
    )
    assert again.status_code == 304
    latest = (await here.client.get(CHANGES, params={"cursor": "latest"})).json()
    assert (latest["items"], latest["next_cursor"]) == ([], "c5")


@pytest.mark.parametrize("query", ["cursor=5", "cursor=cx", "cursor=c" + "9" * 30, "wait=31", "types=x", "limit=501"])
async def test_what_is_no_cursor_or_out_of_bounds_is_refused(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"{CHANGES}?{query}")).status_code == 422


async def test_whoever_waits_is_answered_as_soon_as_something_happens(here: Place) -> None:
    waiting = asyncio.create_task(here.client.get(CHANGES, params={"cursor": "latest", "wait": 30}))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    await emit(here.db, [new(n=7)])
    assert numbers((await asyncio.wait_for(waiting, 10)).json()["items"]) == [7]


async def reminded(here: Place, at: str) -> list[tuple[str, str]]:
    """What a pass at an instant newly tells of the one task, by type and due instant."""
    before = len(await here.all())
    here.now = datetime.fromisoformat(at)
    await whole_pass(here.db, here.now, batch=7)
    new_ones = (await here.all())[before:]
    return [(e["type"].removeprefix("obligation."), e["data"]["due_at"][:10]) for e in new_ones if is_task(e)]


def is_task(event: dict[str, Any]) -> bool:
    return (event["data"]["task"], event["data"]["period"], event["unit"]) == (TASK, "2023-05", UNIT)


async def quiet(here: Place) -> None:
    """Let the clock of the service stand, so that its own passes find nothing."""
    await whole_pass(here.db, here.now)
    await here.all()


async def test_due_soon_overdue_and_missed_are_each_raised_once_at_their_instant(here: Place) -> None:
    await quiet(here)
    assert await reminded(here, "2023-05-15T23:59:59+08:00") == []
    assert await reminded(here, "2023-05-16T00:00:01+08:00") == [("due_soon", "2023-05-20")]
    assert await reminded(here, "2023-05-16T00:00:01+08:00") == []
    assert await reminded(here, "2023-05-20T23:59:59+08:00") == []
    assert await reminded(here, "2023-05-21T00:00:00+08:00") == [("overdue", "2023-05-20")]
    assert await reminded(here, "2023-06-20T23:59:59+08:00") == []
    assert await reminded(here, "2023-06-21T00:00:00+08:00") == [("missed", "2023-05-20")]
    assert await reminded(here, "2023-12-01T00:00:00+08:00") == []


async def test_after_downtime_everything_is_caught_up_with_in_order_and_but_once(here: Place) -> None:
    await quiet(here)
    assert await reminded(here, "2023-08-15T00:00:00+08:00") == [("overdue", "2023-05-20"), ("missed", "2023-05-20")]
    await asyncio.gather(*(whole_pass(here.db, here.now + timedelta(days=40)) for _ in range(3)))
    told = [
        (e["type"], e["unit"], e["data"]["task"], e["data"]["period"], e["data"]["due_at"]) for e in await here.all()
    ]
    assert len(told) == len(set(told)) > 300


async def test_a_clock_that_was_put_back_says_nothing_twice(here: Place) -> None:
    await quiet(here)
    assert await reminded(here, "2023-05-21T00:00:00+08:00") == [("overdue", "2023-05-20")]
    await here.db.fetch(Query(text("UPDATE reminder_progress SET reached = '2023-05-11T00:00:00+08:00'")))
    assert await reminded(here, "2023-05-21T00:00:01+08:00") == []


async def test_what_lay_in_the_past_when_the_service_first_ran_raises_nothing(here: Place) -> None:
    await quiet(here)
    assert {event["type"] for event in await here.all()} <= {"obligation.due_soon"}


async def test_filed_and_waived_ones_are_passed_over(here: Place) -> None:
    await quiet(here)
    case = {"rule": "monthly-form", "unit": UNIT, "period": "2023-05", "reason": "汛情", "approver": "甲", "task": TASK}
    assert (await here.client.post("/api/v1/waivers", json={**case, "kind": "nil"})).status_code == 201
    assert await reminded(here, "2023-08-01T00:00:00+08:00") == []


async def test_an_extension_is_told_and_its_due_instant_raises_anew(here: Place) -> None:
    await quiet(here)
    assert await reminded(here, "2023-05-19T00:00:00+08:00") == [("due_soon", "2023-05-20")]
    case = {"rule": "monthly-form", "unit": UNIT, "period": "2023-05", "reason": "汛情", "approver": "甲", "task": TASK}
    answer = await here.client.post("/api/v1/extensions", json={**case, "due_at": "2023-05-22T00:00:00+08:00"})
    assert answer.status_code == 201
    told = [event for event in await here.all() if is_task(event)][-2:]
    assert [(event["type"], event["data"]["due_at"][:10]) for event in told] == [
        ("extension.granted", "2023-05-22"),
        # It lies within the days of reminding already, and no pass looks back.
        ("obligation.due_soon", "2023-05-22"),
    ]
    assert told[0]["subject"] == answer.json()["id"]
    assert await reminded(here, "2023-05-21T12:00:00+08:00") == []
    assert await reminded(here, "2023-05-22T00:00:01+08:00") == [("overdue", "2023-05-22")]


async def test_two_placing_at_once_never_give_one_position_twice(here: Place) -> None:
    """Only the leader places; where two do for a moment, one is refused and nothing is lost."""
    await emit(here.db, [new(n=n) for n in range(20)])
    async with open_write_pool(here.url, size=2) as pool:
        await asyncio.gather(*(place(Database(pool), most=5) for _ in range(4)), return_exceptions=True)
    assert sorted(numbers(await here.all())) == list(range(20))
