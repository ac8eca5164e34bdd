"""The checks that sites put into their own suites: what they find, what they let pass, and what they say."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from asgi import App, make_policy, rows, site, wrap
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from gem_consent import ConsentMiddleware, Service, get_consent
from gem_consent.loads import loads_of
from gem_consent.testing import assert_cache_safe, assert_no_undeclared_trackers
from gem_consent.vendor_hosts import named_vendors, vendor_of

SHARED = [("cache-control", "public, max-age=60")]


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "consent.db"


def page(inside: str) -> bytes:
    return (
        f"<!doctype html><html lang=en><head><title>x</title></head><body>\n{inside}\n</body></html>".encode()
    )


def found(ledger: Path, inside: str, *headers: tuple[str, str], **options: Any) -> str:
    """Check a page with this inside; give what the check says, or nothing."""
    allow = options.pop("allow", ())
    try:
        assert_no_undeclared_trackers(wrap(site(page(inside), headers), ledger, **options), allow=allow)
    except AssertionError as error:
        return str(error)
    return ""


def test_clean_site_passes(ledger: Path) -> None:
    """A site that does nothing before consent passes, and no choice is written for it."""
    assert (
        found(ledger, '<a href="https://www.youtube.com/">a link loads nothing</a><img src="/a.png">') == ""
    )
    assert rows(ledger) == []


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ('<script src="https://www.googletagmanager.com/gtag/js?id=G-1"></script>', "(Google Tag Manager)"),
        ('<script>load("https://connect.facebook.net/en_US/fbevents.js")</script>', "(Meta Pixel)"),
        ('<img src="//px.ads.linkedin.com/collect">', "(LinkedIn)"),
        (
            '<iframe src="https://www.youtube-nocookie.com/embed/x"></iframe>',
            "<iframe src> loads https://www.youtube-nocookie.com/embed/x (YouTube)",
        ),
        ('<link rel="preconnect" href="https://fonts.gstatic.com">', "(Google Fonts)"),
        ('<img srcset="/a.png 1x, https://t.example.net/b.png 2x">', "t.example.net"),
        ('<div style="background: url(https://t.example.net/b.png)">', "t.example.net"),
        ("<style>@import 'https://t.example.net/b.css';</style>", "t.example.net"),
        ("<style>@import url('https://t.example.net/b.css');</style>", "t.example.net"),
        ("<noscript><style>@IMPORT URL( https://t.example.net/b.css )</style></noscript>", "t.example.net"),
        ("<p style=\"background: image-set('https://t.example.net/b.png' 1x)\">", "t.example.net"),
        ("<p style='background: image-set(url(https://t.example.net/b.png) 1x)'>", "t.example.net"),
        ("<svg><filter><feImage href=https://t.example.net/b.png /></filter></svg>", "<feimage href>"),
        ("<script>analytics.load('https://cdn.segment.com/x')</script>", "(Segment)"),
        ("<button onclick=\"send('https://bat.bing.com/x')\">", "<button onclick>"),
        ('<iframe srcdoc="&lt;img src=https://t.example.net/x&gt;"></iframe>', "srcdoc <img src>"),
        ('<meta http-equiv="refresh" content="0; url=https://t.example.net/">', "t.example.net"),
        ('<a href="/" ping="https://t.example.net/ping">', "t.example.net"),
        ('<base href="https://t.example.net/"><img src="a.png">', "<base href> loads https://t.example.net/"),
        (r'<img src="\\t.example.net\a.png">', "<img src> loads"),
        ("<script type='text/javascript;x'>load('https://bat.bing.com/x')</script>", "bat.bing.com"),
        ("<script type=speculationrules>{'urls': ['https://www.youtube.com/']}</script>", "www.youtube.com"),
        ("<script>play('https://video.example.net/x')</script>", "video.example.net"),
    ],
)
def test_foreign_loads_are_found(ledger: Path, inside: str, expected: str) -> None:
    """Whatever makes a browser ask another host, or names a vendor in a script, is named."""
    said = found(ledger, inside)
    assert expected in said
    assert "Declare it as a Service" in said
    assert "before any choice" in said
    assert "after a refusal" in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("link", '</a.css>; rel=preload, <https://t.example.net/x>; title="a, b"; rel="preconnect"'),
        ("Refresh", "0; url=https://t.example.net/"),
    ],
)
def test_headers_that_load_are_found(ledger: Path, name: str, value: str) -> None:
    """What a page's headers make a browser load counts like what the page does."""
    assert f"the {name.capitalize()} header loads https://t.example.net/" in found(ledger, "", (name, value))


