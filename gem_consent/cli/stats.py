"""``gem-consent stats``: what the ledger's choices add up to, for people or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from gem_consent.cli.options import LedgerUrl, Since, Until
from gem_consent.cli.retention import Keep, KeepRefusals, PolicyFile, rule_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from gem_consent.ledger.figures import Figures

__all__ = ["stats"]

WIDTH = 80
BAR_CELLS = 24
RECENT_DAYS = 30
LONGEST_NAME = 32

STATES = {
    "given": "accepted what was not accepted before",
    "refused": "accepted nothing",
    "withdrawn": "took back all or part",
    "renewed": "accepted the same again when asked anew",
}


def stats(
    ledger: LedgerUrl,
    since: Since = None,
    until: Until = None,
    keep: Keep = None,
    keep_refusals: KeepRefusals = None,
    policy: PolicyFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Sum up the choices in figures and bars.

    How many, by how many visitors, for which purposes, when, and where they were made; and how many rows are
    kept for longer than the rule of retention allows.

    \b
    Examples:
      gem-consent stats --ledger sqlite:///consent.db
    With GEM_CONSENT_LEDGER set:
      gem-consent stats --since 2026-01-01 --until 2026-01-31 --json
    """
    # Late: SQLAlchemy takes 0.2 s to import, and --help needs none of it.
    from gem_consent.ledger.export import Selection
    from gem_consent.ledger.figures import figures
    from gem_consent.ledger.purge import overdue
    from gem_consent.ledger.store import Ledger

    selection, rule = Selection.parse(since, until), rule_of(policy, keep, keep_refusals)
    with closing(Ledger.open(ledger, must_exist=True)) as book, book.reading() as connection:
        found = figures(connection, selection)
        over = len(overdue(connection, rule, datetime.now(UTC)))
    if as_json:
        typer.echo(json.dumps(asdict(found) | {"overdue": {"rows": over, **asdict(rule)}}, indent=2))
        return
    if found.choices:
        _Page().show(found)
    else:
        typer.echo(_nothing(found, is_period=bool(since or until)))
    if over:
        typer.echo(
            f"\n{_many(over, 'row')} overdue: consents and withdrawals are kept for {rule.consents}, "
            f"refusals for {rule.refusals}. Run gem-consent purge."
        )


def _nothing(found: Figures, is_period: bool) -> str:
    where = "No choice was made in this period." if is_period else "The ledger holds no choice yet."
    return where + "".join(f" {told}." for told in _emptied(found))


def _emptied(found: Figures) -> list[str]:
    counts = {"erased": found.erased, "purged": found.purged}
    return [f"{_many(rows, 'row')} {how}" for how, rows in counts.items() if rows]


class _Page:
    """Tables with bars, 80 columns wide at most; plain ASCII where the terminal's encoding has no blocks."""

    def __init__(self) -> None:
        from rich.console import Console

        if hasattr(sys.stdout, "reconfigure"):
            # A name that the terminal cannot show is no reason to fail.
            sys.stdout.reconfigure(errors="replace")
        self._console: Console = Console(highlight=False, markup=False, emoji=False)
        self._console.width = min(self._console.width, WIDTH)
        self._block = "#" if self._console.options.ascii_only else "\N{FULL BLOCK}"

    def show(self, found: Figures) -> None:
        self._totals(found)
        self._states(found)
        self._purposes(found)
        self._days(found.days)
        self._counts("Languages of the notice", found.languages)
        self._counts("Where the choice was made", found.surfaces)

    def _totals(self, found: Figures) -> None:
        self._say(f"{_many(found.choices, 'choice')} by {_many(found.visitors, 'visitor')}", "bold")
        self._say(f"from {_minute(found.first)} to {_minute(found.last)} UTC")
        self._say(", ".join([f"{_many(found.notices, 'notice')} kept", *_emptied(found)]))

    def _states(self, found: Figures) -> None:
        table = self._table("What visitors chose", "llrrl")
        for state, count in found.states.items():
            share = count / found.choices
            table.add_row(
                state, STATES[state], f"{count:,}", f"{share:.0%}", self._bar(share, BAR_CELLS // 2)
            )
        self._console.print(table)

    def _purposes(self, found: Figures) -> None:
        table = self._table("Acceptance of each purpose, among the choices that were asked about it", "llrl")
        for purpose, answers in found.purposes.items():
            said = f"{answers.granted:,} granted, {answers.denied:,} denied"
            share = f"{answers.share:.0%}"
            table.add_row(_shown(purpose), said, share, self._bar(answers.share, BAR_CELLS))
        self._console.print(table)

    def _days(self, days: Mapping[str, int]) -> None:
        last = date.fromisoformat(max(days))
        start = max(date.fromisoformat(min(days)), last - timedelta(days=RECENT_DAYS - 1))
        shown = [(start + timedelta(days=day)).isoformat() for day in range((last - start).days + 1)]
        self._counts("By day (UTC)", {day: days.get(day, 0) for day in shown})
        months: dict[str, int] = {}
        for day in (day for day in days if day < shown[0]):
            months[day[:7]] = months.get(day[:7], 0) + days[day]
        if months:
            self._counts(f"Before {shown[0]}, by month", months)

    def _counts(self, title: str, counts: Mapping[str, int]) -> None:
        table = self._table(title, "lrl")
        most = max(counts.values())
        for name, count in counts.items():
            table.add_row(_shown(name), f"{count:,}", self._bar(count / most, BAR_CELLS))
        self._console.print(table)

    def _table(self, title: str, columns: str) -> Table:
        from rich.table import Table

        self._say("")
        self._say(title, "bold")
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for side in columns:
            table.add_column(justify="right" if side == "r" else "left", no_wrap=True)
        return table

    def _bar(self, share: float, cells: int) -> str:
        return self._block * max(round(share * cells), 1 if share else 0)

    def _say(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style)


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _minute(time: str | None) -> str:
    return (time or "")[:16].replace("T", " ")


def _shown(name: str) -> str:
    """Give a name that a terminal neither obeys nor turns around: visitors choose some of these texts."""
    seen = "".join(char if char.isprintable() else "?" for char in name)
    return seen if len(seen) <= LONGEST_NAME else seen[: LONGEST_NAME - 3] + "..."
