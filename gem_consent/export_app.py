"""The export as a route that a site mounts: it refuses everything until the site says who may, and streams.

It reads the ledger in a thread of its own, one transaction a request; it never blocks the event loop, writes
nothing, and logs nothing.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import CancelledError
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, cast, get_args

import anyio
from anyio import from_thread, to_thread
from anyio.abc import ObjectSendStream
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gem_consent.errors import ConfigurationError, ConsentError, LedgerUnavailable
from gem_consent.ledger.database import ledger_url
from gem_consent.ledger.export import MEDIA_TYPES, Format, Selection, require_format, write
from gem_consent.ledger.store import Ledger

__all__ = ["export_app"]

CHUNK_BYTES = 256 * 1024
"""How much the thread gathers before it hands it to the event loop."""

CHUNKS_AHEAD = 4
"""How many such pieces may wait for a client that reads slowly."""

SEND_SECONDS = 60.0
"""How long a client may take over one piece: while it reads, its transaction keeps the ledger's log."""

MAX_EXPORTS = 4
"""How many exports one application runs at once; each holds a thread and a transaction."""

_LATER = {"retry-after": "30"}
# What the thread meets when nobody listens any more: the stream closed, or its call into the loop cancelled.
_STOPPED = (anyio.BrokenResourceError, CancelledError)
_PARAMETERS = ("format", "since", "until", "subject", "after")
_FORMATS: tuple[str, ...] = get_args(Format)
_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex, nofollow",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
}

Authorize = Callable[[Request], bool | Awaitable[bool]]


def export_app(ledger: str, *, authorize: Authorize) -> Starlette:
    """Make an ASGI application that gives the ledger's events to whom the site allows it.

    ``GET`` with ``format``, ``since``, ``until``, ``subject`` and ``after`` in the query, as the options of
    ``gem-consent export``. The answer is streamed, an attachment, ``no-store``.

    Args:
        ledger: the ledger's URL.
        authorize: called with each request before anything else is looked at, in a thread unless it is async.
            Only the value ``True`` lets a request in; everything else is answered with one and the same 403.
            To ask for a password instead, raise Starlette's ``HTTPException`` with 401 and its headers.

    Returns:
        An application to be mounted: ``Mount("/consent-export", export_app(…))``.

    Raises:
        ConfigurationError: the URL is none that can keep a ledger, or ``authorize`` cannot be called.

    Example:
        >>> def is_officer(request):
        ...     return request.scope.get("user") == "dpo"
        >>> app = export_app("sqlite:///consent.db", authorize=is_officer)
    """
    if not callable(authorize):
        raise ConfigurationError(
            "export_app() needs authorize=, a function of the request that says who may read every choice; "
            f"given: {type(authorize).__name__}"
        )
    # Every path and method, so that whoever is not let in learns nothing from how they are refused.
    return Starlette(routes=[Route("/{rest:path}", _Exports(ledger_url(ledger), authorize))])


@dataclass(frozen=True, slots=True)
class _Question:
    """What one request asks for."""

    form: Format
    selection: Selection


