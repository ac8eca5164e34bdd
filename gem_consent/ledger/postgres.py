"""PostgreSQL as a ledger's database: its connection, its transactions, and what its errors mean.

Knows no table but by name; imports the driver when it connects, and never before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import URL, Connection, NullPool, create_engine
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from gem_consent.errors import ConfigurationError, LedgerError, LedgerUnavailable

if TYPE_CHECKING:
    from gem_consent.ledger.dialling import BoundedConnection

__all__ = ["ALLOWED", "PostgresDatabase"]

ALLOWED = "postgresql://user:password@host:5432/database"

SCHEMES = frozenset({"postgresql", "postgresql+psycopg", "postgres"})

LOCK_SECONDS = 2
"""How long a write waits for another process's, and an upgrade for whoever reads."""

STATEMENT_SECONDS = 4
"""How long one statement of the site may take; an operator's command takes as long as it does."""

IDLE_SECONDS = 10
"""How long a process may hold the ledger without a word, before the server ends it for the others' sake."""

ANSWER_SECONDS = 5.0
"""How long the site waits for a server that says nothing at all: more than the server gives itself."""

MAX_REASON = 300
"""How many characters of libpq's reason a message repeats; it names host and role, never the password."""

_CONNECT_SECONDS = 2
# A server that is gone is noticed by what it does not confirm within so many milliseconds (tcp(7),
# TCP_USER_TIMEOUT), and on an idle connection by what it does not answer.
_DEFAULTS: dict[str, object] = {
    "application_name": "gem_consent",
    "client_encoding": "utf8",
    "connect_timeout": _CONNECT_SECONDS,
    "keepalives_idle": 10,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}

_ADVISORY_KEY = 0x67656D636F6E73
"""What upgrades are locked by ("gemcons"): at most one at a time in a database."""

_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
)
_RIGHTS = "give its role the rights that the operator's page lists"
_REMEDIES = {
    "08": "the connection was lost: try again",
    "22": "a value does not fit: its rows and its tree may disagree; run gem-consent verify",
    "23": "its rows and its tree disagree: keep it as it is, restore a backup",
    "25006": "the server is read-only, as a standby is: name the one that may be written",
    "25P": "the server ended a transaction that stood still for too long: try again",
    "28": "the server refused the role or its password: correct the URL, or pg_hba.conf",
    "3D": "the server has no such database: create it, or correct the URL",
    "3F": "no such schema: create it, or correct the search_path",
    "40": "another process was in the way: try again",
    "42501": f"permission denied: {_RIGHTS}",
    "42P01": "a table of the ledger is missing: correct the search_path, or restore a backup",
    "53100": "the server's disk is full: free some space",
    "53300": "the server has no connection left: raise max_connections, or run fewer processes",
    "55P03": "another process holds it: try again, or end the process that keeps it locked",
    "57": "the server is stopping, starting, or took too long: try again",
    "58": "the server's disk did not answer: see its log",
    "XX": "the server found damage: keep it as it is, see its log, restore a backup",
}
_PASSING = ("08", "25006", "25P", "40", "53", "55P03", "57", "58")


