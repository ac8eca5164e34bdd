"""The spool: what is put stays, once and in order, until the ledger has it; then nothing of it is left."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ledgers import START, check, make_event, make_notice, url_of

from gem_consent.errors import LedgerError, LedgerUnavailable
from gem_consent.ledger.rows import EventRejected
from gem_consent.ledger.spool import DRAIN_EVENTS, Drain, Spool
from gem_consent.ledger.store import Append, Ledger
from gem_consent.proof.event import Event
from gem_consent.proof.notice import Notice

SHOWN = make_notice("Shown in the outage")


class Clock:
    """A clock that the test owns."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger.open(url_of(tmp_path / "consent.db"))) as book:
        yield book


def open_spool(path: Path, clock: Clock | None = None) -> Spool:
    return Spool.open(path, {SHOWN.digest: SHOWN}.get, clock=clock or Clock())


def drain(path: Path, ledger: Ledger) -> int:
    opened = Drain(lambda: open_spool(path), lambda: None, {})
    try:
        return opened(ledger)
    finally:
        opened.close()


def waiting(path: Path) -> list[Event]:
    with closing(open_spool(path)) as spool:
        return [append.event for _, append in spool.oldest()]


def test_put_events_wait_in_order(path: Path) -> None:
    """Events wait in the order in which they came, across openings, as they are."""
    events = [make_event(site="é\n\u2028", purposes={"a": False, "b": True}) for _ in range(3)]
    for event in events:
        with closing(open_spool(path)) as spool:
            assert spool.append([Append(event)]) == [event]
    assert waiting(path) == events


def test_same_event_waits_once(path: Path) -> None:
    """An event that is put again, alone or in a batch, waits once."""
    event = make_event()
    with closing(open_spool(path)) as spool:
        spool.append([Append(event), Append(event)])
        spool.append([Append(event)])
    assert waiting(path) == [event]


def test_same_key_gives_the_event_back(path: Path) -> None:
    """A request that is sent again within ten minutes gets the event that waits; a later one is another."""
    clock, first, second, third = Clock(), make_event(), make_event(), make_event()
    with closing(open_spool(path, clock)) as spool:
        assert spool.append([Append(first, "key")]) == [first]
        assert spool.append([Append(second, "key")]) == [first]
        other = make_event(purposes={"analytics": False})
        assert spool.append([Append(other, "key")]) == [other]
        clock.at += timedelta(minutes=10)
        assert spool.append([Append(third, "key")]) == [third]
    assert waiting(path) == [first, other, third]


def test_unfit_event_is_refused(path: Path) -> None:
    """What the ledger could never store does not wait for it; what comes with it is put alone."""
    unfit = pytest.raises(EventRejected, match="its subject has 65 characters")
    with closing(open_spool(path)) as spool, unfit:
        spool.append([Append(make_event()), Append(make_event(subject="x" * 65))])
    assert waiting(path) == []


def test_file_is_its_owners_alone(path: Path) -> None:
    """Choices are personal data: nobody else reads them."""
    open_spool(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["CREATE TABLE visits (id)"], "is no spool: give it a file of its own"),
        (["PRAGMA user_version=2"], "has version 2, and this release of gem_consent knows 1 at most"),
    ],
)
def test_other_files_are_refused(path: Path, statements: list[str], said: str) -> None:
    """A file of something else, or of a newer release, is left alone."""
    if "version" in said:
        open_spool(path).close()
    with closing(sqlite3.connect(path)) as file:
        for statement in statements:
            file.execute(statement)
    with pytest.raises(LedgerError, match=said):
        open_spool(path)


def test_ledger_is_no_spool(tmp_path: Path, ledger: Ledger) -> None:
    """The ledger's own file is not taken for a spool."""
    with pytest.raises(LedgerError, match="is no spool"):
        open_spool(tmp_path / "consent.db")


# Draining


def test_drained_events_are_in_the_ledger(path: Path, ledger: Ledger, tmp_path: Path) -> None:
    """All that waited is in the ledger, in order, linked, and the spool is empty."""
    events = [make_event(subject=f"visitor-{number % 3}") for number in range(DRAIN_EVENTS + 7)]
    with closing(open_spool(path)) as spool:
        spool.append([Append(event) for event in events])
    assert drain(path, ledger) == len(events)
    assert [event.id for event in check(tmp_path / "consent.db")] == [event.id for event in events]
    assert waiting(path) == []
    assert drain(path, ledger) == 0


def test_drained_again_is_there_once(path: Path, ledger: Ledger, tmp_path: Path) -> None:
    """A crash between the ledger's commit and the spool's doubles nothing."""
    events = [make_event(subject="visitor") for _ in range(3)]
    with closing(open_spool(path)) as spool:
        spool.append([Append(event, "key") for event in events[:1]])
        spool.append([Append(event) for event in events[1:]])
        ledger.append([append for _, append in spool.oldest()])
    drain(path, ledger)
    assert [event.id for event in check(tmp_path / "consent.db")] == [event.id for event in events]


