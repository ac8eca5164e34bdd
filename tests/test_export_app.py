"""The export as a route: for nobody but who is allowed, in flat memory, with nothing left behind."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from asgi import Answer, call, http_scope, wrap
from exports import exported_bytes
from fastapi import FastAPI
from ledgers import make_event, url_of
from server import serving
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Mount

from gem_consent import ConfigurationError, LedgerError, LedgerUnavailable, export_app
from gem_consent.ledger.export import Format
from gem_consent.ledger.store import Append, Ledger

MODULE = sys.modules["gem_consent.export_app"]  # the function has the package's name for it
BACKENDS = ["asyncio", "trio"]
FORMATS: list[tuple[Format, str]] = [
    ("csv", "text/csv; charset=utf-8"),
    ("jsonl", "application/x-ndjson"),
    ("parquet", "application/vnd.apache.parquet"),
]


def anyone(request: Request) -> bool:
    return True


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A ledger of three choices, the second a visitor's that is asked for by name."""
    where = url_of(tmp_path / "consent.db")
    with closing(Ledger.open(where)) as book:
        book.append([Append(make_event(subject=f"visitor-{number}")) for number in range(3)])
    return where


def fill(url: str, count: int) -> None:
    with closing(Ledger.open(url)) as book:
        book.append([Append(make_event()) for _ in range(count)])


def ask(app: Any, query: str = "", method: str = "GET", backend: str = "asyncio", **changes: Any) -> Answer:
    async def main() -> Answer:
        return await call(app, f"/{query}", method, **changes)

    return anyio.run(main, backend=backend)


# Who is let in


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("answer", [False, None, 1, "yes", RedirectResponse("/login")], ids=repr)
def test_only_true_lets_in(url: str, answer: Any, backend: str) -> None:
    """Whatever else a site's function gives, however true it looks, the request is refused."""

    async def later(request: Request) -> Any:
        return answer

    for authorize in (lambda request: answer, later, lambda request: later(request)):
        refused = ask(export_app(url, authorize=authorize), backend=backend)
        assert (refused.status, refused.body) == (403, b"Refused\n")
        assert refused.header("cache-control") == "no-store"


