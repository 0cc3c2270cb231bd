"""How routes answer: bytes with their ETag, and the error answers each route declares."""

from typing import Any
from urllib.parse import quote

from fastapi import Response
from pydantic import BaseModel

from app.errors import AppError, BadRequestError, InvalidRequestError, UnavailableError
from app.rendering import Rendered
from app.schemas.problem import Problem

__all__ = ["PROBLEM_JSON", "answer", "done", "problems", "read_answers", "step_answers", "write_answers"]

PROBLEM_JSON = "application/problem+json"
_ETAG: dict[str, Any] = {"ETag": {"description": "内容标识,用于 If-None-Match", "schema": {"type": "string"}}}


def answer(rendered: Rendered, *, file: str | None = None) -> Response:
    """200 with the body, or 304 where the caller has it; either way revalidated before use.

    A browser saves the body as ``file`` where it has a name.
    """
    headers = {"ETag": rendered.etag, "Cache-Control": "no-cache", "Vary": "Authorization"}
    if file is not None:
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(file)}"
    if rendered.body is None:
        return Response(status_code=304, headers=headers)
    return Response(rendered.body, media_type=rendered.media_type, headers=headers)


def done(
    shown: BaseModel | bytes, *, status: int = 200, etag: str | None = None, location: str | None = None
) -> Response:
    """What a writing route did: the body (a schema or JSON), for one resource its ETag and, if new, its place."""
    headers = {name: value for name, value in (("ETag", etag), ("Location", location)) if value is not None}
    body = shown if isinstance(shown, bytes) else shown.__pydantic_serializer__.to_json(shown)
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def problems(*errors: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route, for its ``responses``."""
    declared: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        entry = declared.setdefault(error.status, {"model": Problem, "description": error.title})
        if error.title not in entry["description"]:
            entry["description"] += f";{error.title}"
    return declared


def read_answers(*errors: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """What every reading route can answer beside its own 200, and ``errors``."""
    return {
        200: {"description": "成功", "headers": _ETAG},
        304: {"description": "内容未变(If-None-Match 命中),无响应体", "headers": _ETAG},
        **problems(InvalidRequestError, *errors, UnavailableError),
    }


def write_answers(*errors: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """What every creating route can answer beside ``errors``."""
    return {
        201: {"description": "已创建"},
        **problems(BadRequestError, InvalidRequestError, *errors, UnavailableError),
    }


def step_answers(*errors: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """What every route can answer that changes something without creating a resource of its own."""
    return {
        200: {"description": "成功"},
        **problems(BadRequestError, InvalidRequestError, *errors, UnavailableError),
    }
