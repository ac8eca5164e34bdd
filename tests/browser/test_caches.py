"""Documents that come out of a cache: shared ones, the back/forward cache, the browser's HTTP cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
from playwright.sync_api import expect

from browser.google import is_google, is_hit
from browser.pages import LOCAL_POLICY, POLICY, Row, Site
from browser.visitor import Newcomer, Visitor

pytestmark = pytest.mark.browser

_TAGS = "GET /privacy-choices/tags"

# Notes what is to be seen of the notice from the moment it is parsed, frame by frame.
_FRAMES = """\
window.seen = [];
const look = () => {
  const notice = document.querySelector("#gem-notice");
  if (notice) seen.push(getComputedStyle(notice).display);
};
new MutationObserver(look).observe(document, { childList: true, subtree: true });
(function frame() { look(); requestAnimationFrame(frame); })();
"""

# Notes whether a page was revived, and what it sent from then on.
_REVIVAL = """\
addEventListener("pageshow", (event) => event.persisted && (sessionStorage.revived = location.pathname));
const { fetch } = window;
window.fetch = (...given) => {
  if (sessionStorage.revived && String(given[0]).includes("/g/collect")) sessionStorage.sent = given[0];
  return fetch(...given);
};
"""


@pytest.mark.rule("C8")
def test_shared_bytes_are_the_same(site: Site, newcomer: Newcomer) -> None:
    """A shared document is the same for whoever has not chosen, has accepted, or asks in another language."""
    visitor = newcomer(site)
    french = newcomer(site, extra_http_headers={"accept-language": "fr"})
    first = _shared(visitor)
    visitor.accept()
    assert _shared(visitor) == first
    assert _shared(french) == first


def _shared(visitor: Visitor) -> bytes:
    response = visitor.page.goto(visitor.site.url("/shared"))
    assert response is not None
    assert response.headers["cache-control"] == "public, max-age=60"
    assert "set-cookie" not in response.headers
    assert "cookie" not in response.headers.get("vary", "").lower()
    return response.body()


def test_shared_notice_never_flashes(site: Site, newcomer: Newcomer) -> None:
    """Who has chosen never sees the notice on a shared page, not for one frame, and finds the control."""
    visitor = newcomer(site)
    visitor.visit()
    visitor.reject()
    visitor.context.add_init_script(_FRAMES)
    visitor.visit("/shared")
    expect(visitor.control).to_be_visible()
    expect(visitor.button("Withdraw my agreement")).to_be_hidden()
    assert visitor.page.evaluate("[...new Set(seen)]") == ["none"]
    assert visitor.outside() == []
    assert _TAGS not in site.asked


def test_shared_pages_take_a_choice(site: Site, newcomer: Newcomer) -> None:
    """A choice is made, kept and withdrawn on shared pages, which fetch the tag only after it."""
    visitor = newcomer(site)
    visitor.visit("/shared")
    expect(visitor.notice).to_be_visible()
    assert site.asked == ["GET /shared"]
    visitor.accept()
    expect(visitor.notice).to_be_hidden()
    with visitor.page.expect_request(lambda request: is_hit(request.url)):
        visitor.visit("/shared/two")
    assert site.asked.count(_TAGS) == 2
    expect(visitor.notice).to_be_hidden()
    visitor.withdraw()
    visitor.requests.clear()
    visitor.visit("/shared")
    assert visitor.outside() == []
    assert not {"_ga", "_ga_XXXXXXXXXX"} & visitor.cookies().keys()
    expect(visitor.notice).to_be_hidden()
    assert site.rows()[1:] == [Row("withdrawn", "withdraw", "settings", '{"analytics":false}')]


def test_hint_alone_is_not_believed(site: Site, newcomer: Newcomer) -> None:
    """A hint that has lost its signed cookie hides no notice: the server asks again, and nothing starts."""
    visitor = newcomer(site)
    visitor.visit()
    visitor.accept()
    visitor.context.clear_cookies(name="gem_consent")
    visitor.visit("/two")
    visitor.requests.clear()
    visitor.visit("/two")
    expect(visitor.notice).to_be_visible()
    assert visitor.outside() == []


@pytest.mark.rule("W3")
def test_revived_page_is_silent(site: Site, newcomer: Newcomer) -> None:
    """A page out of the back/forward cache sends nothing, and shows the present choice."""
    visitor = newcomer(site)
    visitor.context.add_init_script(_REVIVAL)
    page = visitor.visit("/")
    visitor.accept()
    visitor.beat(2)
    visitor.leave_by(page.get_by_role("link", name="/two", exact=True))
    visitor.withdraw()
    visitor.requests.clear()
    page.go_back(wait_until="commit")
    page.wait_for_function("performance.getEntriesByType('navigation')[0].type === 'reload'")
    expect(page.get_by_role("heading", name="/", exact=True)).to_be_visible()
    expect(visitor.control).to_be_visible()
    expect(visitor.button("Withdraw my agreement")).to_be_hidden()
    assert page.evaluate("sessionStorage.revived") == "/"
    assert page.evaluate("sessionStorage.sent") is None
    assert not any(is_google(url) for url in visitor.requests)
    assert not {"_ga", "_ga_XXXXXXXXXX"} & visitor.cookies().keys()


@pytest.mark.rule("W3")
@pytest.mark.parametrize("path", ["/", "/kept", "/shared"])
@pytest.mark.parametrize("way", ["revived", "stored"])
@pytest.mark.parametrize("place", ["page", "tab"])
def test_way_back_is_silent(
    serve: Callable[..., Site], newcomer: Newcomer, path: str, way: str, place: str
) -> None:
    """Back to a page that measured, after a withdrawal on another page or in another tab: nothing is sent.

    Either way back: the page itself, out of the back/forward cache, or its bytes, out of the HTTP cache.
    """
    site = serve(LOCAL_POLICY)
    visitor = newcomer(site, is_watched=False)
    visitor.context.add_init_script(_REVIVAL)
    visitor.visit(path)
    visitor.button("Accept all").click()
    visitor.control.wait_for()
    holder = None
    if way == "stored":
        # a page that another one holds on to is not kept in the back/forward cache
        holder = visitor.page
        with visitor.context.expect_page() as opened:
            holder.evaluate("window.held = window.open('/privacy')")
        visitor.page = opened.value
    visitor.visit("/two")
    visitor.visit(path)
    visitor.beat(2)
    # on a page that does not measure, so that whatever is sent comes from the one that was left
    visitor.visit("/privacy-choices")
    page = visitor.page if place == "page" else visitor.context.new_page()
    page.goto(site.url("/privacy-choices"))
    steps = page.evaluate("history.length")
    page.get_by_role("button", name="Withdraw my agreement").click()
    expect(page.get_by_role("button", name="Withdraw my agreement")).to_be_hidden()
    back = page.evaluate("history.length") - steps + 1 if place == "page" else 1
    if place == "tab":
        page.close()
    if holder:
        holder.wait_for_function("window['ga-disable-G-XXXXXXXXXX']")
    site.asked.clear()
    visitor.page.evaluate("steps => history.go(-steps)", back)
    expect(visitor.page.get_by_role("heading", name=path, exact=True)).to_be_visible()
    expect(visitor.control).to_be_visible()
    expect(visitor.notice).to_be_hidden()
    expect(visitor.button("Withdraw my agreement")).to_be_hidden()
    came = "[sessionStorage.revived, performance.getEntriesByType('navigation')[0].type, window.tagBeats]"
    assert visitor.page.evaluate(came) == (
        [path, "reload", None] if way == "revived" else [None, "back_forward", None]
    )
    # a shared page does come out of the cache; one of the visitor's own varies with the cookie
    is_asked = way == "revived" or path != "/shared"
    assert [what for what in site.asked if what != _TAGS] == ([f"GET {path}"] if is_asked else [])
    assert not {"_ga", "_ga_XXXXXXXXXX"} & visitor.cookies().keys()


@pytest.mark.parametrize("path", ["/", "/shared"])
def test_revived_page_asks_no_more(site: Site, newcomer: Newcomer, path: str) -> None:
    """A page that was left before the choice comes back without the notice, and measures what is granted."""
    visitor = newcomer(site)
    visitor.context.add_init_script(_REVIVAL)
    page = visitor.visit(path)
    page.goto(site.url("/two"))
    visitor.accept()
    with page.expect_request(lambda request: is_hit(request.url)):
        page.go_back(wait_until="commit")
    expect(page.get_by_role("heading", name=path, exact=True)).to_be_visible()
    expect(visitor.control).to_be_visible()
    expect(visitor.notice).to_be_hidden()
    assert page.evaluate("sessionStorage.revived") == path


@pytest.mark.rule("W3")
def test_preferences_page_silences_other_tabs(site: Site, newcomer: Newcomer) -> None:
    """A withdrawal on the preferences page, which is a plain form, stops the tag in every tab."""
    visitor = newcomer(site)
    page = visitor.visit("/")
    visitor.accept()
    other = visitor.context.new_page()
    other.goto(site.url("/privacy-choices"))
    other.get_by_role("button", name="Withdraw my agreement").click()
    page.wait_for_function("window['ga-disable-G-XXXXXXXXXX']")
    # what was sent just before may be told late
    visitor.beat(1)
    visitor.requests.clear()
    visitor.beat()
    assert visitor.outside() == []


@pytest.mark.rule("W3")
def test_other_tab_falls_silent(site: Site, newcomer: Newcomer) -> None:
    """A tab that comes to the front after a withdrawal in another one stops its tag."""
    visitor = newcomer(site)
    page = visitor.visit("/")
    visitor.accept()
    other = visitor.context.new_page()
    other.goto(site.url("/two"))
    with other.expect_navigation():
        other.get_by_role("button", name="Withdraw my agreement").click()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))")
    assert page.evaluate("window['ga-disable-G-XXXXXXXXXX']")
    expect(visitor.button("Withdraw my agreement")).to_be_hidden()
    visitor.beat(1)
    visitor.requests.clear()
    visitor.beat()
    assert visitor.outside() == []


@pytest.mark.rule("W3")
def test_old_bytes_stay_silent(site: Site, newcomer: Newcomer) -> None:
    """A page with the tag in it, out of a cache that ignores ``Vary``, starts nothing after a withdrawal."""
    visitor = newcomer(site)
    visitor.visit()
    visitor.accept()
    response = visitor.page.goto(site.url("/two"))
    assert response is not None
    old = response.text()
    assert "googletagmanager.com/gtag/js" in old
    visitor.withdraw()
    visitor.context.route("**/two", lambda route: route.fulfill(content_type="text/html", body=old))
    visitor.requests.clear()
    visitor.visit("/two")
    assert visitor.outside() == []
    expect(visitor.control).to_be_visible()
    expect(visitor.button("Withdraw my agreement")).to_be_hidden()


@pytest.mark.parametrize("path", ["/kept", "/shared"])
def test_stored_page_is_silent(serve: Callable[..., Site], newcomer: Newcomer, path: str) -> None:
    """A page out of the browser's HTTP cache shows the present choice, and measures nothing."""
    site = serve(LOCAL_POLICY)
    visitor = newcomer(site, is_watched=False)
    visitor.visit(path)
    visitor.accept()
    visitor.visit("/two")
    visitor.visit(path)
    visitor.visit("/two")
    visitor.withdraw()
    site.asked.clear()
    visitor.visit(path)
    expect(visitor.control).to_be_visible()
    expect(visitor.notice).to_be_hidden()
    expect(visitor.button("Withdraw my agreement")).to_be_hidden()
    # a shared page does come out of the cache; one of the visitor's own varies with the cookie
    assert site.asked == ([] if path == "/shared" else [f"GET {path}"])
    assert not {"_ga", "_ga_XXXXXXXXXX"} & visitor.cookies().keys()


def test_page_of_an_earlier_policy_takes_a_refusal(serve: Callable[..., Site], newcomer: Newcomer) -> None:
    """A cached page may ask under a policy that has changed since: a refusal hides its notice."""
    old = httpx.get(serve().url("/shared")).text
    site = serve(replace(POLICY, version="2"))
    visitor = newcomer(site)
    visitor.context.route("**/shared", lambda route: route.fulfill(content_type="text/html", body=old))
    for _ in range(2):
        visitor.visit("/shared")
        expect(visitor.notice).to_be_visible()
        visitor.reject()
        expect(visitor.status).to_have_text("Your choice is saved.")
        expect(visitor.notice).to_be_hidden()
        expect(visitor.control).to_be_visible()
    visitor.visit("/two")
    expect(visitor.notice).to_be_hidden()
    assert [row.state for row in site.rows()] == ["refused"]
    assert visitor.outside() == []
