"""What the sites in all frameworks answer: the same paths, the same bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Home</title></head>'
    "<body><main><h1>Home</h1><p>" + "Words upon words. " * 60 + "</p></main></body></html>"
)
FRAGMENT = '<tr id="row"><td>one</td></tr>'
LOST = "<!doctype html><html lang=en><title>Lost</title><h1>There is no such page</h1></html>"
BROKEN = "<!doctype html><html lang=en><title>Broken</title><h1>Something broke</h1></html>"
CHUNKS = 4
EVENTS = ("one", "two", "three")
DOWNLOAD = bytes(range(256)) * 8

_FOLDER = Path(tempfile.mkdtemp(prefix="hosts"))
DOWNLOAD_FILE = _FOLDER / "download.bin"
PAGE_FILE = _FOLDER / "page.html"
DOWNLOAD_FILE.write_bytes(DOWNLOAD)
PAGE_FILE.write_text(PAGE, "utf-8")

done_in_background: list[str] = []
"""What background tasks have noted."""


def chunks() -> Iterator[str]:
    """Give the page in pieces; the first ends within the head."""
    size = len(PAGE) // CHUNKS + 1
    first = PAGE.index("<title>") + 3
    yield PAGE[:first]
    yield from (PAGE[at : at + size] for at in range(first, len(PAGE), size))


def events() -> Iterator[str]:
    """Give the events of a stream, as they are on the wire."""
    yield from (f"data: {event}\n\n" for event in EVENTS)
