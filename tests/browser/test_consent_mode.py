"""What Google's tag is told and keeps, and what other vendors are told, from acceptance to withdrawal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from browser.google import ID, is_google, is_hit, signals_of
from browser.pages import POLICY, Site
from browser.visitor import Newcomer
from gem_consent import Policy, Service, Tracker
from gem_consent.services.itself import own_service

pytestmark = pytest.mark.browser

_ADS_DENIED = dict.fromkeys(("ad_storage", "ad_user_data", "ad_personalization"), "denied")
_SAID = "dataLayer.map((one) => [...one])"
_KEEP_SAID = f"addEventListener('pagehide', () => (sessionStorage.said = JSON.stringify({_SAID})));"
_NOTE_WRITES = """\
const { get, set } = Object.getOwnPropertyDescriptor(Document.prototype, "cookie");
Object.defineProperty(Document.prototype, "cookie", {
  get,
  set(value) {
    reportWrite(value.split("=")[0]);
    set.call(this, value);
  },
});
"""

# How these vendors are told of a withdrawal, each in its own words.
_REVOKE = """\
fbq('consent','revoke');
ttq.revokeConsent();
clarity('consent',false);
_paq.push(['forgetConsentGiven']);
"""
_SPIES = """\
const told = (vendor) => (...given) => {
  sessionStorage.told = (sessionStorage.told || "") + `${vendor} ${given.join()};`;
};
Object.assign(window, { fbq: told("fbq"), ttq: { revokeConsent: told("ttq") }, clarity: told("clarity") });
window._paq = { push: told("_paq") };
"""
_PARTNERS = replace(
    POLICY,
    services=[
        *POLICY.services,
        Service(
            "ads",
            name="Ads",
            purpose="marketing",
            provider="Example Ads",
            stop=_REVOKE,
            start="window.ads = 1",
        ),
    ],
)


@pytest.mark.rule("A2", "A3")
def test_tag_hears_default_first(site: Site, newcomer: Newcomer) -> None:
    """On the page of the choice and on the next: all denied, one update without advertising, then the tag."""
    visitor = newcomer(site)
    page = visitor.visit()
    assert page.evaluate("typeof dataLayer") == "undefined"
    visitor.accept()
    for path in ("", "/two"):
        if path:
            visitor.visit(path)
            visitor.beat()
        said = page.evaluate(_SAID)
        assert [one[0] for one in said] == ["consent", "set", "set", "consent", "js", "config"]
        (_, kind, default), (_, change, update) = (one for one in said if one[0] == "consent")
        assert (kind, change) == ("default", "update")
        assert default | _ADS_DENIED | {"analytics_storage": "denied"} == default
        assert update == _ADS_DENIED | {"analytics_storage": "granted"}
    assert {signals_of(hit) for hit in visitor.hits()} == {"G101"}
    assert [url for url in visitor.outside() if not is_google(url)] == []


@pytest.mark.rule("A3", "R5", "W6")
def test_tag_hears_of_withdrawal(site: Site, newcomer: Newcomer) -> None:
    """A withdrawal is one more update, all denied, said before the page goes; nothing is sent after it."""
    visitor = newcomer(site)
    visitor.context.add_init_script(_KEEP_SAID)
    page = visitor.visit("/two")
    visitor.accept()
    visitor.requests.clear()
    visitor.withdraw()
    said = page.evaluate("JSON.parse(sessionStorage.said)")
    assert said[6:] == [["consent", "update", _ADS_DENIED | {"analytics_storage": "denied"}]]
    assert {signals_of(hit) for hit in visitor.hits()} <= {"G101"}
    visitor.requests.clear()
    visitor.visit()
    assert visitor.outside() == []


@pytest.mark.rule("W6")
@pytest.mark.parametrize("is_whole", [True, False], ids=["all", "one purpose"])
def test_partners_hear_of_withdrawal(serve: Callable[..., Site], newcomer: Newcomer, is_whole: bool) -> None:
    """What a site's own service does to stop is done once, before the page goes: here, four vendors hear."""
    visitor = newcomer(serve(_PARTNERS))
    visitor.context.add_init_script(_SPIES)
    page = visitor.visit()
    visitor.accept()
    assert page.evaluate("[window.ads, sessionStorage.told]") == [1, None]
    if is_whole:
        visitor.withdraw()
    else:
        shown = visitor.open_preferences(visitor.control.get_by_role("link"))
        shown.get_by_role("checkbox", name="Personalised advertising").uncheck()
        visitor.leave_by(shown.get_by_role("button", name="Save these choices"))
    told = "fbq consent,revoke;ttq ;clarity consent,false;_paq forgetConsentGiven;"
    assert page.evaluate("sessionStorage.told") == told
    visitor.visit("/two")
    assert page.evaluate("[typeof ads, sessionStorage.told]") == ["undefined", told]


