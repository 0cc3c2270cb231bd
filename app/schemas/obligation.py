"""应报: what is owed until when, how it stands, and how well units keep their deadlines."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.domain.actions import ObligationAction
from app.domain.deadlines import LateStage, ObligationStatus, WaiverKind
from app.schemas.base import (
    OFFERED,
    AskedInstant,
    AsOf,
    BattleCode,
    Figure,
    Instant,
    ListQuery,
    PageRead,
    PeriodCode,
    PlanCode,
    Read,
    RuleCode,
    TaskCode,
    UnitFilter,
)
from app.schemas.task import UnitRef

__all__ = [
    "CheckQuery",
    "CheckRead",
    "ComplianceQuery",
    "ComplianceRead",
    "ComplianceRow",
    "ExtensionCreate",
    "ExtensionItem",
    "ExtensionPage",
    "ExtensionRead",
    "GrantQuery",
    "GrantRead",
    "ObligationPage",
    "ObligationQuery",
    "ObligationRead",
    "Ratio",
    "WaiverCreate",
    "WaiverItem",
    "WaiverPage",
    "WaiverRead",
]


class ObligationQuery(ListQuery):
    """Filters of the obligation list."""

    rule: RuleCode | None = Field(default=None, description="只要该规则的")
    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    battle: BattleCode | None = Field(default=None, description="只要该仗的")
    unit: UnitFilter | None = Field(default=None, description="责任单位:编码,或文件中印出的任一名称")
    task: TaskCode | None = Field(default=None, description="只要该任务的")
    period: PeriodCode | None = Field(default=None, description="只要该报送期的")
    status: ObligationStatus | None = Field(default=None, description="只要处于该状态的")
    as_of: AsOf = None
    sort: Literal["due_at", "-due_at"] = Field(default="due_at", description="排序:按期限;前加 - 为倒序")


class ExtensionRead(Read):
    """延期."""

    due_at: Instant = Field(description="延至")
    reason: str = Field(description="理由")
    approver: str = Field(description="批准人")
    granted_at: Instant = Field(description="批准时刻(服务器时间)")


class WaiverRead(Read):
    """免报或零报告."""

    kind: WaiverKind
    reason: str = Field(description="理由")
    approver: str = Field(description="批准人")
    granted_at: Instant = Field(description="批准时刻(服务器时间)")


class ObligationRead(Read):
    """One expected report and how it stood at ``as_of``."""

    rule: RuleCode
    plan: PlanCode
    battle: BattleCode | None = Field(description="所属的仗;不分仗的为 null")
    unit: UnitRef = Field(description="应报单位")
    task: TaskCode | None = Field(description="应报的任务;不分任务的为 null")
    period: PeriodCode
    status: ObligationStatus
    due_at: Instant = Field(description="原定期限:按时的最后一刻")
    effective_due_at: Instant = Field(description="有效期限:经批准延期后的最后一刻")
    lock_at: Instant = Field(description="补报期限:此后未经延期不再接收,记为漏报")
    submitted_at: Instant | None = Field(description="报送时刻;尚未报送为 null")
    filed_at: Instant | None = Field(description="报出(经评估认定)时刻;尚未报出为 null")
    late_by_seconds: int | None = Field(description="迟了多少秒;未迟为 null")
    late_stage: LateStage | None = Field(description="迟在哪一环节;未迟为 null")
    on_time_originally: bool | None = Field(description="按原定期限是否按时;尚无定论为 null")
    rule_version: int = Field(description="所依据的规则版本", examples=[1])
    calendar_version: str = Field(description="所依据的工作日历版本", examples=["chinesecalendar 1.11.0"])
    provisional: bool = Field(description="节假日安排尚未公布,期限为暂定")
    extension: ExtensionRead | None = Field(description="当时有效的延期")
    waiver: WaiverRead | None = Field(description="当时有效的免报")
    explanation: str = Field(description="一句话说明")
    allowed_actions: list[ObligationAction] = Field(description=OFFERED)


class ObligationPage(PageRead[ObligationRead]):
    """一页应报."""


class CheckQuery(BaseModel):
    """What filing is asked about."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: RuleCode
    plan: PlanCode | None = Field(default=None, description="规则属于哪个总体方案;只有一个方案时可省略")
    unit: UnitFilter | None = Field(default=None, description="报送单位;给出时计入该单位获准的延期")
    period: PeriodCode | None = Field(default=None, description="报送期;省略则为 at 所在的一期")
    at: AskedInstant | None = Field(default=None, description="报出时刻(RFC 3339,须带时区);省略为现在")


class CheckRead(Read):
    """Would a filing at that instant be on time?"""

    rule: RuleCode
    plan: PlanCode
    unit: UnitRef | None = Field(description="报送单位;未问及为 null")
    period: PeriodCode
    at: Instant = Field(description="所问的报出时刻")
    due_at: Instant = Field(description="有效期限:按时的最后一刻")
    original_due_at: Instant = Field(description="原定期限")
    on_time: bool = Field(description="是否按时")
    remaining_seconds: int = Field(description="距期限还有多少秒;已过期限为负")
    provisional: bool = Field(description="节假日安排尚未公布,期限为暂定")
    explanation: str = Field(
        description="一句话说明",
        examples=["2023-04 的月进度表应于 2023年4月20日24时前报出;2023-04-20 23:59:59 报出为按时"],
    )


