"""``gem-consent verify``: whether a ledger, or a file that left it, still holds what was written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gem_consent.cli.options import PublicKeys
from gem_consent.cli.progress import progress
from gem_consent.cli.verify_file import verify_file
from gem_consent.errors import ConfigurationError, ProofError

if TYPE_CHECKING:
    from gem_consent.ledger.verification import Report
    from gem_consent.proof.checkpoint import PublicKey

__all__ = ["sentences", "verify"]

ALONE = (
    "What this proves: the ledger is consistent with itself, keys not vouched for. Whoever may write the "
    "database could have rewritten all of it, keys included, or cut off its end with the checkpoints there. "
    "Name a public key (--public-key) or a checkpoint (--since-checkpoint) kept elsewhere to find that."
)
BY_KEY = (
    "What this proves: whoever held the private key signed exactly these rows, up to the newest checkpoint. "
    "What it cannot prove: that no later rows and checkpoints were cut off (a checkpoint kept elsewhere "
    "shows that), and what whoever holds the private key did."
)
BY_CHECKPOINT = (
    "What this proves: the tree still begins with the rows that the checkpoint covers, none cut off, and "
    "the rows after it are consistent. What it cannot prove: that the checkpoint is right, which is for "
    "whoever kept it to say; and the content of the rows before it, which were not read again (run verify "
    "without --since-checkpoint for that)."
)


def verify(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="A receipt or an evidence archive, checked by itself, without any database."),
    ] = None,
    ledger: Annotated[
        str | None,
        typer.Option(
            envvar="GEM_CONSENT_LEDGER", metavar="URL", help="The ledger to check, where no file is named."
        ),
    ] = None,
    public_key: PublicKeys = None,
    since_checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A checkpoint that was kept elsewhere: the ledger must continue it; later rows are read.",
        ),
    ] = None,
) -> None:
    """Check that every row, notice and checkpoint is as it was written, and say what that proves.

    With --ledger the whole ledger; with a file, what it proves by itself. It reads, and changes nothing. Exit
    0 if all holds, 1 if anything was altered; then the first bad row is named, and what is wrong with it.

    \b
    Examples:
      gem-consent verify --ledger sqlite:///consent.db
    With GEM_CONSENT_LEDGER set:
      gem-consent verify --public-key gem-consent/UUID+ID+KEY
      gem-consent verify --since-checkpoint checkpoint.txt
    On a machine that has nothing but this package:
      gem-consent verify receipt.json --public-key gem-consent/UUID+ID+KEY
    """
    known = [_key(text) for text in public_key or ()]
    if file is not None:
        _require_file_alone(context, since_checkpoint)
        verify_file(file, known)
    elif ledger is None:
        raise ConfigurationError("Nothing to verify: name a file, or the ledger with --ledger URL")
    else:
        _verify_ledger(ledger, known, since_checkpoint)


def _require_file_alone(context: typer.Context, since_checkpoint: Path | None) -> None:
    """Refuse a file beside what is a ledger's; GEM_CONSENT_LEDGER in the environment is no such wish."""
    source = context.get_parameter_source("ledger")
    if since_checkpoint is not None or (source is not None and source.name == "COMMANDLINE"):
        raise ConfigurationError(
            "A file is checked by itself: leave out --ledger and --since-checkpoint, or the file"
        )


def _verify_ledger(ledger: str, known: Sequence[PublicKey], since_checkpoint: Path | None) -> None:
    # Late: SQLAlchemy takes 0.2 s to import, and --help needs none of it.
    from gem_consent.ledger import verification
    from gem_consent.ledger.store import Ledger

    since = None if since_checkpoint is None else _read(since_checkpoint)
    with (
        closing(Ledger.open(ledger, must_exist=True, is_suspect=True)) as book,
        book.reading() as connection,
        progress("Verifying", lambda: verification.count(connection)) as advance,
    ):
        report = verification.verify(connection, known=known, since=since, advance=advance)
    for sentence in sentences(report, known, since):
        typer.echo(sentence)
    if not report.holds:
        raise typer.Exit(1)


def _key(text: str) -> PublicKey:
    from gem_consent.proof.checkpoint import PublicKey

    try:
        return PublicKey.parse(text)
    except ProofError as error:
        raise ConfigurationError(f"--public-key: {error}; give a line of 'gem-consent public-key'") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"--since-checkpoint {path} cannot be read: {error.strerror}; "
            "give what 'gem-consent checkpoint' printed"
        ) from error


def sentences(report: Report, known: Sequence[PublicKey], since: bytes | None) -> Iterator[str]:
    """Word what a verification found, by which keys and checkpoint, and what that proves."""
    yield f"The ledger {report.origin} has {_many(report.size, 'row')} in its tree."
    yield from _read_rows(report)
    if not report.holds:
        yield from _faults(report)
        return
    yield "It holds: each row read matches its commitment, and all of them the tree and what was signed."
    yield _coverage(report)
    if since is not None:
        yield BY_CHECKPOINT
    if known:
        yield BY_KEY
    elif since is None:
        yield ALONE


def _read_rows(report: Report) -> Iterator[str]:
    if report.start:
        yield (
            f"Of the first {_many(report.start, 'row')}, which the checkpoint covers, only the tree's hashes "
            "were compared."
        )
    counts = [_many(report.choices, "choice")]
    counts += [f"{number:,} {kind}" for kind, number in _emptied(report) if number]
    counts += [_many(report.marks, "mark")] if report.marks else []
    counts += [_many(report.notices, "notice"), _many(report.signed, "checkpoint")]
    yield f"Read: {', '.join(counts)}."


def _emptied(report: Report) -> Iterator[tuple[str, int]]:
    yield "erased", report.erased
    yield "purged", report.purged
    yield "emptied without a mark", report.emptied - report.erased - report.purged


def _faults(report: Report) -> Iterator[str]:
    first, *others = report.faults
    yield f"It does not hold: {_many(report.fault_count, 'fault')}. The first: {first}"
    for fault in others:
        yield f"  {fault}"
    if report.fault_count > len(report.faults):
        yield f"  and {report.fault_count - len(report.faults):,} more."
    yield "Keep the file as it is, and compare it with a backup."


def _coverage(report: Report) -> str:
    if report.newest is None:
        return "No checkpoint was signed yet: nothing but the ledger itself says what it should hold."
    checkpoint, time = report.newest
    return (
        f"The newest checkpoint, of {time}, covers {_many(checkpoint.size, 'row')}; "
        f"{_many(report.uncovered, 'row')} {'lies' if report.uncovered == 1 else 'lie'} after it, unsigned."
    )


def _many(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
