"""Whether a ledger still holds what was written: every row, the tree over them, and what was signed of it.

One read transaction, streamed, with flat memory; it writes nothing and repairs nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select
from sqlalchemy.exc import OperationalError

from gem_consent.errors import LedgerError, ProofError
from gem_consent.ledger.checkpoints import NO_SEAL, Statement, notice_seal, origin_of
from gem_consent.ledger.schema import (
    SCHEMA_VERSION,
    events,
    keys,
    ledger,
    notices,
    requests,
)
from gem_consent.ledger.tiles import tile_reader
from gem_consent.ledger.verified_rows import Rows, raw, untyped
from gem_consent.proof.checkpoint import Checkpoint, PublicKey, parse, verify_signers
from gem_consent.proof.tree import (
    EMPTY,
    Frontier,
    frontier_of,
)

__all__ = ["MAX_FAULTS", "Fault", "Report", "count", "verify"]

MAX_FAULTS = 20
"""How many faults a report words; the others are counted."""

BATCH_ROWS = 1000
BATCH_NOTICES = 20


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
    return Verification(connection, known, since, advance).run()


class Verification:
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
        rows = Rows(self, frontier)
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
        query = untyped(notices).order_by(notices.c.number)
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
        for batch in self.stream(untyped(keys).order_by(keys.c.since, keys.c.key), "the public keys"):
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
        wanted = [raw(events.c[name]) for name in ("position", "id", "time", "previous")]
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


def _identity(connection: Connection) -> dict[str, Any]:
    rows = connection.execute(untyped(ledger)).mappings().all()
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


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
