"""Webhooks: everything arrives, of each unit in order, signed, and nowhere but where it may go."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text

from app.clock import SHANGHAI
from app.db import Database, Query, open_write_pool
from app.domain.audit import AuditAction
from app.domain.events import MOST_TRIES, EventType
from app.main import create_app
from app.security.addresses import parse_networks
from app.security.outbound import Outbound
from app.security.targets import Targets, parse_targets
from app.services.dispatch import Dispatcher
from app.services.events import NewEvent, emit, place
from app.services.webhooks import Sender
from app.settings import Settings
from tests.api.receivers import Message, Receiver, receiving
from tests.conftest import Clone, make_key, nobody_leads, serving

HOOKS = "/api/v1/webhooks"
PLAN, BATTLE = "431228-2023", "431228-2023-6"
UNITS = ["431228-jyj", "431228-nyncj", "431228-tjj"]
KEY = "the key of all secrets, of 32 characters or more"
STARTED = datetime(2023, 5, 10, 9, 0, tzinfo=SHANGHAI)


@dataclass
class Desk:
    """A service that somebody else leads, so that the test dispatches by its own clock; a receiver and its webhook."""

    url: str
    db: Database
    receiver: Receiver
    stack: AsyncExitStack
    now: datetime = STARTED
    client: httpx.AsyncClient = field(init=False)
    sender: Sender = field(init=False)
    key: str = ""

    def clock(self) -> datetime:
        return self.now

    def dispatcher(self) -> Dispatcher:
        return Dispatcher(self.db, self.sender, self.clock)

    async def ask(self, method: str, path: str = "", body: Any = None, *, key: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key or self.key}"}
        return await self.client.request(method, HOOKS + path, json=body, headers=headers)

    async def hook(self, **wanted: Any) -> dict[str, Any]:
        answer = await self.ask("POST", "", {"url": self.receiver.url, **wanted})
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def tell(self, *events: tuple[str, int]) -> None:
        await emit(self.db, [new(unit, n) for unit, n in events])
        while await place(self.db):
            pass

    async def dispatch(self) -> None:
        """Send whatever is due now."""
        dispatcher = self.dispatcher()
        await dispatcher.turn()
        await dispatcher.settle()

    async def pass_time(self, span: timedelta, step: timedelta = timedelta(minutes=1)) -> None:
        until = self.now + span
        while self.now < until:
            self.now += step
            await self.dispatch()

    async def deliveries(self, hook: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
        answer = await self.client.get(
            f"{HOOKS}/{hook['id']}/deliveries", params=query, headers={"Authorization": f"Bearer {self.key}"}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["items"]


@asynccontextmanager
async def desk_of(clone: Clone) -> AsyncGenerator[Desk]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(clone())
        await stack.enter_async_context(nobody_leads(url))
        pool = await stack.enter_async_context(open_write_pool(url, size=4))
        receiver = await stack.enter_async_context(receiving())
        desk = Desk(url, Database(pool), receiver, stack)
        host = httpx.URL(receiver.url)
        settings: dict[str, Any] = {
            "webhook_targets": f"http://127.0.0.1:{host.port},http://localhost:{host.port},oa.example.gov.cn",
            "webhook_networks": "127.0.0.0/8,::1",
            "webhook_key": KEY,
        }
        app = create_app(Settings(database_url=url, **settings), clock=desk.clock)
        desk.client = await stack.enter_async_context(serving(app))
        targets = Targets(parse_targets(settings["webhook_targets"].split(",")), parse_networks(["127.0.0.0/8", "::1"]))
        desk.sender = Sender(await stack.enter_async_context(Outbound(targets, timeout=2)), KEY)
        desk.key = await make_key(desk.db, "督导系统", ["supervisor"])
        yield desk


@pytest_asyncio.fixture
async def desk(clone: Clone) -> AsyncGenerator[Desk]:
    async with desk_of(clone) as opened:
        yield opened


def new(unit: str, n: int) -> NewEvent:
    return NewEvent(EventType.SUBMITTED, STARTED, PLAN, BATTLE, unit, None, {"period": "2023-04", "revision": n})


def numbers(messages: Sequence[Message], unit: str | None = None) -> list[int]:
    return [m.event["data"]["revision"] for m in messages if unit in {None, m.event["unit"]}]


async def test_what_is_delivered_is_the_event_of_the_stream_signed(desk: Desk) -> None:
    hook = await desk.hook()
    await desk.tell((UNITS[0], 1))
    await desk.dispatch()
    (message,) = desk.receiver.taken
    stream = (await desk.client.get("/api/v1/changes")).json()["items"]
    assert [message.event] == stream
    assert message.headers["webhook-id"] == stream[0]["id"]
    assert message.headers["webhook-timestamp"] == str(int(STARTED.timestamp()))
    assert message.headers["content-type"] == "application/json"
    assert message.path == "/hook?x=1"
    assert message.signed_with(hook["secret"])
    assert not message.signed_with("whsec_" + "A" * 44)
    await desk.dispatch()
    assert len(desk.receiver.messages) == 1
    (delivery,) = await desk.deliveries(hook)
    assert (delivery["event"], delivery["state"], delivery["tries"]) == (stream[0]["id"], "delivered", 1)
    assert (delivery["attempts"][0]["status"], delivery["attempts"][0]["error"]) == (204, None)


async def test_a_receiver_that_fails_for_an_hour_gets_everything_afterwards_in_order(desk: Desk) -> None:
    hook = await desk.hook()
    desk.receiver.answer = lambda _: 503
    for n in range(60):
        await desk.tell(*((unit, n) for unit in UNITS))
        desk.now += timedelta(minutes=1)
        await desk.dispatch()
    assert desk.receiver.taken == []
    # While it is down it is tried, but not with everything that waits.
    assert 3 <= len(desk.receiver.messages) < 30
    desk.receiver.answer = lambda _: 204
    # By then a failure is followed by a wait of up to an hour and a quarter.
    await desk.pass_time(timedelta(hours=2), timedelta(minutes=5))
    for unit in UNITS:
        assert numbers(desk.receiver.taken, unit) == list(range(60))
    assert all(one["state"] == "delivered" for one in await desk.deliveries(hook, limit=500))
    shown = (await desk.ask("GET", f"/{hook['id']}")).json()
    assert (shown["state"], shown["pause_reason"]) == ("active", None)


async def test_one_unit_that_is_refused_holds_up_no_other(desk: Desk) -> None:
    hook = await desk.hook()
    desk.receiver.answer = lambda event: 500 if event["unit"] == UNITS[0] else 204
    for n in range(5):
        await desk.tell(*((unit, n) for unit in UNITS))
        await desk.dispatch()
    assert numbers(desk.receiver.taken, UNITS[1]) == list(range(5))
    assert set(numbers(desk.receiver.messages, UNITS[0])) == {0}
    desk.receiver.answer = lambda _: 204
    await desk.pass_time(timedelta(minutes=10))
    assert numbers(desk.receiver.taken, UNITS[0]) == list(range(5))
    assert hook["state"] == "active"


async def test_after_days_of_failure_it_is_a_dead_letter_and_the_webhook_pauses(desk: Desk) -> None:
    hook = await desk.hook()
    desk.receiver.answer = lambda _: 500
    await desk.tell((UNITS[0], 1), (UNITS[0], 2))
    await desk.pass_time(timedelta(days=3), timedelta(hours=1))
    assert (await desk.ask("GET", f"/{hook['id']}")).json()["state"] == "active"
    await desk.pass_time(timedelta(days=2), timedelta(hours=1))
    shown = (await desk.ask("GET", f"/{hook['id']}")).json()
    assert (shown["state"], shown["pause_reason"]) == ("paused", "exhausted")
    (dead,) = await desk.deliveries(hook, state="dead")
    assert (dead["event"], dead["tries"], len(dead["attempts"])) == ("evt_1", MOST_TRIES, MOST_TRIES)
    await desk.tell((UNITS[0], 3))
    desk.receiver.answer = lambda _: 204
    await desk.pass_time(timedelta(days=1), timedelta(hours=6))
    assert desk.receiver.taken == []
    assert (await desk.ask("POST", f"/{hook['id']}/resume", {})).json()["state"] == "active"
    await desk.dispatch()
    assert numbers(desk.receiver.taken) == [1, 2, 3]


async def test_a_dead_letter_can_be_skipped_and_sent_again_later(desk: Desk) -> None:
    hook = await desk.hook()
    desk.receiver.answer = lambda event: 500 if event["data"]["revision"] == 1 else 204
    await desk.tell((UNITS[0], 1), (UNITS[0], 2))
    await desk.pass_time(timedelta(days=5), timedelta(hours=2))
    assert numbers(desk.receiver.taken) == []
    assert (await desk.ask("POST", f"/{hook['id']}/resume", {"skip_dead": True})).status_code == 200
    await desk.dispatch()
    assert numbers(desk.receiver.taken) == [2]
    desk.receiver.answer = lambda _: 204
    again = await desk.ask("POST", f"/{hook['id']}/deliveries/evt_1/redeliver")
    assert (again.status_code, again.json()["state"]) == (200, "pending")
    await desk.dispatch()
    assert numbers(desk.receiver.taken) == [2, 1]
    assert (await desk.ask("POST", f"/{hook['id']}/deliveries/evt_9/redeliver")).status_code == 404
    # What has arrived can be sent again as well, under the same id.
    await desk.ask("POST", f"/{hook['id']}/deliveries/evt_2/redeliver")
    await desk.dispatch()
    assert [m.headers["webhook-id"] for m in desk.receiver.taken] == ["evt_2", "evt_1", "evt_2"]


@pytest.mark.parametrize("seed", range(4))
async def test_every_event_arrives_in_order_of_its_unit_whatever_fails(desk: Desk, seed: int) -> None:
    """Receivers fail at random, the dispatcher is cut off at random and begun anew."""
    random = Random(seed)
    await desk.hook()
    desk.receiver.answer = lambda _: random.choice([204, 204, 500, 429])
    told: dict[str, list[int]] = {unit: [] for unit in UNITS}
    for n in range(30):
        unit = random.choice(UNITS)
        told[unit].append(n)
        await desk.tell((unit, n))
        dispatcher = desk.dispatcher()
        await dispatcher.turn()
        desk.receiver.delay = random.choice([0, 0.02])
        await asyncio.sleep(random.random() * 0.03)
        await dispatcher.stop(within=0)
        desk.now += timedelta(seconds=random.randrange(120))
    desk.receiver.answer, desk.receiver.delay = (lambda _: 204), 0
    await desk.pass_time(timedelta(days=1), timedelta(hours=1))
    for unit, expected in told.items():
        arrived = numbers(desk.receiver.taken, unit)
        # At least once: what was cut off is sent again, and the receiver may be done with the first copy after that.
        assert list(dict.fromkeys(arrived)) == expected


async def test_a_webhook_is_told_what_its_account_may_see_now_and_what_it_wants(desk: Desk) -> None:
    desk.key = await make_key(desk.db, "教育局", [f"reporter:{UNITS[0]}", f"reader:{UNITS[1]}"])
    await desk.hook(unit=UNITS[0], types=["submission.submitted"])
    await desk.tell((UNITS[0], 1), (UNITS[1], 2), (UNITS[2], 3))
    await desk.dispatch()
    assert numbers(desk.receiver.taken) == [1]
    everything = await desk.hook()
    desk.receiver.answer = lambda _: 503
    await desk.tell((UNITS[0], 4), (UNITS[1], 5), (UNITS[2], 6))
    await desk.dispatch()
    await desk.db.fetch(Query(text("DELETE FROM account_grants WHERE unit = '431228-nyncj'")))
    desk.receiver.answer = lambda _: 204
    await desk.pass_time(timedelta(hours=1), timedelta(minutes=10))
    assert set(numbers(desk.receiver.taken)) == {1, 4}
    states = {one["event"]: one["state"] for one in await desk.deliveries(everything)}
    assert states == {"evt_4": "delivered", "evt_5": "withheld"}


async def test_a_disabled_account_is_told_nothing(desk: Desk) -> None:
    await desk.hook()
    await desk.db.fetch(Query(text("UPDATE accounts SET disabled_at = now() WHERE name = '督导系统'")))
    await desk.tell((UNITS[0], 1))
    await desk.dispatch()
    assert desk.receiver.messages == []
    row = await desk.db.fetch_row(Query(text("SELECT state, pause_reason, position FROM webhooks")))
    assert row is not None
    assert tuple(row) == ("paused", "account_disabled", 0)


async def test_what_happens_while_it_is_paused_arrives_when_it_is_resumed(desk: Desk) -> None:
    hook = await desk.hook()
    paused = await desk.ask("PATCH", f"/{hook['id']}", {"paused": True})
    assert (paused.json()["state"], paused.json()["pause_reason"]) == ("paused", "requested")
    await desk.tell((UNITS[0], 1), (UNITS[0], 2))
    await desk.dispatch()
    assert desk.receiver.messages == []
    await desk.ask("POST", f"/{hook['id']}/resume", {})
    await desk.dispatch()
    assert numbers(desk.receiver.taken) == [1, 2]


async def test_a_receiver_that_is_gone_for_good_pauses_at_once(desk: Desk) -> None:
    hook = await desk.hook()
    desk.receiver.answer = lambda _: 410
    await desk.tell((UNITS[0], 1))
    await desk.dispatch()
    assert (await desk.ask("GET", f"/{hook['id']}")).json()["pause_reason"] == "gone"
    assert [one["state"] for one in await desk.deliveries(hook)] == ["pending"]


async def test_a_redirect_is_a_failure_and_is_not_followed(desk: Desk) -> None:
    hook = await desk.hook()
    desk.receiver.answer, desk.receiver.extra = (lambda _: 307), f"Location: {desk.receiver.url}\r\n"
    await desk.tell((UNITS[0], 1))
    await desk.dispatch()
    assert len(desk.receiver.messages) == 1
    assert (await desk.deliveries(hook))[0]["attempts"][0]["error"] == "答复 307"


async def test_retry_after_is_heeded_and_silence_is_a_failure(desk: Desk) -> None:
    hook = await desk.hook()
    desk.receiver.answer, desk.receiver.extra = (lambda _: 429), "Retry-After: 600\r\n"
    await desk.tell((UNITS[0], 1))
    await desk.dispatch()
    (delivery,) = await desk.deliveries(hook)
    assert datetime.fromisoformat(delivery["next_try_at"]) == desk.now + timedelta(minutes=10)
    desk.receiver.delay = 3
    desk.now += timedelta(minutes=10)
    await desk.dispatch()
    assert (await desk.deliveries(hook))[0]["attempts"][-1]["error"] == "2 秒内没有答复"


async def test_after_a_rotation_both_secrets_sign_for_the_overlap(desk: Desk) -> None:
    hook = await desk.hook()
    rotated = (await desk.ask("POST", f"/{hook['id']}/rotate-secret", {"overlap_seconds": 60})).json()
    assert rotated["secret"] != hook["secret"]
    await desk.tell((UNITS[0], 1))
    await desk.dispatch()
    desk.now += timedelta(seconds=61)
    await desk.tell((UNITS[0], 2))
    await desk.dispatch()
    during, after = desk.receiver.taken
    assert during.signed_with(hook["secret"])
    assert during.signed_with(rotated["secret"])
    assert after.signed_with(rotated["secret"])
    assert not after.signed_with(hook["secret"])


async def test_a_test_is_sent_at_once_signed_and_leaves_no_delivery(desk: Desk) -> None:
    hook = await desk.hook()
    tested = (await desk.ask("POST", f"/{hook['id']}/test")).json()
    assert (tested["delivered"], tested["status"], tested["error"]) == (True, 204, None)
    (message,) = desk.receiver.taken
    assert message.event["type"] == "webhook.test"
    assert message.signed_with(hook["secret"])
    desk.receiver.answer = lambda _: 500
    assert (await desk.ask("POST", f"/{hook['id']}/test")).json()["delivered"] is False
    assert await desk.deliveries(hook) == []


async def test_a_webhook_is_its_owners_alone_and_its_secret_is_shown_once(desk: Desk) -> None:
    hook = await desk.hook()
    other = await make_key(desk.db, "别的系统", ["supervisor"])
    shown = await desk.ask("GET", f"/{hook['id']}")
    assert "secret" not in shown.json()
    assert (await desk.ask("GET", f"/{hook['id']}", key=other)).status_code == 404
    assert (await desk.ask("DELETE", f"/{hook['id']}", key=other)).status_code == 404
    assert (await desk.ask("GET", "", key=other)).json()["items"] == []
    assert [one["id"] for one in (await desk.ask("GET")).json()["items"]] == [hook["id"]]
    stored = await desk.db.fetch_value(Query(text("SELECT CAST(webhooks AS text) FROM webhooks")))
    assert hook["secret"].removeprefix("whsec_") not in stored
    assert (await desk.ask("DELETE", f"/{hook['id']}")).json()["id"] == hook["id"]
    assert (await desk.ask("GET", f"/{hook['id']}")).status_code == 404


async def test_every_act_on_a_webhook_is_put_down_without_what_is_secret(desk: Desk) -> None:
    hook = await desk.hook(unit=UNITS[0])
    path = f"/{hook['id']}"
    await desk.tell((UNITS[0], 1))
    await desk.dispatch()
    (delivery,) = await desk.deliveries(hook)
    moved = desk.receiver.url.replace("x=1", "password")
    for method, what, body in (
        ("PATCH", "", {"url": moved, "unit": None, "paused": True}),
        ("POST", "/resume", {"skip_dead": True}),
        ("POST", f"/deliveries/{delivery['event']}/redeliver", None),
        ("POST", "/test", None),
        ("POST", "/rotate-secret", {"overlap_seconds": 60}),
        ("DELETE", "", None),
    ):
        answer = await desk.ask(method, path + what, body)
        assert answer.status_code == 200, answer.text
        desk.now += timedelta(seconds=1)
    answer = await desk.client.get("/api/v1/audit", params={"subject": hook["id"], "sort": "at"})
    trail = answer.json()["items"]
    created, changed, resumed, sent, tested, rotated, deleted = trail
    assert {entry["action"] for entry in trail} == {one for one in AuditAction if one.startswith("webhook.")}
    assert {(entry["chain"], entry["unit"]) for entry in trail} == {("service", None)}
    assert created["after"] == changed["before"]
    assert created["after"]["target"] == changed["after"]["target"] == desk.receiver.url.removesuffix("/hook?x=1")
    assert changed["after"]["url_hash"] == hashlib.sha256(moved.encode()).hexdigest() != created["after"]["url_hash"]
    assert (changed["before"]["unit"], changed["after"]["unit"]) == (UNITS[0], None)
    assert (resumed["before"]["state"], resumed["after"]["state"]) == ("paused", "active")
    assert resumed["after"]["skip_dead"]
    assert sent["before"] == {"event": delivery["event"], "state": "delivered"}
    assert sent["after"] == {"event": delivery["event"], "state": "pending"}
    assert (tested["after"]["status"], tested["after"]["message"]) == (
        204,
        desk.receiver.messages[-1].headers["webhook-id"],
    )
    assert (rotated["before"]["secret_version"], rotated["after"]["secret_version"]) == (1, 2)
    assert (rotated["after"], None) == (deleted["before"], deleted["after"])
    for secret in ("/hook", "password", "whsec_", hook["secret"].removeprefix("whsec_")):
        assert secret not in answer.text


async def test_a_test_under_a_key_is_sent_once_and_one_at_a_time(desk: Desk) -> None:
    hooks = [await desk.hook(), await desk.hook()]
    desk.receiver.delay = 0.5

    async def test(hook: dict[str, Any], **headers: str) -> httpx.Response:
        path = f"{HOOKS}/{hook['id']}/test"
        return await desk.client.post(path, headers={"Authorization": f"Bearer {desk.key}", **headers})

    keyed = {"Idempotency-Key": "k"}
    first = asyncio.create_task(test(hooks[0], **keyed))
    await asyncio.sleep(0.25)
    for hook in hooks:
        refused = await test(hook, **{"Idempotency-Key": "k" if hook is hooks[0] else "other"})
        assert (refused.status_code, refused.json()["type"]) == (409, "/problems/still-running")
        assert refused.headers["retry-after"] == "1"
    # Without a key it holds nothing that others could wait for.
    assert (await test(hooks[1])).json()["delivered"]
    again = await test(hooks[0], **keyed)
    assert again.content == (await first).content
    assert len(desk.receiver.taken) == 2
    assert (await test(hooks[1], **{"Idempotency-Key": "other"})).json()["delivered"]


async def test_a_webhook_is_changed_only_as_it_was_seen(desk: Desk) -> None:
    hook = await desk.hook(unit=UNITS[0])
    path = f"{HOOKS}/{hook['id']}"
    headers = {"Authorization": f"Bearer {desk.key}"}
    etag = (await desk.client.get(path, headers=headers)).headers["etag"]
    first = await desk.client.patch(path, json={"unit": None}, headers={**headers, "If-Match": etag})
    assert (first.status_code, first.json()["unit"], first.json()["url"]) == (200, None, desk.receiver.url)
    second = await desk.client.patch(path, json={"plan": PLAN}, headers={**headers, "If-Match": etag})
    assert second.status_code == 412


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"url": "https://elsewhere.example/"}, "target_not_allowed"),
        ({"url": "https://oa.example.gov.cn@elsewhere.example/"}, "target_not_allowed"),
        ({"url": "https://user:pw@oa.example.gov.cn/"}, "target_not_allowed"),
        ({"url": "http://oa.example.gov.cn/"}, "target_not_allowed"),
        ({"url": "https://oa.example.gov.cn:8443/"}, "target_not_allowed"),
        ({"url": "https://oa.example.gov.cn.elsewhere.example/"}, "target_not_allowed"),
        ({"url": "https://oa.example.gov.cn/#x"}, "target_not_allowed"),
        ({"url": "ftp://oa.example.gov.cn/"}, "string_pattern_mismatch"),
        ({"url": "https://oa.example.gov.cn/\n"}, "string_pattern_mismatch"),
        ({"url": "https://oa.example.gov.cn/", "unit": "431228-none"}, "unknown_unit"),
        ({"url": "https://oa.example.gov.cn/", "plan": "999999-2023"}, "unknown_plan"),
        ({"url": "https://oa.example.gov.cn/", "types": []}, "too_short"),
        ({"url": "https://oa.example.gov.cn/", "types": ["x"]}, "enum"),
        ({"url": "https://oa.example.gov.cn/", "secret": "x"}, "extra_forbidden"),
    ],
)
async def test_what_a_webhook_cannot_be_is_refused(desk: Desk, body: dict[str, Any], code: str) -> None:
    answer = await desk.ask("POST", "", body)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, code), answer.text


async def test_without_the_operators_settings_there_are_no_webhooks(client: httpx.AsyncClient) -> None:
    answer = await client.post(HOOKS, json={"url": "https://oa.example.gov.cn/"})
    assert answer.status_code == 422
    assert "LIUZHANG_WEBHOOK_TARGETS" in answer.json()["detail"]


async def test_an_account_has_only_so_many(desk: Desk) -> None:
    for _ in range(20):
        await desk.hook()
    answer = await desk.ask("POST", "", {"url": desk.receiver.url})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")
