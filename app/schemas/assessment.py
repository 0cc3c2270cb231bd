"""考核结果:每项得分都带着算式、数据和依据,照着就能用手重算."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.domain.actions import AssessmentAction
from app.domain.assessment import Aspect, CapReason, FaultKind, Grade
from app.schemas.assessment_scheme import EXAMPLE, SchemeParameters
from app.schemas.base import (
    OFFERED,
    AskedInstant,
    AsOf,
    BattleCode,
    Figure,
    Instant,
    ListQuery,
    Locator,
    PageRead,
    PlanCode,
    Read,
    TaskCode,
    UnitFilter,
)
from app.schemas.task import UnitRef

__all__ = [
    "AssessmentCreate",
    "AssessmentItem",
    "AssessmentPage",
    "AssessmentQuery",
    "AssessmentRead",
    "CapRead",
    "FrozenRead",
    "LineRead",
    "MarkGiven",
    "PreviewCreate",
    "PreviewQuery",
    "PreviewRead",
    "ResultRead",
    "SchemeUsed",
]

_STRICT = ConfigDict(extra="forbid", frozen=True)
_BATTLE = "哪一仗的牵头单位;省略则为方案中规定考核等次的那一仗"
_JUDGED = "评分与过错认定截至哪一时刻(RFC 3339,须带时区);省略为与 as_of 相同"


class PreviewQuery(BaseModel):
    """Which units are scored, by which scheme, as of when."""

    model_config = _STRICT

    plan: PlanCode
    battle: BattleCode | None = Field(default=None, description=_BATTLE)
    unit: UnitFilter | None = Field(default=None, description="只要该单位;省略则为全部牵头单位")
    scheme: UUID | None = Field(default=None, description="按哪一版办法;省略则为当时施行的,没有则为默认办法")
    as_of: AsOf = None
    judged_as_of: AskedInstant | None = Field(default=None, description=_JUDGED)


class PreviewCreate(BaseModel):
    """As above, by a scheme that nobody has made."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "example": {
                "plan": "431228-2023",
                "unit": "县教育局",
                "parameters": EXAMPLE,
            }
        },
    )

    plan: PlanCode
    battle: BattleCode | None = Field(default=None, description=_BATTLE)
    unit: UnitFilter | None = Field(default=None, description="只要该单位;省略则为全部牵头单位")
    parameters: SchemeParameters = Field(description="试算的参数")
    as_of: AsOf = None
    judged_as_of: AskedInstant | None = Field(default=None, description=_JUDGED)


