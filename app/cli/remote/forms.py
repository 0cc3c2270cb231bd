"""``liuzhang form``: a unit's monthly form taken, filled in and posted."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.remote.failures import PARTLY, explained, fault_text
from app.cli.remote.output import print_json, print_table, working
from app.cli.remote.reports import Figures, NextSteps, Percent, Problems, Progress, StageOption, figures_of
from app.cli.remote.session import AsJson, IdempotencyKey, ProfileOption, UnitOption, connected, own_units
from app.cli.remote.spreadsheets import MEDIA_TYPES, get_sheet, put_sheet, show_rows
from app.client.connection import Connection
from app.client.errors import InputError
from app.client.forms import fill_line, form_document, read_form, written_form
from app.client.posting import FormPost, form_path

__all__ = ["commands"]

commands = typer.Typer(name="form", help="月进度表:取表、填写、报送", no_args_is_help=True)

FormFile = Annotated[Path, typer.Argument(help="月进度表文件(form get 所取)", dir_okay=False)]


@commands.command("get")
@explained
def form_get(
    period: Annotated[str, typer.Argument(help="报送期,如 2023-05")],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="写入的文件:.xlsx、.csv 供人填写,.json 供脚本", dir_okay=False)
    ],
    unit: UnitOption = None,
    force: Annotated[bool, typer.Option("--force", help="文件已存在时覆盖")] = False,
    profile: ProfileOption = None,
) -> None:
    """取一个单位一期的月进度表:列出应报的各项任务与目标,已报送的附内容。"""
    suffix = output.suffix.lower()
    if suffix not in {".json", *MEDIA_TYPES}:
        raise InputError(f"{output} 须为 .xlsx、.csv 或 .json 文件")
    if output.exists() and not force:
        raise InputError(f"{output} 已存在,其中可能有填好的内容;要覆盖请加 --force")
    with connected(profile) as connection:
        units = own_units(connection, unit)
        if len(units) > 1:
            raise InputError(f"您代表几个单位({'、'.join(units)}),请用 --unit 指明一个")
        if suffix == ".json":
            content = _json_form(connection, units[0], period)
        else:
            content = get_sheet(connection, units[0], period, suffix)
    try:
        output.write_bytes(content)
    except OSError as error:
        raise InputError(f"无法写入 {output}: {error.strerror}") from None
    typer.echo(f"已写入 {output}:{units[0]} {period}")


@commands.command("fill")
@explained
def form_fill(
    file: FormFile,
    task: Annotated[str, typer.Argument(help="任务编码,如 431228-2023-6-3-4")],
    *,
    stage: StageOption = None,
    percent: Percent = None,
    progress: Progress = None,
    problems: Problems = None,
    next_steps: NextSteps = None,
    target: Figures = None,
) -> None:
    """填写表中的一项任务;没有给出的栏目不变。不访问服务。"""
    document, _ = read_form(file)
    said = {
        "stage": stage,
        "percent_complete": percent,
        "progress": progress,
        "problems": problems,
        "next_steps": next_steps,
    }
    fill_line(document, task, said, figures_of(target))
    file.write_text(written_form(document), encoding="utf-8")


@commands.command("put")
@explained
def form_put(
    file: FormFile,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="只检查,不写入")] = False,
    atomic: Annotated[
        bool, typer.Option("--atomic/--partial", help="有一项不能接受则全部不接受,还是逐项报送、能收的先收")
    ] = True,
    draft: Annotated[bool, typer.Option("--draft", help="只存为草稿,不报送")] = False,
    idempotency_key: IdempotencyKey = None,
    profile: ProfileOption = None,
    as_json: AsJson = False,
) -> None:
    """报送表中填写了的各项;服务上已有且相同的不再报送,所以可放心重复执行。"""
    done = "检查通过" if dry_run else "已存草稿" if draft else "已报送"
    if file.suffix.lower() in MEDIA_TYPES:
        with connected(profile) as connection:
            answer = put_sheet(
                connection, file, dry_run=dry_run, atomic=atomic, draft=draft, idempotency_key=idempotency_key
            )
        _finish(answer, as_json=as_json, show=lambda: show_rows(answer, done))
        return
    document, lines = read_form(file)
    if not lines:
        raise InputError(f"{file} 中没有填写任何任务")
    with connected(profile) as connection:
        post = FormPost(connection, document, lines, draft=draft)
        if dry_run:
            answer = post.check()
        elif atomic:
            answer = post.post_whole(idempotency_key)
        else:
            with working("报送", len(post.pending)) as advance:
                answer = post.post_lines(idempotency_key, advance)
    _finish(answer, as_json=as_json, show=lambda: _show_lines(answer, document, set(post.pending), done))


def _finish(answer: dict[str, Any], *, as_json: bool, show: Callable[[], None]) -> None:
    """Print what became of a form, and end with the code for it."""
    if as_json:
        print_json(answer)
    else:
        show()
        counts = {"接受": "accepted", "没有改动": "unchanged", "未接受": "refused", "未填写": "blank"}
        typer.echo(",".join(f"{label} {answer[name]} 项" for label, name in counts.items() if name in answer))
    if answer["refused"]:
        raise typer.Exit(PARTLY if answer["accepted"] else 1)


def _json_form(connection: Connection, unit: str, period: str) -> bytes:
    form = connection.get(form_path(unit, period))
    if not form["items"]:
        raise InputError(f"{form['unit']['name']} {form['period']} 没有应报的任务")
    return written_form(form_document(form, _targets(connection, form))).encode()


def _targets(connection: Connection, form: dict[str, Any]) -> list[Any]:
    """The targets of the form's tasks that take figures."""
    tasks = {item["task"] for item in form["items"]}
    found = connection.items("targets", unit=form["unit"]["unit"], quantified="true")
    return [target for target in found if target["task"] in tasks]


def _show_lines(answer: dict[str, Any], document: dict[str, Any], pending: set[int], done: str) -> None:
    rows: list[tuple[object, ...]] = []
    for result in answer["results"]:
        item = document["items"][result["index"]]
        outcome = "未接受" if result["errors"] else done if result["index"] in pending else "没有改动"
        told = [*map(fault_text, result["errors"]), *(warning["detail"] for warning in result["warnings"])]
        rows.append((item["task"], item.get("title"), outcome, result["id"], ";".join(told)))
    print_table(("任务", "标题", "结果", "报送编号", "说明"), rows)
