"""Compliance: the counts, the obligations and the domain's own verdicts agree on every figure, now and in the past."""

import random
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from app.clock import SHANGHAI
from app.db import create_engine
from app.domain.deadlines import Facts, ObligationStatus, judge
from app.main import create_app
from app.schemas.obligation import ComplianceRead
from app.settings import Settings
from seed.loader import load_plan
from tests.conftest import Clone, serving
from tests.seed.small_plan import CODE, Edit, write_plan

COMPLIANCE = "/api/v1/compliance"
REAL = "431228-2023"
RULES = ("monthly-form", "work-bulletin-item")
GROUPS = ("unit", "battle", "period", "task", "region")
COUNTED = ("expected", "waived", "on_time", "late", "overdue", "missed", "not_due")
# The periods of both plans.
SPAN = {"from": "2023-03", "to": "2023-12"}
NONE_DUE = {"numerator": 0, "denominator": 0, "percent": None}
TICK, SECOND, DAY = timedelta(microseconds=1), timedelta(seconds=1), timedelta(days=1)
# Nothing in the data happens later; of the monthly form five periods are due then.
NOW = datetime(2023, 9, 10, 8, tzinfo=SHANGHAI)
LOCK_OF_AUGUST = datetime(2023, 9, 20, 23, 59, 59, 999999, tzinfo=SHANGHAI)
INSTANTS = (NOW, LOCK_OF_AUGUST, LOCK_OF_AUGUST + TICK, datetime(2024, 3, 1, tzinfo=SHANGHAI))
PASTS = (
    *(datetime(2023, 4, 20, 23, 59, 59, 999999, tzinfo=SHANGHAI) + late for late in (-DAY, timedelta(), TICK)),
    *(datetime(2023, month, day, 12, tzinfo=SHANGHAI) for month, day in ((1, 1), (5, 21), (6, 18), (8, 25))),
)
# The small plan owes its monthly form too, so that two plans of two regions have the rule.
OWED = Edit(
    "plan.yaml",
    "{frequency: month, due_day: 20, first_period: 2023-03, last_period: 2023-12}",
    "{frequency: month, obligor: task_reporter, due_day: 20, first_period: 2023-03, last_period: 2023-12}",
)
OWES = """
    SELECT o.id, o.unit_id, o.rule_id, o.task_id, o.due_at, o.lock_at, o.period,
           r.code AS rule, p.code AS plan, u.code AS unit, coalesce(b.code, '-') AS battle,
           coalesce(t.code, '-') AS task, u.region_code AS region
    FROM obligations o JOIN rules r ON r.id = o.rule_id JOIN plans p ON p.id = o.plan_id
    JOIN units u ON u.id = o.unit_id LEFT JOIN battles b ON b.id = o.battle_id LEFT JOIN tasks t ON t.id = o.task_id
    ORDER BY p.code, o.id
"""


@dataclass
class Report:
    """One obligation and all that ever happened to it."""

    row: asyncpg.Record
    filed_at: datetime | None = None
    waived_at: datetime | None = None
    extended_at: datetime | None = None
    extended_to: datetime | None = None

    def status(self, as_of: datetime) -> ObligationStatus:
        """The verdict of the domain."""
        extended = self.extended_at is not None and self.extended_at <= as_of
        effective = self.extended_to if extended and self.extended_to else self.row["due_at"]
        facts = Facts(
            due_at=self.row["due_at"],
            effective_due_at=effective,
            lock_at=self.row["lock_at"],
            submitted_at=self.filed_at,
            filed_at=self.filed_at,
            waived=self.waived_at is not None and self.waived_at <= as_of,
        )
        return judge(facts, as_of=as_of, remind_days=5).status


def invented(row: asyncpg.Record, chance: random.Random) -> Report:
    """Something happens to an obligation, now and then at the very instant that decides."""
    report, due, lock = Report(row), row["due_at"], row["lock_at"]
    if chance.random() < 0.3:
        report.extended_at = min(NOW, due + chance.choice([-3, 0, 2]) * DAY)
        report.extended_to = chance.choice([due + TICK, due + 4 * DAY, lock, lock + TICK, lock + 9 * DAY, NOW])
        if report.extended_to <= due:
            report.extended_to = due + DAY
    if chance.random() < 0.2:
        report.waived_at = min(NOW, due + chance.choice([-9, 0, 40]) * DAY)
    if chance.random() < 0.6:
        effective = report.extended_to or due
        report.filed_at = chance.choice([due, effective, lock]) + chance.choice(
            [-6 * DAY, -TICK, timedelta(), TICK, SECOND, 3 * DAY]
        )
        if report.filed_at > NOW:
            report.filed_at = chance.choice([None, NOW])
    return report


