"""序时进度: the schedule that a unit gives for a task, as monthly points."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.domain.actions import ScheduleAction
from app.schemas.base import OFFERED, AsOfQuery, Figure, Instant, Read, TaskCode, UnitFilter
from app.schemas.submission import Percent, Said
from app.schemas.task import UnitRef

__all__ = [
    "SchedulePoint",
    "SchedulePointWrite",
    "ScheduleQuery",
    "ScheduleWrite",
    "TaskSchedulesRead",
    "UnitScheduleRead",
]

MonthCode = Annotated[
    str,
    StringConstraints(pattern=r"^\d{4}-(0[1-9]|1[0-2])$"),
    Field(description="月份,须在方案年度内", examples=["2023-05"]),
]


class ScheduleQuery(AsOfQuery):
    """Whose schedule, as of when."""

    unit: UnitFilter | None = Field(default=None, description="只要该单位的:编码,或文件中印出的任一名称")


class SchedulePoint(Read):
    """What is due at the end of a month."""

    period: MonthCode
    percent: Figure = Field(description="该月月末应完成的进度(%)", examples=[20])


class UnitScheduleRead(Read):
    """The schedule of one unit for one task."""

    task: TaskCode
    unit: UnitRef = Field(description="报送单位")
    version: int = Field(description="第几版;0 为未自定,按年度均匀推进", examples=[1])
    points: list[SchedulePoint] = Field(
        description="各月末的节点,早的在前;节点之间均匀推进,最后一个节点之后不变;空为按年度均匀推进"
    )
    reason: str | None = Field(description="制定这一版的理由;未自定为 null")
    set_at: Instant | None = Field(description="这一版的制定时刻(服务器时间),自此时起计入偏差与亮灯;未自定为 null")
    explanation: str = Field(
        description="一句话说明",
        examples=["县教育局自 2023-04-12 12:00:00 起按第 1 版节点推进:5 月末 20%、12 月末 100%"],
    )
    allowed_actions: list[ScheduleAction] = Field(description=OFFERED)


class TaskSchedulesRead(Read):
    """The schedules of a task."""

    task: TaskCode
    items: list[UnitScheduleRead] = Field(description="各报送单位的序时进度,按单位编码排序")


class SchedulePointWrite(BaseModel):
    """What is to be due at the end of a month."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    period: MonthCode
    percent: Percent = Field(description="该月月末应完成的进度(%),0-100,两位小数;不得低于更早的节点", examples=[20])


class ScheduleWrite(BaseModel):
    """A schedule to take the place of the one in force."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "example": {
                "points": [{"period": "2023-05", "percent": 20}, {"period": "2023-12", "percent": 100}],
                "reason": "汛期过后才能施工",
            }
        },
    )

    points: list[SchedulePointWrite] = Field(max_length=12, description="各月末的节点;空为回到按年度均匀推进")
    reason: Said = Field(description="理由")
