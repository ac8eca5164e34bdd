"""Version 1: events, the tree over them, notices, checkpoints, keys, purposes and remembered requests."""

from __future__ import annotations

import uuid

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    insert,
)

from gem_consent.ledger.columns import text

__all__ = ["upgrade"]


_metadata = MetaData()
_ledger = Table(
    "ledger",
    _metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("uuid", text(36), nullable=False),
    Column("schema_version", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
)
Table(
    "events",
    _metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("commitment", LargeBinary(32), nullable=False),
    Column("leaf", LargeBinary(32), nullable=False),
    Column("salt", LargeBinary(16)),
    Column("id", text(36), unique=True),
    Column("time", text(24)),
    Column("subject", text(64)),
    Column("site", text(255)),
    Column("state", text(16)),
    Column("action", text(16)),
    Column("surface", text(32)),
    Column("purposes", text()),
    Column("notice", text(64)),
    Column("fingerprint", text(64)),
    Column("policy_version", text(255)),
    Column("language", text(35)),
    Column("expires", text(24)),
    Column("previous", text(36)),
    Column("library", text(64)),
    Column("browser", text(64)),
    Column("system", text(64)),
    Column("device", text(16)),
    Column("network", text(64)),
    Index("events_by_subject", "subject", "position"),
    Index("events_by_time", "time"),
)
Table(
    "notices",
    _metadata,
    Column("digest", text(64), primary_key=True),
    Column("fingerprint", text(64), nullable=False),
    Column("language", text(35), nullable=False),
    Column("library", text(64), nullable=False),
    Column("stored", text(24), nullable=False),
    Column("html", LargeBinary, nullable=False),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("seal", LargeBinary(32), nullable=False),
)
Table(
    "tiles",
    _metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("tile", BigInteger, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)
Table(
    "checkpoints",
    _metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("note", text(), nullable=False),
    Column("time", text(24), nullable=False),
)
Table(
    "keys",
    _metadata,
    Column("key", text(255), primary_key=True),
    Column("since", BigInteger, nullable=False),
)
Table(
    "purposes",
    _metadata,
    Column("id", text(32), primary_key=True),
    Column("since", BigInteger, nullable=False),
)
Table(
    "requests",
    _metadata,
    Column("key", text(64), primary_key=True),
    Column("event", text(36), nullable=False),
    Column("time", text(24), nullable=False),
    Index("requests_by_time", "time"),
)


def upgrade(connection: Connection) -> None:
    """Make a ledger without events, with an identity of its own."""
    _metadata.create_all(connection, checkfirst=False)
    identity = {"one": 1, "uuid": str(uuid.uuid4()), "schema_version": 1}
    connection.execute(insert(_ledger).values(**identity, size=0, frontier=b""))