async def store(connection: Any, reports: list[Report]) -> None:
    await connection.executemany(
        "UPDATE obligations SET submitted_at = $2, filed_at = $2, waived_at = $3, "
        "effective_due_at = coalesce($4, due_at) WHERE id = $1",
        [(one.row["id"], one.filed_at, one.waived_at, one.extended_to) for one in reports],
    )
    about = ("unit_id", "rule_id", "task_id", "period")
    await connection.executemany(
        "INSERT INTO extensions (id, unit_id, rule_id, task_id, period, due_at, reason, approver, granted_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, '停电', '办公室', $7)",
        [
            (uuid.uuid4(), *(one.row[name] for name in about), one.extended_to, one.extended_at)
            for one in reports
            if one.extended_to
        ],
    )
    await connection.executemany(
        "INSERT INTO waivers (id, unit_id, rule_id, task_id, period, kind, reason, approver, granted_at) "
        "VALUES ($1, $2, $3, $4, $5, 'exempt', '停电', '办公室', $6)",
        [(uuid.uuid4(), *(one.row[name] for name in about), one.waived_at) for one in reports if one.waived_at],
    )


class County:
    """A service on a database of its own, whose clock stands where it is set."""

    def __init__(self, url: str, client: httpx.AsyncClient, connection: Any, reports: list[Report]) -> None:
        self.url = url
        self.client = client
        self.connection = connection
        self.reports = reports

    async def asked(self, **query: str) -> dict[str, Any]:
        answer = await self.client.get(COMPLIANCE, params={"rule": "monthly-form", **query})
        assert answer.status_code == 200, answer.text
        assert ComplianceRead.model_validate_json(answer.content)
        return answer.json()

    def figures(self, as_of: datetime, group: str, include: Callable[[Any], bool]) -> dict[str, dict[str, int]]:
        """What the answer must be, by key of the group."""
        found: dict[str, Counter[str]] = {}
        for report in self.reports:
            if include(report.row):
                status = report.status(as_of)
                not_due = status in {ObligationStatus.UPCOMING, ObligationStatus.DUE_SOON}
                counter = found.setdefault(report.row[group], Counter())
                counter.update(("expected", "not_due" if not_due else status.value))
        return {key: {name: counter[name] for name in COUNTED} for key, counter in found.items()}


class Clock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


@asynccontextmanager
async def county(clone: Clone, clock: Clock, plans: Path | None = None) -> AsyncGenerator[County]:
    async with clone() as url:
        if plans is not None:
            engine = create_engine(url)
            await load_plan(engine, write_plan(plans, OWED), now=datetime(2023, 2, 10, tzinfo=SHANGHAI))
            await engine.dispose()
        connection = await asyncpg.connect(url)
        try:
            chance = random.Random(20230327)
            reports = [invented(row, chance) for row in await connection.fetch(OWES)]
            await store(connection, reports)
            async with serving(create_app(Settings(database_url=url), clock=clock)) as client:
                yield County(url, client, connection, reports)
        finally:
            await connection.close()


