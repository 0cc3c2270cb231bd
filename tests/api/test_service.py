"""What surrounds the resources: health, metrics, docs, request ids, errors that are nobody's resource."""

import re
import socket
from urllib.parse import urlparse

import httpx
import pytest

from app.errors import all_errors
from app.main import create_app
from app.settings import Settings
from tests.conftest import Clone, serving


async def test_health_tells_alive_from_ready(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health/live")).json() == {"status": "live"}
    ready = (await client.get("/health/ready")).json()
    assert (ready["status"], ready["plans"]) == ("ready", 1)


async def test_an_empty_database_is_alive_but_not_ready(clone: Clone) -> None:
    async with clone(seeded=False) as url, serving(create_app(Settings(database_url=url))) as client:
        assert (await client.get("/health/live")).status_code == 200
        answer = await client.get("/health/ready")
        assert answer.status_code == 503
        assert answer.json()["type"] == "/problems/unavailable"
        assert answer.headers["retry-after"] == "5"


async def test_a_database_that_goes_away_is_a_503_and_comes_back(clone: Clone) -> None:
    async with clone() as url:
        app = create_app(Settings(database_url=url))
        async with serving(app) as client:
            assert (await client.get("/api/v1/plans")).status_code == 200
            await client.reader.pool._on.close()  # type: ignore[attr-defined]
            assert (await client.get("/api/v1/plans")).status_code in {500, 503}


async def test_metrics_count_by_operation_not_by_path(client: httpx.AsyncClient) -> None:
    await client.get("/api/v1/tasks/431228-2023-1-1-1")
    await client.get("/api/v1/tasks/431228-2023-1-1-2")
    text = (await client.get("/metrics")).text
    assert 'operation="get_task"' in text
    assert "431228-2023-1-1-1" not in text
    assert "liuzhang_request_seconds_bucket" in text


async def test_a_sane_request_id_is_kept_and_any_other_replaced(client: httpx.AsyncClient) -> None:
    kept = await client.get("/health/live", headers={"X-Request-ID": "county-2023.04_20"})
    assert kept.headers["x-request-id"] == "county-2023.04_20"
    for other in ("short", "a b c d e f g h", "x" * 200):
        replaced = await client.get("/health/live", headers={"X-Request-ID": other})
        assert re.fullmatch(r"[0-9a-f]{32}", replaced.headers["x-request-id"])


async def test_a_wrong_method_names_the_right_ones(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/tasks", json={})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert answer.json()["type"] == "/problems/method-not-allowed"


async def test_an_unexpected_error_is_told_without_its_inside(clone: Clone) -> None:
    async with clone() as url:
        app = create_app(Settings(database_url=url))

        @app.get("/broken")
        async def broken() -> None:
            raise RuntimeError("SELECT secret FROM inside")

        async with serving(app) as client:
            answer = await client.get("/broken")
    assert answer.status_code == 500
    assert answer.json()["type"] == "/problems/internal-error"
    assert answer.json()["instance"] == answer.headers["x-request-id"]
    assert "secret" not in answer.text
    assert "RuntimeError" not in answer.text


async def test_every_problem_type_has_a_page(client: httpx.AsyncClient) -> None:
    for error in all_errors():
        page = await client.get(f"/problems/{error.slug}")
        assert page.status_code == 200
        assert error.remedy.split("。")[0][:10] in page.text
    assert (await client.get("/problems")).status_code == 200
    assert (await client.get("/problems/none-such")).status_code == 404


async def test_the_docs_need_no_other_host(client: httpx.AsyncClient) -> None:
    for path in ("/docs", "/reference"):
        page = await client.get(path)
        assert page.status_code == 200
        for address in re.findall(r"""(?:src|href)=["']([^"']+)["']""", page.text):
            assert not urlparse(address).netloc, f"{path} loads {address}"
            assert (await client.get(address)).status_code == 200
    assert (await client.get("/openapi.json")).json()["openapi"].startswith("3.1")


async def test_chinese_may_stand_in_the_url_as_typed(server: str) -> None:
    place = urlparse(server)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=10) as connection:
        request = "GET /api/v1/units?q=县发改局 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"431228-fgj" in answer


@pytest.mark.parametrize("sent", [b"NONSENSE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00\x01\x02\r\n\r\n"])
async def test_what_is_no_http_is_answered_with_a_problem(server: str, sent: bytes) -> None:
    place = urlparse(server)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=10) as connection:
        connection.sendall(sent)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in answer
