"""日历订阅."""

from typing import Annotated

from fastapi import APIRouter, Response

from app.deps import Reading, Writing, query_parameters, reading, writing
from app.domain.permissions import Capability
from app.errors import (
    AmbiguousError,
    ConflictError,
    InvalidCursorError,
    NotFoundError,
    UnknownReferenceError,
    UnknownUnitError,
)
from app.routers.answers import answer, done, once, read_answers, step_answers, write_answers
from app.routers.bodies import JsonRoute
from app.schemas.base import NoQuery
from app.schemas.calendar_subscription import (
    CalendarSubscriptionCreate,
    CalendarSubscriptionIssued,
    CalendarSubscriptionPage,
    CalendarSubscriptionQuery,
    CalendarSubscriptionRead,
    TokenId,
)
from app.services import calendar_subscriptions

router = APIRouter(route_class=JsonRoute, prefix="/calendar-subscriptions", tags=["calendar-subscriptions"])


@router.post(
    "",
    summary="建立日历订阅",
    status_code=201,
    response_model=CalendarSubscriptionIssued,
    responses=write_answers(UnknownReferenceError, UnknownUnitError, AmbiguousError, ConflictError),
)
async def create_calendar_subscription(
    wanted: CalendarSubscriptionCreate, taken: Annotated[Writing[NoQuery], writing(NoQuery, Capability.SUBSCRIBE)]
) -> Response:
    """得到一个手机与 Outlook 可以订阅的地址,令牌在地址中,只在这一次的答复中给出。

    地址只给出期限,不含任何进度;范围由订阅确定,并随账号当时的权限变化;账号停用、订阅撤销或过期后即不能用。
    以登录令牌建立的,按建立时的授权,至多 366 日。每人至多 50 个在用的订阅。
    例:`{"name": "我的手机", "unit": "县教育局"}`
    """
    made = await calendar_subscriptions.create_calendar_subscription(
        taken.db, taken.reader, wanted, taken.environment, now=taken.now, caller=taken.caller
    )
    return once(made, status=201, location=f"/api/v1/calendar-subscriptions/{made.token_id}")


@router.get(
    "",
    summary="日历订阅列表",
    response_model=CalendarSubscriptionPage,
    responses=read_answers(InvalidCursorError),
    openapi_extra=query_parameters(CalendarSubscriptionQuery),
)
async def list_calendar_subscriptions(
    taken: Annotated[
        Reading[CalendarSubscriptionQuery], reading(CalendarSubscriptionQuery, Capability.MANAGE_SUBSCRIPTIONS)
    ],
) -> Response:
    """本人的订阅,已撤销和过期的也在内;管理员看到全部。令牌不可再得。"""
    return answer(
        await calendar_subscriptions.list_calendar_subscriptions(
            taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller
        )
    )


@router.get(
    "/{token_id}",
    summary="一个日历订阅",
    response_model=CalendarSubscriptionRead,
    responses=read_answers(NotFoundError),
)
async def get_calendar_subscription(
    token_id: TokenId, taken: Annotated[Reading[NoQuery], reading(NoQuery, Capability.MANAGE_SUBSCRIPTIONS)]
) -> Response:
    """订阅的名称、范围与期限;只有本人和管理员可以查看。"""
    return answer(
        await calendar_subscriptions.get_calendar_subscription(
            taken.reader.pool, token_id, taken.known, now=taken.now, caller=taken.caller
        )
    )


@router.delete(
    "/{token_id}",
    summary="撤销日历订阅",
    response_model=CalendarSubscriptionRead,
    responses=step_answers(NotFoundError),
)
async def revoke_calendar_subscription(
    token_id: TokenId, taken: Annotated[Writing[NoQuery], writing(NoQuery, Capability.MANAGE_SUBSCRIPTIONS)]
) -> Response:
    """其地址即刻不能用;重复撤销不改变首次的时刻。令牌中公开的一段就是订阅编号,拾到地址的管理员可以据此撤销。"""
    return done(
        await calendar_subscriptions.revoke_calendar_subscription(
            taken.db, token_id, now=taken.now, caller=taken.caller
        )
    )
