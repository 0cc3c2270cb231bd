"""期限日程: what falls due when and who still owes it, as a list and as a calendar to subscribe to."""

import re
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.domain.deadlines import ObligationStatus
from app.schemas.base import (
    AsOf,
    BattleCode,
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

__all__ = ["AskedDay", "CalendarQuery", "DeadlinePage", "DeadlineQuery", "DeadlineRead", "OutstandingRead"]

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _day(value: object) -> object:
    """Take nothing but a day: Pydantic alone would read a bare number as seconds, and an instant at midnight."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if not isinstance(value, str) or _DAY.fullmatch(value) is None:
        raise ValueError("须为 YYYY-MM-DD 的日期,如 2023-04-20")
    return value


AskedDay = Annotated[date, BeforeValidator(_day)]


class DeadlineQuery(ListQuery):
    """Which due instants."""

    from_: AskedDay | None = Field(
        default=None, alias="from", description="自哪一日(北京时间,含当日)起到期的;省略为 as_of 当日"
    )
    to: AskedDay | None = Field(
        default=None, description="至哪一日(北京时间,含当日)到期的,不得早于 from;省略为 from 之后 60 日"
    )
    rule: RuleCode | None = Field(default=None, description="只要该规则的")
    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    battle: BattleCode | None = Field(default=None, description="只要该仗的,份数也只计该仗的")
    unit: UnitFilter | None = Field(
        default=None, description="只要该单位的,份数也只计该单位的:编码,或文件中印出的任一名称"
    )
    as_of: AsOf = None
    sort: Literal["due_at", "-due_at"] = Field(default="due_at", description="排序:按期限;前加 - 为倒序")


class OutstandingRead(Read):
    """A report that had not been filed."""

    unit: UnitRef = Field(description="应报单位")
    task: TaskCode | None = Field(description="应报的任务;不分任务的为 null")
    status: ObligationStatus


class DeadlineRead(Read):
    """One due instant of one rule and period, and who still owed what at ``as_of``."""

    due_at: Instant = Field(description="有效期限:按时的最后一刻;经批准延期的单列一条")
    rule: RuleCode
    rule_name: str = Field(description="规则名称", examples=["月进度表报送"])
    plan: PlanCode
    period: PeriodCode
    provisional: bool = Field(description="节假日安排尚未公布,期限为暂定")
    expected: int = Field(description="应报份数,含免报的", examples=[22])
    filed: int = Field(description="已报出(经评估认定)的份数,免报的不计", examples=[21])
    waived: int = Field(description="免报的份数", examples=[0])
    outstanding_total: int = Field(description="未报出也未免报的份数", examples=[1])
    outstanding: list[OutstandingRead] = Field(description="未报出也未免报的各份,按单位、任务排序,至多 500 份")
    explanation: str = Field(
        description="一句话说明",
        examples=[
            "2023-04 的月进度表应于 2023年4月20日24时前报出;截至 2023-04-18 09:00:00 应报 22 份,已报 21 份,未报 1 份"
        ],
    )


class DeadlinePage(PageRead[DeadlineRead]):
    """一页期限."""


class CalendarQuery(BaseModel):
    """Whose deadlines a calendar holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    unit: UnitFilter | None = Field(
        default=None, description="只要该单位应报的:编码,或文件中印出的任一名称;省略为任何单位应报的"
    )
    rule: RuleCode | None = Field(default=None, description="只要该规则的")
    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    as_of: AsOf = None
    token: str | None = Field(
        default=None,
        min_length=1,
        max_length=120,
        pattern=r"^[0-9A-Za-z_]+$",
        description="日历订阅的令牌(见 /api/v1/calendar-subscriptions),代替 Authorization 请求头;只给出期限",
    )
