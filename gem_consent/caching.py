"""Decides what caches may be told about a document, and what its validators say.

Given header lists, gives header lists; never judges a document by anything but its own headers, and never
knows a visitor. Where headers contradict each other, the answer is the one that shares less.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime

from gem_consent.headers import Headers, values, without

__all__ = [
    "CONDITIONS",
    "MARK",
    "changed_document",
    "is_private",
    "is_shared",
    "make_private",
    "request_conditions",
]

MARK = b"-gc"

_FORBIDDEN = re.compile(r"private|no-store|no-cache", re.IGNORECASE)
_MEMBER = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
# Surrogate-Control may add a stale time: max-age=3600+600 (Edge Architecture Specification §2.3).
_POSITIVE_SECONDS = re.compile(r"0*[1-9][0-9]*(?:\+[0-9]+)?\Z")

_SHARED_ONLY = frozenset({"public", "s-maxage", "proxy-revalidate"})
_TARGETED = frozenset(
    {b"surrogate-control", b"edge-control", b"x-litespeed-cache-control", b"x-accel-expires"}
)
_OF_THE_OLD_BYTES = frozenset(
    {b"last-modified", b"accept-ranges", b"content-md5", b"digest", b"content-digest", b"repr-digest"}
)
CONDITIONS = frozenset({b"if-none-match", b"if-match", b"if-range", b"if-modified-since"})

# RFC 9110 §8.8.3; no space inside, or the gap between two tags would read as a tag.
_ENTITY_TAG = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_MARKED = re.compile(MARK + rb'[0-9a-f]{8}"\Z')


def is_shared(request_headers: Headers, response_headers: Headers, now: datetime) -> bool:
    """Say whether the response's own headers let shared caches store it (RFC 9111 §3, §4.2.1; RFC 9213 §2.2).

    A forbidding word anywhere in a control header decides against it, even in garbage or inside quotes, and
    so do ``Vary: Cookie``, an explicit lifetime of zero and lifetimes that contradict each other.

    Args:
        request_headers: the request's; one with ``Authorization`` is never answered by a shared document
            (§3.5).
        response_headers: as the app wrote them.
        now: the present time, with a time zone.
    """
    if not any(_may_grant(name.lower()) for name, _ in response_headers):
        return False  # Most documents: nothing asks a cache to keep them.
    if values(request_headers, b"authorization") or values(response_headers, b"set-cookie"):
        return False
    if any(_FORBIDDEN.search(line) for line in _control_lines(response_headers)):
        return False
    if not {"cookie", "*"}.isdisjoint(_vary(response_headers)):
        return False
    return _is_stored(response_headers, now)


def _may_grant(key: bytes) -> bool:
    return key in (b"cache-control", b"expires", b"surrogate-control") or key.endswith(b"cdn-cache-control")


def _control_lines(headers: Headers) -> Iterator[str]:
    for name, value in headers:
        key = name.lower()
        if key in (b"cache-control", b"pragma") or _is_targeted(key):
            yield value.decode("latin-1")


def _is_targeted(key: bytes) -> bool:
    # RFC 9213: CDN-Cache-Control and its kind (Cloudflare-, Vercel-, Netlify-…) outrank Cache-Control where
    # they are understood; nginx obeys X-Accel-Expires even beside `private`.
    return key.endswith(b"cdn-cache-control") or key in _TARGETED


def _vary(headers: Headers) -> set[str]:
    return {member.strip().lower() for line in values(headers, b"vary") for member in line.split(",")}


def _is_stored(headers: Headers, now: datetime) -> bool:
    verdicts = {
        _verdict([value.decode("latin-1")])
        for name, value in headers
        if name.lower().endswith(b"cdn-cache-control") or name.lower() == b"surrogate-control"
    }
    if False in verdicts:
        return False
    own = _verdict(values(headers, b"cache-control"))
    return True in verdicts or (own if own is not None else _expires_later(headers, now))


def _verdict(lines: list[str]) -> bool | None:
    """Say what control lines rule for shared caches; ``None`` if nothing."""
    found = [_directive(member) for line in lines for member in _members(line)]
    for limit in ("s-maxage", "max-age"):
        lifetimes = [argument for name, argument in found if name == limit]
        if lifetimes:
            # RFC 9111 §4.2.1: where one is given twice, the response may be taken as stale.
            return all(_POSITIVE_SECONDS.match(seconds) for seconds in lifetimes)
    return True if ("public", "") in found else None


def _members(line: str) -> list[str]:
    """Split a control header at its commas, but not at those inside quotes; an open quote runs to the end."""
    return [member for raw in _MEMBER.findall(line) if (member := raw.strip())]


def _directive(member: str) -> tuple[str, str]:
    name, _, argument = member.partition("=")
    # RFC 9111 §5.2: both argument forms are to be accepted.
    return name.strip().lower(), argument.strip().strip('"')


def _expires_later(headers: Headers, now: datetime) -> bool:
    lines = values(headers, b"expires")
    if len(lines) != 1:
        return False
    try:
        expires = parsedate_to_datetime(lines[0])
    except (ValueError, TypeError, OverflowError, IndexError):
        return False  # RFC 9111 §5.3: an invalid date, "0" above all, is in the past.
    return expires.tzinfo is not None and expires > now


def make_private(headers: Headers) -> Headers:
    """Make a response the visitor's own: ``private`` and ``Vary: Cookie`` (RFC 9111 §5.2.2.7, §4.1).

    Directives that speak to shared caches go, and with them the headers that only CDNs read; the others stay.
    Safe to call twice. RFC 9213 §2.2 is why the targeted headers must go: they would outrank ``private``.
    """
    kept = [pair for name, value in headers if (pair := _unshared(name, value))]
    private = kept if _has_private(kept) else _with_member(kept, b"cache-control", b"private")
    return private if {"cookie", "*"} & _vary(private) else _with_member(private, b"vary", b"Cookie")


def _unshared(name: bytes, value: bytes) -> tuple[bytes, bytes] | None:
    key = name.lower()
    if key != b"cache-control":
        return None if _is_targeted(key) else (name, value)
    kept = ", ".join(member for member in _members(value.decode("latin-1")) if not _is_shared_only(member))
    return (name, kept.encode("latin-1")) if kept else None


def _is_shared_only(member: str) -> bool:
    name, argument = _directive(member)
    # `private="set-cookie"` lets shared caches keep all but that field (RFC 9111 §5.2.2.7): not private
    # enough.
    return name in _SHARED_ONLY or (name == "private" and argument != "")


def is_private(headers: Headers) -> bool:
    """Say whether a response's headers keep it out of shared caches (RFC 9111 §5.2.2.5, §5.2.2.7)."""
    return _has_directive(headers, "private") or _has_directive(headers, "no-store")


