"""Erasure: nothing of a visitor stays in the ledger, everyone else's proof does, and a mark says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ledgers import SIGNING_SECRET, START, make_event, make_notice, url_of
from sqlalchemy import select

from gem_consent.ledger import sqlite
from gem_consent.ledger.erasure import Erasure, erase
from gem_consent.ledger.schema import events, metadata, requests
from gem_consent.ledger.store import Append, Ledger
from gem_consent.ledger.tiles import tile_reader
from gem_consent.ledger.verification import Report, verify
from gem_consent.proof.mark import Mark
from gem_consent.proof.tree import inclusion_proof, root_of, verify_inclusion

NOW = START + timedelta(days=60)
AFTER = START + timedelta(days=600)
VISITOR = "5ubj3ct0f7h3v1s170rwh0w4n75700u7"


@pytest.fixture
def book(url: str) -> Iterator[Ledger]:
    """A ledger with a notice, in each database in turn."""
    with closing(Ledger.open(url)) as opened:
        opened.store_notices([make_notice()])
        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a ledger's file lies."""
    return tmp_path / "file.db"


@pytest.fixture
def file(path: Path) -> Iterator[Ledger]:
    """A ledger in a file, the bytes of which are looked at."""
    with closing(Ledger.open(url_of(path))) as opened:
        opened.store_notices([make_notice()])
        yield opened


def choose(book: Ledger, subject: str, *, granted: bool = True, key: str | None = None) -> None:
    """Append a choice of a visitor."""
    state = "given" if granted else "refused"
    notice = make_notice().digest if granted else ""
    event = make_event(subject=subject, state=state, purposes={"analytics": granted}, notice=notice)
    book.append([Append(event, key)])


def verified(book: Ledger) -> Report:
    """Verify what must hold."""
    with book.reading() as connection:
        report = verify(connection)
    assert report.faults == ()
    return report


def mark_at(book: Ledger, position: int) -> Mark:
    """Give the mark at a position."""
    with book.reading() as connection:
        return Mark.decode(
            connection.scalar(select(events.c.mark).where(events.c.position == position)) or ""
        )


def test_erased_rows_keep_their_place(book: Ledger) -> None:
    """The rows' columns are gone, their commitments and leaves stay, and a mark names them."""
    for subject in (VISITOR, "other", VISITOR):
        choose(book, subject)
    before = leaves(book)
    assert erase(book, VISITOR, AFTER) == Erasure(rows=2, marks=(3,), was_live=False)
    assert leaves(book)[:3] == before
    assert mark_at(book, 3) == Mark("on request", ((0, 0), (2, 2)), since={"analytics": 0})
    report = verified(book)
    assert (report.choices, report.erased, report.purged, report.marks) == (1, 2, 0, 1)


def leaves(book: Ledger) -> list[tuple[bytes, bytes]]:
    """Give every row's commitment and leaf."""
    with book.reading() as connection:
        rows = connection.execute(select(events.c.commitment, events.c.leaf).order_by(events.c.position))
        return [(row.commitment, row.leaf) for row in rows]


def test_live_consent_is_withdrawn_first(book: Ledger) -> None:
    """Who still agrees is withdrawn by an event, which is emptied too; the mark says which it was."""
    choose(book, VISITOR)
    assert erase(book, VISITOR, NOW) == Erasure(rows=2, marks=(2,), was_live=True)
    assert mark_at(book, 2) == Mark("on request", ((0, 1),), withdrawn=1, since={"analytics": 0})
    assert verified(book).erased == 2


def test_refusal_is_not_withdrawn(book: Ledger) -> None:
    """Who agreed to nothing has nothing to withdraw."""
    choose(book, VISITOR, granted=False)
    assert erase(book, VISITOR, NOW) == Erasure(rows=1, marks=(1,), was_live=False)


def test_second_erasure_finds_nothing(book: Ledger) -> None:
    """An erasure that is asked for again, or for nobody, changes nothing."""
    choose(book, VISITOR)
    erase(book, VISITOR, NOW)
    size = book.size
    assert erase(book, VISITOR, NOW) is None
    assert erase(book, "", NOW) is None
    assert book.size == size


def test_others_choices_stay(book: Ledger) -> None:
    """Everyone else's rows are as before, and their links too."""
    for subject in ("one", VISITOR, "two", VISITOR, "one"):
        choose(book, subject)
    before = book.history("one"), book.history("two")
    erase(book, VISITOR, NOW)
    assert (book.history("one"), book.history("two")) == before
    assert book.history(VISITOR) == []
    verified(book)


def test_others_proofs_stay_valid(book: Ledger) -> None:
    """Inclusion proofs that were given out before an erasure hold, and so do new ones under the old root."""
    for number in range(300):
        choose(book, VISITOR if number % 3 == 0 else f"visitor-{number}")
    with book.reading() as connection:
        read = tile_reader(connection)
        root = root_of(300, read)
        proofs = [inclusion_proof(position, 300, read) for position in range(300)]
    erase(book, VISITOR, NOW)
    with book.reading() as connection:
        read = tile_reader(connection)
        assert root_of(300, read) == root
        assert [inclusion_proof(position, 300, read) for position in range(300)] == proofs
    for position, (_, leaf) in enumerate(leaves(book)[:300]):
        verify_inclusion(leaf, position, 300, proofs[position], root)


