"""The monthly form of a unit as a file: downloaded, filled in as a clerk does, handed in, row by row answered."""

import csv
import io
from collections.abc import AsyncGenerator, Callable
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
import pytest_asyncio
from openpyxl import Workbook, load_workbook

from app.files.columns import Column, column_of
from app.schemas.file import FileRead
from tests.api.test_submissions import INSURED, INSURERS, SCHOOL, SCHOOLS, SUBMISSIONS, Desk, desk_of
from tests.conftest import KEYS, Clone

FORM = f"/api/v1/units/{SCHOOLS}/forms/2023-04"
FILE = f"{FORM}/file"
INSURANCE = f"/api/v1/units/{INSURERS}/forms/2023-04/file"
TARGET = f"{INSURED}-T2"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
OWED = ["431228-2023-6-1-1", "431228-2023-6-2-2", SCHOOL]


@pytest_asyncio.fixture
async def desk(clone: Clone) -> AsyncGenerator[Desk]:
    async with desk_of(clone) as made:
        yield made


async def download(desk: Desk, path: str = FILE, **query: str) -> httpx.Response:
    answer = await desk.client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer


async def upload(
    desk: Desk, content: bytes, path: str = FILE, *, kind: str = XLSX, status: int = 200, **query: str
) -> Any:
    answer = await desk.client.put(path, content=content, params=query, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text
    if status == 200:
        FileRead.model_validate_json(answer.content)
    return answer.json()


class Sheet:
    """A downloaded workbook in the hands of a clerk."""

    def __init__(self, content: bytes) -> None:
        self.workbook = load_workbook(io.BytesIO(content))
        self.sheet: Any = self.workbook["月进度表"]
        self.heading_row = next(
            row[0].row for row in self.sheet.iter_rows() if column_of(str(row[0].value)) is Column.TASK
        )
        self.columns = {column_of(str(cell.value)): cell.column for cell in self.sheet[self.heading_row]}

    def rows(self) -> list[int]:
        return list(range(self.heading_row + 1, self.sheet.max_row + 1))

    def get(self, row: int, column: Column) -> Any:
        return self.sheet.cell(row, self.columns[column]).value

    def put(self, row: int, **values: Any) -> None:
        for name, value in values.items():
            self.sheet.cell(row, self.columns[Column[name]]).value = value

    def row_of(self, task: str, target: str | None = None) -> int:
        return next(
            row
            for row in self.rows()
            if self.get(row, Column.TASK) == task and (target is None or self.get(row, Column.TARGET) == target)
        )

    def saved(self) -> bytes:
        out = io.BytesIO()
        self.workbook.save(out)
        return out.getvalue()


async def sheet_of(desk: Desk, path: str = FILE) -> Sheet:
    return Sheet((await download(desk, path)).content)


async def rows_of(desk: Desk, path: str = FILE) -> list[dict[str, str]]:
    """The rows of a downloaded CSV file."""
    text = (await download(desk, path, format="csv")).content.decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def csv_of(rows: list[dict[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def codes(answer: Any) -> list[tuple[int, str | None, str]]:
    return [(fault["row"], fault["column"], fault["code"]) for row in answer["rows"] for fault in row["errors"]]


# Given out -----------------------------------------------------------------------------------------------------------


async def test_the_form_has_a_row_for_each_task_that_is_owed(desk: Desk) -> None:
    answer = await download(desk)
    assert answer.headers["content-type"] == XLSX
    assert unquote(answer.headers["content-disposition"]) == "attachment; filename*=UTF-8''县教育局2023-04进度表.xlsx"
    sheet = Sheet(answer.content)
    assert [sheet.get(row, Column.TASK) for row in sheet.rows()] == OWED
    form = await desk.get(FORM)
    assert [sheet.get(row, Column.TITLE) for row in sheet.rows()] == [item["title"] for item in form["items"]]
    assert {sheet.get(row, Column.STATE) for row in sheet.rows()} == {"未报送"}
    assert {sheet.get(row, Column.ROLE) for row in sheet.rows()} <= {"牵头", "负责"}
    assert [sheet.get(row, Column.STAGE) for row in sheet.rows()] == [None] * 3
    assert sheet.workbook["表格信息"].sheet_state == "veryHidden"
    assert sheet.sheet.protection.sheet
    row = sheet.rows()[0]
    locked = {c: sheet.sheet.cell(row, at).protection.locked for c, at in sheet.columns.items()}
    assert not locked[Column.STAGE]
    assert locked[Column.TASK]
    (stages,) = (v for v in sheet.sheet.data_validations.dataValidation if v.type == "list")
    assert stages.formula1 == '"未启动,推进中,已完成"'


async def test_the_form_shows_what_was_reported_last_and_what_is_there_already(desk: Desk) -> None:
    await desk.create(
        task=INSURED, unit=INSURERS, percent_complete=20, observations=[{"target": TARGET, "value": 12.5}]
    )
    desk.at(5, 10)
    draft = {
        "stage": "in_progress",
        "percent_complete": 40,
        "progress": "=HYPERLINK(1)",
        "problems": "-",
        "submit": False,
    }
    await desk.create(task=INSURED, unit=INSURERS, period="2023-05", **draft)
    sheet = await sheet_of(desk, INSURANCE.replace("2023-04", "2023-05"))
    row = sheet.row_of(INSURED)
    assert sheet.get(row, Column.PREVIOUS_PERCENT) == 20
    assert (sheet.get(row, Column.STAGE), sheet.get(row, Column.PERCENT)) == ("推进中", 40)
    assert sheet.get(row, Column.STATE) == "草稿"
    at = sheet.row_of(INSURED, TARGET)
    assert (sheet.get(at, Column.PREVIOUS_VALUE), sheet.get(at, Column.VALUE)) == (12.5, None)
    assert (sheet.get(at, Column.AIM), sheet.get(at, Column.MEASURE)) == ("等于 43", "个")
    # What begins as a formula is a text, in both kinds of file.
    cell = sheet.sheet.cell(row, sheet.columns[Column.PROGRESS])
    assert (cell.value, cell.data_type) == ("=HYPERLINK(1)", "s")
    (first,) = [one for one in await rows_of(desk, INSURANCE.replace("2023-04", "2023-05")) if one["阶段"]]
    assert (first["进展情况"], first["存在问题"]) == ("'=HYPERLINK(1)", "'-")


async def test_a_form_that_has_not_changed_is_not_sent_again(desk: Desk) -> None:
    for kind in ("xlsx", "csv"):
        etag = (await download(desk, format=kind)).headers["etag"]
        again = await desk.client.get(FILE, params={"format": kind}, headers={"If-None-Match": etag})
        assert (again.status_code, again.content) == (304, b"")
    await desk.create(task=SCHOOL, unit=SCHOOLS)
    assert (await desk.client.get(FILE, headers={"If-None-Match": etag})).status_code == 200


# Taken in ------------------------------------------------------------------------------------------------------------


async def test_a_form_goes_round(desk: Desk) -> None:
    sheet = await sheet_of(desk, INSURANCE)
    row = sheet.row_of(INSURED)
    sheet.put(row, STAGE="推进中", PERCENT="45%", PROGRESS=" 首批已开通\n第二批在测试 ", NEXT_STEPS="全面铺开")
    sheet.put(sheet.row_of(INSURED, TARGET), VALUE="12个")
    answer = await upload(desk, sheet.saved(), INSURANCE)
    assert (answer["accepted"], answer["refused"], answer["unchanged"]) == (1, 0, 0)
    (result,) = answer["rows"]
    assert (result["sheet"], result["row"], result["task"], result["status"]) == ("月进度表", row, INSURED, 201)
    shown = await desk.get(f"{SUBMISSIONS}/{result['id']}")
    assert (shown["state"], shown["stage"], shown["percent_complete"]) == ("submitted", "in_progress", 45)
    assert (shown["progress"], shown["problems"], shown["next_steps"]) == ("首批已开通\n第二批在测试", None, "全面铺开")
    assert shown["observations"] == [{"target": TARGET, "value": 12}]
    # As it is now, it says the same, and handing it in again does nothing.
    again = await upload(desk, (await download(desk, INSURANCE)).content, INSURANCE)
    assert (again["accepted"], again["refused"], again["unchanged"]) == (0, 0, 1)
    assert again["rows"][0]["id"] == result["id"]
    same = await upload(desk, sheet.saved(), INSURANCE)
    assert (same["unchanged"], same["rows"][0]["status"]) == (1, 200)
    # What has been handed in is not changed by another file.
    sheet.put(row, PERCENT=50)
    changed = await upload(desk, sheet.saved(), INSURANCE)
    assert (changed["rows"][0]["status"], changed["rows"][0]["id"]) == (409, result["id"])
    assert [fault[2] for fault in codes(changed)] == ["already_reported"]


async def test_drafts_and_returned_reports_are_replaced(desk: Desk) -> None:
    sheet = await sheet_of(desk)
    for row in sheet.rows():
        sheet.put(row, STAGE="推进中", PERCENT=30)
    drafts = await upload(desk, sheet.saved(), submit="false")
    assert [row["status"] for row in drafts["rows"]] == [201] * 3
    page = await desk.get(SUBMISSIONS)
    assert {item["state"] for item in page["items"]} == {"draft"}
    handed_in = await upload(desk, (await download(desk)).content)
    assert [(row["status"], row["id"]) for row in handed_in["rows"]] == [(200, row["id"]) for row in drafts["rows"]]
    assert {item["state"] for item in (await desk.get(SUBMISSIONS))["items"]} == {"submitted"}
    await desk.step(drafts["rows"][0]["id"], "return", {"by": "县统计局", "reason": "口径有误"})
    sheet = await sheet_of(desk)
    assert sheet.get(sheet.rows()[0], Column.STATE) == "已退回"
    sheet.put(sheet.rows()[0], PERCENT=31)
    back = await upload(desk, sheet.saved())
    assert (back["accepted"], back["unchanged"]) == (1, 2)
    assert (await desk.get(f"{SUBMISSIONS}/{drafts['rows'][0]['id']}"))["percent_complete"] == 31


async def test_every_fault_is_told_by_its_cell_and_nothing_is_kept(desk: Desk) -> None:
    sheet = await sheet_of(desk)
    first, second, third = sheet.rows()
    sheet.put(first, STAGE="推进中", PERCENT=30)
    sheet.put(second, STAGE="快了", PERCENT="约四成")
    sheet.put(third, STAGE="已完成", PERCENT=90)
    rows = await desk.rows()
    answer = await upload(desk, sheet.saved())
    letter = {name: chr(ord("A") + at - 1) for name, at in sheet.columns.items()}
    assert codes(answer) == [
        (second, letter[Column.STAGE], "unknown_stage"),
        (second, letter[Column.PERCENT], "not_a_figure"),
        (third, letter[Column.PERCENT], "completed_below_100"),
    ]
    assert (answer["accepted"], answer["refused"]) == (0, 3)
    assert [(row["status"], row["id"]) for row in answer["rows"]] == [(200, None), (422, None), (422, None)]
    assert await desk.rows() == rows
    partly = await upload(desk, sheet.saved(), atomic="false")
    assert ([row["status"] for row in partly["rows"]], partly["accepted"], partly["refused"]) == ([201, 422, 422], 1, 2)
    assert len((await desk.get(SUBMISSIONS))["items"]) == 1


@pytest.mark.parametrize("atomic", ["true", "false"])
async def test_a_dry_run_says_the_same_and_keeps_nothing(desk: Desk, atomic: str) -> None:
    await desk.create(task=OWED[1], unit=SCHOOLS, submit=False)
    sheet = await sheet_of(desk)
    for row in sheet.rows():
        sheet.put(row, STAGE="推进中", PERCENT=95)
    rows = await desk.rows()
    dry = await upload(desk, sheet.saved(), dry_run="true", atomic=atomic)
    assert await desk.rows() == rows
    real = await upload(desk, sheet.saved(), atomic=atomic)
    assert (dry["dry_run"], dry["accepted"]) == (True, real["accepted"] == 3 and 3)
    assert [row["warnings"] for row in dry["rows"]] == [row["warnings"] for row in real["rows"]]
    assert "far_from_schedule" in {warning["code"] for row in dry["rows"] for warning in row["warnings"]}
    assert [row["status"] for row in dry["rows"]] == [200] * 3
    assert [row["status"] for row in real["rows"]] == [201, 200, 201]


@pytest.mark.parametrize(
    ("encode", "kind"),
    [
        (lambda text: text.encode("utf-8-sig"), "text/csv"),
        (lambda text: text.encode(), "text/csv; charset=utf-8"),
        (lambda text: text.encode("gb18030"), "text/csv"),
        (lambda text: text.encode("gbk"), "text/csv; charset=GBK"),
        (lambda text: text.replace(",", "\t").encode("utf-16"), "text/csv"),
        (lambda text: text.replace(",", ";").encode("gb18030"), "application/vnd.ms-excel"),
    ],
    ids=["bom", "utf-8", "gb18030", "gbk", "utf-16 with tabs", "semicolons"],
)
async def test_a_csv_file_goes_round_in_every_encoding_that_clerks_have(
    desk: Desk, encode: Callable[[str], bytes], kind: str
) -> None:
    rows = await rows_of(desk)
    rows[0] |= {"阶段": "进行中", "完成进度": "12.5%", "进展情况": "学校已开工"}
    answer = await upload(desk, encode(csv_of(rows)), kind=kind)
    assert (answer["accepted"], answer["refused"], answer["blank"], answer["sheet"]) == (1, 0, 2, None)
    shown = await desk.get(f"{SUBMISSIONS}/{answer['rows'][0]['id']}")
    assert (shown["percent_complete"], shown["progress"]) == (12.5, "学校已开工")


async def test_the_form_of_another_unit_or_period_is_refused(desk: Desk) -> None:
    other = (await download(desk, INSURANCE)).content
    later = (await download(desk, FILE.replace("2023-04", "2023-05"))).content
    for content in (other, later):
        problem = await upload(desk, content, status=422)
        assert problem["type"] == "/problems/unreadable-file"
        assert [fault["code"] for fault in problem["errors"]] == ["other_form"]
    rows = await rows_of(desk, INSURANCE)
    rows[0] |= {"阶段": "推进中", "完成进度": "40"}
    answer = await upload(desk, csv_of(rows).encode(), kind="text/csv")
    assert codes(answer) == [(2, "A", "other_form")]


async def test_who_may_not_report_for_the_unit_is_refused_before_the_file_is_read(desk: Desk) -> None:
    for content in (b"", b"PK"):
        answer = await desk.client.put(
            FILE, content=content, headers={"Authorization": f"Bearer {KEYS['certifier']}", "Content-Type": XLSX}
        )
        assert answer.status_code == 403


def table(*rows: list[Any], sheet: str = "表") -> bytes:
    workbook = Workbook()
    made: Any = workbook.active
    made.title = sheet
    for row in rows:
        made.append(row)
    out = io.BytesIO()
    workbook.save(out)
    return out.getvalue()


async def test_a_table_of_ones_own_is_read_by_its_headings(desk: Desk) -> None:
    content = table(
        ["县教育局月进度"],
        [],
        ["备注", "完成进度 (%)", "任务编码 *", "阶 段", "备注"],
        ["自用", 30, f" {SCHOOL} ", "推进中", "甲"],
        [None, None, None, None, None],
        [],
    )
    answer = await upload(desk, content)
    assert [(row["row"], row["status"]) for row in answer["rows"]] == [(4, 201)]


async def test_a_task_twice_is_refused_and_the_row_of_a_target_is_none(desk: Desk) -> None:
    content = table(
        ["任务编码", "阶段", "完成进度", "目标编码", "本期数值"],
        [INSURED, "推进中", 30, TARGET, 5],
        [INSURED, "推进中", 40],
        [INSURED, None, None, TARGET, 6],
    )
    answer = await upload(desk, content, INSURANCE)
    assert codes(answer) == [(3, "A", "repeated")]
    assert answer["refused"] == 2


@pytest.mark.parametrize(
    ("headings", "code"),
    [
        (["任务编码", "阶段"], "missing_column"),
        (["任务编码", "阶段", "完成进度", "本期数值"], "missing_column"),
        (["任务编码", "阶段", "完成进度", "心得"], "unknown_column"),
        (["任务编码", "阶段", "完成进度", "阶段"], "repeated_column"),
        (["编码", "阶段", "完成进度"], "no_table"),
    ],
)
async def test_a_table_without_its_columns_is_refused(desk: Desk, headings: list[str], code: str) -> None:
    problem = await upload(desk, table(headings, [SCHOOL, "推进中", 30]), status=422)
    assert [fault["code"] for fault in problem["errors"]] == [code]


async def test_a_body_that_is_no_file_by_its_own_account_is_refused(desk: Desk) -> None:
    for kind in ("application/json", "multipart/form-data; boundary=x", "text/plain"):
        problem = await upload(desk, b"{}", kind=kind, status=415)
        assert problem["type"] == "/problems/unsupported-media-type"


async def test_a_file_has_a_limit_of_its_own(clone: Clone) -> None:
    async with desk_of(clone, max_body_size=1024, max_file_size=100_000) as desk:
        content = (await download(desk)).content
        assert len(content) > 1024
        await upload(desk, content)
        problem = await upload(desk, content + b"\0" * 100_000, status=413)
        assert problem["type"] == "/problems/content-too-large"

        async def pieces() -> AsyncGenerator[bytes]:
            for _ in range(200):
                yield b" " * 1024

        answer = await desk.client.put(FILE, content=pieces(), headers={"Content-Type": XLSX})
        assert answer.status_code == 413