def test_headers_that_load_nothing_pass(ledger: Path) -> None:
    """A canonical address, a licence and a page to go on with are no requests."""
    assert found(ledger, "", ("link", '<https://t.example.net/>; rel="canonical", <https://u.example>')) == ""


def test_text_that_looks_like_elements_passes(ledger: Path) -> None:
    """A text area that shows what to copy loads nothing; what follows it is looked at all the same."""
    inside = "<textarea><script src=https://t.example.net/a.js></script></textarea>"
    assert found(ledger, inside) == ""
    assert "t.example.net/b" in found(ledger, f"{inside}<img src=https://t.example.net/b>")


@pytest.mark.parametrize("kind", ["application/ld+json", "application/json", "text/plain"])
def test_data_blocks_pass(ledger: Path, kind: str) -> None:
    """A script that no browser runs, such as the description of an organisation, loads nothing."""
    assert found(ledger, f'<script type="{kind}">{{"sameAs": ["https://www.facebook.com/x"]}}</script>') == ""


@pytest.mark.parametrize(
    ("body", "headers", "kind"),
    [
        (page('<img src="https://t.example.net/a">'), [], "Text/HTML"),
        (page('<img src="https://t.example.net/a"/>'), [], "application/xhtml+xml"),
        (
            gzip.compress(page('<img src="https://t.example.net/a">')),
            [("content-encoding", "gzip")],
            "text/html",
        ),
        (b"@font-face { src: url(https://t.example.net/a) }", [], "text/css"),
    ],
    ids=["upper case", "xhtml", "gzip", "style sheet"],
)
def test_every_form_of_a_page_is_read(
    ledger: Path, body: bytes, headers: list[tuple[str, str]], kind: str
) -> None:
    """A page is looked at however its type is written and whether or not it is compressed; so are styles."""
    with pytest.raises(AssertionError, match=r"loads https://t\.example\.net/a"):
        assert_no_undeclared_trackers(wrap(site(body, headers, kind=kind), ledger))


def test_unreadable_page_is_told(ledger: Path) -> None:
    """A page in an encoding that was not asked for proves nothing."""
    with pytest.raises(AssertionError, match="is encoded as 'br', which was not asked for"):
        assert_no_undeclared_trackers(wrap(site(b"\x8b", [("content-encoding", "br")]), ledger))


def test_undeclared_cookie_is_found(ledger: Path) -> None:
    """A cookie that nobody declared is named, with what to do."""
    said = found(ledger, "", ("set-cookie", "visit=1; Path=/"))
    assert "the cookie 'visit' is set" in said
    assert "allow=" in said


@pytest.mark.parametrize("line", ["visit=; Max-Age=0", "gem_consent_hint=x", "_ga=GA1.1.1"])
def test_known_cookies_pass(ledger: Path, line: str) -> None:
    """A deletion, a cookie of the library's own and a tracker that is withheld anyway are no finding."""
    assert found(ledger, "", ("set-cookie", line)) == ""


def test_necessary_service_passes(ledger: Path) -> None:
    """What a necessary service declares may be set and loaded at any time."""
    shop = Service(
        "checkout",
        name="Checkout",
        purpose="necessary",
        provider="Example Pay",
        leftovers=("basket_*",),
        hosts={"script-src": ["https://*.pay.example.com"]},
    )
    inside = '<script src="https://js.pay.example.com/v1.js"></script>'
    policy = make_policy(services=(*make_policy().services, shop))
    assert found(ledger, inside, ("set-cookie", "basket_1=2"), policy=policy) == ""


