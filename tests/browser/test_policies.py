"""Pages with a Content-Security-Policy: nothing of ours is blocked, nothing more is let in."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from browser.pages import Site
from browser.visitor import Newcomer, Visitor

pytestmark = pytest.mark.browser

_OWN_RUNS = ["/nonce", "/hash", "/dynamic", "/dynamic/hash", "/inline", "/comma", "/reported"]
_OTHERS = ["/strict", "/none", "/default", "/headers"]
_HOST = "https://www.googletagmanager.com"


@pytest.mark.rule("P8")
@pytest.mark.parametrize("path", [*_OWN_RUNS, *_OTHERS])
def test_policy_blocks_nothing(site: Site, newcomer: Newcomer, path: str) -> None:
    """No violation and no error before the choice, after it, on the next visit, nor after withdrawing.

    The policy names Google's hosts only while they are granted, so that accepting reloads the page; a
    refusal needs no other policy, so that the page stays.
    """
    visitor = newcomer(site)
    assert "google" not in _policy(visitor, path)
    expect(visitor.notice).to_be_visible()
    assert visitor.notice.evaluate("one => getComputedStyle(one).position") == "fixed"
    assert visitor.page.evaluate("window.own") == (1 if path in _OWN_RUNS else None)
    visitor.reject()
    assert site.asked.count(f"GET {path}") == 1
    assert "google" not in _policy(visitor, path)
    assert (visitor.outside(), visitor.troubles) == ([], [])
    visitor.context.clear_cookies()
    visitor.visit(path)
    site.asked.clear()
    visitor.accept()
    expect(visitor.control).to_be_visible()
    assert site.asked.count(f"GET {path}") == 1
    assert ("strict-dynamic" in (granted := _policy(visitor, path))) or _HOST in granted
    assert ("unsafe-inline" in granted) == (path in ("/inline", "/headers"))
    assert visitor.page.evaluate("window.own") == (1 if path in _OWN_RUNS else None)
    visitor.beat()
    visitor.withdraw()
    expect(visitor.button("Withdraw my agreement")).to_be_hidden()
    visitor.requests.clear()
    assert "google" not in _policy(visitor, path)
    assert (visitor.outside(), visitor.troubles) == ([], [])


@pytest.mark.parametrize("path", ["/trusted", "/trusted/named", "/trusted/shared"])
def test_trusted_types_start_nothing(site: Site, newcomer: Newcomer, path: str) -> None:
    """Under Trusted Types each choice is taken by a plain form, and nothing of a vendor's is attempted."""
    visitor = newcomer(site)
    visitor.visit(path)
    expect(visitor.notice).to_be_visible()
    visitor.leave_by(visitor.button("Reject all"))
    expect(visitor.control).to_be_visible()
    assert visitor.control.evaluate("one => getComputedStyle(one).position") == "fixed"
    visitor.context.clear_cookies()
    visitor.visit(path)
    visitor.leave_by(visitor.button("Accept all"))
    expect(visitor.notice).to_be_hidden()
    assert "google" not in _policy(visitor, path)
    visitor.withdraw()
    expect(visitor.button("Withdraw my agreement")).to_be_hidden()
    assert [row.state for row in site.rows()] == ["refused", "given", "withdrawn"]
    assert (visitor.outside(), visitor.troubles) == ([], [])


def _policy(visitor: Visitor, path: str) -> str:
    response = visitor.page.goto(visitor.site.url(path))
    assert response is not None
    return "; ".join(value for name, value in response.headers.items() if name.startswith("content-security"))


def test_base_takes_nothing_elsewhere(site: Site, newcomer: Newcomer) -> None:
    """Under a base of another host choices go to the page's own, and so do links and scripts."""
    visitor = newcomer(site)
    visitor.visit("/based")
    visitor.open_preferences(visitor.page.locator("#gem-notice [data-gem=open]"))
    visitor.page.keyboard.press("Escape")
    visitor.reject()
    assert [row.state for row in site.rows()] == ["refused"]
    assert (visitor.outside(), visitor.troubles) == ([], [])
