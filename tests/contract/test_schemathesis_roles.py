"""Schemathesis with the key of each role: no role gets an answer that the document does not know.

What is generated would nearly always name a task or report that does not exist, and be refused before anything is
done. So each is sent twice: with all names and codes replaced by real ones that go together, and with most replaced by
some; on a database of its own, at a time when reports are open. Last is checked that operations were really reached:
each succeeded for some role.
"""

import asyncio
import re
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from random import Random
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.clock import SHANGHAI
from app.db import Database, open_write_pool
from app.main import create_app
from app.openapi import OPEN, OPEN_TO_SOME
from app.routers.answers import PROBLEM_JSON
from app.routers.files import CSV
from app.schemas.assessment_scheme import EXAMPLE as SCHEME
from app.settings import Settings
from tests.api.test_permission_matrix import (
    BATTLE,
    DOCUMENT_GIVING,
    HOLDERS,
    OPERATIONS,
    OTHER,
    OWN,
    PLAN,
    TASKS,
    assessed,
    inspection_of,
    ranking_of,
)
from tests.conftest import KEYS, Clone, Keyed, listening, make_key

NOW = datetime(2023, 6, 10, 9, 0, tzinfo=SHANGHAI)
# Nothing listens there: a webhook is tried, and fails at once.
RECEIVER = "http://127.0.0.1:9/"
WEBHOOKS = {"webhook_targets": "http://127.0.0.1:9", "webhook_networks": "127.0.0.0/8", "webhook_key": "k" * 32}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# Real values of what a query or body names, wherever in it; most of them of the unit that roles here are bound to.
MEANT: dict[str, tuple[Any, ...]] = {
    "task": (TASKS[OWN], TASKS[OWN], TASKS[OWN], TASKS[OTHER]),
    "unit": (OWN, OWN, "县教育局", OTHER),
    "plan": (PLAN,),
    "battle": (BATTLE,),
    "group": (f"{BATTLE}-3",),
    "rule": ("monthly-form", "work-bulletin-item"),
    "period": ("2023-06", "2023-05"),
    "from": ("2023-04-01",),
    "to": ("2023-12-31",),
    "due_at": ("2023-10-01T00:00:00+08:00",),
    "expires_at": ("2023-10-01T00:00:00+08:00",),
    "as_of": ("2023-06-01T00:00:00+08:00",),
    "at": ("2023-06-01T00:00:00+08:00",),
    "stage": ("in_progress",),
    "percent_complete": (40, 55),
    "observations": ([],),
    "points": ([{"period": "2023-06", "percent": 50}, {"period": "2023-12", "percent": 100}], []),
    "grants": ([{"role": "reporter", "unit": OWN}], []),
    "networks": (["10.0.0.0/8"], None),
    "by": (None,),
    "url": (RECEIVER,),
    "wait": (0,),
    "q": ("高标准农田",),
    "level": (1, 2),
    "passed": (True,),
    "parameters": (SCHEME,),
    "value": (90,),
    "decision": ("upheld", "rejected"),
    "answer_due_at": ("2023-10-01T00:00:00+08:00",),
    "milestones": ([{"title": "开工", "due_on": "2023-06-30", "done_on": "2023-06-01"}], []),
    "investment": (None,),
    "starts_on": ("2023-04-01",),
    "due_on": ("2023-12-31",),
    "indicator": ("新建高标准农田面积",),
    "unit_of_measure": (None,),
    "direction": (None,),
    "accumulation": (None,),
    "operator": ("gte",),
    "value_max": (None,),
    "replaces": (None,),
    "document": (DOCUMENT_GIVING,),
    "entries": ([{"unit": OWN, "rank": 1, "of": 13}],),
    "team": (1,),
    "inspected_on": ("2023-05-16",),
    "findings": ([{"title": "甲", "description": "乙", "due_on": "2023-07-01"}], []),
    "year": (2023,),
    "score": (90,),
}
LEFT_OUT = {"Authorization", "cursor", "Idempotency-Key", "If-Match", "If-None-Match", "token"} | {
    *("scheme", "judged_as_of", "assessment"),
}
REACHED: set[str] = set()