def test_acknowledged_event_is_written_whatever_its_key(path: Path, ledger: Ledger, tmp_path: Path) -> None:
    """Two answers were given under one key, one by the ledger and one by the spool: both are proved.

    A third request under the key gets the newer of the two.
    """
    first, second = make_event(), make_event()
    ledger.append([Append(first, "key")])
    with closing(Spool.open(path)) as spool:
        spool.append([Append(second, "key")])
    opened = Drain(lambda: Spool.open(path), lambda: None, {})
    opened(ledger)
    opened.close()
    assert [event.id for event in check(tmp_path / "consent.db")] == [first.id, second.id]
    assert ledger.append([Append(make_event(), "key")])[0].id == second.id


def test_old_keys_are_not_renewed(path: Path, ledger: Ledger) -> None:
    """A key that waited for longer than ten minutes is forgotten, as it would have been in the ledger."""
    clock, event = Clock(), make_event()
    with closing(open_spool(path, clock)) as spool:
        spool.append([Append(event, "key")])
        clock.at += timedelta(minutes=10)
        assert spool.oldest() == [(1, Append(event, None, is_acknowledged=True))]


def test_notices_come_along(path: Path, ledger: Ledger) -> None:
    """The notice that was answered in the outage is in the ledger, whoever drains, and gone from here."""
    with closing(open_spool(path)) as spool:
        spool.append([Append(make_event(notice=SHOWN.digest)), Append(make_event(notice="0" * 64))])
    drain(path, ledger)
    assert ledger.notice(SHOWN.digest) == SHOWN
    with closing(open_spool(path)) as spool:
        assert spool.notices() == []


def test_nothing_is_left_in_the_file(path: Path, ledger: Ledger) -> None:
    """No trace of a visitor stays in the spool's files once the ledger has the event."""
    with closing(open_spool(path)) as spool:
        spool.append([Append(make_event(subject="visitor-to-be-forgotten"))])
        drain(path, ledger)
        for file in path.parent.glob("spool.db*"):
            assert b"visitor-to-be-forgotten" not in file.read_bytes()


def test_refused_event_stays_aside(
    path: Path, ledger: Ledger, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that this ledger cannot store stops no other, stays in the file, and is told once."""
    bad, good = make_event(), make_event()
    with closing(open_spool(path)) as spool:
        spool.append([Append(bad), Append(good)])

    def picky(appends: list[Append]) -> list[Event]:
        if any(append.event.id == bad.id for append in appends):
            raise EventRejected("An event cannot be stored: its site is odd")
        return Ledger.append(ledger, appends)

    monkeypatch.setattr(ledger, "append", picky)
    assert drain(path, ledger) == 1
    assert drain(path, ledger) == 0
    assert [event.id for _, event in ledger.history(good.subject)] == [good.id]
    told = "gem_consent's ledger refuses an event of the spool, which stays there: An event cannot be stored"
    assert [message.startswith(told) for message in caplog.messages] == [True, False]
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT id FROM queue").fetchall() == [(bad.id,)]


def test_absent_ledger_leaves_all_waiting(
    path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the ledger fails, the error is the ledger's own, and all goes on waiting."""
    event = make_event()
    with closing(open_spool(path)) as spool:
        spool.append([Append(event)])

    def away(appends: Any) -> list[Event]:
        raise LedgerUnavailable("away")

    monkeypatch.setattr(ledger, "append", away)
    with pytest.raises(LedgerUnavailable, match="away"):
        drain(path, ledger)
    assert waiting(path) == [event]


def test_broken_spool_does_not_stop_the_ledger(
    path: Path, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """A spool that cannot be read is told once, and the ledger goes on."""
    path.write_bytes(b"this is no database, and never was one" * 50)
    emptied = []
    opened = Drain(lambda: open_spool(path), lambda: emptied.append(True), {})
    assert opened(ledger) == opened(ledger) == 0
    assert emptied
    (message,) = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert message.startswith("gem_consent's spool cannot be drained: ")


def test_full_disk_at_the_end_doubles_nothing(path: Path, ledger: Ledger, tmp_path: Path) -> None:
    """Where the spool cannot forget what the ledger has, it is tried again, and written once."""
    events = [make_event() for _ in range(3)]
    with closing(open_spool(path)) as spool:
        spool.append([Append(event) for event in events])

    class Full(Spool):
        def drop(self, numbers: Any) -> None:
            raise LedgerUnavailable("the disk is full")

    opened = Drain(lambda: Full.open(path), lambda: None, {})
    assert opened(ledger) == opened(ledger) == 3
    assert waiting(path) == events
    drain(path, ledger)
    assert [event.id for event in check(tmp_path / "consent.db")] == [event.id for event in events]
    assert waiting(path) == []


def test_owed_notices_are_told_once(path: Path, ledger: Ledger) -> None:
    """A notice that was answered while the ledger could not be told of it is told as soon as it can be."""
    owed: dict[str, Notice] = {SHOWN.digest: SHOWN}
    opened = Drain(lambda: open_spool(path), lambda: None, owed)
    opened(ledger)
    opened.close()
    assert ledger.has_notice(SHOWN.digest, SHOWN.fingerprint)
    assert owed == {}
