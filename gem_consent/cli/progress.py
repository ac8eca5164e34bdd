"""A progress bar on standard error, for commands that read a whole ledger."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress"]


@contextmanager
def progress(
    title: str, count: Callable[[], int], *, is_wanted: Callable[[], bool] = lambda: True
) -> Iterator[Callable[[int], object]]:
    """Show a bar where somebody looks at standard error, and give what advances it by so many rows.

    Args:
        title: what is being done.
        count: gives the number of rows to come; only asked where a bar is shown.
        is_wanted: says whether a bar is in nobody's way; only asked on a terminal.
    """
    if not (sys.stderr.isatty() and is_wanted()):
        yield lambda rows: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    parts = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*parts, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=count())
        yield lambda rows: bar.advance(task, rows)
