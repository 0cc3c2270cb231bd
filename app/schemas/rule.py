"""Rules of reporting, dispatch, ranking, sanction and evaluation."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.domain.plan import Frequency, HolidayPolicy, Obligor, RuleKind
from app.schemas.base import AsOf, BattleCode, Figure, ListQuery, Locator, PageRead, PlanCode, Read
from app.schemas.task import UnitRef

__all__ = ["RuleItemQuery", "RulePage", "RuleQuery", "RuleRead", "RuleUnitRead", "ScheduleRead"]


class RuleQuery(ListQuery):
    """Filters of the rule list."""

    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    battle: BattleCode | None = Field(default=None, description="只要该仗的")
    kind: RuleKind | None = Field(default=None, description="规则种类")
    as_of: AsOf = None
    sort: Literal["code", "-code"] = Field(default="code", description="排序:按原文次序;前加 - 为倒序")


class RuleItemQuery(BaseModel):
    """Which plan's rule is meant."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: PlanCode | None = Field(default=None, description="规则编码只在一个总体方案内唯一;有多个方案时须给出")
    as_of: AsOf = None


class ScheduleRead(Read):
    """When a report is owed."""

    frequency: Frequency
    obligor: Obligor | None = Field(description="由谁报;null 为不产生应报的规则")
    townships: bool = Field(description="各乡镇是否也各报一份")
    battles: list[int] = Field(description="适用于哪些仗(序号);空为所在的仗,总体方案的规则为全部", examples=[[6]])
    minimum_count: int = Field(description="每期至少几份", examples=[1])
    due_day: int | None = Field(description="月内第几日截止;null 为报送期末", examples=[20])
    due_month_offset: int = Field(description="截止日所在月比报送期晚几个月", examples=[0])
    due_days_after: int = Field(default=0, description="报送期末后第几天截止;0 为按上两项", examples=[3])
    inclusive: bool = Field(description="截止日当天是否仍算按时")
    holiday_policy: HolidayPolicy
    time_zone: str = Field(description="时区", examples=["Asia/Shanghai"])
    remind_days: int = Field(description="提前几天提醒", examples=[5])
    jump_points: Figure = Field(description="完成进度比上期增加超过多少个百分点时提示核对", examples=[40])
    first_period: str | None = Field(description="首个报送期", examples=["2023-04"])
    last_period: str | None = Field(description="最后一个报送期", examples=["2023-12"])


class RuleUnitRead(UnitRef):
    """A unit that receives or certifies, under the name printed there."""

    printed_name: str = Field(description="该处印出的名称")


class RuleRead(Read):
    """A rule."""

    code: str = Field(description="规则编码,同一总体方案内唯一", examples=["monthly-form"])
    plan: PlanCode
    battle: BattleCode | None = Field(description="所属的仗;总体方案的规则为 null")
    name: str = Field(description="名称", examples=["月进度表"])
    kind: RuleKind
    locator: Locator
    summary: str = Field(description="内容(概括)")
    owed_by: str | None = Field(description="谁受此规则约束")
    receivers: list[RuleUnitRead] = Field(description="报给谁")
    certifier: RuleUnitRead | None = Field(description="由谁评估认定")
    schedule: ScheduleRead | None = Field(description="as_of 当日适用的报送时间;没有报送期的规则为 null")
    version: int | None = Field(description="该报送时间是第几版;没有报送期的规则为 null", examples=[1])
    effective_from: date | None = Field(description="该版自何日开始的报送期起适用", examples=["2023-04-01"])
    parameters: dict[str, Figure | bool | str] = Field(description="其他参数", examples=[{"grades": "优秀、合格"}])
    printed: list[str] = Field(description="所依据的原文短语", examples=[["每月20日前"]])
    interpretation: str | None = Field(description="原文未明之处如何理解")


class RulePage(PageRead[RuleRead]):
    """一页规则."""
