"""One choice for a.example.com and b.example.com, in a real browser with its real cookie jar."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from browser.pages import Site
from browser.visitor import Newcomer, Visitor

pytestmark = pytest.mark.browser

A, B = "a.example.com", "b.example.com"


@pytest.fixture
def visitor(serve: Callable[..., Site], newcomer: Newcomer, has_script: bool) -> Visitor:
    """Someone who has been at neither, with JavaScript and without."""
    return newcomer(serve(share_domain="example.com"), has_script=has_script)


def kept(visitor: Visitor) -> list[tuple[str, str]]:
    """Give the library's cookies, with their domains."""
    found = [(cookie["name"], cookie["domain"]) for cookie in visitor.context.cookies()]
    return sorted(pair for pair in found if pair[0].startswith("gem_"))


def test_choice_on_one_holds_on_the_other(visitor: Visitor) -> None:
    """Granted on a, nothing is asked on b and the tag runs; withdrawn on b, nothing runs on a any more."""
    visitor.visit("/", A)
    visitor.accept()
    assert kept(visitor) == [("gem_consent", ".example.com"), ("gem_consent_hint", ".example.com")]
    visitor.visit("/", B)
    assert not visitor.notice.is_visible()
    assert "googletagmanager.com" in visitor.page.content()
    visitor.withdraw()
    visitor.visit("/", A)
    assert not visitor.notice.is_visible()
    assert "googletagmanager.com" not in visitor.page.content()
    assert [row.state for row in visitor.site.rows()] == ["given", "withdrawn"]


def test_own_choice_is_replaced(visitor: Visitor) -> None:
    """A cookie that a kept alone before goes with the next choice: one name is never kept twice."""
    visitor.visit("/", A)
    visitor.accept()
    cookies = {cookie["name"]: cookie["value"] for cookie in visitor.context.cookies()}
    visitor.context.clear_cookies()
    address = visitor.site.url("/", A)
    own = [
        {"name": name, "value": cookies[name], "url": address} for name in ("gem_consent", "gem_consent_hint")
    ]
    visitor.context.add_cookies(own)  # type: ignore[arg-type]
    assert kept(visitor) == [("gem_consent", A), ("gem_consent_hint", A)]
    visitor.visit("/", A)
    assert not visitor.notice.is_visible()
    visitor.site.clock.offset = 10
    visitor.withdraw()
    assert kept(visitor) == [("gem_consent", ".example.com"), ("gem_consent_hint", ".example.com")]
    visitor.visit("/", B)
    assert not visitor.notice.is_visible()


def test_refusal_is_not_asked_again(visitor: Visitor) -> None:
    """Refused on b, the parent domain and a do not ask."""
    visitor.visit("/", B)
    visitor.reject()
    for host in ("example.com", A):
        visitor.visit("/", host)
        assert not visitor.notice.is_visible()
        assert visitor.outside() == []
