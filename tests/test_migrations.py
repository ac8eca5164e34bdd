"""A ledger's tables: what its migrations add up to, and an older ledger brought to the newest version."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

from ledgers import asking, check, make_event
from sqlalchemy import Connection, inspect

from gem_consent.ledger.database import database_of
from gem_consent.ledger.migrations import MIGRATIONS
from gem_consent.ledger.schema import SCHEMA_VERSION, metadata
from gem_consent.ledger.store import Append, Ledger


def shape(connection: Connection) -> dict[str, Any]:
    """Describe all tables as the database has them: columns in order, keys, indexes."""
    inspector = inspect(connection)
    return {
        table: (
            [{**column, "type": repr(column["type"])} for column in inspector.get_columns(table)],
            inspector.get_pk_constraint(table),
            sorted(inspector.get_unique_constraints(table), key=str),
            sorted(
                (
                    {**index, "dialect_options": {k: str(v) for k, v in index["dialect_options"].items()}}
                    for index in inspector.get_indexes(table)
                ),
                key=str,
            ),
        )
        for table in inspector.get_table_names()
    }


def test_every_version_has_migration() -> None:
    """The newest migration makes the version that the code says it reads."""
    assert len(MIGRATIONS) == SCHEMA_VERSION


def test_schema_equals_sum_of_migrations(new_url: Callable[[], str]) -> None:
    """A ledger made by all migrations has the very tables that the code declares."""
    made = new_url()
    Ledger.open(made).close()
    database = database_of(made)
    with database.connect(must_exist=True) as connection, database.reading(connection):
        migrated = shape(connection)
    declared = database_of(new_url())
    with declared.connect(must_exist=False) as connection, declared.upgrading(connection):
        metadata.create_all(connection)
        assert shape(connection) == migrated


def first_version(url: str) -> str:
    """Make a ledger as the first release did, with one event, and give its uuid."""
    database = database_of(url)
    with database.connect(must_exist=False) as connection, database.upgrading(connection):
        MIGRATIONS[0](connection)
        return str(connection.exec_driver_sql("SELECT uuid FROM ledger").scalar_one())


def test_older_ledger_is_upgraded(url: str) -> None:
    """A ledger of the first version is brought to the newest when it is opened, and stays itself."""
    uuid = first_version(url)
    with closing(Ledger.open(url, must_exist=True)) as ledger:
        event = make_event()
        assert (ledger.uuid, ledger.append([Append(event)])) == (uuid, [event])
    with asking(url) as ask:
        assert ask("SELECT schema_version FROM ledger") == [{"schema_version": SCHEMA_VERSION}]
    assert check(url) == [event]