class Surest(Random):
    """Chance that always takes the first, and so what goes together."""

    def random(self) -> float:
        return 0.0

    def choice(self, seq: Any) -> Any:
        return seq[0]

    def sample(self, population: Any, k: int, **_: Any) -> Any:
        return population[:k]


@dataclass(frozen=True)
class Hall:
    """A service, keys for it, and what its paths can name."""

    address: str
    keys: dict[str, str]
    named: dict[str, tuple[str, ...]]
    form_task: str

    @property
    def file(self) -> str:
        """A report as a row of a file."""
        return f"任务编码,单位,报送期,阶段,完成进度\r\n{self.form_task},{OWN},2023-05,推进中,40\r\n"


async def cases_of(made: Callable[..., Awaitable[str]]) -> dict[str, tuple[str, ...]]:
    """Cases of the unit for each step, in the state that it is taken from."""
    case = {"plan": PLAN, "battle": BATTLE, "kind": "risk_file", "unit": OWN, "title": "甲", "description": "乙"}
    life: dict[str, dict[str, str]] = {
        "assign": {"responsible_person": "张三"},
        "receive": {},
        "start": {},
        "report-done": {"result": "已办"},
        "verify": {},
        "close": {},
    }

    async def after(steps: int) -> str:
        identity = await made("/cases", case, "id")
        for name, body in list(life.items())[:steps]:
            key = KEYS["judge" if name in {"verify", "close"} else "everything"]
            await made(f"/cases/{identity}/{name}", body, "id", key)
        return identity

    steps = {name: place for place, name in enumerate(life)}
    steps |= {"return": 4, "remind": 1, "escalate": 1, "evidence": 1, "recheck": 6, "reopen": 6}
    seen = await after(0)
    return {
        "/cases/{id}": (seen,),
        "/cases/{id}/history": (seen,),
        **{f"/cases/{{id}}/{name}": (await after(place),) for name, place in steps.items()},
    }


