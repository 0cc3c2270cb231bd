"""Every operation of the document that changes something: it leaves its trace, and sent again it has its effect once.

The operations come from the OpenAPI document: one without a row here fails. A row makes a request that succeeds, with
whatever has to be there for it, anew each time.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
import pytest_asyncio

from tests.api.test_idempotency import KEEPS_NOTHING, assert_same
from tests.api.test_permission_matrix import DOCUMENT_GIVING, NEW_FAULT, NEW_SCHEME, OPERATIONS, OTHER, OWN, PLAN
from tests.api.test_webhooks import Desk, desk_of
from tests.conftest import Clone
from tests.contract.test_bad_input import TABLES, contents

API = "/api/v1"
PERIODS = ("2023-04", "2023-05", "2023-06", "2023-07")
SAID = {"stage": "in_progress", "percent_complete": 40}
WRITES = {
    name: (method, path)
    for name, (method, path, _) in OPERATIONS.items()
    if method != "GET" and name not in KEEPS_NOTHING
}
SHOWN_ONCE = {"key", "secret", "feed_url"}


def shows_once(name: str) -> bool:
    """Whether an operation is answered with something that is never shown again."""
    answers = OPERATIONS[name][2]["responses"]
    success = next(answers[status] for status in answers if status.startswith("2"))
    return success["content"]["application/json"]["schema"]["$ref"].endswith("Issued")


@dataclass
class House:
    """A service that nobody leads, so that nothing happens on it but what is asked."""

    desk: Desk
    owed: Iterator[dict[str, Any]]

    async def send(self, name: str, asked: "Asked", **headers: str) -> httpx.Response:
        method, path = WRITES[name]
        given = {"content": asked.body} if isinstance(asked.body, bytes) else {"json": asked.body}
        kind = "text/csv" if isinstance(asked.body, bytes) else "application/json"
        answer = await self.desk.client.request(
            method, path.format(**asked.path), **given, headers={"Content-Type": kind, **headers}
        )
        assert answer.is_success, (name, answer.text)
        told = answer.json()
        # A batch is answered with 200, whatever became of its parts.
        assert told.get("accepted", 1) == 1, told
        return answer

    async def made(self, name: str, asked: "Asked") -> dict[str, Any]:
        return (await self.send(name, asked)).json()

    def report(self, **more: Any) -> dict[str, Any]:
        """A report that nobody has made yet."""
        return {**next(self.owed), **SAID, **more}

    async def submission(self, **more: Any) -> str:
        return (await self.made("create_submission", Asked(self.report(**more))))["id"]

    async def account(self) -> str:
        return (await self.made("create_account", Asked({"name": "甲"})))["code"]

    async def key(self) -> dict[str, str]:
        account = await self.account()
        made = await self.made("create_key", Asked({}, code=account))
        return {"code": account, "key_id": made["key_id"]}

    async def hook(self) -> str:
        # An account may have only so many.
        for one in (await self.desk.client.get(f"{API}/webhooks")).json()["items"]:
            await self.made("delete_webhook", Asked(id=one["id"]))
        return (await self.made("create_webhook", Asked({"url": self.desk.receiver.url})))["id"]

    async def state(self) -> tuple[dict[str, str], int]:
        """All that there is to change: what the tables hold, and how much was sent."""
        return await contents(self.desk.url), len(self.desk.receiver.messages)


class Asked:
    """What a request says: its body, JSON or a file, and the names in its path."""

    def __init__(self, body: Any = None, **path: str) -> None:
        self.body = body
        self.path = path


Row = Callable[[House], Awaitable[Asked]]


async def report(house: House) -> Asked:
    return Asked(house.report())


async def batch(house: House) -> Asked:
    return Asked({"items": [house.report()]})


async def form(house: House) -> Asked:
    one = house.report()
    return Asked({"items": [{"task": one["task"], **SAID}]}, code=one["unit"], period=one["period"])


async def form_file(house: House) -> Asked:
    one = house.report()
    table = f"任务编码,阶段,完成进度\r\n{one['task']},推进中,40\r\n"
    return Asked(table.encode(), code=one["unit"], period=one["period"])


async def file_of_many(house: House) -> Asked:
    one = house.report()
    line = f"{one['task']},{one['unit']},{one['period']},推进中,40"
    return Asked(f"任务编码,单位,报送期,阶段,完成进度\r\n{line}\r\n".encode())


def step(body: Any, **report: Any) -> Row:
    async def row(house: House) -> Asked:
        return Asked(body, id=await house.submission(**report))

    return row


async def correction(house: House) -> Asked:
    identity = await house.submission()
    await house.made("certify_submission", Asked({}, id=identity))
    return Asked({**SAID, "reason": "漏计", "percent_complete": 41}, id=identity)


async def certifications(house: House) -> Asked:
    return Asked({"ids": [await house.submission()]})


async def schedule(house: House) -> Asked:
    one = next(house.owed)
    points = [{"period": "2023-12", "percent": 100}]
    return Asked({"points": points, "reason": "年底集中"}, code=one["task"], unit=one["unit"])


async def material(_: House) -> Asked:
    return Asked({"rule": "work-bulletin-item", "unit": "431228-jyj", "title": "信息", "content": "正文"})


def granted(**decision: Any) -> Row:
    async def row(house: House) -> Asked:
        one = next(house.owed)
        case = {"rule": "monthly-form", "reason": "汛情", "approver": "县政府办", **decision}
        return Asked({**one, **case})

    return row


async def account(_: House) -> Asked:
    return Asked({"name": "甲"})


def of_account(body: Any) -> Row:
    async def row(house: House) -> Asked:
        return Asked(body, code=await house.account())

    return row


def of_key(body: Any = None) -> Row:
    async def row(house: House) -> Asked:
        return Asked(body, **await house.key())

    return row


async def new_hook(house: House) -> Asked:
    await house.hook()
    return Asked({"url": house.desk.receiver.url})


def of_hook(body: Any = None) -> Row:
    async def row(house: House) -> Asked:
        return Asked(body, id=await house.hook())

    return row


async def delivery(house: House) -> Asked:
    hook = await house.hook()
    await house.desk.tell(("431228-jyj", 1))
    await house.desk.dispatch()
    (told,) = (await house.desk.client.get(f"{API}/webhooks/{hook}/deliveries?limit=1")).json()["items"]
    assert told["state"] == "delivered"
    return Asked(id=hook, event=told["event"])


async def subscription(_: House) -> Asked:
    return Asked({"name": "手机", "unit": "县教育局"})


async def of_subscription(house: House) -> Asked:
    made = await house.made("create_calendar_subscription", await subscription(house))
    return Asked(token_id=made["token_id"])


CASE = {"plan": "431228-2023", "kind": "risk_file", "unit": "431228-jyj", "title": "甲", "description": "乙"}
CASE_STEPS: dict[str, Any] = {
    "assign_case": {"responsible_person": "张三", "due_on": "2999-12-31"},
    "receive_case": {},
    "start_case": {},
    "report_case_done": {"result": "已办"},
    "verify_case": {},
    "close_case": {},
}
ALL_STEPS = tuple(CASE_STEPS)


def of_case(body: Any, *steps: str) -> Row:
    """A case that these steps were taken with."""

    async def row(house: House) -> Asked:
        identity = (await house.made("register_case", Asked(CASE)))["id"]
        for name in steps:
            await house.made(name, Asked(CASE_STEPS[name], id=identity))
        return Asked(body, id=identity)

    return row


async def new_scheme(_: House) -> Asked:
    return Asked(NEW_SCHEME)


async def mark(_: House) -> Asked:
    return Asked({"plan": PLAN, "unit": OWN, "aspect": "upkeep", "value": 90, "reason": "查看"})


async def assessment(_: House) -> Asked:
    return Asked({"plan": PLAN, "unit": OTHER})


async def of_assessment(house: House) -> Asked:
    made = await house.made("create_assessments", await assessment(house))
    return Asked({"text": "不服"}, id=made["items"][0]["id"])


async def of_appeal(house: House) -> Asked:
    made = await house.made("create_appeal", await of_assessment(house))
    return Asked({"decision": "upheld", "reason": "重新计算"}, id=made["id"])


async def fault(_: House) -> Asked:
    return Asked({**NEW_FAULT, "unit": OWN})


def of_fault(body: Any) -> Row:
    async def row(house: House) -> Asked:
        return Asked(body, id=(await house.made("create_fault", await fault(house)))["id"])

    return row


async def case(_: House) -> Asked:
    return Asked(CASE)


async def work_item(_: House) -> Asked:
    return Asked({"task": "431228-2023-6-3-4", "kind": "project", "title": "项目", "unit": "431228-jyj"})


async def work_item_change(house: House) -> Asked:
    made = await house.made("create_work_item", await work_item(house))
    return Asked({"reason": "开工", "state": "under_way"}, id=made["id"])


async def figure(_: House) -> Asked:
    given = {"indicator": "新增公办学位", "direction": "higher", "accumulation": "cumulative", "operator": "gte"}
    return Asked({**given, "value": 800, "text": "八百个以上", "document": DOCUMENT_GIVING}, code="431228-2023-6-3-4")


QUARTERS = ("2023-Q1", "2023-Q2")
RANKINGS = iter([(kind, quarter) for quarter in QUARTERS for kind in ("city_departments", "county_townships")])
INSPECTED = iter(["431228-jyj", "431228-nyncj", "431228-slj", "431228-fgj", "431228-tjj", "431228-czj"])


async def ranking(_: House) -> Asked:
    kind, quarter = next(RANKINGS)
    unit = "芷江镇" if kind == "county_townships" else "县教育局"
    entries = [{"unit": unit, "rank": 1, "of": 1}]
    return Asked({"plan": "431228-2023", "kind": kind, "period": quarter, "source": "通报", "entries": entries})


async def ranking_correction(house: House) -> Asked:
    made = await house.made("record_ranking", await ranking(house))
    entries = [{"unit": one["unit"]["unit"], "rank": 1, "of": 1} for one in made["entries"]]
    return Asked({"reason": "误", "source": "更正", "entries": entries}, id=made["id"])


async def inspection(_: House) -> Asked:
    about = {"plan": "431228-2023", "period": "2023-Q1", "team": 1, "inspected_on": "2023-03-16"}
    return Asked({**about, "unit": next(INSPECTED), "findings": [{"title": "甲", "description": "乙"}]})


async def inspection_change(house: House) -> Asked:
    made = await house.made("record_inspection", await inspection(house))
    return Asked({"score": 90}, id=made["id"])


# Each is of a dekad of its own.
DEKADS = (f"2023-{month:02}-D{dekad}" for month in range(1, 13) for dekad in (1, 2, 3))


async def bulletin(_: House) -> Asked:
    return Asked({"plan": "431228-2023", "kind": "dekad_brief", "period": next(DEKADS)})


def of_bulletin(body: Any) -> Row:
    async def row(house: House) -> Asked:
        return Asked(body, id=(await house.made("create_bulletin", await bulletin(house)))["id"])

    return row


ROWS: dict[str, Row] = {
    "create_submission": report,
    "create_submissions": batch,
    "put_form": form,
    "put_form_file": form_file,
    "create_submissions_of_file": file_of_many,
    "edit_submission": step({**SAID, "percent_complete": 41}, submit=False),
    "submit_submission": step({}, submit=False),
    "certify_submission": step({}),
    "return_submission": step({"reason": "请核对"}),
    "correct_submission": correction,
    "certify_submissions": certifications,
    "put_schedule": schedule,
    "create_material": material,
    "grant_extension": granted(due_at="2023-10-01T00:00:00+08:00"),
    "grant_waiver": granted(kind="exempt"),
    "create_account": account,
    "patch_account": of_account({"disabled": True}),
    "put_grants": of_account({"grants": [{"role": "reader"}]}),
    "create_key": of_account({}),
    "rotate_key": of_key({}),
    "revoke_key": of_key(),
    "create_webhook": new_hook,
    "patch_webhook": of_hook({"paused": True}),
    "delete_webhook": of_hook(),
    "test_webhook": of_hook(),
    "rotate_webhook_secret": of_hook({}),
    "resume_webhook": of_hook({}),
    "redeliver_event": delivery,
    "create_calendar_subscription": subscription,
    "revoke_calendar_subscription": of_subscription,
    "register_case": case,
    "edit_case": of_case({"title": "丙"}),
    **{name: of_case(CASE_STEPS[name], *ALL_STEPS[:place]) for place, name in enumerate(ALL_STEPS)},
    "return_case": of_case({"reason": "未办到位"}, *ALL_STEPS[:4]),
    "reopen_case": of_case({"reason": "又出现"}, *ALL_STEPS),
    "recheck_case": of_case({"passed": True, "reason": "完好"}, *ALL_STEPS),
    "remind_case": of_case({"reason": "请抓紧"}, *ALL_STEPS[:1]),
    "escalate_case": of_case({"level": 1, "reason": "催办未果"}, *ALL_STEPS[:1]),
    "add_case_evidence": of_case({"title": "照片", "reference": "档案 1"}, *ALL_STEPS[:1]),
    "create_assessment_scheme": new_scheme,
    "create_mark": mark,
    "create_assessments": assessment,
    "create_appeal": of_assessment,
    "decide_appeal": of_appeal,
    "create_fault": fault,
    "answer_fault": of_fault({"text": "口径不同"}),
    "decide_fault": of_fault({"decision": "dismissed", "reason": "不实"}),
    "create_work_item": work_item,
    "patch_work_item": work_item_change,
    "give_figure": figure,
    "record_ranking": ranking,
    "correct_ranking": ranking_correction,
    "record_inspection": inspection,
    "patch_inspection": inspection_change,
    "create_bulletin": bulletin,
    "patch_bulletin": of_bulletin({"title": "丙"}),
    "regenerate_bulletin": of_bulletin({}),
    "issue_bulletin": of_bulletin({}),
    "discard_bulletin": of_bulletin({"reason": "重编"}),
}


@pytest_asyncio.fixture(scope="module")
async def house(clone: Clone) -> AsyncGenerator[House]:
    async with desk_of(clone) as desk:
        owed: list[dict[str, Any]] = []
        for period in PERIODS:
            query = {"rule": "monthly-form", "period": period, "limit": 500}
            items = (await desk.client.get(f"{API}/obligations", params=query)).json()["items"]
            owed += [{"task": one["task"], "unit": one["unit"]["unit"], "period": period} for one in items]
        yield House(desk, iter(owed))


async def acts_of(house: House, answer: httpx.Response) -> list[str]:
    """The actions that a request left in the audit trail."""
    query = {"request_id": answer.headers["x-request-id"]}
    entries = (await house.desk.client.get(f"{API}/audit", params=query)).json()["items"]
    return [entry["action"] for entry in entries]


def test_every_operation_that_changes_something_has_a_row() -> None:
    assert set(ROWS) == set(WRITES)


@pytest.mark.parametrize("name", WRITES)
async def test_a_write_leaves_an_act_in_the_audit_trail(house: House, name: str) -> None:
    answer = await house.send(name, await ROWS[name](house))
    assert await acts_of(house, answer)


@pytest.mark.parametrize("name", WRITES)
async def test_a_write_that_is_sent_again_has_one_effect_one_act_and_one_answer(house: House, name: str) -> None:
    asked, key = await ROWS[name](house), str(uuid4())
    first = await house.send(name, asked, **{"Idempotency-Key": key})
    assert await acts_of(house, first)
    assert bool(SHOWN_ONCE & first.json().keys()) == shows_once(name)
    done = await house.state()
    again = await house.send(name, asked, **{"Idempotency-Key": key})
    assert_same(first, again)
    assert await house.state() == done
    assert await acts_of(house, again) == []


async def holding(house: House, text: str) -> list[str]:
    """The tables that hold a text, as it is or as bytes."""
    connection = await asyncpg.connect(house.desk.url)
    try:
        signs = (text, text.encode().hex())
        return [
            table
            for (table,) in await connection.fetch(TABLES)
            for sign in signs
            if await connection.fetchval(f'SELECT EXISTS (SELECT FROM "{table}" t WHERE t::text LIKE $1)', f"%{sign}%")
        ]
    finally:
        await connection.close()


@pytest.mark.parametrize("name", [name for name in WRITES if shows_once(name)])
async def test_what_is_shown_once_is_kept_nowhere_as_it_is(house: House, name: str) -> None:
    asked, key = await ROWS[name](house), f"shown once by {name}".replace(" ", "-")
    answer = (await house.send(name, asked, **{"Idempotency-Key": key})).json()
    (shown,) = (answer[field] for field in SHOWN_ONCE & answer.keys())
    assert await holding(house, max(shown.split("_"), key=len)) == []
    # What is kept beside it is found, so it would have been.
    assert "idempotency_keys" in await holding(house, key)
