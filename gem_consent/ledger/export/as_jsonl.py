"""Events as JSON Lines: one object a line, every value as it is, ``null`` where there is none."""

from __future__ import annotations

import json
from collections.abc import Iterator

from sqlalchemy import Connection

from gem_consent.ledger.export.answers import Answers, batches, rows
from gem_consent.ledger.export.selection import Selection
from gem_consent.ledger.schema import events

__all__ = ["jsonl_chunks"]

_compact = json.JSONEncoder(separators=(",", ":")).encode


def jsonl_chunks(
    connection: Connection, selection: Selection, answers: Answers
) -> Iterator[tuple[int, bytes]]:
    """Give the events by the thousand: how many rows, and their lines.

    A mark has one key more than the columns, the last: ``mark``.
    """
    for batch in batches(connection, rows(selection).add_columns(events.c.mark)):
        # ASCII, since some tools end lines at U+2028 or U+0085 too, and terminals obey direction marks.
        named = [dict(zip(answers.columns, answers.expanded(row[:-1]), strict=True)) for row in batch]
        for line, (*_, mark) in zip(named, batch, strict=True):
            if mark is not None:
                line["mark"] = mark
        lines = [_compact(line) for line in named]
        yield len(batch), ("\n".join(lines) + "\n").encode()
