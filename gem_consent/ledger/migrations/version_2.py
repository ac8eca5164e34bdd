"""Version 2: a row may be a mark, which says which rows were emptied, and by which rule."""

from __future__ import annotations

from sqlalchemy import Column, Connection

from gem_consent.ledger.columns import add_column, text

__all__ = ["upgrade"]


def upgrade(connection: Connection) -> None:
    """Add the column; no row has a mark yet."""
    add_column(connection, "events", Column("mark", text()))
