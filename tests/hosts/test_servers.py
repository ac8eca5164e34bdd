"""Every framework under every server over real sockets, asked directly and through a proxy that ends TLS."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator

import httpx
import pytest
from asgi import mentions_vendor, rows
from websockets.sync.client import connect

from hosts.backstage import BARE
from hosts.conftest import Place
from hosts.content import BROKEN, DOWNLOAD, EVENTS, FRAGMENT, LOST
from hosts.driver import choose
from hosts.limits import PAIRS, able_pairs, limits_shown_by

PATIENCE_SECONDS = 10
# Django compresses a stream into many gzip members, of which httpx reads the first
STREAM = {"accept": "text/event-stream", "accept-encoding": "identity"}
UPGRADE = {
    "connection": "upgrade",
    "upgrade": "websocket",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version": "13",
}
PAST = {BARE.decode(): "1"}


def only(*abilities: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("place", able_pairs(*abilities), ids="-".join, indirect=True)


@pytest.fixture(params=["direct", "proxy"])
def door(request: pytest.FixtureRequest) -> str:
    """Whether the server is asked itself, or the proxy."""
    return str(request.param)


@pytest.fixture
def client(place: Place, door: str) -> Iterator[httpx.Client]:
    """A visitor's browser."""
    with browser(place, door) as one:
        yield one


def browser(place: Place, door: str = "direct", **headers: str) -> httpx.Client:
    return httpx.Client(
        base_url=place.secure if door == "proxy" else place.address,
        timeout=PATIENCE_SECONDS,
        trust_env=False,
        verify=place.trust,
        headers={"accept": "text/html,*/*;q=0.8"} | headers,
    )


def backstage(place: Place, word: str) -> str:
    return httpx.get(f"{place.address}/backstage/{word}", trust_env=False, timeout=30).text


@pytest.mark.parametrize("path", ["/", "/streamed", "/shared", "/page-file", "/cookies"])
def test_pages_arrive_whole(client: httpx.Client, path: str) -> None:
    """A page, a file of one too, arrives with the notice, once, compressed or not."""
    for encoding in ("identity", "gzip"):
        answer = client.get(path, headers={"accept-encoding": encoding})
        assert answer.status_code == 200
        assert (answer.text.count('id="gem-notice"'), answer.text.count("</html>")) == (1, 1)


@only("compression")
def test_compressed_pages_stay_so(client: httpx.Client) -> None:
    """What the framework has compressed arrives compressed."""
    assert client.get("/", headers={"accept-encoding": "gzip, br"}).headers["content-encoding"] == "gzip"


def test_choice_is_kept(place: Place, door: str, client: httpx.Client) -> None:
    """Refused, granted and withdrawn, each is honoured at once and recorded, in a cookie for the scheme."""
    before = len(rows(place.ledger))
    for decision, is_granted in (("deny_all", False), ("grant_all", True), ("withdraw", False)):
        answer = choose(client, decision)
        assert answer.status_code == 200, answer.text
        assert bool(mentions_vendor(client.get("/").text)) is is_granted
        assert client.get("/measured").json() == {"measured": is_granted}
        assert ("_ga" in client.get("/cookies").headers["set-cookie"]) is is_granted
    assert [row["state"] for row in rows(place.ledger)[before:]] == ["refused", "given", "withdrawn"]
    (line,) = [line for line in answer.headers.get_list("set-cookie") if "; HttpOnly" in line]
    assert line.startswith("__Host-gem_consent=" if door == "proxy" else "gem_consent=")
    assert ("; Secure" in line) is (door == "proxy")


def test_everything_else_passes(client: httpx.Client) -> None:
    """Fragments, files and streams of events arrive as they are."""
    for header in ({}, {"hx-request": "true"}, {"turbo-frame": "row"}):
        assert client.get("/fragment", headers=header).text == FRAGMENT
    assert client.get("/download").content == DOWNLOAD
    body = client.get("/events", headers=STREAM).content
    assert EVENTS[0].encode() in body
    assert body == client.get("/events", headers=STREAM | PAST).content


def test_whole_pages_are_known_by_bytes(client: httpx.Client) -> None:
    """HTMX and Turbo that fetch a whole page get it with the notice."""
    for header in ("hx-request", "turbo-frame", "x-requested-with"):
        assert client.get("/", headers={header: "true"}).text.count('id="gem-notice"') == 1


@only("ranges")
def test_ranges_pass(client: httpx.Client) -> None:
    """A part of a file is the part that was asked for."""
    answer = client.get("/download", headers={"range": "bytes=10-19"})
    assert (answer.status_code, answer.content) == (206, DOWNLOAD[10:20])


def test_head_has_no_body(client: httpx.Client) -> None:
    """HEAD is answered without a body, for the library's own pages and for the site's."""
    assert client.head("/privacy-choices").content == b""
    assert client.head("/").content == b""
    assert client.get("/").status_code == 200


@only("bodies")
def test_body_reaches_site(client: httpx.Client) -> None:
    """What is posted to the site's own address arrives there whole."""
    assert echo(client, b"onetwo") == b"onetwo"


