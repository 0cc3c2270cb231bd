"""Schedules that units give for their tasks: set by month, versioned, and what they make of lights and deviations."""

import asyncio
from datetime import date, datetime, timedelta
from typing import Any

import httpx
import pytest

from app.clock import SHANGHAI
from app.schemas.schedule import TaskSchedulesRead, UnitScheduleRead
from tests.api.test_progress import BATTLE, NOON, PLAN, Hall, hall

__all__ = ["hall"]

TASK, UNIT, CODE = f"{BATTLE}-3-3", "县农业农村局", "431228-nyncj"
PATH = f"/tasks/{TASK}/schedules"
EVEN: dict[str, Any] = {
    "task": TASK,
    "unit": {"unit": CODE, "name": UNIT},
    "version": 0,
    "points": [],
    "reason": None,
    "set_at": None,
    "explanation": "县农业农村局按年度均匀推进",
    "allowed_actions": ["set"],
}
# As of an instant it cannot be set.
PAST = {**EVEN, "allowed_actions": []}
POINTS = [{"period": "2023-05", "percent": 20}, {"period": "2023-12", "percent": 99.5}]


async def put(
    hall: Hall, points: list[dict[str, Any]], unit: str = UNIT, task: str = TASK, **headers: str
) -> httpx.Response:
    body = {"points": points, "reason": "汛期过后才能施工"}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await hall.client.put(f"/api/v1/tasks/{task}/schedules/{unit}", json=body, headers=names)


async def test_a_schedule_is_kept_shown_and_counts_from_its_instant_on(hall: Hall) -> None:
    assert await hall.get(PATH) == {"task": TASK, "items": [EVEN]}
    await hall.certify(await hall.report(TASK, UNIT, "2023-04", 20))
    # On 12 April 27.95 should be done, by the points 102 days of 151 of 20.
    assert (await hall.rolled_up())["mean_deviation"] == -7.95
    assert await hall.codes(light="behind") == {TASK}
    before = hall.now
    hall.now += timedelta(seconds=1)
    answer = await put(hall, POINTS[::-1])
    assert answer.status_code == 200, answer.text
    kept = {
        **EVEN,
        "version": 1,
        "points": POINTS,
        "reason": "汛期过后才能施工",
        "set_at": hall.now.isoformat(),
        "explanation": "县农业农村局自 2023-04-12 12:00:01 起按第 1 版节点推进:5 月末 20%、12 月末 99.5%",
    }
    assert answer.json() == kept
    assert UnitScheduleRead.model_validate_json(answer.content)
    listed = await hall.client.get(f"/api/v1{PATH}")
    assert TaskSchedulesRead.model_validate_json(listed.content).task == TASK
    assert listed.json() == {"task": TASK, "items": [kept]}
    one = await hall.client.get(f"/api/v1{PATH}/{CODE}")
    assert (one.json(), one.headers["etag"]) == (kept, answer.headers["etag"])
    assert (await hall.rolled_up())["mean_deviation"] == 6.49
    assert await hall.codes(light="on_track") == {TASK}
    (item,) = await hall.series(TASK)
    # At the end of April 120 days of 151.
    assert (item["scheduled"], item["deviation"], item["light"]) == (15.89, 4.11, "on_track")
    # A schedule set later changes nothing about before.
    then = {"as_of": before.isoformat()}
    assert await hall.get(PATH, **then) == {"task": TASK, "items": [PAST]}
    assert await hall.get(f"{PATH}/{UNIT}", **then) == PAST
    assert (await hall.rolled_up(**then))["mean_deviation"] == -7.95
    assert await hall.codes(light="behind", **then) == {TASK}
    (item,) = await hall.series(TASK, **then)
    assert (item["scheduled"], item["light"]) == (32.88, "behind")


