"""事件流."""

from typing import Annotated

from fastapi import APIRouter, Response

from app.deps import Reading, query_parameters, reading
from app.domain.permissions import Capability
from app.errors import AmbiguousError, InvalidCursorError, UnknownUnitError
from app.routers.answers import answer, read_answers
from app.schemas.event import ChangesQuery, ChangesRead
from app.services import events

router = APIRouter(tags=["changes"])


@router.get(
    "/changes",
    summary="事件流",
    response_model=ChangesRead,
    responses=read_answers(InvalidCursorError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(ChangesQuery),
)
async def list_changes(
    taken: Annotated[Reading[ChangesQuery], reading(ChangesQuery, Capability.READ_PROGRESS)],
) -> Response:
    """自 cursor 以来的事件,按先后,只有您可以查阅的;草稿不在其中。next_cursor 总是给出,存下它,下次从那里接着取。"""
    return answer(await events.list_changes(taken.reader, taken.query, taken.known, caller=taken.caller))
