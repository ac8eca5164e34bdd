"""Whether a ledger still holds what was written: every row, the tree over them, and what was signed of it.

One read transaction, streamed, with flat memory; it writes nothing and repairs nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

from sqlalchemy import Column, Connection, Select, func, select, type_coerce
from sqlalchemy.exc import OperationalError
from sqlalchemy.types import NullType

from gem_consent.errors import LedgerError, ProofError
from gem_consent.ledger.checkpoints import NO_SEAL, Statement, notice_seal, origin_of
from gem_consent.ledger.export import read_purposes
from gem_consent.ledger.schema import (
    SCHEMA_VERSION,
    checkpoints,
    events,
    keys,
    ledger,
    notices,
    purposes,
    requests,
    tiles,
)
from gem_consent.ledger.tiles import tile_reader
from gem_consent.proof.checkpoint import Checkpoint, PublicKey, parse, verify_signers
from gem_consent.proof.event import Event
from gem_consent.proof.tree import (
    EMPTY,
    HASH_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    Frontier,
    TileHash,
    frontier_of,
    leaf_hash,
)

__all__ = ["MAX_FAULTS", "Fault", "Report", "count", "verify"]

MAX_FAULTS = 20
"""How many faults a report words; the others are counted."""

BATCH_ROWS = 1000
BATCH_NOTICES = 20

_NAMES = tuple(sorted(field.name for field in fields(Event)))
_ASKED, _ID, _NOTICE, _STATE, _TIME = (_NAMES.index(n) for n in ("purposes", "id", "notice", "state", "time"))
# The canonical form (``proof/event.py``) with a place for each value: half the time of encoding a dict.
_TEMPLATE = "{" + ",".join(f'"{name}":%s' for name in _NAMES) + "}"
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
_NEEDS_NOTICE = frozenset({"given", "renewed"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Args:
        what: a sentence that begins in lower case.
        position: of the first row concerned, where it is a row of the events.
        id, time: that row's own, as far as they can be read.
    """

    what: str
    position: int | None = None
    id: str | None = None
    time: str | None = None

    def __str__(self) -> str:
        if self.position is None:
            return self.what
        told = [f"id {self.id}"] * bool(self.id) + [f"of {self.time}"] * bool(self.time)
        return f"row {self.position}{' (' + ', '.join(told) + ')' if told else ''}: {self.what}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found.

    Args:
        origin: the ledger's name in its checkpoints.
        size: how many rows its tree counts.
        start: the first position that was read; rows before it are covered by the checkpoint that was given.
        choices: how many of the rows read are choices.
        emptied: how many of them were erased or purged.
        notices: how many notices there are.
        signed: how many of the checkpoints read hold.
        newest: the newest of them, and the time it was signed; ``None`` where there is none.
        keys: the public keys that were believed.
        is_vouched: they, or a checkpoint, came from elsewhere than the ledger.
        faults: the first of them, those of rows first, in order.
        fault_count: all of them.
    """

    origin: str
    size: int
    start: int
    choices: int
    emptied: int
    notices: int
    signed: int
    newest: tuple[Checkpoint, str] | None
    keys: tuple[str, ...]
    is_vouched: bool
    faults: tuple[Fault, ...]
    fault_count: int

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.fault_count

    @property
    def uncovered(self) -> int:
        """How many rows lie after the newest checkpoint that holds."""
        return self.size - (self.newest[0].size if self.newest else 0)


def count(connection: Connection) -> int:
    """Say how many rows a whole verification will read."""
    return int(connection.execute(select(func.count()).select_from(events)).scalar_one())


def verify(
    connection: Connection,
    *,
    known: Sequence[PublicKey] = (),
    since: bytes | None = None,
    advance: Callable[[int], object] = lambda rows: None,
) -> Report:
    """Read a ledger and compare all that must agree.

    Args:
        connection: one read transaction.
        known: public keys that were kept elsewhere: they alone are believed. Without any, the ledger's own.
        since: a signed checkpoint that was kept elsewhere: the tree must continue it, and only later rows are
            read (all of them where it does not, to name the first bad one).
        advance: called with the number of rows that were just read.

    Raises:
        LedgerError: there is not even a ledger to compare with.
    """
    return _Verification(connection, known, since, advance).run()


class _Verification:
    """One verification's state: what was read so far, and what was found wrong."""

    def __init__(
        self,
        connection: Connection,
        known: Sequence[PublicKey],
        since: bytes | None,
        advance: Callable[[int], object],
    ) -> None:
        self._connection = connection
        self._given = known
        self._since = since
        self._advance = advance
        self._faults: list[Fault] = []
        self._fault_count = 0
        self._identity = _identity(connection)
        self._origin = origin_of(str(self._identity["uuid"]))
        self._size = self._identity["size"]
        self._seals = [NO_SEAL]
        self._digests: set[str] = set()
        self._keys: list[PublicKey] = list(known)
        self._newest: tuple[Checkpoint, str] | None = None
        self._signed = self._choices = self._emptied = 0
        self._start = 0

    def run(self) -> Report:
        self._check_identity()
        self._read_notices()
        self._read_keys()
        frontier = self._opening()
        self._start = frontier.size
        rows = _Rows(self, frontier)
        rows.read()
        self._check_links()
        self._check_requests()
        if self._given and not self._signed and not self._start:
            self.found("no checkpoint of the ledger holds under the public keys that were given")
        return self._report()

    def found(self, what: str, position: object = None, id: object = None, time: object = None) -> None:
        """Note a fault; those of rows are kept before the others."""
        self._fault_count += 1
        texts = [value if isinstance(value, str) else None for value in (id, time)]
        self._faults.append(Fault(what, position if isinstance(position, int) else None, *texts))
        if len(self._faults) > 2 * MAX_FAULTS:
            self._faults = self._first_faults()

    def _first_faults(self) -> list[Fault]:
        def order(fault: Fault) -> tuple[bool, int]:
            return fault.position is None, fault.position or 0

        return sorted(self._faults, key=order)[:MAX_FAULTS]

    def _report(self) -> Report:
        return Report(
            origin=self._origin,
            size=self._size,
            start=self._start,
            choices=self._choices,
            emptied=self._emptied,
            notices=len(self._digests),
            signed=self._signed,
            newest=self._newest,
            keys=tuple(str(key) for key in self._keys),
            is_vouched=bool(self._given or self._since),
            faults=tuple(self._first_faults()),
            fault_count=self._fault_count,
        )

    def stream(self, query: Select[Any], what: str, batch: int = BATCH_ROWS) -> Iterator[Sequence[Any]]:
        """Give rows in batches; a text that no ledger writes ends them with a fault."""
        try:
            yield from self._connection.execute(query, execution_options={"yield_per": batch}).partitions()
        except OperationalError as error:
            if "decode to UTF-8" not in str(error.orig):
                raise
            self.found(
                f"{what} hold a text that is not in UTF-8: altered; those from there on cannot be read"
            )

    # The ledger's row, its notices, its keys

    def _check_identity(self) -> None:
        row = self._identity
        if row["one"] != 1 or row["schema_version"] != SCHEMA_VERSION:
            self.found("the row that says which ledger this is was altered")

    def _read_notices(self) -> None:
        """Check each page against its digest, and the seals that chain the notices together."""
        query = _untyped(notices).order_by(notices.c.number)
        for batch in self.stream(query, "the notices", BATCH_NOTICES):
            for row in batch:
                self._check_notice(row._mapping)

    def _check_notice(self, row: Mapping[str, Any]) -> None:
        number = len(self._seals)
        try:
            is_whole = hashlib.sha256(row["html"]).hexdigest() == row["digest"]
            seal = notice_seal(self._seals[-1], number, row)
        except TypeError:
            is_whole, seal = False, b""
        name = f"the notice {str(row['digest'])[:64]!r} (number {row['number']!r})"
        if row["number"] != number:
            self.found(f"{name} should be number {number}: a notice was dropped, added or renumbered")
        elif not is_whole:
            self.found(f"{name} is not the page that its digest names: one of them was altered")
        elif seal != row["seal"]:
            self.found(f"{name} no longer matches its seal: it was altered, or swapped with another")
        self._seals.append(row["seal"] if isinstance(row["seal"], bytes) else b"")
        self._digests.add(row["digest"])

    def _read_keys(self) -> None:
        self.first_signed: dict[str, int] = {}
        self._key_rows: dict[str, int] = {}
        for batch in self.stream(_untyped(keys).order_by(keys.c.since, keys.c.key), "the public keys"):
            for text, since in batch:
                key = _public_key(text, self._origin)
                if key is None:
                    self.found(f"the public key {str(text)[:120]!r} is none of this ledger's: it was altered")
                    continue
                self._key_rows[text] = since
                if not self._given:
                    self._keys.append(key)
        for key in self._given:
            if key.name != self._origin:
                self.found(f"the public key given is of {key.name!r}, and this ledger is {self._origin!r}")

    def check_keys(self) -> None:
        """Compare when each key signed first with what its row says."""
        believed = {str(key) for key in self._keys}
        for text, since in self._key_rows.items():
            is_read = not (self._start and isinstance(since, int) and since <= self._start)
            first = self.first_signed.get(text)
            if is_read and text in believed and first != since:
                self.found(
                    f"the public key {text!r} is said to have signed from size {since!r} on, and its first "
                    f"checkpoint that holds is of size {first}: one of them was altered, dropped or replaced"
                )
        for text in self.first_signed.keys() - self._key_rows.keys():
            self.found(f"the public key {text!r} signed checkpoints and is missing from the ledger's keys")

    # The checkpoint from elsewhere

    def _opening(self) -> Frontier:
        """Give the frontier to read on from: the checkpoint's that was given, if the tree continues it."""
        if self._since is None:
            return EMPTY
        try:
            return self._continued(self._since)
        except ProofError as error:
            self.found(f"the checkpoint that was given: {error}")
        return EMPTY

    def _continued(self, note: bytes) -> Frontier:
        held = (
            verify_signers(note, self._keys)[0] if self._given else _believed(note, self._keys, self._origin)
        )
        if held.origin != self._origin:
            raise ProofError(f"it is of {held.origin!r}, and this ledger is {self._origin!r}")
        if held.size > self._size:
            raise ProofError(
                f"it covers {held.size} rows, and the ledger has {self._size} left: it was truncated, or an "
                "older copy was put in its place"
            )
        try:
            frontier = frontier_of(held.size, tile_reader(self._connection))
        except (TypeError, ValueError) as error:
            raise ProofError("the tree's tiles cannot be read") from error
        if frontier.root != held.root:
            raise ProofError(
                f"the first {held.size} rows are no longer those that it covers: history was rewritten"
            )
        self._newest = held, Statement.of(held).time
        return frontier

    # Checkpoints

    def checkpoint(self, row: Mapping[str, Any], previous: int) -> Checkpoint | None:
        """Check one checkpoint's signature, and what it says against its row; ``None`` if not so."""
        size = row["size"]
        try:
            found, signers = verify_signers(str(row["note"]).encode(errors="replace"), self._keys)
            said = Statement.of(found)
            self._require(found.origin == self._origin, f"it is of {found.origin!r}")
            self._require(found.size == size, f"its note says size {found.size}")
            self._require(said.time == row["time"], f"its note says that it is of {said.time}")
            self._require(
                said.previous == previous, f"a checkpoint between {previous} and it was dropped or added"
            )
            self._require(
                said.notices < len(self._seals) and self._seals[said.notices] == said.seal,
                f"the {said.notices} notices that it covers are no longer the same",
            )
        except ProofError as error:
            self.found(f"the checkpoint of size {size!r} is forged, or was altered: {_lower(str(error))}")
            return None
        for key in signers:
            self.first_signed.setdefault(str(key), found.size)
        return found

    @staticmethod
    def _require(holds: bool, otherwise: str) -> None:
        if not holds:
            raise ProofError(otherwise)

    def holds(self, checkpoint: Checkpoint) -> None:
        """Note that a checkpoint's signature and root are right."""
        self._signed += 1
        self._newest = checkpoint, Statement.of(checkpoint).time

    def tally(self, choices: int, emptied: int, rows: int) -> None:
        """Count what was read."""
        self._choices += choices
        self._emptied += emptied
        self._advance(rows)

    # Events among themselves

    def _check_links(self) -> None:
        """Find rows that name another row than the subject's one before; the database does the looking."""
        earlier = events.alias("earlier")
        before = (
            select(earlier.c.id)
            .where(earlier.c.subject == events.c.subject, earlier.c.position < events.c.position)
            .order_by(earlier.c.position.desc())
            .limit(1)
            .scalar_subquery()
        )
        wanted = [_raw(events.c[name]) for name in ("position", "id", "time", "previous")]
        broken = select(*wanted, before).where(
            events.c.id.is_not(None),
            events.c.position >= self._start,
            events.c.previous.is_distinct_from(before),
        )
        for batch in self.stream(broken.order_by(events.c.position), "the events"):
            for position, id_, time, previous, expected in batch:
                if not (expected is None and self._emptied and self._is_gone(previous)):
                    self.found(
                        f"it names {previous!r} as the same visitor's row before it, and that is "
                        f"{expected!r}: a row was dropped, added, swapped or altered",
                        *(position, id_, time),
                    )

    def _is_gone(self, id_: object) -> bool:
        return self._connection.scalar(select(events.c.position).where(events.c.id == id_)) is None

    def _check_requests(self) -> None:
        # Keys and times of requests are a memory of ten minutes, and prove nothing.
        row = select(events.c.position).where(events.c.id == requests.c.event)
        lost = select(func.count()).select_from(requests).where(~row.exists())
        if self._connection.scalar(lost) and not self._emptied:
            self.found("a request that is remembered belongs to no row: one of them was altered or dropped")

    # What the rows need

    @property
    def connection(self) -> Connection:
        """The read transaction."""
        return self._connection

    @property
    def identity(self) -> Mapping[str, Any]:
        """The row that says which ledger this is."""
        return self._identity

    @property
    def digests(self) -> set[str]:
        """The notices that there are."""
        return self._digests

    @property
    def has_emptied(self) -> bool:
        """Whether rows were erased or purged."""
        return self._emptied > 0


