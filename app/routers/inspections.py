"""一季一巡查."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Response

from app.deps import Reading, Writing, query_parameters, reading, writing
from app.domain.permissions import Capability
from app.errors import (
    AmbiguousError,
    ConflictError,
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
from app.schemas.inspection import (
    CoverageQuery,
    CoverageRead,
    InspectionCreate,
    InspectionPage,
    InspectionPatch,
    InspectionQuery,
    InspectionRead,
)
from app.services import inspection_coverage, inspections

router = APIRouter(route_class=JsonRoute, prefix="/inspections", tags=["inspections"])

InspectionId = Annotated[UUID, Path(description="巡查的编号(UUIDv7)")]
Recording = Annotated[Writing[NoQuery], writing(NoQuery, Capability.RECORD_RANKINGS)]


@router.get(
    "",
    summary="巡查列表",
    response_model=InspectionPage,
    responses=read_answers(InvalidCursorError, UnknownReferenceError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(InspectionQuery),
)
async def list_inspections(
    taken: Annotated[Reading[InspectionQuery], reading(InspectionQuery, Capability.READ_PROGRESS)],
) -> Response:
    """一季一巡查、一考核、一通报、一曝光(附件5二(四)5):每个单位每季一次,附发现的问题与还缺的部分。"""
    return answer(
        await inspections.list_inspections(taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller)
    )


@router.post(
    "",
    summary="登记巡查",
    status_code=201,
    response_model=InspectionRead,
    responses=write_answers(UnknownReferenceError, UnknownUnitError, AmbiguousError, ConflictError),
)
async def record_inspection(request: InspectionCreate, taken: Recording) -> Response:
    """登记一个单位一个季度的巡查;发现的每个问题同时登记为一件“巡查发现”的台账事项,从台账交办、销号。"""
    made, etag = await inspections.record_inspection(
        taken.db, taken.reader, request, now=taken.now, caller=taken.caller
    )
    return done(made, status=201, etag=etag, location=f"/api/v1/inspections/{made.id}")


@router.get(
    "/coverage",
    summary="巡查的覆盖",
    response_model=CoverageRead,
    responses=read_answers(UnknownReferenceError),
    openapi_extra=query_parameters(CoverageQuery),
)
async def measure_coverage(
    taken: Annotated[Reading[CoverageQuery], reading(CoverageQuery, Capability.READ_PROGRESS)],
) -> Response:
    """一个季度应巡查的单位(各乡镇与专班成员单位)中,哪些已巡查,各还缺哪些部分。"""
    return answer(
        await inspection_coverage.measure_coverage(
            taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller
        )
    )


@router.get(
    "/{id:uuid}",
    summary="一次巡查",
    response_model=InspectionRead,
    responses=read_answers(NotFoundError),
    openapi_extra=query_parameters(AsOfQuery),
)
async def get_inspection(
    id: InspectionId,  # noqa: A002
    taken: Annotated[Reading[AsOfQuery], reading(AsOfQuery, Capability.READ_PROGRESS)],
) -> Response:
    """得分、通报、曝光,发现的问题及其台账状态;as_of 可回到过去任一时刻。"""
    return answer(
        await inspections.get_inspection(taken.reader, id, taken.query, taken.known, now=taken.now, caller=taken.caller)
    )


@router.patch(
    "/{id:uuid}",
    summary="补登得分、通报与曝光",
    response_model=InspectionRead,
    responses=step_answers(NotFoundError, PreconditionError),
)
async def patch_inspection(
    id: InspectionId,  # noqa: A002
    patch: InspectionPatch,
    match: MatchDep,
    taken: Recording,
) -> Response:
    """省略的不变;每次修改是新的一版,以前的各版仍按当时回答。"""
    return answer(
        await inspections.patch_inspection(taken.db, id, patch, match=match, now=taken.now, caller=taken.caller)
    )
