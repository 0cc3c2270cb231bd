"""工作信息与经验典型材料."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.base import Instant, ListQuery, PageRead, PeriodCode, PlanCode, Read, RuleCode, UnitFilter
from app.schemas.task import UnitRef

__all__ = ["MaterialCreate", "MaterialPage", "MaterialQuery", "MaterialRead", "MaterialReceipt"]


class MaterialCreate(BaseModel):
    """A text that a unit sends."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "example": {
                "rule": "work-bulletin-item",
                "unit": "县妇联",
                "period": "2023-05",
                "title": "“两癌”免费检查进村入户",
                "content": "本月完成六个乡镇的集中检查。",
            }
        },
    )

    rule: RuleCode = Field(description="材料报送规则", examples=["work-bulletin-item"])
    plan: PlanCode | None = Field(default=None, description="规则属于哪个总体方案;只有一个方案时可省略")
    unit: UnitFilter
    period: PeriodCode | None = Field(default=None, description="报送期;省略则为收到时所在的一期")
    title: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00]*[^\s\x00][^\x00]*$", description="标题")
    content: str = Field(min_length=1, max_length=50_000, pattern=r"^[^\x00]*[^\s\x00][^\x00]*$", description="正文")


class MaterialRead(Read):
    """A text that was received."""

    id: UUID = Field(description="材料编号(UUIDv7)")
    rule: RuleCode
    plan: PlanCode
    unit: UnitRef = Field(description="报送单位")
    period: PeriodCode
    title: str = Field(description="标题")
    content: str = Field(description="正文")
    received_at: Instant = Field(description="收到时刻(服务器时间)")


class MaterialReceipt(MaterialRead):
    """A text that was received, and how many of its period there are now."""

    received: int = Field(description="该单位该期已收到的篇数", examples=[1])
    required: int = Field(description="该期应报的篇数", examples=[1])


class MaterialQuery(ListQuery):
    """Filters of the material list."""

    rule: RuleCode | None = Field(default=None, description="只要该规则的")
    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    unit: UnitFilter | None = Field(default=None, description="责任单位:编码,或文件中印出的任一名称")
    period: PeriodCode | None = Field(default=None, description="只要该报送期的")
    sort: Literal["id", "-id"] = Field(default="id", description="排序:按收到先后;前加 - 为倒序")


class MaterialPage(PageRead[MaterialRead]):
    """一页材料."""
