"""What brings a ledger's tables from one version to the next; run by ``opening.py`` alone, under a lock.

How to write one: ``docs/design/migrations.md``.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, update

from gem_consent.ledger.migrations import version_1, version_2, version_3
from gem_consent.ledger.schema import ledger

__all__ = ["MIGRATIONS", "migrate"]

MIGRATIONS: tuple[Callable[[Connection], None], ...] = (
    version_1.upgrade,
    version_2.upgrade,
    version_3.upgrade,
)
"""The n-th brings a ledger of version n - 1 to version n; what was released is never changed again."""


def migrate(connection: Connection, version: int) -> None:
    """Bring a ledger from this version to the newest, within the transaction that is open.

    Args:
        connection: a transaction of ``Database.upgrading``.
        version: the one that it has; 0 where there is nothing yet.
    """
    for upgrade in MIGRATIONS[version:]:
        upgrade(connection)
    connection.execute(update(ledger).values(schema_version=len(MIGRATIONS)))
