"""What is offered is what will be done: of every resource, in every state, to every holder.

Each action is tried, with a body that is good, whether it is offered or not, and undone again: the service that is
asked here ends each transaction by taking it back.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.clock import SHANGHAI
from app.db import Database, Scoped, open_write_pool
from app.domain.actions import (
    AccountAction,
    CalendarSubscriptionAction,
    DeliveryAction,
    FormAction,
    KeyAction,
    ObligationAction,
    ScheduleAction,
    WebhookAction,
)
from app.domain.permissions import Capability, has_capability
from app.domain.plan import Labelled
from app.domain.workflow import SubmissionAction
from app.main import create_app
from app.services.leader import LOCK
from app.settings import Settings
from tests.api.test_permission_matrix import HOLDERS, OTHER, OWN, TASKS, Keys, actor_of
from tests.conftest import KEYS, Clone, make_key, serving

NOW = datetime(2023, 10, 10, 9, 0, tzinfo=SHANGHAI)
# Nobody listens there.
URL = "http://127.0.0.1:9/"
SETTINGS: dict[str, Any] = {"webhook_targets": URL[:-1], "webhook_networks": "127.0.0.0/8", "webhook_key": "k" * 32}
SAID = {"stage": "in_progress", "percent_complete": 40}


class _UndoneError(Exception):
    pass


class Undoing(Database):
    """Takes back what a request has written, once it has been answered."""

    def for_caller(self, caller: Scoped) -> Database:
        return Undoing(self._on, caller)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Database]:
        with suppress(_UndoneError):
            async with super().transaction() as within:
                yield within
                raise _UndoneError


def undoing(app: FastAPI) -> FastAPI:
    lifespan = app.router.lifespan_context

    @asynccontextmanager
    async def undone(of: FastAPI) -> AsyncGenerator[dict[str, Any]]:
        async with lifespan(of) as state:
            yield {**state, "writes": Undoing(state["writes"]._on)}

    app.router.lifespan_context = undone
    return app


@dataclass
class Hall:
    """Two services on one database, one that keeps what is done and one that does not, and rows in all states."""

    keeping: httpx.AsyncClient
    trying: httpx.AsyncClient
    connection: Any
    keys: dict[str, str]
    # By resource and state what finds a row; of what is its owner's, by the owner too.
    rows: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict[tuple[str, ...], dict[str, str]])

    async def make(self, path: str, body: Any = None, *, who: str = "everything", method: str = "POST") -> Any:
        headers = {"Authorization": f"Bearer {self.keys[who]}"}
        answer = await self.keeping.request(method, f"/api/v1/{path}", json=body, headers=headers)
        assert answer.status_code < 300, answer.text
        return answer.json()

    async def ask(self, who: str, method: str, path: str, body: Any = None) -> httpx.Response:
        # With a key it is done in one transaction, whatever it is.
        headers = {"Authorization": f"Bearer {self.keys[who]}", "Idempotency-Key": "attempt"}
        return await self.trying.request(method, f"/api/v1/{path}", json=body, headers=headers)

    def find(self, resource: str, state: str, who: str) -> dict[str, str]:
        """A row in this state: the holder's own, where it is its owner's; others have none, and ask for another's."""
        others = self.rows.get((resource, state, "everything"))
        return self.rows.get((resource, state)) or self.rows.get((resource, state, who)) or others or {}


