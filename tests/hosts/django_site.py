"""The site in Django, as an ASGI application."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from gem_consent import get_consent
from hosts.backstage import held_async, ticks_async
from hosts.content import BROKEN, DOWNLOAD_FILE, FRAGMENT, LOST, PAGE, PAGE_FILE, chunks, events


async def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE)


def shared(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE, headers={"Cache-Control": "public, max-age=60"})


async def streamed(request: HttpRequest) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[str]:
        for chunk in chunks():
            yield chunk

    return StreamingHttpResponse(body())


async def fragment(request: HttpRequest) -> HttpResponse:
    return HttpResponse(FRAGMENT)


def download(request: HttpRequest) -> FileResponse:
    response = FileResponse(DOWNLOAD_FILE.open("rb"), as_attachment=True, filename="download.bin")
    return response


def page_file(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE_FILE.read_bytes())


async def event_stream(request: HttpRequest) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[str]:
        for event in events():
            yield event

    return StreamingHttpResponse(body(), content_type="text/event-stream")


async def held_events(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(held_async(), content_type="text/event-stream")


async def endless(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(ticks_async(), content_type="text/event-stream")


async def measured(request: HttpRequest) -> HttpResponse:
    answer = {"measured": get_consent(request).allows("analytics")}
    return HttpResponse(json.dumps(answer), content_type="application/json")


def cookies(request: HttpRequest) -> HttpResponse:
    response = HttpResponse(PAGE)
    response.set_cookie("session", "1")
    response.set_cookie("_ga", "GA1.1.1.1")
    return response


@csrf_exempt
async def echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.body, content_type="text/plain")


async def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("broken on purpose")


def on_lost(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse(LOST, status=404)


def on_broken(request: HttpRequest) -> HttpResponse:
    return HttpResponse(BROKEN, status=500)


handler404 = on_lost
handler500 = on_broken
urlpatterns = [
    path("", page),
    path("shared", shared),
    path("streamed", streamed),
    path("fragment", fragment),
    path("download", download),
    path("page-file", page_file),
    path("events", event_stream),
    path("held", held_events),
    path("endless", endless),
    path("measured", measured),
    path("cookies", cookies),
    path("echo", echo),
    path("broken", broken),
]


def configure() -> None:
    """Give Django its settings, once for a process: it has one set of them."""
    if settings.configured:
        return
    settings.configure(
        SECRET_KEY="only for tests",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        MIDDLEWARE=["django.middleware.gzip.GZipMiddleware", "django.middleware.common.CommonMiddleware"],
        INSTALLED_APPS=["gem_consent"],
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        LOGGING_CONFIG=None,
    )
    django.setup()


def make() -> Any:
    """Make the application."""
    configure()
    return get_asgi_application()