@only("bodies", "chunked bodies")
def test_chunked_body_reaches_site(client: httpx.Client) -> None:
    """So does a body whose length nobody knows before its end."""
    assert echo(client, iter([b"one", b"two"])) == b"onetwo"


def echo(client: httpx.Client, content: bytes | Iterator[bytes]) -> bytes:
    return client.post("/echo", content=content, headers={"content-type": "text/plain"}).content


@pytest.mark.parametrize(("path", "status", "content"), [("/nowhere", 404, LOST), ("/broken", 500, BROKEN)])
def test_error_pages_arrive(
    place: Place, door: str, client: httpx.Client, path: str, status: int, content: str
) -> None:
    """An error page arrives with the notice, and the server goes on."""
    answer = client.get(path)
    assert (answer.status_code, answer.text.count('id="gem-notice"')) == (status, 1)
    assert answer.text.endswith(content[-20:])
    # a server may close the connection on which an application failed
    with browser(place, door) as another:
        assert another.get("/").status_code == 200


def test_first_event_is_not_held_back(place: Place, client: httpx.Client) -> None:
    """The first event of a stream arrives while the site still waits to make the others."""
    with client.stream("GET", "/held", headers=STREAM) as answer:
        lines = answer.iter_lines()
        assert next(lines) == f"data: {EVENTS[0]}"
        backstage(place, "go")
        assert [line for line in lines if line] == [f"data: {event}" for event in EVENTS[1:]]


def leave(place: Place, door: str = "direct", **headers: str) -> str:
    """Leave a stream after its first event; give how it ended for the site."""
    with browser(place, door, **headers) as one, one.stream("GET", "/endless") as answer:
        assert next(answer.iter_lines()) == "data: tick"
    return backstage(place, "notes")


@only("endings")
def test_leaving_ends_the_stream(place: Place, door: str) -> None:
    """A visitor who leaves a stream ends it."""
    assert leave(place, door) == "ended early"


def test_visitor_may_hang_up(place: Place, client: httpx.Client) -> None:
    """Somebody who hangs up at once does no harm to the next."""
    for path in ("/streamed", "/events", "/", "/privacy-choices"):
        with socket.create_connection(("127.0.0.1", int(place.address.rpartition(":")[2]))) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n".encode())
    assert client.get("/streamed").text.endswith("</html>")


@only("tasks")
def test_background_task_runs(place: Place, client: httpx.Client) -> None:
    """What the site does after its answer is done."""
    assert client.get("/background").text.count('id="gem-notice"') == 1
    assert backstage(place, "notes") == place.framework


@only("websockets")
def test_websockets_pass(place: Place) -> None:
    """A websocket opens and answers."""
    assert "hello" in talk(place)


@only("websockets", "proxied websockets", "steady websockets")
def test_websockets_pass_through_proxy(place: Place) -> None:
    """So it does through the proxy."""
    assert "hello" in talk(place, "proxy")


def talk(place: Place, door: str = "direct", **headers: str) -> str:
    """Say hello in a websocket; give what is heard."""
    address, trust = (place.secure, place.trust) if door == "proxy" else (place.address, None)
    with connect(
        f"{address.replace('http', 'ws')}/socket", proxy=None, ssl=trust, additional_headers=headers
    ) as one:
        one.send('{"message": "hello"}')
        return str(one.recv(PATIENCE_SECONDS))


# What the limits say is true of the sites without the middleware


def bare(place: Place, path: str, **headers: str) -> httpx.Response:
    with browser(place, **PAST) as one:
        return one.get(path, headers=headers)


def post_bare(place: Place, content: bytes | Iterator[bytes]) -> bytes:
    with browser(place, **PAST) as one:
        return echo(one, content)


def is_refused(place: Place, door: str = "direct") -> bool:
    with browser(place, door, **PAST, **UPGRADE) as one:
        try:
            return one.get("/socket").status_code >= 400
        except httpx.RemoteProtocolError:
            return True


PROOFS: dict[str, Callable[[Place], bool]] = {
    "ranges": lambda place: bare(place, "/download", range="bytes=1-2").content == DOWNLOAD,
    "websockets": is_refused,
    "proxied websockets": lambda place: is_refused(place, "proxy"),
    "compression": lambda place: "content-encoding" not in bare(place, "/").headers,
    "bodies": lambda place: post_bare(place, b"onetwo") != b"onetwo",
    "chunked bodies": lambda place: post_bare(place, iter([b"onetwo"])) == b"",
    "endings": lambda place: leave(place, **PAST) == "went on",
}


def shown(server: str, framework: str) -> list[str]:
    return [ability for ability in limits_shown_by(server, framework) if ability in PROOFS]


@pytest.mark.parametrize("place", [pair for pair in PAIRS if shown(*pair)], ids="-".join, indirect=True)
def test_limits_are_not_ours(place: Place) -> None:
    """What a framework or a server cannot do, it cannot do without the middleware."""
    for ability in shown(place.server, place.framework):
        assert PROOFS[ability](place), ability
