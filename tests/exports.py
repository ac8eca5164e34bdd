"""What the export's tests share: rows that no ledger would write, odd words, and the way back from a cell."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, insert

from gem_consent.ledger.export import Format, Selection, write
from gem_consent.ledger.schema import events, ledger, metadata, purposes

DANGEROUS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
UNDO = re.compile(f"(?:^|(?<=[;,\t\r\n]))'(?='*[{re.escape(DANGEROUS)}])")
UUID = "5f0f7b52-6c0f-4d4b-9d5a-0d1f4a5f6a70"

words = st.text(st.sampled_from("ab =+-@\t\r\n;,'\"\\\uff1d\u202e\u2028é\0|"), max_size=8) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=5
)


def raw(rows: Iterable[dict[str, Any]]) -> Connection:
    """Give a database in memory with rows that no ledger would write."""
    connection = create_engine("sqlite://").connect()
    metadata.create_all(connection, tables=[ledger, events, purposes])
    identity = {"one": 1, "uuid": UUID, "schema_version": 1, "size": 0, "frontier": b""}
    connection.execute(insert(ledger), [identity])
    connection.execute(insert(purposes), [{"id": "analytics", "since": 0}])
    add(connection, rows)
    return connection


def add(connection: Connection, rows: Iterable[dict[str, Any]], start: int = 0) -> None:
    """Add rows, the first of them at this position."""
    for position, row in enumerate(rows, start):
        values = {"position": position, "commitment": b"c", "leaf": b"l", "purposes": '{"analytics":true}'}
        connection.execute(insert(events), values | row)


def exported_bytes(connection: Connection, form: Format, selection: Selection | None = None) -> bytes:
    """Give an export as it is written."""
    out = io.BytesIO()
    write(connection, out, form, selection or Selection())
    return out.getvalue()


def exported(connection: Connection, form: Format, selection: Selection | None = None) -> str:
    """Give an export as text."""
    return exported_bytes(connection, form, selection).decode()


def csv_rows(text: str) -> list[dict[str, str]]:
    """Read CSV, cells as they stand there."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def jsonl_rows(text: str) -> list[dict[str, Any]]:
    """Read JSON Lines."""
    return [json.loads(line) for line in text.split("\n") if line]
