"""简报、通报、总结."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Response

from app.deps import Reading, Writing, query_parameters, reading, writing
from app.domain.permissions import Capability
from app.errors import (
    ConflictError,
    InvalidCursorError,
    NotFoundError,
    PreconditionError,
    UnknownReferenceError,
    WrongStepError,
)
from app.routers.answers import answer, done, read_answers, step_answers, write_answers
from app.routers.bodies import JsonRoute
from app.routers.matching import MatchDep
from app.schemas.base import NoQuery
from app.schemas.bulletin import (
    BulletinCreate,
    BulletinDifference,
    BulletinDiscard,
    BulletinDocumentQuery,
    BulletinIssue,
    BulletinPage,
    BulletinPatch,
    BulletinPreview,
    BulletinPreviewQuery,
    BulletinQuery,
    BulletinRead,
    BulletinRegenerate,
    BulletinVerification,
)
from app.services import bulletin_differences, bulletin_files, bulletin_reads, bulletins
from app.services.bulletin_files import DOCX

router = APIRouter(route_class=JsonRoute, prefix="/bulletins", tags=["bulletins"])

BulletinId = Annotated[UUID, Path(description="简报通报的编号(UUIDv7)")]
Editing = Annotated[Writing[NoQuery], writing(NoQuery, Capability.EDIT_BULLETINS)]
Asking = Annotated[Reading[NoQuery], reading(NoQuery, Capability.READ_PROGRESS)]
STEP_ANSWERS = step_answers(NotFoundError, WrongStepError, PreconditionError, UnknownReferenceError)
_MARKDOWN: dict[int | str, dict[str, Any]] = {
    200: {"description": "文本", "content": {"text/markdown": {"schema": {"type": "string"}}}}
}
_DOCX: dict[int | str, dict[str, Any]] = {
    200: {"description": "文件", "content": {DOCX: {"schema": {"type": "string", "format": "binary"}}}}
}


@router.get(
    "",
    summary="简报通报列表",
    response_model=BulletinPage,
    responses=read_answers(InvalidCursorError, UnknownReferenceError),
    openapi_extra=query_parameters(BulletinQuery),
)
async def list_bulletins(
    taken: Annotated[Reading[BulletinQuery], reading(BulletinQuery, Capability.READ_PROGRESS)],
) -> Response:
    """按方案、仗、种类、报送期、状态筛选;没有印发的只列给可以编发的和审计角色。"""
    return answer(await bulletin_reads.list_bulletins(taken.reader, taken.query, taken.known, caller=taken.caller))


@router.post(
    "",
    summary="编制一期简报通报",
    status_code=201,
    response_model=BulletinRead,
    responses=write_answers(UnknownReferenceError, ConflictError),
)
async def create_bulletin(wanted: BulletinCreate, taken: Editing) -> Response:
    """按截至时刻的数据生成草稿:进度、目标、报送情况、滞后任务及原因、督办、下期到期事项。同一期只能有一份。"""
    made = await bulletins.create_bulletin(taken.db, taken.reader, wanted, now=taken.now, caller=taken.caller)
    return done(made, status=201, location=f"/api/v1/bulletins/{made.id}")


@router.get(
    "/preview",
    summary="预览一期简报通报",
    response_model=BulletinPreview,
    responses=read_answers(UnknownReferenceError),
    openapi_extra=query_parameters(BulletinPreviewQuery),
)
async def preview_bulletin(
    taken: Annotated[Reading[BulletinPreviewQuery], reading(BulletinPreviewQuery, Capability.EDIT_BULLETINS)],
) -> Response:
    """与编制所得的内容相同,但不保存。"""
    return answer(
        await bulletin_reads.preview_bulletin(
            taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller
        )
    )


@router.get("/{id:uuid}", summary="一期简报通报", response_model=BulletinRead, responses=read_answers(NotFoundError))
async def get_bulletin(
    id: BulletinId,  # noqa: A002
    taken: Asking,
) -> Response:
    """生成的内容与手写的文字;印发后两者都不再改变。"""
    return answer(await bulletin_reads.get_bulletin(taken.reader, id, taken.known, caller=taken.caller))


@router.get(
    "/{id:uuid}/markdown",
    summary="简报通报的 Markdown 文本",
    response_class=Response,
    responses={**read_answers(NotFoundError), **_MARKDOWN},
)
async def get_bulletin_markdown(
    id: BulletinId,  # noqa: A002
    taken: Asking,
) -> Response:
    """与 Word 文件的内容和次序相同,便于粘贴到网站与即时通讯。"""
    rendered, name = await bulletin_files.get_markdown(taken.reader, id, taken.known, caller=taken.caller)
    return answer(rendered, file=name)


@router.get(
    "/{id:uuid}/document",
    summary="简报通报的 Word 文件",
    response_class=Response,
    responses={**read_answers(NotFoundError), **_DOCX},
    openapi_extra=query_parameters(BulletinDocumentQuery),
)
async def get_bulletin_document(
    id: BulletinId,  # noqa: A002
    taken: Annotated[Reading[BulletinDocumentQuery], reading(BulletinDocumentQuery, Capability.READ_PROGRESS)],
) -> Response:
    """按 GB/T 9704-2012 的公文格式排版(DOCX);同一期每次下载逐字节相同。"""
    rendered, name = await bulletin_files.get_document(taken.reader, id, taken.query, taken.known, caller=taken.caller)
    return answer(rendered, file=name)


@router.get(
    "/{id:uuid}/difference",
    summary="与上一期比较",
    response_model=BulletinDifference,
    responses=read_answers(NotFoundError),
)
async def get_bulletin_difference(
    id: BulletinId,  # noqa: A002
    taken: Asking,
) -> Response:
    """与同一仗(或总体方案)、同一种类上一份已印发的逐项比较,并列出滞后任务的进出。"""
    return answer(await bulletin_differences.get_difference(taken.reader, id, taken.known, caller=taken.caller))


@router.get(
    "/{id:uuid}/verification",
    summary="核验一期简报通报",
    response_model=BulletinVerification,
    responses=read_answers(NotFoundError),
)
async def verify_bulletin(
    id: BulletinId,  # noqa: A002
    taken: Asking,
) -> Response:
    """按同一截至时刻的数据重新生成,比较哈希:印发之后的更正、延期、免报都不改变当时的数。"""
    return answer(await bulletin_reads.get_verification(taken.reader, id, taken.known, caller=taken.caller))


@router.patch("/{id:uuid}", summary="修改简报通报的文字", response_model=BulletinRead, responses=STEP_ANSWERS)
async def patch_bulletin(
    id: BulletinId,  # noqa: A002
    patch: BulletinPatch,
    match: MatchDep,
    taken: Editing,
) -> Response:
    """改标题、导语、逐项说明、结语、联系人、署名与抄送;省略的不变。数据不能改,要改请更正进度后重新生成。"""
    return answer(
        await bulletins.patch_bulletin(
            taken.db, taken.reader, id, patch, match=match, now=taken.now, caller=taken.caller
        )
    )


@router.post("/{id:uuid}/regenerate", summary="重新生成草稿的数据", response_model=BulletinRead, responses=STEP_ANSWERS)
async def regenerate_bulletin(
    id: BulletinId,  # noqa: A002
    step: BulletinRegenerate,
    match: MatchDep,
    taken: Editing,
) -> Response:
    """换一个截至时刻;手写的文字保留。"""
    return answer(
        await bulletins.regenerate_bulletin(
            taken.db, taken.reader, id, step, match=match, now=taken.now, caller=taken.caller
        )
    )


@router.post("/{id:uuid}/issue", summary="印发", response_model=BulletinRead, responses=STEP_ANSWERS)
async def issue_bulletin(
    id: BulletinId,  # noqa: A002
    step: BulletinIssue,
    match: MatchDep,
    taken: Editing,
) -> Response:
    """取得期号,记下哈希,此后不再改变;专班该期应报的简报通报即为报出。"""
    return answer(await bulletins.issue_bulletin(taken.db, id, step, match=match, now=taken.now, caller=taken.caller))


@router.post("/{id:uuid}/discard", summary="作废草稿", response_model=BulletinRead, responses=STEP_ANSWERS)
async def discard_bulletin(
    id: BulletinId,  # noqa: A002
    step: BulletinDiscard,
    match: MatchDep,
    taken: Editing,
) -> Response:
    """写明理由;此后可以另编一份。已印发的不能作废。"""
    return answer(await bulletins.discard_bulletin(taken.db, id, step, match=match, now=taken.now, caller=taken.caller))
