"""What the commands do with a form, a report, figures to be certified, and what is owed; and how they end."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.client.errors import InputError
from app.client.forms import read_form
from tests.client.conftest import PERIOD, UNIT, Caller

Make = Callable[..., Caller]
SCHOOL, VOCATIONAL, NURSERY = "431228-2023-6-1-1", "431228-2023-6-2-2", "431228-2023-6-3-4"


def form(someone: Caller, period: str, name: str = "form.json") -> dict[str, Any]:
    """A form as it is taken."""
    ended = someone.run("form", "get", period, "-o", name)
    assert ended.code == 0, ended.err
    return json.loads((someone.home / name).read_text(encoding="utf-8"))


def filled(someone: Caller, task: str, percent: str, *more: str, name: str = "form.json") -> None:
    ended = someone.run("form", "fill", name, task, "--stage", "in_progress", "--percent", percent, *more)
    assert ended.code == 0, ended.err


def results(answer: dict[str, Any]) -> list[tuple[int, int]]:
    return [(one["index"], one["status"]) for one in answer["results"]]


def test_a_form_lists_what_is_owed_and_is_not_overwritten(caller: Make) -> None:
    someone = caller()
    taken = form(someone, PERIOD)
    assert (taken["unit"], taken["period"]) == (UNIT, PERIOD)
    assert [item["task"] for item in taken["items"]] == [SCHOOL, VOCATIONAL, NURSERY]
    # Its targets are qualitative and take no figures.
    assert taken["items"][0]["observations"] == []
    assert someone.run("form", "put", "form.json").code == 2
    filled(someone, SCHOOL, "10")
    ended = someone.run("form", "get", PERIOD, "-o", "form.json")
    assert ended.code == 2
    assert "--force" in ended.err
    assert json.loads((someone.home / "form.json").read_text())["items"][0]["percent_complete"] == 10
    assert someone.run("form", "get", PERIOD, "-o", "form.json", "--force").code == 0
    assert someone.run("form", "get", PERIOD, "--unit", "县教育局", "-o", "named.json").code == 0
    assert someone.run("form", "get", PERIOD, "-o", "nowhere/form.json").code == 2


def test_a_filled_in_form_is_checked_posted_and_posted_again_without_harm(caller: Make) -> None:
    someone = caller()
    form(someone, "2023-04")
    filled(someone, SCHOOL, "20", "--progress", "完成“选址”[b]")
    filled(someone, NURSERY, "33.35", "--problems", "资金")
    checked = someone.run("form", "put", "form.json", "--dry-run", "--json").json
    assert results(checked) == [(0, 200), (2, 200)]
    assert someone.run("receipt", "--period", "2023-04").code == 2
    posted = someone.run("form", "put", "form.json", "--json").json
    assert (posted["accepted"], posted["refused"]) == (2, 0)
    assert results(posted) == [(0, 201), (2, 201)]
    again = someone.run("form", "put", "form.json")
    assert (again.code, again.out.count("没有改动")) == (0, 2)
    there = form(someone, "2023-04", "again.json")
    assert [item["state"] for item in there["items"]] == ["submitted", None, "submitted"]
    assert there["items"][0]["progress"] == "完成“选址”[b]"
    assert someone.run("form", "put", "again.json").out.count("没有改动") == 2
    filled(someone, VOCATIONAL, "5")
    receipts = someone.run("receipt", "--period", "2023-04", "--json").json
    assert {one["id"] for one in receipts} == {one["id"] for one in posted["results"]}
    assert all(len(one["content_hash"]) == 64 for one in receipts)
    filled(someone, NURSERY, "90")
    refused = someone.run("form", "put", "form.json")
    assert refused.code == 1
    assert "已有的报送" in refused.err
    partly = someone.run("form", "put", "form.json", "--partial", "--json")
    assert partly.code == 4
    assert results(json.loads(partly.out)) == [(0, 200), (1, 201), (2, 409)]


def test_figures_are_filled_in_by_target(caller: Make) -> None:
    someone, task = caller("insurer"), "431228-2023-6-1-5"
    rows = next(item for item in form(someone, PERIOD)["items"] if item["task"] == task)["observations"]
    assert [row["unit_of_measure"] for row in rows] == ["个"]
    filled(someone, task, "30", "--target", f"{rows[0]['target']}=0.1")
    posted = someone.run("form", "put", "form.json", "--json").json
    assert posted["accepted"] == 1
    assert someone.run("form", "put", "form.json").out.count("没有改动") == 1
    there = next(item for item in form(someone, PERIOD, "again.json")["items"] if item["task"] == task)
    assert there["observations"][0]["value"] == 0.1


def test_drafts_are_replaced_and_handed_in(caller: Make) -> None:
    someone = caller()
    form(someone, PERIOD)
    filled(someone, VOCATIONAL, "10")
    kept = someone.run("form", "put", "form.json", "--draft", "--json").json["results"][0]["id"]
    assert "没有改动" in someone.run("form", "put", "form.json", "--draft").out
    filled(someone, VOCATIONAL, "11")
    assert results(someone.run("form", "put", "form.json", "--dry-run", "--json").json) == [(1, 200)]
    assert someone.run("form", "put", "form.json", "--draft", "--json").json["results"][0]["id"] == kept
    handed = someone.run("submit", kept, "--json").json
    assert (handed["state"], handed["percent_complete"]) == ("submitted", 11)
    assert someone.run("submit", kept).code == 1


def test_what_is_refused_is_told_where_it_stands_in_the_file(caller: Make) -> None:
    someone = caller()
    form(someone, PERIOD)
    filled(someone, NURSERY, "140")
    for ended in (someone.run("form", "put", "form.json"), someone.run("form", "put", "form.json", "--dry-run")):
        assert ended.code == 1
        assert "percent_complete" in ended.err
    assert "/body/items/2/percent_complete" in someone.run("form", "put", "form.json").err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "JSON"),
        ('{"unit": "x", "period": "2023-05", "items": [NaN]}', "NaN"),
        ('{"unit": "x", "unit": "y", "period": "2023-05", "items": []}', "重复"),
        ('{"items": []}', "form get"),
        ("[]", "form get"),
        ('{"unit": 1, "period": "2023-05", "items": []}', "form get"),
        ('{"unit": "x", "period": "2023-05", "items": [{"stage": "in_progress"}]}', "form get"),
        ('{"unit": "x", "period": "2023-05", "items": [7]}', "form get"),
        ("[" * 100_000, "嵌套过深"),
        ("\udcff", "JSON"),
    ],
)
def test_a_file_that_is_no_form_is_told(tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "form.json"
    file.write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError, match=told):
        read_form(file)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("form", "fill", "form.json", "431228-2023-6-3-9"), NURSERY),
        (("form", "fill", "form.json", SCHOOL, "--percent", "1e3"), "数字"),
        (("form", "fill", "form.json", SCHOOL, "--percent", "12345678901234567"), "15 位"),
        (("form", "fill", "form.json", SCHOOL, "--target", "x"), "目标编码=数值"),
        (("form", "fill", "form.json", SCHOOL, "--target", "x=1"), "没有目标 x"),
        (("form", "fill", "form.json", SCHOOL, "--target", "x=NaN"), "数字"),
        (("form", "put", "nowhere.json"), "nowhere.json"),
        (("form", "get", PERIOD, "-o", "form.txt"), ".json"),
        (("submit",), "--task"),
        (("submit", "nowhere.json"), "nowhere.json"),
        (("submit", "-", "--task", SCHOOL), "选项"),
        (("receipt",), "--period"),
        (("certify",), "--unit"),
        (("certify", "--period", PERIOD), "--yes"),
        (("certify", "7"), "7"),
        (("compliance",), "--rule"),
        (("nothing",), "nothing"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    item = {"task": SCHOOL, "title": "", "due_at": "", "observations": []}
    document = {"unit": UNIT, "period": PERIOD, "items": [item, item | {"task": NURSERY}]}
    Path("form.json").write_text(json.dumps(document))
    # Nothing listens there: whatever were sent would end with another code.
    nowhere = {"LIUZHANG_SERVER": "http://127.0.0.1:1", "LIUZHANG_KEY": "k", "LIUZHANG_RETRIES": "0"}
    ended = CliRunner().invoke(app, arguments, env=nowhere)
    assert ended.exit_code == 2, ended.output
    assert told in ended.stderr


def test_one_report_by_options_by_file_and_from_standard_input(caller: Make) -> None:
    someone = caller()
    said = ("--period", "2023-05", "--stage", "in_progress", "--percent", "1.5", "--draft")
    made = someone.run("submit", "--task", SCHOOL, *said, "--json").json
    assert (made["state"], made["percent_complete"], made["unit"]["unit"]) == ("draft", 1.5, UNIT)
    shown = someone.run("submit", made["id"])
    assert "状态:已报送" in shown.out
    report = {"task": NURSERY, "unit": "县教育局", "period": PERIOD, "stage": "completed", "percent_complete": 100}
    taken = someone.run("submit", "-", "--json", stdin=json.dumps(report)).json
    assert taken["state"] == "submitted"
    Path(someone.home, "report.json").write_text(json.dumps(report))
    again = someone.run("submit", "report.json")
    assert again.code == 1
    assert f"已有的报送: {taken['id']}" in again.err
    bad = someone.run("submit", "-", stdin='{"task": NaN}')
    assert bad.code == 1
    assert "请求编号: " in bad.err


def test_who_may_not_is_told_apart_from_what_is_wrong(caller: Make) -> None:
    said = ("--task", SCHOOL, "--period", PERIOD, "--stage", "in_progress", "--percent", "1", "--unit", UNIT)
    assert caller("reader").run("submit", *said).code == 3
    assert caller("administrator").run("status", "--unit", UNIT).code == 3
    assert caller("reader").run("certify", "--period", PERIOD, "--yes").code in {0, 3}
    ended = caller("administrator").run("status")
    assert ended.code == 2
    assert "--unit" in ended.err
    several = caller("two units").run("form", "get", PERIOD, "-o", "form.json")
    assert several.code == 2
    assert "431228-nyncj" in several.err
    assert caller().run("status", "--unit", "没有这个局").code == 1


def test_figures_are_certified_at_once_one_by_one_and_returned(caller: Make) -> None:
    someone, judge = caller(), caller("certifier")
    for task in (SCHOOL, VOCATIONAL, NURSERY):
        said = ("--task", task, "--period", "2023-04", "--stage", "in_progress", "--percent", "40", "--unit", UNIT)
        someone.run("submit", *said)
    waiting = [one["id"] for one in someone.run("receipt", "--period", "2023-04", "--json").json]
    returned = judge.run("return", waiting[0], "--reason", "数据不实", "--json").json
    assert returned["state"] == "returned"
    assert judge.run("return", waiting[0], "--reason", "数据不实").code == 1
    assert judge.run("return", waiting[0]).code == 2
    partly = judge.run("certify", *waiting[:2], "--yes")
    assert partly.code == 4
    assert waiting[0] in partly.out
    rest = judge.run("certify", "--unit", UNIT, "--period", "2023-04", "--yes", "--json").json
    assert (rest["accepted"], rest["refused"]) == (1, 0)
    nothing = judge.run("certify", "--unit", UNIT, "--period", "2023-04", "--yes")
    assert (nothing.code, nothing.out) == (0, "")
    assert judge.run("certify", waiting[1], "--yes").code == 1


def test_what_is_owed_is_shown_by_period_and_one_by_one(caller: Make) -> None:
    someone = caller()
    shown = someone.run("status")
    assert shown.code == 0, shown.err
    assert "下一个期限:2023-05-20 23:59:59" in shown.out
    assert NURSERY in someone.run("status", "--period", PERIOD, "--rule", "monthly-form").out
    owed = someone.run("status", "--period", PERIOD, "--rule", "monthly-form", "--json").json
    assert len(owed["items"]) == 3
    assert owed["next_cursor"] is None


def test_columns_are_aligned_though_chinese_is_wide(caller: Make) -> None:
    lines = caller().run("deadlines", "--from", "2023-05-01", "--to", "2023-05-31").out.splitlines()
    widths = {sum(2 if ord(sign) > 0x2E7F else 1 for sign in line.split("2023-05 ")[0]) for line in lines[1:]}
    assert len(lines) > 2
    assert len(widths) == 1


def test_checking_ends_with_a_code_of_its_own_where_something_is_late(caller: Make) -> None:
    someone = caller()
    assert someone.run("status", "--check", "--unit", UNIT, "--as-of", "2023-04-01T00:00:00+08:00").code == 0
    late = someone.run("status", "--check", "--unit", UNIT, "--as-of", "2023-04-25T00:00:00+08:00")
    assert late.code == 6
    assert "逾期未报" in late.out


def test_deadlines_and_compliance_are_those_of_the_service(caller: Make) -> None:
    someone = caller("reader")
    due = someone.run(
        "deadlines", "--from", "2023-05-01", "--to", "2023-05-31", "--rule", "monthly-form", "--json"
    ).json
    assert [one["due_at"] for one in due["items"]] == ["2023-05-20T23:59:59.999999+08:00"]
    kept = someone.run("compliance", "--rule", "monthly-form", "--group-by", "battle", "--json").json
    assert kept["group_by"] == "battle"
    assert "合计" in someone.run("compliance", "--rule", "monthly-form").out
    wrong = someone.run("compliance", "--rule", "monthly-form", "--group-by", "colour")
    assert wrong.code == 1
    assert "/query/group_by" in wrong.err
