"""Figures that came from above after the plan was issued."""

from pydantic import BaseModel, ConfigDict, Field

from app.domain.actions import FigureAction
from app.domain.plan import Accumulation, Direction, Operator
from app.schemas.agenda import AskedDay
from app.schemas.base import OFFERED, Read, TargetCode, TaskCode
from app.schemas.submission import Reported
from app.schemas.target import EXAMPLE, TargetRead

__all__ = ["DocumentWrite", "FigureCreate", "GivenFigureRead", "GivenFiguresRead"]

_STRICT = ConfigDict(extra="forbid", frozen=True)
_TEXT = r"^[^\x00]*[^\s\x00][^\x00]*$"


class DocumentWrite(BaseModel):
    """The document that gave a figure."""

    model_config = _STRICT

    number: str = Field(min_length=1, max_length=80, pattern=_TEXT, description="文号", examples=["湘民发〔2023〕9号"])
    title: str = Field(min_length=1, max_length=200, pattern=_TEXT, description="标题")
    issuer: str = Field(min_length=1, max_length=80, pattern=_TEXT, description="发文机关", examples=["省民政厅"])
    issued_on: AskedDay = Field(description="成文日期", examples=["2023-05-10"])


class FigureCreate(BaseModel):
    """A figure for a task, with the document that gave it."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "example": {
                "indicator": "新建村级养老服务站点",
                "unit_of_measure": "个",
                "direction": "higher",
                "accumulation": "cumulative",
                "operator": "gte",
                "value": 12,
                "text": "新建村级养老服务站点12个以上",
                "due_on": "2023-11-30",
                "document": {
                    "number": "湘民发〔2023〕9号",
                    "title": "关于下达2023年基本养老服务任务的通知",
                    "issuer": "省民政厅",
                    "issued_on": "2023-05-10",
                },
            }
        },
    )

    indicator: str = Field(
        min_length=1,
        max_length=80,
        pattern=_TEXT,
        description="指标名称:该地区已有的指标,或新的名称(须同时给出方向与口径)",
    )
    unit_of_measure: str | None = Field(
        default=None, min_length=1, max_length=20, pattern=_TEXT, description="计量单位;已有的指标可省略"
    )
    direction: Direction | None = Field(default=None, description="方向;已有的指标可省略")
    accumulation: Accumulation | None = Field(default=None, description="口径;已有的指标可省略")
    operator: Operator = Field(description="比较方式")
    value: Reported = Field(description="目标值;区间为下限", examples=[12])
    value_max: Reported | None = Field(default=None, description="区间上限;只用于区间")
    text: str = Field(min_length=1, max_length=300, pattern=_TEXT, description="文件中的表述")
    due_on: AskedDay | None = Field(default=None, description="完成日期;省略为计划年度末")
    document: DocumentWrite = Field(description="下达这一数值的文件")
    replaces: TargetCode | None = Field(default=None, description="取代先前补登的哪一个目标;原来的仍可查")


class GivenFigureRead(TargetRead):
    """A target that came from above."""

    model_config = ConfigDict(
        json_schema_extra={"example": {**EXAMPLE, "explanation": "由省民政厅湘民发〔2023〕9号下达,2023-05-18 补登"}}
    )

    explanation: str = Field(
        description="一句话说明",
        examples=["由省民政厅湘民发〔2023〕9号下达,2023-05-18 补登"],
    )


class GivenFiguresRead(Read):
    """The figures that a task was given."""

    task: TaskCode
    upstream_note: str | None = Field(
        description="以上级下达为准的说明;null 为不待上级下达", examples=["以省里下达为准"]
    )
    items: list[GivenFigureRead] = Field(description="补登的目标,早的在前")
    explanation: str = Field(description="一句话说明", examples=["具体任务以省里下达为准;已补登 1 个目标值"])
    allowed_actions: list[FigureAction] = Field(description=OFFERED)
