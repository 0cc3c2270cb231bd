"""Traces by OpenTelemetry, where a collector is set: requests, their statements, and what other services are asked.

Only imported then, for it needs the packages of the extra ``otel``. A trace says what was done and how long it took,
and never with which values: no query string, no parameter, no message of an error leaves the process.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware  # pyright: ignore[reportMissingTypeStubs]
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor  # pyright: ignore[reportMissingTypeStubs]
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor, RequestInfo
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import Span, Status, get_current_span
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.security.redaction import redact
from app.version import VERSION

__all__ = ["Tracing"]

_SECONDS = 5
# Asked all the time by machines, and of no interest.
_UNTRACED = "/health/,/metrics"


class Tracing:
    """The traces of one application, sent to one collector."""

    def __init__(self, endpoint: str) -> None:
        """Send to the collector at ``endpoint``, by OTLP over HTTP."""
        resource = Resource.create({"service.name": "liuzhang", "service.version": VERSION})
        self._provider = TracerProvider(resource=resource)
        exporter = _DiscreetExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))

    def add_to(self, app: FastAPI) -> None:
        """Trace the requests of ``app``; a ``traceparent`` that comes with one is gone on from."""
        app.add_middleware(_RouteMiddleware)
        app.add_middleware(
            OpenTelemetryMiddleware,
            excluded_urls=_UNTRACED,
            default_span_details=_details,
            server_request_hook=_without_query,
            exclude_spans=["receive", "send"],
            tracer_provider=self._provider,
        )

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Trace statements and outgoing requests meanwhile, the latter with a ``traceparent``; then send the rest."""
        statements, requests = AsyncPGInstrumentor(), HTTPXClientInstrumentor()
        statements.instrument(tracer_provider=self._provider)
        requests.instrument(tracer_provider=self._provider, async_request_hook=_without_query_out)
        try:
            yield
        finally:
            requests.uninstrument()
            statements.uninstrument()
            await asyncio.to_thread(self._provider.shutdown)


class _DiscreetExporter(OTLPSpanExporter):
    """Sends spans without what an error said: PostgreSQL names the values that it refuses."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return super().export([_discreet(span) for span in spans])


def _discreet(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        links=span.links,
        kind=span.kind,
        instrumentation_scope=span.instrumentation_scope,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
    )


class _RouteMiddleware:
    """Names the span of a request by its route, which is known when it is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_name(message: Message) -> None:
            # The span ends with the answer.
            route = getattr(scope.get("route"), "path", None)
            if message["type"] == "http.response.start" and route is not None:
                span = get_current_span()
                span.update_name(f"{scope['method']} {route}")
                span.set_attribute("http.route", route)
                span.set_attribute("liuzhang.request_id", scope["state"]["request_id"])
            await send(message)

        await self.app(scope, receive, send_and_name)


def _details(scope: Scope) -> tuple[str, dict[str, Any]]:
    return scope["method"], {}


def _without_query(span: Span, scope: Scope) -> None:
    path = redact(scope["path"])
    span.set_attribute("http.target", path)
    span.set_attribute("http.url", path)


async def _without_query_out(span: Span, request: RequestInfo) -> None:
    span.set_attribute("http.url", str(httpx.URL(str(request.url)).copy_with(query=None, userinfo=b"")))
