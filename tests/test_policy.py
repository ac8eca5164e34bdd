"""What a policy refuses, what it keeps from changing, and what its fingerprint covers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_consent.cookie import HINT_NAME, cookie_name
from gem_consent.errors import ConfigurationError, PolicyError
from gem_consent.policy import (
    MAX_LIFETIME,
    OWN_COOKIES,
    STANDARD_PURPOSES,
    Controller,
    Policy,
    Purpose,
    Service,
    Tracker,
)
from gem_consent.services import GoogleAnalytics

EXAMPLE = Controller(name="Example", contact="dpo@example.com")
CHAT = Service("chat", name="Chat", purpose="support", provider="Example Ltd")
SUPPORT = Purpose("support", name="Support", description="Talk to us.")
METER = Service(
    "meter",
    name="Meter",
    purpose="analytics",
    provider="Meter Ltd",
    recipients=("Host Inc.", "Mail Inc."),
    countries=("US", "IN"),
    transfer_basis="Standard contractual clauses",
)


def make_controller(**changes: Any) -> Controller:
    """Make a controller with some fields of its own."""
    return Controller(**{"name": "Example", "contact": "dpo@example.com", **changes})


def make_purpose(**changes: Any) -> Purpose:
    """Make a purpose with some fields of its own."""
    return Purpose(**{"id": "support", "name": "Support", "description": "Talk to us.", **changes})


def make_tracker(**changes: Any) -> Tracker:
    """Make a tracker with some fields of its own."""
    return Tracker(**{"name": "chat_id", "lifetime": timedelta(days=30), **changes})


def make_service(**changes: Any) -> Service:
    """Make a service with some fields of its own."""
    return Service(**{"id": "chat", "name": "Chat", "purpose": "support", "provider": "Ltd", **changes})


def make_policy(**changes: Any) -> Policy:
    """Make a policy with some fields of its own."""
    return Policy(**{"controller": EXAMPLE, "privacy_url": "/privacy", **changes})


WRONG: list[tuple[Callable[..., object], str, object, str]] = [
    (make_controller, "name", "  ", r"Controller\.name is '  '; allowed: a text that is not empty"),
    (make_controller, "name", 3, r"Controller\.name is 3; allowed: a text"),
    (make_controller, "contact", "dpo", r"Controller\.contact is 'dpo'; allowed: an e-mail address or"),
    (make_controller, "contact", "a@b", r"Controller\.contact is 'a@b'"),
    (make_controller, "contact", "javascript:alert(1)", r"Controller\.contact is 'javascript:"),
    (make_controller, "contact", "http://[", r"Controller\.contact is 'http://\['; allowed: an e-mail"),
    (make_controller, "contact", None, r"Controller\.contact is None"),
    (make_controller, "address", "", r"Controller\.address is ''; allowed: a text that is not empty"),
    (make_purpose, "id", "Support", r"Purpose\.id is 'Support'; allowed: lower-case letters"),
    (make_purpose, "id", "1st", r"Purpose\.id is '1st'.*a letter first"),
    (make_purpose, "id", "a" * 33, r"Purpose\.id is 'a+'.*32 characters at most"),
    (make_purpose, "id", "chat\n", r"Purpose\.id is 'chat\\n'"),
    (make_purpose, "id", None, r"Purpose\.id is None"),
    (make_purpose, "name", "", r"Purpose\.name is ''; allowed: a text that is not empty"),
    (make_purpose, "name", None, r"Purpose\.name is None; allowed: a text"),
    (make_purpose, "name", {}, r"Purpose\.name is \{\}; allowed: at least one language"),
    (
        make_purpose,
        "name",
        {"french": "x"},
        r"Purpose\.name is 'french'; allowed: language tags such as 'fr'",
    ),
    (make_purpose, "name", {"fr": ""}, r"Purpose\.name\['fr'\] is ''; allowed: a text"),
    (make_purpose, "description", None, r"Purpose\.description is None"),
    (make_purpose, "is_necessary", "false", r"Purpose\.is_necessary is 'false'; allowed: True or False"),
    (make_tracker, "name", "", r"Tracker\.name is ''; allowed: a name without spaces"),
    (make_tracker, "name", "*", r"Tracker\.name is '\*'; allowed: .*not alone"),
    (make_tracker, "name", "a*b*", r"Tracker\.name is 'a\*b\*'.*one '\*' at most"),
    (make_tracker, "name", "a b", r"Tracker\.name is 'a b'"),
    (make_tracker, "name", "a=b", r"Tracker\.name is 'a=b'"),
    (make_tracker, "name", 7, r"Tracker\.name is 7"),
    (make_tracker, "storage", "disk", r"Tracker\.storage is 'disk'; allowed: one of cookie, localStorage"),
    (make_tracker, "lifetime", timedelta(0), r"Tracker\.lifetime is 0:00:00; allowed: a positive duration"),
    (make_tracker, "lifetime", "", r"Tracker\.lifetime is ''; allowed: a text"),
    (make_tracker, "lifetime", 30, r"Tracker\.lifetime is 30; allowed: a text"),
    (make_tracker, "description", {}, r"Tracker\.description is \{\}; allowed: at least one language"),
    (make_tracker, "host", "", r"Tracker\.host is ''; allowed: a text"),
    (make_service, "id", "Chat", r"Service\.id is 'Chat'; allowed: lower-case letters"),
    (make_service, "purpose", "", r"Service\.purpose is ''; allowed: lower-case letters"),
    (make_service, "name", "", r"Service\.name is ''; allowed: a text"),
    (make_service, "provider", None, r"Service\.provider is None; allowed: a text"),
    (make_service, "description", 0, r"Service\.description is 0; allowed: a text"),
    (make_service, "recipients", "Host Inc.", r"Service\.recipients is 'Host Inc\.'; allowed: a list of str"),
    (make_service, "recipients", [""], r"Service\.recipients is ''; allowed: a text"),
    (make_service, "countries", ["USA"], r"Service\.countries is 'USA'; allowed: ISO 3166-1 alpha-2"),
    (make_service, "countries", ["US"], r"Service\.transfer_basis is None; .*since data go to US"),
    (make_service, "transfer_basis", "", r"Service\.transfer_basis is ''; allowed: a text"),
    (
        make_service,
        "privacy_url",
        "/privacy",
        r"Service\.privacy_url is '/privacy'; allowed: an http\(s\) URL",
    ),
    (make_service, "trackers", "chat_id", r"Service\.trackers is 'chat_id'; allowed: a list of Tracker"),
    (make_service, "trackers", ["chat_id"], r"Service\.trackers is 'chat_id'; allowed: Tracker values"),
    (make_service, "leftovers", ["*"], r"Service\.leftovers is '\*'; allowed: .*not alone"),
    (make_service, "hosts", ["https://a.example"], r"Service\.hosts is \['.*'\]; allowed: a mapping"),
    (
        make_service,
        "hosts",
        {"style-src": []},
        r"Service\.hosts is 'style-src'; allowed: the direct",
    ),
    (make_service, "hosts", {"img-src": "https://a.example"}, r"Service\.hosts\['img-src'\] is .* a list"),
    (make_service, "hosts", {"img-src": ["*"]}, r"Service\.hosts\['img-src'\] is '\*'; allowed: sources"),
    (make_service, "hosts", {"img-src": ["https://a.example; x"]}, r"Service\.hosts\['img-src'\] is"),
    (make_service, "start", None, r"Service\.start is None; allowed: a string of JavaScript"),
    (make_service, "stop", b"", r"Service\.stop is b''; allowed: a string of JavaScript"),
    (make_policy, "controller", "Example", r"Policy\.controller is 'Example'; allowed: a Controller"),
    (make_policy, "privacy_url", "privacy", r"Policy\.privacy_url is 'privacy'; allowed: a path such as"),
    (make_policy, "privacy_url", "//evil.example", r"Policy\.privacy_url is '//evil\.example'"),
    (make_policy, "privacy_url", "javascript:alert(1)", r"Policy\.privacy_url is 'javascript"),
    (make_policy, "lifetime", timedelta(days=394), r"Policy\.lifetime is 394 days.*393 days \(13 months\)"),
    (make_policy, "lifetime", timedelta(seconds=59), r"Policy\.lifetime is 0:00:59; allowed: .* one minute"),
    (make_policy, "lifetime", 33_955_200, r"Policy\.lifetime is 33955200; allowed"),
    (make_policy, "language", "french", r"Policy\.language is 'french'; allowed: language tags"),
    (make_policy, "languages", ["fr"], r"Policy\.language is 'en'; allowed: one of Policy\.languages: fr"),
    (make_policy, "languages", ["en", "fr_FR"], r"Policy\.language is 'fr_FR'; allowed: language tags"),
    (make_policy, "languages", "en", r"Policy\.languages is 'en'; allowed: a list of str values"),
    (make_policy, "version", 2, r"Policy\.version is 2; allowed: a string"),
    (make_policy, "version", "v" * 256, r"Policy\.version .*allowed: a string of 255 characters at most"),
    (make_policy, "purposes", ["support"], r"Policy\.purposes is 'support'; allowed: Purpose values"),
    (make_policy, "purposes", [SUPPORT, SUPPORT], r"Purpose\.id is 'support'; allowed: each id once"),
    (make_policy, "services", [METER, METER], r"Service\.id is 'meter'; allowed: each id once"),
    (make_policy, "services", ["chat"], r"Policy\.services is 'chat'; allowed: Service values"),
    (make_policy, "services", {"chat": CHAT}, r"Policy\.services is \{.*allowed: a list of Service values"),
]


@pytest.mark.parametrize(("make", "field", "value", "message"), WRONG)
def test_wrong_value_is_refused(make: Callable[..., object], field: str, value: object, message: str) -> None:
    """Each refusal names the field, the value and what is allowed."""
    with pytest.raises(PolicyError, match=message):
        make(**{field: value})


@pytest.mark.parametrize("make", [make_controller, make_purpose, make_tracker, make_service, make_policy])
def test_every_value_is_frozen(make: Callable[..., Any]) -> None:
    """No field of a declaration can be set once it is made."""
    made = make()
    for name in type(made).__dataclass_fields__:
        with pytest.raises(FrozenInstanceError, match=name):
            setattr(made, name, "changed")


def test_policy_error_is_a_value_error() -> None:
    """A wrong policy is a wrong setting, and a ValueError to code that knows nothing of this library."""
    with pytest.raises(ConfigurationError, match="contact"):
        make_controller(contact="")
    with pytest.raises(ValueError, match="contact"):
        make_controller(contact="")


def test_texts_ignore_later_changes() -> None:
    """A dictionary given as a text may change afterwards, the text does not."""
    name = {"fr": "Assistance"}
    purpose = make_purpose(name=name)
    name["fr"] = "Publicité"
    assert purpose.name == {"fr": "Assistance"}


def test_frozen_text_refuses_writing() -> None:
    """The text itself is a read-only mapping."""
    purpose: Any = make_purpose(name={"fr": "Assistance"})
    with pytest.raises(TypeError, match="does not support item assignment"):
        purpose.name["fr"] = "Publicité"


def test_lists_ignore_later_changes() -> None:
    """Lists and hosts given to a service may change afterwards, the service does not."""
    recipients, sources = ["Host Inc."], ["https://a.example"]
    service = make_service(recipients=recipients, hosts={"img-src": sources})
    recipients.append("Other Inc.")
    sources.append("https://b.example")
    assert service.recipients == ("Host Inc.",)
    assert service.hosts == {"img-src": ("https://a.example",)}


@pytest.mark.parametrize(
    ("contact", "url"),
    [("dpo@example.com", "mailto:dpo@example.com"), ("https://example.com/dpo", "https://example.com/dpo")],
)
def test_contact_url_can_be_linked(contact: str, url: str) -> None:
    """An e-mail address becomes a mailto link, a web address stays itself."""
    assert make_controller(contact=contact).contact_url == url


@pytest.mark.parametrize("lifetime", [timedelta(minutes=1), timedelta(days=184), MAX_LIFETIME])
def test_lifetime_bounds_are_allowed(lifetime: timedelta) -> None:
    """One minute and 393 days are both within bounds."""
    assert make_policy(lifetime=lifetime).lifetime == lifetime


@pytest.mark.parametrize("lifetime", [None, "until you log out", {"fr": "13 mois"}, timedelta(days=400)])
def test_tracker_lifetime_takes_four_forms(lifetime: Any) -> None:
    """A session, a text, a text by language and a duration (a vendor's may be longer than 13 months)."""
    assert make_tracker(lifetime=lifetime).lifetime == lifetime


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("_ga", "_ga", True),
        ("_ga", "_gat", False),
        ("_ga_*", "_ga_", True),
        ("_ga_*", "_ga_ABC", True),
        ("_ga_*", "x_ga_ABC", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("*_id", "user_id", True),
    ],
)
def test_star_stands_for_any_run(pattern: str, name: str, fits: bool) -> None:
    """One star in a tracker's name stands for any run of characters, an empty one too."""
    assert make_tracker(name=pattern).matches(name) is fits


