"""The export's columns: which there are, and the cells of what each event was asked and answered."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Select, Text, cast, select

from gem_consent.errors import LedgerError
from gem_consent.ledger.export.selection import Selection
from gem_consent.ledger.schema import events, purposes

__all__ = ["AFTER", "BEFORE", "Answers", "batches", "read_purposes", "rows"]

BATCH_ROWS = 1000
BEFORE = ("position", "id", "time", "subject", "site", "state", "action", "surface")
AFTER = (
    "notice", "fingerprint", "policy_version", "language", "expires", "previous",
    "library", "browser", "system", "device", "network",
)  # fmt: skip

_WORDS = {True: "granted", False: "denied", None: None}


def read_purposes(stored: str) -> dict[str, bool]:
    """Read an event's purposes as they are stored: each that was asked about, and whether it was granted.

    Raises:
        LedgerError: the text is not what a ledger writes.
    """
    try:
        answers = json.loads(stored)
    except ValueError as error:
        raise _unreadable_purposes() from error
    if not isinstance(answers, dict) or not all(isinstance(value, bool) for value in answers.values()):
        raise _unreadable_purposes()
    return answers


def _unreadable_purposes() -> LedgerError:
    return LedgerError("An event's purposes are not what a ledger writes: keep the file, restore a backup")


class Answers:
    """The export's columns, and the ``purpose:<id>`` cells of an event's purposes.

    Cells are remembered: a ledger holds few different answers.
    """

    def __init__(self, purpose_ids: Sequence[str]) -> None:
        self.purposes = [f"purpose:{id_}" for id_ in purpose_ids]
        self.columns = [*BEFORE, *self.purposes, *AFTER]
        self._ids = purpose_ids
        self.cells = lru_cache(1024)(self._cells)

    @classmethod
    def read(cls, connection: Connection) -> Answers:
        """Name the columns of a ledger: its purposes by their first event, then by id."""
        wanted = select(purposes.c.id).order_by(purposes.c.since, purposes.c.id)
        return cls(list(connection.execute(wanted).scalars()))

    def _cells(self, stored: str | None) -> tuple[str | None, ...]:
        if stored is None:
            return (None,) * len(self._ids)
        answers = read_purposes(stored)
        if answers.keys() - set(self._ids):
            raise _unreadable_purposes()
        return tuple(_WORDS[answers.get(id_)] for id_ in self._ids)

    def expanded(self, row: Sequence[Any]) -> list[Any]:
        """Put an event's answers in place of its purposes."""
        at = len(BEFORE)
        return [*row[:at], *self.cells(row[at]), *row[at + 1 :]]


def batches(connection: Connection, query: Select[Any]) -> Iterator[Sequence[Sequence[Any]]]:
    """Run a query and give its rows by the thousand, none of them kept."""
    return connection.execute(query, execution_options={"yield_per": BATCH_ROWS}).partitions()


def rows(selection: Selection) -> Select[Any]:
    """Ask for the selected events in order: the columns before the purposes, the purposes, those after."""
    wanted = [cast(events.c[name], Text) for name in (*BEFORE[1:], "purposes", *AFTER)]
    return select(events.c.position, *wanted).where(*selection.where()).order_by(events.c.position)
