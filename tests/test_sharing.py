"""One choice for all sub-domains of a domain: its cookies, where it may come from, and what wins."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from asgi import SECRET, START, Answer, Clock, Visitor, make_policy, mentions_vendor, rows, site, wrap

from gem_consent import ConfigurationError, ConsentMiddleware
from gem_consent.consent import Choice
from gem_consent.cookie import ConsentCookie, cookie_name
from gem_consent.decision import is_same_origin

OWN, SHARED, HINT = "__Host-gem_consent", "__Secure-gem_consent", "gem_consent_hint"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "consent.db"


class Browser(Visitor):
    """A browser that knows which host and domain a cookie belongs to."""

    def __init__(self, app: ConsentMiddleware, host: str = "a.example.com", **scope: Any) -> None:
        super().__init__(app, **scope)
        self.host = host
        self.jar: dict[tuple[str, str], str] = {}

    def at(self, host: str) -> Browser:
        """Go on at another host."""
        self.host = host
        return self

    def names(self) -> list[tuple[str, str]]:
        """Give the cookies kept: name, and the domain or host that they are for."""
        return sorted(self.jar)

    def _headers(self, headers: dict[str, str] | None) -> dict[str, str]:
        sent = [
            f"{name}={value}"
            for (name, place), value in self.jar.items()
            if place == self.host or (place.startswith(".") and f".{self.host}".endswith(place))
        ]
        cookies = {"cookie": "; ".join(sent)} if sent else {}
        return {"host": self.host} | cookies | (headers or {})

    def _kept(self, answer: Answer) -> Answer:
        for line in answer.all("set-cookie"):
            name, value = line.partition(";")[0].split("=", 1)
            domain = re.search(r"; Domain=([^;]+)", line)
            place = f".{domain[1]}" if domain else self.host
            if "Max-Age=0" in line:
                self.jar.pop((name, place), None)
            else:
                self.jar[name, place] = value
        return answer


def shared(ledger: Path, **options: Any) -> ConsentMiddleware:
    return wrap(site(), ledger, **({"share_domain": "example.com"} | options))


def test_choice_holds_on_all_sub_domains(ledger: Path) -> None:
    """What is granted on one sub-domain is granted on all, and what is withdrawn is withdrawn on all."""
    browser = Browser(shared(ledger))
    browser.json("grant_all")
    assert browser.names() == [(SHARED, ".example.com"), (HINT, ".example.com")]
    assert mentions_vendor(browser.at("b.example.com").get().text) != []
    assert 'id="gem-notice"' not in browser.get().text
    browser.json("withdraw")
    assert mentions_vendor(browser.at("a.example.com").get().text) == []
    assert [(row["state"], row["site"]) for row in rows(ledger)] == [
        ("given", "a.example.com"),
        ("withdrawn", "b.example.com"),
    ]


@pytest.mark.rule("C2")
def test_shared_cookie_is_secure(ledger: Path) -> None:
    """Over https the cookie has the prefix, the domain, and all that the host's own has."""
    lines = Browser(shared(ledger)).json("deny_all").all("set-cookie")
    (line,) = [line for line in lines if line.startswith(f"{SHARED}=")]
    assert line.endswith("; Path=/; Domain=example.com; SameSite=Lax; Secure; HttpOnly")
    (hint,) = [line for line in lines if line.startswith(HINT) and "Max-Age=0" not in line]
    assert hint.endswith("; Path=/; Domain=example.com; SameSite=Lax; Secure")


def test_plain_http_shares_development_name(ledger: Path) -> None:
    """Over plain http the development name is shared alike."""
    browser = Browser(shared(ledger), scheme="http")
    browser.json("grant_all")
    assert browser.names() == [("gem_consent", ".example.com"), (HINT, ".example.com")]
    assert mentions_vendor(browser.at("b.example.com").get().text) != []


@pytest.mark.parametrize("host", ["example.org", "notexample.com", "203.0.113.9"])
def test_other_hosts_keep_their_own(ledger: Path, host: str) -> None:
    """A host outside of the domain keeps its choice to itself."""
    browser = Browser(shared(ledger), host)
    browser.json("grant_all")
    assert browser.names() == [(OWN, host), (HINT, host)]


def test_own_cookie_from_before_is_replaced(ledger: Path) -> None:
    """A choice from before the sharing holds where it was made, until the next one replaces it."""
    clock = Clock()
    browser = Browser(wrap(site(), ledger, clock=clock))
    browser.json("grant_all")
    assert (OWN, "a.example.com") in browser.names()
    browser.app.site.recorder.close()
    browser.app = shared(ledger, clock=clock)
    assert mentions_vendor(browser.get().text) != []
    assert 'id="gem-notice"' in browser.at("b.example.com").get().text
    clock.seconds += 10
    browser.at("a.example.com").json("withdraw")
    assert browser.names() == [(SHARED, ".example.com"), (HINT, ".example.com")]


