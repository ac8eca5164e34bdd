"""Which rows a retention rule no longer allows, and emptying them, a bounded number at a time."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import sleep
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, delete, not_, select

from gem_consent.ledger.emptying import empty
from gem_consent.ledger.schema import events, requests
from gem_consent.ledger.store import KEY_LIFETIME, Ledger
from gem_consent.proof.event import utc_text
from gem_consent.retention import Retention, Term

__all__ = ["BATCH_ROWS", "Overdue", "Purged", "overdue", "purge"]

BATCH_ROWS = 1000
"""How many rows one transaction empties at most: the site's decisions come in between."""

PAUSE_SECONDS = 0.005
"""How long the lock is let go between two transactions: whoever waits for it gets it."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """The rows that a rule no longer allows.

    Args:
        consents: positions of what granted something and of withdrawals, in order, eight bytes each.
        refusals: positions of refusals, likewise.
        by_year: how many rows by state and year of the decision, such as ``("refused", "2024")``.
    """

    consents: Sequence[int]
    refusals: Sequence[int]
    by_year: Mapping[tuple[str, str], int]

    def __len__(self) -> int:
        return len(self.consents) + len(self.refusals)


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge did: how many rows it emptied, and how many marks say so."""

    rows: int
    marks: int


def overdue(connection: Connection, retention: Retention, now: datetime) -> Overdue:
    """Find the rows that are kept for too long; nothing is changed.

    A consent ends when it expires, or with the same visitor's next choice: a withdrawal, or one that takes
    its place. A consent that is live is never among them.

    Args:
        connection: one read transaction.
        retention: the rule.
        now: the present, aware.
    """
    consents, refusals = array("q"), array("q")
    by_year: Counter[tuple[str, str]] = Counter()
    for position, state, time in _rows(connection, retention, now):
        (refusals if state == "refused" else consents).append(position)
        by_year[state, time[:4]] += 1
    return Overdue(consents, refusals, dict(sorted(by_year.items())))


def _rows(connection: Connection, retention: Retention, now: datetime) -> Iterator[Any]:
    query = (
        select(events.c.position, events.c.state, events.c.time)
        .where(events.c.mark.is_(None), _is_overdue(retention, now))
        .order_by(events.c.position)
    )
    for batch in connection.execute(query, execution_options={"yield_per": BATCH_ROWS}).partitions():
        yield from batch


def _is_overdue(retention: Retention, now: datetime) -> ColumnElement[bool]:
    is_refusal = events.c.state == "refused"
    kept, term = _kept_from(retention.consent_term, now), retention.consent_term
    end = _end()
    runs_from = events.c.time if term.base == "decision" else end
    # The time alone first: it has an index, and no consent ends before it was given.
    consents = and_(not_(is_refusal), events.c.time < kept, runs_from < kept, end < utc_text(now))
    return (is_refusal & (events.c.time < _kept_from(retention.refusal_term, now))) | consents


def _kept_from(term: Term, now: datetime) -> str:
    return f"{term.kept_from(now.astimezone(UTC).date()).isoformat()}T00:00:00.000Z"


def _end() -> ColumnElement[str]:
    """Give when an event's consent ended or will: a withdrawal's at once."""
    later = events.alias("later")
    following = (
        select(later.c.time)
        .where(later.c.subject == events.c.subject, later.c.position > events.c.position)
        .order_by(later.c.position)
        .limit(1)
        .scalar_subquery()
    )
    ends = case((following < events.c.expires, following), else_=events.c.expires)
    # In a name, such letters mean that an event is kept until it expires: too long, never too short.
    return case((events.c.purposes.like("%:true%"), ends), else_=events.c.time)


def purge(
    book: Ledger,
    retention: Retention,
    now: datetime,
    *,
    found: Overdue | None = None,
    advance: Callable[[int], object] = lambda rows: None,
) -> Purged:
    """Empty what a rule no longer allows, a thousand rows a transaction, and forget old requests.

    Safe to stop at any point and to call again: what is empty stays so, and marks are kept for ever.

    Args:
        book: the ledger.
        retention: the rule; the marks quote it.
        now: the present, aware.
        found: what ``overdue`` found under this rule; it is looked for otherwise.
        advance: called with the number of rows that were just emptied.

    Raises:
        LedgerUnavailable, LedgerError: as ``Ledger.append``; what was emptied before stays so.
    """
    if found is None:
        with book.reading() as connection:
            found = overdue(connection, retention, now)
    rows = marks = 0
    for rule, positions in (
        (f"refusals: {retention.refusals}", found.refusals),
        (f"consents and withdrawals: {retention.consents}", found.consents),
    ):
        for at in range(0, len(positions), BATCH_ROWS):
            emptied, marked = _empty(book, list(positions[at : at + BATCH_ROWS]), rule, now)
            rows, marks = rows + emptied, marks + marked
            advance(min(BATCH_ROWS, len(positions) - at))
            sleep(PAUSE_SECONDS)
    with book.changing() as (connection, _):
        connection.execute(delete(requests).where(requests.c.time <= utc_text(now - KEY_LIFETIME)))
    book.scrub()
    return Purged(rows, marks)


def _empty(book: Ledger, positions: Sequence[int], rule: str, now: datetime) -> tuple[int, int]:
    with book.changing() as (connection, append):
        # Others may have been here since: an erasure, or another purge.
        wanted = select(events.c.position).where(
            events.c.position.between(positions[0], positions[-1]), events.c.id.is_not(None)
        )
        filled = set(connection.scalars(wanted))
        left = [position for position in positions if position in filled]
        marks = empty(connection, append, left, "purged", rule, now, surface="command") if left else []
    return len(left), len(marks)
