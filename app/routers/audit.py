"""审计记录."""

from typing import Annotated

from fastapi import APIRouter, Response

from app.deps import Reading, query_parameters, reading
from app.domain.permissions import Capability
from app.errors import InvalidCursorError
from app.routers.answers import answer, read_answers
from app.schemas.audit import AuditHeadPage, AuditHeadQuery, AuditPage, AuditQuery
from app.services import audit_reads

router = APIRouter(tags=["audit"])


@router.get(
    "/audit",
    summary="审计记录",
    response_model=AuditPage,
    responses=read_answers(InvalidCursorError),
    openapi_extra=query_parameters(AuditQuery),
)
async def list_audit_entries(
    taken: Annotated[Reading[AuditQuery], reading(AuditQuery, Capability.READ_AUDIT)],
) -> Response:
    """何人、何时、从何处、对何物做了何事,之前与之后;新的在前。须为不限定总体方案的审计角色。"""
    return answer(await audit_reads.list_audit_entries(taken.reader, taken.query, taken.known, caller=taken.caller))


@router.get(
    "/audit/heads",
    summary="审计记录的链尾",
    response_model=AuditHeadPage,
    responses=read_answers(InvalidCursorError),
    openapi_extra=query_parameters(AuditHeadQuery),
)
async def list_audit_heads(
    taken: Annotated[Reading[AuditHeadQuery], reading(AuditHeadQuery, Capability.READ_AUDIT)],
) -> Response:
    """每条哈希链最新一条的序号与哈希。另行记下,以后用 liuzhang audit-verify --anchor 核对,改写过的链就瞒不过去。"""
    return answer(await audit_reads.list_audit_heads(taken.reader, taken.query, taken.known, caller=taken.caller))
