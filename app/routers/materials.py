"""工作信息与经验典型材料."""

from typing import Annotated

from fastapi import APIRouter, Response

from app.deps import Reading, Writing, query_parameters, reading, writing
from app.domain.permissions import Capability
from app.errors import AmbiguousError, InvalidCursorError, UnknownReferenceError, UnknownUnitError
from app.routers.answers import answer, read_answers, write_answers
from app.routers.bodies import JsonRoute
from app.schemas.base import NoQuery
from app.schemas.material import MaterialCreate, MaterialPage, MaterialQuery, MaterialReceipt
from app.services import materials

router = APIRouter(route_class=JsonRoute, prefix="/materials", tags=["materials"])

Filing = Annotated[Writing[NoQuery], writing(NoQuery, Capability.FILE_MATERIAL)]


@router.post(
    "",
    summary="报送一篇材料",
    status_code=201,
    responses=write_answers(UnknownReferenceError, UnknownUnitError, AmbiguousError),
)
async def create_material(request: MaterialCreate, taken: Filing) -> MaterialReceipt:
    """工作信息或经验典型材料一篇;达到该期应报篇数的那一篇收到时,即为报出。"""
    return await materials.receive_material(taken.db, taken.reader, request, now=taken.now, caller=taken.caller)


@router.get(
    "",
    summary="材料列表",
    response_model=MaterialPage,
    responses=read_answers(InvalidCursorError, UnknownReferenceError, UnknownUnitError, AmbiguousError),
    openapi_extra=query_parameters(MaterialQuery),
)
async def list_materials(
    taken: Annotated[Reading[MaterialQuery], reading(MaterialQuery, Capability.READ_PROGRESS)],
) -> Response:
    """按规则、方案、单位、报送期列出收到的材料。"""
    return answer(await materials.list_materials(taken.reader, taken.query, taken.known, caller=taken.caller))
