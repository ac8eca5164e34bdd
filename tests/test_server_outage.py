"""A real server that stops, says nothing or is slow, and disks that are full, locked or read-only.

What was acknowledged is in the ledger, once; no refusal fails, no page waits, a decision is answered in time.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from asgi import PAGE, SECRET, Visitor, make_policy, site
from ledgers import check, make_event, url_of
from postgres import Server, running_server
from proxy import Wire, wired

from gem_consent import ConsentMiddleware, LedgerUnavailable
from gem_consent.ledger.spool import Spool
from gem_consent.ledger.store import Ledger
from gem_consent.proof.event import Event
from gem_consent.recorder import Recorder

LONG_SECONDS = 60.0
ANSWER_SECONDS = 2.0
SLACK_SECONDS = 3.0
"""What a machine that others use may take on top: a decision that hung would take far longer."""


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """A server that the tests of this file may stop."""
    with running_server() as server:
        yield server


@pytest.fixture
def wire(own_server: Server) -> Iterator[Wire]:
    # A socket's path may have some 100 characters, which a test's own folder is too long for.
    with tempfile.TemporaryDirectory(prefix="gem-wire-") as folder:
        wires = wired(Path(folder), own_server.new_url())
        with wires as one:
            yield one


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


def drained(recorder: Recorder) -> None:
    """Wait until the ledger has all that waits."""
    end = time.monotonic() + LONG_SECONDS
    while recorder.is_away or recorder.pending:
        assert time.monotonic() < end
        time.sleep(0.02)


@contextmanager
def visited(url: str, **options: Any) -> Iterator[ConsentMiddleware]:
    app = ConsentMiddleware(site(PAGE), policy=make_policy(), secret_key=SECRET, ledger=url, **options)
    app.site.recorder.start()
    try:
        yield app
    finally:
        app.site.recorder.close(LONG_SECONDS)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds + SLACK_SECONDS


# Traffic


@pytest.mark.parametrize("posters", [1, 16])
def test_stopped_server_loses_nothing(own_server: Server, spool: Path, posters: int) -> None:
    """The server stops and starts in mid-traffic, twice: each grant is acknowledged, and there once."""
    url = own_server.new_url()
    recorder = Recorder(url, list, spool=spool)
    recorder.start()
    acknowledged: list[str] = []

    async def poster(number: int) -> None:
        for _ in range(30):
            event = await recorder.record(make_event(subject=f"visitor-{number}"))
            acknowledged.append(event.id)

    async def traffic() -> None:
        async with anyio.create_task_group() as group:
            for number in range(posters):
                group.start_soon(poster, number)
            for _ in range(2):
                await anyio.to_thread.run_sync(own_server.stop)
                await anyio.to_thread.run_sync(own_server.start)

    anyio.run(traffic)
    drained(recorder)
    recorder.close(LONG_SECONDS)
    stored = [event.id for event in check(url)]
    assert sorted(stored) == sorted(acknowledged)
    assert len(acknowledged) == 30 * posters


def test_stopped_server_without_spool_refuses(own_server: Server) -> None:
    """Without a spool grants fail while the server is away; what was acknowledged is there, once."""
    url = own_server.new_url()
    recorder = Recorder(url, list)
    recorder.start()
    acknowledged, failed, kept = [], 0, []

    async def traffic() -> None:
        nonlocal failed
        for number in range(60):
            if number == 20:
                await anyio.to_thread.run_sync(own_server.stop)
            try:
                acknowledged.append((await recorder.record(make_event())).id)
            except LedgerUnavailable:
                failed += 1
            if number in (10, 30):
                kept.append((await recorder.keep(make_event(state="refused"))).id)
            if number == 40:
                await anyio.to_thread.run_sync(own_server.start)

    anyio.run(traffic)
    recorder.close(LONG_SECONDS)
    stored = [event.id for event in check(url)]
    assert failed
    assert len(set(stored)) == len(stored)
    assert {*acknowledged, *kept} <= set(stored)


WRITING = """
import sys, anyio
from ledgers import make_event
from gem_consent import LedgerUnavailable
from gem_consent.recorder import Recorder
recorder = Recorder(sys.argv[1], list, spool=sys.argv[2])

