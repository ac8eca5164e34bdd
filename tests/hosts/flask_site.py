"""The site in Flask, a WSGI application, through a2wsgi."""

from __future__ import annotations

from typing import Any

from a2wsgi import WSGIMiddleware
from flask import Flask, Response, request, send_file

from gem_consent import get_consent
from hosts.backstage import held, note, ticks
from hosts.content import BROKEN, DOWNLOAD_FILE, FRAGMENT, LOST, PAGE, PAGE_FILE, chunks, events


def make() -> Any:
    """Make the application."""
    app = Flask(__name__)

    @app.get("/")
    def page() -> str:
        return PAGE

    @app.get("/shared")
    def shared() -> Response:
        return Response(PAGE, headers={"Cache-Control": "public, max-age=60"})

    @app.get("/streamed")
    def streamed() -> Response:
        return Response(chunks())

    @app.get("/fragment")
    def fragment() -> str:
        return FRAGMENT

    @app.get("/download")
    def download() -> Response:
        return send_file(DOWNLOAD_FILE, as_attachment=True)

    @app.get("/page-file")
    def page_file() -> Response:
        return send_file(PAGE_FILE)

    @app.get("/events")
    def event_stream() -> Response:
        return Response(events(), content_type="text/event-stream")

    @app.get("/held")
    def held_events() -> Response:
        return Response(held(), content_type="text/event-stream")

    @app.get("/endless")
    def endless() -> Response:
        return Response(ticks(), content_type="text/event-stream")

    @app.get("/background")
    def background() -> Response:
        response = Response(PAGE)
        response.call_on_close(lambda: note("flask"))
        return response

    @app.get("/measured")
    def measured() -> dict[str, bool]:
        return {"measured": get_consent(request.environ).allows("analytics")}

    @app.get("/measured-by-request")
    def measured_by_request() -> dict[str, bool]:
        return {"measured": get_consent(request).allows("analytics")}

    @app.get("/cookies")
    def cookies() -> Response:
        response = Response(PAGE)
        response.set_cookie("session", "1")
        response.set_cookie("_ga", "GA1.1.1.1")
        return response

    @app.post("/echo")
    def echo() -> Response:
        return Response(request.get_data(), content_type="text/plain")

    @app.get("/broken")
    def broken() -> str:
        raise RuntimeError("broken on purpose")

    @app.errorhandler(404)
    def on_lost(error: Exception) -> tuple[str, int]:
        return LOST, 404

    @app.errorhandler(500)
    def on_broken(error: Exception) -> tuple[str, int]:
        return BROKEN, 500

    return WSGIMiddleware(app.wsgi_app)  # type: ignore[arg-type]  # its own StartResponse, as good as WSGI's
