"""Erasing one visitor from the ledger (GDPR art. 17): all their rows, in one transaction, with a mark."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select

from gem_consent.ledger.emptying import LIBRARY, empty, position_of
from gem_consent.ledger.rows import event_from
from gem_consent.ledger.schema import events
from gem_consent.ledger.store import Append, Ledger
from gem_consent.proof.event import Event, event_id, utc_text

__all__ = ["RULE", "Erasure", "erase"]

RULE = "on request"
"""What the mark of an erasure gives as its rule."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """What an erasure did.

    Args:
        rows: how many rows were emptied; the withdrawal is one of them.
        marks: the positions of the marks that say so.
        was_live: a consent stood, and was withdrawn first.
    """

    rows: int
    marks: tuple[int, ...]
    was_live: bool


def erase(book: Ledger, subject: str, now: datetime, *, surface: str = "command") -> Erasure | None:
    """Empty every row of a visitor, and leave their id nowhere in the ledger.

    A consent that is live is withdrawn first, by an event like any other, which is emptied with the rest; the
    mark says which row it was. All of it is one transaction. Safe to call again: nothing is found then.

    Args:
        book: the ledger.
        subject: the visitor's random id.
        now: the present, aware.
        surface: where it was asked for.

    Returns:
        What was done; ``None`` where the ledger has no row of this visitor.

    Raises:
        LedgerUnavailable, LedgerError: as ``Ledger.append``; nothing was done, unless the answer to the
            commit alone was lost.
    """
    with book.changing() as (connection, append):
        wanted = select(events).where(events.c.subject == subject, events.c.mark.is_(None))
        rows = connection.execute(wanted.order_by(events.c.position)).mappings().all()
        if not rows:
            return None
        positions = [row["position"] for row in rows]
        withdrawn = None
        if is_live(last := event_from(rows[-1]), now):
            (event,) = append([Append(_withdrawal(last, now, surface))])
            withdrawn = position_of(connection, event.id)
            positions.append(withdrawn)
        marks = empty(
            connection, append, positions, "erased", RULE, now, surface=surface, withdrawn=withdrawn
        )
    book.scrub()
    return Erasure(len(positions), tuple(marks), withdrawn is not None)


def is_live(last: Event, now: datetime) -> bool:
    """Say whether a visitor's last event grants something and has not ended."""
    return any(last.purposes.values()) and last.expires > utc_text(now)


def _withdrawal(last: Event, now: datetime, surface: str) -> Event:
    return replace(
        last,
        id=event_id(now),
        time=utc_text(now),
        state="withdrawn",
        action="withdraw",
        surface=surface,
        purposes=dict.fromkeys(last.purposes, False),
        notice="",
        language="",
        previous=None,
        library=LIBRARY,
        browser=None,
        system=None,
        device=None,
        network=None,
    )
