"""What the sites in all frameworks answer: the same paths, the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_FOLDER = Path(__file__).parent / "files"
PAGE_FILE = _FOLDER / "page.html"
DOWNLOAD_FILE = _FOLDER / "download.bin"

PAGE = PAGE_FILE.read_text("utf-8")
DOWNLOAD = DOWNLOAD_FILE.read_bytes()
FRAGMENT = '<tr id="row"><td>one</td></tr>'
LOST = "<!doctype html><html lang=en><title>Lost</title><h1>There is no such page</h1></html>"
BROKEN = "<!doctype html><html lang=en><title>Broken</title><h1>Something broke</h1></html>"
CHUNKS = 4
EVENTS = ("one", "two", "three")


def chunks() -> Iterator[str]:
    """Give the page in pieces; the first ends within the head."""
    size = len(PAGE) // CHUNKS + 1
    first = PAGE.index("<title>") + 3
    yield PAGE[:first]
    yield from (PAGE[at : at + size] for at in range(first, len(PAGE), size))


def events() -> Iterator[str]:
    """Give the events of a stream, as they are on the wire."""
    yield from (f"data: {event}\n\n" for event in EVENTS)
