"""Extensions and waivers: what they change, from which instant on, and what is refused without a trace."""

import uuid
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from app.clock import SHANGHAI
from app.main import create_app
from app.schemas.obligation import GrantRead
from app.settings import Settings
from tests.conftest import Clone, serving

EXTENSIONS, WAIVERS = "/api/v1/extensions", "/api/v1/waivers"
PATHS = (EXTENSIONS, WAIVERS)
TICK, DAY = timedelta(microseconds=1), timedelta(days=1)
DUE = datetime(2023, 4, 20, 23, 59, 59, 999999, tzinfo=SHANGHAI)
LOCK = datetime(2023, 5, 20, 23, 59, 59, 999999, tzinfo=SHANGHAI)
# After the due instant and before the lock: what is not filed is overdue.
NOW = datetime(2023, 4, 25, 9, 30, tzinfo=SHANGHAI)
LATER = datetime(2023, 4, 28, 18, tzinfo=SHANGHAI)
EDUCATION = "431228-jyj"
APRIL = {
    "rule": "monthly-form",
    "unit": EDUCATION,
    "period": "2023-04",
    "reason": "系统故障",
    "approver": "县重点民生实事办",
}
EXTENSION = {**APRIL, "due_at": LATER.isoformat()}
WAIVER = {**APRIL, "kind": "exempt"}
BODIES = {EXTENSIONS: EXTENSION, WAIVERS: WAIVER}
EVERYTHING = """
    SELECT (SELECT md5(string_agg(o::text, '|' ORDER BY id)) FROM obligations o),
           (SELECT md5(string_agg(c::text, '|' ORDER BY id)) FROM compliance_counts c),
           (SELECT count(*) FROM extensions), (SELECT count(*) FROM waivers)
"""


class Office:
    """A service on a database of its own, and the clock it goes by."""

    def __init__(self, client: httpx.AsyncClient, connection: Any) -> None:
        self.client = client
        self.connection = connection
        self.now = NOW

    async def grant(self, path: str, **changes: Any) -> dict[str, Any]:
        answer = await self.client.post(path, json={**BODIES[path], **changes})
        assert answer.status_code == 201, answer.text
        assert GrantRead.model_validate_json(answer.content)
        return answer.json()

    async def get(self, path: str, **query: Any) -> dict[str, Any]:
        asked = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in query.items()}
        answer = await self.client.get(f"/api/v1{path}", params={"rule": "monthly-form", **asked})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def owed(self, **query: Any) -> list[dict[str, Any]]:
        return (await self.get("/obligations", **{"unit": EDUCATION, "period": "2023-04", **query}))["items"]

    async def counted(self, **query: Any) -> dict[str, Any]:
        """The figures of the unit in April, which are the same from the counts and from the obligations."""
        found = []
        for as_of in ({}, {"as_of": query.get("as_of", self.now)}):
            given = {"from": "2023-04", "to": "2023-04", **query, **as_of}
            answer = await self.get("/compliance", **given)
            found += [row for row in answer["items"] if row["key"] == EDUCATION]
        assert found[0] == found[1]
        return found[0]

    async def check(self, **query: Any) -> dict[str, Any]:
        return await self.get("/deadlines/check", **{"unit": EDUCATION, "period": "2023-04", **query})

    async def file(self, at: datetime) -> None:
        done = await self.connection.execute(
            "UPDATE obligations SET submitted_at = $1, filed_at = $1 WHERE period = '2023-04' "
            "AND unit_id = (SELECT id FROM units WHERE code = $2) "
            "AND rule_id = (SELECT id FROM rules WHERE code = 'monthly-form')",
            *(at, EDUCATION),
        )
        assert done != "UPDATE 0"

    async def everything(self) -> tuple[Any, ...]:
        return tuple(await self.connection.fetchrow(EVERYTHING))


@pytest_asyncio.fixture
async def office(clone: Clone) -> AsyncGenerator[Office]:
    async with clone() as url:
        connection = await asyncpg.connect(url)
        standing: list[Office] = []
        try:
            app = create_app(Settings(database_url=url), clock=lambda: standing[0].now)
            async with serving(app) as client:
                standing.append(Office(client, connection))
                yield standing[0]
        finally:
            await connection.close()


