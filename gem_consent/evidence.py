"""The evidence archive: the part of a ledger that was asked for, with what it takes to check it elsewhere.

Reads only, streamed. The same question on the same rows and checkpoints gives the same bytes.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import zipfile
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple, cast

from sqlalchemy import Connection, Select, and_, func, or_, select

from gem_consent.errors import LedgerError
from gem_consent.evidence_cover import Cover, cover, policy_file
from gem_consent.ledger import export
from gem_consent.ledger.checkpoints import origin_of, public_keys
from gem_consent.ledger.export import Selection, read_purposes
from gem_consent.ledger.rows import event_from
from gem_consent.ledger.schema import checkpoints, events, ledger, notices
from gem_consent.ledger.tiles import tile_reader
from gem_consent.proof.event import columns_of
from gem_consent.proof.evidence import (
    CHOICES,
    FORMAT,
    Hidden,
    Question,
    Shown,
    Tally,
    hidden_line,
    shown_line,
)
from gem_consent.proof.mark import Mark
from gem_consent.proof.tree import subtrees_between
from gem_consent.rendering import LIBRARY

__all__ = ["PASSES", "question_of", "write"]

PASSES = 3
"""How often the selected rows are read: for CSV, for JSON Lines, for the proofs."""

_BATCH_ROWS = 1000
_TILES = 64
_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a ZIP can hold (APPNOTE.TXT, section 4.4.6)
_OWNER_ONLY = 0o100600 << 16
_UNIX = 3
_LEVEL = 6


def question_of(selection: Selection, language: str) -> Question:
    """Give what an archive was asked for, as it says it of itself."""
    return Question(selection.since, selection.until, selection.subject, language)


def write(
    connection: Connection,
    out: BinaryIO,
    question: Question,
    verification: str,
    advance: Callable[[int], object] = lambda rows: None,
) -> Tally:
    """Write an archive; memory stays flat.

    Args:
        connection: one read transaction, so that all of it is of one moment.
        out: a file that can be sought in; neither flushed nor closed.
        question: what is asked for.
        verification: what the check of the whole ledger said, in this very transaction.
        advance: called with the number of rows that were just read; each is read ``PASSES`` times.

    Returns:
        What the archive's choices add up to.

    Raises:
        LedgerError, ProofError: the ledger disagrees with itself.
    """
    with zipfile.ZipFile(out, "w") as archive:
        return _Writer(connection, archive, question, advance).write(verification)


class _Row(NamedTuple):
    """One row as the walk sees it; ``salt`` is ``None`` once it was emptied."""

    position: int
    salt: bytes | None
    commitment: bytes
    mark: Mapping[str, Any] | None = None


class _Writer:
    """One archive's state: what it is asked for, and the sums of what is written."""

    def __init__(
        self,
        connection: Connection,
        archive: zipfile.ZipFile,
        question: Question,
        advance: Callable[[int], object],
    ) -> None:
        self._connection = connection
        self._archive = archive
        self._question = question
        self._selection = Selection(question.since, question.until, question.subject)
        self._advance = advance
        self._sums: dict[str, str] = {}
        identity = connection.execute(select(ledger.c.uuid, ledger.c.size)).one()
        self._origin, self._size = origin_of(identity.uuid), int(identity.size)
        self._read = lru_cache(_TILES)(tile_reader(connection))
        self._sizes = array("q", connection.scalars(select(checkpoints.c.size).order_by(checkpoints.c.size)))

    def write(self, verification: str) -> Tally:
        tally = _tally(self._connection, self._selection)
        for form in ("csv", "jsonl"):
            with self._member(f"events.{form}") as part:
                count = export.write(self._connection, part, cast(Any, form), self._selection, self._advance)
        with self._member("proofs.jsonl") as part:
            for line in self._proofs(tally):
                part.write(line)
        with self._member("checkpoints.jsonl") as part:
            part.write(b"".join(self._notes()))
        keys = public_keys(self._connection)
        self._add("public-keys.txt", "".join(f"{key}\n" for key in keys).encode())
        pages = self._add_notices(tally)
        self._add("verification.txt", verification.encode())
        self._add("index.html", self._cover(tally, keys, pages))
        manifest = {
            "format": FORMAT,
            "library": LIBRARY,
            "ledger": self._origin,
            "rows": self._size,
            "events": count,
            "question": {name: getattr(self._question, name) for name in Question.__slots__},
            "files": self._sums,
        }
        self._add("manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())
        return tally

    # Members

    @contextmanager
    def _member(self, name: str) -> Iterator[BinaryIO]:
        """Give a file of the archive to write to; the same name, date, rights and method each time."""
        entry = zipfile.ZipInfo(name, _DATE)
        entry.compress_type, entry.external_attr, entry.create_system = (
            zipfile.ZIP_DEFLATED,
            _OWNER_ONLY,
            _UNIX,
        )
        entry._compresslevel = _LEVEL  # type: ignore[attr-defined]  # open() has no argument for it
        with self._archive.open(entry, "w", force_zip64=True) as part:
            summed = _Summed(part)
            yield cast(BinaryIO, summed)
        self._sums[name] = summed.digest

    def _add(self, name: str, content: bytes) -> None:
        with self._member(name) as part:
            part.write(content)

    def _notes(self) -> Iterator[bytes]:
        query = select(checkpoints.c.note).order_by(checkpoints.c.size)
        for batch in self._connection.execute(query, execution_options={"yield_per": 1000}).partitions():
            yield b"".join(json.dumps({"note": note}).encode() + b"\n" for (note,) in batch)

    def _add_notices(self, tally: Tally) -> dict[str, bytes]:
        """Add the notices that choices point at, and their policies; give what each declares."""
        declared = {}
        for digest in sorted(tally.notices):
            html = self._connection.scalar(select(notices.c.html).where(notices.c.digest == digest))
            if html is None:
                raise LedgerError(
                    f"The notice {digest} is not in the ledger any more: run gem-consent verify"
                )
            self._add(f"notices/{digest}.html", bytes(html))
            policy = policy_file(bytes(html))
            if policy is not None:
                self._add(f"policies/{digest}.json", policy)
                declared[digest] = policy
        return declared

    def _cover(self, tally: Tally, keys: Sequence[str], policies: Mapping[str, bytes]) -> bytes:
        note = self._connection.scalar(
            select(checkpoints.c.note).order_by(checkpoints.c.size.desc()).limit(1)
        )
        return cover(
            Cover(
                question=self._question,
                ledger=self._origin,
                rows=self._size,
                tally=tally,
                keys=tuple(keys),
                newest=note.encode() if note else None,
                policies=policies,
            )
        )

    # The proofs

    def _proofs(self, tally: Tally) -> Iterator[bytes]:
        """Give the lines of ``proofs.jsonl``: through the whole tree, to the newest checkpoint at least."""
        at = 0
        run: tuple[int, int] | None = None
        for row in self._walk():
            if row.salt is None:
                start, end = run or (row.position, row.position)
                if row.position == end:
                    run = start, end + 1
                    continue
                yield from self._skipped(at, start, end, tally)
                at, run = end, (row.position, row.position + 1)
                continue
            if run is not None:
                yield from self._skipped(at, *run, tally)
                at, run = run[1], None
            yield from self._hidden(at, row.position)
            yield shown_line(Shown(row.position, row.salt, row.commitment, row.mark))
            tally.marks += row.mark is not None
            at = row.position + 1
        if run is not None:
            yield from self._skipped(at, *run, tally)
            at = run[1]
        yield from self._hidden(at, max(at, self._sizes[-1] if self._sizes else 0))

    def _skipped(self, at: int, start: int, end: int, tally: Tally) -> Iterator[bytes]:
        tally.emptied += end - start
        yield from self._hidden(at, start)
        yield from self._hidden(start, end, is_emptied=True)

    def _hidden(self, start: int, end: int, *, is_emptied: bool = False) -> Iterator[bytes]:
        """Give lines for rows that are not shown, one from each checkpoint to the next."""
        while start < end:
            after = bisect_right(self._sizes, start)
            stop = min(end, self._sizes[after]) if after < len(self._sizes) else end
            roots = subtrees_between(start, stop, self._size, self._read)
            yield hidden_line(Hidden(start, stop, tuple(roots), is_emptied))
            start = stop

    def _walk(self) -> Iterator[_Row]:
        """Give the rows to be shown, the empty ones among them, and the marks that say why, in order."""
        first, last = self._bounds()
        if first is None:
            return
        emptied = self._emptied(first, last)
        asked = self._streamed(select(*_PARTS).where(or_(*self._asked(first, last))))
        marks = (row for row in self._marks(emptied) if not self._question.covers(row.mark or {}))
        yield from heapq.merge(asked, marks, key=lambda row: row.position)

    def _bounds(self) -> tuple[int | None, int]:
        wanted = select(func.min(events.c.position), func.max(events.c.position))
        first, last = self._connection.execute(wanted.where(*self._selection.where())).one()
        return first, last or 0

    def _asked(self, first: int, last: int) -> list[Any]:
        where = self._selection.where()
        if not where:
            return [events.c.position >= 0]
        if self._question.subject is not None:
            # whose an empty row was, nobody can say
            return [and_(*where)]
        return [and_(*where), and_(events.c.id.is_(None), events.c.position.between(first, last))]

    def _streamed(self, query: Select[Any]) -> Iterator[_Row]:
        query = query.order_by(events.c.position)
        for batch in self._connection.execute(
            query, execution_options={"yield_per": _BATCH_ROWS}
        ).partitions():
            for position, salt, commitment in batch:
                yield _Row(position, salt and bytes(salt), bytes(commitment))
            self._advance(len(batch))

    def _emptied(self, first: int, last: int) -> array[int]:
        """Give the positions of the empty rows that are shown, as bounds of ranges, ends excluded."""
        bounds = array("q")
        if self._question.subject is not None:
            return bounds
        query = select(events.c.position).where(events.c.id.is_(None), events.c.position.between(first, last))
        for position in self._connection.scalars(query.order_by(events.c.position)):
            if bounds and bounds[-1] == position:
                bounds[-1] = position + 1
            else:
                bounds.extend((position, position + 1))
        return bounds

    def _marks(self, emptied: array[int]) -> Iterator[_Row]:
        if not emptied or self._question.is_whole:
            return
        query = select(events).where(events.c.mark.is_not(None)).order_by(events.c.position)
        for row in self._connection.execute(query).mappings().all():
            if _names(Mark.decode(row["mark"]), emptied):
                columns = columns_of(event_from(row))
                yield _Row(row["position"], bytes(row["salt"]), bytes(row["commitment"]), columns)


_PARTS = (events.c.position, events.c.salt, events.c.commitment)


def _names(mark: Mark, bounds: array[int]) -> bool:
    """Say whether a mark names one of the rows in these ranges."""
    for start, end in mark.positions:
        at = bisect_right(bounds, start)
        # inside a range, or before the next one and into it
        if at % 2 or (at < len(bounds) and bounds[at] <= end):
            return True
    return False


def _tally(connection: Connection, selection: Selection) -> Tally:
    tally = Tally()
    where = selection.where()
    is_choice = events.c.state.in_(CHOICES)
    month = func.substr(events.c.time, 1, 7)
    query = select(month, events.c.state, func.count()).where(is_choice, *where)
    for name, state, count in connection.execute(query.group_by(month, events.c.state)):
        tally.add_choices(name, state, count)
    query = select(events.c.purposes, func.count()).where(is_choice, *where).group_by(events.c.purposes)
    tally.merged((read_purposes(stored), count) for stored, count in connection.execute(query))
    span = func.count(), func.min(events.c.time), func.max(events.c.time)
    query = select(events.c.notice, *span).where(is_choice, *where).group_by(events.c.notice)
    for digest, count, first, last in connection.execute(query):
        tally.add_notice(digest, count, first, last)
    marks = select(func.count()).where(events.c.mark.is_not(None), *where)
    tally.marks = int(connection.execute(marks).scalar_one())
    return tally


class _Summed:
    """A file that keeps the SHA-256 of what is written to it."""

    def __init__(self, part: Any) -> None:
        self._part = part
        self._sum = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self._sum.update(content)
        written: int = self._part.write(content)
        return written

    @property
    def digest(self) -> str:
        return self._sum.hexdigest()
