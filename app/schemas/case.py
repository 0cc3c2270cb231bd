"""台账事项: cases of the ledger, the steps taken with them, and how many were closed in time."""

from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.domain.actions import CandidateAction
from app.domain.cases import CaseAction, CaseKind, CaseState
from app.domain.progress import Light, Stage
from app.schemas.account import Seconds as WholeNumber
from app.schemas.agenda import AskedDay
from app.schemas.base import (
    OFFERED,
    AsOf,
    BattleCode,
    Figure,
    Instant,
    ListQuery,
    PageRead,
    PeriodCode,
    PlanCode,
    Read,
    TaskCode,
    UnitFilter,
)
from app.schemas.task import UnitRef

__all__ = [
    "AssignStep",
    "CandidateQuery",
    "CandidateRead",
    "CandidatesRead",
    "CaseCreate",
    "CaseHistoryRead",
    "CasePage",
    "CasePatch",
    "CaseQuery",
    "CaseRead",
    "CaseStepRead",
    "ClosureQuery",
    "ClosureRate",
    "ClosureRead",
    "ClosureRow",
    "DoneStep",
    "EscalateStep",
    "EvidenceCreate",
    "EvidenceRead",
    "HandleStep",
    "NoteStep",
    "ReasonStep",
    "RecheckStep",
    "ReopenStep",
]

_STRICT = ConfigDict(extra="forbid", frozen=True)
_WORDS = r"^[^\x00]*[^\s\x00][^\x00]*$"
Title = Annotated[str, Field(min_length=1, max_length=200, pattern=_WORDS, description="标题")]
Description = Annotated[
    str, Field(min_length=1, max_length=5000, pattern=_WORDS, description="情况说明:是什么问题,要求办到什么程度")
]
Short = Annotated[str, Field(min_length=1, max_length=200, pattern=_WORDS)]
Reason = Annotated[str, Field(min_length=1, max_length=500, pattern=_WORDS)]


