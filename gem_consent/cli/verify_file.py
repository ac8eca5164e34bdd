"""What ``gem-consent verify FILE`` says of a receipt or an evidence archive, checked without any database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gem_consent.cli.progress import progress
from gem_consent.errors import ConfigurationError, ProofError

if TYPE_CHECKING:
    from gem_consent.evidence_check import Report
    from gem_consent.proof.checkpoint import PublicKey
    from gem_consent.proof.receipt import Checked

__all__ = ["verify_file"]

_ALONE = (
    "What this proves: the file is consistent with itself, keys not vouched for. Whoever made it could have "
    "made up all of it, keys included. Name a public key (--public-key) that the site published elsewhere."
)
_BY_KEY = (
    "What this proves: whoever holds the private key of that public key recorded exactly this choice, by the "
    "time of the checkpoint. What it cannot prove: who pressed the button, and what was chosen later."
)
_ARCHIVE_BY_KEY = (
    "What this proves: whoever holds the private key of that public key recorded exactly these rows, in this "
    "order, by the times of the checkpoints. What it cannot prove: who pressed the buttons, what happened "
    "after the newest checkpoint, and that no later checkpoint exists."
)
_UNSIGNED = "It proves nothing: there is no checkpoint, so nobody signed these rows."
_UNPROVEN = (
    "It proves nothing: no checkpoint covers the choice, so nobody signed it. The site signs one within a "
    "minute: ask for the receipt again. If the choice is older, the proof was taken out."
)


def verify_file(path: Path, known: Sequence[PublicKey]) -> None:
    """Check a file that left its ledger, and say what it proves; exit 1 where it does not hold.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            is_archive = file.read(2) == b"PK"
            file.seek(0)
            (_verify_archive if is_archive else _verify_receipt)(path, file, known)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}; give what 'gem-consent receipt' or 'evidence' wrote"
        ) from error


def _verify_receipt(path: Path, file: BufferedReader, known: Sequence[PublicKey]) -> None:
    from gem_consent.proof.receipt import MAX_BYTES, check

    try:
        checked = check(file.read(MAX_BYTES + 1), known)
    except ProofError as error:
        raise _refused(path, error) from None
    for sentence in _receipt_sentences(checked):
        typer.echo(sentence)
    if checked.checkpoint is None:
        raise typer.Exit(1)


def _refused(path: Path, error: ProofError) -> typer.Exit:
    typer.echo(f"{path.name} does not hold. {error}.")
    return typer.Exit(1)


def _receipt_sentences(checked: Checked) -> Iterator[str]:
    columns = checked.columns
    answers = columns["purposes"].items()
    granted = [purpose for purpose, is_granted in answers if is_granted]
    denied = [purpose for purpose, is_granted in answers if not is_granted]
    yield (
        f"The receipt is of the choice {columns['id']}, {columns['state']} on {columns['time']} at "
        f"{columns['site']}: granted {_listed(granted)}, denied {_listed(denied)}."
    )
    if checked.checkpoint is None:
        yield _UNPROVEN
        return
    yield (
        f"It holds: it is row {checked.position} of the ledger {checked.ledger}, and the checkpoint over the "
        f"first {checked.checkpoint.size:,} rows covers it."
    )
    for key in checked.keys:
        yield f"Signed by {key}"
    yield _BY_KEY if checked.is_vouched else _ALONE


def _listed(purposes: Sequence[str]) -> str:
    return ", ".join(sorted(purposes)) or "nothing"


def _verify_archive(path: Path, file: BufferedReader, known: Sequence[PublicKey]) -> None:
    from gem_consent.evidence_check import check, count

    try:
        with progress("Verifying", lambda: count(file)) as advance:
            report = check(file, known, advance)
    except ProofError as error:
        raise _refused(path, error) from None
    file.seek(0)
    typer.echo(f"{path.name} has the SHA-256 {hashlib.file_digest(file, 'sha256').hexdigest()}.")
    for sentence in _archive_sentences(report):
        typer.echo(sentence)
    if report.newest is None:
        raise typer.Exit(1)


def _archive_sentences(report: Report) -> Iterator[str]:
    from gem_consent.proof.evidence import CHOICES

    question, tally = report.question, report.tally
    since, until = question.since or "the beginning", question.until or "the end"
    whose = f"the visitor {question.subject}" if question.subject else "all visitors"
    yield f"The archive is of the ledger {report.ledger}, from {since} to {until}, of {whose}."
    states = ", ".join(f"{tally.states()[state]:,} {state}" for state in CHOICES)
    yield (
        f"It shows {_many(tally.choices, 'choice')} ({states}), {_many(tally.marks, 'mark')}, "
        f"{_many(tally.emptied, 'erased or purged row')} and {_many(len(tally.notices), 'notice')}."
    )
    if report.newest is None:
        yield _UNSIGNED
        return
    checkpoint, time = report.newest
    yield (
        "It holds: each row matches its commitment, each notice its digest, and one tree leads through "
        f"{_many(report.checkpoints, 'checkpoint')} to the newest, of {time}, which covers "
        f"{_many(checkpoint.size, 'row')}."
    )
    if report.unsigned:
        yield f"Rows after it: {report.unsigned:,}. Nobody signed them, so they prove nothing yet."
    yield _completeness(report)
    if not report.is_cover_compared:
        yield "The cover is another release's and was not compared: rely on the numbers here."
    for key in report.keys:
        yield f"Signed by {key}"
    yield _ARCHIVE_BY_KEY if report.is_vouched else _ALONE


def _many(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _completeness(report: Report) -> str:
    window = report.window
    left_out = window.end - window.start - window.shown
    if report.question.is_whole:
        return f"No row is left out: the archive shows all {report.size:,} up to its last."
    if report.question.subject is not None:
        return "Whether the visitor has more rows than these, only the ledger can tell."
    return (
        f"By the signed times, the rows of this period are among rows {window.start} to {window.end - 1}: "
        f"{window.shown:,} of them are here, {left_out:,} are not. Those should be the few that were "
        "recorded between the period's bounds and the nearest checkpoints."
    )
