"""The site in Litestar."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, MediaType, Request, Response, WebSocket, get, post, websocket
from litestar.background_tasks import BackgroundTask
from litestar.config.compression import CompressionConfig
from litestar.response import File, ServerSentEvent, Stream

from gem_consent import get_consent
from hosts.backstage import held_async, note, ticks_async
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


@get("/", media_type=MediaType.HTML, sync_to_thread=False)
def page() -> str:
    return PAGE


@get("/shared", media_type=MediaType.HTML, sync_to_thread=False)
def shared() -> Response[str]:
    return Response(PAGE, headers={"cache-control": "public, max-age=60"})


@get("/streamed", sync_to_thread=False)
def streamed() -> Stream:
    return Stream(chunks(), media_type=MediaType.HTML)


@get("/fragment", media_type=MediaType.HTML, sync_to_thread=False)
def fragment() -> str:
    return FRAGMENT


@get("/download", sync_to_thread=False)
def download() -> File:
    return File(DOWNLOAD_FILE, filename="download.bin")


@get("/page-file", sync_to_thread=False)
def page_file() -> File:
    return File(PAGE_FILE, media_type="text/html", content_disposition_type="inline")


@get("/events", sync_to_thread=False)
def event_stream() -> ServerSentEvent:
    return ServerSentEvent(iter(EVENTS))


@get("/held", sync_to_thread=False)
def held_events() -> Stream:
    return Stream(held_async(), media_type="text/event-stream")


@get("/endless", sync_to_thread=False)
def endless() -> Stream:
    return Stream(ticks_async(), media_type="text/event-stream")


@get("/background", media_type=MediaType.HTML, sync_to_thread=False)
def background() -> Response[str]:
    return Response(PAGE, background=BackgroundTask(note, "litestar"))


@get("/measured", sync_to_thread=False)
def measured(request: Request[Any, Any, Any]) -> dict[str, bool]:
    return {"measured": get_consent(request).allows("analytics")}


@get("/cookies", media_type=MediaType.HTML, sync_to_thread=False)
def cookies() -> Response[str]:
    response = Response(PAGE)
    response.set_cookie("session", "1")
    response.set_cookie("_ga", "GA1.1.1.1")
    return response


@post("/echo", media_type=MediaType.TEXT, status_code=200)
async def echo(request: Request[Any, Any, Any]) -> bytes:
    return await request.body()


@get("/broken", sync_to_thread=False)
def broken() -> None:
    raise RuntimeError("broken on purpose")


@websocket("/socket")
async def socket(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()


def on_lost(request: Request[Any, Any, Any], error: Exception) -> Response[str]:
    return Response(LOST, status_code=404, media_type=MediaType.HTML)


def on_broken(request: Request[Any, Any, Any], error: Exception) -> Response[str]:
    return Response(BROKEN, status_code=500, media_type=MediaType.HTML)


def make() -> Any:
    """Make the application."""
    return Litestar(
        [
            page,
            shared,
            streamed,
            fragment,
            download,
            page_file,
            event_stream,
            held_events,
            endless,
            background,
            measured,
            cookies,
            echo,
            broken,
            socket,
        ],
        compression_config=CompressionConfig(backend="gzip"),
        exception_handlers={404: on_lost, 500: on_broken},
        openapi_config=None,
        logging_config=None,
    )
