"""Events as Parquet: typed columns, written a row group at a time; pyarrow is imported only here.

The same ledger and the same version of pyarrow give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO

from sqlalchemy import Connection, select

from gem_consent.errors import ConfigurationError, LedgerError
from gem_consent.ledger.checkpoints import origin_of
from gem_consent.ledger.export.answers import Answers, batches, rows
from gem_consent.ledger.export.selection import Selection
from gem_consent.ledger.schema import ledger

if TYPE_CHECKING:
    import pyarrow

__all__ = ["ROW_GROUP_ROWS", "require_pyarrow", "write_parquet"]

ROW_GROUP_ROWS = 32_000
"""How many events a row group holds: some 10 MB in memory, and enough for a reader to skip by."""

_TIMES = ("time", "expires")
_ALL_DIFFERENT = frozenset({"position", "id", "time", "subject", "expires", "previous"})


def require_pyarrow() -> None:
    """Say early whether Parquet can be written here.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """
    try:
        import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigurationError(
            'Parquet needs pyarrow, which is not installed: pip install "gem-consent[parquet]", '
            "or choose csv or jsonl"
        ) from error


def write_parquet(
    connection: Connection,
    out: BinaryIO,
    selection: Selection,
    answers: Answers,
    advance: Callable[[int], object],
) -> int:
    """Write the selected events as one Parquet file; see ``write`` in this package.

    Raises:
        ConfigurationError: pyarrow is not installed.
        LedgerError: an event's purposes or times cannot be read.
    """
    require_pyarrow()
    from pyarrow import Table, parquet

    schema = _schema(connection, answers)
    repeating = [name for name in schema.names if name not in _ALL_DIFFERENT]
    written = 0
    with parquet.ParquetWriter(
        _Sink(out), schema, compression="zstd", use_dictionary=repeating, write_statistics=True
    ) as writer:
        for group in _groups(connection, selection, answers, schema, advance):
            writer.write_table(Table.from_batches(group, schema), row_group_size=ROW_GROUP_ROWS)
            written += sum(batch.num_rows for batch in group)
    return written


def _schema(connection: Connection, answers: Answers) -> pyarrow.Schema:
    import pyarrow

    kinds = dict.fromkeys(_TIMES, pyarrow.timestamp("ms", tz="UTC"))
    fields = [pyarrow.field("position", pyarrow.int64(), nullable=False)]
    fields += [pyarrow.field(name, kinds.get(name, pyarrow.string())) for name in answers.columns[1:]]
    uuid = connection.execute(select(ledger.c.uuid)).scalar_one()
    return pyarrow.schema(fields, metadata={"gem_consent.origin": origin_of(uuid)})


def _groups(
    connection: Connection,
    selection: Selection,
    answers: Answers,
    schema: pyarrow.Schema,
    advance: Callable[[int], object],
) -> Iterator[list[pyarrow.RecordBatch]]:
    """Gather batches into row groups: as columns they are small, as rows of Python they would not be."""
    group: list[pyarrow.RecordBatch] = []
    for batch in batches(connection, rows(selection)):
        group.append(_record_batch([answers.expanded(row) for row in batch], schema))
        advance(len(batch))
        if sum(one.num_rows for one in group) >= ROW_GROUP_ROWS:
            yield group
            group = []
    if group:
        yield group


def _record_batch(batch: Sequence[Sequence[Any]], schema: pyarrow.Schema) -> pyarrow.RecordBatch:
    import pyarrow

    arrays = []
    for name, values in zip(schema.names, zip(*batch, strict=True), strict=True):
        kind = pyarrow.string() if name in _TIMES else schema.field(name).type
        array = pyarrow.array(values, kind)
        try:
            arrays.append(array.cast(schema.field(name).type))
        except pyarrow.ArrowInvalid as error:
            # Not in Arrow's words, which repeat the value.
            raise LedgerError(
                f"An event's {name} is not what a ledger writes: run gem-consent verify"
            ) from error
    return pyarrow.RecordBatch.from_arrays(arrays, schema=schema)


class _Sink:
    """What pyarrow writes to: it asks where it stands, which a pipe cannot say, and closes what it has."""

    closed = False

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._written = 0

    def write(self, some: bytes) -> int:
        self._out.write(bytes(some))
        self._written += len(some)
        return len(some)

    def tell(self) -> int:
        return self._written

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False
