"""Adds to a page's Content Security Policy what the library needs there, and no more (CSP Level 3).

Given headers, gives headers; never invents a policy where the page has none, and never weakens one by
accident: a hash beside a lone 'unsafe-inline' would switch the site's own scripts off.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from gem_consent.headers import Headers, values

__all__ = ["Needs", "amend", "hash_source", "lacks_hosts", "requires_trusted_types"]

_ENFORCED = b"content-security-policy"
_HEADERS = frozenset({_ENFORCED, b"content-security-policy-report-only"})

# CSP3, "Get fetch directive fallback list"; form-action has none.
_FALLBACKS: Mapping[str, tuple[str, ...]] = {
    "script-src": ("script-src-elem", "script-src", "default-src"),
    "style-src": ("style-src-elem", "style-src", "default-src"),
    "frame-src": ("frame-src", "child-src", "default-src"),
    "form-action": ("form-action",),
}
# CSP3, "scheme-part matches": what an expression with the first lets through beside the first.
_UPGRADES = frozenset(
    {("http", "https"), ("ws", "wss"), ("ws", "http"), ("ws", "https"), ("wss", "https")},
)
_DEFAULT_PORTS = {"http": "80", "ws": "80", "https": "443", "wss": "443"}

_NONCE = re.compile(r"'nonce-([A-Za-z0-9+/_-]+={0,2})'\Z", re.IGNORECASE)
_NONCE_OR_HASH = re.compile(r"'(?:nonce|sha256|sha384|sha512)-[A-Za-z0-9+/_-]+={0,2}'\Z", re.IGNORECASE)
_HOST_SOURCE = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?(?P<host>\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)"
    r"(?::(?P<port>[0-9]+|\*))?(?P<path>/.*)?\Z"
)

_Policy: TypeAlias = "dict[str, list[str]]"


@dataclass(frozen=True, slots=True)
class Needs:
    """What the library wants to run on one page.

    Args:
        inline_scripts: hash sources of its inline scripts, without quotes (``sha256-…``).
        inline_styles: the same for its inline styles.
        hosts: directive to sources, such as ``{"img-src": ("https://*.google-analytics.com",)}``.
        self_script: whether an inline script of ours adds a script file of the site's own origin.
        is_placed: whether parts were rendered before the policy was known, so that they carry no nonce.

    Example:
        >>> needs = Needs(hosts={"img-src": ("https://*.google-analytics.com",)})
        >>> amend([(b"Content-Security-Policy", b"img-src 'none'")], needs)
        ([(b'Content-Security-Policy', b'img-src https://*.google-analytics.com')], None)
    """

    inline_scripts: tuple[str, ...] = ()
    inline_styles: tuple[str, ...] = ()
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    self_script: bool = False
    is_placed: bool = False


def hash_source(text: str | bytes) -> str:
    """Give the hash source of an inline script or style, without quotes: ``sha256-<base64>`` (CSP3 §2.3.1).

    Args:
        text: exactly what stands between the tags; a ``str`` is encoded as UTF-8, whatever the page's
            charset.
    """
    content = text.encode() if isinstance(text, str) else text
    return "sha256-" + base64.b64encode(hashlib.sha256(content).digest()).decode("ascii")


def amend(headers: Headers, needs: Needs) -> tuple[Headers, str | None]:
    """Let the library's parts run under every policy of the page, enforced and report-only.

    Args:
        headers: the response's.
        needs: what is to run.

    Returns:
        The headers (the same object where the page has no policy), and the page's own nonce for what is
        inserted: one that every enforced policy with nonces for scripts accepts, or ``None``.
    """
    if not any(name.lower() in _HEADERS for name, _ in headers):
        return headers, None
    nonce = _common_nonce(_enforced(headers))
    usable = None if needs.is_placed else nonce
    amended = [
        (name, _amended_line(value, needs, usable) if name.lower() in _HEADERS else value)
        for name, value in headers
    ]
    return amended, nonce


def lacks_hosts(headers: Headers, hosts: Mapping[str, tuple[str, ...]]) -> bool:
    """Say whether a policy does not yet allow one of these hosts, so that a grant needs a reload.

    One that only reports counts too, since it would report what was granted.

    Args:
        headers: the response's.
        hosts: directive to sources, as in :class:`Needs`.
    """
    return any(
        _lacking_sources(policy, directive, sources)
        for policy in _policies(headers, _HEADERS)
        for directive, sources in hosts.items()
    )


def requires_trusted_types(headers: Headers) -> bool:
    """Say whether an enforced policy keeps plain strings out of scripts (Trusted Types, §4.1).

    Args:
        headers: the response's.
    """
    return any(
        _has_keyword(policy.get("require-trusted-types-for", []), "'script'") for policy in _enforced(headers)
    )


def _enforced(headers: Headers) -> list[_Policy]:
    return _policies(headers, {_ENFORCED})


def _policies(headers: Headers, names: Collection[bytes]) -> list[_Policy]:
    return [_parsed(text) for name in names for line in values(headers, name) for text in line.split(",")]


def _parsed(text: str) -> _Policy:
    """Read one serialized policy; of two equal directives the first counts (CSP3 §2.2)."""
    policy: _Policy = {}
    for part in text.split(";"):
        name, *sources = part.split() or [""]
        if name:
            policy.setdefault(name.lower(), sources)
    return policy


def _common_nonce(policies: Iterable[_Policy]) -> str | None:
    offered = [nonces for policy in policies if (nonces := _nonces(policy))]
    common = (nonce for nonce in offered[0] if all(nonce in nonces for nonces in offered)) if offered else ()
    return next(iter(common), None)


def _nonces(policy: _Policy) -> list[str]:
    return [found[1] for source in _sources(policy, "script-src") or () if (found := _NONCE.match(source))]


def _sources(policy: _Policy, directive: str) -> list[str] | None:
    """Give the source list in force for a directive; ``None`` where nothing restricts it."""
    name = _in_force(policy, directive)
    return None if name is None else policy[name]


def _in_force(policy: _Policy, directive: str) -> str | None:
    chain = _FALLBACKS.get(directive, (directive, "default-src"))
    return next((name for name in chain if name in policy), None)


def _amended_line(value: bytes, needs: Needs, nonce: str | None) -> bytes:
    texts = value.decode("latin-1").split(",")
    amended = [_amended(text, needs, nonce) for text in texts]
    return value if amended == texts else ", ".join(text.strip() for text in amended).encode("latin-1")


def _amended(text: str, needs: Needs, nonce: str | None) -> str:
    policy = _parsed(text)
    lacking = {directive: sources for directive, sources in _lacking(policy, needs, nonce).items() if sources}
    if not lacking:
        return text
    for directive, sources in lacking.items():
        _add(policy, directive, sources)
    return "; ".join(" ".join([name, *sources]) for name, sources in policy.items())


def _lacking(policy: _Policy, needs: Needs, nonce: str | None) -> dict[str, list[str]]:
    lacking = {
        "script-src": _lacking_inline(policy, "script-src", needs.inline_scripts, nonce),
        "style-src": _lacking_inline(policy, "style-src", needs.inline_styles, nonce),
        "connect-src": _lacking_sources(policy, "connect-src", ("'self'",)),
        "form-action": _lacking_sources(policy, "form-action", ("'self'",)),
    }
    if needs.self_script and not _has_nonce(_sources(policy, "script-src"), nonce):
        lacking["script-src"] += _lacking_sources(policy, "script-src", ("'self'",))
    for directive, sources in needs.hosts.items():
        lacking[directive] = lacking.get(directive, []) + _lacking_sources(policy, directive, sources)
    return lacking


def _lacking_inline(policy: _Policy, directive: str, hashes: tuple[str, ...], nonce: str | None) -> list[str]:
    sources = _sources(policy, directive)
    if sources is None or _has_nonce(sources, nonce) or _allows_all_inline(sources, directive):
        return []
    return [quoted for source in hashes if (quoted := f"'{source}'") not in sources]


def _has_nonce(sources: list[str] | None, nonce: str | None) -> bool:
    return nonce is not None and any((found := _NONCE.match(s)) and found[1] == nonce for s in sources or ())


def _allows_all_inline(sources: list[str], directive: str) -> bool:
    """Say whether 'unsafe-inline' is in force (CSP3, "Does a source list allow all inline behavior")."""
    if any(_NONCE_OR_HASH.match(source) for source in sources):
        return False
    return _has_keyword(sources, "'unsafe-inline'") and not _is_strict(sources, directive)


def _has_keyword(sources: list[str], keyword: str) -> bool:
    return any(source.lower() == keyword for source in sources)


def _is_strict(sources: list[str], directive: str) -> bool:
    return directive == "script-src" and _has_keyword(sources, "'strict-dynamic'")


def _lacking_sources(policy: _Policy, directive: str, wanted: Iterable[str]) -> list[str]:
    sources = _sources(policy, directive)
    # Under 'strict-dynamic' hosts and 'self' are not looked at (CSP3, "Usage of 'strict-dynamic'").
    if sources is None or _is_strict(sources, directive):
        return []
    return [source for source in wanted if not any(_covers(given, source) for given in sources)]


def _covers(given: str, wanted: str) -> bool:
    """Say whether one source expression lets through all that another would (CSP3, "Does url match")."""
    given, wanted = given.lower(), wanted.lower()
    if given == wanted or given[0] == "'":
        return given == wanted
    if wanted == "'self'":
        # `https:` is not enough: a site under development is served over http.
        return given in ("*", "http:")
    return _covers_host(given, wanted)


# Cached, since reading source expressions is most of the work and a site's hosts do not change.
@lru_cache(maxsize=512)
def _covers_host(given: str, wanted: str) -> bool:
    needed = _HOST_SOURCE.match(wanted)
    if needed is None:
        return False
    scheme = needed["scheme"] or "https"
    if given == "*":
        return scheme in _DEFAULT_PORTS
    if given.endswith(":"):
        return _covers_scheme(given[:-1], scheme)
    have = _HOST_SOURCE.match(given)
    return (
        have is not None
        # Without a scheme the page's own counts, http or https: both let https through, neither wss.
        and _covers_scheme(have["scheme"] or "https", scheme)
        and (have["host"] == needed["host"] or _is_parent(have["host"], needed["host"]))
        and have["port"] in ("*", needed["port"] or _DEFAULT_PORTS.get(scheme), needed["port"])
        and have["path"] in (None, "/")
    )


def _covers_scheme(given: str, wanted: str) -> bool:
    return given == wanted or (given, wanted) in _UPGRADES


def _is_parent(wildcard: str, host: str) -> bool:
    return wildcard == "*" or (wildcard.startswith("*.") and host.endswith(wildcard[1:]))


def _add(policy: _Policy, directive: str, sources: list[str]) -> None:
    name = _in_force(policy, directive)
    if name is None:
        return
    # Only the directive itself or its -elem is widened in place: default-src and child-src rule over more
    # than this.
    target = name if name in (directive, f"{directive}-elem") else directive
    kept = [source for source in policy[name] if source.lower() != "'none'"]
    policy[target] = list(dict.fromkeys([*kept, *sources]))
