"""Pages with a Content-Security-Policy: nothing of ours is blocked, nothing more is let in."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from browser.pages import Site
from browser.visitor import Newcomer, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("path", ["/nonce", "/strict"])]


def test_policy_blocks_nothing(site: Site, newcomer: Newcomer, path: str) -> None:
    """No violation and no error before the choice, after it, on the next visit, nor after withdrawing."""
    visitor = newcomer(site)
    visitor.visit(path)
    expect(visitor.notice).to_be_visible()
    assert visitor.notice.evaluate("one => getComputedStyle(one).position") == "fixed"
    assert visitor.outside() == []
    visitor.accept()
    visitor.page.wait_for_load_state()
    expect(visitor.control).to_be_visible()
    visitor.visit(path)
    visitor.beat()
    visitor.withdraw()
    expect(visitor.button("Withdraw my agreement")).to_be_hidden()
    visitor.requests.clear()
    visitor.visit(path)
    assert visitor.outside() == []
    assert visitor.troubles == []


def test_acceptance_reloads_for_the_policy(site: Site, newcomer: Newcomer, path: str) -> None:
    """The policy names Google's hosts only once they are granted, so that accepting reloads the page."""
    visitor = newcomer(site)
    assert "google" not in _policy(visitor, path)
    with visitor.page.expect_navigation(url=site.url(path)):
        visitor.accept()
    assert site.asked.count(f"GET {path}") == 2
    assert visitor.troubles == []
    granted = _policy(visitor, path)
    assert "https://www.googletagmanager.com" in granted
    assert "unsafe-inline" not in granted
    visitor.withdraw()
    assert "google" not in _policy(visitor, path)
    assert visitor.troubles == []


def test_refusal_does_not_reload(site: Site, newcomer: Newcomer, path: str) -> None:
    """A refusal needs no other policy, so that the page stays."""
    visitor = newcomer(site)
    visitor.visit(path)
    visitor.reject()
    assert site.asked.count(f"GET {path}") == 1
    assert visitor.troubles == []


def _policy(visitor: Visitor, path: str) -> str:
    response = visitor.page.goto(visitor.site.url(path))
    assert response is not None
    return response.headers["content-security-policy"]
