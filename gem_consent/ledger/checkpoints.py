"""The checkpoints that a ledger signs: what they say beyond size and root, and when one may be signed.

What belongs to no event is signed through three extension lines (C2SP tlog-checkpoint, "Note text"): the
time, the size of the checkpoint before, and the number of notices with the seal of the last one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select

from gem_consent.errors import ProofError
from gem_consent.ledger.schema import checkpoints, keys, notices
from gem_consent.ledger.tiles import tile_reader
from gem_consent.proof.checkpoint import Checkpoint, SigningKey, parse, sign
from gem_consent.proof.event import utc_text
from gem_consent.proof.statement import Statement
from gem_consent.proof.tree import Frontier, root_of

__all__ = [
    "INTERVAL",
    "NO_SEAL",
    "Statement",
    "covering_checkpoint",
    "newest_checkpoint",
    "newest_notice",
    "notice_seal",
    "origin_of",
    "public_keys",
    "sign_next",
]

INTERVAL = timedelta(seconds=60)
"""The least time between two checkpoints of one ledger, an orderly end apart."""

NO_SEAL = bytes(32)
"""What stands for the seal before the first notice."""

_SEALED = ("digest", "fingerprint", "language", "library", "stored")
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)
_NEWEST = select(checkpoints.c.note).order_by(checkpoints.c.size.desc()).limit(1)
_LAST_NOTICE = select(notices.c.number, notices.c.seal).order_by(notices.c.number.desc()).limit(1)


def origin_of(uuid: str) -> str:
    """Name a ledger as its checkpoints do."""
    return f"gem-consent/{uuid}"


def notice_seal(before: bytes, number: int, row: Mapping[str, Any]) -> bytes:
    """Sum up a notice's row and the seal before it: SHA-256 over both, the row in canonical JSON.

    The digest stands for the page. A checkpoint that signs the last seal signs every notice before it.
    """
    said = {name: row[name] for name in _SEALED} | {"number": number}
    return hashlib.sha256(before + _ENCODER.encode(said).encode()).digest()


def newest_notice(connection: Connection) -> tuple[int, bytes]:
    """Give the number and the seal of the notice stored last."""
    row = connection.execute(_LAST_NOTICE).one_or_none()
    return (0, NO_SEAL) if row is None else (row.number, row.seal)


def newest_checkpoint(connection: Connection) -> bytes | None:
    """Give the newest signed checkpoint as it is, unverified, or ``None``."""
    note: str | None = connection.scalar(_NEWEST)
    return None if note is None else note.encode()


def covering_checkpoint(connection: Connection, position: int) -> bytes | None:
    """Give the newest signed checkpoint if it covers a row, unverified, else ``None``."""
    note = newest_checkpoint(connection)
    return note if note and parse(note).size > position else None


def public_keys(connection: Connection) -> list[str]:
    """Give the public keys that signed this ledger, oldest first; whether they are right, it cannot say."""
    return list(connection.scalars(select(keys.c.key).order_by(keys.c.since, keys.c.key)))


def sign_next(
    connection: Connection, origin: str, secret: str, now: datetime, frontier: Frontier, *, at_once: bool
) -> bool:
    """Sign the tree as it is, within the write transaction; see ``Ledger.sign``.

    Raises:
        ProofError: the tree does not continue the newest checkpoint (C2SP tlog-checkpoint, "Signatures": a
            log signs nothing that is inconsistent with what it signed before).
    """
    note = newest_checkpoint(connection)
    before = parse(note) if note else None
    if frontier.size == (before.size if before else 0):
        return True
    if before and not at_once and timedelta(0) <= now - _signed_at(before) < INTERVAL:
        return False
    _require_growth(connection, frontier, before)
    number, seal = newest_notice(connection)
    statement = Statement(utc_text(now), before.size if before else 0, number, seal)
    _store(connection, Checkpoint(origin, frontier.size, frontier.root, statement.lines), statement, secret)
    return True


def _signed_at(checkpoint: Checkpoint) -> datetime:
    return datetime.fromisoformat(Statement.of(checkpoint).time.replace("Z", "+00:00"))


def _require_growth(connection: Connection, frontier: Frontier, before: Checkpoint | None) -> None:
    read = tile_reader(connection)
    is_same = root_of(frontier.size, read) == frontier.root
    if before and is_same:
        is_same = before.size < frontier.size and root_of(before.size, read) == before.root
    if not is_same:
        raise ProofError("the tree is not the one that was signed before: run gem-consent verify")


def _store(connection: Connection, checkpoint: Checkpoint, statement: Statement, secret: str) -> None:
    key = SigningKey.derive(secret, checkpoint.origin)
    note = sign(checkpoint, key).decode()
    row = {"size": checkpoint.size, "note": note, "time": statement.time}
    connection.execute(insert(checkpoints), row)
    public = str(key.public_key)
    if connection.scalar(select(keys.c.key).where(keys.c.key == public)) is None:
        connection.execute(insert(keys), {"key": public, "since": checkpoint.size})
