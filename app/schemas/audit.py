"""审计记录."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from app.domain.audit import AuditAction
from app.schemas.base import AskedInstant, Instant, ListQuery, PageRead, PlanCode, Read, UnitCode

__all__ = ["AuditEntryRead", "AuditHeadPage", "AuditHeadQuery", "AuditHeadRead", "AuditPage", "AuditQuery"]

_WORD = r"^[^\x00]+$"
_HASH = "64 位十六进制的 SHA-256"


class AuditEntryRead(Read):
    """One act."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "chain": "431228",
                "position": 1207,
                "at": "2023-05-18T16:20:05.417203+08:00",
                "actor": "account:k3v9x0a7pd",
                "actor_name": "县教育局进度上报脚本",
                "address": "10.20.3.7",
                "request_id": "5f0c1f6d3f5e4bb0a2a2c9a3f9a7f6b1",
                "action": "submission.submit",
                "subject": "01881b2e-5a51-7c0e-9b1f-0d9a3c7e5f10",
                "plan": "431228-2023",
                "unit": "431228-jyj",
                "before": {"state": "draft", "revision": 1},
                "after": {"state": "submitted", "revision": 1, "reason": None},
                "previous_hash": "5d" * 32,
                "hash": "a7" * 32,
            }
        }
    )

    chain: str = Field(
        description="哈希链:地区代码;不属于任何地区的(账号、密钥、Webhook、日历订阅)为 service", examples=["431228"]
    )
    position: int = Field(description="在链中的序号,自 1 起,不间断")
    at: Instant = Field(description="何时(服务器时间)")
    actor: str = Field(description="何人:account:… 为账号,oidc:… 为登录的人,command:… 为服务器上的命令")
    actor_name: str = Field(description="当时的名称")
    address: str | None = Field(description="从何处:客户端地址;命令为 null")
    request_id: str = Field(description="请求编号,与响应头 X-Request-ID 相同;命令为 -")
    action: AuditAction = Field(description="何事")
    subject: str = Field(
        description="对何物:报送、材料、延期、免报的编号,任务、总体方案、账号的编码,密钥、Webhook、日历订阅的编号"
    )
    plan: PlanCode | None = Field(description="所涉总体方案")
    unit: UnitCode | None = Field(description="所涉单位")
    before: dict[str, Any] | None = Field(description="之前;新建的为 null")
    after: dict[str, Any] | None = Field(description="之后")
    previous_hash: str = Field(description=f"链中前一条的哈希({_HASH});首条为 64 个 0")
    hash: str = Field(description=f"本条的哈希({_HASH}),算法见 docs/audit.md")


class AuditQuery(ListQuery):
    """Filters of the audit trail."""

    chain: str | None = Field(default=None, max_length=20, pattern=_WORD, description="只要该哈希链的")
    actor: str | None = Field(
        default=None, max_length=300, pattern=_WORD, description="只要此人的", examples=["account:k3v9x0a7pd"]
    )
    action: AuditAction | None = Field(default=None, description="只要此事的")
    subject: str | None = Field(default=None, max_length=100, pattern=_WORD, description="只要对此物的")
    unit: UnitCode | None = Field(default=None, description="只要所涉单位为此的(编码)")
    plan: PlanCode | None = Field(default=None, description="只要所涉总体方案为此的")
    from_: AskedInstant | None = Field(default=None, alias="from", description="从此刻起(含;RFC 3339,须带时区)")
    to: AskedInstant | None = Field(default=None, description="到此刻止(不含;RFC 3339,须带时区)")
    request_id: str | None = Field(default=None, max_length=128, pattern=_WORD, description="只要此请求的")
    sort: Literal["-at", "at"] = Field(default="-at", description="排序:新的在前;at 为旧的在前")


class AuditPage(PageRead[AuditEntryRead]):
    """一页审计记录."""


class AuditHeadRead(Read):
    """The newest entry of a chain."""

    chain: str = Field(description="哈希链", examples=["431228"])
    position: int = Field(description="最新一条的序号", examples=[1207])
    hash: str = Field(description=f"最新一条的哈希({_HASH})", examples=["a7" * 32])


class AuditHeadQuery(ListQuery):
    """The order of the heads."""

    sort: Literal["chain", "-chain"] = Field(default="chain", description="排序:按哈希链;前加 - 为倒序")


class AuditHeadPage(PageRead[AuditHeadRead]):
    """一页链尾."""
