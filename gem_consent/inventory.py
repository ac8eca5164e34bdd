"""Which cookies the application's own responses set: names and attributes, never values, never of whom. Pure.

Kept in memory, bounded, and handed over now and then to whoever stores it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from gem_consent.policy import Tracker

__all__ = ["Inventory", "Seen", "declared_seconds", "exceeds", "family_of"]

_MAX_NAMES = 500
_MAX_NAME_CHARACTERS = 128
_FIRST_SECONDS = 60
_INTERVAL_SECONDS = 600
# A number in a name may be somebody's: wp-settings-42, amplitude_id_1a2b3c4d.
_NUMBER = re.compile(r"[0-9a-f]*[0-9][0-9a-f]{5,}|[0-9]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Seen:
    """One cookie that was set.

    Args:
        name: its name, each number in it written as ``*``; a declared one's is what it is declared under.
        first: when it was first seen, in seconds since 1970 (UTC).
        last: when it was last seen, likewise.
        lifetime: the longest that it was set for, in seconds; ``None``: until the browser is closed.
        attributes: such as ``HttpOnly; Secure; SameSite=Lax``, as last set.
        service: the id of the service that declares it; empty where none does.
        declared: the lifetime that is declared for it, in seconds, where a number is.
    """

    name: str
    first: int
    last: int
    lifetime: int | None
    attributes: str
    service: str = ""
    declared: int | None = None

    def merged(self, later: Seen) -> Seen:
        """Give what both sightings say together; what is declared is as the later one has it."""
        lifetimes = [one for one in (self.lifetime, later.lifetime) if one is not None]
        first, last = min(self.first, later.first), max(self.last, later.last)
        return replace(later, first=first, last=last, lifetime=max(lifetimes, default=None))


class Inventory:
    """What this process has seen since it began; not more than 500 names are kept."""

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}
        self._fresh: dict[str, Seen] = {}
        self._withheld: set[str] = set()
        self._due = 0

    def note(self, seen: Seen) -> bool:
        """Keep a sighting; say whether the name is new to this process."""
        before = self._seen.get(seen.name)
        if before is None and (len(self._seen) >= _MAX_NAMES or len(seen.name) > _MAX_NAME_CHARACTERS):
            return False
        if not self._due:
            self._due = seen.last + _FIRST_SECONDS
        self._seen[seen.name] = self._fresh[seen.name] = seen if before is None else before.merged(seen)
        return before is None

    def note_withheld(self, name: str) -> bool:
        """Say whether this is the first of a declared name or pattern that is withheld in this process."""
        is_first = name not in self._withheld
        self._withheld.add(name)
        return is_first

    def is_due(self, now: int) -> bool:
        """Say whether what is fresh should be stored: a minute after the first name, then every ten."""
        return self.has_fresh and now >= self._due

    @property
    def has_fresh(self) -> bool:
        """Whether there is anything that was not handed over yet."""
        return bool(self._fresh)

    def take(self, now: int) -> list[Seen]:
        """Give what is fresh, to be stored; it stays fresh until ``settle`` is told that it was."""
        self._due = now + _INTERVAL_SECONDS
        return list(self._fresh.values())

    def settle(self, stored: Iterable[Seen]) -> None:
        """Note that these are stored; what was seen again since then stays fresh."""
        for one in stored:
            if self._fresh.get(one.name) is one:
                del self._fresh[one.name]


def family_of(name: str) -> str:
    """Write a cookie's name, its first 128 characters, without the numbers in it, which may be a visitor's.

    Example:
        >>> family_of("wp-settings-42"), family_of("sessionid")
        ('wp-settings-*', 'sessionid')
    """
    # some view may take a name from its visitor: the search takes the square of the length
    return _NUMBER.sub("*", name[:_MAX_NAME_CHARACTERS])


def exceeds(seen: Seen) -> bool:
    """Say whether a cookie is set for longer than is declared (a day's grace, since dates are rounded)."""
    day = int(timedelta(days=1).total_seconds())
    return seen.declared is not None and seen.lifetime is not None and seen.lifetime > seen.declared + day


def declared_seconds(tracker: Tracker) -> int | None:
    """Give the seconds that are declared for a tracker; ``None`` for a text or a browser's session."""
    lifetime = tracker.lifetime
    return int(lifetime.total_seconds()) if isinstance(lifetime, timedelta) else None
