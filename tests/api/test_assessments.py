"""Assessments: what is previewed changes nothing, what is settled never changes, and both can be worked out by hand."""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from app.clock import SHANGHAI
from app.db import Database, open_write_pool
from app.main import create_app
from app.settings import Settings
from tests.conftest import KEYS, Clone, CountingDatabase, make_key, nobody_leads, serving
from tests.contract.test_bad_input import contents

API = "/api/v1"
PLAN, BATTLE = "431228-2023", "431228-2023-6"
EDUCATION, FARMING = "431228-jyj", "431228-nyncj"
YEAR_OVER = "2024-01-01T00:00:00+08:00"
GIVEN = {"plan": PLAN, "unit": EDUCATION}
FAULT = {**GIVEN, "kind": "erroneous", "description": "报送数大于核查数", "evidence": "核查记录"}
HOLDERS = {
    "supervisor": [f"supervisor@{PLAN}"],
    "reviewer": ["supervisor"],
    "reporter": [f"reporter:{EDUCATION}"],
    "other": [f"reporter:{FARMING}"],
    "coordinator": [f"coordinator:{BATTLE}"],
    "reader": ["reader"],
}


class Office:
    """A service on a database of its own, the clock it goes by, and who asks it."""

    def __init__(self, client: httpx.AsyncClient, url: str, keys: dict[str, str]) -> None:
        self.client = client
        self.url = url
        self.keys = keys
        self.now = datetime(2023, 6, 1, 9, tzinfo=SHANGHAI)

    async def ask(self, who: str, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self.keys[who]}"}
        answer = await self.client.request(method, f"{API}{path}", json=body, params=query, headers=headers)
        return answer.status_code, answer.json()

    async def get(self, path: str, who: str = "supervisor", **query: Any) -> dict[str, Any]:
        status, answer = await self.ask(who, "GET", path, **query)
        assert status == 200, answer
        return answer

    async def post(self, path: str, body: Any, who: str = "supervisor", status: int = 201) -> dict[str, Any]:
        found, answer = await self.ask(who, "POST", path, body)
        assert found == status, answer
        return answer

    async def preview(self, who: str = "supervisor", unit: str = EDUCATION, **query: Any) -> dict[str, Any]:
        (found,) = (await self.get("/assessments/preview", who, plan=PLAN, unit=unit, **query))["items"]
        return found

    async def report(self, task: str, period: str) -> str:
        said = {"stage": "in_progress", "percent_complete": 40}
        return (
            await self.post("/submissions", {"task": task, "unit": EDUCATION, "period": period, **said}, "reporter")
        )["id"]

    async def fault(self, **changes: Any) -> str:
        return (await self.post("/faults", {**FAULT, **changes}))["id"]

    async def upheld(self, **changes: Any) -> str:
        fault = await self.fault(**changes)
        await self.post(f"/faults/{fault}/answer", {"text": "口径不同"}, "reporter", 200)
        await self.post(f"/faults/{fault}/decide", {"decision": "upheld", "reason": "属实"}, status=200)
        return fault

    async def run(self, statement: str) -> Any:
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetch(statement)
        finally:
            await connection.close()


@pytest_asyncio.fixture(scope="module")
async def place(clone: Clone) -> AsyncGenerator[Office]:
    async with clone() as url, nobody_leads(url):
        async with open_write_pool(url, size=1) as pool:
            keys = {name: await make_key(Database(pool), name, grants) for name, grants in HOLDERS.items()}
        office: Any = None
        app = create_app(Settings(database_url=url), clock=lambda: office.now)
        async with serving(app) as client:
            office = Office(client, url, {**KEYS, **keys})
            # April is on time; May is late, and one of its reports was sent back first.
            for period, day in (("2023-04", 15), ("2023-05", 25)):
                office.now = datetime(2023, int(period[-1]), day, 9, tzinfo=SHANGHAI)
                owed = await office.get("/obligations", rule="monthly-form", unit=EDUCATION, period=period)
                made = [await office.report(one["task"], period) for one in owed["items"]]
                if period == "2023-05":
                    await office.post(f"/submissions/{made[0]}/return", {"reason": "请核对"}, "certifier", 200)
                    await office.post(f"/submissions/{made[0]}/submit", {}, "reporter", 200)
                await office.post("/certifications", {"ids": made}, "certifier", 200)
            text = {"rule": "work-bulletin-item", "unit": EDUCATION, "period": "2023-05"}
            for _ in range(2):
                await office.post("/materials", {**text, "title": "信息", "content": "正文"}, "reporter")
            office.now = datetime(2023, 6, 1, 9, tzinfo=SHANGHAI)
            yield office


