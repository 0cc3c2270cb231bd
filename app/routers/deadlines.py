"""期限与应报."""

from typing import Annotated

from fastapi import APIRouter, Response

from app.deps import Reading, query_parameters, reading
from app.errors import AmbiguousError, InvalidCursorError, UnknownReferenceError, UnknownUnitError
from app.routers.answers import answer, read_answers
from app.schemas.obligation import CheckQuery, CheckRead, ObligationPage, ObligationQuery
from app.services import deadlines

router = APIRouter(tags=["deadlines"])


@router.get(
    "/deadlines/check",
    summary="此刻报出是否按时",
    response_model=CheckRead,
    responses=read_answers(UnknownReferenceError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(CheckQuery),
)
async def check_deadline(taken: Annotated[Reading[CheckQuery], reading(CheckQuery)]) -> Response:
    """某单位在某一时刻报出某期材料是否按时,距期限还有多少秒。

    例:`/api/v1/deadlines/check?rule=monthly-form&unit=县教育局&at=2023-04-20T23:59:59%2B08:00`
    """
    return answer(await deadlines.check_deadline(taken.reader, taken.query, taken.known, now=taken.now))


@router.get(
    "/obligations",
    summary="应报列表",
    response_model=ObligationPage,
    responses=read_answers(InvalidCursorError, UnknownReferenceError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(ObligationQuery),
)
async def list_obligations(taken: Annotated[Reading[ObligationQuery], reading(ObligationQuery)]) -> Response:
    """谁应在何时之前报什么、当时报了没有、迟了多久、迟在哪一环节;as_of 可回到过去任一时刻。"""
    return answer(await deadlines.list_obligations(taken.reader, taken.query, taken.known, now=taken.now))
