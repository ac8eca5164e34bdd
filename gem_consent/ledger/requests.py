"""The keys of recent requests, kept as hashes for ten minutes, so that one sent twice makes one event."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import BindParameter, Connection, bindparam, delete, insert, or_, select

from gem_consent.ledger.rows import event_from, slices
from gem_consent.ledger.schema import events, requests
from gem_consent.proof.event import Event, utc_text

__all__ = ["KEY_LIFETIME", "key_digest", "remember", "remembered"]

KEY_LIFETIME = timedelta(minutes=10)
"""How long a request's key gives back the event that it made."""

# Statements are built once: building one costs as much as running it.
_KEYS: BindParameter[str] = bindparam("keys", expanding=True)
_CUTOFF: BindParameter[str] = bindparam("cutoff")
_BY_KEY = (
    select(requests.c.key, events)
    .join(events, events.c.id == requests.c.event)
    .where(requests.c.key.in_(_KEYS), requests.c.time > _CUTOFF)
)
_FORGET = delete(requests).where(or_(requests.c.time <= _CUTOFF, requests.c.key.in_(_KEYS)))


def key_digest(key: str, event: Event) -> str:
    """Sum up a request's key and what it decides: a key that comes with another decision is another."""
    said = [key, event.site, event.fingerprint, event.action, dict(sorted(event.purposes.items()))]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def remembered(connection: Connection, keys: Sequence[str], now: datetime) -> dict[str, Event]:
    """Give the events that these keys made in the last ten minutes."""
    found = {}
    for some in slices(keys):
        recent = {"keys": some, "cutoff": _cutoff(now)}
        for row in connection.execute(_BY_KEY, recent).mappings():
            found[row["key"]] = event_from(row)
    return found


def remember(connection: Connection, keys: Mapping[str, Event], now: datetime) -> None:
    """Note which event each key made, and forget the keys that are old."""
    if not keys:
        return
    for some in slices(list(keys)):
        connection.execute(_FORGET, {"keys": some, "cutoff": _cutoff(now)})
    rows = [{"key": key, "event": event.id, "time": utc_text(now)} for key, event in keys.items()]
    connection.execute(insert(requests), rows)


def _cutoff(now: datetime) -> str:
    return utc_text(now - KEY_LIFETIME)
