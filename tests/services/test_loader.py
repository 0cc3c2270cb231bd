"""The loader: what is equal stays untouched, what differs is changed and nothing else, several plans live together."""

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from app.clock import SHANGHAI
from app.db import create_engine
from app.main import create_app
from app.models import Base
from app.settings import Settings
from seed.loader import LoadReport, load_plan, plan_directories, seed_if_empty
from seed.reader import SeedError
from tests.conftest import Clone, serving
from tests.seed.small_plan import CODE, FILES, Edit, write_plan

NOW = datetime(2023, 4, 1, tzinfo=SHANGHAI)

REAL = "431228-2023"
UNCHANGED = (0, 0, 0)
NEXT_YEAR = Edit("plan.yaml", "year: 2023", "year: 2024")
ANOTHER_DELIVERABLE = Edit("battle-2.yaml", "deliverables: 一本古树账", "deliverables: 一本古树账和一张图")
Rows = dict[str, dict[Any, dict[str, Any]]]


@pytest_asyncio.fixture
async def url(clone: Clone) -> AsyncGenerator[str]:
    """A database of this test alone that holds the real plan."""
    async with clone() as made:
        yield made


@pytest_asyncio.fixture
async def engine(url: str) -> AsyncGenerator[AsyncEngine]:
    engine = create_engine(url)
    yield engine
    await engine.dispose()


@asynccontextmanager
async def client_on(url: str) -> AsyncGenerator[httpx.AsyncClient]:
    async with serving(create_app(Settings(database_url=url))) as client:
        yield client


def counts(report: LoadReport) -> tuple[int, int, int]:
    return report.inserted, report.updated, report.deleted


async def rows(engine: AsyncEngine) -> Rows:
    """Every row of every table by its key, with the transaction that wrote it."""
    found: Rows = {}
    async with engine.connect() as connection:
        for name, table in Base.metadata.tables.items():
            result = await connection.execute(text(f"SELECT xmin::text AS written_by, * FROM {name}"))
            key = next(iter(table.primary_key.columns)).name
            found[name] = {row[key]: dict(row) for row in result.mappings()}
    return found


# One more entry of the audit trail, and where its chain ends; rows are told apart by the first column of their key.
RECORDED = {"audit_entries": (0, 1, 0), "audit_heads": (0, 1, 0)}


def written(before: Rows, after: Rows) -> dict[str, tuple[int, int, int]]:
    """How many rows of each table are new, rewritten, gone; tables without any are left out."""
    found = {
        name: (
            len(after[name].keys() - before[name].keys()),
            sum(after[name][key] != row for key, row in before[name].items() if key in after[name]),
            len(before[name].keys() - after[name].keys()),
        )
        for name in before
    }
    return {name: change for name, change in found.items() if change != UNCHANGED}


def renewed(before: Rows, after: Rows) -> list[str]:
    """The tasks that have another version than before."""
    old = {task["code"]: task["version"] for task in before["tasks"].values()}
    return sorted(t["code"] for t in after["tasks"].values() if t["code"] in old and t["version"] != old[t["code"]])


async def change(engine: AsyncEngine, root: Path, *edits: Edit) -> tuple[LoadReport, Rows, Rows]:
    """Load the small plan, then the edited one; what the second load did."""
    await load_plan(engine, write_plan(root), now=NOW)
    before = await rows(engine)
    report = await load_plan(engine, write_plan(root, *edits), now=NOW)
    return report, before, await rows(engine)


async def test_loading_the_real_plan_again_writes_nothing(engine: AsyncEngine, plan_directory: Path) -> None:
    before = await rows(engine)
    report = await load_plan(engine, plan_directory, now=NOW)
    assert (report.plan, report.changed, counts(report)) == (REAL, False, UNCHANGED)
    assert await rows(engine) == before


