"""A process that is killed at any moment: what it acknowledged is in the ledger, once, and all holds."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ledgers import check, make_event

from gem_consent.ledger.store import Append, Ledger

WRITING = """
import sys, anyio
from ledgers import make_event
from gem_consent.recorder import Recorder
recorder = Recorder(sys.argv[1], list, patience_seconds=60.0)

async def poster(subject):
    while True:
        event = await recorder.record(make_event(subject=subject), key=None)
        sys.stdout.write(event.id + "\\n")
        sys.stdout.flush()

async def main():
    async with anyio.create_task_group() as group:
        for number in range(int(sys.argv[2])):
            group.start_soon(poster, str(number))

anyio.run(main)
"""


def start(url: str, posters: int) -> subprocess.Popen[str]:
    """Start a process that appends for ever and prints each id that was acknowledged."""
    tests = Path(__file__).parent
    return subprocess.Popen(
        [sys.executable, "-c", WRITING, url, str(posters)],
        env=os.environ | {"PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"},
        stdout=subprocess.PIPE,
        text=True,
    )


def kill_after(child: subprocess.Popen[str], count: int) -> list[str]:
    """Kill a process once it has acknowledged so many events, and give all that it said in whole."""
    assert child.stdout is not None
    with child, child.stdout as lines:
        said = [next(lines) for _ in range(count)]
        child.send_signal(signal.SIGKILL)
        said += list(lines)
    assert child.returncode == -signal.SIGKILL
    return [line.strip() for line in said if line.endswith("\n")]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal on this system")
@pytest.mark.parametrize("posters", [1, 32])
def test_killed_writer_loses_nothing(url: str, posters: int) -> None:
    """After each of several kills at random moments, every acknowledged event is there exactly once."""
    moments = random.Random(posters)
    acknowledged: list[str] = []
    for _ in range(5):
        acknowledged += kill_after(start(url, posters), moments.randrange(1, 400))
        stored = [event.id for event in check(url)]
        assert len(set(stored)) == len(stored)
        assert set(acknowledged) <= set(stored)
    assert len(set(acknowledged)) == len(acknowledged)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal on this system")
def test_killed_neighbour_stops_nobody(url: str) -> None:
    """While one of two writers is killed, the other goes on, and both are in the ledger."""
    ledger = Ledger.open(url)
    child = start(url, 8)
    assert child.stdout is not None
    own = [ledger.append([Append(make_event(subject="own"))])[0].id for _ in range(50)]
    acknowledged = kill_after(child, 100)
    own += [ledger.append([Append(make_event(subject="own"))])[0].id for _ in range(50)]
    ledger.close()
    stored = [event.id for event in check(url)]
    assert {*own, *acknowledged} <= set(stored)
    assert len(set(stored)) == len(stored)
