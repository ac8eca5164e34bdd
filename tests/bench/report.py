"""From figures to ``docs/benchmarks.md``: each part has a section of its own there, and can be run alone."""

from __future__ import annotations

import importlib
import os
import platform
import re
import sqlite3
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.figures import Figure, Run

__all__ = ["PAGE", "PARTS", "machine", "put", "section"]

PAGE = Path(__file__).parent.parent.parent / "docs" / "benchmarks.md"

PARTS = ("ledger", "middleware", "browser")
"""The parts in the order of the page; ``make bench BENCH="ledger"`` runs one."""

_PACKAGES = ("gem-consent", "starlette", "sqlalchemy", "cryptography", "pyarrow", "uvicorn", "granian")


def section(part: str, run: Run) -> Iterator[str]:
    """Measure a part; give the lines of its section as they come to be."""
    module = importlib.import_module(f"bench.{part}")
    yield from (f"## {module.TITLE}", "", module.NOTES.strip(), "", *machine(), "")
    yield from ("| what | goal | seen | |", "|---|---|---|---|")
    for figure in module.figures(run):
        yield _row(figure)


def _row(figure: Figure) -> str:
    verdict = {True: "met", False: "**missed**", None: ""}[figure.is_met]
    return f"| {figure.what} | {figure.goal or '–'} | {figure.seen} | {verdict} |"


def machine() -> list[str]:
    """Say on what was measured, and when."""
    day = datetime.now(UTC).date()
    found = [f"{name} {_version(name)}" for name in _PACKAGES if _version(name)]
    return [
        f"Measured on {day}: {_processor()}, {os.cpu_count()} cores, {_memory()}, {platform.system()}; "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {', '.join(found)}."
    ]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def _memory() -> str:
    if sys.platform == "win32":
        return "memory unknown"
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB"


def put(part: str, text: str, page: Path = PAGE) -> None:
    """Put a part's section between its marks, and leave the others as they are."""
    start, end = f"<!-- bench: {part} -->", f"<!-- end: {part} -->"
    before = page.read_text("utf-8")
    if before.count(start) != 1 or before.count(end) != 1:
        raise ValueError(f"{page} should hold one {start} and one {end}")
    head, rest = before.split(start)
    page.write_text(f"{head}{start}\n{text.strip()}\n{end}{rest.split(end)[1]}", "utf-8")
