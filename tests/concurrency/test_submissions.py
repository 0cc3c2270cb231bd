"""What happens at once happens once: one report, one step, one batch wins; the others are told, and nothing is lost."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from app.clock import SHANGHAI
from app.db import create_engine
from app.domain.workflow import SubmissionState, allowed
from app.main import create_app
from app.settings import Settings
from tests.api.test_submissions import BODIES, CERTIFIER, FARM, FARMERS, OBLIGATIONS, REPORT, SAID, SUBMISSIONS
from tests.conftest import Clone, Keyed, listening
from tests.services.test_obligations import assert_counted

NOW = datetime(2023, 6, 10, 9, 0, tzinfo=SHANGHAI)
FORM = "/api/v1/units/431228-jyj/forms/2023-05"
ROUNDS = 4


def serve(url: str) -> AbstractContextManager[str]:
    """The address of one process of the service, as far as a thread with a loop and pools of its own is one."""
    return listening(create_app(Settings(database_url=url), clock=lambda: NOW))


class Crowd:
    """Clients of two processes on one database, that ask by turns."""

    def __init__(self, url: str, clients: list[httpx.AsyncClient]) -> None:
        self.url = url
        self.clients = clients

    async def ask(self, number: int, method: str, path: str, body: Any = None) -> httpx.Response:
        answer = await self.clients[number % len(self.clients)].request(method, path, json=body)
        assert answer.status_code < 500, answer.text
        return answer

    async def at_once(self, *requests: tuple[str, str, Any]) -> list[httpx.Response]:
        return await asyncio.gather(*(self.ask(number, *request) for number, request in enumerate(requests)))

    async def reports(self, period: str) -> list[dict[str, Any]]:
        """A report on everything that is owed for a period."""
        query = f"rule=monthly-form&period={period}&limit=500"
        owed = (await self.ask(0, "GET", f"{OBLIGATIONS}?{query}")).json()["items"]
        return [REPORT | {"task": o["task"], "unit": o["unit"]["unit"], "period": period} for o in owed]

    async def create(self, **changes: Any) -> str:
        answer = await self.ask(0, "POST", SUBMISSIONS, REPORT | {"period": "2023-05"} | changes)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    async def rows(self, statement: str, *values: Any) -> list[Any]:
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetch(statement, *values)
        finally:
            await connection.close()

    async def assert_sound(self) -> None:
        """The counts are those of a recount, and every submission is in the state of its last step."""
        engine = create_engine(self.url)
        try:
            await assert_counted(engine)
        finally:
            await engine.dispose()
        wrong = await self.rows(
            "SELECT s.id FROM submissions s JOIN submission_revisions v ON (v.task_id, v.submission_id, v.revision) = "
            "(s.task_id, s.id, s.revision) LEFT JOIN LATERAL (SELECT to_state, count(*) OVER () AS steps FROM "
            "submission_transitions t WHERE t.submission_id = s.id ORDER BY t.id DESC LIMIT 1) t ON true "
            "LEFT JOIN obligations o ON o.unit_id = s.unit_id AND o.task_id = s.task_id AND o.period = s.period "
            "WHERE t.to_state IS DISTINCT FROM s.state OR t.steps <> s.version "
            "OR (s.certified_revision IS NOT NULL) <> (o.filed_at IS NOT NULL) "
            "OR (s.state IN ('submitted', 'certified') AND (v.submitted_at IS NULL OR o.submitted_at IS NULL))"
        )
        assert wrong == []


@pytest_asyncio.fixture
async def crowd(clone: Clone) -> AsyncGenerator[Crowd]:
    async with clone() as url:
        with serve(url) as one, serve(url) as other:
            limits = httpx.Limits(max_connections=40)
            clients = [
                httpx.AsyncClient(base_url=base, trust_env=False, timeout=60, limits=limits, auth=Keyed())
                for base in (one, other)
            ]
            try:
                yield Crowd(url, clients)
            finally:
                for client in clients:
                    await client.aclose()


def statuses(answers: list[httpx.Response]) -> list[int]:
    return sorted(answer.status_code for answer in answers)


async def test_of_twenty_reports_at_once_one_is_taken(crowd: Crowd) -> None:
    names = (FARMERS, "431228-nyncj")
    for period in ("2023-05", "2023-06"):
        bodies = [REPORT | {"period": period, "unit": names[n % 2], "percent_complete": 20 + n} for n in range(20)]
        answers = await crowd.at_once(*(("POST", SUBMISSIONS, body) for body in bodies))
        assert statuses(answers) == [201] + [409] * 19
        (winner,) = (answer.json() for answer in answers if answer.status_code == 201)
        losers = [answer.json() for answer in answers if answer.status_code == 409]
        assert {loser["existing"] for loser in losers} == {winner["id"]}
        assert {loser["errors"][0]["code"] for loser in losers} == {"already_reported"}
        rows = await crowd.rows(
            "SELECT v.percent_complete FROM submissions s JOIN submission_revisions v ON v.submission_id = s.id "
            "JOIN submission_transitions t ON t.submission_id = s.id WHERE s.period = $1",
            period,
        )
        assert [row[0] for row in rows] == [winner["percent_complete"]]
    await crowd.assert_sound()


async def test_of_batches_that_overlap_one_wins_whole(crowd: Crowd) -> None:
    for period in ("2023-05", "2023-06"):
        reports = await crowd.reports(period)
        half = len(reports) // 2
        # They share what is in the middle, in opposite order.
        batches = [reports[: half + 3], reports[: half - 4 : -1]]
        answers = await crowd.at_once(
            *(("POST", f"{SUBMISSIONS}/batch?atomic=true", {"items": batch}) for batch in batches)
        )
        assert statuses(answers) == [200, 200]
        results = [answer.json() for answer in answers]
        won, lost = sorted(results, key=lambda result: -result["accepted"])
        assert {result["status"] for result in won["results"]} == {201}
        assert lost["accepted"] == 0
        ids = {result["id"] for result in won["results"]}
        conflicts = [result for result in lost["results"] if result["status"] == 409]
        assert len(conflicts) == 6
        assert all(result["id"] in ids for result in conflicts)
        assert all(result["id"] is None for result in lost["results"] if result["status"] != 409)
        rows = await crowd.rows("SELECT id::text FROM submissions WHERE period = $1", period)
        assert {row[0] for row in rows} == ids
    await crowd.assert_sound()


async def test_batches_that_are_not_atomic_share_the_work(crowd: Crowd) -> None:
    reports = await crowd.reports("2023-05")
    batches = [reports, reports[::-1], reports[10:] + reports[:10], reports[::-1]]
    answers = await crowd.at_once(*(("POST", f"{SUBMISSIONS}/batch", {"items": batch}) for batch in batches))
    results = [result for answer in answers for result in answer.json()["results"]]
    assert Counter(result["status"] for result in results) == {201: len(reports), 409: 3 * len(reports)}
    assert {r["id"] for r in results if r["status"] == 409} == {r["id"] for r in results if r["status"] == 201}
    await crowd.assert_sound()


@pytest.mark.parametrize(
    ("state", "steps", "wins"),
    [
        ("submitted", ["certify", "return"], 1),
        ("submitted", ["certify"] * 6, 1),
        ("submitted", ["return"] * 6, 1),
        ("certified", ["correct"] * 6, 1),
        ("draft", ["submit"] * 6, 1),
    ],
)
async def test_one_step_wins(crowd: Crowd, state: str, steps: list[str], wins: int) -> None:
    for number, report in enumerate((await crowd.reports("2023-05"))[:ROUNDS]):
        identity = await crowd.create(task=report["task"], unit=report["unit"], submit=state != "draft")
        if state == "certified":
            await crowd.ask(0, "POST", f"{SUBMISSIONS}/{identity}/certify", BODIES["certify"])
        order = steps if number % 2 else steps[::-1]
        answers = await crowd.at_once(*(("POST", f"{SUBMISSIONS}/{identity}/{name}", BODIES[name]) for name in order))
        assert statuses(answers) == [200] * wins + [409] * (len(steps) - wins)
        (winner,) = (answer.json() for answer in answers if answer.status_code == 200)
        losers = [answer.json() for answer in answers if answer.status_code == 409]
        assert {loser["type"] for loser in losers} == {"/problems/wrong-step"}
        assert all(loser["allowed"] == [*allowed(SubmissionState(winner["state"]))] for loser in losers)
        shown = (await crowd.ask(0, "GET", f"{SUBMISSIONS}/{identity}")).json()
        # What is offered differs by who asks.
        assert shown | {"allowed_actions": None} == winner | {"allowed_actions": None}
    await crowd.assert_sound()


async def test_a_submission_is_certified_with_the_instant_at_which_it_was_submitted(crowd: Crowd) -> None:
    for report in (await crowd.reports("2023-05"))[: 2 * ROUNDS]:
        identity = await crowd.create(task=report["task"], unit=report["unit"], submit=False)
        path = f"{SUBMISSIONS}/{identity}"
        await crowd.at_once(
            ("POST", f"{path}/submit", {}),
            ("POST", f"{path}/certify", BODIES["certify"]),
            ("PATCH", path, SAID),
            ("POST", f"{path}/certify", BODIES["certify"]),
        )
    await crowd.assert_sound()


async def test_a_step_that_waited_sees_what_the_other_did(crowd: Crowd) -> None:
    """A certification that waits for the unit's submission to end certifies what was submitted, not what it saw."""
    identity = await crowd.create(submit=False)
    connection = await asyncpg.connect(crowd.url)
    try:
        async with connection.transaction():
            await connection.execute("UPDATE submissions SET state = 'submitted', version = 2")
            await connection.execute("UPDATE submission_revisions SET submitted_at = $1", NOW)
            await connection.execute(
                "INSERT INTO submission_transitions (task_id, submission_id, revision, action, to_state, at, "
                "actor_unit_id) SELECT task_id, id, 1, 'submit', 'submitted', $1, unit_id FROM submissions",
                NOW,
            )
            waiting = asyncio.create_task(crowd.ask(0, "POST", f"{SUBMISSIONS}/{identity}/certify", BODIES["certify"]))
            await waits(connection)
        assert (await waiting).status_code == 200
    finally:
        await connection.close()
    await crowd.assert_sound()


