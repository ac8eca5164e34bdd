"""The ledger's part: what batching saves, and what a million events cost to add to, verify and export."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median

import anyio
from anyio import to_thread
from ledgers import make_event, url_of
from postgres import running_server
from sqlalchemy import select

from bench.big_ledger import big_ledger, made_up_events
from bench.figures import Effort, Figure, Ratio, Run, at_least, at_most, shown
from bench.measure import MEGABYTE, in_process, in_turn, ratio_of, timed
from gem_consent.ledger.export import AFTER, BEFORE, Selection, write
from gem_consent.ledger.schema import ledger
from gem_consent.ledger.store import Append, Ledger
from gem_consent.ledger.tiles import tile_reader
from gem_consent.proof.event import Event
from gem_consent.proof.tree import inclusion_proof
from gem_consent.recorder import Recorder

TITLE = "The ledger"

NOTES = """
*Appends*: so many posters at once, each of which waits until its event is durable, by the clock on the wall;
against the same ledger, rows and event loop, with one transaction an event in a worker thread. *Append CPU*
compares a ledger with that many rows with an empty one. *Memory* is what a process needs beyond what it needs
for 1,000 rows.
"""

_POSTERS = {"SQLite": ((1, 1.0), (16, 4.0), (256, 8.0)), "PostgreSQL": ((1, 1.0), (16, 3.0), (256, 10.0))}


def figures(run: Run) -> Iterator[Figure]:
    """Measure the ledger."""
    yield from _appends(run, "SQLite", url_of(run.folder / f"appends-{os.urandom(4).hex()}.db"))
    with running_server() as server:
        # The tests' server does not sync; here that is what is paid for.
        for setting in ("fsync", "full_page_writes"):
            server.execute(f"ALTER SYSTEM SET {setting} = on")
        server.stop()
        server.start()
        yield from _appends(run, "PostgreSQL", server.new_url())
    sizes = {Effort.QUICK: [2_000], Effort.USUAL: [1_000_000], Effort.BIG: [1_000_000, 10_000_000]}
    for size in sizes[run.effort]:
        yield from _at_size(run, size)
    big = big_ledger(run.folder, sizes[run.effort][0])
    small = big_ledger(run.folder, 1_000)
    yield from _verify(big, small)
    yield _proof(run, big)
    yield from _export(run, big, small)


def _appends(run: Run, database: str, url: str) -> Iterator[Figure]:
    """Say how many times as many events are durable in a second by the recorder as one by one."""
    for posters, goal in _POSTERS[database]:
        events = run.pick(posters, max(posters * 2, 128))
        with closing(Ledger.open(url)) as book:
            recorder = Recorder(url, list, patience_seconds=60.0)
            batched = partial(anyio.run, _posting, recorder.record, posters, events)
            singly = partial(anyio.run, _posting, _one_by_one(book), posters, events)
            ratio = in_turn(singly, batched, rounds=run.pick(2, 20), clock=time.perf_counter)
            recorder.close()
        many = "1 poster" if posters == 1 else f"{posters} posters"
        yield at_least(f"durable appends on {database}, {many}, times as many", goal, ratio)


async def _posting(record: Callable[[Event], object], posters: int, events: int) -> None:
    waiting = iter([make_event() for _ in range(events)])

    async def poster() -> None:
        for event in waiting:
            await record(event)  # type: ignore[misc]

    async with anyio.create_task_group() as group:
        for _ in range(posters):
            group.start_soon(poster)


def _one_by_one(book: Ledger) -> Callable[[Event], object]:
    turn = threading.Lock()

    def append(event: Event) -> None:
        with turn:
            book.append([Append(event)])

    async def record(event: Event) -> None:
        await to_thread.run_sync(append, event)

    return record


def _at_size(run: Run, size: int) -> Iterator[Figure]:
    """Compare the CPU of appending to a big ledger with an empty one's, alone and by 256 to a commit."""
    path = run.folder / "grown.db"
    for many in (1, 256):
        shutil.copy(big_ledger(run.folder, size), path)
        yield at_most(
            f"append CPU with {_rounded(size)} rows against an empty ledger, {many} to a commit",
            2.0,
            _growing(path, run.folder / "empty.db", many, run.pick(2, 30)),
        )
        for name in run.folder.glob("empty.db*"):
            name.unlink()
        for name in run.folder.glob("grown.db*"):
            name.unlink()


