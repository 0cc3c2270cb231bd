"""原文疑点."""

from typing import Annotated

from fastapi import APIRouter, Response

from app.deps import Reading, query_parameters, reading
from app.domain.permissions import Capability
from app.errors import InvalidCursorError
from app.routers.answers import answer, read_answers
from app.schemas.anomaly import AnomalyPage, AnomalyQuery
from app.services import anomalies

router = APIRouter(prefix="/anomalies", tags=["anomalies"])


@router.get(
    "",
    summary="原文疑点列表",
    response_model=AnomalyPage,
    responses=read_answers(InvalidCursorError),
    openapi_extra=query_parameters(AnomalyQuery),
)
async def list_anomalies(
    taken: Annotated[Reading[AnomalyQuery], reading(AnomalyQuery, Capability.READ_PLAN)],
) -> Response:
    """文件中的错字、矛盾、重复、遗漏、表述不明与名称不一,附印刷形式与采用的读法。"""
    return answer(await anomalies.list_anomalies(taken.reader, taken.query, taken.known))
