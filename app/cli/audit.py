"""``liuzhang audit-verify``: is the audit trail as it was written?"""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterable, Iterable
from dataclasses import asdict
from typing import Annotated

import typer

from app.cli.database import check_version, database
from app.cli.failures import UsageError, explained
from app.domain.audit import Break
from app.services.audit_check import Noted, TrailCheck, check_trail
from app.settings import read_settings

__all__ = ["commands", "gathered", "parse_anchors"]

commands = typer.Typer()

_NOTED = re.compile(r"([^:\s]+):([0-9]{1,18}):([0-9a-fA-F]{64})")
# Further faults of a broken trail say nothing new, and must not fill the memory.
_MOST_TOLD = 100


@commands.command("audit-verify")
@explained
def audit_verify(
    anchor: Annotated[
        list[str] | None,
        typer.Option("--anchor", help="另行记下的一条,写作 链:序号:哈希(如本命令所列的链尾);可给出多次"),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="以 JSON 输出")] = False,
) -> None:
    """核对审计记录的哈希链:找出被改动、删除、调换或另行写入的条目,列出各链的链尾;有问题则以非零退出。"""
    noted = parse_anchors(anchor or [])
    report = TrailCheck()

    async def check(url: str) -> tuple[int, list[Break]]:
        await check_version(url)
        return await gathered(check_trail(url, noted, report))

    with database(read_settings()) as (url, _):
        count, told = asyncio.run(check(url))
    if as_json:
        heads = [{"chain": head.chain, "position": head.position, "hash": head.hash.hex()} for head in report.heads]
        findings = [asdict(found) for found in told]
        answer = {"entries": report.entries, "heads": heads, "count": count, "findings": findings}
        typer.echo(json.dumps(answer, ensure_ascii=False, indent=2))
    else:
        for head in report.heads:
            typer.echo(head)
        for found in told:
            typer.echo(found, err=True)
        typer.echo(f"审计记录 {report.entries} 条,{f'有 {count} 处问题' if count else '没有问题'}", err=True)
    if count:
        raise typer.Exit(1)


async def gathered(found: AsyncIterable[Break]) -> tuple[int, list[Break]]:
    """How many breaks there are, and the first of them."""
    count, told = 0, list[Break]()
    async for one in found:
        count += 1
        if len(told) < _MOST_TOLD:
            told.append(one)
    return count, told


def parse_anchors(anchors: Iterable[str]) -> Noted:
    """What was noted, each as ``chain:position:hash``.

    Raises:
        UsageError: one is not written so.
    """
    noted: defaultdict[str, dict[int, bytes]] = defaultdict(dict)
    for text in anchors:
        match = _NOTED.fullmatch(text)
        if match is None:
            raise UsageError(f"“{text}”写法不对,应为 链:序号:哈希,如 431228:1207:{'a7' * 32}")
        noted[match[1]][int(match[2])] = bytes.fromhex(match[3])
    return noted
