"""序时进度."""

from typing import Annotated

from fastapi import APIRouter, Response

from app.deps import Reading, Writing, query_parameters, reading, writing
from app.domain.permissions import Capability
from app.errors import AmbiguousError, NotFoundError, PreconditionError, UnknownReferenceError, UnknownUnitError
from app.routers.answers import answer, read_answers, step_answers
from app.routers.bodies import JsonRoute
from app.routers.matching import MatchDep
from app.schemas.base import AsOfQuery, NoQuery, TaskCode, UnitFilter
from app.schemas.schedule import ScheduleQuery, ScheduleWrite, TaskSchedulesRead, UnitScheduleRead
from app.services import schedules

router = APIRouter(route_class=JsonRoute, prefix="/tasks/{code}/schedules", tags=["submissions"])

Setting = Annotated[Writing[NoQuery], writing(NoQuery, Capability.SET_SCHEDULE)]


@router.get(
    "",
    summary="一项任务的序时进度",
    response_model=TaskSchedulesRead,
    responses=read_answers(NotFoundError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(ScheduleQuery),
)
async def list_schedules(
    code: TaskCode, taken: Annotated[Reading[ScheduleQuery], reading(ScheduleQuery, Capability.READ_PROGRESS)]
) -> Response:
    """各报送单位自定的月末节点;没有自定的按年度均匀推进。as_of 可回到过去任一时刻。"""
    return answer(
        await schedules.list_schedules(taken.reader, code, taken.query, taken.known, now=taken.now, caller=taken.caller)
    )


@router.get(
    "/{unit}",
    summary="一个单位对一项任务的序时进度",
    response_model=UnitScheduleRead,
    responses=read_answers(NotFoundError, UnknownReferenceError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(AsOfQuery),
)
async def get_schedule(
    code: TaskCode, unit: UnitFilter, taken: Annotated[Reading[AsOfQuery], reading(AsOfQuery, Capability.READ_PROGRESS)]
) -> Response:
    """当时有效的一版;ETag 可用于 If-Match。"""
    return answer(
        await schedules.get_schedule(
            taken.reader, code, unit, taken.query, taken.known, now=taken.now, caller=taken.caller
        )
    )


@router.put(
    "/{unit}",
    summary="自定序时进度",
    response_model=UnitScheduleRead,
    responses=step_answers(NotFoundError, PreconditionError, UnknownReferenceError, UnknownUnitError, AmbiguousError),
)
async def put_schedule(
    code: TaskCode, unit: UnitFilter, wanted: ScheduleWrite, match: MatchDep, taken: Setting
) -> Response:
    """以月末节点取代均匀推进,自此刻起计入偏差与亮灯;此前各时刻的亮灯不变,各版都保留。

    只有该任务的报送单位可以自定;节点须在方案年度内,不得回落。空的 points 回到按年度均匀推进。
    """
    return answer(
        await schedules.put_schedule(
            taken.db, taken.reader, code, unit, wanted, match=match, now=taken.now, caller=taken.caller
        )
    )