# What is granted -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
async def test_a_decision_is_answered_with_its_id_and_how_much_it_concerns(office: Office, path: str) -> None:
    tasks = await office.owed()
    answer = await office.client.post(path, json=BODIES[path])
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body.keys() == {"id", "obligations", "granted_at", "explanation"}
    assert APRIL["reason"] in body["explanation"]
    assert APRIL["approver"] in body["explanation"]
    assert uuid.UUID(body["id"]).version == 7
    assert body["obligations"] == len(tasks) >= 1
    assert body["granted_at"] == NOW.isoformat()
    table = path.rsplit("/", 1)[1]
    row = await office.connection.fetchrow(f"SELECT * FROM {table}")
    assert (str(row["id"]), row["granted_at"]) == (body["id"], NOW)
    assert (row["reason"], row["approver"]) == (APRIL["reason"], APRIL["approver"])


async def test_an_extension_moves_the_due_instant_wherever_it_is_asked_for(office: Office) -> None:
    before = await office.owed()
    assert {item["status"] for item in before} == {"overdue"}
    owed = len(before)
    assert (await office.counted())["overdue"] == owed
    await office.grant(EXTENSIONS)
    for item in await office.owed():
        assert (item["status"], item["late_by_seconds"], item["on_time_originally"]) == ("due_soon", None, False)
        assert (item["due_at"], item["effective_due_at"]) == (DUE.isoformat(), LATER.isoformat())
        assert item["extension"] == {
            "due_at": LATER.isoformat(),
            "reason": APRIL["reason"],
            "approver": APRIL["approver"],
            "granted_at": NOW.isoformat(),
        }
        assert "经批准延至" in item["explanation"]
    row = await office.counted()
    assert (row["overdue"], row["not_due"], row["expected"]) == (0, owed, owed)
    assert row["timeliness"] == {"numerator": 0, "denominator": 0, "percent": None}
    answer = await office.check()
    assert (answer["on_time"], answer["due_at"]) == (True, LATER.isoformat())
    assert answer["original_due_at"] == DUE.isoformat()
    assert (await office.check(at=LATER))["on_time"] is True
    assert (await office.check(at=LATER + TICK))["on_time"] is False
    # Nobody else has more time.
    assert (await office.check(unit="县林业局"))["on_time"] is False
    assert {item["status"] for item in await office.owed(unit="县林业局")} == {"overdue"}
    assert {item["extension"] for item in await office.owed(period="2023-05")} == {None}


@pytest.mark.parametrize("kind", ["exempt", "nil"])
async def test_a_waiver_frees_the_unit_wherever_it_is_asked_for(office: Office, kind: str) -> None:
    owed = len(await office.owed())
    await office.grant(WAIVERS, kind=kind)
    for item in await office.owed():
        assert (item["status"], item["late_by_seconds"], item["on_time_originally"]) == ("waived", None, None)
        assert item["waiver"] == {
            "kind": kind,
            "reason": APRIL["reason"],
            "approver": APRIL["approver"],
            "granted_at": NOW.isoformat(),
        }
    row = await office.counted()
    assert (row["expected"], row["waived"], row["overdue"]) == (owed, owed, 0)
    assert row["timeliness"]["denominator"] == 0
    # Whoever files all the same is judged by the due instant.
    assert (await office.check())["on_time"] is False
    assert {item["status"] for item in await office.owed(unit="县林业局")} == {"overdue"}
    assert {item["waiver"] for item in await office.owed(period="2023-05")} == {None}


@pytest.mark.parametrize(("path", "then"), [(EXTENSIONS, "due_soon"), (WAIVERS, "waived")])
async def test_before_it_was_granted_nothing_had_changed(office: Office, path: str, then: str) -> None:
    early = {"as_of": NOW - TICK}
    owed, counted, check = await office.owed(**early), await office.counted(), await office.check(at=NOW - TICK)
    await office.grant(path)
    assert await office.owed(**early) == owed
    assert {item["status"] for item in owed} == {"overdue"}
    past = await office.get("/compliance", **{"from": "2023-04", "to": "2023-04"}, **early)
    assert [row for row in past["items"] if row["key"] == EDUCATION] == [counted]
    assert await office.check(at=NOW - TICK) == check
    assert {item["status"] for item in await office.owed(as_of=NOW)} == {then}


@pytest.mark.parametrize("filed", [DUE + TICK, NOW - DAY])
async def test_what_came_late_is_on_time_after_an_extension_and_late_by_the_original(
    office: Office, filed: datetime
) -> None:
    await office.file(filed)
    owed = len(await office.owed())
    assert (await office.counted())["late"] == owed
    await office.grant(EXTENSIONS)
    for item in await office.owed():
        assert (item["status"], item["on_time_originally"], item["late_stage"]) == ("on_time", False, None)
    row = await office.counted()
    assert (row["on_time"], row["late"], row["timeliness"]["percent"]) == (owed, 0, 100)