def test_allowed_names_pass(ledger: Path) -> None:
    """What the test itself allows is no finding; patterns are taken."""
    inside = '<img src="https://cdn.example.net/a.png">'
    assert found(ledger, inside, ("set-cookie", "session=1"), allow=["session", "cdn.*"]) == ""


def test_redirects_are_followed(ledger: Path) -> None:
    """A page behind a redirect within the site is looked at; one that leaves the site is not."""

    async def away(request: Request) -> Response:
        return RedirectResponse("https://www.example.net/")

    async def onward(request: Request) -> Response:
        return RedirectResponse("/page")

    async def last(request: Request) -> Response:
        return HTMLResponse(page('<img src="https://t.example.net/">'))

    routes = [Route("/away", away), Route("/", onward), Route("/page", last)]
    app = wrap(Starlette(routes=routes), ledger)
    assert_no_undeclared_trackers(app, ["/away"])
    with pytest.raises(AssertionError, match=r"t\.example\.net"):
        assert_no_undeclared_trackers(app)


@pytest.mark.parametrize(
    "location", ["https://www.example.com/a/page?b=c", "page?b=c", "/a/page?b=c#d", "./page?b=c"]
)
def test_redirects_take_any_form(ledger: Path, location: str) -> None:
    """Redirects within the site may name their host, as Starlette's do, or begin where they stand."""

    async def onward(request: Request) -> Response:
        return RedirectResponse(location)

    async def last(request: Request) -> Response:
        assert request.url.query == "b=c"
        return HTMLResponse(page('<img src="https://t.example.net/">'))

    app = wrap(Starlette(routes=[Route("/a/", onward), Route("/a/page", last)]), ledger)
    with pytest.raises(AssertionError, match=r"t\.example\.net"):
        assert_no_undeclared_trackers(app, ["/a/"])


def test_redirects_set_no_cookie(ledger: Path) -> None:
    """A cookie that is set on the way to a page is found."""

    async def onward(request: Request) -> Response:
        return RedirectResponse("/page", headers={"set-cookie": "partner=1"})

    async def last(request: Request) -> Response:
        return HTMLResponse(page(""))

    app = wrap(Starlette(routes=[Route("/", onward), Route("/page", last)]), ledger)
    with pytest.raises(AssertionError, match="the cookie 'partner' is set"):
        assert_no_undeclared_trackers(app)


def test_endless_redirects_are_told(ledger: Path) -> None:
    """A page that is never reached proves nothing."""

    async def onward(request: Request) -> Response:
        return RedirectResponse("/")

    with pytest.raises(AssertionError, match="is redirected 6 times"):
        assert_no_undeclared_trackers(wrap(Starlette(routes=[Route("/", onward)]), ledger))


def test_encoded_paths_are_decoded(ledger: Path) -> None:
    """A path is given as in an address bar, and reaches the application as from a server."""

    async def home(request: Request) -> Response:
        assert request.path_params["name"] == "a café"
        return HTMLResponse(page(""))

    app = wrap(Starlette(routes=[Route("/{name}", home)]), ledger)
    assert_no_undeclared_trackers(app, ["/a%20caf%C3%A9", "/a café"])


def test_host_without_a_policy_is_told(ledger: Path) -> None:
    """Where several sites are served, a host that has no policy proves nothing."""
    app = wrap(site(page("")), ledger, policy={"shop.example.com": make_policy()})
    for check in (assert_no_undeclared_trackers, assert_cache_safe):
        with pytest.raises(AssertionError, match=r"no policy is for GET / on www\.example\.com.*base_url="):
            check(app)
        check(app, base_url="https://shop.example.com")


def test_missing_page_is_told(ledger: Path) -> None:
    """A page that is not there proves nothing."""
    with pytest.raises(AssertionError, match="answers 404"):
        assert_no_undeclared_trackers(wrap(Starlette(), ledger), ["/nowhere"])


