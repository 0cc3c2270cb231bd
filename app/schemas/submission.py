"""进度报送: one unit's report on one task for one period, its revisions and its steps."""

from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticKnownError

from app.domain.actions import FormAction
from app.domain.deadlines import LateStage, ObligationStatus
from app.domain.progress import Stage, WarningCode
from app.domain.workflow import SubmissionAction, SubmissionState
from app.schemas.base import (
    OFFERED,
    AskedInstant,
    BattleCode,
    Figure,
    Instant,
    ListQuery,
    PageRead,
    PeriodCode,
    PlanCode,
    Read,
    RuleCode,
    TargetCode,
    TaskCode,
    UnitFilter,
)
from app.schemas.task import UnitRef

__all__ = [
    "BatchCreate",
    "BatchQuery",
    "BatchRead",
    "BatchResult",
    "CertificationCreate",
    "CertifyStep",
    "CorrectionCreate",
    "FormItem",
    "FormLine",
    "FormRead",
    "FormWrite",
    "HistoryRead",
    "ObservationRead",
    "ObservationWrite",
    "ReceiptRead",
    "ReturnStep",
    "SubmissionCreate",
    "SubmissionPage",
    "SubmissionPatch",
    "SubmissionQuery",
    "SubmissionRead",
    "SubmitStep",
    "WarningRead",
]


def _number(value: object) -> object:
    """Take nothing but a JSON number: Pydantic alone would read a text or a truth value as one."""
    if isinstance(value, (str, bool)):
        raise PydanticKnownError("decimal_type")
    # As Pydantic does it, which goes a longer way.
    return Decimal(repr(value)) if isinstance(value, float) else value


Percent = Annotated[
    Decimal,
    Field(ge=0, le=100, max_digits=5, decimal_places=2, allow_inf_nan=False),
    BeforeValidator(_number),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 100}),
]
Reported = Annotated[
    Decimal,
    Field(max_digits=15, allow_inf_nan=False),
    BeforeValidator(_number),
    WithJsonSchema({"type": "number"}),
]
Prose = Annotated[str, Field(max_length=2000, pattern=r"^[^\x00]*$")]
Said = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]*[^\s\x00][^\x00]*$")]
_STRICT = ConfigDict(extra="forbid", frozen=True)


class ObservationWrite(BaseModel):
    """A figure for one target of the task."""

    model_config = _STRICT

    target: TargetCode
    value: Reported = Field(description="数值,按指标的计量单位", examples=[1.2])


class ReportWrite(BaseModel):
    """What a report says."""

    model_config = _STRICT

    stage: Stage = Field(description="进展阶段")
    percent_complete: Percent = Field(description="完成进度,0-100,两位小数", examples=[33.5])
    progress: Prose = Field(default="", description="进展情况")
    problems: Prose | None = Field(default=None, description="存在问题")
    next_steps: Prose | None = Field(default=None, description="下步打算")
    observations: list[ObservationWrite] = Field(
        default_factory=list[ObservationWrite], max_length=100, description="各项目标的数值"
    )
    as_of: AskedInstant | None = Field(default=None, description="客户端自己的时刻,只作备注;期限只看服务器收到的时刻")


