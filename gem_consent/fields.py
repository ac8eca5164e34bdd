"""The checks that the fields of a declaration go through, and the two kinds of text that a field may hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import TypeAlias
from urllib.parse import urlsplit

from gem_consent.errors import PolicyError

Text: TypeAlias = str | Mapping[str, str]
"""A text shown to visitors: one string for every language, or a mapping from language tag to string."""

_ID = re.compile(r"[a-z][a-z0-9_-]{0,31}\Z")
LANGUAGE_TAG = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*\Z")
_HOST = re.compile(r"(https|wss)://(\*\.)?[a-z0-9.-]+(:\d+)?\Z")
_HOST_DIRECTIVES = ("connect-src", "frame-src", "img-src", "script-src")


class Message(str):
    """A text of the library's own: English here, the visitor's language from the library's catalogues."""

    __slots__ = ()


def wrong(name: str, value: object, allowed: str) -> PolicyError:
    """Make the error that names a field, its value and what is allowed."""
    shown = str(value) if isinstance(value, timedelta) else repr(value)
    return PolicyError(f"{name} is {shown}; allowed: {allowed}")


def require_words(name: str, value: object) -> None:
    """Refuse anything but a text with something in it."""
    if not isinstance(value, str) or not value.strip():
        raise wrong(name, value, "a text that is not empty")


def require_id(name: str, value: object) -> None:
    """Refuse anything but an id that code, cookies and exports can hold."""
    if not isinstance(value, str) or not _ID.match(value):
        raise wrong(
            name, value, "lower-case letters, digits, '-' and '_', a letter first, 32 characters at most"
        )


def require_unique(name: str, ids: Iterable[str]) -> None:
    """Refuse an id that comes twice."""
    seen: set[str] = set()
    for id_ in ids:
        if id_ in seen:
            raise wrong(name, id_, "each id once")
        seen.add(id_)


def require_bool(name: str, value: object) -> None:
    """Refuse anything but ``True`` and ``False``: the text ``'false'`` would count as true."""
    if not isinstance(value, bool):
        raise wrong(name, value, "True or False")


def freeze_sequence(owner: object, name: str, of: type) -> None:
    """Make a field's list a tuple, and refuse an item of another type."""
    value = getattr(owner, name)
    where, what = f"{type(owner).__name__}.{name}", f"{of.__name__} values"
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise wrong(where, value, f"a list of {what}")
    object.__setattr__(owner, name, tuple(value))
    for item in getattr(owner, name):
        if not isinstance(item, of):
            raise wrong(where, item, what)


def freeze_text(owner: object, *names: str) -> None:
    """Check fields that hold a text, and make their mappings read-only copies."""
    for name in names:
        value = getattr(owner, name)
        where = f"{type(owner).__name__}.{name}"
        if isinstance(value, Mapping):
            object.__setattr__(owner, name, _frozen_translations(where, value))
        else:
            require_words(where, value)


def _frozen_translations(where: str, value: Mapping[str, str]) -> Mapping[str, str]:
    if not value:
        raise wrong(where, dict(value), "at least one language")
    for language, text in value.items():
        if not isinstance(language, str) or not LANGUAGE_TAG.match(language):
            raise wrong(where, language, "language tags such as 'fr' as keys")
        require_words(f"{where}[{language!r}]", text)
    return MappingProxyType(dict(value))


def frozen_hosts(value: object) -> Mapping[str, tuple[str, ...]]:
    """Give a read-only copy of a mapping from directive to sources."""
    if not isinstance(value, Mapping):
        raise wrong("Service.hosts", value, "a mapping from directive to a list of sources")
    for directive, sources in value.items():
        if directive not in _HOST_DIRECTIVES:
            raise wrong("Service.hosts", directive, "the directives " + ", ".join(_HOST_DIRECTIVES))
        if isinstance(sources, str) or not isinstance(sources, Iterable):
            raise wrong(f"Service.hosts[{directive!r}]", sources, "a list of sources")
        for source in sources:
            if not isinstance(source, str) or not _HOST.match(source):
                raise wrong(
                    f"Service.hosts[{directive!r}]", source, "sources such as 'https://*.example.com'"
                )
    return MappingProxyType({directive: tuple(sources) for directive, sources in value.items()})


def is_email(value: object) -> bool:
    """Say whether this can be an e-mail address."""
    return (
        isinstance(value, str) and re.fullmatch(r"[^@\s<>\"]+@[^@\s<>\"]+\.[^@\s<>\".]+", value) is not None
    )


def is_web_url(value: object) -> bool:
    """Say whether this is an http(s) URL."""
    if not isinstance(value, str) or re.search(r"[\s<>\"]", value):
        return False
    try:
        parts = urlsplit(value)
    except ValueError:  # an opening bracket that promises an IPv6 address
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def is_local_path(value: object) -> bool:
    """Say whether this is a path on the same site."""
    return isinstance(value, str) and re.fullmatch(r"/(?![/\\])[^\s<>\"\\]*", value) is not None
