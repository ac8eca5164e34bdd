"""``gem-consent evidence``: one file to hand to an inspector, who checks it without us."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gem_consent.cli.options import LedgerUrl, Since, Until
from gem_consent.cli.output import checked_target, failing_plainly, replacing
from gem_consent.cli.progress import progress
from gem_consent.cli.verify import sentences
from gem_consent.errors import ConfigurationError, LedgerError

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["evidence"]


def evidence(
    ledger: LedgerUrl,
    output: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="Write to this ZIP file, replaced once all is written, for its owner alone to read.",
        ),
    ],
    since: Since = None,
    until: Until = None,
    subject: Annotated[
        str | None, typer.Option(metavar="ID", help="Only the events of this visitor, by their random id.")
    ] = None,
    language: Annotated[str, typer.Option(metavar="TAG", help="The language of the cover.")] = "fr",
) -> None:
    """Write an archive that proves the choices of a period, for somebody who has neither site nor database.

    It holds the events as CSV and JSON Lines, each notice that they answered, what it declared, the proofs,
    all checkpoints and public keys, and a cover page for people. The whole ledger is verified first: one that
    does not hold gives no archive. The same question on the same rows and checkpoints gives the same bytes.

    \b
    Examples:
      gem-consent evidence --ledger sqlite:///consent.db --output evidence.zip
    With GEM_CONSENT_LEDGER set:
      gem-consent evidence --since 2026-01-01 --until 2026-06-30 --output half-year.zip
      gem-consent evidence --subject ID --language en --output visitor.zip
      gem-consent verify half-year.zip --public-key KEY
    """
    # Late: SQLAlchemy takes 0.2 s to import, and --help needs none of it.
    from gem_consent.evidence import PASSES, question_of, write
    from gem_consent.ledger.export import Selection, count
    from gem_consent.ledger.store import Ledger

    selection = Selection.parse(since, until, subject)
    question = question_of(selection, _spoken(language))
    target = checked_target(output)
    with closing(Ledger.open(ledger, must_exist=True)) as book, failing_plainly(output):
        with replacing(target) as out, book.reading() as connection:
            report = _verified(connection)
            with (
                progress("Writing", lambda: PASSES * count(connection, selection)) as advance,
                # Innermost: the ledger would take an OSError for one of its own.
                failing_plainly(output),
            ):
                tally = write(connection, out, question, report, advance)
        digest = _sha256(target)
    typer.echo(
        f"{tally.choices:,} choice{'' if tally.choices == 1 else 's'} written to {output}; SHA-256: {digest}",
        err=True,
    )


def _spoken(language: str) -> str:
    from gem_consent.translation import available_languages

    if language not in available_languages():
        raise ConfigurationError(
            f"--language is {language!r}; allowed: one of {', '.join(available_languages())}"
        )
    return language


def _verified(connection: Connection) -> str:
    """Verify the ledger within the same transaction, and give what that says."""
    from gem_consent.ledger import verification

    with progress("Verifying", lambda: verification.count(connection)) as advance:
        report = verification.verify(connection, advance=advance)
    if not report.holds:
        raise LedgerError(
            f"The ledger does not hold, so no archive was written. The first fault: {report.faults[0]}. "
            "Run gem-consent verify, and keep the file as it is"
        )
    return "".join(f"{sentence}\n" for sentence in sentences(report, (), None))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
