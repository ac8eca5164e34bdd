"""Visits to an application in this very process: its lifespan, then requests as a server would make them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from gem_consent.exchange import STATE_KEY, Exchange
from gem_consent.headers import Headers

__all__ = ["Answer", "Visits", "running", "visiting"]

_PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Answer:
    """A request and what came back; ``exchange`` is ``None`` where no middleware of ours saw it."""

    path: str
    asked: Headers
    status: int
    headers: Headers
    body: bytes
    exchange: Exchange | None


class Visits:
    """Asks one application for pages.

    Args:
        app: the application.
        portal: the event loop in which it runs.
        base_url: the scheme and host under which it is asked.
        state: what it noted at its start, for its requests (ASGI, "Lifespan State").
    """

    def __init__(self, app: Any, portal: BlockingPortal, base_url: str, state: dict[str, Any]) -> None:
        self._app, self._portal, self._state = app, portal, state
        self._base = urlsplit(base_url)

    def get(self, path: str, headers: Mapping[str, str]) -> Answer:
        """Ask for a path, as a browser that follows a link does."""
        scope = self._scope(path, headers)
        messages: list[Any] = []

        async def ask() -> None:
            with anyio.fail_after(_PATIENCE_SECONDS):
                await self._app(scope, *_exchanged(messages))

        self._portal.call(ask)
        start = next((m for m in messages if m["type"] == "http.response.start"), None)
        if start is None:
            raise AssertionError(f"GET {path}: the application answered nothing")
        body = b"".join(m.get("body", b"") for m in messages if m["type"] == "http.response.body")
        # what lies further out may have passed on a copy, with the same state
        exchange = scope.get(STATE_KEY, scope["state"].get(STATE_KEY))
        found = exchange if isinstance(exchange, Exchange) else None
        return Answer(path, scope["headers"], start["status"], list(start.get("headers", [])), body, found)

    def path_of(self, here: str, location: str) -> str | None:
        """Give the path that a redirect leads to, with its query; ``None`` for another host's."""
        there = urlsplit(urljoin(urljoin(self._base.geturl(), here), location))
        if there.netloc != self._base.netloc:
            return None
        return there._replace(scheme="", netloc="", fragment="").geturl() or "/"

    def _scope(self, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
        bare, _, query = path.partition("?")
        given = {"host": self._base.netloc, "accept": "text/html,*/*;q=0.8", **headers}
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": self._base.scheme,
            "path": unquote(bare),
            "raw_path": quote(bare, safe="/%:@!$&'()*+,;=~").encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
            "client": ("127.0.0.1", 50_000),
            "server": (self._base.hostname, 443),
            "state": self._state.copy(),
        }


def _exchanged(messages: list[Any]) -> tuple[Any, Any]:
    """Give ``receive`` and ``send`` of one request without a body."""
    waiting: list[Any] = [{"type": "http.request", "body": b"", "more_body": False}]
    is_answered = anyio.Event()

    async def receive() -> Any:
        if waiting:
            return waiting.pop()
        # ASGI, "Disconnect - receive event": servers say so once the response is whole
        await is_answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        messages.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            is_answered.set()

    return receive, send


@contextmanager
def visiting(app: Any, base_url: str) -> Iterator[Visits]:
    """Run an application, with its lifespan, in an event loop of its own while the block lasts."""
    state: dict[str, Any] = {}
    with start_blocking_portal() as portal:
        living = portal.wrap_async_context_manager(running(app, state=state))
        said = living.__enter__()
        # what a check raises must reach its test as it is, not within the group of a task group
        try:
            if said and said[0]["type"] == "lifespan.startup.failed":
                raise AssertionError(f"the application did not start: {said[0].get('message', '')}")
            yield Visits(app, portal, base_url, state)
        finally:
            living.__exit__(None, None, None)


@asynccontextmanager
async def running(
    app: Any,
    has_no_lifespan: Callable[[Exception], bool] = lambda error: True,
    state: dict[str, Any] | None = None,
) -> AsyncIterator[list[Any]]:
    """Start an application, and stop it at the end of the block; one without a lifespan is left alone.

    Args:
        app: the application.
        has_no_lifespan: whether an error says so; by ASGI's "Lifespan Protocol" any does.
        state: where the application notes what its requests are to find.

    Yields:
        What the application has sent: the answer to its start, and after the block the one to its stop.
    """
    to_app, from_server = anyio.create_memory_object_stream[Any](2)
    to_server, from_app = anyio.create_memory_object_stream[Any](2)
    said: list[Any] = []

    async def serve() -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}
        scope["state"] = {} if state is None else state
        with to_server, from_server:
            try:
                await app(scope, from_server.receive, to_server.send)
            except Exception as error:
                if not has_no_lifespan(error):
                    raise

    async with anyio.create_task_group() as tasks:
        with to_app, from_app:
            await to_app.send({"type": "lifespan.startup"})
            tasks.start_soon(serve)
            with suppress(anyio.EndOfStream):
                said.append(await from_app.receive())
            yield said
            if said and said[0]["type"] == "lifespan.startup.complete":
                await to_app.send({"type": "lifespan.shutdown"})
                said.append(await from_app.receive())
