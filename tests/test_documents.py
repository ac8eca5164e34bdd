"""Documents through the middleware: what is put into them, what their headers say, and what is left alone."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from asgi import (
    NAVIGATION,
    PAGE,
    START,
    Answer,
    Clock,
    Visitor,
    call,
    get,
    make_policy,
    mentions_vendor,
    parse,
    request,
    rows,
    site,
    wrap,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from gem_consent import ConsentMiddleware, caching, get_consent, rewritable
from gem_consent.access import exchange_of
from gem_consent.exchange import Exchange
from gem_consent.rendering import View

PUBLIC = ("Cache-Control", "public, max-age=600")
PROFILE = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "consent.db"


@pytest.fixture
def plain(ledger: Path) -> Iterator[ConsentMiddleware]:
    """One private page behind the middleware."""
    app = wrap(site(), ledger)
    yield app
    app.site.recorder.close()


def reading(kind: str = "application/json", *headers: tuple[str, str]) -> Any:
    """Make a site that reads the consent before it answers."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        allowed = get_consent(scope).allows("analytics")
        await site(f'{{"allowed": {str(allowed).lower()}}}'.encode(), headers, kind=kind)(
            scope, receive, send
        )

    return app


def decided(app: ConsentMiddleware, *, grants: bool) -> Visitor:
    """Make a visitor who has chosen."""
    visitor = Visitor(app)
    assert visitor.json("grant_all" if grants else "deny_all").status == 200
    return visitor


def test_notice_is_first_in_body(plain: ConsentMiddleware) -> None:
    """The notice is the first element of the body, style and script are in the head."""
    tree = parse(get(plain).body)
    assert tree.find("body")[0].get("id") == "gem-notice"
    assert [child.tag for child in tree.find("head")] == ["style", "script", "meta", "title"]


def test_shown_notice_names_buttons(plain: ConsentMiddleware) -> None:
    """The first layer has the two buttons, and the control is there but hidden."""
    tree = parse(get(plain).body)
    ids = [button.get("id") for button in tree.iter("button")]
    assert ids[:2] == ["gem-notice-accept-all", "gem-notice-reject-all"]
    assert [s.get("hidden") for s in tree.iter("section") if s.get("id") == "gem-settings"] == [""]


def test_notice_goes_after_choice(plain: ConsentMiddleware) -> None:
    """Once chosen, the notice is gone and the control is visible."""
    tree = parse(decided(plain, grants=False).get().body)
    sections = {s.get("id"): s.get("hidden") for s in tree.iter("section")}
    assert sections == {"gem-settings": None}


def test_insertion_is_all_ascii(ledger: Path) -> None:
    """A latin-1 page with accents keeps its own bytes, and gains ASCII only."""
    body = "<!doctype html><html lang=fr><head><title>été</title></head><body>à</body></html>".encode(
        "latin-1"
    )
    answer = get(wrap(site(body, kind="text/html; charset=iso-8859-1"), ledger))
    parse(answer.body.decode("latin-1"))
    assert "été".encode("latin-1") in answer.body
    assert {byte for byte in answer.body if byte > 127} == {0xE9, 0xE0}


@PROFILE
@given(cuts=st.lists(st.integers(0, len(PAGE)), max_size=8))
def test_chunks_do_not_matter(plain: ConsentMiddleware, cuts: list[int]) -> None:
    """The same document leaves under any chunking, and the length is right."""
    edges = [0, *sorted(cuts), len(PAGE)]
    chunks = [PAGE[a:b] for a, b in pairwise(edges)]
    plain.app = site()
    whole = get(plain).body
    plain.app = site(chunks)
    assert get(plain).body == whole


def test_unsized_stream_stays_unsized(ledger: Path) -> None:
    """A streamed page without a length gets none, and is changed all the same."""
    answer = get(wrap(site([PAGE[:30], PAGE[30:]], is_sized=False), ledger))
    assert answer.header("content-length") is None
    assert b"gem-notice" in answer.body


def test_head_leaves_with_first_chunk(ledger: Path) -> None:
    """Nothing is held back past the chunk in which the head opens."""
    seen: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]}
        )
        for chunk in (b"<!doctype html><html>", b"<head><title>x</title></head><body>", b"more"):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            seen.append(len(sent))
        await send({"type": "http.response.body", "body": b""})

    sent: list[Any] = []
    wrapped = wrap(app, ledger)

    async def main() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"accept", b"text/html")]}

        async def send(message: Any) -> None:
            sent.append(message)

        await wrapped(scope, None, send)  # type: ignore[arg-type]

    anyio.run(main)
    assert seen == [0, 2, 3]


def test_missing_scheme_and_state(plain: ConsentMiddleware) -> None:
    """A scope with neither scheme nor state is served."""
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def main() -> None:
        await plain(scope, None, send)  # type: ignore[arg-type]

    anyio.run(main)
    assert b"gem-notice" in sent[1]["body"]
    assert isinstance(scope["state"]["gem_consent"], Exchange)


@pytest.mark.parametrize("is_streamed", [True, False])
def test_inner_gzip_is_rewritten(ledger: Path, is_streamed: bool) -> None:
    """What Starlette's GZipMiddleware compressed is changed and compressed again, without a length."""
    page = PAGE.replace(b"Bonjour", b"Bonjour " * 200)

    async def endpoint(_: Any) -> Response:
        if not is_streamed:
            return HTMLResponse(page)
        return StreamingResponse(iter([page[:40], page[40:900], page[900:]]), media_type="text/html")

    inner = GZipMiddleware(Starlette(routes=[Route("/", endpoint)]))
    answer = get(wrap(inner, ledger), headers={"accept-encoding": "br, gzip, zstd"})
    assert answer.header("content-encoding") == "gzip"
    assert answer.header("content-length") is None
    tree = parse(answer.text)
    assert tree.find("body")[0].get("id") == "gem-notice"


