"""Every role at every operation, on its own unit and on another: what the service does is what the rules say.

The operations come from the OpenAPI document: one without a row here fails. What is expected is asked of the rules of
``app.domain.permissions``. A request that is allowed is made so that it changes nothing a later one depends on: a stale
``If-Match``, a period that lies ahead, a report that is certified already.
"""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.clock import SHANGHAI
from app.db import Database, open_write_pool
from app.domain.permissions import (
    Capability,
    Subject,
    has_capability,
    may_answer_assessment,
    may_assess,
    may_certify,
    may_edit_bulletin,
    may_file_material,
    may_give_figure,
    may_grant_extension,
    may_grant_waiver,
    may_handle_case,
    may_judge_case,
    may_manage_accounts,
    may_manage_case,
    may_manage_subscription,
    may_manage_webhooks,
    may_manage_work_item,
    may_read_audit,
    may_read_bulletin,
    may_read_plan,
    may_read_progress,
    may_read_self,
    may_record_ranking,
    may_register_case,
    may_report,
    may_return,
    may_set_schedule,
    may_subscribe,
)
from app.domain.roles import ANONYMOUS, Actor, Role, parse_grant
from app.main import create_app
from app.openapi import OPEN, OPEN_TO_SOME
from app.schemas.assessment_scheme import EXAMPLE as SCHEME
from app.settings import Settings
from tests.conftest import KEYS, Clone, make_key, serving

PLAN, BATTLE = "431228-2023", "431228-2023-6"
OWN, OTHER, CERTIFIER = "431228-jyj", "431228-nyncj", "431228-tjj"
TASKS = {OWN: "431228-2023-6-3-4", OTHER: "431228-2023-6-3-3"}
AHEAD = "2023-12"
NOW = datetime(2023, 6, 10, 9, 0, tzinfo=SHANGHAI)
WEBHOOKS: dict[str, Any] = {"webhook_targets": "hooks.example", "webhook_key": "k" * 32}
SAID = {"stage": "in_progress", "percent_complete": 40}

NEW_SCHEME = {"plan": PLAN, "effective_on": "2030-01-01", "parameters": SCHEME, "note": "试行"}
NEW_FAULT = {"plan": PLAN, "kind": "erroneous", "description": "不实", "evidence": "核查记录"}

HOLDERS: dict[str, list[str]] = {
    "nobody": [],
    "reader": ["reader"],
    "reader of the unit": [f"reader:{OWN}@{PLAN}"],
    "reporter": [f"reporter:{OWN}"],
    "reporter in the plan": [f"reporter:{OWN}@{PLAN}"],
    "certifier": [f"certifier:{CERTIFIER}"],
    "certifier that reports": [f"certifier:{CERTIFIER}", f"reporter:{OWN}"],
    "coordinator": [f"coordinator:{BATTLE}"],
    "coordinator elsewhere": [f"coordinator:{PLAN}-1"],
    "supervisor": [f"supervisor@{PLAN}"],
    "auditor": ["auditor"],
    "administrator": ["administrator"],
}


class Keys(httpx.Auth):
    """The credentials that each request names, and none of its own accord."""

    def auth_flow(self, request: httpx.Request) -> Any:
        yield request


