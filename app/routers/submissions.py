"""进度报送."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Response

from app.deps import Reading, Taking, Writing, query_parameters, reading, taking, writing
from app.domain.permissions import Capability
from app.errors import (
    AmbiguousError,
    ConflictError,
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
from app.routers.retries import kept_of, response_of
from app.schemas.base import NoQuery, PeriodCode, UnitFilter
from app.schemas.submission import (
    BatchCreate,
    BatchQuery,
    BatchRead,
    CertificationCreate,
    CertifyStep,
    CorrectionCreate,
    FormRead,
    FormWrite,
    HistoryRead,
    ReceiptRead,
    ReturnStep,
    SubmissionCreate,
    SubmissionPage,
    SubmissionPatch,
    SubmissionQuery,
    SubmissionRead,
    SubmitStep,
)
from app.services import batches, owed_reports, steps, submission_reads
from app.services.idempotency import Kept

router = APIRouter(route_class=JsonRoute, tags=["submissions"])

SubmissionId = Annotated[UUID, Path(description="报送编号(UUIDv7)")]
Reporting = Annotated[Taking[NoQuery], taking(NoQuery, Capability.REPORT)]
Stepping = Annotated[Writing[NoQuery], writing(NoQuery, Capability.REPORT)]
Certifying = Annotated[Writing[NoQuery], writing(NoQuery, Capability.CERTIFY)]
STEP_ANSWERS = step_answers(NotFoundError, WrongStepError, PreconditionError, UnknownUnitError, AmbiguousError)


@router.post(
    "/submissions",
    summary="报送一份进度",
    status_code=201,
    response_model=SubmissionRead,
    responses=write_answers(ConflictError),
)
async def create_submission(
    report: SubmissionCreate,
    taken: Annotated[Taking[NoQuery], taking(NoQuery, Capability.REPORT, keeps_answers=True)],
) -> Response:
    """一个单位就一项任务报一期的进度。submit 为 false 只存草稿;有疑点照样接受,疑点列在 warnings 中。"""
    kept, again = await batches.create_submission(
        taken.intake, report, attempt=taken.attempt, answer=_created, now=taken.now, caller=taken.caller
    )
    return response_of(kept, again=again)


def _created(shown: SubmissionRead, etag: str) -> Kept:
    return kept_of(done(shown, status=201, etag=etag, location=f"/api/v1/submissions/{shown.id}"))


@router.post(
    "/submissions/batch",
    summary="成批报送",
    response_model=BatchRead,
    responses=step_answers(),
    openapi_extra=query_parameters(BatchQuery),
)
async def create_submissions(
    batch: BatchCreate, taken: Annotated[Taking[BatchQuery], taking(BatchQuery, Capability.REPORT)]
) -> Response:
    """至多 500 份,逐份给出结果;atomic=true 全部接受或全部不接受,dry_run=true 只检查不写入。"""
    query = taken.query
    outcome = await batches.create_submissions(
        taken.db, batch.items, atomic=query.atomic, dry_run=query.dry_run, now=taken.now, caller=taken.caller
    )
    return done(outcome)


@router.get(
    "/submissions",
    summary="进度报送列表",
    response_model=SubmissionPage,
    responses=read_answers(InvalidCursorError, UnknownReferenceError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(SubmissionQuery),
)
async def list_submissions(
    taken: Annotated[Reading[SubmissionQuery], reading(SubmissionQuery, Capability.READ_PROGRESS)],
) -> Response:
    """按方案、任务、单位、仗、报送期、状态筛选,每份给出最新版本的内容。"""
    return answer(
        await submission_reads.list_submissions(
            taken.reader, taken.trail, taken.query, taken.known, now=taken.now, caller=taken.caller
        )
    )


@router.get(
    "/submissions/{id:uuid}",
    summary="一份进度报送",
    response_model=SubmissionRead,
    responses=read_answers(NotFoundError),
)
async def get_submission(
    id: SubmissionId,  # noqa: A002
    taken: Annotated[Reading[NoQuery], reading(NoQuery, Capability.READ_PROGRESS)],
) -> Response:
    """最新版本的内容、现行版本号、疑点与当前允许的步骤。"""
    return answer(
        await submission_reads.get_submission(
            taken.reader, taken.trail, id, taken.known, now=taken.now, caller=taken.caller
        )
    )


@router.patch(
    "/submissions/{id:uuid}", summary="修改草稿或被退回的报送", response_model=SubmissionRead, responses=STEP_ANSWERS
)
async def edit_submission(
    id: SubmissionId,  # noqa: A002
    report: SubmissionPatch,
    match: MatchDep,
    taken: Stepping,
) -> Response:
    """以新内容取代;已报送的须先退回,已认定的须更正。"""
    shown, etag = await steps.edit_submission(taken.db, id, report, match=match, now=taken.now, caller=taken.caller)
    return done(shown, etag=etag)


@router.post("/submissions/{id:uuid}/submit", summary="报送", response_model=SubmissionRead, responses=STEP_ANSWERS)
async def submit_submission(
    id: SubmissionId,  # noqa: A002
    step: SubmitStep,
    match: MatchDep,
    taken: Stepping,
) -> Response:
    """把草稿或被退回的报送交上去,等待评估认定。"""
    shown, etag = await steps.submit_submission(taken.db, id, step, match=match, now=taken.now, caller=taken.caller)
    return done(shown, etag=etag)


@router.post(
    "/submissions/{id:uuid}/certify", summary="评估认定", response_model=SubmissionRead, responses=STEP_ANSWERS
)
async def certify_submission(
    id: SubmissionId,  # noqa: A002
    step: CertifyStep,
    match: MatchDep,
    taken: Certifying,
) -> Response:
    """认定即为报出;认定单位不得认定本单位报送的数据。"""
    shown, etag = await steps.certify_submission(
        taken.db, taken.reader, id, step, match=match, now=taken.now, caller=taken.caller
    )
    return done(shown, etag=etag)


@router.post("/submissions/{id:uuid}/return", summary="退回", response_model=SubmissionRead, responses=STEP_ANSWERS)
async def return_submission(
    id: SubmissionId,  # noqa: A002
    step: ReturnStep,
    match: MatchDep,
    taken: Certifying,
) -> Response:
    """说明理由退回报送单位;认定单位从不改动数据。"""
    shown, etag = await steps.return_submission(
        taken.db, taken.reader, id, step, match=match, now=taken.now, caller=taken.caller
    )
    return done(shown, etag=etag)


@router.post("/submissions/{id:uuid}/correct", summary="更正", response_model=SubmissionRead, responses=STEP_ANSWERS)
async def correct_submission(
    id: SubmissionId,  # noqa: A002
    correction: CorrectionCreate,
    match: MatchDep,
    taken: Stepping,
) -> Response:
    """已认定的内容不变,更正是新的版本,认定后才取代旧的。"""
    shown, etag = await steps.correct_submission(
        taken.db, id, correction, match=match, now=taken.now, caller=taken.caller
    )
    return done(shown, etag=etag)


@router.post(
    "/certifications",
    summary="成批评估认定",
    response_model=BatchRead,
    responses=step_answers(UnknownUnitError, AmbiguousError),
)
async def certify_submissions(request: CertificationCreate, taken: Certifying) -> Response:
    """一次认定至多 500 份,逐份给出结果;某一份不能认定不影响其余。"""
    return done(await steps.certify_many(taken.db, taken.reader, request, now=taken.now, caller=taken.caller))


@router.get(
    "/submissions/{id:uuid}/history",
    summary="报送的历史",
    response_model=HistoryRead,
    responses=read_answers(NotFoundError),
)
async def get_history(
    id: SubmissionId,  # noqa: A002
    taken: Annotated[Reading[NoQuery], reading(NoQuery, Capability.READ_PROGRESS)],
) -> Response:
    """全部版本与全部步骤:谁、何时、为何。"""
    return answer(
        await submission_reads.get_history(
            taken.reader, taken.trail, id, taken.known, now=taken.now, caller=taken.caller
        )
    )


@router.get(
    "/submissions/{id:uuid}/receipt", summary="回执", response_model=ReceiptRead, responses=read_answers(NotFoundError)
)
async def get_receipt(
    id: SubmissionId,  # noqa: A002
    taken: Annotated[Reading[NoQuery], reading(NoQuery, Capability.READ_PROGRESS)],
) -> Response:
    """服务器时刻、内容的 SHA-256、对应的应报与期限、是否按时、迟在哪一环节。"""
    return answer(
        await owed_reports.get_receipt(taken.reader, taken.trail, id, taken.known, now=taken.now, caller=taken.caller)
    )


@router.get(
    "/units/{code}/forms/{period}",
    summary="一个单位的月进度表",
    response_model=FormRead,
    responses=read_answers(NotFoundError, UnknownReferenceError, UnknownUnitError, AmbiguousError),
)
async def get_form(
    code: UnitFilter, period: PeriodCode, taken: Annotated[Reading[NoQuery], reading(NoQuery, Capability.READ_PROGRESS)]
) -> Response:
    """该单位该期应报的每项任务,附已有的报送;尚无的为 null。"""
    return answer(
        await batches.get_form(taken.reader, taken.trail, code, period, taken.known, now=taken.now, caller=taken.caller)
    )


@router.put(
    "/units/{code}/forms/{period}",
    summary="报送整份月进度表",
    response_model=BatchRead,
    responses=step_answers(ConflictError, UnknownReferenceError, UnknownUnitError, AmbiguousError),
)
async def put_form(code: UnitFilter, period: PeriodCode, form: FormWrite, taken: Reporting) -> Response:
    """整份在一个事务内接受:有一项不能接受,全部不接受。草稿与被退回的以新内容取代。"""
    return done(
        await batches.put_form(
            taken.db, taken.reader, code, period, form, intake=taken.intake, now=taken.now, caller=taken.caller
        )
    )
