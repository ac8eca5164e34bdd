"""Connections to PostgreSQL that never wait for ever, and that a forked child never uses."""

from __future__ import annotations

import os
import socket
from collections.abc import Generator
from contextlib import suppress
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakSet

import psycopg

__all__ = ["BoundedConnection", "dial"]

_T = TypeVar("_T")


class _StreamingCursor(psycopg.ServerCursor[Any]):
    """A cursor whose rows stay in the server until they are asked for."""

    def __del__(self, warn: object = None) -> None:
        # The driver warns of one that was left before its end, which the transaction's end closes here.
        return None


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that gives up on a server which says nothing, though it keeps the connection alive."""

    answer_seconds: float | None = None

    def wait(self, gen: Generator[Any, Any, _T], *args: Any, **options: Any) -> _T:
        """Wait for what the server says to one message, so long at most; then the connection is closed."""
        if self.answer_seconds is None:
            return super().wait(gen, *args, **options)
        try:
            return super().wait(_bounded(gen, self.answer_seconds), *args, **options)
        except _Silence as silence:
            # Whatever would be said next would come after the answer that is still owed.
            self.pgconn.finish()
            raise psycopg.OperationalError(str(silence)) from silence


class _Silence(Exception):
    """The server said nothing for too long."""


def _bounded(steps: Generator[Any, Any, _T], seconds: float) -> Generator[Any, Any, _T]:
    # The driver resumes its steps every tenth of a second, with 0 as long as nothing has come.
    deadline = monotonic() + seconds
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if not ready and monotonic() > deadline:
                raise _Silence(f"the server did not answer within {seconds} s")
            wanted = steps.send(ready)
    except StopIteration as end:
        result: _T = end.value
        return result


_open: WeakSet[BoundedConnection] = WeakSet()


def dial(arguments: dict[str, Any], answer_seconds: float | None) -> BoundedConnection:
    """Connect; the driver opens no transaction by itself, and prepares no statements (poolers lose them)."""
    connection = BoundedConnection.connect(**arguments, autocommit=True, prepare_threshold=None)
    connection.answer_seconds = answer_seconds
    connection.server_cursor_factory = _StreamingCursor
    _open.add(connection)
    return connection


def _forget_connections() -> None:
    # A child that closed its parent's connection, if only at its exit, would end the parent's session. So the
    # child's copy of the socket is replaced by one whose other end is closed.
    nowhere, other = socket.socketpair()
    other.close()
    for connection in list(_open):
        with suppress(psycopg.Error, OSError):
            os.dup2(nowhere.fileno(), connection.fileno(), inheritable=False)
    nowhere.close()
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_connections)
