"""What a site declares: who asks for consent, for which purposes, services and trackers.

Values only: frozen, validated where they are made, and summed up by a fingerprint. Nothing here reads a file,
renders a text or knows a vendor.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from gem_consent.fields import (
    LANGUAGE_TAG,
    Message,
    Text,
    freeze_sequence,
    freeze_text,
    frozen_hosts,
    is_email,
    is_local_path,
    is_web_url,
    require_bool,
    require_id,
    require_unique,
    require_words,
    wrong,
)
from gem_consent.retention import Retention

__all__ = [
    "MAX_LIFETIME",
    "OWN_COOKIES",
    "STANDARD_PURPOSES",
    "Controller",
    "Message",
    "Policy",
    "Purpose",
    "Service",
    "Storage",
    "Text",
    "Tracker",
]

MAX_LIFETIME = timedelta(days=393)
"""The longest a choice may be kept: 13 calendar months last 393 to 397 days, 393 days never exceed them."""

Storage: TypeAlias = Literal["cookie", "localStorage", "sessionStorage", "indexedDB", "server"]
"""Where a tracker is kept; ``server`` is a record on the site's own side, declared beside the others."""

OWN_COOKIES = ("__Host-gem_consent", "__Secure-gem_consent", "gem_consent", "gem_consent_hint")
"""The cookies in which this library keeps a choice."""

_MAX_VERSION_CHARACTERS = 255
_COUNTRY = re.compile(r"[A-Z]{2}\Z")
# A bare `*` would claim every cookie of the site, its session among them.
_TRACKER_NAME = re.compile(r"(?!\*?\Z)[^\s;,=*]*\*?[^\s;,=*]*\Z")
_TRACKER_NAME_ALLOWED = "a name without spaces, ';', ',' or '=', and one '*' at most, not alone"
_MAX_ASKED_PURPOSES = 50


@dataclass(frozen=True, slots=True)
class Controller:
    """Who decides why and how personal data are processed (GDPR art. 4(7)), and whom visitors write to.

    Args:
        name: the organisation's name as visitors know it.
        contact: an e-mail address or an http(s) URL that reaches the data-protection officer (art. 13(1)(b)).
        address: the postal address, where there is one to show.

    Raises:
        PolicyError: a field is empty, or ``contact`` is neither an e-mail address nor a URL.

    Example:
        >>> Controller(name="Example", contact="dpo@example.com").contact_url
        'mailto:dpo@example.com'
    """

    name: str
    contact: str
    address: Text | None = None

    def __post_init__(self) -> None:
        require_words("Controller.name", self.name)
        if not is_email(self.contact) and not is_web_url(self.contact):
            raise wrong("Controller.contact", self.contact, "an e-mail address or an http(s) URL")
        if self.address is not None:
            freeze_text(self, "address")

    @property
    def contact_url(self) -> str:
        """The address to link to: ``mailto:…`` or the URL itself."""
        return f"mailto:{self.contact}" if is_email(self.contact) else self.contact


@dataclass(frozen=True, slots=True)
class Purpose:
    """Why something is read from or written to a visitor's device, as the visitor is asked about it.

    Args:
        id: what code, cookies and exports call it: ``[a-z][a-z0-9_-]*``, 32 characters at most.
        name: a short title.
        description: one line that says what is done, shown before the choice (CNIL recommendation 2020-092).
        is_necessary: exempt from consent under art. 82 of the French law 78-17: always on, never asked.

    Raises:
        PolicyError: the id is malformed or a text is empty.

    Example:
        >>> Purpose("support", name="Live help", description="Talk to us while you shop.").id
        'support'
    """

    id: str
    name: Text
    description: Text
    is_necessary: bool = False

    def __post_init__(self) -> None:
        require_id("Purpose.id", self.id)
        freeze_text(self, "name", "description")
        require_bool("Purpose.is_necessary", self.is_necessary)
        if self.id == "necessary" and not self.is_necessary:
            raise wrong(
                "Purpose.is_necessary", False, "True, for the purpose 'necessary' is never asked about"
            )


