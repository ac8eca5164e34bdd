"""A ledger's events, read in order for ``verification.py``: each row alone, and the tree over all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import lru_cache
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Connection, Select, func, select, type_coerce
from sqlalchemy.types import NullType

from gem_consent.errors import LedgerError
from gem_consent.ledger.export import read_purposes
from gem_consent.ledger.schema import checkpoints, events, purposes, tiles
from gem_consent.proof.checkpoint import Checkpoint
from gem_consent.proof.event import Event
from gem_consent.proof.tree import HASH_BYTES, TILE_HEIGHT, TILE_WIDTH, Frontier, TileHash, leaf_hash

if TYPE_CHECKING:
    from gem_consent.ledger.verification import Verification

__all__ = ["Rows", "raw", "untyped"]

_NAMES = tuple(sorted(field.name for field in fields(Event) if field.name != "mark"))
_ASKED, _ID, _NOTICE, _STATE, _TIME = (_NAMES.index(n) for n in ("purposes", "id", "notice", "state", "time"))
# The canonical form (``proof/event.py``) with a place for each value: half the time of encoding a dict.
_TEMPLATE = "{" + ",".join(f'"{name}":%s' for name in _NAMES) + "}"
_MARK_AT = _NAMES.index("network")
_MARK_TEMPLATE = _TEMPLATE.replace('"network":', '"mark":%s,"network":')
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
_NEEDS_NOTICE = frozenset({"given", "renewed"})


class Rows:
    """Reads the events in order, and grows the tree over them beside the tiles and checkpoints."""

    def __init__(self, whole: Verification, frontier: Frontier) -> None:
        self._whole = whole
        self._frontier = frontier
        self._start = self._next = frontier.size
        self._is_dense = True
        self._leaves: list[bytes] = []
        self._purposes: dict[str, int] = {}
        self._answers = lru_cache(1024)(_answers)
        self._tiles = _Tiles(whole, frontier.size)
        self._marks = self._checkpoints()
        self._mark: tuple[Any, Checkpoint | None] | None = None
        self._fitting = frontier.size
        self._has_told_root = False
        self._has_looked = False

    def read(self) -> None:
        """Read all rows, and note with the verification what is wrong with them."""
        self._mark = next(self._marks, None)
        self._pass_marks()
        columns = [
            raw(events.c[name]) for name in ("position", "commitment", "leaf", "salt", "mark", *_NAMES)
        ]
        query = select(*columns).order_by(events.c.position)
        if self._start:
            query = query.where(events.c.position >= self._start)
        for batch in self._whole.stream(query, "the events"):
            self._read(batch)
        self._finish()

    def _read(self, batch: Sequence[Any]) -> None:
        choices = emptied = 0
        for row in batch:
            position, committed, leaf, salt, mark, *columns = row
            if position != self._next:
                position = self._misplaced(position, columns)
            if salt is None and mark is None and not any(value is not None for value in columns):
                emptied += 1
                self._whole.found("it was emptied, and no mark says by which rule", position)
            else:
                choices += 1
                self._check(position, committed, salt, columns, mark)
            if type(committed) is not bytes or leaf != leaf_hash(committed):
                self._fault(
                    "its leaf is not the hash of its commitment: one of them was altered", position, columns
                )
                leaf = leaf if type(leaf) is bytes and len(leaf) == HASH_BYTES else bytes(HASH_BYTES)
            self._leaves.append(leaf)
            self._next += 1
            if self._mark is not None and self._next >= self._mark[0]:
                self._pass_marks()
        self._grow()
        self._whole.tally(choices, emptied, len(batch))

    def _misplaced(self, position: object, columns: Sequence[Any]) -> int:
        """Say what a jump in the positions means, and give the position to go on from."""
        # The tree is of what was there: what is hashed from here on can be compared with nothing.
        self._is_dense = False
        if not isinstance(position, int):
            self._fault(f"its position is {position!r}: it was altered", self._next, columns)
            return self._next
        if position > self._next:
            last = position - 1
            gap = f"rows {self._next} to {last} are" if last > self._next else "it is"
            self._whole.found(f"{gap} missing: dropped, or moved elsewhere", self._next)
        else:
            self._fault("it stands where no row, or another, should", position, columns)
        self._next = position
        return position

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
            found = hashlib.sha256(salt + (template % tuple(texts)).encode()).digest()
            asked = self._answers(stored)
        except (TypeError, ValueError, LedgerError):
            found, asked = b"", None
        if found != committed or asked is None:
            self._altered(position, found, columns)
            return
        for purpose in asked:
            self._purposes.setdefault(purpose, position)
        if columns[_STATE] in _NEEDS_NOTICE and columns[_NOTICE] not in self._whole.digests:
            self._fault(
                f"it answers the notice {str(columns[_NOTICE])[:64]!r}, which the ledger does not hold",
                position,
                columns,
            )

    def _altered(self, position: int, found: bytes, columns: Sequence[Any]) -> None:
        what = "its columns no longer match its commitment: one of them was edited"
        if found and not self._has_looked:
            # Once: it is a scan.
            self._has_looked = True
            wanted = select(events.c.position).where(events.c.commitment == found).limit(1)
            other = self._whole.connection.scalar(wanted)
            if other is not None and other != position:
                what = f"it holds the content of row {other}: swapped, or copied over another"
        self._fault(what, position, columns)

    def _fault(self, what: str, position: int, columns: Sequence[Any]) -> None:
        self._whole.found(what, position, columns[_ID], columns[_TIME])

    # The tree

    def _grow(self) -> None:
        self._frontier, finished = self._frontier.grow(self._leaves)
        self._leaves = []
        if self._is_dense:
            self._tiles.compare(finished)

    def _checkpoints(self) -> Iterator[tuple[Any, Checkpoint | None]]:
        query = untyped(checkpoints).order_by(checkpoints.c.size)
        previous = 0
        for batch in self._whole.stream(query, "the checkpoints"):
            for row in batch:
                size = row.size
                if isinstance(size, int) and size <= self._start and self._start:
                    previous = size
                    continue
                yield size if isinstance(size, int) else -1, self._whole.checkpoint(row._mapping, previous)
                previous = size

    def _pass_marks(self) -> None:
        """Compare the tree with each checkpoint of this size."""
        while self._mark is not None and self._mark[0] <= self._next:
            checkpoint = self._mark[1]
            if checkpoint is not None and self._is_dense:
                self._grow()
                self._compare(checkpoint)
            self._mark = next(self._marks, None)

    def _compare(self, checkpoint: Checkpoint) -> None:
        if checkpoint.root == self._frontier.root:
            self._fitting = checkpoint.size
            self._whole.holds(checkpoint)
        elif not self._has_told_root:
            self._has_told_root = True
            self._whole.found(
                f"the checkpoint of size {checkpoint.size} was signed over other rows: of those from "
                f"{self._fitting} to {checkpoint.size - 1}, some were rewritten, swapped, dropped or added"
            )

    def _finish(self) -> None:
        size, whole = int(self._whole.identity["size"]), self._whole
        self._grow()
        beyond = 0
        while self._mark is not None:
            beyond = self._mark[0] if self._mark[1] is not None else beyond
            self._mark = next(self._marks, None)
        self._check_end(size, beyond)
        if self._is_dense and self._next == size:
            self._check_frontier()
            self._tiles.finish(size, self._fitting)
        whole.check_keys()
        self._check_purposes()

    def _check_end(self, size: int, beyond: int) -> None:
        if self._next < size:
            last = f"rows {self._next} to {size - 1} are" if self._next < size - 1 else "it is"
            self._whole.found(f"{last} missing at the end: the ledger was truncated", self._next)
        elif self._next > size:
            self._whole.found(
                f"the tree counts {size} rows: from there on rows were added, or it was altered", size
            )
        if beyond > self._next:
            self._whole.found(
                f"a checkpoint covers {beyond} rows, and {self._next} are left: the ledger was truncated",
                self._next,
            )

    def _check_frontier(self) -> None:
        stored = self._whole.identity["frontier"]
        if stored == self._frontier.encode():
            if not self._has_told_root:
                self._fitting = self._next
            return
        if self._fitting == self._next:
            self._whole.found("the tree's frontier was altered: the rows and the newest checkpoint agree")
            return
        start = _first_difference(self._frontier, stored)
        self._whole.found(
            f"the rows from {start} to {self._next - 1} no longer make up the tree's frontier: some were "
            "swapped or rewritten, or the frontier was altered",
            self._out_of_order(start),
        )

    def _out_of_order(self, start: int) -> int:
        return _out_of_order(self._whole.connection, start, self._next)

    def _check_purposes(self) -> None:
        """Compare the purposes' table with the rows; of emptied ones only that they were before is known."""
        stored = {
            row.id: row.since
            for batch in self._whole.stream(untyped(purposes), "the purposes")
            for row in batch
        }
        is_loose = self._whole.has_emptied
        for purpose in sorted(stored.keys() | self._purposes.keys(), key=str):
            first, since = self._purposes.get(purpose), stored.get(purpose)
            if first == since or (self._start and isinstance(since, int) and since < self._start):
                continue
            if is_loose and isinstance(since, int) and (first is None or since < first):
                continue
            self._whole.found(
                f"the purpose {purpose!r} is said to be asked about from row {since!r} on, and the first row "
                f"that speaks of it is {first!r}: one of them was altered, or dropped"
            )


