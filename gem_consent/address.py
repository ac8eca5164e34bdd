"""The local address of the page that a request asks for: what a choice on it comes back to. Pure."""

from __future__ import annotations

from typing import TypeAlias
from urllib.parse import quote

__all__ = ["PageAddress", "page_path", "return_address"]

_MAX_RETURN_BYTES = 2048

PageAddress: TypeAlias = tuple[bytes | None, str, bytes, str]
"""What ``return_address`` takes, as a request tells it."""


def return_address(raw_path: bytes | None, path: str, query: bytes, root: str) -> str:
    """Give the local address to come back to; without its query, or empty, where it is too long for that.

    Args:
        raw_path: the request's path as it was sent, where the server tells it.
        path: the same, decoded.
        query: the query string as it was sent.
        root: where the application is mounted, without a slash at its end.
    """
    address = page_path(raw_path, path, root)
    if query and len(address) + len(query) < _MAX_RETURN_BYTES:
        address = f"{address}?{_as_sent(query)}"
    return address if len(address) <= _MAX_RETURN_BYTES else ""


def page_path(raw_path: bytes | None, path: str, root: str) -> str:
    """Give the path of a page as browsers have it, percent-encoded; the arguments as above."""
    sent = _as_sent(raw_path.partition(b"?")[0]) if raw_path else quote(path)
    # the path holds the root_path (ASGI, "HTTP connection scope"), but older servers leave it out
    return sent if not root or sent.startswith(f"{root}/") else root + sent


def _as_sent(value: bytes) -> str:
    # what no browser sends unencoded is encoded, since a form would send it back in the page's own charset
    return value.decode() if value.isascii() else quote(value, safe="/%:@!$&'()*+,;=?~-._")