def test_cookie_patterns_are_first_party() -> None:
    """A withdrawal deletes the site's own cookies and leftovers, once each, and nothing else."""
    service = make_service(
        trackers=[
            make_tracker(),
            make_tracker(name="chat_key", storage="localStorage"),
            make_tracker(name="chat_ad", host=".ads.example"),
        ],
        leftovers=["chat_v1_*", "chat_id"],
    )
    assert service.cookie_patterns == ("chat_id", "chat_v1_*")
    assert service.owns_cookie("chat_v1_7")
    assert not service.owns_cookie("chat_ad")


def test_necessary_alone_asks_nothing() -> None:
    """A policy without services has the necessary purpose only, and no question."""
    policy = make_policy()
    assert (list(policy.purpose_by_id), policy.asked, policy.asks) == (["necessary"], (), False)


def test_purposes_keep_standard_order() -> None:
    """Standard purposes in use stand in their own order, the site's own after them as declared."""
    services = [
        make_service(id="a", purpose="marketing"),
        make_service(id="b", purpose="shop"),
        make_service(id="c", purpose="analytics"),
    ]
    policy = make_policy(purposes=[SUPPORT, make_purpose(id="shop")], services=services)
    assert list(policy.purpose_by_id) == ["necessary", "analytics", "marketing", "support", "shop"]
    assert [purpose.id for purpose in policy.asked] == ["analytics", "marketing", "support", "shop"]


