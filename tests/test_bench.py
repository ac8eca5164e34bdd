"""The benchmark runs: every part gives its figures, and puts them where they belong; nothing is timed."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from bench.big_ledger import big_ledger, made_up_events
from bench.figures import Effort, Figure, Ratio, Run, at_least, at_most
from bench.measure import in_process, in_turn
from bench.report import PAGE, PARTS, put, section
from ledgers import check


@pytest.mark.parametrize("part", PARTS)
def test_part_gives_its_figures(part: str, tmp_path: Path) -> None:
    """A quick look gives a table, each row of it with a figure, and a verdict where there is a goal."""
    lines = list(section(part, Run(Effort.QUICK, tmp_path)))
    rows = lines[lines.index("|---|---|---|---|") + 1 :]
    assert rows
    for row in rows:
        _, what, goal, seen, verdict, _ = (cell.strip() for cell in row.split("|"))
        assert what
        assert seen
        assert goal == "–" or verdict in {"met", "**missed**"} or "here" in seen


@pytest.mark.parametrize("part", PARTS)
def test_page_has_a_place_for_each_part(part: str, tmp_path: Path) -> None:
    """A part's section is put between its marks, and the rest of the page stays as it was."""
    page = tmp_path / "benchmarks.md"
    page.write_text(PAGE.read_text("utf-8"), "utf-8")
    put(part, "## Anew", page)
    before, after = page.read_text("utf-8").split(f"<!-- bench: {part} -->\n## Anew\n<!-- end: {part} -->")
    assert PAGE.read_text("utf-8").startswith(before)
    assert PAGE.read_text("utf-8").endswith(after)


def test_page_without_marks_is_refused(tmp_path: Path) -> None:
    """A page that lost its marks is left alone."""
    page = tmp_path / "benchmarks.md"
    page.write_text("# Benchmarks\n", "utf-8")
    with pytest.raises(ValueError, match="should hold one <!-- bench: ledger -->"):
        put("ledger", "## Anew", page)


def test_missed_goals_are_told() -> None:
    """A figure on the wrong side of its goal says so, whichever side that is."""
    assert at_least("speed", 2, Ratio(1.5, 1.0, 2.0, 5)) == Figure(
        "speed", "1.50 (1.00–2.00)", "≥ 2.00", False
    )
    assert at_most("cost", 2, 1.5, "ms") == Figure("cost", "1.50 ms", "≤ 2.00 ms", True)


def test_tasks_take_turns() -> None:
    """What is compared is run as often, and each comes first every other time."""
    ticks, said = itertools.count(), []
    ratio = in_turn(lambda: said.append("a"), lambda: said.append("b"), rounds=4, clock=lambda: next(ticks))
    assert said == ["a", "b", "a", "b", "b", "a", "a", "b", "b", "a"]
    assert ratio == Ratio(1.0, 1.0, 1.0, 4)


def test_memory_is_a_process_of_its_own(tmp_path: Path) -> None:
    """What is measured in another process tells its peak, its seconds and what the call answers."""
    block = bytearray(256 * 2**20)
    answer = in_process("bench.ledger:export_csv", str(big_ledger(tmp_path, 10)))
    assert answer["rows"] == 10
    assert answer["cpu"] > 0
    assert 2**20 < answer["peak"] < len(block)


def test_big_ledger_is_valid(tmp_path: Path) -> None:
    """The ledger that is made past the writer keeps every invariant of one that the writer made."""
    stored = check(big_ledger(tmp_path, 1_000))
    assert [event.subject for event in stored] == [event.subject for event in made_up_events(1_000)]
    assert big_ledger(tmp_path, 1_000).stat().st_size
