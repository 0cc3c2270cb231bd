"""Webhooks, and what has come of their deliveries."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.domain.actions import DeliveryAction, WebhookAction
from app.domain.events import DeliveryState, EventType, PauseReason, WebhookState
from app.schemas.account import Seconds
from app.schemas.base import OFFERED, Instant, ListQuery, PageRead, PlanCode, Read, UnitCode
from app.schemas.event import EventId

__all__ = [
    "AttemptRead",
    "DeliveryPage",
    "DeliveryQuery",
    "DeliveryRead",
    "ResumeStep",
    "SecretRotate",
    "TestRead",
    "WebhookCreate",
    "WebhookIssued",
    "WebhookPage",
    "WebhookPatch",
    "WebhookQuery",
    "WebhookRead",
]

Url = Annotated[
    str,
    Field(
        min_length=8,
        max_length=1000,
        pattern=r"^https?://[!-~]+$",
        description="送往的网址,须在管理员所列的目标之中;非 ASCII 字符须先编码",
        examples=["https://oa.example.gov.cn/hooks/liuzhang"],
    ),
]
Types = Annotated[
    list[EventType] | None,
    Field(
        min_length=1,
        max_length=len(EventType),
        description="只要这些类型的事件;省略或 null 为全部",
        examples=[["submission.submitted", "obligation.overdue"]],
    ),
]
_STRICT = ConfigDict(extra="forbid", frozen=True)


class WebhookCreate(BaseModel):
    """A new webhook."""

    model_config = _STRICT

    url: Url
    types: Types = None
    plan: PlanCode | None = Field(default=None, description="只要该总体方案的事件")
    unit: UnitCode | None = Field(default=None, description="只要该单位的事件")


class WebhookPatch(BaseModel):
    """What is to change of a webhook; what is left out stays, and null takes a filter away."""

    model_config = _STRICT

    # Never used as it is: what is left out is not looked at.
    url: Url = Field(default_factory=str, description="新的网址,须在管理员所列的目标之中")
    types: Types = None
    plan: PlanCode | None = Field(default=None, description="只要该总体方案的事件;null 为不限")
    unit: UnitCode | None = Field(default=None, description="只要该单位的事件;null 为不限")
    paused: Literal[True] | None = Field(default=None, description="true 为暂停;恢复用 /resume")


class WebhookRead(Read):
    """A webhook, without its secret."""

    id: UUID = Field(description="编号(UUIDv7)")
    url: Url
    types: Types
    plan: PlanCode | None = Field(description="只要该总体方案的事件;null 为不限")
    unit: UnitCode | None = Field(description="只要该单位的事件;null 为不限")
    created_at: Instant = Field(description="建立时刻;此后的事件才会送达")
    state: WebhookState
    pause_reason: PauseReason | None = Field(description="为何暂停;启用时为 null")
    overlap_until: Instant | None = Field(description="轮换之前的密钥同时签名至何时;没有为 null")
    allowed_actions: list[WebhookAction] = Field(description=OFFERED)


class WebhookIssued(WebhookRead):
    """A webhook with its secret, which is never shown again."""

    secret: str = Field(
        description="签名密钥:只在此时给出一次", examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwqGzD0dF3kz8="]
    )


class WebhookPage(PageRead[WebhookRead]):
    """一页 Webhook."""


class WebhookQuery(ListQuery):
    """Which webhooks of one's own."""

    state: WebhookState | None = Field(default=None, description="只要这一状态的")
    sort: Literal["id", "-id"] = Field(default="id", description="排序:按建立先后;前加 - 为倒序")


class SecretRotate(BaseModel):
    """A secret in place of the one before."""

    model_config = _STRICT

    overlap_seconds: Seconds = Field(
        default=86_400, ge=0, le=30 * 86_400, description="此前的密钥还同时签名多少秒;0 为即刻停用"
    )


class ResumeStep(BaseModel):
    """How to go on."""

    model_config = _STRICT

    skip_dead: bool = Field(default=False, strict=True, description="true 跳过已放弃的,其后的照送;默认从它们起依次重送")


class TestRead(Read):
    """What became of a test."""

    delivered: bool = Field(description="接收方是否答复 2xx")
    status: int | None = Field(description="接收方答复的状态码;没有答复为 null", examples=[204])
    error: str | None = Field(description="失败的原因;成功为 null")
    latency_ms: int = Field(description="用时,毫秒", examples=[35])


class AttemptRead(Read):
    """One try."""

    at: Instant = Field(description="何时")
    status: int | None = Field(description="接收方答复的状态码;没有答复为 null", examples=[503])
    error: str | None = Field(description="失败的原因;成功为 null", examples=["答复 503"])
    latency_ms: int = Field(description="用时,毫秒", examples=[35])


class DeliveryRead(Read):
    """One event on its way."""

    event: EventId
    type: EventType
    unit: UnitCode
    state: DeliveryState
    tries: int = Field(description="(重新)排入以来试了几次")
    next_try_at: Instant | None = Field(description="最早何时再试;不再试为 null")
    settled_at: Instant | None = Field(description="何时送达、放弃或不再送达;待送达为 null")
    attempts: list[AttemptRead] = Field(description="最近各次尝试,按先后,至多 50 次")
    allowed_actions: list[DeliveryAction] = Field(description=OFFERED)


class DeliveryPage(PageRead[DeliveryRead]):
    """一页送达记录."""


class DeliveryQuery(ListQuery):
    """Which deliveries of a webhook."""

    state: DeliveryState | None = Field(default=None, description="只要这一状态的;dead 为死信")
    sort: Literal["event", "-event"] = Field(default="-event", description="排序:按事件先后;前加 - 为倒序")