class CaseCreate(BaseModel):
    """A case to be registered."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "example": {
                "plan": "431228-2023",
                "battle": "431228-2023-5",
                "kind": "major_hazard",
                "unit": "县住房和城乡建设局",
                "title": "液化气站储罐安全阀超期未检",
                "description": "两台储罐的安全阀超期未检,须停用、送检、更换并复核。",
                "source_ref": "县安委办 2023 年第二季度巡查",
                "place": "芷江镇",
            }
        },
    )

    plan: PlanCode
    battle: BattleCode | None = Field(default=None, description="所属的仗;给出任务时可省略,不属于任何一仗的省略")
    task: TaskCode | None = Field(default=None, description="所涉的任务,须属于该仗")
    kind: CaseKind = Field(description="种类;督办单只能由专班协调与督导角色登记")
    unit: UnitFilter = Field(description="承办的责任单位:编码,或文件中印出的任一名称", examples=["县应急管理局"])
    title: Title
    description: Description
    source_ref: Short | None = Field(default=None, description="来源:文件、巡查轮次、来信等", examples=["第二季度巡查"])
    enterprise: Short | None = Field(default=None, description="所涉企业;企业问题必填")
    place: Short | None = Field(default=None, description="地点")


class CasePatch(BaseModel):
    """What is to change of a case that is not assigned yet; what is left out stays."""

    model_config = _STRICT

    # Never used as they are: what is left out is not looked at.
    unit: UnitFilter = Field(default_factory=str, description="承办的责任单位")
    title: Title = Field(default_factory=str)
    description: Description = Field(default_factory=str)
    source_ref: Short | None = Field(default=None, description="来源;null 为没有")
    enterprise: Short | None = Field(default=None, description="所涉企业;企业问题不能为 null")
    place: Short | None = Field(default=None, description="地点;null 为没有")


class CaseRead(Read):
    """A case, as it stands or stood."""

    id: UUID = Field(description="台账编号(UUIDv7)")
    plan: PlanCode
    battle: BattleCode | None = Field(description="所属的仗;不分仗的为 null")
    task: TaskCode | None = Field(description="所涉的任务;不涉及的为 null")
    kind: CaseKind
    unit: UnitRef = Field(description="承办的责任单位")
    title: str = Field(description="标题")
    description: str = Field(description="情况说明")
    source_ref: str | None = Field(description="来源")
    enterprise: str | None = Field(description="所涉企业")
    place: str | None = Field(description="地点")
    locator: str = Field(description="该种类所依据的原文位置", examples=["附件5/二/(一)/1"])
    registered_at: Instant = Field(description="登记时刻(服务器时间)")
    state: CaseState
    round: int = Field(description="第几次办理:重新立项一次加一", examples=[1])
    responsible_person: str | None = Field(description="责任人;尚未交办为 null", examples=["张三"])
    due_on: date | None = Field(description="办理期限,当日 24 时(北京时间)前销号为按期;尚未交办为 null")
    overdue: bool = Field(description="是否已过期限而未销号")
    level: int = Field(description="督办级别;0 为未升级", examples=[2])
    level_name: str | None = Field(description="该级别的名称;未升级为 null", examples=["通报"])
    closed_at: Instant | None = Field(description="销号时刻;未销号为 null")
    recheck_due_on: date | None = Field(description="应于何日前回头看;不需要或已进行的为 null")
    recheck_due: bool = Field(description="是否已到回头看的日子而尚未进行")
    explanation: str = Field(
        description="一句话说明",
        examples=["重大隐患,县住建局承办,办理中;期限 2023-06-15,已逾期 3 天;督办级别 2(通报)"],
    )
    allowed_actions: list[CaseAction] = Field(description=OFFERED)


class CasePage(PageRead[CaseRead]):
    """一页台账事项."""


class CaseQuery(ListQuery):
    """Filters of the list of cases."""

    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    battle: BattleCode | None = Field(default=None, description="只要该仗的")
    task: TaskCode | None = Field(default=None, description="只要该任务的")
    unit: UnitFilter | None = Field(default=None, description="承办的责任单位:编码,或文件中印出的任一名称")
    kind: CaseKind | None = Field(default=None, description="只要该种类的")
    source_ref: Short | None = Field(
        default=None, description="只要来源恰为此的,如一轮巡查的", examples=["第二季度巡查"]
    )
    state: CaseState | None = Field(default=None, description="只要处于该状态的")
    open: bool | None = Field(default=None, description="true 未销号的,false 已销号的")
    overdue: bool | None = Field(default=None, description="true 已过期限而未销号的,false 其余的")
    recheck_due: bool | None = Field(default=None, description="true 已到回头看的日子而尚未进行的,false 其余的")
    level: int | None = Field(default=None, ge=0, le=9, description="只要该督办级别的;0 为未升级的")
    as_of: AsOf = None
    sort: Literal["id", "-id", "due_on", "-due_on"] = Field(
        default="id", description="排序:id 按登记先后,due_on 按办理期限(尚未交办的排在最后);前加 - 为倒序"
    )


class HandleStep(BaseModel):
    """A step that needs no words."""

    model_config = _STRICT

    note: Reason | None = Field(default=None, description="说明")


class NoteStep(HandleStep):
    """A judgement that may come with a document."""

    reference: Short | None = Field(
        default=None, description="所据的文件:核验记录、销号单等", examples=["芷安委办函〔2023〕12号"]
    )


class AssignStep(BaseModel):
    """交办: by whom and until when it is to be dealt with."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "example": {"responsible_person": "张三", "due_on": "2023-06-15", "reference": "芷安委办交〔2023〕8号"}
        },
    )

    responsible_person: Annotated[str, Field(min_length=1, max_length=80, pattern=_WORDS, description="责任人")]
    due_on: AskedDay | None = Field(default=None, description="办理期限,不早于当日;省略则按种类自当日起算")
    reference: Short | None = Field(default=None, description="交办单号")
    note: Reason | None = Field(default=None, description="交办要求")


