"""运行状况与指标."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.deps import caller_of
from app.domain.permissions import Capability
from app.errors import ForbiddenError, InvalidRequestError, UnauthenticatedError, UnavailableError
from app.routers.answers import problems
from app.schemas.base import NoQuery
from app.schemas.health import Live, Ready
from app.services.health import readiness

router = APIRouter(tags=["health"])


@router.get(
    "/health/live", summary="存活检查", responses={200: {"description": "成功"}, **problems(InvalidRequestError)}
)
async def get_liveness(_: Annotated[NoQuery, Query()]) -> Live:
    """进程能应答即为存活,不检查数据库。"""
    return Live(status="live")


@router.get(
    "/health/ready",
    summary="就绪检查",
    responses={200: {"description": "成功"}, **problems(InvalidRequestError, UnavailableError)},
)
async def get_readiness(_: Annotated[NoQuery, Query()], request: Request) -> Ready:
    """数据库可用且已建表即为就绪;否则 503。服务正在停止时也是 503,请不要再发来请求。"""
    if request.state.stopping:
        raise UnavailableError("服务正在停止,请改用其他实例或稍后重试")
    return await readiness(request.state.reader)


@router.get(
    "/metrics",
    summary="Prometheus 指标",
    response_class=Response,
    responses={
        200: {"description": "Prometheus 文本格式", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **problems(InvalidRequestError, UnauthenticatedError, ForbiddenError, UnavailableError),
    },
)
async def get_metrics(_: Annotated[NoQuery, Query()], request: Request) -> Response:
    """请求数、时延、应报与待认定数、数据库连接等指标,各服务进程合计。本机直接访问无须凭证;经代理或从别处访问,须有审计或管理员角色。"""
    now = request.state.clock()
    caller = await caller_of(request, now)
    if not caller.origin.is_local and not caller.may(Capability.READ_AUDIT):
        caller.demand(Capability.MANAGE_ACCOUNTS)
    figures = await request.state.figures.look_up(now=now)
    content, media_type = request.state.metrics.exposition(figures)
    return Response(content, media_type=media_type)
