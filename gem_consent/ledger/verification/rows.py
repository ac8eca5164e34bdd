"""A ledger's events, read in order: each row alone, against its own commitment and what marks say of it."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Sequence
from dataclasses import fields
from hashlib import sha256
from json.encoder import encode_basestring
from typing import Any

from sqlalchemy import select

from gem_consent.errors import LedgerError
from gem_consent.ledger.export import read_purposes
from gem_consent.ledger.schema import events
from gem_consent.ledger.verification.marks import KINDS, Marks
from gem_consent.ledger.verification.source import Source, raw
from gem_consent.proof.event import Event
from gem_consent.proof.tree import HASH_BYTES, leaf_hash

__all__ = ["Rows"]

_NAMES = tuple(sorted(field.name for field in fields(Event) if field.name != "mark"))
_ASKED, _ID, _NOTICE, _PREVIOUS, _STATE, _TIME = (
    _NAMES.index(name) for name in ("purposes", "id", "notice", "previous", "state", "time")
)
# The canonical form (``proof/event.py``) with a place for each value: half the time of encoding a dict.
_TEMPLATE = "{" + ",".join(f'"{name}":%s' for name in _NAMES) + "}"
_MARK_AT = _NAMES.index("network")
_MARK_TEMPLATE = _TEMPLATE.replace('"network":', '"mark":%s,"network":')
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
_NEEDS_NOTICE = frozenset({"given", "renewed"})
_NEVER = 1 << 63
_MAX_REMEMBERED = 1024


class Rows:
    """Reads the events in order, counts them, and notes what is wrong with any of them.

    Args:
        source: where from.
        start: the first position to read.
        digests: the notices that there are.
        marks: which rows were emptied.
    """

    def __init__(self, source: Source, start: int, digests: Container[object], marks: Marks) -> None:
        self._source = source
        self._faults = source.faults
        self._start = start
        self._digests = digests
        self._marked = marks
        self._watch = self._watched(start - 1)
        self._known_answers: set[str] = set()
        self._has_looked = False
        self.next = start
        self.is_dense = True
        self.choices = self.marks = self.emptied = self.firsts = 0
        self.by_kind = dict.fromkeys(KINDS, 0)
        self.purposes: dict[str, int] = {}

    def read(self) -> Iterator[tuple[list[bytes], int]]:
        """Read all rows; give each batch's leaves, and how many rows it had.

        After a jump in the positions there are no more leaves: what is hashed from there on can be compared
        with nothing.
        """
        columns = [
            raw(events.c[name]) for name in ("position", "commitment", "leaf", "salt", "mark", *_NAMES)
        ]
        query = select(*columns).order_by(events.c.position)
        if self._start:
            query = query.where(events.c.position >= self._start)
        for batch in self._source.stream(query, "the events"):
            yield self._read(batch), len(batch)

    def _read(self, batch: Sequence[Any]) -> list[bytes]:
        leaves: list[bytes] = []
        marks = emptied = firsts = 0
        for row in batch:
            position, committed, leaf, salt, mark, *columns = row
            if position != self.next:
                position = self._misplaced(position, columns)
            if salt is None and mark is None and not any(value is not None for value in columns):
                emptied += 1
                self._check_emptied(position)
            else:
                if position >= self._watch:
                    self._check_kept(position, columns)
                marks += mark is not None
                firsts += columns[_PREVIOUS] is None and mark is None
                self._check(position, committed, salt, columns, mark)
            if type(committed) is not bytes or leaf != leaf_hash(committed):
                self._fault(
                    "its leaf is not the hash of its commitment: one of them was altered", position, columns
                )
                leaf = leaf if type(leaf) is bytes and len(leaf) == HASH_BYTES else bytes(HASH_BYTES)
            if self.is_dense:
                leaves.append(leaf)
            self.next += 1
        self.marks += marks
        self.emptied += emptied
        self.firsts += firsts
        self.choices += len(batch) - marks - emptied
        return leaves

    def _misplaced(self, position: object, columns: Sequence[Any]) -> int:
        """Say what a jump in the positions means, and give the position to go on from."""
        self.is_dense = False
        if not isinstance(position, int):
            self._fault(f"its position is {position!r}: it was altered", self.next, columns)
            return self.next
        if position > self.next:
            last = position - 1
            gap = f"rows {self.next} to {last} are" if last > self.next else "it is"
            self._faults.found(f"{gap} missing: dropped, or moved elsewhere", self.next)
        else:
            self._fault("it stands where no row, or another, should", position, columns)
        self.next = position
        return position

    def _check_emptied(self, position: int) -> None:
        kind = self._marked.kind_of(position)
        if kind is None:
            self._faults.found("it was emptied, and no mark says by which rule", position)
        else:
            self.by_kind[kind] += 1

    def _check_kept(self, position: int, columns: Sequence[Any]) -> None:
        """Find a row that a mark says was emptied; called where a marked range has begun."""
        kind = self._marked.kind_of(position)
        if kind is not None:
            self._fault(f"a mark says that it was {kind}, and it holds something", position, columns)
        self._watch = self._watched(position) if kind is None else position

    def _watched(self, position: int) -> int:
        start = self._marked.start_after(position)
        return _NEVER if start is None else start

    def _check(self, position: int, committed: object, salt: Any, columns: Sequence[Any], mark: Any) -> None:
        """Check that a row's columns are those that were committed to, byte by byte."""
        stored = columns[_ASKED]
        try:
            texts = ["null" if value is None else encode_basestring(value) for value in columns]
            texts[_ASKED] = stored
            template = _TEMPLATE
            if mark is not None:
                texts.insert(_MARK_AT, encode_basestring(mark))
                template = _MARK_TEMPLATE
            found = sha256(salt + (template % tuple(texts)).encode()).digest()
            is_whole = found == committed and (stored in self._known_answers or self._learn(stored, position))
        except (TypeError, ValueError, LedgerError):
            found, is_whole = b"", False
        if not is_whole:
            self._altered(position, found, columns)
            return
        state = columns[_STATE]
        if state in _NEEDS_NOTICE:
            if columns[_NOTICE] not in self._digests:
                self._fault(
                    f"it answers the notice {str(columns[_NOTICE])[:64]!r}, which the ledger does not hold",
                    position,
                    columns,
                )
        elif state in KINDS and mark is None:
            self._fault(f"it says that rows were {state}, and has no mark of which", position, columns)

    def _learn(self, stored: str, position: int) -> bool:
        """Note the purposes of an event's answers; say whether the text is the one that is written."""
        answers = read_purposes(stored)
        if _ENCODE(answers) != stored:
            return False
        for purpose in answers:
            self.purposes.setdefault(purpose, position)
        if len(self._known_answers) == _MAX_REMEMBERED:
            self._known_answers.clear()
        self._known_answers.add(stored)
        return True

    def _altered(self, position: int, found: bytes, columns: Sequence[Any]) -> None:
        what = "its columns no longer match its commitment: one of them was edited"
        if found and not self._has_looked:
            # Once: it is a scan.
            self._has_looked = True
            wanted = select(events.c.position).where(events.c.commitment == found).limit(1)
            other = self._source.connection.scalar(wanted)
            if other is not None and other != position:
                what = f"it holds the content of row {other}: swapped, or copied over another"
        self._fault(what, position, columns)

    def _fault(self, what: str, position: int, columns: Sequence[Any]) -> None:
        self._faults.found(what, position, columns[_ID], columns[_TIME])
