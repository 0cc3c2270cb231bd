"""期限与应报."""

from typing import Annotated

from fastapi import APIRouter, Response

from app.deps import Reading, Writing, query_parameters, reading, writing
from app.domain.permissions import Capability
from app.errors import AmbiguousError, InvalidCursorError, UnknownReferenceError, UnknownUnitError
from app.routers.answers import answer, read_answers, write_answers
from app.routers.bodies import JsonRoute
from app.schemas.base import NoQuery
from app.schemas.obligation import (
    CheckQuery,
    CheckRead,
    ComplianceQuery,
    ComplianceRead,
    ExtensionCreate,
    ExtensionPage,
    GrantQuery,
    GrantRead,
    ObligationPage,
    ObligationQuery,
    WaiverCreate,
    WaiverPage,
)
from app.services import compliance, deadlines, grant_reads, grants

router = APIRouter(route_class=JsonRoute, tags=["deadlines"])

Grants = Annotated[Reading[GrantQuery], reading(GrantQuery, Capability.READ_PROGRESS)]
Granting = Annotated[Writing[NoQuery], writing(NoQuery, Capability.GRANT)]


@router.get(
    "/deadlines/check",
    summary="此刻报出是否按时",
    response_model=CheckRead,
    responses=read_answers(UnknownReferenceError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(CheckQuery),
)
async def check_deadline(taken: Annotated[Reading[CheckQuery], reading(CheckQuery, Capability.READ_PLAN)]) -> Response:
    """某单位在某一时刻报出某期材料是否按时,距期限还有多少秒。

    例:`/api/v1/deadlines/check?rule=monthly-form&unit=县教育局&at=2023-04-20T23:59:59%2B08:00`
    """
    return answer(await deadlines.check_deadline(taken.reader, taken.query, taken.known, now=taken.now))


@router.get(
    "/obligations",
    summary="应报列表",
    response_model=ObligationPage,
    responses=read_answers(InvalidCursorError, UnknownReferenceError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(ObligationQuery),
)
async def list_obligations(
    taken: Annotated[Reading[ObligationQuery], reading(ObligationQuery, Capability.READ_PROGRESS)],
) -> Response:
    """谁应在何时之前报什么、当时报了没有、迟了多久、迟在哪一环节;as_of 可回到过去任一时刻。"""
    return answer(
        await deadlines.list_obligations(taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller)
    )


@router.get(
    "/compliance",
    summary="按时率与报送率",
    response_model=ComplianceRead,
    responses=read_answers(UnknownReferenceError, AmbiguousError),
    openapi_extra=query_parameters(ComplianceQuery),
)
async def measure_compliance(
    taken: Annotated[Reading[ComplianceQuery], reading(ComplianceQuery, Capability.READ_PROGRESS)],
) -> Response:
    """按单位、仗、报送期、任务或地区统计应报、按时、迟报、逾期、漏报、免报;各项比率都给出分子与分母。"""
    return answer(
        await compliance.measure_compliance(taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller)
    )


@router.post(
    "/extensions",
    summary="批准延期",
    status_code=201,
    responses=write_answers(UnknownReferenceError, UnknownUnitError, AmbiguousError),
)
async def grant_extension(request: ExtensionCreate, taken: Granting) -> GrantRead:
    """把某单位某期的应报延至新的时刻;原定期限仍然保留,两种口径的按时与否都可查。"""
    return await grants.grant_extension(taken.db, taken.reader, request, now=taken.now, caller=taken.caller)


@router.post(
    "/waivers",
    summary="批准免报或零报告",
    status_code=201,
    responses=write_answers(UnknownReferenceError, UnknownUnitError, AmbiguousError),
)
async def grant_waiver(request: WaiverCreate, taken: Granting) -> GrantRead:
    """免去某单位某期的应报,须说明理由与批准人。"""
    return await grants.grant_waiver(taken.db, taken.reader, request, now=taken.now, caller=taken.caller)


@router.get(
    "/extensions",
    summary="延期列表",
    response_model=ExtensionPage,
    responses=read_answers(InvalidCursorError, UnknownReferenceError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(GrantQuery),
)
async def list_extensions(
    taken: Annotated[Reading[GrantQuery], reading(GrantQuery, Capability.READ_PROGRESS)],
) -> Response:
    """已批准的延期,先批准的在前;同一应报以最后批准的为准。as_of 可回到过去任一时刻。"""
    return answer(
        await grant_reads.list_extensions(taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller)
    )


@router.get(
    "/waivers",
    summary="免报与零报告列表",
    response_model=WaiverPage,
    responses=read_answers(InvalidCursorError, UnknownReferenceError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(GrantQuery),
)
async def list_waivers(
    taken: Annotated[Reading[GrantQuery], reading(GrantQuery, Capability.READ_PROGRESS)],
) -> Response:
    """已批准的免报与零报告,先批准的在前。as_of 可回到过去任一时刻。"""
    return answer(
        await grant_reads.list_waivers(taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller)
    )
