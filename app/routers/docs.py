"""Documentation that works without the internet: its script and style come from an installed package."""

import base64
import hashlib
import re
from html import escape
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse

from app.errors import AppError, NotFoundError, all_errors

__all__ = ["ASSETS", "router"]

ASSETS = Path(fastapi_offline.__file__).parent / "static"
_AT = "/docs/assets"
# Scripts that stand in a page itself; only these very texts may run, and the files of this service.
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def show_docs(request: Request) -> HTMLResponse:
    """Swagger UI: every operation can be tried."""
    page = get_swagger_ui_html(
        openapi_url=str(request.app.openapi_url),
        title=f"{request.app.title} · 接口文档",
        swagger_js_url=f"{_AT}/swagger-ui-bundle.js",
        swagger_css_url=f"{_AT}/swagger-ui.css",
        swagger_favicon_url=f"{_AT}/favicon.png",
    )
    return _guarded(page)


@router.get("/reference")
async def show_reference(request: Request) -> HTMLResponse:
    """ReDoc: the reference to read and print."""
    page = get_redoc_html(
        openapi_url=str(request.app.openapi_url),
        title=f"{request.app.title} · 接口参考",
        redoc_js_url=f"{_AT}/redoc.standalone.js",
        redoc_favicon_url=f"{_AT}/favicon.png",
        with_google_fonts=False,
    )
    return _guarded(page)


@router.get("/problems")
async def list_problem_pages() -> HTMLResponse:
    """All kinds of problem."""
    return _page("错误类型", "".join(_section(error) for error in all_errors()))


@router.get("/problems/{slug}")
async def show_problem_page(slug: str) -> HTMLResponse:
    """The page a problem's ``type`` leads to."""
    for error in all_errors():
        if error.slug == slug:
            return _page(error.title, _section(error))
    raise NotFoundError(f"没有错误类型 {slug}")


def _section(error: type[AppError]) -> str:
    return (
        f'<section><h2><a href="/problems/{error.slug}">{escape(error.title)}</a></h2>'
        f"<p>HTTP {error.status} · <code>/problems/{error.slug}</code></p><p>{escape(error.remedy)}</p></section>"
    )


def _page(title: str, content: str) -> HTMLResponse:
    page = HTMLResponse(
        f'<!doctype html><html lang="zh-CN"><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width">'
        "<style>body{font-family:sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem;line-height:1.7}</style>"
        f'<h1>{escape(title)}</h1>{content}<p><a href="/problems">全部错误类型</a> · <a href="/docs">接口文档</a></p>'
    )
    return _guarded(page)


def _guarded(page: HTMLResponse) -> HTMLResponse:
    """The page with a policy (CSP level 3) that lets it load from this service alone and stand in no frame.

    Styles may stand in the page: Swagger UI and ReDoc write theirs as they go. ReDoc searches in a worker it makes.
    """
    digests = (hashlib.sha256(found.encode()).digest() for found in _INLINE_SCRIPT.findall(bytes(page.body).decode()))
    scripts = " ".join(["'self'", *(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)])
    page.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return page
