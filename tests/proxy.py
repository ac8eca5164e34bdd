"""A wire between a site and its PostgreSQL that a test can slow down, cut, or make say nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

_CHUNK_BYTES = 65536


class Wire:
    """Passes bytes between a socket of its own and the server's.

    Args:
        folder: where its socket goes; a short path.
        url: the server's, reached through a socket's folder in ``host``.
    """

    def __init__(self, folder: Path, url: str) -> None:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        (self._server,) = Path(query["host"][0]).glob(".s.PGSQL.*[0-9]")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / self._server.name))
        self._listener.listen()
        query["host"] = [str(folder)]
        self.url = urlunsplit(parts._replace(query=urlencode(query, doseq=True)))
        self.delay_seconds = 0.0
        self.passes = threading.Event()
        self.passes.set()
        self._is_over = threading.Event()
        self._sockets: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break every connection that there is."""
        for one in list(self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it all."""
        self._is_over.set()
        self.passes.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._is_over.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(str(self._server))
            except OSError:
                near.close()
                far.close()
                continue
            self._sockets |= {near, far}
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while some := source.recv(_CHUNK_BYTES):
                self._is_over.wait(self.delay_seconds)
                self.passes.wait()
                target.sendall(some)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._sockets.discard(source)
        source.close()


@contextmanager
def wired(folder: Path, url: str) -> Iterator[Wire]:
    """Run a wire for the block."""
    wire = Wire(folder, url)
    try:
        yield wire
    finally:
        wire.close()
