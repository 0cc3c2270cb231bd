"""Files of reports of many units: each row answered, in parts or as a whole, while the service goes on."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio

from app.db import Database, open_write_pool
from app.schemas.file import FileRead
from tests.api.test_form_files import XLSX, codes, table
from tests.api.test_submissions import FARM, FARMERS, INSURED, INSURERS, SCHOOL, SCHOOLS, SUBMISSIONS, Desk, desk_of
from tests.conftest import Clone, make_key

FILE = f"{SUBMISSIONS}/file"
HEADINGS = ["任务编码", "单位", "报送期", "阶段", "完成进度", "进展情况", "目标编码", "本期数值"]
TARGET = f"{INSURED}-T2"
GOOD: list[list[Any]] = [
    [FARM, FARMERS, "2023-04", "推进中", 30, "首批地块已开工"],
    [SCHOOL, "431228-jyj", "2023年4月", "进行中", "12.5%"],
    [INSURED, INSURERS, "2023-04", "推进中", 30, None, TARGET, "0.0012万"],
]


@pytest_asyncio.fixture
async def desk(clone: Clone) -> AsyncGenerator[Desk]:
    async with desk_of(clone) as made:
        yield made


async def post(desk: Desk, content: bytes, *, status: int = 200, key: str | None = None, **query: str) -> Any:
    headers = {"Content-Type": XLSX} | ({"Authorization": f"Bearer {key}"} if key else {})
    answer = await desk.client.post(FILE, content=content, params=query, headers=headers)
    assert answer.status_code == status, answer.text
    if status == 200:
        read = FileRead.model_validate_json(answer.content)
        assert read.accepted + read.refused + read.unchanged == len(read.rows)
    return answer.json()


def unknown(count: int) -> list[list[Any]]:
    return [[f"431228-2023-6-{50 + n // 900}-{n % 900}", FARMERS, "2023-04", "推进中", 30] for n in range(count)]


def statuses(answer: Any) -> list[int]:
    return [row["status"] for row in answer["rows"]]


async def test_rows_of_many_units_are_taken_in(desk: Desk) -> None:
    answer = await post(desk, table(HEADINGS, *GOOD))
    assert (statuses(answer), answer["accepted"]) == ([201] * 3, 3)
    shown = [await desk.get(f"{SUBMISSIONS}/{row['id']}") for row in answer["rows"]]
    assert [one["unit"]["name"] for one in shown] == [FARMERS, SCHOOLS, INSURERS]
    assert [one["percent_complete"] for one in shown] == [30, 12.5, 30]
    assert shown[2]["observations"] == [{"target": TARGET, "value": 12}]
    again = await post(desk, table(HEADINGS, *GOOD))
    assert statuses(again) == [409] * 3
    assert [row["id"] for row in again["rows"]] == [row["id"] for row in answer["rows"]]


async def test_good_rows_among_bad_ones_are_taken_in_however_far_down(desk: Desk) -> None:
    rows = [GOOD[0], *unknown(1100), GOOD[1], GOOD[0], [SCHOOL, SCHOOLS, "2023-13", "推进中", 30], GOOD[2]]
    answer = await post(desk, table(HEADINGS, *rows))
    assert (answer["accepted"], answer["refused"]) == (3, 1102)
    assert [row["row"] for row in answer["rows"]] == list(range(2, len(rows) + 2))
    assert [row["row"] for row in answer["rows"] if row["status"] == 201] == [2, 1103, 1106]
    assert codes(answer)[-2:] == [(1104, "A", "repeated"), (1105, "C", "not_a_period")]
    assert {code for _, _, code in codes(answer)[:1100]} == {"unknown_task"}
    assert len((await desk.get(SUBMISSIONS))["items"]) == 3


async def test_all_or_nothing(desk: Desk) -> None:
    rows = await desk.rows()
    answer = await post(desk, table(HEADINGS, *GOOD, *unknown(600)), atomic="true")
    assert (answer["accepted"], answer["refused"]) == (0, 603)
    assert [(row["status"], row["id"]) for row in answer["rows"][:3]] == [(200, None)] * 3
    assert await desk.rows() == rows
    answer = await post(desk, table(HEADINGS, *GOOD), atomic="true", submit="false")
    assert statuses(answer) == [201] * 3
    assert {item["state"] for item in (await desk.get(SUBMISSIONS))["items"]} == {"draft"}


@pytest.mark.parametrize("atomic", ["true", "false"])
async def test_a_dry_run_says_the_same_and_keeps_nothing(desk: Desk, atomic: str) -> None:
    rows = await desk.rows()
    content = table(HEADINGS, *GOOD, *unknown(2))
    dry = await post(desk, content, dry_run="true", atomic=atomic)
    assert await desk.rows() == rows
    real = await post(desk, content, atomic=atomic)
    assert codes(dry) == codes(real)
    assert (dry["accepted"], dry["refused"]) == (real["accepted"], real["refused"])
    assert statuses(dry) == [200, 200, 200, 422, 422]


async def test_of_a_file_that_breaks_off_what_is_in_is_told(desk: Desk) -> None:
    rows = [GOOD[0], *unknown(600), [*GOOD[1], None, None, None, "旁注"], GOOD[2]]
    problem = await post(desk, table(HEADINGS, *rows), atomic="true", status=422)
    assert [fault["code"] for fault in problem["errors"]] == ["no_heading"]
    answer = await post(desk, table(HEADINGS, *rows))
    assert answer["accepted"] == 1
    assert codes(answer)[-1][2] == "no_heading"
    assert "没有读取" in answer["notes"][-1]
    assert len((await desk.get(SUBMISSIONS))["items"]) == 1


async def test_rows_of_units_that_the_caller_does_not_report_for_are_refused(desk: Desk) -> None:
    async with open_write_pool(desk.url, size=1) as pool:
        key = await make_key(Database(pool), "教育局", ["reporter:431228-jyj"])
    answer = await post(desk, table(HEADINGS, *GOOD), key=key)
    assert statuses(answer) == [403, 201, 403]


async def test_the_units_and_periods_of_a_file_are_needed(desk: Desk) -> None:
    content = table(["任务编码", "阶段", "完成进度"], [FARM, "推进中", 30])
    problem = await post(desk, content, status=422)
    assert problem["errors"][0]["code"] == "missing_column"
    assert "单位、报送期" in problem["detail"]
    answer = await post(desk, table(HEADINGS, [FARM, None, None, "推进中", 30]))
    assert [(column, code) for _, column, code in codes(answer)] == [("B", "missing"), ("C", "missing")]


async def test_the_service_goes_on_while_a_file_is_read(desk: Desk) -> None:
    content = table(HEADINGS, *unknown(3000))
    gaps: list[float] = []
    loop = asyncio.get_running_loop()

    async def tick() -> None:
        while True:
            before = loop.time()
            await asyncio.sleep(0.01)
            gaps.append(loop.time() - before)

    ticking = asyncio.create_task(tick())
    start = loop.time()
    await post(desk, content, dry_run="true")
    took = loop.time() - start
    ticking.cancel()
    # Read on the loop, the file would make one gap of nearly all the time.
    assert max(gaps) < took / 3
    assert len(gaps) > 10