async def test_loading_a_plan_twice_writes_nothing_the_second_time(engine: AsyncEngine, tmp_path: Path) -> None:
    directory = write_plan(tmp_path)
    first = await load_plan(engine, directory, now=NOW)
    assert (first.plan, first.changed, first.updated, first.deleted) == (CODE, True, 0, 0)
    before = await rows(engine)
    assert counts(await load_plan(engine, directory, now=NOW)) == UNCHANGED
    assert await rows(engine) == before


async def test_a_plan_is_loaded_as_written(engine: AsyncEngine, tmp_path: Path) -> None:
    await load_plan(engine, write_plan(tmp_path), now=NOW)
    async with engine.connect() as connection:
        value, due_on, due_printed = (
            await connection.execute(
                text("SELECT value, due_on::text, due_printed FROM targets WHERE code = '430124-2023-T1'")
            )
        ).one()
        assert (str(value), due_on, due_printed) == ("7.5", "2023-12-31", False)
        printed = text("SELECT due_on::text, due_printed FROM targets WHERE code = '430124-2023-1-1-2-T1'")
        assert (await connection.execute(printed)).one() == ("2023-06-30", True)
        parameters = text("SELECT parameters FROM rules WHERE code = 'monthly-form' AND sort_key LIKE '430124%'")
        assert await connection.scalar(parameters) == {
            "missed-before-talk": 2,
            "weight": 0.25,
            "public": False,
            "form": "样式另发",
        }


