"""Tasks, their clauses and the units a clause assigns."""

from typing import Literal

from pydantic import ConfigDict, Field, JsonValue

from app.domain.plan import AssignmentRole
from app.domain.progress import Light, Stage
from app.schemas.base import (
    AskedInstant,
    BattleCode,
    GroupCode,
    ListQuery,
    Locator,
    PageRead,
    PlanCode,
    Read,
    SearchWords,
    TaskCode,
    UnitCode,
    UnitFilter,
)
from app.schemas.target import EXAMPLE as TARGET_EXAMPLE
from app.schemas.target import TargetRead

__all__ = [
    "AssignmentRead",
    "ClauseRead",
    "TaskItem",
    "TaskPage",
    "TaskQuery",
    "TaskRead",
    "UnitRef",
    "UnitTaskQuery",
]

TaskSort = Literal["code", "-code", "title", "-title"]


class TaskQuery(ListQuery):
    """Filters of the task list."""

    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    battle: BattleCode | None = Field(default=None, description="只要该仗的")
    group: GroupCode | None = Field(default=None, description="只要该任务组的")
    unit: UnitFilter | None = Field(default=None, description="责任单位:编码,或文件中印出的任一名称")
    role: AssignmentRole | None = Field(
        default=None,
        description="责任角色:与 unit 同用时指该单位的角色,单用时指任务中有此角色;组标题的括注计入组内各任务",
    )
    q: SearchWords | None = Field(default=None, description="检索标题、交付内容、责任单位;支持拼音与首字母")
    stage: Stage | None = Field(
        default=None, description="只要处于该阶段的(按各报送单位最新的认定进度;没有认定进度的为未启动)"
    )
    light: Light | None = Field(default=None, description="只要亮该档灯的(按当日的序时进度;没有认定进度的不亮灯)")
    as_of: AskedInstant | None = Field(
        default=None, description="stage 与 light 截至哪一时刻(RFC 3339,须带时区);省略为现在。其他条件不随时刻而变"
    )
    has_targets: bool | None = Field(default=None, description="是否设有目标")
    sort: TaskSort = Field(default="code", description="排序;前加 - 为倒序")


class UnitTaskQuery(ListQuery):
    """Filters of a unit's tasks."""

    role: AssignmentRole | None = Field(default=None, description="该单位在任务中的角色")
    sort: TaskSort = Field(default="code", description="排序;前加 - 为倒序")


class UnitRef(Read):
    """A unit by code and name."""

    unit: UnitCode
    name: str = Field(description="规范名称", examples=["县发改局"])


class AssignmentRead(UnitRef):
    """A unit in a responsible-unit bracket."""

    printed_name: str = Field(description="该处印出的名称", examples=["县发展与改革局"])
    role: AssignmentRole
    position: int = Field(description="在括注中的次序,从 1 起", examples=[1])


class ClauseRead(Read):
    """A responsible-unit bracket."""

    code: str = Field(description="条款编码", examples=["431228-2023-1-2-5.1"])
    ordinal: int = Field(description="在任务中的次序,从 1 起", examples=[1])
    summary: str | None = Field(description="这一部分的内容;任务只有一个括注时为 null")
    open_ended: bool = Field(description="名单以“等”结尾,可有其他单位参加")
    note: str | None = Field(description="括注中的限定语", examples=["按职责分工"])
    assignments: list[AssignmentRead]


_EXAMPLE: dict[str, JsonValue] = {
    "code": "431228-2023-1-2-5",
    "plan": "431228-2023",
    "battle": "431228-2023-1",
    "group": "431228-2023-1-2",
    "number": 5,
    "title": "支持农业基础设施建设",
    "locator": "附件1/二/(二)/5",
    "deliverables": "编制农田规划,建设高标准农田,治理㵲水重要河段,加固病险水库,申报国家产业融合示范园,完善防灾设施",
    "upstream_note": None,
    "leads": [{"unit": "431228-nyncj", "name": "县农业农村局"}],
    "clauses": [
        {
            "code": "431228-2023-1-2-5.1",
            "ordinal": 1,
            "summary": None,
            "open_ended": True,
            "note": None,
            "assignments": [
                {
                    "unit": "431228-nyncj",
                    "name": "县农业农村局",
                    "printed_name": "县农业农村局",
                    "role": "lead",
                    "position": 1,
                },
                {
                    "unit": "431228-fgj",
                    "name": "县发改局",
                    "printed_name": "县发改局",
                    "role": "responsible",
                    "position": 2,
                },
                {
                    "unit": "431228-slj",
                    "name": "县水利局",
                    "printed_name": "县水利局",
                    "role": "responsible",
                    "position": 3,
                },
                {
                    "unit": "431228-cykfq",
                    "name": "县产业开发区",
                    "printed_name": "县产业开发区",
                    "role": "responsible",
                    "position": 4,
                },
            ],
        }
    ],
    "group_clause": None,
}


class TaskItem(Read):
    """A task as lists show it."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    code: TaskCode
    plan: PlanCode
    battle: BattleCode
    group: GroupCode
    number: int = Field(description="原文序号", examples=[5])
    title: str = Field(description="标题", examples=["支持农业基础设施建设"])
    locator: Locator
    deliverables: str = Field(description="交付内容(概括)")
    upstream_note: str | None = Field(description="以上级下达为准的说明", examples=["具体任务以省里下达为准"])
    leads: list[UnitRef] = Field(description="全部牵头单位,含组标题括注中的")
    clauses: list[ClauseRead] = Field(description="任务自己的责任括注;原文没有括注时为空")
    group_clause: ClauseRead | None = Field(description="所在组标题的责任括注,同样适用于本任务")


class TaskRead(TaskItem):
    """A task with its targets."""

    model_config = ConfigDict(json_schema_extra={"example": {**_EXAMPLE, "targets": [TARGET_EXAMPLE]}})

    targets: list[TargetRead] = Field(description="任务的目标,按原文次序")


class TaskPage(PageRead[TaskItem]):
    """一页任务."""
