"""``gem-consent checkpoint``: the newest signed checkpoint, to be kept elsewhere."""

from __future__ import annotations

import sys
from contextlib import closing

from gem_consent.cli.options import LedgerUrl
from gem_consent.errors import LedgerError

__all__ = ["checkpoint"]


def checkpoint(ledger: LedgerUrl) -> None:
    """Print the newest checkpoint that the site has signed; this command signs nothing itself.

    Kept where nobody who may write the ledger can change it, it shows later whether rows that it covers were
    changed or cut off.

    \b
    Examples:
      gem-consent checkpoint --ledger sqlite:///consent.db > checkpoint.txt
      gem-consent verify --ledger sqlite:///consent.db --since-checkpoint checkpoint.txt
    """
    # Late: SQLAlchemy takes 0.2 s to import, and --help needs none of it.
    from gem_consent.ledger.checkpoints import newest_checkpoint
    from gem_consent.ledger.store import Ledger

    with closing(Ledger.open(ledger, must_exist=True)) as book, book.reading() as connection:
        note = newest_checkpoint(connection)
    if note is None:
        raise LedgerError("The ledger has no checkpoint yet: the site signs one after its first choice")
    sys.stdout.buffer.write(note)