def test_own_purpose_replaces_standard_one() -> None:
    """A purpose with a standard id takes its place, here as audience measurement exempt from consent."""
    exempt = make_purpose(id="analytics", is_necessary=True)
    policy = make_policy(purposes=[exempt], services=[METER])
    assert policy.require_purpose("analytics") is exempt
    assert policy.asked == ()


def test_necessary_purpose_stays_exempt() -> None:
    """Replacing the necessary purpose without saying so again would ask visitors about it."""
    with pytest.raises(
        PolicyError, match=r"Purpose\.is_necessary is False; allowed: True, for the purpose 'nec"
    ):
        make_purpose(id="necessary")
    assert make_purpose(id="necessary", is_necessary=True).is_necessary


def test_unknown_purpose_lists_known_ones() -> None:
    """A service for a purpose that nobody declared is refused with the list of those there are."""
    message = (
        r"Service\.purpose of 'chat' is 'support'; "
        r"allowed: one of necessary, preferences, analytics, media, marketing"
    )
    with pytest.raises(PolicyError, match=message):
        make_policy(services=[CHAT])


@pytest.mark.parametrize("purpose", ["analytic", None, ["analytics"]])
def test_question_about_unknown_purpose_fails(purpose: Any) -> None:
    """Asking a policy for a purpose that it does not use lists those it does."""
    with pytest.raises(PolicyError, match=r"allowed: one of necessary, analytics$"):
        make_policy(services=[METER]).require_purpose(purpose)


