"""Which database a ledger's URL names, and what the ledger asks of any: a connection, transactions, errors.

Knows no table, and opens nothing before it is asked to.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError

from gem_consent.errors import ConfigurationError
from gem_consent.ledger import postgres, sqlite

__all__ = ["Database", "database_of", "ledger_url"]

_ALLOWED = f"{sqlite.ALLOWED}, or {postgres.ALLOWED}"


class Database(Protocol):
    """One database that holds a ledger, or can; it serves one connection."""

    @property
    def name(self) -> str:
        """What messages call it; never with a password."""

    @property
    def url(self) -> str:
        """The URL, such that it means the same database from any folder."""

    @property
    def survives_fork(self) -> bool:
        """Whether a child process may open it although its parent had it open when it forked."""

    @property
    def own_place(self) -> str:
        """How to give the ledger a place of its own, for the message to who named another's."""

    def connect(self, *, must_exist: bool) -> Connection:
        """Open the one connection; where nothing must exist, first make what it needs to open.

        Raises:
            ConfigurationError: the driver is not installed.
            LedgerUnavailable, LedgerError: it cannot be opened.
        """

    def translated(self) -> AbstractContextManager[None]:
        """Turn what the database raises into ``LedgerUnavailable`` and ``LedgerError``, with the remedy."""

    def reading(self, connection: Connection) -> AbstractContextManager[None]:
        """Hold one read transaction: all that is read within it is of one moment."""

    def writing(self, connection: Connection) -> AbstractContextManager[None]:
        """Hold one write transaction that is durable once it has committed.

        Whoever writes locks the ledger's row first, where the database does not keep writers apart itself.

        Raises:
            LedgerUnavailable: it is no longer the database that was opened.
        """

    def upgrading(self, connection: Connection) -> AbstractContextManager[None]:
        """Hold a write transaction that makes or changes tables, one at a time among all processes."""

    def scrub(self, connection: Connection) -> bool:
        """Take what was emptied out of the log beside the tables; say whether no reader kept it there."""

    def traces(self, text: str) -> int | None:
        """Count where a text lies in the database's files; ``None`` where they cannot be read from here."""

    def rewrite(self, connection: Connection) -> None:
        """Write the whole database anew, without what its pages still hold of emptied rows.

        Raises:
            LedgerUnavailable, LedgerError: it could not be done, and all is as it was.
        """


def database_of(url: str, *, is_patient: bool = False) -> Database:
    """Give the database that a ledger's URL names; opens nothing.

    Args:
        url: ``sqlite:///…`` or ``postgresql://…``.
        is_patient: let PostgreSQL take as long as it does, for an operator's commands; a site would hang.

    Raises:
        ConfigurationError: the URL cannot be read, or names what can keep no ledger.
    """
    parsed = _parsed(url)
    if parsed.drivername in postgres.SCHEMES:
        return postgres.PostgresDatabase(parsed, is_patient=is_patient)
    if parsed.drivername in sqlite.SCHEMES:
        return sqlite.SqliteDatabase(parsed)
    raise ConfigurationError(f"The ledger's URL is of {parsed.drivername!r}; allowed: {_ALLOWED}")


def ledger_url(url: str) -> str:
    """Give the URL such that it means the same database after a change of folder.

    Raises:
        ConfigurationError: as ``database_of`` does.
    """
    return database_of(url).url


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError:
        # A URL may hold a password: none is repeated.
        raise ConfigurationError(f"The ledger's URL cannot be read; allowed: {_ALLOWED}") from None
