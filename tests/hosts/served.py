"""Runs one application in one server, on a port of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hosts.limits import TRIO

__all__ = ["ROOT", "Served"]

PATIENCE_SECONDS = 60
_KNOCK_SECONDS = 0.02
ROOT = "/shop"
"""Where an application lies that a server is told a root path of."""
TESTS = Path(__file__).parent.parent
_BEGINNINGS = ("startup complete", "Started worker", "Running on", "Listening on")
"""What uvicorn, granian, hypercorn and daphne say once they serve."""


class Served:
    """A server's process, which begins at once.

    A socket is made here and handed on, so that the port is never somebody else's; granian, which takes none,
    binds beside it (``SO_REUSEPORT``).

    Args:
        server: one of ``SERVERS``.
        app: the application, as servers are told.
        bytecode: a folder that processes share where Python keeps none, so that each compiles less.
        settings: what the application finds in its environment.
        has_root: tell the server, by its own option, that the application lies under ``ROOT``.
    """

    def __init__(
        self,
        server: str,
        app: str,
        bytecode: Path,
        settings: Mapping[str, str],
        *,
        has_root: bool = False,
    ) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._listener.bind(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        if server != "granian":
            self._listener.listen(100)
        environ = os.environ | {"PYTHONPATH": str(TESTS), "HOSTS_SERVER": server}
        if sys.dont_write_bytecode:
            environ |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(bytecode)}
        command = _command(server, self._listener.fileno(), self.port, has_root=has_root)
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command, app],
            cwd=TESTS,
            env=environ | dict(settings),
            pass_fds=[self._listener.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: list[str] = []
        self._is_up = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def address(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    def wait_until_up(self) -> None:
        """Wait until it serves."""
        assert self._is_up.wait(PATIENCE_SECONDS), self.said
        end = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_KNOCK_SECONDS)

    def _answers(self) -> bool:
        """Knock: granian says that it has started a moment before it listens."""
        with suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port)).close()
            return True
        return False

    @property
    def said(self) -> str:
        """What it has written so far."""
        return "".join(self._lines)

    def end(self) -> None:
        """Ask it to stop; returns at once."""
        self._process.terminate()

    def wait_until_ended(self) -> None:
        """Wait until it has stopped."""
        try:
            self._process.wait(PATIENCE_SECONDS)
        finally:
            self._process.kill()
            self._reader.join(PATIENCE_SECONDS)
            self._listener.close()
            if self._process.stdout:
                self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.append(line)
            if any(words in line for words in _BEGINNINGS):
                self._is_up.set()
        self._is_up.set()


def _command(server: str, fd: int, port: int, *, has_root: bool) -> Sequence[str]:
    root = ["--root-path", ROOT] if has_root else []
    if server == "uvicorn":
        return ["uvicorn", "--fd", str(fd), "--proxy-headers", "--forwarded-allow-ips", "127.0.0.1", *root]
    if server == "granian":
        root = ["--url-path-prefix", ROOT] if has_root else []
        return ["granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port), *root]
    if server == "daphne":
        return ["daphne", "--fd", str(fd), "--proxy-headers", *root]
    worker = ["--worker-class", "trio"] if server == TRIO else []
    return ["hypercorn", *worker, "--bind", f"fd://{fd}", *root]
