"""Progress submissions one at a time: what is taken in, what is refused and why, and every step after that."""

import base64
import hashlib
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import orjson
import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.clock import SHANGHAI
from app.db import Database, open_write_pool
from app.main import create_app
from app.schemas.submission import HistoryRead, ReceiptRead, SubmissionRead
from app.services.intake import Intake
from app.services.reader import Reader
from app.settings import Settings
from tests.conftest import KEYS, Clone, CountingDatabase, make_key, serving

SUBMISSIONS = "/api/v1/submissions"
OBLIGATIONS = "/api/v1/obligations"
PROBLEM_JSON = "application/problem+json"
FARM, FARMERS = "431228-2023-6-3-3", "县农业农村局"
SCHOOL, SCHOOLS = "431228-2023-6-3-4", "县教育局"
INSURED, INSURERS = "431228-2023-6-1-5", "县医保局"
CERTIFIER = "县统计局"
FIRST = datetime(2023, 4, 10, 9, 0, tzinfo=SHANGHAI)
REPORT: dict[str, Any] = {"task": FARM, "unit": FARMERS, "period": "2023-04", "stage": "in_progress"}
NO_ID = "01900000-0000-7000-8000-000000000000"
REPORT |= {"percent_complete": 30, "progress": "首批地块已开工", "observations": []}


