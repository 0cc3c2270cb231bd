"""Quarterly rankings, and what follows from them."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from app.domain.actions import RankingAction
from app.domain.rankings import Counting, RankingKind
from app.schemas.account import Seconds as WholeNumber
from app.schemas.base import (
    OFFERED,
    AsOf,
    BattleCode,
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
from app.schemas.task import UnitRef

__all__ = [
    "ConsequenceQuery",
    "ConsequenceRead",
    "ConsequencesRead",
    "PlacingRead",
    "RankingCorrect",
    "RankingCreate",
    "RankingEntryRead",
    "RankingEntryWrite",
    "RankingPage",
    "RankingQuery",
    "RankingRead",
    "SanctionRead",
]

_STRICT = ConfigDict(extra="forbid", frozen=True)
_TEXT = r"^[^\x00]*[^\s\x00][^\x00]*$"
Place = Annotated[WholeNumber, Field(ge=1, le=5000), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 5000})]
Source = Annotated[
    str, Field(min_length=1, max_length=200, pattern=_TEXT, description="出自何处", examples=["怀安办通报〔2023〕7号"])
]
Quarter = Annotated[PeriodCode, Field(description="季度", examples=["2023-Q2"])]


class RankingEntryWrite(BaseModel):
    """The place of one unit."""

    model_config = _STRICT

    unit: UnitFilter
    rank: Place = Field(description="名次,1 为最好;并列的填同一名次", examples=[12])
    of: Place | None = Field(
        default=None, description="参加排名的有几个;市里的排名必填(全市同一条线的县直部门数),乡镇的为所登记的个数"
    )


Entries = Annotated[list[RankingEntryWrite], Field(min_length=1, max_length=500, description="各单位的名次")]


class RankingCreate(BaseModel):
    """The ranking of a quarter."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "example": {
                "plan": "431228-2023",
                "kind": "city_departments",
                "period": "2023-Q2",
                "source": "怀安办通报〔2023〕7号",
                "entries": [
                    {"unit": "县应急管理局", "rank": 12, "of": 13},
                    {"unit": "县交通运输局", "rank": 4, "of": 13},
                ],
            }
        },
    )

    plan: PlanCode
    kind: RankingKind = Field(description="哪一种排名")
    period: Quarter
    source: Source
    entries: Entries


class RankingCorrect(BaseModel):
    """A ranking as it should have been."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "example": {
                "reason": "市安委办更正",
                "source": "怀安办更正〔2023〕2号",
                "entries": [{"unit": "县应急管理局", "rank": 10, "of": 13}],
            }
        },
    )

    reason: str = Field(min_length=1, max_length=500, pattern=_TEXT, description="为何更正")
    source: Source
    entries: Entries


class RankingEntryRead(Read):
    """The place of one unit."""

    unit: UnitRef = Field(description="被排名的单位")
    rank: int = Field(description="名次", examples=[12])
    of: int = Field(description="参加排名的个数", examples=[13])
    among_last: bool = Field(description="是否居末几位:名次大于个数减去末位数")


class RankingRead(Read):
    """A ranking as it stands, or stood."""

    id: UUID = Field(description="编号(UUIDv7)")
    plan: PlanCode
    battle: BattleCode | None = Field(description="所属的仗")
    kind: RankingKind = Field(description="哪一种排名")
    period: Quarter
    rule: RuleCode = Field(description="依据的规则", examples=["quarterly-ranking-departments"])
    locator: Locator
    last_places: int = Field(description="末几位", examples=[3])
    revision: int = Field(description="版本号,从 1 起", examples=[1])
    source: str = Field(description="出自何处", examples=["怀安办通报〔2023〕7号"])
    reason: str | None = Field(description="为何更正;第一版为 null")
    recorded_at: Instant = Field(description="登记时刻")
    changed_at: Instant = Field(description="这一版自何时起")
    entries: list[RankingEntryRead] = Field(description="各单位的名次,好的在前;只列您可以查阅的单位")
    explanation: str = Field(description="一句话说明")
    allowed_actions: list[RankingAction] = Field(description=OFFERED)


class RankingPage(PageRead[RankingRead]):
    """一页排名."""


class RankingQuery(ListQuery):
    """Filters of the list of rankings."""

    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    kind: RankingKind | None = Field(default=None, description="只要这一种排名")
    period: PeriodCode | None = Field(default=None, description="只要该季度的", examples=["2023-Q2"])
    unit: UnitFilter | None = Field(default=None, description="只要排了该单位的:编码,或文件中印出的任一名称")
    as_of: AsOf = None
    sort: Literal["id", "-id"] = Field(default="id", description="排序:按登记先后;前加 - 为倒序")


class ConsequenceQuery(BaseModel):
    """What follows from the rankings of a year."""

    model_config = _STRICT

    plan: PlanCode
    year: int | None = Field(default=None, ge=2000, le=2100, description="哪一年;省略为方案的年度")
    kind: RankingKind | None = Field(default=None, description="只要这一种排名的")
    unit: UnitFilter | None = Field(default=None, description="只要该单位的:编码,或文件中印出的任一名称")
    counting: Counting = Field(default=Counting.CUMULATIVE, description="次数怎样计:原文未写是否须连续,默认全年累计")
    as_of: AsOf = None


class PlacingRead(Read):
    """A quarter in which a unit was among the last."""

    period: Quarter
    ranking: UUID = Field(description="哪一次排名")
    rank: int = Field(description="名次", examples=[12])
    of: int = Field(description="参加排名的个数", examples=[13])
    time: int = Field(description="第几次", examples=[1])


class SanctionRead(Read):
    """What the document lets follow."""

    rule: RuleCode = Field(description="规则", examples=["ranking-first-talk"])
    occurrence: int = Field(description="第几次起", examples=[1])
    measure: str = Field(description="措施", examples=["约谈"])
    imposed_by: str | None = Field(description="由谁;原文未写为 null", examples=["分管副县长"])
    locator: Locator


class ConsequenceRead(Read):
    """What follows for one unit."""

    unit: UnitRef = Field(description="单位")
    kind: RankingKind = Field(description="哪一种排名")
    quarters: list[PlacingRead] = Field(description="居末几位的各季,早的在前")
    times: int = Field(description="当年最多计到第几次", examples=[2])
    consequence: SanctionRead | None = Field(description="应有的后果;原文没有规定的为 null")
    explanation: str = Field(description="一句话说明")


class ConsequencesRead(Read):
    """What follows from the rankings of a year, for every unit that was among the last."""

    plan: PlanCode
    year: int = Field(description="年度", examples=[2023])
    counting: Counting = Field(description="次数怎样计")
    items: list[ConsequenceRead] = Field(description="当年至少有一次居末几位的单位")
    explanation: str = Field(description="一句话说明")
