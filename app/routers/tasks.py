"""工作任务."""

from typing import Annotated

from fastapi import APIRouter, Response

from app.deps import Reading, query_parameters, reading
from app.domain.permissions import Capability
from app.errors import AmbiguousError, InvalidCursorError, NotFoundError, UnknownUnitError
from app.routers.answers import answer, read_answers
from app.schemas.base import NoQuery, TaskCode
from app.schemas.task import TaskPage, TaskQuery, TaskRead
from app.services import tasks

router = APIRouter(prefix="/tasks", tags=["tasks"])


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
