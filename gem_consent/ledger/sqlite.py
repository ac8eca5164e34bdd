"""SQLite as a ledger's database: its file, its connection, whose turn it is to write, what its errors mean.

Knows no table; never opens a file before it is asked to.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, NullPool, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from gem_consent.errors import ConfigurationError, LedgerError, LedgerUnavailable

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows: SQLite's own locks alone
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "BUSY_SECONDS",
    "TURN_SECONDS",
    "Turn",
    "connect",
    "create_file",
    "ledger_path",
    "ledger_url",
    "translated",
]

BUSY_SECONDS = 5.0
"""How long SQLite itself waits for another process's lock."""

TURN_SECONDS = 2.0
"""How long a writer queues for its turn before it tries without: a stuck process must not stop the others."""

_ALLOWED = "sqlite:///relative.db or sqlite:////absolute/path.db"
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


def ledger_path(url: str) -> Path:
    """Give the absolute path of the file that a ledger's URL names; opens nothing.

    Raises:
        ConfigurationError: the URL is none, of another database, in memory, or has options.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        # A URL may hold a password: none is repeated.
        raise ConfigurationError(f"The ledger's URL cannot be read; allowed: {_ALLOWED}") from None
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite"}:
        raise ConfigurationError(f"The ledger's URL is of {parsed.drivername!r}; allowed: {_ALLOWED}")
    if parsed.host or parsed.query:
        raise ConfigurationError(f"The ledger's URL has a host or options after '?'; allowed: {_ALLOWED}")
    name = parsed.database or ""
    if not name or name.startswith((":memory:", "file:")):
        raise ConfigurationError(
            f"A ledger in memory would lose the proof when the process ends; name a file: {_ALLOWED}"
        )
    return Path(name).absolute()


def ledger_url(url: str) -> str:
    """Give the URL with an absolute path, so that it means the same file after a change of folder.

    Raises:
        ConfigurationError: as ``ledger_path`` does.
    """
    path = ledger_path(url)
    return f"sqlite:///{path}" if os.sep != "/" else f"sqlite:////{str(path).lstrip('/')}"


def create_file(path: Path) -> None:
    """Create an empty file that its owner alone may read, unless one is there: a ledger holds personal data.

    SQLite gives its companions (``-wal``, ``-shm``) the same mode.
    """
    with suppress(FileExistsError), translated(path):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def connect(path: Path) -> Connection:
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
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what the file system and the database raise into the library's errors, with the remedy.

    Raises:
        LedgerUnavailable: what may pass: a lock, a full disk, an I/O error.
        LedgerError: what stays until somebody acts.
    """
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise _of_system(path, error) from error
    except DBAPIError as error:
        raise _of_database(path, error.orig) from error
    except sqlite3.Error as error:
        raise _of_database(path, error) from error
    except SQLAlchemyError as error:
        raise LedgerError(f"The ledger at {path} cannot be used: {type(error).__name__}") from error


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


_held: set[int] = set()


def _forget_turns() -> None:
    # A child inherits its parent's lock with the open file, and would keep it after the parent's death.
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_turns)


class Turn:
    """Whose turn it is to write, among processes: a lock on ``<database>-lock``, for fairness alone.

    SQLite's busy wait polls, so a busy process starves the others; the kernel wakes those who block on a
    lock. What keeps writers apart is still ``BEGIN IMMEDIATE``: a writer whose turn does not come in time
    goes on without it.

    Args:
        path: the database's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + "-lock")
        self._database = path
        self._late: threading.Thread | None = None

    @contextmanager
    def taken(self, seconds: float = TURN_SECONDS) -> Iterator[None]:
        """Wait for the turn, that long at most, and hold it for the block."""
        descriptor = self._acquire(seconds)
        try:
            yield
        finally:
            if descriptor is not None:
                _release(descriptor)

    def _acquire(self, seconds: float) -> int | None:
        if fcntl is None:
            return None
        try:
            descriptor = self._open()
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._queue(descriptor, seconds)
        except OSError:
            # A file system without locks.
            _release(descriptor)
            return None
        return descriptor

    def _open(self) -> int:
        """Open the lock's file, made with the database's owner and mode: root must not lock the site out."""
        owner = self._database.stat()
        with suppress(FileExistsError):
            descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            os.fchmod(descriptor, owner.st_mode & 0o777)
            if os.geteuid() == 0:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            _held.add(descriptor)
            return descriptor
        descriptor = os.open(self._path, os.O_RDWR)
        _held.add(descriptor)
        return descriptor

    def _queue(self, descriptor: int, seconds: float) -> int | None:
        """Block on the lock in a thread, the one way to block with an end; one late thread at most stays."""
        if self._late is not None and self._late.is_alive():
            _release(descriptor)
            return None
        place = _Place(descriptor)
        thread = threading.Thread(target=place.wait, name="gem_consent turn", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The interpreter is ending, or has no thread to spare.
            _release(descriptor)
            return None
        if place.is_granted(seconds):
            return descriptor
        self._late = thread
        return None


class _Place:
    """One place in the queue for a lock: the waiter gets it, or gives up and it is let go when it comes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._mutex = threading.Lock()
        self._arrived = threading.Event()
        self._is_given_up = False

    def wait(self) -> None:
        with suppress(OSError):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        with self._mutex:
            if self._is_given_up:
                _release(self._descriptor)
            self._arrived.set()

    def is_granted(self, seconds: float) -> bool:
        self._arrived.wait(seconds)
        with self._mutex:
            self._is_given_up = not self._arrived.is_set()
            return not self._is_given_up


def _release(descriptor: int) -> None:
    # Unlock before closing: a forked child may hold the same open file, which would keep the lock.
    _held.discard(descriptor)
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