@pytest_asyncio.fixture(scope="module")
async def hall(clone: Clone) -> AsyncGenerator[Hall]:
    async with clone() as url:
        async with open_write_pool(url, size=1) as pool:
            keys = {name: await make_key(Database(pool), name, grants) for name, grants in HOLDERS.items()}
        app = create_app(Settings(database_url=url, public_plan=False, **WEBHOOKS), clock=lambda: NOW)
        with listening(app) as address:
            async with httpx.AsyncClient(base_url=f"{address}/api/v1", auth=Keyed(), trust_env=False) as client:

                async def made(path: str, body: Any, name: str, key: str = KEYS["everything"]) -> str:
                    answer = await client.post(path, json=body, headers={"Authorization": f"Bearer {key}"})
                    assert answer.status_code in {200, 201}, answer.text
                    return answer.json().get(name)

                # One is there to be deleted; the other is told of all that follows.
                first, hook = [await made("/webhooks", {"url": RECEIVER}, "id", keys["supervisor"]) for _ in range(2)]
                # Drafts and reports of both units, enough that each step finds one; one task is still to be reported.
                drafts: list[str] = []
                submitted: list[str] = []
                own: set[str] = set()
                owed = await client.get("/obligations", params={"rule": "monthly-form", "period": "2023-05"})
                tasks = [one["task"] for one in owed.json()["items"] if one["unit"]["unit"] == OWN]
                form_task = next(task for task in tasks if task != TASKS[OWN])
                for one in owed.json()["items"]:
                    unit = one["unit"]["unit"]
                    if one["task"] in {TASKS[OWN], form_task}:
                        continue
                    report = {"task": one["task"], "unit": unit, "stage": "in_progress", "percent_complete": 40}
                    for period, submit, kept in (("2023-05", True, submitted), ("2023-06", False, drafts)):
                        body = {**report, "period": period, "submit": submit}
                        identity = await made("/submissions", body, "id")
                        kept.append(identity)
                        own |= {identity} if unit == OWN else set()
                certified = [next(one for one in submitted if one in own)]
                await made("/certifications", {"ids": certified}, "accepted", KEYS["certifier"])
                account = await made("/accounts", {"name": "甲"}, "code")
                key_id = await made(f"/accounts/{account}/keys", {}, "key_id")
                subscription = await made("/calendar-subscriptions", {"name": "手机"}, "token_id", keys["reporter"])
                deliveries: list[Any] = []
                owner = {"Authorization": f"Bearer {keys['supervisor']}"}
                async with asyncio.timeout(60):
                    while not deliveries:
                        await asyncio.sleep(0.1)
                        deliveries = (await client.get(f"/webhooks/{hook}/deliveries", headers=owner)).json()["items"]
                cases = await cases_of(made)
                item = {"task": TASKS[OWN], "kind": "project", "title": "项目", "unit": OWN}
                work_item = await made("/work-items", item, "id")
                recorded = await made("/rankings", ranking_of(OWN, "2023-Q1"), "id")
                inspected = await made("/inspections", inspection_of(OTHER), "id")
                named = {
                    "/tasks/{code}": MEANT["task"],
                    "/units/{code}": MEANT["unit"],
                    "/plans/{code}": (PLAN,),
                    "/battles/{code}": (BATTLE,),
                    "/targets/{code}": (f"{PLAN}-1-2-5-T1",),
                    "/rules/{code}": ("monthly-form",),
                    "/accounts/{code}": (account,),
                    "{key_id}": (key_id,),
                    "{token_id}": (subscription,),
                    "{unit}": (OWN, OWN, OWN, OTHER),
                    "{period}": MEANT["period"],
                    "/webhooks/{id}": (hook,),
                    "DELETE /webhooks/{id}": (first,),
                    "{event}": (deliveries[0]["event"],),
                    "{id}": (*drafts, *submitted),
                    "/work-items/{id}": (work_item,),
                    "/rankings/{id}": (recorded,),
                    "/inspections/{id}": (inspected,),
                    "/submissions/{id}": tuple(one for one in (*drafts, *certified) if one in own),
                    "/submissions/{id}/submit": tuple(one for one in drafts if one in own),
                    "/submissions/{id}/correct": tuple(certified),
                    "/submissions/{id}/certify": tuple(submitted),
                    "/submissions/{id}/return": tuple(submitted),
                    **cases,
                }
                everything = {"Authorization": f"Bearer {KEYS['everything']}"}
                found = await assessed(client, everything, "")
                # One that nobody has appealed against.
                again = await client.post("/assessments", json={"plan": PLAN, "unit": OWN}, headers=everything)
                newest = again.json()["items"][0]["id"]
                named |= {
                    "/assessment-schemes/{id}": (found[OWN]["scheme"],),
                    "/assessments/{id}": (newest,),
                    "/appeals/{id}": (found[OTHER]["appeal"],),
                    "/faults/{id}": (found[OWN]["fault"],),
                }
                wanted = {"plan": PLAN, "battle": BATTLE, "kind": "monthly_circular", "period": "2023-05"}
                months = ("2023-01", "2023-02", "2023-03", "2023-04")
                drawn = [await made("/bulletins", {**wanted, "period": month}, "id") for month in months]
                await made(f"/bulletins/{drawn[0]}/issue", {}, "id")
                named["/bulletins/{id}"] = (drawn[0], drawn[1])
                named["PATCH /bulletins/{id}"] = named["POST /bulletins/{id}/regenerate"] = (drawn[1],)
                named["POST /bulletins/{id}/issue"], named["POST /bulletins/{id}/discard"] = (drawn[2],), (drawn[3],)
                yield Hall(address, keys, named, form_task)


def real_path(case: schemathesis.Case, hall: Hall, chance: Random) -> dict[str, Any]:
    given = dict(case.path_parameters or {})
    for name in given:
        template = case.path.removeprefix("/api/v1")
        before = template.partition(f"{{{name}}}")[0]
        known = (
            hall.named.get(key) for key in (f"{case.method} {template}", template, f"{before}{{{name}}}", f"{{{name}}}")
        )
        values = next(filter(None, known), None)
        if values and chance.random() < 0.9:
            given[name] = chance.choice(values)
    return given


