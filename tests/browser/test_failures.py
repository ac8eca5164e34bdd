"""What goes wrong between the button and the ledger: nothing starts, and the visitor reads why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from playwright.sync_api import Route, expect

from browser.pages import SEVERAL, Row, Site
from browser.visitor import Newcomer, Visitor
from gem_consent.errors import LedgerUnavailable
from gem_consent.recorder import Recorder

pytestmark = pytest.mark.browser

_DECISION = "POST /privacy-choices"


@pytest.fixture
def lost_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the ledger away from grants."""

    async def lose(*_: Any) -> NoReturn:
        raise LedgerUnavailable("the test took it away")

    monkeypatch.setattr(Recorder, "record", lose)


@pytest.mark.usefixtures("lost_ledger")
def test_lost_ledger_starts_nothing(visitor: Visitor, site: Site) -> None:
    """A grant that cannot be recorded is none: the plain form says so, where it can be answered again."""
    visitor.visit()
    visitor.leave_by(visitor.button("Accept all"))
    expect(visitor.page.get_by_role("alert")).to_contain_text("could not be recorded")
    assert visitor.outside() == []
    assert not visitor.cookies()
    assert site.asked.count(_DECISION) == (2 if visitor.has_script else 1)
    visitor.leave_by(visitor.button("Reject all"))
    assert site.rows() == [Row("refused", "deny_all", "preferences", '{"analytics":false}')]


def test_stale_notice_asks_again(site: Site, newcomer: Newcomer) -> None:
    """A grant that answers a notice nobody was shown is turned away; the present one is there."""
    visitor = newcomer(site)
    page = visitor.visit()
    page.locator("#gem-notice [name=notice]").evaluate("field => field.value = '0'.repeat(64)")
    visitor.leave_by(visitor.button("Accept all"))
    expect(page.get_by_role("alert")).to_contain_text("has changed since this page was opened")
    assert visitor.outside() == []
    assert not visitor.cookies()
    assert site.rows() == []


@pytest.mark.parametrize("fault", ["a page instead of JSON", "half an answer"])
def test_lost_answer_sends_the_form(site: Site, newcomer: Newcomer, fault: str) -> None:
    """Where the script cannot read the answer, the plain form carries the same decision."""
    visitor = newcomer(site)

    def fail(route: Route) -> None:
        if route.request.headers.get("content-type") != "application/json":
            route.fallback()
        else:
            body = "<!doctype html>" if fault == "a page instead of JSON" else '{"decided":'
            route.fulfill(content_type="application/json", body=body)

    visitor.context.route("**/privacy-choices", fail)
    visitor.visit("/two")
    visitor.leave_by(visitor.button("Reject all"))
    assert visitor.page.url == site.url("/two")
    expect(visitor.control).to_be_visible()
    assert site.rows() == [Row("refused", "deny_all", "notice", '{"analytics":false}')]
    assert visitor.outside() == []


@pytest.mark.parametrize("name", ["Accept all", "Reject all"])
def test_lost_network_is_told(site: Site, newcomer: Newcomer, name: str) -> None:
    """Without a network the page stays, says so beside the buttons, and the next press counts once."""
    visitor = newcomer(site)
    visitor.visit("/two")
    visitor.context.set_offline(True)
    visitor.button(name).click()
    expect(visitor.page.get_by_role("alert")).to_contain_text("Check your connection")
    expect(visitor.button(name)).to_be_focused()
    assert site.rows() == []
    assert visitor.outside() == []
    visitor.context.set_offline(False)
    visitor.button(name).click()
    visitor.control.wait_for()
    assert len(site.rows()) == 1


@pytest.mark.parametrize("name", ["Accept all", "Reject all"])
def test_double_click_decides_once(site: Site, newcomer: Newcomer, name: str) -> None:
    """An impatient visitor sends one decision."""
    visitor = newcomer(site)
    visitor.visit()
    visitor.button(name).evaluate("button => { button.click(); button.click(); }")
    visitor.control.wait_for()
    assert site.asked.count(_DECISION) == 1
    assert len(site.rows()) == 1