def test_missing_middleware_is_told() -> None:
    """An application without the middleware is told what to give."""
    with pytest.raises(AssertionError, match="did not pass through ConsentMiddleware"):
        assert_no_undeclared_trackers(site(page("")))


def test_application_may_add_the_middleware(ledger: Path) -> None:
    """The application that is served is taken as it is, its middleware inside."""

    async def home(request: Request) -> Response:
        return HTMLResponse(page('<img src="https://t.example.net/">'))

    app = Starlette(routes=[Route("/", home)])
    app.add_middleware(
        ConsentMiddleware, policy=make_policy(), secret_key="x" * 40, ledger=f"sqlite:///{ledger}"
    )
    with pytest.raises(AssertionError, match=r"2 found that[^§]*t\.example\.net"):
        assert_no_undeclared_trackers(app)


def test_outer_middleware_may_copy_the_scope(ledger: Path) -> None:
    """The middleware is found where others further out pass on a scope of their own."""
    inner = wrap(site(page("")), ledger)

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        await inner(dict(scope), receive, send)

    assert_no_undeclared_trackers(outer)


def test_requests_have_the_state_of_the_start(ledger: Path) -> None:
    """What an application's lifespan yields is in its requests, as under a server."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, str]]:
        yield {"host": "t.example.net"}

    async def home(request: Request) -> Response:
        return HTMLResponse(page(f'<img src="https://{request.state.host}/a">'))

    app = wrap(Starlette(routes=[Route("/", home)], lifespan=lifespan), ledger)
    with pytest.raises(AssertionError, match=r"t\.example\.net"):
        assert_no_undeclared_trackers(app)


def test_checks_run_within_a_loop(ledger: Path) -> None:
    """A test that is asynchronous itself may call them."""

    async def main() -> None:
        assert_cache_safe(wrap(site(page("")), ledger))

    anyio.run(main)


@pytest.mark.parametrize("headers", [[], SHARED, [("cache-control", "no-store")]])
def test_ordinary_pages_are_cache_safe(ledger: Path, headers: Any) -> None:
    """Behind the middleware a page is safe, in the form for everyone as in the visitor's own."""
    assert_cache_safe(wrap(site(page(""), headers), ledger))


def reading(*, kind: Any = PlainTextResponse, **headers: str) -> App:
    """Make a site whose view reads the consent in a way of its own."""

    async def view(scope: Any, receive: Any, send: Any) -> None:
        cookies = dict(scope["headers"]).get(b"cookie", b"")
        await kind("granted" if b"~" in cookies else "not", headers=headers)(scope, receive, send)

    return view


def test_consent_read_properly_is_safe(ledger: Path) -> None:
    """What reads the consent by the library says itself that it is private."""

    async def view(scope: Any, receive: Any, send: Any) -> None:
        granted = get_consent(scope).allows("analytics")
        await PlainTextResponse(str(granted), headers=dict(SHARED))(scope, receive, send)

    assert_cache_safe(wrap(view, ledger))


def test_shared_page_that_differs_is_found(ledger: Path) -> None:
    """A page for everyone that reads the cookie by itself is found, with where it differs."""
    with pytest.raises(AssertionError, match=r"a visitor who accepted gets other bytes .*from byte 0"):
        assert_cache_safe(wrap(reading(**{"cache-control": "public, max-age=60"}), ledger))


@pytest.mark.parametrize("control", ["public, max-age=60", "s-maxage=60"])
def test_shared_answer_with_a_cookie_is_found(ledger: Path, control: str) -> None:
    """A cookie in what caches may keep would be everybody's: RFC 9111 lets them keep it, and some do."""
    headers = [("cache-control", control), ("set-cookie", "session=1")]
    with pytest.raises(AssertionError, match="may be kept by shared caches and sets a cookie"):
        assert_cache_safe(wrap(site(b"{}", headers, kind="application/json"), ledger))
    with pytest.raises(AssertionError, match="may be kept by shared caches and sets a cookie"):
        assert_cache_safe(wrap(site(page(""), headers), ledger, documents="shared"))
    # a document of the visitor's own is made private with its cookie
    assert_cache_safe(wrap(site(page(""), headers), ledger))


