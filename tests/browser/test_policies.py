"""Pages with a Content-Security-Policy: nothing of ours is blocked, nothing more is let in."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from browser.google import is_hit
from browser.pages import METAS, Site
from browser.visitor import Newcomer, Visitor
from gem_consent.csp import lacks_hosts
from gem_consent.scripts import composed

pytestmark = pytest.mark.browser

_OWN_RUNS = ["/nonce", "/hash", "/dynamic", "/dynamic/hash", "/inline", "/comma", "/reported"]
_OTHERS = ["/strict", "/none", "/default", "/headers"]
_LETTING = ["google", "nonce-only", "dynamic", "nonce", "wide"]
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


@pytest.mark.parametrize("prefix", ["/meta/", "/shared/meta/"])
@pytest.mark.parametrize("name", METAS)
def test_policy_in_a_meta_blocks_nothing(site: Site, newcomer: Newcomer, name: str, prefix: str) -> None:
    """No violation either where the policy stands in the page: what it would forbid is not tried."""
    visitor = newcomer(site)
    page = visitor.visit(prefix + name)
    expect(visitor.notice).to_be_visible()
    assert visitor.notice.evaluate("one => getComputedStyle(one).position") == "fixed"
    visitor.reject()
    assert visitor.control.evaluate("one => getComputedStyle(one).position") == "fixed"
    visitor.context.clear_cookies()
    visitor.visit(prefix + name)
    if name in _LETTING:
        visitor.accept()
    else:
        visitor.button("Accept all").click()
    expect(visitor.control).to_be_visible()
    if name in _LETTING:
        with page.expect_request(lambda request: is_hit(request.url)):
            visitor.visit(prefix + name)
    else:
        visitor.visit(prefix + name)
    assert [bool(visitor.outside()), visitor.troubles] == [name in _LETTING, []]
    visitor.withdraw()
    expect(visitor.button("Withdraw my agreement")).to_be_hidden()
    visitor.requests.clear()
    visitor.visit(prefix + name)
    assert [row.state for row in site.rows()] == ["refused", "given", "withdrawn"]
    assert (visitor.outside(), visitor.troubles) == ([], [])


def test_report_only_reloads_once(site: Site, newcomer: Newcomer) -> None:
    """Under a policy that only reports a grant reloads the page once; the same grant does not do so again."""
    visitor = newcomer(site)
    page = visitor.visit("/reported")
    visitor.accept()
    visitor.beat()
    assert page.locator("script[data-csp]").count() == 1
    page.evaluate("gemConsent.grant()")
    visitor.beat()
    assert site.asked.count("GET /reported") == 2
    assert visitor.troubles == []


def test_page_older_than_the_grant_starts_nothing(site: Site, newcomer: Newcomer) -> None:
    """A page sent just before the grant lets no vendor in: nothing is tried, and the next one measures."""
    visitor = newcomer(site)
    before = visitor.page.goto(site.url("/nonce"))
    assert before is not None
    headers, body = before.headers, before.text()
    visitor.accept()
    visitor.page.route("**/nonce", lambda route: route.fulfill(headers=headers, body=body), times=1)
    # a page that does not measure, so that whatever is sent comes from the next
    visitor.visit("/privacy-choices")
    visitor.requests.clear()
    visitor.visit("/nonce")
    expect(visitor.control).to_be_visible()
    expect(visitor.notice).to_be_hidden()
    visitor.page.wait_for_load_state("networkidle")
    assert (visitor.outside(), visitor.troubles) == ([], [])
    with visitor.page.expect_request(lambda request: is_hit(request.url)):
        visitor.visit("/nonce")


def test_policy_may_come_late(site: Site, newcomer: Newcomer) -> None:
    """What is granted waits for the whole head, where a policy may yet come; the console says what lacks."""
    visitor = newcomer(site)
    visitor.visit()
    visitor.accept()
    visitor.beat()
    # a tab of its own, whose requests are not mixed with those of the tag that still runs
    late = visitor.context.new_page()
    requests: list[str] = []
    late.on("request", lambda request: requests.append(request.url))
    with late.expect_console_message(lambda message: message.type == "warning") as said:
        late.goto(site.url("/late"), wait_until="load")
    assert said.value.text == (
        "gem_consent: google-analytics is not started, for the policy in a <meta> of this page forbids it; "
        f"needed: script-src {_HOST}; img-src https://*.google-analytics.com; img-src {_HOST}; "
        "connect-src https://*.google-analytics.com; connect-src https://*.analytics.google.com; "
        f"connect-src {_HOST}"
    )
    assert [url for url in requests if not url.startswith(site.url())] == []
    assert visitor.troubles == []


# What `allowed.js` finds lacking under each policy, which stands where no browser enforces it.
_JUDGE = """\
([policies, needed]) => policies.map((policy) => {
  document.body.innerHTML = "<meta http-equiv=content-security-policy>";
  document.querySelector("meta").content = policy;
  %s
  return lacking(needed, "").length > 0;
})"""
_HOSTS = [
    "",
    "'none'",
    "*",
    "https:",
    "http:",
    "data: 'self' 'unsafe-inline' blob:",
    "https://www.example.org",
    "HTTPS://www.Example.org",
    "www.example.org",
    "http://www.example.org",
    "*.example.org",
    "https://*.example.org a.test",
    "*.org",
    "example.org",
    "*.www.example.org",
    "www.example.org.test",
    "'strict-dynamic' 'nonce-YQ'",
]
_UNWEIGHED = ["https://www.example.org:443", "www.example.org:*", "https://www.example.org/", "wss://*"]


@pytest.mark.parametrize(
    "wanted", ["https://www.example.org", "https://*.example.org", "wss://www.example.org"]
)
@pytest.mark.parametrize("directive", ["script-src", "frame-src", "connect-src"])
def test_page_judges_as_the_server_does(browser: Browser, directive: str, wanted: str) -> None:
    """The page's script and the server read policies alike, though only one weighs paths and ports."""
    lists = [*_HOSTS, *_UNWEIGHED]
    policies = [
        *(f"{directive} {hosts}; img-src *" for hosts in lists),
        *(f" Default-Src {hosts} ;; x" for hosts in lists),
        *(f"script-src-elem {hosts};child-src {hosts}; default-src 'none'; script-src *" for hosts in lists),
        *(f"{directive} {hosts}; {directive} *; default-src *" for hosts in lists),
    ]
    page = browser.new_page()
    found = page.evaluate(_JUDGE % composed("allowed.js", {}), [policies, {directive: [wanted]}])
    page.close()
    known = {directive: (wanted,)}
    lacks = [lacks_hosts([(b"content-security-policy", one.encode())], known) for one in policies]
    for policy, in_page, on_server in zip(policies, found, lacks, strict=True):
        assert in_page == (on_server or any(hosts in policy for hosts in _UNWEIGHED)), policy


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
