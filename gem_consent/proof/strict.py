"""JSON that strangers wrote: each text has one reading, and whatever is wrong with it is one sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from gem_consent.errors import ProofError
from gem_consent.proof.tree import MAX_SIZE

__all__ = ["hex_bytes", "json_object", "position_of", "require_members", "require_text"]

_SHOWN = 80
_HEX = re.compile(r"(?:[0-9a-f]{2})+")


def json_object(content: bytes, what: str) -> dict[str, Any]:
    """Read a JSON object: UTF-8, no name twice, whole numbers only, nested no deeper than Python reads.

    Args:
        content: the bytes; how many there may be is for the caller to say.
        what: names it in the message.

    Raises:
        ProofError: it is none; the message says why.
    """
    try:
        value = _DECODER.decode(content.decode())
    except UnicodeDecodeError as error:
        raise ProofError(f"{what} is not in UTF-8 from byte {error.start} on") from error
    except RecursionError as error:
        raise ProofError(f"{what} is nested too deeply to be read") from error
    except ValueError as error:
        raise ProofError(f"{what} is no JSON as this library writes it: {str(error)[:_SHOWN]}") from error
    if not isinstance(value, dict):
        raise ProofError(f"{what} is no JSON object")
    return value


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice in one object")
    return found


def _refused(text: str) -> NoReturn:
    raise ValueError(f"the number {text[:_SHOWN]} is not whole")


# Built once: json.loads with hooks builds one each time.
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_refused, parse_constant=_refused)


def require_members(found: Mapping[str, Any], names: Sequence[str], what: str) -> None:
    """Refuse an object that lacks one of these members, or has another.

    Raises:
        ProofError: the message names one of them.
    """
    for name in names:
        if name not in found:
            raise ProofError(f"{what} lacks {name!r}")
    for name in found:
        if name not in names:
            raise ProofError(f"{what} has {name[:_SHOWN]!r}, which nothing proves: it was added")


def require_text(value: object, what: str) -> str:
    """Give a text back.

    Raises:
        ProofError: it is none.
    """
    if not isinstance(value, str):
        raise ProofError(f"{what} is no text")
    return value


def hex_bytes(value: object, length: int, what: str) -> bytes:
    """Read so many bytes in hexadecimal, in the one spelling that is written: lower case.

    Raises:
        ProofError: it is anything else.
    """
    if not isinstance(value, str) or len(value) != 2 * length or not _HEX.fullmatch(value):
        raise ProofError(f"{what} is not {2 * length} hexadecimal digits in lower case")
    return bytes.fromhex(value)


def position_of(value: object, what: str) -> int:
    """Read a row's position.

    Raises:
        ProofError: it is no whole number from 0 on.
    """
    if type(value) is not int or not 0 <= value < MAX_SIZE:
        raise ProofError(f"{what} is no row's position")
    return value