@pytest.mark.parametrize("control", ["public, max-age=60", "no-cache"])
def test_languages_that_caches_keep_apart_are_safe(ledger: Path, control: str) -> None:
    """Two languages of one address are safe if ``Vary`` tells them apart, and found if it does not."""

    async def view(scope: Any, receive: Any, send: Any) -> None:
        language = dict(scope["headers"]).get(b"accept-language", b"en").decode()
        headers = {"cache-control": control, **dict(vary)}
        await PlainTextResponse(language, headers=headers)(scope, receive, send)

    vary = [("vary", "Accept-Encoding, Accept-Language")]
    app = wrap(view, ledger)
    assert_cache_safe(app)
    vary.clear()
    with pytest.raises(AssertionError, match="a visitor who reads French"):
        assert_cache_safe(app)


def test_unmarked_page_that_differs_is_found(ledger: Path) -> None:
    """A page that says nothing to caches and differs is found; one that says it is private is not."""
    with pytest.raises(AssertionError, match="let caches mix them up"):
        assert_cache_safe(wrap(reading(), ledger))
    assert_cache_safe(wrap(reading(**{"cache-control": "private", "vary": "Cookie"}), ledger))


def test_restless_page_is_told(ledger: Path) -> None:
    """A page that changes by itself cannot be compared, and the message says so."""
    count = iter(range(100))

    async def view(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse(str(next(count)))(scope, receive, send)

    with pytest.raises(AssertionError, match="differs between two requests of the same visitor"):
        assert_cache_safe(wrap(view, ledger))


@pytest.mark.parametrize("headers", [[], [("cache-control", "no-store")]])
def test_own_page_may_be_restless(ledger: Path, headers: list[tuple[str, str]]) -> None:
    """A page that is the visitor's own may hold what is new each time, as a CSRF token or a nonce."""
    count = iter(range(100))

    async def view(scope: Any, receive: Any, send: Any) -> None:
        await HTMLResponse(page(f"<p>{next(count)}"), headers=dict(headers))(scope, receive, send)

    assert_cache_safe(wrap(view, ledger))
    headers = SHARED
    with pytest.raises(AssertionError, match="differs between two requests of the same visitor"):
        assert_cache_safe(wrap(view, ledger))


def test_failed_start_is_told(tmp_path: Path) -> None:
    """An application that does not start says why."""
    (tmp_path / "consent.db").write_bytes(b"no database at all, but long enough to be read as one" * 40)
    with pytest.raises(AssertionError, match="the application did not start: "):
        assert_cache_safe(wrap(Starlette(), tmp_path / "consent.db"))


def test_failed_start_without_a_reason_is_told() -> None:
    """The message that says why is optional: ASGI, "startup.failed"."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        await receive()
        await send({"type": "lifespan.startup.failed"})

    with pytest.raises(AssertionError, match="the application did not start"):
        assert_cache_safe(app)


@pytest.mark.parametrize(
    ("host", "vendor"),
    [
        ("www.google-analytics.com", "Google Analytics"),
        ("GOOGLE-ANALYTICS.com.", "Google Analytics"),
        ("a.com", None),
    ],
)
def test_vendors_are_named(host: str, vendor: str | None) -> None:
    """A host under a vendor's domain has the vendor's name."""
    assert vendor_of(host) == vendor


def test_vendor_names_are_whole() -> None:
    """A host that merely ends or begins like a vendor's is none."""
    text = "notfacebook.com facebook.com.example.org www.facebook.com/tr static.hotjar.com"
    assert named_vendors(text) == ["www.facebook.com", "static.hotjar.com"]


def test_what_loads_nothing_is_left_out() -> None:
    """Links to click, forms and data addresses load nothing."""
    text = '<a href="https://a.example"></a><form action="https://b.example"></form><img src="data:,">'
    assert loads_of(text) == []
