"""What one ``ConsentMiddleware`` is configured with: shared by its requests, and never changed by one."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

from gem_consent.client import has_gpc, is_crawler
from gem_consent.consent import UNDECIDED, Choice, Consent, consent_from, expires_at
from gem_consent.cookie import HINT_NAME, MAX_AHEAD_SECONDS, NAME, ConsentCookie, cookie_name, the_better
from gem_consent.headers import Headers
from gem_consent.inventory import Inventory, declared_seconds
from gem_consent.ledger.store import Ledger
from gem_consent.policy import Policy, Service, matches_name
from gem_consent.rate import RateLimit
from gem_consent.recorder import Recorder
from gem_consent.rendering import Renderer, View
from gem_consent.services import own_service
from gem_consent.telemetry import Tally

__all__ = [
    "Carried",
    "Declaration",
    "DocumentsMode",
    "GpcMode",
    "InsertMode",
    "Scope",
    "Site",
    "Standing",
    "UndeclaredMode",
    "is_within",
]

_MAX_REMEMBERED = 1024
_MAX_REMEMBERED_BYTES = 4096
_MAX_NAME_CHARACTERS = 256
_PATIENCE_SECONDS = 2.0

Scope: TypeAlias = MutableMapping[str, Any]
"""An ASGI connection scope."""

DocumentsMode: TypeAlias = Literal["auto", "shared", "private"]
InsertMode: TypeAlias = Literal["auto", "never"]
UndeclaredMode: TypeAlias = Literal["report", "refuse", "allow"]
GpcMode: TypeAlias = Literal["ask", "refuse"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What one visitor's choice means today.

    Args:
        consent: what it allows.
        view: what documents show because of it.
        ends_at: when the choice is over, in seconds since 1970 (UTC).
        leftovers: finds, in a ``Cookie`` header after a semicolon, what this visitor's own documents delete;
            ``None`` where that is nothing.
    """

    consent: Consent
    view: View
    ends_at: int
    leftovers: re.Pattern[bytes] | None


@dataclass(frozen=True, slots=True)
class Carried:
    """What a request's ``Cookie`` line says.

    Args:
        choice: the verified choice, even if it is over or of another policy.
        standing: what it means today.
        has_leftovers: there are cookies that this visitor's own documents delete.
        starts_at: when the choice begins to count, in seconds since 1970 (UTC).
    """

    choice: Choice | None
    standing: Standing
    has_leftovers: bool
    starts_at: int = 0


class Declaration(NamedTuple):
    """What the policy declares of a cookie.

    Args:
        name: the name or pattern that it is declared under (what a ``*`` stands for may be a visitor's).
        service: the id of the service.
        seconds: the lifetime, where a number is declared.
    """

    name: str
    service: str
    seconds: int | None


