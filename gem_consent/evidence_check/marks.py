"""The marks: every row that is said to be empty is one that a mark says was emptied."""

from __future__ import annotations

from array import array
from bisect import bisect_right

from gem_consent.evidence_check.faults import wrong
from gem_consent.proof.mark import Mark

__all__ = ["Marks"]


class Marks:
    """Gathers what marks say and what is empty, eight bytes a number."""

    def __init__(self) -> None:
        self._starts, self._ends = array("q"), array("q")
        self._empty_starts, self._empty_ends = array("q"), array("q")

    def add(self, mark: Mark) -> None:
        """Take a mark; it may come after the rows that it names."""
        for start, last in mark.positions:
            self._starts.append(start)
            self._ends.append(last + 1)

    def add_empty(self, start: int, end: int) -> None:
        """Take rows that are said to be empty, and the position after them."""
        self._empty_starts.append(start)
        self._empty_ends.append(end)

    def check(self) -> None:
        """Want a mark for each of those rows."""
        order = sorted(range(len(self._starts)), key=self._starts.__getitem__)
        starts = array("q", (self._starts[at] for at in order))
        reach = array("q")
        for at in order:
            reach.append(max(self._ends[at], reach[-1] if reach else 0))
        for start, end in zip(self._empty_starts, self._empty_ends, strict=True):
            while start < end:
                at = bisect_right(starts, start) - 1
                if at < 0 or reach[at] <= start:
                    raise wrong(start, "it is said to be erased or purged, and no mark says so")
                start = reach[at]