@dataclass
class Desk:
    """A service on a database of its own, whose clock is set by hand.

    ``statements`` are those it wrote with, ``read`` those it read with.
    """

    client: httpx.AsyncClient
    connection: "asyncpg.Connection[asyncpg.Record]"
    url: str
    now: list[datetime]
    statements: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)

    def at(self, *when: int) -> None:
        self.now[0] = datetime(2023, *when, tzinfo=SHANGHAI)

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        answer = await self.client.request(method, path, json=body, headers=headers)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == PROBLEM_JSON
            assert answer.json()["status"] == answer.status_code
        return answer

    async def create(self, **changes: Any) -> dict[str, Any]:
        answer = await self.send("POST", SUBMISSIONS, REPORT | changes)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def refuse(self, **changes: Any) -> list[tuple[str, str]]:
        """The pointers and codes of a report that is refused, and leaves nothing behind."""
        before = await self.rows()
        answer = await self.send("POST", SUBMISSIONS, REPORT | changes)
        assert answer.status_code == 422, answer.text
        assert await self.rows() == before
        return [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]]

    async def step(self, identity: str, name: str, body: Any = None, status: int = 200, **headers: str) -> Any:
        answer = await self.send("POST", f"{SUBMISSIONS}/{identity}/{name}", body or {}, **headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def seen_by(self, key: str, identity: str) -> Any:
        answer = await self.send("GET", f"{SUBMISSIONS}/{identity}", None, Authorization=f"Bearer {KEYS[key]}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def certify(self, identity: str, status: int = 200) -> Any:
        return await self.step(identity, "certify", {"by": CERTIFIER}, status)

    async def get(self, path: str, **query: str) -> Any:
        answer = await self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def obligation(self, **query: str) -> dict[str, Any]:
        page = await self.get(OBLIGATIONS, **({"task": FARM, "period": "2023-04", "rule": "monthly-form"} | query))
        (item,) = page["items"]
        return item

    async def rows(self) -> int:
        tables = ("submissions", "submission_revisions", "submission_transitions", "observations")
        return sum([await self.connection.fetchval(f"SELECT count(*) FROM {table}") for table in tables])

    async def make_figure(self, code: str) -> None:
        """Give a qualitative target a figure, as a later document of the province would."""
        done = await self.connection.execute(
            "UPDATE targets SET operator = 'gte', value = 100, qualitative = NULL WHERE code = $1", code
        )
        assert done == "UPDATE 1"

    async def extend(self, task: str, period: str, until: datetime) -> None:
        """Grant an extension, as one of the units' cases would."""
        found = "FROM obligations o JOIN tasks t ON t.id = o.task_id AND t.code = $2 WHERE o.period = $3"
        done = await self.connection.execute(
            "INSERT INTO extensions (unit_id, id, rule_id, task_id, period, due_at, reason, approver, granted_at) "
            f"SELECT o.unit_id, gen_random_uuid(), o.rule_id, o.task_id, o.period, $1, '汛情', '县政府办', $4 {found}",
            *(until, task, period, self.now[0]),
        )
        assert done == "INSERT 0 1"
        await self.connection.execute(
            f"UPDATE obligations SET effective_due_at = $1 WHERE (unit_id, id) IN (SELECT o.unit_id, o.id {found})",
            *(until, task, period),
        )


@asynccontextmanager
async def desk_of(clone: Clone, **settings: Any) -> AsyncGenerator[Desk]:
    now = [FIRST]
    async with clone() as url:
        app = create_app(Settings(database_url=url, **settings), clock=lambda: now[0])
        statements: list[str] = []
        read: list[str] = []
        lifespan = app.router.lifespan_context

        @asynccontextmanager
        async def watched(of: FastAPI) -> AsyncGenerator[Any]:
            async with lifespan(of) as state:
                reader = Reader(CountingDatabase(state["reader"].pool, read), state["reader"].fragments)
                writes = CountingDatabase(state["writes"], statements)
                yield {**state, "writes": writes, "intake": Intake(writes), "reader": reader}

        app.router.lifespan_context = watched
        async with serving(app) as client:
            connection = await asyncpg.connect(url)
            try:
                yield Desk(client, connection, url, now, statements, read)
            finally:
                await connection.close()


@pytest_asyncio.fixture
async def desk(clone: Clone) -> AsyncGenerator[Desk]:
    async with desk_of(clone) as made:
        yield made


def digest_of(shown: dict[str, Any]) -> str:
    """The hash that ``content_hash`` documents, from nothing but the answer."""
    names = ("task", "period", "revision", "stage", "percent_complete", "progress", "problems", "next_steps", "as_of")
    said = {name: shown[name] for name in names} | {"unit": shown["unit"]["unit"]}
    said["observations"] = sorted(shown["observations"], key=lambda observation: observation["target"])
    canonical = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


# Taken in ------------------------------------------------------------------------------------------------------------


async def test_a_report_is_taken_in(desk: Desk) -> None:
    answer = await desk.send("POST", SUBMISSIONS, REPORT | {"problems": "征地", "next_steps": "验收"})
    assert answer.status_code == 201
    shown = answer.json()
    assert SubmissionRead.model_validate_json(answer.content)
    assert shown["unit"] == {"unit": "431228-nyncj", "name": FARMERS}
    assert (shown["state"], shown["revision"], shown["certified_revision"]) == ("submitted", 1, None)
    assert (shown["submitted_at"], shown["certified_at"]) == ("2023-04-10T09:00:00+08:00", None)
    assert (shown["battle"], shown["plan"]) == ("431228-2023-6", "431228-2023")
    # To whom it reports for; the certifier is offered what remains.
    assert shown["allowed_actions"] == []
    assert shown["warnings"] == []
    assert shown["content_hash"] == digest_of(shown)
    again = await desk.send("GET", f"{SUBMISSIONS}/{shown['id']}")
    assert again.json() == shown
    assert again.headers["etag"] == answer.headers["etag"]
    assert (await desk.obligation())["status"] == "upcoming"


async def test_a_unit_is_named_by_code_or_by_any_printed_name(desk: Desk) -> None:
    shown = await desk.create(unit="431228-nyncj")
    answer = await desk.send("POST", SUBMISSIONS, REPORT | {"unit": FARMERS})
    assert (answer.status_code, answer.json()["existing"]) == (409, shown["id"])


async def test_the_hash_covers_figures_and_the_clients_own_time_however_they_are_written(desk: Desk) -> None:
    await desk.make_figure(f"{INSURED}-T1")
    observations = [{"target": f"{INSURED}-T2", "value": 43.5}, {"target": f"{INSURED}-T1", "value": 7.0}]
    body = {"task": INSURED, "unit": INSURERS, "percent_complete": 33.5, "observations": observations}
    shown = await desk.create(**body, as_of="2023-04-09T01:02:03Z")
    assert [item["target"] for item in shown["observations"]] == [f"{INSURED}-T1", f"{INSURED}-T2"]
    assert [item["value"] for item in shown["observations"]] == [7, 43.5]
    assert (shown["percent_complete"], shown["as_of"]) == (33.5, "2023-04-09T09:02:03+08:00")
    assert shown["content_hash"] == digest_of(shown)


async def test_a_draft_is_submitted_later(desk: Desk) -> None:
    draft = await desk.create(submit=False)
    assert (draft["state"], draft["submitted_at"]) == ("draft", None)
    assert draft["allowed_actions"] == ["edit", "submit"]
    desk.at(4, 12, 8)
    shown = await desk.step(draft["id"], "submit", {"reason": "核对无误"})
    assert (shown["state"], shown["submitted_at"]) == ("submitted", "2023-04-12T08:00:00+08:00")
    assert shown["content_hash"] == draft["content_hash"]


# Refused -------------------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown task": ({"task": "431228-2023-6-9-9"}, "/body/task", "unknown_task"),
    "unknown unit": ({"unit": "县不存在局"}, "/body/unit", "unknown_unit"),
    "a unit that does not owe it": ({"unit": SCHOOLS}, "/body/period", "not_owed"),
    "a task outside the rule": ({"task": "431228-2023-1-2-5"}, "/body/period", "not_owed"),
    "a period ahead": ({"period": "2023-05"}, "/body/period", "period_ahead"),
    "before the first period": ({"period": "2023-03"}, "/body/period", "not_owed"),
    "after the plan": ({"period": "2024-01"}, "/body/period", "not_owed"),
    "a month that is none": ({"period": "2023-13"}, "/body/period", "not_owed"),
    "a period of another kind": ({"period": "2023-Q2"}, "/body/period", "not_owed"),
    "a period that is none": ({"period": "April"}, "/body/period", "string_pattern_mismatch"),
    "below 0": ({"percent_complete": -0.01}, "/body/percent_complete", "greater_than_equal"),
    "above 100": ({"percent_complete": 100.01}, "/body/percent_complete", "less_than_equal"),
    "three places": ({"percent_complete": 33.333}, "/body/percent_complete", "decimal_max_places"),
    "a text for a number": ({"percent_complete": "30"}, "/body/percent_complete", "decimal_type"),
    "a truth value for a number": ({"percent_complete": True}, "/body/percent_complete", "decimal_type"),
    "completed below 100": ({"stage": "completed"}, "/body/percent_complete", "completed_below_100"),
    "100 not completed": ({"percent_complete": 100}, "/body/stage", "full_not_completed"),
    "not started": ({"stage": "not_started"}, "/body/percent_complete", "progress_not_started"),
    "a number for a truth value": ({"submit": 1}, "/body/submit", "bool_type"),
    "an unknown stage": ({"stage": "paused"}, "/body/stage", "enum"),
    "an unknown field": ({"colour": "red"}, "/body/colour", "extra_forbidden"),
    "NUL": ({"progress": "a\x00b"}, "/body/progress", "string_pattern_mismatch"),
    "too long": ({"progress": "长" * 2001}, "/body/progress", "string_too_long"),
    "a client's time without its offset": ({"as_of": "2023-04-09T01:02:03"}, "/body/as_of", "value_error"),
}


@pytest.fixture(scope="module")
def figure() -> dict[str, Any]:
    return {"target": f"{INSURED}-T2", "value": 43}


@pytest_asyncio.fixture(scope="module")
async def counter(clone: Clone) -> AsyncGenerator[Desk]:
    """A desk where nothing is ever taken in."""
    async with desk_of(clone) as made:
        yield made


@pytest.mark.parametrize("case", REFUSED)
async def test_a_report_is_refused(counter: Desk, case: str) -> None:
    changes, pointer, code = REFUSED[case]
    assert await counter.refuse(**changes) == [(pointer, code)]


async def test_all_that_a_report_lacks_is_told_at_once(counter: Desk) -> None:
    answer = await counter.send("POST", SUBMISSIONS, {})
    assert {fault["pointer"] for fault in answer.json()["errors"]} == {
        f"/body/{name}" for name in ("task", "unit", "period", "stage", "percent_complete")
    }


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("431228-2023-6-1-7-T1", "not_its_target"),
        ("431228-2023-6-1-5-T99", "not_its_target"),
        ("431228-2023-T1", "not_its_target"),
        (f"{INSURED}-T1", "qualitative"),
    ],
)
async def test_a_figure_of_what_is_no_figure_of_the_task_is_refused(counter: Desk, target: str, code: str) -> None:
    observations = [{"target": target, "value": 1}]
    found = await counter.refuse(task=INSURED, unit=INSURERS, observations=observations)
    assert found == [("/body/observations/0/target", code)]


