"""What a bulletin says of its instant: figures that are computed, never written."""

from datetime import date
from uuid import UUID

from pydantic import Field

from app.domain.bulletins import BulletinKind
from app.domain.cases import CaseState
from app.domain.progress import Light, Stage
from app.schemas.base import BattleCode, Figure, Instant, PeriodCode, PlanCode, Read, RuleCode, TargetCode, TaskCode
from app.schemas.obligation import ComplianceRead
from app.schemas.progress import RollUpRead
from app.schemas.task import UnitRef

__all__ = [
    "BulletinBattle",
    "BulletinContent",
    "BulletinDue",
    "BulletinLaggard",
    "BulletinOrder",
    "BulletinReport",
    "BulletinTarget",
    "BulletinTimeliness",
]


class BulletinBattle(Read):
    """One battle of a plan."""

    battle: BattleCode
    name: str = Field(description="仗的名称")
    progress: RollUpRead


class BulletinTarget(Read):
    """A target with its figure."""

    target: TargetCode
    indicator: str = Field(description="指标名称")
    text: str = Field(description="目标的表述")
    aim: str = Field(description="目标值", examples=["不低于 650"])
    unit_of_measure: str | None = Field(description="计量单位")
    figure: Figure | None = Field(description="已认定的数值;没有为 null")
    attained: Figure | None = Field(description="为目标值的百分之几;越低越好、区间与没有数值的为 null")
    reached: bool = Field(description="是否达到")


class BulletinTimeliness(Read):
    """How reports of one rule came in whose time was up in the period: as ``/compliance`` answers."""

    rule: RuleCode
    name: str = Field(description="规则名称")
    first_period: PeriodCode = Field(description="计入的首个报送期:其原定期限在本期之内")
    last_period: PeriodCode = Field(description="计入的最后一个报送期")
    compliance: ComplianceRead = Field(description="与 /compliance 按单位所答相同")


class BulletinReport(Read):
    """What one unit last reported of a task, certified."""

    unit: UnitRef
    period: PeriodCode
    percent_complete: Figure = Field(description="完成进度")
    problems: str | None = Field(description="存在问题(原因),照该单位所报")
    next_steps: str | None = Field(description="下一步打算,照该单位所报")


class BulletinLaggard(Read):
    """A task that is behind its schedule."""

    task: TaskCode
    title: str = Field(description="任务标题")
    stage: Stage
    light: Light
    percent_complete: Figure = Field(description="完成进度:各报送单位的平均")
    scheduled: Figure = Field(description="序时进度:各报送单位的平均")
    deviation: Figure = Field(description="偏差(百分点)")
    reports: list[BulletinReport] = Field(description="各报送单位最近一期已认定的进度")


class BulletinOrder(Read):
    """A supervision order that was open."""

    case: UUID = Field(description="台账编号")
    title: str = Field(description="事项")
    unit: UnitRef = Field(description="责任单位")
    state: CaseState
    level: int = Field(description="督办级别;0 为未升级", examples=[1])
    level_name: str | None = Field(description="该级别的名称;未升级为 null")
    due_on: date | None = Field(description="办理期限;未定为 null")
    overdue: bool = Field(description="是否已过期限")


class BulletinDue(Read):
    """What is due in the next period."""

    rule: RuleCode
    name: str = Field(description="规则名称")
    period: PeriodCode
    due_at: Instant = Field(description="有效期限")
    reports: int = Field(description="尚应报的份数")
    units: list[str] = Field(description="应报单位")


class BulletinContent(Read):
    """The figures of a battle or a plan at an instant."""

    plan: PlanCode
    plan_title: str = Field(description="总体方案的标题")
    battle: BattleCode | None = Field(description="仗;总体方案的为 null")
    battle_name: str | None = Field(description="仗的名称")
    kind: BulletinKind
    period: PeriodCode
    as_of: Instant = Field(description="数据截至时刻")
    progress: RollUpRead = Field(description="与 /battles/{code}/progress、/plans/{code}/progress 所答相同")
    stage_shares: dict[Stage, Figure | None] = Field(description="各阶段任务数占任务总数的百分比")
    light_shares: dict[Light, Figure | None] = Field(description="各档亮灯任务数占任务总数的百分比")
    battles: list[BulletinBattle] = Field(description="各仗的进度;单独一仗的简报为空")
    targets: list[BulletinTarget] = Field(description="有数值的目标;总体方案的简报只列已有认定数值的")
    timeliness: list[BulletinTimeliness] = Field(description="本期内到期的报送")
    laggards: list[BulletinLaggard] = Field(description="滞后与严重滞后的任务,偏差大的在前")
    orders: list[BulletinOrder] = Field(description="已交办、未销号的督办单")
    due_next: list[BulletinDue] = Field(description="下期内到期而尚未报出的")
    explanation: str = Field(description="导语:以上数据的一段话")
