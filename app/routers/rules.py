"""规则."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from app.deps import Reading, query_parameters, reading
from app.domain.permissions import Capability
from app.errors import AmbiguousError, InvalidCursorError, NotFoundError
from app.routers.answers import answer, read_answers
from app.schemas.rule import RuleItemQuery, RulePage, RuleQuery, RuleRead
from app.services import rules

router = APIRouter(prefix="/rules", tags=["rules"])

RuleCode = Annotated[
    str,
    Path(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60, description="规则编码", examples=["monthly-form"]),
]


@router.get(
    "",
    summary="规则列表",
    response_model=RulePage,
    responses=read_answers(InvalidCursorError),
    openapi_extra=query_parameters(RuleQuery),
)
async def list_rules(taken: Annotated[Reading[RuleQuery], reading(RuleQuery, Capability.READ_PLAN)]) -> Response:
    """报送、调度、排名、巡查、追责、考核等规则,按原文次序,附参数与原文位置。"""
    return answer(await rules.list_rules(taken.reader, taken.query, taken.known, now=taken.now))


@router.get(
    "/{code}",
    summary="一条规则",
    response_model=RuleRead,
    responses=read_answers(NotFoundError, AmbiguousError),
    openapi_extra=query_parameters(RuleItemQuery),
)
async def get_rule(
    code: RuleCode, taken: Annotated[Reading[RuleItemQuery], reading(RuleItemQuery, Capability.READ_PLAN)]
) -> Response:
    """规则的参数、依据的原文短语,以及对原文未明之处的理解。"""
    return answer(await rules.get_rule(taken.reader, code, taken.query, taken.known, now=taken.now))