@pytest.fixture
def office(place: Office) -> Office:
    place.now = place.now + timedelta(days=1)
    return place


def worked_out(result: dict[str, Any]) -> tuple[Decimal, str]:
    """Total and grade by hand: from the inputs of the lines and the scheme, and nothing else of the answer."""
    scheme = result["scheme"]["parameters"]
    step = Decimal(1).scaleb(-scheme["decimals"])
    counted = [line for line in result["lines"] if line["points"] is not None]
    weights = sum(Fraction(str(scheme["weights"][line["aspect"]])) for line in counted if line["aspect"])
    total = Decimal(0)
    for line in counted:
        given = {name: Fraction(str(value)) for name, value in line["inputs"].items()}
        if line["fault"]:
            limit = scheme["caps"][line["fault"]]
            lost = given["count"] * Fraction(str(scheme["points"][line["fault"]]))
            exact = -min(lost, Fraction(str(limit)))
        else:
            exact = ratio_of(line["aspect"], given, Fraction(str(scheme["completed_share"])) / 100)
            exact *= Fraction(str(scheme["weights"][line["aspect"]])) * 100 / weights
        points = (Decimal(exact.numerator) / exact.denominator).quantize(step, ROUND_HALF_UP)
        assert points == Decimal(str(line["points"])), line
        total += points
    total = min(Decimal(100), max(Decimal(0), total))
    if total < scheme["qualified_from"]:
        return total, "undetermined"
    return total, "excellent" if total >= scheme["excellent_from"] and not result["capped_by"] else "qualified"


def ratio_of(aspect: str, given: dict[str, Fraction], share: Fraction) -> Fraction:
    if "mark" in given:
        return given["mark"] / 100
    match aspect:
        case "dispatch":
            return given["on_time"] / given["due"]
        case "completion":
            return given["completed"] / given["tasks"] * share + given["mean_percent"] / 100 * (1 - share)
        case "quality":
            return given["clean"] / given["certified"]
        case _:
            return given["sent"] / given["due"]


def line_of(result: dict[str, Any], item: str) -> dict[str, Any]:
    return next(line for line in result["lines"] if item in {line["aspect"], line["fault"]})


def assert_by_hand(result: dict[str, Any]) -> None:
    assert worked_out(result) == (Decimal(str(result["total"])), result["grade"])


async def test_a_preview_says_all_that_it_rests_on_and_keeps_nothing(office: Office) -> None:
    before = await contents(office.url)
    whole = await office.get("/assessments/preview", plan=PLAN)
    assert len(whole["items"]) == 18
    assert whole["battle"] == BATTLE
    for result in whole["items"]:
        assert_by_hand(result)
        assert result["interim"] is True
        assert all(line["source"] and line["explanation"] and line["formula"] for line in result["lines"])
    result = await office.preview()
    # One month in time and one late; all tasks at 40%; of April and May a text each was due, and May's came twice.
    assert {line["aspect"]: line["inputs"] for line in result["lines"] if line["aspect"]} == {
        "dispatch": {"on_time": 3, "due": 6, "weight": 20, "counted_weights": 90},
        "completion": {
            "completed": 0,
            "tasks": 3,
            "mean_percent": 40,
            "completed_share": 50,
            "weight": 40,
            "counted_weights": 90,
        },
        "quality": {"clean": 5, "certified": 6, "weight": 20, "counted_weights": 90},
        "upkeep": {},
        "experience": {"sent": 1, "due": 2, "weight": 10, "counted_weights": 90},
    }
    assert line_of(result, "upkeep")["points"] is None
    assert "后续管理没有依据,不计入" in result["explanation"]
    assert result["scheme"]["version"] == 0
    assert "默认办法" in result["scheme"]["note"]
    assert (result["capped_by"][0]["reason"], len(result["capped_by"][0]["tasks"])) == ("unfinished_tasks", 3)
    assert await contents(office.url) == before