class _Rows:
    """Reads the events in order, and grows the tree over them beside the tiles and checkpoints."""

    def __init__(self, whole: _Verification, frontier: Frontier) -> None:
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
        self._mark = next(self._marks, None)
        self._pass_marks()
        columns = [_raw(events.c[name]) for name in ("position", "commitment", "leaf", "salt", *_NAMES)]
        query = select(*columns).order_by(events.c.position)
        if self._start:
            query = query.where(events.c.position >= self._start)
        for batch in self._whole.stream(query, "the events"):
            self._read(batch)
        self._finish()

    def _read(self, batch: Sequence[Any]) -> None:
        choices = emptied = 0
        for row in batch:
            position, committed, leaf, salt, *columns = row
            if position != self._next:
                position = self._misplaced(position, columns)
            if salt is None and not any(value is not None for value in columns):
                emptied += 1
                self._whole.found("it was emptied, and no mark says by which rule", position)
            else:
                choices += 1
                self._check(position, committed, salt, columns)
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

    def _check(self, position: int, committed: object, salt: Any, columns: Sequence[Any]) -> None:
        """Check that a row's columns are those that were committed to, byte by byte."""
        stored = columns[_ASKED]
        try:
            texts = ["null" if value is None else encode_basestring(value) for value in columns]
            texts[_ASKED] = stored
            found = hashlib.sha256(salt + (_TEMPLATE % tuple(texts)).encode()).digest()
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
        query = _untyped(checkpoints).order_by(checkpoints.c.size)
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
            for batch in self._whole.stream(_untyped(purposes), "the purposes")
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

    def __init__(self, whole: _Verification, start: int) -> None:
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
            wanted = select(_raw(tiles.c.hashes)).where(tiles.c.level == level, tiles.c.tile == tile)
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
        query = select(_raw(tiles.c.level), _raw(tiles.c.tile), func.length(tiles.c.hashes))
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