def test_older_checkpoint_is_continued(book: Ledger) -> None:
    """Since a checkpoint from before the erasure the ledger holds, though the mark empties rows before it."""
    choose(book, VISITOR)
    book.sign(SIGNING_SECRET, at_once=True)
    with book.reading() as connection:
        held = str(connection.exec_driver_sql("SELECT note FROM checkpoints").scalar_one()).encode()
    choose(book, "other")
    erase(book, VISITOR, NOW)
    with book.reading() as connection:
        report = verify(connection, since=held)
    assert (report.faults, report.start, report.erased, report.marks) == ((), 1, 1, 1)


def test_same_visitor_may_choose_again(book: Ledger) -> None:
    """A copy of the erased visitor's cookie that is used again begins a new chain."""
    choose(book, VISITOR)
    erase(book, VISITOR, NOW)
    choose(book, VISITOR)
    ((_, event),) = book.history(VISITOR)
    assert event.previous is None
    verified(book)


def test_erased_request_is_forgotten(book: Ledger) -> None:
    """The key of an erased visitor's request goes with the rows."""
    choose(book, VISITOR, key="k" * 16)
    choose(book, "other", key="l" * 16)
    erase(book, VISITOR, NOW)
    with book.reading() as connection:
        assert len(connection.scalars(select(requests.c.key)).all()) == 1
    verified(book)


@pytest.mark.parametrize("table", [table.name for table in metadata.sorted_tables])
def test_id_is_in_no_table(book: Ledger, table: str) -> None:
    """No column of any table holds the id of the visitor who was erased."""
    choose(book, VISITOR, key="k" * 16)
    erase(book, VISITOR, NOW)
    with book.reading() as connection:
        for row in connection.exec_driver_sql(f"SELECT * FROM {table}"):
            assert not any(VISITOR in str(value) for value in row)


def test_id_is_nowhere_in_the_file(file: Ledger, path: Path) -> None:
    """No byte of the file or of its log tells who was erased."""
    choose(file, VISITOR, key="k" * 16)
    choose(file, "other")
    assert file.traces(VISITOR)
    erase(file, VISITOR, NOW)
    assert VISITOR.encode() not in path.read_bytes()
    assert path.with_name(path.name + "-wal").stat().st_size == 0
    assert file.traces(VISITOR) == 0


def test_rewriting_leaves_no_trace(file: Ledger, path: Path) -> None:
    """Where pages were split and merged so that copies lie in free space, a rewritten file has none."""
    gone = [f"{number:032x}"[::-1] for number in range(1, 400)]
    refusal = {"state": "refused", "purposes": {"analytics": False}}
    for at in range(0, len(gone), 10):
        file.append([Append(make_event(subject=subject, **refusal)) for subject in gone[at : at + 10]])
        file.append([Append(make_event(**refusal)) for _ in range(10)])
    for subject in gone:
        erase(file, subject, NOW)
    file.rewrite()
    written = path.read_bytes()
    assert [subject for subject in gone if subject.encode() in written] == []
    assert path.with_name(path.name + "-wal").stat().st_size == 0
    assert verified(file).erased == len(gone)


def test_traces_are_found_across_chunks(file: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number is found wherever it lies, and each place is counted once."""
    choose(file, VISITOR)
    file.scrub()
    expected = path.read_bytes().count(VISITOR.encode())
    for size in (33, 64, 1000):
        monkeypatch.setattr(sqlite, "CHUNK_BYTES", size)
        assert file.traces(VISITOR) == expected > 0


def test_reader_keeps_the_log(file: Ledger, path: Path) -> None:
    """While somebody reads an older state, the log cannot be emptied; afterwards it can."""
    choose(file, VISITOR)
    with closing(Ledger.open(url_of(path))) as other, other.reading() as connection:
        connection.execute(select(events.c.id)).all()
        erase(file, VISITOR, NOW)
        assert not file.scrub()
    assert file.scrub()


def test_log_is_emptied_with_next_checkpoint(file: Ledger, path: Path) -> None:
    """What a reader kept in the log goes once the site signs and nobody reads any more."""
    choose(file, VISITOR)
    with closing(Ledger.open(url_of(path))) as other:
        with other.reading() as connection:
            connection.execute(select(events.c.id)).all()
            erase(file, VISITOR, NOW)
        assert file.traces(VISITOR)
        file.sign(SIGNING_SECRET, at_once=True)
        assert file.traces(VISITOR) == 0


def test_operator_rewrites_any_database(book: Ledger, url: str) -> None:
    """The database is written anew beside a site that has it open, and holds."""
    for subject in (VISITOR, "other"):
        choose(book, subject)
    erase(book, VISITOR, NOW)
    with closing(Ledger.open(url, must_exist=True)) as operator:
        operator.rewrite()
        assert operator.scrub()
    choose(book, "third")
    report = verified(book)
    assert (report.choices, report.erased) == (2, 2)


def test_two_processes_take_turns(book: Ledger, url: str) -> None:
    """A site that writes and a command that erases share the write lock, and both are kept."""
    with closing(Ledger.open(url)) as other:
        for number in range(20):
            choose(book, VISITOR if number % 2 else "other")
            erase(other, VISITOR, NOW)
    report = verified(book)
    assert (report.choices, report.erased, report.marks) == (10, 20, 10)


def test_times_are_the_ones_given(book: Ledger) -> None:
    """A mark is dated by the clock of whoever asked."""
    choose(book, VISITOR)
    erase(book, VISITOR, datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC), surface="preferences")
    with book.reading() as connection:
        row = connection.execute(select(events).where(events.c.mark.is_not(None))).one()
    assert (row.time, row.state, row.action, row.surface) == (
        *("2027-01-02T03:04:05.000Z", "erased", "erase", "preferences"),
    )
