"""The tree over the rows that are read, beside the stored checkpoints, frontier and tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gem_consent.ledger.checkpoints import Statement
from gem_consent.ledger.verification.signed import Stored
from gem_consent.ledger.verification.source import Identity, Source
from gem_consent.ledger.verification.tiles import Tiles, out_of_order
from gem_consent.proof.checkpoint import Checkpoint
from gem_consent.proof.tree import HASH_BYTES, Frontier

__all__ = ["Tree"]


class Tree:
    """Grows with the leaves, and stops at each checkpoint's size to compare.

    Args:
        source: where tiles are read from.
        frontier: the tree before the first leaf.
        signed: the stored checkpoints in order of size.
        held: the checkpoint from elsewhere that the frontier is of.
    """

    def __init__(
        self, source: Source, frontier: Frontier, signed: Iterator[Stored], held: Checkpoint | None
    ) -> None:
        self._source = source
        self._faults = source.faults
        self._frontier = frontier
        self._signed = signed
        self._due = next(signed, None)
        self._tiles = Tiles(source)
        self._fitting = frontier.size
        self._has_told_root = False
        self.signed = 0
        self.newest = (held, Statement.of(held).time) if held else None
        self._pass_checkpoints()

    def add(self, leaves: Sequence[bytes]) -> None:
        """Add leaves in order."""
        at = 0
        while self._due is not None and self._due[0] <= self._frontier.size + len(leaves) - at:
            until = at + self._due[0] - self._frontier.size
            self._grow(leaves[at:until])
            at = until
            self._pass_checkpoints()
        self._grow(leaves[at:])

    def _grow(self, leaves: Sequence[bytes]) -> None:
        self._frontier, finished = self._frontier.grow(leaves)
        self._tiles.compare(finished)

    def _pass_checkpoints(self) -> None:
        """Compare the tree with each checkpoint of this size; of a smaller one, none was right."""
        while self._due is not None and self._due[0] <= self._frontier.size:
            checkpoint = self._due[1]
            if checkpoint is not None:
                self._compare(checkpoint)
            self._due = next(self._signed, None)

    def _compare(self, checkpoint: Checkpoint) -> None:
        if checkpoint.root == self._frontier.root:
            self._fitting = checkpoint.size
            self.signed += 1
            self.newest = checkpoint, Statement.of(checkpoint).time
        elif not self._has_told_root:
            self._has_told_root = True
            self._faults.found(
                f"the checkpoint of size {checkpoint.size} was signed over other rows: of those from "
                f"{self._fitting} to {checkpoint.size - 1}, some were rewritten, swapped, dropped or added"
            )

    def finish(self, identity: Identity, count: int, *, is_dense: bool) -> None:
        """Compare the end with what the ledger says of it.

        Args:
            identity: what it says.
            count: how many rows there are up to the last that was read.
            is_dense: all of them were there, so that the tree is of them.
        """
        self._check_end(identity.size, count)
        if is_dense and count == identity.size:
            self._check_frontier(identity.frontier)
            self._tiles.finish(identity.size, self._fitting)

    def _check_end(self, size: int, count: int) -> None:
        if count < size:
            last = f"rows {count} to {size - 1} are" if count < size - 1 else "it is"
            self._faults.found(f"{last} missing at the end: the ledger was truncated", count)
        elif count > size:
            self._faults.found(
                f"the tree counts {size} rows: from there on rows were added, or it was altered", size
            )
        beyond = self._covered()
        if beyond > count:
            self._faults.found(
                f"a checkpoint covers {beyond} rows, and {count} are left: the ledger was truncated", count
            )

    def _covered(self) -> int:
        """Read the checkpoints that are left, and give the size of the last that holds."""
        covered = 0
        while self._due is not None:
            covered = self._due[0] if self._due[1] is not None else covered
            self._due = next(self._signed, None)
        return covered

    def _check_frontier(self, stored: object) -> None:
        size = self._frontier.size
        if stored == self._frontier.encode():
            if not self._has_told_root:
                self._fitting = size
            return
        if self._fitting == size:
            self._faults.found("the tree's frontier was altered: the rows and the newest checkpoint agree")
            return
        start = _first_difference(self._frontier, stored)
        self._faults.found(
            f"the rows from {start} to {size - 1} no longer make up the tree's frontier: some were "
            "swapped or rewritten, or the frontier was altered",
            out_of_order(self._source.connection, start, size),
        )


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