def test_too_many_purposes_are_refused() -> None:
    """A choice among more than fifty purposes might not fit into the cookie."""
    purposes = [make_purpose(id=f"p{number}") for number in range(51)]
    assert len(make_policy(purposes=purposes[:50]).asked) == 50
    with pytest.raises(PolicyError, match=r"Policy\.purposes is 51; allowed: 50 at most"):
        make_policy(purposes=purposes)


def test_services_are_found_by_purpose() -> None:
    """The services of a purpose come in the order of their declaration."""
    services = [make_service(id=id_, purpose="media") for id_ in ("b", "a")]
    policy = make_policy(services=[services[0], METER, services[1]])
    assert policy.services_for("media") == (services[0], services[1])


def test_standard_purposes_are_five() -> None:
    """The five standard purposes are known by these ids, which cookies and exports hold."""
    assert list(STANDARD_PURPOSES) == ["necessary", "preferences", "analytics", "media", "marketing"]


ASKED = make_policy(purposes=[SUPPORT], services=[METER, CHAT], version="2026-11")


def test_fingerprint_is_the_golden_one() -> None:
    """These values must never change: a release that changes them asks every visitor of every site again."""
    assert ASKED.fingerprint == "d1a621e6e1801280b6e6e3e48f9bd92b"
    assert make_policy().fingerprint == "6c3addbdf704299cf69b75f38eeef775"
    assert (
        make_policy(services=[GoogleAnalytics("G-XXXXXXXXXX")]).fingerprint
        == "6aaa93b601cd73c4e872966823be2048"
    )


