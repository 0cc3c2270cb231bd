"""Traces, as a collector gets them from a running service."""

import gzip
import subprocess
import sys
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from app.main import create_app
from app.settings import Settings, SettingsError
from tests.conftest import listening

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(HTTPServer):
    """Takes traces in, like a real one."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[bytes] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def spans(self) -> list[Any]:
        found: list[Any] = []
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    found += scope.spans
        return found


class Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.bodies.append(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Generator[Collector]:
    with Collector() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def told(span: Any) -> dict[str, str]:
    return {one.key: str(one.value.string_value or one.value.int_value) for one in span.attributes}


def test_requests_and_statements_are_traced_without_their_values(database: str, collector: Collector) -> None:
    app = create_app(Settings(database_url=database, otlp_endpoint=collector.address))
    with listening(app) as address:
        # Not by httpx, whose requests are traced too in this process.
        asked = Request(f"{address}/api/v1/tasks?unit=431228-fgj&limit=7")
        asked.add_header("traceparent", f"00-{TRACE}-{PARENT}-01")
        asked.add_header("X-Request-ID", "county-0003")
        with urlopen(asked) as answer, urlopen(f"{address}/health/ready") as ready:
            assert (answer.status, ready.status) == (200, 200)
    # All is sent before the service has stopped.
    spans = collector.spans()
    (served,) = [span for span in spans if span.name == "GET /tasks"]
    assert (served.trace_id.hex(), served.parent_span_id.hex()) == (TRACE, PARENT)
    assert told(served)["http.status_code"] == "200"
    assert told(served)["liuzhang.request_id"] == "county-0003"
    statements = [span for span in spans if span.parent_span_id == served.span_id]
    assert statements
    assert all(told(span)["db.system"] == "postgresql" for span in statements)
    assert all("$1" in told(span)["db.statement"] for span in statements)
    text = "".join(str(span) for span in spans)
    for value in ("431228-fgj", "limit=7", "/health/ready"):
        assert value not in text


def test_without_a_collector_nothing_of_it_is_loaded(database: str) -> None:
    check = "import sys; from app.main import create_app; from app.settings import Settings; "
    check += f"create_app(Settings(database_url={database!r})); print('app.tracing' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_collector_without_the_packages_for_it_is_told(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "app.tracing", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"liuzhang\[otel\]"):
        create_app(Settings(database_url=database, otlp_endpoint="http://127.0.0.1:4318"))
