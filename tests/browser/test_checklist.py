"""The checklist on a home page and a deep one, on a large screen and a small one: none, refused, accepted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from fnmatch import fnmatch
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, ViewportSize, expect

from browser.pages import MEDIA, POLICY, Site
from browser.visitor import Newcomer, Visitor
from gem_consent.vendor_hosts import named_vendors

pytestmark = pytest.mark.browser

_HOME, _DEEP = "/", "/films/1927/film"
_SCREENS = [ViewportSize(width=1280, height=800), ViewportSize(width=320, height=256)]
_OWN = {"gem_consent", "gem_consent_hint"}
_FRAME = "https://www.youtube-nocookie.com/"

# Everything that keeps something on a device; what is assigned to a storage directly is counted at the end.
_NOTE_WRITES = """\
for (const [owner, name] of [
  [Storage.prototype, "setItem"], [IDBFactory.prototype, "open"], [CacheStorage.prototype, "open"],
  [CookieStore.prototype, "set"], [ServiceWorkerContainer.prototype, "register"],
]) {
  const own = owner[name];
  owner[name] = function (...given) {
    reportWrite(`${name} ${given[0]}`);
    return own.apply(this, given);
  };
}
const { get, set } = Object.getOwnPropertyDescriptor(Document.prototype, "cookie");
Object.defineProperty(Document.prototype, "cookie", {
  get,
  set(value) {
    reportWrite("cookie " + value);
    set.call(this, value);
  },
});
"""
_KEPT = "localStorage.length + sessionStorage.length"
# A link asks nothing of anybody until it is pressed, and a frame that waits has no address yet.
_INERT = ["a href", "iframe data-src"]
_NAMED = """\
(inert) => [...document.querySelectorAll("*")].flatMap((one) => [
  ...[...one.attributes].map(({ name, value }) => inert.includes(`${one.localName} ${name}`) ? "" : value),
  ...(["SCRIPT", "STYLE", "NOSCRIPT"].includes(one.tagName) ? [one.textContent] : []),
]).join(" ")
"""
_OFFERED = (
    "all => all.filter((one) => one.checkVisibility()).map((one) => one.tagName + one.textContent + one.href)"
)


@pytest.fixture(params=_SCREENS, ids=["1280x800", "320x256"])
def looking(request: pytest.FixtureRequest, serve: Callable[..., Site], newcomer: Newcomer) -> Visitor:
    """Someone new to a site with Google Analytics and films, whose time the test may let pass."""
    return newcomer(serve(MEDIA), viewport=request.param)


@pytest.fixture
def writes(looking: Visitor) -> list[str]:
    """What the pages keep on their visitor's device, as it happens."""
    noted: list[str] = []
    looking.context.expose_binding("reportWrite", lambda _, what: noted.append(what))
    looking.context.add_init_script(_NOTE_WRITES)
    looking.context.clock.install()
    return noted


@pytest.mark.rule("P1", "P2", "P3", "P4", "P6", "P7", "L1", "L10")
def test_nothing_before_a_choice(looking: Visitor, writes: list[str]) -> None:
    """Scrolling, a minute, Escape, a press beside it, the next page: none asks, keeps or grants anything."""
    for path in (_HOME, _DEEP):
        page = looking.visit(path)
        for name in ("Accept all", "Reject all"):
            expect(looking.notice.get_by_role("button", name=name)).to_be_in_viewport(ratio=1)
        page.mouse.wheel(0, 2000)
        page.keyboard.press("Escape")
        page.mouse.click(2, 2)  # the page's margin: nothing moves into it while the page scrolls
        page.clock.run_for(60_000)
        assert page.locator("[inert], [aria-hidden=true]:not(svg)").count() == 0
        assert _asking(looking) == ["notice"]
        _assert_untouched(looking, writes)
    assert not looking.cookies()
    assert looking.site.rows() == []


@pytest.mark.rule("R1", "R3", "R5", "L10", "W1")
def test_nothing_after_a_refusal(looking: Visitor, writes: list[str]) -> None:
    """After a refusal, a reload and nine more pages nothing is asked, kept or told, and nobody asks again."""
    looking.visit(_HOME)
    looking.reject()
    for path in (_HOME, _DEEP) * 5:
        page = looking.visit(path)
        page.mouse.wheel(0, 2000)
        page.clock.run_for(10_000)
        assert _asking(looking) == []
        expect(looking.control.get_by_role("link", name="Manage my cookies")).to_be_in_viewport(ratio=1)
        assert page.evaluate("typeof dataLayer") == "undefined"
        _assert_untouched(looking, writes)
    assert looking.cookies().keys() == _OWN
    assert [row.state for row in looking.site.rows()] == ["refused"]


