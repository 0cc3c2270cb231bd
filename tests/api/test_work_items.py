"""Work items: made, changed, shown as they were; what a project lacks is shown and never refused."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from app.clock import SHANGHAI
from app.db import Database, open_write_pool
from app.domain.roles import ANONYMOUS, Actor, Grant, Role
from app.fragments import FragmentCache
from app.main import create_app
from app.rendering import Known
from app.schemas.work_item import WorkItemHistory, WorkItemPage, WorkItemQuery, WorkItemRead
from app.services.caller import Caller, Public
from app.services.reader import Reader
from app.services.work_items import list_work_items
from app.settings import Settings
from tests.conftest import Clone, CountingDatabase, make_key, serving

PATH = "/api/v1/work-items"
NOW = datetime(2023, 5, 10, 9, 0, tzinfo=SHANGHAI)
PLAN, BATTLE = "431228-2023", "431228-2023-6"
OWN, OTHER, TASK = "431228-jyj", "431228-nyncj", "431228-2023-6-3-4"
BARE: dict[str, Any] = {"task": TASK, "kind": "project", "title": "新建城区公办幼儿园", "unit": "县教育局"}
WHOLE: dict[str, Any] = {
    **BARE,
    "leader": {"name": "张某", "post": "副县长"},
    "person": {"name": "李某", "post": None},
    "scheme": "年底前主体完工。",
    "milestones": [
        {"title": "完成招标", "due_on": "2023-06-30", "done_on": None},
        {"title": "主体完工", "due_on": "2023-12-20", "done_on": None},
    ],
    "investment": {"planned": 1200.5, "done": 0},
    "starts_on": "2023-04-01",
    "due_on": "2023-12-31",
}
HOLDERS = {
    "reporter": [f"reporter:{OWN}"],
    "other reporter": [f"reporter:{OTHER}"],
    "coordinator": [f"coordinator:{BATTLE}"],
    "supervisor": ["supervisor"],
    "reader": ["reader"],
}


class Office:
    """A service on a database of its own, its clock, and who may ask it."""

    def __init__(self, client: httpx.AsyncClient, connection: Any, keys: dict[str, str]) -> None:
        self.client = client
        self.connection = connection
        self.keys = keys
        self.now = NOW

    async def ask(self, method: str, path: str, body: Any = None, who: str = "supervisor", **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.keys[who]}", **more.pop("headers", {})}
        return await self.client.request(method, PATH + path, json=body, headers=headers, **more)

    async def made(self, who: str = "supervisor", **changes: Any) -> dict[str, Any]:
        self.now += timedelta(minutes=1)
        answer = await self.ask("POST", "", {**WHOLE, **changes}, who)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def changed(self, identity: str, who: str = "supervisor", **changes: Any) -> dict[str, Any]:
        self.now += timedelta(minutes=1)
        answer = await self.ask("PATCH", f"/{identity}", {"reason": "调整", **changes}, who)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def got(self, identity: str, **query: Any) -> dict[str, Any]:
        answer = await self.ask("GET", f"/{identity}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def titles(self, who: str = "supervisor", **query: Any) -> list[str]:
        answer = await self.ask("GET", "", who=who, params=query)
        assert answer.status_code == 200, answer.text
        assert WorkItemPage.model_validate_json(answer.content)
        return [item["title"] for item in answer.json()["items"]]


@pytest_asyncio.fixture(scope="module")
async def office(clone: Clone) -> AsyncGenerator[Office]:
    async with clone() as url:
        async with open_write_pool(url, size=1) as pool:
            keys = {name: await make_key(Database(pool), name, grants) for name, grants in HOLDERS.items()}
        connection = await asyncpg.connect(url)
        standing: list[Office] = []
        try:
            app = create_app(Settings(database_url=url), clock=lambda: standing[0].now)
            async with serving(app) as client:
                standing.append(Office(client, connection, keys))
                yield standing[0]
        finally:
            await connection.close()


def faults(answer: httpx.Response) -> list[tuple[str, str]]:
    assert answer.status_code == 422, answer.text
    return [(one["pointer"], one["code"]) for one in answer.json()["errors"]]


async def test_a_whole_project_is_answered_as_it_was_said(office: Office) -> None:
    answer = await office.ask("POST", "", WHOLE, "reporter")
    assert answer.status_code == 201, answer.text
    assert WorkItemRead.model_validate_json(answer.content)
    item = answer.json()
    assert answer.headers["location"] == f"{PATH}/{item['id']}"
    assert {name: item[name] for name in ("plan", "battle", "task")} == {"plan": PLAN, "battle": BATTLE, "task": TASK}
    assert item["unit"] == {"unit": OWN, "name": "县教育局"}
    assert item["investment"] == {"planned": 1200.5, "done": 0, "unit_of_measure": "万元"}
    assert (item["incomplete"], item["missing"], item["milestone_overdue"]) == (False, [], False)
    assert set(item["six_ones"].values()) == {True}
    assert (item["revision"], item["state"], item["allowed_actions"]) == (1, "planned", ["change"])
    assert "六个一”齐备" in item["explanation"]
    got = await office.ask("GET", f"/{item['id']}", who="reporter")
    assert (got.json(), got.headers["etag"]) == (item, answer.headers["etag"])
    await office.changed(item["id"], state="cancelled")


async def test_a_bare_project_is_taken_and_shown_as_incomplete(office: Office) -> None:
    bare = (await office.ask("POST", "", {**BARE, "title": "裸项目"})).json()
    task = await office.made(title="任务事项", kind="task", investment=None, leader=None)
    assert bare["missing"] == ["leader", "person", "ledger", "follow_through"]
    assert bare["six_ones"]["unit"] is bare["six_ones"]["project"] is True
    assert "缺“六个一”中的一名县级领导牵头、一名责任人" in bare["explanation"]
    assert (task["six_ones"], task["incomplete"]) == (None, False)
    assert await office.titles(incomplete="true", q="项目") == ["裸项目"]
    assert "任务事项" in await office.titles(incomplete="false")
    for identity in (bare["id"], task["id"]):
        await office.changed(identity, state="cancelled")
    assert await office.titles(incomplete="true", q="项目") == []


async def test_each_change_is_a_revision_and_the_past_stays(office: Office) -> None:
    item = await office.made(title="旧标题", person=None)
    before = office.now
    changed = await office.changed(
        item["id"], who="reporter", title="新标题", person={"name": "王某"}, state="under_way", reason="落实责任人"
    )
    assert (changed["revision"], changed["title"], changed["missing"]) == (2, "新标题", [])
    assert changed["milestones"] == item["milestones"]
    then = await office.got(item["id"], as_of=before.isoformat())
    assert {**then, "allowed_actions": ["change"]} == item
    assert then["allowed_actions"] == []
    assert (await office.ask("GET", f"/{item['id']}", params={"as_of": "2023-05-01T00:00:00+08:00"})).status_code == 404
    assert await office.titles(q="旧标题", as_of=before.isoformat()) == ["旧标题"]
    assert await office.titles(q="旧标题") == []
    assert await office.titles(q="xbt") == await office.titles(q="新标") == ["新标题"]
    history = await office.ask("GET", f"/{item['id']}/history")
    assert WorkItemHistory.model_validate_json(history.content)
    told = [(one["revision"], one["title"], one["by"], one["reason"]) for one in history.json()["revisions"]]
    assert told == [(1, "旧标题", "supervisor", None), (2, "新标题", "reporter", "落实责任人")]
    # What changes nothing is not kept.
    assert (await office.changed(item["id"], title="新标题"))["revision"] == 2


async def test_a_late_milestone_is_told_from_the_day_after(office: Office) -> None:
    item = await office.made(title="节点项目", state="under_way")
    try:
        for day, late in (("2023-06-30", False), ("2023-07-01", True)):
            office.now = datetime.fromisoformat(f"{day}T08:00:00+08:00")
            shown = await office.got(item["id"])
            assert (shown["milestone_overdue"], shown["milestones"][0]["overdue"]) == (late, late)
            assert ("节点项目" in await office.titles(milestone_overdue="true", q="节点项目")) is late
            assert ("节点项目" in await office.titles(milestone_overdue="false", q="节点项目")) is not late
        assert "已逾期 1 日" in shown["explanation"]
        done = [{**WHOLE["milestones"][0], "done_on": "2023-07-01"}, WHOLE["milestones"][1]]
        assert (await office.changed(item["id"], milestones=done))["milestone_overdue"] is False
        assert (await office.got(item["id"], as_of="2023-07-01T08:00:00+08:00"))["milestone_overdue"] is True
    finally:
        office.now = NOW + timedelta(hours=1)


async def test_filters_narrow_the_list(office: Office) -> None:
    made = [
        await office.made(title=f"筛选{n}", unit=unit, kind="policy", investment=None)
        for n, unit in enumerate((OWN, OTHER, OTHER))
    ]
    query = {"q": "筛选"}
    assert await office.titles(**query, unit="县农业农村局") == ["筛选1", "筛选2"]
    assert await office.titles(**query, kind="policy", task=TASK, sort="-id") == ["筛选2", "筛选1", "筛选0"]
    assert await office.titles(**query, battle=f"{PLAN}-1") == await office.titles(**query, state="completed") == []
    first = (await office.ask("GET", "", params={**query, "limit": 2, "include_total": True, "plan": PLAN})).json()
    assert (len(first["items"]), first["total"]) == (2, 3)
    rest = await office.ask("GET", "", params={**query, "limit": 2, "cursor": first["next_cursor"], "plan": PLAN})
    assert [one["id"] for one in rest.json()["items"]] == [made[2]["id"]]
    assert (await office.ask("GET", "", params={"colour": "red"})).status_code == 422
    assert await office.titles("other reporter", **query) == ["筛选1", "筛选2"]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"task": "431228-2023-6-9-9"}, [("/body/task", "unknown_task")]),
        ({"unit": "无此单位"}, [("/body/unit", "unknown_unit")]),
        ({"due_on": "2023-03-01"}, [("/body/due_on", "ends_before_start")]),
        ({"kind": "policy"}, [("/body/investment", "not_a_project")]),
        (
            {"milestones": [{"title": "a", "due_on": "2023-06-01", "done_on": "2023-12-01"}]},
            [("/body/milestones/0/done_on", "not_yet")],
        ),
    ],
)
async def test_what_contradicts_itself_is_refused(
    office: Office, changes: dict[str, Any], found: list[tuple[str, str]]
) -> None:
    assert faults(await office.ask("POST", "", {**WHOLE, **changes})) == found


@pytest.mark.parametrize(
    "changes",
    [
        {"title": " "},
        {"title": "a\0"},
        {"investment": {"planned": -1}},
        {"investment": {"planned": "1"}},
        {"investment": {"planned": 1.001}},
        {"milestones": [{"title": "a", "due_on": "2023-06-01"}] * 51},
        {"due_on": "2023-13-01"},
        {"colour": "red"},
    ],
)
async def test_what_is_out_of_bounds_is_refused(office: Office, changes: dict[str, Any]) -> None:
    assert (await office.ask("POST", "", {**WHOLE, **changes})).status_code == 422


async def test_who_may_not_is_refused_and_who_sees_nothing_finds_nothing(office: Office) -> None:
    assert (await office.ask("POST", "", WHOLE, "other reporter")).status_code == 403
    assert (await office.ask("POST", "", WHOLE, "reader")).status_code == 403
    item = await office.made("coordinator", title="权限")
    path = f"/{item['id']}"
    assert (await office.ask("GET", path, who="reader")).json()["allowed_actions"] == []
    for suffix in ("", "/history"):
        assert (await office.ask("GET", path + suffix, who="other reporter")).status_code == 404
    patch = {"reason": "改", "title": "改"}
    assert (await office.ask("PATCH", path, patch, "other reporter")).status_code == 404
    # To hand it on, one must have both units.
    assert (await office.ask("PATCH", path, {"reason": "移交", "unit": OTHER}, "reporter")).status_code == 403
    assert (await office.changed(item["id"], who="coordinator", unit=OTHER))["unit"]["unit"] == OTHER
    assert (await office.ask("GET", path, who="reporter")).status_code == 404
    assert (await office.ask("GET", path, who="other reporter")).status_code == 200


async def test_a_page_of_fifty_costs_one_statement(office: Office) -> None:
    asking = Caller(Actor("account:1", "甲", (Grant(Role.SUPERVISOR),)))
    for limit in (1, 50):
        counting = CountingDatabase(office.client.reader.pool)  # type: ignore[attr-defined]
        reader = Reader(counting, FragmentCache(0))
        await list_work_items(reader, WorkItemQuery(limit=limit), Known.parse(None), now=NOW, caller=asking)
        assert len(counting.statements) == 1


async def test_what_is_public_is_not_the_lists(office: Office) -> None:
    public = Caller(ANONYMOUS, public=Public(progress=True))
    reader = office.client.reader  # type: ignore[attr-defined]
    page = await list_work_items(reader, WorkItemQuery(), Known.parse(None), now=office.now, caller=public)
    assert page.body is not None
    assert WorkItemPage.model_validate_json(page.body).items == []


async def test_of_two_who_change_what_they_saw_one_wins(office: Office) -> None:
    item = await office.made(title="同时")
    etag = (await office.ask("GET", f"/{item['id']}")).headers["etag"]
    answers = await asyncio.gather(
        *(
            office.ask("PATCH", f"/{item['id']}", {"reason": "改", "title": f"同时{n}"}, headers={"If-Match": etag})
            for n in range(3)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412]


async def test_an_act_leaves_its_trace_and_its_event(office: Office) -> None:
    item = await office.made(title="留痕", person=None)
    await office.changed(item["id"], person={"name": "王某"})
    trail = await office.connection.fetch(
        "SELECT action, plan, unit, before, after FROM audit_entries WHERE subject = $1 ORDER BY at", item["id"]
    )
    assert [(row["action"], row["plan"], row["unit"]) for row in trail] == [
        ("work_item.create", PLAN, OWN),
        ("work_item.change", PLAN, OWN),
    ]
    assert '"missing":["person"]' in trail[1]["before"]
    assert '"missing":[]' in trail[1]["after"]
    told = await office.connection.fetch(
        "SELECT type, battle, unit, data->>'task' AS task, data->>'kind' AS kind FROM "
        "(SELECT type, battle, unit, subject, data FROM outbox UNION ALL "
        "SELECT type, battle, unit, subject, data FROM events) e WHERE subject::text = $1 ORDER BY type DESC",
        item["id"],
    )
    assert [tuple(row) for row in told] == [
        (kind, BATTLE, OWN, TASK, "project") for kind in ("work_item.created", "work_item.changed")
    ]


@pytest.mark.parametrize("table", ["work_items", "work_item_revisions"])
async def test_no_revision_is_ever_changed(office: Office, table: str) -> None:
    await office.made(title="不改")
    column = "kind = kind" if table == "work_items" else "title = title"
    for statement in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE", f"UPDATE {table} SET {column}"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await office.connection.execute(statement)
