"""GET /audit, and what every kind of write and every reading of another's draft leaves there."""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from app.clock import SHANGHAI
from app.db import Database, open_write_pool
from app.domain.audit import AuditAction
from app.main import create_app
from app.services.audit_check import TrailCheck, check_trail
from app.settings import Settings
from tests.conftest import Clone, Keyed, make_key, serving

AUDIT = "/api/v1/audit"
SUBMISSIONS = "/api/v1/submissions"
PLAN, UNIT, OTHER = "431228-2023", "431228-jyj", "431228-nyncj"
TASK, OTHERS = "431228-2023-6-3-4", "431228-2023-6-3-3"
NOW = datetime(2023, 6, 10, 9, 0, tzinfo=SHANGHAI)
SAID = {"stage": "in_progress", "percent_complete": 40, "progress": "一"}
REPORT = {"task": TASK, "unit": UNIT, "period": "2023-05", **SAID}


@dataclass
class Office:
    client: httpx.AsyncClient
    url: str
    auditor: dict[str, str]
    of_plan: dict[str, str]

    async def ask(self, method: str, path: str, body: Any = None, *, status: int = 200, **headers: str) -> Any:
        answer = await self.client.request(method, path, json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def trail(self, **query: Any) -> list[dict[str, Any]]:
        answer = await self.client.get(AUDIT, params=query, headers=self.auditor)
        assert answer.status_code == 200, answer.text
        return answer.json()["items"]


@pytest_asyncio.fixture
async def office(clone: Clone) -> AsyncGenerator[Office]:
    async with clone() as url:
        async with open_write_pool(url, size=1) as pool:
            keys = [await make_key(Database(pool), name, [name]) for name in ("auditor", f"auditor@{PLAN}")]
        auditor, of_plan = ({"Authorization": f"Bearer {key}"} for key in keys)
        ticks = iter(range(10_000))
        app = create_app(Settings(database_url=url), clock=lambda: NOW + timedelta(milliseconds=next(ticks)))
        async with serving(app, auth=Keyed()) as client:
            yield Office(client, url, auditor, of_plan)
        assert [found async for found in check_trail(url, {}, TrailCheck())] == []


async def test_every_write_leaves_who_when_from_where_what_before_and_after(office: Office) -> None:
    draft = await office.ask(
        "POST", SUBMISSIONS, REPORT | {"submit": False}, status=201, **{"X-Request-ID": "request-0001"}
    )
    path = f"{SUBMISSIONS}/{draft['id']}"
    edited = await office.ask("PATCH", path, SAID | {"percent_complete": 41.5, "progress": "“二”"})
    await office.ask("POST", f"{path}/submit", {"reason": "核对过"})
    await office.ask("POST", f"{path}/return", {"reason": "请核对"})
    await office.ask("POST", f"{path}/submit", {})
    await office.ask("POST", f"{path}/certify", {})
    await office.ask("POST", f"{path}/correct", SAID | {"reason": "漏计", "percent_complete": 42})
    trail = await office.trail(subject=draft["id"], sort="at")
    assert [entry["action"].removeprefix("submission.") for entry in trail] == [
        *("create", "edit", "submit", "return", "submit", "certify", "correct")
    ]
    created, changed, _, returned, *_, corrected = trail
    assert created["request_id"] == "request-0001"
    assert created["address"] == "127.0.0.1"
    assert (created["actor_name"], returned["actor_name"]) == ("测试", "统计局")
    assert created["actor"].startswith("account:")
    assert {(entry["plan"], entry["unit"], entry["chain"]) for entry in trail} == {(PLAN, UNIT, "431228")}
    assert (created["before"], created["after"]) == (
        None,
        {
            "task": TASK,
            "period": "2023-05",
            "state": "draft",
            "revision": 1,
            "content_hash": draft["content_hash"],
        },
    )
    assert (changed["before"]["progress"], changed["after"]["progress"]) == ("一", "“二”")
    assert (changed["before"]["percent_complete"], changed["after"]["percent_complete"]) == (40, 41.5)
    assert changed["after"]["content_hash"] == edited["content_hash"] != changed["before"]["content_hash"]
    assert returned["before"]["state"] == "submitted"
    assert returned["after"] == {"state": "returned", "revision": 1, "by": "431228-tjj", "reason": "请核对"}
    assert (corrected["before"]["revision"], corrected["after"]["revision"]) == (1, 2)
    assert corrected["after"]["reason"] == "漏计"


async def test_batches_forms_and_certifications_leave_one_act_a_report(office: Office) -> None:
    reports = [REPORT, REPORT | {"task": OTHERS, "unit": OTHER}, REPORT, REPORT | {"task": TASK, "unit": OTHER}]
    batch = await office.ask("POST", f"{SUBMISSIONS}/batch", {"items": reports})
    taken = [result["id"] for result in batch["results"] if result["status"] == 201]
    assert len(taken) == 2
    assert {entry["subject"] for entry in await office.trail(action="submission.create")} == set(taken)
    await office.ask("POST", f"{SUBMISSIONS}/batch?dry_run=true", {"items": [REPORT | {"period": "2023-06"}]})
    await office.ask("POST", f"{SUBMISSIONS}/batch?atomic=true", {"items": [REPORT | {"period": "2023-06"}, *reports]})
    assert len(await office.trail(action="submission.create")) == 2
    await office.ask("POST", "/api/v1/certifications", {"ids": [*taken, taken[0]]})
    assert sorted(entry["subject"] for entry in await office.trail(action="submission.certify")) == sorted(taken)
    form = f"/api/v1/units/{UNIT}/forms/2023-06"
    owed = [item["task"] for item in (await office.ask("GET", form))["items"]]
    await office.ask("PUT", form, {"submit": False, "items": [{"task": owed[0], **SAID}]})
    await office.ask("PUT", form, {"items": [{"task": task, **SAID} for task in owed]})
    made = await office.trail(unit=UNIT, **{"from": NOW.isoformat()})
    counts = {action: sum(entry["action"] == f"submission.{action}" for entry in made) for action in ("edit", "submit")}
    assert counts == {"edit": 1, "submit": 1}
    assert sum(entry["action"] == "submission.create" for entry in made) == 1 + len(owed)


async def test_what_is_refused_leaves_nothing(office: Office) -> None:
    before = len(await office.trail(limit=500))
    await office.ask("POST", SUBMISSIONS, REPORT | {"percent_complete": 100}, status=422)
    await office.ask("POST", "/api/v1/accounts", {"name": "甲", "grants": [{"role": "reporter"}]}, status=422)
    unknown = {"grants": [{"role": "reporter", "unit": "431228-nobody"}]}
    await office.ask("POST", "/api/v1/accounts", {"name": "甲", **unknown}, status=422)
    line = {"task": TASK, **SAID}
    await office.ask("PUT", f"/api/v1/units/{UNIT}/forms/2023-05", {"items": [line, line]}, status=422)
    assert len(await office.trail(limit=500)) == before


async def test_grants_schedules_materials_and_accounts(office: Office) -> None:
    case = {"rule": "monthly-form", "unit": UNIT, "period": "2023-09", "reason": "汛情", "approver": "县政府办"}
    extension = await office.ask(
        "POST", "/api/v1/extensions", case | {"due_at": "2023-10-01T00:00:00+08:00"}, status=201
    )
    await office.ask("POST", "/api/v1/waivers", case | {"kind": "nil"}, status=201)
    (extended,) = await office.trail(action="extension.grant")
    assert extended["subject"] == extension["id"]
    assert extended["before"] == {"due_at": ["2023-09-20T23:59:59.999999+08:00"]}
    assert extended["after"]["due_at"] == "2023-10-01T00:00:00+08:00"
    assert (extended["unit"], extended["plan"], extended["after"]["approver"]) == (UNIT, PLAN, "县政府办")
    (waived,) = await office.trail(action="waiver.grant")
    assert waived["after"]["kind"] == "nil"
    points = {"points": [{"period": "2023-12", "percent": 100}], "reason": "年底集中"}
    await office.ask("PUT", f"/api/v1/tasks/{TASK}/schedules/{UNIT}", points)
    (scheduled,) = await office.trail(action="schedule.set")
    assert (scheduled["before"]["version"], scheduled["after"]["version"]) == (0, 1)
    assert scheduled["after"]["points"] == points["points"]
    text = {"rule": "work-bulletin-item", "unit": UNIT, "title": "信息", "content": "正文"}
    material = await office.ask("POST", "/api/v1/materials", text, status=201)
    (sent,) = await office.trail(subject=material["id"])
    assert (sent["action"], sent["after"]["title"]) == ("material.create", "信息")

    account = await office.ask("POST", "/api/v1/accounts", {"name": "甲"}, status=201)
    path = f"/api/v1/accounts/{account['code']}"
    await office.ask("PATCH", path, {"name": "乙", "disabled": True})
    await office.ask("PUT", f"{path}/grants", {"grants": [{"role": "reader"}]})
    key = await office.ask("POST", f"{path}/keys", {}, status=201)
    fresh = await office.ask("POST", f"{path}/keys/{key['key_id']}/rotate", {"overlap_seconds": 60}, status=201)
    await office.ask("DELETE", f"{path}/keys/{fresh['key_id']}")
    made, changed, granted = await office.trail(subject=account["code"], sort="at")
    assert (made["after"]["name"], changed["before"]["name"], changed["after"]["name"]) == ("甲", "甲", "乙")
    assert changed["after"]["disabled_at"] is not None
    assert (granted["before"]["grants"], granted["after"]["grants"]) == ([], ["reader"])
    acts = [entry["action"] for entry in await office.trail(subject=key["key_id"], sort="at")]
    acts += [entry["action"] for entry in await office.trail(subject=fresh["key_id"], sort="at")]
    assert acts == ["key.issue", "key.rotate", "key.issue", "key.revoke"]
    assert {entry["chain"] for entry in await office.trail(subject=key["key_id"])} == {"service"}
    everything = json.dumps(await office.trail(limit=500))
    assert key["key"] not in everything
    assert key["key"].partition(key["key_id"])[2].strip("_") not in everything
    (loaded,) = await office.trail(action="plan.load")
    assert (loaded["actor"], loaded["address"], loaded["subject"]) == ("command:seed", None, PLAN)

    wanted = {"name": "手机", "unit": "县教育局"}
    made = await office.ask("POST", "/api/v1/calendar-subscriptions", wanted, status=201)
    for _ in range(2):
        await office.ask("DELETE", f"/api/v1/calendar-subscriptions/{made['token_id']}")
    subscribed, revoked, again = await office.trail(subject=made["token_id"], sort="at")
    assert (subscribed["chain"], subscribed["before"]) == ("service", None)
    assert (subscribed["after"]["owner"], subscribed["after"]["unit"]) == (subscribed["actor"], UNIT)
    assert (revoked["before"], revoked["before"]["revoked_at"]) == (subscribed["after"], None)
    assert revoked["after"] == again["before"] == again["after"]
    assert revoked["after"]["revoked_at"] is not None
    everything = await office.trail(limit=500)
    assert made["feed_url"].split("_")[3] not in json.dumps(everything)
    assert {entry["action"] for entry in everything} >= {
        *(action for action in AuditAction if not action.startswith(("submission.", "webhook.", "case.")))
    }


async def test_drafts_of_other_units_are_not_read_unnoticed(office: Office) -> None:
    drafts = [REPORT | {"submit": False}, REPORT | {"task": OTHERS, "unit": OTHER, "submit": False}]
    batch = await office.ask("POST", f"{SUBMISSIONS}/batch", {"items": drafts})
    own, other = (result["id"] for result in batch["results"])
    path = f"{SUBMISSIONS}/{own}"
    first = await office.client.get(path, headers=office.auditor)
    again = {**office.auditor, "If-None-Match": first.headers["etag"]}
    assert (await office.client.get(path, headers=again)).status_code == 304
    for where in (f"{path}/history", f"{path}/receipt", f"/api/v1/units/{UNIT}/forms/2023-05", path):
        await office.ask("GET", where, **(office.of_plan if where == path else office.auditor))
    reads = await office.trail(action="submission.read_draft")
    assert [(entry["subject"], entry["unit"], entry["after"]) for entry in reads] == [
        (own, UNIT, {"drafts": [own]})
    ] * 6
    await office.ask("GET", SUBMISSIONS, **office.auditor)
    listed = await office.trail(action="submission.read_draft", limit=2)
    assert {(entry["subject"], entry["unit"]) for entry in listed} == {(own, UNIT), (other, OTHER)}
    assert len({entry["request_id"] for entry in listed}) == 1
    # Whoever reports for them reads their own; and what was handed in is no draft.
    for where in (path, SUBMISSIONS, f"{path}/history", f"/api/v1/units/{UNIT}/forms/2023-05"):
        await office.ask("GET", where)
    await office.ask("POST", f"{path}/submit", {})
    await office.ask("GET", path, **office.auditor)
    assert len(await office.trail(action="submission.read_draft")) == 8


async def test_a_draft_whose_reading_cannot_be_put_down_is_not_shown(office: Office) -> None:
    draft = await office.ask("POST", SUBMISSIONS, REPORT | {"submit": False}, status=201)
    connection = await asyncpg.connect(office.url)
    try:
        await connection.execute("ALTER TABLE audit_heads RENAME TO away")
        for where in (f"/{draft['id']}", "", f"/{draft['id']}/history", f"/{draft['id']}/receipt"):
            answer = await office.client.get(f"{SUBMISSIONS}{where}", headers=office.auditor)
            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")
            assert answer.headers["retry-after"] == "5"
        # Nor is anything written that leaves no trace.
        answer = await office.client.post(SUBMISSIONS, json=REPORT | {"task": OTHERS, "unit": OTHER})
        assert answer.status_code == 503
        assert await connection.fetchval("SELECT count(*) FROM submissions") == 1
    finally:
        await connection.close()
        back = await asyncpg.connect(office.url)
        await back.execute("ALTER TABLE away RENAME TO audit_heads")
        await back.close()


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("from=2023-05-01", "from"),
        ("to=yesterday", "to"),
        ("action=submission.delete", "action"),
        ("unit=县教育局", "unit"),
        ("actor=%00", "actor"),
        ("cursor=abc", "cursor"),
        ("who=me", "who"),
        ("sort=actor", "sort"),
    ],
)
async def test_wrong_filters_are_refused(office: Office, query: str, wrong: str) -> None:
    answer = await office.ask("GET", f"{AUDIT}?{query}", status=422, **office.auditor)
    assert answer["errors"][0]["pointer"] == f"/query/{wrong}"


