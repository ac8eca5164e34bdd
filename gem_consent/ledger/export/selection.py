"""Which events an export or a sum takes: a period, one visitor, whatever follows a position."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy.sql import ColumnElement

from gem_consent.errors import ConfigurationError
from gem_consent.ledger.schema import events
from gem_consent.proof.event import utc_text
from gem_consent.proof.tree import MAX_SIZE

__all__ = ["Selection"]

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events to read; all of them unless told otherwise.

    Args:
        since: the first instant, as an event's ``time`` is written.
        until: the instant after the last one, so that two periods in a row neither overlap nor leave a gap.
        subject: one visitor's id.
        after: only rows of higher positions, so that an export can go on where the one before ended.

    Example:
        >>> Selection.parse(since="2026-01-01", until="2026-01-31").until
        '2026-02-01T00:00:00.000Z'
    """

    since: str | None = None
    until: str | None = None
    subject: str | None = None
    after: int | None = None

    @classmethod
    def parse(
        cls,
        since: str | None = None,
        until: str | None = None,
        subject: str | None = None,
        after: int | None = None,
        *,
        prefix: str = "--",
    ) -> Selection:
        """Read dates (``2026-01-31`` in UTC; ``until`` includes that day) and instants (RFC 3339; exclusive).

        Args:
            since, until, subject, after: as they were asked for.
            prefix: what stands before a name in the messages: they are options of a command unless told.

        Raises:
            ConfigurationError: a text is neither, the period ends before it starts, or no row can be there.
        """
        start = None if since is None else _instant(f"{prefix}since", since, days=0)
        end = None if until is None else _instant(f"{prefix}until", until, days=1)
        if start and end and start >= end:
            raise ConfigurationError(
                f"{prefix}since {since} is not before {prefix}until {until}: swap or correct them"
            )
        if after is not None and not 0 <= after <= MAX_SIZE:
            raise ConfigurationError(f"{prefix}after {after} is no position: they begin with 0")
        return cls(start, end, subject, after)

    def where(self) -> list[ColumnElement[bool]]:
        """Give the conditions; erased events have neither time nor subject, and meet none of either."""
        wanted = []
        if self.since is not None:
            wanted.append(events.c.time >= self.since)
        if self.until is not None:
            wanted.append(events.c.time < self.until)
        if self.subject is not None:
            wanted.append(events.c.subject == self.subject)
        if self.after is not None:
            wanted.append(events.c.position > self.after)
        return wanted


def _instant(option: str, text: str, days: int) -> str:
    try:
        if _DATE.fullmatch(text):
            midnight = datetime.combine(date.fromisoformat(text), time(), UTC)
            return _padded(midnight + timedelta(days=days))
        if _INSTANT.fullmatch(text.upper()):
            at = datetime.fromisoformat(text.upper().replace("Z", "+00:00")).astimezone(UTC)
            # Rounded up: stored times have milliseconds, and "at or after .0005" means "at or after .001".
            return _padded(at + timedelta(microseconds=999))
    except (ValueError, OverflowError):
        pass
    raise ConfigurationError(
        f"{option} {text!r} is no date: write 2026-01-31, or 2026-01-31T09:30:00Z with its time zone"
    )


def _padded(at: datetime) -> str:
    return utc_text(at).zfill(24)
