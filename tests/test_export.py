"""The export: every event once, in order, in cells that spreadsheets do not run and programs read back."""

from __future__ import annotations

import csv
import io
import json
import re
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from exports import DANGEROUS, UNDO, csv_rows, exported, jsonl_rows, raw, words
from hypothesis import given
from hypothesis import strategies as st
from ledgers import make_event
from sqlalchemy import update

from gem_consent.errors import ConfigurationError, LedgerError
from gem_consent.ledger.export import Format, Selection, columns, count, last_position, neutral, write
from gem_consent.ledger.schema import events, purposes
from gem_consent.ledger.store import Append, Ledger
from gem_consent.proof.event import utc_text

NAMES = [column.name for column in events.columns if column.name not in {"commitment", "leaf", "salt"}]
EVERYTHING = Selection()


@pytest.fixture
def book(url: str) -> Iterator[Ledger]:
    with closing(Ledger.open(url)) as opened:
        yield opened


def csv_of(book: Ledger, selection: Selection = EVERYTHING) -> list[dict[str, str]]:
    with book.reading() as connection:
        return csv_rows(exported(connection, "csv", selection))


def jsonl_of(book: Ledger, selection: Selection = EVERYTHING) -> list[dict[str, Any]]:
    with book.reading() as connection:
        return jsonl_rows(exported(connection, "jsonl", selection))


def test_columns_follow_the_design(book: Ledger) -> None:
    """The columns stand in the published order, purposes by their first event, then by id."""
    book.append([Append(make_event(purposes={"media": True}))])
    book.append([Append(make_event(purposes={"b": True, "a": False, "media": True}))])
    with book.reading() as connection:
        names = columns(connection)
    assert names == [
        *("position", "id", "time", "subject", "site", "state", "action", "surface"),
        *("purpose:media", "purpose:a", "purpose:b"),
        *("notice", "fingerprint", "policy_version", "language", "expires", "previous"),
        *("library", "browser", "system", "device", "network"),
    ]


def test_each_event_is_one_row(book: Ledger) -> None:
    """A row shows the event's values; a purpose that it did not ask about stays empty."""
    answers: list[dict[str, bool]] = [{"analytics": True, "marketing": False}, {"media": False}]
    book.append([Append(make_event(subject="one", purposes=asked)) for asked in answers])
    first, second = csv_of(book)
    assert (first["position"], first["site"], first["network"]) == ("0", "example.com", "")
    assert [first[f"purpose:{id_}"] for id_ in ("analytics", "marketing", "media")] == [
        "granted",
        "denied",
        "",
    ]
    assert [second[f"purpose:{id_}"] for id_ in ("analytics", "marketing", "media")] == ["", "", "denied"]
    assert second["previous"] == first["id"]


def test_lines_end_as_rfc_4180(book: Ledger) -> None:
    """The CSV begins with its header, without a byte-order mark, and each line ends in CRLF."""
    book.append([Append(make_event())])
    with book.reading() as connection:
        text = exported(connection, "csv")
    assert text.startswith('"position","id"')
    assert text.count("\r\n") == text.count("\n") == 2


def test_json_lines_carry_raw_values(book: Ledger) -> None:
    """JSON Lines hold each text as it is, one ASCII line an event, and null where there is nothing."""
    odd = "=1\n\u2028\u202eé\"'"
    book.append([Append(make_event(site=odd, purposes={"analytics": True}))])
    with book.reading() as connection:
        text = exported(connection, "jsonl")
    row = json.loads(text)
    assert text.isascii()
    assert text.count("\n") == 1
    assert list(row)[:2] == ["position", "id"]
    assert (row["position"], row["site"], row["network"]) == (0, odd, None)


def test_empty_ledger_gives_the_header(book: Ledger) -> None:
    """Without events, CSV is its header and JSON Lines are nothing."""
    with book.reading() as connection:
        assert exported(connection, "csv").count("\r\n") == 1
        assert exported(connection, "jsonl") == ""