@pytest_asyncio.fixture(scope="module")
async def filled(clone: Clone, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[tuple[County, Clock]]:
    """Two counties whose reports came, were late, waived, extended; the tests that share it change nothing."""
    clock = Clock()
    async with county(clone, clock, tmp_path_factory.mktemp("plans")) as ready:
        yield ready, clock


@pytest_asyncio.fixture
async def shared(filled: tuple[County, Clock]) -> County:
    ready, clock = filled
    clock.now = NOW
    return ready


@pytest_asyncio.fixture
async def own(clone: Clone) -> AsyncGenerator[County]:
    async with county(clone, Clock()) as ready:
        yield ready


def counted(row: dict[str, Any]) -> dict[str, int]:
    return {name: row[name] for name in COUNTED}


def by_key(answer: dict[str, Any]) -> dict[str, dict[str, int]]:
    found = {row["key"]: counted(row) for row in answer["items"]}
    assert len(found) == len(answer["items"])
    return found


def of_rule(rule: str, plan: str | None = None) -> Callable[[Any], bool]:
    return lambda row: row["rule"] == rule and plan in {None, row["plan"]}


# Every figure ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("now", INSTANTS, ids=str)
@pytest.mark.parametrize("rule", RULES)
async def test_the_present_is_the_same_from_counts_and_from_obligations(
    filled: tuple[County, Clock], rule: str, now: datetime, group: str
) -> None:
    shared, clock = filled
    clock.now = now
    live = await shared.asked(rule=rule, group_by=group, **SPAN)
    assert live == await shared.asked(rule=rule, group_by=group, as_of=now.isoformat(), **SPAN)
    assert by_key(live) == shared.figures(now, group, of_rule(rule))


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("as_of", PASTS, ids=str)
async def test_a_past_instant_has_the_figures_of_then(shared: County, as_of: datetime, group: str) -> None:
    answer = await shared.asked(group_by=group, as_of=as_of.isoformat(), **SPAN)
    assert by_key(answer) == shared.figures(as_of, group, of_rule("monthly-form"))
    assert datetime.fromisoformat(answer["as_of"]) == as_of


async def test_the_data_hold_every_kind_of_outcome(shared: County) -> None:
    total = (await shared.asked())["total"]
    assert min(total[name] for name in COUNTED) >= 5, total


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("rule", RULES)
async def test_the_groups_sum_to_the_obligations(shared: County, rule: str, group: str) -> None:
    answer = await shared.asked(rule=rule, plan=REAL, group_by=group)
    owed = [report for report in shared.reports if of_rule(rule, REAL)(report.row)]
    listed = await shared.client.get(
        "/api/v1/obligations", params={"rule": rule, "plan": REAL, "include_total": "true", "limit": "1"}
    )
    assert sum(row["expected"] for row in answer["items"]) == len(owed) == listed.json()["total"]
    for row in (*answer["items"], answer["total"]):
        assert row["expected"] == sum(row[name] for name in COUNTED if name != "expected")
    sums = {name: sum(row[name] for row in answer["items"]) for name in COUNTED}
    assert counted(answer["total"]) == sums
    assert (answer["total"]["key"], answer["total"]["name"]) == ("all", "合计")


@pytest.mark.parametrize("status", ["on_time", "late", "overdue", "missed", "waived"])
async def test_every_figure_is_a_number_of_listed_obligations(shared: County, status: str) -> None:
    answer = await shared.asked(plan=REAL, group_by="unit")
    for row in answer["items"][:4]:
        query = {"rule": "monthly-form", "unit": row["key"], "status": status, "include_total": "true"}
        listed = await shared.client.get("/api/v1/obligations", params=query)
        assert listed.json()["total"] == row[status]


@pytest.mark.parametrize("as_of", [None, NOW.isoformat()])
async def test_rates_come_with_what_they_are_made_of(shared: County, as_of: str | None) -> None:
    answer = await shared.asked(group_by="unit", **({"as_of": as_of} if as_of else {}))
    for row in (*answer["items"], answer["total"]):
        due = row["expected"] - row["waived"] - row["not_due"]
        for name, filed in (("timeliness", row["on_time"]), ("completeness", row["on_time"] + row["late"])):
            percent = (Decimal(100 * filed) / due).quantize(Decimal("0.01"), ROUND_HALF_UP) if due else None
            assert row[name] == {
                "numerator": filed,
                "denominator": due,
                "percent": None if percent is None else float(percent),
            }
    assert f"({answer['total']['on_time']}/" in answer["explanation"]


async def test_two_plans_are_summed_unless_one_is_named(shared: County) -> None:
    both = await shared.asked(group_by="region", **SPAN)
    assert [row["key"] for row in both["items"]] == [CODE[:6], REAL[:6]]
    for plan, row in zip((CODE, REAL), both["items"], strict=True):
        alone = await shared.asked(group_by="region", plan=plan)
        assert alone["items"] == [row]
        assert counted(alone["total"]) == counted(row)


@pytest.mark.parametrize("as_of", [{}, {"as_of": NOW.isoformat()}], ids=["now", "then"])
async def test_without_bounds_all_periods_of_all_plans_are_covered(shared: County, as_of: dict[str, str]) -> None:
    """The small plan begins a month before the real one."""
    assert await shared.asked(group_by="period", **as_of) == await shared.asked(group_by="period", **SPAN, **as_of)
    assert " 2023-03 至 2023-12 " in (await shared.asked(**as_of))["explanation"]
    assert " 2023-04 至 2023-12 " in (await shared.asked(plan=REAL, **as_of))["explanation"]
    assert " 2023-03 至 2023-12 " in (await shared.asked(plan=CODE, **as_of))["explanation"]


async def test_plans_of_different_frequencies_cannot_be_summed(own: County, tmp_path: Path) -> None:
    quarterly = Edit(
        "plan.yaml",
        "{frequency: month, due_day: 20, first_period: 2023-03, last_period: 2023-12}",
        "{frequency: quarter, obligor: task_reporter, first_period: 2023-Q1, last_period: 2023-Q4}",
    )
    engine = create_engine(own.url)
    await load_plan(engine, write_plan(tmp_path, quarterly), now=datetime(2023, 2, 10, tzinfo=SHANGHAI))
    await engine.dispose()
    answer = await own.client.get(COMPLIANCE, params={"rule": "monthly-form"})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/ambiguous")
    assert [one["plan"] for one in answer.json()["candidates"]] == [CODE, REAL]
    assert answer.json()["errors"][0]["pointer"] == "/query/plan"
    assert " 2023-Q1 至 2023-Q4 " in (await own.asked(plan=CODE))["explanation"]


async def test_a_rule_without_a_span_asks_for_one(own: County) -> None:
    await own.connection.execute(
        'UPDATE rule_versions SET schedule = schedule || \'{"first_period": null, "last_period": null}\''
    )
    answer = await own.client.get(COMPLIANCE, params={"rule": "monthly-form", "to": "2023-06"})
    assert answer.status_code == 422
    assert [(one["pointer"], one["code"]) for one in answer.json()["errors"]] == [("/query/from", "missing")]
    assert (await own.asked(**{"from": "2023-05", "to": "2023-05"}))["total"]["expected"] == 28


@pytest.mark.parametrize("group", GROUPS)
async def test_names_go_with_the_keys(shared: County, group: str) -> None:
    answer = await shared.asked(rule="work-bulletin-item", plan=REAL, group_by=group)
    names = {row["key"]: row["name"] for row in answer["items"]}
    one = {
        "unit": ("431228-jyj", "县教育局"),
        "battle": ("-", "不分仗"),
        "task": ("-", "不分任务"),
        "period": ("2023-04", "2023-04"),
        "region": ("431228", "芷江侗族自治县"),
    }[group]
    assert names[one[0]] == one[1]


# What nothing is due of ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("live", [True, False])
async def test_nothing_due_has_no_percentage(clone: Clone, *, live: bool) -> None:
    now = datetime(2023, 4, 20, 23, 59, 59, 999999, tzinfo=SHANGHAI)
    async with clone() as url, serving(create_app(Settings(database_url=url), clock=lambda: now)) as client:
        as_of = {} if live else {"as_of": now.isoformat()}
        answer = (await client.get(COMPLIANCE, params={"rule": "monthly-form", **as_of})).json()
        # A microsecond later everything of April is overdue, and the rates are nought of something.
        later = (
            await client.get(
                COMPLIANCE,
                params={"rule": "monthly-form", "group_by": "period", "as_of": (now + TICK).isoformat()},
            )
        ).json()
    for row in (*answer["items"], answer["total"]):
        assert (row["timeliness"], row["completeness"]) == (NONE_DUE, NONE_DUE)
        assert row["expected"] == row["not_due"]
    assert "尚无到期的应报" in answer["explanation"]
    april, may = later["items"][:2]
    assert april["timeliness"] == {"numerator": 0, "denominator": 28, "percent": 0}
    assert (april["overdue"], may["not_due"], may["timeliness"]) == (28, 28, NONE_DUE)


@pytest.mark.parametrize("group", ["unit", "period"])
async def test_a_group_that_owes_nothing_any_more_is_not_shown(own: County, group: str) -> None:
    column, value = {"unit": ("unit", "431228-jyj"), "period": ("period", "2023-12")}[group]
    gone = [one for one in own.reports if one.row[column] == value and one.row["rule"] == "monthly-form"]
    assert gone
    await own.connection.execute("DELETE FROM obligations WHERE id = ANY($1)", [one.row["id"] for one in gone])
    live, asked = await own.asked(group_by=group), await own.asked(group_by=group, as_of=NOW.isoformat())
    assert live == asked
    assert value not in by_key(live)


# From and to ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize(
    ("first", "last"),
    [("2023-04", "2023-04"), ("2023-05", "2023-08"), (None, "2023-06"), ("2023-11", None), ("2020-01", "2029-12")],
)
async def test_both_bounds_belong_to_the_span(
    shared: County, first: str | None, last: str | None, *, live: bool
) -> None:
    span = {name: code for name, code in (("from", first), ("to", last)) if code}
    as_of = {} if live else {"as_of": NOW.isoformat()}
    answer = await shared.asked(group_by="period", plan=REAL, **span, **as_of)
    whole = shared.figures(NOW, "period", of_rule("monthly-form", REAL))
    expected = {code: row for code, row in whole.items() if (first or "2023-04") <= code <= (last or "2023-12")}
    assert by_key(answer) == expected
    assert list(by_key(answer)) == sorted(expected)


