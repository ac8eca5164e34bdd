"""The keys and checkpoints: every signature, and where the period lies among the signed times."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from gem_consent.errors import ProofError
from gem_consent.evidence_check.archive import Archive
from gem_consent.evidence_check.manifest import TIME, Manifest
from gem_consent.proof.checkpoint import Checkpoint, PublicKey, verify_signers
from gem_consent.proof.evidence import Question
from gem_consent.proof.statement import Statement
from gem_consent.proof.strict import json_object, require_members, require_text
from gem_consent.proof.tree import HASH_BYTES

__all__ = ["Signed", "read_signed"]


@dataclass(slots=True)
class Signed:
    """The checkpoints that hold, in little memory.

    Args:
        listed: the keys that the archive names.
        signers: those keys, or the ones kept elsewhere, that signed.
        sizes: what the checkpoints cover, in order.
        start, end: the first row after the last checkpoint before the period, and the size of the first one
            after it; ``None`` where there is none.
        note: the newest checkpoint as it was signed.
        newest: the same, and its signed time.
    """

    listed: Sequence[PublicKey]
    signers: set[PublicKey] = field(default_factory=set)
    sizes: array[int] = field(default_factory=lambda: array("q"))
    start: int = 0
    end: int | None = None
    note: bytes | None = None
    newest: tuple[Checkpoint, str] | None = None
    _roots: bytearray = field(default_factory=bytearray)

    @property
    def size(self) -> int:
        """What the newest covers; 0 where there is none."""
        return self.sizes[-1] if self.sizes else 0

    def root(self, at: int) -> bytes:
        """Give the root that the checkpoint of this index was signed over."""
        return bytes(self._roots[at * HASH_BYTES : (at + 1) * HASH_BYTES])

    def add(self, note: bytes, checkpoint: Checkpoint, time: str, question: Question) -> None:
        """Take the next checkpoint."""
        self.sizes.append(checkpoint.size)
        self._roots += checkpoint.root
        self.note, self.newest = note, (checkpoint, time)
        if question.since is not None and time <= question.since:
            self.start = checkpoint.size
        if self.end is None and question.until is not None and time >= question.until:
            self.end = checkpoint.size


def read_signed(archive: Archive, manifest: Manifest, known: Sequence[PublicKey]) -> Signed:
    """Verify every checkpoint.

    Args:
        known: public keys that were kept elsewhere; they alone are believed. Without any, the archive's own.
    """
    signed = Signed(_read_keys(archive))
    seen: set[PublicKey] = set()
    for number, line in enumerate(archive.lines("checkpoints.jsonl"), 1):
        try:
            note = _note(line)
            checkpoint, signers = verify_signers(note, signed.listed)
            seen |= signers
            if known:
                checkpoint, signers = verify_signers(note, known)
            signed.signers |= signers
            signed.add(note, checkpoint, _time(checkpoint, signed.size, manifest.ledger), manifest.question)
        except ProofError as error:
            raise ProofError(f"checkpoints.jsonl, line {number}: {error}") from error
    if seen != set(signed.listed):
        raise ProofError("public-keys.txt does not name the keys that signed the checkpoints: altered")
    return signed


def _read_keys(archive: Archive) -> list[PublicKey]:
    text = archive.content("public-keys.txt")
    keys = [PublicKey.parse(line) for line in text.decode(errors="replace").splitlines()]
    if "".join(f"{key}\n" for key in keys).encode() != text:
        raise ProofError("public-keys.txt does not hold one public key a line: it was altered")
    return keys


def _note(line: bytes) -> bytes:
    found = json_object(line, "it")
    require_members(found, ("note",), "it")
    return require_text(found["note"], "the note").encode(errors="replace")


def _time(checkpoint: Checkpoint, before: int, ledger: str) -> str:
    """Give the signed time of a checkpoint that continues the one before it, of this ledger."""
    said = Statement.of(checkpoint)
    if checkpoint.origin != ledger:
        raise ProofError(f"it is of {checkpoint.origin[:120]!r}, and the archive of {ledger[:120]!r}")
    if checkpoint.size <= before or said.previous != before:
        raise ProofError(f"a checkpoint between size {before} and it was dropped or added")
    if not TIME.fullmatch(said.time):
        raise ProofError("its time is not written as times are")
    return said.time