def test_own_cookie_gives_way_to_newer_shared(ledger: Path) -> None:
    """A refusal made elsewhere since then wins over what this host had kept."""
    clock = Clock()
    browser = Browser(wrap(site(), ledger, clock=clock))
    browser.json("grant_all")
    browser.app.site.recorder.close()
    browser.app = shared(ledger, clock=clock)
    clock.seconds += 10
    browser.at("b.example.com").json("deny_all")
    assert mentions_vendor(browser.at("a.example.com").get().text) == []


def test_end_of_sharing_leaves_nothing(ledger: Path) -> None:
    """Once a site shares no more, the first choice takes the shared cookies away."""
    browser = Browser(shared(ledger))
    browser.json("grant_all")
    browser.app.site.recorder.close()
    browser.app = wrap(site(), ledger)
    assert 'id="gem-notice"' in browser.get().text
    browser.json("deny_all")
    assert browser.names() == [(OWN, "a.example.com"), (HINT, "a.example.com")]


def test_sibling_cannot_forge(ledger: Path) -> None:
    """A cookie that a sub-domain set for all of them counts only if it verifies."""
    browser = Browser(shared(ledger))
    browser.json("deny_all")
    forged = ConsentCookie("another secret of 32 characters or so")
    grant = Choice("0" * 32, browser.app.site.policy.fingerprint, frozenset({"analytics"}), START + 100)
    browser.jar = {(SHARED, ".b.example.com"): forged.encode(grant)} | browser.jar
    assert mentions_vendor(browser.at("x.b.example.com").get().text) == []


@pytest.mark.parametrize(("later", "is_granted"), [(1, True), (0, False), (-1, False)])
def test_newest_valid_wins(ledger: Path, later: int, is_granted: bool) -> None:
    """Of several the newest counts, and at equal seconds the one that grants less."""
    app = shared(ledger)
    cookie = ConsentCookie(SECRET)
    print_ = app.site.policy.fingerprint
    deny = Choice("0" * 32, print_, frozenset(), START - 100)
    grant = Choice("1" * 32, print_, frozenset({"analytics"}), START - 100 + later)
    browser = Browser(app)
    browser.jar = {
        (OWN, "a.example.com"): cookie.encode(grant),
        (SHARED, ".example.com"): cookie.encode(deny),
    }
    assert bool(mentions_vendor(browser.get().text)) is is_granted


@pytest.mark.parametrize(
    ("fetch_site", "origin", "is_taken"),
    [
        ("same-origin", None, True),
        ("same-site", "https://b.example.com", True),
        ("same-site", "https://example.com", True),
        ("same-site", "https://example.org", False),
        ("same-site", "null", False),
        ("same-site", None, False),
        ("cross-site", "https://b.example.com", False),
        ("none", "https://b.example.com", False),
        (None, "https://b.example.com:8443", True),
        (None, "https://notexample.com", False),
        (None, "https://example.com.evil.example", False),
        (None, None, False),
    ],
)
def test_siblings_may_decide(fetch_site: str | None, origin: str | None, is_taken: bool) -> None:
    """A decision may come from any page of the domain, and from no other."""
    assert is_same_origin(fetch_site, origin, "a.example.com", "example.com") is is_taken


def test_siblings_may_not_decide_without_sharing() -> None:
    """Where nothing is shared, a sibling is another site."""
    assert not is_same_origin("same-site", "https://b.example.com", "a.example.com")


@pytest.mark.parametrize(
    "wrong", ["com", "", ".example.com:80", "https://example.com", "127.0.0.1", 3, "[::1]"]
)
def test_wrong_domain_is_refused(ledger: Path, wrong: Any) -> None:
    """A domain that browsers would not take does not start."""
    with pytest.raises(ConfigurationError, match=r"share_domain is|policy has the host"):
        shared(ledger, share_domain=wrong)


def test_shared_hosts_ask_the_same(ledger: Path) -> None:
    """Two hosts that share a choice and ask different questions would ask for ever: that does not start."""
    policies = {"a.example.com": make_policy(), "b.example.com": make_policy(version="2")}
    with pytest.raises(ConfigurationError, match="different fingerprints"):
        shared(ledger, policy=policies)
    shared(ledger, policy=policies, share_domain="example.org")


def test_notice_names_shared_cookie(ledger: Path) -> None:
    """The preferences page names the cookie as it is kept."""
    page = Browser(shared(ledger)).get("/privacy-choices").text
    assert cookie_name(is_https=True, domain="example.com") in page
    assert OWN not in page