@pytest.mark.parametrize("query", ["", "elsewhere", "?format=nonsense", "?after=-1"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_refusals_are_all_the_same(tmp_path: Path, query: str, method: str) -> None:
    """Whoever is not let in learns nothing: no path, method, question or ledger makes a difference."""
    app = export_app(url_of(tmp_path / "nowhere.db"), authorize=lambda request: False)
    refused = ask(app, query, method)
    assert (refused.status, refused.body) == (403, b"Refused\n")
    assert refused.headers == ask(app).headers
    assert not (tmp_path / "nowhere.db").exists()


@pytest.mark.parametrize("backend", BACKENDS)
def test_async_and_plain_functions_let_in(url: str, backend: str) -> None:
    """A function may be async or not; one that is not runs outside the event loop's thread."""
    threads = set()

    def plain(request: Request) -> bool:
        threads.add(threading.current_thread())
        return request.headers["accept"] != ""

    class Officer:
        async def __call__(self, request: Request) -> bool:
            return True

    assert ask(export_app(url, authorize=plain), backend=backend).status == 200
    assert ask(export_app(url, authorize=Officer()), backend=backend).status == 200
    assert threading.main_thread() not in threads


def test_site_may_ask_for_a_password(url: str) -> None:
    """What the site raises gives status and headers; its reason stays with the site."""

    def authorize(request: Request) -> bool:
        raise HTTPException(401, "wrong password of admin", {"www-authenticate": "Basic"})

    refused = ask(export_app(url, authorize=authorize))
    assert (refused.status, refused.body) == (401, b"Refused\n")
    assert (refused.header("www-authenticate"), refused.header("cache-control")) == ("Basic", "no-store")


def test_failing_function_lets_nobody_in(url: str) -> None:
    """A function that breaks opens nothing."""

    def authorize(request: Request) -> bool:
        raise RuntimeError("the directory does not answer")

    with pytest.raises(RuntimeError, match="the directory does not answer"):
        ask(export_app(url, authorize=authorize))


@pytest.mark.parametrize("authorize", [None, True, "dpo"])
def test_function_is_needed(authorize: Any) -> None:
    """Without a function nothing is mounted."""
    with pytest.raises(ConfigurationError, match="who may read every choice"):
        export_app("sqlite:///consent.db", authorize=authorize)


def test_ledger_must_be_one() -> None:
    """A URL that can keep no ledger is refused at once."""
    with pytest.raises(ConfigurationError, match="of 'mysql'"):
        export_app("mysql://example.com/consent", authorize=anyone)


# What is given


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("form", "kind"), FORMATS)
def test_whole_export_is_given(url: str, form: Format, kind: str, backend: str) -> None:
    """The bytes are the command's, as an attachment that nobody stores, guesses at or indexes."""
    answer = ask(export_app(url, authorize=anyone), f"?format={form}", backend=backend)
    with closing(Ledger.open(url)) as book, book.reading() as connection:
        assert answer.body == exported_bytes(connection, form)
    assert answer.is_complete
    assert dict(answer.headers) == {
        b"content-type": kind.encode(),
        b"content-disposition": f'attachment; filename="consent.{form}"'.encode(),
        b"cache-control": b"no-store",
        b"x-content-type-options": b"nosniff",
        b"x-robots-tag": b"noindex, nofollow",
        b"cross-origin-resource-policy": b"same-origin",
        b"referrer-policy": b"no-referrer",
    }


def test_csv_unless_told(url: str) -> None:
    """Without a question the answer is all of it, as CSV."""
    assert ask(export_app(url, authorize=anyone)).body.startswith(b'"position"')


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("subject=visitor-1", [1]),
        ("after=1", [2]),
        ("until=2026-11-22", []),
        ("since=2026-11-23&after=0&subject=visitor-2", [2]),
    ],
)
def test_question_selects(url: str, query: str, found: list[int]) -> None:
    """The parameters mean what the command's options do."""
    body = ask(export_app(url, authorize=anyone), f"?format=jsonl&{query}").body
    assert [json.loads(line)["position"] for line in body.splitlines()] == found


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (
            "untill=2026-01-31",
            "The parameter 'untill' is unknown; allowed: format, since, until, subject, after.",
        ),
        ("after=1&after=2", "The parameter 'after' is given twice; allowed: "),
        ("format=xlsx", "format 'xlsx' is unknown; allowed: csv, jsonl, parquet."),
        ("after=-1", "after '-1' is no position: they are whole numbers from 0."),
        ("after=99999999999999999999", "is no position"),
        ("after=9999999999999999999", "after 9999999999999999999 is no position"),
        ("since=yesterday", "since 'yesterday' is no date: write 2026-01-31"),
        ("since=2026-02-01&until=2026-01-01", "since 2026-02-01 is not before until 2026-01-01"),
    ],
)
def test_wrong_questions_are_told(url: str, query: str, text: str) -> None:
    """A question that cannot be answered gets 400 and what is allowed, never more rows than were meant."""
    answer = ask(export_app(url, authorize=anyone), f"?{query}")
    assert (answer.status, answer.header("content-type")) == (400, "text/plain; charset=utf-8")
    assert text in answer.text
    assert answer.header("cache-control") == "no-store"


