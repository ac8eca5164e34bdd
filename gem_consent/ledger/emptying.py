"""Emptying rows: every column but position, commitment and leaf becomes NULL, and a mark says which and why.

Erasure and purge both come here. The tree, older checkpoints and everyone else's proof stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from importlib.metadata import version

from sqlalchemy import BindParameter, Connection, bindparam, delete, select, update

from gem_consent.ledger.rows import slices
from gem_consent.ledger.schema import events, purposes, requests
from gem_consent.ledger.store import Append
from gem_consent.proof.event import Event
from gem_consent.proof.mark import Kind, mark_events

__all__ = ["LIBRARY", "AppendAll", "empty", "position_of"]

LIBRARY = f"gem-consent {version('gem-consent')}"

AppendAll = Callable[[Sequence[Append]], list[Event]]
"""What ``Ledger.writing`` gives."""

_POSITIONS: BindParameter[int] = bindparam("positions", expanding=True)
_IDS = select(events.c.id).where(events.c.position.in_(_POSITIONS))
_FORGET = delete(requests).where(requests.c.event.in_(_IDS))
_EMPTY = (
    update(events)
    .where(events.c.position.in_(_POSITIONS))
    .values({column.name: None for column in events.c if column.nullable})
)


def empty(
    connection: Connection,
    append: AppendAll,
    positions: Sequence[int],
    kind: Kind,
    rule: str,
    now: datetime,
    *,
    surface: str,
    withdrawn: int | None = None,
) -> list[int]:
    """Empty rows within the ledger's write transaction, and append what marks them.

    Args:
        connection, append: of ``Ledger.changing``.
        positions: of rows that hold something and are no marks, in order.
        kind: whether a person or a rule asked for it.
        rule: the rule, in words.
        now: the present, aware.
        surface: where it was asked for: ``command`` or ``preferences``.
        withdrawn: the withdrawal among them that ended a live consent.

    Returns:
        The positions of the marks.
    """
    gone = set(positions)
    since = {row.id: row.since for row in connection.execute(select(purposes)) if row.since in gone}
    for some in slices(positions):
        connection.execute(_FORGET, {"positions": some})
        connection.execute(_EMPTY, {"positions": some})
    marks = mark_events(
        kind, rule, positions, now, surface=surface, library=LIBRARY, withdrawn=withdrawn, since=since
    )
    return [position_of(connection, event.id) for event in append([Append(mark) for mark in marks])]


def position_of(connection: Connection, id_: str) -> int:
    """Give the position of the event of this id, which is there."""
    return int(connection.execute(select(events.c.position).where(events.c.id == id_)).scalar_one())
