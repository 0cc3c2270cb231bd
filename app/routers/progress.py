"""任务进度."""

from typing import Annotated

from fastapi import APIRouter, Response

from app.deps import Reading, query_parameters, reading
from app.domain.permissions import Capability
from app.errors import NotFoundError
from app.routers.answers import answer, read_answers
from app.schemas.base import AsOfQuery, BattleCode, PlanCode, TaskCode
from app.schemas.progress import RollUpRead, TaskProgressRead
from app.services import progress

router = APIRouter(tags=["submissions"])


@router.get(
    "/tasks/{code}/progress",
    summary="一项任务的进度",
    response_model=TaskProgressRead,
    responses=read_answers(NotFoundError),
    openapi_extra=query_parameters(AsOfQuery),
)
async def get_task_progress(
    code: TaskCode, taken: Annotated[Reading[AsOfQuery], reading(AsOfQuery, Capability.READ_PROGRESS)]
) -> Response:
    """各期各单位报送的进度,与期末的序时进度比较,给出偏差(百分点)与亮灯;as_of 可回到过去任一时刻。"""
    return answer(
        await progress.get_task_progress(
            taken.reader, code, taken.query, taken.known, now=taken.now, caller=taken.caller
        )
    )


@router.get(
    "/battles/{code}/progress",
    summary="一个仗的进度",
    response_model=RollUpRead,
    responses=read_answers(NotFoundError),
    openapi_extra=query_parameters(AsOfQuery),
)
async def get_battle_progress(
    code: BattleCode, taken: Annotated[Reading[AsOfQuery], reading(AsOfQuery, Capability.READ_PROGRESS)]
) -> Response:
    """各阶段、各档亮灯的任务数,完成率,平均偏差与达到的目标数,都取自已认定的报送;as_of 可回到过去任一时刻。"""
    return answer(
        await progress.roll_up_battle(taken.reader, code, taken.query, taken.known, now=taken.now, caller=taken.caller)
    )


@router.get(
    "/plans/{code}/progress",
    summary="一个总体方案的进度",
    response_model=RollUpRead,
    responses=read_answers(NotFoundError),
    openapi_extra=query_parameters(AsOfQuery),
)
async def get_plan_progress(
    code: PlanCode, taken: Annotated[Reading[AsOfQuery], reading(AsOfQuery, Capability.READ_PROGRESS)]
) -> Response:
    """各阶段、各档亮灯的任务数,完成率,平均偏差与达到的目标数,都取自已认定的报送;as_of 可回到过去任一时刻。"""
    return answer(
        await progress.roll_up_plan(taken.reader, code, taken.query, taken.known, now=taken.now, caller=taken.caller)
    )
