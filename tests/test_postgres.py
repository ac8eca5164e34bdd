"""The ledger in PostgreSQL: its schema and rights, a server that stops or is silent, processes that fork."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from ledgers import asking, check, fill, make_event, make_notice
from postgres import Server, execute, running_server
from sqlalchemy import Column, LargeBinary, String, Table, select

from gem_consent.errors import ConfigurationError, LedgerError, LedgerUnavailable
from gem_consent.ledger import postgres
from gem_consent.ledger.database import database_of
from gem_consent.ledger.schema import cookies, events, metadata
from gem_consent.ledger.store import Append, Ledger
from gem_consent.ledger.verification import verify
from gem_consent.proof.event import Event


@pytest.fixture
def url(postgres_server: Server) -> str:
    """The URL of an empty schema."""
    return postgres_server.new_url()


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """An open ledger, checked in the end."""
    with closing(Ledger.open(url)) as book:
        yield book
    check(url)


def session_of(book: Ledger) -> int:
    """Give the server's process id of a ledger's connection."""
    with book.reading() as connection:
        return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())


def schema_of(url: str) -> str:
    return str(execute(url, "SELECT current_schema()")[0][0])


# Where it lies


def test_name_hides_the_password() -> None:
    """Messages name server and database, and neither role nor password; the URL keeps them."""
    database = database_of("postgres://site:hunter2@db.example.com:5433/consent?sslmode=require&password=x")
    assert database.name == "postgresql://db.example.com:5433/consent"
    assert "hunter2" in database.url


def test_driver_is_asked_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the driver the message says what to install."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "gem_consent.ledger.dialling", raising=False)
    with pytest.raises(ConfigurationError, match=r'pip install "gem-consent\[postgres\]"'):
        Ledger.open(url)
    assert "psycopg" in str(importlib.metadata.requires("gem-consent"))


def test_schemas_part_two_ledgers(postgres_server: Server) -> None:
    """Two ledgers in two schemas of one database know nothing of each other."""
    urls = [postgres_server.new_url() for _ in "12"]
    for url in urls:
        with closing(Ledger.open(url)) as book:
            book.append([Append(make_event())])
    first, second = (check(url) for url in urls)
    assert (len(first), len(second), first == second) == (1, 1, False)


def test_missing_schema_is_named(url: str) -> None:
    """A search path that names no schema is refused with what to create."""
    with pytest.raises(LedgerError, match="names no schema that is there: create it"):
        Ledger.open(url.replace("search_path%3D", "search_path%3Dabsent_"))


def test_second_ledger_on_the_path_is_refused(ledger: Ledger, url: str, postgres_server: Server) -> None:
    """An empty schema before the ledger's own begins no second ledger unseen."""
    path = f"{schema_of(postgres_server.new_url())},{schema_of(url)}"
    with pytest.raises(LedgerError, match="the one that is meant, alone"):
        Ledger.open(f"{postgres_server.url}&options={quote(f'-csearch_path={path}')}")


def test_absent_ledger_is_not_made(url: str) -> None:
    """Where a ledger must exist, an empty schema stays empty."""
    with pytest.raises(LedgerError, match="holds no ledger"):
        Ledger.open(url, must_exist=True)
    with asking(url) as ask:
        assert ask("SELECT 1 FROM pg_tables WHERE schemaname = current_schema()") == []


