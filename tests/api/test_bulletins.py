"""Bulletins by API calls alone: figures that equal those of the API, lives and refusals, freezing, rights, documents.

One database holds the demonstration: battle 6 has its circulars of May to August issued and that of September as a
draft. What changes something does so to plans, battles and periods that no other test looks at.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any
from uuid import UUID
from zipfile import ZipFile

import asyncpg
import httpx
import pytest
import pytest_asyncio
from docx import Document
from docx.oxml.ns import qn
from fastapi import FastAPI

from app.clock import SHANGHAI
from app.db import Database, open_write_pool
from app.fragments import FragmentCache
from app.main import create_app
from app.schemas.bulletin import (
    BulletinDifference,
    BulletinPage,
    BulletinPreview,
    BulletinRead,
    BulletinVerification,
)
from app.services.reader import Reader
from app.settings import Settings
from tests.conftest import Clone, CountingDatabase, make_key, serving
from tests.services.test_demo import fill

PATH = "/api/v1/bulletins"
PLAN, SIX = "431228-2023", "431228-2023-6"
CIRCULAR, BRIEF, SUMMARY = "monthly_circular", "dekad_brief", "quarterly_summary"
NOW = datetime(2023, 10, 20, 9, 0, tzinfo=SHANGHAI)
AUGUST = "2023-09-01T00:00:00+08:00"
HOLDERS = {
    "reader": ["reader"],
    "reporter": ["reporter:431228-jyj"],
    "coordinator": [f"coordinator:{SIX}"],
    "coordinator elsewhere": [f"coordinator:{PLAN}-1"],
    "supervisor": [f"supervisor@{PLAN}"],
    "auditor": [f"auditor@{PLAN}"],
    "administrator": ["administrator"],
}


@dataclass
class Press:
    """A service with the demonstration, and the clock it goes by."""

    client: httpx.AsyncClient
    url: str
    keys: dict[str, str]
    now: datetime = NOW
    issued: dict[str, str] = field(default_factory=dict)
    draft: str = ""

    async def ask(self, method: str, path: str, *, who: str | None = None, **given: Any) -> httpx.Response:
        headers = given.pop("headers", {})
        if who is not None:
            headers["Authorization"] = f"Bearer {self.keys[who]}"
        return await self.client.request(method, f"/api/v1/{path}", headers=headers, **given)

    async def get(self, path: str, **query: Any) -> dict[str, Any]:
        answer = await self.ask("GET", path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def create(self, battle: int | None, kind: str, period: str, **more: Any) -> httpx.Response:
        who, wanted = more.pop("who", None), {"plan": PLAN, "kind": kind, "period": period, **more}
        if battle is not None:
            wanted["battle"] = f"{PLAN}-{battle}"
        return await self.ask("POST", "bulletins", who=who, json=wanted)

    async def created(self, battle: int | None, kind: str, period: str, **more: Any) -> dict[str, Any]:
        answer = await self.create(battle, kind, period, **more)
        assert answer.status_code == 201, answer.text
        assert BulletinRead.model_validate_json(answer.content)
        assert answer.headers["location"] == f"{PATH}/{answer.json()['id']}"
        return answer.json()

    async def step(self, identity: str, step: str, body: Any = None, **more: Any) -> httpx.Response:
        return await self.ask("POST", f"bulletins/{identity}/{step}", json=body or {}, **more)

    async def issued_now(self, battle: int | None, kind: str, period: str) -> dict[str, Any]:
        made = await self.created(battle, kind, period)
        answer = await self.step(made["id"], "issue")
        assert answer.status_code == 200, answer.text
        return answer.json()


def problem(answer: httpx.Response, status: int, pointer: str | None = None) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    if pointer is not None:
        assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer], answer.text
    return answer.json()


@pytest_asyncio.fixture(scope="module")
async def press(clone: Clone) -> AsyncGenerator[Press]:
    async with clone() as url:
        await fill(url)
        async with open_write_pool(url, size=1) as pool:
            keys = {name: await make_key(Database(pool), name, grants) for name, grants in HOLDERS.items()}
        standing: list[Press] = []
        app = create_app(Settings(database_url=url), clock=lambda: standing[0].now)
        async with serving(app) as client:
            standing.append(Press(client, url, keys))
            items = (await standing[0].get("bulletins", battle=SIX, kind=CIRCULAR))["items"]
            standing[0].issued = {one["period"]: one["id"] for one in items if one["state"] == "issued"}
            (standing[0].draft,) = (one["id"] for one in items if one["state"] == "draft")
            yield standing[0]


@pytest.fixture(autouse=True)
def _at_its_time(press: Press) -> None:
    press.now = NOW


# Figures -------------------------------------------------------------------------------------------------------------


async def test_the_circular_of_august_says_what_compliance_and_progress_say_of_its_instant(press: Press) -> None:
    shown = await press.get(f"bulletins/{press.issued['2023-08']}")
    assert (shown["number"], shown["number_text"], shown["as_of"]) == (4, "〔2023〕第4期", AUGUST)
    content = shown["content"]
    assert content["progress"] == await press.get(f"battles/{SIX}/progress", as_of=AUGUST)
    assert [one["rule"] for one in content["timeliness"]] == ["monthly-form", "work-bulletin-item"]
    for one in content["timeliness"]:
        span = {"from": one["first_period"], "to": one["last_period"], "as_of": AUGUST}
        assert one["compliance"] == await press.get("compliance", rule=one["rule"], plan=PLAN, **span)
    assert content["timeliness"][0]["compliance"]["total"]["expected"] == 28
    lights = content["progress"]["lights"]
    assert len(content["laggards"]) == lights["behind"] + lights["far_behind"] > 0
    assert [one["deviation"] for one in content["laggards"]] == sorted(one["deviation"] for one in content["laggards"])
    for one in content["laggards"]:
        assert round(one["percent_complete"] - one["scheduled"], 2) == one["deviation"]
        assert all(report["next_steps"] for report in one["reports"])
    assert any(report["problems"] for one in content["laggards"] for report in one["reports"])
    targets = content["targets"]
    assert len(targets) == content["progress"]["targets"]
    assert sum(one["reached"] for one in targets) == content["progress"]["targets_reached"]
    assert content["light_shares"]["behind"] == round(100 * lights["behind"] / 22, 2)


async def test_what_is_due_next_is_what_the_obligations_say(press: Press) -> None:
    content = (await press.get(f"bulletins/{press.issued['2023-08']}"))["content"]
    due = {(one["rule"], one["period"]): one for one in content["due_next"]}
    assert set(due) == {
        ("livelihood-monthly-circular", "2023-08"),
        ("monthly-form", "2023-09"),
        ("work-bulletin-item", "2023-09"),
    }
    for (rule, period), one in due.items():
        query = {"rule": rule, "period": period, "as_of": AUGUST, "limit": 500}
        owed = (await press.get("obligations", **query))["items"]
        assert one["reports"] == len(owed)
        assert one["units"] == sorted({row["unit"]["name"] for row in owed})
        assert {row["effective_due_at"] for row in owed} == {one["due_at"]}


async def test_a_plan_has_its_battles_and_a_preview_is_what_would_be_drawn_up(press: Press) -> None:
    asked = {"plan": PLAN, "kind": CIRCULAR, "period": "2023-07", "as_of": "2023-08-01T00:00:00+08:00"}
    answer = await press.ask("GET", "bulletins/preview", params=asked)
    preview = BulletinPreview.model_validate_json(answer.content)
    assert [one.battle for one in preview.content.battles] == [f"{PLAN}-{ordinal}" for ordinal in range(1, 7)]
    for one in preview.content.battles:
        told = await press.get(f"battles/{one.battle}/progress", as_of=asked["as_of"])
        assert one.progress.model_dump(mode="json") == told
    assert "monthly-circular" in [one.rule for one in preview.content.timeliness]
    made = await press.created(None, CIRCULAR, "2023-07", as_of=asked["as_of"])
    assert made["content_hash"] == preview.content_hash
    assert (made["battle"], made["unit"]["name"], made["parts"]["signer"]) == (
        None,
        "县政府办",
        "芷江侗族自治县人民政府办公室",
    )


async def test_open_orders_of_the_battle_are_listed_as_they_stood(press: Press) -> None:
    case = {"plan": PLAN, "task": f"{SIX}-3-4", "unit": "县教育局", "kind": "supervision_order"}
    made = await press.ask("POST", "cases", json={**case, "title": "学位建设滞后", "description": "请限期整改。"})
    assert made.status_code == 201, made.text
    identity = made.json()["id"]
    asked = {"plan": PLAN, "battle": SIX, "kind": CIRCULAR, "period": "2023-10"}

    async def orders(**at: str) -> dict[str, Any]:
        shown = (await press.get("bulletins/preview", **asked, **at))["content"]["orders"]
        return {one["case"]: one for one in shown}

    assert identity not in await orders()
    press.now += timedelta(hours=1)
    assigned = {"responsible_person": "张三", "due_on": "2023-11-01"}
    answer = await press.ask("POST", f"cases/{identity}/assign", json=assigned)
    assert answer.status_code == 200, answer.text
    order = (await orders())[identity]
    assert (order["state"], order["due_on"], order["overdue"]) == ("assigned", "2023-11-01", False)
    assert identity not in await orders(as_of=NOW.isoformat())


# Frozen --------------------------------------------------------------------------------------------------------------


async def test_a_correction_after_the_issue_changes_nothing_of_it_and_the_data_give_it_again(press: Press) -> None:
    identity = press.issued["2023-08"]
    query = {"battle": SIX, "period": "2023-08", "status": "certified", "limit": 1}
    (said,) = (await press.get("submissions", **query))["items"]
    correction = {"stage": "completed", "percent_complete": 100, "progress": "全部完成", "reason": "漏计"}
    answer = await press.ask("POST", f"submissions/{said['id']}/correct", json=correction)
    assert answer.status_code == 200, answer.text
    answer = await press.ask("POST", f"submissions/{said['id']}/certify", json={})
    assert answer.status_code == 200, answer.text
    press.now += timedelta(minutes=1)
    assert (await press.get(f"battles/{SIX}/progress"))["stages"]["completed"] > 0
    checked = BulletinVerification.model_validate(await press.get(f"bulletins/{identity}/verification"))
    assert (checked.identical, checked.intact, checked.differing) == (True, True, [])
    assert checked.recomputed_hash == checked.content_hash
    assert "逐字节相同" in checked.explanation


async def test_what_is_changed_behind_its_back_is_told(press: Press) -> None:
    identity = press.issued["2023-05"]
    connection = await asyncpg.connect(press.url)
    try:
        for statement in (
            "UPDATE bulletins SET title = '别的' WHERE id = $1",
            "DELETE FROM bulletins WHERE id = $1",
        ):
            with pytest.raises(asyncpg.RestrictViolationError):
                await connection.execute(statement, UUID(identity))
        with pytest.raises(asyncpg.RestrictViolationError):
            await connection.execute("TRUNCATE bulletins")
        await connection.execute("ALTER TABLE bulletins DISABLE TRIGGER refuse_change")
        await connection.execute("UPDATE bulletins SET title = title || '改' WHERE id = $1", UUID(identity))
    finally:
        await connection.execute("ALTER TABLE bulletins ENABLE TRIGGER refuse_change")
        await connection.close()
    checked = await press.get(f"bulletins/{identity}/verification")
    assert (checked["identical"], checked["intact"]) == (True, False)


@pytest.mark.parametrize(
    ("step", "body"), [("issue", {}), ("regenerate", {}), ("discard", {"reason": "重编"}), (None, {"title": "别的"})]
)
async def test_no_step_is_open_to_what_is_issued(press: Press, step: str | None, body: Any) -> None:
    path = f"bulletins/{press.issued['2023-07']}"
    answer = await press.ask("PATCH" if step is None else "POST", path if step is None else f"{path}/{step}", json=body)
    told = problem(answer, 409)
    assert told["allowed"] == []
    assert "已印发" in told["detail"]
    assert (await press.get(path))["allowed_actions"] == []


async def test_an_issue_is_compared_with_the_one_before(press: Press) -> None:
    told = BulletinDifference.model_validate(await press.get(f"bulletins/{press.issued['2023-08']}/difference"))
    assert (str(told.previous), told.previous_period) == (press.issued["2023-07"], "2023-07")
    after, before = [(await press.get(f"bulletins/{press.issued[of]}"))["content"] for of in ("2023-08", "2023-07")]
    figures = {one.key: one for one in told.items}
    for light in ("behind", "far_behind", "ahead"):
        one = figures[f"lights.{light}"]
        assert (one.before, one.after) == (before["progress"]["lights"][light], after["progress"]["lights"][light])
        assert one.change == one.after - one.before
    lagging = {one.task: (one.before, one.after) for one in told.laggards}
    assert set(lagging) == {one["task"] for one in (*before["laggards"], *after["laggards"])}
    first = BulletinDifference.model_validate(await press.get(f"bulletins/{press.issued['2023-05']}/difference"))
    assert first.previous is None
    assert all(one.before is None and one.change is None for one in first.items)


# Lives ---------------------------------------------------------------------------------------------------------------


async def test_a_life_from_draft_to_issue(press: Press) -> None:
    made = await press.created(6, SUMMARY, "2023-Q3", as_of="2023-10-01T00:00:00+08:00")
    identity, path = made["id"], f"bulletins/{made['id']}"
    assert (made["state"], made["number"], made["number_text"]) == ("draft", None, "〔2023〕第  期")
    assert made["allowed_actions"] == ["edit", "regenerate", "issue", "discard"]
    existing = problem(await press.create(6, SUMMARY, "2023-Q3"), 409)["existing"]
    assert existing == identity

    task = made["content"]["laggards"][0]["task"]
    etag = (await press.ask("GET", path)).headers["etag"]
    said = {"lead": "导语。", "remarks": {task: "请加快。"}, "closing": "望抓好落实。", "copy_to": ["县委办"]}
    answer = await press.ask("PATCH", path, json=said, headers={"If-Match": etag})
    assert answer.status_code == 200, answer.text
    assert {name: answer.json()["parts"][name] for name in said} == said
    problem(await press.ask("PATCH", path, json=said, headers={"If-Match": etag}), 412)
    problem(
        await press.ask("PATCH", path, json={"remarks": {f"{SIX}-9-9": "无此任务"}}), 422, f"/body/remarks/{SIX}-9-9"
    )
    problem(await press.ask("PATCH", path, json={"percent_complete": 100}), 422)

    again = (await press.step(identity, "regenerate", {"as_of": "2023-10-10T00:00:00+08:00"})).json()
    assert again["content_hash"] != made["content_hash"]
    assert {name: again["parts"][name] for name in said} == said
    problem(await press.step(identity, "issue", {"number": 7}), 422, "/body/number")
    problem(await press.step(identity, "issue", headers={"If-Match": etag}), 412)
    press.now = datetime(2023, 10, 10, 18, 0, tzinfo=SHANGHAI)
    issued = (await press.step(identity, "issue", {"number": 1, "signer": "县政府办公室"})).json()
    assert (issued["state"], issued["number"], issued["filed"]) == ("issued", 1, 1)
    assert issued["parts"]["signer"] == "县政府办公室"
    assert issued["issued_at"] == press.now.isoformat()
    query = {"rule": "livelihood-quarterly-summary", "period": "2023-Q3"}
    (owed,) = (await press.get("obligations", **query))["items"]
    assert (owed["status"], owed["filed_at"], owed["battle"]) == ("on_time", issued["issued_at"], SIX)
    trail = (await press.get("audit", subject=identity))["items"]
    assert sorted(entry["action"] for entry in trail) == [
        *("bulletin.create", "bulletin.edit", "bulletin.edit", "bulletin.issue")
    ]
    assert (await press.get(f"{path}/verification"))["intact"]


async def test_an_issue_is_told(press: Press) -> None:
    made = await press.issued_now(2, CIRCULAR, "2023-09")
    for _ in range(100):
        told = (await press.get("changes", types="bulletin.issued", limit=500))["items"]
        if made["id"] in [event["subject"] for event in told]:
            break
        await asyncio.sleep(0.1)
    (event,) = (event for event in told if event["subject"] == made["id"])
    assert (event["plan"], event["battle"], event["unit"]) == (PLAN, f"{PLAN}-2", "431228-kgxj") or event["unit"]
    assert (event["data"]["kind"], event["data"]["period"]) == (CIRCULAR, "2023-09")
    assert event["data"]["content_hash"] == made["content_hash"]


async def test_what_is_issued_late_is_late_and_after_the_lock_it_files_nothing(press: Press) -> None:
    async def status(period: str) -> str:
        query = {"rule": "monthly-circular", "battle": f"{PLAN}-3", "period": period}
        (owed,) = (await press.get("obligations", **query))["items"]
        return owed["status"]

    assert await status("2023-09") == "overdue"
    assert (await press.issued_now(3, CIRCULAR, "2023-09"))["filed"] == 1
    assert await status("2023-09") == "late"
    assert await status("2023-08") == "missed"
    made = await press.issued_now(3, CIRCULAR, "2023-08")
    # Numbered in the order of issue, whatever the period.
    assert (made["filed"], made["number"]) == (0, 2)
    assert await status("2023-08") == "missed"
    problem(await press.create(3, CIRCULAR, "2023-08"), 409)


async def test_a_draft_that_is_given_up_makes_room_for_another(press: Press) -> None:
    made = await press.created(4, BRIEF, "2023-10-D1")
    problem(await press.step(made["id"], "discard", {"reason": " "}), 422, "/body/reason")
    gone = (await press.step(made["id"], "discard", {"reason": "截至时刻有误"})).json()
    assert (gone["state"], gone["discard_reason"], gone["allowed_actions"]) == ("discarded", "截至时刻有误", [])
    problem(await press.step(made["id"], "issue"), 409)
    again = await press.created(4, BRIEF, "2023-10-D1")
    assert again["id"] != made["id"]


async def test_of_two_at_once_one_wins_and_numbers_have_no_gaps(press: Press) -> None:
    both = await asyncio.gather(*(press.create(5, BRIEF, "2023-09-D1") for _ in range(2)))
    assert sorted(answer.status_code for answer in both) == [201, 409]
    (identity,) = (answer.json()["id"] for answer in both if answer.status_code == 201)
    both = await asyncio.gather(*(press.step(identity, "issue") for _ in range(3)))
    assert sorted(answer.status_code for answer in both) == [200, 409, 409]
    made = [await press.created(5, BRIEF, f"2023-08-D{dekad}") for dekad in (1, 2, 3)]
    issued = await asyncio.gather(*(press.step(one["id"], "issue") for one in made))
    assert sorted(answer.json()["number"] for answer in issued) == [2, 3, 4]


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"plan": "430124-2023"}, "/body/plan"),
        ({"battle": f"{PLAN}-9"}, "/body/battle"),
        ({"battle": "430124-2023-1"}, "/body/battle"),
        ({"period": "2023-Q3"}, "/body/period"),
        ({"period": "2023-13"}, "/body/period"),
        ({"period": "2024-01"}, "/body/period"),
        ({"period": "2023-11"}, "/body/as_of"),
        ({"as_of": "2023-07-31T23:59:59+08:00"}, "/body/as_of"),
        ({"as_of": "2023-10-20T09:00:01+08:00"}, "/body/as_of"),
        ({"as_of": "2023-09-01"}, "/body/as_of"),
        ({"kind": "yearly"}, "/body/kind"),
        ({"number": 1}, "/body/number"),
    ],
)
async def test_what_is_asked_for_must_be(press: Press, changes: dict[str, Any], pointer: str) -> None:
    wanted = {"plan": PLAN, "battle": f"{PLAN}-1", "kind": CIRCULAR, "period": "2023-08", **changes}
    if changes.get("plan"):
        del wanted["battle"]
    problem(await press.ask("POST", "bulletins", json=wanted), 422, pointer)
    query = {name: value for name, value in wanted.items() if name != "number"}
    if "number" not in changes:
        problem(await press.ask("GET", "bulletins/preview", params=query), 422, pointer.replace("body", "query"))


async def test_unknown_parameters_and_texts_with_control_characters_are_refused(press: Press) -> None:
    problem(await press.ask("GET", "bulletins", params={"unit": "县教育局"}), 422, "/query/unit")
    problem(await press.ask("GET", f"bulletins/{press.draft}/document", params={"red_head": "maybe"}), 422)
    for patch in (
        {"title": "一\n二"},
        {"lead": "a\x00b"},
        {"closing": "  "},
        {"copy_to": ["甲"] * 31},
        {"title": None},
    ):
        problem(await press.ask("PATCH", f"bulletins/{press.draft}", json=patch), 422)


# Rights --------------------------------------------------------------------------------------------------------------

SEES = {
    "reader": (True, False),
    "reporter": (True, False),
    "coordinator": (True, True),
    "coordinator elsewhere": (True, False),
    "supervisor": (True, True),
    "auditor": (True, True),
}


@pytest.mark.parametrize("who", SEES)
async def test_issued_ones_are_for_the_plan_and_drafts_for_whoever_edits_or_audits(press: Press, who: str) -> None:
    wanted = dict(zip((press.issued["2023-06"], press.draft), SEES[who], strict=True))
    listed = (await press.ask("GET", "bulletins", who=who, params={"limit": 500, "battle": SIX})).json()["items"]
    for identity, seen in wanted.items():
        assert (await press.ask("GET", f"bulletins/{identity}", who=who)).status_code == (200 if seen else 404)
        assert (identity in [one["id"] for one in listed]) is seen
        for part in ("markdown", "document", "difference"):
            answer = await press.ask("GET", f"bulletins/{identity}/{part}", who=who)
            assert answer.status_code == (200 if seen else 404)


@pytest.mark.parametrize("who", ["reader", "reporter", "auditor", "administrator"])
async def test_who_edits_nothing_is_refused_unread(press: Press, who: str) -> None:
    wanted = {"plan": PLAN, "battle": SIX, "kind": CIRCULAR, "period": "2023-10"}
    problem(await press.ask("POST", "bulletins", who=who, json=wanted), 403)
    problem(await press.ask("GET", "bulletins/preview", who=who, params=wanted), 403)
    problem(await press.ask("PATCH", f"bulletins/{press.draft}", who=who, json={"title": "别的"}), 403)
    for step in ("issue", "regenerate", "discard"):
        problem(await press.step(press.draft, step, {"reason": "重编"} if step == "discard" else {}, who=who), 403)


async def test_a_coordinator_edits_for_the_own_battle_alone(press: Press) -> None:
    who = "coordinator elsewhere"
    problem(await press.step(press.draft, "issue", who=who), 404)
    problem(await press.create(6, CIRCULAR, "2023-04", who=who), 403)
    problem(await press.create(None, CIRCULAR, "2023-04", who=who), 403)
    own = await press.create(1, CIRCULAR, "2023-04", who=who)
    assert own.status_code == 201, own.text
    issued = press.issued["2023-08"]
    problem(await press.step(issued, "issue", who=who), 403)


async def test_what_is_drawn_up_does_not_depend_on_who_draws_it_up(press: Press) -> None:
    asked = {"plan": PLAN, "battle": SIX, "kind": CIRCULAR, "period": "2023-08", "as_of": AUGUST}
    hashes = {
        (await press.ask("GET", "bulletins/preview", who=who, params=asked)).json()["content_hash"]
        for who in ("coordinator", "supervisor", None)
    }
    assert hashes == {(await press.get(f"bulletins/{press.issued['2023-08']}"))["content_hash"]}
    path = f"bulletins/{press.issued['2023-08']}/verification"
    assert (await press.ask("GET", path, who="reader")).json()["identical"]
    problem(await press.ask("GET", path, who="reporter"), 403)


# Lists and files -----------------------------------------------------------------------------------------------------


async def test_the_list_has_its_filters_and_pages(press: Press) -> None:
    page = await press.get("bulletins", battle=SIX, kind=CIRCULAR, state="issued", limit=3, include_total=True)
    assert BulletinPage.model_validate(page)
    assert (page["total"], len(page["items"])) == (4, 3)
    rest = await press.get("bulletins", battle=SIX, kind=CIRCULAR, state="issued", limit=3, cursor=page["next_cursor"])
    assert [one["period"] for one in (*page["items"], *rest["items"])] == [f"2023-0{month}" for month in range(5, 9)]
    (one,) = (await press.get("bulletins", plan=PLAN, battle=SIX, period="2023-06"))["items"]
    assert one["issued_at"] == "2023-07-07T10:00:00+08:00"
    assert one["explanation"].startswith("打好重点民生保障仗2023年6月月通报〔2023〕第2期于2023年7月7日10时印发")


async def test_a_page_of_fifty_costs_what_a_page_of_one_costs(press: Press) -> None:
    app = create_app(Settings(database_url=press.url), clock=lambda: NOW)
    lifespan = app.router.lifespan_context
    pools: list[CountingDatabase] = []

    @asynccontextmanager
    async def counted(of: FastAPI) -> AsyncGenerator[dict[str, Any]]:
        async with lifespan(of) as state:
            pools.append(CountingDatabase(state["reader"].pool))
            yield {**state, "reader": Reader(pools[0], FragmentCache(0))}

    app.router.lifespan_context = counted
    async with serving(app) as client:
        for limit in (1, 50):
            before = len(pools[0].statements)
            assert (await client.get(PATH, params={"limit": limit})).status_code == 200
            assert len(pools[0].statements) - before == 1


async def test_the_document_is_set_as_the_standard_says(press: Press) -> None:
    path = f"bulletins/{press.issued['2023-08']}/document"
    answer = await press.ask("GET", path)
    again = await press.ask("GET", path)
    assert answer.content == again.content
    assert answer.headers["content-type"].endswith("wordprocessingml.document")
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''%E5%85%B3")
    assert (await press.ask("GET", path, headers={"If-None-Match": answer.headers["etag"]})).status_code == 304
    document = Document(BytesIO(answer.content))
    section = document.sections[0]
    sides = ("page_width", "page_height", "top_margin", "bottom_margin", "left_margin", "right_margin")
    assert [round(getattr(section, side).mm) for side in sides] == [210, 297, 37, 35, 28, 26]
    assert section.page_width - section.left_margin - section.right_margin == pytest.approx(156 * 36000, abs=20000)
    normal = document.styles["Normal"]
    assert (normal.font.size.pt, normal.paragraph_format.line_spacing.pt) == (16, pytest.approx(28.95, abs=0.05))
    fonts = normal.element.rPr.rFonts
    assert {fonts.get(qn(f"w:{script}")) for script in ("ascii", "hAnsi", "eastAsia")} == {"仿宋_GB2312"}
    texts = [paragraph.text for paragraph in document.paragraphs]
    assert texts[0] == "打好重点民生保障仗工作专班"
    assert texts[1] == "月通报〔2023〕第4期"
    assert "".join(texts[4:6]) == "关于2023年8月打好重点民生保障仗推进情况的通报"
    assert "2023年9月3日" in texts
    assert {run.font.size.pt for run in document.paragraphs[4].runs} == {22}
    headings = [paragraph.text for paragraph in document.paragraphs if paragraph.style.name == "Heading 1"]
    assert [text[0] for text in headings] == list("一二三四五六")
    content = (await press.get(f"bulletins/{press.issued['2023-08']}"))["content"]
    # By the heads of their second columns; the imprint has none.
    tables = {table.rows[0].cells[1].text: table for table in document.tables[:-1]}
    lights = {row.cells[0].text: row.cells[1].text for row in tables["任务数"].rows[1:]}
    assert lights["滞后"] == str(content["progress"]["lights"]["behind"])
    assert len(tables["任务"].rows) == 1 + len(content["laggards"])
    assert [row.cells[1].text for row in tables["事项"].rows[1:]] == [
        one["title"].replace(":", "：") for one in content["orders"]
    ]
    assert content["orders"]
    assert all(table.rows[0]._tr.trPr.find(qn("w:tblHeader")) is not None for table in document.tables[:-1])
    assert document.tables[-1].rows[-1].cells[0].text == "县政府办\t2023年9月3日印发"
    assert document.core_properties.created == datetime(
        2023, 9, 3, 2, 0, tzinfo=document.core_properties.created.tzinfo
    )
    with ZipFile(BytesIO(answer.content)) as package:
        assert {entry.date_time[0] for entry in package.infolist()} == {1980}
        table = package.read("word/fontTable.xml").decode()
        body = package.read("word/document.xml").decode()
    assert all(f'w:name="{name}"' in table for name in ("仿宋_GB2312", "楷体_GB2312", "黑体", "方正小标宋简体"))
    assert "FF0000" in body
    # The punctuation of print.
    assert "," not in body.partition("<w:body>")[2].replace('","', "")

    plain = Document(BytesIO((await press.ask("GET", f"{path}?red_head=false")).content))
    assert plain.paragraphs[0].text.startswith("关于2023年8月")
    draft = Document(BytesIO((await press.ask("GET", f"bulletins/{press.draft}/document")).content))
    assert draft.paragraphs[1].text == "月通报〔2023〕第  期（草稿）"


async def test_the_markdown_says_the_same(press: Press) -> None:
    answer = await press.ask("GET", f"bulletins/{press.issued['2023-08']}/markdown")
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    text = answer.text
    assert text.startswith("# 关于2023年8月打好重点民生保障仗推进情况的通报\n")
    content = (await press.get(f"bulletins/{press.issued['2023-08']}"))["content"]
    assert f"| 严重滞后 | {content['progress']['lights']['far_behind']} |" in text
    assert all(one["title"] in text for one in content["laggards"])
    assert "抄送：县委办，县人大常委会办公室，县政协办。" in text
