"""Requests sent again: one ``Idempotency-Key``, one effect, and one answer however often it is asked for."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
import pytest_asyncio

from app.clock import SHANGHAI
from app.db import SERVICE_ROLE, Database, open_write_pool
from app.main import create_app
from app.services.idempotency import _FORGET, forget_expired
from app.settings import Settings
from tests.conftest import KEYS, Clone, serving

API = "/api/v1"
# What is asked with a body and keeps nothing.
KEEPS_NOTHING = {"preview_assessments_with"}
NOW = datetime(2023, 6, 10, 9, 0, tzinfo=SHANGHAI)
UNIT, TASK = "431228-jyj", "431228-2023-6-3-4"
SAID = {"stage": "in_progress", "percent_complete": 40}
REPORT = {"task": TASK, "unit": UNIT, "period": "2023-05", **SAID}
TEXT = {"rule": "work-bulletin-item", "unit": "芷江镇", "title": "集中检查", "content": "本月完成检查。"}
LIFETIME = 3600


class Post:
    """A service on a database of its own, and its clock."""

    def __init__(self, url: str, client: httpx.AsyncClient, connection: Any) -> None:
        self.url = url
        self.client = client
        self.connection = connection
        self.now = NOW

    async def send(self, path: str, body: Any, key: str | None, method: str = "POST", **headers: str) -> httpx.Response:
        named = {} if key is None else {"Idempotency-Key": key}
        return await self.client.request(method, f"{API}{path}", json=body, headers={**named, **headers})

    async def count(self, table: str) -> int:
        return await self.connection.fetchval(f"SELECT count(*) FROM {table}")


@pytest_asyncio.fixture
async def post(clone: Clone) -> AsyncGenerator[Post]:
    async with clone() as url:
        connection = await asyncpg.connect(url)
        made: list[Post] = []
        settings = Settings(database_url=url, idempotency_lifetime=LIFETIME)
        async with serving(create_app(settings, clock=lambda: made[0].now)) as client:
            made.append(Post(url, client, connection))
            yield made[0]
        await connection.close()


def assert_same(first: httpx.Response, again: httpx.Response) -> None:
    """The first answer again, and told to be so."""
    assert again.status_code == first.status_code, again.text
    assert again.content == first.content
    for name in ("content-type", "etag", "location", "cache-control"):
        assert again.headers.get(name) == first.headers.get(name), name
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]


def assert_refused(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{slug}"), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


WRITES = {
    "a report": ("POST", "/submissions", REPORT, 201, "submissions"),
    "a draft": ("POST", "/submissions", {**REPORT, "submit": False}, 201, "submissions"),
    "a batch": ("POST", "/submissions/batch", {"items": [REPORT]}, 200, "submissions"),
    "a form": ("PUT", f"/units/{UNIT}/forms/2023-05", {"items": [{"task": TASK, **SAID}]}, 200, "submissions"),
    "a material": ("POST", "/materials", TEXT, 201, "materials"),
    "an account": ("POST", "/accounts", {"name": "甲", "grants": []}, 201, "accounts"),
    "an extension": (
        "POST",
        "/extensions",
        {
            "rule": "monthly-form",
            "unit": UNIT,
            "period": "2023-06",
            "due_at": "2023-07-01T00:00:00+08:00",
            "reason": "汛情",
            "approver": "甲",
        },
        201,
        "extensions",
    ),
}


@pytest.mark.parametrize("what", WRITES)
async def test_what_is_sent_again_is_done_once_and_answered_as_before(post: Post, what: str) -> None:
    method, path, body, status, table = WRITES[what]
    before = await post.count(table)
    first = await post.send(path, body, "k-1", method)
    assert first.status_code == status, first.text
    done = await post.count(table)
    assert done == before + 1
    for key in ("k-1", '"k-1"', " k-1 "):
        assert_same(first, await post.send(path, body, key, method))
    assert await post.count(table) == done


async def test_without_a_key_a_request_sent_again_is_another_request(post: Post) -> None:
    for key in (None, None, "k-1", "k-2"):
        assert (await post.send("/materials", TEXT, key)).status_code == 201
    assert await post.count("materials") == 4
    assert await post.count("idempotency_keys") == 2


async def test_a_step_sent_again_is_taken_once(post: Post) -> None:
    identity = (await post.send("/submissions", REPORT, "k-1")).json()["id"]
    path = f"/submissions/{identity}/certify"
    first = await post.send(path, {}, "k-2")
    assert first.status_code == 200, first.text
    assert_same(first, await post.send(path, {}, "k-2"))
    assert_refused(await post.send(path, {}, "k-3"), 409, "wrong-step")


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/submissions", {**REPORT, "percent_complete": 41}, {}),
        ("/submissions/batch", {"items": [REPORT]}, {}),
        ("/submissions?", {**REPORT, "submit": True}, {}),
        ("/submissions", REPORT, {"If-Match": '"x"'}),
    ],
)
async def test_a_key_is_for_one_request(post: Post, path: str, body: Any, headers: dict[str, str]) -> None:
    first = await post.send("/submissions", REPORT, "k-1")
    refused = assert_refused(await post.send(path, body, "k-1", **headers), 422, "idempotency-key-reused")
    assert "Idempotency-Key" in refused["detail"]
    assert await post.count("submissions") == 1
    assert_same(first, await post.send("/submissions", REPORT, "k-1"))


async def test_the_keys_of_different_callers_have_nothing_to_do_with_each_other(post: Post) -> None:
    assert (await post.send("/submissions", REPORT, "k-1")).status_code == 201
    made = await post.send("/accounts", {"name": "乙", "grants": [{"role": "reporter", "unit": UNIT}]}, "k-2")
    assert made.status_code == 201, made.text
    issued = await post.send(f"/accounts/{made.json()['code']}/keys", {}, "k-3")
    other = {"Authorization": f"Bearer {issued.json()['key']}"}
    assert_refused(await post.send("/submissions", REPORT, "k-1", **other), 409, "conflict")
    assert (await post.send("/submissions", {**REPORT, "period": "2023-06"}, "k-1", **other)).status_code == 201


async def test_a_refused_request_did_nothing_and_is_judged_anew(post: Post) -> None:
    post.now = datetime(2023, 9, 1, 9, 0, tzinfo=SHANGHAI)
    refused = await post.send("/submissions", REPORT, "k-1")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["code"] == "locked"
    assert await post.count("idempotency_keys") == 0
    extension = {**WRITES["an extension"][2], "period": "2023-05", "due_at": "2023-10-01T00:00:00+08:00"}
    assert (await post.send("/extensions", extension, "k-2")).status_code == 201
    first = await post.send("/submissions", REPORT, "k-1")
    assert first.status_code == 201, first.text
    assert_same(first, await post.send("/submissions", REPORT, "k-1"))


async def test_many_at_once_have_one_effect(post: Post) -> None:
    answers = await asyncio.gather(*(post.send("/materials", TEXT, "k-1") for _ in range(30)))
    told = Counter(
        (answer.status_code, answer.headers.get("idempotency-replayed", answer.json().get("type")))
        for answer in answers
    )
    assert told.pop((201, None)) == 1
    assert set(told) <= {(201, "true"), (409, "/problems/still-running")}
    assert await post.count("materials") == 1
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 409)


async def test_reports_that_come_together_have_an_answer_of_their_own_each_and_once(post: Post) -> None:
    query = "rule=monthly-form&period=2023-05&limit=500"
    owed = (await post.client.get(f"{API}/obligations?{query}")).json()["items"]
    reports = {f"k-{n}": {**REPORT, "task": one["task"], "unit": one["unit"]["unit"]} for n, one in enumerate(owed)}
    assert len(reports) > 20
    wrong = {"k-0": {**REPORT, "period": "2023-06"}}
    sent = [(key, body) for key, body in (*reports.items(), *reports.items(), *wrong.items())]
    answers = await asyncio.gather(*(post.send("/submissions", body, key) for key, body in sent))
    first: dict[str, httpx.Response] = {}
    for (key, body), answer in zip(sent, answers, strict=True):
        if answer.status_code == 201 and "idempotency-replayed" not in answer.headers:
            assert first.setdefault(key, answer) is answer, "done twice"
            assert answer.json()["task"] == body["task"]
        elif answer.status_code != 201:
            assert answer.json()["type"] in {"/problems/still-running", "/problems/idempotency-key-reused"}, answer.text
    assert len(first) == len(reports)
    assert await post.count("submissions") == await post.count("idempotency_keys") == len(reports)
    for key, answer in first.items():
        body = wrong["k-0"] if answer.json()["period"] == "2023-06" else reports[key]
        assert_same(answer, await post.send("/submissions", body, key))


async def test_while_a_request_runs_it_is_not_begun_again(post: Post) -> None:
    identity = (await post.send("/submissions", REPORT, "k-1")).json()["id"]
    path = f"/submissions/{identity}/certify"
    transaction = post.connection.transaction()
    await transaction.start()
    await post.connection.execute("SELECT FROM submissions FOR UPDATE")
    running = asyncio.create_task(post.send(path, {}, "k-2"))
    for _ in range(200):
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database "
        if await post.connection.fetchval(f"{waiting}WHERE datname = current_database()) OR NOT granted"):
            break
        await asyncio.sleep(0.02)
    assert_refused(await post.send(path, {}, "k-2"), 409, "still-running")
    await transaction.rollback()
    first = await running
    assert first.status_code == 200, first.text
    assert_same(first, await post.send(path, {}, "k-2"))


async def test_a_key_is_free_again_when_its_time_is_over(post: Post) -> None:
    first = await post.send("/materials", TEXT, "k-1")
    post.now = NOW + timedelta(seconds=LIFETIME - 1)
    assert_same(first, await post.send("/materials", TEXT, "k-1"))
    post.now = NOW + timedelta(seconds=LIFETIME)
    second = await post.send("/materials", {**TEXT, "title": "另一篇"}, "k-1")
    assert second.status_code == 201
    assert second.content != first.content
    assert_same(second, await post.send("/materials", {**TEXT, "title": "另一篇"}, "k-1"))
    assert await post.count("materials") == 2


async def test_keys_whose_time_is_over_are_dropped_by_the_process_that_leads(post: Post) -> None:
    for key in ("k-1", "k-2"):
        assert (await post.send("/materials", TEXT, key)).status_code == 201
    post.now = NOW + timedelta(seconds=LIFETIME)
    assert (await post.send("/materials", TEXT, "k-2")).status_code == 201
    async with asyncio.timeout(30):
        while await post.count("idempotency_keys") > 1:  # noqa: ASYNC110 - it is the leader that is waited for
            await asyncio.sleep(0.05)
    assert await post.connection.fetchval("SELECT key FROM idempotency_keys") == "k-2"


async def test_keys_are_dropped_in_batches_the_oldest_first_and_by_index(post: Post) -> None:
    # Of the time after the clock of the service, which drops none of them.
    await post.connection.execute(
        "INSERT INTO idempotency_keys SELECT 'a', 'k' || n, sha256(''), 201, '{}', '', false, $1::timestamptz, "
        "$1::timestamptz + n * interval '1 hour' FROM generate_series(1, 50) n",
        NOW,
    )
    async with open_write_pool(post.url, size=1, role=SERVICE_ROLE) as pool:
        db = Database(pool)
        for left in (43, 36):
            await forget_expired(db, now=NOW + timedelta(hours=40), most=7)
            kept = "SELECT count(*), min(expires_at) FROM idempotency_keys"
            assert tuple(await post.connection.fetchrow(kept)) == (left, NOW + timedelta(hours=51 - left))
        for _ in range(5):
            await forget_expired(db, now=NOW + timedelta(hours=40), most=7)
        assert await post.count("idempotency_keys") == 10
        async with pool.acquire() as connection, connection.transaction():
            arguments = _FORGET.arguments({"now": NOW, "most": 7})
            plan = str(await connection.fetch(f"EXPLAIN {_FORGET.sql}", *arguments))
        assert "ix_idempotency_keys_expires_at" in plan
        assert "Seq Scan" not in plan


async def test_a_key_that_is_taken_anew_while_it_is_dropped_stays(post: Post) -> None:
    assert (await post.send("/materials", TEXT, "k-1")).status_code == 201
    transaction = post.connection.transaction()
    await transaction.start()
    later = NOW + timedelta(seconds=LIFETIME)
    await post.connection.execute("UPDATE idempotency_keys SET expires_at = $1", later + timedelta(hours=1))
    async with open_write_pool(post.url, size=1, role=SERVICE_ROLE) as pool:
        # Nor is it waited for.
        await asyncio.wait_for(forget_expired(Database(pool), now=later), 10)
        await transaction.commit()
        await forget_expired(Database(pool), now=later)
    assert await post.count("idempotency_keys") == 1


async def test_what_is_shown_once_is_kept_sealed(post: Post) -> None:
    account = (await post.send("/accounts", {"name": "甲", "grants": []}, "k-1")).json()["code"]
    administrator = [{"role": "administrator"}]
    answer = await post.send(f"/accounts/{account}/grants", {"grants": administrator}, "k-2", "PUT")
    assert answer.status_code == 200, answer.text
    path = f"/accounts/{account}/keys"
    first = await post.send(path, {}, "k-3")
    assert_same(first, await post.send(path, {}, "k-3"))
    assert await post.count("api_keys") == await post.connection.fetchval("SELECT count(DISTINCT id) FROM api_keys")
    secret = first.json()["key"]
    kept = await post.connection.fetchrow("SELECT * FROM idempotency_keys WHERE key = 'k-3'")
    assert secret.encode() not in kept["body"]
    assert kept["sealed"]
    assert not any(secret in str(value) for value in kept.values())

    # The same account with another of its keys: the same actor, who cannot open it.
    one = {"Authorization": f"Bearer {secret}"}
    issued = await post.send(path, {}, "k-4", **one)
    another = {"Authorization": f"Bearer {(await post.send(path, {}, 'k-5', **one)).json()['key']}"}
    assert_same(issued, await post.send(path, {}, "k-4", **one))
    assert_refused(await post.send(path, {}, "k-4", **another), 409, "conflict")


@pytest.mark.parametrize("key", ["", " ", '""', "k" * 256, "a b", '"a', 'a"b', "\x7f", "键".encode()])
async def test_a_key_that_is_none_is_refused_before_anything_is_done(post: Post, key: str | bytes) -> None:
    answer = await post.client.post(f"{API}/materials", json=TEXT, headers={"Idempotency-Key": key})
    body = assert_refused(answer, 422, "invalid-request")
    assert body["errors"][0]["pointer"] == "/header/Idempotency-Key"
    assert await post.count("materials") == 0


async def test_two_keys_are_refused(post: Post) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    body = assert_refused(
        await post.client.post(f"{API}/materials", json=TEXT, headers=headers), 422, "invalid-request"
    )
    assert body["errors"][0]["code"] == "repeated"
    assert await post.count("materials") == 0


async def test_a_key_of_255_characters_is_one(post: Post) -> None:
    first = await post.send("/materials", TEXT, "k" * 255)
    assert first.status_code == 201
    assert_same(first, await post.send("/materials", TEXT, f'"{"k" * 255}"'))


async def test_credentials_are_asked_for_before_the_key(post: Post) -> None:
    await post.send("/materials", TEXT, "k-1")
    for authorization, status in (("Bearer nothing", 401), (f"Bearer {KEYS['certifier']}", 403)):
        answer = await post.send("/materials", TEXT, "k-1", Authorization=authorization)
        assert answer.status_code == status
        assert "idempotency-replayed" not in answer.headers


async def test_a_lost_connection_leaves_no_key_behind(post: Post) -> None:
    """The transaction of the effect is the transaction of the key."""
    await post.connection.execute("ALTER TABLE materials ADD CONSTRAINT ck_nothing CHECK (false) NOT VALID")
    assert (await post.send("/materials", TEXT, "k-1")).status_code == 409
    assert await post.count("idempotency_keys") == 0
    await post.connection.execute("ALTER TABLE materials DROP CONSTRAINT ck_nothing")
    assert (await post.send("/materials", TEXT, "k-1")).status_code == 201


def test_every_operation_that_changes_something_takes_a_key(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            named = [p["name"] for p in operation.get("parameters", []) if p["in"] == "header"]
            changes = method != "get" and operation["operationId"] not in KEEPS_NOTHING
            assert ("Idempotency-Key" in named) == changes, (method, path)
            if changes:
                assert {"409", "422"} <= operation["responses"].keys(), (method, path)


async def test_a_get_has_no_effect_to_keep(post: Post) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    assert (await post.client.get(f"{API}/plans", headers=key)).status_code == 200
    assert await post.count("idempotency_keys") == 0
