"""错报、瞒报和重大不良影响的登记、申辩与认定."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Response

from app.deps import Reading, Writing, query_parameters, reading, writing
from app.domain.permissions import Capability
from app.errors import (
    AmbiguousError,
    InvalidCursorError,
    NotFoundError,
    UnknownReferenceError,
    UnknownUnitError,
    WrongStepError,
)
from app.routers.answers import answer, read_answers, step_answers, write_answers
from app.routers.bodies import JsonRoute
from app.schemas.base import AsOfQuery, NoQuery
from app.schemas.fault import FaultAnswer, FaultCreate, FaultDecide, FaultPage, FaultQuery, FaultRead
from app.services import faults

router = APIRouter(route_class=JsonRoute, prefix="/faults", tags=["faults"])

FaultId = Annotated[UUID, Path(description="过错编号(UUIDv7)")]
Assessing = Annotated[Writing[NoQuery], writing(NoQuery, Capability.ASSESS)]


@router.post(
    "",
    summary="登记一起过错",
    status_code=201,
    responses=write_answers(UnknownReferenceError, UnknownUnitError, AmbiguousError),
)
async def create_fault(request: FaultCreate, taken: Assessing) -> FaultRead:
    """登记牵头单位的错报、瞒报或重大不良影响,附证据;单位在申辩期限内可以申辩。认定之前不计入考核。迟报、漏报由应报推算,不登记。"""
    return await faults.record_fault(taken.db, taken.reader, request, now=taken.now, caller=taken.caller)


@router.get(
    "",
    summary="过错列表",
    response_model=FaultPage,
    responses=read_answers(InvalidCursorError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(FaultQuery),
)
async def list_faults(
    taken: Annotated[Reading[FaultQuery], reading(FaultQuery, Capability.READ_PROGRESS)],
) -> Response:
    """按方案、仗、单位、种类、状态列出登记的过错;as_of 为当时的情形。"""
    return answer(await faults.list_faults(taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller))


@router.get(
    "/{id:uuid}",
    summary="一起过错",
    response_model=FaultRead,
    responses=read_answers(NotFoundError),
    openapi_extra=query_parameters(AsOfQuery),
)
async def get_fault(
    id: FaultId,  # noqa: A002
    taken: Annotated[Reading[AsOfQuery], reading(AsOfQuery, Capability.READ_PROGRESS)],
) -> Response:
    """事实、证据、申辩与认定;as_of 为当时的情形。"""
    found = await faults.get_fault(taken.reader, id, taken.query, taken.known, now=taken.now, caller=taken.caller)
    return answer(found)


@router.post("/{id:uuid}/answer", summary="单位申辩", responses=step_answers(NotFoundError, WrongStepError))
async def answer_fault(
    id: FaultId,  # noqa: A002
    request: FaultAnswer,
    taken: Annotated[Writing[NoQuery], writing(NoQuery, Capability.ANSWER_ASSESSMENTS)],
) -> FaultRead:
    """由被登记的单位申辩一次;过了申辩期限、尚未认定的,仍可申辩。"""
    return await faults.answer_fault(taken.db, id, request, now=taken.now, caller=taken.caller)


@router.post("/{id:uuid}/decide", summary="认定或撤销", responses=step_answers(NotFoundError, WrongStepError))
async def decide_fault(
    id: FaultId,  # noqa: A002
    request: FaultDecide,
    taken: Assessing,
) -> FaultRead:
    """认定(upheld)、不予认定(dismissed),或撤销先前的认定(withdrawn);只有认定的计入考核。

    单位没有申辩的,申辩期限过后才能认定。
    """
    return await faults.decide(taken.db, id, request, now=taken.now, caller=taken.caller)
