"""The whole life of a choice, with JavaScript, without, and by keyboard alone, step by step."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from browser.google import is_google, is_hit, signals_of
from browser.pages import PRESS, Row, Site
from browser.visitor import Newcomer, Visitor

pytestmark = pytest.mark.browser

_GIVEN = Row("given", "grant_all", "notice", '{"analytics":true}')
_REFUSED = Row("refused", "deny_all", "notice", '{"analytics":false}')
_WITHDRAWN = Row("withdrawn", "withdraw", "settings", '{"analytics":false}')
_OWN = {"gem_consent", "gem_consent_hint"}
_TRACKERS = {"_ga", "_ga_XXXXXXXXXX"}
_LONGEST = timedelta(days=393)


@pytest.mark.rule("P1", "P2", "P3", "P5", "P6")
def test_nothing_before_the_choice(visitor: Visitor, site: Site) -> None:
    """A first visit requests the document alone, keeps nothing in the browser, and writes no row."""
    page = visitor.visit()
    expect(visitor.notice).to_be_visible()
    assert visitor.requests == [site.url()]
    assert site.asked == ["GET /"]
    assert not visitor.cookies()
    if visitor.has_script:
        page.mouse.wheel(0, 500)
        page.keyboard.press("Escape")
        page.locator("h1").click()
        assert page.evaluate("localStorage.length + sessionStorage.length") == 0
        assert page.evaluate("Promise.all([indexedDB.databases(), caches.keys()])") == [[], []]
    expect(visitor.notice).to_be_visible()
    visitor.visit("/two")
    assert site.asked == ["GET /", "GET /two"]
    assert not visitor.cookies()
    assert site.rows() == []


def test_acceptance_starts_the_tag(site: Site, newcomer: Newcomer) -> None:
    """Accepting starts the tag without a reload, and leaves two cookies of ours and one row."""
    visitor = newcomer(site)
    page = visitor.visit()
    page.evaluate("window.isSamePage = true")
    visitor.accept()
    expect(visitor.notice).to_be_hidden()
    expect(visitor.control).to_be_visible()
    assert page.evaluate("window.isSamePage")
    asked = ["GET /", "POST /privacy-choices", PRESS, "GET /privacy-choices/tags"]
    assert site.asked == asked
    assert visitor.cookies().keys() == _OWN | _TRACKERS
    assert visitor.cookies()["gem_consent"]["httpOnly"]
    assert {signals_of(hit) for hit in visitor.hits()} == {"G101"}
    assert site.rows() == [_GIVEN]


@pytest.mark.rule("A2", "A4")
def test_acceptance_reaches_page_two(site: Site, newcomer: Newcomer) -> None:
    """The next page carries the tag itself, shows no notice, and does not slide the tracker's expiry."""
    visitor = newcomer(site)
    visitor.visit()
    visitor.accept()
    first = visitor.cookies()
    site.asked.clear()
    with visitor.page.expect_request(lambda request: is_hit(request.url)):
        visitor.visit("/two")
    expect(visitor.notice).to_have_count(0)
    visitor.beat()
    assert site.asked == ["GET /two"]
    for name in _TRACKERS:
        assert visitor.cookies()[name]["expires"] == first[name]["expires"]
        assert first[name]["expires"] <= time.time() + _LONGEST.total_seconds()
    assert visitor.cookies()["gem_consent"] == first["gem_consent"]
    assert {signals_of(hit) for hit in visitor.hits()} == {"G101"}
    assert len(site.rows()) == 1


def test_acceptance_works_without_script(site: Site, newcomer: Newcomer) -> None:
    """Without JavaScript, accepting comes back to the page, which now carries the tag and the control."""
    visitor = newcomer(site, has_script=False)
    visitor.visit("/two?q=1")
    visitor.accept()
    assert visitor.page.url == site.url("/two?q=1")
    expect(visitor.notice).to_have_count(0)
    expect(visitor.control).to_be_visible()
    assert "googletagmanager.com/gtag/js" in visitor.page.content()
    assert visitor.outside() == []
    assert visitor.cookies().keys() == _OWN
    assert site.rows() == [_GIVEN]


_LATE = """\
sessionStorage.late ??= "";
addEventListener("submit", ({ submitter }) => {
  if (submitter.value === "withdraw") sessionStorage.pressed = "yes";
}, true);
addEventListener("pagehide", () => sessionStorage.disabled = window["ga-disable-G-XXXXXXXXXX"]);
const { fetch } = window;
window.fetch = (...given) => {
  if (sessionStorage.pressed && String(given[0]).includes("google")) sessionStorage.late += given[0] + " ";
  return fetch(...given);
};
"""


@pytest.mark.rule("W3")
def test_withdrawal_silences_the_tag(site: Site, newcomer: Newcomer) -> None:
    """From the press on nothing is sent; the tag is off before the page reloads, and its cookies are gone."""
    visitor = newcomer(site)
    visitor.context.add_init_script(_LATE)
    visitor.visit()
    visitor.accept()
    visitor.visit("/two")
    visitor.beat()
    visitor.withdraw()
    expect(visitor.status).to_have_text("Your choice is saved.")
    expect(visitor.page.get_by_role("link", name="Manage my cookies")).to_be_focused()
    assert visitor.page.evaluate("sessionStorage.late") == ""
    assert visitor.page.evaluate("sessionStorage.disabled") == "true"
    assert visitor.cookies().keys() == _OWN
    assert site.rows() == [_GIVEN, _WITHDRAWN]
    visitor.requests.clear()
    visitor.visit("/")
    visitor.visit("/shared")
    assert visitor.outside() == []
    expect(visitor.notice).to_be_hidden()
    expect(visitor.button("Withdraw my agreement")).to_be_hidden()
    assert visitor.cookies().keys() == _OWN


