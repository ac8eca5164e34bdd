"""One row of proof: what an event holds, its canonical bytes, the commitment that a leaf is made of."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = [
    "SALT_BYTES",
    "Event",
    "canonical",
    "columns_of",
    "commitment",
    "commitment_to",
    "event_id",
    "utc_text",
    "with_previous",
]

SALT_BYTES = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Event:
    """One decision of one visitor, or a mark, as the ledger keeps it and the export shows it.

    Args:
        id: a UUIDv7 (RFC 9562), made by the server.
        time: the server's clock, RFC 3339 in UTC with milliseconds (``2026-11-23T09:30:00.000Z``).
        subject: the visitor's random id, which their cookie holds.
        site: the host that was visited.
        state: ``given``, ``refused``, ``withdrawn`` or ``renewed``; of a mark ``erased`` or ``purged``.
        action: what was pressed: ``grant_all``, ``deny_all``, ``save``, ``withdraw``,
            ``grant`` or ``deny``.
        surface: where: ``notice``, ``preferences``, ``settings`` …
        purposes: each purpose that was asked about, and whether it was granted; denied ones too.
        notice: the digest of the notice that was answered; empty for a refusal that named none.
        fingerprint: the policy's.
        policy_version: the policy's own name for itself.
        language: the language of the notice.
        expires: when the choice ends, as ``time``.
        previous: the id of the subject's event before this one.
        library: the name and version of this library.
        browser, system, device: coarse, from the user agent.
        network: an address prefix, only where the site asks for it.
        mark: which rows were emptied and by which rule, as ``mark.py`` writes it; ``None`` for a decision.
    """

    id: str
    time: str
    subject: str
    site: str
    state: str
    action: str
    surface: str
    purposes: Mapping[str, bool]
    notice: str
    fingerprint: str
    policy_version: str
    language: str
    expires: str
    previous: str | None = None
    library: str = ""
    browser: str | None = None
    system: str | None = None
    device: str | None = None
    network: str | None = None
    mark: str | None = None


_NAMES = tuple(field.name for field in fields(Event) if field.name != "mark")
# Built once: json.dumps with options builds one each time.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def columns_of(event: Event) -> dict[str, Any]:
    """Give the columns that stand in an event's canonical form.

    ``mark`` alone is there only in a mark: decisions stand as they did before there were marks.
    """
    columns = {name: getattr(event, name) for name in _NAMES}
    if event.mark is not None:
        columns["mark"] = event.mark
    columns["purposes"] = dict(event.purposes)
    return columns


def canonical(event: Event) -> bytes:
    """Give the bytes that stand for an event: JSON in UTF-8, keys sorted, no white space, no key left out."""
    return _ENCODER.encode(columns_of(event)).encode()


def commitment(salt: bytes, event: Event) -> bytes:
    """Commit to an event without showing it: SHA-256 over 16 random bytes and its canonical form.

    Once salt and columns are erased, nobody can find the event again by trying likely ones.
    """
    return commitment_to(salt, columns_of(event))


def commitment_to(salt: bytes, columns: Mapping[str, Any]) -> bytes:
    """Commit to an event's columns as somebody else wrote them down: what differs gives another commitment.

    Raises:
        ValueError: a text is none that UTF-8 can write.
    """
    return hashlib.sha256(salt + _ENCODER.encode(columns).encode()).digest()


def event_id(at: datetime) -> str:
    """Make a UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, then 74 random bits.

    Args:
        at: an aware time, whose milliseconds are those that ``utc_text`` writes.

    Example:
        >>> event_id(datetime(2026, 11, 23, tzinfo=UTC))[:15]
        '01a205b3-d000-7'
    """
    # Whole numbers all the way: a float would name the millisecond before, now and then.
    milliseconds = (at - _EPOCH) // timedelta(milliseconds=1)
    value = milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def utc_text(at: datetime) -> str:
    """Write an aware time as RFC 3339 in UTC with milliseconds, so that texts sort as times do.

    Raises:
        ValueError: the time is naive, and no zone can be guessed in a proof.

    Example:
        >>> utc_text(datetime(2026, 11, 23, 9, 30, tzinfo=UTC))
        '2026-11-23T09:30:00.000Z'
    """
    if at.tzinfo is None:
        raise ValueError("A time without a zone was given for a proof; use datetime.now(UTC)")
    at = at.astimezone(UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def with_previous(event: Event, previous: str | None) -> Event:
    """Give the event with the id of the subject's event before it, which only the ledger knows."""
    return event if event.previous == previous else replace(event, previous=previous)
