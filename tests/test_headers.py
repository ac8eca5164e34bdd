"""Header lists: read in any case, edited without touching anything else."""

from __future__ import annotations

from gem_consent.headers import values, without

MIXED = [(b"Vary", b"A"), (b"x", b"1"), (b"VARY", b"B"), (b"x", b"2")]


def test_names_match_in_any_case() -> None:
    """Every value of a name is found, in order, however each line spells it."""
    assert values(MIXED, b"vary") == ["A", "B"]


def test_other_headers_stay_in_order() -> None:
    """Leaving one name out keeps the duplicates and the order of the rest."""
    assert without(MIXED, {b"vary"}) == [(b"x", b"1"), (b"x", b"2")]


def test_no_byte_is_lost() -> None:
    """A value that is no UTF-8 is read byte by byte."""
    assert values([(b"x", b"\xff\xe9")], b"x") == ["ÿé"]