def _growing(big: Path, empty: Path, many: int, rounds: int) -> Ratio:
    commits = 64 if many == 1 else 4
    events = made_up_events((rounds + 1) * 2 * commits * many, seed=1, start=20_000_000)

    def append(book: Ledger) -> None:
        for _ in range(commits):
            book.append([Append(event) for event in islice(events, many)])

    with closing(Ledger.open(url_of(big))) as grown, closing(Ledger.open(url_of(empty))) as new:
        return in_turn(partial(append, grown), partial(append, new), rounds=rounds)


def _verify(big: Path, small: Path) -> Iterator[Figure]:
    few, many = (in_process("bench.ledger:verify_all", str(path)) for path in (small, big))
    what = f"verify {_rounded(many['rows'])} events"
    yield at_least(f"{what}: rows a CPU second", 100_000, many["rows"] / many["cpu"])
    yield at_most(f"{what}: memory", 64, _beyond(many, few), "MB")


def verify_all(path: str) -> dict[str, int]:
    """Verify a whole ledger, as ``gem-consent verify`` does."""
    from gem_consent.ledger.verification import verify

    with closing(Ledger.open(url_of(Path(path)), must_exist=True)) as book, book.reading() as connection:
        report = verify(connection)
    assert report.holds, report.faults
    return {"rows": report.size}


def _proof(run: Run, path: Path) -> Figure:
    proofs = run.pick(10, 300)
    with closing(Ledger.open(url_of(path), must_exist=True)) as book, book.reading() as connection:
        size = int(connection.execute(select(ledger.c.size)).scalar_one())
        step = size // proofs

        def prove() -> None:
            for index in range(0, proofs * step, step):
                inclusion_proof(index, size, tile_reader(connection))

        prove()
        milliseconds = timed(prove) * 1000 / proofs
    return at_most(f"inclusion proof at {_rounded(size)}, CPU", 2, milliseconds, "ms")


def _export(run: Run, big: Path, small: Path) -> Iterator[Figure]:
    few, many = (in_process("bench.ledger:export_csv", str(path)) for path in (small, big))
    seconds = [many["cpu"]]
    shell = shutil.which("sqlite3")
    what = f"CSV export of {_rounded(many['rows'])}"
    if shell is None:
        yield Figure(f"{what}, times the speed of the sqlite3 shell", "no sqlite3 shell here", "≥ 0.50")
    else:
        others = [_shell_seconds(shell, big)]
        for _ in range(run.pick(0, 4)):
            others.append(_shell_seconds(shell, big))
            seconds.append(in_process("bench.ledger:export_csv", str(big))["cpu"])
        yield at_least(f"{what}, times the speed of the sqlite3 shell", 0.5, ratio_of(others, seconds))
    yield Figure(f"{what}: rows a CPU second", shown(many["rows"] / median(seconds)))
    yield at_most(f"{what}: memory", 64, _beyond(many, few), "MB")


def export_csv(path: str) -> dict[str, int]:
    """Write a whole ledger as CSV to nowhere, as ``gem-consent export`` does."""
    with (
        closing(Ledger.open(url_of(Path(path)), must_exist=True)) as book,
        book.reading() as connection,
        open(os.devnull, "wb") as out,
    ):
        return {"rows": write(connection, out, "csv", Selection())}


def _shell_seconds(shell: str, path: Path) -> float:
    names = ", ".join((*BEFORE, "purposes", *AFTER))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    query = f"SELECT {names} FROM events ORDER BY position"
    subprocess.run([shell, "-csv", "-header", str(path), query], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _beyond(many: dict[str, float], few: dict[str, float]) -> float:
    return max(0.0, many["peak"] - few["peak"]) / MEGABYTE


def _rounded(count: float) -> str:
    return f"{count / 1_000_000:.0f} M" if count >= 1_000_000 else f"{count:,.0f}"
