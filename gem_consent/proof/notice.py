"""A notice as it was shown: a page that opens by itself, its digest, and what it declares, for programs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gem_consent.proof.strict import json_object

__all__ = ["Notice", "declaration_in", "declaration_script", "notice_of"]

_OPENING = '<script type="application/json" id="gem-declaration">'
_DECLARATION = re.compile((re.escape(_OPENING) + "([^<]*)</script>").encode())


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


def declaration_script(declared: Mapping[str, Any]) -> str:
    """Give the element in which a notice's page says what it declares: so that its digest covers that too.

    ASCII, and without ``<``, ``>`` or ``&``, which would end or change it (HTML standard, "Restrictions for
    contents of script elements").
    """
    text = json.dumps(declared, separators=(",", ":"))
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return f"{_OPENING}{text}</script>"


def declaration_in(html: bytes) -> dict[str, Any] | None:
    """Read what a notice's page declares; ``None`` for one of a release that did not write it yet.

    Raises:
        ProofError: it cannot be read, which nothing that this library rendered is.
    """
    found = _DECLARATION.search(html)
    return None if found is None else json_object(found[1], "what the notice declares")
