"""Where a verification reads from: one read transaction, columns as the driver has them, rows in batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Select, select, type_coerce
from sqlalchemy.exc import OperationalError
from sqlalchemy.types import NullType

from gem_consent.errors import LedgerError
from gem_consent.ledger.checkpoints import origin_of
from gem_consent.ledger.schema import SCHEMA_VERSION, ledger
from gem_consent.ledger.verification.faults import Faults

__all__ = ["Identity", "Source", "raw", "read_identity", "untyped"]

FETCHED_ROWS = 1000
BATCH_ROWS = 100  # what stays in a processor's cache: a fifth faster than all that were fetched at once


@dataclass(frozen=True, slots=True)
class Source:
    """A read transaction, and where to note what is wrong with what is read in it."""

    connection: Connection
    faults: Faults

    def stream(self, query: Select[Any], what: str, fetched: int = FETCHED_ROWS) -> Iterator[Sequence[Any]]:
        """Give rows in batches; a text that no ledger writes ends them with a fault."""
        try:
            result = self.connection.execute(query, execution_options={"yield_per": fetched})
            yield from result.partitions(min(fetched, BATCH_ROWS))
        except OperationalError as error:
            if "decode to UTF-8" not in str(error.orig):
                raise
            self.faults.found(
                f"{what} hold a text that is not in UTF-8: altered; those from there on cannot be read"
            )


@dataclass(frozen=True, slots=True)
class Identity:
    """What the ledger says of itself.

    Args:
        origin: its name in its checkpoints.
        size: how many rows its tree counts.
        frontier: the tree's, as it is stored.
    """

    origin: str
    size: int
    frontier: object


def read_identity(source: Source) -> Identity:
    """Read the row that says which ledger this is.

    Raises:
        LedgerError: there is not even a ledger to compare with.
    """
    rows = source.connection.execute(untyped(ledger)).mappings().all()
    if len(rows) != 1:
        raise LedgerError(f"The ledger has {len(rows)} rows that say which it is, not one: restore a backup")
    row: Mapping[Any, Any] = rows[0]
    size = row["size"]
    if not isinstance(size, int) or size < 0:
        raise LedgerError(
            f"The ledger's size is {size!r}, which no tree has: it was altered, restore a backup"
        )
    if row["one"] != 1 or row["schema_version"] != SCHEMA_VERSION:
        source.faults.found("the row that says which ledger this is was altered")
    return Identity(origin_of(str(row["uuid"])), size, row["frontier"])


def raw(column: Column[Any]) -> Any:
    """Give a column as the driver has it: a value of another kind than the column's is a fault, no error."""
    return type_coerce(column, NullType()).label(column.name)


def untyped(table: Any) -> Select[Any]:
    """Select all of a table's columns as ``raw`` gives them."""
    return select(*(raw(column) for column in table.c))
