"""Verification: whatever is altered in a ledger by hand is found, and what holds is left in peace."""

from __future__ import annotations

import dataclasses
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import SIGNING_SECRET, fill, make_event, make_notice, url_of
from sqlalchemy import Connection, create_engine, insert, select
from sqlalchemy.exc import IntegrityError

from gem_consent.errors import LedgerError
from gem_consent.ledger.checkpoints import newest_checkpoint, origin_of, public_keys
from gem_consent.ledger.rows import row_from
from gem_consent.ledger.schema import cookies, events, metadata
from gem_consent.ledger.store import Append, Ledger
from gem_consent.ledger.verification import MAX_FAULTS, Report, verify
from gem_consent.proof.checkpoint import PublicKey, SigningKey
from gem_consent.proof.event import commitment
from gem_consent.proof.tree import EMPTY, leaf_hash

SIZES = (3, 7, 300, 301)
UNSIGNED = 2
OTHER_SECRET = "another secret, which the site never had at all"

# A memory of ten minutes, so that a request sent twice makes one row: its keys and times prove nothing.
# The inventory of cookies proves no choice.
EXEMPT = {("requests", "key"), ("requests", "time"), *(("cookies", column.name) for column in cookies.c)}
CELLS = [
    (table.name, column.name)
    for table in metadata.sorted_tables
    for column in table.columns
    if (table.name, column.name) not in EXEMPT
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with full and partial tiles, four checkpoints by one key, and two rows after them."""
    path = tmp_path_factory.mktemp("verification") / "consent.db"
    with closing(Ledger.open(url_of(path))) as book:
        fill(book, SIZES)
        book.append(
            [Append(make_event(subject="visitor-0", notice=make_notice().digest)) for _ in range(UNSIGNED)]
        )
    return path


@pytest.fixture
def connection(path: Path) -> Iterator[Connection]:
    """A connection to it; whatever a test alters is rolled back."""
    with closing(create_engine(f"sqlite:///{path}").connect()) as connection:
        yield connection
        connection.rollback()


@contextmanager
def altered(connection: Connection, *statements: str, values: tuple[Any, ...] = ()) -> Iterator[None]:
    """Alter the ledger for the block."""
    try:
        for statement in statements:
            connection.exec_driver_sql(statement, values)
        yield
    finally:
        connection.rollback()


def found(connection: Connection, **options: Any) -> Report:
    """Verify what must not hold."""
    report = verify(connection, **options)
    assert not report.holds
    assert report.faults
    return report


def first(connection: Connection, *statements: str, **options: Any) -> str:
    """Give the first fault after these statements."""
    with altered(connection, *statements):
        return str(found(connection, **options).faults[0])


def note(connection: Connection, size: int = SIZES[-1]) -> bytes:
    text = connection.exec_driver_sql(f"SELECT note FROM checkpoints WHERE size = {size}").scalar_one()
    connection.rollback()
    return str(text).encode()


def key(connection: Connection) -> PublicKey:
    (text,) = public_keys(connection)
    return PublicKey.parse(text)


def test_untouched_ledger_holds(connection: Connection) -> None:
    """What the ledger wrote holds, and the report counts it."""
    report = verify(connection)
    assert report.faults == ()
    assert (report.size, report.choices, report.emptied, report.notices, report.signed) == (303, 303, 0, 3, 4)
    assert report.newest is not None
    assert (report.newest[0].size, report.uncovered) == (301, UNSIGNED)
    assert not report.is_vouched


def test_empty_ledger_holds(tmp_path: Path) -> None:
    """A ledger without a row holds."""
    with closing(Ledger.open(url_of(tmp_path / "new.db"))) as book, book.reading() as connection:
        report = verify(connection)
    assert (report.holds, report.size, report.newest) == (True, 0, None)


def test_known_key_vouches(connection: Connection) -> None:
    """Against a public key kept elsewhere the ledger holds, and is vouched for."""
    report = verify(connection, known=[key(connection)])
    assert (report.faults, report.is_vouched, report.signed) == ((), True, 4)


@pytest.mark.parametrize("size", SIZES)
def test_ledger_continues_checkpoint(connection: Connection, size: int) -> None:
    """Since a checkpoint kept elsewhere, only later rows are read, and they hold."""
    report = verify(connection, since=note(connection, size), known=[key(connection)])
    assert report.faults == ()
    assert (report.start, report.choices, report.uncovered) == (size, 303 - size, UNSIGNED)


def test_rows_before_checkpoint_are_not_read(connection: Connection) -> None:
    """Since a checkpoint, an edit after it is found and one before it is not, which the start says."""
    held = note(connection, 300)
    with altered(connection, "UPDATE events SET site = 'x' WHERE position = 302"):
        assert found(connection, since=held).faults[0].position == 302
    with altered(connection, "UPDATE events SET site = 'x' WHERE position = 5"):
        report = verify(connection, since=held)
        assert (report.holds, report.start) == (True, 300)
        assert found(connection).faults[0].position == 5


def test_rows_are_reported_as_read(connection: Connection) -> None:
    """Progress is told in rows, all of them in the end."""
    told: list[int] = []
    verify(connection, advance=told.append)
    assert sum(told) == 303


# One altered cell


def variants(value: Any) -> Iterator[Any]:
    """Give values of every kind that differ from this one."""
    yield from (None, "", "x", "é\x00", b"", b"\xff", 0, -1, 7, 1.5, 2**62)
    if isinstance(value, str):
        yield from (value + " ", value[:-1], value.upper(), value.replace(":", ": "), value.encode())
        yield from (value.replace("1", "2", 1), value.replace("true", "false"), value.replace('"', "'"))
    if isinstance(value, bytes):
        yield from (value[:-1], value + b"\x00", value[1:] + value[:1], bytes(32), value.hex())
        yield bytes([value[0] ^ 1]) + value[1:] if value else b"\x01"
    if isinstance(value, int):
        yield from (value + 1, value - 1, str(value) + "x")


def alterations(connection: Connection, table: str, column: str) -> Iterator[None]:
    """Alter one cell of a table's first, middle and last row, in every way that can be stored."""
    rows = connection.exec_driver_sql(f'SELECT rowid, "{column}" FROM {table} ORDER BY rowid').all()
    connection.rollback()
    for rowid, value in {rows[0], rows[len(rows) // 2], rows[-1]}:
        for other in variants(value):
            cell = f'SELECT "{column}" FROM {table} WHERE rowid = ?'
            try:
                connection.exec_driver_sql(
                    f'UPDATE {table} SET "{column}" = ? WHERE rowid = ?', (other, rowid)
                )
                stored = connection.exec_driver_sql(cell, (rowid,)).scalar_one_or_none()
                if (type(stored), stored) != (type(value), value):
                    yield
            except IntegrityError:
                pass  # What the schema refuses cannot be stored to begin with.
            finally:
                connection.rollback()


@pytest.mark.rule("F2")
@pytest.mark.parametrize(("table", "column"), CELLS, ids=lambda name: str(name))
def test_altered_cell_is_found(connection: Connection, table: str, column: str) -> None:
    """Whatever single cell is altered, to whatever kind of value, is found."""
    tried = 0
    for _ in alterations(connection, table, column):
        tried += 1
        try:
            report = verify(connection)
        except LedgerError:
            continue
        assert not report.holds, (table, column)
    assert tried > 3


@pytest.mark.parametrize(
    "column", [c.name for c in events.c if c.name not in ("position", "leaf", "commitment")]
)
def test_edited_row_is_named(connection: Connection, column: str) -> None:
    """An edited column leads to its row, by position, id and time, and to its commitment."""
    fault = first(connection, f"UPDATE events SET {column} = 'x' WHERE position = 42")
    assert fault.startswith("row 42 (")
    assert "no longer match its commitment" in fault


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    position=st.integers(0, 302),
    column=st.sampled_from([column.name for column in events.c if column.name not in ("position", "id")]),
    value=st.none() | st.text() | st.binary() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False),
)
def test_any_value_is_found(connection: Connection, position: int, column: str, value: Any) -> None:
    """A cell of the events holds what was written, or is found."""
    if isinstance(value, str):
        value = value.encode(errors="replace").decode()
    before = connection.exec_driver_sql(
        f"SELECT {column} FROM events WHERE position = {position}"
    ).scalar_one()
    try:
        connection.exec_driver_sql(f"UPDATE events SET {column} = ? WHERE position = {position}", (value,))
        after = connection.exec_driver_sql(
            f"SELECT {column} FROM events WHERE position = {position}"
        ).scalar_one()
        assert verify(connection).holds == ((type(before), before) == (type(after), after))
    except Exception as error:
        if "NOT NULL" not in str(error):
            raise
    finally:
        connection.rollback()


# Rows


@pytest.mark.rule("F2")
@pytest.mark.parametrize("table", [table.name for table in metadata.sorted_tables if table is not cookies])
def test_dropped_row_is_found(connection: Connection, table: str) -> None:
    """Any row that is taken out is found; of what nothing points to, only the last is not."""
    rows = [row[0] for row in connection.exec_driver_sql(f"SELECT rowid FROM {table} ORDER BY rowid")]
    connection.rollback()
    # The newest checkpoint is missed by one kept elsewhere alone, a request that is forgotten by nobody.
    for rowid in {rows[0], rows[len(rows) // 2], rows[-1]}:
        if table == "requests" or (table == "checkpoints" and rowid == rows[-1]):
            continue
        with altered(connection, f"DELETE FROM {table} WHERE rowid = {rowid}"):
            try:
                assert not verify(connection).holds
            except LedgerError:
                assert table == "ledger"


def test_dropped_row_is_named(connection: Connection) -> None:
    """A row that was taken out is named by its position."""
    fault = first(connection, "DELETE FROM events WHERE position = 42")
    assert fault == "row 42: it is missing: dropped, or moved elsewhere"


def test_dropped_rows_are_named(connection: Connection) -> None:
    """Rows that were taken out are named by the first and the last."""
    fault = first(connection, "DELETE FROM events WHERE position BETWEEN 42 AND 45")
    assert fault == "row 42: rows 42 to 45 are missing: dropped, or moved elsewhere"


def test_closed_gap_is_found(connection: Connection) -> None:
    """A row that was taken out, those after it moved up and the size lowered, is found."""
    fault = first(
        connection,
        "DELETE FROM events WHERE position = 42",
        "UPDATE events SET position = -position WHERE position > 42",
        "UPDATE events SET position = -position - 1 WHERE position < 0",
        "UPDATE ledger SET size = size - 1",
    )
    assert "row" in fault


def swap(one: int, other: int) -> list[str]:
    """Give the statements that swap the positions of two rows."""
    return [
        f"UPDATE events SET position = -7 WHERE position = {one}",
        f"UPDATE events SET position = {one} WHERE position = {other}",
        f"UPDATE events SET position = {other} WHERE position = -7",
    ]


@pytest.mark.parametrize(("one", "other"), [(20, 30), (256, 260), (290, 300), (40, 299)])
def test_swapped_rows_are_named(connection: Connection, one: int, other: int) -> None:
    """Two rows that changed places are found, and the first of them named."""
    fault = first(connection, *swap(one, other))
    assert fault.startswith(f"row {one}")
    assert "swapped" in fault


def test_swapped_content_is_named(connection: Connection) -> None:
    """Two rows that changed contents, not places, are found, and the first of them named."""
    names = ", ".join(c.name for c in events.c if c.name not in ("position", "leaf", "commitment"))
    give = f"UPDATE events SET ({names}) = (SELECT {names} FROM held WHERE position = %d) WHERE position = %d"
    fault = first(
        connection,
        "CREATE TEMP TABLE held AS SELECT * FROM events WHERE position IN (20, 30)",
        "UPDATE events SET id = position WHERE position IN (20, 30)",
        give % (30, 20),
        give % (20, 30),
    )
    assert fault.startswith("row 20 (")
    assert "holds the content of row 30" in fault


@pytest.mark.parametrize("position", [-1, 303])
def test_duplicated_row_is_found(connection: Connection, position: int) -> None:
    """A copy of a row is found, with the tree's size raised or not."""
    names = ", ".join(c.name for c in events.c if c.name not in ("position", "id"))
    source = f"SELECT {position}, 'x', {names} FROM events WHERE position = 9"
    copy = f"INSERT INTO events (position, id, {names}) {source}"
    assert "row" in first(connection, copy)
    assert first(connection, copy, "UPDATE ledger SET size = size + 1")


def test_repeated_row_is_found(connection: Connection) -> None:
    """A second row at a position is found where the table's constraint is gone."""
    statements = [
        "CREATE TABLE loose AS SELECT * FROM events",
        "INSERT INTO loose SELECT * FROM events WHERE position = 9",
        "DROP TABLE events",
        "ALTER TABLE loose RENAME TO events",
    ]
    fault = first(connection, *statements)
    assert fault.startswith("row 9 (")
    assert "stands where no row, or another, should" in fault


def test_emptied_row_needs_mark(connection: Connection) -> None:
    """A row whose columns are all gone is counted apart, and wants a mark that says why."""
    names = [c.name for c in events.c if c.nullable]
    with altered(
        connection, f"UPDATE events SET {', '.join(f'{name} = NULL' for name in names)} WHERE position = 42"
    ):
        report = found(connection)
    assert (report.emptied, report.choices) == (1, 302)
    assert str(report.faults[0]) == "row 42: it was emptied, and no mark says by which rule"


def test_unreadable_text_is_found(connection: Connection) -> None:
    """A text that is no UTF-8 ends the reading with a fault, not with an error."""
    for table, column in CELLS:
        if table in ("events", "notices", "purposes", "keys") and column != "position":
            statement = f"UPDATE {table} SET \"{column}\" = CAST(x'fffe' AS TEXT) WHERE rowid = 1"
            with altered(connection, statement):
                found(connection)


def test_many_faults_are_counted(connection: Connection) -> None:
    """Of many faults the first ones are worded and all of them counted."""
    with altered(connection, "UPDATE events SET site = 'x' WHERE position >= 100"):
        report = found(connection)
    assert (report.fault_count, len(report.faults)) == (203, MAX_FAULTS)
    assert [fault.position for fault in report.faults] == list(range(100, 100 + MAX_FAULTS))


# Whoever knows how


def rewritten(
    connection: Connection, path: Path, change: Callable[[dict[str, Any], int], None]
) -> list[bytes]:
    """Change rows and make all that follows from them anew, the tree too; give the leaves."""
    with closing(Ledger.open(url_of(path))) as book:
        stored = {e.id: (p, e) for n in range(152) for p, e in book.history(f"visitor-{n}")}
    leaves = []
    for position, event in sorted(stored.values(), key=lambda pair: pair[0]):
        columns = {name: getattr(event, name) for name in event.__dataclass_fields__}
        change(columns, position)
        forged = dataclasses.replace(event, **columns)
        if forged == event:
            leaves.append(connection.execute(select(events.c.leaf).filter_by(position=position)).scalar_one())
            continue
        committed = commitment(bytes(16), forged)
        row = row_from(forged) | {"salt": bytes(16), "commitment": committed, "leaf": leaf_hash(committed)}
        connection.execute(events.update().where(events.c.position == position).values(**row))
        leaves.append(leaf_hash(committed))
    _rebuild(connection, leaves)
    return leaves


def _rebuild(connection: Connection, leaves: list[bytes]) -> None:
    frontier, finished = EMPTY.grow(leaves)
    connection.exec_driver_sql("DELETE FROM tiles")
    if finished:
        hashes = b"".join(one.digest for one in finished)
        connection.execute(insert(metadata.tables["tiles"]), {"level": 1, "tile": 0, "hashes": hashes})
    values = (frontier.size, frontier.encode())
    connection.exec_driver_sql("UPDATE ledger SET size = ?, frontier = ?", values)


def forge(columns: dict[str, Any], position: int) -> None:
    if position == 42:
        columns["site"] = "forged.example"


@pytest.mark.rule("F2")
def test_rewritten_rows_are_found(connection: Connection, path: Path) -> None:
    """A row that is rewritten with its commitment, leaf, tiles and frontier does not fit the checkpoint."""
    rewritten(connection, path, forge)
    fault = str(found(connection).faults[0])
    assert "the checkpoint of size 300 was signed over other rows: of those from 7 to 299" in fault


def test_rewritten_rows_after_checkpoint_hold(connection: Connection, path: Path) -> None:
    """What no checkpoint covers yet cannot be told apart; the report says how much it is."""
    truncate(connection, 301)
    report = verify(connection)
    assert (report.faults, report.uncovered) == ((), 0)


def truncate(connection: Connection, size: int) -> None:
    """Cut the ledger's end off, with everything but the checkpoints made to fit."""
    leaves = connection.exec_driver_sql("SELECT leaf FROM events ORDER BY position").scalars().all()
    connection.exec_driver_sql("DELETE FROM events WHERE position >= ?", (size,))
    connection.exec_driver_sql("DELETE FROM requests")
    _rebuild(connection, list(leaves[:size]))


def test_truncation_misses_checkpoint(connection: Connection) -> None:
    """A ledger whose end was cut off, its tree made to fit, is found by the last checkpoint."""
    truncate(connection, 100)
    fault = str(found(connection).faults[0])
    assert fault == "row 100: a checkpoint covers 301 rows, and 100 are left: the ledger was truncated"


def test_plain_truncation_is_named(connection: Connection) -> None:
    """Rows that are missing at the end are named by the first of them."""
    fault = first(connection, "DELETE FROM events WHERE position >= 100")
    assert fault == "row 100: rows 100 to 302 are missing at the end: the ledger was truncated"


def test_held_checkpoint_finds_truncation(connection: Connection) -> None:
    """Cut off with the checkpoints there, only a checkpoint kept elsewhere finds it."""
    held = note(connection)
    truncate(connection, 7)
    connection.exec_driver_sql("DELETE FROM checkpoints WHERE size > 7")
    assert verify(connection).holds
    fault = str(found(connection, since=held).faults[0])
    assert "it covers 301 rows, and the ledger has 7 left" in fault


def resign(connection: Connection, leaves: list[bytes], secret: str) -> None:
    """Sign one checkpoint over all rows with a key of one's own, in place of those that were there."""
    from datetime import UTC, datetime

    from gem_consent.ledger.checkpoints import sign_next

    uuid = connection.exec_driver_sql("SELECT uuid FROM ledger").scalar_one()
    connection.exec_driver_sql("DELETE FROM checkpoints")
    connection.exec_driver_sql("DELETE FROM keys")
    assert sign_next(
        connection, origin_of(uuid), secret, datetime.now(UTC), EMPTY.extend(leaves), at_once=True
    )


def test_replaced_keys_are_found(connection: Connection, path: Path) -> None:
    """All rewritten and signed with a new key is consistent, and found by the key kept elsewhere."""
    real, held = key(connection), note(connection)
    connection.rollback()
    resign(connection, rewritten(connection, path, forge), OTHER_SECRET)
    assert verify(connection).holds
    assert "None of the 1 known keys signed" not in str(verify(connection).faults)
    report = found(connection, known=[real])
    assert "none of the 1 known keys signed" in str(report.faults[0])
    fault = str(found(connection, since=held).faults[0])
    assert "the ledger's keys were replaced" in fault


@pytest.mark.parametrize(
    ("previous", "bad"),
    [
        ({41: None}, [41]),
        ({40: "an id that no row has"}, [40]),
        ({40: "an id that no row has", 43: None}, [40, 43]),
        ({43: "the row before it", 44: "the row before it"}, [44]),
    ],
)
def test_broken_chains_are_found(
    connection: Connection, path: Path, previous: dict[int, str | None], bad: list[int]
) -> None:
    """Rows that are rewritten and signed with the real key still have to name their visitor's row before."""
    ids = connection.exec_driver_sql("SELECT id FROM events ORDER BY position").scalars().all()
    connection.rollback()

    def relink(columns: dict[str, Any], position: int) -> None:
        if position in previous:
            named = previous[position]
            columns["previous"] = ids[position - 1] if named == "the row before it" else named

    resign(connection, rewritten(connection, path, relink), SIGNING_SECRET)
    report = found(connection)
    assert [fault.position for fault in report.faults] == bad
    assert all("the same visitor's row before it" in str(fault) for fault in report.faults)


def test_rewritten_history_is_found(connection: Connection, path: Path) -> None:
    """All rewritten and signed with the real key is found by a checkpoint kept elsewhere."""
    held = note(connection, 7)
    resign(connection, rewritten(connection, path, lambda c, p: c.update(site="x")), SIGNING_SECRET)
    assert verify(connection).holds
    fault = str(found(connection, since=held).faults[0])
    assert "the first 7 rows are no longer those that it covers: history was rewritten" in fault


def test_forged_checkpoint_is_named(connection: Connection) -> None:
    """A checkpoint that another key signed is named by its size."""
    forged = note(connection, 7).decode()
    with altered(
        connection,
        "UPDATE checkpoints SET note = ? WHERE size = 7",
        values=(forged.replace("\n7\n", "\n8\n"),),
    ):
        fault = str(found(connection).faults[0])
    assert fault.startswith("the checkpoint of size 7 is forged, or was altered: the signature")


def test_foreign_checkpoint_is_refused(connection: Connection, tmp_path: Path) -> None:
    """A checkpoint of another ledger proves nothing about this one."""
    with closing(Ledger.open(url_of(tmp_path / "other.db"))) as other:
        fill(other, [3])
        with other.reading() as reading:
            foreign, foreign_key = newest_checkpoint(reading), key(reading)
    assert "and this ledger is" in str(found(connection, since=foreign).faults[0])
    assert "and this ledger is" in str(found(connection, known=[foreign_key]).faults)


@pytest.mark.parametrize("held", [b"", b"nonsense", b"\xff", b"a\n1\nb\n\n\xe2\x80\x94 a b\n"])
def test_malformed_checkpoint_is_refused(connection: Connection, held: bytes) -> None:
    """A file that holds no checkpoint is a fault, never a proof."""
    assert str(found(connection, since=held).faults[0]).startswith("the checkpoint that was given: ")


def test_unknown_notice_is_found(tmp_path: Path) -> None:
    """A grant must answer a notice that the ledger holds; a refusal may name any or none."""
    with closing(Ledger.open(url_of(tmp_path / "new.db"))) as book:
        book.append(
            [Append(make_event(state="refused")), Append(make_event(state="withdrawn", notice="0" * 64))]
        )
        with book.reading() as connection:
            assert verify(connection).holds
        book.append([Append(make_event())])
        with book.reading() as connection:
            assert str(found(connection).faults[0]).startswith("row 2 (")


def test_rotation_keeps_old_checkpoints(tmp_path: Path) -> None:
    """After another secret signs, both keys' checkpoints hold, and one key alone does not do."""
    with closing(Ledger.open(url_of(tmp_path / "new.db"))) as book:
        fill(book, [3, 5])
        fill(book, [8, 9], OTHER_SECRET)
        with book.reading() as connection:
            texts = public_keys(connection)
            report = verify(connection)
            assert (report.faults, report.signed, len(texts)) == ((), 4, 2)
            both = [PublicKey.parse(text) for text in texts]
            assert verify(connection, known=both).holds
            assert not verify(connection, known=both[:1]).holds
    expected = [str(SigningKey.derive(s, both[0].name).public_key) for s in (SIGNING_SECRET, OTHER_SECRET)]
    assert texts == expected


def test_memory_stays_flat(tmp_path: Path) -> None:
    """Verifying holds no more in memory for many rows than for a few."""
    program = (
        "import sys, tracemalloc\n"
        "from contextlib import closing\n"
        "from gem_consent.ledger.store import Ledger\n"
        "from gem_consent.ledger.verification import verify\n"
        "with closing(Ledger.open(sys.argv[1])) as book, book.reading() as connection:\n"
        "    tracemalloc.start()\n"
        "    assert verify(connection).holds\n"
        "    print(tracemalloc.get_traced_memory()[1])\n"
    )
    peaks = []
    with closing(Ledger.open(url_of(tmp_path / "new.db"))) as book:
        book.store_notices([make_notice()])
        for _ in range(2):
            for _ in range(4):
                book.append([Append(make_event(notice=make_notice().digest)) for _ in range(1000)])
            command = [sys.executable, "-c", program, url_of(tmp_path / "new.db")]
            peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] < 1.2 * peaks[0]


def test_nothing_is_written(path: Path) -> None:
    """A verification leaves every byte of the database as it is."""
    with closing(sqlite3.connect(path)) as reader:
        before = list(reader.iterdump())
        with closing(Ledger.open(url_of(path), must_exist=True)) as book, book.reading() as connection:
            verify(connection)
        assert list(reader.iterdump()) == before
