"""Texts with slots: rendered once, filled per request, in ASCII or in UTF-8. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from gem_consent.consent import Consent

__all__ = ["Slots", "Slotted", "View", "ascii_bytes", "tokens"]

_SLOT = re.compile(r"@gem:([a-z_]+)@")
_MAX_REMEMBERED = 256


class View(NamedTuple):
    """What a document shows: the form for everyone (shared), or that of one visitor.

    Args:
        is_shared: the same bytes for every visitor; scripts decide what is visible.
        is_decided: there is nothing to ask, since the visitor's choice stands, a signal refuses, or a crawler
            reads; never with ``is_shared``.
        granted: what was granted; never with ``is_shared``.
    """

    is_shared: bool
    is_decided: bool = False
    granted: frozenset[str] = frozenset()

    @classmethod
    def of(cls, consent: Consent) -> View:
        """Give the view of one visitor."""
        return cls(is_shared=False, is_decided=consent.is_decided, granted=consent.granted)


class Slots(NamedTuple):
    """What one request fills in.

    Args:
        prefix: the path of the library's own pages, with the application's ``root_path``.
        return_to: the local path to come back to after a choice.
        nonce: the page's Content-Security-Policy nonce, if it has one.
        needs_reload: the page's policy forbids what a grant would start, so that a grant reloads it.
        is_quiet: the page's policy forbids what starts a service: nothing is started, and the script fetches
            nothing, so that forms and links are plain.
        is_utf8: the response says that it is in UTF-8, where letters that are not ASCII take less room.
    """

    prefix: str
    return_to: str = ""
    nonce: str | None = None
    needs_reload: bool = False
    is_quiet: bool = False
    is_utf8: bool = False


class Slotted:
    """A text with slots, its parts made bytes once; what fills them is escaped.

    Args:
        template: the text, with slots as ``tokens`` writes them.
    """

    def __init__(self, template: str) -> None:
        pieces = _SLOT.split(template)
        self._pieces = [ascii_bytes(piece) for piece in pieces]
        self._utf8_pieces = self._pieces if template.isascii() else [piece.encode() for piece in pieces]
        self._slots = [(at, _FILLS[pieces[at]]) for at in range(1, len(pieces), 2)]

    def fill(self, slots: Slots) -> bytes:
        """Give the text with what one request fills in."""
        pieces = self._utf8_pieces if slots.is_utf8 else self._pieces
        if not self._slots:
            return pieces[0]
        pieces = pieces.copy()
        for at, fill in self._slots:
            pieces[at] = fill(slots)
        return b"".join(pieces)


@lru_cache(_MAX_REMEMBERED)
def _escaped(text: str) -> bytes:
    return ascii_bytes(html.escape(text))


@lru_cache(_MAX_REMEMBERED)
def _quoted(text: str) -> bytes:
    return quote(text, safe="/").encode()


_FILLS: Mapping[str, Callable[[Slots], bytes]] = {
    "prefix": lambda slots: _escaped(slots.prefix),
    "return_to": lambda slots: _escaped(slots.return_to),
    "return_query": lambda slots: _quoted(slots.return_to),
    "nonce": lambda slots: ascii_bytes(f' nonce="{html.escape(slots.nonce)}"') if slots.nonce else b"",
    "csp": lambda slots: b" data-csp=1" if slots.needs_reload else b"",
    "quiet": lambda slots: b" data-quiet=1" if slots.is_quiet else b"",
}


def tokens(digest: str, language: str) -> dict[str, str]:
    """Give what templates write where a request fills something in."""
    return {
        "digest": digest,
        "prefix": "@gem:prefix@",
        "return_to": "@gem:return_to@",
        "preferences": f"@gem:prefix@?lang={language}&return=@gem:return_query@",
    }


def ascii_bytes(text: str) -> bytes:
    """Write what is not ASCII as character references, so that a page in any encoding can carry it."""
    return text.encode("ascii", "xmlcharrefreplace")
