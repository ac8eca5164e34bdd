"""The checklist is complete: each rule of docs/checklist.md has its tests, and those say so themselves."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from walks import ROOT

PAGE = (ROOT / "docs" / "checklist.md").read_text("utf-8")
ROW = re.compile(r"^\| ([A-Z]\d+) \|(.+)\|$", re.MULTILINE)
NAMED = re.compile(r"`(tests/\S+\.py::test_\w+)`")
# before a choice, first layer, second layer, refusal, acceptance, cookie of the choice, withdrawal, proof,
# Global Privacy Control, accessibility
RULES = {"P": 8, "L": 13, "S": 5, "R": 5, "A": 6, "C": 8, "W": 7, "F": 4, "G": 1, "X": 1}


def rules_of(node: ast.FunctionDef) -> Iterator[str]:
    """Give the rules that a test says it proves."""
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.rule":
            yield from map(ast.literal_eval, decorator.args)


def marked(folder: Path) -> Iterator[tuple[str, str]]:
    """Give each rule that a test is marked with, and the test."""
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                name = f"{path.relative_to(ROOT)}::{node.name}"
                yield from ((rule, name) for rule in rules_of(node))


def test_rules_are_all_there() -> None:
    """No rule is left out of the page, and none stands there twice."""
    kinds = [f"{kind}{number}" for kind, count in RULES.items() for number in range(1, count + 1)]
    assert Counter(rule for rule, _ in ROW.findall(PAGE)) == Counter(kinds)


def test_each_rule_has_its_tests() -> None:
    """The page names for each rule exactly the tests that are marked with it, one at least."""
    named = [(rule, name) for rule, row in ROW.findall(PAGE) for name in NAMED.findall(row)]
    assert {rule for rule, _ in ROW.findall(PAGE)} - {rule for rule, _ in named} == set()
    assert sorted(named) == sorted(marked(ROOT / "tests"))
