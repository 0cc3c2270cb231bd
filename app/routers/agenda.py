"""期限日程."""

from typing import Annotated, Any

from fastapi import APIRouter, Response

from app.deps import Reading, feeding, query_parameters, reading
from app.domain.permissions import Capability
from app.errors import AmbiguousError, InvalidCursorError, UnknownReferenceError, UnknownUnitError
from app.routers.answers import answer, read_answers
from app.schemas.agenda import CalendarQuery, DeadlinePage, DeadlineQuery
from app.services import agenda

router = APIRouter(tags=["deadlines"])

_CALENDAR: dict[str, Any] = {"text/calendar": {"schema": {"type": "string"}}}


def _calendar_answers() -> dict[int | str, dict[str, Any]]:
    answers = read_answers(UnknownReferenceError, UnknownUnitError, AmbiguousError)
    answers[200] = {**answers[200], "description": "iCalendar 日历(RFC 5545)", "content": _CALENDAR}
    return answers


@router.get(
    "/deadlines",
    summary="期限列表",
    response_model=DeadlinePage,
    responses=read_answers(InvalidCursorError, UnknownReferenceError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(DeadlineQuery),
)
async def list_deadlines(
    taken: Annotated[Reading[DeadlineQuery], reading(DeadlineQuery, Capability.READ_PROGRESS)],
) -> Response:
    """一段日期内依次有哪些期限,每一期限应报、已报、免报各多少份,还有哪些单位的哪些任务没有报出。

    一条规则的一个报送期为一条;经批准延期的单列一条。as_of 可回到过去任一时刻。
    例:`/api/v1/deadlines?from=2023-04-01&to=2023-04-30&unit=县教育局`
    """
    return answer(
        await agenda.list_deadlines(taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller)
    )


@router.get(
    "/calendar.ics",
    summary="可订阅的期限日历",
    response_class=Response,
    responses=_calendar_answers(),
    openapi_extra=query_parameters(CalendarQuery),
)
async def get_calendar(
    taken: Annotated[Reading[CalendarQuery], feeding(Capability.READ_PROGRESS)],
) -> Response:
    """供手机与 Outlook 订阅的 iCalendar:每条规则的每个报送期为一个日程,列出任务与接收单位,附两次提醒。

    日程占期限前的最后一小时;提醒在进入提醒期首日和到期当日的 9 时,全部报出后不再提醒,全部免报的不列。
    至多 1000 个日程,超出时留最晚的;跨多个总体方案时请用 unit 或 plan 限定。
    手机与 Outlook 不能带请求头:先建立日历订阅(/api/v1/calendar-subscriptions),用它给出的带 token 的地址。
    例:`/api/v1/calendar.ics?unit=县教育局`
    """
    response = answer(
        await agenda.get_calendar(taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller)
    )
    if taken.query.token is not None:
        # Nothing in the header says that it was given to an identity.
        response.headers["Cache-Control"] = "private, no-cache"
    return response
