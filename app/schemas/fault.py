"""错报、瞒报和重大不良影响:登记、申辩、认定;迟报、漏报由应报推算,不在此登记."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.domain.assessment import FaultKind
from app.domain.hearing import FaultAction, FaultDecision, FaultState
from app.schemas.assessment_scheme import Words
from app.schemas.base import (
    OFFERED,
    AskedInstant,
    AsOf,
    BattleCode,
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

__all__ = ["Entered", "FaultAnswer", "FaultCreate", "FaultDecide", "FaultPage", "FaultQuery", "FaultRead"]

_STRICT = ConfigDict(extra="forbid", frozen=True)
Entered = Literal["erroneous", "concealed", "grave_effect"]
"""The faults that are entered; the others follow from the reports."""


class FaultCreate(BaseModel):
    """A fault with its evidence."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "example": {
                "plan": "431228-2023",
                "unit": "县教育局",
                "task": "431228-2023-6-3-4",
                "period": "2023-05",
                "kind": "erroneous",
                "description": "五月报送的完成数大于现场核查数",
                "evidence": "县政府办六月十二日现场核查记录",
            }
        },
    )

    plan: PlanCode
    battle: BattleCode | None = Field(default=None, description="所属的仗;省略则为任务所在的,或规定考核等次的那一仗")
    unit: UnitFilter
    task: TaskCode | None = Field(default=None, description="涉及的任务")
    period: PeriodCode | None = Field(default=None, description="涉及的报送期")
    kind: Entered = Field(description="erroneous 错报、concealed 瞒报、grave_effect 不良影响", examples=["erroneous"])
    description: Words = Field(description="事实")
    evidence: Words = Field(description="证据:核查记录、文号等")
    answer_due_at: AskedInstant | None = Field(default=None, description="申辩期限;省略为登记后七天")


class FaultAnswer(BaseModel):
    """What the unit says to it."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"example": {"text": "差异为跨月结算,附结算单。"}},
    )

    text: Words = Field(description="申辩")


class FaultDecide(BaseModel):
    """What is decided of a fault."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"example": {"decision": "upheld", "reason": "结算单不能说明差异"}},
    )

    decision: FaultDecision = Field(description="认定、不予认定,或撤销先前的认定")
    reason: Words = Field(description="理由")


class FaultRead(Read):
    """A fault as it stood at ``as_of``."""

    id: UUID = Field(description="过错编号(UUIDv7)")
    plan: PlanCode
    battle: BattleCode
    unit: UnitRef = Field(description="被登记的单位")
    task: TaskCode | None = Field(description="涉及的任务;不涉及为 null")
    period: PeriodCode | None = Field(description="涉及的报送期;不涉及为 null")
    kind: FaultKind
    description: str = Field(description="事实")
    evidence: str = Field(description="证据")
    state: FaultState
    counts: bool = Field(description="是否计入考核:只有已认定的计入")
    answer_due_at: Instant = Field(description="申辩期限:此前单位没有申辩的,不得认定")
    recorded_at: Instant = Field(description="登记时刻(服务器时间)")
    recorded_by: str = Field(description="由谁登记")
    answer: str | None = Field(description="单位的申辩;没有为 null")
    answered_at: Instant | None = Field(description="申辩时刻")
    answered_by: str | None = Field(description="由谁申辩")
    decision_reason: str | None = Field(description="认定或不予认定的理由")
    decided_at: Instant | None = Field(description="认定或不予认定的时刻")
    decided_by: str | None = Field(description="由谁认定或不予认定")
    withdrawal_reason: str | None = Field(description="撤销认定的理由")
    withdrawn_at: Instant | None = Field(description="撤销认定的时刻")
    withdrawn_by: str | None = Field(description="由谁撤销认定")
    explanation: str = Field(description="一句话说明")
    allowed_actions: list[FaultAction] = Field(description=OFFERED)


class FaultQuery(ListQuery):
    """Filters of the fault list."""

    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    battle: BattleCode | None = Field(default=None, description="只要该仗的")
    unit: UnitFilter | None = Field(default=None, description="责任单位:编码,或文件中印出的任一名称")
    kind: FaultKind | None = Field(default=None, description="只要该种过错;迟报、漏报由应报推算,不在此列")
    state: FaultState | None = Field(default=None, description="只要当时处于该状态的")
    as_of: AsOf = None
    sort: Literal["id", "-id"] = Field(default="id", description="排序:按登记先后;前加 - 为倒序")


class FaultPage(PageRead[FaultRead]):
    """一页过错."""
