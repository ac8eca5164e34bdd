"""The checkpoints of a ledger: each one's signature, and what it says beside its tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from gem_consent.errors import ProofError
from gem_consent.ledger.checkpoints import Statement
from gem_consent.ledger.schema import checkpoints
from gem_consent.ledger.tiles import tile_reader
from gem_consent.ledger.verification.keys import Keys
from gem_consent.ledger.verification.notices import Notices
from gem_consent.ledger.verification.source import Identity, Source, untyped
from gem_consent.proof.checkpoint import Checkpoint, PublicKey, parse, verify_signers
from gem_consent.proof.tree import EMPTY, Frontier, frontier_of

__all__ = ["Signed", "Stored", "opening"]

Stored: TypeAlias = tuple[int, Checkpoint | None]
"""The size that a checkpoint is stored under, and the checkpoint unless it is forged or was altered."""


def opening(
    source: Source, identity: Identity, known: Keys, note: bytes | None, *, is_given: bool
) -> tuple[Frontier, Checkpoint | None]:
    """Give the frontier to read on from: the checkpoint's that came from elsewhere, if the tree continues it.

    Args:
        note: that checkpoint.
        is_given: the keys came from elsewhere too; a checkpoint of another key is none then.
    """
    if note is None:
        return EMPTY, None
    try:
        held = verify_signers(note, known.believed)[0] if is_given else _believed(note, known, identity)
        frontier = _continued(source, identity, held)
        Statement.of(held)
        return frontier, held
    except ProofError as error:
        source.faults.found(f"the checkpoint that was given: {error}")
    return EMPTY, None


def _believed(note: bytes, known: Keys, identity: Identity) -> Checkpoint:
    """Read a checkpoint from elsewhere, believed for where it comes from, as far as the ledger's keys go."""
    if parse(note).origin != identity.origin:
        return parse(note)
    try:
        return verify_signers(note, known.believed)[0]
    except ProofError as error:
        raise ProofError(
            f"{_lower(str(error))} (the ledger's keys were replaced, or it was altered)"
        ) from error


def _continued(source: Source, identity: Identity, held: Checkpoint) -> Frontier:
    if held.origin != identity.origin:
        raise ProofError(f"it is of {held.origin!r}, and this ledger is {identity.origin!r}")
    if held.size > identity.size:
        raise ProofError(
            f"it covers {held.size} rows, and the ledger has {identity.size} left: it was truncated, or an "
            "older copy was put in its place"
        )
    try:
        frontier = frontier_of(held.size, tile_reader(source.connection))
    except (TypeError, ValueError) as error:
        raise ProofError("the tree's tiles cannot be read") from error
    if frontier.root != held.root:
        raise ProofError(
            f"the first {held.size} rows are no longer those that it covers: history was rewritten"
        )
    return frontier


class Signed:
    """Reads the stored checkpoints in order of size, and notes which of them do not hold.

    Args:
        start: the size that is read from; those up to it are passed over.
    """

    def __init__(self, source: Source, identity: Identity, known: Keys, notices: Notices, start: int) -> None:
        self._source = source
        self._origin = identity.origin
        self._believed: Sequence[PublicKey] = known.believed
        self._seals = notices.seals
        self._start = start
        self.first_signed: dict[str, int] = {}

    def read(self) -> Iterator[Stored]:
        """Give them; ``first_signed`` grows by whoever signed them."""
        query = untyped(checkpoints).order_by(checkpoints.c.size)
        previous = 0
        for batch in self._source.stream(query, "the checkpoints"):
            for row in batch:
                size = row.size
                if isinstance(size, int) and size <= self._start and self._start:
                    previous = size
                    continue
                yield size if isinstance(size, int) else -1, self._checked(row._mapping, previous)
                previous = size

    def _checked(self, row: Mapping[str, Any], previous: int) -> Checkpoint | None:
        size = row["size"]
        try:
            found, signers = verify_signers(str(row["note"]).encode(errors="replace"), self._believed)
            said = Statement.of(found)
            _require(found.origin == self._origin, f"it is of {found.origin!r}")
            _require(found.size == size, f"its note says size {found.size}")
            _require(said.time == row["time"], f"its note says that it is of {said.time}")
            _require(
                said.previous == previous, f"a checkpoint between {previous} and it was dropped or added"
            )
            _require(
                said.notices < len(self._seals) and self._seals[said.notices] == said.seal,
                f"the {said.notices} notices that it covers are no longer the same",
            )
        except ProofError as error:
            self._source.faults.found(
                f"the checkpoint of size {size!r} is forged, or was altered: {_lower(str(error))}"
            )
            return None
        for key in signers:
            self.first_signed.setdefault(str(key), found.size)
        return found


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ProofError(otherwise)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
