"""检索."""

from typing import Annotated

from fastapi import APIRouter, Response

from app.deps import Reading, query_parameters, reading
from app.domain.permissions import Capability
from app.errors import InvalidCursorError
from app.routers.answers import answer, read_answers
from app.schemas.search import SearchPage, SearchQuery
from app.services import search as service

router = APIRouter(prefix="/search", tags=["search"])


@router.get(
    "",
    summary="全文检索",
    response_model=SearchPage,
    responses=read_answers(InvalidCursorError),
    openapi_extra=query_parameters(SearchQuery),
)
async def search(taken: Annotated[Reading[SearchQuery], reading(SearchQuery, Capability.READ_PLAN)]) -> Response:
    """在方案、仗、任务组、任务、单位、目标、规则、疑点中检索,最相关的在前;支持别名、全拼与拼音首字母。"""
    return answer(await service.search(taken.reader, taken.query, taken.known))