async def test_a_preview_counts_as_compliance_and_progress_do(office: Office) -> None:
    for as_of in ("2023-04-16T00:00:00+08:00", "2023-05-24T00:00:00+08:00", "2023-06-01T00:00:00+08:00"):
        await assert_counts_agree(office.get, await office.preview(as_of=as_of), as_of)


async def assert_counts_agree(get: Any, result: dict[str, Any], as_of: str) -> None:
    """The inputs of a result are what the other queries answer of the same instant."""
    unit, given = result["unit"]["unit"], {"plan": PLAN, "as_of": as_of}

    async def counted(rule: str) -> dict[str, Any]:
        rows = (await get("/compliance", rule=rule, group_by="unit", **given))["items"]
        return next(row for row in rows if row["key"] == unit)

    forms, texts, cases = [await counted(rule) for rule in ("monthly-form", "work-bulletin-item", "experience-case")]
    timely = forms["timeliness"]
    dispatch = line_of(result, "dispatch")["inputs"]
    if timely["denominator"]:
        assert (dispatch["on_time"], dispatch["due"]) == (timely["numerator"], timely["denominator"])
    for fault in ("late", "missed"):
        count = line_of(result, fault)["inputs"]["count"]
        assert count == sum(one[fault] for one in (forms, texts, cases))
    completion = line_of(result, "completion")["inputs"]
    owed = (await get("/obligations", rule="monthly-form", unit=unit, limit=500))["items"]
    newest = []
    for task in sorted({one["task"] for one in owed}):
        points = (await get(f"/tasks/{task}/progress", as_of=as_of))["items"]
        own = [point for point in points if point["unit"]["unit"] == unit and point["certified"]]
        newest.append((task, own[-1]["percent_complete"] if own else 0))
    assert (completion["tasks"], completion["completed"]) == (len(newest), sum(p == 100 for _, p in newest))
    mean = sum((Decimal(str(percent)) for _, percent in newest), Decimal(0)) / len(newest)
    assert Decimal(str(completion["mean_percent"])) == mean.quantize(Decimal("0.01"), ROUND_HALF_UP)
    unfinished = [task for task, percent in newest if percent != 100]
    assert [cap["tasks"] for cap in result["capped_by"] if cap["reason"] == "unfinished_tasks"] == (
        [unfinished] if unfinished else []
    )


async def test_another_scheme_changes_what_is_previewed_and_nothing_else(office: Office) -> None:
    parameters = (await office.preview())["scheme"]["parameters"]
    weights = {"dispatch": 100, "completion": 0, "quality": 0, "upkeep": 0, "experience": 0}
    tried = {**parameters, "weights": weights, "decimals": 1}
    before = await contents(office.url)
    found = await office.post("/assessments/preview", {**GIVEN, "parameters": tried}, "reporter", 200)
    assert await contents(office.url) == before
    (result,) = found["items"]
    assert (line_of(result, "dispatch")["points"], result["scheme"]["version"]) == (50, None)
    assert_by_hand(result)
    scheme = {"plan": PLAN, "effective_on": "2024-06-01", "parameters": tried, "note": "试行"}
    made = await office.post("/assessment-schemes", scheme)
    assert (made["version"], made["parameters"]["weights"]) == (1, weights)
    # Until it is in force it is used by whoever names it.
    assert (await office.preview())["scheme"]["version"] == 0
    named = await office.preview(scheme=made["id"])
    assert (named["scheme"]["version"], named["total"]) == (1, result["total"])
    assert (await office.preview(judged_as_of="2024-06-01T00:00:00+08:00"))["scheme"]["version"] == 1
    listed = await office.get("/assessment-schemes", plan=PLAN)
    assert [one["id"] for one in listed["items"]] == [made["id"]]
    assert (await office.get("/assessment-schemes", as_of="2023-06-01T00:00:00+08:00"))["items"] == []
    assert await office.get(f"/assessment-schemes/{made['id']}") == made


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"weights": {"dispatch": 100, "completion": 1, "quality": 0, "upkeep": 0, "experience": 0}}, "合计须为 100"),
        ({"excellent_from": 50}, "合格线不得高于优秀线"),
        ({"decimals": 9}, "4"),
        ({"completed_share": "50"}, "数"),
    ],
)
async def test_a_scheme_that_does_not_hold_together_is_refused(office: Office, changed: Any, said: str) -> None:
    parameters = {**(await office.preview())["scheme"]["parameters"], **changed}
    body = {"plan": PLAN, "effective_on": "2023-06-01", "parameters": parameters, "note": "试行"}
    refused = await office.post("/assessment-schemes", body, status=422)
    assert "/body/parameters" in refused["errors"][0]["pointer"]
    assert said in refused["errors"][0]["detail"]


