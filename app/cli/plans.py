"""Plans of the seed: the tables for them, loading, checking and comparing them, and reports to try them out with."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from app.cli.accounts import account_with_key, tell_first_administrator
from app.cli.database import database, prepare
from app.cli.documents import write_json
from app.cli.failures import UsageError, explained
from app.clock import system_clock
from app.db import Database, create_engine, open_read_pool, open_write_pool
from app.domain.roles import Grant, Role
from app.fragments import FragmentCache
from app.services.reader import Reader
from app.settings import read_settings
from seed.audit import audit_file
from seed.demo import DemoReport, fill_demo
from seed.format import json_schemas
from seed.loader import LoadReport, load_plan, plan_directories
from seed.reader import PlanSource, read_plan

__all__ = ["commands"]

commands = typer.Typer()

SeedDirectory = Annotated[
    Path | None, typer.Option("--seed", help="总体方案的数据目录(含 plan.yaml);默认为项目自带的全部方案")
]


@commands.command()
@explained
def migrate() -> None:
    """建表或升级表结构。"""
    with database(read_settings()) as (url, place):
        asyncio.run(prepare(url, seed=False))
        typer.echo(f"表结构已是最新: {place}")


@commands.command()
@explained
def seed(directory: SeedDirectory = None) -> None:
    """载入总体方案(可重复执行,只改动有差异的行)。"""

    async def load(url: str) -> list[LoadReport]:
        await prepare(url, seed=False)
        engine = create_engine(url)
        try:
            return [await load_plan(engine, path, now=system_clock()) for path in _directories(directory)]
        finally:
            await engine.dispose()

    with database(read_settings()) as (url, _):
        for report in asyncio.run(load(url)):
            typer.echo(
                f"{report.plan}: 新增 {report.inserted} 行,更新 {report.updated} 行,删除 {report.deleted} 行,"
                f"应报变动 {report.obligations} 条"
                if report.changed
                else f"{report.plan}: 与数据库一致,没有改动"
            )


@commands.command()
@explained
def demo() -> None:
    """填入 2023-04 至 2023-09 的演示报送(每次相同);已有报送的数据库一律拒绝。"""

    async def fill(url: str) -> DemoReport:
        await prepare(url, seed=True)
        async with open_read_pool(url, size=1) as reads, open_write_pool(url, size=1) as writes:
            return await fill_demo(Database(writes), Reader(Database(reads), FragmentCache(0)))

    settings = read_settings()
    with database(settings) as (url, place):
        filled = asyncio.run(fill(url))
        tell_first_administrator(url, settings.environment)
        looker, issued = asyncio.run(account_with_key(url, "演示查阅", [Grant(Role.READER)], settings.environment))
        typer.echo(
            f"已填入演示数据: 报送 {filled.submissions} 份、认定 {filled.certified} 次、更正 {filled.corrected} 次、"
            f"延期 {filled.extended} 次、免报 {filled.waived} 次、自定序时进度 {filled.scheduled} 次、"
            f"材料 {filled.materials} 篇、台账 {filled.cases} 件、"
            f"登记过错 {filled.assessments.faults} 起、评分 {filled.assessments.marks} 次、"
            f"中期考核结果 {filled.assessments.results} 个、"
            f"清单事项 {filled.work_items} 项、补登目标值 {filled.figures} 个、排名 {filled.rankings} 次、"
            f"巡查 {filled.inspections} 次、简报通报 {filled.bulletins} 期;{place}\n"
            f"进度不公开,请带上账号 {looker.name}({looker.code})的密钥查看;只显示这一次:\n"
            f"curl -H 'Authorization: Bearer {issued.key}' 'http://{settings.host}:{settings.port}/api/v1/compliance"
            "?rule=monthly-form&from=2023-04&to=2023-09&group_by=unit'"
        )


@commands.command("check-seed")
@explained
def check_seed(directory: SeedDirectory = None) -> None:
    """检查数据文件,逐条指出文件与行号;不连接数据库。"""
    for path in _directories(directory):
        source = read_plan(path)
        typer.echo(f"{source.code}: {len(source.battles)} 个仗、{_task_count(source)} 项任务,没有问题")


@commands.command("audit-seed")
@explained
def audit_seed(
    source: Annotated[Path, typer.Option("--source", help="原文文本(UTF-8,一段一行)", exists=True, dir_okay=False)],
    directory: SeedDirectory = None,
) -> None:
    """逐处比对数据与原文:责任括注、数字、位置、标题;不一致则列出并以非零退出。"""
    clean = True
    for path in _directories(directory):
        plan = read_plan(path)
        report = audit_file(plan, source)
        for finding in report.findings:
            typer.echo(str(finding))
        clean = clean and report.clean
        typer.echo(
            f"{plan.code}: 任务 {_task_count(plan)}、责任括注 {report.brackets}、标题 {report.titles}、"
            f"位置 {report.locators}、数字 {report.digit_runs},不一致 {len(report.findings)} 处"
        )
    if not clean:
        raise typer.Exit(1)


@commands.command("seed-schema")
@explained
def seed_schema(
    directory: Annotated[Path, typer.Argument(help="写入的目录")] = Path("seed/schema"),
) -> None:
    """由模型生成数据文件的 JSON Schema。"""
    directory.mkdir(parents=True, exist_ok=True)
    for name, schema in json_schemas().items():
        write_json(directory / f"{name}.schema.json", schema)


def _directories(directory: Path | None) -> list[Path]:
    if directory is None:
        return plan_directories()
    if not (directory / "plan.yaml").is_file():
        raise UsageError(f"{directory} 中没有 plan.yaml")
    return [directory]


def _task_count(source: PlanSource) -> int:
    return sum(len(group.tasks) for battle in source.battles for group in battle.content.groups)