async def test_every_version_stays_in_force_for_its_time(hall: Hall) -> None:
    await hall.certify(await hall.report(TASK, UNIT, "2023-04", 20))
    instants: list[datetime] = []
    for points in ([POINTS[0]], POINTS, [], [{"period": "2023-01", "percent": 100}]):
        assert (await put(hall, points)).status_code == 200
        instants.append(hall.now)
        hall.now += timedelta(minutes=1)
    shown = [await hall.get(f"{PATH}/{CODE}", as_of=at.isoformat()) for at in instants]
    assert [(one["version"], len(one["points"])) for one in shown] == [(1, 1), (2, 2), (3, 0), (4, 1)]
    # Version 3 went back to the even course.
    assert shown[2]["explanation"] == "县农业农村局自 2023-04-12 12:02:00 起按年度均匀推进"
    deviations = [(await hall.rolled_up(as_of=at.isoformat()))["mean_deviation"] for at in instants]
    assert deviations == [6.49, 6.49, -7.95, -80]
    lights = [(await hall.series(TASK, as_of=at.isoformat()))[0]["light"] for at in instants]
    assert lights == ["on_track", "on_track", "behind", "far_behind"]


async def test_a_task_deviates_by_the_mean_of_what_its_units_do(hall: Hall) -> None:
    page = await hall.get("/obligations", rule="monthly-form", period="2023-04", limit=500)
    units: dict[str, list[str]] = {}
    for item in page["items"]:
        units.setdefault(item["task"], []).append(item["unit"]["unit"])
    task = max(units, key=lambda code: len(units[code]))
    one, other = sorted(units[task])[:2]
    for unit, percent in ((one, 100), (other, 31)):
        await hall.certify(await hall.report(task, unit, "2023-04", percent))
    assert (await put(hall, [{"period": "2023-04", "percent": 100}], unit=other, task=task)).status_code == 200
    # 100 - 27.95, and 31 - 85 (102 days of 120).
    assert (await hall.rolled_up())["mean_deviation"] == 9.03
    assert await hall.codes(light="on_track") == {task}
    items = (await hall.get(f"/tasks/{task}/schedules"))["items"]
    assert {item["unit"]["unit"]: item["version"] for item in items if item["version"]} == {other: 1}
    assert [item["unit"]["unit"] for item in items] == sorted(units[task])
    only = await hall.get(f"/tasks/{task}/schedules", unit=other)
    assert only["items"] == [item for item in items if item["unit"]["unit"] == other]
    # The thresholds are the plan's: 9.03 is enough for 9.
    await hall.connection.execute("UPDATE plans SET ahead_points = 9.03")
    assert await hall.codes(light="ahead") == set()
    await hall.connection.execute("UPDATE plans SET ahead_points = 9.02")
    assert await hall.codes(light="ahead") == {task}
    assert (await hall.rolled_up())["lights"]["ahead"] == 1


async def test_the_reporter_of_a_task_that_owes_nothing_may_give_a_schedule(hall: Hall) -> None:
    task = f"{PLAN}-1-2-5"
    (item,) = (await hall.get(f"/tasks/{task}/schedules"))["items"]
    assert item["unit"]["unit"] == CODE
    assert (await put(hall, POINTS, task=task)).json()["version"] == 1
    # It only takes part there.
    refused = await put(hall, POINTS, unit="县水利局", task=task)
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/unknown-reference")
    assert [(e["pointer"], e["code"]) for e in refused.json()["errors"]] == [("/path/unit", "not_owed")]


def point(period: str, percent: float) -> dict[str, Any]:
    return {"period": period, "percent": percent}


