"""Columns and changes of tables, in the words of whichever database is at hand."""

from __future__ import annotations

from sqlalchemy import Column, Connection, String, Text
from sqlalchemy.schema import CreateColumn

__all__ = ["add_column", "text"]


def text(limit: int | None = None) -> String:
    """Give the type of a text of so many code points at most, ordered by its bytes on every database.

    Times, ids and keys sort as bytes in SQLite; PostgreSQL would sort by the language of its installation.
    """
    kind = Text if limit is None else String
    return kind(limit).with_variant(kind(limit, collation="C"), "postgresql")


def add_column(connection: Connection, table: str, column: Column[str]) -> None:
    """Add a column to a table, behind its others."""
    words = CreateColumn(column).compile(dialect=connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {words}")