async def test_a_span_without_obligations_is_empty(shared: County) -> None:
    answer = await shared.asked(**{"from": "2022-01", "to": "2022-12"})
    assert (answer["items"], counted(answer["total"])) == ([], dict.fromkeys(COUNTED, 0))
    assert answer["total"]["timeliness"] == NONE_DUE


@pytest.mark.parametrize(
    ("query", "slug", "pointer", "code"),
    [
        ({"rule": "no-such-rule"}, "unknown-reference", "/query/rule", "unknown_rule"),
        ({"plan": "999999-2023"}, "unknown-reference", "/query/rule", "unknown_rule"),
        ({"from": "2023-Q2"}, "invalid-request", "/query/from", "wrong_period"),
        ({"to": "2023"}, "invalid-request", "/query/to", "wrong_period"),
        ({"from": "2023-06", "to": "2023-05"}, "invalid-request", "/query/from", "wrong_order"),
        ({"from": "2024-01"}, "invalid-request", "/query/from", "wrong_order"),
        ({"from": "2023-13"}, "unknown-reference", "/query/from", "invalid_period"),
        ({"to": "2023-00"}, "unknown-reference", "/query/to", "invalid_period"),
        ({"from": "April"}, "invalid-request", "/query/from", "string_pattern_mismatch"),
        ({"group_by": "month"}, "invalid-request", "/query/group_by", "literal_error"),
        ({"sort": "overdue"}, "invalid-request", "/query/sort", "literal_error"),
        ({"as_of": "2023-06-01T00:00:00"}, "invalid-request", "/query/as_of", "value_error"),
        ({"since": "2023-04"}, "invalid-request", "/query/since", "extra_forbidden"),
        pytest.param(*({"from_": "2023-04"}, "invalid-request", "/query/from_", "extra_forbidden")),
    ],
)
async def test_a_wrong_question_is_refused(
    client: httpx.AsyncClient, query: dict[str, str], slug: str, pointer: str, code: str
) -> None:
    answer = await client.get(COMPLIANCE, params={"rule": "monthly-form", **query})
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = answer.json()
    (fault,) = problem["errors"]
    assert (problem["type"], fault["pointer"], fault["code"]) == (f"/problems/{slug}", pointer, code)


