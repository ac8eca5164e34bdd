"""What ``gem-consent verify FILE`` says of a receipt, checked without any database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import typer

from gem_consent.errors import ConfigurationError, ProofError

if TYPE_CHECKING:
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
            _verify_receipt(path, file, known)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}; give what 'gem-consent receipt' wrote"
        ) from error


def _verify_receipt(path: Path, file: BinaryIO, known: Sequence[PublicKey]) -> None:
    from gem_consent.proof.receipt import MAX_BYTES, check

    try:
        checked = check(file.read(MAX_BYTES + 1), known)
    except ProofError as error:
        typer.echo(f"The file {path.name} does not hold. {error}.")
        raise typer.Exit(1) from None
    for sentence in _receipt_sentences(checked):
        typer.echo(sentence)
    if checked.checkpoint is None:
        raise typer.Exit(1)


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
