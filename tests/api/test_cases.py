"""Cases of the ledger by API calls alone: whole lives, refusals, rights, the past, closure, reminders, races."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import pytest_asyncio

from app.clock import SHANGHAI
from app.db import Database, open_write_pool
from app.domain.cases import KINDS, TRANSITIONS, CaseAction, CaseKind, CaseState
from app.main import create_app
from app.schemas.case import CaseHistoryRead, CasePage, CaseRead, ClosureRead
from app.services.case_reads import open_cases
from app.services.case_reminders import remind_of_cases
from app.settings import Settings
from tests.conftest import Clone, CountingDatabase, make_key, nobody_leads, serving

PLAN, BATTLE, ELSEWHERE = "431228-2023", "431228-2023-5", "431228-2023-6"
TASK = "431228-2023-6-3-4"
OWN, OTHER = "431228-jyj", "431228-nyncj"
JUNE, AUTUMN = (datetime(2023, m, d, 23, 59, 59, 999999, tzinfo=SHANGHAI) for m, d in ((6, 15), (9, 1)))
START = datetime(2023, 5, 8, 9, 0, tzinfo=SHANGHAI)
HOLDERS = {
    "office": [f"supervisor@{PLAN}"],
    "force": [f"coordinator:{BATTLE}"],
    "force elsewhere": [f"coordinator:{ELSEWHERE}"],
    "unit": [f"reporter:{OWN}"],
    "other unit": [f"reporter:{OTHER}"],
    "both": [f"supervisor@{PLAN}", f"reporter:{OWN}"],
    "reader": ["reader"],
    "auditor": ["auditor"],
    "nobody": [],
}
CASE = {
    "plan": PLAN,
    "battle": BATTLE,
    "kind": "major_hazard",
    "unit": OWN,
    "title": "安全阀超期未检",
    "description": "须停用、送检、更换并复核。",
    "source_ref": "第二季度巡查",
    "place": "芷江镇",
}
EVIDENCE = {"title": "校验报告", "reference": "芷特检〔2023〕0417", "sha256": "0f" * 32}
# What each step says, and who takes it.
STEPS: dict[str, tuple[str, dict[str, Any]]] = {
    "assign": ("force", {"responsible_person": "张三", "due_on": "2023-06-15", "reference": "交〔2023〕8号"}),
    "receive": ("unit", {}),
    "start": ("unit", {"note": "已停用"}),
    "report-done": ("unit", {"result": "已更换", "evidence": [EVIDENCE]}),
    "verify": ("force", {"reference": "核〔2023〕3号"}),
    "return": ("force", {"reason": "未复核"}),
    "close": ("force", {"note": "同意"}),
    "reopen": ("force", {"reason": "又漏了", "due_on": "2023-09-01"}),
    "remind": ("force", {"reason": "请抓紧"}),
    "escalate": ("force", {"level": 2, "reason": "两次催办未果"}),
    "recheck": ("force", {"passed": True, "reason": "完好"}),
    "evidence": ("unit", EVIDENCE),
}
TO_CLOSED = ("assign", "receive", "start", "report-done", "verify", "close")


class Ledger:
    """A service on a database of its own, its clock, and a key for each holder."""

    def __init__(self, client: httpx.AsyncClient, db: asyncpg.Connection, keys: dict[str, str], url: str) -> None:
        self.client = client
        self.db = db
        self.keys = keys
        self.url = url
        self.now = START

    async def ask(self, who: str, method: str, path: str, **given: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.keys[who]}", **given.pop("headers", {})}
        return await self.client.request(method, f"/api/v1{path}", headers=headers, **given)

    async def get(self, who: str, path: str, **query: Any) -> dict[str, Any]:
        asked = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in query.items()}
        answer = await self.ask(who, "GET", path, params=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def register(self, who: str = "force", **more: Any) -> str:
        answer = await self.ask(who, "POST", "/cases", json={**CASE, **more})
        assert answer.status_code == 201, answer.text
        read = await self.ask(who, "GET", answer.headers["location"].removeprefix("/api/v1"))
        assert (read.headers["etag"], read.json()) == (answer.headers["etag"], answer.json())
        assert CaseRead.model_validate_json(answer.content)
        return answer.json()["id"]

    async def send(self, identity: str, step: str, who: str | None = None, **more: Any) -> httpx.Response:
        by, body = STEPS[step]
        headers = more.pop("headers", {})
        given = {**body, **more}
        return await self.ask(who or by, "POST", f"/cases/{identity}/{step}", json=given, headers=headers)

    async def step(self, identity: str, step: str, who: str | None = None, **more: Any) -> dict[str, Any]:
        answer = await self.send(identity, step, who, **more)
        assert answer.status_code == 200, (step, answer.text)
        assert CaseRead.model_validate_json(answer.content)
        assert answer.headers["etag"]
        return answer.json()

    async def at_state(self, state: CaseState, **more: Any) -> str:
        """A new case in this state."""
        identity = await self.register(**more)
        path = {
            CaseState.REGISTERED: (),
            CaseState.ASSIGNED: TO_CLOSED[:1],
            CaseState.RECEIVED: TO_CLOSED[:2],
            CaseState.WORKING: TO_CLOSED[:3],
            CaseState.REPORTED_DONE: TO_CLOSED[:4],
            CaseState.RETURNED: (*TO_CLOSED[:4], "return"),
            CaseState.VERIFIED: TO_CLOSED[:5],
            CaseState.CLOSED: TO_CLOSED,
        }[state]
        for step in path:
            await self.step(identity, step)
        return identity

    async def told(self, identity: str) -> list[tuple[str, str]]:
        rows = await self.db.fetch(
            "SELECT type, data::json ->> 'due_at' AS due FROM outbox WHERE subject = $1 ORDER BY id", UUID(identity)
        )
        return [(row["type"], row["due"]) for row in rows]

    async def acts(self, identity: str) -> list[str]:
        found = await self.db.fetch("SELECT action FROM audit_entries WHERE subject = $1 ORDER BY position", identity)
        return [row["action"] for row in found]


@asynccontextmanager
async def opened(clone: Clone) -> AsyncGenerator[Ledger]:
    async with clone() as url, nobody_leads(url):
        async with open_write_pool(url, size=1) as pool:
            keys = {name: await make_key(Database(pool), name, grants) for name, grants in HOLDERS.items()}
        connection = await asyncpg.connect(url)
        standing: list[Ledger] = []
        try:
            app = create_app(Settings(database_url=url), clock=lambda: standing[0].now)
            async with serving(app) as client:
                standing.append(Ledger(client, connection, keys, url))
                yield standing[0]
        finally:
            await connection.close()


@pytest_asyncio.fixture(scope="module")
async def shared(clone: Clone) -> AsyncGenerator[Ledger]:
    async with opened(clone) as ready:
        yield ready


@pytest.fixture
def ledger(shared: Ledger) -> Ledger:
    """The service that all tests here share, set back to the first day."""
    shared.now = START
    return shared


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


def fault(answer: httpx.Response) -> tuple[str, str]:
    (one,) = problem(answer, 422)["errors"]
    return one["pointer"], one["code"]


# Whole lives ---------------------------------------------------------------------------------------------------------


async def test_a_hazard_goes_through_its_whole_life(ledger: Ledger) -> None:
    identity = await ledger.register("unit")
    assert UUID(identity).version == 7
    first = await ledger.get("force", f"/cases/{identity}")
    assert (first["state"], first["due_on"], first["locator"]) == ("registered", None, "附件5/二/(一)/1")
    assert first["allowed_actions"] == ["edit", "assign"]
    states = []
    lives = ("assign", "receive", "remind", "start", "report-done", "return", "escalate", "report-done", "verify")
    for step in (*lives, "close", "recheck"):
        ledger.now += timedelta(days=1)
        said = await ledger.step(identity, step)
        states.append(said["state"])
    assert states == [
        *("assigned", "received", "received", "working", "reported_done", "returned", "returned", "reported_done"),
        *("verified", "closed", "closed"),
    ]
    assert (said["closed_at"], said["recheck_due_on"]) == ("2023-05-18T09:00:00+08:00", None)
    assert (said["level"], said["level_name"], said["overdue"]) == (2, "通报", False)
    assert "按期销号" in said["explanation"]

    history = await ledger.get("reader", f"/cases/{identity}/history")
    assert CaseHistoryRead.model_validate(history)
    assert [step["action"] for step in history["steps"]] == [
        *("register", "assign", "receive", "remind", "start", "report_done", "return", "escalate", "report_done"),
        *("verify", "close", "recheck"),
    ]
    assigned = history["steps"][1]
    assert (assigned["by"], assigned["due_before"], assigned["due_on"]) == ("force", None, "2023-06-15")
    assert (assigned["reference"], assigned["responsible_person"]) == ("交〔2023〕8号", "张三")
    assert [(one["title"], one["by"], one["sha256"]) for one in history["evidence"]] == [
        ("校验报告", "unit", EVIDENCE["sha256"])
    ] * 2
    due = "2023-06-15T23:59:59.999999+08:00"
    assert await ledger.told(identity) == [
        ("case.registered", None),
        *((f"case.{name}", due) for name in ("assigned", "reminded", "reported_done", "returned", "escalated")),
        ("case.reported_done", due),
        ("case.closed", due),
    ]
    assert await ledger.acts(identity) == [f"case.{step['action']}" for step in history["steps"]]
    with pytest.raises(asyncpg.RestrictViolationError):
        await ledger.db.execute("UPDATE case_steps SET reason = ''")
    with pytest.raises(asyncpg.RestrictViolationError):
        await ledger.db.execute("DELETE FROM case_evidence")


async def test_what_fails_its_recheck_is_another_round(ledger: Ledger) -> None:
    identity = await ledger.at_state(CaseState.CLOSED)
    ledger.now = START + timedelta(days=30)
    assert (await ledger.get("unit", f"/cases/{identity}"))["recheck_due"] is True
    again = await ledger.step(identity, "recheck", passed=False, reason="又漏气")
    assert (again["state"], again["round"], again["due_on"]) == ("assigned", 2, "2023-07-07")
    assert (again["closed_at"], again["recheck_due_on"], again["level"]) == (None, None, 0)
    assert (await ledger.told(identity))[-1][0] == "case.reopened"
    # The evidence of the round before does not count for this one.
    for step in ("receive", "start"):
        await ledger.step(identity, step)
    assert fault(await ledger.send(identity, "report-done", evidence=[])) == ("/body/evidence", "no_evidence")
    await ledger.step(identity, "evidence")
    assert (await ledger.step(identity, "report-done", evidence=[]))["state"] == "reported_done"


async def test_reopening_takes_a_reason_and_a_new_due_day(ledger: Ledger) -> None:
    identity = await ledger.at_state(CaseState.CLOSED, kind="risk_file")
    case = await ledger.step(identity, "reopen")
    assert (case["state"], case["round"], case["due_on"], case["recheck_due_on"]) == ("assigned", 2, "2023-09-01", None)
    assert case["responsible_person"] == "张三"


@pytest.mark.parametrize("kind", CaseKind)
async def test_each_kind_has_its_own_days(ledger: Ledger, kind: CaseKind) -> None:
    rule = KINDS[kind]
    identity = await ledger.register(kind=kind.value, enterprise="芷江某厂")
    case = await ledger.step(identity, "assign", due_on=None)
    assert case["due_on"] == (START.date() + timedelta(days=rule.days)).isoformat()
    assert case["locator"] == rule.locator
    for step in TO_CLOSED[1:]:
        case = await ledger.step(identity, step)
    days = rule.recheck_days
    assert case["recheck_due_on"] == (None if days is None else (START.date() + timedelta(days=days)).isoformat())


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", CaseState)
async def test_every_wrong_step_is_refused_and_the_allowed_ones_are_named(ledger: Ledger, state: CaseState) -> None:
    identity = await ledger.at_state(state)
    right = {action.value for action in TRANSITIONS[state]}
    refused = [step for step in STEPS if {"evidence": "add_evidence"}.get(step, step).replace("-", "_") not in right]
    before = await ledger.get("office", f"/cases/{identity}/history")
    for step in refused:
        body = problem(await ledger.send(identity, step), 409)
        assert body["type"] == "/problems/wrong-step"
        assert set(body["allowed"]) == right
        assert all(CaseAction(action).label in body["detail"] for action in right)
    if "edit" not in right:
        answer = await ledger.ask("force", "PATCH", f"/cases/{identity}", json={"title": "甲"})
        assert problem(answer, 409)["allowed"] == [action.value for action in TRANSITIONS[state]]
    assert await ledger.get("office", f"/cases/{identity}/history") == before


async def test_who_may_take_which_step(ledger: Ledger) -> None:
    states = {
        "assign": CaseState.REGISTERED,
        "receive": CaseState.ASSIGNED,
        "start": CaseState.RECEIVED,
        "report-done": CaseState.WORKING,
        "verify": CaseState.REPORTED_DONE,
        "return": CaseState.REPORTED_DONE,
        "close": CaseState.VERIFIED,
        "reopen": CaseState.CLOSED,
        "recheck": CaseState.CLOSED,
        "remind": CaseState.ASSIGNED,
        "escalate": CaseState.ASSIGNED,
        "evidence": CaseState.ASSIGNED,
    }
    ids = {state: await ledger.at_state(state) for state in set(states.values())}
    for step, (by, _) in STEPS.items():
        identity = ids[states[step]]
        judging = step in {"verify", "return", "close", "recheck"}
        refused = ["force" if by == "unit" else "unit", "reader", "auditor", *(["both"] if judging else [])]
        for who in refused:
            assert problem(await ledger.send(identity, step, who), 403)["type"] == "/problems/forbidden", (step, who)
        for who in ("other unit", "force elsewhere"):
            # They do not see it, or have no part in such steps at all.
            assert (await ledger.send(identity, step, who)).status_code in {403, 404}
    hidden = ids[CaseState.ASSIGNED]
    problem(await ledger.send(hidden, "receive", "other unit"), 404)
    problem(await ledger.send(hidden, "remind", "force elsewhere"), 404)
    for path in (f"/cases/{hidden}", f"/cases/{hidden}/history"):
        problem(await ledger.ask("other unit", "GET", path), 404)
        problem(await ledger.ask("nobody", "GET", path), 403)


async def test_an_order_is_registered_by_those_who_manage(ledger: Ledger) -> None:
    order = {**CASE, "kind": "supervision_order", "battle": None, "task": TASK}
    problem(await ledger.ask("unit", "POST", "/cases", json=order), 403)
    problem(await ledger.ask("force", "POST", "/cases", json=order), 403)
    identity = await ledger.register("force elsewhere", **{**order, "unit": "县教育局"})
    case = await ledger.get("unit", f"/cases/{identity}")
    assert (case["battle"], case["task"], case["allowed_actions"]) == (ELSEWHERE, TASK, [])
    problem(await ledger.ask("unit", "PATCH", f"/cases/{identity}", json={"title": "甲"}), 403)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"plan": "431228-2024"}, ("/body/plan", "unknown_plan")),
        ({"battle": f"{PLAN}-9"}, ("/body/battle", "unknown_battle")),
        ({"battle": "430124-2023-1"}, ("/body/battle", "unknown_battle")),
        ({"task": TASK}, ("/body/task", "unknown_task")),
        ({"battle": None, "task": f"{PLAN}-9-1-1"}, ("/body/task", "unknown_task")),
        ({"unit": "县不存在局"}, ("/body/unit", "unknown_unit")),
        ({"kind": "enterprise_problem"}, ("/body/enterprise", "no_enterprise")),
    ],
)
async def test_what_a_case_names_must_be_known(
    ledger: Ledger, change: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert fault(await ledger.ask("office", "POST", "/cases", json={**CASE, **change})) == expected


@pytest.mark.parametrize(
    ("change", "field"),
    [
        *(
            ({name: text}, name)
            for name in ("title", "description", "place")
            for text in ("", " ", "甲\0", "字" * 5001)
        ),
        ({"kind": "hazard"}, "kind"),
        ({"state": "closed"}, "state"),
    ],
)
async def test_a_bad_body_is_a_problem(ledger: Ledger, change: dict[str, Any], field: str) -> None:
    assert fault(await ledger.ask("office", "POST", "/cases", json={**CASE, **change}))[0] == f"/body/{field}"


async def test_steps_are_checked(ledger: Ledger) -> None:
    identity = await ledger.register()
    assert fault(await ledger.send(identity, "assign", due_on="2023-05-07")) == ("/body/due_on", "past")
    await ledger.step(identity, "assign", due_on="2023-05-08")
    for level in (0, 5, 10, "2"):
        assert fault(await ledger.send(identity, "escalate", level=level))[0] == "/body/level"
    await ledger.step(identity, "escalate")
    assert fault(await ledger.send(identity, "escalate")) == ("/body/level", "not_higher")
    assert fault(await ledger.send(identity, "escalate", reason=" "))[0] == "/body/reason"
    for text in ("0F" * 32, "0f" * 31):
        assert fault(await ledger.send(identity, "evidence", sha256=text))[0] == "/body/sha256"
    for step in ("receive", "start"):
        await ledger.step(identity, step)
    assert fault(await ledger.send(identity, "report-done", result=""))[0] == "/body/result"
    closed = await ledger.at_state(CaseState.CLOSED)
    assert fault(await ledger.send(closed, "recheck", due_on="2023-09-01")) == ("/body/due_on", "not_applicable")
    late = await ledger.send(closed, "recheck", passed=False, due_on="2023-01-01")
    assert fault(late) == ("/body/due_on", "past")


async def test_a_case_is_mended_until_it_is_assigned(ledger: Ledger) -> None:
    identity = await ledger.register("unit")
    read = await ledger.ask("unit", "GET", f"/cases/{identity}")
    assert (
        await ledger.ask("unit", "GET", f"/cases/{identity}", headers={"If-None-Match": read.headers["etag"]})
    ).status_code == 304
    fresh = {"If-Match": read.headers["etag"]}
    changed = await ledger.ask(
        "unit", "PATCH", f"/cases/{identity}", json={"title": "乙", "place": None}, headers=fresh
    )
    assert changed.status_code == 200, changed.text
    assert (changed.json()["title"], changed.json()["place"], changed.json()["source_ref"]) == (
        "乙",
        None,
        "第二季度巡查",
    )
    stale = await ledger.ask("unit", "PATCH", f"/cases/{identity}", json={"title": "丙"}, headers=fresh)
    problem(stale, 412)
    problem(await ledger.send(identity, "assign", headers=fresh), 412)
    # A unit does not push its case to another; those who manage may.
    problem(await ledger.ask("unit", "PATCH", f"/cases/{identity}", json={"unit": OTHER}), 403)
    moved = await ledger.ask("force", "PATCH", f"/cases/{identity}", json={"unit": "县农业农村局"})
    assert moved.json()["unit"]["unit"] == OTHER
    problem(await ledger.ask("unit", "GET", f"/cases/{identity}"), 404)
    assert await ledger.acts(identity) == ["case.register", "case.change", "case.change"]
    # What was found about a unit is not the unit's to mend.
    problem_of = await ledger.register(kind="enterprise_problem", enterprise="甲厂")
    assert (await ledger.get("unit", f"/cases/{problem_of}"))["allowed_actions"] == []
    problem(await ledger.ask("unit", "PATCH", f"/cases/{problem_of}", json={"title": "甲"}), 403)
    answer = await ledger.ask("force", "PATCH", f"/cases/{problem_of}", json={"enterprise": None})
    assert fault(answer) == ("/body/enterprise", "no_enterprise")


async def test_of_two_at_once_one_wins(ledger: Ledger) -> None:
    identity = await ledger.at_state(CaseState.REPORTED_DONE)
    answers = await asyncio.gather(*(ledger.send(identity, step) for step in ("verify", "return", "verify", "return")))
    assert sorted(answer.status_code for answer in answers).count(200) in {1, 2}
    history = (await ledger.get("office", f"/cases/{identity}/history"))["steps"]
    # Return may follow verify; nothing else may follow either.
    assert [step["action"] for step in history[5:]] in (["verify"], ["return"], ["verify", "return"])
    taken = await ledger.db.fetchval("SELECT version FROM cases WHERE id = $1", UUID(identity))
    assert taken == len(history)


async def test_a_step_sent_again_with_its_key_is_taken_once(ledger: Ledger) -> None:
    identity = await ledger.at_state(CaseState.ASSIGNED)
    for _ in range(2):
        await ledger.step(identity, "remind", headers={"Idempotency-Key": f"remind-{identity}"})
    assert (await ledger.acts(identity)).count("case.remind") == 1


# What was true then --------------------------------------------------------------------------------------------------


async def test_a_case_is_shown_as_it_stood(ledger: Ledger) -> None:
    before = START - timedelta(seconds=1)
    identity = await ledger.register()
    at: dict[str, datetime] = {}
    for step in (*TO_CLOSED, "reopen"):
        ledger.now += timedelta(days=1)
        await ledger.step(identity, step)
        at[step] = ledger.now
    problem(await ledger.ask("force", "GET", f"/cases/{identity}", params={"as_of": before.isoformat()}), 404)
    then = await ledger.get("force", f"/cases/{identity}", as_of=at["report-done"])
    assert (then["state"], then["round"], then["due_on"], then["allowed_actions"]) == (
        *("reported_done", 1, "2023-06-15"),
        [],
    )
    late = await ledger.get("force", f"/cases/{identity}", as_of=at["verify"] + timedelta(hours=1))
    assert (late["state"], late["closed_at"]) == ("verified", None)
    closed = await ledger.get("force", f"/cases/{identity}", as_of=at["close"])
    assert (closed["state"], closed["round"], closed["recheck_due_on"]) == ("closed", 1, "2023-06-13")
    assert (await ledger.get("force", f"/cases/{identity}"))["round"] == 2
    history = await ledger.get("force", f"/cases/{identity}/history", as_of=at["start"])
    assert ([step["action"] for step in history["steps"]], history["evidence"]) == (
        ["register", "assign", "receive", "start"],
        [],
    )
    listed = {"battle": BATTLE, "unit": OWN, "limit": 500}
    for state, instant in (("working", at["start"]), ("closed", at["close"])):
        found = await ledger.get("force", "/cases", **listed, state=state, as_of=instant)
        assert identity in {item["id"] for item in found["items"]}
    overdue = await ledger.get("force", "/cases", **listed, overdue=True, as_of=datetime(2023, 9, 2, tzinfo=SHANGHAI))
    assert identity in {item["id"] for item in overdue["items"]}


async def test_lists_are_filtered_and_paged(clone: Clone) -> None:
    async with opened(clone) as ledger:
        hazard = await ledger.at_state(CaseState.WORKING)
        finding = await ledger.at_state(CaseState.CLOSED, kind="inspection_finding")
        new = await ledger.register(unit=OTHER)
        wide = await ledger.register("office", battle=None, kind="risk_file")
        await ledger.step(hazard, "escalate")
        everything = [hazard, finding, new, wide]

        async def found(who: str = "office", **query: Any) -> list[str]:
            page = await ledger.get(who, "/cases", **query)
            assert CasePage.model_validate(page)
            return [item["id"] for item in page["items"]]

        assert await found() == everything
        assert await found(sort="-id") == everything[::-1]
        assert await found(sort="due_on") == [*sorted([hazard, finding]), *sorted([new, wide])]
        assert await found("unit") == [hazard, finding, wide]
        assert await found("other unit") == [new]
        assert await found("force") == [hazard, finding, new]
        assert await found("force elsewhere") == []
        assert await found(kind="major_hazard") == [hazard, new]
        assert await found(unit="县农业农村局", plan=PLAN) == [new]
        assert await found(battle=BATTLE, state="working") == [hazard]
        assert await found(source_ref="第二季度巡查", kind="risk_file") == [wide]
        assert await found(source_ref="第二季度") == []
        assert await found(open=True) == [hazard, new, wide]
        assert await found(open=False) == [finding]
        assert await found(level=2) == [hazard]
        assert await found(task=TASK) == []
        assert await found(overdue=True) == []
        ledger.now = datetime(2023, 6, 16, 0, 0, tzinfo=SHANGHAI)
        assert await found(overdue=True) == [hazard]
        assert await found(overdue=True, as_of=ledger.now - timedelta(microseconds=1)) == []
        assert await found(overdue=False) == [finding, new, wide]
        ledger.now = datetime(2023, 8, 6, 0, 0, tzinfo=SHANGHAI)
        assert await found(recheck_due=True) == [finding]
        assert await found(recheck_due=False) == [hazard, new, wide]
        walked: list[str] = []
        query: dict[str, Any] = {"limit": 1, "sort": "due_on", "include_total": True}
        while True:
            page = await ledger.get("office", "/cases", **query)
            assert page["total"] == 4
            walked += [item["id"] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        assert sorted(walked) == sorted(everything)
        # For a bulletin's table.
        async with open_write_pool(ledger.url, size=1) as pool:
            rows = await open_cases(
                Database(pool), plan=PLAN, battle=BATTLE, kinds=[CaseKind.MAJOR_HAZARD], as_of=ledger.now
            )
            assert [(str(row.id), row.level_name, row.overdue) for row in rows] == [
                (hazard, "通报", True),
                (new, None, False),
            ]
        # A page of many costs as many statements as a page of one.
        counting = CountingDatabase(ledger.client.reader.pool)  # type: ignore[attr-defined]
        object.__setattr__(ledger.client.reader, "pool", counting)  # type: ignore[attr-defined]
        for limit in (1, 50):
            before = len(counting.statements)
            await found(limit=limit)
            await ledger.get("office", "/cases", limit=limit, as_of=ledger.now)
            assert len(counting.statements) - before == 2


async def test_a_ledger_is_not_open_to_everyone_where_progress_is(ledger: Ledger) -> None:
    identity = await ledger.register()
    settings = Settings(database_url=ledger.url, public_progress=True)
    async with serving(create_app(settings, clock=lambda: START), auth=httpx.Auth()) as client:
        assert (await client.get("/api/v1/compliance?rule=monthly-form")).status_code == 200
        assert (await client.get("/api/v1/cases")).json()["items"] == []
        assert (await client.get("/api/v1/cases/closure")).json()["items"] == []
        assert (await client.get(f"/api/v1/cases/{identity}")).status_code == 404


# How many were closed in time ----------------------------------------------------------------------------------------


async def test_closure_counts_due_days_and_keeps_what_became_of_them(clone: Clone) -> None:
    async with opened(clone) as ledger:
        in_time = await ledger.at_state(CaseState.CLOSED)
        slow = await ledger.at_state(CaseState.VERIFIED)
        await ledger.at_state(CaseState.WORKING)
        await ledger.at_state(CaseState.ASSIGNED)
        await ledger.register()
        june = {"plan": PLAN, "from": "2023-06-01", "to": "2023-06-30"}

        async def counted(who: str = "office", **query: Any) -> dict[str, Any]:
            found = await ledger.get(who, "/cases/closure", **{**june, **query})
            assert ClosureRead.model_validate(found)
            return found

        early = await counted()
        assert {name: early["total"][name] for name in ("cases", "not_due", "closed_in_time")} == {
            "cases": 4,
            "not_due": 3,
            "closed_in_time": 1,
        }
        assert early["total"]["closure"] == {"numerator": 1, "denominator": 1, "percent": 100}
        assert "达到按期 100% 的要求" in early["explanation"]
        assert "未达到" not in early["explanation"]
        then = ledger.now
        ledger.now = datetime(2023, 6, 15, 23, 59, 59, tzinfo=SHANGHAI)
        assert (await counted())["total"]["open_overdue"] == 0
        ledger.now = datetime(2023, 6, 16, 0, 0, tzinfo=SHANGHAI)
        await ledger.step(slow, "close")
        await ledger.step(in_time, "reopen")
        now = await counted(group_by="kind")
        (row,) = now["items"]
        assert (row["key"], row["name"]) == ("major_hazard", "重大隐患")
        assert (row["cases"], row["not_due"], row["closed_in_time"], row["closed_late"], row["open_overdue"]) == (
            *(4, 0, 1, 1),
            2,
        )
        assert row["closure"] == {"numerator": 1, "denominator": 4, "percent": 25}
        assert "未达到按期 100% 的要求" in now["explanation"]
        assert (await counted(**{"from": "2023-09-01", "to": "2023-09-30"}))["total"]["not_due"] == 1
        assert (await counted(as_of=then))["total"] == early["total"]
        assert (await counted("unit"))["items"][0]["key"] == OWN
        assert (await counted("other unit"))["items"] == []
        assert (await counted("force", group_by="battle"))["items"][0]["key"] == BATTLE
        assert (await counted("force", group_by="kind", battle=BATTLE))["total"]["cases"] == 4
        assert (await counted(kind="risk_file"))["total"]["closure"]["percent"] is None
        for who, query in (("force", {"group_by": "kind"}), ("unit", {"group_by": "battle"})):
            problem(await ledger.ask(who, "GET", "/cases/closure", params={**june, **query}), 403)
        wrong = await ledger.ask("office", "GET", "/cases/closure", params={"from": "2023-06-02", "to": "2023-06-01"})
        assert fault(wrong) == ("/query/from", "wrong_order")


# What the clock says -------------------------------------------------------------------------------------------------


async def test_a_case_is_said_to_be_due_soon_and_overdue_once_for_each_due_day(clone: Clone) -> None:
    async with opened(clone) as ledger, open_write_pool(ledger.url, size=1) as pool:
        db = Database(pool)
        identity = await ledger.at_state(CaseState.VERIFIED)
        await ledger.register()

        async def said(day: date) -> list[str]:
            before = len(await ledger.told(identity))
            ledger.now = datetime(day.year, day.month, day.day, 8, 0, tzinfo=SHANGHAI)
            raised = await remind_of_cases(db, ledger.now, batch=1)
            told = await ledger.told(identity)
            assert raised == len(told) - before
            assert {datetime.fromisoformat(due) for _, due in told[before:]} <= {JUNE, AUTUMN}
            return [kind for kind, _ in told[before:]]

        assert await said(date(2023, 6, 9)) == []
        assert await said(date(2023, 6, 10)) == ["case.due_soon"]
        assert await said(date(2023, 6, 15)) == []
        assert await said(date(2023, 6, 16)) == ["case.overdue"]
        assert await said(date(2023, 6, 17)) == []
        await ledger.step(identity, "close")
        await ledger.step(identity, "reopen")
        # After a long silence only what is so now is said.
        assert await said(date(2023, 9, 2)) == ["case.overdue"]
        assert await said(date(2023, 9, 3)) == []
