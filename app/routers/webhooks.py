"""Webhook."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response

from app.deps import Reading, Taking, Writing, query_parameters, reading, taking, writing
from app.domain.permissions import Capability
from app.errors import ConflictError, InvalidCursorError, NotFoundError, PreconditionError
from app.routers.answers import answer, done, once, read_answers, step_answers, write_answers
from app.routers.bodies import JsonRoute
from app.routers.matching import MatchDep
from app.schemas.base import NoQuery
from app.schemas.event import EventId
from app.schemas.webhook import (
    DeliveryPage,
    DeliveryQuery,
    DeliveryRead,
    ResumeStep,
    SecretRotate,
    TestRead,
    WebhookCreate,
    WebhookIssued,
    WebhookPage,
    WebhookPatch,
    WebhookQuery,
    WebhookRead,
)
from app.services import deliveries, webhooks

router = APIRouter(route_class=JsonRoute, tags=["webhooks"])

WebhookId = Annotated[UUID, Path(description="Webhook 的编号(UUIDv7)")]
Managing = Annotated[Writing[NoQuery], writing(NoQuery, Capability.MANAGE_WEBHOOKS)]


async def _sender(request: Request) -> webhooks.Sender:
    return request.state.sender


SenderDep = Annotated[webhooks.Sender, Depends(_sender)]


@router.get(
    "/webhooks",
    summary="本账号的 Webhook",
    response_model=WebhookPage,
    responses=read_answers(InvalidCursorError),
    openapi_extra=query_parameters(WebhookQuery),
)
async def list_webhooks(
    taken: Annotated[Reading[WebhookQuery], reading(WebhookQuery, Capability.MANAGE_WEBHOOKS)],
) -> Response:
    """只有本账号自己的,不含签名密钥。"""
    return answer(await webhooks.list_webhooks(taken.reader, taken.query, taken.known, caller=taken.caller))


@router.post(
    "/webhooks",
    summary="建立 Webhook",
    status_code=201,
    response_model=WebhookIssued,
    responses=write_answers(ConflictError),
)
async def create_webhook(wanted: WebhookCreate, sender: SenderDep, taken: Managing) -> Response:
    """此后的事件送往该网址,只送本账号当时可以查阅的。签名密钥只在这一次的答复中给出。"""
    issued = await webhooks.create_webhook(taken.db, sender, wanted, now=taken.now, caller=taken.caller)
    return once(issued, status=201, location=f"/api/v1/webhooks/{issued.id}")


@router.get(
    "/webhooks/{id:uuid}", summary="一个 Webhook", response_model=WebhookRead, responses=read_answers(NotFoundError)
)
async def get_webhook(
    id: WebhookId,  # noqa: A002
    taken: Annotated[Reading[NoQuery], reading(NoQuery, Capability.MANAGE_WEBHOOKS)],
) -> Response:
    """网址、筛选与状态;暂停的说明为何暂停。"""
    return answer(await webhooks.get_webhook(taken.reader.pool, id, taken.known, caller=taken.caller))


@router.patch(
    "/webhooks/{id:uuid}",
    summary="修改或暂停 Webhook",
    response_model=WebhookRead,
    responses=step_answers(NotFoundError, PreconditionError),
)
async def patch_webhook(
    id: WebhookId,  # noqa: A002
    patch: WebhookPatch,
    match: MatchDep,
    sender: SenderDep,
    taken: Managing,
) -> Response:
    """省略的不变。新的筛选只用于尚未排入的事件;暂停期间的事件不会丢失,恢复后依次送达。"""
    return answer(
        await webhooks.patch_webhook(taken.db, sender, id, patch, match=match, now=taken.now, caller=taken.caller)
    )


@router.delete(
    "/webhooks/{id:uuid}", summary="删除 Webhook", response_model=WebhookRead, responses=step_answers(NotFoundError)
)
async def delete_webhook(
    id: WebhookId,  # noqa: A002
    taken: Managing,
) -> Response:
    """连同待送达的与送达记录一并删除,答复它最后的样子。"""
    return done(await webhooks.delete_webhook(taken.db, id, now=taken.now, caller=taken.caller))


@router.post(
    "/webhooks/{id:uuid}/test",
    summary="试送 Webhook",
    response_model=TestRead,
    responses=step_answers(NotFoundError, ConflictError),
)
async def test_webhook(
    id: WebhookId,  # noqa: A002
    sender: SenderDep,
    taken: Annotated[Taking[NoQuery], taking(NoQuery, Capability.MANAGE_WEBHOOKS)],
) -> Response:
    """即刻送一条 type 为 webhook.test 的消息,同样签名,答复结果;不计入送达记录,暂停时也可以试。"""
    return done(await webhooks.test_webhook(taken.db, sender, id, now=taken.now, caller=taken.caller))


@router.post(
    "/webhooks/{id:uuid}/rotate-secret",
    summary="轮换签名密钥",
    response_model=WebhookIssued,
    responses=step_answers(NotFoundError, ConflictError),
)
async def rotate_webhook_secret(
    id: WebhookId,  # noqa: A002
    wanted: SecretRotate,
    sender: SenderDep,
    taken: Managing,
) -> Response:
    """给出新的签名密钥;overlap_seconds 之内新旧密钥各签一次,以便接收方换用。"""
    return once(await webhooks.rotate_webhook_secret(taken.db, sender, id, wanted, now=taken.now, caller=taken.caller))


@router.post(
    "/webhooks/{id:uuid}/resume",
    summary="恢复 Webhook",
    response_model=WebhookRead,
    responses=step_answers(NotFoundError),
)
async def resume_webhook(
    id: WebhookId,  # noqa: A002
    step: ResumeStep,
    sender: SenderDep,
    taken: Managing,
) -> Response:
    """从停下的地方依次继续;已放弃的先重送,skip_dead 为 true 则跳过。启用中的,即刻再试而不等下次。"""
    return answer(await webhooks.resume_webhook(taken.db, sender, id, step, now=taken.now, caller=taken.caller))


@router.get(
    "/webhooks/{id:uuid}/deliveries",
    summary="送达记录",
    response_model=DeliveryPage,
    responses=read_answers(NotFoundError, InvalidCursorError),
    openapi_extra=query_parameters(DeliveryQuery),
)
async def list_deliveries(
    id: WebhookId,  # noqa: A002
    taken: Annotated[Reading[DeliveryQuery], reading(DeliveryQuery, Capability.MANAGE_WEBHOOKS)],
) -> Response:
    """每个事件送得怎样:各次尝试的时刻、状态码、用时与原因,下次何时再试。state=dead 为死信。送达的保留 30 天。"""
    return answer(await deliveries.list_deliveries(taken.reader, id, taken.query, taken.known, caller=taken.caller))


@router.post(
    "/webhooks/{id:uuid}/deliveries/{event}/redeliver",
    summary="重送一个事件",
    response_model=DeliveryRead,
    responses=step_answers(NotFoundError),
)
async def redeliver_event(
    id: WebhookId,  # noqa: A002
    event: Annotated[EventId, Path()],
    taken: Managing,
) -> Response:
    """无论送达与否都再送一次,webhook-id 不变;暂停的 Webhook 恢复后才送。"""
    return done(await deliveries.redeliver(taken.db, id, event, now=taken.now, caller=taken.caller))