@dataclass(frozen=True, slots=True)
class Site:
    """The parts that requests share.

    Args:
        policy: what is declared.
        renderer: what visitors see of it.
        cookie: how a choice is kept.
        recorder: how it is proved.
        path: the prefix of the library's own pages.
        https_only: whether cookies are https cookies; ``None`` follows each request.
        documents: which form a request's document takes.
        insert: whether documents are changed.
        keeps_network: whether events hold an address prefix.
        gpc: whether Global Privacy Control refuses for its visitor, or the notice asks all the same.
        clock: seconds since 1970 (UTC).
        inventory: which cookies the application was seen to set.
        tally: what is counted for operators.
        share_domain: the domain whose sub-domains share a choice.
        is_silent: no policy is for these requests: nothing is asked, shown or granted.
        limit: how many decisions an address may send in a minute; ``None``: any number.
        undeclared: what happens to cookies of the application's that the policy does not declare.

    Attributes:
        remembered: what ``Cookie`` lines with a choice mean, by line and scheme: a visitor's hardly changes
            from page to page. Each holds while its time has begun and is not over.
    """

    policy: Policy
    renderer: Renderer
    cookie: ConsentCookie
    recorder: Recorder
    path: str
    https_only: bool | None
    documents: Callable[[Mapping[str, Any]], DocumentsMode]
    insert: InsertMode
    keeps_network: bool
    gpc: GpcMode
    clock: Callable[[], float]
    inventory: Inventory
    tally: Tally
    share_domain: str | None = None
    is_silent: bool = False
    limit: RateLimit | None = None
    undeclared: UndeclaredMode = "report"
    changes_documents: bool = field(init=False)
    stranger: Standing = field(init=False)
    unasked: Standing = field(init=False)
    newcomer: Carried = field(init=False)
    remembered: OrderedDict[tuple[bytes, object], Carried] = field(
        init=False, repr=False, default_factory=OrderedDict
    )
    variance: Headers = field(init=False)
    privacy: Headers = field(init=False)
    _refuses: Callable[[str, frozenset[str]], bool] = field(init=False, repr=False)
    _declared: Callable[[str], Declaration | None] = field(init=False, repr=False)
    _standing_of: Callable[[Choice | None], Standing] = field(init=False, repr=False)
    _leftovers_of: Callable[[frozenset[str]], re.Pattern[bytes] | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_leftovers_of", lru_cache(_MAX_REMEMBERED)(self._leftovers))
        object.__setattr__(self, "changes_documents", self.insert != "never" and self.policy.asks)
        object.__setattr__(self, "stranger", self._judged(None))
        unasked = replace(self.stranger, view=View(is_shared=False, is_decided=True))
        object.__setattr__(self, "unasked", unasked)
        object.__setattr__(self, "newcomer", Carried(None, self.stranger, has_leftovers=False))
        object.__setattr__(self, "variance", [(b"vary", b"Sec-GPC")] if self.gpc == "refuse" else [])
        privacy = [(b"cache-control", b"private"), (b"vary", b"Cookie"), *self.variance]
        object.__setattr__(self, "privacy", privacy)
        object.__setattr__(self, "_refuses", lru_cache(_MAX_REMEMBERED)(self._is_refused))
        object.__setattr__(self, "_declared", lru_cache(_MAX_REMEMBERED)(self._declaration))
        object.__setattr__(self, "_standing_of", lru_cache(_MAX_REMEMBERED)(self._judged))

    def standing(self, choice: Choice | None, now: int) -> Standing:
        """Hold a verified choice against the policy and the clock."""
        if choice is None or self.is_silent:
            return self.stranger
        standing = self._standing_of(choice)
        return standing if now < standing.ends_at else self.stranger

    def undecided(self, carried: Carried, headers: Headers, user_agent: bytes) -> Carried:
        """Say how a visitor without a choice stands; crawlers and some with a signal are not asked.

        Their documents are those of a visitor who refused. Nothing is stored for it, and nothing is decided.
        """
        # W3C Global Privacy Control: the signal restricts; it is never an agreement
        is_refused = self.gpc == "refuse" and has_gpc(headers)
        is_unasked = is_refused or is_crawler(user_agent)
        return replace(carried, standing=self.unasked) if is_unasked else carried

    def _judged(self, choice: Choice | None) -> Standing:
        if self.is_silent:
            return Standing(UNDECIDED, View.of(UNDECIDED), 0, None)
        consent = consent_from(choice, self.policy, choice.decided_at if choice else 0)
        ends_at = consent.expires_at or (expires_at(choice.decided_at, self.policy) if choice else 0)
        leftovers = self._leftovers_of(consent.granted) if consent.is_decided else _HINT
        return Standing(consent, View.of(consent), ends_at, leftovers)

    def _leftovers(self, granted: frozenset[str]) -> re.Pattern[bytes] | None:
        refused = self.refused_services(granted)
        return _any_of({pattern for service in refused for pattern in service.cookie_patterns})

    def _is_refused(self, name: str, granted: frozenset[str]) -> bool:
        return any(service.owns_cookie(name) for service in self.refused_services(granted))

    def refuses(self, name: str, granted: frozenset[str]) -> bool:
        """Say whether a cookie of this name is a declared tracker of what is not among these purposes."""
        return len(name) <= _MAX_NAME_CHARACTERS and self._refuses(name, granted)

    def declared(self, name: str) -> Declaration | None:
        """Say who declares a cookie of this name, and how; ``None``: nobody does."""
        return self._declared(name) if len(name) <= _MAX_NAME_CHARACTERS else None

    def _declaration(self, name: str) -> Declaration | None:
        for service in (own_service(self.policy), *self.policy.services):
            for tracker in service.trackers:
                if tracker.storage == "cookie" and tracker.host is None and tracker.matches(name):
                    return Declaration(tracker.name, service.id, declared_seconds(tracker))
            for pattern in service.leftovers:
                if matches_name(pattern, name):
                    return Declaration(pattern, service.id, None)
        return None

    def keep_inventory(self) -> threading.Event:
        """Store what is fresh in the inventory, in the ledger's own thread and time."""
        seen = self.inventory.take(int(self.clock()))

        def store(ledger: Ledger) -> None:
            ledger.store_cookies(seen)
            self.inventory.settle(seen)

        return self.recorder.post(store)

    def close(self) -> None:
        """Store what is left, tell what was counted, and close the ledger; blocks, a few seconds at most."""
        if self.inventory.has_fresh:
            self.keep_inventory().wait(_PATIENCE_SECONDS)
        self.tally.report(int(self.clock()))
        self.recorder.close()

    def refused_services(self, granted: frozenset[str]) -> tuple[Service, ...]:
        """Give the services of every purpose that is asked about and not among these."""
        denied = [purpose.id for purpose in self.policy.asked if purpose.id not in granted]
        return tuple(service for id_ in denied for service in self.policy.services_for(id_))

    def is_leftover(self, name: str, consent: Consent) -> bool:
        """Say whether a visitor's own documents delete a cookie of this name."""
        return self.refuses(name, consent.granted) if consent.is_decided else name == HINT_NAME

    def is_https(self, scope: Mapping[str, Any]) -> bool:
        """Say whether this request's cookies are https cookies."""
        return scope.get("scheme") in ("https", "wss") if self.https_only is None else self.https_only

    def carried(self, line: bytes, scope: Mapping[str, Any], now: int) -> Carried:
        """Say what a ``Cookie`` line means; one with a choice is remembered."""
        # a third of what `in` takes
        if line.rfind(NAME) < 0:
            return self.newcomer
        choice = self._read_choice(line, scope, now)
        standing = self.standing(choice, now)
        has_leftovers = standing.leftovers is not None and standing.leftovers.search(b";" + line) is not None
        starts_at = choice.decided_at - MAX_AHEAD_SECONDS if choice else 0
        carried = Carried(choice, standing, has_leftovers, starts_at)
        # which domain a host shares with is not in the line
        if choice and self.share_domain is None and len(line) <= _MAX_REMEMBERED_BYTES:
            self.remembered[line, scope.get("scheme")] = carried
            if len(self.remembered) > _MAX_REMEMBERED:
                self.remembered.popitem(last=False)
        return carried

    def _read_choice(self, line: bytes, scope: Mapping[str, Any], now: int) -> Choice | None:
        """Find the choice that counts in a ``Cookie`` line, or ``None``.

        Where sub-domains share one, a choice that this host kept alone before counts as well.
        """
        is_https = self.is_https(scope)
        own = self.cookie.read((line,), cookie_name(is_https), now)
        if self.share_domain is None or (domain := self.domain(scope)) is None:
            return own
        return the_better(self.cookie.read((line,), cookie_name(is_https, domain), now), own)

    def domain(self, scope: Mapping[str, Any]) -> str | None:
        """Give the domain whose sub-domains share this request's choice; ``None``: its host keeps its own."""
        if self.share_domain is None:
            return None
        host = next((value for key, value in scope["headers"] if key == b"host"), b"").decode("latin-1")
        name = host.partition(":")[0].rstrip(".").lower()
        return self.share_domain if is_within(name, self.share_domain) else None

    def prefix(self, scope: Mapping[str, Any]) -> str:
        """Give the path of the library's own pages as browsers see it, under the ``root_path``."""
        return self.root(scope) + self.path

    def root(self, scope: Mapping[str, Any]) -> str:
        """Give where the application is mounted; never ``//…``, which browsers read as another host."""
        root: str = scope.get("root_path", "")
        return f"/{bare}" if root and (bare := root.strip("/")) else ""


def is_within(host: str, domain: str) -> bool:
    """Say whether a host is a domain or one of its sub-domains (RFC 6265bis, section 5.1.3)."""
    return host == domain or host.endswith(f".{domain}")


def _any_of(names: Iterable[str]) -> re.Pattern[bytes] | None:
    """Compile a search for cookies by name pattern (one ``*`` stands for any characters)."""
    wanted = "|".join(sorted(re.escape(name).replace(r"\*", "[^=;]*") for name in names))
    return re.compile(rf";\s*(?:{wanted})\s*=".encode()) if wanted else None


# a hint that has lost its choice (another key, a moved clock) would hide the notice
_HINT = _any_of({HINT_NAME})