@PROFILE
@given(cuts=st.lists(st.integers(1, 200), max_size=6))
def test_gzip_chunks_do_not_matter(plain: ConsentMiddleware, cuts: list[int]) -> None:
    """A compressed document is changed under any chunking of its compressed bytes."""
    packed = gzip.compress(PAGE)
    edges = [0, *sorted(min(cut, len(packed)) for cut in cuts), len(packed)]
    chunks = [packed[a:b] for a, b in pairwise(edges)]
    plain.app = site()
    whole = get(plain).text
    plain.app = site(chunks, [("content-encoding", "gzip")])
    assert get(plain).text == whole


def test_false_gzip_stays_as_is(ledger: Path) -> None:
    """Bytes that say gzip and are not leave as they came."""
    answer = get(wrap(site(PAGE, [("content-encoding", "gzip")]), ledger))
    assert answer.body == PAGE


def test_compressed_fragment_stays_itself(ledger: Path) -> None:
    """A compressed fragment leaves as the very bytes that came, length and all."""
    packed = gzip.compress(b"<p>a fragment</p>")
    answer = get(wrap(site([packed[:12], packed[12:]], [("content-encoding", "gzip")]), ledger))
    assert answer.body == packed
    assert answer.header("content-length") == str(len(packed))


def test_head_request_drops_length(ledger: Path) -> None:
    """HEAD gets the headers of the changed document, without the length that nobody knows."""
    app = wrap(site(headers=[("ETag", '"v1"'), ("Last-Modified", "Mon, 23 Nov 2026 10:00:00 GMT")]), ledger)
    head, full = request(app, "/", "HEAD"), get(app)
    left = {b"content-length"}
    assert head.header("content-length") is None
    assert [pair for pair in head.headers if pair[0] not in left] == [
        pair for pair in full.headers if pair[0] not in left
    ]


@pytest.mark.parametrize("cache", ["public, max-age=60", "no-cache"])
def test_head_of_fragment_freshens_nothing(ledger: Path, cache: str) -> None:
    """HEAD, without a body to tell by, speaks of a document: the validators differ from the fragment's own.

    A cache that holds the fragment takes it for stale then, and changes none of its headers (RFC 9111,
    section 4.3.5); asked with either tag, the application itself says whether it still holds.
    """
    seen: list[str | None] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked = dict(scope["headers"]).get(b"if-none-match")
        seen.append(asked and asked.decode())
        headers = [("ETag", '"v1"'), ("Cache-Control", cache)]
        fragment = site(b"<p>Hello</p>", headers, status=304 if asked == b'"v1"' else 200)
        await fragment(scope, receive, send)

    wrapped = wrap(app, ledger)
    head, full = request(wrapped, "/", "HEAD"), get(wrapped)
    tag = head.header("etag")
    assert full.header("etag") == '"v1"' != tag
    assert (head.header("content-length"), full.body) == (None, b"<p>Hello</p>")
    by_mark = get(wrapped, headers={"if-none-match": str(tag), "accept": "*/*"})
    by_own = get(wrapped, headers={"if-none-match": '"v1"', "accept": "*/*"})
    assert seen[2:] == ['"v1"', '"v1"']
    assert [(one.status, one.header("etag")) for one in (by_mark, by_own)] == [(304, tag), (304, '"v1"')]


@pytest.mark.parametrize("status", [200, 404, 410, 500, 503])
def test_error_pages_carry_notice(ledger: Path, status: int) -> None:
    """A whole page is changed under any status that has one."""
    answer = get(wrap(site(status=status), ledger))
    assert answer.status == status
    assert b"gem-notice" in answer.body


UNTOUCHED: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain text": (PAGE, {"kind": "text/plain"}),
    "json": (b"{}", {"kind": "application/json"}),
    "no type": (PAGE, {"kind": None}),
    "xhtml": (PAGE, {"kind": "application/xhtml+xml"}),
    "event stream": (b"data: x\n\n", {"kind": "text/event-stream", "is_sized": False}),
    "utf-16 by header": (PAGE.decode().encode("utf-16-le"), {"kind": "text/html; charset=UTF-16LE"}),
    "utf-16 by mark": (PAGE.decode().encode("utf-16"), {}),
    "redirect": (b"", {"status": 302, "headers": [("Location", "/x")]}),
    "no content": (b"", {"status": 204}),
    "reset content": (b"", {"status": 205}),
    "range": (PAGE[:9], {"status": 206, "headers": [("Content-Range", "bytes 0-8/99")]}),
    "range without its status": (PAGE, {"headers": [("Content-Range", "bytes 0-8/99")]}),
    "attachment": (PAGE, {"headers": [("Content-Disposition", 'Attachment; filename="a.html"')]}),
    "no-transform": (PAGE, {"headers": [("Cache-Control", "max-age=0, No-Transform")]}),
    "brotli": (b"\x0b\x02\x80", {"headers": [("Content-Encoding", "br")]}),
    "fragment": (b"<p>Hello</p>", {"headers": [("Last-Modified", "now")]}),
    "empty": (b"", {}),
}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_others_are_left_alone(ledger: Path, name: str) -> None:
    """What is no whole document of ours leaves byte by byte and header by header."""
    body, options = UNTOUCHED[name]
    inner = site(body, **options)
    assert get(wrap(inner, ledger)).messages == get(inner).messages


def test_inline_disposition_is_document(ledger: Path) -> None:
    """A page with an inline disposition is a page."""
    assert b"gem-notice" in get(wrap(site(headers=[("Content-Disposition", "inline")]), ledger)).body


