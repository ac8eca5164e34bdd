"""A notice as it was shown: a page that opens by itself, and its digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

__all__ = ["Notice", "notice_of"]


@dataclass(frozen=True, slots=True)
class Notice:
    """Exactly what visitors were shown in one language.

    Args:
        digest: the SHA-256 of ``html`` in 64 hexadecimal digits, by which a decision names what it answers.
        fingerprint: the policy's.
        language: the language tag.
        library: the name and version of the library that rendered it.
        html: a page in UTF-8 that opens by itself, rendered with nothing of any one request in it.
    """

    digest: str
    fingerprint: str
    language: str
    library: str
    html: bytes


def notice_of(html: bytes, *, fingerprint: str, language: str, library: str) -> Notice:
    """Make the notice that these bytes are."""
    return Notice(hashlib.sha256(html).hexdigest(), fingerprint, language, library, html)
