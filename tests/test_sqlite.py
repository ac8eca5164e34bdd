"""The ledger over a SQLite file: its files and their rights, its locks, and what a file system does to it."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ledgers import check, make_event, url_of

from gem_consent.errors import LedgerError, LedgerUnavailable
from gem_consent.ledger import sqlite, turn
from gem_consent.ledger.database import ledger_url
from gem_consent.ledger.store import Append, Ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test's ledger lies."""
    return tmp_path / "consent.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    """A ledger without events, checked when the test is over."""
    ledger = Ledger.open(url_of(path))
    yield ledger
    ledger.close()
    check(path)


def test_new_ledger_is_private(ledger: Ledger, path: Path) -> None:
    """The files of a new ledger are its owner's alone, the lock's and the log's too."""
    ledger.append([Append(make_event())])
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(
        ("consent.db", "consent.db-wal", "consent.db-shm", "consent.db-lock"), 0o600
    )


def test_commits_are_synced(ledger: Ledger) -> None:
    """The journal is a write-ahead log that is synced at every commit."""
    with ledger.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_relative_url_is_made_absolute(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative URL names a file in the present folder, for good."""
    monkeypatch.chdir(path.parent)
    url = ledger_url("sqlite:///consent.db")
    monkeypatch.chdir("/")
    Ledger.open(url).close()
    check(path)


def test_absent_ledger_is_not_made(path: Path) -> None:
    """A ledger that must exist and does not is refused, and nothing is created."""
    with pytest.raises(LedgerError, match=r"no ledger at .*consent\.db: check the URL"):
        Ledger.open(url_of(path), must_exist=True)
    assert list(path.parent.iterdir()) == []


def test_other_file_is_refused(path: Path) -> None:
    """A file that is no database is refused, and stays as it is."""
    path.write_text("not a database, " * 100)
    with pytest.raises(LedgerError, match="no SQLite database: give the path"):
        Ledger.open(url_of(path))
    assert path.read_text() == "not a database, " * 100


def test_missing_folder_is_named(path: Path) -> None:
    """Where the folder is missing, the message says to make it."""
    with pytest.raises(LedgerError, match=r"create the folder .*absent first"):
        Ledger.open(url_of(path.parent / "absent" / "consent.db"))


def test_folder_instead_of_file_is_refused(path: Path) -> None:
    """A folder at the ledger's path is refused with a word on rights."""
    path.mkdir()
    with pytest.raises(LedgerError, match="cannot be opened: give this process's user the right"):
        Ledger.open(url_of(path))


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [
        (errno.EACCES, LedgerError, "Permission denied; give this process's user the right"),
        (errno.EROFS, LedgerError, "Read-only file system; give this process's user the right"),
        (errno.ENOSPC, LedgerUnavailable, "No space left on device; try again later"),
        (errno.EMFILE, LedgerUnavailable, "Too many open files; try again later"),
    ],
)
def test_system_refusals_name_remedy(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[LedgerError], message: str
) -> None:
    """What the system refuses is told with the remedy, and as passing where it may pass."""

    def refuse(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(LedgerError, match=message) as caught:
            Ledger.open(url_of(path))
    assert type(caught.value) is kind


def test_full_disk_is_told(ledger: Ledger, path: Path) -> None:
    """A full disk makes the ledger unavailable, names the remedy, and passes."""
    ledger.append([Append(make_event())])
    with ledger.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LedgerUnavailable, match="the disk is full: free some space"):
        ledger.append([Append(make_event()) for _ in range(500)])
    assert len(check(path)) == 1
    with ledger.reading() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 100000")
    ledger.append([Append(make_event()) for _ in range(500)])
    assert len(check(path)) == 501


def test_locked_ledger_is_unavailable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another process holds the lock nothing is written; reads go on, and afterwards all does."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.01)
    ledger = Ledger.open(url_of(path))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable, match="another process holds it: try again"):
            ledger.append([Append(make_event())])
        assert ledger.size == 0
    ledger.append([Append(make_event())])
    ledger.close()
    assert len(check(path)) == 1


def test_replaced_file_is_noticed(path: Path) -> None:
    """Proof is never written into a file that was moved away or replaced."""
    ledger = Ledger.open(url_of(path))
    path.rename(path.with_name("moved.db"))
    with pytest.raises(LedgerUnavailable, match="was moved or replaced while open"):
        ledger.append([Append(make_event())])
    path.touch()
    with pytest.raises(LedgerUnavailable, match="was moved or replaced while open"):
        ledger.append([Append(make_event())])
    ledger.close()


def turn_of(ledger: Ledger) -> turn.Turn:
    """Give the queue that a ledger's file is written in turn by."""
    assert isinstance(ledger._database, sqlite.SqliteDatabase)
    return ledger._database._turn


def test_stuck_process_stops_nobody(ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that keeps the turn for ever delays a write, and does not prevent it."""
    monkeypatch.setattr(turn.Turn.taken, "__defaults__", (0.01,), raising=False)
    own = turn_of(ledger)
    with path.with_name("consent.db-lock").open("rb") as stuck:
        fcntl.flock(stuck, fcntl.LOCK_EX)
        with own.taken(0.01):
            pass
        with own.taken(0.01):
            ledger.append([Append(make_event())])
    late = own._late
    assert late is not None
    late.join(10)
    with path.with_name("consent.db-lock").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert len(check(path)) == 1


def test_turn_comes_when_freed(ledger: Ledger, path: Path) -> None:
    """A writer that waits for its turn gets it as soon as the other lets go."""
    with path.with_name("consent.db-lock").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        descriptor = turn_of(ledger)._open()
        ready: list[int | None] = []
        thread = threading.Thread(target=lambda: ready.append(turn_of(ledger)._queue(descriptor, 30)))
        thread.start()
        fcntl.flock(other, fcntl.LOCK_UN)
        thread.join(30)
    assert ready == [descriptor]
    turn._release(descriptor)