@pytest.mark.parametrize("name", ["content-type", "Content-Type", "CONTENT-TYPE"])
def test_names_in_any_case(ledger: Path, name: str) -> None:
    """Header names are understood however they are written, and each stays single."""
    length = {"content-type": "content-length", "Content-Type": "Content-Length"}.get(name, "CONTENT-LENGTH")
    headers = [(name, "text/html"), (length, str(len(PAGE))), ("CACHE-CONTROL", "max-age=0")]
    answer = get(wrap(site(PAGE, headers, kind=None, is_sized=False), ledger))
    assert answer.header("content-length") == str(len(answer.body))
    assert (answer.header("cache-control"), answer.header("vary")) == ("private, max-age=0", "Cookie")


@pytest.mark.parametrize("gone", ["x-accel-expires", "surrogate-control", "last-modified", "accept-ranges"])
@pytest.mark.parametrize(
    "others", [[], [("etag", '"1"')], [("vary", "Cookie")], [("cache-control", "private")]]
)
def test_length_fits_whatever_headers_go(ledger: Path, gone: str, others: list[tuple[str, str]]) -> None:
    """Headers that go and come beside it leave ``Content-Length`` as one line, and the others as they are."""
    answer = get(wrap(site(headers=[(gone, "600"), *others]), ledger))
    assert answer.all("content-length") == [str(len(answer.body))]
    assert answer.all("content-type") == ["text/html; charset=utf-8"]
    assert answer.all(gone) == []


@pytest.mark.parametrize("name", ["content-length", "Content-Length"])
def test_each_length_fits(ledger: Path, name: str) -> None:
    """A page that tells its length more than once tells the new one each time: clients refuse two lengths."""
    answer = get(wrap(site(headers=[(name, str(len(PAGE)))] * 2), ledger))
    assert answer.all("content-length") == [str(len(answer.body))] * 3


def test_only_needed_headers_change(ledger: Path) -> None:
    """A changed document loses what was true of its old bytes, and nothing else."""
    stale = ["Last-Modified", "Accept-Ranges", "Content-MD5", "Digest", "Content-Digest", "Repr-Digest"]
    headers = [*((name, "x") for name in stale), ("X-Frame-Options", "DENY"), ("Link", "</a>; rel=preload")]
    answer = get(wrap(site(headers=headers), ledger))
    names = [name.decode().lower() for name, _ in answer.headers]
    assert sorted(names) == sorted(
        ["content-type", "x-frame-options", "link", "cache-control", "vary", "content-length"]
    )


@pytest.mark.parametrize(
    "headers",
    [[], [("X-Frame-Options", "DENY")], [("Link", "</a>"), ("Set-Cookie", "a=b")], [("ETag", '"1"')]],
)
def test_short_way_equals_long(ledger: Path, headers: list[tuple[str, str]]) -> None:
    """The short way for documents without meaningful headers says what caching.py says."""
    app = wrap(site(headers=headers), ledger)
    answer = get(app)
    inner = get(site(headers=headers)).headers
    suffix = app.site.renderer.suffix(View(is_shared=False))
    expected = caching.make_private(caching.changed_document(inner, suffix))
    length = (b"content-length", str(len(answer.body)).encode())
    assert sorted(answer.headers) == sorted(
        length if name == b"content-length" else (name, value) for name, value in expected
    )


@pytest.mark.parametrize("name", sorted(rewritable.PLAIN - {b"content-type", b"content-length"}))
@pytest.mark.parametrize("shape", ["page", "read page", "read data"])
def test_plain_headers_say_nothing(ledger: Path, name: bytes, shape: str) -> None:
    """With each header that counts as plain, the short way gives what the long one gives."""

    def ask(chunks: list[bytes], more: list[tuple[str, str]]) -> Answer:
        kind = "application/json" if shape == "read data" else "text/html; charset=utf-8"
        inner = site(chunks, [(name.decode(), "x"), *more], kind=kind)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if shape != "page":
                get_consent(scope)
            await inner(scope, receive, send)

        return get(wrap(app, ledger))

    short, long = ask([PAGE], []), ask([PAGE[:5], PAGE[5:]], [("X-Other", "1")])
    assert short.body == long.body
    assert sorted(short.headers) == sorted(pair for pair in long.headers if pair[0] != b"X-Other")


