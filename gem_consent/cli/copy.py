"""``gem-consent copy``: a ledger from one database to another."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from gem_consent.cli.options import LedgerUrl
from gem_consent.cli.progress import progress

__all__ = ["copy"]


def copy(
    ledger: LedgerUrl,
    to: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Where to: a file that is not there yet, or an empty schema of a PostgreSQL database.",
        ),
    ],
) -> None:
    """Copy the whole ledger to another database, with its tree, checkpoints, keys and notices.

    Stop the site first, and start it again with the new URL. The copy is the same ledger: checkpoints and
    receipts that were given out hold against it. Never let a site write to both. If it fails, the new place
    is left as it was.

    \b
    Examples:
      gem-consent copy --ledger sqlite:///consent.db --to postgresql://consent@db.example.com/consent
    With GEM_CONSENT_LEDGER set:
      gem-consent copy --to sqlite:////var/lib/example/consent.db
    """
    # Late: SQLAlchemy takes 0.2 s to import, and --help needs none of it.
    from gem_consent.ledger import copying
    from gem_consent.ledger.store import Ledger

    def present_size() -> int:
        with closing(Ledger.open(ledger, must_exist=True)) as again:
            return again.size

    with (
        closing(Ledger.open(ledger, must_exist=True)) as book,
        book.reading() as connection,
        progress("Copying", lambda: copying.count(connection)) as advance,
    ):
        tree = copying.copy(connection, to, present_size, advance)
    typer.echo(f"{tree.size:,} row{'' if tree.size == 1 else 's'} copied; both trees have this root:")
    typer.echo(tree.root.hex())
    typer.echo("Give the site the new URL, and let nothing write to the old ledger any more.")
