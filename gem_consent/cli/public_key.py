"""``gem-consent public-key``: the keys by which others can check a ledger, to be kept elsewhere."""

from __future__ import annotations

from contextlib import closing

import typer

from gem_consent.cli.options import LedgerUrl
from gem_consent.errors import LedgerError

__all__ = ["public_key"]


def public_key(ledger: LedgerUrl) -> None:
    """Print the public keys that signed the ledger's checkpoints, oldest first, one a line.

    Keep them where nobody who may write the ledger can change them, and give them to verify. After the key
    has been rotated, print and keep them again.

    \b
    Example:
      gem-consent public-key --ledger sqlite:///consent.db
    """
    # Late: SQLAlchemy takes 0.2 s to import, and --help needs none of it.
    from gem_consent.ledger.checkpoints import public_keys
    from gem_consent.ledger.store import Ledger

    with closing(Ledger.open(ledger, must_exist=True)) as book, book.reading() as connection:
        found = public_keys(connection)
    if not found:
        raise LedgerError(
            "The ledger has no checkpoint yet, so no key has signed: the site signs one after a choice"
        )
    for key in found:
        typer.echo(key)
