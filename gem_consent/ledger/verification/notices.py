"""The notices of a ledger: each page against its digest, and the seals that chain them together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gem_consent.ledger.checkpoints import NO_SEAL, notice_seal
from gem_consent.ledger.schema import notices
from gem_consent.ledger.verification.source import Source, untyped

__all__ = ["Notices", "read_notices"]

BATCH_NOTICES = 20


@dataclass(frozen=True, slots=True)
class Notices:
    """What there is: the seal after each number of notices, from none on, and all digests."""

    seals: Sequence[bytes]
    digests: frozenset[object]


def read_notices(source: Source) -> Notices:
    """Read all notices in order, and note which of them are not what was stored."""
    seals, digests = [NO_SEAL], set()
    query = untyped(notices).order_by(notices.c.number)
    for batch in source.stream(query, "the notices", BATCH_NOTICES):
        for row in batch:
            _check(source, row._mapping, len(seals), seals[-1])
            seals.append(row.seal if isinstance(row.seal, bytes) else b"")
            digests.add(row.digest)
    return Notices(seals, frozenset(digests))


def _check(source: Source, row: Mapping[str, Any], number: int, before: bytes) -> None:
    try:
        is_whole = hashlib.sha256(row["html"]).hexdigest() == row["digest"]
        seal = notice_seal(before, number, row)
    except TypeError:
        is_whole, seal = False, b""
    name = f"the notice {str(row['digest'])[:64]!r} (number {row['number']!r})"
    if row["number"] != number:
        source.faults.found(f"{name} should be number {number}: a notice was dropped, added or renumbered")
    elif not is_whole:
        source.faults.found(f"{name} is not the page that its digest names: one of them was altered")
    elif seal != row["seal"]:
        source.faults.found(f"{name} no longer matches its seal: it was altered, or swapped with another")