def test_double_withdrawal_decides_once(site: Site, newcomer: Newcomer) -> None:
    """The control, which stays in sight while its press is under way, sends one decision as well."""
    visitor = newcomer(site)
    visitor.visit()
    visitor.accept()
    with visitor.page.expect_event("load"):
        visitor.button("Withdraw my agreement").evaluate("button => { button.click(); button.click(); }")
    assert site.asked.count(_DECISION) == 2
    assert [row.state for row in site.rows()] == ["given", "withdrawn"]


def test_preferences_outlast_choice_under_way(site: Site, newcomer: Newcomer) -> None:
    """A press while another choice is being saved is not lost: the preferences stay, to be pressed again."""
    visitor = newcomer(site)
    page = visitor.visit("/two")
    visitor.open_preferences(page.get_by_role("link", name="Choose in detail"))
    page.get_by_role("checkbox").check()
    held: list[Route] = []
    visitor.context.route("**/privacy-choices", lambda route: held.append(route))
    with page.expect_request(lambda request: request.method == "POST"):
        page.evaluate("() => { gemConsent.deny(); }")
    visitor.button("Save these choices").click()
    expect(visitor.preferences).to_be_visible()
    visitor.context.unroute("**/privacy-choices")
    held.pop().continue_()
    expect(visitor.status).to_have_text("Your choice is saved.")
    with page.expect_response(lambda response: response.request.method == "POST"):
        visitor.button("Save these choices").click()
    expect(visitor.preferences).to_be_hidden()
    assert [row.surface for row in site.rows()] == ["site", "preferences"]
    assert visitor.troubles == []


def test_frame_without_cookies_works(site: Site, newcomer: Newcomer) -> None:
    """In a sandboxed frame, where to ask for cookies throws, the notice is there and nothing fails."""
    visitor = newcomer(site)
    page = visitor.visit("/privacy")
    page.evaluate(
        'document.body.innerHTML = \'<iframe sandbox="allow-scripts allow-forms" src="/two"></iframe>\''
    )
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("region", name="Your choice about cookies")).to_be_visible()
    assert visitor.troubles == []


@pytest.mark.rule("S1", "S4", "S5")
def test_saving_grants_what_is_ticked(
    serve: Callable[..., Site], newcomer: Newcomer, has_script: bool
) -> None:
    """Nothing is ticked beforehand; what is ticked and saved is granted, and shown when reopened."""
    site = serve(SEVERAL)
    visitor = newcomer(site, has_script=has_script)
    page = visitor.visit("/two")
    visitor.open_preferences(page.get_by_role("link", name="Choose in detail"))
    ticks = page.get_by_role("checkbox")
    expect(ticks).to_have_count(2)
    for tick in ticks.all():
        expect(tick).not_to_be_checked()
    page.get_by_role("checkbox", name="Map").check()
    if has_script:
        visitor.button("Save these choices").click()
        expect(visitor.status).to_have_text("Your choice is saved.")
        expect(visitor.preferences).to_be_hidden()
        visitor.open_preferences(visitor.control.get_by_role("link"))
    else:
        visitor.leave_by(visitor.button("Save these choices"))
        expect(page.get_by_role("status")).to_have_text("Your choice is saved.")
    expect(page.get_by_role("checkbox", name="Map")).to_be_checked()
    expect(page.get_by_role("checkbox", name="Audience measurement")).not_to_be_checked()
    assert site.rows() == [Row("given", "save", "preferences", '{"analytics":false,"map":true}')]
    if has_script:
        visitor.button("Back to the site").click()
        expect(visitor.preferences).to_be_hidden()
    else:
        visitor.leave_by(page.get_by_role("link", name="Back to the site"))
    assert page.url == site.url("/two")
    assert visitor.outside() == []
    assert not {"_ga", "_ga_XXXXXXXXXX"} & visitor.cookies().keys()
