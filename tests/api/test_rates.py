"""How many requests a caller may make: who is counted as whom, what the answers tell, what happens without Redis."""

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.main import create_app
from app.metrics import Metrics
from app.middleware.rates import RateLimitMiddleware, ThrottledRates
from app.observability import ObservabilityMiddleware
from app.problems import unexpected_answer
from app.security.addresses import parse_networks
from app.security.api_keys import issue_key
from app.settings import Settings

PATH = "/api/v1/tasks"
ADDRESS, OTHER = "198.51.100.7", "198.51.100.8"


class Checked:
    """An application that refuses keys it does not know, which is all that the middleware sees of one."""

    def __init__(self, *known: str) -> None:
        self.known = {f"Bearer {key}" for key in known}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Request(scope).headers.get("authorization")
        await Response(status_code=200 if given is None or given in self.known else 401)(scope, receive, send)


def limited(app: ASGIApp, rates: ThrottledRates, *proxies: str) -> ASGIApp:
    inner = RateLimitMiddleware(app, rates=rates, proxies=parse_networks(proxies))
    return ObservabilityMiddleware(inner, metrics=Metrics(), failed=unexpected_answer)


async def ask(app: ASGIApp, address: str = ADDRESS, path: str = PATH, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=app, client=(address, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


async def test_the_quota_is_told_and_then_refused_until_it_is_said_to_be_there() -> None:
    app = create_app(Settings(database_url="postgresql://unused", rate_limit="3/second", cors_origins="*"))
    for left in (2, 1, 0):
        answer = await ask(app, path="/nothing")
        assert answer.status_code == 404
        assert answer.headers["ratelimit-policy"] == '"default";q=3;w=1'
        assert answer.headers["ratelimit"] == f'"default";r={left};t=1'
        assert "retry-after" not in answer.headers
    refused = await ask(app, path="/nothing", Origin="https://oa.example.org")
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["ratelimit"] == '"default";r=0;t=1'
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-content-type-options"] == "nosniff"
    assert refused.headers["access-control-allow-origin"] == "*"
    problem = refused.json()
    assert (problem["type"], problem["status"]) == ("/problems/rate-limited", 429)
    assert problem["detail"] == "请求过于频繁,请在 1 秒后重试"
    assert problem["instance"] == refused.headers["x-request-id"]
    # The library counts by its own monotonic clock, so this second is a real one.
    await asyncio.sleep(1)
    assert (await ask(app, path="/nothing")).status_code == 404


async def test_without_the_setting_nothing_is_counted() -> None:
    app = create_app(Settings(database_url="postgresql://unused"))
    assert "ratelimit" not in (await ask(app, path="/nothing")).headers


async def test_health_is_never_refused() -> None:
    app = create_app(Settings(database_url="postgresql://unused", rate_limit="1/day"))
    for _ in range(5):
        answer = await ask(app, path="/health/live")
        assert (answer.status_code, answer.headers.get("ratelimit")) == (200, None)


async def test_each_address_has_its_own_quota() -> None:
    app = limited(Checked(), ThrottledRates("1/day"))
    assert [(await ask(app, address)).status_code for address in (ADDRESS, ADDRESS, OTHER)] == [200, 429, 200]


async def test_addresses_of_one_ipv6_network_are_one_caller() -> None:
    app = limited(Checked(), ThrottledRates("1/day"))
    addresses = ["2001:db8::1", "2001:db8::2:ffff", "2001:db8:0:1::1", f"::ffff:{ADDRESS}", ADDRESS]
    assert [(await ask(app, address)).status_code for address in addresses] == [200, 429, 200, 200, 429]


async def test_behind_a_trusted_proxy_the_client_is_counted_and_behind_any_other_the_proxy() -> None:
    proxied = limited(Checked(), ThrottledRates("1/day"), "10.0.0.0/8")
    said = [
        (await ask(proxied, "10.1.2.3", X_Forwarded_For=f"1.2.3.4, {client}")) for client in (ADDRESS, OTHER, OTHER)
    ]
    assert [answer.status_code for answer in said] == [200, 200, 429]
    direct = limited(Checked(), ThrottledRates("1/day"), "10.0.0.0/8")
    said = [await ask(direct, OTHER, X_Forwarded_For=made_up) for made_up in ("1.2.3.4", "1.2.3.5")]
    assert [answer.status_code for answer in said] == [200, 429]


async def test_a_key_is_a_caller_of_its_own_once_it_was_accepted() -> None:
    key, second = (f"{issue_key('prod').text}" for _ in range(2))
    app = limited(Checked(key, second), ThrottledRates("2/day"))
    # The first counts for the address, for it could be any key; from then on the key's own quota counts, anywhere.
    said = [await ask(app, address, Authorization=f"Bearer {key}") for address in (ADDRESS, ADDRESS, OTHER, ADDRESS)]
    assert [answer.status_code for answer in said] == [200, 200, 200, 429]
    assert (await ask(app, Authorization=f"Bearer {second}")).status_code == 200
    assert (await ask(app)).status_code == 429
    assert (await ask(app, Authorization=f"Bearer {second}")).status_code == 200


async def test_made_up_keys_bring_no_quota_and_use_up_nobody_elses() -> None:
    key = issue_key("prod").text
    app = limited(Checked(key), ThrottledRates("3/day"))
    assert (await ask(app, Authorization=f"Bearer {key}")).status_code == 200
    head, _, tail = key.rpartition("_")
    forged = [f"{head[:-1]}{'a' if head[-1] != 'a' else 'b'}_{tail}", *(issue_key("prod").text for _ in range(4))]
    said = [(await ask(app, OTHER, Authorization=f"Bearer {made_up}")).status_code for made_up in forged]
    assert said == [401, 401, 401, 429, 429]
    # All three requests of the key's own quota are still there.
    said = [(await ask(app, Authorization=f"Bearer {key}")).status_code for _ in range(4)]
    assert said == [200, 200, 200, 429]


async def test_no_key_stays_in_memory() -> None:
    key = issue_key("prod").text
    middleware = RateLimitMiddleware(Checked(key), rates=ThrottledRates("9/day"), proxies=())
    app = ObservabilityMiddleware(middleware, metrics=Metrics(), failed=unexpected_answer)
    await ask(app, Authorization=f"Bearer {key}")
    assert len(middleware.accepted) == 1
    assert key.split("_")[3] not in repr(dict(middleware.accepted))


async def test_counting_costs_next_to_nothing_however_many_callers_there_are() -> None:
    rates = ThrottledRates("1000000/minute")
    for number in range(5000):
        await rates.take(f"caller {number}")
    started = time.perf_counter()
    for number in range(2000):
        await rates.take(f"caller {number}")
    # 5 µs where it was measured; the bound is for a slow and busy machine.
    assert (time.perf_counter() - started) / 2000 < 100e-6


async def test_without_redis_nobody_is_refused_and_the_log_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    app = limited(Checked(), ThrottledRates("1/day", f"redis://:secret@127.0.0.1:{port}/0"))
    for _ in range(3):
        answer = await ask(app)
        assert (answer.status_code, answer.headers.get("ratelimit")) == (200, None)
    (line,) = [record.getMessage() for record in caplog.records if "Redis" in record.getMessage()]
    assert "secret" not in line


async def test_a_redis_that_hangs_holds_up_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        app = limited(Checked(), ThrottledRates("1/day", f"redis://127.0.0.1:{hanging.getsockname()[1]}/0"))
        assert (await ask(app)).status_code == 200
        # It is not asked again for a while, so those who come next do not wait at all.
        started = time.monotonic()
        for _ in range(20):
            assert (await ask(app)).status_code == 200
        assert time.monotonic() - started < 2


@pytest.fixture
def redis(tmp_path: Path) -> Generator[str]:
    """The address of a Redis of its own."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("neither redis-server nor valkey-server is installed")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    options: dict[str, Any] = {"cwd": tmp_path, "stdout": subprocess.DEVNULL}
    process = subprocess.Popen([program, "--port", str(port), "--save", "", "--bind", "127.0.0.1"], **options)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


async def test_processes_that_share_a_redis_count_together(redis: str) -> None:
    first, second = (limited(Checked(), ThrottledRates("3/day", redis)) for _ in range(2))
    said = [await ask(app) for app in (first, second, first, second, first)]
    assert [answer.status_code for answer in said] == [200, 200, 200, 429, 429]
    assert [answer.headers["ratelimit"][12] for answer in said] == ["2", "1", "0", "0", "0"]
    assert int(said[-1].headers["retry-after"]) > 20_000
    assert (await ask(second, OTHER)).status_code == 200
