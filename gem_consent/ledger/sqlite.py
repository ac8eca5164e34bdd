"""SQLite as a ledger's database: its file, its connection, its transactions, and what its errors mean.

Knows no table; never opens a file before it is asked to.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from os import stat_result
from pathlib import Path
from typing import ClassVar

from sqlalchemy import URL, Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from gem_consent.errors import ConfigurationError, LedgerError, LedgerUnavailable
from gem_consent.ledger.turn import Turn

__all__ = ["ALLOWED", "BUSY_SECONDS", "SqliteDatabase"]

BUSY_SECONDS = 5.0
"""How long SQLite itself waits for another process's lock."""

SCHEMES = frozenset({"sqlite", "sqlite+pysqlite"})

SCRUB_MILLISECONDS = 200
"""How long an erasure waits for those who read the write-ahead log."""

CHUNK_BYTES = 1 << 20

ALLOWED = "sqlite:///relative.db or sqlite:////absolute/path.db"
_PASSING = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_FULL", "SQLITE_NOMEM", "SQLITE_PROTOCOL")
_LASTING_ERRNO = frozenset({errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS})
_RIGHTS = "give this process's user the right to write the file and its folder"
_REMEDIES = {
    "SQLITE_BUSY": "another process holds it: try again, or end the process that keeps it locked",
    "SQLITE_LOCKED": "another process holds it: try again, or end the process that keeps it locked",
    "SQLITE_FULL": "the disk is full: free some space",
    "SQLITE_IOERR": "the disk did not answer: see the system's log",
    "SQLITE_NOTADB": "the file is no SQLite database: give the path of a ledger, or of a new file",
    "SQLITE_CORRUPT": "the file is damaged: keep the file, restore a backup",
    "SQLITE_READONLY": f"it may not be written: {_RIGHTS}",
    "SQLITE_CANTOPEN": f"it cannot be opened: {_RIGHTS}",
    "SQLITE_PERM": f"it may not be opened: {_RIGHTS}",
    "SQLITE_CONSTRAINT": "its rows and its tree disagree: keep the file, restore a backup",
}


