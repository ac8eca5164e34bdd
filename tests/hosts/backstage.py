"""What a check does behind a site's back: let a stream go on, and hear what the site has done since.

The sites' streams and tasks use it in the server's process; ``Backstage`` brings a check's requests there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
from anyio import to_thread

from hosts.content import events

__all__ = ["BARE", "Backstage", "held", "held_async", "note", "taken", "ticks", "ticks_async"]

BARE = b"x-bare"
"""The request header that leads past the middleware to the site itself."""
PATIENCE_SECONDS = 10
_TICKS = 300
_TICK_SECONDS = 0.01

_gate = threading.Semaphore(0)
_notes: list[str] = []
_is_noted = threading.Condition()


def note(word: str) -> None:
    """Note what has been done."""
    with _is_noted:
        _notes.append(word)
        _is_noted.notify_all()


def taken() -> list[str]:
    """Wait until something is noted; give all of it, and forget it."""
    with _is_noted:
        _is_noted.wait_for(lambda: _notes, PATIENCE_SECONDS)
        found = _notes.copy()
        _notes.clear()
    return found


def held() -> Iterator[str]:
    """Give the first event, and the others once the check has let them go."""
    first, *others = events()
    yield first
    if _gate.acquire(timeout=PATIENCE_SECONDS):
        yield from others


async def held_async() -> AsyncIterator[str]:
    """Do the same without holding the event loop."""
    first, *others = events()
    yield first
    if await to_thread.run_sync(lambda: _gate.acquire(timeout=PATIENCE_SECONDS)):
        for event in others:
            yield event


def ticks() -> Iterator[str]:
    """Give events until the visitor leaves; note whether that was before the last."""
    given = 0
    try:
        while given < _TICKS:
            given += 1
            yield "data: tick\n\n"
            time.sleep(_TICK_SECONDS)
    finally:
        note("ended early" if given < _TICKS else "went on")


async def ticks_async() -> AsyncIterator[str]:
    """Do the same without holding the event loop."""
    given = 0
    try:
        while given < _TICKS:
            given += 1
            yield "data: tick\n\n"
            await anyio.sleep(_TICK_SECONDS)
    finally:
        note("ended early" if given < _TICKS else "went on")


class Backstage:
    """Answers what a check asks behind the site's back, and shows it the site without the middleware.

    Args:
        app: the site behind the middleware.
        bare: the site itself.
    """

    def __init__(self, app: Any, bare: Any) -> None:
        self._app, self._bare = app, bare

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and scope["path"].startswith("/backstage/"):
            await _answer(scope["path"], send)
        elif BARE in dict(scope.get("headers", ())):
            await self._bare(scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def _answer(path: str, send: Any) -> None:
    if path == "/backstage/go":
        _gate.release()
        body = ""
    else:
        body = " ".join(await to_thread.run_sync(taken))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body.encode()})
