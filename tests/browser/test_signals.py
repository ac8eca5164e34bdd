"""What scripts make of signals and crawlers, and what presses the refusal on a visitor's behalf."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect
from test_client import CRAWLERS
from walks import ROOT

from browser.pages import Site
from browser.visitor import Newcomer, Visitor

pytestmark = pytest.mark.browser

_SIGNAL = "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', { get: () => true });"
_GOOGLEBOT = CRAWLERS[0]
_RULES = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "signals.md").read_text("utf-8"), re.DOTALL)
AUTOCONSENT, CONSENT_O_MATIC = map(json.loads, _RULES)


def signalling(newcomer: Newcomer, site: Site) -> Visitor:
    visitor = newcomer(site, extra_http_headers={"sec-gpc": "1"})
    visitor.context.add_init_script(_SIGNAL)
    return visitor


@pytest.mark.rule("G1")
@pytest.mark.parametrize("path", ["/", "/shared"])
def test_signal_refuses(serve: Callable[..., Site], newcomer: Newcomer, path: str) -> None:
    """Where the site obeys the signal there is no notice, on a private page and on a shared one."""
    visitor = signalling(newcomer, serve(gpc="refuse"))
    visitor.visit(path)
    expect(visitor.control).to_be_visible()
    expect(visitor.notice).not_to_be_visible()
    assert visitor.outside() == []
    assert visitor.cookies() == {}


@pytest.mark.parametrize("path", ["/", "/shared"])
def test_signal_is_asked_elsewhere(site: Site, newcomer: Newcomer, path: str) -> None:
    """Where the site asks all the same, the notice is there."""
    visitor = signalling(newcomer, site)
    visitor.visit(path)
    expect(visitor.notice).to_be_visible()


def test_choice_outweighs_signal(serve: Callable[..., Site], newcomer: Newcomer) -> None:
    """Who goes to the preferences and accepts has accepted, and the row says that the signal was on."""
    site = serve(gpc="refuse")
    visitor = signalling(newcomer, site)
    visitor.visit("/privacy-choices")
    visitor.leave_by(visitor.button("Accept all"))
    visitor.visit("/shared")
    visitor.page.wait_for_function("window.tagBeats > 0")
    assert [row.surface for row in site.rows()] == ["preferences:gpc"]


@pytest.mark.parametrize("path", ["/", "/shared"])
def test_crawler_sees_no_notice(site: Site, newcomer: Newcomer, path: str) -> None:
    """A crawler that runs scripts reads the page without the notice."""
    visitor = newcomer(site, user_agent=_GOOGLEBOT)
    visitor.visit(path)
    expect(visitor.control).to_be_visible()
    expect(visitor.notice).not_to_be_visible()


def test_maker_of_phones_is_no_crawler(site: Site, newcomer: Newcomer) -> None:
    """A Cubot is a phone."""
    agent = (
        "Mozilla/5.0 (Linux; Android 11; CUBOT KINGKONG 5 Pro) AppleWebKit/537.36 Chrome/99.0.4844.88 Mobile"
    )
    visitor = newcomer(site, user_agent=agent)
    visitor.visit("/shared")
    expect(visitor.notice).to_be_visible()


def steps(rule: Any) -> tuple[list[str], list[str], str]:
    """Give what a rule takes for the notice's presence, for its showing, and what it presses to refuse."""
    if "optOut" in rule:
        shown = [step["visible"] for step in rule["detectPopup"]]
        return [step["exists"] for step in rule["detectCmp"]], shown, rule["optOut"][0]["waitForThenClick"]
    (named,) = (value for key, value in rule.items() if key != "$schema")
    (detector,) = named["detectors"]
    found = [
        [match["target"]["selector"] for match in detector[f"{kind}Matcher"]]
        for kind in ("present", "showing")
    ]
    (action,) = (method["action"] for method in named["methods"] if method["name"] == "DO_CONSENT")
    return found[0], found[1], action["falseAction"]["target"]["selector"]


@pytest.mark.parametrize("rule", [AUTOCONSENT, CONSENT_O_MATIC], ids=["autoconsent", "Consent-O-Matic"])
@pytest.mark.parametrize("path", ["/", "/shared"])
def test_extension_can_refuse(site: Site, newcomer: Newcomer, rule: Any, path: str) -> None:
    """The rules in the documentation find the notice, press its refusal, and then find no notice."""
    visitor = newcomer(site)
    page = visitor.visit(path)
    present, shown, refusal = steps(rule)
    for selector in present:
        expect(page.locator(selector)).to_have_count(1)
    for selector in shown:
        expect(page.locator(selector)).to_be_visible()
    page.evaluate("selector => document.querySelector(selector).click()", refusal)
    visitor.control.wait_for()
    for selector in shown:
        expect(page.locator(selector)).not_to_be_visible()
    assert [row.action for row in site.rows()] == ["deny_all"]
