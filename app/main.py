"""The application, wired together; nothing else happens here."""

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, TypedDict

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from app.clock import Clock, system_clock
from app.db import SERVICE_ROLE, Database, open_read_pool, open_write_pool
from app.fragments import FragmentCache
from app.metrics import Metrics
from app.middleware.stack import add_middleware
from app.observability import ObservabilityMiddleware
from app.openapi import install_openapi, operation_id
from app.problems import install_problem_handlers, unexpected_answer
from app.routers import (
    accounts,
    agenda,
    anomalies,
    assessments,
    audit,
    battles,
    bulletins,
    calendar_subscriptions,
    cases,
    changes,
    deadlines,
    docs,
    faults,
    files,
    health,
    inspections,
    materials,
    plans,
    progress,
    rankings,
    rules,
    schedules,
    search,
    submissions,
    targets,
    tasks,
    units,
    webhooks,
    work_items,
)
from app.security.addresses import NetworkError, parse_networks
from app.security.issuer import Issuer, IssuerError, issuer_client
from app.security.issuer_keys import IssuerKeys
from app.security.outbound import Outbound
from app.security.targets import TargetError, Targets, parse_targets
from app.security.tokens import TokenVerifier
from app.services.caller import Public
from app.services.dispatch import Dispatcher
from app.services.figures import Figures
from app.services.identity import Identity, Rules
from app.services.intake import Intake
from app.services.leader import Leader
from app.services.reader import Reader
from app.services.webhooks import Sender
from app.settings import Settings, SettingsError, listed, read_settings
from app.version import VERSION

if TYPE_CHECKING:
    from app.tracing import Tracing

__all__ = ["create_app"]

API = "/api/v1"
# Routes are tried in this order, router by router: what is asked most comes first.
ROUTES = (
    tasks,
    units,
    submissions,
    files,
    targets,
    deadlines,
    agenda,
    progress,
    schedules,
    materials,
    battles,
    plans,
    rules,
    anomalies,
    search,
    accounts,
    audit,
    changes,
    webhooks,
    bulletins,
    calendar_subscriptions,
    cases,
    assessments,
    faults,
    work_items,
    rankings,
    inspections,
)


class State(TypedDict):
    """What the lifespan gives to every request."""

    reader: Reader
    writes: Database
    intake: Intake
    clock: Clock
    metrics: Metrics
    figures: Figures
    identity: Identity
    sender: Sender
    environment: str
    idempotency_lifetime: timedelta
    # How many files are read at once: each takes memory, and a connection.
    files: asyncio.Semaphore
    stopping: bool
    """Set by a server that was told to stop."""


FILES_AT_ONCE = 2


