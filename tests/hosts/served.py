"""Starts one framework's application behind the middleware in one server, on a port of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["SERVERS", "served"]

SERVERS = ("uvicorn", "hypercorn", "hypercorn-trio", "granian", "daphne")
PATIENCE_SECONDS = 60
TESTS = Path(__file__).parent.parent
APP = "hosts.served_app:app"


@contextmanager
def served(server: str, framework: str, folder: Path) -> Iterator[str]:
    """Serve an application while the block runs; give its address.

    A socket is made here and handed on, so that the port is never somebody else's; granian, which takes none,
    binds beside it (``SO_REUSEPORT``).
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    if server != "granian":
        listener.listen(100)
    process = subprocess.Popen(
        [sys.executable, "-m", *_command(server, listener.fileno(), port)],
        cwd=TESTS,
        env=os.environ
        | {"PYTHONPATH": str(TESTS), "HOSTS_FRAMEWORK": framework, "HOSTS_LEDGER": f"{folder}/consent.db"},
        pass_fds=[listener.fileno()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    is_up = threading.Event()
    reader = threading.Thread(target=_read, args=(process, lines, is_up), daemon=True)
    reader.start()
    try:
        assert is_up.wait(PATIENCE_SECONDS), "".join(lines)
        assert process.poll() is None, "".join(lines)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()
        reader.join(PATIENCE_SECONDS)
        listener.close()
        if process.stdout:
            process.stdout.close()


def _command(server: str, fd: int, port: int) -> Sequence[str]:
    if server == "uvicorn":
        return ["uvicorn", APP, "--fd", str(fd), "--proxy-headers", "--forwarded-allow-ips", "127.0.0.1"]
    if server == "granian":
        return ["granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port), APP]
    if server == "daphne":
        return ["daphne", "--fd", str(fd), "--proxy-headers", APP]
    worker = ["--worker-class", "trio"] if server.endswith("trio") else []
    return ["hypercorn", *worker, "--bind", f"fd://{fd}", APP]


def _read(process: subprocess.Popen[str], lines: list[str], is_up: threading.Event) -> None:
    assert process.stdout
    for line in process.stdout:
        lines.append(line)
        # uvicorn and granian, hypercorn, daphne
        if any(word in line for word in ("startup complete", "Started worker", "Running on", "Listening on")):
            is_up.set()
    is_up.set()
