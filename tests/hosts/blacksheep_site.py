"""The site in BlackSheep."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from blacksheep import Application, Content, Cookie, Request, Response, StreamedContent, WebSocket
from blacksheep.server.compression import use_gzip_compression
from blacksheep.server.responses import ContentDispositionType, file, html, json
from blacksheep.server.routing import Router
from blacksheep.server.sse import ServerSentEvent, ServerSentEventsResponse

from gem_consent import get_consent
from hosts.backstage import held_async, ticks_async
from hosts.content import (
    BROKEN,
    DOWNLOAD_FILE,
    EVENTS,
    FRAGMENT,
    LOST,
    PAGE,
    PAGE_FILE,
    chunks,
)


def make() -> Any:
    """Make the application."""
    router = Router()
    app = Application(router=router)
    use_gzip_compression(app)

    @router.get("/")
    def page() -> Response:
        return html(PAGE)

    @router.get("/shared")
    def shared() -> Response:
        response = html(PAGE)
        response.add_header(b"Cache-Control", b"public, max-age=60")
        return response

    @router.get("/streamed")
    def streamed() -> Response:
        async def body() -> AsyncIterator[bytes]:
            for chunk in chunks():
                yield chunk.encode()

        return Response(200, content=StreamedContent(b"text/html; charset=utf-8", body))

    @router.get("/fragment")
    def fragment() -> Response:
        return html(FRAGMENT)

    @router.get("/download")
    def download() -> Response:
        return file(str(DOWNLOAD_FILE), "application/octet-stream", file_name="download.bin")

    @router.get("/page-file")
    def page_file() -> Response:
        return file(str(PAGE_FILE), "text/html", content_disposition=ContentDispositionType.INLINE)

    @router.get("/events")
    def event_stream() -> Response:
        async def body() -> AsyncIterator[ServerSentEvent]:
            for event in EVENTS:
                yield ServerSentEvent(event)

        return ServerSentEventsResponse(body)

    @router.get("/held")
    def held_events() -> Response:
        return _stream(held_async)

    @router.get("/endless")
    def endless() -> Response:
        return _stream(ticks_async)

    @router.get("/measured")
    def measured(request: Request) -> Response:
        return json({"measured": get_consent(request).allows("analytics")})

    @router.get("/cookies")
    def cookies() -> Response:
        response = html(PAGE)
        response.set_cookie(Cookie("session", "1"))
        response.set_cookie(Cookie("_ga", "GA1.1.1.1"))
        return response

    @router.post("/echo")
    async def echo(request: Request) -> Response:
        return Response(200, content=Content(b"text/plain", await request.read() or b""))

    @router.get("/broken")
    def broken() -> Response:
        raise RuntimeError("broken on purpose")

    @router.ws("/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()

    async def on_lost(app: Application, request: Request, error: Exception) -> Response:
        return Response(404, content=Content(b"text/html", LOST.encode()))

    async def on_broken(app: Application, request: Request, error: Exception) -> Response:
        return Response(500, content=Content(b"text/html", BROKEN.encode()))

    app.exceptions_handlers[404] = on_lost
    app.exceptions_handlers[500] = on_broken
    return app


def _stream(source: Callable[[], AsyncIterator[str]]) -> Response:
    async def body() -> AsyncIterator[bytes]:
        async for event in source():
            yield event.encode()

    return Response(200, content=StreamedContent(b"text/event-stream", body))
