"""The demonstration: the same every time, refused where there are reports, and every query shows something."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from app.db import Database, open_read_pool, open_write_pool
from app.fragments import FragmentCache
from app.main import create_app
from app.services.reader import Reader
from app.settings import Settings
from seed.demo import DemoError, DemoReport, fill_demo
from tests.api.test_assessments import assert_by_hand, assert_counts_agree
from tests.conftest import Clone, serving

THEN = "2023-05-21T00:00:00+08:00"


async def fill(url: str) -> DemoReport:
    async with open_read_pool(url, size=1) as reads, open_write_pool(url, size=1) as writes:
        return await fill_demo(Database(writes), Reader(Database(reads), FragmentCache(0)))


@asynccontextmanager
async def filled(clone: Clone) -> AsyncGenerator[tuple[httpx.AsyncClient, DemoReport, str]]:
    async with clone() as url:
        report = await fill(url)
        async with serving(create_app(Settings(database_url=url))) as client:
            yield client, report, url


async def test_the_demonstration_shows_every_course_and_is_refused_a_second_time(clone: Clone) -> None:
    async with filled(clone) as (client, report, url):
        assert report.submissions > 100
        assert report.corrected > 5
        assert report.materials > 200
        assert min(report.extended, report.waived, report.scheduled) > 0
        with pytest.raises(DemoError, match="已有报送"):
            await fill(url)

        query = {"rule": "monthly-form", "from": "2023-04", "to": "2023-09", "group_by": "unit"}
        compliance = (await client.get("/api/v1/compliance", params=query)).json()
        owed = {"rule": "monthly-form", "include_total": "true", "limit": "1"}
        months = [
            (await client.get("/api/v1/obligations", params={**owed, "period": f"2023-0{month}"})).json()["total"]
            for month in range(4, 10)
        ]
        assert sum(row["expected"] for row in compliance["items"]) == sum(months) == 168
        total = compliance["total"]
        assert min(total["on_time"], total["late"], total["missed"], total["waived"]) > 0

        listed = {"rule": "monthly-form", "limit": "500", "as_of": THEN}
        overdue = (await client.get("/api/v1/obligations", params={**listed, "status": "overdue"})).json()["items"]
        may = (await client.get("/api/v1/obligations", params={**listed, "period": "2023-05"})).json()["items"]
        unfiled = {(item["unit"]["unit"], item["task"]) for item in may if item["filed_at"] is None}
        assert {(item["unit"]["unit"], item["task"]) for item in overdue if item["period"] == "2023-05"} == unfiled
        stages = {item["late_stage"] for item in may if item["late_stage"]}
        assert stages == {"unit", "certification"}


async def test_the_demonstration_shows_every_light_and_figures(clone: Clone) -> None:
    async with filled(clone) as (client, report, _):
        whole = (await client.get("/api/v1/plans/431228-2023/progress")).json()
        assert whole["targets_reached"] > 0
        seen = {
            light
            for month in range(5, 11)
            for light, count in (
                await client.get(
                    "/api/v1/battles/431228-2023-6/progress", params={"as_of": f"2023-{month:02}-01T00:00:00+08:00"}
                )
            )
            .json()["lights"]
            .items()
            if count
        }
        assert seen == {"completed", "ahead", "on_track", "behind", "far_behind"}
        extensions = (await client.get("/api/v1/extensions", params={"limit": "500"})).json()["items"]
        assert len(extensions) == report.extended
        page = (await client.get("/api/v1/submissions", params={"limit": "500"})).json()["items"]
        assert any(item["observations"] for item in page)
        assert any(item["warnings"] for item in page)


async def test_the_demonstration_is_the_same_every_time(clone: Clone) -> None:
    async def seen() -> tuple[DemoReport, list[object]]:
        async with filled(clone) as (client, report, _):
            page = await client.get(
                "/api/v1/obligations", params={"limit": "500", "as_of": "2023-10-01T00:00:00+08:00"}
            )
            return report, page.json()["items"]

    assert await seen() == await seen()


async def test_the_demonstration_has_bulletins_on_time_late_and_as_a_draft(clone: Clone) -> None:
    async with filled(clone) as (client, report, _):
        page = (await client.get("/api/v1/bulletins", params={"limit": "500"})).json()["items"]
        assert len(page) == report.bulletins == 7
        assert {item["kind"] for item in page} == {"dekad_brief", "monthly_circular", "quarterly_summary"}
        assert [item["number"] for item in page if item["battle"] == "431228-2023-6"] == [1, 2, 3, 4, None]
        assert {item["filed"] for item in page if item["state"] == "issued"} == {1}
        query = {"rule": "livelihood-monthly-circular", "as_of": "2023-10-01T00:00:00+08:00"}
        owed = (await client.get("/api/v1/obligations", params=query)).json()["items"]
        assert [item["status"] for item in owed[:6]] == ["missed", "on_time", "late", "on_time", "on_time", "due_soon"]


async def test_the_demonstration_has_a_ledger_of_all_kinds_and_orders_on_what_lags(clone: Clone) -> None:
    async with filled(clone) as (client, report, _):
        cases = (await client.get("/api/v1/cases?limit=500")).json()["items"]
        assert len(cases) == report.cases > 10
        states = {(case["kind"], case["state"], case["level"]) for case in cases}
        assert states == {
            *(("major_hazard", "closed", 0), ("major_hazard", "working", 2), ("inspection_finding", "assigned", 0)),
            *(("enterprise_problem", "closed", 0), ("enterprise_problem", "returned", 0)),
            *(("risk_file", "reported_done", 0), ("risk_file", "registered", 0)),
            *(("supervision_order", "closed", 0), ("supervision_order", "working", 1)),
            ("supervision_order", "received", 0),
            # Of the rounds of inspection.
            ("inspection_finding", "registered", 0),
        }
        asked = {"plan": "431228-2023", "as_of": "2023-08-02T08:30:00+08:00"}
        lagging = (await client.get("/api/v1/supervision/candidates", params=asked)).json()["items"]
        assert all(item["open_order"] is None for item in lagging)
        named = {(item["task"], item["unit"]["unit"]) for item in lagging}
        orders = [case for case in cases if case["kind"] == "supervision_order"]
        assert {(case["task"], case["unit"]["unit"]) for case in orders} <= named
        span = {"from": "2023-05-01", "to": "2023-08-31"}
        closure = (await client.get("/api/v1/cases/closure", params=span)).json()["total"]
        assert min(closure["closed_in_time"], closure["closed_late"], closure["open_overdue"]) > 0


async def test_the_demonstration_assesses_units_and_every_score_can_be_worked_out(clone: Clone) -> None:
    async with filled(clone) as (client, report, _):

        async def get(path: str, **query: object) -> dict[str, Any]:
            answer = await client.get(f"/api/v1{path}", params=query)
            assert answer.status_code == 200, answer.text
            return answer.json()

        assert (report.assessments.faults, report.assessments.results) == (3, 18)
        as_of = "2023-10-20T00:00:00+08:00"
        found = await get("/assessments/preview", plan="431228-2023", as_of=as_of)
        for result in found["items"]:
            assert_by_hand(result)
        assert {result["grade"] for result in found["items"]} >= {"qualified", "undetermined"}
        assert sum(result["pending_faults"] for result in found["items"]) == 1
        for result in found["items"][:2]:
            await assert_counts_agree(get, result, as_of)
        items = (await get("/assessments", limit=500))["items"]
        for item in items:
            result = (await get(f"/assessments/{item['id']}"))["result"]
            assert_by_hand(result)
            assert (result["total"], result["interim"], result["scheme"]["version"]) == (item["total"], True, 1)
        assert {one["state"] for one in (await get("/faults"))["items"]} == {"upheld", "dismissed", "recorded"}
        assert [one["state"] for one in (await get("/appeals"))["items"]] == ["rejected"]


async def test_the_demonstration_shows_lists_figures_rankings_and_inspections(clone: Clone) -> None:
    async with filled(clone) as (client, report, _):
        assert (report.figures, report.rankings) == (2, 6)
        assert min(report.work_items, report.inspections) > 10
        lists = {
            path: (await client.get(f"/api/v1/{path}include_total=true")).json()["total"]
            for path in ("work-items?", "work-items?incomplete=true&", "rankings?", "inspections?")
        }
        assert lists["work-items?"] == report.work_items > lists["work-items?incomplete=true&"] > 0
        assert (lists["rankings?"], lists["inspections?"]) == (report.rankings, report.inspections)
        query = {"plan": "431228-2023", "kind": "city_departments"}
        follows = (await client.get("/api/v1/rankings/consequences", params=query)).json()["items"]
        assert {item["consequence"]["rule"] for item in follows} == {"ranking-first-talk", "ranking-second-no-award"}
        inspections = (await client.get("/api/v1/inspections", params={"limit": "500"})).json()["items"]
        assert {len(item["lacking"]) for item in inspections} == {0, 1, 2, 3}
        assert any(item["findings"] for item in inspections)
