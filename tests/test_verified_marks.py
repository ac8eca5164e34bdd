"""Verification of marks: what they say is so, and one altered cell of a mark or an emptied row is found."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from ledgers import SIGNING_SECRET, START, make_event, make_notice, url_of
from sqlalchemy import Connection, create_engine, select
from sqlalchemy.exc import IntegrityError
from test_verification import altered, first, found, variants

from gem_consent.errors import LedgerError
from gem_consent.ledger.checkpoints import newest_checkpoint
from gem_consent.ledger.erasure import erase
from gem_consent.ledger.purge import purge
from gem_consent.ledger.schema import events
from gem_consent.ledger.store import Append, Ledger
from gem_consent.ledger.tiles import tile_reader
from gem_consent.ledger.verification import verify
from gem_consent.proof.event import event_id, utc_text
from gem_consent.proof.mark import mark_events
from gem_consent.proof.tree import inclusion_proof, root_of, verify_inclusion
from gem_consent.retention import Retention

SIZE = 24
NOW = START + timedelta(days=450)
RULE = Retention(consents="5 years after end of consent", refusals="13 months")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with choices, rows emptied by both rules, marks, and checkpoints before, between and after."""
    path = tmp_path_factory.mktemp("marks") / "consent.db"
    with closing(Ledger.open(url_of(path))) as book:
        book.store_notices([make_notice()])
        for number in range(SIZE):
            granted = number % 4 != 1
            event = make_event(
                subject=f"visitor-{number % 6}",
                state="given" if granted else "refused",
                purposes={"analytics": granted} if number else {"first": True},
                notice=make_notice().digest if granted else "",
            )
            book.append([Append(event, key=f"key-{number}")])
        book.sign(SIGNING_SECRET, at_once=True)
        erase(book, "visitor-0", NOW)
        book.sign(SIGNING_SECRET, at_once=True)
        purge(book, RULE, NOW)
        erase(book, "visitor-2", START + timedelta(days=3))
        book.sign(SIGNING_SECRET, at_once=True)
        book.append([Append(make_event(subject="visitor-3", notice=make_notice().digest))])
    return path


@pytest.fixture
def connection(path: Path) -> Iterator[Connection]:
    """A connection to it; whatever a test alters is rolled back."""
    with closing(create_engine(f"sqlite:///{path}").connect()) as connection:
        yield connection
        connection.rollback()


def positions(connection: Connection, condition: str) -> list[int]:
    """Give the positions of the rows that meet a condition."""
    found = connection.exec_driver_sql(f"SELECT position FROM events WHERE {condition} ORDER BY position")
    rows = list(found.scalars())
    connection.rollback()
    return rows


def emptied(connection: Connection) -> list[int]:
    return positions(connection, "id IS NULL")


def marks(connection: Connection) -> list[int]:
    return positions(connection, "mark IS NOT NULL")


def test_marked_ledger_holds(connection: Connection) -> None:
    """Erased rows, purged rows and marks are counted apart, and all of it holds."""
    report = verify(connection)
    assert report.faults == ()
    assert report.emptied == report.erased + report.purged == len(emptied(connection))
    assert (report.marks, report.signed) == (3, 3)
    assert report.erased > 4
    assert report.purged > 1
    assert report.choices + report.marks + report.emptied == report.size


@pytest.mark.parametrize("at", [0, 1, 2])
def test_every_checkpoint_is_continued(connection: Connection, at: int) -> None:
    """Since any checkpoint the ledger holds, though marks after it empty rows before it."""
    notes = connection.exec_driver_sql("SELECT note FROM checkpoints ORDER BY size").scalars().all()
    connection.rollback()
    report = verify(connection, since=notes[at].encode())
    assert report.faults == ()
    assert report.start > 0


CELLS = [
    *itertools.product(["an emptied row", "a mark", "the last choice"], [column.name for column in events.c]),
    *itertools.product(["purposes"], ["id", "since"]),
]


def target(connection: Connection, what: str) -> tuple[str, list[int]]:
    """Give the table and the row ids that are meant."""
    if what == "purposes":
        rows = connection.exec_driver_sql("SELECT rowid FROM purposes").scalars().all()
        connection.rollback()
        return "purposes", list(rows)
    chosen = {
        "an emptied row": [emptied(connection)[0], emptied(connection)[-1]],
        "a mark": [marks(connection)[0], marks(connection)[-1]],
        "the last choice": positions(connection, "id IS NOT NULL")[-1:],
    }[what]
    where = ", ".join(map(str, chosen))
    rows = connection.exec_driver_sql(f"SELECT rowid FROM events WHERE position IN ({where})").scalars().all()
    connection.rollback()
    return "events", list(rows)


