"""Targets: figures to reach and qualitative aims."""

from datetime import date
from typing import Literal

from pydantic import ConfigDict, Field, JsonValue

from app.domain.plan import Accumulation, Direction, Operator, Qualitative
from app.schemas.base import (
    BattleCode,
    Figure,
    GroupCode,
    Instant,
    ListQuery,
    Locator,
    PageRead,
    PeriodCode,
    PlanCode,
    Read,
    SearchWords,
    TargetCode,
    TaskCode,
    UnitFilter,
)

__all__ = [
    "EXAMPLE",
    "GivenBy",
    "GivingDocument",
    "ObservedValue",
    "TargetDetail",
    "TargetPage",
    "TargetQuery",
    "TargetRead",
]


class TargetQuery(ListQuery):
    """Filters of the target list."""

    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    battle: BattleCode | None = Field(default=None, description="只要该仗的")
    task: TaskCode | None = Field(default=None, description="只要该任务的")
    unit: UnitFilter | None = Field(default=None, description="责任单位:编码,或文件中印出的任一名称")
    q: SearchWords | None = Field(default=None, description="检索指标名称与原文短语;支持拼音与首字母")
    quantified: bool | None = Field(default=None, description="true 只要有数值的,false 只要定性的")
    sort: Literal["code", "-code", "due_on", "-due_on"] = Field(default="code", description="排序;前加 - 为倒序")


EXAMPLE: dict[str, JsonValue] = {
    "code": "431228-2023-1-2-5-T2",
    "plan": "431228-2023",
    "battle": "431228-2023-1",
    "group": "431228-2023-1-2",
    "task": "431228-2023-1-2-5",
    "indicator": "high-standard-farmland-built",
    "indicator_name": "新建高标准农田面积",
    "operator": "eq",
    "value": 2,
    "value_max": None,
    "unit_of_measure": "万亩",
    "direction": "higher",
    "accumulation": "cumulative",
    "qualitative": None,
    "text": "新建高标准农田2万亩",
    "baseline": None,
    "due_on": "2023-12-31",
    "due_printed": False,
    "locator": "附件1/二/(二)/5",
    "note": None,
    "given_by": None,
}


class GivingDocument(Read):
    """A document from above."""

    number: str = Field(description="文号", examples=["湘民发〔2023〕9号"])
    title: str = Field(description="标题")
    issuer: str = Field(description="发文机关", examples=["省民政厅"])
    issued_on: date = Field(description="成文日期")


class GivenBy(Read):
    """What gave a target after the plan was issued."""

    document: GivingDocument = Field(description="下达它的文件")
    given_at: Instant = Field(description="何时补登")
    replaces: TargetCode | None = Field(description="取代了先前补登的哪一个;没有为 null")
    superseded_by: TargetCode | None = Field(description="已被后来补登的哪一个取代;仍有效的为 null")


class TargetRead(Read):
    """A target."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    code: TargetCode
    plan: PlanCode
    battle: BattleCode | None = Field(description="所属的仗;总体方案的目标为 null")
    group: GroupCode | None = Field(description="所属任务组;仗或总体方案的目标为 null")
    task: TaskCode | None = Field(description="所属任务;组、仗或总体方案的目标为 null")
    indicator: str = Field(description="指标编码", examples=["high-standard-farmland-built"])
    indicator_name: str = Field(description="指标名称", examples=["新建高标准农田面积"])
    operator: Operator | None = Field(description="比较方式;定性目标为 null")
    value: Figure | None = Field(description="目标值;区间为下限;定性目标为 null")
    value_max: Figure | None = Field(description="区间上限;非区间为 null")
    unit_of_measure: str | None = Field(description="计量单位", examples=["万亩"])
    direction: Direction
    accumulation: Accumulation
    qualitative: Qualitative | None = Field(description="定性目标的方向;有数值的目标为 null")
    text: str = Field(description="原文短语", examples=["新建高标准农田2万亩"])
    baseline: Figure | None = Field(description="原文写明的基数")
    due_on: date = Field(description="完成日期;原文未写明的取计划年度末")
    due_printed: bool = Field(description="完成日期是否为原文写明")
    locator: Locator
    note: str | None = Field(description="如何理解这一目标")
    given_by: GivenBy | None = Field(
        default=None, description="由上级文件下达、后来补登的,是哪份文件;方案自带的为 null"
    )


class TargetPage(PageRead[TargetRead]):
    """一页目标."""


class ObservedValue(Read):
    """A figure that a unit reported for the target."""

    period: PeriodCode
    unit: str = Field(description="报送单位编码", examples=["431228-nyncj"])
    value: Figure = Field(description="数值")
    certified: bool = Field(description="当时是否已认定;未认定的取最近报送的一版")


class TargetDetail(TargetRead):
    """A target with what was reported for it."""

    model_config = ConfigDict(json_schema_extra={"example": {**EXAMPLE, "observations": []}})

    observations: list[ObservedValue] = Field(description="各期报送的数值,早的在前;尚未报送的草稿不列")