def _has_private(headers: Headers) -> bool:
    return _has_directive(headers, "private")


def _has_directive(headers: Headers, name: str) -> bool:
    return any(
        _directive(member)[0] == name
        for line in values(headers, b"cache-control")
        for member in _members(line)
    )


def _with_member(headers: Headers, key: bytes, member: bytes) -> Headers:
    """Put a member before those of the first such line, or at the end on a line of its own."""
    for index, (name, value) in enumerate(headers):
        if name.lower() == key:
            # First, because a quote that the app left open would swallow what follows it.
            line = member + b", " + value if value.strip() else member
            return [*headers[:index], (name, line), *headers[index + 1 :]]
    return [*headers, (key, member)]


def changed_document(headers: Headers, suffix: str) -> Headers:
    """Take away what was true of the old bytes only, and mark the ``ETag`` (RFC 9110 §8.8.3).

    ``"abc"`` becomes ``"abc-gc1a2b3c4d"``, weak tags stay weak, and a malformed tag is left out.

    Args:
        headers: the headers of a document that is being rewritten, or of its 304 or HEAD answer.
        suffix: eight hexadecimal digits that stand for what was inserted.
    """
    ending = MARK + suffix.encode("ascii") + b'"'
    return [
        (name, value.strip()[:-1] + ending if name.lower() == b"etag" else value)
        for name, value in without(headers, _OF_THE_OLD_BYTES)
        if name.lower() != b"etag" or _ENTITY_TAG.fullmatch(value.strip())
    ]


def request_conditions(headers: Headers, suffixes: Sequence[str], *, is_navigation: bool) -> Headers:
    """Give the request's headers with the conditions that the app can judge, and no others (RFC 9110 §13.1).

    ``If-None-Match``: tags with a present suffix lose it, tags with another go, and on a navigation so do
    tags with none (they name the document as it was before this library). ``If-Match``: any mark comes off,
    since what is to be edited is the app's own. ``If-Range`` with a mark goes, and ``Range`` with it.
    ``If-Modified-Since`` goes on a navigation or once a tag was stale (§13.1.3: it does not count beside a
    tag, and must not begin to).

    Args:
        headers: the request's.
        suffixes: what may be inserted now, eight hexadecimal digits each: the shared form, the visitor's.
        is_navigation: whether a document is asked for.

    Returns:
        The changed headers; the same object if there was nothing to change.
    """
    if not any(name.lower() in CONDITIONS for name, _ in headers):
        return headers
    present = tuple(MARK + suffix.encode("ascii") + b'"' for suffix in suffixes)
    dropped = frozenset(_unanswerable(headers, present, is_navigation=is_navigation))
    changed = [
        (name, seen)
        for name, value in without(headers, dropped)
        if (seen := _seen(name.lower(), value, present, is_navigation=is_navigation)) is not None
    ]
    return headers if changed == headers else changed


def _unanswerable(headers: Headers, present: tuple[bytes, ...], *, is_navigation: bool) -> Iterator[bytes]:
    stale = any(_is_stale(tag, present) for tag in _tags(headers, b"if-none-match"))
    if is_navigation or stale:
        yield b"if-modified-since"
    if any(_MARKED.search(tag) for tag in _tags(headers, b"if-range")):
        yield from (b"if-range", b"range")


def _tags(headers: Headers, key: bytes) -> Iterable[bytes]:
    return (tag for name, value in headers if name.lower() == key for tag in _ENTITY_TAG.findall(value))


def _is_stale(tag: bytes, present: tuple[bytes, ...]) -> bool:
    return _MARKED.search(tag) is not None and not tag.endswith(present)


def _seen(key: bytes, value: bytes, present: tuple[bytes, ...], *, is_navigation: bool) -> bytes | None:
    if key not in (b"if-none-match", b"if-match") or value.strip() == b"*":
        return value
    tags = _ENTITY_TAG.findall(value)
    asked = [tag for tag in tags if key == b"if-match" or _may_be_asked(tag, present, is_navigation)]
    kept = [_MARKED.sub(b'"', tag) for tag in asked]
    if kept == tags and (tags or not is_navigation or key == b"if-match"):
        return value
    return b", ".join(kept) or None


def _may_be_asked(tag: bytes, present: tuple[bytes, ...], is_navigation: bool) -> bool:
    return tag.endswith(present) if is_navigation or _MARKED.search(tag) else True
