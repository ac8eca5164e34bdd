"""How a row is named that something is wrong with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gem_consent.errors import ProofError

__all__ = ["wrong"]


def wrong(position: int, what: str, columns: Mapping[str, Any] | None = None) -> ProofError:
    """Make the error that names a row by its position, and by its id and time where they are known."""
    known = f" (id {columns['id']}, of {columns['time']})" if columns and columns.get("id") else ""
    return ProofError(f"Row {position}{known}: {what}")
