"""The site in FastHTML."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fasthtml.common import (
    H1,
    Body,
    Head,
    Html,
    Main,
    Meta,
    P,
    Td,
    Title,
    Tr,
    fast_app,
    to_xml,
)
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)

from gem_consent import get_consent
from hosts.backstage import held_async, note, ticks_async
from hosts.content import (
    BROKEN,
    DOWNLOAD_FILE,
    LOST,
    PAGE,
    PAGE_FILE,
    chunks,
    events,
)


def make() -> Any:
    """Make the application."""
    app, route = fast_app(
        pico=False,
        default_hdrs=False,
        secret_key="only for tests",
        middleware=[Middleware(GZipMiddleware)],
        exception_handlers={
            404: lambda request, error: HTMLResponse(LOST, 404),
            500: lambda request, error: HTMLResponse(BROKEN, 500),
        },
    )

    @route("/")
    def page() -> Any:
        words = "Words upon words. " * 60
        return Html(Head(Meta(charset="utf-8"), Title("Home")), Body(Main(H1("Home"), P(words))), lang="en")

    @route("/whole")
    def whole() -> Any:
        return Title("Whole"), Main(H1("A page that FastHTML puts together"))

    @route("/shared")
    def shared() -> Response:
        return HTMLResponse(PAGE, headers={"cache-control": "public, max-age=60"})

    @route("/streamed")
    def streamed() -> Response:
        async def body() -> AsyncIterator[str]:
            for chunk in chunks():
                yield chunk

        return StreamingResponse(body(), media_type="text/html")

    @route("/fragment")
    def fragment() -> Response:
        return HTMLResponse(to_xml(Tr(Td("one"), id="row"), indent=False))

    @route("/download")
    def download() -> Response:
        return FileResponse(DOWNLOAD_FILE, filename="download.bin")

    @route("/page-file")
    def page_file() -> Response:
        return FileResponse(PAGE_FILE)

    @route("/events")
    def event_stream() -> Response:
        async def body() -> AsyncIterator[str]:
            for event in events():
                yield event

        return StreamingResponse(body(), media_type="text/event-stream")

    @route("/held")
    def held_events() -> Response:
        return StreamingResponse(held_async(), media_type="text/event-stream")

    @route("/endless")
    def endless() -> Response:
        return StreamingResponse(ticks_async(), media_type="text/event-stream")

    @route("/background")
    def background() -> Response:
        return HTMLResponse(PAGE, background=BackgroundTask(note, "fasthtml"))

    @route("/measured")
    def measured(request: Request) -> Response:
        return JSONResponse({"measured": get_consent(request).allows("analytics")})

    @route("/cookies")
    def cookies() -> Response:
        response = HTMLResponse(PAGE)
        response.set_cookie("session", "1")
        response.set_cookie("_ga", "GA1.1.1.1")
        return response

    @route("/echo", methods=["POST"])
    async def echo(request: Request) -> Response:
        return PlainTextResponse(await request.body())

    @route("/broken")
    def broken() -> None:
        raise RuntimeError("broken on purpose")

    @app.ws("/socket")
    async def socket(message: str) -> str:
        return message

    return app