async def owed(hall: Hall) -> None:
    """Reports in all states: until when they can be handed in, and what has become of them."""

    def case(period: str, unit: str = OWN) -> dict[str, str]:
        return {"rule": "monthly-form", "unit": unit, "task": TASKS[unit], "period": period}

    why = {"reason": "汛情", "approver": "县政府办"}

    async def extend(period: str) -> None:
        await hall.make("extensions", {**case(period), **why, "due_at": "2023-12-01T00:00:00+08:00"})

    async def report(period: str, *, submit: bool = True, unit: str = OWN) -> str:
        about = {"unit": unit, "task": TASKS[unit], "period": period}
        return (await hall.make("submissions", {**about, **SAID, "submit": submit}))["id"]

    found = {
        "locked": case("2023-04"),
        "waived": case("2023-05"),
        "draft": case("2023-06"),
        "submitted": case("2023-07"),
        "returned": case("2023-08"),
        "certified": case("2023-09"),
        "open": case("2023-10"),
        "ahead": case("2023-11"),
        "another's": case("2023-10", OTHER),
    }
    for state in ("waived", "draft", "submitted", "returned"):
        await extend(found[state]["period"])
    await hall.make("waivers", {**found["waived"], **why, "kind": "exempt"})
    ids = {
        state: await report(found[state]["period"], submit=state != "draft")
        for state in ("draft", "submitted", "returned", "certified")
    }
    ids["another's"] = await report("2023-09", unit=OTHER)
    await hall.make(f"submissions/{ids['returned']}/return", {"reason": "核对"}, who="judging")
    await hall.make(f"submissions/{ids['certified']}/certify", {}, who="judging")
    for state, row in found.items():
        hall.rows["obligation", state] = hall.rows["form", state] = row
    for state, identity in ids.items():
        hall.rows["submission", state] = {"id": identity}
    for state, period in (("open", "2023-10"), ("filed", "2023-09"), ("ahead", "2023-11")):
        row = {"rule": "work-bulletin-item", "unit": OWN, "period": period}
        hall.rows["text", state] = row
        if state == "filed":
            await hall.make("materials", {**row, "title": "信息", "content": "正文"})
    for state, unit in (("own", OWN), ("another's", OTHER)):
        hall.rows["schedule", state] = {"unit": unit, "task": TASKS[unit]}


async def managed(hall: Hall) -> None:
    """Accounts and keys in all states."""
    for state in ("enabled", "disabled"):
        account = await hall.make("accounts", {"name": "甲"})
        await hall.make(f"accounts/{account['code']}", {"disabled": state == "disabled"}, method="PATCH")
        hall.rows["account", state] = {"code": account["code"]}
    for state in ("in use", "replaced", "expired", "revoked"):
        code = (await hall.make("accounts", {"name": "乙"}))["code"]
        key = (await hall.make(f"accounts/{code}/keys", {}))["key_id"]
        path = f"accounts/{code}/keys/{key}"
        match state:
            case "replaced":
                await hall.make(f"{path}/rotate", {})
            case "expired":
                await hall.make(f"{path}/rotate", {"overlap_seconds": 0})
            case "revoked":
                await hall.make(path, method="DELETE")
            case _:
                pass
        hall.rows["key", state] = {"code": code, "key_id": key}


async def owned(hall: Hall) -> None:
    """Webhooks, deliveries and subscriptions in all states, of each holder that may have them and of another."""
    for who in [*HOLDERS, "everything"]:
        can = {one for one in Capability if who == "everything" or has_capability(actor_of(who), one)}
        if Capability.MANAGE_WEBHOOKS in can:
            for state in ("active", "paused"):
                identity = (await hall.make("webhooks", {"url": URL}, who=who))["id"]
                if state == "paused":
                    await hall.make(f"webhooks/{identity}", {"paused": True}, who=who, method="PATCH")
                hall.rows["webhook", state, who] = {"id": identity}
            hook = hall.rows["webhook", "active", who]
            for position, state in enumerate(("pending", "delivered", "dead", "withheld"), 1):
                await hall.connection.execute(
                    "INSERT INTO webhook_deliveries VALUES ($1, $2, $3, $4, 1, '[]', "
                    "CASE $4 WHEN 'pending' THEN $5::timestamptz END, $5)",
                    *(hook["id"], position, OWN, state, NOW),
                )
                hall.rows["delivery", state, who] = {**hook, "event": f"evt_{position}", "state": state}
        if Capability.SUBSCRIBE in can:
            for state in ("in use", "expired", "revoked"):
                token = (await hall.make("calendar-subscriptions", {"name": "手机"}, who=who))["token_id"]
                if state == "revoked":
                    await hall.make(f"calendar-subscriptions/{token}", who=who, method="DELETE")
                if state == "expired":
                    await hall.connection.execute(
                        "UPDATE calendar_subscriptions SET created_at = $2::timestamptz - interval '1 day', "
                        "expires_at = $2 WHERE token_id = $1",
                        *(token, NOW),
                    )
                hall.rows["subscription", state, who] = {"token_id": token}
    # An administrator sees everybody's.
    for who, whose in (("administrator", "reporter"),):
        for state in ("in use", "expired", "revoked"):
            hall.rows["subscription", state, who] = hall.rows["subscription", state, whose]


