"""The ``liuzhang`` command: the composition root, where service, database, migrations and seed meet.

Its parts are named here and opened by :mod:`app.cli.parts`. Those of ``app.cli.remote`` talk to a service over HTTP
and know nothing of its inside; the others are the service.
"""

from typing import ClassVar

import typer

from app.cli.parts import Part, PartsGroup

__all__ = ["app", "main"]

_REPORTING = "报送与查询(经接口访问服务)"
_SERVICE = "运行服务"


class _Commands(PartsGroup):
    parts: ClassVar[dict[str, Part]] = {
        "login": Part("app.cli.remote.login", "存下服务地址与 API 密钥(仅本人可读),并核对密钥是否有效。", _REPORTING),
        "logout": Part(
            "app.cli.remote.login", "删去所存的服务地址与密钥;密钥本身仍有效,不再需要时请管理员吊销。", _REPORTING
        ),
        "form": Part("app.cli.remote.forms", "月进度表:取表、填写、报送", _REPORTING),
        "submit": Part("app.cli.remote.reports", "报送一份进度,或把一份草稿交上去。", _REPORTING),
        "receipt": Part("app.cli.remote.reports", "打印回执:服务器时刻、内容的 SHA-256、期限与结论。", _REPORTING),
        "status": Part(
            "app.cli.remote.standing",
            "本单位应报、已报、迟报各多少,下一个期限是何时;给出 --period 时逐项列出。",
            _REPORTING,
        ),
        "deadlines": Part("app.cli.remote.standing", "一段日期内依次有哪些期限,各应报、已报、未报多少份。", _REPORTING),
        "compliance": Part("app.cli.remote.standing", "按时率与报送率。", _REPORTING),
        "certify": Part(
            "app.cli.remote.judging", "认定几份报送,或一个单位、一期待认定的全部;认定即为报出,不能撤回。", _REPORTING
        ),
        "return": Part("app.cli.remote.judging", "说明理由,把一份报送退回报送单位。", _REPORTING),
        "serve": Part("app.cli.serve", "启动服务:必要时启动内嵌 PostgreSQL、建表、载入自带的总体方案。", _SERVICE),
        "migrate": Part("app.cli.plans", "建表或升级表结构。", _SERVICE),
        "seed": Part("app.cli.plans", "载入总体方案(可重复执行,只改动有差异的行)。", _SERVICE),
        "demo": Part(
            "app.cli.plans", "填入 2023-04 至 2023-09 的演示报送(每次相同);已有报送的数据库一律拒绝。", _SERVICE
        ),
        "backup": Part("app.cli.backups", "备份数据库为一个文件;服务可以照常运行。", _SERVICE),
        "restore": Part(
            "app.cli.backups", "从备份恢复到空数据库,核对后才生效;中断或核对不符则什么也不改变。", _SERVICE
        ),
        "doctor": Part(
            "app.cli.doctor",
            "检查运行环境、设置、数据库、审计记录、事件、日历、磁盘与时钟;有不合格的项则退出码为 1。",
            _SERVICE,
        ),
        "audit-verify": Part(
            "app.cli.audit",
            "核对审计记录的哈希链:找出被改动、删除、调换或另行写入的条目,列出各链的链尾;有问题则以非零退出。",
            _SERVICE,
        ),
        "account": Part("app.cli.accounts", "脚本与其他系统的账号", _SERVICE),
        "check-seed": Part("app.cli.plans", "检查数据文件,逐条指出文件与行号;不连接数据库。", _SERVICE),
        "audit-seed": Part(
            "app.cli.plans", "逐处比对数据与原文:责任括注、数字、位置、标题;不一致则列出并以非零退出。", _SERVICE
        ),
        "seed-schema": Part("app.cli.plans", "由模型生成数据文件的 JSON Schema。", _SERVICE),
        "openapi": Part("app.cli.documents", "导出 OpenAPI 文档。", _SERVICE),
        "permissions": Part("app.cli.documents", "由规则生成权限说明。", _SERVICE),
        "version": Part("app.cli.version", "显示版本。", _SERVICE),
    }


_EXIT_CODES = (
    "退出码:0 完成;1 未成功(服务拒绝);2 用法或文件有误;3 未登录或没有权限;4 部分接受;"
    "5 服务无法访问或暂不可用;6 status --check 发现迟报、逾期未报或漏报。详见 docs/cli.md。"
)

app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=True, epilog=_EXIT_CODES)


@app.callback()
def _root() -> None:
    """六仗:县级政府年度计划的工作服务"""


def main() -> None:
    """Entry point of the ``liuzhang`` command."""
    app()
