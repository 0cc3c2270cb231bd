"""How far tasks are, period by period and rolled up."""

from pydantic import Field

from app.domain.progress import Light, Stage
from app.domain.workflow import SubmissionState
from app.schemas.base import Figure, Instant, PeriodCode, Read, TaskCode
from app.schemas.task import UnitRef

__all__ = ["ProgressPoint", "RollUpRead", "TaskProgressRead"]


class ProgressPoint(Read):
    """What one unit reported for one period, against the schedule at the period's end."""

    period: PeriodCode
    unit: UnitRef = Field(description="报送单位")
    state: SubmissionState
    revision: int = Field(description="所取的版本:当时有效的(已认定的);尚未认定的取最近报送的")
    certified: bool = Field(description="该版本当时是否已认定;未认定的不计入任务、仗与总体方案的进度")
    stage: Stage
    percent_complete: Figure = Field(description="完成进度")
    scheduled: Figure = Field(description="期末的序时进度:该单位自定了节点的按节点,没有的按年度均匀推进")
    deviation: Figure = Field(description="偏差(百分点):完成进度 − 序时进度")
    light: Light


class TaskProgressRead(Read):
    """The series of a task."""

    task: TaskCode
    items: list[ProgressPoint] = Field(description="各期各单位的进度,早的在前;尚未报送的草稿不列")


class RollUpRead(Read):
    """How far a battle or a plan is, from the certified reports."""

    code: str = Field(description="仗或总体方案的编码", examples=["431228-2023-6"])
    as_of: Instant = Field(description="截至时刻")
    tasks: int = Field(description="任务数")
    reported: int = Field(description="已有认定进度的任务数")
    stages: dict[Stage, int] = Field(description="各阶段的任务数;没有认定进度的计入未启动")
    lights: dict[Light, int] = Field(description="各档亮灯的任务数;没有认定进度的不计")
    completion_rate: Figure | None = Field(description="已完成的任务占比(%);没有任务时为 null")
    scheduled: Figure = Field(description="当日的序时进度,按年度均匀推进;偏差与亮灯另计入各单位自定的节点")
    mean_deviation: Figure | None = Field(description="有认定进度的任务的平均偏差(百分点);没有时为 null")
    targets: int = Field(description="有数值的目标数")
    targets_reached: int = Field(
        description="已认定的数值达到目标值的目标数:当期口径的取年内各期之和,累计与时点口径的取最近一期"
    )
    explanation: str = Field(
        description="一句话说明",
        examples=[
            "截至 2023-07-02,22 项任务中 20 项有认定进度,已完成 2 项(9.09%);序时进度 50.14%,平均偏差 -3.5 个百分点"
        ],
    )