def test_withdrawal_works_without_script(site: Site, newcomer: Newcomer) -> None:
    """Without JavaScript one press withdraws: the page comes back without the tag, and one row is written."""
    visitor = newcomer(site, has_script=False)
    visitor.visit()
    visitor.accept()
    visitor.visit("/two")
    visitor.withdraw()
    assert visitor.page.url == site.url("/two")
    assert "google" not in visitor.page.content()
    expect(visitor.control.get_by_role("link")).to_be_visible()
    expect(visitor.button("Withdraw my agreement")).to_be_hidden()
    assert site.rows() == [_GIVEN, _WITHDRAWN]


@pytest.mark.rule("R1", "R2")
def test_refusal_loads_nothing(visitor: Visitor, site: Site) -> None:
    """A refusal is one row, kept as long as an acceptance; nothing loads then, nor on the next pages."""
    visitor.visit()
    visitor.reject()
    expect(visitor.notice).to_be_hidden()
    for path in ("/two", "/", "/fr/page"):
        visitor.visit(path)
        expect(visitor.notice).to_have_count(0)
        expect(visitor.control).to_be_visible()
    assert visitor.outside() == []
    cookies = visitor.cookies()
    assert cookies.keys() == _OWN
    for name in _OWN:
        left = timedelta(seconds=cookies[name]["expires"] - time.time())
        assert timedelta(days=392) < left <= _LONGEST
    assert site.rows() == [_REFUSED]


def test_same_choice_writes_nothing(visitor: Visitor, site: Site) -> None:
    """Pressing again what is already in force, from an older page, writes no second row."""
    visitor.visit()
    older = visitor.context.new_page()
    older.goto(site.url("/two"))
    visitor.reject()
    reject = older.get_by_role("button", name="Reject all")
    if visitor.has_script:  # the other tab has heard of it
        expect(reject).to_be_hidden()
        older.evaluate("gemConsent.deny()")
    else:
        with older.expect_response(lambda response: response.request.method == "POST"):
            reject.click()
    assert site.asked.count("POST /privacy-choices") == 2
    assert site.rows() == [_REFUSED]


@pytest.mark.rule("C3")
def test_choice_ends_by_the_servers_clock(visitor: Visitor, site: Site) -> None:
    """After 393 days the server asks again, though the browser still sends the cookie; the tag is silent."""
    visitor.visit()
    visitor.accept()
    site.clock.offset = _LONGEST.total_seconds() - 60
    visitor.visit("/two")
    expect(visitor.notice).to_be_hidden()
    site.clock.offset += 120
    visitor.context.clock.set_fixed_time(time.time() + site.clock.offset)
    visitor.visit("/")
    visitor.requests.clear()
    visitor.visit("/two")
    assert visitor.outside() == []
    assert "googletagmanager" not in visitor.page.locator("head").inner_html().replace("gtag/js?id", "")
    expect(visitor.notice).to_be_visible()
    visitor.reject()
    assert [row.state for row in site.rows()] == ["given", "withdrawn"]


def test_choice_ends_by_the_pages_clock(site: Site, newcomer: Newcomer) -> None:
    """A page stays silent after the end of the choice, and on shared pages the notice is back."""
    visitor = newcomer(site)
    visitor.visit()
    visitor.accept()
    visitor.context.clock.set_fixed_time(time.time() + _LONGEST.total_seconds() + 60)
    visitor.visit("/two")
    visitor.requests.clear()
    visitor.visit("/two")
    assert visitor.outside() == []
    visitor.visit("/shared")
    expect(visitor.notice).to_be_visible()
    assert visitor.outside() == []


@pytest.mark.rule("X1")
@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_keyboard_alone_suffices(visitor: Visitor, site: Site, key: str) -> None:
    """Tab reaches the notice before the page; Enter and Space choose, and withdraw again."""
    visitor.visit()
    assert visitor.tab_to(visitor.button("Accept all")) <= 3
    visitor.page.keyboard.press(key)
    expect(visitor.notice).to_be_hidden()
    expect(visitor.control).to_be_visible()
    if visitor.has_script:
        expect(visitor.page.get_by_role("link", name="Manage my cookies")).to_be_focused()
        expect(visitor.status).to_have_text("Your choice is saved.")
    assert visitor.tab_to(visitor.button("Withdraw my agreement")) <= 2
    with visitor.page.expect_navigation(wait_until="load"):
        visitor.page.keyboard.press(key)
    expect(visitor.button("Withdraw my agreement")).to_be_hidden()
    assert site.rows() == [_GIVEN, _WITHDRAWN]


@pytest.mark.rule("R4")
def test_keyboard_alone_refuses(visitor: Visitor, site: Site) -> None:
    """Refusing by keyboard takes one key more than accepting at most."""
    visitor.visit()
    accept = visitor.tab_to(visitor.button("Accept all"))
    assert visitor.tab_to(visitor.button("Reject all")) == 1
    assert accept <= 3
    visitor.page.keyboard.press("Space")
    expect(visitor.control).to_be_visible()
    expect(visitor.notice).to_be_hidden()
    assert site.rows() == [_REFUSED]
    assert not any(is_google(url) for url in visitor.requests)
