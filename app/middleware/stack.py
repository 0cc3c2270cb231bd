"""Which middleware there is, and in which order."""

from collections.abc import Sequence

from fastapi import FastAPI

from app.middleware.bodies import BodyLimitMiddleware
from app.middleware.headers import CorsMiddleware, HeadMiddleware, SecurityHeadersMiddleware
from app.middleware.rates import RateLimitMiddleware, ThrottledRates
from app.middleware.timeouts import TimeoutMiddleware
from app.security.addresses import Network
from app.settings import Settings, listed

__all__ = ["add_middleware"]


def add_middleware(app: FastAPI, settings: Settings, *, proxies: Sequence[Network]) -> None:
    """Add them, from the innermost to the outermost; ``proxies`` are believed whom they forward for.

    The body is counted last, when it is known that the request may come in at all; the rate is counted within CORS, so
    that a web page can read that it is refused; and the headers are set around all, so that every refusal has them.
    """
    app.add_middleware(
        BodyLimitMiddleware,
        size=settings.max_body_size,
        file_size=settings.max_file_size,
        seconds=settings.body_timeout,
    )
    if settings.rate_limit is not None:
        rates = ThrottledRates(settings.rate_limit, settings.rate_limit_redis_url)
        app.add_middleware(RateLimitMiddleware, rates=rates, proxies=proxies)
    app.add_middleware(TimeoutMiddleware, seconds=settings.request_timeout)
    app.add_middleware(HeadMiddleware)
    origins = listed(settings.cors_origins)
    if origins:
        app.add_middleware(CorsMiddleware, origins=origins)
    app.add_middleware(SecurityHeadersMiddleware, hsts_max_age=settings.hsts_max_age)