async def test_a_figure_given_twice_is_refused(counter: Desk, figure: dict[str, Any]) -> None:
    found = await counter.refuse(task=INSURED, unit=INSURERS, observations=[figure, figure])
    assert found == [("/body/observations/1/target", "repeated")]


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("1234567890123456", "decimal_max_digits"),
        ("0.1234567890123456", "decimal_max_digits"),
        ('"43"', "decimal_type"),
    ],
)
async def test_a_figure_that_is_no_exact_number_is_refused(
    counter: Desk, figure: dict[str, Any], written: str, code: str
) -> None:
    body = json.dumps(REPORT | {"task": INSURED, "unit": INSURERS, "observations": [figure | {"value": "@"}]})
    answer = await counter.client.post(
        SUBMISSIONS, content=body.replace('"@"', written), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422, answer.text
    (fault,) = answer.json()["errors"]
    assert (fault["pointer"], fault["code"]) == ("/body/observations/0/value", code)


@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity", "1e400", r'"\ud800"', '"\n"', "[" * 10_000, "01"])
async def test_what_is_no_json_is_not_read(counter: Desk, written: str) -> None:
    body = json.dumps(REPORT | {"percent_complete": "@"}).replace('"@"', written)
    answer = await counter.client.post(SUBMISSIONS, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["type"] == "/problems/bad-request"
    assert answer.json()["errors"][0]["code"] == "json_invalid"
    assert await counter.rows() == 0


async def test_fifteen_digits_come_back_as_they_were_given(desk: Desk) -> None:
    for value, period in ((123456789012345, "2023-04"), (0.00001, "2023-05"), (12345678.9012345, "2023-06")):
        desk.at(int(period[-2:]), 2)
        observations = [{"target": f"{INSURED}-T2", "value": value}]
        shown = await desk.create(task=INSURED, unit=INSURERS, period=period, observations=observations)
        assert shown["observations"] == observations


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"task": '])
async def test_what_is_no_report_at_all_is_refused(counter: Desk, body: bytes) -> None:
    answer = await counter.client.post(SUBMISSIONS, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == PROBLEM_JSON


@pytest.mark.parametrize("as_of", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59Z"])
async def test_a_clients_time_at_the_end_of_time_breaks_nothing(desk: Desk, as_of: str) -> None:
    answer = await desk.client.post(SUBMISSIONS, json=REPORT | {"as_of": as_of})
    assert answer.status_code in {201, 422}, answer.text
    assert (await desk.client.get(SUBMISSIONS)).status_code == 200


async def test_a_second_report_is_a_conflict_that_names_the_first(desk: Desk) -> None:
    for submit in (False, True):
        first = await desk.create(submit=submit, task=FARM if submit else SCHOOL, unit=FARMERS if submit else SCHOOLS)
        again = {"task": first["task"], "unit": first["unit"]["unit"], "percent_complete": 50}
        answer = await desk.send("POST", SUBMISSIONS, REPORT | again)
        problem = answer.json()
        assert (answer.status_code, problem["type"]) == (409, "/problems/conflict")
        assert problem["existing"] == first["id"]
        assert [(fault["pointer"], fault["code"]) for fault in problem["errors"]] == [
            ("/body/period", "already_reported")
        ]
        assert await desk.get(f"{SUBMISSIONS}/{first['id']}") == first


async def test_what_is_locked_needs_an_extension(desk: Desk) -> None:
    draft = await desk.create(submit=False, task=SCHOOL, unit=SCHOOLS)
    desk.now[0] = datetime.fromisoformat("2023-05-21T00:00:00+08:00")
    assert await desk.refuse() == [("/body/period", "locked")]
    assert (await desk.step(draft["id"], "submit", status=422))["errors"][0]["code"] == "locked"
    await desk.extend(FARM, "2023-04", datetime.fromisoformat("2023-05-31T23:59:59.999999+08:00"))
    shown = await desk.create()
    assert shown["state"] == "submitted"
    await desk.certify(shown["id"])
    owed = await desk.obligation()
    assert owed["status"] == "on_time"
    assert owed["due_at"].startswith("2023-04-20")
    # The other task was not extended.
    assert (await desk.step(draft["id"], "submit", status=422))["errors"][0]["code"] == "locked"


async def test_the_last_instant_before_the_lock_is_accepted(desk: Desk) -> None:
    desk.now[0] = datetime.fromisoformat("2023-05-20T23:59:59.999999+08:00")
    await desk.create()
    desk.now[0] += timedelta(microseconds=1)
    assert await desk.refuse(task=SCHOOL, unit=SCHOOLS) == [("/body/period", "locked")]


# Warnings ------------------------------------------------------------------------------------------------------------


def codes(shown: dict[str, Any]) -> list[str]:
    assert all(warning["detail"] for warning in shown["warnings"])
    return [warning["code"] for warning in shown["warnings"]]


@pytest.mark.parametrize(
    ("first", "then", "found"),
    [(40, 39.5, ["percent_fell"]), (20, 60.5, ["percent_jumped"]), (20, 60, []), (40, 40, [])],
)
async def test_the_percent_is_measured_against_the_last_period(
    desk: Desk, first: float, then: float, found: list[str]
) -> None:
    await desk.create(percent_complete=first)
    desk.at(5, 10)
    shown = await desk.create(period="2023-05", percent_complete=then)
    assert codes(shown) == found
    assert codes(await desk.get(f"{SUBMISSIONS}/{shown['id']}")) == found


async def test_what_is_edited_or_corrected_is_measured_against_the_last_period_too(desk: Desk) -> None:
    await desk.create(percent_complete=40)
    desk.at(5, 10)
    draft = await desk.create(period="2023-05", percent_complete=45, submit=False)
    said = {"stage": "in_progress", "percent_complete": 39}
    edited = (await desk.send("PATCH", f"{SUBMISSIONS}/{draft['id']}", said)).json()
    assert codes(edited) == ["percent_fell"]
    await desk.step(draft["id"], "submit")
    await desk.certify(draft["id"])
    corrected = await desk.step(draft["id"], "correct", said | {"percent_complete": 81, "reason": "漏计"})
    assert codes(corrected) == ["percent_jumped", "far_from_schedule"]


async def test_a_cumulative_figure_that_falls_is_pointed_out(desk: Desk) -> None:
    target = f"{FARM}-T1"
    await desk.make_figure(target)
    await desk.create(observations=[{"target": target, "value": 35}])
    desk.at(5, 10)
    shown = await desk.create(period="2023-05", percent_complete=40, observations=[{"target": target, "value": 34.5}])
    assert codes(shown) == ["figure_fell"]
    desk.at(6, 10)
    shown = await desk.create(period="2023-06", percent_complete=50, observations=[{"target": target, "value": 10}])
    assert codes(shown) == ["figure_fell", "far_from_schedule"]


async def test_a_figure_that_was_left_out_last_time_is_measured_against_the_time_before(desk: Desk) -> None:
    target = f"{FARM}-T1"
    await desk.make_figure(target)
    await desk.create(observations=[{"target": target, "value": 35}])
    desk.at(5, 10)
    assert codes(await desk.create(period="2023-05", percent_complete=40)) == []
    desk.at(6, 10)
    report = {"unit": FARMERS, "task": FARM, "period": "2023-06", "stage": "in_progress", "percent_complete": 50}
    fallen = report | {"observations": [{"target": target, "value": 34.5}]}
    ahead = {"unit": SCHOOLS, "task": SCHOOL, "period": "2023-06", "stage": "in_progress", "percent_complete": 50}
    found = (await desk.send("POST", f"{SUBMISSIONS}/batch?dry_run=true", {"items": [ahead, fallen]})).json()
    assert [codes(result) for result in found["results"]] == [[], ["figure_fell"]]
    assert codes(await desk.create(period="2023-06", percent_complete=50, observations=fallen["observations"])) == [
        "figure_fell"
    ]


async def test_a_figure_of_a_moment_may_fall(desk: Desk) -> None:
    target = f"{INSURED}-T2"
    report = {"task": INSURED, "unit": INSURERS}
    await desk.create(**report, observations=[{"target": target, "value": 43}])
    desk.at(5, 10)
    shown = await desk.create(**report, period="2023-05", observations=[{"target": target, "value": 1}])
    assert codes(shown) == []


@pytest.mark.parametrize(("percent", "found"), [(2.87, ["far_from_schedule"]), (2.88, []), (63, ["far_from_schedule"])])
async def test_far_from_schedule(desk: Desk, percent: float, found: list[str]) -> None:
    # At the end of April 120 of 365 days are over: 32.88 %.
    assert codes(await desk.create(percent_complete=percent)) == found


# Steps ---------------------------------------------------------------------------------------------------------------

SAID = {"stage": "in_progress", "percent_complete": 35, "progress": "改"}
CORRECTION = SAID | {"reason": "漏计一处"}
BODIES: dict[str, dict[str, Any]] = {
    "edit": SAID,
    "submit": {},
    "certify": {"by": CERTIFIER},
    "return": {"by": CERTIFIER, "reason": "请核对"},
    "correct": CORRECTION,
}
ALLOWED = {
    "draft": ["edit", "submit"],
    "submitted": ["certify", "return"],
    "certified": ["correct"],
    "returned": ["edit", "submit"],
}


async def bring(desk: Desk, state: str) -> str:
    shown = await desk.create(submit=state != "draft")
    if state in {"certified", "returned"}:
        name = "certify" if state == "certified" else "return"
        await desk.step(shown["id"], name, BODIES[name])
    return shown["id"]


@pytest.mark.parametrize("state", ALLOWED)
async def test_only_the_steps_of_the_state_are_allowed(desk: Desk, state: str) -> None:
    identity = await bring(desk, state)
    shown = await desk.send("GET", f"{SUBMISSIONS}/{identity}")
    offered = shown.json()["allowed_actions"] + (await desk.seen_by("certifier", identity))["allowed_actions"]
    assert (shown.json()["state"], offered) == (state, ALLOWED[state])
    rows = await desk.rows()
    for name in BODIES.keys() - set(ALLOWED[state]):
        path = f"{SUBMISSIONS}/{identity}" + ("" if name == "edit" else f"/{name}")
        answer = await desk.send("PATCH" if name == "edit" else "POST", path, BODIES[name])
        problem = answer.json()
        assert (answer.status_code, problem["type"]) == (409, "/problems/wrong-step"), name
        assert problem["allowed"] == ALLOWED[state]
    assert await desk.rows() == rows
    again = await desk.send("GET", f"{SUBMISSIONS}/{identity}")
    assert (again.content, again.headers["etag"]) == (shown.content, shown.headers["etag"])


@pytest.mark.parametrize("state", ["draft", "returned"])
async def test_a_draft_or_what_was_returned_is_edited_as_a_whole(desk: Desk, state: str) -> None:
    identity = await bring(desk, state)
    before = await desk.get(f"{SUBMISSIONS}/{identity}")
    shown = (await desk.send("PATCH", f"{SUBMISSIONS}/{identity}", SAID | {"problems": "缺土"})).json()
    assert (shown["state"], shown["percent_complete"], shown["problems"]) == ("draft", 35, "缺土")
    assert (shown["revision"], shown["submitted_at"]) == (1, None)
    assert shown["content_hash"] == digest_of(shown) != before["content_hash"]
    shown = (await desk.send("PATCH", f"{SUBMISSIONS}/{identity}", SAID)).json()
    assert shown["problems"] is None


async def test_an_edit_replaces_the_figures(desk: Desk) -> None:
    figures = [{"target": f"{INSURED}-T2", "value": 43}]
    draft = await desk.create(task=INSURED, unit=INSURERS, observations=figures, submit=False)
    path = f"{SUBMISSIONS}/{draft['id']}"
    changed = [{"target": f"{INSURED}-T2", "value": 42}]
    assert (await desk.send("PATCH", path, SAID | {"observations": changed})).json()["observations"] == changed
    assert (await desk.send("PATCH", path, SAID)).json()["observations"] == []


@pytest.mark.parametrize(
    ("said", "pointer", "code"),
    [
        ({"stage": "completed"}, "/body/percent_complete", "completed_below_100"),
        ({"observations": [{"target": f"{INSURED}-T2", "value": 1}]}, "/body/observations/0/target", "not_its_target"),
        ({"observations": [{"target": f"{FARM}-T1", "value": 1}]}, "/body/observations/0/target", "qualitative"),
        ({"task": SCHOOL}, "/body/task", "extra_forbidden"),
    ],
)
async def test_an_edit_is_checked_as_a_report_is(desk: Desk, said: dict[str, Any], pointer: str, code: str) -> None:
    identity = await bring(desk, "draft")
    before = await desk.get(f"{SUBMISSIONS}/{identity}")
    answer = await desk.send("PATCH", f"{SUBMISSIONS}/{identity}", SAID | said)
    assert answer.status_code == 422
    assert [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]] == [(pointer, code)]
    assert await desk.get(f"{SUBMISSIONS}/{identity}") == before


@pytest.mark.parametrize("name", ["certify", "return"])
@pytest.mark.parametrize(
    ("key", "by", "status", "code"),
    [
        ("431228-jyj", SCHOOLS, 422, "not_certifier"),
        ("431228-nyncj", FARMERS, 403, None),
        ("certifier", SCHOOLS, 403, None),
        ("certifier", "县不存在局", 422, "unknown_unit"),
    ],
)
async def test_only_the_certifier_certifies_and_returns(
    desk: Desk, name: str, *, key: str, by: str, status: int, code: str | None
) -> None:
    identity = await bring(desk, "submitted")
    problem = await desk.step(identity, name, BODIES[name] | {"by": by}, status, Authorization=f"Bearer {KEYS[key]}")
    assert [fault["code"] for fault in problem.get("errors", [])] == ([] if code is None else [code])
    assert (await desk.get(f"{SUBMISSIONS}/{identity}"))["state"] == "submitted"
    assert (await desk.obligation())["filed_at"] is None


async def test_not_even_the_certifier_certifies_its_own(desk: Desk) -> None:
    await desk.connection.execute(
        "INSERT INTO rule_units (rule_id, unit_id, role, position, printed_name) "
        "SELECT r.id, u.id, 'certifier', 99, u.name FROM rules r, units u "
        "WHERE r.code = 'monthly-form' AND u.code = '431228-nyncj'"
    )
    identity = await bring(desk, "submitted")
    own = {"Authorization": f"Bearer {KEYS['431228-nyncj']}"}
    problem = await desk.step(identity, "certify", {"by": FARMERS}, 403, **own)
    assert FARMERS in problem["detail"]
    shown = await desk.create(task=SCHOOL, unit=SCHOOLS)
    assert (await desk.step(shown["id"], "certify", {"by": FARMERS}, **own))["state"] == "certified"


@pytest.mark.parametrize("reason", [None, "", "  ", "a\x00"])
async def test_a_return_needs_a_reason(desk: Desk, reason: str | None) -> None:
    identity = await bring(desk, "submitted")
    await desk.step(identity, "return", {"by": CERTIFIER, "reason": reason}, 422)
    await desk.step(identity, "return", {"by": CERTIFIER}, 422)


async def test_returned_edited_and_submitted_again(desk: Desk) -> None:
    identity = await bring(desk, "submitted")
    desk.at(4, 11, 9)
    returned = await desk.step(identity, "return", {"by": CERTIFIER, "reason": "与部门口径不符"})
    assert (returned["state"], returned["percent_complete"]) == ("returned", 30)
    desk.at(4, 12, 9)
    await desk.send("PATCH", f"{SUBMISSIONS}/{identity}", SAID)
    desk.at(4, 13, 9)
    await desk.step(identity, "submit")
    desk.at(4, 14, 9)
    certified = await desk.certify(identity)
    assert (certified["revision"], certified["certified_revision"]) == (1, 1)
    owed = await desk.obligation()
    assert (owed["status"], owed["filed_at"]) == ("on_time", "2023-04-14T09:00:00+08:00")
    history = HistoryRead.model_validate(await desk.get(f"{SUBMISSIONS}/{identity}/history"))
    assert [(step.action, step.to_state, step.at.day, step.by.name, step.reason) for step in history.steps] == [
        ("submit", "submitted", 10, FARMERS, None),
        ("return", "returned", 11, CERTIFIER, "与部门口径不符"),
        ("edit", "draft", 12, FARMERS, None),
        ("submit", "submitted", 13, FARMERS, None),
        ("certify", "certified", 14, CERTIFIER, None),
    ]


async def test_what_was_returned_may_be_submitted_as_it_is(desk: Desk) -> None:
    identity = await bring(desk, "returned")
    desk.at(4, 19)
    shown = await desk.step(identity, "submit", {"reason": "数据无误"})
    assert (shown["state"], shown["submitted_at"]) == ("submitted", "2023-04-19T00:00:00+08:00")


# Corrections ---------------------------------------------------------------------------------------------------------


async def test_a_correction_is_a_new_revision_and_keeps_the_certified_one(desk: Desk) -> None:
    figures = [{"target": f"{INSURED}-T2", "value": 43}]
    first = await desk.create(task=INSURED, unit=INSURERS, observations=figures)
    identity = first["id"]
    desk.at(4, 18)
    await desk.certify(identity)
    kept = (await desk.get(f"{SUBMISSIONS}/{identity}/history"))["revisions"]
    instants = ("2023-04-10T10:00:00+08:00", "2023-04-19T00:00:00+08:00", "2023-06-01T00:00:00+08:00")
    query = {"task": INSURED, "period": "2023-04"}
    before = [await desk.obligation(**query, as_of=instant) for instant in instants[:2]]
    desk.at(5, 30)
    corrected = await desk.step(
        identity, "correct", CORRECTION | {"observations": [{"target": f"{INSURED}-T2", "value": 41}]}
    )
    assert (corrected["state"], corrected["revision"], corrected["certified_revision"]) == ("submitted", 2, 1)
    assert corrected["content_hash"] == digest_of(corrected) != first["content_hash"]
    desk.at(5, 31)
    certified = await desk.certify(identity)
    assert (certified["revision"], certified["certified_revision"]) == (2, 2)
    assert certified["content_hash"] == corrected["content_hash"]
    history = await desk.get(f"{SUBMISSIONS}/{identity}/history")
    assert history["revisions"][:1] == kept
    assert kept[0]["content_hash"] == first["content_hash"] == digest_of(first)
    assert [revision["revision"] for revision in history["revisions"]] == [1, 2]
    assert [(step["revision"], step["action"], step["reason"]) for step in history["steps"]] == [
        (1, "submit", None),
        (1, "certify", None),
        (2, "correct", "漏计一处"),
        (2, "certify", None),
    ]
    assert await desk.connection.fetch("SELECT revision, value FROM observations ORDER BY 1") == [(1, 43), (2, 41)]
    assert [await desk.obligation(**query, as_of=instant) for instant in instants[:2]] == before
    owed = await desk.obligation(**query, as_of=instants[2])
    assert (owed["status"], owed["filed_at"]) == ("on_time", "2023-04-18T00:00:00+08:00")


async def test_a_correction_may_be_kept_returned_and_edited_and_leaves_what_is_filed_alone(desk: Desk) -> None:
    identity = await bring(desk, "certified")
    filed = await desk.obligation()
    # Long after the lock: what is filed may always be corrected.
    desk.at(7, 1)
    draft = await desk.step(identity, "correct", CORRECTION | {"submit": False})
    assert (draft["state"], draft["submitted_at"], draft["certified_at"]) == ("draft", None, None)
    await desk.step(identity, "submit")
    await desk.step(identity, "return", BODIES["return"])
    edited = (await desk.send("PATCH", f"{SUBMISSIONS}/{identity}", SAID | {"percent_complete": 36})).json()
    assert (edited["revision"], edited["certified_revision"]) == (2, 1)
    await desk.step(identity, "submit")
    await desk.certify(identity)
    history = await desk.get(f"{SUBMISSIONS}/{identity}/history")
    assert [revision["percent_complete"] for revision in history["revisions"]] == [30, 36]
    now = await desk.obligation(as_of="2023-04-10T09:00:00+08:00")
    assert now == filed


async def test_whoever_sees_no_drafts_sees_what_is_in_force_while_it_is_corrected(desk: Desk) -> None:
    """Byte for byte as before, with the same ETags, and with no hint of the draft."""
    identity = await bring(desk, "certified")
    async with open_write_pool(desk.url, size=1) as pool:
        db = Database(pool)
        reader, reporter = await make_key(db, "查阅", ["reader"]), await make_key(db, "报送", ["reporter:431228-nyncj"])
        auditor, judge = await make_key(db, "审计", ["auditor"]), await make_key(db, "统计局", ["certifier:431228-tjj"])
    one, form = f"{SUBMISSIONS}/{identity}", "/api/v1/units/431228-nyncj/forms/2023-04"
    shown = (one, f"{one}/history", f"{one}/receipt", form, f"/api/v1/tasks/{FARM}/progress")
    lists = (SUBMISSIONS, f"{SUBMISSIONS}?status=certified", f"{SUBMISSIONS}?status=draft")

    async def seen(key: str) -> list[tuple[int, Any, Any]]:
        answers = [await desk.send("GET", path, None, Authorization=f"Bearer {key}") for path in (*shown, *lists)]
        found = [(answer.status_code, answer.headers["ETag"], answer.json()) for answer in answers]
        for _, _, body in found:
            body.pop("server_time", None)
        return found

    before = {key: await seen(key) for key in (reader, judge, reporter, auditor)}
    await desk.step(identity, "correct", CORRECTION | {"submit": False})
    await desk.send("PATCH", one, SAID | {"percent_complete": 37})
    for key in (reader, judge):
        assert await seen(key) == before[key]
    for key in (reporter, auditor):
        current, history, *_, in_lists, certified, drafts = (body for _, _, body in await seen(key))
        assert (current["state"], current["revision"], current["percent_complete"]) == ("draft", 2, 37)
        assert [step["action"] for step in history["steps"]] == ["submit", "certify", "correct", "edit"]
        assert in_lists["items"] == drafts["items"] != certified["items"] == []

    # It can be judged no more than before, whichever copy the certifier holds.
    for match in ({}, {"If-Match": before[judge][0][1]}, {"If-Match": '"other"'}):
        problem = await desk.step(identity, "certify", {}, 409, Authorization=f"Bearer {judge}", **match)
        assert problem["allowed"] == ["correct"]
    many = await desk.send("POST", "/api/v1/certifications", {"ids": [identity]}, Authorization=f"Bearer {judge}")
    assert [result["status"] for result in many.json()["results"]] == [409]

    # Handed in, it is there for all.
    await desk.step(identity, "submit")
    (_, _, current), *_ = await seen(reader)
    assert (current["state"], current["revision"], current["certified_revision"]) == ("submitted", 2, 1)


async def test_a_draft_that_was_never_certified_stays_hidden(desk: Desk) -> None:
    identity = await bring(desk, "draft")
    async with open_write_pool(desk.url, size=1) as pool:
        reader = await make_key(Database(pool), "查阅", ["reader"])
    for path in ("", "/history", "/receipt"):
        answer = await desk.send("GET", f"{SUBMISSIONS}/{identity}{path}", None, Authorization=f"Bearer {reader}")
        assert answer.status_code == 404


async def test_a_correction_is_checked(desk: Desk) -> None:
    identity = await bring(desk, "certified")
    problem = await desk.step(identity, "correct", CORRECTION | {"stage": "completed"}, 422)
    assert problem["errors"][0]["code"] == "completed_below_100"
    problem = await desk.step(identity, "correct", SAID, 422)
    assert problem["errors"][0]["pointer"] == "/body/reason"
    assert (await desk.get(f"{SUBMISSIONS}/{identity}"))["revision"] == 1


# Late, and the receipt -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("submitted", "certified", "status", "stage"),
    [
        ("2023-04-20T23:59:59.999999", "2023-04-20T23:59:59.999999", "on_time", None),
        ("2023-04-20T23:59:59.999999", "2023-04-21T00:00:00", "late", "certification"),
        ("2023-04-21T00:00:00", "2023-04-21T00:00:00", "late", "unit"),
        ("2023-05-20T23:59:59", "2023-05-25T00:00:00", None, "unit"),
    ],
)
async def test_late_says_which_stage_lost_the_time(
    desk: Desk, submitted: str, certified: str, status: str | None, stage: str | None
) -> None:
    desk.now[0] = datetime.fromisoformat(f"{submitted}+08:00")
    shown = await desk.create()
    desk.now[0] = datetime.fromisoformat(f"{certified}+08:00")
    await desk.certify(shown["id"])
    owed = await desk.obligation()
    assert owed["late_stage"] == stage
    assert status is None or owed["status"] == status
    receipt = await desk.get(f"{SUBMISSIONS}/{shown['id']}/receipt")
    assert (receipt["status"], receipt["late_stage"]) == (owed["status"], stage)


async def test_a_return_costs_the_unit_its_time(desk: Desk) -> None:
    identity = await bring(desk, "returned")
    desk.at(4, 21)
    await desk.step(identity, "submit")
    await desk.certify(identity)
    assert (await desk.obligation())["late_stage"] == "unit"


async def test_the_receipt_proves_what_was_received_when(desk: Desk) -> None:
    shown = await desk.create(problems="征地“滞后”", as_of="2023-04-01T00:00:00+08:00")
    desk.at(4, 18, 12)
    await desk.certify(shown["id"])
    desk.at(9, 1)
    receipt = await desk.get(f"{SUBMISSIONS}/{shown['id']}/receipt")
    assert ReceiptRead.model_validate(receipt)
    assert receipt["content_hash"] == digest_of(shown) == shown["content_hash"]
    assert {name: receipt[name] for name in ("server_time", "submitted_at", "filed_at", "due_at", "rule")} == {
        "server_time": "2023-09-01T00:00:00+08:00",
        "submitted_at": "2023-04-10T09:00:00+08:00",
        "filed_at": "2023-04-18T12:00:00+08:00",
        "due_at": "2023-04-20T23:59:59.999999+08:00",
        "rule": "monthly-form",
    }
    assert (receipt["status"], receipt["late_stage"]) == ("on_time", None)
    assert receipt["explanation"]


# ETags ---------------------------------------------------------------------------------------------------------------


async def test_if_match_guards_every_step(desk: Desk) -> None:
    answer = await desk.send("POST", SUBMISSIONS, REPORT | {"submit": False})
    path = f"{SUBMISSIONS}/{answer.json()['id']}"
    tags = [answer.headers["etag"]]
    for name in ("edit", "submit", "return", "submit", "certify", "correct"):
        method, at = ("PATCH", path) if name == "edit" else ("POST", f"{path}/{name}")
        before = await desk.get(path)
        for stale in (*tags[:-1], '"other"', ""):
            refused = await desk.send(method, at, BODIES[name], **{"If-Match": stale})
            assert (refused.status_code, refused.json()["type"]) == (412, "/problems/precondition-failed")
        assert await desk.get(path) == before
        done = await desk.send(method, at, BODIES[name], **{"If-Match": f'"other", {tags[-1]}'})
        assert done.status_code == 200, done.text
        assert done.headers["etag"] not in tags
        tags.append(done.headers["etag"])
        # The last part is what the one who asks may do with it.
        now = (await desk.client.get(path)).headers["etag"]
        assert now.rpartition("-")[0] == tags[-1].rpartition("-")[0]
    assert (await desk.send("POST", f"{path}/certify", BODIES["certify"], **{"If-Match": "*"})).status_code == 200


async def test_what_is_unchanged_is_not_sent_again(desk: Desk) -> None:
    shown = await desk.create()
    paths = ("", f"/{shown['id']}", f"/{shown['id']}/history", "?unit=县农业农村局")
    for path in [*(SUBMISSIONS + path for path in paths), "/api/v1/units/431228-nyncj/forms/2023-04"]:
        answer = await desk.client.get(path)
        again = await desk.client.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b""), path
        assert again.headers["etag"] == answer.headers["etag"]
    tag = (await desk.client.get(f"{SUBMISSIONS}/{shown['id']}")).headers["etag"]
    await desk.certify(shown["id"])
    answer = await desk.client.get(f"{SUBMISSIONS}/{shown['id']}", headers={"If-None-Match": tag})
    assert (answer.status_code, answer.json()["state"]) == (200, "certified")


# Lists, and what does not exist --------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module")
async def archive(clone: Clone) -> AsyncGenerator[Desk]:
    """A desk with all reports of April, in all states; only read."""
    async with desk_of(clone) as made:
        owed = (await made.get(OBLIGATIONS, rule="monthly-form", period="2023-04", limit="500"))["items"]
        for number, item in enumerate(owed):
            body = {"task": item["task"], "unit": item["unit"]["unit"], "submit": number % 4 > 0}
            shown = await made.create(**body)
            if number % 4 > 1:
                name = "certify" if number % 4 == 2 else "return"
                await made.step(shown["id"], name, BODIES[name])
        made.at(5, 10)
        await made.create(period="2023-05")
        yield made


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, lambda _: True),
        ({"plan": "431228-2023"}, lambda _: True),
        ({"battle": "431228-2023-6"}, lambda _: True),
        ({"battle": "431228-2023-1"}, lambda _: False),
        ({"task": FARM}, lambda item: item["task"] == FARM),
        ({"unit": SCHOOLS}, lambda item: item["unit"]["unit"] == "431228-jyj"),
        ({"unit": "431228-jyj"}, lambda item: item["unit"]["name"] == SCHOOLS),
        ({"period": "2023-05"}, lambda item: item["period"] == "2023-05"),
        ({"period": "2023-06"}, lambda _: False),
        *(({"status": state}, lambda item, state=state: item["state"] == state) for state in ALLOWED),
        ({"unit": SCHOOLS, "status": "draft"}, lambda i: i["state"] == "draft" and i["unit"]["unit"] == "431228-jyj"),
    ],
)
async def test_the_list_is_filtered(archive: Desk, query: dict[str, str], wanted: Any) -> None:
    everything = (await archive.get(SUBMISSIONS, limit="500"))["items"]
    assert len(everything) == 29
    page = await archive.get(SUBMISSIONS, **query, limit="500", include_total="true")
    assert page["items"] == [item for item in everything if wanted(item)]
    assert page["total"] == len(page["items"])


