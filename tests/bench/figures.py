"""What a benchmark says: a figure, the goal that it must reach, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

__all__ = ["Effort", "Figure", "Ratio", "Run", "at_least", "at_most", "shown"]


class Effort(IntEnum):
    """How much to measure: a look that all parts run, the usual, or also what takes long."""

    QUICK = 0
    USUAL = 1
    BIG = 2


@dataclass(frozen=True, slots=True)
class Run:
    """What a part is given: how much to measure, and a folder that it may fill.

    Args:
        effort: how much.
        folder: where it may leave files; what another run left there may be used again.
    """

    effort: Effort
    folder: Path

    def pick(self, quick: int, usual: int) -> int:
        """Give a number of rounds or events for this effort."""
        return quick if self.effort is Effort.QUICK else usual


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as much one thing took as another, over many rounds.

    Args:
        value: the ratio of the medians.
        low: the first quartile of the rounds' own ratios.
        high: the third.
        rounds: how many rounds.
    """

    value: float
    low: float
    high: float
    rounds: int

    @property
    def inverse(self) -> Ratio:
        """The same, the other way round: how many times as fast."""
        return Ratio(1 / self.value, 1 / self.high, 1 / self.low, self.rounds)

    def __str__(self) -> str:
        return f"{shown(self.value)} ({shown(self.low)}–{shown(self.high)})"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the results.

    Args:
        what: what was measured, in words of Markdown.
        seen: what was found.
        goal: what it must reach; empty where it is told for its own sake.
        is_met: whether it does; ``None`` where there is no goal.
    """

    what: str
    seen: str
    goal: str = ""
    is_met: bool | None = None


def at_least(what: str, goal: float, seen: float | Ratio, unit: str = "") -> Figure:
    """Hold a figure against the least that it must be."""
    return Figure(what, _told(seen, unit), f"≥ {_told(goal, unit)}", _value(seen) >= goal)


def at_most(what: str, goal: float, seen: float | Ratio, unit: str = "") -> Figure:
    """Hold a figure against the most that it may be."""
    return Figure(what, _told(seen, unit), f"≤ {_told(goal, unit)}", _value(seen) <= goal)


def _value(seen: float | Ratio) -> float:
    return seen.value if isinstance(seen, Ratio) else seen


def _told(seen: float | Ratio, unit: str) -> str:
    text = str(seen) if isinstance(seen, Ratio) else shown(seen)
    return f"{text} {unit}".rstrip()


def shown(value: float) -> str:
    """Write a number with two or three digits that mean something.

    Example:
        >>> shown(0.5), shown(1.234), shown(12.34), shown(164_321.0)
        ('0.50', '1.23', '12.3', '164,321')
    """
    if abs(value) >= 100 or value == int(value) >= 10:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
