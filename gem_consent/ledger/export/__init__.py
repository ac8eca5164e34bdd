"""A ledger's events as CSV, JSON Lines or Parquet, streamed in order of position; reads only."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, Literal, TypeAlias

from sqlalchemy import Connection, func, select

from gem_consent.ledger.export.answers import AFTER, BEFORE, Answers, read_purposes
from gem_consent.ledger.export.as_csv import csv_chunks, neutral
from gem_consent.ledger.export.as_jsonl import jsonl_chunks
from gem_consent.ledger.export.selection import Selection
from gem_consent.ledger.schema import events

__all__ = [
    "AFTER",
    "BEFORE",
    "MEDIA_TYPES",
    "Format",
    "Selection",
    "columns",
    "count",
    "last_position",
    "neutral",
    "read_purposes",
    "require_format",
    "write",
]

Format: TypeAlias = Literal["csv", "jsonl", "parquet"]

MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
"""What HTTP calls each format; IANA has no name for JSON Lines, and this is the one in use."""


def columns(connection: Connection) -> list[str]:
    """Name the export's columns in order; the purposes come from the ledger, oldest first."""
    return Answers.read(connection).columns


def count(connection: Connection, selection: Selection) -> int:
    """Count the rows that an export would hold."""
    query = select(func.count()).select_from(events).where(*selection.where())
    return int(connection.execute(query).scalar_one())


def last_position(connection: Connection, selection: Selection) -> int | None:
    """Give the position of the last row that an export would hold: where the next one goes on."""
    found: int | None = connection.scalar(select(func.max(events.c.position)).where(*selection.where()))
    return found


def require_format(form: Format) -> None:
    """Say early whether a format can be written here.

    Raises:
        ConfigurationError: its library is not installed.
    """
    if form == "parquet":
        from gem_consent.ledger.export.as_parquet import require_pyarrow

        require_pyarrow()


def write(
    connection: Connection,
    out: BinaryIO,
    form: Format,
    selection: Selection,
    advance: Callable[[int], object] = lambda rows: None,
) -> int:
    """Write the selected events in order of position; memory stays flat.

    Erased and purged events keep their row, with nothing but the position in it. JSON Lines and Parquet carry
    values as they are; in CSV what a spreadsheet would run is disarmed (see ``neutral``). In JSON Lines a
    mark has one key more than the columns, the last: ``mark``.

    Args:
        connection: one read transaction, so that the columns, a count and the rows are of one moment.
        out: where to; neither flushed nor closed, and need not be seekable.
        form: ``csv``, ``jsonl`` or ``parquet``.
        selection: which events.
        advance: called with the number of rows that were just written.

    Returns:
        The number of events written.

    Raises:
        ConfigurationError: Parquet is asked for, and pyarrow is not installed.
        LedgerError: an event's purposes or times cannot be read.
    """
    answers = Answers.read(connection)
    if form == "parquet":
        from gem_consent.ledger.export.as_parquet import write_parquet

        return write_parquet(connection, out, selection, answers, advance)
    written = 0
    chunks = csv_chunks if form == "csv" else jsonl_chunks
    for rows, lines in chunks(connection, selection, answers):
        out.write(lines)
        written += rows
        if rows:
            advance(rows)
    return written