@pytest.mark.parametrize(
    ("kind", "letter", "other"),
    [
        ("text/html; charset=utf-8", "é".encode(), b"&#233;"),
        ('text/html;charset="UTF-8"', "é".encode(), b"&#233;"),
        ("text/html; charset=iso-8859-1", b"&#233;", "é".encode()),
        ("text/html", b"&#233;", "é".encode()),
    ],
)
@pytest.mark.parametrize("chunks", [1, 7])
def test_letters_take_what_the_charset_allows(
    ledger: Path, kind: str, letter: bytes, other: bytes, chunks: int
) -> None:
    """A page that says it is in UTF-8 gains text in it; any other encoding can carry character references."""
    step = -(-len(PAGE) // chunks)
    body = [PAGE[at : at + step] for at in range(0, len(PAGE), step)]
    page = get(wrap(site(body, kind=kind), ledger))
    assert letter in page.body
    assert other not in page.body


def test_same_cookies_are_read_anew_when_the_choice_ends(ledger: Path) -> None:
    """What a cookie line means is remembered, and no longer than the choice in it stands."""
    clock = Clock()
    app = wrap(site(), ledger, clock=clock)
    visitor = Visitor(app)
    visitor.post("grant_all")
    line = {"cookie": "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())}
    for seconds, has_tag in ((0, True), (1, True), (393 * 86_400 - 2, True), (393 * 86_400, False)):
        clock.seconds = START + seconds
        assert (b"googletagmanager" in get(app, headers=line).body) is has_tag
    clock.seconds = START + 5
    assert b"googletagmanager" in get(app, headers=line).body
    clock.seconds = START - 301
    assert b"googletagmanager" not in get(app, headers=line).body
    clock.seconds = START + 5
    # over http the cookie has another name
    assert b"googletagmanager" not in get(app, headers=line, scheme="http").body


def test_unknown_messages_pass_through(ledger: Path) -> None:
    """Message types and keys that are not ours go through, in their order."""
    trailers = {"type": "http.response.trailers", "headers": [(b"x", b"y")], "more_trailers": False}
    debug = {"type": "http.response.debug", "info": {"template": 1}}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(debug)
        await site(PAGE, trailers=True, odd="key")(scope, receive, send)
        await send(trailers)

    answer = get(wrap(app, ledger))
    assert (answer.messages[0], answer.messages[-1]) == (debug, trailers)
    assert (answer.start["trailers"], answer.start["odd"]) == (True, "key")


def seen_scope(ledger: Path, headers: dict[str, str], **changes: Any) -> dict[str, Any]:
    """Give the scope that the site sees behind the middleware."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await site()(scope, receive, send)

    get(wrap(app, ledger), headers=headers, **changes)
    scope: dict[str, Any] = seen[0]
    return scope


def test_file_extensions_are_hidden(ledger: Path) -> None:
    """A document is asked for as bytes; other extensions stay."""
    extensions: dict[str, Any] = {"http.response.pathsend": {}, "http.response.zerocopysend": {}, "tls": {}}
    assert seen_scope(ledger, {}, extensions=extensions)["extensions"] == {"tls": {}}


def test_images_may_be_files(ledger: Path) -> None:
    """What can be no document is asked for as it was, in the very scope."""
    extensions: dict[str, Any] = {"http.response.pathsend": {}}
    headers = {"accept": "image/avif,*/*", "sec-fetch-dest": "image", "accept-encoding": "br"}
    scope = seen_scope(ledger, headers, extensions=extensions)
    assert scope["extensions"] == extensions
    assert (b"accept-encoding", b"br") in scope["headers"]


def test_file_after_start_stays_itself(ledger: Path) -> None:
    """A page that is sent as a file all the same keeps its bytes, its start first, and no cache has it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]}
        )
        await send({"type": "http.response.pathsend", "path": "/x.html"})

    answer = get(wrap(app, ledger), headers={"accept": "image/*"}, extensions={"http.response.pathsend": {}})
    assert [m["type"] for m in answer.messages] == ["http.response.start", "http.response.pathsend"]
    assert answer.header("cache-control") == "private"


@pytest.mark.parametrize(
    ("accepted", "narrowed"),
    [
        ("gzip, deflate, br, zstd", "gzip"),
        ("br", None),
        ("br;q=1.0, gzip;q=0.8", "gzip"),
        ("gzip;q=0, br", None),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("*", None),
    ],
)
def test_encodings_are_narrowed(ledger: Path, accepted: str, narrowed: str | None) -> None:
    """The application is asked for gzip where the browser takes it, else for plain bytes."""
    headers = dict(seen_scope(ledger, {"accept-encoding": accepted})["headers"])
    assert headers.get(b"accept-encoding") == (narrowed.encode() if narrowed else None)


def test_servers_scope_stays_whole(ledger: Path) -> None:
    """The scope of the server keeps the headers it came with."""
    before: list[Any] = []

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        headers = list(scope["headers"])
        await wrap(site(), ledger)(scope, receive, send)
        before.append(headers == scope["headers"])

    get(outer, headers={"accept-encoding": "br", "if-modified-since": "x"})
    assert before == [True]


def test_unfinished_page_leaves_unfinished(ledger: Path) -> None:
    """What an application never finishes goes out as far as it got, and no further."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/html"), (b"set-cookie", b"vid_1=2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"<!doc", "more_body": True})

    answer = get(wrap(app, ledger))
    assert (answer.body, answer.is_complete, answer.cookies) == (b"<!doc", False, {})


def test_error_in_site_propagates(ledger: Path) -> None:
    """An exception of the site's reaches the server as it is."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("the site's own")

    with pytest.raises(LookupError, match="the site's own"):
        get(wrap(app, ledger))


def test_background_tasks_run(ledger: Path) -> None:
    """A background task runs after the changed document."""
    done: list[bool] = []

    async def task() -> None:
        done.append(True)

    async def endpoint(_: Any) -> Response:
        from starlette.background import BackgroundTask

        return HTMLResponse(PAGE, background=BackgroundTask(task))

    answer = get(wrap(Starlette(routes=[Route("/", endpoint)]), ledger))
    assert done
    assert b"gem-notice" in answer.body


@pytest.mark.rule("C8")
def test_private_page_says_so(plain: ConsentMiddleware) -> None:
    """A visitor's own document is private and varies by cookie."""
    answer = get(plain)
    assert (answer.header("cache-control"), answer.header("vary")) == ("private", "Cookie")


@pytest.mark.rule("P2", "P4", "P5", "P8")
def test_looking_leaves_no_trace(plain: ConsentMiddleware, ledger: Path) -> None:
    """Ten pages without a choice: no cookie, no row, no vendor's host (P2, P4, P5, P8)."""
    answers = [get(plain, f"/{number}") for number in range(10)]
    assert [a.all("set-cookie") for a in answers] == [[]] * 10
    assert rows(ledger) == []
    assert [mentions_vendor(a.text + str(a.headers)) for a in answers] == [[]] * 10