async def test_a_fault_counts_once_it_is_upheld_and_the_unit_is_heard_first(office: Office) -> None:
    start = office.now
    fault = await office.fault(task="431228-2023-6-3-4", period="2023-05")
    pending = await office.preview()
    assert (pending["pending_faults"], line_of(pending, "erroneous")["inputs"]["count"]) == (1, 0)
    assert "1 起登记的过错尚未认定" in pending["explanation"]
    early = await office.post(f"/faults/{fault}/decide", {"decision": "upheld", "reason": "属实"}, status=409)
    assert (early["type"], early["allowed"]) == ("/problems/wrong-step", ["answer", "dismiss"])
    assert (await office.get(f"/faults/{fault}", "reporter"))["allowed_actions"] == ["answer"]
    office.now += timedelta(hours=1)
    answered = await office.post(f"/faults/{fault}/answer", {"text": "口径不同"}, "reporter", 200)
    assert (answered["state"], answered["allowed_actions"]) == ("answered", [])
    again = await office.post(f"/faults/{fault}/answer", {"text": "再说"}, "reporter", 409)
    assert again["allowed"] == ["uphold", "dismiss"]
    office.now += timedelta(hours=1)
    upheld = await office.post(f"/faults/{fault}/decide", {"decision": "upheld", "reason": "属实"}, status=200)
    assert (upheld["state"], upheld["counts"], upheld["allowed_actions"]) == ("upheld", True, ["withdraw"])
    counted = await office.preview()
    assert (counted["pending_faults"], line_of(counted, "erroneous")["points"]) == (0, -2)
    assert_by_hand(counted)
    office.now += timedelta(hours=1)
    withdrawn = {"decision": "withdrawn", "reason": "复查不实"}
    assert (await office.post(f"/faults/{fault}/decide", withdrawn, status=200))["state"] == "withdrawn"
    assert (await office.post(f"/faults/{fault}/decide", withdrawn, status=409))["allowed"] == []
    assert line_of(await office.preview(), "erroneous")["inputs"]["count"] == 0
    # Then it was as it was then.
    for hours, state, counts in ((0, "recorded", 0), (1, "answered", 0), (2, "upheld", 1), (3, "withdrawn", 0)):
        as_of = (start + timedelta(hours=hours)).isoformat()
        then = await office.get(f"/faults/{fault}", as_of=as_of)
        assert (then["state"], then["answer"] is None, then["allowed_actions"]) == (state, hours == 0, [])
        listed = await office.get("/faults", unit=EDUCATION, state=state, as_of=as_of)
        assert fault in [one["id"] for one in listed["items"]]
        assert line_of(await office.preview(as_of=as_of), "erroneous")["inputs"]["count"] == counts
    before = (start - timedelta(hours=1)).isoformat()
    assert (await office.ask("supervisor", "GET", f"/faults/{fault}", as_of=before))[0] == 404


async def test_what_nobody_answers_is_upheld_once_the_time_is_over(office: Office) -> None:
    due = office.now + timedelta(hours=2)
    fault = await office.fault(kind="grave_effect", answer_due_at=due.isoformat())
    office.now += timedelta(hours=3)
    await office.post(f"/faults/{fault}/decide", {"decision": "upheld", "reason": "属实"}, status=200)
    result = await office.preview()
    assert [cap["reason"] for cap in result["capped_by"]] == ["unfinished_tasks", "grave_effect"]
    await office.post(f"/faults/{fault}/decide", {"decision": "withdrawn", "reason": "复查不实"}, status=200)


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"unit": "没有这个单位"}, "/body/unit"),
        ({"unit": "431228-fgj"}, "/body/unit"),
        ({"task": "431228-2023-6-9-9"}, "/body/task"),
        ({"task": "431228-2023-1-1-1", "battle": BATTLE}, "/body/task"),
        ({"period": "2023-13"}, "/body/period"),
        ({"battle": "431228-2023-9"}, "/body/battle"),
        ({"plan": "431228-2029"}, "/body/plan"),
        ({"kind": "late"}, "/body/kind"),
        ({"evidence": "\x00"}, "/body/evidence"),
        ({"answer_due_at": "2023-01-01T00:00:00+08:00"}, "/body/answer_due_at"),
    ],
)
async def test_a_fault_that_is_none_is_refused(office: Office, changed: Any, pointer: str) -> None:
    refused = await office.post("/faults", {**FAULT, **changed}, "reviewer", 422)
    assert refused["errors"][0]["pointer"] == pointer