class PostgresDatabase:
    """A schema of a PostgreSQL database; see ``Database`` for what its methods give.

    Args:
        url: the parsed URL.
        is_patient: whether statements may take as long as they do: an operator's command, not the site.
    """

    survives_fork: ClassVar[bool] = True
    own_place: ClassVar[str] = (
        "give the ledger a schema of its own (CREATE SCHEMA consent, and "
        "?options=-csearch_path%3Dconsent at the end of the URL)"
    )

    def __init__(self, url: URL, *, is_patient: bool = False) -> None:
        self._url = url.set(drivername="postgresql+psycopg")
        self._is_patient = is_patient
        limit = 0 if is_patient else STATEMENT_SECONDS
        limits = f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; SET LOCAL statement_timeout = '{limit}s'"
        idle = f"SET LOCAL idle_in_transaction_session_timeout = '{0 if is_patient else IDLE_SECONDS}s'"
        # One message each, so that setting what holds for a transaction costs no further round trip; for the
        # session it would be lost behind a pooler.
        self._read = f"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; {limits}"
        self._write = f"BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE; {limits}; {idle}; {_DURABLE}"

    @property
    def name(self) -> str:
        """Server, database and schema, without user and password."""
        url = self._url
        port = f":{url.port}" if url.port else ""
        return f"postgresql://{url.host or ''}{port}/{url.database or ''}"

    @property
    def url(self) -> str:
        """The URL with its password."""
        return self._url.render_as_string(hide_password=False)

    def connect(self, *, must_exist: bool) -> Connection:
        """Open the one connection; a database that is not there is never made."""
        try:
            from gem_consent.ledger.dialling import dial
        except ImportError as error:
            raise ConfigurationError(
                f"The ledger at {self.name} needs psycopg, which is not installed: "
                'pip install "gem-consent[postgres]"'
            ) from error
        arguments = self._arguments()

        def creator() -> BoundedConnection:
            return dial(arguments, None if self._is_patient else ANSWER_SECONDS)

        with self.translated():
            engine = create_engine(
                "postgresql+psycopg://",
                creator=creator,
                poolclass=NullPool,
                hide_parameters=True,
                use_native_hstore=False,
            )
            connection = engine.connect()
            try:
                self._require_home(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    def _arguments(self) -> dict[str, Any]:
        try:
            _, given = self._url.get_dialect()().create_connect_args(self._url)
        except ArgumentError:
            raise ConfigurationError(
                f"The URL of the ledger at {self.name} cannot be used; allowed: {ALLOWED}"
            ) from None
        return {**_DEFAULTS, **given}

    def _require_home(self, connection: Connection) -> None:
        with self.reading(connection):
            asked = "SELECT current_schema(), current_setting('server_encoding')"
            schema, encoding = connection.exec_driver_sql(asked).one()
        if encoding != "UTF8":
            raise LedgerError(
                f"The database at {self.name} is in {encoding}, which cannot hold every visitor's words: "
                "create one in UTF8"
            )
        if schema is None:
            raise LedgerError(
                f"The search_path of the connection to {self.name} names no schema that is there: "
                "create it (CREATE SCHEMA consent), or correct the URL"
            )

    @contextmanager
    def reading(self, connection: Connection) -> Iterator[None]:
        """Hold one read transaction on one snapshot."""
        with connection.begin():
            connection.exec_driver_sql(self._read)
            yield

    @contextmanager
    def writing(self, connection: Connection) -> Iterator[None]:
        """Hold one write transaction; READ COMMITTED, so that what follows the lock sees all before it."""
        with connection.begin():
            connection.exec_driver_sql(self._write)
            yield

    @contextmanager
    def upgrading(self, connection: Connection) -> Iterator[None]:
        """Hold a write transaction that waits for any other upgrade."""
        with self.writing(connection):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_KEY})")
            yield

    def scrub(self, connection: Connection) -> bool:
        """Free the dead rows that an update leaves, at an operator's command; else autovacuum does.

        The server frees them without overwriting them, and skips what its role does not own.
        """
        if self._is_patient:
            self._vacuum(connection, "VACUUM (SKIP_LOCKED) events, requests")
        return True

    def traces(self, text: str) -> None:
        """Count nothing: the server's files cannot be read from here."""

    def rewrite(self, connection: Connection) -> None:
        """Let the server write the tables anew, without their dead rows; they are locked meanwhile."""
        self._vacuum(connection, "VACUUM FULL events, requests")

    def _vacuum(self, connection: Connection, statement: str) -> None:
        # No BEGIN is said, and the driver says none by itself: it must be outside of any transaction.
        with connection.begin():
            connection.exec_driver_sql(statement)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what the driver raises into the library's errors, with the remedy.

        Raises:
            LedgerUnavailable: what may pass: a lock, a lost connection, a full disk, a server that restarts.
            LedgerError: what stays until somebody acts.
        """
        try:
            yield
        except DBAPIError as error:
            raise self._of_database(error) from error
        except SQLAlchemyError as error:
            raise LedgerError(f"The ledger at {self.name} cannot be used: {type(error).__name__}") from error

    def _of_database(self, error: DBAPIError) -> LedgerError:
        state = getattr(error.orig, "sqlstate", None)
        if state is None:
            return _of_connection(self.name, error)
        found = next((state[:length] for length in (5, 3, 2) if state[:length] in _REMEDIES), "")
        diagnosis = getattr(error.orig, "diag", None)
        # The primary message names no row's values, unlike the detail; only data errors repeat them.
        words = _REMEDIES.get(found) or getattr(diagnosis, "message_primary", None) or "see the server's log"
        kind = LedgerUnavailable if state.startswith(_PASSING) else LedgerError
        return kind(f"The ledger at {self.name} cannot be used ({state}): {words}")


_LASTING = {
    "password authentication failed": "28",
    "no password supplied": "28",
    "no pg_hba.conf entry": "28",
    "role ": "28",
    "database ": "3D",
}


def _of_connection(name: str, error: DBAPIError) -> LedgerError:
    """Say why there is no connection: of that libpq gives a text alone, in the server's language."""
    text = " ".join(str(error.orig).split())
    if not isinstance(error, OperationalError):
        return LedgerError(f"The ledger at {name} cannot be used: {text}; correct the URL")
    for words, state in _LASTING.items():
        if f"FATAL: {words}" in text and (state != "3D" or "does not exist" in text):
            return LedgerError(f"The ledger at {name} cannot be reached: {_REMEDIES[state]}")
    return LedgerUnavailable(f"The ledger at {name} cannot be reached now: {text[:MAX_REASON]}")