STANDARD_PURPOSES: Mapping[str, Purpose] = MappingProxyType(
    {
        purpose.id: purpose
        for purpose in (
            Purpose(
                "necessary",
                name=Message("Necessary"),
                description=Message("Run the site and remember your choice. The law asks no consent for it."),
                is_necessary=True,
            ),
            Purpose(
                "preferences",
                name=Message("Preferences"),
                description=Message("Remember settings that make the site more comfortable to use."),
            ),
            Purpose(
                "analytics",
                name=Message("Audience measurement"),
                description=Message("Know which pages are read, for how long and on what kind of device."),
            ),
            Purpose(
                "media",
                name=Message("Videos, maps and other content"),
                description=Message("Show content that comes from other sites, inside our pages."),
            ),
            Purpose(
                "marketing",
                name=Message("Personalised advertising"),
                description=Message(
                    "Show advertising based on your browsing and your profile, and measure it."
                ),
            ),
        )
    }
)
"""The five purposes that every policy knows, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Tracker:
    """One cookie, storage key or record that a service keeps.

    Args:
        name: its name; one ``*`` stands for any run of characters (``_ga_*``).
        lifetime: how long it is kept; ``None`` ends with the browser's session; a text where no number
            says it.
        description: what it is for, in one line.
        storage: where it is kept.
        host: the domain it belongs to when that is not the site's own (a third party's cookie).

    Raises:
        PolicyError: a field is malformed.

    Example:
        >>> Tracker("_ga_*", timedelta(days=393)).matches("_ga_ABC")
        True
    """

    name: str
    lifetime: timedelta | Text | None
    description: Text = ""
    storage: Storage = "cookie"
    host: str | None = None

    def __post_init__(self) -> None:
        _require_tracker_name("Tracker.name", self.name)
        if self.storage not in get_args(Storage):
            raise wrong("Tracker.storage", self.storage, "one of " + ", ".join(get_args(Storage)))
        if isinstance(self.lifetime, timedelta):
            if self.lifetime <= timedelta(0):
                raise wrong(
                    "Tracker.lifetime", self.lifetime, "a positive duration, a text, or None for a session"
                )
        elif self.lifetime is not None:
            freeze_text(self, "lifetime")
        if self.description != "":
            freeze_text(self, "description")
        if self.host is not None:
            require_words("Tracker.host", self.host)

    def matches(self, name: str) -> bool:
        """Say whether a cookie or key of this name is this tracker."""
        return matches_name(self.name, name)


@dataclass(frozen=True, slots=True)
class Service:
    """One tool that works for a purpose: who provides it, what it keeps and sends, how it starts and stops.

    Args:
        id: what code and exports call it, as a purpose's id.
        name: what visitors know it by.
        purpose: the id of the purpose it serves.
        provider: the organisation that provides it.
        description: one line on what it does here.
        privacy_url: the provider's own privacy policy.
        recipients: organisations that receive the data, the provider apart.
        countries: ISO 3166-1 alpha-2 codes of countries outside the European Economic Area that data go to.
        transfer_basis: what those transfers rest on (GDPR art. 44 to 49); required where ``countries`` is not
            empty.
        trackers: what it keeps on the visitor's device.
        leftovers: further name patterns to delete on withdrawal, of older or differently configured versions.
        hosts: Content-Security-Policy directive to the sources it needs once granted.
        start: JavaScript that starts it; ``secondsLeft`` is how long the consent still holds, ``nonce`` the
            page's.
        stop: JavaScript that stops it on a page where it runs, and tells the vendor where it can be told.

    Raises:
        PolicyError: a field is malformed, or ``countries`` is given without ``transfer_basis``.

    Example:
        >>> Service("chat", name="Chat", purpose="support", provider="Example").purpose
        'support'
    """

    id: str
    name: str
    purpose: str
    provider: str
    description: Text = ""
    privacy_url: str | None = None
    recipients: Sequence[str] = ()
    countries: Sequence[str] = ()
    transfer_basis: Text | None = None
    trackers: Sequence[Tracker] = ()
    leftovers: Sequence[str] = ()
    hosts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    start: str = ""
    stop: str = ""

    def __post_init__(self) -> None:
        require_id("Service.id", self.id)
        require_id("Service.purpose", self.purpose)
        require_words("Service.name", self.name)
        require_words("Service.provider", self.provider)
        for name in ("recipients", "countries", "leftovers"):
            freeze_sequence(self, name, str)
        freeze_sequence(self, "trackers", Tracker)
        for recipient in self.recipients:
            require_words("Service.recipients", recipient)
        for leftover in self.leftovers:
            _require_tracker_name("Service.leftovers", leftover)
        for country in self.countries:
            if not _COUNTRY.match(country):
                raise wrong("Service.countries", country, "ISO 3166-1 alpha-2 codes such as 'US'")
        if self.countries and self.transfer_basis is None:
            raise wrong(
                "Service.transfer_basis", None, f"a text, since data go to {', '.join(self.countries)}"
            )
        if self.privacy_url is not None and not is_web_url(self.privacy_url):
            raise wrong("Service.privacy_url", self.privacy_url, "an http(s) URL")
        if self.transfer_basis is not None:
            freeze_text(self, "transfer_basis")
        if self.description != "":
            freeze_text(self, "description")
        for name in ("start", "stop"):
            if not isinstance(getattr(self, name), str):
                raise wrong(f"Service.{name}", getattr(self, name), "a string of JavaScript")
        object.__setattr__(self, "hosts", frozen_hosts(self.hosts))

    def owns_cookie(self, name: str) -> bool:
        """Say whether a first-party cookie of this name is the service's, of today's or an older version."""
        return any(matches_name(pattern, name) for pattern in self.cookie_patterns)

    @property
    def cookie_patterns(self) -> tuple[str, ...]:
        """The name patterns of the first-party cookies that a withdrawal deletes."""
        declared = (t.name for t in self.trackers if t.storage == "cookie" and t.host is None)
        return tuple(dict.fromkeys((*declared, *self.leftovers)))


@dataclass(frozen=True, slots=True)
class Policy:
    """All that a site declares about consent, and the question it puts to its visitors.

    Args:
        controller: who asks.
        privacy_url: the site's privacy policy: a local path or an http(s) URL.
        services: the tools in use. Those of necessary purposes are declared, never asked about.
        purposes: purposes of the site's own, beside the five standard ones; a standard id replaces one.
        lifetime: how long a choice is kept, acceptance and refusal alike; 393 days at most.
            184 days are the CNIL's good practice (recommendation 2020-092, §38-39).
        language: the language for visitors of whom nothing better is known.
        languages: those that a notice may be shown in; empty for every language the library speaks.
        version: the policy's name in the proof; a new one asks every visitor again.
        retention: how long the proof is kept, as visitors are told; without it they are told no time. Only
            ``gem-consent purge`` keeps that word: declare it once the purge runs by itself.

    Raises:
        PolicyError: a field is malformed, two services share an id, a service serves an unknown purpose, or
            one that is asked about claims a cookie that is necessary.

    Example:
        >>> policy = Policy(controller=Controller("Example", "dpo@example.com"), privacy_url="/privacy")
        >>> policy.asks
        False
    """

    controller: Controller
    privacy_url: str
    services: Sequence[Service] = ()
    purposes: Sequence[Purpose] = ()
    lifetime: timedelta = MAX_LIFETIME
    language: str = "en"
    languages: Sequence[str] = ()
    version: str = ""
    retention: Retention | None = None
    fingerprint: str = field(init=False)
    exempt: Mapping[str, bool] = field(init=False, repr=False, compare=False)
    """Each purpose in use, by id, and whether it is allowed without asking."""

    _purposes: Mapping[str, Purpose] = field(init=False, repr=False, compare=False)
    _asked: tuple[Purpose, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        freeze_sequence(self, "services", Service)
        freeze_sequence(self, "purposes", Purpose)
        freeze_sequence(self, "languages", str)
        if not isinstance(self.controller, Controller):
            raise wrong("Policy.controller", self.controller, "a Controller")
        if not is_local_path(self.privacy_url) and not is_web_url(self.privacy_url):
            raise wrong("Policy.privacy_url", self.privacy_url, "a path such as '/privacy' or an http(s) URL")
        if (
            not isinstance(self.lifetime, timedelta)
            or not timedelta(minutes=1) <= self.lifetime <= MAX_LIFETIME
        ):
            raise wrong(
                "Policy.lifetime", self.lifetime, "a duration from one minute to 393 days (13 months)"
            )
        for language in (self.language, *self.languages):
            if not isinstance(language, str) or not LANGUAGE_TAG.match(language):
                raise wrong("Policy.language", language, "language tags such as 'fr' or 'pt-BR'")
        if self.languages and self.language not in self.languages:
            raise wrong(
                "Policy.language", self.language, "one of Policy.languages: " + ", ".join(self.languages)
            )
        if not isinstance(self.version, str) or len(self.version) > _MAX_VERSION_CHARACTERS:
            allowed = f"a string of {_MAX_VERSION_CHARACTERS} characters at most"
            raise wrong("Policy.version", self.version, allowed)
        if self.retention is not None and not isinstance(self.retention, Retention):
            raise wrong("Policy.retention", self.retention, "a Retention, or None")
        object.__setattr__(self, "_purposes", self._purposes_in_use())
        exempt = {id_: purpose.is_necessary for id_, purpose in self._purposes.items()}
        object.__setattr__(self, "exempt", MappingProxyType(exempt))
        asked = tuple(purpose for purpose in self._purposes.values() if not purpose.is_necessary)
        object.__setattr__(self, "_asked", asked)
        self._require_necessary_cookies_kept()
        object.__setattr__(self, "fingerprint", _fingerprint(self))

    def _purposes_in_use(self) -> Mapping[str, Purpose]:
        require_unique("Purpose.id", [purpose.id for purpose in self.purposes])
        require_unique("Service.id", [service.id for service in self.services])
        known = {**STANDARD_PURPOSES, **{purpose.id: purpose for purpose in self.purposes}}
        for service in self.services:
            if service.purpose not in known:
                raise wrong(
                    f"Service.purpose of {service.id!r}", service.purpose, "one of " + ", ".join(known)
                )
        used = {"necessary", *(p.id for p in self.purposes), *(s.purpose for s in self.services)}
        in_use = {id_: purpose for id_, purpose in known.items() if id_ in used}
        asked = sum(not purpose.is_necessary for purpose in in_use.values())
        if asked > _MAX_ASKED_PURPOSES:
            raise wrong(
                "Policy.purposes", asked, f"{_MAX_ASKED_PURPOSES} at most, so that a choice fits a cookie"
            )
        return MappingProxyType(in_use)

    def _require_necessary_cookies_kept(self) -> None:
        """Refuse a pattern with which a refusal would delete what the site or this library needs."""
        necessary = [service for service in self.services if self.exempt[service.purpose]]
        kept = [*OWN_COOKIES, *(pattern for service in necessary for pattern in service.cookie_patterns)]
        for service in self.services:
            for pattern in () if service in necessary else service.cookie_patterns:
                for other in kept:
                    if _may_be_one(pattern, other):
                        allowed = f"a pattern that does not fit {other!r}, which is necessary"
                        raise wrong(f"Service {service.id!r}: the cookie", pattern, allowed)

    @property
    def purpose_by_id(self) -> Mapping[str, Purpose]:
        """The purposes in use, by id: the standard ones first, then the site's own as declared."""
        return self._purposes

    @property
    def asked(self) -> tuple[Purpose, ...]:
        """The purposes that visitors are asked about."""
        return self._asked

    @property
    def asks(self) -> bool:
        """Whether there is anything to ask: a site with necessary trackers only needs no notice."""
        return bool(self.asked)

    def services_for(self, purpose: str) -> tuple[Service, ...]:
        """Give the services of one purpose, in the order in which they were declared."""
        return tuple(service for service in self.services if service.purpose == purpose)

    def require_service(self, service: str) -> Service:
        """Give the service of this id.

        Raises:
            PolicyError: the policy has none of this id; the message lists those it has.
        """
        for one in self.services:
            if one.id == service:
                return one
        allowed = "one of " + ", ".join(one.id for one in self.services) if self.services else "none yet"
        raise wrong("service", service, allowed)

    def require_purpose(self, purpose: str) -> Purpose:
        """Give the purpose of this id.

        Raises:
            PolicyError: the policy has none of this id; the message lists those it has.
        """
        try:
            return self._purposes[purpose]
        except (KeyError, TypeError):
            raise wrong("purpose", purpose, "one of " + ", ".join(self._purposes)) from None


