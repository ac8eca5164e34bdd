"""Version 3: a table of the cookies that the site's own responses were seen to set."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Connection, MetaData, Table

from gem_consent.ledger.columns import text

__all__ = ["upgrade"]

_metadata = MetaData()
Table(
    "cookies",
    _metadata,
    Column("name", text(128), primary_key=True),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("lifetime", BigInteger),
    Column("attributes", text(255), nullable=False),
    Column("service", text(32), nullable=False),
    Column("declared", BigInteger),
)


def upgrade(connection: Connection) -> None:
    """Make the table; nothing is seen yet."""
    _metadata.create_all(connection, checkfirst=False)
