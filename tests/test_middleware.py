"""The middleware's own part: its settings, connections that are not http, the lifespan, its one warning."""

from __future__ import annotations

import gc
import logging
import weakref
from pathlib import Path
from typing import Any

import anyio
import pytest
from asgi import PAGE, SECRET, Answer, Visitor, call, get, http_scope, make_policy, rows, site, wrap
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from starlette.applications import Starlette
from starlette.types import Message

from gem_consent import (
    UNDECIDED,
    ConfigurationError,
    ConsentMiddleware,
    LedgerError,
    LedgerUnavailable,
    get_consent,
)
from gem_consent.ledger.store import Ledger
from gem_consent.recorder import Recorder


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "consent.db"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": None}, "policy is None; allowed: a Policy"),
        ({"secret_key": ""}, "secret_key needs 32 characters"),
        ({"secret_key": []}, "secret_key needs 32 characters"),
        ({"secret_key": [SECRET, "short"]}, "secret_key needs 32 characters"),
        ({"ledger": "mysql://x"}, "sqlite:///"),
        ({"path": "privacy"}, "path is 'privacy'; allowed"),
        ({"path": "/"}, "path is '/'; allowed"),
        ({"path": "/a/"}, "path is '/a/'; allowed"),
        ({"path": "//a"}, "path is '//a'; allowed"),
        ({"path": "/a b"}, "path is '/a b'; allowed"),
        ({"path": "/é"}, "path is '/é'; allowed"),
        ({"path": '/"a'}, "allowed: a path such as"),
        (
            {"documents": "public"},
            "documents is 'public'; allowed: one of auto, shared, private, or a function",
        ),
        ({"insert": "always"}, "insert is 'always'; allowed: one of auto, never"),
        ({"policy": make_policy(language="tlh")}, "names 'tlh'; the library speaks .*fr"),
    ],
)
def test_bad_settings_refuse_to_start(change: dict[str, Any], message: str) -> None:
    """A setting that is missing or wrong is refused with what is allowed."""
    sound: dict[str, Any] = {"policy": make_policy(), "secret_key": SECRET, "ledger": "sqlite:///x.db"}
    with pytest.raises(ConfigurationError, match=message):
        ConsentMiddleware(site(), **(sound | change))


def test_making_it_opens_nothing(ledger: Path) -> None:
    """Neither the configuration nor a page makes the ledger's file: servers fork."""
    get(wrap(site(), ledger))
    assert not ledger.exists()


def test_websockets_are_untouched(ledger: Path) -> None:
    """A websocket has the server's very scope and receive, and what the application sends goes as it is."""
    seen: list[Any] = []
    messages = [
        {"type": "websocket.accept", "headers": [(b"x", b"y")]},
        {"type": "websocket.send", "text": "a"},
    ]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend((scope, receive))
        for message in messages:
            await send(message)

    async def send(message: Any) -> None:
        seen.append(message)

    given: list[Any] = [{"type": "websocket", "path": "/privacy-choices", "headers": []}, object()]

    async def main() -> None:
        await wrap(app, ledger)(given[0], given[1], send)

    anyio.run(main)
    assert all(one is other for one, other in zip(seen, given + messages, strict=True))
    assert given[0] == {"type": "websocket", "path": "/privacy-choices", "headers": []}


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("kind", ["websocket.accept", "websocket.http.response.start"])
def test_handshake_sets_no_ungranted_tracker(ledger: Path, kind: str, scheme: str) -> None:
    """The answer to a websocket's handshake is a response too: its cookies pass the same gate."""
    lines = ["session=1", "_ga=2", "_ga=; Max-Age=0"]
    accept = {"type": kind, "headers": [[b"set-cookie", line.encode()] for line in lines]}
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send(accept)
            return
        await site()(scope, receive, send)

    async def send(message: Any) -> None:
        sent.append([value.decode() for _, value in message["headers"]])

    consenting = wrap(app, ledger)
    visitor = Visitor(consenting, scheme="https" if scheme == "wss" else "http")
    for decision in ("deny_all", "grant_all"):
        visitor.json(decision)
        cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
        headers = [(b"host", b"testserver"), (b"cookie", cookie.encode())]
        scope: Any = {"type": "websocket", "scheme": scheme, "path": "/socket", "headers": headers}
        anyio.run(consenting, scope, None, send)  # type: ignore[arg-type]
    assert sent == [["session=1", "_ga=; Max-Age=0"], lines]
    assert consenting.site.tally.cookies["withheld"] == 1


def test_handshake_is_of_the_site_that_was_asked(ledger: Path) -> None:
    """A mount that writes its own path into the scope changes nothing of which site sets the cookies."""
    policy = make_policy()
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope.update(path="/socket", root_path="/shop")
        await send({"type": "websocket.accept", "headers": [(b"set-cookie", b"_ga=2")]})

    async def send(message: Any) -> None:
        sent.extend(message["headers"])

    consenting = wrap(app, ledger, policy=lambda scope: policy if scope["path"].startswith("/shop") else None)
    scope: Any = {"type": "websocket", "scheme": "ws", "path": "/shop/socket", "headers": []}
    anyio.run(consenting, scope, None, send)  # type: ignore[arg-type]
    assert sent == []


