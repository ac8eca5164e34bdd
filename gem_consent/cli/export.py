"""``gem-consent export``: the ledger's events to a file or to standard output."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from gem_consent.cli.options import LedgerUrl, Output, Since, Until
from gem_consent.cli.output import checked_target, failing_plainly, replacing
from gem_consent.cli.progress import progress
from gem_consent.errors import ConfigurationError

if TYPE_CHECKING:
    from gem_consent.ledger.export import Format, Selection
    from gem_consent.ledger.store import Ledger

__all__ = ["export"]


def export(
    ledger: LedgerUrl,
    form: Annotated[
        Literal["csv", "jsonl", "parquet"],
        typer.Option("--format", help="A spreadsheet's CSV, one JSON object a line, or typed columns."),
    ] = "csv",
    since: Since = None,
    until: Until = None,
    subject: Annotated[
        str | None, typer.Option(metavar="ID", help="Only the events of this visitor, by their random id.")
    ] = None,
    after: Annotated[
        int | None,
        typer.Option(
            metavar="POSITION", help="Only the rows that follow this one: go on where an export ended."
        ),
    ] = None,
    output: Output = None,
) -> None:
    """Export events as CSV, JSON Lines or Parquet.

    One event a row, in order of position; all rows are of one moment, even while the site writes. Erased
    events keep an empty row, which --since, --until and --subject leave out. In CSV, an apostrophe stands
    before text that a spreadsheet would run as a formula; JSON Lines and Parquet hold every text as it is.
    Parquet needs pip install "gem-consent[parquet]", and a file or a pipe.

    \b
    Examples:
      gem-consent export --ledger sqlite:///consent.db --output all.csv
    With GEM_CONSENT_LEDGER set:
      gem-consent export --since 2026-01-01 --until 2026-01-31
      gem-consent export --format jsonl --subject ID | gzip > visitor.jsonl.gz
      gem-consent export --format parquet --after 41999 --output from-42000.parquet
    """
    # Late: SQLAlchemy takes 0.2 s to import, and --help needs none of it.
    from gem_consent.ledger.export import Selection, require_format
    from gem_consent.ledger.store import Ledger

    selection = Selection.parse(since, until, subject, after)
    require_format(form)
    if form == "parquet" and output is None and sys.stdout.isatty():
        raise ConfigurationError("A terminal cannot show Parquet: name a file with --output, or use a pipe")
    target = None if output is None else checked_target(output)
    with closing(Ledger.open(ledger, must_exist=True)) as book, failing_plainly(output):
        if target is None:
            _write(book, sys.stdout.buffer, form, selection, output)
            return
        with replacing(target) as out:
            written, last = _write(book, out, form, selection, output)
    # The position is what --after takes next time.
    end = "" if last is None else f", up to position {last}"
    typer.echo(f"{written:,} event{'' if written == 1 else 's'} written to {output}{end}", err=True)


def _write(
    book: Ledger, out: BinaryIO, form: Format, selection: Selection, output: Path | None
) -> tuple[int, int | None]:
    """Give how many events were written, and the position of the last."""
    from gem_consent.ledger.export import count, last_position, write

    # A bar on a terminal that shows the rows as well would be in their way.
    def is_wanted() -> bool:
        return output is not None or _goes_to_file(sys.stdout.fileno())

    with (
        book.reading() as connection,
        progress("Exporting", lambda: count(connection, selection), is_wanted=is_wanted) as advance,
        # Innermost: the ledger would take an OSError for one of its own.
        failing_plainly(output),
    ):
        written = write(connection, out, form, selection, advance)
        out.flush()
        return written, last_position(connection, selection)


def _goes_to_file(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)
