"""Embeds, and what waits for a purpose: nothing is asked of the vendor before a visitor says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Route, expect
from test_catalogues import LANGUAGES

from browser.pages import MEDIA, Row, Site
from browser.visitor import Newcomer, Visitor

pytestmark = pytest.mark.browser

_FRAME = "https://www.youtube-nocookie.com/embed/M7lc1UVf-VE"

_SIZES = "all => all.map((one) => [one.offsetWidth, one.offsetHeight, one.scrollWidth > one.clientWidth])"


def _play(route: Route) -> None:
    route.fulfill(content_type="text/html", body="<!doctype html><title>The film</title><p>Film")


@pytest.fixture
def site(serve: Callable[..., Site]) -> Site:
    """A site with Google Analytics and videos."""
    return serve(MEDIA)


@pytest.fixture
def watcher(site: Site, newcomer: Newcomer, has_script: bool) -> Visitor:
    """Someone on the page with the film, with JavaScript and without; YouTube is played by the test."""
    visitor = newcomer(site, has_script=has_script, viewport={"width": 900, "height": 900})
    visitor.context.route("https://www.youtube-nocookie.com/**", _play)
    visitor.vendors.append("https://www.youtube-nocookie.com/")
    visitor.visit("/embed")
    return visitor


def _height(visitor: Visitor) -> float:
    box = visitor.page.locator(".gem-embed").bounding_box()
    assert box
    assert abs(box["width"] - 562) < 2
    return box["height"]


@pytest.mark.rule("P1")
def test_vendor_is_not_asked_before(watcher: Visitor) -> None:
    """The placeholder has the embed's size, names who would receive data, and asks nothing of them (P1)."""
    assert watcher.outside() == []
    assert abs(_height(watcher) - 317) < 2
    place = watcher.page.locator(".gem-embed")
    for words in ("The film", "Google Ireland Limited", "Google LLC", "United States", "nothing else"):
        expect(place).to_contain_text(words)
    first = place.get_by_role("button" if watcher.has_script else "link", name="Show once")
    if watcher.has_script:
        expect(first).to_be_visible()
        expect(place.get_by_role("link", name="Open in a new tab")).to_be_hidden()
    else:
        expect(place.get_by_role("button", name="Show once")).to_be_hidden()
        expect(place.get_by_role("link", name="Open in a new tab")).to_be_visible()


def test_every_language_keeps_the_size(site: Site, newcomer: Newcomer, has_script: bool) -> None:
    """The placeholder is as large as its video in every language, and its two buttons are of one size."""
    visitor = newcomer(site, has_script=has_script, viewport={"width": 900, "height": 900})
    for language in LANGUAGES:
        page = visitor.visit(f"/embed?lang={language}")
        assert page.locator(".gem-embed").get_attribute("lang") == language
        assert abs(_height(visitor) - 317) < 2, language
        buttons = page.locator(".gem-press > *").locator("visible=true")
        first, second = buttons.evaluate_all(_SIZES)
        assert first == second, language
        assert first[1] >= 44, language
        assert not first[2], language


def test_once_keeps_nothing(watcher: Visitor, site: Site) -> None:
    """Shown once: the film is there, in the same room, with the focus; nothing is kept, and it asks again."""
    if not watcher.has_script:
        with watcher.context.expect_page() as opened:
            watcher.page.get_by_role("link", name="Open in a new tab").click()
        assert opened.value.url == _FRAME
        opened.value.close()
    else:
        before = _height(watcher)
        watcher.button("Show once").click()
        expect(watcher.page.frame_locator("iframe[title='The film']").get_by_text("Film")).to_be_visible()
        expect(watcher.page.locator("iframe[title='The film']")).to_be_focused()
        assert _height(watcher) == before
        expect(watcher.button("Always show")).to_be_hidden()
    assert not watcher.cookies()
    assert site.rows() == []
    watcher.visit("/embed")
    expect(watcher.button("Always show")).to_be_visible()


def test_always_grants_that_alone(watcher: Visitor, site: Site) -> None:
    """Always: the film comes, on the next page too; analytics stays off, and one row says so."""
    if watcher.has_script:
        watcher.button("Always show").click()
    else:
        watcher.leave_by(watcher.button("Always show"))
    film = watcher.page.frame_locator("iframe[title='The film']").get_by_text("Film")
    expect(film).to_be_visible()
    expect(watcher.notice).to_be_hidden()
    assert site.rows() == [Row("given", "grant", "embed", '{"analytics":false,"media":true}')]
    watcher.visit("/embed")
    expect(film).to_be_visible()
    expect(watcher.button("Always show")).to_have_count(0)
    assert not any("google" in url for url in watcher.outside())


