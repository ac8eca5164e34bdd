"""Copying a ledger from one database to another: the same rows, the same tree, or nothing at all."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ledgers import asking, check, fill, make_event, url_of
from postgres import Server
from typer.testing import CliRunner, Result

from gem_consent.cli.app import app
from gem_consent.errors import ConfigurationError, LedgerError
from gem_consent.ledger import copying
from gem_consent.ledger.checkpoints import newest_checkpoint
from gem_consent.ledger.schema import metadata
from gem_consent.ledger.store import Append, Ledger
from gem_consent.ledger.verification import verify

SIZES = (3, 258, 300)


@pytest.fixture(params=["to postgres", "to sqlite"])
def urls(request: pytest.FixtureRequest, postgres_server: Server, tmp_path: Path) -> tuple[str, str]:
    """The URL of a signed ledger, and that of an empty place in the other database."""
    file, server = url_of(tmp_path / "consent.db"), postgres_server.new_url()
    source, target = (file, server) if request.param == "to postgres" else (server, file)
    with closing(Ledger.open(source)) as book:
        fill(book, SIZES)
        book.append([Append(make_event(purposes={"analytics": False}, state="refused"), key="unsigned")])
    return source, target


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, prog_name="gem-consent")


def everything(url: str) -> dict[str, list[dict[str, Any]]]:
    """Give every row of every table, as the driver has it."""
    with asking(url) as ask:
        return {
            table.name: ask(
                f"SELECT * FROM {table.name} ORDER BY {', '.join(c.name for c in table.primary_key)}"
            )
            for table in metadata.sorted_tables
        }


def test_copy_is_the_same_ledger(urls: tuple[str, str]) -> None:
    """All tables are the same, cell by cell, and the copy says how many rows and which root."""
    source, target = urls
    result = run("copy", "--ledger", source, "--to", target)
    assert result.exit_code == 0
    assert result.output.startswith("301 rows copied; both trees have this root:\n")
    assert everything(target) == everything(source)
    assert len(check(target)) == 301


def test_copy_verifies_and_goes_on(urls: tuple[str, str]) -> None:
    """The copy holds against a checkpoint of the original, and grows from where that ended."""
    source, target = urls
    with closing(Ledger.open(source)) as book, book.reading() as connection:
        kept, uuid = newest_checkpoint(connection), book.uuid
    assert run("copy", "--ledger", source, "--to", target).exit_code == 0
    with closing(Ledger.open(target)) as book:
        assert book.uuid == uuid
        fill(book, [310])
        with book.reading() as connection:
            report = verify(connection, since=kept)
    assert (report.faults, report.start, report.size) == ((), 300, 310)


def test_copy_needs_an_empty_place(urls: tuple[str, str]) -> None:
    """Where something is already, nothing is copied, and it stays as it is."""
    source, target = urls
    with closing(Ledger.open(target)) as book:
        book.append([Append(make_event())])
    before = everything(target)
    result = run("copy", "--ledger", source, "--to", target)
    assert (result.exit_code, everything(target)) == (2, before)
    assert (
        "something is there already; name a file that is not there yet, or an empty schema" in result.output
    )


def broken(rows: int) -> None:
    raise KeyboardInterrupt


def test_interrupted_copy_leaves_nothing(urls: tuple[str, str]) -> None:
    """A copy that ends early leaves the place free for the next one."""
    source, target = urls
    with (
        closing(Ledger.open(source)) as book,
        book.reading() as connection,
        pytest.raises(KeyboardInterrupt),
    ):
        copying.copy(connection, target, lambda: book.size, broken)
    with pytest.raises(LedgerError, match="holds no ledger"):
        Ledger.open(target, must_exist=True)
    assert run("copy", "--ledger", source, "--to", target).exit_code == 0


def test_written_source_is_not_copied(urls: tuple[str, str]) -> None:
    """A ledger that grows while it is copied is refused, with what to do."""
    source, target = urls
    with (
        closing(Ledger.open(source)) as book,
        book.reading() as connection,
        pytest.raises(LedgerError, match=r"written to while it was copied \(\+1 rows\).*stop the site"),
    ):
        copying.copy(connection, target, lambda: SIZES[-1] + 2)
    with pytest.raises(LedgerError, match="holds no ledger"):
        Ledger.open(target, must_exist=True)


def test_disagreeing_source_is_not_copied(urls: tuple[str, str]) -> None:
    """Rows that do not make up the ledger's tree are not carried over as if they did."""
    source, target = urls
    with asking(source) as ask:
        ask("UPDATE events SET leaf = commitment WHERE position = 7")
    result = run("copy", "--ledger", source, "--to", target)
    assert result.exit_code == 1
    assert "do not make up the ledger's tree, so nothing was kept: run gem-consent verify" in result.output


def test_copy_counts_its_rows(urls: tuple[str, str]) -> None:
    """The progress bar ends where all rows of all tables are written."""
    source, target = urls
    written: list[int] = []
    with closing(Ledger.open(source)) as book, book.reading() as connection:
        copying.copy(connection, target, lambda: 301, written.append)
        assert sum(written) == copying.count(connection)


def test_copy_into_memory_is_refused() -> None:
    """A place that cannot keep a ledger is refused before anything is read."""
    with pytest.raises(ConfigurationError, match="in memory would lose the proof"):
        copying.copy(None, "sqlite://", lambda: 0)  # type: ignore[arg-type]
