"""The site in Starlette."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
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
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from gem_consent import get_consent
from hosts.backstage import held_async, note, ticks_async
from hosts.content import (
    BROKEN,
    DOWNLOAD_FILE,
    FRAGMENT,
    LOST,
    PAGE,
    PAGE_FILE,
    chunks,
    events,
)


async def page(request: Request) -> Response:
    return HTMLResponse(PAGE)


async def shared(request: Request) -> Response:
    return HTMLResponse(PAGE, headers={"cache-control": "public, max-age=60"})


async def streamed(request: Request) -> Response:
    async def body() -> AsyncIterator[str]:
        for chunk in chunks():
            yield chunk

    return StreamingResponse(body(), media_type="text/html")


async def fragment(request: Request) -> Response:
    return HTMLResponse(FRAGMENT)


async def download(request: Request) -> Response:
    return FileResponse(DOWNLOAD_FILE, filename="download.bin")


async def page_file(request: Request) -> Response:
    return FileResponse(PAGE_FILE)


async def event_stream(request: Request) -> Response:
    async def body() -> AsyncIterator[str]:
        for event in events():
            yield event

    return StreamingResponse(body(), media_type="text/event-stream")


async def held_events(request: Request) -> Response:
    return StreamingResponse(held_async(), media_type="text/event-stream")


async def endless(request: Request) -> Response:
    return StreamingResponse(ticks_async(), media_type="text/event-stream")


async def background(request: Request) -> Response:
    task = BackgroundTask(note, "starlette")
    return HTMLResponse(PAGE, background=task)


async def measured(request: Request) -> Response:
    return JSONResponse({"measured": get_consent(request).allows("analytics")})


async def cookies(request: Request) -> Response:
    response = HTMLResponse(PAGE)
    response.set_cookie("session", "1")
    response.set_cookie("_ga", "GA1.1.1.1")
    return response


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


async def broken(request: Request) -> Response:
    raise RuntimeError("broken on purpose")


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


async def on_lost(request: Request, error: Exception) -> Response:
    return HTMLResponse(LOST, 404)


async def on_broken(request: Request, error: Exception) -> Response:
    return HTMLResponse(BROKEN, 500)


def make() -> Any:
    """Make the application."""
    return Starlette(
        routes=[
            Route("/", page),
            Route("/shared", shared),
            Route("/streamed", streamed),
            Route("/fragment", fragment),
            Route("/download", download),
            Route("/page-file", page_file),
            Route("/events", event_stream),
            Route("/held", held_events),
            Route("/endless", endless),
            Route("/background", background),
            Route("/measured", measured),
            Route("/cookies", cookies),
            Route("/echo", echo, methods=["POST"]),
            Route("/broken", broken),
            WebSocketRoute("/socket", socket),
        ],
        middleware=[Middleware(GZipMiddleware)],
        exception_handlers={404: on_lost, 500: on_broken},
    )