def _require_tracker_name(where: str, value: object) -> None:
    if not isinstance(value, str) or not _TRACKER_NAME.match(value):
        raise wrong(where, value, _TRACKER_NAME_ALLOWED)


def matches_name(pattern: str, name: str) -> bool:
    """Say whether a name fits a pattern in which one ``*`` stands for any run of characters."""
    before, star, after = pattern.partition("*")
    if not star:
        return name == pattern
    return len(name) >= len(before) + len(after) and name.startswith(before) and name.endswith(after)


def _may_be_one(pattern: str, other: str) -> bool:
    """Say whether one name may fit both patterns."""
    if "*" not in pattern or "*" not in other:
        return matches_name(pattern, other) or matches_name(other, pattern)
    (before, _, after), (start, _, end) = pattern.partition("*"), other.partition("*")
    return (before.startswith(start) or start.startswith(before)) and (
        after.endswith(end) or end.endswith(after)
    )


def _fingerprint(policy: Policy) -> str:
    """Sum up what changes the meaning of a consent: 32 hexadecimal characters, the first half of a SHA-256.

    Texts, trackers, snippets and necessary services are left out: they change without changing the question.
    The form is held by a golden-value test, since every visitor is asked again when the value changes.
    """
    asked = {purpose.id for purpose in policy.asked}
    meaning = {
        "purposes": sorted(asked),
        "services": sorted(
            [s.id, s.provider, s.purpose, sorted(s.recipients), sorted(s.countries)]
            for s in policy.services
            if s.purpose in asked
        ),
        "version": policy.version,
    }
    canonical = json.dumps(meaning, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]