@pytest.mark.rule("R1")
def test_refusal_names_no_vendor(plain: ConsentMiddleware) -> None:
    """After a refusal there is still no vendor's host, and no cookie is set again."""
    answer = decided(plain, grants=False).get()
    assert mentions_vendor(answer.text + str(answer.headers)) == []
    assert answer.all("set-cookie") == []


@pytest.mark.rule("A1")
def test_only_granted_tags_come(plain: ConsentMiddleware) -> None:
    """The tags of what is granted are in the head, and no other (A1)."""
    visitor = Visitor(plain)
    visitor.json("save", purposes=["media"])
    assert mentions_vendor(visitor.get().text) == ["video.example.net"]


@pytest.mark.rule("C3")
def test_expired_choice_asks_again(plain: ConsentMiddleware) -> None:
    """When the choice is over, the notice is back and the tags are gone, whatever the browser kept."""
    visitor = decided(plain, grants=True)
    plain.site.clock.seconds += 394 * 86_400  # type: ignore[attr-defined]
    answer = visitor.get()
    assert b"gem-notice-accept-all" in answer.body
    assert mentions_vendor(answer.text) == []


def etag_of(visitor: Visitor) -> str:
    return visitor.get().header("etag") or ""


def tagged(ledger: Path, *headers: tuple[str, str], **options: Any) -> ConsentMiddleware:
    """Put a page with a validator behind the middleware; it answers 304 to its own tag."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked = dict(scope["headers"]).get(b"if-none-match", b"")
        since = b"if-modified-since" in dict(scope["headers"])
        status = 304 if b'"v1"' in asked or since else 200
        await site(
            b"" if status == 304 else PAGE, [("ETag", '"v1"'), *headers], status=status, is_sized=False
        )(scope, receive, send)

    return wrap(app, ledger, **options)


def test_tag_changes_with_grants(ledger: Path) -> None:
    """Undecided, refused and granted have tags of their own."""
    app = tagged(ledger)
    tags = {etag_of(Visitor(app)), etag_of(decided(app, grants=True)), etag_of(decided(app, grants=False))}
    assert len(tags) == 3
    assert all(tag.startswith('"v1-gc') for tag in tags)


def test_tag_changes_with_fingerprint(tmp_path: Path) -> None:
    """Another policy makes another tag."""
    one = tagged(tmp_path / "a.db")
    two = tagged(tmp_path / "b.db", policy=make_policy(version="2"))
    assert etag_of(Visitor(one)) != etag_of(Visitor(two))


def test_tag_ignores_who_and_when(ledger: Path) -> None:
    """Two visitors who chose the same at different times get the same tag."""
    app = tagged(ledger)
    first = etag_of(decided(app, grants=True))
    app.site.clock.seconds += 86_400  # type: ignore[attr-defined]
    assert etag_of(decided(app, grants=True)) == first


def test_own_tag_gives_304(ledger: Path) -> None:
    """A tag that was given comes back as 304 with the same tag, private as the page was."""
    app = tagged(ledger)
    tag = get(app).header("etag") or ""
    answer = get(app, headers={"if-none-match": tag})
    assert (answer.status, answer.header("etag"), answer.header("cache-control")) == (304, tag, "private")


def test_shared_tag_stays_shared(ledger: Path) -> None:
    """A 304 for the shared form keeps the shared tag, even where it repeats no Cache-Control."""
    tag = get(tagged(ledger, PUBLIC)).header("etag") or ""
    answer = get(tagged(ledger), headers={"if-none-match": tag})
    assert (answer.status, answer.header("etag")) == (304, tag)


@pytest.mark.parametrize("tag", ['"v1"', '"v1-gc00000000"', 'W/"v1-gcffffffff"'])
def test_other_tags_do_not(ledger: Path, tag: str) -> None:
    """Foreign and stale tags never reach the application on a navigation."""
    assert get(tagged(ledger), headers={"if-none-match": tag}).status == 200


def test_tag_before_choice_is_stale(ledger: Path) -> None:
    """After a choice, the tag of the page with the notice no longer answers."""
    app = tagged(ledger)
    visitor = Visitor(app)
    tag = etag_of(visitor)
    visitor.json("deny_all")
    assert visitor.get(headers={"if-none-match": tag}).status == 200


def test_modified_since_is_dropped(ledger: Path) -> None:
    """A date alone never makes a document 304: it does not know the choice."""
    assert get(tagged(ledger), headers={"if-modified-since": "Mon, 23 Nov 2026 10:00:00 GMT"}).status == 200


def test_modified_since_stays_for_files(ledger: Path) -> None:
    """A date keeps its meaning for what can be no document."""
    headers = {"accept": "*/*", "sec-fetch-dest": "script", "if-modified-since": "x"}
    assert (b"if-modified-since", b"x") in seen_scope(ledger, headers)["headers"]


def shared(ledger: Path, **options: Any) -> ConsentMiddleware:
    return wrap(site(headers=[PUBLIC]), ledger, **options)


def test_shared_bytes_are_everyones(ledger: Path) -> None:
    """A public page is the same for all, whatever the request says of the visitor."""
    app = shared(ledger)
    granted = decided(app, grants=True)
    answers = [
        get(app),
        granted.get(),
        get(app, headers={"accept-language": "en", "user-agent": "Googlebot", "sec-gpc": "1"}),
        get(app, headers={"cookie": "_ga=1; gem_consent_hint=x"}),
    ]
    assert len({(a.body, tuple(a.headers)) for a in answers}) == 1
    assert answers[0].header("cache-control") == "public, max-age=600"
    assert answers[0].header("vary") is None
    assert answers[0].all("set-cookie") == []


def test_shared_page_has_notice_only(ledger: Path) -> None:
    """The shared form holds notice and control, and no tag."""
    text = get(shared(ledger)).text
    assert text.count('id="gem-notice"') == text.count('id="gem-settings"') == 1
    assert mentions_vendor(text) == []


def test_shared_language_is_pages(ledger: Path) -> None:
    """On a shared page the page's own language counts, else the policy's."""
    page = PAGE.replace(b' lang="fr"', b"")
    assert "Tout accepter" in get(shared(ledger), headers={"accept-language": "en"}).text
    app = wrap(site(page, [PUBLIC]), ledger)
    assert "Accept all" in get(app, headers={"accept-language": "fr"}).text


def test_private_language_may_be_browsers(ledger: Path) -> None:
    """On a private page without a language the browser's counts, among those that the site names."""
    page = site(PAGE.replace(b' lang="fr"', b""))
    app = wrap(page, ledger, policy=make_policy(languages=["en", "fr"]))
    assert "Tout accepter" in get(app, headers={"accept-language": "fr-CA,en;q=0.5"}).text
    assert "Accept all" in get(wrap(page, ledger), headers={"accept-language": "fr-CA,en;q=0.5"}).text


