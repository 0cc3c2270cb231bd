"""``liuzhang status``, ``deadlines`` and ``compliance``: what is owed, until when, and how well it came in."""

from collections import Counter
from typing import Annotated, Any, Final

import typer

from app.cli.remote.failures import OVERDUE, explained
from app.cli.remote.output import instant, percent, print_json, print_table, working
from app.cli.remote.session import AsJson, PeriodOption, ProfileOption, UnitOption, connected, own_units
from app.domain.deadlines import ObligationStatus

__all__ = ["commands"]

commands = typer.Typer()

_LATE: Final = frozenset({ObligationStatus.LATE, ObligationStatus.OVERDUE, ObligationStatus.MISSED})
_AHEAD: Final = frozenset({ObligationStatus.UPCOMING, ObligationStatus.DUE_SOON})

Rule = Annotated[str | None, typer.Option("--rule", help="只要该规则的,如 monthly-form")]
Plan = Annotated[str | None, typer.Option("--plan", help="只要该总体方案的,如 431228-2023")]
AsOf = Annotated[str | None, typer.Option("--as-of", help="当时的情形(RFC 3339,带时区);默认现在")]


@commands.command()
@explained
def status(
    *,
    unit: UnitOption = None,
    period: PeriodOption = None,
    rule: Rule = None,
    as_of: AsOf = None,
    check: Annotated[bool, typer.Option("--check", help="有迟报、逾期未报、漏报的,以 6 退出")] = False,
    profile: ProfileOption = None,
    as_json: AsJson = False,
) -> None:
    """本单位应报、已报、迟报各多少,下一个期限是何时;给出 --period 时逐项列出。"""
    with connected(profile) as connection, working("查询"):
        found: list[dict[str, Any]] = []
        for one in own_units(connection, unit):
            found += connection.items("obligations", unit=one, period=period, rule=rule, as_of=as_of)
    if as_json:
        print_json({"items": found, "next_cursor": None, "total": None})
    else:
        if period is None:
            _show_periods(found)
        else:
            _show_owed(found)
        _tell_next(found)
    if check and any(one["status"] in _LATE for one in found):
        raise typer.Exit(OVERDUE)


@commands.command()
@explained
def deadlines(
    *,
    from_: Annotated[str | None, typer.Option("--from", help="自哪一日起到期的,如 2023-04-01;默认今日")] = None,
    to: Annotated[str | None, typer.Option("--to", help="至哪一日到期的;默认 from 之后 60 日")] = None,
    unit: Annotated[str | None, typer.Option("--unit", help="只要该单位的:编码或名称")] = None,
    rule: Rule = None,
    plan: Plan = None,
    battle: Annotated[str | None, typer.Option("--battle", help="只要该仗的,如 431228-2023-6")] = None,
    as_of: AsOf = None,
    profile: ProfileOption = None,
    as_json: AsJson = False,
) -> None:
    """一段日期内依次有哪些期限,各应报、已报、未报多少份。"""
    with connected(profile) as connection, working("查询"):
        found: list[dict[str, Any]] = connection.items(
            "deadlines", from_=from_, to=to, unit=unit, rule=rule, plan=plan, battle=battle, as_of=as_of
        )
    if as_json:
        print_json({"items": found, "next_cursor": None, "total": None})
        return
    print_table(
        ("期限", "规则", "报送期", "应报", "已报", "免报", "未报", "未报单位"),
        (
            (
                instant(one["due_at"]) + ("(暂定)" if one["provisional"] else ""),
                one["rule_name"],
                one["period"],
                one["expected"],
                one["filed"],
                one["waived"],
                one["outstanding_total"],
                "、".join(dict.fromkeys(owed["unit"]["name"] for owed in one["outstanding"])),
            )
            for one in found
        ),
    )


@commands.command()
@explained
def compliance(
    *,
    rule: Annotated[str, typer.Option("--rule", help="哪条规则,如 monthly-form")],
    from_: Annotated[str | None, typer.Option("--from", help="起始报送期(含),如 2023-04")] = None,
    to: Annotated[str | None, typer.Option("--to", help="截止报送期(含)")] = None,
    group_by: Annotated[
        str, typer.Option("--group-by", help="按什么分组:unit 单位、battle 仗、period 报送期、task 任务、region 地区")
    ] = "unit",
    sort: Annotated[str | None, typer.Option("--sort", help="排序:key、timeliness、late、missed;前加 - 为倒序")] = None,
    plan: Plan = None,
    as_of: AsOf = None,
    profile: ProfileOption = None,
    as_json: AsJson = False,
) -> None:
    """按时率与报送率。"""
    with connected(profile) as connection, working("统计"):
        answer = connection.get(
            "compliance", rule=rule, from_=from_, to=to, group_by=group_by, sort=sort, plan=plan, as_of=as_of
        )
    if as_json:
        print_json(answer)
        return
    counts = ("expected", "on_time", "late", "overdue", "missed", "waived", "not_due")
    print_table(
        ("编码", "名称", "应报", "按时", "迟报", "逾期未报", "漏报", "免报", "未到期", "报送率", "按时率"),
        (
            (
                one["key"],
                one["name"],
                *(one[name] for name in counts),
                percent(one["completeness"]),
                percent(one["timeliness"]),
            )
            for one in [*answer["items"], answer["total"]]
        ),
    )
    typer.echo(answer["explanation"])


def _show_owed(found: list[dict[str, Any]]) -> None:
    print_table(
        ("单位", "规则", "任务", "期限", "状态", "报送时刻", "报出时刻", "说明"),
        (
            (
                one["unit"]["name"],
                one["rule"],
                one["task"],
                instant(one["effective_due_at"]),
                ObligationStatus(one["status"]).label,
                instant(one["submitted_at"]),
                instant(one["filed_at"]),
                one["explanation"],
            )
            for one in found
        ),
    )


def _show_periods(found: list[dict[str, Any]]) -> None:
    """One row a unit, rule and period, in the order in which they fall due."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for one in found:
        groups.setdefault((one["unit"]["name"], one["rule"], one["period"]), []).append(one)
    rows: list[tuple[object, ...]] = []
    for (name, rule, period), owed in groups.items():
        by_status = Counter(one["status"] for one in owed)
        waiting = sum(one["submitted_at"] is not None and one["filed_at"] is None for one in owed)
        due = instant(min(one["effective_due_at"] for one in owed))
        rows.append((name, rule, period, due, len(owed), waiting, *(by_status[one] for one in ObligationStatus)))
    labels = (one.label for one in ObligationStatus)
    print_table(("单位", "规则", "报送期", "期限", "应报", "待认定", *labels), rows)


def _tell_next(found: list[dict[str, Any]]) -> None:
    ahead = [one for one in found if one["status"] in _AHEAD]
    late = sum(one["status"] == ObligationStatus.OVERDUE for one in found)
    if late:
        typer.echo(f"逾期未报 {late} 项,请尽快补报")
    if ahead:
        first = min(one["effective_due_at"] for one in ahead)
        count = sum(one["effective_due_at"] == first for one in ahead)
        typer.echo(f"下一个期限:{instant(first)},{count} 项")
    elif not late:
        typer.echo("没有尚待报送的")
