"""Requests to a service: with the key, sent again where that helps, every refusal an exception."""

import json
import platform
import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx

from app.client.environment import Environment
from app.client.errors import BusyError, ClientError, DeniedError, InputError, ProblemError, UnreachableError
from app.client.profiles import Profile
from app.client.retries import comes_again, retried
from app.version import VERSION

__all__ = ["Connection"]

Params = Mapping[str, Any]


class Connection:
    """A service, for one command; to be closed after use.

    Proxies come from the usual variables (``HTTPS_PROXY``, ``HTTP_PROXY``, ``NO_PROXY``), authorities from the profile
    or ``SSL_CERT_FILE``. Redirects are not followed: the key is for one address.
    """

    def __init__(self, profile: Profile, environment: Environment, on_retry: Callable[[str, float], None]) -> None:
        """Prepare; nothing is sent yet.

        Raises:
            InputError: the key or the file of authorities cannot be used.
        """
        if not profile.key.isascii() or not profile.key.isprintable() or " " in profile.key:
            raise InputError("密钥只能含可见的 ASCII 字符,请检查是否抄全、有无空格或换行")
        self._retries = environment.retries
        self._on_retry = on_retry
        self._http = httpx.Client(
            base_url=f"{profile.server}/api/v1/",
            headers={
                "Authorization": f"Bearer {profile.key}",
                "User-Agent": f"liuzhang/{VERSION} ({platform.system()}; Python {platform.python_version()})",
            },
            timeout=environment.timeout,
            verify=True if profile.ca_file is None else _authorities(profile.ca_file),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        """The JSON under a path; parameters that are ``None`` are left out."""
        return _json(self.download(path, **params))

    def download(self, path: str, **params: Any) -> httpx.Response:
        """What is under a path, whatever it is."""
        return self._send("GET", path, params=params)

    def items(self, path: str, **params: Any) -> list[Any]:
        """All items of a list, page by page."""
        found: list[Any] = []
        cursor: str | None = None
        while True:
            page = self.get(path, limit=500, cursor=cursor, **params)
            found += page["items"]
            if (cursor := page["next_cursor"]) is None:
                return found

    def post(self, path: str, body: Any, *, idempotency_key: str | None = None, **params: Any) -> Any:
        """Send JSON, or bytes that are JSON already, and return the answer."""
        return self._change("POST", path, body, idempotency_key, params)

    def put(self, path: str, body: Any, *, idempotency_key: str | None = None, **params: Any) -> Any:
        """Put JSON, or bytes that are JSON already, in the place of what is there, and return the answer."""
        return self._change("PUT", path, body, idempotency_key, params)

    def upload(
        self, method: str, path: str, content: bytes, media_type: str, *, idempotency_key: str | None, params: Params
    ) -> Any:
        """Send a file, and return the JSON of the answer."""
        headers = {"Content-Type": media_type, "Idempotency-Key": idempotency_key or str(uuid4())}
        return _json(self._send(method, path, content=content, headers=headers, params=params))

    def _change(self, method: str, path: str, body: Any, idempotency_key: str | None, params: Params) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        return self.upload(method, path, content, "application/json", idempotency_key=idempotency_key, params=params)

    def _send(
        self,
        method: str,
        path: str,
        *,
        params: Params,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        given = {name.rstrip("_"): value for name, value in params.items() if value is not None}
        request = self._http.build_request(method, path, params=given, content=content, headers=headers)
        # Named by us, a request can be found in the service's log even where no answer came.
        request.headers["X-Request-ID"] = uuid4().hex
        try:
            response = retried(lambda: self._http.send(request), retries=self._retries, on_retry=self._on_retry)
        except UnreachableError as error:
            raise UnreachableError(f"{error}\n请求编号: {request.headers['X-Request-ID']}") from error.__cause__
        if response.is_success:
            return response
        raise _refusal(response)


def _authorities(path: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:
        raise InputError(f"无法使用根证书 {path}: {error}") from None


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        raise UnreachableError(f"{response.url} 的答复不是 JSON,请核对服务地址与代理") from None


def _refusal(response: httpx.Response) -> ClientError:
    """The exception for an answer that is none of success."""
    status = response.status_code
    try:
        problem = response.json()
        _ = problem["title"], problem["detail"]
    except (ValueError, KeyError, TypeError):
        # Not the service's own words: a proxy's, or another server's.
        return UnreachableError(f"{response.url.host} 答复 HTTP {status},不是六仗服务的答复,请核对服务地址与代理")
    if status in {401, 403}:
        return DeniedError(problem)
    if status >= 500 or comes_again(response):
        return BusyError(problem)
    return ProblemError(problem)
