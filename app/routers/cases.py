"""台账."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Response

from app.deps import Reading, Writing, query_parameters, reading, writing
from app.domain.permissions import Capability
from app.errors import (
    AmbiguousError,
    ForbiddenError,
    InvalidCursorError,
    NotFoundError,
    PreconditionError,
    UnknownReferenceError,
    UnknownUnitError,
    WrongStepError,
)
from app.routers.answers import answer, done, read_answers, step_answers, write_answers
from app.routers.bodies import JsonRoute
from app.routers.matching import MatchDep
from app.schemas.base import AsOfQuery, NoQuery
from app.schemas.case import (
    AssignStep,
    CandidateQuery,
    CandidatesRead,
    CaseCreate,
    CaseHistoryRead,
    CasePage,
    CasePatch,
    CaseQuery,
    CaseRead,
    ClosureQuery,
    ClosureRead,
    DoneStep,
    EscalateStep,
    EvidenceCreate,
    HandleStep,
    NoteStep,
    ReasonStep,
    RecheckStep,
    ReopenStep,
)
from app.services import candidates, case_reads, case_steps, cases, closure

router = APIRouter(route_class=JsonRoute, tags=["cases"])

CaseId = Annotated[UUID, Path(description="台账编号(UUIDv7)")]
Registering = Annotated[Writing[NoQuery], writing(NoQuery, Capability.REGISTER_CASES)]
Managing = Annotated[Writing[NoQuery], writing(NoQuery, Capability.MANAGE_CASES)]
Handling = Annotated[Writing[NoQuery], writing(NoQuery, Capability.HANDLE_CASES)]
_STEP: dict[str, Any] = {
    "response_model": CaseRead,
    "responses": step_answers(NotFoundError, PreconditionError, WrongStepError),
}


@router.post(
    "/cases",
    summary="登记台账事项",
    status_code=201,
    response_model=CaseRead,
    responses=write_answers(UnknownReferenceError, UnknownUnitError, AmbiguousError),
)
async def register_case(request: CaseCreate, taken: Registering) -> Response:
    """督办单、重大隐患、企业问题、巡查发现、风险台账各一件。登记后尚未交办,可以修改;期限自交办起定。"""
    shown = await cases.register_case(taken.db, taken.reader, request, now=taken.now, caller=taken.caller)
    etag = case_reads.etag_of_case(shown.id, 1, shown.allowed_actions, taken.now)
    return done(shown, status=201, etag=etag, location=f"/api/v1/cases/{shown.id}")


@router.get(
    "/cases",
    summary="台账",
    response_model=CasePage,
    responses=read_answers(InvalidCursorError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(CaseQuery),
)
async def list_cases(
    taken: Annotated[Reading[CaseQuery], reading(CaseQuery, Capability.READ_PROGRESS)],
) -> Response:
    """按种类、状态、是否逾期、是否应回头看、督办级别等列出;带 as_of 为当时的情形。"""
    return answer(
        await case_reads.list_cases(taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller)
    )


@router.get(
    "/cases/closure",
    summary="按期销号率",
    response_model=ClosureRead,
    responses=read_answers(ForbiddenError),
    openapi_extra=query_parameters(ClosureQuery),
)
async def measure_closure(
    taken: Annotated[Reading[ClosureQuery], reading(ClosureQuery, Capability.READ_PROGRESS)],
) -> Response:
    """期限在此期间的,按期销号的占几成(文件要求按期整改 100%)。重新立项的,每次的期限各计一次,以前的不因此改变。"""
    return answer(
        await closure.measure_closure(taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller)
    )


@router.get(
    "/supervision/candidates",
    summary="应当督办的任务",
    response_model=CandidatesRead,
    responses=read_answers(NotFoundError, ForbiddenError),
    openapi_extra=query_parameters(CandidateQuery),
)
async def list_candidates(
    taken: Annotated[Reading[CandidateQuery], reading(CandidateQuery, Capability.READ_PROGRESS)],
) -> Response:
    """滞后的任务,或连续两期逾期未报、漏报的:哪个牵头单位,自何时起,偏差多少,有无督办单。只列出理由,是否督办由人决定。"""
    return answer(
        await candidates.list_candidates(taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller)
    )


@router.get(
    "/cases/{id:uuid}",
    summary="一件台账事项",
    response_model=CaseRead,
    responses=read_answers(NotFoundError),
    openapi_extra=query_parameters(AsOfQuery),
)
async def get_case(
    id: CaseId,  # noqa: A002
    taken: Annotated[Reading[AsOfQuery], reading(AsOfQuery, Capability.READ_PROGRESS)],
) -> Response:
    """现在的情形,或 as_of 当时的情形:状态、期限、督办级别,以及您可以采取的步骤。"""
    return answer(
        await case_reads.get_case(taken.reader, id, taken.query, taken.known, now=taken.now, caller=taken.caller)
    )


@router.get(
    "/cases/{id:uuid}/history",
    summary="台账事项的经过",
    response_model=CaseHistoryRead,
    responses=read_answers(NotFoundError),
    openapi_extra=query_parameters(AsOfQuery),
)
async def get_case_history(
    id: CaseId,  # noqa: A002
    taken: Annotated[Reading[AsOfQuery], reading(AsOfQuery, Capability.READ_PROGRESS)],
) -> Response:
    """何人何时因何采取了哪一步,期限与级别如何变化;补充了哪些佐证。都只增不改。"""
    return answer(
        await case_reads.get_case_history(
            taken.reader, id, taken.query, taken.known, now=taken.now, caller=taken.caller
        )
    )


@router.patch(
    "/cases/{id:uuid}",
    summary="修改台账事项",
    response_model=CaseRead,
    responses=step_answers(NotFoundError, PreconditionError, WrongStepError, UnknownUnitError, AmbiguousError),
)
async def edit_case(
    id: CaseId,  # noqa: A002
    patch: CasePatch,
    match: MatchDep,
    taken: Registering,
) -> Response:
    """交办之前,登记的人与专班协调、督导角色可以修改,省略的不变;专班登记的,责任单位不能改。"""
    shown, etag = await cases.edit_case(
        taken.db, taken.reader, id, patch, match=match, now=taken.now, caller=taken.caller
    )
    return done(shown, etag=etag)


@router.post("/cases/{id:uuid}/assign", summary="交办", **_STEP)
async def assign_case(
    id: CaseId,  # noqa: A002
    step: AssignStep,
    match: MatchDep,
    taken: Managing,
) -> Response:
    """交责任单位办理,定责任人与期限。"""
    shown, etag = await case_steps.assign_case(taken.db, id, step, match=match, now=taken.now, caller=taken.caller)
    return done(shown, etag=etag)


@router.post("/cases/{id:uuid}/receive", summary="签收", **_STEP)
async def receive_case(
    id: CaseId,  # noqa: A002
    step: HandleStep,
    match: MatchDep,
    taken: Handling,
) -> Response:
    """责任单位签收交办的事项。"""
    shown, etag = await case_steps.receive_case(taken.db, id, step, match=match, now=taken.now, caller=taken.caller)
    return done(shown, etag=etag)


@router.post("/cases/{id:uuid}/start", summary="开始办理", **_STEP)
async def start_case(
    id: CaseId,  # noqa: A002
    step: HandleStep,
    match: MatchDep,
    taken: Handling,
) -> Response:
    """责任单位开始办理;退回的,重新开始。"""
    shown, etag = await case_steps.start_case(taken.db, id, step, match=match, now=taken.now, caller=taken.caller)
    return done(shown, etag=etag)


@router.post("/cases/{id:uuid}/report-done", summary="报告办结", **_STEP)
async def report_case_done(
    id: CaseId,  # noqa: A002
    step: DoneStep,
    match: MatchDep,
    taken: Handling,
) -> Response:
    """责任单位报告办理结果;重大隐患须有佐证。是否按期以销号的时刻为准。"""
    shown, etag = await case_steps.report_case_done(taken.db, id, step, match=match, now=taken.now, caller=taken.caller)
    return done(shown, etag=etag)


@router.post("/cases/{id:uuid}/verify", summary="核验", **_STEP)
async def verify_case(
    id: CaseId,  # noqa: A002
    step: NoteStep,
    match: MatchDep,
    taken: Managing,
) -> Response:
    """确认所报属实、办到位;持有责任单位报送角色的人不能核验。"""
    shown, etag = await case_steps.verify_case(taken.db, id, step, match=match, now=taken.now, caller=taken.caller)
    return done(shown, etag=etag)


@router.post("/cases/{id:uuid}/return", summary="退回", **_STEP)
async def return_case(
    id: CaseId,  # noqa: A002
    step: ReasonStep,
    match: MatchDep,
    taken: Managing,
) -> Response:
    """办得不到位的退回责任单位,须写明理由;期限不变。"""
    shown, etag = await case_steps.return_case(taken.db, id, step, match=match, now=taken.now, caller=taken.caller)
    return done(shown, etag=etag)


@router.post("/cases/{id:uuid}/close", summary="销号", **_STEP)
async def close_case(
    id: CaseId,  # noqa: A002
    step: NoteStep,
    match: MatchDep,
    taken: Managing,
) -> Response:
    """核验之后才能销号;重大隐患与巡查发现此后还要回头看。"""
    shown, etag = await case_steps.close_case(taken.db, id, step, match=match, now=taken.now, caller=taken.caller)
    return done(shown, etag=etag)


@router.post("/cases/{id:uuid}/reopen", summary="重新立项", **_STEP)
async def reopen_case(
    id: CaseId,  # noqa: A002
    step: ReopenStep,
    match: MatchDep,
    taken: Managing,
) -> Response:
    """销号之后又出现的,写明理由、另定期限,重新交责任单位办理。"""
    shown, etag = await case_steps.reopen_case(taken.db, id, step, match=match, now=taken.now, caller=taken.caller)
    return done(shown, etag=etag)


@router.post("/cases/{id:uuid}/remind", summary="催办", **_STEP)
async def remind_case(
    id: CaseId,  # noqa: A002
    step: ReasonStep,
    match: MatchDep,
    taken: Managing,
) -> Response:
    """催责任单位抓紧办理,记入经过并发出事件;临近期限与逾期另由服务自动提醒。"""
    shown, etag = await case_steps.remind_case(taken.db, id, step, match=match, now=taken.now, caller=taken.caller)
    return done(shown, etag=etag)


@router.post("/cases/{id:uuid}/escalate", summary="升级督办", **_STEP)
async def escalate_case(
    id: CaseId,  # noqa: A002
    step: EscalateStep,
    match: MatchDep,
    taken: Managing,
) -> Response:
    """写明理由,升到更高的督办级别;各种类有哪几级见 docs/api.md。"""
    shown, etag = await case_steps.escalate_case(taken.db, id, step, match=match, now=taken.now, caller=taken.caller)
    return done(shown, etag=etag)


@router.post("/cases/{id:uuid}/recheck", summary="回头看", **_STEP)
async def recheck_case(
    id: CaseId,  # noqa: A002
    step: RecheckStep,
    match: MatchDep,
    taken: Managing,
) -> Response:
    """对已销号的再看一次:到位的记录在案,未到位的即重新立项。"""
    shown, etag = await case_steps.recheck_case(taken.db, id, step, match=match, now=taken.now, caller=taken.caller)
    return done(shown, etag=etag)


@router.post("/cases/{id:uuid}/evidence", summary="补充佐证", **_STEP)
async def add_case_evidence(
    id: CaseId,  # noqa: A002
    evidence: EvidenceCreate,
    match: MatchDep,
    taken: Handling,
) -> Response:
    """佐证的标题与存处(网址或档案号),可附 SHA-256;本服务不存放文件。"""
    shown, etag = await case_steps.add_evidence(taken.db, id, evidence, match=match, now=taken.now, caller=taken.caller)
    return done(shown, etag=etag)
