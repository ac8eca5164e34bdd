"""A real server for tests: uvicorn on a free port of 127.0.0.1, in a thread that stops by itself."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

__all__ = ["serving"]

_START_SECONDS = 15


class _Server(uvicorn.Server):
    """A server that says when it listens, or that it never will."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.is_up.set()


@contextmanager
def serving(app: Any, **options: Any) -> Iterator[int]:
    """Serve an ASGI application, with its lifespan, while the block runs.

    Args:
        app: the application.
        options: further settings of ``uvicorn.Config``.

    Yields:
        The port on 127.0.0.1.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    settings: dict[str, Any] = {
        "log_level": "warning",
        "ws": "none",
        "lifespan": "on",
        "timeout_graceful_shutdown": 1,
    }
    server = _Server(uvicorn.Config(app, **(settings | options)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        assert server.is_up.wait(_START_SECONDS), "the server did not start"
        assert server.started, "the application refused to start"
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(_START_SECONDS)
        listener.close()
