"""The log as programs read it: one JSON object a line, which tells whose request it belongs to."""

import io
import json
import logging
import re
from collections.abc import Generator
from typing import Any

import httpx
import pytest

from app.cli.logs import JsonFormatter, configure_logging
from app.main import create_app
from app.settings import Settings
from tests.conftest import KEYS, listening

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjMifQ.c2lnbmF0dXJl"


@pytest.fixture
def log() -> Generator[io.StringIO]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    text = io.StringIO()
    try:
        root.handlers.clear()
        configure_logging(Settings(log_format="json"), text)
        yield text
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def test_every_line_of_a_request_is_an_object_with_its_id(database: str, log: io.StringIO) -> None:
    app = create_app(Settings(database_url=database))

    @app.get("/broken", include_in_schema=False)
    async def broken() -> None:
        raise RuntimeError(f"first line\nsecond line {TOKEN}")

    with listening(app) as address, httpx.Client(base_url=address, trust_env=False) as client:
        client.headers["Authorization"] = f"Bearer {KEYS['everything']}"
        task = client.get("/api/v1/tasks/431228-2023-1-1-1?", headers={"X-Request-ID": "county-0001"})
        client.get("/broken", headers={"X-Request-ID": "county-0002"})
    found = map(json.loads, log.getvalue().splitlines())
    lines: list[dict[str, Any]] = [line for line in found if line["logger"] != "uvicorn.access"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+08:00", line["time"]) for line in lines)
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    (access,) = [line for line in lines if line.get("request_id") == "county-0001"]
    assert access["actor"].startswith("account:")
    assert (access["logger"], access["level"], access["method"]) == ("liuzhang.access", "INFO", "GET")
    assert (access["path"], access["route"]) == ("/api/v1/tasks/431228-2023-1-1-1", "/tasks/{code}")
    assert (access["status"], access["bytes"]) == (200, len(task.content))
    assert access["duration_ms"] > 0
    failed, served = [line for line in lines if line.get("request_id") == "county-0002"]
    assert failed["logger"] == "liuzhang.errors"
    assert "second line …" in failed["exception"]
    assert served["status"] == 500
    assert any("request_id" not in line for line in lines if line["logger"] == "uvicorn.error")


def test_a_line_stays_json_whatever_is_taken_out() -> None:
    # Without its quotes, what follows the colon would be taken for a password up to the at sign of another field.
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "http://example.org:", (), None)
    record.__dict__["actor"] = "someone@example.org"
    line = json.loads(JsonFormatter().format(record))
    assert line["actor"] == "someone@example.org"