async def test_two_decisions_at_once_are_one(office: Office) -> None:
    fault = await office.fault()
    decided = {"decision": "dismissed", "reason": "不实"}
    asked = [office.ask("supervisor", "POST", f"/faults/{fault}/decide", decided) for _ in range(4)]
    assert sorted(status for status, _ in await asyncio.gather(*asked)) == [200, 409, 409, 409]


async def test_the_newest_mark_counts_and_the_older_stay(office: Office) -> None:
    start = office.now
    for value, hours in ((70, 0), (92.5, 1)):
        office.now = start + timedelta(hours=hours)
        await office.post("/marks", {**GIVEN, "aspect": "upkeep", "value": value, "reason": "现场查看"})
    await office.post("/marks", {**GIVEN, "aspect": "quality", "value": 60, "reason": "验收"})
    result = await office.preview()
    assert (line_of(result, "upkeep")["points"], line_of(result, "quality")["points"]) == (9.25, 12)
    assert line_of(result, "upkeep")["mark"] == {"value": 92.5, "by": "supervisor", "reason": "现场查看"}
    assert_by_hand(result)
    assert line_of(await office.preview(as_of=start.isoformat()), "upkeep")["points"] == 7
    marks = (await office.get("/marks", unit=EDUCATION))["items"]
    assert [(one["value"], one["current"]) for one in marks] == [(70, False), (92.5, True), (60, True)]
    then = (await office.get("/marks", unit=EDUCATION, as_of=start.isoformat()))["items"]
    assert [(one["value"], one["current"]) for one in then] == [(70, True)]
    for aspect, value in (("dispatch", 50), ("upkeep", 101), ("upkeep", "90")):
        await office.post("/marks", {**GIVEN, "aspect": aspect, "value": value, "reason": "现场查看"}, status=422)


async def test_who_may_do_and_see_what(office: Office) -> None:
    fault = await office.fault()
    mark = {**GIVEN, "aspect": "upkeep", "value": 90, "reason": "查看"}
    for who in ("reporter", "coordinator", "reader"):
        for path, body in (("/faults", FAULT), ("/marks", mark), ("/assessments", {"plan": PLAN})):
            await office.post(path, body, who, 403)
        await office.post(f"/faults/{fault}/decide", {"decision": "dismissed", "reason": "不实"}, who, 403)
    for who, status in (("supervisor", 403), ("other", 404), ("reader", 403)):
        await office.post(f"/faults/{fault}/answer", {"text": "口径不同"}, who, status)
    for who, seen in (("reporter", True), ("other", False), ("coordinator", True), ("reader", True)):
        assert (await office.ask(who, "GET", f"/faults/{fault}"))[0] == (200 if seen else 404), who
        listed = (await office.get("/faults", who))["items"]
        assert (fault in [one["id"] for one in listed]) is seen, who
    # What is owed apart from battles is not of a coordinator's battle: a score of it would be wrong.
    for who, units in (("reporter", 1), ("other", 1), ("reader", 18)):
        assert len((await office.get("/assessments/preview", who, plan=PLAN))["items"]) == units
    for who, query in (("coordinator", {}), ("other", {"unit": EDUCATION})):
        assert (await office.ask(who, "GET", "/assessments/preview", plan=PLAN, **query))[0] == 403
    await office.post(f"/faults/{fault}/decide", {"decision": "dismissed", "reason": "不实"}, status=200)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"plan": "431228-2029"}, "/query/plan"),
        ({"battle": "431228-2023-9"}, "/query/battle"),
        ({"unit": "431228-fgj"}, "/query/unit"),
        ({"scheme": "0188290d-1f40-7000-8000-6f1d2c3b4a59"}, "/query/scheme"),
    ],
)
async def test_a_preview_of_what_is_not_there_is_refused(office: Office, query: Any, pointer: str) -> None:
    status, refused = await office.ask("supervisor", "GET", "/assessments/preview", **{"plan": PLAN, **query})
    assert (status, refused["errors"][0]["pointer"]) == (422, pointer)