async def test_a_missed_report_may_come_after_all(office: Office) -> None:
    office.now = LOCK + DAY
    assert {item["status"] for item in await office.owed()} == {"missed"}
    until = LOCK + 9 * DAY
    await office.grant(EXTENSIONS, due_at=until.isoformat())
    assert {item["status"] for item in await office.owed()} == {"upcoming"}
    office.now = until
    assert (await office.counted())["not_due"] == len(await office.owed())
    # The lock has moved along: a microsecond later it is missed, and never overdue.
    office.now = until + TICK
    assert {item["status"] for item in await office.owed()} == {"missed"}
    assert (await office.counted())["missed"] == len(await office.owed())


async def test_of_two_extensions_the_latest_counts(office: Office) -> None:
    first, second = LATER + 4 * DAY, LATER
    await office.grant(EXTENSIONS, due_at=first.isoformat(), reason="第一次")
    office.now = NOW + DAY
    await office.grant(EXTENSIONS, due_at=second.isoformat(), reason="第二次")
    for as_of, until, reason in (
        (NOW, first, "第一次"),
        (NOW + DAY - TICK, first, "第一次"),
        (NOW + DAY, second, "第二次"),
    ):
        for item in await office.owed(as_of=as_of):
            assert (item["effective_due_at"], item["extension"]["reason"]) == (until.isoformat(), reason)
        assert (await office.check(at=as_of))["due_at"] == until.isoformat()
    office.now = second + TICK
    assert {item["status"] for item in await office.owed()} == {"overdue"}
    assert (await office.counted())["overdue"] == len(await office.owed())
    assert await office.connection.fetchval("SELECT count(*) FROM extensions") == 2


async def test_two_extensions_of_one_instant_are_told_apart(office: Office) -> None:
    await office.grant(EXTENSIONS, due_at=(LATER + DAY).isoformat())
    await office.grant(EXTENSIONS, due_at=LATER.isoformat())
    assert {item["effective_due_at"] for item in await office.owed()} == {LATER.isoformat()}
    assert (await office.check())["due_at"] == LATER.isoformat()


async def test_a_second_waiver_leaves_the_instant_of_the_first(office: Office) -> None:
    await office.grant(WAIVERS, kind="exempt")
    counted = await office.counted()
    office.now = NOW + DAY
    await office.grant(WAIVERS, kind="nil")
    assert {item["waiver"]["kind"] for item in await office.owed()} == {"nil"}
    assert {item["waiver"]["kind"] for item in await office.owed(as_of=NOW)} == {"exempt"}
    assert {item["status"] for item in await office.owed(as_of=NOW - TICK)} == {"overdue"}
    assert await office.counted() == counted
    first = await office.connection.fetchval("SELECT DISTINCT waived_at FROM obligations WHERE waived_at IS NOT NULL")
    assert first == NOW


async def test_both_may_be_granted(office: Office) -> None:
    await office.grant(EXTENSIONS)
    await office.grant(WAIVERS)
    (item, *_) = await office.owed()
    assert (item["status"], item["effective_due_at"]) == ("waived", LATER.isoformat())
    assert item["extension"] is not None
    assert (await office.counted())["waived"] == len(await office.owed())


async def test_what_is_not_due_yet_may_be_extended_and_waived(office: Office) -> None:
    office.now = datetime(2023, 4, 1, tzinfo=SHANGHAI)
    await office.grant(EXTENSIONS)
    assert {item["on_time_originally"] for item in await office.owed()} == {None}
    await office.grant(WAIVERS)
    row = await office.counted()
    assert (row["waived"], row["not_due"]) == (row["expected"], 0)


@pytest.mark.parametrize("path", PATHS)
async def test_any_printed_name_and_any_offset_will_do(office: Office, path: str) -> None:
    changes = {"unit": "县教育局"}
    if path == EXTENSIONS:
        changes["due_at"] = "2023-04-28T10:00:00Z"
    await office.grant(path, **changes)
    (item, *_) = await office.owed()
    decision = item["extension"] or item["waiver"]
    assert decision["reason"] == APRIL["reason"]
    assert item["effective_due_at"] == (LATER if path == EXTENSIONS else DUE).isoformat()