class SubmissionCreate(ReportWrite):
    """A report on one task for one period."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "task": "431228-2023-6-3-3",
                "unit": "县农业农村局",
                "period": "2023-05",
                "stage": "in_progress",
                "percent_complete": 40,
                "progress": "首批地块已开工",
                "observations": [],
            }
        }
    )

    task: TaskCode
    unit: UnitFilter
    period: PeriodCode
    submit: bool = Field(default=True, strict=True, description="是否即行报送;false 只存为草稿")


class SubmissionPatch(ReportWrite):
    """The report as it should be; only a draft or a returned one can be edited."""


class CorrectionCreate(ReportWrite):
    """A new revision of a certified report; the old one is kept."""

    reason: Said = Field(description="更正理由")
    submit: bool = Field(default=True, strict=True, description="是否即行报送")


class SubmitStep(BaseModel):
    """Hand a draft in."""

    model_config = _STRICT

    reason: Said | None = Field(default=None, description="说明")


class CertifyStep(BaseModel):
    """Confirm the figures."""

    model_config = _STRICT

    by: UnitFilter | None = Field(
        default=None, description="评估认定单位,须为您所代表的;只代表一个单位时可省略", examples=["县统计局"]
    )
    reason: Said | None = Field(default=None, description="说明")


class ReturnStep(BaseModel):
    """Send the figures back."""

    model_config = _STRICT

    by: UnitFilter | None = Field(
        default=None, description="评估认定单位,须为您所代表的;只代表一个单位时可省略", examples=["县统计局"]
    )
    reason: Said = Field(description="退回理由")


class CertificationCreate(CertifyStep):
    """Confirm many at once."""

    ids: list[UUID] = Field(min_length=1, max_length=500, description="报送编号")


class BatchQuery(BaseModel):
    """How a batch is taken."""

    model_config = _STRICT

    atomic: bool = Field(default=False, description="true 全部接受或全部不接受;false 逐条处理")
    dry_run: bool = Field(default=False, description="true 只检查,不写入")


class BatchCreate(BaseModel):
    """Several reports."""

    model_config = _STRICT

    items: list[SubmissionCreate] = Field(min_length=1, max_length=500, description="各份报送")


class FormLine(ReportWrite):
    """One task of a form."""

    task: TaskCode


class FormWrite(BaseModel):
    """The whole form of a unit for a period."""

    model_config = _STRICT

    items: list[FormLine] = Field(min_length=1, max_length=500, description="各项任务的进度")
    submit: bool = Field(default=True, strict=True, description="是否即行报送;false 只存为草稿")


class WarningRead(Read):
    """Something that looks odd about a report that was accepted."""

    code: WarningCode
    detail: str = Field(description="说明")


class ObservationRead(Read):
    """A reported figure."""

    target: TargetCode
    value: Figure = Field(description="数值")


class SubmissionRead(Read):
    """A submission with its newest revision."""

    id: UUID = Field(description="报送编号(UUIDv7)")
    task: TaskCode
    unit: UnitRef = Field(description="报送单位")
    plan: PlanCode
    battle: BattleCode
    period: PeriodCode
    state: SubmissionState
    revision: int = Field(description="最新版本号", examples=[1])
    certified_revision: int | None = Field(description="现行(已认定)的版本号;尚未认定为 null")
    stage: Stage
    percent_complete: Figure = Field(description="完成进度")
    progress: str = Field(description="进展情况")
    problems: str | None = Field(description="存在问题")
    next_steps: str | None = Field(description="下步打算")
    observations: list[ObservationRead] = Field(description="各项目标的数值")
    as_of: Instant | None = Field(description="客户端自己的时刻(备注)")
    warnings: list[WarningRead] = Field(description="接受时发现的疑点")
    submitted_at: Instant | None = Field(description="报送时刻(服务器时间)")
    certified_at: Instant | None = Field(description="认定即报出时刻(服务器时间)")
    content_hash: str = Field(description="内容的 SHA-256")
    allowed_actions: list[SubmissionAction] = Field(description=OFFERED)


class SubmissionPage(PageRead[SubmissionRead]):
    """一页进度报送."""


class SubmissionQuery(ListQuery):
    """Filters of the submission list."""

    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    task: TaskCode | None = Field(default=None, description="只要该任务的")
    unit: UnitFilter | None = Field(default=None, description="责任单位:编码,或文件中印出的任一名称")
    battle: BattleCode | None = Field(default=None, description="只要该仗的")
    period: PeriodCode | None = Field(default=None, description="只要该报送期的")
    status: SubmissionState | None = Field(default=None, description="只要处于该状态的")
    sort: Literal["id", "-id"] = Field(default="id", description="排序:按创建先后;前加 - 为倒序")


class BatchResult(Read):
    """What became of one report of a batch."""

    index: int = Field(description="在请求中的次序,从 0 起")
    status: int = Field(description="该条的状态码:201 已创建,200 已完成或检查通过(dry_run),403、404、409、422 未接受")
    id: UUID | None = Field(description="报送编号;未创建为 null")
    warnings: list[WarningRead] = Field(description="疑点")
    errors: list[dict[str, str]] = Field(description="未接受的原因:pointer、code、detail")


class BatchRead(Read):
    """What became of a batch."""

    accepted: int = Field(description="接受的条数")
    refused: int = Field(description="未接受的条数")
    results: list[BatchResult] = Field(description="逐条结果")


class StepRead(Read):
    """One step that was taken."""

    revision: int = Field(description="版本号")
    action: SubmissionAction
    to_state: SubmissionState
    at: Instant = Field(description="时刻(服务器时间)")
    by: UnitRef = Field(description="由谁")
    reason: str | None = Field(description="理由")


class RevisionRead(Read):
    """What one revision reported."""

    revision: int = Field(description="版本号")
    stage: Stage
    percent_complete: Figure = Field(description="完成进度")
    progress: str = Field(description="进展情况")
    submitted_at: Instant | None = Field(description="报送时刻")
    certified_at: Instant | None = Field(description="认定时刻")
    content_hash: str = Field(description="内容的 SHA-256")


class HistoryRead(Read):
    """All revisions and all steps of a submission."""

    id: UUID = Field(description="报送编号")
    revisions: list[RevisionRead] = Field(description="各版本,旧的在前")
    steps: list[StepRead] = Field(description="各步骤,早的在前")


class ReceiptRead(Read):
    """回执: what a unit shows in a dispute."""

    id: UUID = Field(description="报送编号")
    server_time: Instant = Field(description="出具时刻(服务器时间)")
    task: TaskCode
    unit: UnitRef = Field(description="报送单位")
    rule: RuleCode
    period: PeriodCode
    revision: int = Field(description="版本号")
    content_hash: str = Field(description="内容的 SHA-256")
    submitted_at: Instant | None = Field(description="报送时刻")
    filed_at: Instant | None = Field(description="报出时刻")
    due_at: Instant = Field(description="有效期限")
    status: ObligationStatus
    late_stage: LateStage | None = Field(description="迟在哪一环节")
    explanation: str = Field(description="一句话说明")


class FormItem(Read):
    """One task that the unit owes in this period."""

    task: TaskCode
    title: str = Field(description="任务标题")
    due_at: Instant = Field(description="有效期限")
    submission: SubmissionRead | None = Field(description="已有的报送;尚无为 null")
    allowed_actions: list[FormAction] = Field(description=OFFERED)


class FormRead(Read):
    """The monthly form of a unit: every task it owes."""

    unit: UnitRef = Field(description="报送单位")
    period: PeriodCode
    items: list[FormItem] = Field(description="各项任务")
    allowed_actions: list[FormAction] = Field(description=OFFERED)
