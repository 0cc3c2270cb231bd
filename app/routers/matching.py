"""The ``If-Match`` header, by which a caller changes only what it has seen."""

from typing import Annotated

from fastapi import Depends, Header

from app.rendering import Known

__all__ = ["MatchDep"]

Match = Annotated[
    str | None, Header(alias="If-Match", description="读取时的 ETag;已被他人更改则返回 412", max_length=2000)
]


async def _match(header: Match = None) -> Known | None:
    return None if header is None else Known.parse(header)


MatchDep = Annotated[Known | None, Depends(_match)]