class _Problem(Exception):
    """A request that was let in and cannot be answered."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.headers = status, text, headers or {}


class _Exports:
    """The one endpoint: its configuration, and how many exports run."""

    def __init__(self, url: str, authorize: Authorize) -> None:
        self._url = url
        self._authorize = authorize
        self._places = threading.BoundedSemaphore(MAX_EXPORTS)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        try:
            is_allowed = await self._is_allowed(request)
        except HTTPException as error:
            # The site's own way of refusing; what it says of why is not for whoever was refused.
            await _text("Refused", error.status_code, error.headers)(scope, receive, send)
            return
        if not is_allowed:
            await _text("Refused", 403)(scope, receive, send)
            return
        try:
            await self._answer(request, send)
        except _Problem as problem:
            await _text(problem.text, problem.status, problem.headers)(scope, receive, send)

    async def _is_allowed(self, request: Request) -> bool:
        if _is_async(self._authorize):
            answer = self._authorize(request)
        else:
            # In a list: trio takes a thread's answer that could be awaited for a mistake.
            (answer,) = await to_thread.run_sync(lambda: [self._authorize(request)])
        if inspect.isawaitable(answer):
            answer = await answer
        # Not whatever counts as true: a redirect to the login page would.
        return answer is True

    async def _answer(self, request: Request, send: Any) -> None:
        if request.method not in ("GET", "HEAD"):
            raise _Problem(405, "Ask with GET or HEAD.", {"allow": "GET, HEAD"})
        if request.path_params["rest"]:
            raise _Problem(404, "There is nothing here; the export is at the path it is mounted at.")
        question = _question(request)
        if request.method == "HEAD":
            await send(_start(question))
            await send({"type": "http.response.body", "body": b""})
            return
        if not self._places.acquire(blocking=False):
            raise _Problem(
                503,
                f"{MAX_EXPORTS} exports are running, which is as many as may: try again later.",
                _LATER,
            )
        try:
            await _Stream(self._url, question, send).run(request)
        finally:
            self._places.release()


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - a class with an async __call__ counts
    )


def _text(text: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{text}\n", status, {**(headers or {}), **_HEADERS})


def _headers(question: _Question) -> dict[str, str]:
    return {
        **_HEADERS,
        "content-type": MEDIA_TYPES[question.form],
        "content-disposition": f'attachment; filename="consent.{question.form}"',
    }


def _start(question: _Question) -> dict[str, Any]:
    headers = [(name.encode(), value.encode()) for name, value in _headers(question).items()]
    return {"type": "http.response.start", "status": 200, "headers": headers}


def _question(request: Request) -> _Question:
    """Read the query; a name that nobody knows might be a limit that was meant, so it is refused."""
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in _PARAMETERS or name in given:
            problem = "is given twice" if name in given else "is unknown"
            raise _Problem(400, f"The parameter {name[:32]!r} {problem}; allowed: {', '.join(_PARAMETERS)}.")
        given[name] = value
    form = given.pop("format", "csv")
    if form not in _FORMATS:
        raise _Problem(400, f"format {form[:32]!r} is unknown; allowed: {', '.join(_FORMATS)}.")
    after = given.pop("after", None)
    if after is not None and not (after.isascii() and after.isdecimal() and len(after) < 20):
        raise _Problem(400, f"after {after[:32]!r} is no position: they are whole numbers from 0.")
    try:
        selection = Selection.parse(**given, after=None if after is None else int(after), prefix="")
        require_format(form)  # type: ignore[arg-type]
    except ConfigurationError as error:
        raise _Problem(400, f"{error}.") from error
    return _Question(form, selection)  # type: ignore[arg-type]


class _Stream:
    """One export on its way: a thread reads and formats, the loop sends, a few pieces wait in between."""

    def __init__(self, url: str, question: _Question, send: Any) -> None:
        self._url = url
        self._question = question
        self._send = send
        self._is_started = False
        self._is_cut = False
        self._failure: ConsentError | None = None

    async def run(self, request: Request) -> None:
        """Send the export, or stop as soon as the client is gone.

        Raises:
            _Problem: the ledger failed before anything was sent.
            ConsentError: it failed afterwards; the response stays unfinished: none takes it for whole.
        """
        async with anyio.create_task_group() as group:
            group.start_soon(_until_gone, request, group.cancel_scope)
            await self._carry()
            group.cancel_scope.cancel()
        if self._failure is not None:
            if not self._is_started:
                raise _problem_of(self._failure) from self._failure
            raise self._failure

    async def _carry(self) -> None:
        pieces_in, pieces_out = anyio.create_memory_object_stream[bytes](CHUNKS_AHEAD)
        async with anyio.create_task_group() as group:
            group.start_soon(self._read, pieces_in)
            # Closed at the end: what the thread puts in next fails, which ends it.
            async with pieces_out:
                async for piece in pieces_out:
                    if not await self._is_sent(piece):
                        self._is_cut = True
                        break
        if self._failure is None and not self._is_cut:
            await self._is_sent(b"", is_last=True)

    async def _read(self, pieces: ObjectSendStream[bytes]) -> None:
        async with pieces:
            try:
                # A limiter of its own: exports do not use up the threads of the site's other work.
                await to_thread.run_sync(self._write, pieces, limiter=anyio.CapacityLimiter(1))
            except ConsentError as error:
                self._failure = error
            except _STOPPED:
                pass

    def _write(self, pieces: ObjectSendStream[bytes]) -> None:
        """Run in the thread: read in one transaction, and wait wherever the client is slower."""

        def give(piece: bytes) -> None:
            from_thread.run(pieces.send, piece)

        with closing(Ledger.open(self._url, must_exist=True)) as book, book.reading() as connection:
            out = _Pieces(give)
            write(connection, cast(BinaryIO, out), self._question.form, self._question.selection)
            out.flush()

    async def _is_sent(self, piece: bytes, *, is_last: bool = False) -> bool:
        """Send a piece; say no where the client is gone (ASGI, "Disconnected client"), or takes too long."""
        with anyio.move_on_after(SEND_SECONDS), suppress(OSError):
            if not self._is_started:
                self._is_started = True
                await self._send(_start(self._question))
            await self._send({"type": "http.response.body", "body": piece, "more_body": not is_last})
            return True
        return False


class _Pieces:
    """What the export is written to: gathers, and hands on a piece at a time."""

    def __init__(self, give: Callable[[bytes], None]) -> None:
        self._give = give
        self._gathered = bytearray()

    def write(self, some: bytes) -> int:
        self._gathered += some
        if len(self._gathered) >= CHUNK_BYTES:
            self.flush()
        return len(some)

    def flush(self) -> None:
        piece, self._gathered = bytes(self._gathered), bytearray()
        if piece:
            self._give(piece)


async def _until_gone(request: Request, scope: anyio.CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _problem_of(error: ConsentError) -> _Problem:
    # The error names the database's place, which is nobody's business who reads the export.
    if isinstance(error, LedgerUnavailable):
        return _Problem(503, "The ledger did not answer: try again later.", _LATER)
    return _Problem(500, "The ledger cannot be read: its operator finds out why with gem-consent verify.")
