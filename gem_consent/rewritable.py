"""Which responses are whole documents that may be changed, and how one is asked for: by headers alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from gem_consent.headers import Headers, values

__all__ = [
    "PLAIN",
    "by_name",
    "encoding",
    "html_charset",
    "is_html",
    "is_ordinary",
    "may_be_asked",
    "narrowed",
    "objection",
    "resized",
]

_NO_DOCUMENT_STATUSES = frozenset({204, 205, 206, 304})
_CHARSET = re.compile(rb"charset\s*=\s*\"?\s*([^\s\";]+)")
_WIDE_CHARSET = re.compile(rb"charset\s*=\s*\"?\s*(utf-?16|utf-?32|ucs-?[24])")
_GZIP = re.compile(rb"(^|[\s,])gzip\s*(;\s*q=(?!0(\.0*)?\s*(,|$))|,|$)", re.IGNORECASE)
_GZIP_ALONE = (b"accept-encoding", b"gzip")
# Parts of the names that this module, caching.py, csp.py and set_cookie.py read; common names without any.
_MEANINGFUL = re.compile(
    rb"control|pragma|expires|vary|etag|last-modified|accept-ranges|content-md5|digest|security-policy|set-cookie"
    rb"|content-encoding|content-disposition|content-range"
)
PLAIN = frozenset(
    {b"content-type", b"content-length", b"date", b"server", b"content-language", b"x-request-id", b"link"}
    | {b"x-frame-options", b"x-content-type-options", b"referrer-policy", b"strict-transport-security"}
    | {b"cross-origin-opener-policy", b"x-process-time"}
)
# a page asks for these from its own site; none of them is ever a document
_NO_DOCUMENT_DESTINATIONS = frozenset(
    {b"audio", b"font", b"image", b"manifest", b"script", b"style", b"track", b"video", b"worker"}
    | {b"sharedworker"}
)


# browsers share few of these, and what asks is most often a browser
@lru_cache(maxsize=256)
def may_be_asked(accept: bytes | None, destination: bytes | None) -> bool:
    """Say whether a request may be answered by a document; no ``Accept`` takes anything (RFC 9110, 12.5.1).

    Args:
        accept: the request's header.
        destination: its ``Sec-Fetch-Dest``.
    """
    takes_html = not accept or b"text/html" in accept or b"*/*" in accept
    return takes_html and destination not in _NO_DOCUMENT_DESTINATIONS


def objection(status: int, headers: Headers, names: Mapping[bytes, bytes]) -> str:
    """Say in a word or two why a response that is HTML is left alone; empty where nothing speaks against it.

    Args:
        status: the response's.
        headers: likewise.
        names: the same by name, in lower case.
    """
    if status < 200 or status in _NO_DOCUMENT_STATUSES or b"content-range" in names:
        return "part or none"
    if _is_attachment(headers, names):
        return "attachment"
    if _forbids_changes(headers, names):
        return "no-transform"
    is_readable = b"content-encoding" not in names or encoding(headers) in ("", "identity", "gzip")
    return "" if is_readable else "encoding"


def is_html(names: Mapping[bytes, bytes]) -> bool:
    """Say whether a response is HTML in an encoding that holds ASCII as it is."""
    return html_charset(names.get(b"content-type", b"")) is not None


# a site has few of them
@lru_cache(maxsize=256)
def html_charset(content_type: bytes) -> bytes | None:
    """Give the charset that a content type names, in lower case, else nothing (``b""``).

    ``None`` where the type is not HTML, or its charset does not hold ASCII as it is.
    """
    kind, _, parameters = content_type.lower().partition(b";")
    if kind.strip() != b"text/html" or _WIDE_CHARSET.search(parameters) is not None:
        return None
    named = _CHARSET.search(parameters)
    return named[1] if named else b""


def is_ordinary(names: Mapping[bytes, bytes]) -> bool:
    """Say whether no header of a response bears on what may be changed or said, but its type and its length.

    So it is with most responses, and then ``caching``, ``csp`` and ``set_cookie`` need not be asked.

    Args:
        names: the response's headers by name, in lower case.
    """
    return names.keys() <= PLAIN or _MEANINGFUL.search(b" ".join(names)) is None


def _is_attachment(headers: Headers, names: Mapping[bytes, bytes]) -> bool:
    return b"content-disposition" in names and any(
        value.lower().lstrip().startswith("attachment") for value in values(headers, b"content-disposition")
    )


def _forbids_changes(headers: Headers, names: Mapping[bytes, bytes]) -> bool:
    return b"cache-control" in names and any(
        "no-transform" in value.lower() for value in values(headers, b"cache-control")
    )


def encoding(headers: Headers) -> str:
    """Give the content codings of a response, in lower case."""
    return ", ".join(values(headers, b"content-encoding")).strip().lower()


def by_name(headers: Headers) -> dict[bytes, bytes]:
    """Give headers by name, in lower case; of several, the last."""
    names = dict(headers)
    # as ASGI has them, which not every framework does
    return names if b"".join(names).islower() else {key.lower(): value for key, value in headers}


def resized(headers: Headers, added: int | None) -> Headers:
    """Correct ``Content-Length``, or drop it where the new one is not known."""
    resized: list[tuple[bytes, bytes]] = []
    for pair in headers:
        if pair[0].lower() != b"content-length":
            resized.append(pair)
        elif added is not None and (length := pair[1].strip()).isdigit():
            resized.append((b"content-length", b"%d" % (int(length) + added)))
    return resized


def narrowed(headers: Headers, names: Mapping[bytes, bytes]) -> Headers:
    """Ask the application for gzip or nothing, whatever else the browser takes.

    Args:
        headers: the request's.
        names: the same by name, in lower case.
    """
    accepted = names.get(b"accept-encoding")
    if accepted is None or accepted == b"gzip":
        return headers
    if len(names) == len(headers) and _takes_gzip(accepted):
        at = headers.index((b"accept-encoding", accepted))
        changed = headers.copy()
        changed[at] = _GZIP_ALONE
        return changed
    others = [pair for pair in headers if pair[0] != b"accept-encoding"]
    return [*others, _GZIP_ALONE] if _takes_gzip(accepted) else others


@lru_cache(maxsize=256)
def _takes_gzip(accepted: bytes) -> bool:
    return _GZIP.search(accepted) is not None
