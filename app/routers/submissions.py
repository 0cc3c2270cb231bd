"""进度报送."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Response

from app.deps import Reading, WritingDep, query_parameters, reading
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
from app.rendering import Known
from app.routers.answers import answer, read_answers, step_answers, write_answers
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
from app.services import batches, steps, submission_reads

router = APIRouter(tags=["submissions"])

SubmissionId = Annotated[UUID, Path(description="报送编号(UUIDv7)")]
Match = Annotated[
    str | None, Header(alias="If-Match", description="读取时的 ETag;已被他人更改则返回 412", max_length=2000)
]
STEP_ANSWERS = step_answers(NotFoundError, WrongStepError, PreconditionError, UnknownUnitError, AmbiguousError)


async def _match(header: Match = None) -> Known | None:
    return None if header is None else Known.parse(header)


MatchDep = Annotated[Known | None, Depends(_match)]


def _tagged(response: Response, done: tuple[SubmissionRead, str]) -> SubmissionRead:
    shown, etag = done
    response.headers["ETag"] = etag
    return shown


@router.post(
    "/submissions",
    summary="报送一份进度",
    status_code=201,
    responses=write_answers(ConflictError),
)
async def create_submission(report: SubmissionCreate, writing: WritingDep, response: Response) -> SubmissionRead:
    """一个单位就一项任务报一期的进度。submit 为 false 只存草稿;有疑点照样接受,疑点列在 warnings 中。"""
    return _tagged(response, await batches.create_submission(writing.connection, report, now=writing.now))


@router.post("/submissions/batch", summary="成批报送", responses=step_answers())
async def create_submissions(
    batch: BatchCreate, query: Annotated[BatchQuery, Query()], writing: WritingDep
) -> BatchRead:
    """至多 500 份,逐份给出结果;atomic=true 全部接受或全部不接受,dry_run=true 只检查不写入。"""
    return await batches.create_submissions(
        writing.connection, batch.items, atomic=query.atomic, dry_run=query.dry_run, now=writing.now
    )


@router.get(
    "/submissions",
    summary="进度报送列表",
    response_model=SubmissionPage,
    responses=read_answers(InvalidCursorError, UnknownReferenceError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(SubmissionQuery),
)
async def list_submissions(taken: Annotated[Reading[SubmissionQuery], reading(SubmissionQuery)]) -> Response:
    """按方案、任务、单位、仗、报送期、状态筛选,每份给出最新版本的内容。"""
    return answer(await submission_reads.list_submissions(taken.reader, taken.query, taken.known))


@router.get(
    "/submissions/{id:uuid}",
    summary="一份进度报送",
    response_model=SubmissionRead,
    responses=read_answers(NotFoundError),
)
async def get_submission(id: SubmissionId, taken: Annotated[Reading[NoQuery], reading(NoQuery)]) -> Response:  # noqa: A002
    """最新版本的内容、现行版本号、疑点与当前允许的步骤。"""
    return answer(await submission_reads.get_submission(taken.reader, id, taken.known))


@router.patch("/submissions/{id:uuid}", summary="修改草稿或被退回的报送", responses=STEP_ANSWERS)
async def edit_submission(
    id: SubmissionId,  # noqa: A002
    report: SubmissionPatch,
    match: MatchDep,
    writing: WritingDep,
    response: Response,
) -> SubmissionRead:
    """以新内容取代;已报送的须先退回,已认定的须更正。"""
    done = await steps.edit_submission(writing.connection, id, report, match=match, now=writing.now)
    return _tagged(response, done)


@router.post("/submissions/{id:uuid}/submit", summary="报送", responses=STEP_ANSWERS)
async def submit_submission(
    id: SubmissionId,  # noqa: A002
    step: SubmitStep,
    match: MatchDep,
    writing: WritingDep,
    response: Response,
) -> SubmissionRead:
    """把草稿或被退回的报送交上去,等待评估认定。"""
    done = await steps.submit_submission(writing.connection, id, step, match=match, now=writing.now)
    return _tagged(response, done)


@router.post("/submissions/{id:uuid}/certify", summary="评估认定", responses=STEP_ANSWERS)
async def certify_submission(
    id: SubmissionId,  # noqa: A002
    step: CertifyStep,
    match: MatchDep,
    writing: WritingDep,
    response: Response,
) -> SubmissionRead:
    """认定即为报出;认定单位不得认定本单位报送的数据。"""
    done = await steps.certify_submission(writing.connection, writing.reader, id, step, match=match, now=writing.now)
    return _tagged(response, done)


@router.post("/submissions/{id:uuid}/return", summary="退回", responses=STEP_ANSWERS)
async def return_submission(
    id: SubmissionId,  # noqa: A002
    step: ReturnStep,
    match: MatchDep,
    writing: WritingDep,
    response: Response,
) -> SubmissionRead:
    """说明理由退回报送单位;认定单位从不改动数据。"""
    done = await steps.return_submission(writing.connection, writing.reader, id, step, match=match, now=writing.now)
    return _tagged(response, done)


@router.post("/submissions/{id:uuid}/correct", summary="更正", responses=STEP_ANSWERS)
async def correct_submission(
    id: SubmissionId,  # noqa: A002
    correction: CorrectionCreate,
    match: MatchDep,
    writing: WritingDep,
    response: Response,
) -> SubmissionRead:
    """已认定的内容不变,更正是新的版本,认定后才取代旧的。"""
    done = await steps.correct_submission(writing.connection, id, correction, match=match, now=writing.now)
    return _tagged(response, done)


@router.post("/certifications", summary="成批评估认定", responses=step_answers(UnknownUnitError, AmbiguousError))
async def certify_submissions(request: CertificationCreate, writing: WritingDep) -> BatchRead:
    """一次认定至多 500 份,逐份给出结果;某一份不能认定不影响其余。"""
    return await steps.certify_many(writing.connection, writing.reader, request, now=writing.now)


@router.get(
    "/submissions/{id:uuid}/history",
    summary="报送的历史",
    response_model=HistoryRead,
    responses=read_answers(NotFoundError),
)
async def get_history(id: SubmissionId, taken: Annotated[Reading[NoQuery], reading(NoQuery)]) -> Response:  # noqa: A002
    """全部版本与全部步骤:谁、何时、为何。"""
    return answer(await submission_reads.get_history(taken.reader, id, taken.known))


@router.get(
    "/submissions/{id:uuid}/receipt", summary="回执", response_model=ReceiptRead, responses=read_answers(NotFoundError)
)
async def get_receipt(id: SubmissionId, taken: Annotated[Reading[NoQuery], reading(NoQuery)]) -> Response:  # noqa: A002
    """服务器时刻、内容的 SHA-256、对应的应报与期限、是否按时、迟在哪一环节。"""
    return answer(await submission_reads.get_receipt(taken.reader, id, taken.known, now=taken.now))


@router.get(
    "/units/{code}/forms/{period}",
    summary="一个单位的月进度表",
    response_model=FormRead,
    responses=read_answers(UnknownReferenceError, UnknownUnitError, AmbiguousError),
)
async def get_form(
    code: UnitFilter, period: PeriodCode, taken: Annotated[Reading[NoQuery], reading(NoQuery)]
) -> Response:
    """该单位该期应报的每项任务,附已有的报送;尚无的为 null。"""
    return answer(await batches.get_form(taken.reader, code, period, taken.known))


@router.put(
    "/units/{code}/forms/{period}",
    summary="报送整份月进度表",
    responses=step_answers(ConflictError, UnknownReferenceError, UnknownUnitError, AmbiguousError),
)
async def put_form(code: UnitFilter, period: PeriodCode, form: FormWrite, writing: WritingDep) -> BatchRead:
    """整份在一个事务内接受:有一项不能接受,全部不接受。草稿与被退回的以新内容取代。"""
    return await batches.put_form(writing.connection, writing.reader, code, period, form, now=writing.now)
