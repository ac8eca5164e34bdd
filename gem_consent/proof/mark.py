"""A mark: the row of its own that says which rows of the ledger were emptied, and by which rule. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from gem_consent.errors import ProofError
from gem_consent.proof.event import Event, event_id, utc_text

__all__ = [
    "MAX_MARK_CHARACTERS",
    "MAX_RULE_CHARACTERS",
    "Kind",
    "Mark",
    "Range",
    "mark_events",
    "ranges_of",
]

Kind: TypeAlias = Literal["erased", "purged"]
"""Why rows were emptied: a person's right (GDPR art. 17), or a retention rule (art. 5(1)(e))."""

Range: TypeAlias = tuple[int, int]
"""The first and the last of positions in a row."""

MAX_MARK_CHARACTERS = 16_384
"""How long one mark's text may be; what needs more is said in several marks."""

MAX_RULE_CHARACTERS = 255

_ACTIONS: dict[Kind, str] = {"erased": "erase", "purged": "purge"}
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


@dataclass(frozen=True, slots=True)
class Mark:
    """Which rows were emptied, and by which rule.

    Args:
        rule: in words: ``on request``, or the rule of retention that was given.
        positions: ranges in order, never empty, that neither overlap nor touch.
        withdrawn: the withdrawal that ended a consent which was live until then; it is one of the rows.
        since: the purposes of which one of the rows was the first to speak, by their ids, with its position.

    Raises:
        ProofError: the rule is empty or too long, or the positions are no such ranges.

    Example:
        >>> Mark("on request", ((4, 4), (9, 12))).encode()
        '{"positions":[[4,4],[9,12]],"rule":"on request"}'
    """

    rule: str
    positions: tuple[Range, ...]
    withdrawn: int | None = None
    since: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.rule, str) or not 0 < len(self.rule) <= MAX_RULE_CHARACTERS:
            raise ProofError(f"A mark needs a rule of 1 to {MAX_RULE_CHARACTERS} characters")
        if not self.positions or not _are_in_order(self.positions):
            raise ProofError("A mark's positions must be ranges in order that neither overlap nor touch")
        named = [*self.since.values()] if self.withdrawn is None else [self.withdrawn, *self.since.values()]
        if not all(type(row) is int and any(a <= row <= b for a, b in self.positions) for row in named):
            raise ProofError("The rows that a mark names must be among those that were emptied")

    def encode(self) -> str:
        """Write the mark as canonical JSON: keys sorted, no white space."""
        said: dict[str, object] = {"positions": self.positions, "rule": self.rule}
        if self.withdrawn is not None:
            said["withdrawn"] = self.withdrawn
        if self.since:
            said["since"] = dict(self.since)
        return _ENCODE(said)

    @classmethod
    def decode(cls, text: str) -> Mark:
        """Read a mark, in the one spelling in which it is written.

        Raises:
            ProofError: it is no mark, or spelt otherwise.
        """
        try:
            said = json.loads(text)
            ranges = tuple((start, end) for start, end in said["positions"])
            mark = cls(said["rule"], ranges, said.get("withdrawn"), said.get("since", {}))
            is_same = mark.encode() == text
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ProofError("The mark does not say which rows were emptied by which rule") from error
        if not is_same:
            raise ProofError("The mark is not spelt as marks are")
        return mark

    def __len__(self) -> int:
        return sum(end - start + 1 for start, end in self.positions)


def _are_in_order(ranges: Sequence[Range]) -> bool:
    last = -2
    for start, end in ranges:
        if type(start) is not int or type(end) is not int or not last + 1 < start <= end:
            return False
        last = end
    return ranges[0][0] >= 0


def ranges_of(positions: Iterable[int]) -> Iterator[Range]:
    """Give ascending positions as ranges.

    Example:
        >>> list(ranges_of([4, 9, 10, 11]))
        [(4, 4), (9, 11)]
    """
    start = end = -1
    for position in positions:
        if start >= 0 and position == end + 1:
            end = position
            continue
        if start >= 0:
            yield start, end
        start = end = position
    if start >= 0:
        yield start, end


def mark_events(
    kind: Kind,
    rule: str,
    positions: Iterable[int],
    at: datetime,
    *,
    surface: str,
    library: str,
    withdrawn: int | None = None,
    since: Mapping[str, int] | None = None,
) -> list[Event]:
    """Make the rows that say that these positions were emptied: one, or as many as the text needs.

    They name no visitor: whoever was erased is not to be found in the mark of it.

    Args:
        kind: why.
        rule: in words.
        positions: in order.
        at: when, aware.
        surface: where from: ``command`` or ``preferences``.
        library: the library's name and version.
        withdrawn, since: as in ``Mark``; said in the mark that names the row.
    """
    return [
        Event(
            id=event_id(at),
            time=utc_text(at),
            subject="",
            site="",
            state=kind,
            action=_ACTIONS[kind],
            surface=surface,
            purposes={},
            notice="",
            fingerprint="",
            policy_version="",
            language="",
            expires="",
            library=library,
            mark=mark.encode(),
        )
        for mark in _split(rule, list(ranges_of(positions)), withdrawn, since or {})
    ]


def _split(
    rule: str, ranges: Sequence[Range], withdrawn: int | None, since: Mapping[str, int]
) -> Iterator[Mark]:
    # What may surround the ranges: the keys, the rule and the purposes, and the withdrawal.
    room = MAX_MARK_CHARACTERS - len(_ENCODE([rule, dict(since)])) - 100
    some: list[Range] = []
    used = 0
    for start, end in ranges:
        size = len(f"[{start},{end}],")
        if used + size > room:
            yield _part(rule, some, withdrawn, since)
            some, used = [], 0
        some.append((start, end))
        used += size
    if some:
        yield _part(rule, some, withdrawn, since)


def _part(rule: str, ranges: Sequence[Range], withdrawn: int | None, since: Mapping[str, int]) -> Mark:
    def is_here(row: int) -> bool:
        return any(start <= row <= end for start, end in ranges)

    ended = withdrawn if withdrawn is not None and is_here(withdrawn) else None
    return Mark(rule, tuple(ranges), ended, {id_: row for id_, row in since.items() if is_here(row)})