class ComplianceQuery(BaseModel):
    """Whose timeliness, over which periods, by what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: RuleCode
    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    from_: PeriodCode | None = Field(default=None, alias="from", description="起始报送期(含)")
    to: PeriodCode | None = Field(default=None, description="截止报送期(含)")
    group_by: Literal["unit", "battle", "period", "task", "region"] = Field(default="unit", description="按什么分组")
    as_of: AsOf = None
    sort: Literal["key", "-key", "timeliness", "-timeliness", "late", "-late", "missed", "-missed"] = Field(
        default="key", description="排序;前加 - 为倒序"
    )


class Ratio(Read):
    """A rate with what it was made of."""

    numerator: int = Field(description="分子")
    denominator: int = Field(description="分母:已到期且未免报的应报数")
    percent: Figure | None = Field(description="百分比,两位小数;分母为 0 时为 null", examples=[96.43])


class ComplianceRow(Read):
    """The figures of one group, or of all."""

    key: str = Field(description="分组的编码(单位、仗、报送期、任务或地区);合计为 all")
    name: str = Field(description="分组的名称")
    expected: int = Field(description="应报数,含免报的与未到期的")
    not_due: int = Field(description="未到期且未报出的")
    on_time: int = Field(description="按时报出的")
    late: int = Field(description="迟报的")
    overdue: int = Field(description="逾期未报、尚可补报的")
    missed: int = Field(description="漏报的")
    waived: int = Field(description="免报的")
    completeness: Ratio = Field(description="报送率:已报出 ÷ 分母")
    timeliness: Ratio = Field(description="按时率:按时报出 ÷ 分母")


class ComplianceRead(Read):
    """How well reports came in."""

    rule: RuleCode
    as_of: Instant = Field(description="截至时刻")
    group_by: str = Field(description="按什么分组", examples=["unit"])
    items: list[ComplianceRow] = Field(description="各组")
    total: ComplianceRow = Field(description="合计")
    explanation: str = Field(description="一句话说明")


class _Grant(BaseModel):
    """What a decision about one unit's obligations says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: RuleCode
    plan: PlanCode | None = Field(default=None, description="规则属于哪个总体方案;只有一个方案时可省略")
    unit: UnitFilter
    period: PeriodCode
    task: TaskCode | None = Field(default=None, description="只对该任务;省略则为该单位该期全部")
    reason: str = Field(min_length=1, max_length=500, pattern=r"^[^\x00]*[^\s\x00][^\x00]*$", description="理由")
    approver: str = Field(min_length=1, max_length=80, pattern=r"^[^\x00]*[^\s\x00][^\x00]*$", description="批准人")


class ExtensionCreate(_Grant):
    """A new due instant for what one unit owes."""

    due_at: AskedInstant = Field(description="延至何时(RFC 3339,须带时区):按时的最后一刻")


class WaiverCreate(_Grant):
    """What one unit need not report."""

    kind: WaiverKind = Field(description="exempt 免报,nil 零报告")


class GrantRead(Read):
    """A decision that was kept."""

    id: UUID = Field(description="决定的编号(UUIDv7)")
    obligations: int = Field(description="涉及的应报条数", examples=[1])
    granted_at: Instant = Field(description="批准时刻(服务器时间)")
    explanation: str = Field(description="一句话说明")


class GrantQuery(ListQuery):
    """Filters of the lists of extensions and waivers."""

    rule: RuleCode | None = Field(default=None, description="只要该规则的")
    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    unit: UnitFilter | None = Field(default=None, description="责任单位:编码,或文件中印出的任一名称")
    task: TaskCode | None = Field(default=None, description="只要单对该任务批准的")
    period: PeriodCode | None = Field(default=None, description="只要该报送期的")
    as_of: AsOf = None
    sort: Literal["id", "-id"] = Field(default="id", description="排序:按批准先后;前加 - 为倒序")


class _Granted(Read):
    """What was granted to one unit."""

    id: UUID = Field(description="决定的编号(UUIDv7)")
    rule: RuleCode
    plan: PlanCode
    unit: UnitRef = Field(description="获准的单位")
    task: TaskCode | None = Field(description="只对该任务;null 为该单位该期全部")
    period: PeriodCode
    reason: str = Field(description="理由")
    approver: str = Field(description="批准人")
    granted_at: Instant = Field(description="批准时刻(服务器时间)")


class ExtensionItem(_Granted):
    """延期."""

    due_at: Instant = Field(description="延至何时:按时的最后一刻")


class WaiverItem(_Granted):
    """免报或零报告."""

    kind: WaiverKind = Field(description="exempt 免报,nil 零报告")


class ExtensionPage(PageRead[ExtensionItem]):
    """一页延期."""


class WaiverPage(PageRead[WaiverItem]):
    """一页免报与零报告."""
