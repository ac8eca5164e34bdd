"""Whose signatures are believed, and since when each key is said to have signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gem_consent.errors import ProofError
from gem_consent.ledger.schema import keys
from gem_consent.ledger.verification.source import Source, untyped
from gem_consent.proof.checkpoint import PublicKey

__all__ = ["Keys", "check_keys", "read_keys"]


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys to believe, and what the ledger says of its own.

    Args:
        believed: those given, or the ledger's own where none are given.
        since: by key, the size of the first checkpoint that it is said to have signed.
    """

    believed: Sequence[PublicKey]
    since: Mapping[str, object]


def read_keys(source: Source, origin: str, given: Sequence[PublicKey]) -> Keys:
    """Read the ledger's keys; those that were given are the only ones believed, if there are any."""
    own: list[PublicKey] = []
    since: dict[str, object] = {}
    for batch in source.stream(untyped(keys).order_by(keys.c.since, keys.c.key), "the public keys"):
        for text, first in batch:
            key = _public_key(text, origin)
            if key is None:
                source.faults.found(
                    f"the public key {str(text)[:120]!r} is none of this ledger's: it was altered"
                )
                continue
            since[text] = first
            own.append(key)
    for key in given:
        if key.name != origin:
            source.faults.found(f"the public key given is of {key.name!r}, and this ledger is {origin!r}")
    return Keys(given or own, since)


def check_keys(source: Source, known: Keys, first_signed: Mapping[str, int], start: int) -> None:
    """Compare when each key signed first with what its row says.

    Args:
        first_signed: by key, the size of the first checkpoint that holds under it.
        start: the size that was read from; what was signed before it was not read.
    """
    believed = {str(key) for key in known.believed}
    for text, since in known.since.items():
        is_read = not (start and isinstance(since, int) and since <= start)
        first = first_signed.get(text)
        if is_read and text in believed and first != since:
            source.faults.found(
                f"the public key {text!r} is said to have signed from size {since!r} on, and its first "
                f"checkpoint that holds is of size {first}: one of them was altered, dropped or replaced"
            )
    for text in first_signed.keys() - known.since.keys():
        source.faults.found(
            f"the public key {text!r} signed checkpoints and is missing from the ledger's keys"
        )


def _public_key(text: object, origin: str) -> PublicKey | None:
    try:
        key = PublicKey.parse(str(text))
    except ProofError:
        return None
    return key if key.name == origin else None
