"""A gzip-encoded document on its way through a ``DocumentStream``: decoded, changed and encoded again."""

from __future__ import annotations

import zlib

from gem_consent.document import DocumentStream, Outcome

__all__ = ["GzipDocumentStream"]

_GZIP_WINDOW = 31  # zlib's largest window, plus 16 for the gzip format
_MAX_PIECE_BYTES = 256 * 1024


class GzipDocumentStream:
    """The interface of ``DocumentStream`` for bytes in the gzip encoding.

    A document that stays as it is leaves as the very bytes that came. Bytes that are no gzip make it one.
    The length of a changed one is not known before its end.
    """

    def __init__(self, document: DocumentStream) -> None:
        self._document = document
        self._decoder = zlib.decompressobj(_GZIP_WINDOW)
        self._encoder = zlib.compressobj(level=6, wbits=_GZIP_WINDOW)
        self._held: list[bytes] = []
        self._is_broken = False
        self._is_whole = False

    @property
    def added(self) -> None:
        """Not known: what the document grows by is compressed."""
        return None

    @property
    def is_done(self) -> bool:
        """Whether all that is still to come leaves as it came; never, since a changed document is encoded."""
        return False

    @property
    def outcome(self) -> Outcome:
        """What is known of the document; not SEARCHING once its bytes turned out to be no gzip."""
        if self._is_broken and self._document.outcome is Outcome.SEARCHING:
            return Outcome.NOT_ASCII_COMPATIBLE
        return self._document.outcome

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes and give those that may leave."""
        was_searching = self.outcome is Outcome.SEARCHING
        if not was_searching and self.outcome is not Outcome.CHANGED:
            return chunk
        if was_searching:
            self._held.append(chunk)
        changed = self._changed(chunk)
        if self.outcome is Outcome.SEARCHING:
            return b""
        if self.outcome is not Outcome.CHANGED:
            return self._release()
        self._held.clear()
        return changed + self._encoder.flush(zlib.Z_SYNC_FLUSH) if chunk else changed

    def finish(self) -> bytes:
        """Give the rest, at the end of the document."""
        rest = self._document.finish()
        if self.outcome is not Outcome.CHANGED:
            return self._release()
        # a body cut short stays one: what is not ended properly tells the browser so
        return self._encoder.compress(rest) + self._encoder.flush(
            zlib.Z_FINISH if self._is_whole else zlib.Z_SYNC_FLUSH
        )

    def _release(self) -> bytes:
        held, self._held = b"".join(self._held), []
        return held

    def _changed(self, chunk: bytes) -> bytes:
        out = []
        while chunk and not self._is_broken:
            try:
                piece = self._decoder.decompress(chunk, _MAX_PIECE_BYTES)
            except zlib.error:
                self._is_broken = True
                break
            if ready := self._document.feed(piece):
                out.append(self._encoder.compress(ready))
            chunk = self._decoder.unconsumed_tail
            self._is_whole = self._decoder.eof
            if self._decoder.eof:
                # RFC 1952, section 2.2: a file may be several members, one after the other
                chunk = self._decoder.unused_data
                self._decoder = zlib.decompressobj(_GZIP_WINDOW)
        return b"".join(out)