async def lifespan(app: ConsentMiddleware) -> list[str]:
    """Start and stop an application as a server does; give what it says."""
    said: list[str] = []
    orders = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Any:
        return orders.pop(0)

    async def send(message: Any) -> None:
        said.append(message["type"])

    await app({"type": "lifespan", "state": {}}, receive, send)
    return said


def test_lifespan_opens_and_closes(ledger: Path) -> None:
    """The ledger is open, and holds the notices, when the application starts; closed when it has stopped."""
    seen: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        seen.append(ledger.exists())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    said = anyio.run(lifespan, wrap(app, ledger))
    assert (seen, said) == ([True], ["lifespan.startup.complete", "lifespan.shutdown.complete"])
    assert rows(ledger) == []


def test_ledger_needs_no_lifespan_of_the_site(ledger: Path) -> None:
    """The ledger opens and closes in order where the site says at once that it knows no lifespan."""
    existed = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        existed.append(ledger.exists())
        raise ValueError("http only")

    said = anyio.run(lifespan, wrap(app, ledger))
    assert (existed, ledger.exists()) == ([False], True)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_failing_start_of_site_is_told(ledger: Path) -> None:
    """A site that fails while it starts fails as it would without the middleware."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise ValueError("no database")

    with pytest.raises(ValueError, match="no database"):
        anyio.run(lifespan, wrap(app, ledger))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_lifespan_runs_on_both_loops(ledger: Path, backend: str) -> None:
    """asyncio and trio alike."""
    said = anyio.run(lifespan, wrap(Starlette(), ledger), backend=backend)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_foreign_file_refuses_to_start(ledger: Path) -> None:
    """A file that is no ledger fails the startup with the remedy."""
    ledger.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    said: list[Any] = []

    async def main() -> None:
        async def receive() -> Any:
            return {"type": "lifespan.startup"}

        async def send(message: Any) -> None:
            said.append(message)

        await wrap(Starlette(), ledger)({"type": "lifespan", "state": {}}, receive, send)

    with pytest.raises(LedgerError):
        anyio.run(main)
    assert said[0]["type"] == "lifespan.startup.failed"
    assert str(ledger) in said[0]["message"]


def test_absent_ledger_starts_all_the_same(ledger: Path) -> None:
    """A database that is away does not keep the site from starting."""

    def away(url: str) -> Ledger:
        raise LedgerUnavailable("away")

    app = wrap(Starlette(), ledger)
    recorder = Recorder(f"sqlite:///{ledger}", list, opener=away, patience_seconds=0.2)
    object.__setattr__(app.site, "recorder", recorder)
    assert anyio.run(lifespan, app)[0] == "lifespan.startup.complete"


def test_hidden_https_warns_once(ledger: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A proxy whose scheme the server does not believe is told of once."""
    app = wrap(site(), ledger)
    with caplog.at_level(logging.WARNING, "gem_consent"):
        for _ in range(3):
            get(app, headers={"x-forwarded-proto": "https"}, scheme="http")
    assert [record.message[:32] for record in caplog.records] == ["X-Forwarded-Proto says https and"]


@pytest.mark.parametrize(
    ("options", "scheme", "forwarded"),
    [({"https_only": True}, "http", "https"), ({}, "https", "https"), ({}, "http", "http")],
)
def test_nothing_hidden_no_warning(
    ledger: Path, caplog: pytest.LogCaptureFixture, options: Any, scheme: str, forwarded: str
) -> None:
    """Where the scheme is known or decided there is nothing to warn of."""
    with caplog.at_level(logging.WARNING, "gem_consent"):
        get(wrap(site(), ledger, **options), headers={"x-forwarded-proto": forwarded}, scheme=scheme)
    assert caplog.records == []


def test_request_without_middleware_says_so() -> None:
    """Asking for the consent of a request that never came through says what to add."""
    with pytest.raises(ConfigurationError, match="did not pass through ConsentMiddleware: add it"):
        get_consent({"type": "http"})


@pytest.mark.parametrize("odd", [None, "request", object()])
def test_no_request_at_all(odd: object) -> None:
    """What is no request is refused likewise."""
    with pytest.raises(ConfigurationError, match="did not pass through ConsentMiddleware"):
        get_consent(odd)


def test_fastapi_reads_consent(ledger: Path) -> None:
    """In a FastAPI view the request is enough, with add_middleware as everybody writes it."""
    api = FastAPI()
    api.add_middleware(
        ConsentMiddleware, policy=make_policy(), secret_key=SECRET, ledger=f"sqlite:///{ledger}"
    )

    @api.get("/")
    async def index(request: Request) -> HTMLResponse:
        assert get_consent(request) == get_consent(request.scope)
        return HTMLResponse(PAGE if get_consent(request).allows("analytics") else "<p>denied</p>")

    answer = get(api)
    assert (answer.text, answer.header("cache-control")) == ("<p>denied</p>", "private")
    assert UNDECIDED.is_decided is False


