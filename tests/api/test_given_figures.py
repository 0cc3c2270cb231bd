"""Figures that came from above: taken by tasks that wait for them, and from then on targets like any other."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from app.clock import SHANGHAI
from app.db import Database, create_engine, open_write_pool
from app.main import create_app
from app.schemas.given_figure import GivenFigureRead, GivenFiguresRead
from app.settings import Settings
from seed.loader import load_plan
from tests.conftest import Clone, make_key, serving

PLAN, BATTLE = "431228-2023", "431228-2023-6"
TASK, OTHER_TASK, OWN_FIGURES = f"{BATTLE}-3-4", f"{BATTLE}-3-3", f"{PLAN}-1-2-5"
NOW = datetime(2023, 5, 10, 9, 0, tzinfo=SHANGHAI)
DOCUMENT = {
    "number": "怀教发〔2023〕5号",
    "title": "关于下达任务的通知",
    "issuer": "市教育局",
    "issued_on": "2023-05-08",
}
NEW: dict[str, Any] = {
    "indicator": "新增公办学位",
    "unit_of_measure": "个",
    "direction": "higher",
    "accumulation": "cumulative",
    "operator": "gte",
    "value": 800,
    "text": "新增公办学位800个以上",
    "due_on": "2023-11-30",
    "document": DOCUMENT,
}
HOLDERS = {
    "coordinator": [f"coordinator:{BATTLE}"],
    "coordinator elsewhere": [f"coordinator:{PLAN}-1"],
    "reporter": ["reporter:431228-jyj"],
    "reader": ["reader"],
    "supervisor": ["supervisor"],
    "certifier": ["certifier:431228-tjj"],
}


class Office:
    def __init__(self, client: httpx.AsyncClient, connection: Any, keys: dict[str, str], url: str) -> None:
        self.client, self.connection, self.keys, self.url = client, connection, keys, url
        self.now = NOW

    async def ask(self, method: str, path: str, body: Any = None, who: str = "supervisor", **params: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.keys[who]}"}
        return await self.client.request(method, f"/api/v1{path}", json=body, headers=headers, params=params)

    async def give(self, task: str = TASK, who: str = "coordinator", **changes: Any) -> httpx.Response:
        self.now += timedelta(minutes=1)
        return await self.ask("POST", f"/tasks/{task}/figures", {**NEW, **changes}, who)

    async def given(self, task: str = TASK, **changes: Any) -> dict[str, Any]:
        answer = await self.give(task, **changes)
        assert answer.status_code == 201, answer.text
        assert GivenFigureRead.model_validate_json(answer.content)
        return answer.json()

    async def got(self, path: str, **params: Any) -> Any:
        answer = await self.ask("GET", path, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()


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
                standing.append(Office(client, connection, keys, url))
                yield standing[0]
        finally:
            await connection.close()


def faults(answer: httpx.Response) -> list[tuple[str, str]]:
    assert answer.status_code == 422, answer.text
    return [(one["pointer"], one["code"]) for one in answer.json()["errors"]]


async def test_a_given_figure_is_a_target_like_any_other(office: Office) -> None:
    before = await office.ask("GET", f"/tasks/{TASK}")
    ordinary = {one["code"] for one in before.json()["targets"]}
    figure = await office.given()
    code = figure["code"]
    assert code == f"{TASK}-T101"
    assert (figure["value"], figure["due_on"], figure["due_printed"]) == (800, "2023-11-30", True)
    assert figure["given_by"]["document"] == DOCUMENT
    assert figure["given_by"]["given_at"] == office.now.isoformat()
    assert "市教育局怀教发〔2023〕5号" in figure["explanation"]
    target = await office.got(f"/targets/{code}")
    plain = {name: value for name, value in figure.items() if name != "explanation"}
    assert target == {**plain, "observations": []}
    task = await office.ask("GET", f"/tasks/{TASK}")
    assert task.headers["etag"] != before.headers["etag"]
    assert {one["code"] for one in task.json()["targets"]} == ordinary | {code}
    assert next(one for one in task.json()["targets"] if one["code"] == code) == plain
    for q in ("新增公办学位", "xzgbxw"):
        assert code in [one["code"] for one in (await office.got("/targets", q=q))["items"]]
        assert code in [one["code"] for one in (await office.got("/search", q=q))["items"]]
    # The unit reports for it, and the figure counts once it is certified.
    report = {
        "task": TASK,
        "unit": "431228-jyj",
        "period": "2023-05",
        "stage": "in_progress",
        "percent_complete": 40,
        "observations": [{"target": code, "value": 900}],
    }
    rolled = await office.got(f"/battles/{BATTLE}/progress")
    identity = (await office.ask("POST", "/submissions", report, "reporter")).json()["id"]
    assert (await office.ask("POST", f"/submissions/{identity}/certify", {}, "certifier")).status_code == 200
    (seen,) = (await office.got(f"/targets/{code}"))["observations"]
    assert (seen["value"], seen["period"]) == (900, "2023-05")
    after = await office.got(f"/battles/{BATTLE}/progress")
    assert after["targets_reached"] == rolled["targets_reached"] + 1
    # What was so before it was given stays so.
    early = await office.got(f"/battles/{BATTLE}/progress", as_of=NOW.isoformat())
    assert early["targets"] == rolled["targets"] - 1


async def test_a_later_document_replaces_a_figure_and_the_old_one_stays(office: Office) -> None:
    old = await office.given(
        OTHER_TASK, indicator="危房改造户数", unit_of_measure="户", text="危房改造300户", value=300
    )
    before, counted = office.now, (await office.got(f"/battles/{BATTLE}/progress"))["targets"]
    new = await office.given(
        OTHER_TASK,
        indicator="危房改造户数",
        unit_of_measure=None,
        direction=None,
        accumulation=None,
        text="危房改造350户",
        value=350,
        replaces=old["code"],
        document={**DOCUMENT, "number": "怀建发〔2023〕9号"},
    )
    assert (new["indicator"], new["given_by"]["replaces"]) == (old["indicator"], old["code"])
    listed = await office.got(f"/tasks/{OTHER_TASK}/figures")
    assert GivenFiguresRead.model_validate(listed)
    offered = [
        (await office.ask("GET", f"/tasks/{task}/figures", who=who)).json()["allowed_actions"]
        for task, who in ((OTHER_TASK, "coordinator"), (OTHER_TASK, "reporter"), (OWN_FIGURES, "supervisor"))
    ]
    assert offered == [["give"], [], []]
    assert [one["given_by"]["superseded_by"] for one in listed["items"]] == [new["code"], None]
    assert "不再计入" in listed["items"][0]["explanation"]
    then = await office.got(f"/tasks/{OTHER_TASK}/figures", as_of=before.isoformat())
    assert [(one["code"], one["given_by"]["superseded_by"]) for one in then["items"]] == [(old["code"], None)]
    assert (await office.got(f"/battles/{BATTLE}/progress"))["targets"] == counted
    assert (await office.give(OTHER_TASK, replaces=old["code"])).status_code == 409
    foreign = await office.give(TASK, replaces=new["code"])
    assert faults(foreign) == [("/body/replaces", "not_given")]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"task": OWN_FIGURES, "who": "supervisor"}, [("/path/code", "not_upstream")]),
        ({"document": {**DOCUMENT, "issued_on": "2023-06-01"}}, [("/body/document/issued_on", "not_yet")]),
        (
            {"indicator": "从未有过的指标", "direction": None, "accumulation": None},
            [("/body/direction", "new_indicator"), ("/body/accumulation", "new_indicator")],
        ),
        (
            {"indicator": "新建高标准农田面积", "unit_of_measure": "公顷"},
            [("/body/unit_of_measure", "other_indicator")],
        ),
    ],
)
async def test_what_does_not_fit_is_refused(
    office: Office, changes: dict[str, Any], found: list[tuple[str, str]]
) -> None:
    assert faults(await office.give(**changes)) == found


@pytest.mark.parametrize(
    "changes",
    [
        {"operator": "range"},
        {"value_max": 900},
        {"operator": "range", "value_max": 1},
        {"value": "1"},
        {"text": " "},
        {"document": None},
        {"indicator": "a\0"},
    ],
)
async def test_what_is_out_of_bounds_is_refused(office: Office, changes: dict[str, Any]) -> None:
    assert (await office.give(**changes)).status_code == 422


async def test_who_may_give_a_figure(office: Office) -> None:
    for who in ("reader", "reporter", "coordinator elsewhere"):
        assert (await office.give(who=who)).status_code == 403
    assert (await office.give(f"{BATTLE}-9-9")).status_code == 404


async def test_figures_given_at_once_take_a_number_each_and_one_indicator(office: Office) -> None:
    task = f"{BATTLE}-3-5"
    answers = await asyncio.gather(*(office.give(task, indicator="同时下达的指标", text=f"第{n}") for n in range(3)))
    made = [answer.json() for answer in answers]
    assert sorted(one["code"] for one in made) == [f"{task}-T{n}" for n in (101, 102, 103)]
    assert len({one["indicator"] for one in made}) == 1


async def test_a_load_of_the_plan_leaves_given_figures_alone(office: Office) -> None:
    await office.given(f"{BATTLE}-3-6", indicator="重载指标", text="重载之后仍在")
    engine = create_engine(office.url)
    try:
        report = await load_plan(engine, Path("seed/431228-2023"), now=office.now)
    finally:
        await engine.dispose()
    assert not report.changed
    assert [one["code"] for one in (await office.got("/targets", q="重载之后仍在"))["items"]] == [f"{BATTLE}-3-6-T101"]


async def test_the_trail_and_the_stream_tell_of_it_and_the_record_is_frozen(office: Office) -> None:
    figure = await office.given(indicator="留痕指标", text="留痕")
    row = await office.connection.fetchrow(
        "SELECT action, plan, after->'given_by'->'document'->>'number' AS number FROM audit_entries WHERE subject = $1",
        figure["code"],
    )
    assert tuple(row) == ("target.give", PLAN, DOCUMENT["number"])
    told = await office.connection.fetch(
        "SELECT battle, unit, data->>'task' FROM outbox WHERE type = 'target.given' "
        "UNION ALL SELECT battle, unit, data->>'task' FROM events WHERE type = 'target.given'"
    )
    assert (BATTLE, "431228-jyj", TASK) in [tuple(one) for one in told]
    for statement in ("DELETE FROM given_figures", "UPDATE given_figures SET actor = ''", "TRUNCATE given_figures"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await office.connection.execute(statement)
