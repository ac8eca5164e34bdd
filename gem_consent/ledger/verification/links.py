"""What rows and the small tables beside them say of each other: each visitor's chain, requests, purposes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, exists, func, select

from gem_consent.ledger.schema import events, purposes, requests
from gem_consent.ledger.verification.marks import Marks
from gem_consent.ledger.verification.source import Source, raw, untyped

__all__ = ["check_links", "check_purposes", "check_requests"]


def check_links(source: Source, marks: Marks, start: int, firsts: int) -> None:
    """Find rows that name another row than the same visitor's before it; the database does the looking.

    The row before may have been emptied since: then the id that is named is in no row, and an emptied row
    lies between the two.

    Most visitors decide once, and to look for a row before each of theirs takes longer than all else here.
    If every row that names another names the right one, none of these is a visitor's first; so if those that
    name none are as many as there are visitors, each of them is.

    Args:
        marks: what they say.
        start: the first position that was read.
        firsts: how many of the rows that were read name no other.
    """
    broken = _broken(start)
    if not start and firsts == source.connection.scalar(select(func.count(events.c.subject.distinct()))):
        some = broken.where(events.c.previous.is_not(None)).limit(1)
        if source.connection.execute(some).first() is None:
            return
    for batch in source.stream(broken.order_by(events.c.position), "the events"):
        for position, id_, time, previous, expected, at, is_known in batch:
            is_gone = previous is not None and not is_known
            if not (is_gone and marks.has_between(-1 if at is None else at, position)):
                source.faults.found(
                    f"it names {previous!r} as the same visitor's row before it, and that is "
                    f"{expected!r}: a row was dropped, added, swapped or altered",
                    *(position, id_, time),
                )


def _broken(start: int) -> Select[Any]:
    """Select the rows that name another than the same visitor's before it, with what should be named."""
    earlier = events.alias("earlier")
    named = events.alias("named")

    def before(name: str) -> object:
        return (
            select(earlier.c[name])
            .where(earlier.c.subject == events.c.subject, earlier.c.position < events.c.position)
            .order_by(earlier.c.position.desc())
            .limit(1)
            .scalar_subquery()
        )

    is_there = exists().where(named.c.id == events.c.previous)
    wanted = [raw(events.c[name]) for name in ("position", "id", "time", "previous")]
    shown: Select[Any] = select(*wanted, before("id"), before("position"), is_there)  # type: ignore[call-overload]
    return shown.where(
        events.c.id.is_not(None),
        events.c.mark.is_(None),
        events.c.position >= start,
        events.c.previous.is_distinct_from(before("id")),
    )


def check_requests(source: Source) -> None:
    """Find requests that are remembered for no row; their keys and times prove nothing (ten minutes)."""
    row = select(events.c.position).where(events.c.id == requests.c.event)
    lost = select(func.count()).select_from(requests).where(~row.exists())
    if source.connection.scalar(lost):
        source.faults.found(
            "a request that is remembered belongs to no row: one of them was altered or dropped"
        )


def check_purposes(source: Source, found: Mapping[str, int], marks: Marks, start: int) -> None:
    """Compare the purposes' table with the first rows that speak of them, emptied ones as their marks say.

    Args:
        found: by purpose, the first row that speaks of it, of those that were read.
        marks: what they say.
        start: the first position that was read.
    """
    stored = {
        row.id: row.since for batch in source.stream(untyped(purposes), "the purposes") for row in batch
    }
    for purpose in sorted(stored.keys() | found.keys(), key=str):
        since = stored.get(purpose)
        if start and isinstance(since, int) and since < start:
            continue
        first = min((at[purpose] for at in (found, marks.since) if purpose in at), default=None)
        if first != since:
            source.faults.found(
                f"the purpose {purpose!r} is said to be asked about from row {since!r} on, and the first row "
                f"that speaks of it is {first!r}: one of them was altered, or dropped"
            )