async def poster(subject):
    while True:
        try:
            event = await recorder.record(make_event(subject=subject))
        except LedgerUnavailable:
            continue
        sys.stdout.write(event.id + "\\n")
        sys.stdout.flush()

async def main():
    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(poster, str(number))

anyio.run(main)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal on this system")
def test_killed_processes_leave_all_to_the_next(wire: Wire, spool: Path) -> None:
    """Two processes share a spool and are killed at random, with the server there or not: nothing is lost."""
    tests, moments = Path(__file__).parent, random.Random(7)
    Ledger.open(wire.url).close()
    acknowledged: list[str] = []
    for passes in (True, False):
        if not passes:
            wire.passes.clear()
            wire.cut()
        children = [_writing(wire.url, spool, tests) for _ in range(2)]
        for child in children:
            assert child.stdout is not None
            said = [next(child.stdout) for _ in range(moments.randrange(1, 30))]
            child.send_signal(signal.SIGKILL)
            acknowledged += [line.strip() for line in said + list(child.stdout) if line.endswith("\n")]
            child.wait()
            child.stdout.close()
        wire.passes.set()
    recorder = Recorder(wire.url, list, spool=spool)
    recorder.start()
    drained(recorder)
    recorder.close(LONG_SECONDS)
    stored = [event.id for event in check(wire.url)]
    assert len(set(stored)) == len(stored)
    assert set(acknowledged) <= set(stored)
    with closing(Spool.open(spool)) as opened:
        assert opened.oldest() == []


def _writing(url: str, spool: Path, tests: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITING, url, str(spool)],
        env=os.environ | {"PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"},
        stdout=subprocess.PIPE,
        text=True,
    )


# Visitors


def test_silent_server_is_hidden_from_visitors(wire: Wire, spool: Path) -> None:
    """A server that says nothing: grants and refusals are taken in time, pages and preferences are shown."""
    with visited(wire.url, spool=spool) as app:
        wire.passes.clear()
        granting, refusing = Visitor(app), Visitor(app)
        with within(ANSWER_SECONDS):
            assert granting.post("grant_all").status == 303
        with within(ANSWER_SECONDS / 2):
            assert refusing.post("deny_all").status == 303
            assert len(granting.cookies) == len(refusing.cookies) == 2
            assert granting.get("/").status == 200
            assert granting.get("/privacy-choices").status == 200
        wire.passes.set()
        drained(app.site.recorder)
        assert [event.state for event in check(wire.url)] == ["given", "refused"]


def test_silent_server_without_spool(wire: Wire) -> None:
    """Without a spool the grant is refused in time, and the refusal gets its cookie in time."""
    with visited(wire.url) as app:
        wire.passes.clear()
        with within(ANSWER_SECONDS):
            refused = Visitor(app).post("grant_all")
        assert (refused.status, refused.header("retry-after"), refused.cookies) == (503, "5", {})
        with within(ANSWER_SECONDS):
            assert len(Visitor(app).post("deny_all").cookies) == 2
        assert Visitor(app).get("/").status == 200
        wire.passes.set()
        drained(app.site.recorder)
        assert [event.state for event in check(wire.url)] == ["refused"]


def test_slow_server_doubles_nothing(wire: Wire, spool: Path) -> None:
    """A server so slow that the spool takes over gets every decision, once, in the end."""
    with visited(wire.url, spool=spool) as app:
        wire.delay_seconds = 0.4
        visitor = Visitor(app)
        for decision in ("grant_all", "deny_all", "grant_all"):
            with within(ANSWER_SECONDS):
                assert visitor.post(decision).status == 303
        wire.delay_seconds = 0.0
        drained(app.site.recorder)
        events = check(wire.url)
        assert [event.state for event in events] == ["given", "withdrawn", "given"]
        assert len({event.subject for event in events}) == 1


def test_broken_connections_are_mended(wire: Wire, spool: Path) -> None:
    """Connections that break under the site cost nobody their choice."""
    with visited(wire.url, spool=spool) as app:
        for _ in range(5):
            wire.cut()
            assert Visitor(app).post("grant_all").status == 303
        drained(app.site.recorder)
        assert len(check(wire.url)) == 5


