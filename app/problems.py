"""Every exception becomes one problem+json answer (RFC 9457); nothing of the inside leaves."""

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import asyncpg
import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from app.errors import (
    AppError,
    BadRequestError,
    ConflictError,
    ContentTooLargeError,
    Fault,
    InternalError,
    InvalidRequestError,
    MethodNotAllowedError,
    NotFoundError,
    SlowBodyError,
    StillRunningError,
    TimedOutError,
    UnauthenticatedError,
    UnavailableError,
)
from app.observability import request_id_of
from app.routers.answers import PROBLEM_JSON
from app.security.redaction import redact
from app.validation import explain_validation

__all__ = ["install_problem_handlers", "problem_of", "refusal", "unexpected_answer"]

_log = logging.getLogger("liuzhang.errors")

_UNREACHABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.UndefinedTableError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    # Two requests stood in each other's way; whoever tries again gets through.
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    OSError,
)


def problem_of(error: AppError, instance: str) -> bytes:
    """The body of the answer for ``error``; ``instance`` is the id of the request."""
    body: dict[str, Any] = {
        "type": f"/problems/{error.slug}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": instance,
    }
    if error.faults:
        body["errors"] = [fault.shown() for fault in error.faults]
    body.update(error.extra)
    # Some details repeat what the caller gave, and a caller may give a secret where none belongs.
    return redact(orjson.dumps(body).decode()).encode()


def _answer(request: Request, error: AppError, *, headers: dict[str, str] | None = None) -> Response:
    content = problem_of(error, request_id_of(request.scope))
    return Response(content, status_code=error.status, media_type=PROBLEM_JSON, headers=headers)


def refusal(scope: Scope, error: AppError, *, headers: dict[str, str] | None = None) -> Response:
    """The answer of a middleware that does not let a request in, or not to its end."""
    return _answer(Request(scope), error, headers=headers)


def _faults(errors: Sequence[Any]) -> list[Fault]:
    return [
        Fault(
            "/" + "/".join(str(part).replace("~", "~0").replace("/", "~1") for part in item["loc"]),
            item["type"],
            explain_validation(item["type"], item.get("ctx", {}), item["msg"]),
        )
        for item in errors
    ]


def _on_app_error(request: Request, error: AppError) -> Response:
    headers: dict[str, str] | None = None
    if isinstance(error, UnauthenticatedError):
        headers = {"WWW-Authenticate": error.challenge}
    elif isinstance(error, UnavailableError):
        headers = {"Retry-After": "5"}
    elif isinstance(error, StillRunningError):
        headers = {"Retry-After": "1"}
    return _answer(request, error, headers=headers)


def _on_validation(request: Request, error: RequestValidationError) -> Response:
    faults = _faults(error.errors())
    if any(fault.code == "json_invalid" for fault in faults):
        return _answer(request, BadRequestError("请求体不是合法的 JSON", faults=faults))
    summary = ";".join(f"{fault.pointer.split('/')[-1]} {fault.detail}" for fault in faults[:3])
    return _answer(request, InvalidRequestError(f"请求内容不合要求: {summary}", faults=faults))


def _on_http(request: Request, error: HTTPException) -> Response:
    headers = dict(error.headers) if error.headers else None
    if error.status_code == NotFoundError.status:
        return _answer(request, NotFoundError(f"没有路径 {request.url.path}"), headers=headers)
    if error.status_code == MethodNotAllowedError.status:
        detail = f"{request.url.path} 不支持 {request.method}"
        headers = {**(headers or {}), **_allowed(request)}
        return _answer(request, MethodNotAllowedError(detail), headers=headers)
    for refused in (ContentTooLargeError, SlowBodyError):
        if error.status_code == refused.status:
            return _answer(request, refused(error.detail), headers=headers)
    return _answer(request, BadRequestError("无法读取请求"), headers=headers)


def _allowed(request: Request) -> dict[str, str]:
    """All methods of a path: the router alone names those of the one route that it came to first."""
    path = request.url.path
    documented: dict[str, Any] = request.app.openapi()["paths"]
    operations = documented.get(path) or next(
        (found for template, found in documented.items() if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path)),
        None,
    )
    if operations is None:
        return {}
    methods = {method.upper() for method in operations}
    # Whatever can be read can be asked for without its content (RFC 9110, 9.3.2).
    return {"Allow": ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))}


def _on_unreachable(request: Request, error: Exception) -> Response:
    _log.error("database unavailable: %s", error)
    unavailable = UnavailableError("数据库暂时无法应答,请稍后重试")
    return _answer(request, unavailable, headers={"Retry-After": "5"})


def _on_canceled(request: Request, error: Exception) -> Response:
    """A statement took longer than allowed; its transaction is undone."""
    _log.warning("statement canceled: %s", error)
    slow = TimedOutError("数据库查询超过时限,已停止,未写入任何内容;请缩小范围(如加上筛选条件)或稍后重试")
    return _answer(request, slow, headers={"Retry-After": "5"})


def _on_constraint(request: Request, error: Exception) -> Response:
    """What the service had checked was no longer so when it was written."""
    constraint = getattr(error, "constraint_name", None)
    _log.warning("constraint %s violated", constraint)
    return _answer(request, ConflictError("与同时提交的内容冲突,未写入任何内容,请重新读取后再试"))


def unexpected_answer(request: Request, error: Exception) -> Response:
    """The answer for an exception that nothing else handles: logged in full, told in one sentence."""
    _log.exception("unexpected error", exc_info=error)
    return _answer(request, InternalError("服务内部错误,已记录;请把 instance 告诉管理员"))


def install_problem_handlers(app: FastAPI) -> None:
    """Register a handler for every exception a route is expected to raise."""

    def register(kind: type[Exception], handler: Callable[..., Response]) -> None:
        async def handle(request: Request, error: Exception) -> Response:
            return handler(request, error)

        app.add_exception_handler(kind, cast("Callable[[Request, Exception], Awaitable[Response]]", handle))

    register(AppError, _on_app_error)
    register(RequestValidationError, _on_validation)
    register(HTTPException, _on_http)
    register(asyncpg.IntegrityConstraintViolationError, _on_constraint)
    register(asyncpg.QueryCanceledError, _on_canceled)
    for kind in _UNREACHABLE:
        register(kind, _on_unreachable)