@pytest.mark.rule("A4", "A5")
def test_cookies_are_those_declared(site: Site, newcomer: Newcomer) -> None:
    """Cookies are those that visitors are told of; none lives longer than it says, nor longer for a visit."""
    visitor = newcomer(site)
    visitor.visit()
    visitor.accept()
    first = visitor.cookies()
    declared = dict(_declared(POLICY))
    assert first.keys() == declared.keys()
    for name, lifetime in declared.items():
        assert first[name]["expires"] - time.time() <= lifetime.total_seconds()
    visitor.context.clock.set_fixed_time(time.time() + 86_400)
    with visitor.page.expect_request(lambda request: is_hit(request.url)):
        visitor.visit("/two")
    assert visitor.cookies().keys() == first.keys()
    for name, cookie in visitor.cookies().items():
        assert cookie["expires"] == first[name]["expires"], name
    shown = visitor.open_preferences(visitor.control.get_by_role("link"))
    names = shown.locator(".gem-trackers tr", has_text="Cookie").locator("code").all_text_contents()
    # over plain http, as here, the prefix is left out
    assert sorted(name.removeprefix("__Host-") for name in names) == sorted(declared)
    assert shown.locator(".gem-trackers", has_text="13 months").count() == 2


@pytest.mark.rule("C1")
def test_server_alone_sets_the_choice(site: Site, newcomer: Newcomer) -> None:
    """No script writes the cookies of a choice or a withdrawal: the answer to the press does."""
    visitor = newcomer(site)
    writes: list[str] = []
    setting: list[str] = []
    visitor.context.expose_binding("reportWrite", lambda _, name: writes.append(name))
    visitor.context.add_init_script(_NOTE_WRITES)
    visitor.context.on("response", lambda response: setting.extend(_set_by(response)))
    for decide in (visitor.reject, visitor.accept, visitor.withdraw):
        visitor.visit()
        if decide == visitor.accept:
            visitor.context.clear_cookies()
            visitor.visit()
        decide()
    assert setting.count("POST gem_consent") == setting.count("POST gem_consent_hint") == 3
    assert {one for one in setting if "gem_consent" in one} == {"POST gem_consent", "POST gem_consent_hint"}
    # the tag writes its own, and a withdrawal deletes them: the hook hears what scripts write
    assert set(writes) == {"_ga", f"_ga_{ID[2:]}"}
    assert visitor.cookies()["gem_consent"]["httpOnly"]


def _declared(policy: Policy) -> Iterator[tuple[str, timedelta]]:
    trackers: list[Tracker] = []
    for service in (*policy.services, own_service(policy, "gem_consent")):
        trackers += service.trackers
    for tracker in trackers:
        if tracker.storage == "cookie" and isinstance(tracker.lifetime, timedelta):
            yield tracker.name, tracker.lifetime


def _set_by(response: Any) -> Iterator[str]:
    for line in (response.header_value("set-cookie") or "").splitlines():
        yield f"{response.request.method} {line.split('=')[0]}"