class SqliteDatabase:
    """A ledger's file; see ``Database`` for what its methods give.

    Args:
        url: the parsed URL.

    Raises:
        ConfigurationError: the URL is in memory, or has options.
    """

    survives_fork: ClassVar[bool] = False
    own_place: ClassVar[str] = "give the ledger a file of its own"

    def __init__(self, url: URL) -> None:
        self.path = _path_of(url)
        self._turn = Turn(self.path)
        self._identity: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self.path)

    @property
    def url(self) -> str:
        """The URL with an absolute path."""
        path = str(self.path)
        return f"sqlite:///{path}" if os.sep != "/" else f"sqlite:////{path.lstrip('/')}"

    def connect(self, *, must_exist: bool) -> Connection:
        """Open the one connection, on a file that is made first unless it must exist."""
        if must_exist and not self.path.is_file():
            raise LedgerError(f"There is no ledger at {self.path}: check the URL and the present folder")
        with self.translated():
            if not must_exist:
                _create_file(self.path)
            self._identity = _identity(self.path.stat())
            return _connect(self.path)

    @contextmanager
    def reading(self, connection: Connection) -> Iterator[None]:
        """Hold one read transaction; its moment is that of the first read."""
        with connection.begin():
            connection.exec_driver_sql("BEGIN DEFERRED")
            yield

    @contextmanager
    def writing(self, connection: Connection) -> Iterator[None]:
        """Wait for the turn, then hold one write transaction."""
        with self._turn.taken():
            self._require_same_file()
            with _immediate(connection):
                yield

    @contextmanager
    def upgrading(self, connection: Connection) -> Iterator[None]:
        """Hold a write transaction; an empty file is put into WAL mode before it."""
        with self._turn.taken():
            # Outside a transaction, and in turn: two processes that change the mode at once would fail.
            with closing(connection.connection.cursor()) as cursor:
                cursor.execute("SELECT 1 FROM sqlite_master")
                if not cursor.fetchall():
                    cursor.execute("PRAGMA journal_mode=WAL")
            with _immediate(connection):
                yield

    def scrub(self, connection: Connection) -> bool:
        """Copy the write-ahead log into the file and empty it, unless somebody reads from it for too long."""
        with closing(connection.connection.cursor()) as cursor:
            # A long export would keep the site's decisions waiting for as long as SQLite waits for it.
            cursor.execute(f"PRAGMA busy_timeout={SCRUB_MILLISECONDS}")
            is_busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            cursor.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")
        return not is_busy

    def traces(self, text: str) -> int:
        """Count where a text lies in the file and in its write-ahead log."""
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(_occurrences(file, text.encode()) for file in files if file.exists())

    def rewrite(self, connection: Connection) -> None:
        """Let SQLite write the file anew (VACUUM), and empty the log that this went through."""
        with self._turn.taken():
            self._require_same_file()
            with closing(connection.connection.cursor()) as cursor:
                cursor.execute("VACUUM")
        self.scrub(connection)

    def _require_same_file(self) -> None:
        # SQLite goes on writing to a file that was removed or replaced, where nobody would find the proof.
        try:
            found = _identity(self.path.stat())
        except FileNotFoundError:
            found = None
        if found != self._identity:
            raise LedgerUnavailable(
                f"The ledger at {self.path} was moved or replaced while open: open it again"
            )

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what the file system and the database raise into the library's errors, with the remedy.

        Raises:
            LedgerUnavailable: what may pass: a lock, a full disk, an I/O error.
            LedgerError: what stays until somebody acts.
        """
        path = self.path
        try:
            yield
        except OSError as error:
            raise _of_system(path, error) from error
        except DBAPIError as error:
            raise _of_database(path, error.orig) from error
        except sqlite3.Error as error:
            raise _of_database(path, error) from error
        except SQLAlchemyError as error:
            raise LedgerError(f"The ledger at {path} cannot be used: {type(error).__name__}") from error


def _path_of(url: URL) -> Path:
    if url.host or url.query:
        raise ConfigurationError(f"The ledger's URL has a host or options after '?'; allowed: {ALLOWED}")
    name = url.database or ""
    if not name or name.startswith((":memory:", "file:")):
        raise ConfigurationError(
            f"A ledger in memory would lose the proof when the process ends; name a file: {ALLOWED}"
        )
    return Path(name).absolute()


def _create_file(path: Path) -> None:
    """Create an empty file that its owner alone may read, unless one is there: a ledger holds personal data.

    SQLite gives its companions (``-wal``, ``-shm``) the same mode.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _identity(status: stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _connect(path: Path) -> Connection:
    """Open the one connection of a ledger on a file that exists; it never creates one.

    The driver opens no transaction by itself: ``BEGIN`` is said where one is meant. In WAL mode,
    ``synchronous=FULL`` syncs at every commit (https://www.sqlite.org/pragma.html#pragma_synchronous).
    """

    def dial() -> sqlite3.Connection:
        return sqlite3.connect(
            path.as_uri() + "?mode=rw",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )

    engine = create_engine("sqlite://", creator=dial, poolclass=NullPool, hide_parameters=True)
    connection = engine.connect()
    try:
        connection.connection.cursor().execute("PRAGMA synchronous=FULL")
        # For all who write: a page that is split while it is off keeps a copy of what it held (seen for 7 of
        # 100 visitors). Even so a merged page may keep one, seen for 4 of 399, until the file is rewritten.
        connection.connection.cursor().execute("PRAGMA secure_delete=ON")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _immediate(connection: Connection) -> Iterator[None]:
    # IMMEDIATE takes the write lock at once: a transaction that had read first could not be upgraded safely.
    with connection.begin():
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield


def _of_system(path: Path, error: OSError) -> LedgerError:
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return LedgerError(f"No ledger can be made at {path}: create the folder {path.parent} first")
    if error.errno in _LASTING_ERRNO:
        return LedgerError(f"The ledger at {path} cannot be opened: {error.strerror}; {_RIGHTS}")
    return LedgerUnavailable(f"The ledger at {path} cannot be opened now: {error.strerror}; try again later")


def _of_database(path: Path, error: BaseException | None) -> LedgerError:
    name = getattr(error, "sqlite_errorname", None) or "SQLITE_ERROR"
    family = "_".join(name.split("_")[:2])
    remedy = _REMEDIES.get(family, f"{error}")
    kind = LedgerUnavailable if family in _PASSING else LedgerError
    return kind(f"The ledger at {path} cannot be used ({name}): {remedy}")


def _occurrences(file: Path, wanted: bytes) -> int:
    found, before = 0, b""
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK_BYTES):
            window = before + chunk
            found += window.count(wanted)
            # Enough of it that what lies across two chunks is found, and nothing twice.
            before = window[len(window) - len(wanted) + 1 :] if len(wanted) > 1 else b""
    return found
