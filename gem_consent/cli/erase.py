"""``gem-consent erase``: takes one visitor out of the ledger, and says what that reaches and what not."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gem_consent.cli.options import LedgerUrl, Rewrite
from gem_consent.errors import ConfigurationError, LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gem_consent.ledger.erasure import Erasure

__all__ = ["erase"]

BEYOND = (
    "Not reached from here: backups, exports and archives made before, and the visitor's own browser, whose "
    "cookie holds until it ends unless they erase their history on the preferences page."
)


def erase(
    ledger: LedgerUrl,
    subject: Annotated[
        str, typer.Option(metavar="ID", help="The visitor's number, which their preferences page shows.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: where nobody can answer.")] = False,
    rewrite: Rewrite = False,
) -> None:
    """Erase every row of one visitor, at their request.

    The rows keep their place in the tree, without any content, and a row of its own says which they were: the
    proof of everyone else holds. A consent that is live is withdrawn first.

    \b
    Examples:
      gem-consent erase --ledger sqlite:///consent.db --subject ID
    With GEM_CONSENT_LEDGER set:
      gem-consent erase --subject ID --yes --rewrite
    """
    # Late: SQLAlchemy takes 0.2 s to import, and --help needs none of it.
    from gem_consent.ledger import erasure
    from gem_consent.ledger.store import Ledger

    with closing(Ledger.open(ledger, must_exist=True)) as book:
        rows = len(book.history(subject)) if subject else 0
        if not rows:
            raise _unknown()
        _confirm(rows, is_sure=yes)
        done = erasure.erase(book, subject, datetime.now(UTC))
        if done is None:
            raise _unknown()
        if rewrite:
            book.rewrite()
        is_scrubbed = book.scrub()
        traces = book.traces(subject)
    for sentence in _sentences(done, traces, is_scrubbed=is_scrubbed):
        typer.echo(sentence)


def _unknown() -> LedgerError:
    # The number stays out of the message: it is personal, and messages reach logs.
    return LedgerError(
        "The ledger has no row of this visitor: check the number, which their preferences page shows"
    )


def _confirm(rows: int, *, is_sure: bool) -> None:
    if is_sure:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError("Nothing was erased, since nobody can be asked: add --yes to be sure")
    if not typer.confirm(f"Erase {_many(rows, 'row')} of this visitor for good?", err=True):
        raise typer.Exit(1)


def _sentences(done: Erasure, traces: int | None, *, is_scrubbed: bool) -> Iterator[str]:
    marks = " and ".join(f"{position:,}" for position in done.marks)
    yield f"{_many(done.rows, 'row')} erased; row {marks} says which."
    if done.was_live:
        yield "The visitor's consent was live, and was withdrawn first."
    if traces == 0:
        yield "The visitor's number is in no byte of the database any more."
    elif traces and not is_scrubbed:
        yield (
            f"The number still lies in {_many(traces, 'place')} of the database's files, since a reader "
            "keeps it. Run this once nobody reads: gem-consent purge --rewrite"
        )
    elif traces:
        yield (
            f"The number still lies in {_many(traces, 'place')} of the file's free space. To take it out, at "
            "a quiet hour: gem-consent purge --rewrite"
        )
    yield BEYOND


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
