"""考核评分:项目质量、后续管理由人评,最新一次为准,旧的都留着."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.domain.assessment import Aspect
from app.schemas.assessment_scheme import Hundred, Words
from app.schemas.base import AsOf, BattleCode, Instant, ListQuery, PageRead, PlanCode, Read, UnitFilter
from app.schemas.task import UnitRef

__all__ = ["MarkCreate", "MarkPage", "MarkQuery", "MarkRead", "Markable"]

Markable = Literal["quality", "upkeep"]
"""The aspects that somebody gives a mark for."""


class MarkCreate(BaseModel):
    """A mark for one aspect of one unit."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "example": {
                "plan": "431228-2023",
                "unit": "县教育局",
                "aspect": "upkeep",
                "value": 92,
                "reason": "新建校舍管护制度、经费、人员到位",
            }
        },
    )

    plan: PlanCode
    battle: BattleCode | None = Field(default=None, description="所属的仗;省略则为方案中规定考核等次的那一仗")
    unit: UnitFilter
    aspect: Markable = Field(
        description="quality 项目质量、upkeep 后续管理;其余三个方面由报送推算,不评分", examples=["upkeep"]
    )
    value: Hundred = Field(description="评分,0-100", examples=[92])
    reason: Words = Field(description="理由")


class MarkRead(Read):
    """A mark that was given."""

    id: UUID = Field(description="评分编号(UUIDv7)")
    plan: PlanCode
    battle: BattleCode
    unit: UnitRef = Field(description="被评的单位")
    aspect: Aspect
    value: Hundred = Field(description="评分,0-100")
    reason: str = Field(description="理由")
    marked_at: Instant = Field(description="评分时刻(服务器时间)")
    marked_by: str = Field(description="由谁评分")
    current: bool = Field(description="当时是否以它为准:同一单位同一方面最新的一次")


class MarkQuery(ListQuery):
    """Filters of the list of marks."""

    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    battle: BattleCode | None = Field(default=None, description="只要该仗的")
    unit: UnitFilter | None = Field(default=None, description="责任单位:编码,或文件中印出的任一名称")
    as_of: AsOf = None
    sort: Literal["id", "-id"] = Field(default="id", description="排序:按评分先后;前加 - 为倒序")


class MarkPage(PageRead[MarkRead]):
    """一页评分."""