def test_head_gives_the_headers(url: str) -> None:
    """HEAD says what GET would, without reading a row or naming a length."""
    app = export_app(url, authorize=anyone)
    head = ask(app, "?format=parquet", "HEAD")
    assert (head.headers, head.body) == (ask(app, "?format=parquet").headers, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_else_is_answered(url: str, method: str) -> None:
    """Only reading is offered, and only at one address."""
    app = export_app(url, authorize=anyone)
    assert (ask(app, "", method).status, ask(app, "", method).header("allow")) == (405, "GET, HEAD")
    assert ask(app, "elsewhere").status == 404


def test_missing_ledger_is_not_made(tmp_path: Path) -> None:
    """Where there is no ledger the answer is an error without the path, and no file appears."""
    answer = ask(export_app(url_of(tmp_path / "nowhere.db"), authorize=anyone))
    assert answer.status == 500
    assert "nowhere" not in answer.text
    assert not (tmp_path / "nowhere.db").exists()


def test_absent_database_is_passing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that does not answer this time gets 503 and when to try again."""

    def away(*_: object, **__: object) -> Ledger:
        raise LedgerUnavailable("locked")

    monkeypatch.setattr(Ledger, "open", away)
    answer = ask(export_app(url, authorize=anyone))
    assert (answer.status, answer.header("retry-after")) == (503, "30")


def test_nothing_is_logged(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """No line of the log names a visitor."""
    caplog.set_level(logging.DEBUG)
    ask(export_app(url, authorize=anyone), "?subject=visitor-1")
    assert "visitor-1" not in caplog.text


# How it is given


class Client:
    """A server's side of one request, whose client reads as slowly as the test likes, or leaves."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.sent = anyio.Event()
        self.may_read = anyio.Event()
        self.gone = anyio.Event()
        self.error: OSError | None = None

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if self.error is not None:
            raise self.error
        self.messages.append(message)
        if message["type"] == "http.response.body":
            self.sent.set()
            await self.may_read.wait()

    async def run(self, app: Any) -> None:
        await app(http_scope("/?format=jsonl", "GET", {}), self.receive, self.send)


def reading(backend: str, scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        with anyio.fail_after(60):
            await scenario()

    anyio.run(main, backend=backend)
    assert [thread for thread in threading.enumerate() if "export" in thread.name] == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_departed_client_ends_the_reading(url: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the client goes, the thread and its transaction end, and the place is free again."""
    fill(url, 20_000)
    monkeypatch.setattr(MODULE, "MAX_EXPORTS", 1)
    app = export_app(url, authorize=anyone)

    async def scenario() -> None:
        client = Client()
        async with anyio.create_task_group() as group:
            group.start_soon(client.run, app)
            await client.sent.wait()
            busy = await call(app, "/")
            assert (busy.status, busy.header("retry-after")) == (503, "30")
            client.gone.set()
        assert not any(message.get("more_body") is False for message in client.messages)
        assert (await call(app, "/")).status == 200

    reading(backend, scenario)


@pytest.mark.parametrize("backend", BACKENDS)
def test_broken_connection_ends_the_reading(url: str, backend: str) -> None:
    """A server that raises when nobody is there is understood, and nothing is raised into it."""
    fill(url, 5_000)
    app = export_app(url, authorize=anyone)

    async def scenario() -> None:
        client = Client()
        client.error = OSError("gone")
        await client.run(app)
        assert client.messages == []

    reading(backend, scenario)


@pytest.mark.parametrize("backend", BACKENDS)
def test_slow_client_holds_little(url: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a client does not read, no more than a few pieces are made, and the loop goes on."""
    monkeypatch.setattr(MODULE, "CHUNK_BYTES", 1_000)
    fill(url, 20_000)
    app = export_app(url, authorize=anyone)
    taken: list[int] = []

    async def scenario() -> None:
        client = Client()
        async with anyio.create_task_group() as group:
            group.start_soon(client.run, app)
            await client.sent.wait()
            for _ in range(50):
                await anyio.lowlevel.checkpoint()
            taken.append(len(client.messages))
            client.may_read.set()
        assert client.messages[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
        rows = b"".join(message.get("body", b"") for message in client.messages).splitlines()
        assert len(rows) == 20_003

    reading(backend, scenario)
    assert taken == [2]


@pytest.mark.parametrize("backend", BACKENDS)
def test_client_that_stops_reading_is_left(url: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that takes a piece for too long is left, unfinished."""
    monkeypatch.setattr(MODULE, "SEND_SECONDS", 0.05)
    fill(url, 20_000)
    app = export_app(url, authorize=anyone)

    async def scenario() -> None:
        client = Client()
        await client.run(app)
        assert all(message.get("more_body", True) for message in client.messages)

    reading(backend, scenario)


@pytest.mark.parametrize("backend", BACKENDS)
def test_late_failure_leaves_it_unfinished(url: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that fails in the middle breaks the response off, so that nobody takes it for the whole."""

    def breaking(connection: object, out: Any, *_: object) -> int:
        out.write(b"half")
        out.flush()
        raise LedgerError("the file is damaged")

    monkeypatch.setattr(MODULE, "write", breaking)
    app = export_app(url, authorize=anyone)

    async def scenario() -> None:
        client = Client()
        client.may_read.set()
        with pytest.raises(LedgerError, match="damaged"):
            await client.run(app)
        assert [message.get("body") for message in client.messages] == [None, b"half"]

    reading(backend, scenario)


@pytest.mark.parametrize("outer", [Starlette(), FastAPI()], ids=lambda app: type(app).__name__)
def test_site_mounts_it_behind_the_middleware(url: str, tmp_path: Path, outer: Any) -> None:
    """Mounted in a site behind ConsentMiddleware, in a real server, it gives rows to its officer alone."""

    def authorize(request: Request) -> bool:
        return request.headers.get("authorization") == "Bearer officer"

    outer.router.routes.append(Mount("/officer/choices", export_app(url, authorize=authorize)))
    with serving(wrap(outer, tmp_path / "consent.db")) as port:
        address = f"http://127.0.0.1:{port}/officer/choices/"
        assert httpx.get(address).status_code == 403
        given = httpx.get(f"{address}?format=jsonl", headers={"authorization": "Bearer officer"})
    assert len(given.text.splitlines()) == 3
    assert given.headers["cache-control"] == "no-store"
    assert "set-cookie" not in given.headers