async def test_pages_filters_and_heads(office: Office) -> None:
    for period in ("2023-05", "2023-06"):
        await office.ask("POST", SUBMISSIONS, REPORT | {"period": period}, status=201)
    everything = await office.trail(limit=500)
    assert [entry["at"] for entry in everything] == sorted((entry["at"] for entry in everything), reverse=True)
    for order in ("-at", "at"):
        seen, cursor = list[Any](), {}
        while True:
            page = await office.ask("GET", f"{AUDIT}?limit=2&sort={order}" + "".join(cursor), **office.auditor)
            seen += page["items"]
            if page["next_cursor"] is None:
                break
            cursor = [f"&cursor={page['next_cursor']}"]
        assert seen == everything[:: 1 if order == "-at" else -1]
    # The plan and the keys came by the real clock, which is years ahead.
    newest, before = (entry for entry in everything if entry["action"] == "submission.create")
    for name in ("chain", "actor", "action", "subject", "unit", "plan", "request_id"):
        found = await office.trail(limit=500, **{name: newest[name]})
        assert found == [entry for entry in everything if entry[name] == newest[name]]
    assert await office.trail(**{"from": before["at"], "to": newest["at"]}) == [before]
    assert (await office.trail(**{"from": newest["at"]}))[-1] == newest
    heads = (await office.ask("GET", f"{AUDIT}/heads", **office.auditor))["items"]
    assert [head["chain"] for head in heads] == ["431228", "service"]
    assert heads[0] == {name: newest[name] for name in ("chain", "position", "hash")}
    assert (newest["previous_hash"], newest["position"]) == (before["hash"], before["position"] + 1)
    for path in (AUDIT, f"{AUDIT}/heads"):
        await office.ask("GET", path, status=403, **office.of_plan)