def test_erased_rows_stay_visible(book: Ledger) -> None:
    """A row without content keeps its position, so that nothing vanishes silently; filters pass over it."""
    book.append([Append(make_event(subject="visitor")) for _ in range(2)])
    emptied = {name: None for name in [*NAMES, "salt"] if name != "position"}
    with book.writing():
        book._connection.execute(update(events).where(events.c.position == 0).values(emptied))
    assert {name for name, cell in csv_of(book)[0].items() if cell} == {"position"}
    assert {name for name, cell in jsonl_of(book)[0].items() if cell is not None} == {"position"}
    assert len(csv_of(book, Selection(subject="visitor"))) == 1


@given(st.lists(st.fixed_dictionaries({name: st.none() | words for name in ("site", "surface", "network")})))
def test_sql_lines_equal_csv_module(rows: list[dict[str, str | None]]) -> None:
    """The lines that SQLite joins are, byte for byte, those of the csv module over neutral cells."""
    with raw(rows) as connection:
        expected = io.StringIO(newline="")
        writer = csv.writer(expected, quoting=csv.QUOTE_ALL)
        names = columns(connection)
        writer.writerow(names)
        for position, row in enumerate(rows):
            full = {"position": str(position), "purpose:analytics": "granted"} | row
            writer.writerow([neutral(full.get(name) or "") for name in names])
        assert exported(connection, "csv") == expected.getvalue()


@given(st.lists(st.fixed_dictionaries({name: st.none() | words for name in ("site", "language")})))
def test_both_csv_paths_agree(rows: list[dict[str, str | None]]) -> None:
    """Another database than SQLite, whose values Python joins, gives the same bytes."""
    with raw(rows) as connection:
        fast = exported(connection, "csv")
        connection.dialect.name = "other"
        assert exported(connection, "csv") == fast


@given(words)
def test_cells_survive_a_spreadsheet(text: str) -> None:
    """No cell begins like a formula, whatever separator splits the line, and the text can be had back."""
    with raw([{"site": text}]) as connection:
        (_, row) = csv.reader(io.StringIO(exported(connection, "csv"), newline=""))
    for cell in row:
        assert not cell.startswith(tuple(DANGEROUS))
    assert not re.search(f"[;,\t\r\n][{re.escape('=+-@')}]", row[4])
    assert UNDO.sub("", row[4]) == text


@given(words, words)
def test_neutral_keeps_texts_apart(one: str, other: str) -> None:
    """Two texts never become one cell, not even those that had an apostrophe already."""
    assert (neutral(one) == neutral(other)) is (one == other)


def test_headers_are_neutral_too() -> None:
    """A purpose's name cannot begin a formula or end its cell."""
    with raw([]) as connection:
        connection.execute(update(purposes).values(id='x";=1'))
        (header,) = csv.reader(io.StringIO(exported(connection, "csv"), newline=""))
    assert "purpose:x\";'=1" in header


@pytest.mark.parametrize(
    ("bounds", "found"),
    [
        ({"after": 0}, [1, 2]),
        ({"after": 2}, []),
        ({"since": "2026-01-31"}, [1, 2]),
        ({"until": "2026-01-30"}, [0]),
        ({"until": "2026-01-31"}, [0, 1]),
        ({"since": "2026-01-31", "until": "2026-01-31"}, [1]),
        ({"until": "2026-01-31T00:00:00Z"}, [0]),
        ({"since": "2026-01-31T01:00:00+01:00"}, [1, 2]),
        ({"since": "2026-01-31t00:00:00.0001z"}, [2]),
        ({"subject": "visitor-1"}, [1]),
        ({"subject": "nobody"}, []),
    ],
)
def test_selection_picks_its_rows(book: Ledger, bounds: dict[str, Any], found: list[int]) -> None:
    """A date means that day in UTC, an instant is included as a start and excluded as an end."""
    midnight = datetime(2026, 1, 31, tzinfo=UTC)
    times = (midnight - timedelta(milliseconds=1), midnight, midnight + timedelta(days=1))
    made = [make_event(time=utc_text(at), subject=f"visitor-{number}") for number, at in enumerate(times)]
    book.append([Append(event) for event in made])
    selection = Selection.parse(**bounds)
    assert [row["position"] for row in jsonl_of(book, selection)] == found
    with book.reading() as connection:
        assert count(connection, selection) == len(found)
        assert last_position(connection, selection) == (found[-1] if found else None)


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-02-30", "2026-01-31T09:30:00", "20260131", "2026-W05", "9999-12-31", ""]
)
def test_bad_dates_are_refused(text: str) -> None:
    """What is no date, or has no time zone, is refused with an example of what to write."""
    with pytest.raises(ConfigurationError, match=r"--until .* is no date: write 2026-01-31"):
        Selection.parse(until=text)