class _Tiles:
    """The stored tiles beside those that the rows make; at most one tile a level is in memory."""

    def __init__(self, whole: Verification, start: int) -> None:
        self._whole = whole
        self._start = start
        self._stored: dict[int, tuple[int, object]] = {}
        self._wrong: dict[int, int] = {}

    def compare(self, finished: Sequence[TileHash]) -> None:
        """Compare each hash with the stored one; the first that differs of each level is remembered."""
        for one in finished:
            at = one.index % TILE_WIDTH * HASH_BYTES
            stored = self._tile(one.level, one.index // TILE_WIDTH)
            if not isinstance(stored, bytes) or stored[at : at + HASH_BYTES] != one.digest:
                self._wrong.setdefault(one.level, one.index)

    def _tile(self, level: int, tile: int) -> object:
        if self._stored.get(level, (-1, None))[0] != tile:
            wanted = select(raw(tiles.c.hashes)).where(tiles.c.level == level, tiles.c.tile == tile)
            self._stored[level] = tile, self._whole.connection.scalar(wanted)
        return self._stored[level][1]

    def finish(self, size: int, fitting: int) -> None:
        """Say what differs: the rows, unless a checkpoint or the frontier agrees with them."""
        for level, index in self._wrong.items():
            width = 1 << TILE_HEIGHT * level
            start, end = index * width, (index + 1) * width
            if end <= fitting:
                self._whole.found(
                    f"hash {index} of level {level} of the tree's tiles was altered: the rows fit the rest"
                )
            elif level == 1:
                self._whole.found(
                    f"the rows from {start} to {end - 1} no longer make up their tile: some were swapped or "
                    "rewritten, or the tile was altered",
                    _out_of_order(self._whole.connection, start, end),
                )
        if [tuple(row) for row in self._shapes()] != list(_shapes(size)):
            self._whole.found(
                "the tree's tiles are not those of a tree of its size: a row was dropped, added or cut"
            )

    def _shapes(self) -> Iterator[Any]:
        query = select(raw(tiles.c.level), raw(tiles.c.tile), func.length(tiles.c.hashes))
        for batch in self._whole.stream(query.order_by(tiles.c.level, tiles.c.tile), "the tiles"):
            yield from batch


def _shapes(size: int) -> Iterator[tuple[int, int, int]]:
    """Give level, tile and length of every tile that a tree of a size has."""
    level = 1
    while hashes := size >> TILE_HEIGHT * level:
        for tile in range((hashes + TILE_WIDTH - 1) // TILE_WIDTH):
            yield level, tile, min(TILE_WIDTH, hashes - tile * TILE_WIDTH) * HASH_BYTES
        level += 1


def _first_difference(frontier: Frontier, stored: object) -> int:
    """Give the first row under the first perfect subtree whose root is not the stored one."""
    start = 0
    encoded = stored if isinstance(stored, bytes) else b""
    heights = [bit for bit in reversed(range(frontier.size.bit_length())) if frontier.size >> bit & 1]
    for at, (height, root) in enumerate(zip(heights, frontier.roots, strict=True)):
        if encoded[at * HASH_BYTES : (at + 1) * HASH_BYTES] != root:
            return start
        start += 1 << height
    return 0


def _out_of_order(connection: Connection, start: int, end: int) -> int:
    """Give the first row of a range whose id is later than the next one's, or the range's first.

    Ids are UUIDv7, so they sort by time; where rows are known to have been swapped, this tells where to look.
    """
    following = events.alias("following")
    first = (
        select(func.min(events.c.position))
        .join(following, following.c.position == events.c.position + 1)
        .where(events.c.position >= start, events.c.position < end, events.c.id > following.c.id)
    )
    position = connection.scalar(first)
    return start if position is None else int(position)


def _answers(stored: str) -> tuple[str, ...] | None:
    """Give the purposes of an event's answers; ``None`` where the text is not the one that is written."""
    answers = read_purposes(stored)
    return tuple(answers) if _ENCODE(answers) == stored else None


def raw(column: Column[Any]) -> Any:
    """Give a column as the driver has it: a value of another kind than the column's is a fault, no error."""
    return type_coerce(column, NullType()).label(column.name)


def untyped(table: Any) -> Select[Any]:
    """Select all of a table's columns as ``raw`` gives them."""
    return select(*(raw(column) for column in table.c))
