"""What the ready-made services declare, and what their scripts do when they run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from gem_consent.errors import PolicyError
from gem_consent.policy import MAX_LIFETIME, Controller, Policy, Service
from gem_consent.services import GoogleAnalytics, own_service

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(
    NODE is None, reason="node is not installed: the scripts of services are not run"
)
ANALYTICS = GoogleAnalytics("G-ABCDEF1234")
POLICY = Policy(
    controller=Controller("Example", "dpo@example.com"),
    privacy_url="/privacy",
    services=[ANALYTICS],
    lifetime=timedelta(days=184),
)

# A page with nothing in it but what a tag may touch; each call to gtag() is kept with the switch's state.
PAGE = """
const given = JSON.parse(process.argv[1]);
const page = globalThis;
page.window = page;
page.location = { protocol: given.protocol };
const added = [];
const head = { appendChild: (tag) => added.push({ ...tag }) };
page.document = { createElement: (name) => ({ name }), head };
const calls = [];
const SWITCH = "ga-disable-G-ABCDEF1234";
page.dataLayer = { push: (entry) => calls.push({ is_disabled: page[SWITCH], arguments: Array.from(entry) }) };
for (const [secondsLeft, script] of given.scripts) {
  new Function("secondsLeft", "nonce", script)(secondsLeft, given.nonce);
}
console.log(JSON.stringify({ calls, added, is_disabled: page[SWITCH] ?? null }));
"""


def run(*scripts: tuple[int, str], protocol: str = "https:", nonce: str = "") -> dict[str, Any]:
    """Run scripts one after the other in one page, each with the seconds left; give what they did."""
    given = json.dumps({"scripts": scripts, "protocol": protocol, "nonce": nonce})
    done = subprocess.run([NODE or "node", "-e", PAGE, given], capture_output=True, text=True, timeout=30)
    assert done.stderr == ""
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def called(page: dict[str, Any]) -> list[list[Any]]:
    """Give what was told to gtag(), in order; the time of `js` left out."""
    calls = [call["arguments"] for call in page["calls"]]
    return [["js"] if call[0] == "js" else call for call in calls]


ADS_DENIED = {"ad_storage": "denied", "ad_user_data": "denied", "ad_personalization": "denied"}


@pytest.mark.rule("A3")
@needs_node
def test_analytics_grant_is_told_in_order() -> None:
    """All is denied first, then analytics alone granted, then the tag configured without advertising."""
    denied = {"analytics_storage": "denied", "functionality_storage": "denied"}
    denied |= {"personalization_storage": "denied", "security_storage": "granted"}
    assert called(run((86_400, ANALYTICS.start))) == [
        ["consent", "default", ADS_DENIED | denied],
        ["set", "ads_data_redaction", True],
        ["set", "url_passthrough", False],
        ["consent", "update", ADS_DENIED | {"analytics_storage": "granted"}],
        ["js"],
        [
            "config",
            "G-ABCDEF1234",
            {
                "cookie_expires": 86_400,
                "cookie_update": False,
                "cookie_flags": "SameSite=Lax;Secure",
                "allow_google_signals": False,
                "allow_ad_personalization_signals": False,
            },
        ],
    ]


@pytest.mark.rule("A4")
@needs_node
@pytest.mark.parametrize(
    ("seconds_left", "expires"),
    [(60, 60), (33_955_200, 33_955_200), (33_955_201, 33_955_200), (63_072_000, 33_955_200)],
)
def test_analytics_cookies_end_with_consent(seconds_left: int, expires: int) -> None:
    """Google's cookies last as long as the consent does, and 393 days at most."""
    config = called(run((seconds_left, ANALYTICS.start)))[-1]
    assert config[2]["cookie_expires"] == expires


@needs_node
def test_analytics_cookies_work_on_http() -> None:
    """Over plain http, in development, the cookies are not Secure: the browser would drop them."""
    config = called(run((60, ANALYTICS.start), protocol="http:"))[-1]
    assert config[2]["cookie_flags"] == "SameSite=Lax"


@needs_node
def test_analytics_adds_one_tag() -> None:
    """The one element added loads gtag.js for this stream, without holding the page up."""
    src = "https://www.googletagmanager.com/gtag/js?id=G-ABCDEF1234"
    assert run((60, ANALYTICS.start))["added"] == [{"name": "script", "async": True, "src": src}]


@needs_node
def test_analytics_tag_carries_the_nonce() -> None:
    """Where the page's policy wants a nonce, the tag has it."""
    [tag] = run((60, ANALYTICS.start), nonce="bm9uY2U=")["added"]
    assert tag["nonce"] == "bm9uY2U="


@needs_node
def test_analytics_stop_switches_off_first() -> None:
    """Stopping sets Google's switch before it tells the denial: a denied tag would still send pings."""
    page = run((60, ANALYTICS.start), (0, ANALYTICS.stop))
    assert page["calls"][-1] == {
        "is_disabled": True,
        "arguments": ["consent", "update", ADS_DENIED | {"analytics_storage": "denied"}],
    }
    assert len(page["added"]) == 1


@needs_node
def test_analytics_stop_needs_no_tag() -> None:
    """On a page where the tag never ran, stopping only sets the switch."""
    assert run((0, ANALYTICS.stop)) == {"calls": [], "added": [], "is_disabled": True}