def _identity(connection: Connection) -> dict[str, Any]:
    rows = connection.execute(_untyped(ledger)).mappings().all()
    if len(rows) != 1:
        raise LedgerError(f"The ledger has {len(rows)} rows that say which it is, not one: restore a backup")
    size = rows[0]["size"]
    if not isinstance(size, int) or size < 0:
        raise LedgerError(
            f"The ledger's size is {size!r}, which no tree has: it was altered, restore a backup"
        )
    return dict(rows[0])


def _public_key(text: object, origin: str) -> PublicKey | None:
    try:
        key = PublicKey.parse(str(text))
    except ProofError:
        return None
    return key if key.name == origin else None


def _believed(note: bytes, known: Sequence[PublicKey], origin: str) -> Checkpoint:
    """Read a checkpoint from elsewhere, believed for where it comes from, as far as the ledger's keys go."""
    if parse(note).origin != origin:
        return parse(note)
    try:
        return verify_signers(note, known)[0]
    except ProofError as error:
        raise ProofError(
            f"{_lower(str(error))} (the ledger's keys were replaced, or it was altered)"
        ) from error


def _answers(stored: str) -> tuple[str, ...] | None:
    """Give the purposes of an event's answers; ``None`` where the text is not the one that is written."""
    answers = read_purposes(stored)
    return tuple(answers) if _ENCODE(answers) == stored else None


def _raw(column: Column[Any]) -> Any:
    # As the driver gives it: a value of another kind than the column's is a fault, not an error.
    return type_coerce(column, NullType()).label(column.name)


def _untyped(table: Any) -> Select[Any]:
    return select(*(_raw(column) for column in table.c))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
