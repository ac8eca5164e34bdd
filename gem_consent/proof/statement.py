"""What a ledger's checkpoint says beside its tree, in its extension lines (C2SP tlog-checkpoint)."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from gem_consent.errors import ProofError
from gem_consent.proof.checkpoint import Checkpoint

__all__ = ["Statement"]

_STATEMENT = re.compile(r"time (\S+)\nprevious (0|[1-9]\d{0,18})\nnotices (0|[1-9]\d{0,18}) (\S+)")


@dataclass(frozen=True, slots=True)
class Statement:
    """What a checkpoint says beside its tree.

    Args:
        time: when it was signed, as ``utc_text`` writes it.
        previous: the size of the checkpoint before, 0 for the first.
        notices: how many notices the ledger held.
        seal: the seal of the last one, 32 bytes.
    """

    time: str
    previous: int
    notices: int
    seal: bytes

    @property
    def lines(self) -> tuple[str, ...]:
        """The checkpoint's extension lines."""
        seal = base64.b64encode(self.seal).decode()
        return f"time {self.time}", f"previous {self.previous}", f"notices {self.notices} {seal}"

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Statement:
        """Read a checkpoint's extension lines, in the one spelling in which they are written.

        Raises:
            ProofError: they are other than this library writes.
        """
        found = _STATEMENT.fullmatch("\n".join(checkpoint.extensions))
        try:
            if found is None:
                raise ValueError("no statement")
            seal = base64.b64decode(found[4], validate=True)
        except ValueError as error:
            raise ProofError("The checkpoint does not say when it was signed and after what") from error
        return cls(found[1], int(found[2]), int(found[3]), seal)
