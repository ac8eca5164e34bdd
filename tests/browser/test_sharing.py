"""One choice for a.example.com and b.example.com, in a real browser with its real cookie jar."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from certificates import make_certificate
from server import serving

from browser.pages import POLICY, Site
from browser.visitor import Newcomer, Visitor

pytestmark = pytest.mark.browser

A, B = "a.example.com", "b.example.com"


@pytest.fixture
def visitor(serve: Callable[..., Site], newcomer: Newcomer, has_script: bool) -> Visitor:
    """Someone who has been at neither, with JavaScript and without."""
    return newcomer(serve(share_domain="example.com"), has_script=has_script)


@pytest.fixture
def secure_site(tmp_path: Path) -> Iterator[Site]:
    """The site over TLS."""
    certificate, key = make_certificate(tmp_path, "example.com", "*.example.com")
    site = Site(tmp_path / "ledger.db", POLICY, options={"share_domain": "example.com"}, scheme="https")
    with serving(site.app(), ssl_certfile=certificate, ssl_keyfile=key) as site.port:
        yield site


def kept(visitor: Visitor) -> list[tuple[str, str]]:
    """Give the library's cookies, with their domains."""
    found = [(cookie["name"], cookie["domain"]) for cookie in visitor.context.cookies()]
    return sorted(pair for pair in found if "gem_consent" in pair[0])


def withdraws_for_both(visitor: Visitor) -> None:
    """Find on b what was granted on a; withdraw it there, and find it gone on a."""
    visitor.visit("/", B)
    assert not visitor.notice.is_visible()
    assert "googletagmanager.com" in visitor.page.content()
    visitor.withdraw()
    visitor.visit("/", A)
    assert not visitor.notice.is_visible()
    assert "googletagmanager.com" not in visitor.page.content()


def test_choice_on_one_holds_on_the_other(visitor: Visitor) -> None:
    """Granted on a, nothing is asked on b and the tag runs; withdrawn on b, nothing runs on a any more."""
    visitor.visit("/", A)
    visitor.accept()
    assert kept(visitor) == [("gem_consent", ".example.com"), ("gem_consent_hint", ".example.com")]
    withdraws_for_both(visitor)
    assert [row.state for row in visitor.site.rows()] == ["given", "withdrawn"]


@pytest.mark.rule("C2")
def test_shared_cookie_holds_over_tls(secure_site: Site, newcomer: Newcomer, has_script: bool) -> None:
    """Over TLS the browser keeps the cookie with its prefix for the domain, and each sub-domain obeys it."""
    visitor = newcomer(secure_site, has_script=has_script, ignore_https_errors=True)
    visitor.context.route(re.compile(f":{secure_site.port}/"), lambda route: route.continue_())
    visitor.visit("/", A)
    visitor.accept()
    assert kept(visitor) == [("__Secure-gem_consent", ".example.com"), ("gem_consent_hint", ".example.com")]
    cookie = visitor.cookies()["__Secure-gem_consent"]
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Lax")
    withdraws_for_both(visitor)
    assert [row.state for row in secure_site.rows()] == ["given", "withdrawn"]


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
