"""Obligations: what the rules expect, what a later change leaves alone, and the counts that follow every row."""

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.clock import SHANGHAI
from app.db import create_engine
from app.domain.workdays import calendar_version
from app.services import obligations
from seed.loader import LoadReport, load_plan
from tests.conftest import Clone
from tests.seed.small_plan import CODE, Edit, edited, write_plan

REAL = "431228-2023"
BEFORE = datetime(2023, 2, 10, tzinfo=SHANGHAI)
JULY = datetime(2023, 7, 1, tzinfo=SHANGHAI)
MONTHS = [f"2023-{month:02}" for month in range(3, 13)]
PAST, AHEAD = MONTHS[:4], MONTHS[4:]

Row = dict[str, Any]
Rows = dict[tuple[str, str, str | None], Row]


def schedule(wanted: str) -> Edit:
    """The monthly form of the small plan with another schedule; as it stands there nobody owes it."""
    return Edit("plan.yaml", "{frequency: month, due_day: 20, first_period: 2023-03, last_period: 2023-12}", wanted)


def monthly(extra: str = "", *, due_day: int = 20, obligor: str = "task_reporter") -> Edit:
    periods = "first_period: 2023-03, last_period: 2023-12"
    return schedule(f"{{frequency: month, obligor: {obligor}, due_day: {due_day}, {periods}{extra}}}")


OWED = monthly()
ONE_MORE = Edit("battle-1.yaml", "- lead: [市农业农村局]", "- lead: [市农业农村局, 市财政局]")
ONE_LESS = Edit("battle-1.yaml", "- lead: [市交通运输局]", "- responsible: [市交通运输局]")


@pytest_asyncio.fixture
async def url(clone: Clone) -> AsyncGenerator[str]:
    async with clone() as made:
        yield made


@pytest_asyncio.fixture
async def engine(url: str) -> AsyncGenerator[AsyncEngine]:
    engine = create_engine(url)
    yield engine
    await engine.dispose()


@asynccontextmanager
async def connections(url: str, number: int) -> AsyncGenerator[list["asyncpg.Connection[asyncpg.Record]"]]:
    opened = [await asyncpg.connect(url) for _ in range(number)]
    try:
        yield opened
    finally:
        for connection in opened:
            await connection.close()


async def expected(engine: AsyncEngine, plan: str = CODE, rule: str = "monthly-form") -> Rows:
    """The obligations of one rule by unit, period and task, with the transaction that wrote each."""
    statement = text(
        "SELECT o.xmin::text AS written_by, o.*, u.code AS unit, t.code AS task FROM obligations o "
        "JOIN rules r ON r.id = o.rule_id JOIN plans p ON p.id = o.plan_id JOIN units u ON u.id = o.unit_id "
        "LEFT JOIN tasks t ON t.id = o.task_id WHERE p.code = :plan AND r.code = :rule"
    )
    async with engine.connect() as connection:
        found = (await connection.execute(statement, {"plan": plan, "rule": rule})).mappings().all()
    rows = {(row["unit"], row["period"], row["task"]): dict(row) for row in found}
    assert len(rows) == len(found)
    return rows


async def versions(engine: AsyncEngine, plan: str = CODE, rule: str = "monthly-form") -> list[tuple[int, date]]:
    statement = text(
        "SELECT v.version, v.effective_from FROM rule_versions v JOIN rules r ON r.id = v.rule_id "
        "JOIN plans p ON p.id = r.plan_id WHERE p.code = :plan AND r.code = :rule ORDER BY v.version"
    )
    async with engine.connect() as connection:
        found = await connection.execute(statement, {"plan": plan, "rule": rule})
        return [(row.version, row.effective_from) for row in found]


async def execute(engine: AsyncEngine, statement: str, **values: Any) -> int:
    async with engine.begin() as connection:
        return (await connection.execute(text(statement), values)).rowcount


