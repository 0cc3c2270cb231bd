"""清单: 项目、任务、政策."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Response

from app.deps import Reading, Writing, query_parameters, reading, writing
from app.domain.permissions import Capability
from app.errors import (
    AmbiguousError,
    InvalidCursorError,
    NotFoundError,
    PreconditionError,
    UnknownReferenceError,
    UnknownUnitError,
)
from app.routers.answers import answer, done, read_answers, step_answers, write_answers
from app.routers.bodies import JsonRoute
from app.routers.matching import MatchDep
from app.schemas.base import AsOfQuery, NoQuery
from app.schemas.work_item import (
    WorkItemCreate,
    WorkItemHistory,
    WorkItemPage,
    WorkItemPatch,
    WorkItemQuery,
    WorkItemRead,
)
from app.services import work_items

router = APIRouter(route_class=JsonRoute, prefix="/work-items", tags=["work-items"])

WorkItemId = Annotated[UUID, Path(description="清单事项的编号(UUIDv7)")]
Managing = Annotated[Writing[NoQuery], writing(NoQuery, Capability.MANAGE_WORK_ITEMS)]


@router.get(
    "",
    summary="清单",
    response_model=WorkItemPage,
    responses=read_answers(InvalidCursorError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(WorkItemQuery),
)
async def list_work_items(
    taken: Annotated[Reading[WorkItemQuery], reading(WorkItemQuery, Capability.READ_PROGRESS)],
) -> Response:
    """项目清单、任务清单、政策清单(总体方案四(二)),按方案、仗、任务、责任单位、状态、关键词筛选。

    例:`/api/v1/work-items?kind=project&incomplete=true` 列出缺“六个一”(附件6三(三))的项目。
    """
    return answer(
        await work_items.list_work_items(taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller)
    )


@router.post(
    "",
    summary="建立清单事项",
    status_code=201,
    response_model=WorkItemRead,
    responses=write_answers(UnknownReferenceError, UnknownUnitError, AmbiguousError),
)
async def create_work_item(wanted: WorkItemCreate, taken: Managing) -> Response:
    """在任务下建立一个项目、任务或政策事项。项目缺“六个一”的照样接受,列在 missing 中,incomplete 为 true。"""
    made, etag = await work_items.create_work_item(taken.db, taken.reader, wanted, now=taken.now, caller=taken.caller)
    return done(made, status=201, etag=etag, location=f"/api/v1/work-items/{made.id}")


@router.get(
    "/{id:uuid}",
    summary="一个清单事项",
    response_model=WorkItemRead,
    responses=read_answers(NotFoundError),
    openapi_extra=query_parameters(AsOfQuery),
)
async def get_work_item(
    id: WorkItemId,  # noqa: A002
    taken: Annotated[Reading[AsOfQuery], reading(AsOfQuery, Capability.READ_PROGRESS)],
) -> Response:
    """领导、责任单位、责任人、方案、节点、投资与状态,“六个一”缺哪些;as_of 可回到过去任一时刻。"""
    return answer(
        await work_items.get_work_item(taken.reader, id, taken.query, taken.known, now=taken.now, caller=taken.caller)
    )


@router.patch(
    "/{id:uuid}",
    summary="修改清单事项",
    response_model=WorkItemRead,
    responses=step_answers(NotFoundError, PreconditionError, UnknownUnitError, AmbiguousError),
)
async def patch_work_item(
    id: WorkItemId,  # noqa: A002
    patch: WorkItemPatch,
    match: MatchDep,
    taken: Managing,
) -> Response:
    """省略的不变;每次修改是新的一版,须写明理由,以前的各版仍可查。改交别的单位,须对两个单位都有权限。"""
    return answer(
        await work_items.patch_work_item(
            taken.db, taken.reader, id, patch, match=match, now=taken.now, caller=taken.caller
        )
    )


@router.get(
    "/{id:uuid}/history",
    summary="清单事项的历史",
    response_model=WorkItemHistory,
    responses=read_answers(NotFoundError),
)
async def get_work_item_history(
    id: WorkItemId,  # noqa: A002
    taken: Annotated[Reading[NoQuery], reading(NoQuery, Capability.READ_PROGRESS)],
) -> Response:
    """全部版本:谁、何时、为何,改成了什么。"""
    return answer(
        await work_items.get_work_item_history(taken.reader, id, taken.known, now=taken.now, caller=taken.caller)
    )