@pytest.mark.parametrize(("what", "column"), CELLS)
def test_altered_cell_is_found(connection: Connection, what: str, column: str) -> None:
    """Whatever single cell of a mark, an emptied row or a purpose is altered, is found."""
    table, rowids = target(connection, what)
    tried = 0
    for rowid in rowids:
        cell = f'SELECT "{column}" FROM {table} WHERE rowid = {rowid}'
        value = connection.exec_driver_sql(cell).scalar_one()
        connection.rollback()
        others = [*variants(value), *(range(SIZE + 8) if isinstance(value, int) else ())]
        for other in others:
            with suppress(IntegrityError), altered(connection):
                connection.exec_driver_sql(
                    f'UPDATE {table} SET "{column}" = ? WHERE rowid = {rowid}', (other,)
                )
                stored = connection.exec_driver_sql(cell).scalar_one_or_none()
                if (type(stored), stored) == (type(value), value):
                    continue
                tried += 1
                with suppress(LedgerError):
                    assert not verify(connection).holds, (what, column, other)
    assert tried > 3


def lying(tmp_path: Path, mark: list[int], *, text: str | None = None) -> str:
    """Make a ledger of five choices with a mark of these positions at its end, and give its first fault."""
    with closing(Ledger.open(url_of(tmp_path / "lying.db"))) as book:
        book.append([Append(make_event(state="refused")) for _ in range(5)])
        erase(book, book_subject(book, 1), NOW)
        (event,) = mark_events("purged", "a rule", mark, NOW, surface="command", library="")
        if text is not None:
            event = replace(event, mark=text)
        book.append([Append(event)])
        with book.reading() as connection:
            return str(found(connection).faults[0])


def book_subject(book: Ledger, position: int) -> str:
    """Give the subject of the row at a position."""
    with book.reading() as connection:
        return str(connection.scalar(select(events.c.subject).where(events.c.position == position)))


def test_row_that_is_not_emptied_is_named(tmp_path: Path) -> None:
    """A mark that names a row which holds something leads to that row."""
    fault = lying(tmp_path, [3])
    assert fault.startswith("row 3 (id ")
    assert fault.endswith("a mark says that it was purged, and it holds something")


def test_overlapping_marks_are_found(tmp_path: Path) -> None:
    """A row that two marks name was emptied once: one of them is forged."""
    assert lying(tmp_path, [1]) == "row 1: two marks say that it was emptied: one of them is forged"


@pytest.mark.parametrize("position", [6, 7, 1000])
def test_mark_of_what_is_not_before_it_is_found(tmp_path: Path, position: int) -> None:
    """A mark names neither itself, nor what comes after, nor what is not there."""
    fault = lying(tmp_path, [position])
    assert fault.startswith("row 6 (id ")
    assert f"its mark names row {position}, which is not before it: it is forged" in fault


def test_mark_that_says_nothing_is_found(tmp_path: Path) -> None:
    """A mark that cannot be read leads to its row, even if the row is as it was written."""
    fault = lying(tmp_path, [3], text="{}")
    assert fault.startswith("row 6 (id ")
    assert "does not say which rows were emptied" in fault


def test_emptied_row_without_mark_is_named(connection: Connection) -> None:
    """A row that somebody emptied by hand has no mark, and is named."""
    (position,) = positions(connection, "id IS NOT NULL AND mark IS NULL")[-1:]
    names = [c.name for c in events.c if c.nullable]
    statement = f"UPDATE events SET {', '.join(f'{n} = NULL' for n in names)} WHERE position = {position}"
    assert first(connection, statement) == f"row {position}: it was emptied, and no mark says by which rule"


@pytest.mark.parametrize("column", ["id", "salt", "subject", "purposes"])
def test_partly_emptied_row_is_named(connection: Connection, column: str) -> None:
    """A row that lost some of its columns and not all is named."""
    position = positions(connection, "id IS NOT NULL AND mark IS NULL")[0]
    fault = first(connection, f"UPDATE events SET {column} = NULL WHERE position = {position}")
    assert fault.startswith(f"row {position}")
    assert "no longer match its commitment" in fault


