"""What a browser would ask other hosts for: read from a page, its headers or styles, without asking."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import urlsplit

from gem_consent.headers import Headers, values

__all__ = ["Load", "loads_of", "loads_of_headers", "loads_of_styles"]

# a link to click loads nothing; these do (HTML standard, "Link types")
_LOADING_LINKS = frozenset(
    {"dns-prefetch", "icon", "manifest", "modulepreload", "preconnect", "prefetch", "preload", "prerender"}
    | {"stylesheet", "apple-touch-icon", "mask-icon", "shortcut"}
)
_LOADING_ATTRIBUTES = frozenset({"src", "poster", "data", "background", "codebase", "ping"})
_CSS_URL = re.compile(
    r"(?:url\(|(?:@import|image-set\()(?!\s*url\())\s*[\"']?\s*([^\"')\s;]+)", re.IGNORECASE
)
# HTML standard, "type" of script: any other type is a data block, which no browser runs
_RUN_TYPE = re.compile(
    r"(?:(?:text|application)/(?:x-)?(?:java|ecma|j|live)script[0-9.]*|module|importmap|speculationrules)?\s*(?:;|\Z)",
    re.IGNORECASE,
)
_LINK = re.compile(r'<([^>]*)>((?:[^,"]|"[^"]*")*)')
_REL = re.compile(r'\brel\s*=\s*"?([^";]*)', re.IGNORECASE)
_META_REFRESH = re.compile(r"url\s*=\s*[\"']?([^\"'\s]+)", re.IGNORECASE)


class Load(NamedTuple):
    """One reason for a request.

    Args:
        where: the element and attribute, as a person would look for it.
        host: the host that is asked, in lower case; empty for a text that must be searched.
        text: what stands there: an address, or an inline script.
    """

    where: str
    host: str
    text: str


def loads_of(page: str) -> list[Load]:
    """Give what a page makes a browser load from named hosts, and its inline scripts."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader.found


def loads_of_headers(headers: Headers) -> list[Load]:
    """Give what a page's ``Link`` (RFC 8288) and ``Refresh`` headers make a browser load from named hosts."""
    linked = (
        address
        for line in values(headers, b"link")
        for address, parameters in _LINK.findall(line)
        if (rel := _REL.search(parameters)) and not _LOADING_LINKS.isdisjoint(rel[1].lower().split())
    )
    refreshed = (address for line in values(headers, b"refresh") for address in _META_REFRESH.findall(line))
    return [*_named("the Link header", linked), *_named("the Refresh header", refreshed)]


def loads_of_styles(sheet: str) -> list[Load]:
    """Give what a style sheet makes a browser load from named hosts."""
    return list(_named("the style sheet", _CSS_URL.findall(sheet)))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[Load] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        is_read = tag == "style" or (tag == "script" and _RUN_TYPE.match(given.get("type", "").strip()))
        self._inside = tag if is_read else ""
        if tag in ("textarea", "title"):
            # what looks like an element in there is text; not every Python's parser knows
            self.set_cdata_mode(tag)
        for name, value in given.items():
            if name == "srcdoc":
                self._nested(value)
            elif name == "style":
                self._addresses(f"<{tag} style>", _CSS_URL.findall(value))
            elif name.startswith("on"):
                self._text(f"<{tag} {name}>", value)
            else:
                self._addresses(f"<{tag} {name}>", _addresses(tag, name, value, given))

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self._addresses("<style>", _CSS_URL.findall(data))
        elif self._inside == "script":
            self._text("<script>", data)

    def _nested(self, page: str) -> None:
        self.found += [load._replace(where=f"srcdoc {load.where}") for load in loads_of(page)]

    def _text(self, where: str, text: str) -> None:
        if text.strip():
            self.found.append(Load(where, "", text))

    def _addresses(self, where: str, addresses: Iterable[str]) -> None:
        self.found += _named(where, addresses)


def _named(where: str, addresses: Iterable[str]) -> Iterator[Load]:
    return (Load(where, host, address) for address in addresses if (host := _host(address)))


def _addresses(tag: str, name: str, value: str, given: dict[str, str]) -> Iterator[str]:
    if name in ("srcset", "imagesrcset"):
        yield from (part.split()[0] for part in value.split(",") if part.strip())
    elif name in _LOADING_ATTRIBUTES:
        yield from value.split() if name == "ping" else [value]
    elif (
        tag == "link"
        and name == "href"
        and not _LOADING_LINKS.isdisjoint(given.get("rel", "").lower().split())
    ) or (tag in ("image", "feimage", "use", "script", "base") and name in ("href", "xlink:href")):
        yield value
    elif tag == "meta" and name == "content" and given.get("http-equiv", "").lower() == "refresh":
        yield from _META_REFRESH.findall(value)


def _host(address: str) -> str:
    """Give the host of an address that names one: ``https://host/…`` or ``//host/…``."""
    try:
        # browsers take the one for the other (URL standard, "relative state")
        parts = urlsplit(address.strip().replace("\\", "/"))
    except ValueError:
        return ""
    return (parts.hostname or "").lower() if parts.scheme in ("", "http", "https", "ws", "wss") else ""
