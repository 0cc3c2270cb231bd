"""工作任务."""

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
from app.routers.answers import answer, done, read_answers, write_answers
from app.routers.bodies import JsonRoute
from app.schemas.base import AsOfQuery, NoQuery, TaskCode
from app.schemas.given_figure import FigureCreate, GivenFigureRead, GivenFiguresRead
from app.schemas.task import TaskPage, TaskQuery, TaskRead
from app.services import given_figures, tasks

router = APIRouter(route_class=JsonRoute, prefix="/tasks", tags=["tasks"])


@router.get(
    "",
    summary="任务列表",
    response_model=TaskPage,
    responses=read_answers(InvalidCursorError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(TaskQuery),
)
async def list_tasks(taken: Annotated[Reading[TaskQuery], reading(TaskQuery, Capability.READ_PLAN)]) -> Response:
    """按方案、仗、组、责任单位与角色、关键词、有无目标、阶段与亮灯筛选任务,每项任务附全部责任括注。

    例:`/api/v1/tasks?unit=县发展与改革局&role=lead` 列出县发改局牵头的任务。
    """
    return answer(await tasks.list_tasks(taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller))


@router.get("/{code}", summary="一项任务", response_model=TaskRead, responses=read_answers(NotFoundError))
async def get_task(
    code: TaskCode, taken: Annotated[Reading[NoQuery], reading(NoQuery, Capability.READ_PLAN)]
) -> Response:
    """交付内容、责任括注(逐条、含“等”)、所在组标题的责任括注、目标与原文位置。"""
    return answer(await tasks.get_task(taken.reader, code, taken.known))


@router.get(
    "/{code}/figures",
    summary="任务补登的目标值",
    response_model=GivenFiguresRead,
    responses=read_answers(NotFoundError),
    openapi_extra=query_parameters(AsOfQuery),
)
async def list_figures(
    code: TaskCode, taken: Annotated[Reading[AsOfQuery], reading(AsOfQuery, Capability.READ_PLAN)]
) -> Response:
    """以上级下达为准的任务,后来由省、市文件下达的目标值,各由哪份文件下达,有无被后来的取代;as_of 可回到过去任一时刻。"""
    return answer(
        await given_figures.list_figures(
            taken.reader, code, taken.query, taken.known, now=taken.now, caller=taken.caller
        )
    )


@router.post(
    "/{code}/figures",
    summary="补登上级下达的目标值",
    status_code=201,
    response_model=GivenFigureRead,
    responses=write_answers(NotFoundError, ConflictError, UnknownReferenceError),
)
async def give_figure(
    code: TaskCode,
    given: FigureCreate,
    taken: Annotated[Writing[NoQuery], writing(NoQuery, Capability.GIVE_FIGURES)],
) -> Response:
    """只用于方案写明以上级下达为准的任务(附件6二的三张清单),须写明下达的文件。

    补登的数值成为任务的目标,编码自 -T101 起,进度报送、目标列表与检索都能用到它。
    """
    made = await given_figures.give_figure(taken.db, code, given, now=taken.now, caller=taken.caller)
    return done(made, status=201, location=f"/api/v1/targets/{made.code}")