async def waits(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    for _ in range(200):
        if await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            return
        await asyncio.sleep(0.02)
    pytest.fail("nothing waits")


async def test_certifications_of_the_same_in_opposite_order_wait_for_each_other_but_end(crowd: Crowd) -> None:
    for period in ("2023-05", "2023-06"):
        answer = await crowd.ask(0, "POST", f"{SUBMISSIONS}/batch", {"items": await crowd.reports(period)})
        ids = [result["id"] for result in answer.json()["results"]]
        orders = [ids, ids[::-1], ids[::2] + ids[1::2], ids[7:] + ids[:7]]
        answers = await crowd.at_once(
            *(("POST", "/api/v1/certifications", {"by": CERTIFIER, "ids": order}) for order in orders)
        )
        assert statuses(answers) == [200] * 4
        results = [result for answer in answers for result in answer.json()["results"]]
        assert Counter(result["status"] for result in results) == {200: len(ids), 409: 3 * len(ids)}
        assert {result["id"] for result in results if result["status"] == 200} == set(ids)
    await crowd.assert_sound()


async def test_a_form_and_its_parts_at_once(crowd: Crowd) -> None:
    tasks = [report["task"] for report in await crowd.reports("2023-05") if report["unit"] == "431228-jyj"]
    assert len(tasks) == 3
    drafted = await crowd.create(task=tasks[0], unit="县教育局", submit=False)
    lines = [{"task": task, "stage": "in_progress", "percent_complete": 40} for task in tasks]
    answers = await crowd.at_once(
        ("PUT", FORM, {"items": lines}),
        ("PUT", FORM, {"items": lines[::-1]}),
        ("POST", f"{SUBMISSIONS}/{drafted}/submit", {}),
        ("POST", SUBMISSIONS, REPORT | {"task": tasks[2], "unit": "县教育局", "period": "2023-05"}),
        ("POST", "/api/v1/certifications", {"by": CERTIFIER, "ids": [drafted]}),
        ("PUT", FORM, {"items": lines}),
    )
    assert {answer.status_code for answer in answers} <= {200, 201, 409}
    rows = await crowd.rows("SELECT count(*) FROM submissions")
    forms = [answer for answer in answers[:2] + answers[5:] if answer.status_code == 200]
    assert len(forms) <= 1
    if forms:
        assert rows[0][0] == 3
    await crowd.assert_sound()


async def test_counts_are_right_after_much_at_once(crowd: Crowd) -> None:
    reports = [*await crowd.reports("2023-05"), *await crowd.reports("2023-06")]
    answers = await crowd.at_once(*(("POST", SUBMISSIONS, report) for report in reports))
    assert statuses(answers) == [201] * len(reports)
    ids = [answer.json()["id"] for answer in answers]
    steps = [(name, identity) for identity in ids for name in ("certify", "return", "certify")]
    answers = await crowd.at_once(*(("POST", f"{SUBMISSIONS}/{i}/{name}", BODIES[name]) for name, i in steps))
    assert Counter(statuses(answers))[200] >= len(ids)
    await crowd.assert_sound()


@pytest.mark.parametrize("path", [SUBMISSIONS, f"{SUBMISSIONS}/batch", FORM])
async def test_what_fails_at_commit_is_never_answered_as_done(crowd: Crowd, path: str) -> None:
    await crowd.rows(
        "CREATE FUNCTION refuse_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE unique_violation USING MESSAGE = 'forced at commit'; END $$"
    )
    await crowd.rows(
        "CREATE CONSTRAINT TRIGGER refuse_it AFTER INSERT ON submissions DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION refuse_it()"
    )
    report = REPORT | {"period": "2023-05"}
    line = {"task": "431228-2023-6-1-1", "stage": "in_progress", "percent_complete": 40}
    body = {SUBMISSIONS: report, f"{SUBMISSIONS}/batch": {"items": [report]}, FORM: {"items": [line]}}[path]
    answer = await crowd.clients[0].request("PUT" if path == FORM else "POST", path, json=body)
    assert answer.status_code >= 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert "forced" not in answer.text
    assert await crowd.rows("SELECT FROM submissions") == []
    assert await crowd.rows("SELECT FROM obligations WHERE submitted_at IS NOT NULL") == []
    await crowd.rows("DROP TRIGGER refuse_it ON submissions")
    again = await crowd.ask(0, "PUT" if path == FORM else "POST", path, body)
    assert again.status_code in {200, 201}
    owed = await crowd.ask(0, "GET", f"{OBLIGATIONS}?task={FARM}&period=2023-05")
    assert owed.status_code == 200