@dataclass(frozen=True)
class Hall:
    client: httpx.AsyncClient
    keys: dict[str, str]
    ids: dict[str, str]
    drafts: dict[str, str]
    account: str
    key_id: str
    webhook: str
    subscriptions: dict[str, str]
    cases: dict[str, str]
    assessed: dict[str, dict[str, str]]
    items: dict[str, str]
    rankings: dict[str, str]
    inspections: dict[str, str]
    bulletin: str

    async def ask(self, who: str | None, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = (
            {"If-Match": '"stale"'}
            if method in {"PATCH", "PUT"}
            or "/cases/" in path
            or "/bulletins/" in path
            or path.endswith(("/submit", "/certify", "/return", "/correct"))
            else {}
        )
        if who is not None:
            headers["Authorization"] = f"Bearer {self.keys[who]}"
        if isinstance(body, bytes):
            headers["Content-Type"] = "text/csv"
            return await self.client.request(method, path, content=body, headers=headers)
        return await self.client.request(method, path, json=body, headers=headers)


@pytest_asyncio.fixture(scope="module")
async def hall(clone: Clone) -> AsyncGenerator[Hall]:
    async with clone() as url:
        async with open_write_pool(url, size=1) as pool:
            keys = {name: await make_key(Database(pool), name, grants) for name, grants in HOLDERS.items()}
        app = create_app(Settings(database_url=url, public_plan=False, **WEBHOOKS), clock=lambda: NOW)
        async with serving(app, auth=Keys()) as client:
            everything = {"Authorization": f"Bearer {KEYS['everything']}"}
            ids, drafts = {}, {}
            for unit, task in TASKS.items():
                report = {"task": task, "unit": unit, **SAID}
                made = [
                    await client.post(
                        "/api/v1/submissions",
                        json={**report, "period": period, "submit": submit},
                        headers=everything,
                    )
                    for period, submit in (("2023-05", True), ("2023-06", False))
                ]
                ids[unit], drafts[unit] = (answer.json()["id"] for answer in made)
            for path, decision in (
                ("extensions", {"due_at": "2023-10-01T00:00:00+08:00"}),
                ("waivers", {"kind": "nil"}),
            ):
                for unit in TASKS:
                    case = {
                        "rule": "monthly-form",
                        "unit": unit,
                        "period": "2023-09",
                        "reason": "汛情",
                        "approver": "甲",
                    }
                    answer = await client.post(f"/api/v1/{path}", json={**case, **decision}, headers=everything)
                    assert answer.status_code == 201, answer.text
            judging = {"Authorization": f"Bearer {KEYS['certifier']}"}
            body = {"ids": list(ids.values())}
            assert (await client.post("/api/v1/certifications", json=body, headers=judging)).json()["accepted"] == 2
            account = (await client.post("/api/v1/accounts", json={"name": "甲"}, headers=everything)).json()["code"]
            key = await client.post(f"/api/v1/accounts/{account}/keys", json={}, headers=everything)
            hooked = await client.post("/api/v1/webhooks", json={"url": "https://hooks.example/"}, headers=everything)
            # Whose it is stands for the unit: the reporter's own, and another's.
            subscriptions: dict[str, str] = {}
            for unit, who in ((OWN, "reporter"), (OTHER, "everything")):
                headers = {"Authorization": f"Bearer {keys.get(who) or KEYS[who]}"}
                made = await client.post("/api/v1/calendar-subscriptions", json={"name": "手机"}, headers=headers)
                subscriptions[unit] = made.json()["token_id"]
            cases: dict[str, str] = {}
            for unit in TASKS:
                body = {
                    "plan": PLAN,
                    "battle": BATTLE,
                    "kind": "risk_file",
                    "unit": unit,
                    "title": "甲",
                    "description": "乙",
                }
                answer = await client.post("/api/v1/cases", json=body, headers=everything)
                assert answer.status_code == 201, answer.text
                cases[unit] = answer.json()["id"]
            items: dict[str, str] = {}
            for unit, task in TASKS.items():
                item = {"task": task, "kind": "project", "title": "项目", "unit": unit}
                items[unit] = (await client.post("/api/v1/work-items", json=item, headers=everything)).json()["id"]
            rankings: dict[str, str] = {}
            inspections: dict[str, str] = {}
            for period, unit in (("2023-Q1", OWN), ("2023-Q2", OTHER)):
                made = await client.post("/api/v1/rankings", json=ranking_of(unit, period), headers=everything)
                rankings[unit] = made.json()["id"]
                made = await client.post("/api/v1/inspections", json=inspection_of(unit), headers=everything)
                inspections[unit] = made.json()["id"]
            wanted = {"plan": PLAN, "battle": BATTLE, "kind": "monthly_circular", "period": "2023-05"}
            drawn = await client.post("/api/v1/bulletins", json=wanted, headers=everything)
            assert drawn.status_code == 201, drawn.text
            yield Hall(
                *(client, keys, ids, drafts, account, key.json()["key_id"], hooked.json()["id"], subscriptions),
                cases,
                await assessed(client, everything),
                *(items, rankings, inspections),
                drawn.json()["id"],
            )


async def assessed(
    client: httpx.AsyncClient, headers: dict[str, str], api: str = "/api/v1"
) -> dict[str, dict[str, str]]:
    """Of each unit a result, an appeal against it and a fault; and a scheme."""

    async def made(path: str, body: Any) -> Any:
        answer = await client.post(f"{api}{path}", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        return answer.json()

    found: dict[str, dict[str, str]] = {}
    scheme = await made("/assessment-schemes", NEW_SCHEME)
    for unit in TASKS:
        (result,) = (await made("/assessments", {"plan": PLAN, "unit": unit}))["items"]
        appeal = await made(f"/assessments/{result['id']}/appeals", {"text": "不服"})
        fault = await made("/faults", {**NEW_FAULT, "unit": unit})
        found[unit] = {
            "scheme": scheme["id"],
            "assessment": result["id"],
            "appeal": appeal["id"],
            "fault": fault["id"],
        }
    return found


Body = Callable[[Hall, str], Any]
Rule = Callable[[Actor, str], bool]


@dataclass(frozen=True)
class Row:
    """How an operation is asked about a unit, which rule says who may, and how whoever may not is refused."""

    path: Callable[[Hall, str], str]
    rule: Rule
    body: Body = lambda _, __: None
    refused: int = 403
    # Of an operation that answers for each of several things, what became of the one asked about.
    status: Callable[[Any], int] | None = None
    # Of a list, the units that are shown, where every row is of one.
    units: Callable[[Any], set[str]] | None = None


def subject(unit: str) -> Subject:
    return Subject(PLAN, BATTLE, unit)


def at(path: str) -> Callable[[Hall, str], str]:
    return lambda hall, unit: path.format(
        id=hall.ids[unit],
        unit=unit,
        task=TASKS[unit],
        account=hall.account,
        key=hall.key_id,
        webhook=hall.webhook,
        subscription=hall.subscriptions[unit],
        case=hall.cases[unit],
        **hall.assessed[unit],
        item=hall.items[unit],
        ranking=hall.rankings[unit],
        inspection=hall.inspections[unit],
        bulletin=hall.bulletin,
    )


def reads_plan(actor: Actor, _: str) -> bool:
    return may_read_plan(actor, public=False)


def reads(actor: Actor, unit: str) -> bool:
    return may_read_progress(actor, subject(unit), public=False)


def takes_part(actor: Actor, _: str) -> bool:
    return has_capability(actor, Capability.READ_PROGRESS)


def has_subscriptions(actor: Actor, _: str) -> bool:
    return has_capability(actor, Capability.MANAGE_SUBSCRIPTIONS)


def plan(path: str) -> Row:
    return Row(at(path), reads_plan)


def listed(path: str, units: Callable[[Any], set[str]]) -> Row:
    return Row(at(path), takes_part, units=units)


def safe(unit: str | None = None) -> Subject:
    """What rankings and inspections are of: another battle."""
    return Subject(PLAN, f"{PLAN}-5", unit)


def ranking_of(unit: str, period: str) -> dict[str, Any]:
    entries = [{"unit": unit, "rank": 12, "of": 13}]
    return {"plan": PLAN, "kind": "city_departments", "period": period, "source": "通报", "entries": entries}


def inspection_of(unit: str) -> dict[str, Any]:
    return {"plan": PLAN, "period": "2023-Q2", "team": 1, "unit": unit, "inspected_on": "2023-05-16"}


def item_units(page: Any) -> set[str]:
    return {item["unit"]["unit"] for item in page["items"]}


def first_status(batch: Any) -> int:
    return batch["results"][0]["status"]


def first_row_status(answer: Any) -> int:
    return answer["rows"][0]["status"]


def step(name: str, body: Any, rule: Rule = lambda a, u: may_report(a, subject(u))) -> Row:
    return Row(at(f"/api/v1/submissions/{{id}}{name}"), rule, lambda _, __: body, refused=0)


def certifies(actor: Actor, unit: str) -> bool:
    return may_certify(actor, subject(unit), CERTIFIER)


def subscription(path: str) -> Row:
    owners = {OWN: "account:reporter", OTHER: "account:another"}
    return Row(at(path), lambda actor, unit: may_manage_subscription(actor, owners[unit]), refused=404)


def manages(path: str, body: Any = None) -> Row:
    return Row(at(path), lambda actor, _: may_manage_accounts(actor), lambda _, __: body)


def granted(**more: Any) -> Body:
    common = {"rule": "monthly-form", "plan": PLAN, "period": AHEAD, "reason": "汛情", "approver": "县政府办"}
    return lambda _, unit: {**common, "unit": unit, **more}


def of_another(path: str, body: Any = None) -> Row:
    """A webhook is there for the account that made it, and for nobody else."""
    return Row(at(f"/api/v1/webhooks/{{webhook}}{path}"), lambda _, __: False, lambda _, __: body, refused=404)


def edits_bulletin(actor: Actor, _: str) -> bool:
    return may_edit_bulletin(actor, Subject(PLAN, BATTLE))


def of_bulletin(part: str) -> Row:
    """A draft of the battle: there for whoever may edit it, and for auditors."""
    draft = Subject(PLAN, BATTLE, draft=True)
    return Row(
        at(f"/api/v1/bulletins/{{bulletin}}{part}"),
        lambda actor, _: may_read_bulletin(actor, draft, public=False),
        refused=404,
    )


def bulletin_step(name: str, body: Any) -> Row:
    return Row(at(f"/api/v1/bulletins/{{bulletin}}{name}"), edits_bulletin, lambda _, __: body)


def case_step(name: str, body: Any, rule: Callable[[Actor, Subject], bool]) -> Row:
    """Whoever may is refused for their ``If-Match``, whoever may not is refused, or does not see it."""
    path = at(f"/api/v1/cases/{{case}}/{name}".rstrip("/"))
    return Row(path, lambda actor, unit: rule(actor, subject(unit)), lambda _, __: body, refused=0)


def assesses(path: str, body: Any) -> Row:
    return Row(at(f"/api/v1{path}"), lambda actor, unit: may_assess(actor, subject(unit)), lambda _, __: body)


def answers_assessment(path: str, body: Any) -> Row:
    return Row(
        at(f"/api/v1{path}"),
        lambda actor, unit: may_answer_assessment(actor, subject(unit)),
        lambda _, __: body,
        refused=0,
    )


def reads_in_plan(actor: Actor, unit: str) -> bool:
    """Of a battle alone nobody sees all that a unit is scored by."""
    return may_read_progress(actor, Subject(PLAN, unit=unit), public=False)


DOCUMENT_GIVING = {"number": "怀教发〔2023〕5号", "title": "通知", "issuer": "市教育局", "issued_on": "2023-05-08"}
ROWS: dict[str, Row] = {
    "list_tasks": plan("/api/v1/tasks?limit=1"),
    "get_task": plan("/api/v1/tasks/{task}"),
    "list_units": plan("/api/v1/units?limit=1"),
    "get_unit": plan("/api/v1/units/{unit}"),
    "list_unit_tasks": plan("/api/v1/units/{unit}/tasks?limit=1"),
    "list_targets": plan("/api/v1/targets?limit=1"),
    "get_target": plan(f"/api/v1/targets/{PLAN}-1-2-5-T1"),
    "check_deadline": plan("/api/v1/deadlines/check?rule=monthly-form&unit={unit}"),
    "list_battles": plan("/api/v1/battles"),
    "get_battle": plan(f"/api/v1/battles/{BATTLE}"),
    "list_plans": plan("/api/v1/plans"),
    "get_plan": plan(f"/api/v1/plans/{PLAN}"),
    "list_rules": plan("/api/v1/rules?limit=1"),
    "get_rule": plan("/api/v1/rules/monthly-form"),
    "list_anomalies": plan("/api/v1/anomalies?limit=1"),
    "search": plan("/api/v1/search?q=fgj"),
    "list_submissions": listed("/api/v1/submissions?period=2023-05", item_units),
    "list_obligations": listed("/api/v1/obligations?rule=monthly-form&period=2023-05&task={task}", item_units),
    "list_materials": listed("/api/v1/materials", item_units),
    "list_extensions": listed("/api/v1/extensions", item_units),
    "list_waivers": listed("/api/v1/waivers", item_units),
    "list_deadlines": listed(
        "/api/v1/deadlines?rule=monthly-form&from=2023-06-20&to=2023-06-20",
        lambda page: {one["unit"]["unit"] for item in page["items"] for one in item["outstanding"]},
    ),
    "measure_compliance": listed(
        "/api/v1/compliance?rule=monthly-form", lambda found: {item["key"] for item in found["items"]}
    ),
    "list_schedules": listed("/api/v1/tasks/{task}/schedules", item_units),
    "get_task_progress": listed("/api/v1/tasks/{task}/progress", item_units),
    "get_calendar": Row(at("/api/v1/calendar.ics?rule=monthly-form"), takes_part),
    "get_submission": Row(at("/api/v1/submissions/{id}"), reads, refused=404),
    "get_history": Row(at("/api/v1/submissions/{id}/history"), reads, refused=404),
    "get_receipt": Row(at("/api/v1/submissions/{id}/receipt"), reads, refused=404),
    "get_form": Row(at("/api/v1/units/{unit}/forms/2023-05"), reads, refused=404),
    "get_form_file": Row(at("/api/v1/units/{unit}/forms/2023-05/file?format=csv"), reads, refused=404),
    "get_schedule": Row(at("/api/v1/tasks/{task}/schedules/{unit}"), reads, refused=404),
    "get_battle_progress": Row(
        at(f"/api/v1/battles/{BATTLE}/progress"),
        lambda actor, _: may_read_progress(actor, Subject(PLAN, BATTLE), public=False),
    ),
    "get_plan_progress": Row(
        at(f"/api/v1/plans/{PLAN}/progress"), lambda actor, _: may_read_progress(actor, Subject(PLAN), public=False)
    ),
    "create_submission": Row(
        at("/api/v1/submissions"),
        lambda actor, unit: may_report(actor, subject(unit)),
        lambda _, unit: {"task": TASKS[unit], "unit": unit, "period": AHEAD, **SAID},
    ),
    "create_submissions": Row(
        at("/api/v1/submissions/batch"),
        lambda actor, unit: may_report(actor, subject(unit)),
        lambda _, unit: {"items": [{"task": TASKS[unit], "unit": unit, "period": AHEAD, **SAID}]},
        status=first_status,
    ),
    "put_form": Row(
        at(f"/api/v1/units/{{unit}}/forms/{AHEAD}"),
        lambda actor, unit: may_report(actor, subject(unit)),
        lambda _, unit: {"items": [{"task": TASKS[unit], **SAID}]},
    ),
    "put_form_file": Row(
        at(f"/api/v1/units/{{unit}}/forms/{AHEAD}/file"),
        lambda actor, unit: may_report(actor, subject(unit)),
        lambda _, unit: f"任务编码,阶段,完成进度\r\n{TASKS[unit]},推进中,40\r\n".encode(),
        status=first_row_status,
    ),
    "create_submissions_of_file": Row(
        at("/api/v1/submissions/file"),
        lambda actor, unit: may_report(actor, subject(unit)),
        lambda _, unit: f"任务编码,单位,报送期,阶段,完成进度\r\n{TASKS[unit]},{unit},{AHEAD},推进中,40\r\n".encode(),
        status=first_row_status,
    ),
    "edit_submission": step("", SAID),
    "submit_submission": step("/submit", {}),
    "correct_submission": step("/correct", {**SAID, "reason": "漏计"}),
    "certify_submission": step("/certify", {}, certifies),
    "return_submission": step("/return", {"reason": "核对"}, lambda a, u: may_return(a, subject(u), CERTIFIER)),
    "certify_submissions": Row(
        at("/api/v1/certifications"),
        certifies,
        lambda hall, unit: {"ids": [hall.ids[unit]]},
        status=first_status,
    ),
    "put_schedule": Row(
        at("/api/v1/tasks/{task}/schedules/{unit}"),
        lambda actor, unit: may_set_schedule(actor, subject(unit)),
        lambda _, __: {"points": [], "reason": "测试"},
    ),
    "create_material": Row(
        at("/api/v1/materials"),
        lambda actor, unit: may_file_material(actor, subject(unit)),
        lambda _, unit: {
            "rule": "work-bulletin-item",
            "unit": unit,
            "period": AHEAD,
            "title": "信息",
            "content": "正文",
        },
    ),
    "grant_extension": Row(
        at("/api/v1/extensions"),
        lambda actor, unit: may_grant_extension(actor, subject(unit)),
        granted(due_at="2023-01-01T00:00:00+08:00"),
    ),
    "grant_waiver": Row(
        at("/api/v1/waivers"),
        lambda actor, unit: may_grant_waiver(actor, subject(unit)),
        granted(kind="exempt"),
    ),
    "list_changes": Row(at("/api/v1/changes"), takes_part),
    "list_webhooks": Row(at("/api/v1/webhooks"), lambda actor, _: may_manage_webhooks(actor)),
    "create_webhook": Row(
        at("/api/v1/webhooks"),
        lambda actor, _: may_manage_webhooks(actor),
        lambda _, __: {"url": "https://not.listed.example/"},
    ),
    "get_webhook": of_another(""),
    "patch_webhook": of_another("", {"paused": True}),
    "delete_webhook": of_another(""),
    "test_webhook": of_another("/test"),
    "rotate_webhook_secret": of_another("/rotate-secret", {}),
    "resume_webhook": of_another("/resume", {}),
    "list_deliveries": of_another("/deliveries"),
    "redeliver_event": of_another("/deliveries/evt_1/redeliver"),
    "get_me": Row(at("/api/v1/me"), lambda actor, _: may_read_self(actor)),
    "list_audit_entries": Row(at("/api/v1/audit?limit=1"), lambda actor, _: may_read_audit(actor)),
    "list_audit_heads": Row(at("/api/v1/audit/heads"), lambda actor, _: may_read_audit(actor)),
    "list_calendar_subscriptions": Row(at("/api/v1/calendar-subscriptions"), has_subscriptions),
    "create_calendar_subscription": Row(
        at("/api/v1/calendar-subscriptions"), lambda actor, _: may_subscribe(actor), lambda _, __: {"name": "手机"}
    ),
    "get_calendar_subscription": subscription("/api/v1/calendar-subscriptions/{subscription}"),
    "revoke_calendar_subscription": subscription("/api/v1/calendar-subscriptions/{subscription}"),
    "list_accounts": manages("/api/v1/accounts"),
    "create_account": manages("/api/v1/accounts", {"name": "乙"}),
    "get_account": manages("/api/v1/accounts/{account}"),
    "patch_account": manages("/api/v1/accounts/{account}", {"name": "丙"}),
    "put_grants": manages("/api/v1/accounts/{account}/grants", {"grants": []}),
    "list_keys": manages("/api/v1/accounts/{account}/keys"),
    "create_key": manages("/api/v1/accounts/{account}/keys", {}),
    "rotate_key": manages("/api/v1/accounts/{account}/keys/{key}/rotate", {}),
    "revoke_key": manages("/api/v1/accounts/{account}/keys/{key}"),
    "register_case": Row(
        at("/api/v1/cases"),
        lambda actor, unit: may_register_case(actor, subject(unit)),
        # What is missing is said to whoever may.
        lambda _, unit: {
            "plan": PLAN,
            "battle": BATTLE,
            "kind": "enterprise_problem",
            "unit": unit,
            "title": "甲",
            "description": "乙",
        },
    ),
    "list_cases": listed("/api/v1/cases", item_units),
    "measure_closure": Row(at("/api/v1/cases/closure"), takes_part),
    "list_candidates": Row(
        at(f"/api/v1/supervision/candidates?plan={PLAN}&battle={BATTLE}"),
        lambda actor, _: may_read_progress(actor, Subject(PLAN, BATTLE), public=False),
    ),
    "get_case": Row(at("/api/v1/cases/{case}"), reads, refused=404),
    "get_case_history": Row(at("/api/v1/cases/{case}/history"), reads, refused=404),
    "edit_case": case_step("", {"title": "丙"}, may_manage_case),
    "assign_case": case_step("assign", {"responsible_person": "张三"}, may_manage_case),
    "receive_case": case_step("receive", {}, may_handle_case),
    "start_case": case_step("start", {}, may_handle_case),
    "report_case_done": case_step("report-done", {"result": "甲"}, may_handle_case),
    "verify_case": case_step("verify", {}, may_judge_case),
    "return_case": case_step("return", {"reason": "甲"}, may_judge_case),
    "close_case": case_step("close", {}, may_judge_case),
    "reopen_case": case_step("reopen", {"reason": "甲"}, may_manage_case),
    "remind_case": case_step("remind", {"reason": "甲"}, may_manage_case),
    "escalate_case": case_step("escalate", {"level": 1, "reason": "甲"}, may_manage_case),
    "recheck_case": case_step("recheck", {"passed": True, "reason": "甲"}, may_judge_case),
    "add_case_evidence": case_step("evidence", {"title": "甲", "reference": "乙"}, may_handle_case),
    "create_assessment_scheme": assesses("/assessment-schemes", NEW_SCHEME),
    "list_assessment_schemes": plan("/api/v1/assessment-schemes"),
    "get_assessment_scheme": plan("/api/v1/assessment-schemes/{scheme}"),
    "create_mark": assesses(
        "/marks", {"plan": PLAN, "unit": "没有这个单位", "aspect": "upkeep", "value": 90, "reason": "查看"}
    ),
    "list_marks": listed("/api/v1/marks", item_units),
    "preview_assessments": Row(at(f"/api/v1/assessments/preview?plan={PLAN}&unit={{unit}}"), reads_in_plan),
    "preview_assessments_with": Row(
        at("/api/v1/assessments/preview"),
        reads_in_plan,
        lambda _, unit: {"plan": PLAN, "unit": unit, "parameters": SCHEME},
    ),
    "create_assessments": assesses("/assessments", {"plan": PLAN, "as_of": "2030-01-01T00:00:00+08:00"}),
    "list_assessments": listed("/api/v1/assessments", item_units),
    "get_assessment": Row(at("/api/v1/assessments/{assessment}"), reads, refused=404),
    "create_appeal": answers_assessment("/assessments/{assessment}/appeals", {"text": "不服"}),
    "list_appeals": listed("/api/v1/appeals", item_units),
    "decide_appeal": assesses("/appeals/{appeal}/decide", {"decision": "rejected", "reason": "维持"}),
    "create_fault": assesses("/faults", {**NEW_FAULT, "unit": "没有这个单位"}),
    "list_faults": listed("/api/v1/faults", item_units),
    "get_fault": Row(at("/api/v1/faults/{fault}"), reads, refused=404),
    "answer_fault": answers_assessment("/faults/{fault}/answer", {"text": "口径不同"}),
    "decide_fault": assesses("/faults/{fault}/decide", {"decision": "dismissed", "reason": "不实"}),
    # Lists and figures from above. What is allowed contradicts itself, so nothing is written.
    "list_work_items": listed("/api/v1/work-items", item_units),
    "get_work_item": Row(at("/api/v1/work-items/{item}"), reads, refused=404),
    "get_work_item_history": Row(at("/api/v1/work-items/{item}/history"), reads, refused=404),
    "create_work_item": Row(
        at("/api/v1/work-items"),
        lambda actor, unit: may_manage_work_item(actor, subject(unit)),
        lambda _, unit: {
            "task": TASKS[unit],
            "kind": "task",
            "title": "甲",
            "unit": unit,
            "investment": {"planned": 1},
        },
    ),
    "patch_work_item": Row(
        at("/api/v1/work-items/{item}"),
        lambda actor, unit: may_manage_work_item(actor, subject(unit)),
        lambda _, __: {"reason": "改"},
    ),
    "list_figures": plan("/api/v1/tasks/{task}/figures"),
    "give_figure": Row(
        at("/api/v1/tasks/{task}/figures"),
        lambda actor, _: may_give_figure(actor, Subject(PLAN, BATTLE)),
        lambda _, __: {
            "indicator": "没有的指标",
            "operator": "gte",
            "value": 1,
            "text": "甲",
            "document": DOCUMENT_GIVING,
        },
    ),
    # Rankings and inspections. What is allowed is recorded already.
    "list_rankings": Row(at("/api/v1/rankings"), takes_part),
    "get_ranking": Row(
        at("/api/v1/rankings/{ranking}"),
        lambda actor, unit: may_read_progress(actor, safe(unit), public=False),
        refused=404,
    ),
    "list_consequences": listed(f"/api/v1/rankings/consequences?plan={PLAN}", item_units),
    "record_ranking": Row(
        at("/api/v1/rankings"),
        lambda actor, _: may_record_ranking(actor, safe()),
        lambda _, unit: ranking_of(unit, "2023-Q1"),
    ),
    "correct_ranking": Row(
        at("/api/v1/rankings/{ranking}/correct"),
        lambda actor, _: may_record_ranking(actor, safe()),
        lambda _, unit: {"reason": "误", "source": "更正", "entries": ranking_of(unit, "")["entries"]},
        refused=404,
    ),
    "list_inspections": listed("/api/v1/inspections", item_units),
    "get_inspection": Row(
        at("/api/v1/inspections/{inspection}"),
        lambda actor, unit: may_read_progress(actor, safe(unit), public=False),
        refused=404,
    ),
    "measure_coverage": listed(f"/api/v1/inspections/coverage?plan={PLAN}&period=2023-Q2", item_units),
    "record_inspection": Row(
        at("/api/v1/inspections"),
        lambda actor, _: may_record_ranking(actor, safe()),
        lambda _, unit: inspection_of(unit),
    ),
    "patch_inspection": Row(
        at("/api/v1/inspections/{inspection}"),
        lambda actor, _: may_record_ranking(actor, safe()),
        lambda _, __: {"score": 90},
        refused=404,
    ),
    "list_bulletins": Row(at("/api/v1/bulletins"), takes_part),
    "create_bulletin": Row(
        at("/api/v1/bulletins"),
        edits_bulletin,
        lambda _, __: {"plan": PLAN, "battle": BATTLE, "kind": "monthly_circular", "period": AHEAD},
    ),
    "preview_bulletin": Row(
        at(f"/api/v1/bulletins/preview?plan={PLAN}&battle={BATTLE}&kind=monthly_circular&period={AHEAD}"),
        edits_bulletin,
    ),
    "get_bulletin": of_bulletin(""),
    "get_bulletin_markdown": of_bulletin("/markdown"),
    "get_bulletin_document": of_bulletin("/document"),
    "get_bulletin_difference": of_bulletin("/difference"),
    "verify_bulletin": of_bulletin("/verification"),
    "patch_bulletin": bulletin_step("", {"title": "乙"}),
    "regenerate_bulletin": bulletin_step("/regenerate", {}),
    "issue_bulletin": bulletin_step("/issue", {}),
    "discard_bulletin": bulletin_step("/discard", {"reason": "重编"}),
}
DOCUMENT = create_app(Settings(database_url="postgresql://unused")).openapi()
OPERATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if operation["operationId"] not in OPEN | OPEN_TO_SOME
}


def actor_of(name: str) -> Actor:
    return Actor(f"account:{name}", name, tuple(map(parse_grant, HOLDERS[name])))


def test_every_operation_of_the_document_has_a_row_and_every_role_a_holder() -> None:
    assert set(ROWS) == set(OPERATIONS)
    assert {role for name in HOLDERS for role in actor_of(name).roles} == set(Role)
    assert {"get_liveness", "get_readiness", "get_metrics"} == OPEN | OPEN_TO_SOME


@pytest.mark.parametrize("name", OPERATIONS)
async def test_without_credentials_nothing_is_answered(hall: Hall, name: str) -> None:
    method, _, operation = OPERATIONS[name]
    assert {"credentials": []} in operation["security"]
    row = ROWS.get(name)
    assert row is not None, "an operation without a row"
    answer = await hall.ask(None, method, row.path(hall, OTHER), row.body(hall, OTHER))
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/unauthenticated")
    assert answer.headers["www-authenticate"] == 'Bearer realm="liuzhang"'
    assert not has_capability(ANONYMOUS, Capability(operation["x-capability"]))


@pytest.mark.parametrize(("who", "status"), [(None, 401), ("supervisor", 403)])
async def test_a_body_is_not_read_before_its_caller_is_admitted(hall: Hall, who: str | None, status: int) -> None:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {hall.keys[who]}"} if who else {})
    answer = await hall.client.post("/api/v1/submissions", content=b"{no json", headers=headers)
    assert answer.status_code == status


@pytest.mark.parametrize("who", HOLDERS)
@pytest.mark.parametrize("name", OPERATIONS)
async def test_the_service_does_what_the_rules_say(hall: Hall, name: str, who: str) -> None:
    method, _, operation = OPERATIONS[name]
    row, actor = ROWS[name], actor_of(who)
    capable = has_capability(actor, Capability(operation["x-capability"]))
    for unit in (OWN, OTHER):
        answer = await hall.ask(who, method, row.path(hall, unit), row.body(hall, unit))
        assert answer.status_code < 500, answer.text
        allowed = row.rule(actor, unit)
        assert capable or not allowed
        if not capable:
            assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden"), unit
            continue
        done = row.status(answer.json()) if row.status and answer.status_code == 200 else answer.status_code
        if allowed:
            assert done not in {401, 403, 404}, (unit, answer.text)
        elif row.refused:
            # A row that is not seen is not there; one that is seen says who may not.
            assert done in {row.refused, 403 if reads(actor, unit) else 404}, (unit, answer.text)
        else:
            assert done == (403 if reads(actor, unit) else 404), (unit, answer.text)
        if row.units is not None:
            shown = row.units(answer.json())
            assert {one for one in shown if not reads(actor, one)} == set()


@pytest.mark.parametrize("who", HOLDERS)
async def test_a_draft_is_seen_by_its_unit_and_by_auditors_alone(hall: Hall, who: str) -> None:
    actor = actor_of(who)
    if not has_capability(actor, Capability.READ_PROGRESS):
        return
    page = await hall.ask(who, "GET", "/api/v1/submissions?period=2023-06")
    listed_ids = {item["id"] for item in page.json()["items"]}
    for unit, identity in hall.drafts.items():
        seen = may_read_progress(actor, Subject(PLAN, BATTLE, unit, draft=True), public=False)
        answer = await hall.ask(who, "GET", f"/api/v1/submissions/{identity}")
        assert (answer.status_code, identity in listed_ids) == (200 if seen else 404, seen)


async def test_lists_show_all_that_may_be_seen(hall: Hall) -> None:
    for who in ("supervisor", "coordinator", "reader", "auditor"):
        page = await hall.ask(who, "GET", "/api/v1/submissions?period=2023-05&include_total=true")
        assert (item_units(page.json()), page.json()["total"]) == ({OWN, OTHER}, 2)
    for path in ("extensions", "waivers"):
        assert item_units((await hall.ask("supervisor", "GET", f"/api/v1/{path}")).json()) == {OWN, OTHER}
        assert item_units((await hall.ask("reporter", "GET", f"/api/v1/{path}")).json()) == {OWN}
    own = await hall.ask("reporter in the plan", "GET", "/api/v1/submissions?period=2023-05&include_total=true")
    assert (item_units(own.json()), own.json()["total"]) == ({OWN}, 1)
    compliance = await hall.ask("reporter", "GET", "/api/v1/compliance?rule=monthly-form&as_of=2023-06-01T00:00:00Z")
    assert [item["key"] for item in compliance.json()["items"]] == [OWN]
    for group in ("battle", "task", "period", "region"):
        path = f"/api/v1/compliance?rule=monthly-form&group_by={group}"
        assert (await hall.ask("reporter", "GET", path)).status_code == 403
        assert (await hall.ask("supervisor", "GET", path)).status_code == 200
        expected = 200 if group in {"battle", "task"} else 403
        assert (await hall.ask("coordinator", "GET", path)).status_code == expected


async def test_stage_and_light_are_progress(hall: Hall) -> None:
    path = "/api/v1/tasks?stage=in_progress"
    assert (await hall.ask("reporter", "GET", path)).status_code == 403
    assert (await hall.ask("administrator", "GET", path)).status_code == 403
    shown = (await hall.ask("coordinator", "GET", path)).json()["items"]
    assert {task["code"] for task in shown} == set(TASKS.values())
    assert (await hall.ask("coordinator elsewhere", "GET", path)).json()["items"] == []


async def test_what_is_offered_is_what_may_be_done(hall: Hall) -> None:
    for who, expected in (("reporter", ["correct"]), ("supervisor", []), ("certifier", [])):
        answer = await hall.ask(who, "GET", f"/api/v1/submissions/{hall.ids[OWN]}")
        assert answer.json()["allowed_actions"] == expected
    me = (await hall.ask("reporter in the plan", "GET", "/api/v1/me")).json()
    assert me["units"] == [OWN]
    assert [role["text"] for role in me["roles"]] == [f"reporter:{OWN}@{PLAN}"]
    assert me["capabilities"] == [c for c in Capability if has_capability(actor_of("reporter"), c)]


async def test_a_public_plan_is_read_by_anybody_and_its_progress_by_nobody_else(client: httpx.AsyncClient) -> None:
    none: dict[str, Any] = {"auth": None}
    assert (await client.get("/api/v1/tasks", **none)).status_code == 200
    target = await client.get(f"/api/v1/targets/{PLAN}-1-2-5-T1", **none)
    assert (target.status_code, target.json()["observations"]) == (200, [])
    for path in ("/api/v1/tasks?light=ahead", "/api/v1/obligations", f"/api/v1/plans/{PLAN}/progress"):
        assert (await client.get(path, **none)).status_code == 401
    # Credentials that are not believed are refused, and never taken for none.
    answer = await client.get("/api/v1/tasks", headers={"Authorization": "Bearer lz_prod_x"}, **none)
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/invalid-credentials")
    assert answer.headers["www-authenticate"] == 'Bearer realm="liuzhang", error="invalid_token"'