@pytest.mark.parametrize("mode", ["shared", lambda scope: "shared"])
def test_site_may_say_shared(ledger: Path, mode: Any) -> None:
    """Pages are shared where the site says so, as a word or as a function."""
    app = wrap(site(), ledger, documents=mode)
    answer = decided(app, grants=True).get()
    assert answer.header("cache-control") is None
    assert b"gem-notice-accept-all" in answer.body


@pytest.mark.parametrize("given", ["private", None, "Shared", b"shared", 1])
def test_site_may_say_private(ledger: Path, given: Any) -> None:
    """A public page becomes private where the site says so, or says what nobody understands."""
    answer = get(shared(ledger, documents=lambda scope: given))
    assert answer.header("cache-control") == "private, max-age=600"


@pytest.mark.parametrize("asked", [{"accept": "application/json"}, {"sec-fetch-dest": "image"}])
@pytest.mark.parametrize("way", ["encoding", "file"])
def test_page_for_who_asked_for_none_is_private(ledger: Path, asked: dict[str, str], way: str) -> None:
    """A page that could not be changed, since no page was asked for, is kept for nobody who asks for one."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/html"), (b"cache-control", b"public, max-age=60")]
        is_file = "http.response.pathsend" in scope.get("extensions", {})
        if b"br" in dict(scope["headers"]).get(b"accept-encoding", b""):
            headers += [(b"content-encoding", b"br"), (b"vary", b"Accept-Encoding")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        kind = "http.response.pathsend" if is_file else "http.response.body"
        await send({"type": kind, "path": "/page.html"} if is_file else {"type": kind, "body": PAGE})

    given: dict[str, Any] = {"extensions": {"http.response.pathsend": {}}} if way == "file" else {}
    encoding = {"accept-encoding": "gzip, br"} if way == "encoding" else {}
    site = wrap(app, ledger)
    answer = get(site, headers={"accept": "*/*", **encoding, **asked}, **given)
    assert answer.header("cache-control") == "private, max-age=60"
    assert "Cookie" in (answer.header("vary") or "")
    page = get(site, headers={"accept": "text/html", **encoding}, **given)
    assert page.header("cache-control") == "public, max-age=60"
    assert b"gem-notice" in page.body


def test_reading_makes_json_private(ledger: Path) -> None:
    """Any read of the consent makes the response private, whatever its type and words."""
    app = wrap(reading("application/json", PUBLIC), ledger)
    answer = decided(app, grants=True).get()
    assert answer.json == {"allowed": True}
    assert (answer.header("cache-control"), answer.header("vary")) == ("private, max-age=600", "Cookie")


@pytest.mark.rule("C8")
def test_reading_makes_page_private(ledger: Path) -> None:
    """A public page that read the consent is the visitor's own, even where all are shared."""
    inner = site(headers=[PUBLIC])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        get_consent(scope)
        await inner(scope, receive, send)

    answer = get(wrap(app, ledger, documents="shared"))
    assert (answer.header("cache-control"), answer.header("vary")) == ("private, max-age=600", "Cookie")


def test_streamed_read_makes_private(ledger: Path) -> None:
    """A page that reads the consent after its start message, before its head opens, is private still."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/html"), (b"cache-control", b"public, max-age=60")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        get_consent(scope)
        await send({"type": "http.response.body", "body": PAGE})

    assert get(wrap(app, ledger)).header("cache-control") == "private, max-age=60"


@pytest.mark.parametrize("kind", ["text/html", "text/plain"])
def test_late_read_grants_nothing(ledger: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Once a response for everyone has begun, the consent read then grants nothing, and a warning says so."""
    seen: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", kind.encode()), (b"cache-control", b"public, max-age=60")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": PAGE, "more_body": True})
        seen.append(get_consent(scope).allows("analytics"))
        await send({"type": "http.response.body", "body": b""})

    with caplog.at_level(logging.WARNING, "gem_consent"):
        answer = decided(wrap(app, ledger), grants=True).get("/somebody")
    assert seen == [False]
    assert "read after a response for everyone" in caplog.text
    assert "get_consent(scope).allows" in caplog.text
    assert "somebody" not in "".join(caplog.messages)
    assert answer.header("cache-control") == "public, max-age=60"


def test_late_read_on_private_page(ledger: Path) -> None:
    """Where the response is the visitor's own anyway, the consent may be read at any time."""
    seen: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await site()(scope, receive, send)
        seen.append(get_consent(scope).allows("analytics"))

    decided(wrap(app, ledger), grants=True).get()
    assert seen == [True]


CSP = (
    "default-src 'self'; script-src 'self' 'nonce-abc'; style-src 'self'; connect-src 'self'; img-src 'self'"
)


