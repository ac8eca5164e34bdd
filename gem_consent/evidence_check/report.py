"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass

from gem_consent.proof.checkpoint import Checkpoint
from gem_consent.proof.evidence import Question, Tally

__all__ = ["Report", "Window"]


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows were recorded in a period, by the signed times of checkpoints before and after it.

    Args:
        start, end: the first of them, and the one after the last.
        shown: how many of them the archive shows, those that are empty included.
    """

    start: int
    end: int
    shown: int


@dataclass(frozen=True, slots=True)
class Report:
    """What an archive was found to prove.

    Args:
        ledger: the ledger's name.
        question: what the archive says it was asked for; each row is of it.
        tally: what its choices add up to.
        size: how many rows the tree was grown through.
        unsigned: how many rows that are shown lie after the newest checkpoint.
        newest: the newest checkpoint and its signed time; ``None`` where there is none: nothing is proven.
        checkpoints: how many there are.
        window: where the rows of the period lie.
        keys: the public keys that were believed.
        is_vouched: they came from elsewhere than the archive.
        is_cover_compared: the cover was made by this very release, and says what the rows say.
    """

    ledger: str
    question: Question
    tally: Tally
    size: int
    unsigned: int
    newest: tuple[Checkpoint, str] | None
    checkpoints: int
    window: Window
    keys: tuple[str, ...]
    is_vouched: bool
    is_cover_compared: bool
