"""目标."""

from typing import Annotated

from fastapi import APIRouter, Response

from app.deps import Reading, query_parameters, reading
from app.domain.permissions import Capability
from app.errors import AmbiguousError, InvalidCursorError, NotFoundError, UnknownUnitError
from app.routers.answers import answer, read_answers
from app.schemas.base import AsOfQuery, TargetCode
from app.schemas.target import TargetDetail, TargetPage, TargetQuery
from app.services import targets

router = APIRouter(prefix="/targets", tags=["targets"])


@router.get(
    "",
    summary="目标列表",
    response_model=TargetPage,
    responses=read_answers(InvalidCursorError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(TargetQuery),
)
async def list_targets(taken: Annotated[Reading[TargetQuery], reading(TargetQuery, Capability.READ_PLAN)]) -> Response:
    """按方案、仗、任务、责任单位、关键词、是否有数值筛选目标。

    例:`/api/v1/targets?q=高标准农田` 找到“新建高标准农田2万亩”及其原文位置。
    """
    return answer(await targets.list_targets(taken.reader, taken.query, taken.known))


@router.get(
    "/{code}",
    summary="一个目标",
    response_model=TargetDetail,
    responses=read_answers(NotFoundError),
    openapi_extra=query_parameters(AsOfQuery),
)
async def get_target(
    code: TargetCode, taken: Annotated[Reading[AsOfQuery], reading(AsOfQuery, Capability.READ_PLAN)]
) -> Response:
    """指标、比较方式、目标值、计量单位、完成日期、原文短语,以及各期报送的数值;as_of 可回到过去任一时刻。"""
    return answer(
        await targets.get_target(taken.reader, code, taken.query, taken.known, now=taken.now, caller=taken.caller)
    )