class ReasonStep(BaseModel):
    """A step that needs a reason."""

    model_config = _STRICT

    reason: Reason = Field(description="理由")


class ReopenStep(ReasonStep):
    """重新立项: a new round with a due day of its own."""

    due_on: AskedDay | None = Field(default=None, description="新的办理期限,不早于当日;省略则按种类自当日起算")


class EscalateStep(ReasonStep):
    """升级督办: to a higher level than before."""

    level: WholeNumber = Field(
        ge=1, le=9, description="升到哪一级,须高于现在的;各种类的级别见 docs/api.md", examples=[2]
    )


class RecheckStep(BaseModel):
    """回头看: what was found on looking again."""

    model_config = _STRICT

    passed: bool = Field(strict=True, description="true 整改到位;false 未到位,即重新立项")
    reason: Reason = Field(description="看到的情况")
    due_on: AskedDay | None = Field(default=None, description="未到位时新的办理期限;到位的不填,省略则按种类自当日起算")


class EvidenceCreate(BaseModel):
    """Evidence: what it is, and where it lies."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"example": {"title": "安全阀校验报告", "reference": "芷特检〔2023〕0417"}},
    )

    title: Title
    reference: Annotated[
        str,
        Field(min_length=1, max_length=1000, pattern=_WORDS, description="存于何处:网址或档案号;本服务不存放文件"),
    ]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="文件的 SHA-256,64 位小写十六进制"
    )
    note: Reason | None = Field(default=None, description="说明")


class DoneStep(BaseModel):
    """报告办结: what came of it."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "example": {
                "result": "两台储罐已停用,安全阀送检合格并复装。",
                "evidence": [{"title": "安全阀校验报告", "reference": "芷特检〔2023〕0417"}],
            }
        },
    )

    result: Annotated[str, Field(min_length=1, max_length=5000, pattern=_WORDS, description="办理结果")]
    evidence: list[EvidenceCreate] = Field(
        default_factory=list[EvidenceCreate],
        max_length=20,
        description="一并补充的佐证;重大隐患在本次办理中至少须有一份(此前补充的也算)",
    )


class EvidenceRead(Read):
    """Evidence that was handed in."""

    id: UUID = Field(description="佐证编号(UUIDv7)")
    round: int = Field(description="第几次办理", examples=[1])
    added_at: Instant = Field(description="补充时刻(服务器时间)")
    by: str = Field(description="由谁", examples=["县住建局账号"])
    title: str = Field(description="标题")
    reference: str = Field(description="存于何处:网址或档案号")
    sha256: str | None = Field(description="文件的 SHA-256;未给出为 null")
    note: str | None = Field(description="说明")


class CaseStepRead(Read):
    """One step, and how it left the case."""

    action: CaseAction
    to_state: CaseState
    at: Instant = Field(description="时刻(服务器时间)")
    by: str = Field(description="由谁", examples=["县安委办账号"])
    reason: str | None = Field(description="理由、说明或办理结果")
    reference: str | None = Field(description="所据的文件")
    passed: bool | None = Field(description="回头看是否到位;其他步骤为 null")
    round: int = Field(description="第几次办理", examples=[1])
    level: int = Field(description="此后的督办级别")
    due_before: date | None = Field(description="此前的办理期限")
    due_on: date | None = Field(description="此后的办理期限")
    responsible_person: str | None = Field(description="此后的责任人")


class CaseHistoryRead(Read):
    """All steps and all evidence of a case."""

    id: UUID = Field(description="台账编号")
    steps: list[CaseStepRead] = Field(description="各步骤,早的在前")
    evidence: list[EvidenceRead] = Field(description="各份佐证,早的在前")


