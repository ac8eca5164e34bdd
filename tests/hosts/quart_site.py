"""The site in Quart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from quart import Quart, Response, request, send_file, websocket

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
    app = Quart(__name__)

    @app.get("/")
    async def page() -> str:
        return PAGE

    @app.get("/shared")
    async def shared() -> Response:
        return Response(PAGE, headers={"Cache-Control": "public, max-age=60"})

    @app.get("/streamed")
    async def streamed() -> Response:
        async def body() -> AsyncIterator[str]:
            for chunk in chunks():
                yield chunk

        return Response(body())

    @app.get("/fragment")
    async def fragment() -> str:
        return FRAGMENT

    @app.get("/download")
    async def download() -> Response:
        return await send_file(DOWNLOAD_FILE, as_attachment=True, conditional=True)

    @app.get("/page-file")
    async def page_file() -> Response:
        return await send_file(PAGE_FILE)

    @app.get("/events")
    async def event_stream() -> Response:
        async def body() -> AsyncIterator[str]:
            for event in events():
                yield event

        return Response(body(), content_type="text/event-stream")

    @app.get("/held")
    async def held_events() -> Response:
        return Response(held_async(), content_type="text/event-stream")

    @app.get("/endless")
    async def endless() -> Response:
        return Response(ticks_async(), content_type="text/event-stream")

    @app.get("/background")
    async def background() -> str:
        async def task() -> None:
            note("quart")

        app.add_background_task(task)
        return PAGE

    @app.get("/measured")
    async def measured() -> dict[str, bool]:
        return {"measured": get_consent(request).allows("analytics")}

    @app.get("/cookies")
    async def cookies() -> Response:
        response = Response(PAGE)
        response.set_cookie("session", "1")
        response.set_cookie("_ga", "GA1.1.1.1")
        return response

    @app.post("/echo")
    async def echo() -> Response:
        return Response(await request.get_data(as_text=False), content_type="text/plain")

    @app.get("/broken")
    async def broken() -> str:
        raise RuntimeError("broken on purpose")

    @app.websocket("/socket")
    async def socket() -> None:
        await websocket.send(await websocket.receive())

    @app.errorhandler(404)
    async def on_lost(error: Exception) -> tuple[str, int]:
        return LOST, 404

    @app.errorhandler(500)
    async def on_broken(error: Exception) -> tuple[str, int]:
        return BROKEN, 500

    return app
