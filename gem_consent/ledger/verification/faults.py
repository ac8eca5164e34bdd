"""What is wrong with a ledger: the first faults in words, all of them counted."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MAX_FAULTS", "Fault", "Faults"]

MAX_FAULTS = 20
"""How many faults a report words; the others are counted."""


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


class Faults:
    """Takes note of faults as they are found, in whatever order."""

    def __init__(self) -> None:
        self._kept: list[Fault] = []
        self.count = 0

    def found(self, what: str, position: object = None, id: object = None, time: object = None) -> None:
        """Note a fault; what cannot be a position, an id or a time is left out."""
        self.count += 1
        texts = [value if isinstance(value, str) else None for value in (id, time)]
        self._kept.append(Fault(what, position if isinstance(position, int) else None, *texts))
        if len(self._kept) > 2 * MAX_FAULTS:
            self._kept = list(self.first())

    def include(self, others: Faults) -> None:
        """Note what others have found; of one row, what was found here comes first."""
        self.count += others.count
        self._kept += others.first()

    def first(self) -> tuple[Fault, ...]:
        """Give the first of them, those of rows before the others."""

        def order(fault: Fault) -> tuple[bool, int]:
            return fault.position is None, fault.position or 0

        return tuple(sorted(self._kept, key=order)[:MAX_FAULTS])
