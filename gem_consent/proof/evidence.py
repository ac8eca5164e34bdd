"""What an evidence archive is made of, and the rules by which each part proves the others. Pure.

The archive shows some of a ledger's rows, and of all others the hashes of the subtrees that they fill: so the
tree grows once through the whole ledger, past every checkpoint, whichever rows are shown.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gem_consent.errors import ProofError
from gem_consent.proof.event import SALT_BYTES, commitment_to
from gem_consent.proof.strict import hex_bytes, json_object, position_of, require_members
from gem_consent.proof.tree import EMPTY, HASH_BYTES, Frontier, heights_between, leaf_hash

__all__ = [
    "CHOICES",
    "FILES",
    "FORMAT",
    "Hidden",
    "Question",
    "Shown",
    "Tally",
    "Tree",
    "committed",
    "hidden_line",
    "months_between",
    "parse_line",
    "shown_line",
]

FORMAT = "gem-consent/evidence/1"
"""The format's name; an archive of another one is refused."""

FILES = (
    "events.csv",
    "events.jsonl",
    "proofs.jsonl",
    "checkpoints.jsonl",
    "public-keys.txt",
    "verification.txt",
    "index.html",
    "manifest.json",
)
"""What every archive holds, beside ``notices/<digest>.html`` and ``policies/<digest>.json``."""

CHOICES = ("given", "renewed", "withdrawn", "refused")
"""The states that are a visitor's choice, as the cover counts them."""

_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Question:
    """What an archive was asked for.

    Args:
        since: the first instant, as an event's ``time`` is written; ``None`` for the ledger's beginning.
        until: the instant after the last one; ``None`` for its end.
        subject: one visitor's id; ``None`` for all of them.
        language: the cover's.
    """

    since: str | None = None
    until: str | None = None
    subject: str | None = None
    language: str = "fr"

    @property
    def is_whole(self) -> bool:
        """Whether it asks for every row."""
        return self.since is None and self.until is None and self.subject is None

    def covers(self, columns: Mapping[str, Any]) -> bool:
        """Say whether an event is one that was asked for."""
        return (
            (self.since is None or self.since <= columns["time"])
            and (self.until is None or columns["time"] < self.until)
            and (self.subject is None or self.subject == columns["subject"])
        )


@dataclass(frozen=True, slots=True)
class Shown:
    """A row that the archive shows: its content is in ``events.jsonl``, or here if nobody asked for it.

    Args:
        position: the row's.
        salt: 16 bytes.
        commitment: what the leaf is made of, 32 bytes.
        event: the columns of a mark that was not asked for, and says why rows that are shown are empty.
    """

    position: int
    salt: bytes
    commitment: bytes
    event: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Hidden:
    """Rows whose content the archive does not show.

    Args:
        start, end: their first position, and the one after their last.
        roots: of the perfect subtrees that they fill, in order.
        is_emptied: they were erased or purged, so there is nothing to show.
    """

    start: int
    end: int
    roots: tuple[bytes, ...]
    is_emptied: bool = False


def shown_line(row: Shown) -> bytes:
    """Write a shown row as a line of ``proofs.jsonl``."""
    said: dict[str, Any] = {"position": row.position, "salt": row.salt.hex()}
    said["commitment"] = row.commitment.hex()
    if row.event is not None:
        said["mark"] = dict(row.event)
    return _line(said)


def hidden_line(rows: Hidden) -> bytes:
    """Write hidden rows as a line of ``proofs.jsonl``."""
    kind = "emptied" if rows.is_emptied else "hidden"
    return _line({kind: [rows.start, rows.end - 1], "hashes": [root.hex() for root in rows.roots]})


def _line(said: Mapping[str, Any]) -> bytes:
    return _ENCODE(said).encode() + b"\n"


def parse_line(content: bytes, number: int) -> Shown | Hidden:
    """Read a line of ``proofs.jsonl``, the first being number 1.

    Raises:
        ProofError: it is none that this library writes.
    """
    what = f"Line {number} of proofs.jsonl"
    said = json_object(content, what)
    if "position" in said:
        return _shown(said, what)
    kind = "emptied" if "emptied" in said else "hidden"
    require_members(said, (kind, "hashes"), what)
    rows, hashes = said[kind], said["hashes"]
    if not isinstance(rows, list) or len(rows) != 2 or not isinstance(hashes, list):
        raise ProofError(f"{what} does not name the first and last of some rows, and their hashes")
    start, last = (position_of(one, what) for one in rows)
    roots = tuple(hex_bytes(one, HASH_BYTES, f"A hash of {what}") for one in hashes)
    if last < start or len(roots) != sum(1 for _ in heights_between(start, last + 1)):
        raise ProofError(f"{what} has {len(roots)} hashes, which rows {start} to {last} do not have")
    return Hidden(start, last + 1, roots, kind == "emptied")