@pytest.mark.rule("A1", "R3", "L10", "W1")
@pytest.mark.parametrize("granted", [["analytics"], ["media"], ["analytics", "media"]], ids="+".join)
def test_granted_services_alone_load(looking: Visitor, granted: list[str]) -> None:
    """Every host that is asked is a granted service's, each such service is, and no question comes back."""
    looking.vendors.append(_FRAME)
    looking.context.route(f"{_FRAME}**", lambda route: route.fulfill(content_type="text/html", body="Film"))
    looking.visit(_HOME)
    looking.accept_only(*granted)
    for path in (_HOME, _DEEP):
        page = looking.visit(path)
        if "analytics" in granted:
            page.wait_for_function("window.tagBeats > 1")
        assert _asking(looking) == []
        for way_out in (looking.control.get_by_role("link"), looking.button("Withdraw my agreement")):
            expect(way_out).to_be_in_viewport(ratio=1)
    looking.page.locator("#after").scroll_into_view_if_needed()
    film = looking.page.frame_locator("iframe").get_by_text("Film")
    expect(film).to_be_visible(visible="media" in granted)
    seen = {str(urlsplit(url).hostname) for url in looking.outside()}
    patterns = {service.purpose: set(_hosts(service.hosts)) for service in MEDIA.services}
    for purpose, hosts in patterns.items():
        asked = {host for host in seen if any(fnmatch(host, pattern) for pattern in hosts)}
        assert bool(asked) == (purpose in granted), purpose
        seen -= asked
    assert seen == set()


@pytest.mark.rule("L13")
def test_small_screen_offers_the_same(serve: Callable[..., Site], newcomer: Newcomer) -> None:
    """Both screens show the same buttons and links: in notice, preferences and control, on both pages."""
    site = serve(MEDIA)
    offers = []
    for screen in _SCREENS:
        visitor = newcomer(site, viewport=screen)
        offers.append(list(_offers(visitor)))
        assert all(offers[-1])
    assert offers[0] == offers[1]


@pytest.mark.rule("R3")
@pytest.mark.parametrize("path", ["/two", "/shared"])
def test_refusal_ends_with_its_time(serve: Callable[..., Site], newcomer: Newcomer, path: str) -> None:
    """A refusal that is kept for 184 days is not asked again an hour before its end, and is an hour after."""
    lifetime = timedelta(days=184)
    site = serve(replace(POLICY, lifetime=lifetime))
    visitor = newcomer(site)
    visitor.visit(path)
    visitor.reject()
    for after, is_asked in ((lifetime - timedelta(hours=1), False), (lifetime + timedelta(hours=1), True)):
        site.clock.offset = after.total_seconds()
        visitor.context.clock.set_fixed_time(time.time() + site.clock.offset)
        visitor.visit(path)
        expect(visitor.notice).to_be_visible(visible=is_asked)
        assert visitor.outside() == []


def _asking(visitor: Visitor) -> list[str]:
    """Give what on the page asks for consent and can be seen."""
    asking = {"notice": visitor.notice, "dialog": visitor.page.get_by_role("dialog")}
    found = [name for name, part in asking.items() for _ in range(part.count())]
    expect(visitor.button("Accept all")).to_have_count(len(found))
    return found


def _assert_untouched(visitor: Visitor, writes: list[str]) -> None:
    assert visitor.outside() == []
    assert visitor.cookies().keys() <= _OWN
    assert visitor.page.evaluate(_KEPT) == 0
    assert writes == []
    assert named_vendors(visitor.page.evaluate(_NAMED, _INERT)) == []


def _hosts(sources: Any) -> Iterator[str]:
    for several in sources.values():
        for source in several:
            yield str(urlsplit(source).hostname)


def _offers(visitor: Visitor) -> Iterator[list[str]]:
    for path in (_HOME, _DEEP):
        visitor.visit(path)
        yield _offered(visitor.notice)
    yield _offered(visitor.open_preferences(visitor.notice.get_by_role("link", name="Choose in detail")))
    visitor.page.keyboard.press("Escape")
    visitor.accept_only("analytics")
    yield _offered(visitor.control)


def _offered(part: Locator) -> list[str]:
    found: list[str] = part.locator("a, button, input, summary").evaluate_all(_OFFERED)
    return found
