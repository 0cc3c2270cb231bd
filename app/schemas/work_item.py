"""Work items: projects, tasks and policies that units break their tasks down into."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, WithJsonSchema

from app.domain.actions import WorkItemAction
from app.domain.work_items import SixOne, WorkItemKind, WorkItemState
from app.schemas.agenda import AskedDay
from app.schemas.base import (
    OFFERED,
    AsOf,
    BattleCode,
    Figure,
    Instant,
    ListQuery,
    PageRead,
    PlanCode,
    Read,
    SearchWords,
    TaskCode,
    UnitFilter,
)
from app.schemas.submission import Reported
from app.schemas.task import UnitRef

__all__ = [
    "InvestmentRead",
    "InvestmentWrite",
    "MilestoneRead",
    "MilestoneWrite",
    "PersonInCharge",
    "WorkItemContent",
    "WorkItemCreate",
    "WorkItemHistory",
    "WorkItemPage",
    "WorkItemPatch",
    "WorkItemQuery",
    "WorkItemRead",
    "WorkItemRevisionRead",
]

_STRICT = ConfigDict(extra="forbid", frozen=True)
_TEXT = r"^[^\x00]*[^\s\x00][^\x00]*$"
Name = Annotated[str, Field(min_length=1, max_length=80, pattern=_TEXT)]
Title = Annotated[str, Field(min_length=1, max_length=200, pattern=_TEXT, description="标题")]
Scheme = Annotated[
    str, Field(min_length=1, max_length=5000, pattern=_TEXT, description="工作方案;有节点才成为方案台账")
]
Reason = Annotated[str, Field(min_length=1, max_length=500, pattern=_TEXT, description="为何修改")]


Amount = Annotated[
    Reported,
    Field(ge=0, le=9_999_999_999, decimal_places=2),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 9_999_999_999}),
]


class PersonInCharge(BaseModel):
    """Somebody in charge: name and post, and nothing more personal."""

    model_config = _STRICT

    name: Name = Field(description="姓名", examples=["张某"])
    post: Name | None = Field(default=None, description="职务", examples=["副县长"])


class MilestoneWrite(BaseModel):
    """A step with its day."""

    model_config = _STRICT

    title: Title = Field(description="节点", examples=["主体完工"])
    due_on: AskedDay = Field(description="应于何日前完成(含当日)", examples=["2023-09-30"])
    done_on: AskedDay | None = Field(default=None, description="何日完成;未完成为 null")


class InvestmentWrite(BaseModel):
    """What a project costs."""

    model_config = _STRICT

    planned: Amount = Field(description="计划投资,万元", examples=[1200])
    done: Amount = Field(default=Decimal(0), description="完成投资,万元", examples=[350.5])


_EXAMPLE: dict[str, JsonValue] = {
    "task": "431228-2023-6-3-4",
    "kind": "project",
    "title": "新建城区公办幼儿园",
    "unit": "县教育局",
    "leader": {"name": "张某", "post": "副县长"},
    "person": {"name": "李某", "post": "县教育局副局长"},
    "scheme": "上半年完成选址与招标,年底前主体完工。",
    "milestones": [
        {"title": "完成招标", "due_on": "2023-06-30", "done_on": None},
        {"title": "主体完工", "due_on": "2023-12-20", "done_on": None},
    ],
    "investment": {"planned": 1200, "done": 0},
    "starts_on": "2023-04-01",
    "due_on": "2023-12-31",
}


class WorkItemCreate(BaseModel):
    """A new item of a list."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"example": _EXAMPLE})

    task: TaskCode
    kind: WorkItemKind = Field(description="列入哪一种清单")
    title: Title
    unit: UnitFilter
    leader: PersonInCharge | None = Field(default=None, description="牵头的县级领导")
    person: PersonInCharge | None = Field(default=None, description="责任人")
    scheme: Scheme | None = Field(default=None, description="工作方案;有节点才成为方案台账")
    milestones: list[MilestoneWrite] = Field(
        default_factory=list[MilestoneWrite], max_length=50, description="节点,按办理的先后"
    )
    investment: InvestmentWrite | None = Field(default=None, description="投资;只有项目才有")
    starts_on: AskedDay | None = Field(default=None, description="何日开始")
    due_on: AskedDay | None = Field(default=None, description="应于何日前完成(含当日)")
    state: WorkItemState = Field(default=WorkItemState.PLANNED, description="推进状态")


