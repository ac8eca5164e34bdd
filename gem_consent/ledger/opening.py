"""Opening a ledger: whether one is there, of which version, and bringing it to this release's.

It refuses what is no ledger, and what a newer release wrote; it repairs nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, Inspector, inspect, select

from gem_consent.errors import LedgerError
from gem_consent.ledger.database import Database
from gem_consent.ledger.migrations import migrate
from gem_consent.ledger.schema import SCHEMA_VERSION, ledger, metadata

__all__ = ["disagreement", "prepare"]


class _Found(NamedTuple):
    """What is there: a ledger of a version, or nothing, which is version 0."""

    version: int
    uuid: str


def prepare(database: Database, connection: Connection, *, must_exist: bool) -> str:
    """Make the ledger where there is none, bring an older one to this version, and give its uuid.

    Raises:
        LedgerError: there is none and one must exist, or it is no ledger, or of a newer version.
    """
    with database.reading(connection):
        found = _find(connection, database, must_exist)
    if found.version < SCHEMA_VERSION:
        with database.upgrading(connection):
            # Once more, under the lock: another process may have been faster.
            migrate(connection, _find(connection, database, must_exist, is_to_lock=True).version)
            found = _find(connection, database, must_exist=True)
    return found.uuid


def _find(
    connection: Connection, database: Database, must_exist: bool, *, is_to_lock: bool = False
) -> _Found:
    inspector = inspect(connection)
    tables = set(inspector.get_table_names(schema=inspector.default_schema_name))
    if "ledger" not in tables:
        if tables or must_exist:
            raise LedgerError(
                f"The database at {database.name} holds no ledger: {database.own_place}, or check the URL"
            )
        _require_no_other(inspector, database)
        return _Found(0, "")
    # Locked where it is to be changed: who upgrades waits for whoever writes.
    wanted = select(ledger.c.uuid, ledger.c.schema_version)
    row = connection.execute(wanted.with_for_update() if is_to_lock else wanted).one_or_none()
    if row is None or row.schema_version < 1:
        raise disagreement(database, "the row that says who it is")
    if row.schema_version > SCHEMA_VERSION:
        raise LedgerError(
            f"The ledger at {database.name} has version {row.schema_version}, and this release of "
            f"gem_consent knows {SCHEMA_VERSION} at most: install the release that wrote it, or a newer"
        )
    if row.schema_version == SCHEMA_VERSION and not metadata.tables.keys() <= tables:
        missing = ", ".join(sorted(metadata.tables.keys() - tables))
        raise disagreement(database, f"its tables ({missing} missing)")
    return _Found(row.schema_version, row.uuid)


def _require_no_other(inspector: Inspector, database: Database) -> None:
    """Refuse to begin a ledger before another one on PostgreSQL's search path, which would be left behind."""
    if "ledger" in inspector.get_table_names():
        raise LedgerError(
            f"The first schema on the search_path of {database.name} is empty, and a later one holds a "
            "ledger: name in the search_path the one that is meant, alone"
        )


def disagreement(database: Database, where: str) -> LedgerError:
    """Give the error for a ledger that contradicts itself."""
    return LedgerError(
        f"The ledger at {database.name} disagrees with itself over {where}, so nothing was written: "
        "keep it as it is, restore a backup"
    )
