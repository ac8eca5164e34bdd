"""``gem-consent purge``: empties the rows that a rule of retention no longer allows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gem_consent.cli.options import LedgerUrl, Rewrite
from gem_consent.cli.progress import progress
from gem_consent.cli.retention import Keep, KeepRefusals, PolicyFile, rule_of

if TYPE_CHECKING:
    from gem_consent.ledger.purge import Overdue

__all__ = ["purge"]


def purge(
    ledger: LedgerUrl,
    keep: Keep = None,
    keep_refusals: KeepRefusals = None,
    policy: PolicyFile = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")
    ] = False,
    rewrite: Rewrite = False,
) -> None:
    """Empty the rows that are older than the rule allows; run it every day.

    They keep their place in the tree, without any content, and rows of their own say which they were and by
    which rule: the proof of all others holds. A consent that is live is kept whatever the rule. It works in
    small steps beside the running site, and may be stopped and started again at any time.

    \b
    Examples:
      gem-consent purge --ledger sqlite:///consent.db --dry-run
    With GEM_CONSENT_LEDGER set:
      gem-consent purge --keep "3 years after year end" --keep-refusals "6 months"
      gem-consent purge --policy policy.toml
    """
    # Late: SQLAlchemy takes 0.2 s to import, and --help needs none of it.
    from gem_consent.ledger import purge as purging
    from gem_consent.ledger.store import Ledger

    rule, now = rule_of(policy, keep, keep_refusals), datetime.now(UTC)
    typer.echo(f"Kept: consents and withdrawals for {rule.consents}, refusals for {rule.refusals}.")
    with closing(Ledger.open(ledger, must_exist=True)) as book:
        with book.reading() as connection:
            found = purging.overdue(connection, rule, now)
        for line in _lines(found):
            typer.echo(line)
        if dry_run:
            typer.echo("Nothing was changed.")
            return
        with progress("Purging", lambda: len(found)) as advance:
            done = purging.purge(book, rule, now, found=found, advance=advance)
        if rewrite:
            book.rewrite()
    if done.rows:
        typer.echo(f"{_many(done.rows, 'row')} purged; {_many(done.marks, 'row')} of their own say which.")
    if rewrite:
        typer.echo("The database was written anew.")


def _lines(found: Overdue) -> Iterator[str]:
    if not len(found):
        yield "No row is overdue."
        return
    yield f"{_many(len(found), 'row')} overdue:"
    for (state, year), rows in found.by_year.items():
        yield f"  {state:<10} {year} {rows:>12,}"


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