@pytest.mark.parametrize(
    ("points", "faults"),
    [
        ([point("2022-12", 10)], [("0/period", "outside_year")]),
        ([point("2023-05", 10), point("2024-01", 20)], [("1/period", "outside_year")]),
        ([point("2023-05", 10), point("2023-06", 9.99)], [("1/percent", "falls")]),
        # The place is that of what was sent, whatever its order.
        ([point("2023-06", 9), point("2023-05", 10)], [("0/percent", "falls")]),
        ([point("2023-05", 10), point("2023-05", 10)], [("1/period", "repeated")]),
        ([point("2024-05", 10), point("2023-05", 20)], [("0/period", "outside_year"), ("0/percent", "falls")]),
        ([point("2023-05", 100.01)], [("0/percent", "less_than_equal")]),
        ([point("2023-05", -1)], [("0/percent", "greater_than_equal")]),
        ([point("2023-05", 10.001)], [("0/percent", "decimal_max_places")]),
        ([point("2023-Q2", 10)], [("0/period", "string_pattern_mismatch")]),
        ([point("2023-13", 10)], [("0/period", "string_pattern_mismatch")]),
        ([point("0000-01", 10)], [("0/period", "invalid_period")]),
        ([{"period": "2023-05"}], [("0/percent", "missing")]),
        ([point("2023-05", 10) | {"note": ""}], [("0/note", "extra_forbidden")]),
    ],
)
async def test_points_that_make_no_schedule_are_refused(
    hall: Hall, points: list[dict[str, Any]], faults: list[tuple[str, str]]
) -> None:
    answer = await put(hall, points)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    found = [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]]
    assert found == [(f"/body/points/{place}", code) for place, code in faults]
    assert (await hall.get(PATH))["items"] == [EVEN]


async def test_whoever_is_not_there_has_no_schedule(hall: Hall) -> None:
    nowhere = f"{BATTLE}-9-9"
    for answer in (
        await put(hall, POINTS, task=nowhere),
        await hall.client.get(f"/api/v1/tasks/{nowhere}/schedules"),
        await hall.client.get(f"/api/v1/tasks/{nowhere}/schedules/{CODE}"),
    ):
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
    for answer in (await put(hall, POINTS, unit="县火星局"), await hall.client.get(f"/api/v1{PATH}/县火星局")):
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/unknown-unit")
        assert answer.json()["errors"][0]["pointer"] == "/path/unit"
    answer = await hall.client.get(f"/api/v1{PATH}", params={"unit": "县火星局"})
    assert answer.json()["errors"][0]["pointer"] == "/query/unit"
    body = {"points": POINTS, "reason": " "}
    assert (await hall.client.put(f"/api/v1{PATH}/{CODE}", json=body)).status_code == 422


async def test_a_stale_copy_overwrites_nothing(hall: Hall) -> None:
    etag = (await hall.client.get(f"/api/v1{PATH}/{CODE}")).headers["etag"]
    first = await put(hall, POINTS, If_Match=etag)
    assert first.status_code == 200
    stale = await put(hall, [], If_Match=etag)
    assert (stale.status_code, stale.json()["type"]) == (412, "/problems/precondition-failed")
    assert (await put(hall, [], If_Match=first.headers["etag"])).json()["version"] == 2


async def test_two_at_once_become_two_versions(hall: Hall) -> None:
    done = await asyncio.gather(*(put(hall, [point("2023-06", percent)]) for percent in (10, 20, 30)))
    assert sorted(answer.json()["version"] for answer in done) == [1, 2, 3]
    last = max((answer.json() for answer in done), key=lambda shown: shown["version"])
    assert await hall.get(f"{PATH}/{CODE}") == last


async def test_a_read_costs_the_same_however_many_points_there_are(hall: Hall) -> None:
    costs: list[int] = []
    for months in (1, 12):
        await put(hall, [point(f"2023-{month:02}", month) for month in range(1, months + 1)])
        before = len(hall.pool.statements)
        await hall.get(PATH)
        costs.append(len(hall.pool.statements) - before)
    assert costs == [3, 3]


async def test_a_schedule_of_the_whole_year_is_followed_month_by_month(hall: Hall) -> None:
    await put(hall, [point(f"2023-{month:02}", 8 * month) for month in range(1, 13)])
    assert hall.now == datetime.combine(date(2023, 4, 12), NOON)
    await hall.certify(await hall.report(TASK, UNIT, "2023-04", 0))
    for day, due in ((date(2023, 4, 30), -32), (date(2023, 12, 31), -96), (date(2024, 6, 1), -96)):
        hall.now = datetime.combine(day, NOON).astimezone(SHANGHAI)
        assert (await hall.rolled_up())["mean_deviation"] == due
