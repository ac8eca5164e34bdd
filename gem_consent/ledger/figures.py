"""What a ledger's choices add up to; counted by the database, one pass a question. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, select

from gem_consent.errors import LedgerError, ProofError
from gem_consent.ledger.export import Selection, read_purposes
from gem_consent.ledger.schema import events, notices
from gem_consent.proof.mark import Mark

__all__ = ["CHOICES", "Answers", "Figures", "figures"]

CHOICES = ("given", "refused", "withdrawn", "renewed")
"""The states that are a visitor's choice; the ledger's other rows are marks."""

TOP = 20
"""How many languages and surfaces are told apart: visitors can make up as many as they like."""

OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class Answers:
    """How often a purpose was granted and denied, among the choices that were asked about it."""

    granted: int
    denied: int

    @property
    def share(self) -> float:
        """The granted ones' share, 0 to 1."""
        return self.granted / (self.granted + self.denied)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a ledger holds, or a period of it.

    Args:
        choices: how many choices were made.
        visitors: how many different subjects made them; one person on two browsers is two.
        first, last: when, as an event's ``time``; ``None`` where there are none.
        notices: how many notices the ledger keeps, of all times.
        erased: rows that were erased on request, of all times; they are in none of the other figures.
        purged: rows that were purged by a rule of retention, likewise.
        states: choices by state, all four.
        purposes: answers by purpose; a choice that was not asked about one does not count for it.
        days: choices by day (``2026-01-31``, UTC), oldest first; days without any are left out.
        languages, surfaces: choices, most frequent first; beyond twenty they are summed up as ``(others)``.
    """

    choices: int
    visitors: int
    first: str | None
    last: str | None
    notices: int
    erased: int
    purged: int
    states: Mapping[str, int]
    purposes: Mapping[str, Answers]
    days: Mapping[str, int]
    languages: Mapping[str, int]
    surfaces: Mapping[str, int]


def figures(connection: Connection, selection: Selection) -> Figures:
    """Add up the selected choices.

    Args:
        connection: one read transaction, so that all figures are of one moment.
        selection: which events.

    Raises:
        LedgerError: an event's purposes cannot be read.
    """
    tally = _Tally(connection, selection)
    choices, visitors, first, last = tally.totals()
    states = tally.by(events.c.state)
    emptied = tally.emptied()
    return Figures(
        choices=choices,
        visitors=visitors,
        first=first,
        last=last,
        notices=int(connection.execute(select(func.count()).select_from(notices)).scalar_one()),
        erased=emptied["erased"],
        purged=emptied["purged"],
        states={state: states.get(state, 0) for state in CHOICES},
        purposes=_by_purpose(tally.by(events.c.purposes)),
        days=dict(sorted(tally.by(func.substr(events.c.time, 1, 10)).items())),
        languages=_with_others(tally.by(events.c.language, TOP), choices),
        surfaces=_with_others(tally.by(events.c.surface, TOP), choices),
    )


class _Tally:
    """The questions put to one connection about one selection."""

    def __init__(self, connection: Connection, selection: Selection) -> None:
        self._connection = connection
        self._where = [events.c.state.in_(CHOICES), *selection.where()]

    def totals(self) -> tuple[int, int, str | None, str | None]:
        time = events.c.time
        counts = (func.count(), func.count(events.c.subject.distinct()))
        row = self._connection.execute(
            select(*counts, func.min(time), func.max(time)).where(*self._where)
        ).one()
        return int(row[0]), int(row[1]), row[2], row[3]

    def emptied(self) -> Counter[str]:
        """Count the rows that marks name, by how they were emptied."""
        found: Counter[str] = Counter()
        marks = select(events.c.state, events.c.mark).where(events.c.mark.is_not(None))
        try:
            for state, mark in self._connection.execute(marks):
                found[state] += len(Mark.decode(mark))
        except ProofError as error:
            raise LedgerError(f"A mark cannot be read: {error}; run gem-consent verify") from error
        return found

    def by(self, key: ColumnElement[str], top: int | None = None) -> dict[str, int]:
        rows = select(key, func.count()).where(*self._where).group_by(key)
        rows = rows.order_by(func.count().desc(), key).limit(top)
        return {str(row[0]): int(row[1]) for row in self._connection.execute(rows)}


def _by_purpose(stored: Mapping[str, int]) -> dict[str, Answers]:
    counts: Counter[tuple[str, bool]] = Counter()
    for text, choices in stored.items():
        for id_, is_granted in read_purposes(text).items():
            counts[id_, is_granted] += choices
    ids = sorted({id_ for id_, _ in counts})
    return {id_: Answers(granted=counts[id_, True], denied=counts[id_, False]) for id_ in ids}


def _with_others(top: Mapping[str, int], choices: int) -> dict[str, int]:
    # Added, not set: a visitor may have sent this very word. What adds up to nothing is left out.
    return dict(Counter(top) + Counter({OTHERS: choices - sum(top.values())}))