# One task only -------------------------------------------------------------------------------------------------------


async def _several(office: Office) -> tuple[str, list[str]]:
    """A unit that owes several forms a month, and their tasks."""
    row = await office.connection.fetchrow(
        "SELECT u.code, array_agg(t.code ORDER BY t.code) AS tasks FROM obligations o "
        "JOIN units u ON u.id = o.unit_id JOIN tasks t ON t.id = o.task_id "
        "WHERE o.period = '2023-04' GROUP BY u.code ORDER BY count(*) DESC, u.code LIMIT 1"
    )
    assert len(row["tasks"]) > 1
    return row["code"], row["tasks"]


@pytest.mark.parametrize(("path", "then"), [(EXTENSIONS, "due_soon"), (WAIVERS, "waived")])
async def test_a_decision_about_one_task_leaves_the_others(office: Office, path: str, then: str) -> None:
    unit, tasks = await _several(office)
    chosen = tasks[1]
    granted = await office.grant(path, unit=unit, task=chosen)
    assert granted["obligations"] == 1
    owed = {item["task"]: item for item in await office.owed(unit=unit)}
    assert sorted(owed) == tasks
    for task, item in owed.items():
        decision = item["extension" if path == EXTENSIONS else "waiver"]
        assert item["status"] == (then if task == chosen else "overdue")
        assert (decision is not None) == (task == chosen)
    for as_of in ({}, {"as_of": NOW}):
        found = await office.get("/compliance", **{"from": "2023-04", "to": "2023-04"}, **as_of)
        (row,) = [row for row in found["items"] if row["key"] == unit]
        assert row["waived" if path == WAIVERS else "not_due"] == 1
        assert row["overdue"] == len(tasks) - 1


async def test_a_decision_about_all_follows_one_about_a_task(office: Office) -> None:
    unit, tasks = await _several(office)
    await office.grant(EXTENSIONS, unit=unit, task=tasks[0], due_at=(LATER + DAY).isoformat())
    office.now = NOW + DAY
    assert (await office.grant(EXTENSIONS, unit=unit))["obligations"] == len(tasks)
    assert {item["effective_due_at"] for item in await office.owed(unit=unit)} == {LATER.isoformat()}
    by_task = {item["task"]: item["effective_due_at"] for item in await office.owed(unit=unit, as_of=NOW)}
    expected = dict.fromkeys(tasks, DUE.isoformat()) | {tasks[0]: (LATER + DAY).isoformat()}
    assert by_task == expected


# What is refused, without a trace ------------------------------------------------------------------------------------


