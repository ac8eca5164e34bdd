"""Which site a request belongs to, where one application serves several: by its host, or as a function says.

The ``Host`` header is whatever a visitor writes: it is compared with what is configured, and nothing else.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import idna

from gem_consent.errors import ConfigurationError
from gem_consent.policy import Controller, Policy
from gem_consent.proof.notice import Notice
from gem_consent.site import Site, is_within

__all__ = ["PolicyChoice", "Sites", "checked_domain"]

PolicyChoice: TypeAlias = Policy | Mapping[str, Policy] | Callable[[Mapping[str, Any]], Policy | None]
"""One policy for every request; one for each host; or a function of the ASGI scope that gives one."""

_MAX_REMEMBERED = 256
_OTHERS = "*"
_HOST = re.compile(r"(?=.{1,253}\Z)([a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*|\[[0-9a-f:.]+\])\Z")
_PORT = re.compile(r":[0-9]*\Z")
_ALLOWED = "a Policy, a mapping from host to Policy, or a function of the ASGI scope that gives a Policy"
_NOBODY = Policy(
    controller=Controller(name="none", contact="https://example.com"), privacy_url="/", languages=("en",)
)


class Sites:
    """The sites of one application: a mapping's are made at the start, a function's as they come.

    A function must give the same ``Policy`` object for the same site each time: a site is made, and its
    notices are rendered, once for each object, and 256 of them are remembered.

    Args:
        policy: what chooses.
        make: makes the site of a policy.
        share_domain: the domain whose sub-domains share a choice.

    Attributes:
        first: the site of the only policy, of ``"*"``, or of the first host; with a function, one that asks
            nothing.

    Raises:
        ConfigurationError: ``policy`` is none of the three, a host is none, or hosts that share a choice ask
            different questions.
    """

    def __init__(
        self, policy: PolicyChoice, make: Callable[[Policy], Site], share_domain: str | None = None
    ) -> None:
        self._make = make
        self._made: OrderedDict[int, Site] = OrderedDict()
        self._by_host: dict[str, Site] = {}
        self._policy_of = policy if callable(policy) else None
        self.is_single = isinstance(policy, Policy)
        if isinstance(policy, Policy):
            self.first = self._by_host[_OTHERS] = self._of(policy)
        elif isinstance(policy, Mapping) and policy:
            self._by_host = {_host_key(host): self._of(one) for host, one in policy.items()}
            _require_one_question(self._by_host, share_domain)
            self.first = self._by_host.get(_OTHERS) or next(iter(self._by_host.values()))
            self._silent = _silenced(make(replace(self.first.policy, services=(), purposes=())))
        elif self._policy_of is not None:
            self.first = self._silent = _silenced(make(_NOBODY))
        else:
            raise ConfigurationError(f"policy is {policy!r}; allowed: {_ALLOWED}")

    def of(self, scope: Mapping[str, Any]) -> Site:
        """Choose the site of a request; where none of several is for it, one that asks and grants nothing.

        Raises:
            ConfigurationError: the function gave neither a policy nor ``None``.
        """
        if self._policy_of is not None:
            policy = self._policy_of(scope)
            return self._silent if policy is None else self._of(policy)
        return self._by_host.get(_host(scope)) or self._by_host.get(_OTHERS) or self._silent

    def notices(self) -> Iterable[Notice]:
        """Give the notices that visitors are sure to see, of every site made so far."""
        return [notice for site in list(self._made.values()) for notice in site.renderer.declared_notices()]

    def find_notice(self, digest: str) -> Notice | None:
        """Give the notice of a digest, of whatever site and in whatever language."""
        found = (site.renderer.find_notice(digest) for site in list(self._made.values()))
        return next(filter(None, found), None)

    def _of(self, policy: Policy) -> Site:
        site = self._made.get(id(policy))
        if site is None:
            if not isinstance(policy, Policy):
                raise ConfigurationError(f"policy is {policy!r}; allowed: {_ALLOWED}")
            # the site holds the policy, so that no other object takes its id while it is remembered
            site = self._made[id(policy)] = self._make(policy)
            if self._policy_of is not None and len(self._made) > _MAX_REMEMBERED:
                self._made.popitem(last=False)
        return site


def _silenced(site: Site) -> Site:
    return replace(site, is_silent=True)


def _host_key(name: str) -> str:
    """Give a host as the ``Host`` header has it: lower case, A-labels (RFC 5891), no port."""
    try:
        key = name if name.isascii() else idna.encode(name, uts46=True).decode()
    except (AttributeError, idna.IDNAError):
        key = ""
    key = key.lower().rstrip(".")
    if key != _OTHERS and not _HOST.match(key):
        raise ConfigurationError(
            f"policy has the host {name!r}; allowed: hosts such as 'www.example.com', without scheme or "
            "port, and '*'"
        )
    return key


def _host(scope: Mapping[str, Any]) -> str:
    for key, value in scope["headers"]:
        if key == b"host":
            host: str = value.decode("latin-1")
            return _PORT.sub("", host.strip()).rstrip(".").lower()
    return ""


def _require_one_question(sites: Mapping[str, Site], domain: str | None) -> None:
    """Refuse hosts that would take each other's choice for one of another policy, and ask again and again."""
    asked = {site.policy.fingerprint for host, site in sites.items() if domain and is_within(host, domain)}
    if len(asked) > 1:
        raise ConfigurationError(
            f"share_domain is {domain!r}, and its hosts have policies with different fingerprints; allowed: "
            "one policy, or policies that ask the same, for all hosts that share a choice"
        )


def checked_domain(domain: str | None) -> str | None:
    """Check the domain whose sub-domains share a choice; give it as ``Domain`` has it (RFC 6265bis, 4.1.2.3).

    Raises:
        ConfigurationError: it is no domain of two labels at least.
    """
    if domain is None:
        return None
    key = _host_key(domain) if isinstance(domain, str) else ""
    if "." not in key or key.rpartition(".")[2].isdigit() or key.startswith("["):
        raise ConfigurationError(
            f"share_domain is {domain!r}; allowed: the domain that all hosts end with, such as 'example.com'"
        )
    return key
