"""The tables of a ledger, in SQLAlchemy Core; what they mean is the business of ``store.py``.

What is changed here needs a migration: see ``docs/design/migrations.md``.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table

from gem_consent.ledger.columns import text

__all__ = [
    "SCHEMA_VERSION",
    "checkpoints",
    "cookies",
    "events",
    "keys",
    "ledger",
    "metadata",
    "notices",
    "purposes",
    "requests",
    "tiles",
]

SCHEMA_VERSION = 3

metadata = MetaData()

ledger = Table(
    "ledger",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("uuid", text(36), nullable=False),
    Column("schema_version", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
)
"""One row: who the ledger is, how many leaves its tree has, and its frontier (32 bytes a perfect subtree)."""

events = Table(
    "events",
    metadata,
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
    Column("mark", text()),
    Index("events_by_subject", "subject", "position"),
    Index("events_by_time", "time"),
)
"""One row a decision or a mark; all columns but the first three are NULL once a mark says it was emptied."""

_IS_MARK = events.c.mark.is_not(None)
Index("events_marks", events.c.position, sqlite_where=_IS_MARK, postgresql_where=_IS_MARK)

notices = Table(
    "notices",
    metadata,
    Column("digest", text(64), primary_key=True),
    Column("fingerprint", text(64), nullable=False),
    Column("language", text(35), nullable=False),
    Column("library", text(64), nullable=False),
    Column("stored", text(24), nullable=False),
    Column("html", LargeBinary, nullable=False),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("seal", LargeBinary(32), nullable=False),
)
"""Every notice that was ever shown, as a page that opens by itself; its digest is the SHA-256 of the page.

They are numbered from 1, and each seal sums up the row and the seal before it: see ``checkpoints.py``.
"""

tiles = Table(
    "tiles",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("tile", BigInteger, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)
"""The tree's interior as C2SP tiles of level 1 and up: 256 hashes a row at most, one after the other."""

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("note", text(), nullable=False),
    Column("time", text(24), nullable=False),
)
"""Every checkpoint that was signed, one a tree size; its time is in the note too, and signed there."""

keys = Table(
    "keys",
    metadata,
    Column("key", text(255), primary_key=True),
    Column("since", BigInteger, nullable=False),
)
"""The public keys that ever signed, and the size of the first checkpoint that each of them signed."""

purposes = Table(
    "purposes",
    metadata,
    Column("id", text(32), primary_key=True),
    Column("since", BigInteger, nullable=False),
)
"""The purposes that events speak of, and the position of the first: the export's columns, without a scan."""

requests = Table(
    "requests",
    metadata,
    Column("key", text(64), primary_key=True),
    Column("event", text(36), nullable=False),
    Column("time", text(24), nullable=False),
    Index("requests_by_time", "time"),
)
"""The keys of recent requests, so that one sent twice writes one event; emptied after ten minutes."""

cookies = Table(
    "cookies",
    metadata,
    Column("name", text(128), primary_key=True),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("lifetime", BigInteger),
    Column("attributes", text(255), nullable=False),
    Column("service", text(32), nullable=False),
    Column("declared", BigInteger),
)
"""The cookies that the site's own responses were seen to set (in seconds since 1970); no proof."""
