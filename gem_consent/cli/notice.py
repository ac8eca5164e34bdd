"""``gem-consent notice``: what visitors were shown, as a list or as the page itself."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from gem_consent.cli.options import LedgerUrl
from gem_consent.errors import ConsentError

if TYPE_CHECKING:
    from gem_consent.proof.notice import Notice

__all__ = ["notice"]

SHORTEST_DIGEST = 8


def notice(
    ledger: LedgerUrl,
    digest: Annotated[
        str | None,
        typer.Argument(help="The digest that an event names, or how it begins: 8 digits at least."),
    ] = None,
) -> None:
    """List the notices that were shown, or print one as a page that opens by itself.

    \b
    Examples:
      gem-consent notice --ledger sqlite:///consent.db
      gem-consent notice --ledger sqlite:///consent.db 1a17427e > notice.html
    """
    # Late: SQLAlchemy takes 0.2 s to import, and --help needs none of it.
    from gem_consent.ledger.store import Ledger

    with closing(Ledger.open(ledger, must_exist=True)) as book:
        stored = book.stored_notices()
    if digest is None:
        for time, one in stored:
            typer.echo(f"{one.digest}  {time[:10]}  {one.language}  {one.fingerprint}  {one.library}")
        return
    sys.stdout.buffer.write(_only([one for _, one in stored], digest).html)


def _only(stored: list[Notice], digest: str) -> Notice:
    found = [one for one in stored if one.digest.startswith(digest.lower())]
    if len(digest) < SHORTEST_DIGEST or len(found) != 1:
        raise ConsentError(
            f"{len(found)} notices begin with {digest!r}: give {SHORTEST_DIGEST} digits at least, "
            "of one that 'gem-consent notice' lists"
        )
    return found[0]
