"""仗."""

from typing import Annotated

from fastapi import APIRouter, Response

from app.deps import Reading, query_parameters, reading
from app.domain.permissions import Capability
from app.errors import InvalidCursorError, NotFoundError
from app.routers.answers import answer, read_answers
from app.schemas.base import BattleCode, NoQuery
from app.schemas.battle import BattlePage, BattleQuery, BattleRead
from app.services import battles

router = APIRouter(prefix="/battles", tags=["battles"])


@router.get(
    "",
    summary="仗的列表",
    response_model=BattlePage,
    responses=read_answers(InvalidCursorError),
    openapi_extra=query_parameters(BattleQuery),
)
async def list_battles(taken: Annotated[Reading[BattleQuery], reading(BattleQuery, Capability.READ_PLAN)]) -> Response:
    """一个总体方案分为几仗,各有多少任务组、任务、目标和被指名的单位。"""
    return answer(await battles.list_battles(taken.reader, taken.query, taken.known))


@router.get("/{code}", summary="一个仗", response_model=BattleRead, responses=read_answers(NotFoundError))
async def get_battle(
    code: BattleCode, taken: Annotated[Reading[NoQuery], reading(NoQuery, Capability.READ_PLAN)]
) -> Response:
    """工作专班(召集人、成员单位、办公室)、任务组及其牵头单位,以及仗和组的目标。"""
    return answer(await battles.get_battle(taken.reader, code, taken.known))
