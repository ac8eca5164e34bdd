"""Real servers over real sockets: the same applications behind the middleware in each of them."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from asgi import mentions_vendor, parse, rows
from websockets.sync.client import connect

from hosts.content import DOWNLOAD, EVENTS, FRAGMENT
from hosts.served import SERVERS, served

PAIRS = [
    (server, framework)
    for server in SERVERS
    for framework in ("starlette", "django")
    # Django runs on asyncio alone
    if (server, framework) != ("hypercorn-trio", "django")
]
LIFESPAN = [server for server in SERVERS if server != "daphne"]
Place = tuple[str, Path]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str], Place]]:
    """Starts a server once for all its tests."""
    with ExitStack() as stack:

        @cache
        def serve(server: str, framework: str) -> Place:
            folder = tmp_path_factory.mktemp(server)
            return stack.enter_context(served(server, framework, folder)), folder / "consent.db"

        yield serve


@pytest.fixture(params=PAIRS, ids="-".join, scope="module")
def place(request: pytest.FixtureRequest, start: Callable[[str, str], Place]) -> Place:
    """The address of an application in a server, and its ledger."""
    return start(*request.param)


@pytest.fixture
def client(place: Place) -> Iterator[httpx.Client]:
    """A visitor's connection."""
    with httpx.Client(base_url=place[0], timeout=30, trust_env=False, headers={"accept": "text/html"}) as one:
        yield one


def decide(client: httpx.Client, decision: str) -> httpx.Response:
    notice = client.get("/privacy-choices/state").json()["notice"]
    headers = {"sec-fetch-site": "same-origin"}
    return client.post("/privacy-choices", json={"decision": decision, "notice": notice}, headers=headers)


@pytest.mark.parametrize("path", ["/", "/streamed", "/shared", "/cookies"])
def test_pages_arrive_whole(client: httpx.Client, path: str) -> None:
    """A page arrives with the notice and its true length, compressed or not."""
    for encoding in ("identity", "gzip"):
        answer = client.get(path, headers={"accept-encoding": encoding})
        assert answer.status_code == 200
        parse(answer.text)
        assert answer.text.count('id="gem-notice"') == 1


def test_choice_is_kept(place: Place, client: httpx.Client) -> None:
    """Refused, granted and withdrawn, each is honoured at once and recorded."""
    before = len(rows(place[1]))
    for decision, is_granted in (("deny_all", False), ("grant_all", True), ("withdraw", False)):
        answer = decide(client, decision)
        assert answer.status_code == 200, answer.text
        assert bool(mentions_vendor(client.get("/").text)) is is_granted
        assert client.get("/measured").json() == {"measured": is_granted}
    assert [row["state"] for row in rows(place[1])[before:]] == ["refused", "given", "withdrawn"]


def test_everything_else_passes(client: httpx.Client) -> None:
    """Fragments, files and streams of events arrive as they are."""
    assert client.get("/fragment").text == FRAGMENT
    assert client.get("/download").content == DOWNLOAD
    # Django compresses a stream into many gzip members, of which httpx reads the first
    plain = {"accept-encoding": "identity"}
    assert client.get("/events", headers=plain).text == "".join(f"data: {event}\n\n" for event in EVENTS)


def test_file_is_page_too(place: Place, client: httpx.Client) -> None:
    """A page that is sent as a file, which servers may do by themselves, holds the notice."""
    assert client.get("/page-file").text.count('id="gem-notice"') == 1


def test_head_has_no_body(client: httpx.Client) -> None:
    """HEAD is answered without a body, for the library's own pages and for the site's."""
    assert client.head("/privacy-choices").content == b""
    assert client.head("/").content == b""


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/broken", 500)])
def test_error_pages_arrive(client: httpx.Client, path: str, status: int) -> None:
    """An error page arrives with the notice, and the server goes on."""
    answer = client.get(path)
    assert (answer.status_code, answer.text.count('id="gem-notice"')) == (status, 1)
    # a server may close the connection on which an application failed
    assert httpx.get(client.base_url, trust_env=False).status_code == 200


def test_visitor_may_hang_up(place: Place, client: httpx.Client) -> None:
    """Somebody who hangs up at once does no harm to the next."""
    parts = urlsplit(place[0])
    for path in ("/streamed", "/events", "/"):
        with socket.create_connection((str(parts.hostname), int(parts.port or 0))) as one:
            one.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n".encode())
    assert client.get("/streamed").text.endswith("</html>")


@pytest.mark.parametrize("server", ["uvicorn", "daphne"])
def test_forwarded_https_is_taken(start: Callable[[str, str], Place], server: str) -> None:
    """Where the server takes the scheme from a proxy that it trusts, the cookie is an https cookie."""
    address, _ = start(server, "starlette")
    headers = {"x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.7", "host": "www.example.com"}
    headers["sec-fetch-site"] = "same-origin"
    with httpx.Client(base_url=address, headers=headers, trust_env=False) as client:
        answer = client.post("/privacy-choices", json={"decision": "deny_all"})
    lines = answer.headers.get_list("set-cookie")
    assert any(line.startswith("__Host-gem_consent=") and "; Secure" in line for line in lines)


@pytest.mark.parametrize("server", SERVERS)
def test_websockets_pass(start: Callable[[str, str], Place], server: str) -> None:
    """A websocket opens and answers in every server."""
    address, _ = start(server, "starlette")
    with connect(address.replace("http", "ws") + "/socket", proxy=None) as socket_:
        socket_.send("hello")
        assert socket_.recv() == "hello"


@pytest.mark.parametrize("server", LIFESPAN)
def test_ledger_is_closed_in_order(server: str, tmp_path: Path) -> None:
    """Once the server has stopped, a checkpoint is signed over all that was recorded, Django's too."""
    framework = "starlette" if server == "hypercorn-trio" else "django"
    with (
        served(server, framework, tmp_path) as address,
        httpx.Client(base_url=address, trust_env=False, timeout=30) as client,
    ):
        assert decide(client, "deny_all").status_code == 200
    with closing(sqlite3.connect(tmp_path / "consent.db")) as database:
        assert database.execute("SELECT max(size) FROM checkpoints").fetchone() == (1,)
