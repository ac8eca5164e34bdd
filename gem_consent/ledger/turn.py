"""Whose turn it is to write to a SQLite file, among processes: a queue in the kernel, for fairness alone.

It keeps nobody out: what keeps writers apart is SQLite's own lock.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows: SQLite's own locks alone
    fcntl = None  # type: ignore[assignment]

__all__ = ["TURN_SECONDS", "Turn"]

TURN_SECONDS = 2.0
"""How long a writer queues for its turn before it tries without: a stuck process must not stop the others."""

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
