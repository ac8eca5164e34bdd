"""The marks of a ledger: which rows they say were emptied, by position, in little memory."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import get_args

from sqlalchemy import select

from gem_consent.errors import ProofError
from gem_consent.ledger.schema import events
from gem_consent.ledger.verification.faults import Faults
from gem_consent.ledger.verification.source import Source, raw
from gem_consent.proof.mark import Kind, Mark

__all__ = ["Marks", "read_marks"]

KINDS: Sequence[Kind] = get_args(Kind)


class Marks:
    """Ranges of positions, each with the kind of its mark; they do not overlap.

    Args:
        starts, ends: the ranges, in order.
        kinds: each one's index in ``KINDS``.
        since: by purpose, the first row that spoke of it, where that row was emptied.
        rows: the positions of the marks themselves, in order.
        faults: what none of them may say, and some do.
    """

    def __init__(
        self,
        starts: Sequence[int],
        ends: Sequence[int],
        kinds: Sequence[int],
        since: Mapping[str, int],
        rows: Sequence[int],
        faults: Faults,
    ) -> None:
        self._starts, self._ends, self._kinds = starts, ends, kinds
        self.since = since
        self._rows = rows
        self.faults = faults

    def kind_of(self, position: int) -> Kind | None:
        """Say how a row was emptied; ``None`` where no mark says that it was."""
        at = bisect_right(self._starts, position) - 1
        return KINDS[self._kinds[at]] if at >= 0 and position <= self._ends[at] else None

    def start_after(self, position: int) -> int | None:
        """Give where the next range begins, after this position."""
        at = bisect_right(self._starts, position)
        return self._starts[at] if at < len(self._starts) else None

    def has_between(self, before: int, position: int) -> bool:
        """Say whether a row between two others was emptied."""
        at = bisect_right(self._ends, before)
        return at < len(self._starts) and max(self._starts[at], before + 1) < position

    def count_from(self, start: int) -> int:
        """Say how many marks there are from a position on."""
        return len(self._rows) - bisect_right(self._rows, start - 1)


def read_marks(source: Source) -> Marks:
    """Read all marks.

    What a mark says is believed here, as long as it can be: whether its row is as it was written, is found
    where rows are read.
    """
    found = _Ranges()
    wanted = select(*(raw(events.c[name]) for name in ("position", "id", "time", "state", "mark")))
    query = wanted.where(events.c.mark.is_not(None)).order_by(events.c.position)
    for batch in source.stream(query, "the marks"):
        for row in batch:
            found.add(*row)
    return found.sorted()


class _Ranges:
    """Gathers ranges as the marks name them, eight bytes a number: a ledger may have a million."""

    def __init__(self) -> None:
        self._faults = Faults()
        self._starts, self._ends, self._kinds = array("q"), array("q"), bytearray()
        self._since: dict[str, int] = {}
        self._rows = array("q")
        self._is_ascending = True

    def add(self, position: object, id_: object, time: object, state: object, text: object) -> None:
        where = (position, id_, time)
        if not isinstance(position, int) or state not in KINDS:
            self._faults.found(f"it has a mark, and its state is {str(state)[:16]!r}: it was altered", *where)
            return
        self._rows.append(position)
        try:
            mark = Mark.decode(text if isinstance(text, str) else "")
        except ProofError as error:
            self._faults.found(f"{error}: it was altered", *where)
            return
        last = mark.positions[-1][1]
        if last >= position:
            self._faults.found(f"its mark names row {last}, which is not before it: it is forged", *where)
            return
        for start, end in mark.positions:
            self._is_ascending = self._is_ascending and (not self._ends or start > self._ends[-1])
            self._starts.append(start)
            self._ends.append(end)
            self._kinds.append(KINDS.index(state))
        for purpose, since in mark.since.items():
            self._since[purpose] = min(since, self._since.get(purpose, since))

    def sorted(self) -> Marks:
        if self._is_ascending:
            return self._marks(self._starts, self._ends, self._kinds)
        order = array("q", sorted(range(len(self._starts)), key=self._starts.__getitem__))
        starts, ends, kinds = array("q"), array("q"), bytearray()
        for at in order:
            start, end = self._starts[at], self._ends[at]
            if ends and start <= ends[-1]:
                self._faults.found("two marks say that it was emptied: one of them is forged", start)
                start = ends[-1] + 1
            if start <= end:
                starts.append(start)
                ends.append(end)
                kinds.append(self._kinds[at])
        return self._marks(starts, ends, kinds)

    def _marks(self, starts: Sequence[int], ends: Sequence[int], kinds: Sequence[int]) -> Marks:
        return Marks(starts, ends, kinds, self._since, self._rows, self._faults)
