"""监管执法季度排名."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Response

from app.deps import Reading, Writing, query_parameters, reading, writing
from app.domain.permissions import Capability
from app.errors import (
    AmbiguousError,
    ConflictError,
    InvalidCursorError,
    NotFoundError,
    PreconditionError,
    UnknownReferenceError,
    UnknownUnitError,
)
from app.routers.answers import answer, done, read_answers, step_answers, write_answers
from app.routers.bodies import JsonRoute
from app.routers.matching import MatchDep
from app.schemas.base import AsOfQuery, NoQuery
from app.schemas.ranking import (
    ConsequenceQuery,
    ConsequencesRead,
    RankingCorrect,
    RankingCreate,
    RankingPage,
    RankingQuery,
    RankingRead,
)
from app.services import ranking_consequences, rankings

router = APIRouter(route_class=JsonRoute, prefix="/rankings", tags=["rankings"])

RankingId = Annotated[UUID, Path(description="排名的编号(UUIDv7)")]
Recording = Annotated[Writing[NoQuery], writing(NoQuery, Capability.RECORD_RANKINGS)]


@router.get(
    "",
    summary="排名列表",
    response_model=RankingPage,
    responses=read_answers(InvalidCursorError, UnknownReferenceError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(RankingQuery),
)
async def list_rankings(
    taken: Annotated[Reading[RankingQuery], reading(RankingQuery, Capability.READ_PROGRESS)],
) -> Response:
    """市八部门监管执法排名与乡镇监管执法排名(附件5二(一)2),按季度;更正过的给出当时有效的一版。"""
    return answer(
        await rankings.list_rankings(taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller)
    )


@router.post(
    "",
    summary="登记排名",
    status_code=201,
    response_model=RankingRead,
    responses=write_answers(UnknownReferenceError, ConflictError),
)
async def record_ranking(request: RankingCreate, taken: Recording) -> Response:
    """登记一个季度的排名;同一方案、种类、季度只有一个,已登记的返回 409,有误的请更正。"""
    made, etag = await rankings.record_ranking(taken.db, request, now=taken.now, caller=taken.caller)
    return done(made, status=201, etag=etag, location=f"/api/v1/rankings/{made.id}")


@router.get(
    "/consequences",
    summary="排名的后果",
    response_model=ConsequencesRead,
    responses=read_answers(UnknownReferenceError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(ConsequenceQuery),
)
async def list_consequences(
    taken: Annotated[Reading[ConsequenceQuery], reading(ConsequenceQuery, Capability.READ_PROGRESS)],
) -> Response:
    """当年居末三位的单位:哪几季、第几次、应有的后果(第一次约谈,第二次取消评先评优)及其原文位置。

    次数可按全年累计(默认)或逐季连续计;原文没有规定乡镇名次的后果。
    """
    return answer(
        await ranking_consequences.list_consequences(
            taken.reader, taken.query, taken.known, now=taken.now, caller=taken.caller
        )
    )


@router.get(
    "/{id:uuid}",
    summary="一次排名",
    response_model=RankingRead,
    responses=read_answers(NotFoundError),
    openapi_extra=query_parameters(AsOfQuery),
)
async def get_ranking(
    id: RankingId,  # noqa: A002
    taken: Annotated[Reading[AsOfQuery], reading(AsOfQuery, Capability.READ_PROGRESS)],
) -> Response:
    """各单位的名次与谁居末三位;as_of 可回到过去任一时刻。"""
    return answer(
        await rankings.get_ranking(taken.reader, id, taken.query, taken.known, now=taken.now, caller=taken.caller)
    )


@router.post(
    "/{id:uuid}/correct",
    summary="更正排名",
    response_model=RankingRead,
    responses=step_answers(NotFoundError, PreconditionError, UnknownReferenceError),
)
async def correct_ranking(
    id: RankingId,  # noqa: A002
    correction: RankingCorrect,
    match: MatchDep,
    taken: Recording,
) -> Response:
    """名次整体改为所给的,是新的一版;原来的一版保留,问到当时仍按它回答。"""
    return answer(
        await rankings.correct_ranking(taken.db, id, correction, match=match, now=taken.now, caller=taken.caller)
    )
