"""The application's own ``Set-Cookie`` lines: which of them may leave, and what is noted of all."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from gem_consent import set_cookie
from gem_consent.headers import Headers
from gem_consent.inventory import Seen, family_of
from gem_consent.site import Site

__all__ = ["gated", "sets_cookies"]

_logger = logging.getLogger("gem_consent")


def sets_cookies(headers: Headers) -> bool:
    """Say whether there is a ``Set-Cookie`` line."""
    return any(name.lower() == b"set-cookie" for name, _ in headers)


def gated(site: Site, headers: Headers, granted: frozenset[str], now: int) -> Headers:
    """Look at an application's ``Set-Cookie`` lines: some are taken out, all are in the inventory.

    Taken out are those of declared trackers that were not granted, and where the site says so those that
    nobody declared; never a deletion.

    Args:
        site: the configuration.
        headers: the response's.
        granted: the purposes that its visitor has granted.
        now: the present time, in seconds since 1970 (UTC).

    Returns:
        The headers without what was taken out; the same object where nothing was.
    """
    kept = [
        (name, value)
        for name, value in headers
        if name.lower() != b"set-cookie" or _lets(site, value, granted, now)
    ]
    if site.inventory.is_due(now):
        site.keep_inventory()
    return headers if len(kept) == len(headers) else kept


def _lets(site: Site, line: bytes, granted: frozenset[str], now: int) -> bool:
    """Say whether a ``Set-Cookie`` line may leave; note what it says of itself."""
    moment, name = datetime.fromtimestamp(now, UTC), set_cookie.cookie_name(line)
    if not name or site.is_silent or set_cookie.is_deletion(line, moment):
        return True
    declaration = site.declared(name)
    lifetime, attributes = set_cookie.described(line, moment)
    family, service, declared = declaration or (family_of(name), "", None)
    is_new = site.inventory.note(Seen(family, now, now, lifetime, attributes, service, declared))
    if site.refuses(name, granted):
        site.tally.cookies["withheld"] += 1
        if site.inventory.note_withheld(family):
            _logger.warning("withheld cookies whose purpose was not granted: %s", family)
        return False
    if declaration is not None or site.undeclared == "allow":
        return True
    is_refused = site.undeclared == "refuse" and not set_cookie.is_needed_by_name(name)
    site.tally.cookies["refused" if is_refused else "undeclared"] += 1
    if is_new:
        outcome = "it was refused" if is_refused else "it was let through"
        _logger.warning("a cookie that the policy does not declare: %s, and %s", family, outcome)
    return not is_refused