def test_key_rotation_keeps_choices(tmp_path: Path) -> None:
    """With a newer key behind it, an older one still verifies."""
    old = Visitor(wrap(site(), tmp_path / "a.db"))
    old.post("grant_all")
    rotated = Visitor(wrap(site(), tmp_path / "a.db", secret_key=[SECRET, "n" * 40]))
    rotated.cookies = old.cookies
    answer: Answer = rotated.get()
    assert b"gem-notice-accept-all" not in answer.body


def test_wrong_setting_fails_the_startup() -> None:
    """Made inside the lifespan, as Starlette does, a weak secret is told in the lifespan's own words."""
    app = Starlette()
    app.add_middleware(
        ConsentMiddleware, policy=make_policy(), secret_key="weak", ledger="sqlite:///consent.db"
    )
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        said.append(message)

    async def start() -> None:
        await app({"type": "lifespan", "app": app, "state": {}}, receive, send)

    anyio.run(start)
    assert [message["type"] for message in said] == ["lifespan.startup.failed"]
    assert "secret_key needs 32 characters" in said[0]["message"]


def test_wrong_setting_answers_no_request() -> None:
    """Where there is no lifespan, each request fails with what is wrong."""

    async def serve() -> None:
        app = ConsentMiddleware(
            Starlette(), policy=make_policy(), secret_key="weak", ledger="sqlite:///consent.db"
        )
        await call(app)

    with pytest.raises(ConfigurationError, match="secret_key needs 32 characters"):
        anyio.run(serve)


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_outer_middleware_sees_the_route(ledger: Path, accept: str) -> None:
    """What the application notes in its scope reaches those further out, whatever the browser accepts."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["route"] = "/x"
        await site()(scope, receive, send)

    seen: list[Any] = []
    inner = wrap(app, ledger)

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)
        seen.append(scope.get("route"))

    get(outer, headers={"accept": accept, "accept-encoding": "gzip, br"})
    assert seen == ["/x"]


def test_second_middleware_stands_back(ledger: Path) -> None:
    """Installed twice, the outer one does the work, once."""
    answer = get(wrap(wrap(site(), ledger), ledger))
    assert answer.text.count('id="gem-notice"') == 1


def test_shared_state_leaks_nothing(ledger: Path) -> None:
    """Where a server hands one state to every request, each request still has its own visitor."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        allowed = get_consent(scope).allows("analytics")
        await site(str(allowed).encode(), kind="text/plain")(scope, receive, send)

    state: dict[str, Any] = {}
    wrapped = wrap(app, ledger)
    granted, stranger = Visitor(wrapped, state=state), Visitor(wrapped, state=state)
    granted.post("grant_all")
    assert [granted.get().text, stranger.get().text, granted.get().text] == ["True", "False", "True"]


class Connection:
    """What a server keeps of one request: its scope, and the way out (uvicorn's is made so)."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope
        self.sent: list[Message] = []

    async def send(self, message: Message) -> None:
        self.sent.append(message)


@pytest.mark.parametrize(
    "app",
    [
        site(),
        site([PAGE[:10], PAGE[10:50], PAGE[50:]]),
        site([PAGE[:10]]),
        site(b"<p>a fragment</p>"),
        site(b"{}", kind="application/json"),
        site(headers=[("cache-control", "public, max-age=60"), ("etag", '"1"')]),
    ],
    ids=["page", "chunks", "start of a page", "fragment", "json", "shared page"],
)
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_ended_request_needs_no_collector(ledger: Path, app: Any, accept: str) -> None:
    """Nothing of a request is left to the garbage collector, which would stop the server for it."""

    async def reading(scope: Any, receive: Any, send: Any) -> None:
        get_consent(scope)
        await app(scope, receive, send)

    async def main() -> None:
        for inner in (app, reading):
            connection = Connection(http_scope("/", "GET", {"accept": accept}))
            await wrap(inner, ledger)(connection.scope, receive, connection.send)
            assert connection.sent
            left = weakref.ref(connection)
            del connection
            assert left() is None

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    gc.disable()
    try:
        anyio.run(main)
    finally:
        gc.enable()


def test_ended_application_sends_nothing_more(ledger: Path) -> None:
    """What an application has left behind and sends once it has returned reaches nobody, and fails nobody."""
    kept: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        kept.append(send)
        await site()(scope, receive, send)

    answer = get(wrap(app, ledger))
    count = len(answer.messages)

    async def late() -> None:
        await kept[0]({"type": "http.response.body", "body": b"more"})

    anyio.run(late)
    assert len(answer.messages) == count