@pytest.mark.rule("C6")
@pytest.mark.parametrize(
    "changes",
    [
        {"controller": make_controller(name="Other", contact="https://example.com")},
        {"privacy_url": "/confidentialite"},
        {"lifetime": timedelta(days=184)},
        {"language": "fr"},
        {"languages": ["fr", "en"]},
        {"services": [CHAT, METER]},
        {"services": [METER, CHAT, make_service(id="login", purpose="necessary")]},
        {"services": [replace(METER, name="Metre", description="Better worded."), CHAT]},
        {"services": [replace(METER, transfer_basis={"fr": "Clauses types"}), CHAT]},
        {"services": [replace(METER, trackers=[make_tracker()], leftovers=["old_*"]), CHAT]},
        {"services": [replace(METER, hosts={"img-src": ["https://a.example"]}, start="go()"), CHAT]},
        {"services": [replace(METER, recipients=METER.recipients[::-1]), CHAT]},
        {"services": [replace(METER, countries=METER.countries[::-1]), CHAT]},
        {"purposes": [replace(SUPPORT, name={"fr": "Assistance"}, description="Other words.")]},
    ],
)
def test_fingerprint_ignores_wording_and_order(changes: dict[str, Any]) -> None:
    """Texts, trackers, snippets, order and necessary services change without a new question."""
    assert replace(ASKED, **changes).fingerprint == ASKED.fingerprint


@pytest.mark.rule("C6")
@pytest.mark.parametrize(
    "changes",
    [
        {"version": "2026-12"},
        {"purposes": [SUPPORT, make_purpose(id="shop")]},
        {"purposes": [replace(SUPPORT, is_necessary=True)]},
        {"services": [METER]},
        {"services": [replace(METER, id="metre"), CHAT]},
        {"services": [replace(METER, purpose="marketing"), CHAT]},
        {"services": [replace(METER, provider="Other Ltd"), CHAT]},
        {"services": [replace(METER, recipients=["Host Inc."]), CHAT]},
        {"services": [replace(METER, countries=["US"]), CHAT]},
    ],
)
def test_fingerprint_follows_the_meaning(changes: dict[str, Any]) -> None:
    """Version, purposes, a service's id, purpose, provider, recipients and countries make a new question."""
    assert replace(ASKED, **changes).fingerprint != ASKED.fingerprint


