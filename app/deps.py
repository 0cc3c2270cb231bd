"""What routes are given: the reader, and what the caller already has."""

from typing import Annotated, cast

from fastapi import Depends, Header, Request

from app.errors import Fault, InvalidRequestError
from app.rendering import Known
from app.services.reader import Reader

__all__ = ["KnownDep", "ReaderDep", "refuse_repeated_parameters"]


def _reader(request: Request) -> Reader:
    return cast("Reader", request.state.reader)


def _known(
    if_none_match: Annotated[
        str | None,
        Header(
            description="客户端已有内容的 ETag;内容未变时返回 304",
            max_length=2000,
            examples=['"3f1c9a0b5d7e4f2a8c6b1d3e5f7a9b0c"'],
        ),
    ] = None,
) -> Known:
    return Known.parse(if_none_match)


def refuse_repeated_parameters(request: Request) -> None:
    """Refuse ``?limit=1&limit=2``: no parameter of this API takes several values, and none may be dropped silently.

    Raises:
        InvalidRequestError: a query parameter is given more than once.
    """
    given = request.query_params
    if len(given) != len(given.multi_items()):
        names = [name for name, _ in given.multi_items()]
        repeated = sorted({name for name in names if names.count(name) > 1})
        faults = [Fault(f"/query/{name}", "repeated", "参数只能出现一次") for name in repeated]
        raise InvalidRequestError("查询参数重复", faults=faults)


ReaderDep = Annotated[Reader, Depends(_reader)]
KnownDep = Annotated[Known, Depends(_known)]