class AssessmentCreate(BaseModel):
    """What is settled."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"example": {"plan": "431228-2023", "as_of": "2024-01-01T00:00:00+08:00"}},
    )

    plan: PlanCode
    battle: BattleCode | None = Field(default=None, description=_BATTLE)
    unit: UnitFilter | None = Field(default=None, description="只定该单位;省略则为全部牵头单位")
    scheme: UUID | None = Field(default=None, description="按哪一版办法;省略则为当时施行的,没有则为默认办法")
    as_of: AskedInstant | None = Field(
        default=None,
        description="报送与进度截至哪一时刻,不得晚于现在;省略为现在。评分与过错认定总以定案时为准。年度结束之前的为中期结果",
    )


class MarkGiven(Read):
    """一次评分."""

    value: Figure = Field(description="评分,0-100")
    by: str = Field(description="由谁评分")
    reason: str = Field(description="理由")


class LineRead(Read):
    """一项得分或扣分."""

    aspect: Aspect | None = Field(description="哪个方面;过错为 null")
    fault: FaultKind | None = Field(description="哪种过错;方面为 null")
    formula: str = Field(description="算式,各项都在 inputs 中")
    inputs: dict[str, Figure] = Field(description="算式的各项数据,按名称", examples=[{"on_time": 7, "due": 9}])
    weight: Figure | None = Field(description="办法所定的权重;过错为 null")
    counted_weight: Figure | None = Field(description="不计入的方面的权重分给其余各方面之后的权重,四位小数")
    ratio: Figure | None = Field(description="得分比例,四位小数,仅供阅读;得分由 inputs 计算")
    points: Figure | None = Field(description="得分,过错为负;不计入的为 null")
    mark: MarkGiven | None = Field(description="所依据的评分;由报送推算的为 null")
    source: Locator
    explanation: str = Field(description="一句话说明")


class CapRead(Read):
    """不评优秀的一个情形."""

    reason: CapReason
    tasks: list[TaskCode] = Field(description="未完成的任务;其他情形为空")
    explanation: str = Field(description="一句话说明")


class SchemeUsed(Read):
    """所用的考核办法."""

    id: UUID | None = Field(description="考核办法编号;默认办法和试算的参数为 null")
    version: int | None = Field(description="版本;0 为默认办法,试算的参数为 null", examples=[0])
    parameters: SchemeParameters = Field(description="全部参数")
    note: str = Field(description="依据与说明")


class ResultRead(Read):
    """What one unit comes to, with all that is needed to work it out again."""

    unit: UnitRef = Field(description="被考核的单位")
    plan: PlanCode
    battle: BattleCode
    year: int = Field(description="考核年度", examples=[2023])
    as_of: Instant = Field(description="报送与进度截至此刻")
    judged_as_of: Instant = Field(description="评分与过错认定截至此刻")
    interim: bool = Field(description="年度尚未结束:中期结果")
    scheme: SchemeUsed = Field(description="所用的考核办法")
    lines: list[LineRead] = Field(description="五个方面的得分和四种过错的扣分")
    total: Figure | None = Field(description="总分:各项得分之和,不低于 0、不高于 100;没有可计分的方面为 null")
    grade: Grade
    capped_by: list[CapRead] = Field(description="不评优秀的情形;没有为空")
    pending_faults: int = Field(description="已登记而尚未认定的过错,不计入")
    explanation: str = Field(description="一句话说明")


class PreviewRead(Read):
    """What units come to; nothing of it is kept."""

    plan: PlanCode
    battle: BattleCode
    year: int = Field(description="考核年度", examples=[2023])
    as_of: Instant = Field(description="报送与进度截至此刻")
    judged_as_of: Instant = Field(description="评分与过错认定截至此刻")
    items: list[ResultRead] = Field(description="您可以查阅的各牵头单位,按编码")
    explanation: str = Field(description="一句话说明")


class AssessmentItem(Read):
    """A result that was settled, in a list."""

    id: UUID = Field(description="考核结果编号(UUIDv7)")
    plan: PlanCode
    battle: BattleCode
    unit: UnitRef = Field(description="被考核的单位")
    year: int = Field(description="考核年度", examples=[2023])
    revision: int = Field(description="第几版:中期结果之后的、申诉成立之后的,另出一版", examples=[1])
    interim: bool = Field(description="年度尚未结束时定的中期结果")
    current: bool = Field(description="当时是否为最新一版")
    scheme_version: int = Field(description="所用考核办法的版本;0 为默认办法", examples=[0])
    as_of: Instant = Field(description="报送与进度截至此刻")
    total: Figure | None = Field(description="总分;没有可计分的方面为 null")
    grade: Grade
    content_hash: str = Field(description="result 的 SHA-256:键按字典序、无空白、UTF-8 的 JSON")
    frozen_at: Instant = Field(description="定案时刻(服务器时间)")
    frozen_by: str = Field(description="由谁定案")
    explanation: str = Field(description="一句话说明")
    allowed_actions: list[AssessmentAction] = Field(description=OFFERED)


class AssessmentRead(AssessmentItem):
    """A result that was settled, whole."""

    result: ResultRead = Field(description="定案时的全部内容,一字不改")


class FrozenRead(Read):
    """What was settled."""

    items: list[AssessmentItem] = Field(description="定案的各单位结果")
    explanation: str = Field(description="一句话说明")


class AssessmentQuery(ListQuery):
    """Filters of the list of results."""

    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    battle: BattleCode | None = Field(default=None, description="只要该仗的")
    unit: UnitFilter | None = Field(default=None, description="责任单位:编码,或文件中印出的任一名称")
    year: int | None = Field(default=None, ge=2000, le=2100, description="只要该考核年度的")
    grade: Grade | None = Field(default=None, description="只要该等次的")
    current: bool | None = Field(default=None, description="true 只要当时最新的一版,false 只要已被取代的;省略为全部")
    as_of: AsOf = None
    sort: Literal["id", "-id"] = Field(default="id", description="排序:按定案先后;前加 - 为倒序")


class AssessmentPage(PageRead[AssessmentItem]):
    """一页考核结果."""
