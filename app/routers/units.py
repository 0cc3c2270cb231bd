"""责任单位."""

from typing import Annotated

from fastapi import APIRouter, Response

from app.deps import Reading, query_parameters, reading
from app.domain.permissions import Capability
from app.errors import InvalidCursorError, NotFoundError
from app.routers.answers import answer, read_answers
from app.schemas.base import NoQuery, UnitCode
from app.schemas.task import TaskPage, UnitTaskQuery
from app.schemas.unit import UnitPage, UnitQuery, UnitRead
from app.services import tasks, units

router = APIRouter(prefix="/units", tags=["units"])


@router.get(
    "",
    summary="责任单位列表",
    response_model=UnitPage,
    responses=read_answers(InvalidCursorError),
    openapi_extra=query_parameters(UnitQuery),
)
async def list_units(taken: Annotated[Reading[UnitQuery], reading(UnitQuery, Capability.READ_PLAN)]) -> Response:
    """按名称(含全部印刷名称、拼音、首字母)、种类、仗、角色筛选单位。"""
    return answer(await units.list_units(taken.reader, taken.query, taken.known))


@router.get("/{code}", summary="一个责任单位", response_model=UnitRead, responses=read_answers(NotFoundError))
async def get_unit(
    code: UnitCode, taken: Annotated[Reading[NoQuery], reading(NoQuery, Capability.READ_PLAN)]
) -> Response:
    """规范名称、全部印刷名称、种类,以及牵头、负责、配合的任务各有多少。"""
    return answer(await units.get_unit(taken.reader, code, taken.known))


@router.get(
    "/{code}/tasks",
    summary="一个单位的任务",
    response_model=TaskPage,
    responses=read_answers(NotFoundError, InvalidCursorError),
    openapi_extra=query_parameters(UnitTaskQuery),
)
async def list_unit_tasks(
    code: UnitCode, taken: Annotated[Reading[UnitTaskQuery], reading(UnitTaskQuery, Capability.READ_PLAN)]
) -> Response:
    """指名该单位的全部任务;组标题括注中的单位,组内每项任务都算。"""
    return answer(await tasks.list_unit_tasks(taken.reader, code, taken.query, taken.known))
