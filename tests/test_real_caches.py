"""Real caches in front: nobody gets another's page, what is everyone's is kept, deployments may roll."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgi import make_policy
from caches import CACHES, in_front_of
from server import serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from gem_consent import ConsentMiddleware, Controller, get_consent

_SECRET = "tests sign with this key, and only tests"
_POLICY = make_policy(languages=("en", "fr"))
_OTHER = replace(_POLICY, controller=Controller(name="Example Group", contact="dpo@example.com"))
_TAG = "googletagmanager.com"
_LIFETIMES = {"/own": "", "/shared": "public, max-age=600", "/short": "max-age=600"}


async def _page(request: Request) -> Response:
    control = _LIFETIMES[request.url.path]
    headers = {"etag": '"1"'} | ({"cache-control": control} if control else {})
    if '"1"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return HTMLResponse(
        "<!doctype html><html><head><title>A</title></head><body><p>B</body></html>", headers=headers
    )


async def _read(request: Request) -> Response:
    granted = get_consent(request).allows("analytics")
    return JSONResponse({"analytics": granted}, headers={"cache-control": "public, max-age=600"})


def make_app(ledger: Path, policy: Any = _POLICY) -> ConsentMiddleware:
    """Make a site with pages for everyone and pages of a visitor's own."""
    routes = [Route(path, _page) for path in _LIFETIMES] + [Route("/read", _read)]
    return ConsentMiddleware(
        Starlette(routes=routes), policy=policy, secret_key=_SECRET, ledger=f"sqlite:///{ledger}"
    )


class Visitor(httpx.Client):
    """A browser as far as cookies go."""

    def __init__(self, port: int, **headers: str) -> None:
        agent = {"user-agent": "Mozilla/5.0 Firefox/145.0", "accept": "text/html"}
        super().__init__(base_url=f"http://127.0.0.1:{port}", headers=agent | headers)

    def choose(self, decision: str, notice: str) -> httpx.Response:
        """Send the form of a page of this site."""
        fields = {"decision": decision, "notice": notice, "surface": "notice", "return": "/own"}
        return self.post("/privacy-choices", data=fields, headers={"sec-fetch-site": "same-origin"})


def notice_of(page: str) -> str:
    """Give the digest of the notice that a page holds."""
    found = re.search(r'name="notice" value="([0-9a-f]{64})"', page)
    assert found is not None
    return found[1]


