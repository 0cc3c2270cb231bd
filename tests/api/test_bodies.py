"""Bodies as they should not be, over real HTTP: too large, too slow, not JSON, not unambiguous; nothing is written."""

import json
import socket
import threading
import time
from collections.abc import Generator
from typing import Any
from urllib.parse import urlparse

import httpx
import pytest

from app.main import create_app
from app.settings import Settings
from tests.conftest import Keyed, key_for, listening, serving

PATH = "/api/v1/submissions"
REPORT: dict[str, Any] = {
    "task": "431228-2023-6-3-3",
    "unit": "县农业农村局",
    "period": "2023-05",
    "stage": "in_progress",
    "percent_complete": 40,
    "progress": "首批地块已开工",
    "observations": [],
}
VALID = json.dumps(REPORT, ensure_ascii=False)
LIMIT = 200_000


@pytest.fixture(scope="module")
def strict(database: str) -> Generator[str]:
    """The service with small limits."""
    with listening(create_app(Settings(database_url=database, max_body_size=LIMIT, body_timeout=1))) as address:
        yield address


@pytest.fixture(autouse=True)
def nothing_written(server: str) -> Generator[None]:
    def written() -> Any:
        return httpx.get(f"{server}{PATH}", params={"include_total": True}, auth=Keyed(), trust_env=False).json()[
            "total"
        ]

    before = written()
    yield
    assert written() == before


