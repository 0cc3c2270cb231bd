"""考核:办法、评分、试算、定案、申诉."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Response

from app.deps import Reading, Writing, query_parameters, reading, writing
from app.domain.permissions import Capability
from app.errors import (
    AmbiguousError,
    ConflictError,
    ForbiddenError,
    InvalidCursorError,
    NotFoundError,
    UnknownReferenceError,
    UnknownUnitError,
    WrongStepError,
)
from app.routers.answers import answer, read_answers, step_answers, write_answers
from app.routers.bodies import JsonRoute
from app.schemas.appeal import AppealCreate, AppealDecide, AppealPage, AppealQuery, AppealRead
from app.schemas.assessment import (
    AssessmentCreate,
    AssessmentPage,
    AssessmentQuery,
    AssessmentRead,
    FrozenRead,
    PreviewCreate,
    PreviewQuery,
    PreviewRead,
)
from app.schemas.assessment_scheme import (
    AssessmentSchemeCreate,
    AssessmentSchemePage,
    AssessmentSchemeQuery,
    AssessmentSchemeRead,
)
from app.schemas.base import NoQuery
from app.schemas.mark import MarkCreate, MarkPage, MarkQuery, MarkRead
from app.services import appeals, assessment_reads, assessment_schemes, assessments, marks

router = APIRouter(route_class=JsonRoute, tags=["assessments"])

AssessmentId = Annotated[UUID, Path(description="考核结果编号(UUIDv7)")]
Assessing = Annotated[Writing[NoQuery], writing(NoQuery, Capability.ASSESS)]
_NAMED = (UnknownReferenceError, UnknownUnitError, AmbiguousError)


@router.post(
    "/assessment-schemes",
    summary="制定一版考核办法",
    status_code=201,
    responses=write_answers(UnknownReferenceError),
)
async def create_assessment_scheme(request: AssessmentSchemeCreate, taken: Assessing) -> AssessmentSchemeRead:
    """权重、每次扣分、扣分上限、分数线都是参数,附件6三(五)没有规定。每次制定都是新的一版,旧的不改;已定案的结果不受影响。"""
    return await assessment_schemes.create_scheme(taken.db, request, now=taken.now, caller=taken.caller)


@router.get(
    "/assessment-schemes",
    summary="考核办法列表",
    response_model=AssessmentSchemePage,
    responses=read_answers(InvalidCursorError),
    openapi_extra=query_parameters(AssessmentSchemeQuery),
)
async def list_assessment_schemes(
    taken: Annotated[Reading[AssessmentSchemeQuery], reading(AssessmentSchemeQuery, Capability.READ_PLAN)],
) -> Response:
    """各版考核办法,按制定先后。没有制定时所用的默认办法(第 0 版)不在此列,试算的答复会写明。"""
    return answer(await assessment_schemes.list_schemes(taken.reader, taken.query, taken.known, now=taken.now))


@router.get(
    "/assessment-schemes/{id:uuid}",
    summary="一版考核办法",
    response_model=AssessmentSchemeRead,
    responses=read_answers(NotFoundError),
)
async def get_assessment_scheme(
    id: Annotated[UUID, Path(description="考核办法编号(UUIDv7)")],  # noqa: A002
    taken: Annotated[Reading[NoQuery], reading(NoQuery, Capability.READ_PLAN)],
) -> Response:
    """全部参数、施行日期与说明。"""
    return answer(await assessment_schemes.get_scheme(taken.reader, id, taken.known))


@router.post(
    "/marks",
    summary="评分",
    status_code=201,
    responses=write_answers(*_NAMED),
)
async def create_mark(request: MarkCreate, taken: Assessing) -> MarkRead:
    """给一个牵头单位的项目质量或后续管理评分。最新一次为准;项目质量没有评分的,按一次认定的比例计算,后续管理没有评分的不计入。"""
    return await marks.give_mark(taken.db, taken.reader, request, now=taken.now, caller=taken.caller)


@router.get(
    "/marks",
    summary="评分列表",
    response_model=MarkPage,
    responses=read_answers(InvalidCursorError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(MarkQuery),
)
async def list_marks(
    taken: Annotated[Reading[MarkQuery], reading(MarkQuery, Capability.READ_PROGRESS)],
) -> Response:
    """按方案、仗、单位列出评分,含已被取代的;as_of 为当时的情形。"""
    return answer(await marks.list_marks(taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller))


@router.get(
    "/assessments/preview",
    summary="试算考核",
    response_model=PreviewRead,
    responses=read_answers(*_NAMED),
    openapi_extra=query_parameters(PreviewQuery),
)
async def preview_assessments(
    taken: Annotated[Reading[PreviewQuery], reading(PreviewQuery, Capability.READ_PROGRESS)],
) -> Response:
    """各牵头单位此刻或某时刻的得分,每项都带算式、数据和依据,照着可以用手重算;什么也不保存。

    给出 scheme 则换一版办法试算。尚未认定的过错不计入,答复写明有几起。
    """
    shown = await assessments.preview(taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller)
    return answer(shown)


@router.post(
    "/assessments/preview",
    summary="按另定的参数试算考核",
    responses=step_answers(*_NAMED),
)
async def preview_assessments_with(
    request: PreviewCreate,
    taken: Annotated[Reading[NoQuery], reading(NoQuery, Capability.READ_PROGRESS)],
) -> PreviewRead:
    """参数写在请求体中,不必先制定办法;什么也不保存、什么也不改变。"""
    return await assessments.preview_with(taken.reader, request, now=taken.now, caller=taken.caller)


@router.get(
    "/assessments/{id:uuid}",
    summary="一个考核结果",
    response_model=AssessmentRead,
    responses=read_answers(NotFoundError),
)
async def get_assessment(
    id: AssessmentId,  # noqa: A002
    taken: Annotated[Reading[NoQuery], reading(NoQuery, Capability.READ_PROGRESS)],
) -> Response:
    """定案时的全部内容:办法、各项数据、算式、总分、等次;一字不改,content_hash 可以验证。"""
    return answer(
        await assessment_reads.get_assessment(taken.reader, id, taken.known, now=taken.now, caller=taken.caller)
    )


@router.post(
    "/assessments/{id:uuid}/appeals",
    summary="对考核结果申诉",
    status_code=201,
    responses=write_answers(NotFoundError, ConflictError),
)
async def create_appeal(
    id: AssessmentId,  # noqa: A002
    request: AppealCreate,
    taken: Annotated[Writing[NoQuery], writing(NoQuery, Capability.ANSWER_ASSESSMENTS)],
) -> AppealRead:
    """由本单位提出,只对最新一版,每版一次。"""
    return await appeals.file_appeal(taken.db, id, request, now=taken.now, caller=taken.caller)


@router.get(
    "/appeals",
    summary="申诉列表",
    response_model=AppealPage,
    responses=read_answers(InvalidCursorError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(AppealQuery),
)
async def list_appeals(
    taken: Annotated[Reading[AppealQuery], reading(AppealQuery, Capability.READ_PROGRESS)],
) -> Response:
    """按方案、仗、单位、结果、状态列出申诉;as_of 为当时的情形。"""
    found = await appeals.list_appeals(taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller)
    return answer(found)


@router.post(
    "/appeals/{id:uuid}/decide",
    summary="复核申诉",
    responses=step_answers(NotFoundError, ForbiddenError, ConflictError, WrongStepError),
)
async def decide_appeal(
    id: Annotated[UUID, Path(description="申诉编号(UUIDv7)")],  # noqa: A002
    request: AppealDecide,
    taken: Assessing,
) -> AppealRead:
    """须由定案之外的另一人复核。申诉成立的,报送与进度仍截至原定案的时刻,评分与过错认定按此刻,重新计算出新一版;原结果保留。"""
    return await appeals.decide_appeal(taken.db, id, request, now=taken.now, caller=taken.caller)


@router.post(
    "/assessments",
    summary="考核定案",
    status_code=201,
    responses=write_answers(*_NAMED, ConflictError),
)
async def create_assessments(request: AssessmentCreate, taken: Assessing) -> FrozenRead:
    """把全部牵头单位(或一个单位)的结果定下来,此后不变。年度结束之前的为中期结果,可再定;年度结果只能经申诉成立另出一版,有尚未认定的过错时不能定。"""
    found = await assessments.freeze(taken.db, taken.reader, request, now=taken.now, caller=taken.caller)
    return await assessment_reads.settled(taken.db, found, now=taken.now, caller=taken.caller)


@router.get(
    "/assessments",
    summary="考核结果列表",
    response_model=AssessmentPage,
    responses=read_answers(InvalidCursorError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(AssessmentQuery),
)
async def list_assessments(
    taken: Annotated[Reading[AssessmentQuery], reading(AssessmentQuery, Capability.READ_PROGRESS)],
) -> Response:
    """按方案、仗、单位、年度、等次列出已定案的结果;as_of 为当时的情形。"""
    found = await assessment_reads.list_assessments(
        taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller
    )
    return answer(found)
