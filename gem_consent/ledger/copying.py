"""A whole ledger from one database to another: every row of every table as it is, in one transaction.

It reads one moment of the source, and writes to the target all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, inspect, select

from gem_consent.errors import ConfigurationError, LedgerError
from gem_consent.ledger.database import Database, database_of
from gem_consent.ledger.migrations import migrate
from gem_consent.ledger.schema import events, ledger, metadata, notices, tiles
from gem_consent.proof.tree import EMPTY, Frontier

__all__ = ["copy", "count"]

BATCH_ROWS = 1000
_LARGE = {notices.name: 20, tiles.name: 100}
"""Rows a batch where a row is large: a notice is a page, a tile has 8 KiB."""


def count(source: Connection) -> int:
    """Say how many rows a copy will write."""
    return sum(_count(source, table) for table in metadata.sorted_tables)


def copy(
    source: Connection,
    url: str,
    present_size: Callable[[], int],
    advance: Callable[[int], object] = lambda rows: None,
) -> Frontier:
    """Copy a ledger to a place where there is nothing yet, and compare the two before it counts.

    Afterwards both are the same ledger, under the same uuid: whoever writes to both forks the tree.

    Args:
        source: one read transaction on it, of this release's version.
        url: where to: a file that is not there or empty, or an empty schema of a PostgreSQL database.
        present_size: says, over another connection, how many rows the source has by now; asked at the end.
        advance: called with the number of rows that were just written.

    Returns:
        The tree that both have.

    Raises:
        ConfigurationError: the URL is none that can keep a ledger, or something is there already.
        LedgerUnavailable: one of the databases did not answer; the target is as it was.
        LedgerError: the source was written meanwhile or disagrees with itself, or the target cannot hold it;
            the target is as it was.
    """
    database = database_of(url, is_patient=True)
    with closing(database.connect(must_exist=False)) as target, _filling(database, target):
        for table in metadata.sorted_tables:
            for rows in _batches(source, table):
                target.execute(insert(table), [dict(row._mapping) for row in rows])
                advance(len(rows))
        tree = _compared(source, target)
        if (grown := present_size() - tree.size) != 0:
            raise LedgerError(
                f"The ledger was written to while it was copied ({grown:+} rows), so nothing was kept: "
                "stop the site, and copy again"
            )
    return tree


@contextmanager
def _filling(database: Database, target: Connection) -> Iterator[None]:
    """Make the tables, all of them empty, for a block that fills them; its end commits."""
    with database.translated(), database.upgrading(target):
        inspector = inspect(target)
        if inspector.get_table_names(schema=inspector.default_schema_name):
            raise ConfigurationError(
                f"The ledger cannot be copied to {database.name}: something is there already; "
                "name a file that is not there yet, or an empty schema"
            )
        migrate(target, 0)
        target.execute(delete(ledger))
        yield


def _batches(source: Connection, table: Table) -> Iterator[Sequence[Any]]:
    query = select(table).order_by(*table.primary_key.columns)
    size = _LARGE.get(table.name, BATCH_ROWS)
    return source.execute(query, execution_options={"yield_per": size}).partitions()


def _compared(source: Connection, target: Connection) -> Frontier:
    """Give the tree that the target's leaves make up, if it is the source's and no row is missing."""
    row = source.execute(select(ledger.c.size, ledger.c.frontier)).one()
    grown = EMPTY
    leaves = select(events.c.leaf).order_by(events.c.position)
    for batch in target.execute(leaves, execution_options={"yield_per": BATCH_ROWS}).partitions():
        grown, _ = grown.grow([leaf for (leaf,) in batch])
    if (grown.size, grown.encode()) != (row.size, row.frontier):
        raise LedgerError(
            "The rows that were copied do not make up the ledger's tree, so nothing was kept: "
            "run gem-consent verify on the ledger"
        )
    for table in metadata.sorted_tables:
        if _count(source, table) != _count(target, table):
            raise LedgerError(f"Not all rows of the table {table.name} arrived, so nothing was kept")
    return grown


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())