@pytest.mark.parametrize("sort", ["id", "-id"])
async def test_the_list_has_pages(archive: Desk, sort: str) -> None:
    whole = (await archive.get(SUBMISSIONS, limit="500", sort=sort))["items"]
    assert [item["id"] for item in whole] == sorted((item["id"] for item in whole), reverse=sort == "-id")
    found: list[Any] = []
    query: dict[str, str] = {"limit": "7", "sort": sort}
    while True:
        page = await archive.get(SUBMISSIONS, **query)
        found += page["items"]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == whole


@pytest.mark.parametrize(
    "query", ["colour=red", "status=late", "period=2023-13", "unit=县不存在局", "cursor=x", "limit=501", "sort=task"]
)
async def test_a_wrong_filter_is_refused(archive: Desk, query: str) -> None:
    answer = await archive.send("GET", f"{SUBMISSIONS}?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"/query/{query.split('=', maxsplit=1)[0]}"


@pytest.mark.parametrize(
    "position",
    [["id", "x", "x"], ["id", 1, 1], ["id", None, None], ["-id", NO_ID, NO_ID], ["id", NO_ID], {"id": NO_ID}],
)
async def test_a_cursor_that_the_list_did_not_give_out_is_refused(archive: Desk, position: Any) -> None:
    cursor = base64.urlsafe_b64encode(orjson.dumps(position)).rstrip(b"=").decode()
    answer = await archive.send("GET", f"{SUBMISSIONS}?cursor={cursor}")
    assert answer.status_code == 422
    assert answer.json()["type"].endswith("/problems/invalid-cursor")


async def test_what_does_not_exist_is_not_found(counter: Desk) -> None:
    path = f"{SUBMISSIONS}/{uuid4()}"
    for suffix in ("", "/history", "/receipt"):
        assert (await counter.send("GET", path + suffix)).status_code == 404
    assert (await counter.send("PATCH", path, SAID)).status_code == 404
    for name in BODIES.keys() - {"edit"}:
        assert (await counter.send("POST", f"{path}/{name}", BODIES[name])).status_code == 404
    for path in (f"{SUBMISSIONS}/1", f"{SUBMISSIONS}/batch/history"):
        assert (await counter.send("GET", path)).status_code == 404
    for method in ("GET", "PATCH"):
        assert (await counter.send(method, f"{SUBMISSIONS}/batch", SAID)).status_code == 405


# Statements ----------------------------------------------------------------------------------------------------------


async def test_a_report_costs_the_same_whatever_it_says(desk: Desk) -> None:
    costs: list[int] = []
    figures = [{"target": f"431228-2023-6-1-7-T{number}", "value": number} for number in range(1, 7)]
    for month in (4, 5):
        for observations in (figures[:1], figures):
            if observations is not figures:
                desk.at(month, 10)
            desk.statements.clear()
            task = "431228-2023-6-1-7" if observations is figures else INSURED
            said = observations if task != INSURED else [{"target": f"{INSURED}-T2", "value": 43}]
            unit = "县民政局" if task != INSURED else INSURERS
            shown = await desk.create(task=task, unit=unit, period=f"2023-0{month}", observations=said)
            assert len(shown["observations"]) == len(said)
            costs.append(len(desk.statements))
    assert len(set(costs)) == 1
    assert costs[0] <= 4


async def test_a_page_of_many_costs_what_a_page_of_one_costs(archive: Desk) -> None:
    costs: dict[str, list[int]] = {}
    asked = [(f"{SUBMISSIONS}?limit={{}}", 1), (f"{SUBMISSIONS}?limit={{}}", 50)]
    asked += [(f"{SUBMISSIONS}?unit=县教育局&limit={{}}", limit) for limit in (1, 50)]
    asked += [("/api/v1/units/{}/forms/2023-04", unit) for unit in ("县农业农村局", "县教育局", "县统计局")]
    for path, given in asked:
        archive.read.clear()
        assert (await archive.client.get(path.format(given))).status_code == 200
        costs.setdefault(path, []).append(len(archive.read))
    assert all(len(set(found)) == 1 and 1 <= found[0] <= 4 for found in costs.values()), costs