class WorkItemPatch(BaseModel):
    """What is to change of an item; what is left out stays."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"example": {"reason": "已开工", "state": "under_way", "due_on": "2023-12-31"}},
    )

    reason: Reason
    # Never used as they are: what is left out is not looked at.
    title: Title = Field(default_factory=str, description="标题")
    unit: UnitFilter = Field(default_factory=str, description="改由哪个单位负责:编码,或文件中印出的任一名称")
    leader: PersonInCharge | None = Field(default=None, description="牵头的县级领导;null 为去掉")
    person: PersonInCharge | None = Field(default=None, description="责任人;null 为去掉")
    scheme: Scheme | None = Field(default=None, description="工作方案;null 为去掉")
    milestones: list[MilestoneWrite] = Field(
        default_factory=list[MilestoneWrite], max_length=50, description="节点,按办理的先后;整体取代原有的"
    )
    investment: InvestmentWrite | None = Field(default=None, description="投资;只有项目才有;null 为去掉")
    starts_on: AskedDay | None = Field(default=None, description="何日开始;null 为去掉")
    due_on: AskedDay | None = Field(default=None, description="应于何日前完成(含当日);null 为去掉")
    state: WorkItemState = Field(default=WorkItemState.PLANNED, description="推进状态")


class MilestoneRead(Read):
    """A step with its day, and whether it is late."""

    title: str = Field(description="节点", examples=["主体完工"])
    due_on: date = Field(description="应于何日前完成(含当日)")
    done_on: date | None = Field(description="何日完成;未完成为 null")
    overdue: bool = Field(description="截至所问之日是否逾期未完成")


class InvestmentRead(Read):
    """What a project costs."""

    planned: Figure = Field(description="计划投资,万元", examples=[1200])
    done: Figure = Field(description="完成投资,万元", examples=[350.5])
    unit_of_measure: Literal["万元"] = Field(default="万元", description="计量单位")


class WorkItemContent(Read):
    """What an item says."""

    revision: int = Field(description="版本号,从 1 起", examples=[1])
    title: str = Field(description="标题", examples=["新建城区公办幼儿园"])
    unit: UnitRef = Field(description="责任单位")
    leader: PersonInCharge | None = Field(description="牵头的县级领导;没有为 null")
    person: PersonInCharge | None = Field(description="责任人;没有为 null")
    scheme: str | None = Field(description="工作方案;没有为 null")
    milestones: list[MilestoneRead] = Field(description="节点,按办理的先后")
    investment: InvestmentRead | None = Field(description="投资;没有为 null")
    starts_on: date | None = Field(description="何日开始")
    due_on: date | None = Field(description="应于何日前完成(含当日)")
    state: WorkItemState = Field(description="推进状态")
    six_ones: dict[SixOne, bool] | None = Field(description="“六个一”各项是否具备;不是项目的为 null")
    missing: list[SixOne] = Field(description="项目所缺的“六个一”;已取消的与不是项目的为空")


class WorkItemRead(WorkItemContent):
    """An item of a list as it stands, or stood."""

    id: UUID = Field(description="编号(UUIDv7)")
    plan: PlanCode
    battle: BattleCode
    task: TaskCode
    kind: WorkItemKind = Field(description="列入哪一种清单")
    created_at: Instant = Field(description="建立时刻")
    changed_at: Instant = Field(description="这一版自何时起")
    incomplete: bool = Field(description="是否缺“六个一”中的任一项")
    milestone_overdue: bool = Field(description="截至所问之日是否有节点逾期未完成")
    explanation: str = Field(description="一句话说明", examples=["项目缺“六个一”中的一名责任人(附件6/三/(三))"])
    allowed_actions: list[WorkItemAction] = Field(description=OFFERED)


class WorkItemRevisionRead(WorkItemContent):
    """One revision of an item."""

    at: Instant = Field(description="自何时起")
    by: str = Field(description="何人建立或修改", examples=["县教育局办公室"])
    reason: str | None = Field(description="为何修改;第一版为 null")


class WorkItemHistory(Read):
    """All revisions of an item."""

    id: UUID = Field(description="编号(UUIDv7)")
    revisions: list[WorkItemRevisionRead] = Field(description="各版本,旧的在前")


class WorkItemPage(PageRead[WorkItemRead]):
    """一页清单事项."""


class WorkItemQuery(ListQuery):
    """Filters of the list of work items."""

    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    battle: BattleCode | None = Field(default=None, description="只要该仗的")
    task: TaskCode | None = Field(default=None, description="只要该任务的")
    unit: UnitFilter | None = Field(default=None, description="责任单位:编码,或文件中印出的任一名称")
    kind: WorkItemKind | None = Field(default=None, description="只要这一种清单的")
    state: WorkItemState | None = Field(default=None, description="只要处于该推进状态的")
    incomplete: bool | None = Field(default=None, description="true 只要缺“六个一”的项目,false 只要不缺的")
    milestone_overdue: bool | None = Field(default=None, description="true 只要有节点逾期未完成的,false 只要没有的")
    q: SearchWords | None = Field(default=None, description="检索标题、方案、人员与节点;标题支持拼音与首字母")
    as_of: AsOf = None
    sort: Literal["id", "-id"] = Field(default="id", description="排序:按建立先后;前加 - 为倒序")