def real_values(given: Any, hall: Hall, chance: Random) -> Any:
    """What a query or body holds, with most of what it names made real."""
    if isinstance(given, list):
        return [real_values(one, hall, chance) for one in given[:1]]
    if not isinstance(given, dict):
        return given
    made: dict[str, Any] = {}
    for name, value in given.items():
        if name in LEFT_OUT and chance.random() < 0.8:
            continue
        if name == "ids" and isinstance(value, list):
            made[name] = chance.sample(hall.named["{id}"], 2)
        elif name == "rule" and "title" in given:
            made[name] = "work-bulletin-item"
        elif name in MEANT and (name == "wait" or chance.random() < 0.85):
            # Nobody here has the patience to wait for what does not come.
            made[name] = chance.choice(MEANT[name])
        else:
            made[name] = real_values(value, hall, chance)
    return made


api = schemathesis.openapi.from_dict(create_app(Settings(database_url="postgresql://unused")).openapi())
# What is wrong in itself is refused alike whoever sends it: test_schemathesis.py has that.
api.config.generation.update(modes=[GenerationMode.POSITIVE])
api.config.phases.coverage.enabled = False


@api.parametrize()
@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_role_gets_an_answer_the_document_does_not_know(case: schemathesis.Case, hall: Hall) -> None:
    chance = Random(
        zlib.crc32(f"{case.method} {case.formatted_path} {case.query} {case.body}".encode(errors="replace"))
    )
    given = case.path_parameters, case.query, case.body
    case.headers = {name: value for name, value in (case.headers or {}).items() if name not in LEFT_OUT}
    with requests.Session() as session:
        session.trust_env = False
        for who, chosen in product((None, *hall.keys), (Surest(), chance)):
            case.path_parameters, case.query, case.body = given
            case.path_parameters = real_path(case, hall, chosen)
            case.query = real_values(case.query, hall, chosen)
            if isinstance(case.body, dict):
                case.body = real_values(case.body, hall, chosen)
            if case.path.endswith("/file") and case.method != "GET":
                case.body, case.media_type = hall.file.encode(), CSV
            if case.path.endswith("/forms/{period}") and isinstance(case.body, dict):
                case.body["items"] = [{"task": hall.form_task, "stage": "in_progress", "percent_complete": 40}]
            if case.path.startswith(("/api/v1/rankings", "/api/v1/inspections")):
                for part in (case.query, case.body):
                    if isinstance(part, dict) and "period" in part:
                        part.update({"period": "2023-Q2"} | ({"kind": "city_departments"} if "kind" in part else {}))
            headers = {} if who is None else {"Authorization": f"Bearer {hall.keys[who]}"}
            answer = case.call(base_url=hall.address, headers=headers, session=session)
            case.validate_response(answer, checks=CHECKS, headers=headers)
            if answer.status_code < 300:
                REACHED.add(case.operation.definition.raw["operationId"])
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == [PROBLEM_JSON]
            if answer.status_code == 401:
                assert who is None or "token" in case.query
                assert answer.headers["www-authenticate"][0].startswith('Bearer realm="liuzhang"')


def test_every_operation_was_reached() -> None:
    """Run after the above; a document whose operations no role could do would pass it."""
    if REACHED:
        assert set(OPERATIONS) | OPEN | OPEN_TO_SOME == REACHED


@pytest.mark.parametrize("who", [None, "nobody", "supervisor"])
def test_a_path_names_all_its_methods_to_everybody(hall: Hall, document: dict[str, Any], who: str | None) -> None:
    headers = {} if who is None else {"Authorization": f"Bearer {hall.keys[who]}"}
    with httpx.Client(base_url=hall.address, headers=headers, trust_env=False) as client:
        for path, operations in document["paths"].items():
            known = {method.upper() for method in operations} | ({"HEAD"} if "get" in operations else set())
            for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"} - known:
                answer = client.request(method, re.sub(r"{\w+}", "x", path.replace("{id}", str(UUID(int=0)))))
                assert answer.status_code == 405, (method, path)
                assert set(answer.headers["allow"].split(", ")) == known
                assert method == "HEAD" or answer.json()["type"] == "/problems/method-not-allowed"