RECOUNT = """
    SELECT unit_id, plan_id, battle_id, rule_id, period, period_start, effective_due_at, lock_at, count(*)::int,
           (count(*) FILTER (WHERE waived_at IS NOT NULL))::int,
           (count(*) FILTER (WHERE waived_at IS NULL AND filed_at <= effective_due_at))::int,
           (count(*) FILTER (WHERE waived_at IS NULL AND filed_at > effective_due_at))::int
    FROM obligations GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
"""
COUNTS = """
    SELECT unit_id, plan_id, battle_id, rule_id, period, period_start, due_at, lock_at, expected, waived, on_time, late
    FROM compliance_counts WHERE (expected, waived, on_time, late) <> (0, 0, 0, 0)
"""


async def assert_counted(engine: AsyncEngine) -> None:
    """The counts kept are those of a recount, row for row; a count may stay behind only at nought."""
    async with engine.connect() as connection:
        recounted = Counter(map(tuple, await connection.execute(text(RECOUNT))))
        kept = Counter(map(tuple, await connection.execute(text(COUNTS))))
    assert recounted
    assert kept == recounted


def due(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T23:59:59.999999+08:00")


def periods_of(rows: Rows, unit: str, task: str | None) -> list[str]:
    return sorted(period for owed, period, of in rows if (owed, of) == (unit, task))


async def loaded(engine: AsyncEngine, root: Path, *edits: Edit, now: datetime = BEFORE) -> LoadReport:
    report = await load_plan(engine, write_plan(root, *edits), now=now)
    await assert_counted(engine)
    return report


async def changed(
    engine: AsyncEngine, root: Path, *edits: Edit, now: datetime = JULY, first: Sequence[Edit] = (OWED,)
) -> tuple[Rows, Rows]:
    """Load the small plan at its beginning, then the edited one at ``now``; the obligations before and after."""
    await loaded(engine, root, *first)
    before = await expected(engine)
    await loaded(engine, root, *edits, now=now)
    return before, await expected(engine)


# What the real plan expects ------------------------------------------------------------------------------------------


async def test_the_real_plan_expects_819_reports(engine: AsyncEngine) -> None:
    forms = await expected(engine, REAL)
    items = await expected(engine, REAL, "work-bulletin-item")
    cases = await expected(engine, REAL, "experience-case")
    assert (len(forms), len(items), len(cases)) == (252, 324, 36)
    # Of five task forces 27 briefs, nine circulars and three summaries each; of the sixth nine and three.
    rules = ("dekad-brief", "monthly-circular", "quarterly-summary")
    of_six = ("livelihood-monthly-circular", "livelihood-quarterly-summary")
    assert [len(await expected(engine, REAL, rule)) for rule in (*rules, *of_six)] == [135, 45, 15, 9, 3]
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM obligations")) == 819
    await assert_counted(engine)


@pytest.mark.parametrize(
    ("rule", "period", "due_on", "lock_on"),
    [
        ("dekad-brief", "2023-04-D1", "2023-04-13", "2023-04-23"),
        ("dekad-brief", "2023-04-D3", "2023-05-03", "2023-05-13"),
        ("monthly-circular", "2023-12", "2024-01-05", "2024-02-05"),
        ("quarterly-summary", "2023-Q2", "2023-07-10", "2023-10-10"),
        ("livelihood-monthly-circular", "2023-08", "2023-09-05", "2023-10-05"),
    ],
)
async def test_task_forces_owe_their_bulletins_through_their_offices(
    engine: AsyncEngine, rule: str, period: str, due_on: str, lock_on: str
) -> None:
    rows = {unit: row for (unit, of, _), row in (await expected(engine, REAL, rule)).items() if of == period}
    offices = ["fgj", "kgxj", "yhb", "czj", "yjj"] if not rule.startswith("livelihood") else ["zfb"]
    async with engine.connect() as connection:
        found = await connection.execute(
            text(
                "SELECT b.id, u.code FROM task_forces f JOIN battles b ON b.id = f.battle_id "
                "JOIN units u ON u.id = f.office_unit_id"
            )
        )
        of_battle = {row.id: row.code for row in found}
    assert len(rows) == len(offices)
    assert all(of_battle[row["battle_id"]] == unit and row["task_id"] is None for unit, row in rows.items())
    assert {(row["due_at"], row["lock_at"]) for row in rows.values()} == {(due(due_on), due(lock_on))}


async def test_two_task_forces_with_one_office_owe_one_each(engine: AsyncEngine, tmp_path: Path) -> None:
    await loaded(engine, tmp_path, monthly(obligor="task_force"))
    statement = text(
        "SELECT u.code, count(*), count(DISTINCT o.battle_id) FROM obligations o JOIN units u ON u.id = o.unit_id "
        "JOIN plans p ON p.id = o.plan_id WHERE p.code = :plan GROUP BY u.code"
    )
    async with engine.begin() as connection:
        before = [tuple(row) for row in await connection.execute(statement, {"plan": CODE})]
        await connection.execute(
            text(
                "WITH ours AS (SELECT f.id, f.office_unit_id FROM task_forces f JOIN battles b ON b.id = f.battle_id "
                "JOIN plans p ON p.id = b.plan_id WHERE p.code = :plan) UPDATE task_forces "
                "SET office_unit_id = (SELECT min(office_unit_id) FROM ours) WHERE id IN (SELECT id FROM ours)"
            ),
            {"plan": CODE},
        )
        plan = await connection.scalar(text("SELECT id FROM plans WHERE code = :code"), {"code": CODE})
        await obligations.expand_obligations(connection, plan, now=BEFORE)
        after = [tuple(row) for row in await connection.execute(statement, {"plan": CODE})]
    assert sum(number for _, number, _ in before) == 20
    assert [(number, battles) for _, number, battles in after] == [(20, 2)]


async def test_the_monthly_form_is_owed_28_times_a_month_by_the_leads_of_battle_6(engine: AsyncEngine) -> None:
    forms = await expected(engine, REAL)
    months = Counter(period for _, period, _ in forms)
    assert months == {f"2023-{month:02}": 28 for month in range(4, 13)}
    by_task: dict[str, set[str]] = {}
    for unit, period, task in forms:
        if period == "2023-04":
            assert task is not None
            by_task.setdefault(task, set()).add(unit)
    assert len(by_task) == 22
    assert all(task.startswith(f"{REAL}-6-") for task in by_task)
    leads = text(
        "SELECT DISTINCT t.code, u.code FROM tasks t JOIN clauses c ON t.id = c.task_id OR t.task_group_id = "
        "c.task_group_id JOIN assignments a ON a.clause_id = c.id JOIN units u ON u.id = a.unit_id "
        "WHERE a.role = 'lead' AND u.kind <> 'collective' AND t.code LIKE '431228-2023-6-%'"
    )
    async with engine.connect() as connection:
        printed = {(task, unit) for task, unit in await connection.execute(leads)}
    with_leads = {task for task, _ in printed}
    assert {(task, unit) for task, units in by_task.items() for unit in units if task in with_leads} == printed
    # Several leads owe one report each; without a lead the first-named owes it alone.
    assert by_task[f"{REAL}-6-1-4"] == {"431228-fl", "431228-wsjkj"}
    assert len(by_task[f"{REAL}-6-1-10"]) == 5
    assert all(len(units) == 1 for task, units in by_task.items() if task not in with_leads)


@pytest.mark.parametrize("rule", ["work-bulletin-item", "experience-case"])
async def test_items_and_cases_are_owed_by_18_lead_units_and_18_townships(engine: AsyncEngine, rule: str) -> None:
    forms, owed = await expected(engine, REAL), await expected(engine, REAL, rule)
    async with engine.connect() as connection:
        found = await connection.scalars(
            text("SELECT code FROM units WHERE region_code = '431228' AND kind='township'")
        )
        townships = set(found)
    leads = {unit for unit, _, _ in forms}
    assert (len(leads), len(townships)) == (18, 18)
    assert all(row["task_id"] is None and row["battle_id"] is None for row in owed.values())
    for period in {period for _, period, _ in owed}:
        assert {unit for unit, of, _ in owed if of == period} == leads | townships


async def test_the_first_period_is_april_and_the_last_december(engine: AsyncEngine) -> None:
    wanted = [f"2023-{month:02}" for month in range(4, 13)]
    for rule, periods in (("monthly-form", wanted), ("work-bulletin-item", wanted), ("experience-case", ["2023"])):
        rows = await expected(engine, REAL, rule)
        assert sorted({period for _, period, _ in rows}) == periods


@pytest.mark.parametrize(
    ("rule", "period", "due_on", "lock_on"),
    [
        ("monthly-form", "2023-04", "2023-04-20", "2023-05-20"),
        ("monthly-form", "2023-12", "2023-12-20", "2024-01-20"),
        ("work-bulletin-item", "2023-04", "2023-04-30", "2023-05-31"),
        ("experience-case", "2023", "2023-12-31", "2024-12-31"),
    ],
)
async def test_a_report_is_due_to_the_microsecond_and_locked_when_the_next_is_due(
    engine: AsyncEngine, rule: str, period: str, due_on: str, lock_on: str
) -> None:
    rows = [row for (_, of, _), row in (await expected(engine, REAL, rule)).items() if of == period]
    assert rows
    assert {(row["due_at"], row["effective_due_at"], row["lock_at"]) for row in rows} == {
        (due(due_on), due(due_on), due(lock_on))
    }
    assert {(row["rule_version"], row["calendar_version"], row["provisional"]) for row in rows} == {
        (1, calendar_version(), False)
    }
    assert {row["submitted_at"] or row["filed_at"] or row["waived_at"] for row in rows} == {None}


async def test_every_lock_is_the_due_instant_of_the_next_period(engine: AsyncEngine) -> None:
    rows = await expected(engine, REAL)
    for (unit, period, task), row in rows.items():
        following = rows.get((unit, f"2023-{int(period[-2:]) + 1:02}", task))
        assert following is None or row["lock_at"] == following["due_at"]


@pytest.mark.parametrize("now", ["2023-01-01", "2023-04-20", "2023-07-01", "2024-06-01"])
async def test_expanding_again_writes_nothing(engine: AsyncEngine, plan_directory: Path, now: str) -> None:
    rules = ("monthly-form", "work-bulletin-item", "experience-case")
    before = [await expected(engine, REAL, rule) for rule in rules]
    instant = datetime.fromisoformat(now).replace(tzinfo=SHANGHAI)
    async with engine.begin() as connection:
        plan = await connection.scalar(text("SELECT id FROM plans WHERE code = :code"), {"code": REAL})
        assert await obligations.expand_obligations(connection, plan, now=instant) == 0
    report = await load_plan(engine, plan_directory, now=instant)
    assert not report.changed
    assert [await expected(engine, REAL, rule) for rule in rules] == before


async def test_the_small_plan_owes_what_its_brackets_say(engine: AsyncEngine, tmp_path: Path) -> None:
    report = await loaded(engine, tmp_path, OWED)
    assert report.obligations == 70
    rows = await expected(engine)
    assert {(unit, task) for unit, _, task in rows} == {
        ("430124-nyncj", f"{CODE}-1-1-1"),
        # The lead of its second clause, not the first responsible of the first.
        ("430124-swj", f"{CODE}-1-1-2"),
        # Its own lead and that of the heading.
        ("430124-jtysj", f"{CODE}-1-2-1"),
        ("430124-swj", f"{CODE}-1-2-1"),
        ("430124-swj", f"{CODE}-1-2-2"),
        ("430124-lyj", f"{CODE}-2-1-1"),
        ("430124-lyj", f"{CODE}-2-1-2"),
    }
    assert {period for _, period, _ in rows} == set(MONTHS)


async def test_a_rule_without_an_obligor_expects_nothing(engine: AsyncEngine, tmp_path: Path) -> None:
    assert (await loaded(engine, tmp_path)).obligations == 0
    assert await expected(engine) == {}


async def test_a_first_load_expects_what_is_past_already(engine: AsyncEngine, tmp_path: Path) -> None:
    assert (await loaded(engine, tmp_path, OWED, now=datetime(2024, 5, 1, tzinfo=SHANGHAI))).obligations == 70


# What a change of rule does ------------------------------------------------------------------------------------------


async def test_another_due_day_is_a_second_version_from_the_current_period_on(
    engine: AsyncEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await loaded(engine, tmp_path, OWED)
    before = await expected(engine)
    monkeypatch.setattr(obligations, "calendar_version", lambda: "chinesecalendar 99")
    report = await loaded(engine, tmp_path, monthly(due_day=25), now=JULY)
    assert report.obligations == 7 * len(AHEAD)
    assert await versions(engine) == [(1, date(2023, 1, 1)), (2, date(2023, 7, 1))]
    after = await expected(engine)
    assert after.keys() == before.keys()
    for key, row in after.items():
        _, period, _ = key
        if period in PAST:
            assert row == before[key]
            assert (row["due_at"], row["rule_version"]) == (due(f"{period}-20"), 1)
            assert row["calendar_version"] == calendar_version()
        else:
            following = "2024-01" if period == "2023-12" else f"2023-{int(period[-2:]) + 1:02}"
            assert row["due_at"] == row["effective_due_at"] == due(f"{period}-25")
            assert row["lock_at"] == due(f"{following}-25")
            assert (row["rule_version"], row["calendar_version"]) == (2, "chinesecalendar 99")
    again = await loaded(engine, tmp_path, monthly(due_day=25), now=JULY)
    assert not again.changed


async def test_the_real_plan_with_another_due_day(engine: AsyncEngine, tmp_path: Path, plan_directory: Path) -> None:
    copy = tmp_path / REAL
    shutil.copytree(plan_directory, copy)
    file = copy / "battle-6.yaml"
    file.write_text(edited(file.read_text(encoding="utf-8"), "due_day: 20", "due_day: 15"), encoding="utf-8")
    before = await expected(engine, REAL)
    report = await load_plan(engine, copy, now=JULY)
    after = await expected(engine, REAL)
    assert report.obligations == 28 * 6
    assert await versions(engine, REAL) == [(1, date(2023, 1, 1)), (2, date(2023, 7, 1))]
    for (unit, period, task), row in after.items():
        if period < "2023-07":
            assert row == before[unit, period, task]
        else:
            assert (row["due_at"], row["rule_version"]) == (due(f"{period}-15"), 2)
    await assert_counted(engine)


async def test_what_is_due_at_the_very_instant_is_past(engine: AsyncEngine, tmp_path: Path) -> None:
    before, after = await changed(engine, tmp_path, monthly(due_day=25), now=due("2023-07-20"))
    assert {p for (_, p, _), row in after.items() if row["rule_version"] == 1} == {*PAST, "2023-07"}
    assert all(row == before[key] for key, row in after.items() if row["rule_version"] == 1)


async def test_what_is_due_a_microsecond_later_follows(engine: AsyncEngine, tmp_path: Path) -> None:
    instant = due("2023-07-20") - timedelta(microseconds=1)
    _, after = await changed(engine, tmp_path, monthly(due_day=25), now=instant)
    assert {p for (_, p, _), row in after.items() if row["rule_version"] == 1} == set(PAST)


async def test_a_version_holds_from_the_period_that_is_written(engine: AsyncEngine, tmp_path: Path) -> None:
    before, after = await changed(engine, tmp_path, monthly(", effective_from: 2023-09", due_day=25))
    assert await versions(engine) == [(1, date(2023, 1, 1)), (2, date(2023, 9, 1))]
    for key, row in after.items():
        later = key[1] >= "2023-09"
        assert (row["due_at"], row["rule_version"]) == (due(f"{key[1]}-{25 if later else 20}"), 2 if later else 1)
        assert later or row == before[key]


async def test_a_version_written_for_the_past_leaves_what_was_due(engine: AsyncEngine, tmp_path: Path) -> None:
    before, after = await changed(engine, tmp_path, monthly(", effective_from: 2023-05", due_day=25))
    assert all(row == before[key] for key, row in after.items() if key[1] in PAST)
    assert {row["rule_version"] for key, row in after.items() if key[1] in AHEAD} == {2}


async def test_who_owes_follows_the_version_in_force(engine: AsyncEngine, tmp_path: Path) -> None:
    wider = monthly(", battles: [1, 2], effective_from: 2023-09")
    before, after = await changed(engine, tmp_path, wider, first=[monthly(", battles: [1]")])
    assert {task for _, _, task in before if task} == {task for _, _, task in after if task and "-2023-1-" in task}
    assert periods_of(after, "430124-lyj", f"{CODE}-2-1-1") == ["2023-09", "2023-10", "2023-11", "2023-12"]


async def test_a_rule_widened_to_another_battle_asks_for_nothing_that_is_past(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    before, after = await changed(engine, tmp_path, monthly(", battles: [1, 2]"), first=[monthly(", battles: [1]")])
    assert periods_of(after, "430124-lyj", f"{CODE}-2-1-1") == AHEAD
    assert all(after[key] == row for key, row in before.items() if key[1] in PAST)


async def test_a_rule_that_begins_earlier_asks_for_nothing_that_is_past(engine: AsyncEngine, tmp_path: Path) -> None:
    wanted = "{frequency: month, obligor: task_reporter, due_day: 20, first_period: 2023-02, last_period: 2023-12}"
    before, after = await changed(engine, tmp_path, schedule(wanted))
    assert after.keys() == before.keys()


async def test_a_rule_that_ends_earlier_asks_for_less(engine: AsyncEngine, tmp_path: Path) -> None:
    wanted = "{frequency: month, obligor: task_reporter, due_day: 20, first_period: 2023-03, last_period: 2023-09}"
    before, after = await changed(engine, tmp_path, schedule(wanted))
    assert after.keys() == {key for key in before if key[1] <= "2023-09"}


async def test_a_rule_that_asks_nobody_any_more_keeps_what_was_due(engine: AsyncEngine, tmp_path: Path) -> None:
    before, after = await changed(engine, tmp_path)
    assert after == {key: row for key, row in before.items() if key[1] in PAST}


async def test_units_instead_of_tasks(engine: AsyncEngine, tmp_path: Path) -> None:
    before, after = await changed(engine, tmp_path, monthly(obligor="lead_unit"))
    assert all(after[key] == row for key, row in before.items() if key[1] in PAST)
    units = {unit for unit, _, _ in before}
    assert {key for key in after if key[1] in AHEAD} == {(unit, period, None) for unit in units for period in AHEAD}


async def test_a_schedule_may_change_twice_in_one_period(engine: AsyncEngine, tmp_path: Path) -> None:
    await changed(engine, tmp_path, monthly(due_day=25))
    await loaded(engine, tmp_path, monthly(due_day=26), now=JULY + timedelta(days=3))
    rows = await expected(engine)
    assert {row["due_at"] for (_, period, _), row in rows.items() if period == "2023-07"} == {due("2023-07-26")}
    assert [version for version, _ in await versions(engine)] == [1, 2, 3]


async def test_a_yearly_rule_may_change_within_its_year(engine: AsyncEngine, tmp_path: Path) -> None:
    yearly = "{frequency: year, obligor: lead_unit, first_period: '2023', last_period: '2023'}"
    moved = yearly.replace("obligor", "due_day: 20, obligor")
    _, after = await changed(engine, tmp_path, schedule(moved), first=[schedule(yearly)])
    assert {row["due_at"] for row in after.values()} == {due("2023-12-20")}


async def test_an_extension_stays_when_the_due_day_moves(engine: AsyncEngine, tmp_path: Path) -> None:
    await loaded(engine, tmp_path, OWED)
    extended = due("2023-07-28")
    statement = "UPDATE obligations SET effective_due_at = :at WHERE period = '2023-07' AND unit_id IN "
    assert await execute(engine, statement + "(SELECT id FROM units WHERE code = '430124-jtysj')", at=extended) == 1
    await loaded(engine, tmp_path, monthly(due_day=25), now=JULY)
    rows = await expected(engine)
    row = rows["430124-jtysj", "2023-07", f"{CODE}-1-2-1"]
    assert (row["due_at"], row["effective_due_at"]) == (due("2023-07-25"), extended)


# What a change of units does -----------------------------------------------------------------------------------------


async def test_a_unit_added_to_a_bracket_owes_what_lies_ahead(engine: AsyncEngine, tmp_path: Path) -> None:
    before, after = await changed(engine, tmp_path, OWED, ONE_MORE)
    assert {key: after[key] for key in before} == before
    assert after.keys() - before.keys() == {("430124-czj", period, f"{CODE}-1-1-1") for period in AHEAD}
    assert not (await loaded(engine, tmp_path, OWED, ONE_MORE, now=JULY)).changed


async def test_a_unit_taken_out_loses_what_is_neither_due_nor_begun(engine: AsyncEngine, tmp_path: Path) -> None:
    await loaded(engine, tmp_path, OWED)
    begun = {
        "2023-08": "submitted_at = '2023-06-20T10:00+08'",
        "2023-09": "waived_at = '2023-06-20T10:00+08'",
        "2023-10": "submitted_at = '2023-06-20T10:00+08', filed_at = '2023-06-21T10:00+08'",
    }
    unit, task = "430124-jtysj", f"{CODE}-1-2-1"
    for period, facts in begun.items():
        of = "unit_id = (SELECT id FROM units WHERE code = :unit) AND period = :period"
        assert await execute(engine, f"UPDATE obligations SET {facts} WHERE {of}", unit=unit, period=period) == 1
    before = await expected(engine)
    await loaded(engine, tmp_path, OWED, ONE_LESS, now=JULY)
    after = await expected(engine)
    assert periods_of(after, unit, task) == [*PAST, *begun]
    assert after == {key: row for key, row in before.items() if key[0] != unit or key[1] in {*PAST, *begun}}
    assert not (await loaded(engine, tmp_path, OWED, ONE_LESS, now=JULY)).changed


async def test_a_unit_that_comes_back_owes_again(engine: AsyncEngine, tmp_path: Path) -> None:
    before, _ = await changed(engine, tmp_path, OWED, ONE_LESS)
    await loaded(engine, tmp_path, OWED, now=datetime(2023, 10, 1, tzinfo=SHANGHAI))
    after = await expected(engine)
    assert periods_of(after, "430124-jtysj", f"{CODE}-1-2-1") == [*PAST, "2023-10", "2023-11", "2023-12"]
    assert all(after[key] == row for key, row in before.items() if key in after and key[1] in PAST)


@pytest.mark.parametrize("edits", [(monthly(due_day=25),), (OWED, ONE_LESS), (monthly(due_day=25), ONE_LESS)])
async def test_what_is_filed_never_changes(engine: AsyncEngine, tmp_path: Path, edits: tuple[Edit, ...]) -> None:
    await loaded(engine, tmp_path, OWED)
    filed = (
        "UPDATE obligations SET submitted_at = :at, filed_at = :at WHERE period IN ('2023-04', '2023-07', '2023-11')"
    )
    assert await execute(engine, filed, at=datetime(2023, 6, 25, tzinfo=SHANGHAI)) > 0
    before = {key: row for key, row in (await expected(engine)).items() if row["filed_at"]}
    assert len(before) == 21
    await loaded(engine, tmp_path, *edits, now=JULY)
    after = await expected(engine)
    assert {key: after.get(key) for key in before} == before


async def test_a_county_does_not_touch_the_obligations_of_another(engine: AsyncEngine, tmp_path: Path) -> None:
    before = await expected(engine, REAL)
    await changed(engine, tmp_path, monthly(due_day=25), ONE_LESS)
    assert await expected(engine, REAL) == before


# The counts ----------------------------------------------------------------------------------------------------------

ONE = "id = (SELECT min(id) FROM obligations WHERE period = '2023-04')"


async def test_the_counts_follow_every_step_of_a_report(engine: AsyncEngine) -> None:
    steps = [
        f"UPDATE obligations SET submitted_at = '2023-04-18T10:00+08' WHERE {ONE}",
        f"UPDATE obligations SET filed_at = due_at WHERE {ONE}",
        f"UPDATE obligations SET filed_at = due_at + interval '1 microsecond' WHERE {ONE}",
        f"UPDATE obligations SET effective_due_at = '2023-04-25T23:59:59.999999+08' WHERE {ONE}",
        f"UPDATE obligations SET waived_at = '2023-04-26T10:00+08' WHERE {ONE}",
        f"UPDATE obligations SET waived_at = NULL, filed_at = NULL, submitted_at = NULL WHERE {ONE}",
        "UPDATE obligations SET submitted_at = due_at, filed_at = due_at + (id % 3) * interval '1 day'",
        "UPDATE obligations SET effective_due_at = due_at + interval '1 day' WHERE period = '2023-05' AND id % 2 = 0",
        "UPDATE obligations SET waived_at = due_at WHERE period = '2023-06' AND id % 5 = 0",
        "UPDATE obligations SET due_at = due_at - interval '1 day', lock_at = lock_at + interval '2 days'",
        "UPDATE obligations SET battle_id = NULL WHERE id % 7 = 0",
        "UPDATE obligations SET filed_at = due_at WHERE false",
        f"DELETE FROM obligations WHERE {ONE}",
        "DELETE FROM obligations WHERE id % 4 = 0",
        "DELETE FROM obligations WHERE period = '2023-12'",
    ]
    for step in steps:
        await execute(engine, step)
        await assert_counted(engine)


async def test_the_counts_follow_insert_in_bulk_and_the_deletion_of_a_plan(engine: AsyncEngine, tmp_path: Path) -> None:
    await loaded(engine, tmp_path, OWED)
    assert await execute(engine, "DELETE FROM plans WHERE code = :code", code=CODE) == 1
    await assert_counted(engine)
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT sum(expected) FROM compliance_counts")) == 819


async def test_a_transaction_rolled_back_leaves_no_count(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("UPDATE obligations SET submitted_at = due_at, filed_at = due_at"))
        await connection.rollback()
    await assert_counted(engine)


RSJ = ("431228-rsj", "2023-04")
BLOCKED = "SELECT cardinality(pg_blocking_pids($1)) > 0"


@pytest.mark.parametrize("outcome", ["COMMIT", "ROLLBACK"])
async def test_two_transactions_on_one_unit_and_period_are_both_counted(
    url: str, engine: AsyncEngine, outcome: str
) -> None:
    """The second waits for the first at their common count, and adds to what that leaves."""
    keys = [row["id"] for (unit, p, _), row in (await expected(engine, REAL)).items() if (unit, p) == RSJ]
    file_ = "UPDATE obligations SET submitted_at = due_at, filed_at = due_at WHERE id = $1"
    extend = "UPDATE obligations SET effective_due_at = due_at + interval '3 days' WHERE id = $1"
    for number, second_statement in enumerate((file_, extend)):
        async with connections(url, 3) as (first, second, watching):
            await first.execute("BEGIN")
            await second.execute("BEGIN")
            await first.execute(file_, keys[2 * number])
            waiting = asyncio.create_task(second.execute(second_statement, keys[1]))
            async with asyncio.timeout(10):
                while not await watching.fetchval(BLOCKED, second.get_server_pid()):
                    pass
            await first.execute(outcome)
            await waiting
            await second.execute("COMMIT")
        await assert_counted(engine)
    filed = [row["id"] for row in (await expected(engine, REAL)).values() if row["filed_at"]]
    assert sorted(filed) == sorted(keys if outcome == "COMMIT" else keys[1:2])


async def test_many_transactions_at_once_are_all_counted(url: str, engine: AsyncEngine) -> None:
    rows = (await expected(engine, REAL)).items()
    keys = [row["id"] for (unit, _, _), row in rows if unit in {"431228-rsj", "431228-jyj"}]
    assert len(keys) == 54
    statements = [
        "UPDATE obligations SET submitted_at = due_at, filed_at = due_at WHERE id = $1",
        "UPDATE obligations SET submitted_at = due_at, filed_at = due_at + interval '1 day' WHERE id = $1",
        "UPDATE obligations SET waived_at = due_at WHERE id = $1",
        # Extensions go forward only: the counts they leave and enter are then locked in one order by all.
        "UPDATE obligations SET effective_due_at = effective_due_at + interval '1 day' WHERE id = $1",
        "DELETE FROM obligations WHERE id = $1",
    ]

    async def work(connection: "asyncpg.Connection[asyncpg.Record]", seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(40):
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(chance.choices(statements, [6, 6, 4, 8, 1])[0], chance.choice(keys[:12]))
            await (transaction.rollback() if chance.random() < 0.2 else transaction.commit())

    async with connections(url, 6) as opened:
        await asyncio.gather(*(work(connection, seed) for seed, connection in enumerate(opened)))
    await assert_counted(engine)
