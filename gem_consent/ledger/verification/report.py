"""What a verification found, for whoever asked."""

from __future__ import annotations

from dataclasses import dataclass

from gem_consent.ledger.verification.faults import Fault
from gem_consent.proof.checkpoint import Checkpoint

__all__ = ["Report"]


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found.

    Args:
        origin: the ledger's name in its checkpoints.
        size: how many rows its tree counts.
        start: the first position that was read; rows before it are covered by the checkpoint that was given.
        choices: how many of the rows read are choices.
        marks: how many of them say which rows were emptied.
        emptied: how many of them were emptied.
        erased, purged: how many of the emptied ones a mark says so of; with those of no mark they add up.
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
    marks: int
    emptied: int
    erased: int
    purged: int
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
