"""Version 2: a row may be a mark, which says which rows were emptied, and by which rule."""

from __future__ import annotations

from sqlalchemy import Column, Connection

from gem_consent.ledger.columns import add_column, text

__all__ = ["upgrade"]


def upgrade(connection: Connection) -> None:
    """Add the column, and an index of the rows that have a mark; none does yet."""
    add_column(connection, "events", Column("mark", text()))
    connection.exec_driver_sql("CREATE INDEX events_marks ON events (position) WHERE mark IS NOT NULL")