async def test_a_battle_whose_tasks_nobody_reports_on_has_nobody_to_assess(office: Office) -> None:
    assert (await office.get("/assessments/preview", plan=PLAN, battle="431228-2023-1"))["items"] == []
    await office.post("/assessments", {"plan": PLAN, "battle": "431228-2023-1"}, status=422)


async def test_a_preview_that_says_the_same_later_is_known(office: Office) -> None:
    asked: dict[str, Any] = {
        "params": {"plan": PLAN, "unit": FARMING},
        "headers": {"Authorization": f"Bearer {office.keys['reader']}"},
    }
    first = await office.client.get(f"{API}/assessments/preview", **asked)
    office.now += timedelta(seconds=1)
    asked["headers"]["If-None-Match"] = first.headers["etag"]
    again = await office.client.get(f"{API}/assessments/preview", **asked)
    assert (first.status_code, again.status_code) == (200, 304)


async def test_a_preview_costs_the_same_however_many_units_it_is_of(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = office.client.reader  # type: ignore[attr-defined]
    pool = CountingDatabase(reader.pool)
    monkeypatch.setattr(type(reader), "for_caller", lambda self, _: type(reader)(pool, self.fragments))
    for query, most in (({}, 6), ({"unit": EDUCATION}, 8)):
        before = len(pool.statements)
        await office.get("/assessments/preview", plan=PLAN, **query)
        assert len(pool.statements) - before == most


# What follows settles results, in the order of the year.


async def test_an_interim_result_is_superseded_and_stays(office: Office) -> None:
    ahead = (office.now + timedelta(days=1)).isoformat()
    assert (await office.post("/assessments", {**GIVEN, "as_of": ahead}, status=422))["errors"][0][
        "code"
    ] == "lies_ahead"
    first = (await office.post("/assessments", GIVEN))["items"][0]
    assert (first["revision"], first["interim"], first["current"]) == (1, True, True)
    settled = office.now
    office.now += timedelta(hours=1)
    second = (await office.post("/assessments", GIVEN))["items"][0]
    assert (second["revision"], second["interim"]) == (2, True)
    listed = await office.get("/assessments", unit=EDUCATION)
    assert [(one["id"], one["current"]) for one in listed["items"]] == [(first["id"], False), (second["id"], True)]
    then = await office.get("/assessments", unit=EDUCATION, as_of=settled.isoformat(), current="true")
    assert [one["id"] for one in then["items"]] == [first["id"]]
    await office.post(f"/assessments/{first['id']}/appeals", {"text": "不服"}, "reporter", 409)


async def test_the_year_is_settled_once_and_never_changes(office: Office) -> None:
    office.now = max(office.now, datetime(2024, 1, 10, 9, tzinfo=SHANGHAI))
    body = {"plan": PLAN, "as_of": YEAR_OVER}
    pending = await office.fault()
    assert "尚未认定" in (await office.post("/assessments", body, status=409))["detail"]
    await office.post(f"/faults/{pending}/decide", {"decision": "dismissed", "reason": "不实"}, status=200)
    asked = [office.ask("supervisor", "POST", "/assessments", body) for _ in range(3)]
    answers = await asyncio.gather(*asked)
    assert sorted(status for status, _ in answers) == [201, 409, 409]
    frozen = next(answer for status, answer in answers if status == 201)["items"]
    assert len(frozen) == 18
    own = next(one for one in frozen if one["unit"]["unit"] == EDUCATION)
    whole = await office.get(f"/assessments/{own['id']}", "reporter")
    assert (whole["interim"], whole["revision"], whole["allowed_actions"]) == (False, 3, ["appeal"])
    result = whole["result"]
    assert_by_hand(result)
    assert (result["total"], result["grade"]) == (whole["total"], whole["grade"])
    canonical = json.dumps(result, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(canonical.encode()).hexdigest() == whole["content_hash"]
    # It is what a preview of then says.
    judged = office.now.isoformat()
    assert await office.preview(as_of=YEAR_OVER, judged_as_of=judged) == result
    # What happens afterwards changes a preview, and not what is settled.
    await office.upheld(kind="concealed")
    assert 0 < (await office.preview())["total"] < result["total"]
    assert await office.get(f"/assessments/{own['id']}", "reporter") == whole
    assert (await office.ask("other", "GET", f"/assessments/{own['id']}"))[0] == 404
    assert (await office.get(f"/assessments/{own['id']}", "coordinator"))["result"] == result
    for grade in ("excellent", "qualified", "undetermined"):
        listed = await office.get("/assessments", plan=PLAN, grade=grade, year=2023, current="true", limit=500)
        assert [one["id"] for one in listed["items"]] == [one["id"] for one in frozen if one["grade"] == grade]
    for statement in (
        "UPDATE assessments SET grade = 'excellent'",
        "DELETE FROM assessments",
        "TRUNCATE assessments CASCADE",
        "UPDATE marks SET value = 100",
        "DELETE FROM assessment_schemes",
        "UPDATE faults SET state = 'upheld' WHERE state = 'dismissed'",
        "DELETE FROM faults",
    ):
        with pytest.raises(asyncpg.RestrictViolationError):
            await office.run(statement)


async def test_an_appeal_is_decided_by_somebody_else_and_leads_to_a_revision(office: Office) -> None:
    listed = await office.get("/assessments", unit=EDUCATION, current="true")
    (old,) = listed["items"]
    path = f"/assessments/{old['id']}/appeals"
    for who, status in (("supervisor", 403), ("other", 404)):
        await office.post(path, {"text": "不服"}, who, status)
    filed_at = office.now
    asked = [office.ask("reporter", "POST", path, {"text": "后续管理评分偏低"}) for _ in range(2)]
    assert sorted(status for status, _ in await asyncio.gather(*asked)) == [201, 409]
    (appeal,) = (await office.get("/appeals", "reporter", assessment=old["id"]))["items"]
    assert (appeal["state"], appeal["allowed_actions"]) == ("filed", [])
    decided = {"decision": "upheld", "reason": "重新评分"}
    refused = await office.post(f"/appeals/{appeal['id']}/decide", decided, "supervisor", 403)
    assert "另一人" in refused["detail"]
    assert (await office.get("/appeals"))["items"][0]["allowed_actions"] == []
    assert (await office.get("/appeals", "reviewer"))["items"][0]["allowed_actions"] == ["decide"]
    for who, status in (("reporter", 403), ("other", 403), ("reader", 403)):
        await office.post(f"/appeals/{appeal['id']}/decide", decided, who, status)
    office.now += timedelta(hours=1)
    await office.post("/marks", {**GIVEN, "aspect": "upkeep", "value": 100, "reason": "复核重评"}, "reviewer")
    asked = [office.ask("reviewer", "POST", f"/appeals/{appeal['id']}/decide", decided) for _ in range(2)]
    answers = await asyncio.gather(*asked)
    assert sorted(status for status, _ in answers) == [200, 409]
    done = next(answer for status, answer in answers if status == 200)
    new = await office.get(f"/assessments/{done['result']}")
    assert (new["revision"], new["as_of"], new["current"]) == (old["revision"] + 1, old["as_of"], True)
    assert line_of(new["result"], "upkeep")["mark"]["value"] == 100
    assert line_of(new["result"], "concealed")["inputs"]["count"] == 1
    assert_by_hand(new["result"])
    kept = await office.get(f"/assessments/{old['id']}", "reporter")
    assert (kept["current"], kept["content_hash"]) == (False, old["content_hash"])
    assert kept["allowed_actions"] == []
    then = await office.get("/appeals", assessment=old["id"], as_of=filed_at.isoformat(), state="filed")
    assert [(one["state"], one["result"]) for one in then["items"]] == [("filed", None)]
    await office.post("/assessments", {**GIVEN, "as_of": YEAR_OVER}, status=409)


async def test_acts_and_events_tell_what_was_done(office: Office) -> None:
    entries = (await office.get("/audit", "everything", plan=PLAN, limit=500))["items"]
    acts = {entry["action"] for entry in entries}
    assert acts >= {"scheme.create", "fault.record", "fault.answer", "fault.decide", "assessment.mark"}
    assert acts >= {"assessment.freeze", "appeal.file", "appeal.decide"}
    told = await office.run("SELECT type, subject FROM outbox UNION ALL SELECT type, subject FROM events")
    kinds = {row["type"] for row in told if row["subject"]}
    assert kinds >= {"fault.recorded", "fault.decided", "assessment.frozen", "appeal.decided"}
