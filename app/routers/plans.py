"""总体方案."""

from typing import Annotated

from fastapi import APIRouter, Response

from app.deps import Reading, query_parameters, reading
from app.domain.permissions import Capability
from app.errors import InvalidCursorError, NotFoundError
from app.routers.answers import answer, read_answers
from app.schemas.base import NoQuery, PlanCode
from app.schemas.plan import PlanPage, PlanQuery, PlanRead
from app.services import plans

router = APIRouter(prefix="/plans", tags=["plans"])


@router.get(
    "",
    summary="总体方案列表",
    response_model=PlanPage,
    responses=read_answers(InvalidCursorError),
    openapi_extra=query_parameters(PlanQuery),
)
async def list_plans(taken: Annotated[Reading[PlanQuery], reading(PlanQuery, Capability.READ_PLAN)]) -> Response:
    """按地区、年度列出总体方案,每个方案附上级文件与各类条目的数量。"""
    return answer(await plans.list_plans(taken.reader, taken.query, taken.known))


@router.get("/{code}", summary="一个总体方案", response_model=PlanRead, responses=read_answers(NotFoundError))
async def get_plan(
    code: PlanCode, taken: Annotated[Reading[NoQuery], reading(NoQuery, Capability.READ_PLAN)]
) -> Response:
    """发文字号、成文日期、上级文件,以及仗、任务、目标、规则、疑点各有多少。"""
    return answer(await plans.get_plan(taken.reader, code, taken.known))
