"""A mark: what it says, how it is spelt, and how much one row of it may hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import START, make_event

from gem_consent.errors import ProofError
from gem_consent.proof.event import canonical
from gem_consent.proof.mark import MAX_MARK_CHARACTERS, MAX_RULE_CHARACTERS, Mark, mark_events, ranges_of

rules = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=MAX_RULE_CHARACTERS)


def events_of(positions: list[int], rule: str = "13 months", **options: Any) -> list[Mark]:
    """Give the marks that the rows of these positions are marked with."""
    made = mark_events(
        "purged", rule, positions, START, surface="command", library="gem-consent 0", **options
    )
    return [Mark.decode(event.mark or "") for event in made]


@given(rules, st.sets(st.integers(0, 2**62), min_size=1).map(sorted))
def test_mark_names_every_position_once(rule: str, positions: list[int]) -> None:
    """Written and read back, the marks name all positions, in order, each once, by the rule given."""
    marks = events_of(positions, rule)
    found = [at for mark in marks for start, end in mark.positions for at in range(start, end + 1)]
    assert found == positions
    assert {mark.rule for mark in marks} == {rule}
    assert sum(map(len, marks)) == len(positions)


def test_long_marks_are_split() -> None:
    """Positions that need more room than one row has are said in several."""
    positions = list(range(10**15, 10**15 + 20_000, 2))
    made = mark_events("purged", "\x01" * 255, positions, START, surface="command", library="")
    texts = [event.mark or "" for event in made]
    assert len(texts) > 10
    assert max(map(len, texts)) <= MAX_MARK_CHARACTERS
    assert sum(len(Mark.decode(text)) for text in texts) == len(positions)


def test_million_rows_in_a_row_take_one_mark() -> None:
    """What lies side by side is one range, however much it is."""
    (mark,) = events_of(list(range(1_000_000)))
    assert mark.positions == ((0, 999_999),)


def test_mark_of_withdrawal_names_it() -> None:
    """The mark that empties a withdrawal says which row that was; the others do not."""
    positions = list(range(0, 10_000, 2))
    marks = events_of(positions, withdrawn=9_998)
    assert [mark.withdrawn for mark in marks] == [None] * (len(marks) - 1) + [9_998]


def test_mark_names_nobody() -> None:
    """A mark says when and by which rule, and nothing of any visitor."""
    (event,) = mark_events("erased", "on request", [3], START, surface="preferences", library="gem-consent 0")
    assert (event.state, event.action, event.surface) == ("erased", "erase", "preferences")
    assert (event.subject, event.site, event.previous, event.network) == ("", "", None, None)


def test_canonical_form_has_mark_in_marks_alone() -> None:
    """A decision's canonical form stays what it was; a mark's has one key more."""
    (event,) = mark_events("erased", "on request", [3], START, surface="command", library="")
    assert b'"mark":' not in canonical(make_event())
    assert (
        b'"library":"","mark":"{\\"positions\\":[[3,3]],\\"rule\\":\\"on request\\"}","network"'
        in canonical(event)
    )


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "{}", "[" * 9999, '{"positions":[],"rule":"r"}'),
        *('{"positions":[[1,1]],"rule":""}', '{"positions":[[2,1]],"rule":"r"}'),
        *('{"positions":[[-1,1]],"rule":"r"}', '{"positions":[[1]],"rule":"r"}'),
        *('{"positions":[[1,2],[2,3]],"rule":"r"}', '{"positions":[[1,2],[3,3]],"rule":"r"}'),
        *('{"positions":[[3,3],[1,1]],"rule":"r"}', '{"positions":[[1,1]],"rule":"r","withdrawn":2}'),
        *('{"positions":[[1,1]],"rule":"r","withdrawn":true}', '{"positions":[[true,1]],"rule":"r"}'),
        *('{"positions": [[1,1]],"rule":"r"}', '{"rule":"r","positions":[[1,1]]}'),
        *('{"positions":[[1,1]],"rule":"r","more":1}', '{"positions":[[1.0,1]],"rule":"r"}'),
    ],
)  # fmt: skip
def test_other_texts_are_no_marks(text: str) -> None:
    """What is not written as a mark is, to the letter, is none."""
    with pytest.raises(ProofError, match="mark"):
        Mark.decode(text)


def test_ranges_join_neighbours() -> None:
    """Positions side by side make one range."""
    assert list(ranges_of([0, 1, 5, 7, 8, 9])) == [(0, 1), (5, 5), (7, 9)]
    assert list(ranges_of([])) == []