def _settle() -> None:
    """Tell the garbage collector that what is there once the service is up stays, and that requests clean up well.

    Looking through it all for every few hundred objects of a request took a quarter of the time of a large form.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def _rules(settings: Settings) -> Rules:
    try:
        trusted = parse_networks(listed(settings.trusted_proxies))
    except NetworkError as error:
        raise SettingsError(f"设置有误: LIUZHANG_TRUSTED_PROXIES: {error.detail}") from None
    public = Public(plan=settings.public_plan, progress=settings.public_progress)
    return Rules(settings.environment, trusted, public, settings.oidc_grants_claim)


def _issuer(settings: Settings) -> Issuer | None:
    """The issuer whose tokens are taken, if one is set."""
    if settings.oidc_issuer is None:
        return None
    try:
        return Issuer(
            url=settings.oidc_issuer,
            audience=settings.oidc_audience or "",
            algorithms=frozenset(listed(settings.oidc_algorithms)),
            jwks_url=settings.oidc_jwks_url,
            leeway=timedelta(seconds=settings.oidc_leeway),
            key_lifetime=timedelta(seconds=settings.oidc_key_lifetime),
            key_maximum_age=timedelta(seconds=settings.oidc_key_maximum_age),
            refetch_interval=timedelta(seconds=settings.oidc_refetch_interval),
            timeout=timedelta(seconds=settings.oidc_timeout),
        )
    except IssuerError as error:
        raise SettingsError(f"设置有误: LIUZHANG_OIDC_*: {error.detail}") from None


def _targets(settings: Settings) -> Targets:
    """Where webhooks may go."""
    try:
        return Targets(
            parse_targets(listed(settings.webhook_targets)), parse_networks(listed(settings.webhook_networks))
        )
    except (TargetError, NetworkError) as error:
        raise SettingsError(f"设置有误: LIUZHANG_WEBHOOK_*: {error.detail}") from None


@asynccontextmanager
async def _leading(leader: Leader) -> AsyncGenerator[None]:
    """Lead, whenever nobody else does, for as long as the service is up."""
    task = asyncio.create_task(leader.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _tracing(settings: Settings) -> "Tracing | None":
    """What traces, if a collector is set."""
    if settings.otlp_endpoint is None:
        return None
    try:
        # Its packages are many, and nobody who does not trace needs them.
        from app.tracing import Tracing  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"设置了 LIUZHANG_OTLP_ENDPOINT,但没有安装所需的包({error.name}):请安装 liuzhang[otel],或去掉这项设置"
        ) from None
    return Tracing(settings.otlp_endpoint)


def create_app(settings: Settings | None = None, *, clock: Clock = system_clock) -> FastAPI:
    """Build the application; without ``settings`` they are read from the environment.

    Raises:
        SettingsError: a setting is wrong, or no database address is set.
    """
    settings = settings or read_settings()
    url = settings.service_database_url or settings.database_url
    if url is None:
        raise SettingsError("须设置 LIUZHANG_DATABASE_URL,或用 liuzhang serve 启动内嵌的 PostgreSQL")
    metrics = Metrics()
    rules, issuer, targets, tracing = _rules(settings), _issuer(settings), _targets(settings), _tracing(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[State]:
        size, seconds, role = settings.pool_size, settings.statement_timeout, SERVICE_ROLE
        read_url = settings.read_database_url or url
        async with (
            nullcontext() if tracing is None else tracing.running(),
            open_read_pool(read_url, size=size, statement_timeout=seconds, role=role) as reads,
            open_write_pool(url, size=size, statement_timeout=seconds, role=role) as writes,
            # Of its own, so that requests never wait for the one that leads.
            open_write_pool(url, size=1, statement_timeout=seconds, role=role) as leading,
            AsyncExitStack() as stack,
        ):
            reader = Reader(Database(reads), FragmentCache(settings.fragment_cache_size))
            _settle()
            database = Database(writes)
            verifier: TokenVerifier | None = None
            if issuer is not None:
                client = await stack.enter_async_context(issuer_client(settings.oidc_ca_file))
                verifier = TokenVerifier(issuer, IssuerKeys(issuer, client, clock), clock)
            identity = Identity(database, rules, verifier)
            stack.push_async_callback(identity.settle)
            outbound = await stack.enter_async_context(Outbound(targets, timeout=settings.webhook_timeout))
            sender = Sender(outbound, settings.webhook_key)
            dispatcher = Dispatcher(database, sender, clock, public=rules.public.progress)
            await stack.enter_async_context(_leading(Leader(Database(leading), dispatcher, clock)))
            yield {
                "reader": reader,
                "writes": database,
                "intake": Intake(database),
                "clock": clock,
                "metrics": metrics,
                "figures": Figures(reader),
                "identity": identity,
                "sender": sender,
                "environment": settings.environment,
                "idempotency_lifetime": timedelta(seconds=settings.idempotency_lifetime),
                "files": asyncio.Semaphore(FILES_AT_ONCE),
                "stopping": False,
            }

    app = FastAPI(
        title="六仗",
        version=VERSION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        generate_unique_id_function=operation_id,
        redirect_slashes=False,
    )
    for part in ROUTES:
        app.include_router(part.router, prefix=API)
    app.include_router(health.router)
    app.mount("/docs/assets", StaticFiles(directory=docs.ASSETS), name="assets")
    app.include_router(docs.router)
    add_middleware(app, settings, proxies=rules.trusted)
    # Outermost but for tracing: whatever the others answer is measured, logged and carries the request id.
    app.add_middleware(ObservabilityMiddleware, metrics=metrics, failed=unexpected_answer)
    if tracing is not None:
        tracing.add_to(app)
    install_problem_handlers(app)
    install_openapi(app, [*(part.router for part in ROUTES), health.router])
    return app
