"""How things are measured: side by side in one process, in CPU time, round after round.

Two cores that others use too make a clock on the wall say little. CPU time says what the code costs, and a
ratio of two costs that were taken in turn says it on any machine.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from bench.figures import Ratio

__all__ = ["MEGABYTE", "environment", "in_process", "in_turn", "memory_peak", "ratio_of", "timed"]

MEGABYTE = 2**20
_TESTS = Path(__file__).parent.parent


def timed(task: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Run a task once and give the seconds that it took: of CPU, all threads of this process, by default."""
    start = clock()
    task()
    return clock() - start


def in_turn(
    one: Callable[[], object],
    other: Callable[[], object],
    *,
    rounds: int,
    clock: Callable[[], float] = time.process_time,
) -> Ratio:
    """Give how many times as long ``one`` takes as ``other``; both run in turn, each first every other round.

    Each is run once before, so that imports and caches are paid by neither.
    """
    one(), other()
    ones, others = [], []
    for number in range(rounds):
        gc.collect()
        if number % 2:
            others.append(timed(other, clock))
            ones.append(timed(one, clock))
        else:
            ones.append(timed(one, clock))
            others.append(timed(other, clock))
    return ratio_of(ones, others)


def ratio_of(ones: list[float], others: list[float]) -> Ratio:
    """Give the ratio of two medians, and the quartiles of the rounds' own ratios."""
    each = [one / other for one, other in zip(ones, others, strict=True)]
    low, _, high = quantiles(each, n=4) if len(each) > 1 else (each[0],) * 3
    return Ratio(median(ones) / median(others), low, high, len(each))


def memory_peak() -> int:
    """Give the most memory that this process has held, in bytes.

    Linux counts what a process held before it became this program into ``ru_maxrss``, not into ``VmHWM``.
    """
    try:
        status = Path("/proc/self/status").read_text("ascii")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def in_process(function: str, *arguments: str) -> dict[str, Any]:
    """Call ``module:name`` in a process of its own; give its answer, ``cpu`` seconds and ``peak`` bytes.

    The seconds are those of the call alone; the peak is the process's, the interpreter and imports included.
    """
    module, name = function.split(":")
    program = (
        "import json, sys, time\n"
        f"from {module} import {name} as function\n"
        "from bench.measure import memory_peak\n"
        "start = time.process_time()\n"
        "answer = function(*sys.argv[1:]) or {}\n"
        "answer['cpu'] = time.process_time() - start\n"
        "answer['peak'] = memory_peak()\n"
        "print(json.dumps(answer))\n"
    )
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(
        command, cwd=_TESTS.parent, env=environment(), stdout=subprocess.PIPE, text=True, check=True
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def environment() -> dict[str, str]:
    """Give the environment of a process that can import what lies here."""
    return os.environ | {"PYTHONPATH": f"{_TESTS}{os.pathsep}{_TESTS.parent}"}
