"""A form taken as a spreadsheet, filled in and posted, by the command."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from openpyxl import load_workbook

from tests.client.conftest import PERIOD, Caller

Make = Callable[..., Caller]
TASK = "431228-2023-6-3-4"


def fill(file: Path, period: str, stage: str, percent: str) -> None:
    """Fill in one task, as somebody does who sees the headings."""
    if file.suffix == ".xlsx":
        book = load_workbook(file)
        sheet = next(
            one for one in book.worksheets if one.sheet_state == "visible" and "任务编码" in str(list(one.values))
        )
        rows = list(sheet.iter_rows())
        heading = next(row for row in rows if any(cell.value == "任务编码" for cell in row))
        at = {
            re.split(r"\W", str(cell.value).lstrip("*"))[0]: index for index, cell in enumerate(heading) if cell.value
        }
        row = next(row for row in rows if row[at["任务编码"]].value == TASK)
        row[at["阶段"]].value = stage
        row[at["完成进度"]].value = percent
        book.save(file)
        return
    lines = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig"), newline="")))
    assert {line["报送期"] for line in lines} == {period}
    for line in lines:
        if line["任务编码"] == TASK:
            line |= {"阶段": stage, "完成进度": percent}
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, lines[0].keys())
    writer.writeheader()
    writer.writerows(lines)
    file.write_text(out.getvalue(), encoding="utf-8-sig")


@pytest.mark.parametrize(("name", "period"), [("form.xlsx", PERIOD), ("form.csv", "2023-04")])
def test_a_spreadsheet_says_itself_which_form_it_is(caller: Make, name: str, period: str) -> None:
    someone = caller()
    taken = someone.run("form", "get", period, "-o", name)
    assert taken.code == 0, taken.err
    assert someone.run("form", "get", period, "-o", name).code == 2
    fill(someone.home / name, period, "推进中", "约四成")
    refused = someone.run("form", "put", name)
    assert refused.code == 1
    assert "not_a_figure" in refused.out
    fill(someone.home / name, period, "推进中", "40%")
    assert someone.run("form", "put", name, "--dry-run", "--json").json["dry_run"]
    posted = someone.run("form", "put", name, "--json").json
    assert (posted["accepted"], posted["refused"]) == (1, 0)
    assert someone.run("form", "put", name, "--json").json["unchanged"] == 1
    assert someone.run("receipt", posted["rows"][0]["id"]).code == 0


@pytest.mark.parametrize("content", [b"", b"\xd0\xcf\x11\xe0", b"PK\x03\x04", "阶段,完成进度\n推进中,40\n".encode()])
def test_what_is_no_form_is_told_before_it_is_sent(caller: Make, content: bytes) -> None:
    someone = caller()
    (someone.home / "form.xlsx").write_bytes(content)
    ended = someone.run("form", "put", "form.xlsx")
    assert ended.code == 2
    assert ended.err.startswith("错误: ")
