"""Many reports at once: batches with a result for each, the whole form of a unit, certifications of many."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from app.schemas.submission import BatchRead, FormRead
from tests.api.test_submissions import (
    BODIES,
    CERTIFIER,
    FARM,
    FARMERS,
    INSURED,
    INSURERS,
    OBLIGATIONS,
    REPORT,
    SAID,
    SCHOOL,
    SCHOOLS,
    SUBMISSIONS,
    Desk,
    desk_of,
)
from tests.conftest import KEYS, Clone

BATCH = f"{SUBMISSIONS}/batch"
CERTIFICATIONS = "/api/v1/certifications"
FORM = f"/api/v1/units/{SCHOOLS}/forms/2023-04"
ONE, TWO = "431228-2023-6-1-1", "431228-2023-6-2-2"
OWED = [ONE, TWO, SCHOOL]


@pytest_asyncio.fixture
async def desk(clone: Clone) -> AsyncGenerator[Desk]:
    async with desk_of(clone) as made:
        yield made


def school(task: str, **changes: Any) -> dict[str, Any]:
    return REPORT | {"task": task, "unit": SCHOOLS} | changes


def line(task: str, **changes: Any) -> dict[str, Any]:
    return {"task": task, "stage": "in_progress", "percent_complete": 30} | changes


GOOD = [school(task) for task in OWED]
BAD = {
    "unknown_task": school("431228-2023-6-9-9"),
    "not_owed": school(FARM),
    "completed_below_100": school(INSURED, unit=INSURERS, stage="completed"),
}


async def send(desk: Desk, items: list[Any], query: str = "", status: int = 200) -> Any:
    answer = await desk.send("POST", f"{BATCH}?{query}" if query else BATCH, {"items": items})
    assert answer.status_code == status, answer.text
    if status == 200:
        read = BatchRead.model_validate_json(answer.content)
        assert [result.index for result in read.results] == list(range(len(items)))
        assert read.accepted + read.refused == len(items)
    return answer.json()


def statuses(batch: dict[str, Any]) -> list[int]:
    return [result["status"] for result in batch["results"]]


def found_codes(batch: dict[str, Any]) -> list[list[str]]:
    return [[error["code"] for error in result["errors"]] for result in batch["results"]]


# Batches -------------------------------------------------------------------------------------------------------------


async def test_good_and_bad_ones_each_have_their_own_result(desk: Desk) -> None:
    first = await desk.create()
    items = [GOOD[0], *BAD.values(), REPORT, school(TWO, percent_complete=90), school(SCHOOL, submit=False)]
    batch = await send(desk, items)
    assert statuses(batch) == [201, 422, 422, 422, 409, 201, 201]
    assert found_codes(batch) == [[], *([code] for code in BAD), ["already_reported"], [], []]
    assert (batch["accepted"], batch["refused"]) == (3, 4)
    results = batch["results"]
    assert [result["id"] is None for result in results] == [False, True, True, True, False, False, False]
    assert results[4]["id"] == first["id"]
    assert [warning["code"] for warning in results[5]["warnings"]] == ["far_from_schedule"]
    for index, state in ((0, "submitted"), (5, "submitted"), (6, "draft")):
        shown = await desk.get(f"{SUBMISSIONS}/{results[index]['id']}")
        assert (shown["task"], shown["state"]) == (items[index]["task"], state)
    assert (await desk.get(SUBMISSIONS, include_total="true"))["total"] == 4


@pytest.mark.parametrize("code", BAD)
async def test_all_or_nothing(desk: Desk, code: str) -> None:
    batch = await send(desk, [*GOOD, BAD[code]], "atomic=true")
    assert await desk.rows() == 0
    assert found_codes(batch) == [[], [], [], [code]]
    assert batch["accepted"] == 0
    assert [result["id"] for result in batch["results"]] == [None] * 4
    assert 201 not in statuses(batch)
    assert (await desk.obligation(task=SCHOOL))["status"] == "upcoming"
    batch = await send(desk, GOOD, "atomic=true")
    assert (statuses(batch), batch["accepted"]) == ([201] * 3, 3)


async def test_all_or_nothing_where_one_is_there_already(desk: Desk) -> None:
    first = await desk.create(**GOOD[1])
    rows = await desk.rows()
    batch = await send(desk, GOOD, "atomic=true")
    assert await desk.rows() == rows
    assert (statuses(batch)[1], batch["results"][1]["id"], batch["accepted"]) == (409, first["id"], 0)


@pytest.mark.parametrize("atomic", ["atomic=true", "atomic=false"])
async def test_a_dry_run_writes_nothing_and_reports_the_same(desk: Desk, atomic: str) -> None:
    await desk.create()
    rows = await desk.rows()
    items = [GOOD[0], school(TWO, percent_complete=90), *BAD.values(), REPORT, GOOD[0]]
    dry = await send(desk, items, f"{atomic}&dry_run=true")
    assert await desk.rows() == rows
    assert statuses(dry)[:2] == [200, 200]
    real = await send(desk, items, atomic)
    assert await desk.rows() == rows if atomic == "atomic=true" else await desk.rows() > rows
    assert (dry["accepted"], dry["refused"]) == (real["accepted"], real["refused"])
    for was, became in zip(dry["results"], real["results"], strict=True):
        assert (was["warnings"], was["errors"]) == (became["warnings"], became["errors"])
        assert was["status"] == (200 if became["status"] == 201 else became["status"])


@pytest.mark.parametrize("atomic", ["atomic=true", "atomic=false"])
async def test_the_same_task_twice_in_one_batch(desk: Desk, atomic: str) -> None:
    batch = await send(desk, [GOOD[0], school(ONE, unit="431228-jyj", percent_complete=31)], atomic)
    assert found_codes(batch) == [[], ["already_reported"]]
    assert statuses(batch)[1] == 409
    if atomic == "atomic=true":
        assert await desk.rows() == 0
        return
    assert statuses(batch)[0] == 201
    assert batch["results"][0]["id"] == batch["results"][1]["id"]
    assert await desk.connection.fetchval("SELECT percent_complete FROM submission_revisions") == 30


async def test_a_malformed_one_refuses_the_batch_where_it_stands(desk: Desk) -> None:
    problem = await send(desk, [*GOOD[:2], school(SCHOOL, percent_complete=101)], status=422)
    assert [(fault["pointer"], fault["code"]) for fault in problem["errors"]] == [
        ("/body/items/2/percent_complete", "less_than_equal")
    ]
    assert await desk.rows() == 0


@pytest.mark.parametrize(("query", "name"), [("colour=red", "colour"), ("atomic=perhaps", "atomic")])
async def test_a_wrong_query_is_refused(desk: Desk, query: str, name: str) -> None:
    problem = await send(desk, GOOD, query, 422)
    assert [fault["pointer"] for fault in problem["errors"]] == [f"/query/{name}"]


async def owe_much(desk: Desk) -> list[dict[str, Any]]:
    """Let everything be owed that is one of 700 reports, and answer those reports."""
    await desk.connection.execute(
        "INSERT INTO obligations (unit_id, plan_id, battle_id, rule_id, task_id, period, period_start, due_at, "
        "effective_due_at, lock_at, rule_version, calendar_version, provisional) "
        "SELECT o.unit_id, t.plan_id, t.battle_id, o.rule_id, t.id, o.period, o.period_start, o.due_at, "
        "o.effective_due_at, o.lock_at, o.rule_version, o.calendar_version, false "
        "FROM obligations o JOIN units u ON u.id = o.unit_id AND u.code = '431228-ybj', tasks t "
        "WHERE o.task_id IS NOT NULL AND t.battle_id <> o.battle_id"
    )
    await desk.connection.execute("UPDATE obligations SET lock_at = '2025-01-01T00:00:00+08:00'")
    desk.at(12, 10)
    owed = await desk.connection.fetch(
        "SELECT t.code AS task, u.code AS unit, o.period FROM obligations o JOIN tasks t ON t.id = o.task_id "
        "JOIN units u ON u.id = o.unit_id JOIN rules r ON r.id = o.rule_id AND r.kind = 'reporting' "
        "ORDER BY o.id LIMIT 700"
    )
    assert len(owed) == 700
    return [REPORT | dict(row) for row in owed]


async def test_five_hundred_cost_what_one_costs(desk: Desk) -> None:
    reports = await owe_much(desk)
    costs: list[int] = []
    for items in (reports[:1], reports[1:501]):
        for query in ("dry_run=true", "atomic=true"):
            desk.statements.clear()
            batch = await send(desk, items, query)
            assert batch["accepted"] == len(items)
            costs.append(len(desk.statements))
    assert costs[:2] == costs[2:]
    assert max(costs) <= 6
    assert await desk.connection.fetchval("SELECT count(*) FROM submissions") == 501
    # All of them lost to those that are there already.
    desk.statements.clear()
    batch = await send(desk, reports[:500])
    assert statuses(batch) == [409] * 500
    assert all(result["id"] for result in batch["results"])
    assert len(desk.statements) <= 6


async def test_five_hundred_and_one_are_too_many(desk: Desk) -> None:
    problem = await send(desk, GOOD[:1] * 501, status=422)
    assert [(fault["pointer"], fault["code"]) for fault in problem["errors"]] == [("/body/items", "too_long")]
    problem = await send(desk, [], status=422)
    assert [(fault["pointer"], fault["code"]) for fault in problem["errors"]] == [("/body/items", "too_short")]


# Forms ---------------------------------------------------------------------------------------------------------------


async def put(desk: Desk, items: list[Any], status: int = 200, path: str = FORM, **more: Any) -> Any:
    answer = await desk.send("PUT", path, {"items": items, **more})
    assert answer.status_code == status, answer.text
    return answer.json()


async def form(desk: Desk, path: str = FORM) -> dict[str, Any]:
    shown = await desk.get(path)
    assert FormRead.model_validate(shown)
    return shown


async def state_of(desk: Desk) -> dict[str, Any]:
    submissions = (item["submission"] for item in (await form(desk))["items"])
    return {shown["task"]: (shown["state"], shown["percent_complete"]) for shown in submissions if shown}


async def test_a_form_lists_every_task_that_is_owed(desk: Desk) -> None:
    shown = await form(desk)
    assert (shown["unit"], shown["period"]) == ({"unit": "431228-jyj", "name": SCHOOLS}, "2023-04")
    owed = (await desk.get(OBLIGATIONS, unit=SCHOOLS, period="2023-04", rule="monthly-form"))["items"]
    assert {item["task"] for item in shown["items"]} == {item["task"] for item in owed} == set(OWED)
    assert [item["submission"] for item in shown["items"]] == [None] * 3
    assert {item["due_at"] for item in shown["items"]} == {"2023-04-20T23:59:59.999999+08:00"}
    assert all(item["title"] for item in shown["items"])
    created = await desk.create(**GOOD[1])
    again = await form(desk, "/api/v1/units/431228-jyj/forms/2023-04")
    assert {item["task"]: item["submission"] for item in again["items"]} == {ONE: None, SCHOOL: None, TWO: created}


async def test_a_unit_that_owes_nothing_has_an_empty_form(desk: Desk) -> None:
    for path in (f"/api/v1/units/{CERTIFIER}/forms/2023-04", f"/api/v1/units/{SCHOOLS}/forms/2023-01"):
        assert (await form(desk, path))["items"] == []


@pytest.mark.parametrize(
    ("path", "pointer"), [("县不存在局/forms/2023-04", "/path/unit"), (f"{SCHOOLS}/forms/2023-13", "/path/period")]
)
async def test_a_form_of_nobody_or_of_no_period(desk: Desk, path: str, pointer: str) -> None:
    for method, body in (("GET", None), ("PUT", {"items": [line(ONE)]})):
        answer = await desk.send(method, f"/api/v1/units/{path}", body)
        assert answer.status_code == 422
        assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


async def test_a_form_is_taken_in_as_a_whole(desk: Desk) -> None:
    batch = await put(desk, [line(task) for task in OWED])
    assert (statuses(batch), batch["accepted"], batch["refused"]) == ([201] * 3, 3, 0)
    assert await state_of(desk) == dict.fromkeys(OWED, ("submitted", 30))
    assert [shown["submission"]["id"] for shown in sorted((await form(desk))["items"], key=lambda i: i["task"])] == [
        result["id"] for result in sorted(batch["results"], key=lambda result: OWED[result["index"]])
    ]


async def test_a_form_replaces_drafts_and_what_was_returned(desk: Desk) -> None:
    drafted = await desk.create(**GOOD[0], submit=False)
    returned = await desk.create(**GOOD[1])
    await desk.step(returned["id"], "return", BODIES["return"])
    desk.at(4, 15)
    batch = await put(desk, [line(SCHOOL), line(TWO, percent_complete=90), line(ONE, percent_complete=33)])
    assert statuses(batch) == [201, 200, 200]
    assert [result["id"] for result in batch["results"]][1:] == [returned["id"], drafted["id"]]
    assert [warning["code"] for warning in batch["results"][1]["warnings"]] == ["far_from_schedule"]
    assert await state_of(desk) == {
        ONE: ("submitted", 33), TWO: ("submitted", 90), SCHOOL: ("submitted", 30)
    }  # fmt: skip
    assert await desk.connection.fetchval("SELECT count(*) FROM submissions") == 3
    history = await desk.get(f"{SUBMISSIONS}/{returned['id']}/history")
    assert [step["action"] for step in history["steps"]] == ["submit", "return", "edit", "submit"]


async def test_a_form_may_be_kept_as_drafts_and_submitted_in_part(desk: Desk) -> None:
    await put(desk, [line(task) for task in OWED], submit=False)
    assert await state_of(desk) == dict.fromkeys(OWED, ("draft", 30))
    await put(desk, [line(TWO, percent_complete=31)])
    assert await state_of(desk) == {ONE: ("draft", 30), TWO: ("submitted", 31), SCHOOL: ("draft", 30)}


FORM_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "completed_below_100": ({"stage": "completed"}, "percent_complete"),
    "full_not_completed": ({"percent_complete": 100}, "stage"),
    "not_its_target": ({"observations": [{"target": f"{INSURED}-T2", "value": 1}]}, "observations/0/target"),
    "not_owed": ({"task": FARM}, "period"),
    "unknown_task": ({"task": "431228-2023-6-9-9"}, "task"),
    "less_than_equal": ({"percent_complete": 101}, "percent_complete"),
}


@pytest.mark.parametrize("drafted", [False, True])
@pytest.mark.parametrize("code", FORM_FAULTS)
async def test_a_form_with_a_bad_line_is_refused_as_a_whole(desk: Desk, code: str, drafted: bool) -> None:
    changes, place = FORM_FAULTS[code]
    if drafted:
        await put(desk, [line(task, percent_complete=20) for task in OWED], submit=False)
    before, rows = await form(desk), await desk.rows()
    problem = await put(desk, [line(ONE), line(TWO), line(SCHOOL) | changes], 422)
    assert [(fault["pointer"], fault["code"]) for fault in problem["errors"]] == [(f"/body/items/2/{place}", code)]
    assert (await form(desk), await desk.rows()) == (before, rows)


async def test_a_form_that_is_locked_is_refused_line_by_line(desk: Desk) -> None:
    await put(desk, [line(ONE)], submit=False)
    desk.now[0] = datetime.fromisoformat("2023-05-21T00:00:00+08:00")
    for task, place in ((ONE, "task"), (TWO, "period")):
        problem = await put(desk, [line(task)], 422)
        assert [(f["pointer"], f["code"]) for f in problem["errors"]] == [(f"/body/items/0/{place}", "locked")]


async def test_a_task_stands_once_in_a_form(desk: Desk) -> None:
    problem = await put(desk, [line(ONE), line(TWO), line(ONE)], 422)
    assert [(f["pointer"], f["code"]) for f in problem["errors"]] == [("/body/items/2/task", "repeated")]
    assert await desk.rows() == 0


@pytest.mark.parametrize("state", ["submitted", "certified"])
async def test_a_form_does_not_replace_what_is_submitted(desk: Desk, state: str) -> None:
    first = await desk.create(**GOOD[1])
    drafted = await desk.create(**GOOD[0], submit=False)
    if state == "certified":
        await desk.certify(first["id"])
    before = await state_of(desk)
    problem = await put(desk, [line(SCHOOL), line(ONE, percent_complete=31), line(TWO)], 409)
    assert (problem["type"], problem["existing"]) == ("/problems/conflict", first["id"])
    assert [(f["pointer"], f["code"]) for f in problem["errors"]] == [("/body/items/2/period", "already_reported")]
    assert await state_of(desk) == before
    assert (await desk.get(f"{SUBMISSIONS}/{drafted['id']}"))["state"] == "draft"


# Certifications ------------------------------------------------------------------------------------------------------


async def certify(desk: Desk, ids: list[str], status: int = 200, **changes: Any) -> Any:
    answer = await desk.send("POST", CERTIFICATIONS, {"by": CERTIFIER, "ids": ids} | changes)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_many_are_certified_each_with_its_own_result(desk: Desk) -> None:
    batch = await send(desk, [*GOOD, REPORT])
    ids = [result["id"] for result in batch["results"]]
    await desk.step(ids[1], "return", BODIES["return"])
    nobody = str(uuid4())
    desk.at(4, 20, 23)
    done = await certify(desk, [ids[3], nobody, ids[1], ids[0], ids[2], ids[0]], reason="已核")
    assert statuses(done) == [200, 404, 409, 200, 200, 409]
    assert [result["id"] for result in done["results"]] == [ids[3], nobody, ids[1], ids[0], ids[2], ids[0]]
    assert [result["index"] for result in done["results"]] == list(range(6))
    assert found_codes(done) == [[], ["not-found"], ["wrong-step"], [], [], ["wrong-step"]]
    assert (done["accepted"], done["refused"]) == (3, 3)
    states = {item["id"]: item["state"] for item in (await desk.get(SUBMISSIONS))["items"]}
    assert states == {ids[0]: "certified", ids[1]: "returned", ids[2]: "certified", ids[3]: "certified"}
    history = await desk.get(f"{SUBMISSIONS}/{ids[0]}/history")
    assert [(step["action"], step["reason"]) for step in history["steps"]] == [("submit", None), ("certify", "已核")]
    row = await desk.obligation()
    assert (row["status"], row["filed_at"]) == ("on_time", "2023-04-20T23:00:00+08:00")


async def test_only_the_certifier_certifies_many(desk: Desk) -> None:
    batch = await send(desk, GOOD)
    ids = [result["id"] for result in batch["results"]]
    await certify(desk, ids, 403, by=SCHOOLS)
    key = {"Authorization": f"Bearer {KEYS['431228-nyncj']}"}
    answer = await desk.send("POST", CERTIFICATIONS, {"by": FARMERS, "ids": ids}, **key)
    assert (statuses(answer.json()), found_codes(answer.json())) == ([422] * 3, [["not_certifier"]] * 3)
    assert (await desk.get(SUBMISSIONS, status="submitted", include_total="true"))["total"] == 3


@pytest.mark.parametrize("ids", [[], ["x"], [str(uuid4())] * 501])
async def test_a_malformed_certification_is_refused(desk: Desk, ids: list[str]) -> None:
    await certify(desk, ids, 422)


async def test_what_was_corrected_is_certified_with_many(desk: Desk) -> None:
    first = await desk.create(**GOOD[0])
    await desk.certify(first["id"])
    await desk.step(first["id"], "correct", SAID | {"reason": "漏计"})
    second = await desk.create(**GOOD[1])
    assert statuses(await certify(desk, [first["id"], second["id"]])) == [200, 200]
    assert (await desk.get(f"{SUBMISSIONS}/{first['id']}"))["certified_revision"] == 2
