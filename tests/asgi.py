"""What the request and response tests share: a driver that plays the server, small sites, and a visitor."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio
import html5lib

from gem_consent import ConsentMiddleware, Controller, GoogleAnalytics, Policy, Service, Tracker

App = Callable[[Any, Any, Any], Awaitable[None]]
HeaderList = list[tuple[bytes, bytes]]

SECRET = "a secret that only these tests know"
START = 1_795_500_000
NAVIGATION = {"accept": "text/html,*/*;q=0.8", "sec-fetch-dest": "document"}
PAGE = (
    b'<!doctype html><html lang="fr"><head><meta charset="utf-8"><title>Accueil</title></head>'
    b"<body><main><p>Bonjour</p></main></body></html>"
)
VENDOR_HOSTS = ("googletagmanager.com", "google-analytics.com", "analytics.google.com", "video.example.net")


class Clock:
    """A clock that the test owns."""

    def __init__(self, seconds: float = START) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        """Give the time."""
        return self.seconds


@dataclass
class Answer:
    """What the server was given to send, and what a client makes of it."""

    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def start(self) -> dict[str, Any]:
        """The one message that starts the response."""
        (start,) = [m for m in self.messages if m["type"] == "http.response.start"]
        return start

    @property
    def status(self) -> int:
        """The status code."""
        status: int = self.start["status"]
        return status

    @property
    def headers(self) -> HeaderList:
        """The headers as they were sent."""
        return list(self.start.get("headers", []))

    def all(self, name: str) -> list[str]:
        """Give every value of a header."""
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == name.encode()]

    def header(self, name: str) -> str | None:
        """Give the only value of a header, or ``None``."""
        found = self.all(name)
        assert len(found) < 2, found
        return found[0] if found else None

    @property
    def body(self) -> bytes:
        """The bytes of the body."""
        return b"".join(m.get("body", b"") for m in self.messages if m["type"] == "http.response.body")

    @property
    def text(self) -> str:
        """The body as text, decompressed."""
        content = gzip.decompress(self.body) if self.header("content-encoding") == "gzip" else self.body
        return content.decode()

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def is_complete(self) -> bool:
        """Whether the last message of the body was sent."""
        bodies = [m for m in self.messages if m["type"] == "http.response.body"]
        return bool(bodies) and not bodies[-1].get("more_body", False)

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that are set, by name, with their attributes; those that are deleted are left out."""
        pairs = (line.split("=", 1) for line in self.all("set-cookie"))
        return {name: value for name, value in pairs if "Max-Age=0" not in value}

    @property
    def deleted(self) -> set[str]:
        """The names of the cookies that are deleted."""
        return {line.split("=", 1)[0] for line in self.all("set-cookie") if "Max-Age=0" in line}


def http_scope(path: str, method: str, headers: dict[str, str], **changes: Any) -> dict[str, Any]:
    """Make the scope that a server would, of a request for this path and query."""
    bare, _, query = path.partition("?")
    given = {"host": "www.example.com", **headers}
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": bare,
        "raw_path": bare.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
        "client": ("203.0.113.77", 50_000),
        "server": ("127.0.0.1", 8000),
        "state": {},
        **changes,
    }


async def call(
    app: App,
    path: str = "/",
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: bytes | Sequence[bytes] = b"",
    **changes: Any,
) -> Answer:
    """Send one request as a server does, and check that what comes back is a response by the rules."""
    pieces = [body] if isinstance(body, bytes) else list(body)
    answer = Answer()
    is_answered = anyio.Event()

    async def receive() -> dict[str, Any]:
        if pieces:
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}
        # servers say so once the response is whole (ASGI, "Disconnect - receive event")
        await is_answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        answer.messages.append(dict(message))
        if answer.is_complete:
            is_answered.set()

    scope = http_scope(path, method, NAVIGATION | (headers or {}), **changes)
    await app(scope, receive, send)
    _check(answer, method)
    return answer


def _check(answer: Answer, method: str) -> None:
    kinds = [m["type"] for m in answer.messages if m["type"].startswith("http.response.")]
    if not kinds:
        return
    assert "http.response.start" in kinds
    bodies = [i for i, kind in enumerate(kinds) if kind != "http.response.debug"]
    assert kinds[bodies[0]] == "http.response.start", kinds
    assert all(type(k) is bytes and type(v) is bytes for k, v in answer.headers)
    if method != "HEAD" and answer.status != 304 and answer.is_complete:
        assert {int(length) for length in answer.all("content-length")} <= {len(answer.body)}


def get(app: App, path: str = "/", headers: dict[str, str] | None = None, **changes: Any) -> Answer:
    """Send one GET request from a loop of its own."""

    async def main() -> Answer:
        return await call(app, path, headers=headers, **changes)

    return anyio.run(main)


def request(app: App, path: str, method: str, headers: dict[str, str] | None = None, **more: Any) -> Answer:
    """Send one request from a loop of its own."""

    async def main() -> Answer:
        return await call(app, path, method, headers, **more)

    return anyio.run(main)


