"""``liuzhang certify`` and ``return``: figures confirmed, or sent back with a reason."""

import sys
from typing import Annotated, Any, Final
from uuid import UUID, uuid4

import typer

from app.cli.remote.failures import PARTLY, explained, fault_text
from app.cli.remote.output import instant, print_facts, print_json, print_table, working
from app.cli.remote.session import AsJson, IdempotencyKey, PeriodOption, ProfileOption, UnitOption, connected
from app.client.errors import InputError
from app.domain.progress import Stage
from app.domain.workflow import SubmissionState

__all__ = ["commands"]

commands = typer.Typer()

# As many as the service takes at once.
_AT_ONCE: Final = 500

By = Annotated[str | None, typer.Option("--by", help="评估认定单位;只代表一个单位时可省略")]


@commands.command()
@explained
def certify(
    ids: Annotated[list[UUID] | None, typer.Argument(help="报送编号;省略则为 --unit、--period 待认定的全部")] = None,
    *,
    unit: UnitOption = None,
    period: PeriodOption = None,
    by: By = None,
    reason: Annotated[str | None, typer.Option("--reason", help="说明")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="不再询问")] = False,
    idempotency_key: IdempotencyKey = None,
    profile: ProfileOption = None,
    as_json: AsJson = False,
) -> None:
    """认定几份报送,或一个单位、一期待认定的全部;认定即为报出,不能撤回。"""
    if bool(ids) == bool(unit or period):
        raise InputError("请给出报送编号,或 --unit、--period 之一,不能都给")
    if not yes and not sys.stdin.isatty():
        raise InputError("没有终端可供确认;核对后请加 --yes")
    said = {name: value for name, value in (("by", by), ("reason", reason)) if value is not None}
    key = idempotency_key or str(uuid4())
    with connected(profile) as connection:
        wanted: list[str] = [str(one) for one in ids or ()]
        if not wanted:
            waiting: list[dict[str, Any]] = connection.items(
                "submissions", unit=unit, period=period, status="submitted"
            )
            if not waiting:
                typer.echo("没有待认定的报送", err=True)
                return
            if not yes:
                _show(waiting)
            wanted = [one["id"] for one in waiting]
        if not yes:
            typer.confirm(
                f"认定以上 {len(wanted)} 份?" if not ids else f"认定这 {len(wanted)} 份?", abort=True, err=True
            )
        answer: dict[str, Any] = {"accepted": 0, "refused": 0, "results": []}
        with working("认定", len(wanted)) as advance:
            for start in range(0, len(wanted), _AT_ONCE):
                some = wanted[start : start + _AT_ONCE]
                part = connection.post(
                    "certifications", {"ids": some, **said}, idempotency_key=f"{key}-{start}" if start else key
                )
                answer["accepted"] += part["accepted"]
                answer["refused"] += part["refused"]
                answer["results"] += [{**one, "index": start + one["index"]} for one in part["results"]]
                for _ in some:
                    advance()
    if as_json:
        print_json(answer)
    else:
        _tell(answer, wanted)
    if answer["refused"]:
        raise typer.Exit(PARTLY if answer["accepted"] else 1)


@commands.command("return")
@explained
def return_(
    identity: Annotated[UUID, typer.Argument(metavar="ID", help="报送编号")],
    *,
    reason: Annotated[str, typer.Option("--reason", help="退回理由")],
    by: By = None,
    idempotency_key: IdempotencyKey = None,
    profile: ProfileOption = None,
    as_json: AsJson = False,
) -> None:
    """说明理由,把一份报送退回报送单位。"""
    said = {"reason": reason, **({} if by is None else {"by": by})}
    with connected(profile) as connection:
        answer = connection.post(f"submissions/{identity}/return", said, idempotency_key=idempotency_key)
    if as_json:
        print_json(answer)
        return
    print_facts({"报送编号": answer["id"], "状态": SubmissionState(answer["state"]).label})


def _show(waiting: list[dict[str, Any]]) -> None:
    print_table(
        ("报送编号", "单位", "任务", "报送期", "阶段", "完成进度", "报送时刻", "疑点"),
        (
            (
                one["id"],
                one["unit"]["name"],
                one["task"],
                one["period"],
                Stage(one["stage"]).label,
                f"{one['percent_complete']}%",
                instant(one["submitted_at"]),
                ";".join(warning["detail"] for warning in one["warnings"]),
            )
            for one in waiting
        ),
    )


def _tell(answer: dict[str, Any], wanted: list[str]) -> None:
    refused: list[dict[str, Any]] = [one for one in answer["results"] if one["errors"]]
    if refused:
        rows = [(wanted[int(one["index"])], ";".join(map(fault_text, one["errors"]))) for one in refused]
        print_table(("报送编号", "未认定的原因"), rows)
    typer.echo(f"已认定 {answer['accepted']} 份,未认定 {answer['refused']} 份")