@pytest.fixture(params=CACHES)
def cached(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Puts each cache in turn before applications; gives its port."""
    with ExitStack() as stack:

        def start(*apps: ConsentMiddleware) -> int:
            ports = [stack.enter_context(serving(app)) for app in apps]
            folder = tmp_path / "cache"
            folder.mkdir()
            return stack.enter_context(in_front_of(request.param, folder, *ports))

        yield start


def test_visitors_never_mix(cached: Callable[..., int], tmp_path: Path) -> None:
    """A hundred requests of three visitors in turn: each sees their own state, and what is shared is kept."""
    port = cached(make_app(tmp_path / "consent.db"))
    with Visitor(port) as granter, Visitor(port) as refuser, Visitor(port) as stranger:
        notice = notice_of(stranger.get("/own").text)
        assert granter.choose("grant_all", notice).status_code == 303
        assert refuser.choose("deny_all", notice).status_code == 303
        shared = {path: stranger.get(path).content for path in ("/shared", "/short")}
        hits = 0
        for number in range(100):
            visitor = (granter, refuser, stranger)[number % 3]
            path = ("/own", "/shared", "/read", "/short")[number % 4]
            answer = visitor.get(path)
            assert "set-cookie" not in answer.headers
            if path == "/own":
                assert (_TAG in answer.text) is (visitor is granter)
                assert ('id="gem-notice"' in answer.text) is (visitor is stranger)
            elif path == "/read":
                assert answer.json() == {"analytics": visitor is granter}
            else:
                assert answer.content == shared[path]
                hits += answer.headers["x-cache"] == "HIT"
    assert hits == 50


@pytest.mark.parametrize("path", _LIFETIMES)
def test_parts_and_conditions_are_of_the_same_page(
    cached: Callable[..., int], tmp_path: Path, path: str
) -> None:
    """HEAD, a range, an encoding and a tag sent back speak of the very page that their visitor gets."""
    port = cached(make_app(tmp_path / "consent.db"))
    with Visitor(port) as granter, Visitor(port) as stranger:
        notice = notice_of(stranger.get("/own").text)
        before = granter.get(path)
        assert granter.choose("grant_all", notice).status_code == 303
        for visitor in (granter, stranger, granter):
            page = visitor.get(path)
            head = visitor.head(path)
            for name in ("etag", "cache-control", "vary"):
                assert head.headers.get(name) == page.headers.get(name)
            part = visitor.get(path, headers={"range": "bytes=100-199", "accept-encoding": "identity"})
            assert part.content in (page.content, page.content[100:200])
            assert visitor.get(path, headers={"accept-encoding": "identity"}).content == page.content
            again = visitor.get(path, headers={"if-none-match": page.headers["etag"]})
            # nginx asks for what it may not keep without the visitor's conditions
            assert again.status_code == 304 or (path == "/own" and again.content == page.content)
            stale = visitor.get(path, headers={"if-none-match": '"1-gc00000000"'})
            assert (stale.status_code, stale.content) == (200, page.content)
        earlier = granter.get(path, headers={"if-none-match": before.headers["etag"]})
        assert earlier.status_code == (200 if path == "/own" else 304)


def test_choice_shows_at_once(cached: Callable[..., int], tmp_path: Path) -> None:
    """A visitor who chooses, or takes it back, sees that on the next page, whatever was asked before."""
    with Visitor(cached(make_app(tmp_path / "consent.db"))) as visitor:
        notice = notice_of(visitor.get("/own").text)
        for decision, has_tag in (("grant_all", True), ("withdraw", False), ("grant_all", True)):
            assert visitor.choose(decision, notice).status_code == 303
            for _ in range(2):
                assert (_TAG in visitor.get("/own").text) is has_tag


@pytest.mark.parametrize(
    "first",
    [
        {"user-agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"},
        {"sec-purpose": "prefetch;prerender"},
        {"accept-language": "fr-FR,fr;q=0.9"},
        {"sec-gpc": "1"},
        {"cookie": "gem_consent_hint=deadbeef.analytics.9999999999; gem_consent=forged"},
        {"accept-encoding": "gzip, br"},
        {"if-none-match": '"1-gc00000000"'},
    ],
    ids=["bot", "prefetch", "language", "signal", "forged cookie", "encoding", "condition"],
)
@pytest.mark.parametrize("path", ["/shared", "/own"])
def test_first_visitor_decides_nothing(
    cached: Callable[..., int], tmp_path: Path, first: dict[str, str], path: str
) -> None:
    """Whoever comes first, and whatever they send, the next one gets what they would have got anyway."""
    app = make_app(tmp_path / "consent.db")
    with serving(make_app(tmp_path / "other.db")) as plain, Visitor(plain) as alone:
        expected = alone.get(path).text
    port = cached(app)
    with Visitor(port, **first) as early, Visitor(port) as late:
        early.get(path)
        assert late.get(path).text == expected
        assert late.get(path).text == expected


def test_rolling_deployment_answers_old_pages(cached: Callable[..., int], tmp_path: Path) -> None:
    """While two versions answer in turn, a page of either takes a choice, and old names of files work."""
    ledger = tmp_path / "consent.db"
    port = cached(make_app(ledger), make_app(ledger, _OTHER))
    with Visitor(port) as visitor:
        pages = {visitor.get("/own").text for _ in range(4)}
        notices = {notice_of(page) for page in pages}
        assert len(notices) == 2
        for notice in sorted(notices) * 2:
            with Visitor(port) as other:
                assert other.choose("grant_all", notice).status_code == 303
                assert _TAG in other.get("/own").text
                assert _TAG in other.get("/own").text
        preferences = visitor.get("/privacy-choices").text
        (asset,) = set(re.findall(r'href="(/privacy-choices/assets/[^"]+\.css)"', preferences))
        assert "immutable" in visitor.get(asset).headers["cache-control"]
        old = visitor.get("/privacy-choices/assets/0123456789abcdef.css")
        assert (old.status_code, old.headers["cache-control"]) == (200, "no-store")
        assert old.content == visitor.get(asset).content


def test_own_pages_are_never_stored(cached: Callable[..., int], tmp_path: Path) -> None:
    """No cache keeps the library's own answers, nor a visitor's own documents."""
    with Visitor(cached(make_app(tmp_path / "consent.db"))) as visitor:
        for path in ("/privacy-choices", "/privacy-choices/state", "/privacy-choices/tags", "/own", "/read"):
            assert [visitor.get(path).headers["x-cache"] for _ in range(3)].count("HIT") == 0
