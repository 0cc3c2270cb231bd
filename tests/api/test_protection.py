"""What surrounds every answer: headers, other origins, HEAD, time limits, secrets, paths as attackers write them."""

import asyncio
import io
import json
import logging
import re
import time
from base64 import b64encode
from collections.abc import Generator
from datetime import datetime
from hashlib import sha256

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from app.cli.logs import configure_logging
from app.clock import SHANGHAI
from app.main import create_app
from app.protocol import LenientHttpProtocol
from app.security.api_keys import FEED_TOKEN, issue_key
from app.settings import Settings, SettingsError
from tests.api.test_bodies import REPORT, connect, read_answer
from tests.conftest import Clone, listening, serving

TASK = "/api/v1/tasks/431228-2023-1-2-5"
MATERIAL = {"rule": "work-bulletin-item", "unit": "芷江镇", "title": "集中检查", "content": "本月完成六个乡镇的检查。"}
NOW = datetime(2023, 4, 12, 9, 30, tzinfo=SHANGHAI)


async def test_every_answer_tells_browsers_and_caches_what_to_do(client: httpx.AsyncClient) -> None:
    for path in (TASK, "/api/v1/tasks", "/nothing", "/health/live", "/metrics", "/openapi.json", "/api/v1/tasks?no=1"):
        headers = (await client.get(path, auth=None)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["cache-control"] == ("no-cache" if "etag" in headers else "no-store")
        assert "strict-transport-security" not in headers
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


async def test_what_is_given_to_an_identity_is_kept_by_nobody_in_between(client: httpx.AsyncClient) -> None:
    headers = (await client.get(TASK)).headers
    assert headers["cache-control"] == "private, no-cache"


async def test_pages_run_no_script_but_their_own(client: httpx.AsyncClient) -> None:
    for path in ("/docs", "/reference", "/problems", "/problems/not-found"):
        page = await client.get(path)
        rules = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
        assert rules["default-src"] == rules["frame-ancestors"] == "'none'"
        inline = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
        digests = [f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in inline]
        assert rules["script-src"].split() == ["'self'", *digests]
        assert re.search(r"\son\w+=", page.text) is None
    assets = (await client.get("/docs/assets/swagger-ui.css")).headers
    assert "cache-control" not in assets
    assert assets["x-content-type-options"] == "nosniff"


async def test_https_is_asked_for_where_a_setting_says_so() -> None:
    app = create_app(Settings(database_url="postgresql://unused", hsts_max_age=86400))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
        assert (await client.get("/health/live")).headers["strict-transport-security"] == "max-age=86400"


async def test_pages_of_the_named_origins_may_call_and_no_others() -> None:
    origins = "https://oa.example.org, https://map.example.org:8443"
    app = create_app(Settings(database_url="postgresql://unused", cors_origins=origins))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
        asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,if-match"}
        for origin in origins.split(", "):
            allowed = await client.options(TASK, headers={"Origin": origin, **asked})
            assert allowed.status_code == 200
            assert allowed.headers["access-control-allow-origin"] == origin
            assert "access-control-allow-credentials" not in allowed.headers
            answer = await client.get("/health/live", headers={"Origin": origin})
            assert answer.headers["access-control-allow-origin"] == origin
            assert "ETag" in answer.headers["access-control-expose-headers"]
        for refused in (
            {"Origin": "https://evil.example.org", **asked},
            {"Origin": "https://oa.example.org", **asked, "Access-Control-Request-Headers": "x-other"},
        ):
            answer = await client.options(TASK, headers=refused)
            assert answer.status_code == 400
            assert answer.json()["type"] == "/problems/bad-request"
        other = await client.get("/health/live", headers={"Origin": "https://evil.example.org"})
        assert "access-control-allow-origin" not in other.headers
        assert (await client.options(TASK)).status_code == 405


@pytest.mark.parametrize("proxies", ["10.1.2.3/8", "proxy.example.org", "10.0.0.0/8;192.168.0.0/16"])
def test_trusted_proxies_that_are_no_networks_stop_the_start(proxies: str) -> None:
    with pytest.raises(SettingsError, match="LIUZHANG_TRUSTED_PROXIES"):
        create_app(Settings(database_url="postgresql://unused", trusted_proxies=proxies))


@pytest.mark.parametrize(
    "path", [TASK, "/api/v1/tasks", "/docs", "/health/live", "/nothing", "/docs/assets/favicon.png"]
)
def test_head_is_get_without_content(server: str, path: str) -> None:
    with httpx.Client(base_url=server, trust_env=False) as client:
        read, asked = client.get(path), client.head(path)
        assert asked.status_code == read.status_code
        assert asked.content == b""
        for name in ("content-type", "content-length", "etag", "cache-control"):
            assert asked.headers.get(name) == read.headers.get(name)
        # The connection is still in step.
        assert client.get(path).content == read.content or path == "/nothing"
        assert 'method="HEAD"' in client.get("/metrics").text


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PROPFIND", "DELETE", "POST"])
def test_other_methods_are_told_which_there_are(server: str, method: str) -> None:
    answer = httpx.request(method, f"{server}{TASK}", trust_env=False)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert answer.json()["type"] == "/problems/method-not-allowed"


TRICKS = [
    *(
        "//api/v1/tasks",
        "/api//v1/tasks",
        "/api/v1/tasks/",
        "/api/v1/../v1/tasks",
        "/api/v1/%2e%2e/v1/tasks",
        "/..",
        "/.",
    ),
    *("/%2e%2e/%2e%2e/etc/passwd", "/docs/assets/../../../etc/passwd", "/docs/assets/%2e%2e%2f%2e%2e%2fpyproject.toml"),
    *("/docs/assets/..%5c..%5c", "/docs/assets/%00", "/docs/assets/a%00.js", "/docs/assets/" + "a" * 5000, "/%00"),
    *("/api/v1/tasks/%00", "/api/v1/units/%00", "/api/v1/tasks/%c0%ae%c0%ae", "/api/v1/units/%c0%af", "/%ff", "/%"),
    *(
        "/api/v1/tasks;x=1",
        "/api/v1/tasks/431228-2023-1-2-5;.json",
        "/api/v1/units/%0d%0aX-Evil:%201",
        "/%zz",
        "/docs%2fassets",
    ),
    *(
        "/problems/%0d%0aX-Evil:1",
        "/api/v1/submissions/..%2fcertifications",
        "/api/v1/units/%ed%a0%80/tasks",
        "/a?b#c",
        "/\\",
    ),
]


@pytest.mark.parametrize("path", TRICKS)
def test_a_path_that_plays_tricks_leads_nowhere(server: str, path: str) -> None:
    # Sent as it stands, which a client library would not.
    with connect(server) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        status, headers, problem = read_answer(connection)
    assert status in {400, 404, 422}
    assert headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert "x-evil" not in headers


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nX: y\r\n"])
def test_who_does_not_come_to_the_end_of_a_header_is_let_go(
    database: str, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(LenientHttpProtocol, "header_seconds", 0.3)
    with listening(create_app(Settings(database_url=database))) as address, connect(address) as connection:
        started = time.monotonic()
        connection.sendall(sent)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert time.monotonic() - started < 10
    assert answer == b"" or (answer.startswith(b"HTTP/1.1 408 ") and b"/problems/body-timeout" in answer)


def test_two_lengths_or_two_framings_are_refused(server: str) -> None:
    """What a proxy and this server could read differently is read by neither (RFC 9112, 11.2)."""
    post = b"POST /api/v1/submissions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    for framing in (
        b"Content-Length: 2\r\nContent-Length: 3\r\n",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Content-Length : 2\r\n",
    ):
        with connect(server) as connection:
            connection.sendall(post + framing + b"\r\n{}")
            assert read_answer(connection)[0] == 400, framing


def late(settings: Settings) -> FastAPI:
    return create_app(settings, clock=lambda: NOW)


async def test_a_request_that_takes_too_long_is_stopped_and_undone(clone: Clone) -> None:
    async with clone() as url, serving(late(Settings(database_url=url, request_timeout=1))) as client:
        blocker = await asyncpg.connect(url)
        try:
            block = blocker.transaction()
            await block.start()
            await blocker.execute("LOCK TABLE materials IN ACCESS EXCLUSIVE MODE")
            answer = await client.post("/api/v1/materials", json=MATERIAL)
            assert answer.status_code == 503, answer.text
            assert answer.json()["type"] == "/problems/timed-out"
            assert answer.headers["retry-after"] == "5"
            await block.rollback()
            # Its statement was canceled too: nothing waits on the database, and nothing comes late.
            left = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'liuzhang-%' AND state <> 'idle'"
            for _ in range(50):
                if not await blocker.fetchval(left):
                    break
                await asyncio.sleep(0.1)
            assert await blocker.fetchval(left) == 0
            assert await blocker.fetchval("SELECT count(*) FROM materials") == 0
        finally:
            await blocker.close()
        assert (await client.post("/api/v1/materials", json=MATERIAL)).status_code == 201


async def test_a_statement_that_takes_too_long_is_stopped(clone: Clone) -> None:
    async with clone() as url, serving(late(Settings(database_url=url, statement_timeout=1))) as client:
        blocker = await asyncpg.connect(url)
        try:
            block = blocker.transaction()
            await block.start()
            await blocker.execute("LOCK TABLE materials, tasks IN ACCESS EXCLUSIVE MODE")
            read, written = await asyncio.gather(
                client.get("/api/v1/tasks"), client.post("/api/v1/materials", json=MATERIAL)
            )
            await block.rollback()
        finally:
            await blocker.close()
        for answer in (read, written):
            assert answer.status_code == 503
            assert answer.json()["type"] == "/problems/timed-out"
            assert "QueryCanceled" not in answer.text
        assert (await client.get("/api/v1/materials?include_total=true")).json()["total"] == 0


@pytest.fixture(params=["text", "json"])
def log(request: pytest.FixtureRequest) -> Generator[io.StringIO]:
    """What the service would log as it is run, at the most talkative level."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    text = io.StringIO()
    try:
        root.handlers.clear()
        configure_logging(Settings(log_level="debug", log_format=request.param), text)
        yield text
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def test_no_secret_is_logged_or_answered(database: str, log: io.StringIO) -> None:
    key = issue_key("prod").text
    feed = issue_key("prod", FEED_TOKEN).text
    secrets = [text.split("_")[3] for text in (key, feed)]
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjMifQ.c2lnbmF0dXJlc2lnbmF0dXJl"
    app = create_app(Settings(database_url=database))

    @app.get("/broken", include_in_schema=False)
    async def broken() -> None:
        raise RuntimeError(f"could not use {key}")

    answers = ""
    with listening(app) as address, httpx.Client(base_url=address, trust_env=False) as client:
        for given in (key, feed, token):
            header = {"Authorization": f"Bearer {given}"}
            for path in ("/api/v1/tasks", "/nothing", "/broken", "/health/ready"):
                answers += client.get(path, headers=header).text
            for path in (
                f"/api/v1/units/{given}",
                f"/api/v1/tasks?unit={given}",
                f"/api/v1/calendar.ics?token={given}",
                f"/api/v1/calendar.ics?token={given}&token={given}&as_of={given}",
                f"/api/v1/tasks?{given}=1",
                f"/{given}",
            ):
                answers += client.get(path).text
            for content in ({"token": given}, {**REPORT, "unit": given}, {given: 1}):
                answers += client.post("/api/v1/submissions", json=content).text
            twice = f'{{"{given}": 1, "{given}": 2}}'
            json_type = {"Content-Type": "application/json"}
            answers += client.post("/api/v1/submissions", content=twice, headers=json_type).text
            answers += client.get("/health/live", headers={"X-Request-ID": given}).headers["x-request-id"]
    said = log.getvalue()
    assert "could not use" in said
    assert "GET /nothing 404" in said
    for text in (said, answers):
        assert not any(secret in text for secret in secrets)
        assert token.rsplit(".", 1)[1] not in text


async def test_a_line_break_in_a_path_makes_no_line_in_the_log(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "liuzhang.access"):
        await client.get("/nothing%0aGET%20/forged%20200")
    (line,) = [record.getMessage() for record in caplog.records if record.name == "liuzhang.access"]
    assert line.startswith("GET /nothing%0aGET%20/forged%20200 404 ")


async def test_deep_nesting_is_refused_whatever_parser_meets_it(client: httpx.AsyncClient) -> None:
    for depth in (900, 1100):
        deep = json.dumps({"items": []})[:-3] + "[" * depth + '{"a": ":"}' + "]" * depth + "]}"
        answer = await client.post(
            "/api/v1/submissions/batch", content=deep, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code in {400, 422}