def _shown(said: Mapping[str, Any], what: str) -> Shown:
    names = ("position", "salt", "commitment")
    event = said.get("mark")
    require_members(said, (*names, "mark") if "mark" in said else names, what)
    if "mark" in said and not isinstance(event, dict):
        raise ProofError(f"{what} has a mark that is no event")
    return Shown(
        position_of(said["position"], f"The position in {what}"),
        hex_bytes(said["salt"], SALT_BYTES, f"The salt in {what}"),
        hex_bytes(said["commitment"], HASH_BYTES, f"The commitment in {what}"),
        event,
    )


def committed(row: Shown, columns: Mapping[str, Any]) -> bytes:
    """Give a shown row's leaf, once its columns are those that were committed to.

    Raises:
        ProofError: they are others.
    """
    try:
        found = commitment_to(row.salt, columns)
    except (RecursionError, TypeError, ValueError) as error:
        raise ProofError("its columns hold what no ledger writes") from error
    if found != row.commitment:
        raise ProofError("its columns no longer match its commitment: one of them was edited")
    return leaf_hash(row.commitment)


class Tree:
    """The tree, grown through an archive: leaves of the rows that are shown, subtrees of the others."""

    def __init__(self) -> None:
        self.size = 0
        self._frontier: Frontier = EMPTY
        self._leaves: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Take the next row's leaf."""
        self._leaves.append(leaf)
        self.size += 1
        if len(self._leaves) >= 1024:
            self._grow()

    def skip(self, rows: Hidden) -> None:
        """Take rows that are not shown."""
        self._grow()
        for height, root in zip(heights_between(rows.start, rows.end), rows.roots, strict=True):
            self._frontier = self._frontier.join(height, root)
        self.size = self._frontier.size

    @property
    def root(self) -> bytes:
        """The root over all that was taken."""
        self._grow()
        return self._frontier.root

    def _grow(self) -> None:
        self._frontier = self._frontier.extend(self._leaves)
        self._leaves = []


@dataclass(slots=True)
class Tally:
    """What the shown choices add up to.

    Args:
        months: by month (``2026-01``) and state.
        purposes: by purpose and answer.
        notices: by digest: how many choices answered it, and the times of the first and the last.
        marks: how many marks are shown.
        emptied: how many rows were erased or purged.
    """

    months: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    purposes: dict[str, Counter[bool]] = field(default_factory=lambda: defaultdict(Counter))
    notices: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    marks: int = 0
    emptied: int = 0

    def add(self, columns: Mapping[str, Any]) -> None:
        """Count a row."""
        if columns["state"] not in CHOICES:
            self.marks += 1
            return
        self.add_choices(columns["time"][:7], columns["state"], 1)
        for purpose, is_granted in columns["purposes"].items():
            self.purposes[purpose][is_granted] += 1
        self.add_notice(columns["notice"], 1, columns["time"], columns["time"])

    def add_choices(self, month: str, state: str, count: int) -> None:
        """Count choices of a month."""
        self.months[month][state] += count

    def add_notice(self, digest: str, count: int, first: str, last: str) -> None:
        """Count choices that answered a notice; an empty digest is of those that named none."""
        if digest:
            before, start, end = self.notices.get(digest, (0, first, last))
            self.notices[digest] = before + count, min(start, first), max(end, last)

    @property
    def choices(self) -> int:
        """How many choices are shown."""
        return sum(counter.total() for counter in self.months.values())

    def states(self) -> Counter[str]:
        """Give the choices by state."""
        return sum(self.months.values(), Counter())

    def merged(self, stored: Iterable[tuple[Mapping[str, bool], int]]) -> None:
        """Count answers to purposes that were given so often together."""
        for answers, count in stored:
            for purpose, is_granted in answers.items():
                self.purposes[purpose][is_granted] += count


def months_between(months: Sequence[str]) -> list[str]:
    """Give every month from the first to the last, those without a choice too.

    Example:
        >>> months_between(["2025-11", "2026-02"])
        ['2025-11', '2025-12', '2026-01', '2026-02']
    """
    if not months:
        return []
    first, last = (int(month[:4]) * 12 + int(month[5:7]) - 1 for month in (min(months), max(months)))
    return [f"{one // 12:04d}-{one % 12 + 1:02d}" for one in range(first, last + 1)]