async def test_a_rule_must_be_named(client: httpx.AsyncClient) -> None:
    answer = await client.get(COMPLIANCE)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/query/rule"


# Order ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["key", "timeliness", "late", "missed"])
@pytest.mark.parametrize("group", ["unit", "battle", "task"])
async def test_groups_come_in_the_order_asked_for(shared: County, group: str, by: str) -> None:
    up = (await shared.asked(group_by=group, sort=by))["items"]
    down = (await shared.asked(group_by=group, sort=f"-{by}"))["items"]
    assert down == up[::-1]
    assert by_key({"items": up}).keys() == by_key(await shared.asked(group_by=group)).keys()

    def value(row: dict[str, Any]) -> tuple[Any, str]:
        if by == "timeliness":
            percent = row["timeliness"]["percent"]
            # What cannot be late yet does not stand among the worst.
            return (101 if percent is None else percent), row["key"]
        return ("" if by == "key" else row[by]), row["key"]

    assert up == sorted(up, key=value)


# The past stays ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", GROUPS)
async def test_what_happens_later_leaves_the_past_as_it_was(own: County, group: str) -> None:
    instants = [as_of for as_of in PASTS if as_of < NOW] + [NOW]
    before = [await own.asked(group_by=group, as_of=as_of.isoformat()) for as_of in instants]
    live = await own.asked(group_by=group)
    later = NOW + DAY
    for report in own.reports:
        if report.row["rule"] != "monthly-form":
            continue
        if report.filed_at is None:
            report.filed_at = later
        elif report.waived_at is None:
            report.waived_at = later
    await own.connection.execute("DELETE FROM extensions")
    await own.connection.execute("DELETE FROM waivers")
    await store(own.connection, own.reports)
    assert [await own.asked(group_by=group, as_of=as_of.isoformat()) for as_of in instants] == before
    after = await own.asked(group_by=group, as_of=later.isoformat())
    assert by_key(after) == own.figures(later, group, of_rule("monthly-form"))
    assert after["total"]["missed"] == 0 < live["total"]["missed"]