async def test_another_deliverable_changes_one_task_and_renews_its_version_alone(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    report, before, after = await change(engine, tmp_path, ANOTHER_DELIVERABLE)
    assert counts(report) == (0, 3, 0)
    assert renewed(before, after) == [f"{CODE}-2-1-1"]
    # Beside the task itself: the digest that the plan keeps of its files, and the text that the search looks in.
    assert written(before, after) == {"tasks": (0, 1, 0), "plans": (0, 1, 0), "search_entries": (1, 0, 1), **RECORDED}


async def test_a_comment_in_a_file_changes_the_digest_alone(engine: AsyncEngine, tmp_path: Path) -> None:
    report, before, after = await change(engine, tmp_path, Edit("units.yaml", "units:\n", "# 单位\nunits:\n"))
    assert counts(report) == (0, 1, 0)
    assert written(before, after) == {"plans": (0, 1, 0), **RECORDED}
    assert renewed(before, after) == []


async def test_a_removed_task_takes_its_clauses_assignments_and_targets_along(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    task = (
        "      - number: 1\n        title: 新建"
        + FILES["battle-1.yaml"].partition("title: 新建")[2].partition("      - number: 2\n")[0]
    )
    report, before, after = await change(engine, tmp_path, Edit("battle-1.yaml", task, ""))
    gone = {name: change[2] for name, change in written(before, after).items() if change[2]}
    # The search forgets the task and its target, and keeps a new text of no other.
    assert gone == {"tasks": 1, "clauses": 1, "assignments": 3, "targets": 1, "search_entries": 2}
    assert renewed(before, after) == []
    assert report.updated == 1
    assert report.inserted == 0
    codes = {row["code"] for name in ("tasks", "clauses", "targets") for row in after[name].values()}
    assert not any(code.startswith(f"{CODE}-1-1-1") for code in codes)
    assert f"{CODE}-1-1-2" in codes


async def test_a_removed_battle_takes_everything_of_its_own_along(engine: AsyncEngine, tmp_path: Path) -> None:
    directory = write_plan(tmp_path)
    untouched = await rows(engine)
    await load_plan(engine, directory, now=NOW)
    (directory / "battle-1.yaml").unlink()
    await load_plan(engine, directory, now=NOW)
    after = await rows(engine)
    left = {name: len(after[name]) - len(untouched[name]) for name in ("battles", "task_groups", "tasks", "anomalies")}
    assert left == {"battles": 1, "task_groups": 1, "tasks": 2, "anomalies": 1}


async def test_units_of_a_bracket_may_change_places(engine: AsyncEngine, tmp_path: Path) -> None:
    edit = Edit(
        "battle-1.yaml",
        "lead: [市农业农村局]\n            responsible: [市财政局, 市自然资源局]",
        "lead: [市自然资源局]\n            responsible: [市农业农村局, 市财政局]",
    )
    report, before, after = await change(engine, tmp_path, edit)
    assert renewed(before, after) == [f"{CODE}-1-1-1"]
    assert written(before, after)["assignments"] == (3, 0, 3)
    assert (report.inserted, report.deleted) == (0, 0)
    again = await load_plan(engine, write_plan(tmp_path, edit), now=NOW)
    assert counts(again) == UNCHANGED


async def test_another_unit_in_a_heading_renews_every_task_of_the_group(engine: AsyncEngine, tmp_path: Path) -> None:
    edit = Edit("battle-1.yaml", "bracket: {lead: [市商务局]}", "bracket: {lead: [市商务局, 市财政局]}")
    _, before, after = await change(engine, tmp_path, edit)
    assert renewed(before, after) == [f"{CODE}-1-2-1", f"{CODE}-1-2-2"]


async def test_another_name_of_a_unit_renews_the_tasks_that_show_it(engine: AsyncEngine, tmp_path: Path) -> None:
    edit = Edit("units.yaml", "name: 市林业局,", "name: 市林业和园林局, aliases: [市林业局],")
    _, before, after = await change(engine, tmp_path, edit)
    assert renewed(before, after) == [f"{CODE}-2-1-1", f"{CODE}-2-1-2"]


async def test_another_name_of_an_indicator_renews_the_tasks_that_show_it(engine: AsyncEngine, tmp_path: Path) -> None:
    edit = Edit("battle-1.yaml", "name: 花卉大棚,", "name: 花卉大棚数,")
    _, before, after = await change(engine, tmp_path, edit)
    assert renewed(before, after) == [f"{CODE}-1-1-1"]


async def test_a_name_may_pass_to_another_unit(engine: AsyncEngine, tmp_path: Path) -> None:
    edits = (
        Edit("units.yaml", ", aliases: [市发展和改革局, 县发改局]}", ", aliases: [市发展和改革局]}"),
        Edit(
            "units.yaml",
            "name: 市财政局, kind: county_bureau}",
            "name: 市财政局, kind: county_bureau, aliases: [县发改局]}",
        ),
    )
    await change(engine, tmp_path, *edits)
    async with engine.connect() as connection:
        statement = text(
            "SELECT u.code FROM unit_aliases a JOIN units u ON u.id = a.unit_id "
            "WHERE a.name = '县发改局' AND a.region_code = '430124'"
        )
        assert await connection.scalar(statement) == "430124-czj"


async def test_a_rule_or_a_target_may_come_between_others(engine: AsyncEngine, tmp_path: Path) -> None:
    rule = "  - {code: first, name: 先行, kind: ledger, locator: 总体方案/二/(一), summary: 先列清单}\n"
    target = "  - {indicator: grower-satisfaction, qualitative: achieve, text: 有起色, locator: 总体方案/一/(一)}\n"
    edits = (
        Edit("plan.yaml", "rules:\n", f"rules:\n{rule}"),
        Edit("plan.yaml", "\ntargets:\n", f"\ntargets:\n{target}"),
    )
    await change(engine, tmp_path, *edits)
    async with engine.connect() as connection:
        rules = text("SELECT code FROM rules WHERE sort_key LIKE '430124%' ORDER BY sort_key")
        assert (await connection.scalars(rules)).all() == ["first", "monthly-form", "talk"]
        targets = text("SELECT text FROM targets WHERE code LIKE '430124-2023-T%' ORDER BY sort_key")
        assert (await connection.scalars(targets)).all()[:2] == ["有起色", "花卉产值增长7.5%以上"]
    back = await load_plan(engine, write_plan(tmp_path), now=NOW)
    assert back.deleted > 0
    assert counts(await load_plan(engine, write_plan(tmp_path), now=NOW)) == UNCHANGED


async def test_a_second_county_does_not_touch_the_first(engine: AsyncEngine, tmp_path: Path) -> None:
    before = await rows(engine)
    await load_plan(engine, write_plan(tmp_path), now=NOW)
    after = await rows(engine)
    assert all(rewritten == gone == 0 for _, rewritten, gone in written(before, after).values())


async def test_a_second_county_is_served_beside_the_first(url: str, engine: AsyncEngine, tmp_path: Path) -> None:
    await load_plan(engine, write_plan(tmp_path), now=NOW)
    async with client_on(url) as client:
        plans = (await client.get("/api/v1/plans")).json()["items"]
        assert [plan["code"] for plan in plans] == [CODE, REAL]
        assert [plan["counts"]["tasks"] for plan in plans] == [6, 163]
        tasks = (await client.get("/api/v1/tasks", params={"plan": CODE})).json()["items"]
        assert [task["code"].removeprefix(CODE) for task in tasks] == [
            "-1-1-1",
            "-1-1-2",
            "-1-2-1",
            "-1-2-2",
            "-2-1-1",
            "-2-1-2",
        ]


async def test_a_name_in_two_regions_is_ambiguous_until_the_plan_is_given(
    url: str, engine: AsyncEngine, tmp_path: Path
) -> None:
    async with client_on(url) as client:
        assert (await client.get("/api/v1/tasks", params={"unit": "各乡镇"})).status_code == 200
        await load_plan(engine, write_plan(tmp_path), now=NOW)
        for name, units in (("各乡镇", ["430124-gxz", "431228-gxz"]), ("县发改局", ["430124-fgj", "431228-fgj"])):
            answer = await client.get("/api/v1/tasks", params={"unit": name})
            assert answer.status_code == 422
            assert answer.json()["type"] == "/problems/ambiguous"
            assert [candidate["unit"] for candidate in answer.json()["candidates"]] == units
            assert answer.json()["errors"][0]["pointer"] == "/query/unit"
        narrowed = await client.get("/api/v1/tasks", params={"unit": "各乡镇", "plan": CODE})
        assert [task["code"] for task in narrowed.json()["items"]] == [f"{CODE}-2-1-1", f"{CODE}-2-1-2"]
        other = await client.get("/api/v1/tasks", params={"unit": "各乡镇", "plan": REAL})
        assert {task["plan"] for task in other.json()["items"]} == {REAL}
        by_code = await client.get("/api/v1/tasks", params={"unit": "430124-gxz"})
        assert by_code.json() == narrowed.json()


async def test_a_rule_of_two_plans_is_ambiguous_until_the_plan_is_given(
    url: str, engine: AsyncEngine, tmp_path: Path
) -> None:
    async with client_on(url) as client:
        assert (await client.get("/api/v1/rules/monthly-form")).json()["plan"] == REAL
        await load_plan(engine, write_plan(tmp_path), now=NOW)
        answer = await client.get("/api/v1/rules/monthly-form")
        assert answer.status_code == 422
        assert [candidate["plan"] for candidate in answer.json()["candidates"]] == [CODE, REAL]
        rule = (await client.get("/api/v1/rules/monthly-form", params={"plan": CODE})).json()
        assert (rule["plan"], rule["schedule"]["due_day"], rule["parameters"]["weight"]) == (CODE, 20, 0.25)
        assert [unit["unit"] for unit in rule["receivers"]] == ["430124-fgj"]
        assert rule["certifier"]["unit"] == "430124-lyj"


async def test_thresholds_of_lights_and_of_jumps_are_data_of_the_plan(
    url: str, engine: AsyncEngine, tmp_path: Path
) -> None:
    async def shown(client: httpx.AsyncClient, plan: str) -> tuple[Any, Any]:
        rule = (await client.get("/api/v1/rules/monthly-form", params={"plan": plan})).json()
        return (await client.get(f"/api/v1/plans/{plan}")).json()["lights"], rule["schedule"]["jump_points"]

    stated = ({"ahead_points": 10, "behind_points": 30}, 40)
    own = (
        Edit("plan.yaml", "objective: 让花更香、树更老", "objective: 让花更香、树更老\nlights: {ahead_points: 7.5}"),
        Edit("plan.yaml", "due_day: 20, first", "due_day: 20, jump_points: 12.25, first"),
    )
    async with client_on(url) as client:
        await load_plan(engine, write_plan(tmp_path), now=NOW)
        assert await shown(client, REAL) == await shown(client, CODE) == stated
        assert (await load_plan(engine, write_plan(tmp_path, *own), now=NOW)).changed
        assert await shown(client, CODE) == ({"ahead_points": 7.5, "behind_points": 30}, 12.25)
        assert counts(await load_plan(engine, write_plan(tmp_path, *own), now=NOW)) == UNCHANGED
        assert await shown(client, REAL) == stated


@pytest.mark.parametrize(
    "given", ["{ahead_points: -1}", "{behind_points: 100.5}", "{behind_points: 1.005}", "{red: 1}"]
)
async def test_thresholds_without_sense_are_refused(engine: AsyncEngine, tmp_path: Path, given: str) -> None:
    wrong = Edit("plan.yaml", "objective: 让花更香、树更老", f"objective: 让花更香、树更老\nlights: {given}")
    with pytest.raises(SeedError, match="lights"):
        await load_plan(engine, write_plan(tmp_path, wrong), now=NOW)


async def test_a_wrong_file_leaves_the_database_untouched(engine: AsyncEngine, tmp_path: Path) -> None:
    await load_plan(engine, write_plan(tmp_path), now=NOW)
    before = await rows(engine)
    wrong = write_plan(tmp_path, ANOTHER_DELIVERABLE, Edit("battle-1.yaml", "[市财政局, 市自然资源局]", "[市国土局]"))
    with pytest.raises(SeedError, match="市国土局"):
        await load_plan(engine, wrong, now=NOW)
    assert await rows(engine) == before


async def test_a_load_that_the_database_refuses_half_way_leaves_it_untouched(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    await load_plan(engine, write_plan(tmp_path), now=NOW)
    before = await rows(engine)
    async with engine.begin() as connection:
        # The search is written last: everything else has been written by then.
        await connection.execute(
            text("ALTER TABLE search_entries ADD CONSTRAINT refused CHECK (title <> '新题') NOT VALID")
        )
    changed = write_plan(tmp_path, ANOTHER_DELIVERABLE, Edit("battle-1.yaml", "title: 拓宽销售渠道", "title: 新题"))
    with pytest.raises(DBAPIError):
        await load_plan(engine, changed, now=NOW)
    assert await rows(engine) == before


async def test_two_loads_at_once_write_once(url: str, tmp_path: Path) -> None:
    directory = write_plan(tmp_path)
    engines = [create_engine(url) for _ in range(2)]
    try:
        reports = await asyncio.gather(*(load_plan(engine, directory, now=NOW) for engine in engines))
        assert sorted(report.changed for report in reports) == [False, True]
        assert counts(await load_plan(engines[0], directory, now=NOW)) == UNCHANGED
    finally:
        for engine in engines:
            await engine.dispose()


async def test_two_different_loads_at_once_both_succeed_and_the_later_stands(url: str, tmp_path: Path) -> None:
    directories = [write_plan(tmp_path / "a"), write_plan(tmp_path / "b", ANOTHER_DELIVERABLE, NEXT_YEAR)]
    engines = [create_engine(url) for _ in directories]
    try:
        await asyncio.gather(*map(partial(load_plan, now=NOW), engines, directories))
        again = [await load_plan(engines[0], directory, now=NOW) for directory in directories]
        assert [counts(report) for report in again] == [UNCHANGED, UNCHANGED]
    finally:
        for engine in engines:
            await engine.dispose()


async def test_two_first_starts_at_once_seed_once(clone: Clone) -> None:
    async with clone(seeded=False) as url:
        engines = [create_engine(url) for _ in range(2)]
        try:
            await migrations.upgrade(engines[0])
            reports = await asyncio.gather(*map(partial(seed_if_empty, now=NOW), engines))
            assert sum(report.changed for found in reports for report in found) == len(plan_directories())
            assert await seed_if_empty(engines[0], now=NOW) == []
        finally:
            for engine in engines:
                await engine.dispose()


async def test_a_second_year_of_a_region_shares_its_units_and_indicators(
    url: str, engine: AsyncEngine, tmp_path: Path
) -> None:
    await load_plan(engine, write_plan(tmp_path), now=NOW)
    before = await rows(engine)
    report = await load_plan(engine, write_plan(tmp_path, NEXT_YEAR), now=NOW)
    after = await rows(engine)
    assert (report.plan, report.updated, report.deleted) == ("430124-2024", 0, 0)
    added = written(before, after)
    assert {"regions", "units", "unit_aliases", "indicators"}.isdisjoint(added)
    assert added["plans"] == (1, 0, 0)
    assert added["tasks"] == (6, 0, 0)
    assert renewed(before, after) == []
    assert counts(await load_plan(engine, write_plan(tmp_path), now=NOW)) == UNCHANGED
    async with client_on(url) as client:
        found = (await client.get("/api/v1/tasks", params={"unit": "430124-lyj"})).json()["items"]
        assert [task["plan"] for task in found] == [CODE, CODE, "430124-2024", "430124-2024"]


async def test_a_unit_that_the_second_year_does_not_name_stays_findable(
    url: str, engine: AsyncEngine, tmp_path: Path
) -> None:
    await load_plan(engine, write_plan(tmp_path), now=NOW)
    unit = "  - {abbreviation: zrzyj, name: 市自然资源局, kind: county_bureau}\n"
    edits = (NEXT_YEAR, Edit("units.yaml", unit, ""), Edit("battle-1.yaml", "[市财政局, 市自然资源局]", "[市财政局]"))
    await load_plan(engine, write_plan(tmp_path, *edits), now=NOW)
    async with client_on(url) as client:
        found = (await client.get("/api/v1/units", params={"q": "市自然资源局"})).json()["items"]
        assert [unit["code"] for unit in found] == ["430124-zrzyj"]
    assert counts(await load_plan(engine, write_plan(tmp_path), now=NOW)) == UNCHANGED


async def test_a_name_that_the_second_year_does_not_print_stays_findable(
    url: str, engine: AsyncEngine, tmp_path: Path
) -> None:
    await load_plan(engine, write_plan(tmp_path), now=NOW)
    without = Edit("units.yaml", ", aliases: [市发展和改革局, 县发改局]", "")
    await load_plan(engine, write_plan(tmp_path, NEXT_YEAR, without), now=NOW)
    async with client_on(url) as client:
        assert (await client.get("/api/v1/units/430124-fgj")).json()["aliases"] == ["县发改局", "市发展和改革局"]
        found = (await client.get("/api/v1/units", params={"q": "市发展和改革局"})).json()["items"]
        assert [unit["code"] for unit in found] == ["430124-fgj"]
    assert counts(await load_plan(engine, write_plan(tmp_path), now=NOW)) == UNCHANGED


async def test_a_task_whose_reports_were_due_cannot_be_taken_out(
    engine: AsyncEngine, plan_directory: Path, tmp_path: Path
) -> None:
    copy = tmp_path / plan_directory.name
    shutil.copytree(plan_directory, copy)
    battle = copy / "battle-6.yaml"
    content = battle.read_text(encoding="utf-8")
    start = content.index("      - number: 8\n        title: 创建省市级园林式居住区")
    battle.write_text(content[:start] + content[content.index("\nrules:", start) :], encoding="utf-8")
    due = datetime(2023, 4, 21, tzinfo=SHANGHAI)
    with pytest.raises(SeedError, match="431228-2023-6-3-8 已有到期"):
        await load_plan(engine, copy, now=due)
    before = datetime(2023, 4, 20, tzinfo=SHANGHAI)
    report = await load_plan(engine, copy, now=before)
    assert report.deleted > 0
    async with engine.connect() as connection:
        left = await connection.scalar(text("SELECT count(*) FROM tasks WHERE code = '431228-2023-6-3-8'"))
    assert left == 0