def test_no_policy_is_invented(plain: ConsentMiddleware) -> None:
    """A page without a Content-Security-Policy gets none."""
    assert decided(plain, grants=True).get().header("content-security-policy") is None


def test_nonce_is_put_on_scripts(ledger: Path) -> None:
    """What is inserted carries the page's own nonce, and styles without one get a hash."""
    app = wrap(site(headers=[("Content-Security-Policy", CSP)]), ledger)
    answer = get(app)
    tree = parse(answer.body)
    assert [s.get("nonce") for s in tree.find("head").iter("script")] == ["abc"]
    assert "'sha256-" in (answer.header("content-security-policy") or "").split("style-src")[1]


@pytest.mark.rule("A6")
def test_each_response_keeps_its_nonce(ledger: Path) -> None:
    """Where the site makes a nonce for each response, what is inserted carries that of its own response."""
    made = iter(["first", "second"])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        policy = ("Content-Security-Policy", f"script-src 'nonce-{next(made)}'")
        await site(headers=[policy])(scope, receive, send)

    wrapped = wrap(app, ledger)
    found = [{one.get("nonce") for one in parse(get(wrapped).body).iter("script")} for _ in range(2)]
    assert found == [{"first"}, {"second"}]


def test_hash_is_added_without_nonce(ledger: Path) -> None:
    """Without a nonce the script's hash is added."""
    app = wrap(site(headers=[("Content-Security-Policy", "script-src 'self'")]), ledger)
    assert "script-src 'self' 'sha256-" in (get(app).header("content-security-policy") or "")


@pytest.mark.rule("P8", "A6")
def test_policy_names_granted_hosts_only(ledger: Path) -> None:
    """No vendor's host is in the policy but those of what was granted (P8, A6)."""
    app = wrap(site(headers=[("Content-Security-Policy", CSP)]), ledger)
    media = Visitor(app)
    media.json("save", purposes=["media"])
    policies = [
        v.get().header("content-security-policy") or "" for v in (Visitor(app), decided(app, grants=False))
    ]
    assert [mentions_vendor(policy) for policy in policies] == [[], []]
    assert mentions_vendor(media.get().header("content-security-policy") or "") == ["video.example.net"]


def test_shared_policy_names_all_hosts(ledger: Path) -> None:
    """A shared page lists the declared services' hosts: its header is one for all."""
    app = wrap(site(headers=[("Content-Security-Policy", CSP), PUBLIC]), ledger)
    assert "video.example.net" in (get(app).header("content-security-policy") or "")


def test_grant_under_policy_needs_reload(ledger: Path) -> None:
    """Where the page's policy lacks the hosts, the script is told that a grant reloads the page."""
    app = wrap(site(headers=[("Content-Security-Policy", CSP)]), ledger)
    (script,) = parse(get(app).body).find("head").iter("script")
    assert script.get("data-csp") == "1"


def test_open_policy_needs_no_reload(ledger: Path) -> None:
    """Where the page's policy lets the hosts through, a grant starts at once."""
    app = wrap(site(headers=[("Content-Security-Policy", "frame-ancestors 'none'")]), ledger)
    (script,) = parse(get(app).body).find("head").iter("script")
    assert script.get("data-csp") is None


COOKIES = [
    ("Set-Cookie", "vid_1=2; Path=/"),
    ("Set-Cookie", "vid_2=; Max-Age=0"),
    ("set-cookie", "session=abc; HttpOnly"),
]


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_undeclared_start_is_withheld(ledger: Path, kind: str) -> None:
    """A declared tracker that is not granted is taken out; deletions and other cookies stay."""
    answer = get(wrap(site(headers=COOKIES, kind=kind), ledger))
    assert answer.all("set-cookie") == ["vid_2=; Max-Age=0", "session=abc; HttpOnly"]


def test_granted_tracker_is_set(ledger: Path) -> None:
    """Once granted, the site's own code may set it."""
    answer = decided(wrap(site(headers=COOKIES), ledger), grants=True).get()
    assert answer.all("set-cookie") == [value for _, value in COOKIES]


def test_shared_page_withholds_for_all(ledger: Path) -> None:
    """A shared page sets a declared tracker for nobody: a cache would hand it to everyone."""
    answer = decided(wrap(site(headers=COOKIES), ledger, documents="shared"), grants=True).get()
    assert "vid_1" not in str(answer.headers)


def test_leftovers_are_deleted_while_denied(plain: ConsentMiddleware) -> None:
    """A private page deletes what its request still carries of denied services, and nothing else."""
    visitor = decided(plain, grants=False)
    visitor.cookies |= {"_ga": "1", "_ga_XXXXXXXXXX": "2", "session": "3"}
    answer = visitor.get("/fr/page")
    assert answer.deleted == {"_ga", "_ga_XXXXXXXXXX"}
    lines = answer.all("set-cookie")
    assert any("Domain=example.com" in line for line in lines)
    assert any("Path=/fr" in line for line in lines)


def test_undecided_leftovers_stay(plain: ConsentMiddleware) -> None:
    """Before any choice nothing is deleted: nothing was denied."""
    assert get(plain, headers={"cookie": "_ga=1"}).all("set-cookie") == []


def test_deletions_keep_their_budget(plain: ConsentMiddleware) -> None:
    """However many cookies are left over, one response deletes with 3 kB at most."""
    visitor = decided(plain, grants=False)
    visitor.cookies |= {f"_ga_{number}": "1" for number in range(200)}
    lines = visitor.get("/a/b/c").all("set-cookie")
    assert 0 < sum(len(line) + 14 for line in lines) <= 3072