def test_refilled_row_is_named(connection: Connection) -> None:
    """An emptied row that holds something again is named."""
    position = emptied(connection)[0]
    fault = first(connection, f"UPDATE events SET browser = 'x' WHERE position = {position}")
    assert fault == f"row {position}: a mark says that it was erased, and it holds something"


def test_dropped_mark_is_found(connection: Connection) -> None:
    """A mark that is emptied like a choice leaves the rows it named without one."""
    position = marks(connection)[0]
    names = [c.name for c in events.c if c.nullable]
    statement = f"UPDATE events SET {', '.join(f'{n} = NULL' for n in names)} WHERE position = {position}"
    assert "it was emptied, and no mark says by which rule" in first(connection, statement)


def test_state_without_mark_is_found(tmp_path: Path) -> None:
    """A row that calls itself an erasure and marks nothing is named."""
    with closing(Ledger.open(url_of(tmp_path / "new.db"))) as book:
        book.append([Append(make_event(state="erased", purposes={}))])
        with book.reading() as connection:
            fault = str(found(connection).faults[0])
    assert fault.endswith("it says that rows were erased, and has no mark of which")


class Lives(RuleBasedStateMachine):
    """Random sequences of all that can happen to a ledger: it always verifies, and proofs given out hold."""

    @initialize(folder=st.builds(lambda: Lives.factory.mktemp("lives")))
    def open(self, folder: Path) -> None:
        self.now = START
        self.book = Ledger.open(url_of(folder / "consent.db"), clock=lambda: self.now)
        self.book.store_notices([make_notice()])
        self.held: list[bytes] = []
        self.proofs: list[tuple[bytes, int, int, list[bytes], bytes]] = []

    @rule(visitor=st.integers(0, 5), granted=st.booleans(), days=st.integers(0, 300))
    def choose(self, visitor: int, granted: bool, days: int) -> None:
        self.now += timedelta(days=days, seconds=1)
        self.book.append(
            [
                Append(
                    make_event(
                        id=event_id(self.now),
                        time=utc_text(self.now),
                        expires=utc_text(self.now + timedelta(days=393)),
                        subject=f"visitor-{visitor}",
                        state="given" if granted else "refused",
                        purposes={"analytics": granted},
                        notice=make_notice().digest if granted else "",
                    ),
                    key=f"key-{self.now}",
                )
            ]
        )

    @rule(visitor=st.integers(0, 5))
    def erase(self, visitor: int) -> None:
        self.now += timedelta(seconds=1)
        erase(self.book, f"visitor-{visitor}", self.now)
        assert self.book.history(f"visitor-{visitor}") == []

    @rule(months=st.integers(1, 30))
    def purge(self, months: int) -> None:
        self.now += timedelta(seconds=1)
        purge(self.book, Retention(f"{months} months after end of consent", f"{months} months"), self.now)

    @rule()
    def sign(self) -> None:
        self.now += timedelta(seconds=1)
        self.book.sign(SIGNING_SECRET, at_once=True)
        with self.book.reading() as connection:
            note = newest_checkpoint(connection)
        if note is not None:
            self.held.append(note)

    @rule()
    def prove(self) -> None:
        size = self.book.size
        with self.book.reading() as connection:
            read = tile_reader(connection)
            leaves = list(connection.scalars(select(events.c.leaf).order_by(events.c.position)))
            for position in range(size):
                proof = list(inclusion_proof(position, size, read))
                self.proofs.append((leaves[position], position, size, proof, root_of(size, read)))

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "book"):
            return
        with self.book.reading() as connection:
            assert verify(connection).faults == ()
            for note in self.held[-2:]:
                assert verify(connection, since=note).faults == ()
            read = tile_reader(connection)
            leaves = list(connection.scalars(select(events.c.leaf).order_by(events.c.position)))
            for leaf, position, size, proof, root in self.proofs[-20:]:
                assert (leaves[position], root_of(size, read)) == (leaf, root)
                verify_inclusion(leaf, position, size, proof, root)

    def teardown(self) -> None:
        if hasattr(self, "book"):
            self.book.close()

    factory: pytest.TempPathFactory


def test_ledger_holds_through_everything(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Choices, erasures, purges and checkpoints in any order keep the ledger verifiable, and proofs valid."""
    Lives.factory = tmp_path_factory
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=15,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