def test_what_waits_begins_when_granted(site: Site, newcomer: Newcomer) -> None:
    """A script and a frame that wait begin with their purpose, once, at once and later, and no other does."""
    visitor = newcomer(site)
    page = visitor.visit("/waiting")
    assert page.evaluate("window.begun") is None
    visitor.accept_only("analytics")
    page.wait_for_function("window.begun === 1")
    page.evaluate(
        """() => {
          const late = document.createElement("div");
          late.innerHTML = "<script type='text/plain' data-consent='analytics'>window.late = 1</scr" + "ipt>";
          document.body.append(late);
        }"""
    )
    page.wait_for_function("window.late === 1")
    assert page.evaluate("[window.begun, window.never, document.querySelector('iframe').src]") == [
        1,
        None,
        "",
    ]
    visitor.visit("/waiting")
    page.wait_for_function("window.begun === 1")
    assert page.evaluate("window.never") is None
    page.evaluate("gemConsent.grant('media')")
    page.wait_for_function("window.never === 1")
    expect(page.frame_locator("iframe[title=Two]").get_by_role("heading", name="/two")).to_be_visible()


def test_barred_frames_and_scripts_wait_on(site: Site, newcomer: Newcomer) -> None:
    """What the policy in a page's meta keeps out is not tried; the film is shown beside the page."""
    visitor = newcomer(site)
    visitor.context.route("https://www.youtube-nocookie.com/**", _play)
    visitor.vendors.append("https://www.youtube-nocookie.com/")
    page = visitor.visit("/barred")
    with visitor.context.expect_page() as opened:
        visitor.button("Show once").click()
    assert opened.value.url == _FRAME
    opened.value.close()
    visitor.requests.clear()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    visitor.button("Accept all").click()
    expect(visitor.control).to_be_visible()
    expect(page.locator("iframe[title=Icon]")).to_have_attribute("src", "/icon")
    assert page.evaluate("window.begun") == 1
    assert page.locator("iframe[title=Other]").get_attribute("src") is None
    assert (visitor.outside(), visitor.troubles) == ([], [])
    assert sorted(line.partition("needed: ")[2] for line in said) == [
        "frame-src https://films.example",
        "frame-src https://www.youtube-nocookie.com",
        "script-src https://tool.example",
        "script-src https://www.googletagmanager.com",
    ]


def test_scripts_of_the_site_choose(site: Site, newcomer: Newcomer) -> None:
    """The interface for the site's own scripts: state, grants, denials, and news of both."""
    visitor = newcomer(site)
    page = visitor.visit()
    page.evaluate("window.heard = []; gemConsent.on((purposes) => heard.push(purposes.join()))")
    assert page.evaluate("gemConsent.granted") is None
    assert page.evaluate("gemConsent.grant('media')") == ["media"]
    assert page.evaluate("gemConsent.grant('analytics')") == ["analytics", "media"]
    with page.expect_event("load"):
        page.evaluate("void gemConsent.deny('media')")
    assert page.evaluate("gemConsent.granted") == ["analytics"]
    assert [(row.action, row.surface) for row in site.rows()] == [("grant", "site")] * 2 + [("deny", "site")]


def test_choice_by_script_names_the_notice_of_the_page(site: Site, newcomer: Newcomer) -> None:
    """What a script of the site chooses answers the notice in the page's own language."""
    page = newcomer(site).visit("/lang/el")
    shown = page.locator("#gem-notice [name=notice]").input_value()
    with page.expect_request("**/privacy-choices") as sent:
        page.evaluate("void gemConsent.deny()")
    assert f'"notice":"{shown}"' in (sent.value.post_data or "")


def test_swapped_pages_keep_working(site: Site, newcomer: Newcomer) -> None:
    """A page drawn anew by a script shows the choice, comes back to where it is, and runs nothing twice."""
    visitor = newcomer(site)
    page = visitor.visit("/two")
    page.evaluate(
        """async () => {
          history.pushState({}, "", "/fr/page?q=1");
          const text = await (await fetch("/fr/page")).text();
          const next = new DOMParser().parseFromString(text, "text/html");
          document.documentElement.removeAttribute("data-gem-consent");
          for (const one of next.querySelectorAll("head script")) {
            const script = document.createElement("script");
            for (const { name, value } of one.attributes) script.setAttribute(name, value);
            script.text = one.text;
            document.head.append(script);
          }
          document.body.replaceWith(next.body);
        }"""
    )
    page.wait_for_function("document.documentElement.dataset.gemConsent === 'undecided'")
    with page.expect_request("**/privacy-choices") as sent:
        visitor.button("Reject all").click()
    assert '"return":"/fr/page?q=1"' in (sent.value.post_data or "")
    expect(visitor.control).to_be_visible()
    assert site.asked.count("POST /privacy-choices") == 1
    page.evaluate("document.documentElement.removeAttribute('data-gem-consent')")
    page.wait_for_function("document.documentElement.dataset.gemConsent === 'denied'")


def test_other_tab_agrees(site: Site, newcomer: Newcomer) -> None:
    """A choice in one tab shows in another at once, and what it withdraws falls silent there."""
    visitor = newcomer(site)
    visitor.visit()
    other = visitor.context.new_page()
    other.goto(site.url("/two"))
    visitor.accept()
    expect(other.get_by_role("region", name="Your choice about cookies")).to_be_hidden()
    other.wait_for_function("window.tagBeats >= 0")
    visitor.withdraw()
    other.wait_for_function("window['ga-disable-G-XXXXXXXXXX'] === true")