async def _refused(office: Office, path: str, body: Any) -> list[tuple[str, str]]:
    """Pointer and code of each fault; nothing may have changed."""
    before = await office.everything()
    answer = await office.client.post(path, json=body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = answer.json()
    assert problem["status"] == 422
    assert problem["instance"] == answer.headers["x-request-id"]
    assert await office.everything() == before
    return [(fault["pointer"], fault["code"]) for fault in problem["errors"]]


@pytest.mark.parametrize(
    "due_at",
    [DUE - DAY, DUE - TICK, DUE, DUE.replace(microsecond=0)],
    ids=["day", "tick", "same", "second"],
)
async def test_an_extension_must_be_later_than_the_original(office: Office, due_at: datetime) -> None:
    body = {**EXTENSION, "due_at": due_at.isoformat()}
    assert await _refused(office, EXTENSIONS, body) == [("/body/due_at", "not_later")]


async def test_an_extension_may_be_a_microsecond(office: Office) -> None:
    await office.grant(EXTENSIONS, due_at=(DUE + TICK).isoformat())
    await office.file(DUE + TICK)
    assert {item["status"] for item in await office.owed()} == {"on_time"}


OUTSIDE = {
    "another unit": ({"unit": "431228-fgj"}, "/body/unit", "not_owed"),
    "another year": ({"period": "2024-04"}, "/body/unit", "not_owed"),
    "before the first": ({"period": "2023-03"}, "/body/unit", "not_owed"),
    "another frequency": ({"period": "2023-Q2"}, "/body/unit", "not_owed"),
    "another's task": ({"task": "431228-2023-1-1-1"}, "/body/unit", "not_owed"),
    "no such task": ({"task": "431228-2023-9-9-9"}, "/body/task", "unknown_task"),
    "no such unit": ({"unit": "县某某局"}, "/body/unit", "unknown_unit"),
    "no such rule": ({"rule": "weekly-form"}, "/body/rule", "unknown_rule"),
    "no such plan": ({"plan": "431228-2022"}, "/body/rule", "unknown_rule"),
    "a rule that nobody owes": ({"rule": "monthly-dispatch"}, "/body/unit", "not_owed"),
    "no such month": ({"period": "2023-13"}, "/body/period", "invalid_period"),
}
MALFORMED = {
    "unknown field": ({"note": "x"}, "/body/note", "extra_forbidden"),
    "granted by the client": ({"granted_at": NOW.isoformat()}, "/body/granted_at", "extra_forbidden"),
    "blank reason": ({"reason": " \t "}, "/body/reason", "string_pattern_mismatch"),
    "ideographic blank": ({"reason": "\u3000"}, "/body/reason", "string_pattern_mismatch"),
    "empty reason": ({"reason": ""}, "/body/reason", "string_too_short"),
    "long reason": ({"reason": "长" * 501}, "/body/reason", "string_too_long"),
    "blank approver": ({"approver": " "}, "/body/approver", "string_pattern_mismatch"),
    "long approver": ({"approver": "长" * 81}, "/body/approver", "string_too_long"),
    "NUL in the unit": ({"unit": "县\x00局"}, "/body/unit", "string_pattern_mismatch"),
    "null unit": ({"unit": None}, "/body/unit", "string_type"),
    "a word for a period": ({"period": "April"}, "/body/period", "string_pattern_mismatch"),
    "a number for a period": ({"period": 2023}, "/body/period", "string_type"),
    "capital rule": ({"rule": "Monthly"}, "/body/rule", "string_pattern_mismatch"),
}
INSTANTS = {
    "naive": ("2023-04-28T18:00:00", "value_error"),
    "a day": ("2023-04-28", "value_error"),
    "an impossible day": ("2023-04-31T18:00:00+08:00", "datetime_from_date_parsing"),
    "an impossible offset": ("2023-04-28T18:00:00+99:00", "datetime_from_date_parsing"),
    "words": ("tomorrow", "value_error"),
    "null": (None, "value_error"),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("changes", "pointer", "code"), (OUTSIDE | MALFORMED).values(), ids=OUTSIDE | MALFORMED)
async def test_what_is_wrong_is_named_and_changes_nothing(
    office: Office, path: str, changes: dict[str, Any], pointer: str, code: str
) -> None:
    assert await _refused(office, path, {**BODIES[path], **changes}) == [(pointer, code)]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("text", ["故\x00障", "\x00张", "张\x00", "\x00"])
@pytest.mark.parametrize("field", ["reason", "approver"])
async def test_no_text_has_a_nul(office: Office, field: str, text: str, path: str) -> None:
    assert await _refused(office, path, {**BODIES[path], field: text}) == [
        (f"/body/{field}", "string_pattern_mismatch")
    ]


@pytest.mark.parametrize(("due_at", "code"), INSTANTS.values(), ids=INSTANTS)
async def test_an_instant_has_an_offset(office: Office, due_at: Any, code: str) -> None:
    assert await _refused(office, EXTENSIONS, {**EXTENSION, "due_at": due_at}) == [("/body/due_at", code)]


async def test_an_instant_is_no_number(office: Office) -> None:
    assert await _refused(office, EXTENSIONS, {**EXTENSION, "due_at": 1682676000}) == [("/body/due_at", "value_error")]


@pytest.mark.parametrize("kind", ["free", "", None, 1])
async def test_a_waiver_is_of_a_known_kind(office: Office, kind: Any) -> None:
    assert await _refused(office, WAIVERS, {**WAIVER, "kind": kind}) == [("/body/kind", "enum")]


@pytest.mark.parametrize("path", PATHS)
async def test_every_missing_field_is_named(office: Office, path: str) -> None:
    faults = await _refused(office, path, {})
    assert {code for _, code in faults} == {"missing"}
    assert {pointer for pointer, _ in faults} == {f"/body/{name}" for name in BODIES[path]}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b'{"rule": }', 400), (b"[1,", 400), (b"\xff\xfe", 400), (b"", 422)]
)
async def test_what_is_no_json_is_not_read(office: Office, path: str, body: bytes, status: int) -> None:
    before = await office.everything()
    answer = await office.client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["type"] == ("/problems/bad-request" if status == 400 else "/problems/invalid-request")
    assert await office.everything() == before


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", [[], "x", 1, None])
async def test_a_body_is_an_object(office: Office, path: str, body: Any) -> None:
    assert [pointer for pointer, _ in await _refused(office, path, body)] == ["/body"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_task_that_does_not_exist_means_no_report_without_a_task(office: Office, path: str) -> None:
    changes = {"rule": "work-bulletin-item", "task": "431228-2023-9-9-9", "due_at": LOCK.isoformat()}
    if path == WAIVERS:
        del changes["due_at"]
    assert await office.owed(rule="work-bulletin-item")
    assert await _refused(office, path, {**BODIES[path], **changes}) == [("/body/task", "unknown_task")]


@pytest.mark.parametrize("path", PATHS)
async def test_a_decision_is_never_taken_back(office: Office, path: str) -> None:
    answer = await office.client.delete(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")


# What was granted ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
async def test_what_was_granted_is_listed_as_of_any_instant(office: Office, path: str) -> None:
    first = await office.grant(path)
    office.now = NOW + DAY
    (task, *_) = [item["task"] for item in await office.owed()]
    second = await office.grant(path, task=task)
    listed = (await office.client.get(path, params={"include_total": "true"})).json()
    assert [item["id"] for item in listed["items"]] == [first["id"], second["id"]]
    assert listed["total"] == 2
    whole, single = listed["items"]
    assert (whole["unit"]["unit"], whole["task"], whole["period"]) == (EDUCATION, None, "2023-04")
    assert (whole["reason"], whole["approver"]) == (APRIL["reason"], APRIL["approver"])
    assert whole["granted_at"] == NOW.isoformat()
    decision = "due_at" if path == EXTENSIONS else "kind"
    assert single[decision] == BODIES[path][decision]
    for asked, found in (
        ({"as_of": NOW.isoformat()}, [first]),
        ({"as_of": (NOW - TICK).isoformat()}, []),
        ({"unit": "县教育局"}, [first, second]),
        ({"unit": "县统计局"}, []),
        ({"task": task}, [second]),
        ({"period": "2023-05"}, []),
        ({"rule": "monthly-form", "plan": "431228-2023", "sort": "-id"}, [second, first]),
    ):
        answer = await office.client.get(path, params=asked)
        assert answer.status_code == 200, answer.text
        assert [item["id"] for item in answer.json()["items"]] == [one["id"] for one in found], asked
    page = (await office.client.get(path, params={"limit": "1"})).json()
    after = (await office.client.get(path, params={"limit": "1", "cursor": page["next_cursor"]})).json()
    assert [item["id"] for item in page["items"] + after["items"]] == [first["id"], second["id"]]
    assert (await office.client.get(path, params={"period": "2023-13"})).status_code == 422
    assert (await office.client.get(path, params={"colour": "red"})).status_code == 422


async def test_a_rule_shows_the_version_in_force_on_a_day(office: Office) -> None:
    await office.connection.execute(
        "INSERT INTO rule_versions (rule_id, version, effective_from, schedule) "
        "SELECT rule_id, 2, '2023-09-01', jsonb_set(v.schedule, '{due_day}', '25') FROM rule_versions v "
        "JOIN rules r ON r.id = v.rule_id WHERE r.code = 'monthly-form'"
    )
    for day, version, due_day in (
        ("2023-01-01", 1, 20),
        ("2023-08-31", 1, 20),
        ("2023-09-01", 2, 25),
        ("2026-01-01", 2, 25),
    ):
        asked = {"as_of": f"{day}T00:00:00+08:00"}
        rule = (await office.client.get("/api/v1/rules/monthly-form", params=asked)).json()
        assert (rule["version"], rule["schedule"]["due_day"]) == (version, due_day), day
        listed = (await office.client.get("/api/v1/rules", params={**asked, "limit": "500"})).json()["items"]
        assert [item for item in listed if item["code"] == "monthly-form"] == [rule]
        unscheduled = [item for item in listed if item["schedule"] is None]
        assert unscheduled
        assert all(item["version"] is item["effective_from"] is None for item in unscheduled)


async def test_a_calendar_of_a_past_instant_knows_nothing_granted_later(office: Office) -> None:
    await office.grant(EXTENSIONS)
    asked = {"unit": EDUCATION, "rule": "monthly-form"}
    now = await office.client.get("/api/v1/calendar.ics", params=asked)
    before = await office.client.get("/api/v1/calendar.ics", params={**asked, "as_of": (NOW - TICK).isoformat()})
    assert now.status_code == before.status_code == 200
    assert "20230428T" in now.text
    assert "20230428T" not in before.text
