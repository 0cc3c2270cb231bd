"""目标."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.deps import KnownDep, ReaderDep
from app.errors import AmbiguousError, InvalidCursorError, NotFoundError, UnknownUnitError
from app.routers.answers import answer, read_answers
from app.schemas.base import NoQuery, TargetCode
from app.schemas.target import TargetPage, TargetQuery, TargetRead
from app.services import targets

router = APIRouter(prefix="/targets", tags=["targets"])


@router.get(
    "",
    summary="目标列表",
    response_model=TargetPage,
    responses=read_answers(InvalidCursorError, UnknownUnitError, AmbiguousError),
)
async def list_targets(query: Annotated[TargetQuery, Query()], reader: ReaderDep, known: KnownDep) -> Response:
    """按方案、仗、任务、责任单位、关键词、是否有数值筛选目标。

    例:`/api/v1/targets?q=高标准农田` 找到“新建高标准农田2万亩”及其原文位置。
    """
    return answer(await targets.list_targets(reader, query, known))


@router.get("/{code}", summary="一个目标", response_model=TargetRead, responses=read_answers(NotFoundError))
async def get_target(code: TargetCode, _: Annotated[NoQuery, Query()], reader: ReaderDep, known: KnownDep) -> Response:
    """指标、比较方式、目标值、计量单位、完成日期与原文短语。"""
    return answer(await targets.get_target(reader, code, known))
