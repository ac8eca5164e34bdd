"""The two tables, ``events.jsonl`` and ``events.csv``, read in step: both must say the same of every row."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from typing import IO, Any

from gem_consent.errors import ProofError
from gem_consent.evidence_check.archive import MAX_LINE_BYTES
from gem_consent.evidence_check.faults import wrong
from gem_consent.ledger.export import AFTER, BEFORE, neutral
from gem_consent.proof.evidence import CHOICES
from gem_consent.proof.strict import json_object, require_members

__all__ = ["Table", "mark_columns"]

_ANSWERS = {"granted": True, "denied": False}
_NAMES = (*BEFORE[1:], *AFTER)
_NEEDED = ("id", "time", "subject", "state", "notice")
_CELLS = {str, type(None)}


class Table:
    """Gives one row after another.

    Args:
        rows: the lines of ``events.jsonl``.
        sheet: ``events.csv``, from its start.
    """

    def __init__(self, rows: Iterator[bytes], sheet: IO[bytes]) -> None:
        self._rows, self._sheet = rows, sheet
        self._columns = _read_columns(sheet)
        purposes = self._columns[len(BEFORE) : -len(AFTER)]
        self._purposes = {name.removeprefix("purpose:"): name for name in purposes}
        self.count = 0

    def next_row(self, position: int) -> dict[str, Any]:
        """Give a row's columns as they were committed to."""
        line = next(self._rows, None)
        if line is None:
            raise wrong(position, "events.jsonl ends before it: rows were cut off")
        row = json_object(line, f"Row {position} in events.jsonl")
        mark = row.pop("mark", None)
        position_found, *cells = row.values() or [None]
        if list(row) != self._columns or not set(map(type, cells)) <= _CELLS:
            raise wrong(position, "events.jsonl has other columns than events.csv, or odd cells: altered")
        if position_found != position or type(position_found) is not int:
            raise wrong(position, f"events.jsonl has row {position_found!r} here: dropped, added or swapped")
        expected = _csv_line(row.values())
        if self._sheet.read(len(expected)) != expected:
            raise wrong(position, "events.csv says something else of it than events.jsonl", row)
        self.count += 1
        return self._committed(position, row, mark)

    def _committed(self, position: int, row: Mapping[str, Any], mark: object) -> dict[str, Any]:
        columns = {name: row[name] for name in _NAMES}
        answers = {id_: row[name] for id_, name in self._purposes.items() if row[name] is not None}
        if not _ANSWERS.keys() >= set(answers.values()) or any(columns[one] is None for one in _NEEDED):
            raise wrong(position, "events.jsonl holds what no ledger writes: it was altered")
        columns["purposes"] = {id_: _ANSWERS[value] for id_, value in answers.items()}
        return columns if mark is None else columns | {"mark": mark}

    def pass_empty(self, position: int) -> None:
        """Read a row that was erased or purged, and of which only its position is left."""
        line = next(self._rows, None)
        row = dict.fromkeys(self._columns) | {"position": position}
        if line is None or json_object(line, f"Row {position} in events.jsonl") != row:
            raise wrong(position, "it is said to be empty, and events.jsonl has another one here")
        expected = _csv_line(row.values())
        if self._sheet.read(len(expected)) != expected:
            raise wrong(position, "events.csv says something else of it than events.jsonl")
        self.count += 1

    def finish(self, position: int) -> None:
        """Refuse what follows in either, at this position."""
        if next(self._rows, None) is not None or self._sheet.read(1):
            raise wrong(position, "events.jsonl or events.csv goes on where the proofs end: rows were added")


def _read_columns(sheet: IO[bytes]) -> list[str]:
    line = sheet.readline(MAX_LINE_BYTES)
    try:
        (columns,) = csv.reader([line.decode()])
    except (csv.Error, ValueError) as error:
        raise ProofError("events.csv does not begin with the names of its columns") from error
    middle = columns[len(BEFORE) : -len(AFTER)]
    names = [*BEFORE, *middle, *AFTER]
    is_right = all(name.startswith("purpose:") for name in middle) and len(set(names)) == len(names)
    if not is_right or _csv_line(names) != line:
        raise ProofError("events.csv does not begin with the names of an export's columns: it was altered")
    return names


def _csv_line(cells: Any) -> bytes:
    texts = ["" if cell is None else str(cell) for cell in cells]
    joined = ";".join(texts)
    # Looked at once: after a semicolon a formula begins as it does at the start of a cell.
    if '"' in joined or neutral(joined) != joined:
        texts = [neutral(text).replace('"', '""') for text in texts]
    return ('"' + '","'.join(texts) + '"\r\n').encode()


def mark_columns(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the columns of a mark that nobody asked for, and that stands beside its proof."""
    require_members(event, (*_NAMES, "purposes", "mark"), "A mark in proofs.jsonl")
    if event["state"] in CHOICES or not all(isinstance(event[name], str) for name in _NEEDED):
        raise ProofError("proofs.jsonl holds as a mark what is none: it was added")
    return event