names = st.text(min_size=1).filter(str.strip)
services = st.lists(
    st.builds(
        Service,
        id=st.from_regex(r"[a-z][a-z0-9_-]{0,9}", fullmatch=True),
        name=names,
        purpose=st.sampled_from(list(STANDARD_PURPOSES)),
        provider=names,
        recipients=st.lists(names, max_size=3),
        countries=st.lists(st.sampled_from(["US", "IN", "GB"]), max_size=3),
        transfer_basis=st.just("Clauses"),
    ),
    max_size=6,
    unique_by=lambda service: service.id,
)


@settings(deadline=None)
@given(services, st.data())
def test_fingerprint_knows_no_order(declared: list[Service], draw: st.DataObject) -> None:
    """Any order of services, recipients and countries gives the same fingerprint."""
    shuffled = [
        replace(
            service,
            recipients=draw.draw(st.permutations(service.recipients)),
            countries=draw.draw(st.permutations(service.countries)),
        )
        for service in draw.draw(st.permutations(declared))
    ]
    assert make_policy(services=shuffled).fingerprint == make_policy(services=declared).fingerprint


@settings(deadline=None)
@given(services)
def test_fingerprint_is_32_hex_digits(declared: list[Service]) -> None:
    """Whatever is declared, the fingerprint has the form that cookies carry."""
    fingerprint = make_policy(services=declared).fingerprint
    assert len(fingerprint) == 32
    assert set(fingerprint) <= set("0123456789abcdef")


def claim(purpose: str, *names: str, leftovers: tuple[str, ...] = ()) -> Service:
    """Make a service that claims these cookies."""
    return make_service(
        id=purpose,
        purpose=purpose,
        trackers=[make_tracker(name=name) for name in names],
        leftovers=leftovers,
    )


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ("app_*", "app_session"),
        ("app_session", "app_*"),
        ("app_session", "app_session"),
        ("app_*", "*_session"),
        ("app_v*", "app_*_id"),
    ],
)
def test_cookie_has_one_side(pattern: str, kept: str) -> None:
    """A refusal would delete what the site needs, so that such a policy does not start."""
    for asked in (claim("analytics", pattern), claim("analytics", leftovers=(pattern,))):
        with pytest.raises(
            PolicyError, match=r"Service 'analytics': the cookie is .*; allowed: a pattern that"
        ):
            Policy(EXAMPLE, "/privacy", services=[claim("necessary", kept), asked])


@pytest.mark.parametrize(
    ("pattern", "kept"), [("app_*", "ap_*"), ("*_a", "*_b"), ("app", "app_*"), ("a*b", "ac")]
)
def test_cookies_that_differ_are_told_apart(pattern: str, kept: str) -> None:
    """Patterns that no one name fits may stand side by side."""
    Policy(EXAMPLE, "/privacy", services=[claim("necessary", kept), claim("analytics", pattern)])


@pytest.mark.parametrize(
    "pattern", ["gem_*", "__Host-*", "*_hint", "gem_consent_hint", "__Secure-gem_consent"]
)
def test_own_cookies_are_no_trackers(pattern: str) -> None:
    """A refusal must not delete the cookie that remembers it, or the visitor would be asked for ever."""
    with pytest.raises(PolicyError, match="which is necessary"):
        Policy(EXAMPLE, "/privacy", services=[claim("analytics", pattern)])


def test_own_cookies_are_all_known() -> None:
    """The names that no tracker may have are those that are set."""
    names = {cookie_name(is_https, domain) for is_https in (True, False) for domain in (None, "example.com")}
    assert {*names, HINT_NAME} == set(OWN_COOKIES)