def test_return_address_is_escaped(plain: ConsentMiddleware) -> None:
    """The page's own address comes back in the form, escaped and percent-encoded."""
    answer = get(plain, "/a'b", query_string=b'x="><script>&y=\xe9', raw_path=b"/a'b")
    tree = parse(answer.body)
    (value,) = {i.get("value") for i in tree.iter("input") if i.get("name") == "return"}
    assert value == "/a'b?x=%22%3E%3Cscript%3E&y=%E9"


def test_unsent_path_is_encoded(plain: ConsentMiddleware) -> None:
    """Without the raw path, the decoded one is encoded again."""
    answer = get(plain, "/été", raw_path=None)
    assert b'name="return" value="/%C3%A9t%C3%A9"' in answer.body


def test_endless_query_is_left_out(plain: ConsentMiddleware) -> None:
    """A query too long to come back does not swell the page."""
    answer = get(plain, "/a", query_string=b"q=" + b"x" * 5000)
    assert b'name="return" value="/a"' in answer.body


def test_visitors_never_mix(ledger: Path) -> None:
    """Two visitors whose requests run at once never see each other's state."""
    gate = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]}
        )
        if scope["path"] == "/slow":
            await gate.wait()
        await send({"type": "http.response.body", "body": PAGE})

    wrapped = wrap(app, ledger)
    granted, denied = decided(wrapped, grants=True), decided(wrapped, grants=False)
    found: dict[str, str] = {}

    async def ask(path: str, visitor: Visitor) -> None:
        cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
        found[path] = (await call(wrapped, path, headers={"cookie": cookie})).text

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "/slow", granted)
            await anyio.lowlevel.checkpoint()
            await ask("/quick", denied)
            gate.set()

    anyio.run(main)
    assert mentions_vendor(found["/quick"]) == []
    assert "googletagmanager.com" in found["/slow"]
    assert ">/quick" not in found["/slow"]
    assert 'value="/slow"' in found["/slow"]


def test_policy_that_asks_nothing(ledger: Path) -> None:
    """A site with nothing to ask is passed through as it is."""
    inner = site(headers=[("ETag", '"v1"')])
    assert get(wrap(inner, ledger, policy=make_policy(services=()))).messages == get(inner).messages


def test_fetched_pages_count_too(plain: ConsentMiddleware) -> None:
    """A whole page that a script fetches is a page: only its bytes tell."""
    headers = {"accept": "*/*", "sec-fetch-dest": "empty", "hx-request": "true"}
    assert b"gem-notice" in get(plain, headers=NAVIGATION | headers).body


def test_late_part_is_for_everyone(ledger: Path) -> None:
    """A part that a template places after a shared response began has the form for everyone."""
    pages = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"public, max-age=60")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": PAGE, "more_body": True})
        view = exchange_of(scope).place("notice")
        pages.append(view)
        await send({"type": "http.response.body", "body": b""})

    visitor = Visitor(wrap(app, ledger))
    visitor.post("grant_all")
    assert visitor.get().header("cache-control") == "public, max-age=60"
    assert [view.is_shared for view in pages] == [True]


@pytest.mark.parametrize("cache", ["public, max-age=60", None])
def test_late_read_of_fragment_grants_nothing(ledger: Path, cache: str | None) -> None:
    """Once a fragment's headers have left without a word on privacy, nothing counts as granted."""
    read = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/html; charset=utf-8")]
        headers += [(b"cache-control", cache.encode())] if cache else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"<p>part</p>", "more_body": True})
        read.append(get_consent(scope).allows("analytics"))
        await send({"type": "http.response.body", "body": b""})

    visitor = Visitor(wrap(app, ledger))
    visitor.post("grant_all")
    visitor.get()
    assert read == [False]


def test_long_path_leaves_no_return(ledger: Path) -> None:
    """A path of kilobytes is not copied into the page, and the refusal on that page works."""
    visitor = Visitor(wrap(site(), ledger))
    answer = visitor.get("/" + "'" * 60_000)
    assert len(answer.body) < 20_000
    assert visitor.post("deny_all").status == 303


@pytest.mark.rule("W5")
def test_sessions_of_like_name_survive(ledger: Path) -> None:
    """A cookie whose name merely begins like an old Google one is neither withheld nor deleted."""
    app = wrap(site(headers=[("set-cookie", "_gateway_session=1; Path=/")]), ledger)
    visitor = Visitor(app)
    visitor.post("deny_all")
    visitor.cookies["_gateway_session"] = "1"
    answer = visitor.get()
    assert "_gateway_session" in answer.cookies
    assert "_gateway_session" not in answer.deleted


def test_memoryview_body_is_taken(ledger: Path) -> None:
    """Servers accept any bytes-like body, and so do documents on their way."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/html; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": memoryview(PAGE), "more_body": True})
        await send({"type": "http.response.body", "body": memoryview(b"<!-- end -->")})

    answer = get(wrap(app, ledger))
    assert answer.body.endswith(b"<!-- end -->")
    assert b"gem-notice" in answer.body


def test_iterated_headers_are_kept(ledger: Path) -> None:
    """ASGI lets headers be any iterable; none is lost by looking at them."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = iter([(b"content-type", b"text/html; charset=utf-8"), (b"x-a", b"1")])
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": PAGE})

    answer = get(wrap(app, ledger))
    assert (answer.header("x-a"), answer.header("content-type")) == ("1", "text/html; charset=utf-8")


def test_cut_gzip_stays_cut(ledger: Path) -> None:
    """A gzip body that ends too early does not leave as a whole one."""
    whole = gzip.compress(PAGE * 50)
    app = site(whole[:-10], [("content-encoding", "gzip")], is_sized=False)
    with pytest.raises(EOFError):
        gzip.decompress(get(wrap(app, ledger)).body)