@pytest_asyncio.fixture(scope="module")
async def hall(clone: Clone) -> AsyncGenerator[Hall]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(clone())
        pool = await stack.enter_async_context(open_write_pool(url, size=2))
        # Another session leads, and sends nothing.
        leading = await stack.enter_async_context(open_write_pool(url, size=1))
        await leading.fetch("SELECT pg_advisory_lock($1)", LOCK)
        keys = {name: await make_key(Database(pool), name, grants) for name, grants in HOLDERS.items()}
        keys |= {"everything": KEYS["everything"], "judging": KEYS["certifier"]}
        settings = Settings(database_url=url, **SETTINGS)
        keeping = await stack.enter_async_context(serving(create_app(settings, clock=lambda: NOW), auth=Keys()))
        trying = await stack.enter_async_context(serving(undoing(create_app(settings, clock=lambda: NOW)), auth=Keys()))
        connection = await asyncpg.connect(url)
        stack.push_async_callback(connection.close)
        await connection.execute(
            "INSERT INTO events SELECT n, $1, 'obligation.overdue', '431228-2023', NULL, $2, NULL, "
            """'{"period": "2023-09"}' FROM generate_series(1, 4) AS n""",
            *(NOW, OWN),
        )
        hall = Hall(keeping, trying, connection, keys)
        await owed(hall)
        await managed(hall)
        await owned(hall)
        yield hall


Request = tuple[str, str, Any]


@dataclass(frozen=True)
class Resource:
    """How a row is read, which part of the answer it is, what each action asks, and what is accepted needlessly."""

    actions: type[Labelled]
    path: str
    acts: dict[str, Request]
    shown: Callable[[Any, dict[str, str]], list[Any]] = lambda answer, _: [answer]
    # The state and the action of what is not offered though it would be accepted: it changes nothing, or is needed no
    # more.
    needless: frozenset[tuple[str, str]] = frozenset()


def items(answer: Any, row: dict[str, str]) -> list[Any]:
    """The rows of a list that it was narrowed to; of those of a form, the task's."""
    return [item for item in answer["items"] if item.get("task") in {None, row.get("task")}]


