"""The export as Parquet: typed columns that say what CSV and JSON Lines say, in slices that join."""

from __future__ import annotations

import io
import sys
import tracemalloc
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from exports import UNDO, UUID, add, csv_rows, exported, exported_bytes, jsonl_rows, raw, words
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from gem_consent.errors import ConfigurationError, LedgerError
from gem_consent.ledger.export import Selection, columns, require_format, write
from gem_consent.ledger.export.as_parquet import ROW_GROUP_ROWS

TIMES = ("time", "expires")
moments = st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1)).map(
    lambda at: at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
)
cells = {
    "surface": st.none() | words,
    "time": st.none() | moments,
    "site": st.none() | words,
    "purposes": st.sampled_from([None, "{}", '{"analytics":true}', '{"analytics":false}']),
    "browser": st.none() | words,
}
some_rows = st.lists(st.fixed_dictionaries(cells), max_size=6)


def table(content: bytes) -> pyarrow.Table:
    return parquet.read_table(io.BytesIO(content))


@given(some_rows)
def test_formats_agree(rows: list[dict[str, Any]]) -> None:
    """Cell by cell, the three formats say the same, once times are read and apostrophes taken away."""
    with raw(rows) as connection:
        typed = table(exported_bytes(connection, "parquet")).to_pylist()
        lines = jsonl_rows(exported(connection, "jsonl"))
        texts = csv_rows(exported(connection, "csv"))
    assert len(typed) == len(lines) == len(texts) == len(rows)
    for one, line, text in zip(typed, lines, texts, strict=True):
        assert list(one) == list(line) == list(text)
        for name, value in line.items():
            assert UNDO.sub("", text[name]) == ("" if value is None else str(value))
            told = datetime.fromisoformat(value) if name in TIMES and value else value
            assert one[name] == told


@given(st.lists(some_rows, max_size=4))
def test_slices_join_to_the_whole(slices: list[list[dict[str, Any]]]) -> None:
    """Exports that each go on where the one before ended are together the export of all, row for row."""
    lines, texts, tables, size = "", "", [], 0
    with raw([]) as connection:
        for added in slices:
            add(connection, added, size)
            selection = Selection(after=size - 1 if size else None)
            lines += exported(connection, "jsonl", selection)
            texts += exported(connection, "csv", selection).partition("\r\n")[2]
            tables.append(table(exported_bytes(connection, "parquet", selection)))
            size += len(added)
        assert lines == exported(connection, "jsonl")
        assert texts == exported(connection, "csv").partition("\r\n")[2]
        whole = table(exported_bytes(connection, "parquet"))
    assert pyarrow.concat_tables([whole.slice(0, 0), *tables]).equals(whole)


def test_columns_are_typed() -> None:
    """The columns are the other formats', as whole numbers, moments in UTC and texts; the origin is named."""
    with raw([{}]) as connection:
        schema = table(exported_bytes(connection, "parquet")).schema
        assert schema.names == columns(connection)
    kinds = {name: str(schema.field(name).type) for name in schema.names}
    assert kinds.pop("position") == "int64"
    assert {kinds.pop(name) for name in TIMES} == {"timestamp[ms, tz=UTC]"}
    assert set(kinds.values()) == {"string"}
    assert schema.metadata[b"gem_consent.origin"] == f"gem-consent/{UUID}".encode()


def test_empty_ledger_gives_columns() -> None:
    """Without events the file has its columns and no rows."""
    with raw([]) as connection:
        empty = table(exported_bytes(connection, "parquet"))
        assert (empty.num_rows, empty.schema.names) == (0, columns(connection))


def test_same_rows_give_same_bytes() -> None:
    """Two exports of one ledger are one file."""
    with raw([{"id": str(number)} for number in range(50)]) as connection:
        assert exported_bytes(connection, "parquet") == exported_bytes(connection, "parquet")


def test_unreadable_time_is_refused() -> None:
    """A time that no ledger writes stops the export, and the message does not repeat it."""
    with (
        raw([{"time": "yesterday"}]) as connection,
        pytest.raises(
            LedgerError, match=r"^An event's time is not what a ledger writes: run gem-consent verify"
        ),
    ):
        exported_bytes(connection, "parquet")


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyarrow the refusal says how to have it."""
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigurationError, match=r'pip install "gem-consent\[parquet\]"'):
        require_format("parquet")


class Pipe(io.RawIOBase):
    """Takes what is written, and can neither seek nor tell."""

    def __init__(self) -> None:
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, some: Any) -> int:
        self.content += bytes(some)
        return len(some)


def test_pipe_is_enough() -> None:
    """What cannot seek takes the same bytes."""
    pipe = Pipe()
    with raw([{"id": "one"}]) as connection:
        write(connection, pipe, "parquet", Selection())  # type: ignore[arg-type]
        assert pipe.content == exported_bytes(connection, "parquet")


def test_error_of_the_output_passes() -> None:
    """What the output raises comes out as it is, not in pyarrow's words."""

    class Full(Pipe):
        def write(self, some: Any) -> int:
            raise OSError(28, "No space left on device")

    with raw([{}]) as connection, pytest.raises(OSError, match="No space left on device"):
        write(connection, Full(), "parquet", Selection())  # type: ignore[arg-type]


def test_memory_stays_flat(tmp_path: Path) -> None:
    """100,000 rows lie in memory a row group at a time."""
    many = (
        "INSERT INTO events (position, commitment, leaf, purposes, site, time) "
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99999) "
        "SELECT i, x'', x'', '{\"analytics\":true}', 'www.example.com', '2026-11-23T09:30:00.000Z' FROM n"
    )
    with raw([]) as connection, (tmp_path / "out").open("w+b") as out:
        connection.exec_driver_sql(many)
        tracemalloc.start()
        before = pyarrow.total_allocated_bytes()
        highest = 0

        def look(rows: int) -> None:
            nonlocal highest
            highest = max(highest, pyarrow.total_allocated_bytes() - before)

        assert write(connection, out, "parquet", Selection(), look) == 100_000
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        groups = parquet.ParquetFile(out).metadata.num_row_groups
    assert peak < 8 * 2**20
    assert highest < 32 * 2**20
    assert groups == -(-100_000 // ROW_GROUP_ROWS)
