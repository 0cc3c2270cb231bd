"""对考核结果的申诉与复核:申诉成立的,另出一版结果,原结果不动."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.domain.hearing import AppealAction, AppealState
from app.schemas.assessment_scheme import Words
from app.schemas.base import OFFERED, AsOf, BattleCode, Instant, ListQuery, PageRead, PlanCode, Read, UnitFilter
from app.schemas.task import UnitRef

__all__ = ["AppealCreate", "AppealDecide", "AppealPage", "AppealQuery", "AppealRead"]

_STRICT = ConfigDict(extra="forbid", frozen=True)


class AppealCreate(BaseModel):
    """What the unit says against its result."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"example": {"text": "八月的错报已经撤销,请重新计算。"}},
    )

    text: Words = Field(description="申诉")


class AppealDecide(BaseModel):
    """What is decided of an appeal."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"example": {"decision": "upheld", "reason": "该项错报已撤销认定,重新计算"}},
    )

    decision: Literal["upheld", "rejected"] = Field(
        description="upheld 申诉成立:按此刻的评分与认定重新计算,出新一版;rejected 维持原结果", examples=["upheld"]
    )
    reason: Words = Field(description="理由")


class AppealRead(Read):
    """An appeal as it stood at ``as_of``."""

    id: UUID = Field(description="申诉编号(UUIDv7)")
    assessment: UUID = Field(description="所申诉的结果")
    plan: PlanCode
    battle: BattleCode
    unit: UnitRef = Field(description="申诉的单位")
    text: str = Field(description="申诉")
    state: AppealState
    filed_at: Instant = Field(description="申诉时刻(服务器时间)")
    filed_by: str = Field(description="由谁提出")
    decision_reason: str | None = Field(description="复核的理由;尚未复核为 null")
    decided_at: Instant | None = Field(description="复核时刻")
    decided_by: str | None = Field(description="由谁复核:定案之外的另一人")
    result: UUID | None = Field(description="申诉成立后的新一版结果;没有为 null")
    explanation: str = Field(description="一句话说明")
    allowed_actions: list[AppealAction] = Field(description=OFFERED)


class AppealQuery(ListQuery):
    """Filters of the list of appeals."""

    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    battle: BattleCode | None = Field(default=None, description="只要该仗的")
    unit: UnitFilter | None = Field(default=None, description="责任单位:编码,或文件中印出的任一名称")
    assessment: UUID | None = Field(default=None, description="只要对该结果的")
    state: AppealState | None = Field(default=None, description="只要当时处于该状态的")
    as_of: AsOf = None
    sort: Literal["id", "-id"] = Field(default="id", description="排序:按提出先后;前加 - 为倒序")


class AppealPage(PageRead[AppealRead]):
    """一页申诉."""
