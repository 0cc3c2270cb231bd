"""月进度表与成批报送的文件(XLSX、CSV)."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response

from app.deps import Reading, Taking, query_parameters, reading, taking
from app.domain.permissions import Capability
from app.errors import (
    AmbiguousError,
    NotFoundError,
    UnknownReferenceError,
    UnknownUnitError,
    UnreadableFileError,
    UnsupportedMediaError,
)
from app.routers.answers import answer, done, read_answers, step_answers
from app.schemas.base import PeriodCode, UnitFilter
from app.schemas.file import FileRead, FormFileQuery, FormFileWriteQuery, SubmissionFileQuery
from app.services import file_intake, form_files
from app.services.file_rows import Upload

router = APIRouter(tags=["submissions"])

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV = "text/csv"
# What browsers call such files, depending on what is installed beside them; what a file is, it tells itself.
_TAKEN = {XLSX, CSV, "application/csv", "application/vnd.ms-excel", "application/octet-stream"}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "文件本身作为请求体:XLSX 工作簿,或 CSV 文本(UTF-8 或 GB18030,自动识别,也可用 charset 写明)",
        "content": {
            XLSX: _BINARY,
            CSV: {
                "schema": {"type": "string", "minLength": 1},
                "example": "任务编码,单位,报送期,阶段,完成进度,进展情况\r\n"
                "431228-2023-6-3-3,县农业农村局,2023-05,推进中,40,首批地块已开工\r\n",
            },
        },
    }
}
_FILE: dict[int | str, dict[str, Any]] = {200: {"description": "文件", "content": {XLSX: _BINARY, CSV: _BINARY}}}


async def _upload_of(request: Request) -> Upload:
    """The file in the body of a request that has been admitted.

    Raises:
        UnsupportedMediaError: by its own account it is no such file.
    """
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower() not in _TAKEN:
        raise UnsupportedMediaError(f"请求体须为文件本身,请求头须写明 Content-Type: {XLSX} 或 {CSV}")
    name, _, charset = parameters.strip().partition("=")
    return Upload(await request.body(), charset.strip(' "') if name.strip().lower() == "charset" else None)


@router.get(
    "/units/{code}/forms/{period}/file",
    summary="下载月进度表",
    response_class=Response,
    responses={**read_answers(UnknownReferenceError, UnknownUnitError, AmbiguousError, NotFoundError), **_FILE},
    openapi_extra=query_parameters(FormFileQuery),
)
async def get_form_file(
    code: UnitFilter,
    period: PeriodCode,
    taken: Annotated[Reading[FormFileQuery], reading(FormFileQuery, Capability.READ_PROGRESS)],
) -> Response:
    """供填写的表:该单位该期应报的任务、指标与目标值、上期数值,以及已有的报送。填好后原样传回。"""
    rendered, name = await form_files.get_form_file(
        taken.reader, code, period, taken.query, taken.known, caller=taken.caller
    )
    return answer(rendered, file=name)


@router.put(
    "/units/{code}/forms/{period}/file",
    summary="上传月进度表",
    response_model=FileRead,
    responses=step_answers(
        UnknownReferenceError,
        UnknownUnitError,
        AmbiguousError,
        NotFoundError,
        UnreadableFileError,
        UnsupportedMediaError,
    ),
    openapi_extra={**query_parameters(FormFileWriteQuery), **_BODY},
)
async def put_form_file(
    code: UnitFilter,
    period: PeriodCode,
    request: Request,
    taken: Annotated[Taking[FormFileWriteQuery], taking(FormFileWriteQuery, Capability.REPORT)],
) -> Response:
    """逐行给出结果。草稿与被退回的以新内容取代;留空的任务、已报送而内容未变的不作处理。

    能读取的文件一律答 200,是否接受看 accepted 与 refused。
    """
    upload = await _upload_of(request)
    async with request.state.files:
        outcome = await file_intake.put_form_file(
            taken.db, taken.reader, code, period, upload, query=taken.query, now=taken.now, caller=taken.caller
        )
    return done(outcome)


@router.post(
    "/submissions/file",
    summary="上传多个单位的报送",
    response_model=FileRead,
    responses=step_answers(UnreadableFileError, UnsupportedMediaError),
    openapi_extra={**query_parameters(SubmissionFileQuery), **_BODY},
)
async def create_submissions_of_file(
    request: Request,
    taken: Annotated[Taking[SubmissionFileQuery], taking(SubmissionFileQuery, Capability.REPORT)],
) -> Response:
    """每行一份报送(任务编码、单位、报送期等列),至多 20000 份,逐行给出结果。

    atomic=true 全部接受或全部不接受,dry_run=true 只检查不写入。
    """
    upload = await _upload_of(request)
    async with request.state.files:
        outcome = await file_intake.create_submissions_of_file(
            taken.db, upload, query=taken.query, now=taken.now, caller=taken.caller
        )
    return done(outcome)