class ClosureQuery(BaseModel):
    """Of which cases, due in which span, by what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    battle: BattleCode | None = Field(default=None, description="只要该仗的")
    kind: CaseKind | None = Field(default=None, description="只要该种类的")
    from_: AskedDay | None = Field(default=None, alias="from", description="期限的起始日(含);省略为不限")
    to: AskedDay | None = Field(default=None, description="期限的截止日(含);省略为不限")
    group_by: Literal["unit", "battle", "kind"] = Field(default="unit", description="按什么分组")
    as_of: AsOf = None


class ClosureRate(Read):
    """按期销号率 with what it was made of."""

    numerator: int = Field(description="分子:按期销号的", examples=[24])
    denominator: int = Field(description="分母:期限已到的,与未到期限已销号的", examples=[25])
    percent: Figure | None = Field(description="百分比,两位小数;分母为 0 时为 null", examples=[96])


class ClosureRow(Read):
    """The figures of one group, or of all; a case that was reopened counts once for each of its due days."""

    key: str = Field(description="分组的编码(单位、仗或种类);不分仗的为 -,合计为 all")
    name: str = Field(description="分组的名称")
    cases: int = Field(description="期限在此期间的")
    not_due: int = Field(description="未到期限、尚未销号的")
    closed_in_time: int = Field(description="按期销号的")
    closed_late: int = Field(description="超期销号的")
    open_overdue: int = Field(description="已过期限、尚未销号的")
    closure: ClosureRate = Field(description="按期销号率")


class ClosureRead(Read):
    """How many of what was due was closed in time."""

    as_of: Instant = Field(description="截至时刻")
    group_by: str = Field(description="按什么分组", examples=["unit"])
    items: list[ClosureRow] = Field(description="各组")
    total: ClosureRow = Field(description="合计")
    explanation: str = Field(
        description="一句话说明",
        examples=["期限已到的 25 件中按期销号 24 件(96%),未达到按期 100% 的要求;超期未销号 1 件"],
    )


class CandidateQuery(BaseModel):
    """Whose lagging tasks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: PlanCode
    battle: BattleCode | None = Field(default=None, description="只要该仗的;只能查阅一仗的须给出")
    as_of: AsOf = None


class CandidateRead(Read):
    """A lead unit whose task lags, and why an order is called for."""

    task: TaskCode
    title: str = Field(description="任务标题")
    battle: BattleCode
    unit: UnitRef = Field(description="报送该任务的牵头单位")
    stage: Stage
    light: Light | None = Field(description="任务当时的亮灯;没有认定进度为 null")
    percent_complete: Figure | None = Field(description="该单位最近认定的完成进度;没有为 null")
    deviation: Figure | None = Field(description="该单位的偏差(百分点):完成进度 − 当日序时进度")
    lagging_since: date | None = Field(
        description="自何日起滞后:逐月末回看,最早的连续滞后的月末;上月末尚未滞后的为截至之日;不滞后为 null"
    )
    unreported: int = Field(description="最近连续几期逾期未报或漏报;连续两期起列入", examples=[2])
    unreported_since: PeriodCode | None = Field(description="其中最早的一期;没有为 null")
    open_order: UUID | None = Field(description="当时未销号的督办单的编号;没有为 null")
    explanation: str = Field(
        description="为何应当督办,一句话",
        examples=["严重滞后:完成进度 12%,低于序时进度 38.5 个百分点,自 2023-05-31 起;尚无未销号的督办单"],
    )
    allowed_actions: list[CandidateAction] = Field(description=OFFERED)


class CandidatesRead(Read):
    """The lagging tasks that call for an order."""

    as_of: Instant = Field(description="截至时刻")
    items: list[CandidateRead] = Field(description="各任务与单位,按任务编码")
    explanation: str = Field(
        description="一句话说明", examples=["截至 2023-07-02,12 项任务 15 个单位应当督办,其中 3 个已有督办单"]
    )
