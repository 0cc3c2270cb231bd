"""Rankings and inspections: recorded, corrected, answered as they were; what follows, and what is still lacking."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from app.clock import SHANGHAI
from app.db import Database, open_write_pool
from app.domain.roles import Actor, Grant, Role
from app.fragments import FragmentCache
from app.main import create_app
from app.rendering import Known
from app.schemas.inspection import CoverageRead, InspectionPage, InspectionQuery, InspectionRead
from app.schemas.ranking import ConsequencesRead, RankingPage, RankingQuery, RankingRead
from app.services.caller import Caller
from app.services.inspections import list_inspections
from app.services.rankings import list_rankings
from app.services.reader import Reader
from app.settings import Settings
from tests.conftest import Clone, CountingDatabase, make_key, serving

PLAN, BATTLE = "431228-2023", "431228-2023-5"
NOW = datetime(2023, 12, 20, 9, 0, tzinfo=SHANGHAI)
SAFETY, TRAFFIC, WATER = "县应急管理局", "县交通运输局", "县水利局"
HOLDERS = {
    "coordinator": [f"coordinator:{BATTLE}"],
    "coordinator elsewhere": [f"coordinator:{PLAN}-6"],
    "supervisor": ["supervisor"],
    "reader": ["reader"],
    "reporter": [],
    "other reporter": ["reporter:431228-jyj"],
}


def city(*places: tuple[str, int]) -> dict[str, Any]:
    entries = [{"unit": unit, "rank": rank, "of": 13} for unit, rank in places]
    return {"plan": PLAN, "kind": "city_departments", "period": "2023-Q2", "source": "怀安办通报", "entries": entries}


class Office:
    """A service on a database of its own, its clock, and who may ask it."""

    def __init__(self, client: httpx.AsyncClient, connection: Any, keys: dict[str, str]) -> None:
        self.client, self.connection, self.keys = client, connection, keys
        self.now = NOW

    async def ask(self, method: str, path: str, body: Any = None, who: str = "coordinator", **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.keys[who]}", **more.pop("headers", {})}
        return await self.client.request(method, f"/api/v1{path}", json=body, headers=headers, **more)

    async def post(self, path: str, body: Any, status: int = 201, **more: Any) -> Any:
        self.now += timedelta(minutes=1)
        answer = await self.ask("POST", path, body, **more)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def get(self, path: str, who: str = "coordinator", **query: Any) -> Any:
        answer = await self.ask("GET", path, who=who, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def follows(self, **query: Any) -> dict[str, Any]:
        found = await self.get("/rankings/consequences", plan=PLAN, **query)
        assert ConsequencesRead.model_validate(found)
        return {item["unit"]["name"]: item for item in found["items"]}


Opened = Callable[[], Awaitable[Office]]


@pytest_asyncio.fixture(scope="module")
async def office(clone: Clone) -> AsyncGenerator[Office]:
    async with clone() as url:
        connection = await asyncpg.connect(url)
        safety = await connection.fetchval(
            "SELECT u.code FROM units u JOIN unit_aliases a ON a.unit_id = u.id WHERE a.name = $1", SAFETY
        )
        async with open_write_pool(url, size=1) as pool:
            held = {**HOLDERS, "reporter": [f"reporter:{safety}"]}
            keys = {name: await make_key(Database(pool), name, grants) for name, grants in held.items()}
        standing: list[Office] = []
        try:
            app = create_app(Settings(database_url=url), clock=lambda: standing[0].now)
            async with serving(app) as client:
                standing.append(Office(client, connection, keys))
                yield standing[0]
        finally:
            await connection.close()


def faults(answer: Any) -> list[tuple[str, str]]:
    return [(one["pointer"], one["code"]) for one in answer["errors"]]


async def test_two_quarters_among_the_last_and_what_follows_until_one_is_corrected(office: Office) -> None:
    made = await office.ask("POST", "/rankings", city((SAFETY, 12), (TRAFFIC, 10), (WATER, 11)))
    assert made.status_code == 201, made.text
    ranking = made.json()
    assert RankingRead.model_validate(ranking)
    assert [(one["unit"]["name"], one["among_last"]) for one in ranking["entries"]] == [
        (TRAFFIC, False),
        (WATER, True),
        ("县应急局", True),
    ]
    assert (ranking["battle"], ranking["rule"], ranking["last_places"]) == (BATTLE, "quarterly-ranking-departments", 3)
    assert made.headers["etag"] == (await office.ask("GET", f"/rankings/{ranking['id']}")).headers["etag"]
    await office.post("/rankings", {**city((SAFETY, 5), (WATER, 13)), "period": "2023-Q3"})
    fourth = await office.post("/rankings", {**city((SAFETY, 13), (WATER, 1)), "period": "2023-Q4"})
    before = office.now

    found = await office.follows()
    assert set(found) == {"县应急局", WATER}
    assert [one["period"] for one in found["县应急局"]["quarters"]] == ["2023-Q2", "2023-Q4"]
    second = found["县应急局"]["consequence"]
    assert (second["rule"], second["locator"]) == ("ranking-second-no-award", "附件5/二/(一)/2")
    assert "应取消当年安全生产评先评优资格" in found["县应急局"]["explanation"]
    # Not in a row, it is the first time twice.
    found = await office.follows(counting="consecutive")
    assert found["县应急局"]["consequence"]["measure"] == "约谈"
    assert "由分管副县长约谈" in found["县应急局"]["explanation"]
    assert found[WATER]["times"] == 2

    body = {"reason": "市里更正", "source": "更正通报", "entries": city((SAFETY, 9), (WATER, 1))["entries"]}
    corrected = await office.post(f"/rankings/{fourth['id']}/correct", body, 200)
    assert (corrected["revision"], corrected["reason"]) == (2, "市里更正")
    assert (await office.follows())["县应急局"]["times"] == 1
    then = before.isoformat()
    assert (await office.follows(as_of=then))["县应急局"]["times"] == 2
    old = await office.get(f"/rankings/{fourth['id']}", as_of=then)
    assert {**old, "allowed_actions": ["correct"]} == fourth
    assert (await office.follows(unit=WATER)).keys() == {WATER}
    assert await office.follows(year=2024) == {}
    # A unit sees what is its own, and no other.
    assert set(await office.follows(who="reporter")) == {"县应急局"}
    shown = await office.get(f"/rankings/{ranking['id']}", who="reporter")
    assert [one["unit"]["name"] for one in shown["entries"]] == ["县应急局"]
    assert (await office.ask("GET", f"/rankings/{ranking['id']}", who="other reporter")).status_code == 404
    assert (await office.get("/rankings", who="other reporter"))["items"] == []
    page = await office.get("/rankings", who="reporter", unit=SAFETY, period="2023-Q2", include_total=True)
    assert RankingPage.model_validate(page)
    assert page["total"] == 1


async def test_townships_are_ranked_and_nothing_is_said_to_follow(office: Office) -> None:
    rows = await office.connection.fetch("SELECT code FROM units WHERE kind = 'township' ORDER BY code LIMIT 5")
    entries = [{"unit": row["code"], "rank": place} for place, row in enumerate(rows, 1)]
    body = {"plan": PLAN, "kind": "county_townships", "period": "2023-Q3", "source": "县安委办", "entries": entries}
    ranking = await office.post("/rankings", body)
    assert [one["of"] for one in ranking["entries"]] == [5] * 5
    assert [one["among_last"] for one in ranking["entries"]] == [False, False, True, True, True]
    found = await office.follows(kind="county_townships")
    assert len(found) == 3
    for item in found.values():
        assert item["consequence"] is None
        assert "原文没有规定乡镇监管执法排名居末位的后果" in item["explanation"]
    wrong = await office.post("/rankings", {**body, "period": "2023-Q4", "entries": [{**entries[0], "of": 9}]}, 422)
    assert faults(wrong) == [("/body/entries/0/of", "of_differs")]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"plan": "431228-2031"}, [("/body/plan", "unknown_plan")]),
        ({"period": "2023-04"}, [("/body/period", "not_a_quarter")]),
        ({"period": "2022-Q4"}, [("/body/period", "outside_plan")]),
        ({"entries": [{"unit": "无此单位", "rank": 1, "of": 2}]}, [("/body/entries/0/unit", "unknown_unit")]),
        ({"entries": [{"unit": SAFETY, "rank": 1}]}, [("/body/entries/0/of", "of_missing")]),
        ({"entries": [{"unit": SAFETY, "rank": 3, "of": 2}]}, [("/body/entries/0/rank", "rank_beyond")]),
        ({"entries": [{"unit": "芷江镇", "rank": 1, "of": 2}]}, [("/body/entries/0/unit", "not_ranked_here")]),
        (
            {"entries": [{"unit": SAFETY, "rank": 1, "of": 2}, {"unit": "县应急局", "rank": 1, "of": 2}]},
            [("/body/entries/1/unit", "repeated_unit")],
        ),
    ],
)
async def test_a_ranking_that_does_not_fit_is_refused(
    office: Office, changes: dict[str, Any], found: list[tuple[str, str]]
) -> None:
    body = {**city((SAFETY, 1)), "period": "2023-Q1", **changes}
    assert faults(await office.post("/rankings", body, 422, who="supervisor")) == found


async def test_a_quarter_that_lies_ahead_has_no_ranking_yet(office: Office) -> None:
    kept, office.now = office.now, datetime(2023, 9, 30, 9, 0, tzinfo=SHANGHAI)
    refused = await office.post("/rankings", {**city((SAFETY, 1)), "period": "2023-Q4"}, 422)
    assert faults(refused) == [("/body/period", "period_ahead")]
    office.now = kept


async def test_who_may_record_and_that_it_is_recorded_once(office: Office) -> None:
    body = {**city((SAFETY, 1)), "period": "2023-Q1"}
    for who in ("reader", "reporter", "coordinator elsewhere"):
        await office.post("/rankings", body, 403, who=who)
    answers = await asyncio.gather(*(office.ask("POST", "/rankings", body) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    made = next(answer for answer in answers if answer.status_code == 201)
    path, etag = f"/rankings/{made.json()['id']}/correct", made.headers["etag"]
    correction = {"reason": "误", "source": "更正", "entries": body["entries"]}
    answers = await asyncio.gather(
        *(office.ask("POST", path, correction, headers={"If-Match": etag}) for _ in range(3))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412]
    assert (await office.ask("POST", path, correction, who="reader")).status_code == 403


# Inspections ---------------------------------------------------------------------------------------------------------

FINDINGS = [
    {"title": "超量存放", "description": "两处零售点存放量超过许可。", "due_on": "2023-06-15"},
    {"title": "通道堵塞", "description": "安全出口上锁。"},
]


def inspection(**changes: Any) -> dict[str, Any]:
    about = {"plan": PLAN, "period": "2023-Q2", "team": 1, "unit": "芷江镇", "inspected_on": "2023-05-16"}
    return {**about, "findings": [], **changes}


async def test_findings_are_cases_and_the_four_parts_come_one_by_one(office: Office) -> None:
    made = await office.ask("POST", "/inspections", inspection(findings=FINDINGS))
    assert made.status_code == 201, made.text
    found = made.json()
    assert InspectionRead.model_validate(found)
    assert found["lacking"] == ["assessment", "circular", "exposure"]
    assert (found["rule"], found["locator"], found["battle"]) == ("quarterly-inspection", "附件5/二/(四)/5", BATTLE)
    assert [(one["title"], one["due_on"], one["state"]) for one in found["findings"]] == [
        ("超量存放", "2023-06-15", "registered"),
        ("通道堵塞", None, "registered"),
    ]
    first = found["findings"][0]["case"]
    case = await office.get(f"/cases/{first}")
    assert (case["kind"], case["unit"], case["battle"]) == ("inspection_finding", found["unit"], BATTLE)
    assert "quarterly-inspection" in case["source_ref"]
    before = office.now
    await office.post(f"/cases/{first}/assign", {"responsible_person": "某人", "due_on": "2023-12-31"}, 200)
    path = f"/inspections/{found['id']}"
    assert (await office.get(path))["findings"][0]["state"] == "assigned"
    assert (await office.get(path, as_of=before.isoformat()))["findings"][0]["state"] == "registered"

    office.now += timedelta(minutes=1)
    scored = await office.ask("PATCH", path, {"score": 92.5, "circular_ref": "芷安办通报"})
    assert (scored.json()["score"], scored.json()["lacking"], scored.json()["revision"]) == (92.5, ["exposure"], 2)
    assert scored.headers["etag"] == (await office.ask("GET", path)).headers["etag"]
    assert (await office.get(path, as_of=before.isoformat()))["lacking"] == ["assessment", "circular", "exposure"]
    stale = await office.ask("PATCH", path, {"score": 1}, headers={"If-Match": made.headers["etag"]})
    assert stale.status_code == 412
    assert (await office.ask("PATCH", path, {"score": 1}, who="reader")).status_code == 403
    assert (await office.ask("PATCH", path, {"score": 1}, who="reporter")).status_code == 403
    assert (await office.ask("GET", path, who="reporter")).status_code == 404
    await office.post("/inspections", inspection(), 409)

    coverage = await office.get("/inspections/coverage", plan=PLAN, period="2023-Q2")
    assert CoverageRead.model_validate(coverage)
    assert (coverage["inspected"], coverage["owed"]) == (1, len(coverage["items"]))
    kinds = [item["kind"] for item in coverage["items"]]
    assert (kinds.count("township"), len(kinds) - kinds.count("township")) == (18, 14)
    covered = {item["unit"]["name"]: (item["inspection"], item["lacking"]) for item in coverage["items"]}
    assert covered["芷江镇"] == (found["id"], ["exposure"])
    assert covered["县应急局"] == (None, ["inspection", "assessment", "circular", "exposure"])
    assert (await office.get("/inspections/coverage", plan=PLAN, period="2023-Q3"))["inspected"] == 0
    earlier = await office.get("/inspections/coverage", plan=PLAN, period="2023-Q2", as_of="2023-12-01T00:00:00+08:00")
    assert earlier["inspected"] == 0
    own = await office.get("/inspections/coverage", who="reporter", plan=PLAN, period="2023-Q2")
    assert [item["unit"]["name"] for item in own["items"]] == ["县应急局"]


async def test_inspections_are_listed_by_what_is_asked(office: Office) -> None:
    for unit, team in ((TRAFFIC, 2), (SAFETY, 3)):
        await office.post("/inspections", inspection(unit=unit, team=team, period="2023-Q3", inspected_on="2023-08-01"))
    page = await office.get("/inspections", plan=PLAN, period="2023-Q3", include_total=True, sort="-id")
    assert InspectionPage.model_validate(page)
    assert ([item["team"] for item in page["items"]], page["total"]) == ([3, 2], 2)
    assert [item["team"] for item in (await office.get("/inspections", team=2))["items"]] == [2]
    assert [item["team"] for item in (await office.get("/inspections", unit=SAFETY))["items"]] == [3]
    assert [item["team"] for item in (await office.get("/inspections", who="reporter"))["items"]] == [3]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"team": 4}, [("/body/team", "unknown_team")]),
        ({"inspected_on": "2023-07-01"}, [("/body/inspected_on", "outside_period")]),
        ({"period": "2023-Q4", "inspected_on": "2023-12-30"}, [("/body/inspected_on", "not_yet")]),
        (
            {"findings": [{"title": "a", "description": "b", "due_on": "2023-05-01"}]},
            [("/body/findings/0/due_on", "before_inspection")],
        ),
        ({"unit": "无此单位"}, [("/body/unit", "unknown_unit")]),
    ],
)
async def test_an_inspection_that_does_not_fit_is_refused(
    office: Office, changes: dict[str, Any], found: list[tuple[str, str]]
) -> None:
    assert (
        faults(
            await office.post(
                "/inspections",
                inspection(unit="县教育局", **changes) if "unit" not in changes else inspection(**changes),
                422,
            )
        )
        == found
    )


async def test_what_was_done_left_its_trace_and_is_told_to_each_unit(office: Office) -> None:
    trail = await office.connection.fetch("SELECT action, subject FROM audit_entries")
    done = {row["action"] for row in trail}
    assert {"ranking.record", "ranking.correct", "inspection.record", "inspection.change"} <= done
    told = await office.connection.fetch(
        "SELECT type, unit, data->>'period' AS period FROM outbox UNION ALL "
        "SELECT type, unit, data->>'period' FROM events"
    )
    found = {tuple(row) for row in told}
    assert ("inspection.recorded", "431228-zjz", "2023-Q2") in found
    assert len({unit for kind, unit, period in found if kind == "ranking.recorded" and period == "2023-Q2"}) == 3
    for table in ("rankings", "ranking_revisions", "ranking_entries", "inspections", "inspection_revisions"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await office.connection.execute(f"DELETE FROM {table}")


async def test_a_page_of_fifty_costs_one_statement(office: Office) -> None:
    asking = Caller(Actor("account:1", "甲", (Grant(Role.SUPERVISOR),)))
    for limit in (1, 50):
        counting = CountingDatabase(office.client.reader.pool)  # type: ignore[attr-defined]
        reader, none = Reader(counting, FragmentCache(0)), Known.parse(None)
        await list_rankings(reader, RankingQuery(limit=limit), none, now=NOW, caller=asking)
        await list_inspections(reader, InspectionQuery(limit=limit), none, now=NOW, caller=asking)
        assert len(counting.statements) == 2