# Disks


Trouble = Callable[[Any], Any]


def _fill(opened: Any) -> None:
    """Let the file grow no more, as on a full disk."""
    opened._connection.exec_driver_sql("PRAGMA max_page_count=1")
    opened._connection.rollback()


def _protect(opened: Any) -> None:
    """Let nothing be written, as without the right to."""
    opened._connection.exec_driver_sql("PRAGMA query_only=ON")
    opened._connection.rollback()


async def granted(recorder: Recorder, acknowledged: list[Event]) -> None:
    """Grant until there is no room: the last pages of a full disk's file may have some."""
    for _ in range(100):
        acknowledged.append(await recorder.record(make_event(site="x" * 250)))


@pytest.mark.parametrize("trouble", [_fill, _protect])
def test_disk_trouble_refuses_grants_only(tmp_path: Path, trouble: Trouble) -> None:
    """On a full or read-only disk a grant fails in time; refusals wait, and are stored once they can be."""
    is_well = False

    def opener(url: str) -> Ledger:
        book = Ledger.open(url)
        if not is_well:
            trouble(book)
        return book

    Ledger.open(url_of(tmp_path / "consent.db")).close()
    recorder = Recorder(url_of(tmp_path / "consent.db"), list, opener=opener)
    refusals = [make_event(state="refused", site="x" * 250) for _ in range(40)]
    acknowledged: list[Event] = []

    async def decisions() -> None:
        with within(ANSWER_SECONDS), pytest.raises(LedgerUnavailable):
            await granted(recorder, acknowledged)
        with within(ANSWER_SECONDS):
            async with anyio.create_task_group() as group:
                for refusal in refusals:
                    group.start_soon(recorder.keep, refusal)

    anyio.run(decisions)
    is_well = True
    recorder.close(LONG_SECONDS)
    stored = [event.id for event in check(tmp_path / "consent.db")]
    assert sorted(stored) == sorted(event.id for event in (*acknowledged, *refusals))


@pytest.mark.parametrize("trouble", [_fill, _protect])
def test_spool_in_trouble_refuses_grants_only(tmp_path: Path, trouble: Trouble) -> None:
    """With the server away and the spool's disk in trouble too, refusals still stand, and wait in memory."""
    is_well = False

    def opener(url: str) -> Ledger:
        if not is_well:
            raise LedgerUnavailable("away")
        return Ledger.open(url_of(tmp_path / "consent.db"))

    def spool_opener(path: Path, find: Any) -> Spool:
        spool = Spool.open(path, find)
        trouble(spool)
        return spool

    options: dict[str, Any] = {"spool": tmp_path / "spool.db", "spool_opener": spool_opener}
    recorder = Recorder("postgresql://db/consent", list, opener=opener, **options)
    refused = make_event(state="refused", site="x" * 250)
    acknowledged: list[Event] = []

    async def decisions() -> None:
        with within(ANSWER_SECONDS), pytest.raises(LedgerUnavailable):
            await granted(recorder, acknowledged)
        with within(ANSWER_SECONDS):
            assert await recorder.keep(refused) == refused

    anyio.run(decisions)
    is_well = True
    drained(recorder)
    recorder.close(LONG_SECONDS)
    stored = [event.id for event in check(tmp_path / "consent.db")]
    assert stored == [event.id for event in (*acknowledged, refused)]


def test_locked_file_is_waited_for_in_time(tmp_path: Path) -> None:
    """While another program holds the file a grant fails in time, and a refusal is stored afterwards."""
    path = tmp_path / "consent.db"
    recorder = Recorder(url_of(path), list)
    recorder.start()
    refused = make_event(state="refused")

    async def decisions() -> None:
        with within(ANSWER_SECONDS), pytest.raises(LedgerUnavailable):
            await recorder.record(make_event())
        with within(ANSWER_SECONDS):
            await recorder.keep(refused)

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        anyio.run(decisions)
        other.execute("ROLLBACK")
    recorder.close(LONG_SECONDS)
    assert [event.id for event in check(path)] == [refused.id]