OF_UNIT = {"rule": "{rule}", "unit": "{unit}", "period": "{period}"}
GRANT = {**OF_UNIT, "reason": "汛情", "approver": "县政府办"}
DECIDED = [(state, action) for state in ("certified", "waived") for action in ("extend", "waive")]
RESOURCES: dict[str, Resource] = {
    "submission": Resource(
        SubmissionAction,
        "submissions/{id}",
        {
            "edit": ("PATCH", "submissions/{id}", SAID),
            "submit": ("POST", "submissions/{id}/submit", {}),
            "certify": ("POST", "submissions/{id}/certify", {}),
            "return": ("POST", "submissions/{id}/return", {"reason": "核对"}),
            "correct": ("POST", "submissions/{id}/correct", {**SAID, "reason": "漏计"}),
        },
    ),
    "obligation": Resource(
        ObligationAction,
        "obligations?rule=monthly-form&unit={unit}&task={task}&period={period}",
        {
            "report": ("PUT", "units/{unit}/forms/{period}", {"items": [{"task": "{task}", **SAID}]}),
            "extend": ("POST", "extensions", {**GRANT, "task": "{task}", "due_at": "2024-01-20T00:00:00+08:00"}),
            "waive": ("POST", "waivers", {**GRANT, "task": "{task}", "kind": "exempt"}),
        },
        shown=items,
        needless=frozenset({*DECIDED, ("waived", "report")}),
    ),
    "text": Resource(
        ObligationAction,
        "obligations?rule={rule}&unit={unit}&period={period}",
        {
            "report": ("POST", "materials", {**OF_UNIT, "title": "信息", "content": "正文"}),
            "extend": ("POST", "extensions", {**GRANT, "due_at": "2024-01-20T00:00:00+08:00"}),
            "waive": ("POST", "waivers", {**GRANT, "kind": "nil"}),
        },
        shown=items,
        needless=frozenset(("filed", action) for action in ObligationAction),
    ),
    "form": Resource(
        FormAction,
        "units/{unit}/forms/{period}",
        {"report": ("PUT", "units/{unit}/forms/{period}", {"items": [{"task": "{task}", **SAID}]})},
        shown=items,
        needless=frozenset({("waived", "report")}),
    ),
    "schedule": Resource(
        ScheduleAction,
        "tasks/{task}/schedules?unit={unit}",
        {"set": ("PUT", "tasks/{task}/schedules/{unit}", {"points": [], "reason": "测试"})},
        shown=items,
    ),
    "account": Resource(
        AccountAction,
        "accounts/{code}",
        {
            "rename": ("PATCH", "accounts/{code}", {"name": "丙"}),
            "set_grants": ("PUT", "accounts/{code}/grants", {"grants": []}),
            "issue_key": ("POST", "accounts/{code}/keys", {}),
            "disable": ("PATCH", "accounts/{code}", {"disabled": True}),
            "enable": ("PATCH", "accounts/{code}", {"disabled": False}),
        },
        needless=frozenset({("enabled", "enable"), ("disabled", "disable")}),
    ),
    "key": Resource(
        KeyAction,
        "accounts/{code}/keys?limit=1",
        {
            "rotate": ("POST", "accounts/{code}/keys/{key_id}/rotate", {}),
            "revoke": ("DELETE", "accounts/{code}/keys/{key_id}", None),
        },
        shown=items,
        needless=frozenset({("expired", "revoke"), ("revoked", "revoke")}),
    ),
    "webhook": Resource(
        WebhookAction,
        "webhooks/{id}",
        {
            "change": ("PATCH", "webhooks/{id}", {"unit": OWN}),
            "test": ("POST", "webhooks/{id}/test", None),
            "rotate_secret": ("POST", "webhooks/{id}/rotate-secret", {}),
            "pause": ("PATCH", "webhooks/{id}", {"paused": True}),
            "resume": ("POST", "webhooks/{id}/resume", {}),
            "delete": ("DELETE", "webhooks/{id}", None),
        },
        needless=frozenset({("paused", "pause")}),
    ),
    "delivery": Resource(
        DeliveryAction,
        "webhooks/{id}/deliveries?state={state}",
        {"redeliver": ("POST", "webhooks/{id}/deliveries/{event}/redeliver", None)},
        shown=items,
    ),
    "subscription": Resource(
        CalendarSubscriptionAction,
        "calendar-subscriptions/{token_id}",
        {"revoke": ("DELETE", "calendar-subscriptions/{token_id}", None)},
        needless=frozenset({("expired", "revoke"), ("revoked", "revoke")}),
    ),
}


def filled(template: Any, row: dict[str, str]) -> Any:
    """A path or a body with the names of a row in their places."""
    match template:
        case str():
            return template.format(**row)
        case dict():
            return {name: filled(value, row) for name, value in template.items()}
        case list():
            return [filled(value, row) for value in template]
        case _:
            return template


