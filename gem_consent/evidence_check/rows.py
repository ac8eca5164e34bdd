"""The rows: one walk through the tree, past every checkpoint, by what tables and proofs say of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gem_consent.errors import ProofError
from gem_consent.evidence_check.archive import Archive
from gem_consent.evidence_check.faults import wrong
from gem_consent.evidence_check.manifest import Manifest
from gem_consent.evidence_check.marks import Marks
from gem_consent.evidence_check.signed import Signed
from gem_consent.evidence_check.table import Table, mark_columns
from gem_consent.proof.evidence import CHOICES, Hidden, Shown, Tally, Tree, committed, parse_line
from gem_consent.proof.mark import Mark

__all__ = ["Rows"]

_NEEDS_NOTICE = frozenset({"given", "renewed"})


class Rows:
    """How far the walk has come, and what it has found.

    Args:
        advance: called with the number of rows that were just read.
    """

    def __init__(
        self, archive: Archive, manifest: Manifest, signed: Signed, advance: Callable[[int], object]
    ) -> None:
        self._archive, self._manifest, self._signed, self._advance = archive, manifest, signed, advance
        self._question, self._notices = manifest.question, archive.notices
        self._tree, self._marks = Tree(), Marks()
        self._next = self._fitting = 0
        self.tally = Tally()
        self.shown = self.unsigned = 0

    @property
    def size(self) -> int:
        """How many rows the tree was grown through."""
        return self._tree.size

    def read(self) -> None:
        """Read them all, and refuse the first that does not agree."""
        with self._archive.open("events.csv") as sheet:
            self._table = Table(self._archive.lines("events.jsonl"), sheet)
            for number, line in enumerate(self._archive.lines("proofs.jsonl"), 1):
                self._read_part(parse_line(line, number))
            self._table.finish(self.size)
        if self._next < len(self._signed.sizes):
            raise self._wrong("the proofs end before the newest checkpoint: some were cut off")
        if self._table.count != self._manifest.events:
            raise ProofError(
                f"manifest.json does not say that there are {self._table.count} rows: it was altered"
            )
        if self._manifest.rows < self.size:
            raise ProofError(f"manifest.json says that the ledger had fewer than {self.size} rows")
        self._marks.check()

    def _wrong(self, what: str, columns: Mapping[str, Any] | None = None) -> ProofError:
        return wrong(self.size, what, columns)

    def _read_part(self, part: Shown | Hidden) -> None:
        start = part.position if isinstance(part, Shown) else part.start
        if start != self.size:
            raise self._wrong(f"the proofs go on at row {start}: a line was dropped, added or swapped")
        if isinstance(part, Shown):
            self._read_shown(part)
        else:
            self._read_hidden(part)
        self._pass_checkpoints()

    def _read_shown(self, part: Shown) -> None:
        columns = self._table.next_row(part.position) if part.event is None else mark_columns(part.event)
        try:
            leaf = committed(part, columns)
        except ProofError as error:
            raise self._wrong(str(error), columns) from error
        if part.event is None and not self._question.covers(columns):
            raise self._wrong(
                "it is of another time or visitor than the archive says it was asked for", columns
            )
        if columns["state"] in CHOICES:
            self._require_notice(columns)
        else:
            self._note_mark(columns)
        self.tally.add(columns)
        self.unsigned += part.position >= self._signed.size
        self._count(part.position, part.position + 1)
        self._tree.add(leaf)
        self._advance(1)

    def _require_notice(self, columns: Mapping[str, Any]) -> None:
        digest = columns["notice"]
        if (digest or columns["state"] in _NEEDS_NOTICE) and digest not in self._notices:
            raise self._wrong(f"it answers the notice {digest[:64]!r}, which is not in the archive", columns)

    def _note_mark(self, columns: Mapping[str, Any]) -> None:
        try:
            self._marks.add(Mark.decode(columns["mark"]))
        except (KeyError, ProofError) as error:
            raise self._wrong("it is neither a choice nor a mark", columns) from error

    def _read_hidden(self, part: Hidden) -> None:
        if part.is_emptied:
            if self._question.is_whole:
                for position in range(part.start, part.end):
                    self._table.pass_empty(position)
                    self._advance(1)
            self._marks.add_empty(part.start, part.end)
            self.tally.emptied += part.end - part.start
            self._count(part.start, part.end)
        elif self._question.is_whole:
            raise self._wrong(f"rows to {part.end - 1} are missing, in an archive of all rows: taken out")
        sizes = self._signed.sizes
        if self._next < len(sizes) and part.end > sizes[self._next]:
            raise self._wrong(f"the proofs pass over the checkpoint of size {sizes[self._next]}")
        self._tree.skip(part)

    def _count(self, start: int, end: int) -> None:
        high = end if self._signed.end is None else self._signed.end
        self.shown += max(0, min(end, high) - max(start, self._signed.start))

    def _pass_checkpoints(self) -> None:
        while self._next < len(self._signed.sizes) and self._signed.sizes[self._next] == self.size:
            if self._signed.root(self._next) != self._tree.root:
                raise ProofError(
                    f"Rows {self._fitting} to {self.size - 1}: the checkpoint after them was signed "
                    "over other rows; some were edited, swapped, dropped or added"
                )
            self._fitting = self.size
            self._next += 1