def test_backward_periods_are_refused() -> None:
    """A period that ends before it starts is a mistake, not an empty export."""
    with pytest.raises(ConfigurationError, match="--since 2026-02-01 is not before --until 2026-01-01"):
        Selection.parse(since="2026-02-01", until="2026-01-01")


@pytest.mark.parametrize("after", [-1, 2**63])
def test_impossible_positions_are_refused(after: int) -> None:
    """A position before the first, or beyond what a database counts, is a mistake."""
    with pytest.raises(ConfigurationError, match=f"--after {after} is no position"):
        Selection.parse(after=after)


def test_messages_name_what_was_asked() -> None:
    """Where no option of a command was given, the message names none."""
    with pytest.raises(ConfigurationError, match=r"^until '' is no date"):
        Selection.parse(until="", prefix="")


def test_early_years_sort_right() -> None:
    """A year below 1000 keeps its zeros, without which it would come after every event."""
    assert Selection.parse(since="0206-01-31").since == "0206-01-31T00:00:00.000Z"


@pytest.mark.parametrize("stored", ["no json", "[1]", '{"analytics":1}', '{"unheard-of":true}'])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_unreadable_purposes_are_refused(form: Format, stored: str) -> None:
    """Purposes that no ledger writes stop the export, with the way to find the row."""
    with (
        raw([{"purposes": stored}]) as connection,
        pytest.raises(LedgerError, match="restore a backup"),
    ):
        exported(connection, form)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_progress_adds_up(book: Ledger, form: Format) -> None:
    """The steps that are told sum up to the rows that were written."""
    book.append([Append(make_event()) for _ in range(2500)])
    steps: list[int] = []
    with book.reading() as connection:
        assert write(connection, io.BytesIO(), form, Selection(), steps.append) == sum(steps) == 2500
    assert len(steps) > 1


def test_writers_do_not_disturb(book: Ledger, url: str) -> None:
    """Events appended while an export runs neither wait for it nor appear in it, nor do their purposes."""
    book.append([Append(make_event()) for _ in range(3000)])
    out = io.BytesIO()
    with closing(Ledger.open(url)) as other, book.reading() as connection:
        total = count(connection, Selection())

        def interfere(rows: int) -> None:
            other.append([Append(make_event(purposes={"media": True}))])

        assert write(connection, out, "csv", Selection(), interfere) == total == 3000
    assert b"purpose:media" not in out.getvalue()
    assert len(csv_of(book)) > 3000


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_memory_stays_flat(tmp_path: Path, form: Format) -> None:
    """100,000 rows, one in a hundred of them odd, never lie in memory together."""
    many = (
        "INSERT INTO events (position, commitment, leaf, purposes, site) "
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99999) "
        "SELECT i, x'', x'', '{\"analytics\":true}', CASE WHEN i % 100 THEN 'example' ELSE '-\"' END FROM n"
    )
    with raw([]) as connection, (tmp_path / "out").open("wb") as out:
        connection.exec_driver_sql(many)
        tracemalloc.start()
        assert write(connection, out, form, Selection()) == 100_000
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8 * 2**20
