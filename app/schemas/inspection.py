"""Quarterly inspections and their findings."""

from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from app.domain.actions import InspectionAction
from app.domain.cases import CaseState
from app.domain.inspections import InspectionPart
from app.domain.plan import UnitKind
from app.schemas.account import Seconds as WholeNumber
from app.schemas.agenda import AskedDay
from app.schemas.base import (
    OFFERED,
    AsOf,
    BattleCode,
    Figure,
    Instant,
    ListQuery,
    Locator,
    PageRead,
    PeriodCode,
    PlanCode,
    Read,
    RuleCode,
    UnitFilter,
)
from app.schemas.submission import Reported
from app.schemas.task import UnitRef

__all__ = [
    "CoverageQuery",
    "CoverageRead",
    "CoveredUnitRead",
    "FindingRead",
    "FindingWrite",
    "InspectionCreate",
    "InspectionPage",
    "InspectionPatch",
    "InspectionQuery",
    "InspectionRead",
]

_STRICT = ConfigDict(extra="forbid", frozen=True)
_TEXT = r"^[^\x00]*[^\s\x00][^\x00]*$"
Score = Annotated[
    Reported,
    Field(ge=0, le=1000, decimal_places=2),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1000}),
]
Reference = Annotated[str, Field(min_length=1, max_length=200, pattern=_TEXT)]
Quarter = Annotated[PeriodCode, Field(description="季度", examples=["2023-Q2"])]
Team = Annotated[WholeNumber, Field(ge=1, le=99), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 99})]


class FindingWrite(BaseModel):
    """Something that an inspection found."""

    model_config = _STRICT

    title: str = Field(
        min_length=1, max_length=200, pattern=_TEXT, description="问题", examples=["烟花爆竹零售点超量存放"]
    )
    description: str = Field(min_length=1, max_length=2000, pattern=_TEXT, description="情况")
    due_on: AskedDay | None = Field(default=None, description="要求何日前整改到位(含当日);交办时的期限另定")


class InspectionCreate(BaseModel):
    """An inspection of one unit."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "example": {
                "plan": "431228-2023",
                "period": "2023-Q2",
                "team": 1,
                "unit": "芷江镇",
                "inspected_on": "2023-05-16",
                "findings": [
                    {
                        "title": "烟花爆竹零售点超量存放",
                        "description": "两处零售点存放量超过许可。",
                        "due_on": "2023-06-15",
                    }
                ],
            }
        },
    )

    plan: PlanCode
    period: Quarter
    team: Team = Field(description="第几巡查组", examples=[1])
    unit: UnitFilter
    inspected_on: AskedDay = Field(description="何日巡查,须在该季度内", examples=["2023-05-16"])
    score: Score | None = Field(default=None, description="考核得分;考核后补登也可以", examples=[92.5])
    circular_ref: Reference | None = Field(default=None, description="在哪份通报中", examples=["芷安办通报〔2023〕3号"])
    exposure_ref: Reference | None = Field(default=None, description="在何处曝光", examples=["县融媒体中心 2023-06-20"])
    findings: list[FindingWrite] = Field(
        default_factory=list[FindingWrite], max_length=50, description="发现的问题,各登记为一件台账事项"
    )


class InspectionPatch(BaseModel):
    """What came after an inspection; what is left out stays."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"example": {"score": 92.5, "circular_ref": "芷安办通报〔2023〕3号"}},
    )

    score: Score | None = Field(default=None, description="考核得分;null 为去掉")
    circular_ref: Reference | None = Field(default=None, description="在哪份通报中;null 为去掉")
    exposure_ref: Reference | None = Field(default=None, description="在何处曝光;null 为去掉")


class FindingRead(Read):
    """A finding, as the case that it is in the ledger."""

    case: UUID = Field(description="台账事项的编号")
    title: str = Field(description="问题")
    due_on: date | None = Field(description="要求何日前整改到位(含当日)")
    state: CaseState = Field(description="台账事项当时的状态")


class InspectionRead(Read):
    """An inspection as it stands, or stood."""

    id: UUID = Field(description="编号(UUIDv7)")
    plan: PlanCode
    battle: BattleCode | None = Field(description="所属的仗")
    period: Quarter
    rule: RuleCode = Field(description="依据的规则", examples=["quarterly-inspection"])
    locator: Locator
    team: int = Field(description="第几巡查组", examples=[1])
    unit: UnitRef = Field(description="被巡查的单位")
    inspected_on: date = Field(description="何日巡查")
    recorded_at: Instant = Field(description="登记时刻")
    changed_at: Instant = Field(description="这一版自何时起")
    revision: int = Field(description="版本号,从 1 起", examples=[1])
    score: Figure | None = Field(description="考核得分;没有为 null", examples=[92.5])
    circular_ref: str | None = Field(description="在哪份通报中;没有为 null")
    exposure_ref: str | None = Field(description="在何处曝光;没有为 null")
    lacking: list[InspectionPart] = Field(description="巡查、考核、通报、曝光四项中还缺的")
    findings: list[FindingRead] = Field(description="发现的问题,按登记的次序")
    explanation: str = Field(
        description="一句话说明", examples=["2023-Q2 第 1 组巡查芷江镇,发现 1 个问题,还缺考核、通报、曝光"]
    )
    allowed_actions: list[InspectionAction] = Field(description=OFFERED)


class InspectionPage(PageRead[InspectionRead]):
    """一页巡查."""


class InspectionQuery(ListQuery):
    """Filters of the list of inspections."""

    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    period: PeriodCode | None = Field(default=None, description="只要该季度的", examples=["2023-Q2"])
    unit: UnitFilter | None = Field(default=None, description="只要该单位的:编码,或文件中印出的任一名称")
    team: int | None = Field(default=None, ge=1, le=99, description="只要该巡查组的")
    as_of: AsOf = None
    sort: Literal["id", "-id"] = Field(default="id", description="排序:按登记先后;前加 - 为倒序")


class CoverageQuery(BaseModel):
    """Which quarter of which plan."""

    model_config = _STRICT

    plan: PlanCode
    period: Quarter
    as_of: AsOf = None


class CoveredUnitRead(Read):
    """A unit that is to be inspected."""

    unit: UnitRef = Field(description="单位")
    kind: UnitKind = Field(description="单位种类")
    inspection: UUID | None = Field(description="该季度的巡查;尚未巡查为 null")
    lacking: list[InspectionPart] = Field(description="巡查、考核、通报、曝光四项中还缺的")


class CoverageRead(Read):
    """How far a quarter's inspections reach."""

    plan: PlanCode
    period: Quarter
    rule: RuleCode = Field(description="依据的规则", examples=["quarterly-inspection"])
    locator: Locator
    owed: int = Field(description="应巡查的单位数", examples=[32])
    inspected: int = Field(description="已巡查的单位数", examples=[20])
    items: list[CoveredUnitRead] = Field(description="应巡查的各单位;只列您可以查阅的")
    explanation: str = Field(description="一句话说明")