@needs_node
def test_analytics_starts_again_after_stop() -> None:
    """A consent given again on the same page releases the switch before anything is told."""
    page = run((60, ANALYTICS.start), (0, ANALYTICS.stop), (60, ANALYTICS.start))
    assert page["is_disabled"] is False
    assert [call["is_disabled"] for call in page["calls"]] == [False] * 6 + [True] + [False] * 6


@pytest.mark.parametrize("script", [ANALYTICS.start, ANALYTICS.stop])
def test_analytics_scripts_name_one_host(script: str) -> None:
    """No host but googletagmanager is written in the scripts."""
    hosts = {urlsplit(url).hostname for url in re.findall(r"(?:https?:)?//[^\s'\"]+", script)}
    assert hosts <= {"www.googletagmanager.com"}


@pytest.mark.parametrize(
    "id_",
    [
        "",
        "UA-12345-1",
        "GTM-ABCDEF",
        "g-abcdef",
        "G-abc",
        "G-ABC",
        "G-ABCDEF\n",
        "G-';alert(1)//",
        None,
        12345,
    ],
)
def test_malformed_measurement_id_is_refused(id_: Any) -> None:
    """An id that is no GA4 web stream's is refused with the place where the right one is found."""
    with pytest.raises(PolicyError, match=r"measurement_id is .*; allowed: the id of a GA4 web stream, 'G-X"):
        GoogleAnalytics(id_)


def test_analytics_declares_its_facts() -> None:
    """Who provides it, who receives the data, where they go and on what ground."""
    assert (ANALYTICS.id, ANALYTICS.purpose) == ("google-analytics", "analytics")
    assert (ANALYTICS.provider, ANALYTICS.recipients) == ("Google Ireland Limited", ("Google LLC",))
    assert ANALYTICS.countries == ("US",)
    assert "2023/1795" in str(ANALYTICS.transfer_basis)
    assert ANALYTICS.privacy_url == "https://policies.google.com/privacy"


def test_analytics_facts_can_be_changed() -> None:
    """A site with two streams, or another ground for the transfer, says so where it declares the service."""
    other = GoogleAnalytics(
        "G-OTHER", id="ga-2", purpose="audience", countries=["US", "IN"], transfer_basis="SCC"
    )
    assert (other.id, other.purpose, other.countries, other.transfer_basis) == (
        "ga-2",
        "audience",
        ("US", "IN"),
        "SCC",
    )


def test_analytics_cookies_have_lifetimes() -> None:
    """Both cookies are declared by their full names, for 393 days."""
    assert {tracker.name: tracker.lifetime for tracker in ANALYTICS.trackers} == {
        "_ga": MAX_LIFETIME,
        "_ga_ABCDEF1234": MAX_LIFETIME,
    }


@pytest.mark.parametrize(
    "name",
    [
        "_ga",
        "_ga_ABCDEF1234",
        "_ga_OLD",
        "_gid",
        "_gat_gtag_UA_1",
        "_gac_UA-1",
        "_dc_gtm_UA-1",
        "FPID",
        "FPLC",
    ],
)
def test_analytics_owns_its_older_cookies(name: str) -> None:
    """A withdrawal deletes the cookies of older and server-side Google Analytics too."""
    assert ANALYTICS.owns_cookie(name)


@pytest.mark.parametrize("name", ["session", "__Host-gem_consent", "gem_consent_hint", "_game", "csrftoken"])
def test_analytics_owns_no_other_cookie(name: str) -> None:
    """The site's own cookies are none of its."""
    assert not ANALYTICS.owns_cookie(name)


def test_analytics_hosts_are_google_analytics() -> None:
    """Scripts come from the tag manager's host alone, and no advertising host is let in."""
    assert ANALYTICS.hosts["script-src"] == ("https://www.googletagmanager.com",)
    sources = {source for sources in ANALYTICS.hosts.values() for source in sources}
    assert sources == {
        "https://www.googletagmanager.com",
        "https://*.google-analytics.com",
        "https://*.analytics.google.com",
    }


def make_own() -> Service:
    """Make the library's own service."""
    return own_service(POLICY)


def test_own_cookies_are_declared() -> None:
    """The library declares both its cookies with the policy's lifetime, and the record of choices."""
    assert [(t.name, t.storage, t.lifetime) for t in make_own().trackers[:2]] == [
        ("__Host-gem_consent", "cookie", timedelta(days=184)),
        ("gem_consent_hint", "cookie", timedelta(days=184)),
    ]


def test_own_record_is_declared() -> None:
    """The ledger stands beside the cookies, kept on the server, with its retention in words."""
    record = make_own().trackers[2]
    assert (record.name, record.storage) == ("gem_consent", "server")
    assert str(record.lifetime) == "As long as your choice may have to be proved"


def test_own_service_is_necessary() -> None:
    """It serves the necessary purpose in the controller's name, sends nothing anywhere, runs no script."""
    own = make_own()
    assert (own.purpose, own.provider) == ("necessary", "Example")
    assert (own.recipients, own.countries, own.hosts) == ((), (), {})
    assert (own.start, own.stop) == ("", "")


def test_own_service_asks_nothing() -> None:
    """Declared in the policy itself, it changes neither the question nor the fingerprint."""
    policy = Policy(POLICY.controller, POLICY.privacy_url, [*POLICY.services, make_own()])
    assert policy.asked == POLICY.asked
    assert policy.fingerprint == POLICY.fingerprint
