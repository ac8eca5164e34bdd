"""Gzip documents: decoded, changed and encoded again as they stream, or left as the very bytes."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from itertools import pairwise

import pytest
from asgi import PAGE
from hypothesis import given
from hypothesis import strategies as st

from gem_consent.compression import GzipDocumentStream
from gem_consent.document import DocumentStream, Insertions, Outcome

INSERTIONS = Insertions(b"<style></style>", b"<section></section>")
CHANGED = PAGE.replace(b"<head>", b"<head><style></style>").replace(b"<body>", b"<body><section></section>")


def stream() -> GzipDocumentStream:
    return GzipDocumentStream(DocumentStream(lambda _: INSERTIONS, has_charset=True))


def through(chunks: list[bytes]) -> bytes:
    one = stream()
    return b"".join(map(one.feed, chunks)) + one.finish()


@given(st.lists(st.integers(0, 200), max_size=10), st.integers(0, 9))
def test_change_is_same_under_chunks(cuts: list[int], level: int) -> None:
    """The document comes out changed under any chunking and level."""
    packed = gzip.compress(PAGE, level)
    edges = [0, *sorted(min(cut, len(packed)) for cut in cuts), len(packed)]
    chunks = [packed[a:b] for a, b in pairwise(edges)]
    assert gzip.decompress(through(chunks)) == CHANGED


def test_members_follow_each_other() -> None:
    """A file of several members is one document (RFC 1952, section 2.2)."""
    assert gzip.decompress(through([gzip.compress(PAGE[:50]) + gzip.compress(PAGE[50:])])) == CHANGED


@pytest.mark.parametrize("body", [gzip.compress(b"<p>part</p>"), b"no gzip at all", b"", b"\x1f\x8b"])
def test_unchanged_bytes_are_the_same(body: bytes) -> None:
    """What is not changed leaves as it came."""
    assert through([body[:5], body[5:]]) == body


def test_each_chunk_can_be_read() -> None:
    """What a chunk held can be decoded as soon as it has left: a streamed page keeps streaming."""
    packer = zlib.compressobj(wbits=31)
    first = packer.compress(PAGE[:120]) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert b"<style></style>" in zlib.decompressobj(31).decompress(stream().feed(first))


def test_outcome_is_the_documents() -> None:
    """The outcome is that of the bytes inside."""
    one = stream()
    one.feed(gzip.compress(b"<p>part</p>"))
    one.finish()
    assert one.outcome is Outcome.FRAGMENT


def test_bomb_costs_little_memory() -> None:
    """A small body that unpacks to 50 MB is rewritten in pieces."""
    packed = gzip.compress(PAGE + b"<p>" * 17_000_000)
    tracemalloc.start()
    through([packed])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000
