"""日历订阅: an address with a token in it, for phones and Outlook, which send no header."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.domain.actions import CalendarSubscriptionAction
from app.schemas.account import AccountName
from app.schemas.base import (
    OFFERED,
    AskedInstant,
    Instant,
    ListQuery,
    PageRead,
    PlanCode,
    Read,
    RuleCode,
    UnitCode,
    UnitFilter,
)

__all__ = [
    "CalendarSubscriptionCreate",
    "CalendarSubscriptionIssued",
    "CalendarSubscriptionPage",
    "CalendarSubscriptionQuery",
    "CalendarSubscriptionRead",
    "TokenId",
]

TokenId = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9A-Za-z]{12}$"),
    Field(description="订阅编号:令牌中公开的一段", examples=["8Zk3mQ0aTfYx"]),
]


class CalendarSubscriptionCreate(BaseModel):
    """A new subscription: what it is called, and which due instants it shows."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"example": {"name": "我的手机", "unit": "县教育局", "rule": "monthly-form"}},
    )

    name: AccountName = Field(description="订阅的名称,便于日后辨认", examples=["我的手机"])
    unit: UnitFilter | None = Field(
        default=None, description="只要该单位应报的:编码,或文件中印出的任一名称;省略为本人可以查阅的各单位的"
    )
    rule: RuleCode | None = Field(default=None, description="只要该规则的")
    plan: PlanCode | None = Field(default=None, description="只要该总体方案的")
    expires_at: AskedInstant | None = Field(
        default=None,
        description="何时失效(RFC 3339,须带时区);省略时,账号的不失效,以登录令牌建立的为 366 日之后,也至多 366 日",
    )


class CalendarSubscriptionRead(Read):
    """A subscription, without its token."""

    token_id: TokenId
    name: str = Field(description="订阅的名称")
    owner: str = Field(description="谁的:身份编号,同 GET /api/v1/me 的 id", examples=["account:k3v9x0a7pd"])
    unit: UnitCode | None = Field(description="只要该单位应报的;null 为本人可以查阅的各单位的")
    rule: RuleCode | None = Field(description="只要该规则的;null 为不限")
    plan: PlanCode | None = Field(description="只要该总体方案的;null 为不限")
    created_at: Instant = Field(description="建立时刻")
    expires_at: Instant | None = Field(description="失效时刻;null 为不失效")
    revoked_at: Instant | None = Field(description="撤销时刻;未撤销为 null")
    allowed_actions: list[CalendarSubscriptionAction] = Field(description=OFFERED)


class CalendarSubscriptionIssued(CalendarSubscriptionRead):
    """A subscription that was just made, with its address, which is never shown again."""

    feed_url: str = Field(
        description="订阅地址,接在本服务的地址之后(https:// 或 webcal://);令牌在其中,只在此时给出一次,服务只存它的摘要",
        examples=["/api/v1/calendar.ics?token=lzcal_…"],
    )


class CalendarSubscriptionPage(PageRead[CalendarSubscriptionRead]):
    """一页日历订阅."""


class CalendarSubscriptionQuery(ListQuery):
    """Which subscriptions."""

    owner: str | None = Field(
        default=None,
        min_length=1,
        max_length=260,
        pattern=r"^[^\x00]+$",
        description="只要谁的:身份编号,如 account:k3v9x0a7pd",
    )
    sort: Literal["created_at", "-created_at"] = Field(
        default="created_at", description="排序:按建立先后;前加 - 为倒序"
    )
