"""The fault table: each write, at each of its statements, fails or is killed; nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from faults import CALLS, FAILING, KILLED, KILLED_CODE, WRITES, Fault, stored_events
from ledgers import check

from gem_consent.errors import LedgerUnavailable
from gem_consent.ledger.spool import Spool
from gem_consent.ledger.store import Ledger
from gem_consent.ledger.verification import verify

Strike = Callable[..., bool]


@pytest.fixture(scope="module")
def dying() -> Iterator[Callable[..., int]]:
    """Have a call made in a child that may be killed in it; give how the child ended."""
    tests = Path(__file__).parent
    program = subprocess.Popen(
        [sys.executable, str(tests / "faults.py")],
        env=os.environ | {"PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def ask(call: str, arguments: list[Any], fault: Fault) -> int:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(json.dumps([call, arguments, fault.point, fault.kind]) + "\n")
        program.stdin.flush()
        return int(program.stdout.readline())

    with program:
        yield ask
        assert program.stdin is not None
        program.stdin.close()


@pytest.fixture
def strike(dying: Callable[..., int]) -> Strike:
    """Make a call with a fault in it, here or in a child; say whether the fault struck."""

    def struck(call: str, arguments: list[Any], fault: Fault) -> bool:
        if fault.kind in KILLED:
            code = dying(call, arguments, fault)
            assert code in (0, KILLED_CODE)
            return code != 0
        try:
            return CALLS[call](*arguments, fault) > fault.point
        except LedgerUnavailable:
            return True

    return struck


def sound(url: str, name: str) -> None:
    """Check every invariant; where rows were emptied, as the verification does, which knows of marks."""
    if name in ("an erasure", "a purge"):
        with closing(Ledger.open(url)) as book, book.reading() as connection:
            report = verify(connection)
        assert report.holds, report.faults
    else:
        check(url)


needs_signals = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal on this system")


@needs_signals
@pytest.mark.parametrize("kind", FAILING + KILLED)
@pytest.mark.parametrize("name", WRITES)
def test_write_is_whole_or_nothing(name: str, kind: str, url: str, strike: Strike) -> None:
    """At whichever statement it ends, a write is stored whole or not at all; a second try makes it whole."""
    write, point, has_struck = WRITES[name], 0, True
    outcomes = set()
    while has_struck:
        with closing(Ledger.open(url)) as book:
            write.prepare(book, point)
        has_struck = strike("write", [url, name, point], Fault(point, kind))
        found = write.effect(url, point)
        assert found in (0, write.whole)
        outcomes.add(found)
        sound(url, name)
        with closing(Ledger.open(url)) as book:
            write.act(book, point)
        assert write.effect(url, point) == write.whole
        sound(url, name)
        point += 1
    # The last round of all met no fault any more; the rounds before it met each statement and the commit.
    assert point > 4
    assert outcomes == {0, write.whole}


@needs_signals
@pytest.mark.parametrize("kind", FAILING + KILLED)
def test_spooled_events_are_whole_or_nothing(kind: str, tmp_path: Path, strike: Strike) -> None:
    """At whichever statement it ends, what is put into the spool waits whole or not at all, and once."""
    path, number, has_struck = tmp_path / "spool.db", 0, True
    outcomes = set()
    while has_struck:
        has_struck = strike("put", [str(path), number], Fault(number, kind))
        found = _waiting(path, number)
        assert found in (0, 2, 3)
        outcomes.add(bool(found))
        CALLS["put"](str(path), number, None)
        assert _waiting(path, number) == 3
        number += 1
    assert number > 4
    assert outcomes == {False, True}


def _waiting(path: Path, number: int) -> int:
    with closing(Spool.open(path)) as spool:
        ids = [append.event.id for _, append in spool.oldest()]
    assert len(set(ids)) == len(ids)
    return sum(id_.startswith(f"{number:08x}-") for id_ in ids)


@needs_signals
@pytest.mark.parametrize("kind", FAILING + KILLED)
@pytest.mark.parametrize("where", ["ledger", "spool"])
def test_drained_events_are_never_lost(
    where: str, kind: str, url: str, tmp_path: Path, strike: Strike
) -> None:
    """At whichever statement it ends, each event is in the ledger or waits, and in the end is there once."""
    path, number, has_struck = tmp_path / "spool.db", 0, True
    while has_struck:
        CALLS["put"](str(path), number, None)
        has_struck = strike("drain", [url, str(path), where], Fault(number, kind))
        assert _waiting(path, number) + stored_events(url, number) >= 3
        check(url)
        CALLS["drain"](url, str(path), where, None)
        assert (_waiting(path, number), stored_events(url, number)) == (0, 3)
        check(url)
        number += 1
    assert number > 4


def test_table_covers_every_transaction() -> None:
    """A function that opens a write transaction on a ledger is among those that the table tries."""
    source = (Path(__file__).parent.parent / "gem_consent" / "ledger" / "store.py").read_text("utf-8")
    known = ("append", "changing", "sign", "store_notices", "store_cookies")
    assert source.count("with self.writing()") == len(known), "add the new one to WRITES"