class Visitor:
    """A browser as far as cookies go: it keeps what is set for it, and sends it back."""

    def __init__(self, app: ConsentMiddleware, **scope: Any) -> None:
        self.app = app
        self.cookies: dict[str, str] = {}
        self.scope = scope

    def get(self, path: str = "/", headers: dict[str, str] | None = None) -> Answer:
        """Ask for a page."""
        return self._kept(get(self.app, path, self._headers(headers), **self.scope))

    def post(
        self,
        decision: str,
        *purposes: str,
        notice: str | None = None,
        headers: dict[str, str] | None = None,
        surface: str = "notice",
        return_to: str = "",
    ) -> Answer:
        """Send the form, as a browser sends one of this site's own pages."""
        digest = self.notice() if notice is None else notice
        fields = {"decision": decision, "notice": digest, "surface": surface, "return": return_to}
        pairs = list(fields.items())
        content = urlencode([*pairs, *(("purpose", purpose) for purpose in purposes)])
        return self.send(content, "application/x-www-form-urlencoded", headers)

    def json(self, decision: str, headers: dict[str, str] | None = None, **members: Any) -> Answer:
        """Send the decision as the script does."""
        content = json.dumps({"decision": decision, "notice": self.notice(), **members})
        return self.send(content, "application/json", headers)

    def send(
        self, content: str | bytes | Sequence[bytes], kind: str, headers: dict[str, str] | None = None
    ) -> Answer:
        """Send a body to the decision address."""
        body = content.encode() if isinstance(content, str) else content
        given = {"content-type": kind, "sec-fetch-site": "same-origin", **(headers or {})}
        given = self._headers({name: value for name, value in given.items() if value})
        return self._kept(request(self.app, self.app.site.path, "POST", given, body=body, **self.scope))

    def notice(self, language: str = "en") -> str:
        """Give the digest of the present notice."""
        return self.app.site.renderer.notices[language].digest

    def _headers(self, headers: dict[str, str] | None) -> dict[str, str]:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return ({"cookie": cookies} if cookies else {}) | (headers or {})

    def _kept(self, answer: Answer) -> Answer:
        for name in answer.deleted:
            self.cookies.pop(name, None)
        for name, value in answer.cookies.items():
            self.cookies[name] = value.partition(";")[0]
        return answer


def make_policy(**changes: Any) -> Policy:
    """Make the policy of a site with Google Analytics and a video player of its own declaring."""
    video = Service(
        id="video",
        name="Video",
        purpose="media",
        provider="Video Inc.",
        trackers=(Tracker("vid_*", timedelta(days=30), "The viewer's number."),),
        hosts={"script-src": ("https://video.example.net",)},
        start="document.title='https://video.example.net';",
    )
    fields: dict[str, Any] = {
        "controller": Controller(name="Example", contact="dpo@example.com"),
        "privacy_url": "/privacy",
        "services": (GoogleAnalytics("G-XXXXXXXXXX"), video),
    }
    return Policy(**(fields | changes))


def wrap(app: App, ledger: Path, **options: Any) -> ConsentMiddleware:
    """Put a site behind the middleware, with its ledger in this file."""
    given = {"policy": make_policy(), "secret_key": SECRET, "clock": Clock(), **options}
    return ConsentMiddleware(app, ledger=f"sqlite:///{ledger}", **given)


def site(
    body: bytes | Iterable[bytes] = PAGE,
    headers: Iterable[tuple[str, str]] = (),
    *,
    status: int = 200,
    kind: str | None = "text/html; charset=utf-8",
    is_sized: bool = True,
    **start: Any,
) -> App:
    """Make a site that answers everything with these bytes, one message a chunk."""
    chunks = [body] if isinstance(body, bytes) else list(body)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sent = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        if kind is not None:
            sent.insert(0, (b"content-type", kind.encode()))
        if is_sized:
            sent.append((b"content-length", str(sum(map(len, chunks))).encode()))
        await send({"type": "http.response.start", "status": status, "headers": sent, **start})
        bodies = [b""] if scope["method"] == "HEAD" else chunks
        for at, chunk in enumerate(bodies, 1):
            await send({"type": "http.response.body", "body": chunk, "more_body": at < len(bodies)})

    return app


def rows(ledger: Path) -> list[dict[str, Any]]:
    """Give the ledger's events as they lie in the file; none where there is no file yet."""
    if not ledger.exists():
        return []
    with closing(sqlite3.connect(ledger)) as connection:
        connection.row_factory = sqlite3.Row
        found = connection.execute("SELECT * FROM events ORDER BY position").fetchall()
    return [dict(row) | {"purposes": json.loads(row["purposes"])} for row in found]


def parse(html: str | bytes) -> Any:
    """Parse a document as browsers do, and refuse every parse error."""
    parser = html5lib.HTMLParser(html5lib.getTreeBuilder("etree"), strict=False, namespaceHTMLElements=False)
    tree = parser.parse(html)
    assert not parser.errors, parser.errors
    return tree


def mentions_vendor(text: str) -> list[str]:
    """Give the vendor hosts that a text names."""
    return [host for host in VENDOR_HOSTS if host in text]
