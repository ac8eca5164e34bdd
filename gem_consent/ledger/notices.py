"""The notices that a ledger keeps for ever: each stored once, numbered and sealed; none is ever changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select

from gem_consent.errors import LedgerError
from gem_consent.ledger.checkpoints import newest_notice, notice_seal
from gem_consent.ledger.schema import notices
from gem_consent.proof.notice import Notice

__all__ = ["add_notices", "find_notice", "has_notice", "missing_notices", "notice_row", "stored_notices"]

_NAMES = tuple(field.name for field in fields(Notice))


def notice_row(notice: Notice, stored: str) -> dict[str, Any]:
    """Give a notice's columns, without its number and seal.

    Raises:
        LedgerError: its digest is not the SHA-256 of its page, or a field does not fit.
    """
    if hashlib.sha256(notice.html).hexdigest() != notice.digest:
        raise LedgerError(
            f"The notice {notice.digest[:64]!r} cannot be stored: that is not the SHA-256 of its page"
        )
    for name in ("fingerprint", "language", "library"):
        limit: int = notices.c[name].type.length  # type: ignore[attr-defined]
        if len(getattr(notice, name)) > limit:
            raise LedgerError(
                f"The notice {notice.digest} cannot be stored: its {name} has over {limit} characters"
            )
    return {name: getattr(notice, name) for name in _NAMES} | {"stored": stored}


def missing_notices(connection: Connection, rows: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Give those rows, by digest, that are not stored yet."""
    present = set(connection.scalars(select(notices.c.digest)))
    return [row for digest, row in rows.items() if digest not in present]


def add_notices(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Store new rows behind the last one, within the write transaction."""
    last, seal = newest_notice(connection)
    for number, row in enumerate(rows, last + 1):
        seal = notice_seal(seal, number, row)
        row |= {"number": number, "seal": seal}
    if rows:
        connection.execute(insert(notices), rows)


def find_notice(connection: Connection, digest: str) -> Notice | None:
    """Give the notice of this digest, or ``None``."""
    row = connection.execute(select(notices).where(notices.c.digest == digest)).mappings().one_or_none()
    return None if row is None else _notice(row)


def stored_notices(connection: Connection) -> list[tuple[str, Notice]]:
    """Give every notice with the time it was stored at, oldest first."""
    rows = connection.execute(select(notices).order_by(notices.c.stored, notices.c.language)).mappings()
    return [(row["stored"], _notice(row)) for row in rows]


def has_notice(connection: Connection, digest: str, fingerprint: str) -> bool:
    """Say whether a notice of this digest was stored under this fingerprint."""
    found = connection.scalar(select(notices.c.fingerprint).where(notices.c.digest == digest))
    return bool(found == fingerprint)


def _notice(row: RowMapping) -> Notice:
    return Notice(**{name: row[name] for name in _NAMES})
