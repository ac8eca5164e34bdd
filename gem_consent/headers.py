"""Reads and edits ASGI header lists, whatever the case of their names.

Never respells, merges or reorders a header that it was not asked to change. Starlette's ``MutableHeaders``
compares names as they are, so it misses the ``Content-Type`` that Django and some servers write; hence these
few lines.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import TypeAlias

__all__ = ["Headers", "values", "without"]

Headers: TypeAlias = "list[tuple[bytes, bytes]]"
"""The headers of one ASGI message: ``(name, value)``, duplicates and order kept."""


def values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """Give every value of a header, in order, decoded as Latin-1 (no byte is lost: RFC 9110 §5.5).

    Args:
        headers: an ASGI header list.
        name: the header's name, in lower case.
    """
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]


def without(headers: Iterable[tuple[bytes, bytes]], names: Container[bytes]) -> Headers:
    """Give the headers but those of these names.

    Args:
        headers: an ASGI header list.
        names: what to leave out, in lower case.
    """
    return [(name, value) for name, value in headers if name.lower() not in names]
