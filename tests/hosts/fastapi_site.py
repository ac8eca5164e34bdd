"""The site in FastAPI."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import BackgroundTasks, FastAPI, Request, WebSocket
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse, Response, StreamingResponse

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


def make() -> Any:
    """Make the application."""
    app = FastAPI()
    app.add_middleware(GZipMiddleware)

    @app.get("/", response_class=HTMLResponse)
    def page() -> str:
        return PAGE

    @app.get("/shared", response_class=HTMLResponse)
    def shared(response: Response) -> str:
        response.headers["cache-control"] = "public, max-age=60"
        return PAGE

    @app.get("/streamed")
    def streamed() -> StreamingResponse:
        return StreamingResponse(chunks(), media_type="text/html")

    @app.get("/fragment", response_class=HTMLResponse)
    def fragment() -> str:
        return FRAGMENT

    @app.get("/download")
    def download() -> FileResponse:
        return FileResponse(DOWNLOAD_FILE, filename="download.bin")

    @app.get("/page-file")
    def page_file() -> FileResponse:
        return FileResponse(PAGE_FILE)

    @app.get("/events")
    def event_stream() -> StreamingResponse:
        def body() -> Iterator[str]:
            yield from events()

        return StreamingResponse(body(), media_type="text/event-stream")

    @app.get("/held")
    def held_events() -> StreamingResponse:
        return StreamingResponse(held_async(), media_type="text/event-stream")

    @app.get("/endless")
    def endless() -> StreamingResponse:
        return StreamingResponse(ticks_async(), media_type="text/event-stream")

    @app.get("/background", response_class=HTMLResponse)
    def background(tasks: BackgroundTasks) -> str:
        tasks.add_task(note, "fastapi")
        return PAGE

    @app.get("/measured")
    def measured(request: Request) -> dict[str, bool]:
        return {"measured": get_consent(request).allows("analytics")}

    @app.get("/cookies", response_class=HTMLResponse)
    def cookies(response: Response) -> str:
        response.set_cookie("session", "1")
        response.set_cookie("_ga", "GA1.1.1.1")
        return PAGE

    @app.post("/echo")
    async def echo(request: Request) -> PlainTextResponse:
        return PlainTextResponse(await request.body())

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("broken on purpose")

    @app.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()

    @app.exception_handler(404)
    async def on_lost(request: Request, error: Exception) -> HTMLResponse:
        return HTMLResponse(LOST, 404)

    @app.exception_handler(500)
    async def on_broken(request: Request, error: Exception) -> HTMLResponse:
        return HTMLResponse(BROKEN, 500)

    return app