def offered_in(answer: httpx.Response, resource: Resource, row: dict[str, str]) -> list[str]:
    """What is offered with a row; nothing where it is not shown."""
    if answer.status_code in {403, 404}:
        return []
    assert answer.status_code == 200, answer.text
    shown = resource.shown(answer.json(), row)
    assert len(shown) <= 1
    return shown[0]["allowed_actions"] if shown else []


@pytest.mark.parametrize("name", RESOURCES)
async def test_what_is_offered_is_done_and_what_is_not_is_refused_or_needless(hall: Hall, name: str) -> None:
    resource = RESOURCES[name]
    assert set(resource.acts) == set(resource.actions)
    accepted: set[tuple[str, str]] = set()
    ever: set[str] = set()
    for state in dict.fromkeys(key[1] for key in hall.rows if key[0] == name):
        for who in HOLDERS:
            row = hall.find(name, state, who)
            offered = offered_in(await hall.ask(who, "GET", filled(resource.path, row)), resource, row)
            ever |= set(offered)
            for action in resource.actions:
                method, path, body = filled(list(resource.acts[action]), row)
                answer = await hall.ask(who, method, path, body)
                done = answer.status_code < 300
                if action in offered:
                    assert done, (state, who, action, answer.text)
                elif done:
                    accepted.add((state, action.value))
                else:
                    assert answer.status_code in {403, 404, 409, 422}, (state, who, action, answer.text)
    assert accepted == resource.needless
    assert ever == set(resource.actions)


@pytest.mark.parametrize("who", HOLDERS)
async def test_a_form_offers_what_any_of_its_tasks_does(hall: Hall, who: str) -> None:
    seen: set[bool] = set()
    for period in ("2023-04", "2023-09", "2023-10", "2023-11"):
        answer = await hall.ask(who, "GET", f"units/{OWN}/forms/{period}")
        if answer.status_code != 200:
            continue
        form = answer.json()
        offers = [item["allowed_actions"] for item in form["items"]]
        assert form["allowed_actions"] == (["report"] if ["report"] in offers else [])
        seen.add(bool(form["allowed_actions"]))
    reports = any(grant.unit == OWN and grant.role == "reporter" for grant in actor_of(who).grants)
    assert (True in seen) is reports


async def test_answers_that_offer_different_things_differ_in_their_etags(hall: Hall) -> None:
    """What one was given is not passed for unchanged to another, or to the same one later."""
    row = hall.rows["submission", "submitted"]
    for path, holders in (
        (f"submissions/{row['id']}", ("certifier", "supervisor")),
        ("submissions", ("certifier", "supervisor")),
        ("obligations?rule=monthly-form", ("supervisor", "auditor")),
        (f"units/{OWN}/forms/2023-10", ("reporter", "reader of the unit")),
        (f"tasks/{TASKS[OWN]}/schedules", ("reporter", "reader of the unit")),
        (f"tasks/{TASKS[OWN]}/schedules/{OWN}", ("reporter", "reader of the unit")),
    ):
        answers = [await hall.ask(who, "GET", path) for who in holders]
        assert {answer.status_code for answer in answers} == {200}
        assert answers[0].headers["etag"] != answers[1].headers["etag"], path


async def test_what_can_be_done_is_of_now_whatever_instant_is_shown(hall: Hall) -> None:
    path = f"obligations?rule=monthly-form&unit={OWN}&task={TASKS[OWN]}"
    for as_of in ("2023-04-01T00:00:00Z", "2023-12-31T00:00:00Z"):
        for who, period, offered in (
            ("supervisor", "2023-10", ["extend", "waive"]),
            # Filed and waived since, or still.
            ("supervisor", "2023-09", []),
            ("supervisor", "2023-05", []),
            ("reporter", "2023-10", ["report"]),
            ("reporter", "2023-04", []),
        ):
            answer = await hall.ask(who, "GET", f"{path}&period={period}&as_of={as_of}")
            (item,) = answer.json()["items"]
            assert item["allowed_actions"] == offered, (as_of, who, period)