def connect(address: str) -> socket.socket:
    place = urlparse(address)
    return socket.create_connection((place.hostname or "", place.port or 0), timeout=20)


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], dict[str, Any]]:
    """The first answer on a connection: status, headers, problem."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(65536)
        assert more, received
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    while len(body) < int(headers["content-length"]):
        body += connection.recv(65536)
    return int(first.split()[1]), headers, json.loads(body)


def post(server: str, content: bytes, content_type: str | None = "application/json") -> httpx.Response:
    headers = {} if content_type is None else {"Content-Type": content_type}
    return httpx.post(f"{server}{PATH}", content=content, headers=headers, auth=Keyed(), trust_env=False, timeout=30)


def head(length: int | None) -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    key = f"Authorization: Bearer {key_for(PATH)}"
    return f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{key}\r\nContent-Type: application/json\r\n{size}\r\n\r\n".encode()


@pytest.mark.parametrize("path", [PATH, "/nothing", "/api/v1/tasks", "/health/live"])
def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(strict: str, path: str) -> None:
    with connect(strict) as connection:
        connection.sendall(head(100_000_000).replace(PATH.encode(), path.encode()))
        status, headers, problem = read_answer(connection)
        assert connection.recv(1) == b""
    assert status == 413
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert problem["type"] == "/problems/content-too-large"
    assert str(LIMIT) in problem["detail"]
    assert problem["instance"] == headers["x-request-id"]


def test_a_body_that_does_not_say_its_size_is_counted_as_it_comes(strict: str) -> None:
    sent = 0
    with connect(strict) as connection:
        connection.sendall(head(None))
        answers: list[tuple[int, dict[str, str], dict[str, Any]]] = []
        reader = threading.Thread(target=lambda: answers.append(read_answer(connection)))
        reader.start()
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        try:
            while sent < 100_000_000:
                connection.sendall(chunk)
                sent += len(chunk)
        except OSError:
            pass
        reader.join(20)
    ((status, _, problem),) = answers
    assert (status, problem["type"]) == (413, "/problems/content-too-large")
    # What lay in the sockets' buffers beside; not all that was to come.
    assert sent < 30_000_000


def test_a_body_of_exactly_the_limit_is_read(strict: str) -> None:
    content = b" " * LIMIT
    assert post(strict, content).json()["type"] == "/problems/bad-request"
    assert post(strict, content + b" ").status_code == 413


def test_a_body_that_trickles_is_given_up(strict: str) -> None:
    started = time.monotonic()
    with connect(strict) as connection:
        connection.sendall(head(1000))
        stop = threading.Event()

        def trickle() -> None:
            while not stop.wait(0.1):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

        drip = threading.Thread(target=trickle)
        drip.start()
        try:
            status, headers, problem = read_answer(connection)
        finally:
            stop.set()
            drip.join()
    assert 0.9 < time.monotonic() - started < 10
    assert (status, problem["type"]) == (408, "/problems/body-timeout")
    assert headers["connection"] == "close"


@pytest.mark.parametrize(
    ("content_type", "said"),
    [
        *(
            (kind, 415)
            for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")
        ),
        *((kind, 415) for kind in ("application/xml", "application/json; charset=gbk", "application/jsonp", "", None)),
        *((kind, 400) for kind in ("application/json", "Application/JSON; charset=UTF-8", "application/merge+json")),
    ],
)
def test_only_json_in_utf8_is_read(server: str, content_type: str | None, said: int) -> None:
    answer = post(server, b"{", content_type)
    assert answer.status_code == said
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "content",
    [
        *(
            "",
            "{",
            "[" * 10_000 + "]" * 10_000,
            '{"a":' * 10_000 + "1" + "}" * 10_000,
            "NaN",
            "[Infinity]",
            "-Infinity",
        ),
        *(
            '{"a": "\\ud800"}',
            '{"\\udfff": 1}',
            "{'a': 1}",
            "[1,]",
            "01",
            "1e",
            '"\x00"',
            "\ufeff{}",
            "null",
            "[]",
            "1",
        ),
        *(
            VALID.replace("40", number)
            for number in ("NaN", "1e400", "-1e400", "9" * 5000, "Infinity", "1e-400", "40.001")
        ),
        *(VALID.replace("首批", text) for text in ("\\u0000", "\\ud83d", "\x00")),
        *(VALID.replace("2023-05", text) for text in ("2023-05\\u0000", "'; DROP TABLE plans; --", "٢٠٢٣-٠٥")),
        *(VALID.replace("县农业农村局", text) for text in ("\\u0000", "' OR 1=1 --", "\\r\\nX-Evil: 1")),
    ],
)
def test_what_is_no_clean_json_is_refused(server: str, content: str) -> None:
    answer = post(server, content.encode())
    assert answer.status_code in {400, 422}, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["instance"] == answer.headers["x-request-id"]
    assert "x-evil" not in answer.headers


@pytest.mark.parametrize(
    "content", [b'{"a": "\xff"}', b'{"a": "\xc0\xaf"}', b'{"a": "\xed\xa0\x80"}', "{}".encode("utf-16")]
)
def test_what_is_no_utf8_is_refused(server: str, content: bytes) -> None:
    assert post(server, content).json()["type"] == "/problems/bad-request"


BATCH = {"items": [REPORT, {**REPORT, "observations": [{"target": "431228-2023-6-3-3-T1", "value": 1}]}]}


@pytest.mark.parametrize(
    "path", [PATH, f"{PATH}/batch", "/api/v1/units/431228-fgj/forms/2023-05", "/api/v1/extensions"]
)
@pytest.mark.parametrize(
    "content",
    [
        VALID.replace('"stage"', '"percent_complete": 40, "stage"'),
        VALID.replace('"stage"', '"percent_\\u0063omplete": 40, "stage"'),
        VALID.replace(": ", " : ").replace('"stage"', '"percent_complete" : 40, "stage"'),
        VALID.replace("首批", "开工:首批").replace('"stage"', '"progress":"第一次的", "stage"'),
        VALID.replace("首批", "\\u003a").replace('"stage"', '"progress":"", "stage"'),
        VALID.replace("[]", '[{"value": 1, "value": 2}]'),
        json.dumps(BATCH).replace('"value": 1', '"value": 1, "value": 12'),
        json.dumps({"items": [{}, REPORT]}).replace('"stage"', '"task": "431228-2023-6-3-4", "stage"'),
        '{"items": [], "items": []}',
        '{"unit": {"a": 1, "a": 2}}',
        '[{"a": 1, "a": 2}]',
        '{"a": [[{"a": 1, "a": 2}]]}',
    ],
)
def test_a_name_that_occurs_twice_is_refused_by_name(server: str, path: str, content: str) -> None:
    method = "PUT" if "forms" in path else "POST"
    headers = {"Content-Type": "application/json"}
    answer = httpx.request(
        method, f"{server}{path}", content=content.encode(), headers=headers, auth=Keyed(), trust_env=False
    )
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert fault["code"] == "repeated"
    assert fault["pointer"] == "/body"


def test_equal_names_in_different_objects_are_no_repetition(server: str) -> None:
    for text in (BATCH, {"items": [{**REPORT, "progress": '"a": "b":'}, {"items": 1}]}):
        for separators in ((",", ":"), (", ", ": "), (" ,", "\n:\t")):
            content = json.dumps(text, separators=separators).encode()
            answer = httpx.post(
                f"{server}{PATH}/batch",
                params={"dry_run": True},
                content=content,
                headers={"Content-Type": "application/json"},
                auth=Keyed(),
                trust_env=False,
            )
            assert "repeated" not in {fault["code"] for fault in answer.json().get("errors", [])}


@pytest.mark.parametrize(
    "sent", ["GET /{} HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nX: {}\r\n\r\n", "GET / HTTP/1.1\r\nX: {}"]
)
def test_a_header_without_end_is_refused(server: str, sent: str) -> None:
    with connect(server) as connection:
        for piece in (sent.format("a" * 300_000)[at : at + 5000] for at in range(0, 300_000, 5000)):
            try:
                connection.sendall(piece.encode())
            except OSError:
                break
        status, headers, problem = read_answer(connection)
    assert (status, problem["type"]) == (431, "/problems/headers-too-large")
    assert headers["connection"] == "close"


async def test_app_is_not_asked_for_more_than_a_body(database: str) -> None:
    """A server other than ours may leave Content-Length unchecked; the count still holds."""
    limited = create_app(Settings(database_url=database, max_body_size=1024))

    async def endless() -> Any:
        while True:
            yield b" " * 1000

    async with serving(limited) as client:
        answer = await client.post(PATH, content=endless(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