def test_other_encodings_are_refused(postgres_server: Server) -> None:
    """A database that cannot hold every visitor's words is refused."""
    postgres_server.execute(
        "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    with pytest.raises(LedgerError, match=r"is in LATIN1.*create one in UTF8"):
        Ledger.open(postgres_server.url.replace("/postgres?", "/latin?"))


def test_texts_sort_by_their_bytes(ledger: Ledger, url: str) -> None:
    """Every text column sorts as in SQLite, whatever language the server was installed in."""
    with asking(url) as ask:
        found = ask(
            "SELECT DISTINCT collation_name FROM information_schema.columns "
            "WHERE table_schema = current_schema() AND data_type IN ('character varying', 'text')"
        )
    assert found == [{"collation_name": "C"}]


# Rights and settings


def test_site_needs_four_rights(ledger: Ledger, url: str, postgres_server: Server) -> None:
    """A role that may select, insert, update and delete keeps the ledger; one that may select verifies it."""
    schema = schema_of(url)
    for role, rights in (("site", "SELECT, INSERT, UPDATE, DELETE"), ("reader", "SELECT")):
        postgres_server.execute(f"CREATE ROLE {role} LOGIN")
        postgres_server.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        postgres_server.execute(f"GRANT {rights} ON ALL TABLES IN SCHEMA {schema} TO {role}")
    with closing(Ledger.open(url.replace("//postgres:", "//site:"))) as book:
        fill(book, [3])
    with closing(Ledger.open(url.replace("//postgres:", "//reader:"), must_exist=True)) as book:
        with book.reading() as connection:
            assert verify(connection).holds
        with pytest.raises(LedgerError, match=r"\(42501\): permission denied: give its role the rights"):
            book.append([Append(make_event())])


def test_commits_are_durable(url: str, postgres_server: Server) -> None:
    """A role for which commits are not waited for waits for the ledger's all the same."""
    Ledger.open(url).close()
    postgres_server.execute("CREATE ROLE hasty LOGIN SUPERUSER")
    postgres_server.execute("ALTER ROLE hasty SET synchronous_commit = off")
    with closing(Ledger.open(url.replace("//postgres:", "//hasty:"))) as book, book.writing():
        shown = book._connection.exec_driver_sql("SHOW synchronous_commit").scalar()
    assert shown == "on"


def test_reading_streams_from_the_server(ledger: Ledger) -> None:
    """A long read keeps its rows in the server, and its moment while others write."""
    fill(ledger, [50])
    with ledger.reading() as connection:
        rows = connection.execute(select(events.c.position), execution_options={"yield_per": 10})
        (batch, *_) = (next(rows.partitions()),)
        open_cursors = connection.exec_driver_sql("SELECT count(*) FROM pg_cursors").scalar()
        with closing(Ledger.open(ledger._database.url)) as other:
            other.append([Append(make_event())])
        assert (len(batch), open_cursors) == (10, 1)
        assert len(rows.all()) == 40


# Servers that are away


def test_ended_session_stores_nothing(ledger: Ledger, postgres_server: Server) -> None:
    """A session that the server ends in mid-transaction leaves no trace, and the next try stores it once."""
    event = make_event()

    def write() -> None:
        with ledger.writing() as append:
            append([Append(event)])
            session = ledger._connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            postgres_server.execute(f"SELECT pg_terminate_backend({session}, 10000)")

    with pytest.raises(LedgerUnavailable, match="cannot be"):
        write()
    assert ledger.size == 0
    assert ledger.append([Append(event)]) == ledger.append([Append(event)]) == [event]


def test_restarted_server_is_found_again() -> None:
    """While the server is stopped the ledger is unavailable; after it everything acknowledged is there."""
    with running_server() as server:
        url = server.new_url()
        with closing(Ledger.open(url)) as book:
            events = [book.append([Append(make_event())])[0] for _ in range(3)]
            server.stop()
            for _ in "12":
                with pytest.raises(LedgerUnavailable, match="cannot be"):
                    book.append([Append(make_event())])
            server.start()
            events += book.append([Append(make_event())])
        assert check(url) == events


def test_silent_server_is_left(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that neither answers nor hangs up is given up on, and the next try finds what it stored."""
    monkeypatch.setattr(postgres, "ANSWER_SECONDS", 0.3)
    event = make_event()
    with closing(Ledger.open(url)) as book:
        session = session_of(book)
        os.kill(session, signal.SIGSTOP)
        try:
            with pytest.raises(LedgerUnavailable, match="did not answer within"):
                book.append([Append(event)])
        finally:
            os.kill(session, signal.SIGCONT)
        assert book.append([Append(event)]) == [event]
    assert check(url) == [event]


def test_mute_address_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that takes connections and says nothing makes the ledger unavailable."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        with pytest.raises(
            LedgerUnavailable, match=f"at postgresql://127.0.0.1:{port}/consent cannot be reach"
        ):
            Ledger.open(f"postgresql://site@127.0.0.1:{port}/consent")


def test_stuck_process_stops_nobody(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that holds the ledger without a word is ended by the server, and the others go on."""
    monkeypatch.setattr(postgres, "IDLE_SECONDS", 1)
    stored: list[Event] = []

    def stand_still(stuck: Ledger, other: Ledger) -> None:
        with stuck.writing() as append:
            append([Append(make_event())])
            stored.extend(other.append([Append(make_event())]))
            append([Append(make_event())])

    with (
        closing(Ledger.open(url)) as stuck,
        closing(Ledger.open(url)) as other,
        pytest.raises(LedgerUnavailable, match=r"\(25P03\): the server ended|cannot be reached"),
    ):
        stand_still(stuck, other)
    assert check(url) == stored
    assert len(stored) == 1


def test_locked_ledger_is_unavailable(ledger: Ledger, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another process holds the ledger nothing is written, and the remedy is named; reads go on."""
    monkeypatch.setattr(postgres, "LOCK_SECONDS", 0.05)
    with closing(Ledger.open(url)) as other, ledger.writing() as append:
        append([Append(make_event())])
        with pytest.raises(LedgerUnavailable, match=r"\(55P03\): another process holds it: try again"):
            other.append([Append(make_event())])
        assert other.size == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("/postgres?", "/absent?"), "has no such database: create it"),
        (("//postgres:", "//absent:"), "refused the role or its password"),
    ],
)
def test_wrong_url_stops_the_start(url: str, change: tuple[str, str], message: str) -> None:
    """What no waiting mends is told apart from a server that is away."""
    with pytest.raises(LedgerError, match=message) as caught:
        Ledger.open(url.replace(*change))
    assert type(caught.value) is LedgerError


# Processes

FORKING = """
import gc, os, sys
from contextlib import suppress
from ledgers import make_event
from gem_consent.errors import LedgerError
from gem_consent.ledger.store import Append, Ledger

book = Ledger.open(sys.argv[1])
book.append([Append(make_event())])
child = os.fork()
if child == 0:
    with suppress(LedgerError):
        book.append([Append(make_event())])
    own = Ledger.open(sys.argv[1])
    own.append([Append(make_event())])
    own.close()
    del book
    gc.collect()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
book.append([Append(make_event())])
book.close()
"""


def test_child_leaves_the_parents_socket(url: str) -> None:
    """A forked child neither uses nor closes its parent's connection, and opens one of its own."""
    Ledger.open(url).close()
    tests = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKING, url],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(check(url)) >= 3


def test_opening_waits_for_nobody(url: str) -> None:
    """Opening a ledger of the present version takes no lock that a write under way holds."""
    with closing(Ledger.open(url)) as book, book.writing() as append:
        append([Append(make_event())])
        Ledger.open(url).close()
    assert len(check(url)) == 1


# Verification

# Keys and times of requests are a memory of ten minutes, and the inventory of cookies proves no choice.
EXEMPT = {("requests", "key"), ("requests", "time"), *(("cookies", column.name) for column in cookies.c)}
CELLS = [
    (table, column)
    for table in metadata.sorted_tables
    for column in table.columns
    if (table.name, column.name) not in EXEMPT
]


@pytest.fixture(scope="module")
def signed(postgres_server: Server) -> Iterator[Ledger]:
    """A ledger with a full tile, three checkpoints and a row after them."""
    with closing(Ledger.open(postgres_server.new_url())) as book:
        fill(book, (3, 7, 260))
        book.append([Append(make_event(notice=make_notice().digest))])
        yield book


def other_value(column: Column[Any]) -> str:
    """Give an expression for a value that a column does not hold, and could."""
    if isinstance(column.type, LargeBinary):
        return rf"coalesce(set_byte(nullif({column.name}, ''), 0, 255 - get_byte({column.name}, 0)), '\x00')"
    if isinstance(column.type, String):
        return f"CASE WHEN {column.name} = 'x' THEN 'y' ELSE 'x' END"
    return f"{column.name} + 1000"


@pytest.mark.parametrize(("table", "column"), CELLS, ids=lambda part: part.name)
def test_altered_cell_is_found(signed: Ledger, table: Table, column: Column[Any]) -> None:
    """Whichever cell of the first row is altered by hand, verify finds it."""
    connection = signed._connection
    first = f"ctid = (SELECT min(ctid) FROM {table.name})"
    with connection.begin() as transaction:
        connection.exec_driver_sql("BEGIN")
        changed = f"UPDATE {table.name} SET {column.name} = {other_value(column)} WHERE {first}"
        assert connection.exec_driver_sql(changed).rowcount == 1
        assert not verify(connection).holds
        transaction.rollback()


def test_untouched_ledger_holds(signed: Ledger) -> None:
    """What was written holds, rows and tiles and checkpoints, and is counted."""
    with signed.reading() as connection:
        report = verify(connection)
    assert (report.faults, report.size, report.signed, report.uncovered) == ((), 261, 3, 1)
