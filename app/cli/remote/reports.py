"""``liuzhang submit`` and ``receipt``: a single report, and the proof of it."""

import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from app.cli.remote.failures import explained
from app.cli.remote.output import instant, print_facts, print_json
from app.cli.remote.session import AsJson, IdempotencyKey, PeriodOption, ProfileOption, UnitOption, connected, own_units
from app.client.errors import InputError
from app.domain.deadlines import LateStage, ObligationStatus
from app.domain.progress import Stage
from app.domain.workflow import SubmissionState

__all__ = [
    "Figures",
    "NextSteps",
    "Percent",
    "Problems",
    "Progress",
    "StageOption",
    "commands",
    "figures_of",
]

commands = typer.Typer()

_STAGES = "、".join(f"{stage} {stage.label}" for stage in Stage)
# A number as JSON writes it.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")


def _number(text: str) -> float | int:
    """Read a figure; more digits than a JSON number of any client carries are refused, not rounded."""
    if _NUMBER.fullmatch(text) is None or len(text.lstrip("-").replace(".", "")) > 15:
        raise typer.BadParameter(f"“{text}”不是数字,应如 40 或 33.5,至多 15 位")
    return json.loads(text)


StageOption = Annotated[Stage | None, typer.Option("--stage", help=f"进展阶段:{_STAGES}")]
Percent = Annotated[float | None, typer.Option("--percent", help="完成进度,0-100", parser=_number, metavar="NUMBER")]
Progress = Annotated[str | None, typer.Option("--progress", help="进展情况")]
Problems = Annotated[str | None, typer.Option("--problems", help="存在问题")]
NextSteps = Annotated[str | None, typer.Option("--next-steps", help="下步打算")]
Figures = Annotated[
    list[str] | None,
    typer.Option("--target", help="一项目标的数值,写作 目标编码=数值;可给出多次", metavar="CODE=NUMBER"),
]


def figures_of(given: list[str] | None) -> dict[str, float | int]:
    """The figures of ``--target`` options, by target.

    Raises:
        InputError: one is not written as a code and a number, or a target stands twice.
    """
    figures: dict[str, float | int] = {}
    for text in given or ():
        code, equals, value = text.partition("=")
        if not equals or code in figures:
            raise InputError(f"--target {text} 须写作 目标编码=数值,同一目标只写一次")
        try:
            figures[code] = _number(value)
        except typer.BadParameter as error:
            raise InputError(f"--target {code}: {error.message}") from None
    return figures


@commands.command()
@explained
def submit(
    source: Annotated[
        str | None, typer.Argument(help="报送编号(把草稿或被退回的交上去),或 JSON 文件,- 为标准输入;省略则由各选项给出")
    ] = None,
    *,
    task: Annotated[str | None, typer.Option("--task", help="任务编码,如 431228-2023-6-3-4")] = None,
    unit: UnitOption = None,
    period: PeriodOption = None,
    stage: StageOption = None,
    percent: Percent = None,
    progress: Progress = None,
    problems: Problems = None,
    next_steps: NextSteps = None,
    target: Figures = None,
    draft: Annotated[bool, typer.Option("--draft", help="只存为草稿,不报送")] = False,
    idempotency_key: IdempotencyKey = None,
    profile: ProfileOption = None,
    as_json: AsJson = False,
) -> None:
    """报送一份进度,或把一份草稿交上去。"""
    given = {
        "task": task,
        "period": period,
        "stage": stage,
        "percent_complete": percent,
        "progress": progress,
        "problems": problems,
        "next_steps": next_steps,
        "observations": [{"target": code, "value": value} for code, value in figures_of(target).items()] or None,
    }
    by_options = {name: value for name, value in given.items() if value is not None}
    if source is not None and (by_options or unit or draft):
        raise InputError("给出报送编号或文件时,内容不再由选项给出")
    if source is None and not by_options:
        raise InputError("请给出报送编号、JSON 文件,或 --task、--period、--stage、--percent 等选项")
    identity = _identity(source)
    content = None if source is None or identity is not None else _read(source)
    with connected(profile) as connection:
        if identity is not None:
            answer = connection.post(f"submissions/{identity}/submit", {}, idempotency_key=idempotency_key)
        elif content is not None:
            answer = connection.post("submissions", content, idempotency_key=idempotency_key)
        else:
            units = own_units(connection, unit)
            if len(units) > 1:
                raise InputError(f"您代表几个单位({'、'.join(units)}),请用 --unit 指明一个")
            report = {**by_options, "unit": units[0], "submit": not draft}
            answer = connection.post("submissions", report, idempotency_key=idempotency_key)
    if as_json:
        print_json(answer)
        return
    print_facts(
        {
            "报送编号": answer["id"],
            "状态": SubmissionState(answer["state"]).label,
            "任务": answer["task"],
            "单位": answer["unit"]["name"],
            "报送期": answer["period"],
            "报送时刻": instant(answer["submitted_at"]),
            **{f"疑点 {number}": warning["detail"] for number, warning in enumerate(answer["warnings"], 1)},
        }
    )


@commands.command()
@explained
def receipt(
    ids: Annotated[list[UUID] | None, typer.Argument(help="报送编号;省略则为 --unit、--period 的全部")] = None,
    *,
    unit: UnitOption = None,
    period: PeriodOption = None,
    profile: ProfileOption = None,
    as_json: AsJson = False,
) -> None:
    """打印回执:服务器时刻、内容的 SHA-256、期限与结论。"""
    if not ids and period is None:
        raise InputError("请给出报送编号,或 --period(与 --unit)")
    with connected(profile) as connection:
        wanted = [str(one) for one in ids or ()]
        if not wanted:
            for one in own_units(connection, unit):
                wanted += [found["id"] for found in connection.items("submissions", unit=one, period=period)]
        if not wanted:
            raise InputError("没有报送,因而没有回执")
        receipts = [connection.get(f"submissions/{one}/receipt") for one in wanted]
    if as_json:
        print_json(receipts if len(receipts) > 1 or not ids else receipts[0])
        return
    for number, one in enumerate(receipts):
        if number:
            typer.echo()
        print_facts(_receipt(one))


def _receipt(one: dict[str, Any]) -> dict[str, object]:
    late = one["late_stage"] and LateStage(one["late_stage"]).label
    return {
        "回执": one["id"],
        "单位": one["unit"]["name"],
        "任务": one["task"],
        "报送期": f"{one['period']}(第 {one['revision']} 版)",
        "报送时刻": instant(one["submitted_at"]),
        "报出时刻": instant(one["filed_at"]),
        "期限": instant(one["due_at"]),
        "结论": ObligationStatus(one["status"]).label + (f",迟在{late}" if late else ""),
        "说明": one["explanation"],
        "内容 SHA-256": one["content_hash"],
        "出具时刻": instant(one["server_time"]),
    }


def _identity(source: str | None) -> UUID | None:
    try:
        return None if source is None else UUID(source)
    except ValueError:
        return None


def _read(source: str) -> bytes:
    """The report as it is: what is wrong with it, the service tells."""
    try:
        return sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise InputError(f"无法读取 {source}: {error.strerror}") from None
