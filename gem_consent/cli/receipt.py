"""``gem-consent receipt``: the proof of one choice, to hand to the visitor who made it."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Literal

import typer

from gem_consent.cli.options import LedgerUrl, Output
from gem_consent.cli.output import give
from gem_consent.errors import ConsentError

__all__ = ["receipt"]


def receipt(
    event: Annotated[
        str, typer.Argument(help="The event's id, as exports and the visitor's history name it.")
    ],
    ledger: LedgerUrl,
    form: Annotated[
        Literal["json", "html"],
        typer.Option("--format", help="A file that verify takes, or a page for people."),
    ] = "json",
    output: Output = None,
) -> None:
    """Write the receipt of one choice, with the proof that it stands in the ledger.

    The proof is made with the newest checkpoint that the site has signed. A choice of the last minute may not
    be covered yet: the receipt then says so, and a later one has the proof.

    \b
    Examples:
      gem-consent receipt EVENT --ledger sqlite:///consent.db --output receipt.json
    With GEM_CONSENT_LEDGER set:
      gem-consent receipt EVENT --format html > receipt.html
    """
    # Late: SQLAlchemy takes 0.2 s to import, and --help needs none of it.
    from gem_consent.ledger.store import Ledger
    from gem_consent.receipt import encoded, find_receipt, page

    with closing(Ledger.open(ledger, must_exist=True)) as book, book.reading() as connection:
        found = find_receipt(connection, event)
    if found is None:
        raise ConsentError(
            f"The ledger has no event {event[:40]!r}: give an id of the export's column 'id'; "
            "one that was erased has no receipt any more"
        )
    give(encoded(found) if form == "json" else page(found), output)
    if found["proof"]["checkpoint"] is None:
        typer.echo(
            "No checkpoint covers this choice yet, so the receipt proves nothing: the site signs one within "
            "a minute while it runs. Write the receipt again then",
            err=True,
        )
