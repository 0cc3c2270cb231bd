"""Tasks that call for a supervision order: which, since when, why, and whether one is open, as of any instant."""

from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.clock import SHANGHAI
from app.main import create_app
from app.schemas.case import CandidatesRead
from app.settings import Settings
from tests.conftest import KEYS, Clone, CountingDatabase, nobody_leads, serving

PLAN, BATTLE = "431228-2023", "431228-2023-6"
TASK, UNIT = "431228-2023-6-3-4", "431228-jyj"
GOOD, BY = "431228-2023-6-3-3", "431228-nyncj"
PATH = "/api/v1/supervision/candidates"


class Office:
    """A service on a database of its own, and the clock it goes by."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.now = datetime(2023, 5, 10, 9, 0, tzinfo=SHANGHAI)

    async def post(self, path: str, body: dict[str, Any], key: str = "everything") -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {KEYS[key]}"}
        answer = await self.client.post(f"/api/v1{path}", json=body, headers=headers)
        assert answer.is_success, answer.text
        return answer.json()

    async def report(self, task: str, unit: str, period: str, percent: int, *, certify: bool = True) -> None:
        body = {"task": task, "unit": unit, "period": period, "percent_complete": percent, "stage": "in_progress"}
        made = await self.post("/submissions", body)
        if certify:
            await self.post(f"/submissions/{made['id']}/certify", {}, "certifier")

    async def found(self, **query: Any) -> dict[tuple[str, str], dict[str, Any]]:
        given = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in query.items()}
        answer = await self.client.get(PATH, params={"plan": PLAN, **given})
        assert answer.status_code == 200, answer.text
        assert CandidatesRead.model_validate_json(answer.content)
        return {(item["task"], item["unit"]["unit"]): item for item in answer.json()["items"]}


@pytest_asyncio.fixture(scope="module")
async def office(clone: Clone) -> AsyncGenerator[Office]:
    """Of two tasks one is at its schedule in May and falls behind in June; all others are never reported."""
    async with clone() as url, nobody_leads(url):
        standing: list[Office] = []
        app = create_app(Settings(database_url=url), clock=lambda: standing[0].now)
        async with serving(app) as client:
            standing.append(Office(client))
            ready = standing[0]
            await ready.report(TASK, UNIT, "2023-05", 45)
            await ready.report(GOOD, BY, "2023-05", 90)
            ready.now = datetime(2023, 6, 12, 9, 0, tzinfo=SHANGHAI)
            # It lags from here on: what was certified says so, whatever waits.
            await ready.report(TASK, UNIT, "2023-06", 40)
            await ready.report(GOOD, BY, "2023-06", 91, certify=False)
            yield ready


async def test_a_task_that_lags_is_named_with_its_reason(office: Office) -> None:
    office.now = datetime(2023, 6, 13, 9, 0, tzinfo=SHANGHAI)
    item = (await office.found(battle=BATTLE))[TASK, UNIT]
    assert (item["light"], item["stage"], item["percent_complete"]) == ("behind", "in_progress", 40)
    assert item["deviation"] == -4.93  # 164 of 365 days
    assert (item["lagging_since"], item["open_order"]) == ("2023-06-13", None)
    assert item["explanation"] == (
        "任务滞后,县教育局完成 40%,低于序时进度 4.93 个百分点,自 2023-06-13 起;尚无未销号的督办单"
    )
    assert item["allowed_actions"] == ["register"]


async def test_it_has_lagged_since_the_first_end_of_a_month_in_a_row(office: Office) -> None:
    office.now = datetime(2023, 9, 5, 9, 0, tzinfo=SHANGHAI)
    found = await office.found(battle=BATTLE)
    assert (found[TASK, UNIT]["light"], found[TASK, UNIT]["lagging_since"]) == ("behind", "2023-06-30")
    # 67.95 % by then, so it lags only now if at all: 90 % is ahead, and is missing for its reports alone.
    good = found[GOOD, BY]
    assert (good["light"], good["lagging_since"]) == ("ahead", None)
    assert (good["unreported"], good["unreported_since"]) == (2, "2023-07")
    assert good["explanation"] == "连续 2 期未报(自 2023-07 起);尚无未销号的督办单"
    office.now = datetime(2023, 12, 31, 9, 0, tzinfo=SHANGHAI)
    assert (await office.found(battle=BATTLE))[GOOD, BY]["lagging_since"] == "2023-11-30"
    assert (await office.found(battle=BATTLE))[TASK, UNIT]["light"] == "far_behind"


async def test_reports_that_do_not_come_twice_running_are_named(office: Office) -> None:
    office.now = datetime(2023, 5, 20, 23, 59, tzinfo=SHANGHAI)
    assert await office.found() == {}
    office.now = datetime(2023, 5, 21, 0, 0, tzinfo=SHANGHAI)
    found = await office.found()
    assert (TASK, UNIT) not in found
    assert len(found) > 20
    assert {(item["unreported"], item["unreported_since"], item["light"]) for item in found.values()} == {
        (2, "2023-04", None)
    }
    # What waits for certification has come.
    office.now = datetime(2023, 7, 21, tzinfo=SHANGHAI)
    assert (GOOD, BY) not in await office.found()
    # Who is freed of one of the two is not named for the other.
    task, unit = next(one for one in found if one[1] not in {UNIT, BY})
    waiver = {"rule": "monthly-form", "unit": unit, "task": task, "reason": "本月无此项", "approver": "县政府办"}
    office.now = datetime(2023, 5, 21, 1, 0, tzinfo=SHANGHAI)
    await office.post("/waivers", {**waiver, "period": "2023-05", "kind": "nil"})
    assert (task, unit) not in await office.found()
    assert (task, unit) in await office.found(as_of=office.now - timedelta(minutes=1))


async def test_an_open_order_is_shown_until_it_is_closed_and_as_it_was_then(office: Office) -> None:
    office.now = datetime(2023, 6, 20, 9, 0, tzinfo=SHANGHAI)
    order = {
        "plan": PLAN,
        "task": TASK,
        "kind": "supervision_order",
        "unit": UNIT,
        "title": "督办",
        "description": "限期赶上",
    }
    identity = (await office.post("/cases", order))["id"]
    item = (await office.found())[TASK, UNIT]
    assert (item["open_order"], item["allowed_actions"]) == (identity, [])
    assert "已有未销号的督办单" in item["explanation"]
    before = (await office.found(as_of=office.now - timedelta(seconds=1)))[TASK, UNIT]
    assert (before["open_order"], before["allowed_actions"]) == (None, [])
    issued = office.now
    office.now += timedelta(days=1)
    for step, body in (
        ("assign", {"responsible_person": "张三"}),
        ("receive", {}),
        ("start", {}),
        ("report-done", {"result": "已赶上"}),
    ):
        await office.post(f"/cases/{identity}/{step}", body)
    for step in ("verify", "close"):
        await office.post(f"/cases/{identity}/{step}", {}, "judge")
    assert (await office.found())[TASK, UNIT]["open_order"] is None
    assert (await office.found(as_of=issued))[TASK, UNIT]["open_order"] == identity


async def test_what_is_asked_must_be_of_one_plan(office: Office) -> None:
    for query, pointer in (
        ({"battle": "430124-2023-1", "plan": PLAN}, "battle"),
        ({}, "plan"),
        ({"unit": UNIT}, "plan"),
    ):
        answer = await office.client.get(PATH, params=query)
        assert answer.status_code == 422
        assert f"/query/{pointer}" in {fault["pointer"] for fault in answer.json()["errors"]}


@pytest.mark.parametrize("query", [{"plan": PLAN}, {"plan": PLAN, "battle": f"{PLAN}-1"}])
async def test_it_costs_one_statement(office: Office, query: dict[str, str]) -> None:
    reader = office.client.reader  # type: ignore[attr-defined]
    pool = reader.pool
    counting = CountingDatabase(pool)
    object.__setattr__(reader, "pool", counting)
    try:
        assert (await office.client.get(PATH, params=query)).status_code == 200
    finally:
        object.__setattr__(reader, "pool", pool)
    assert len(counting.statements) == 1
