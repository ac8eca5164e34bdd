"""Languages and durations: chosen by rule, told without rounding."""

from __future__ import annotations

import time
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_consent.locale import duration_text, match, negotiate

DAY = 86_400
AVAILABLE = ["en", "fr", "pt_BR", "zh-Hant", "nb", "he"]


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("fr", "fr"),
        ("fr-CA", "fr"),
        ("FR-ca;q=0.5, en;q=0.4", "fr"),
        ("en;q=0.4, fr;Q=0.5", "fr"),
        ("de, fr;q=0.3", "fr"),
        ("pt-br", "pt_BR"),
        ("pt", None),
        ("zh-Hant-TW", "zh-Hant"),
        ("zh-Hant-x-private", "zh-Hant"),
        ("de", None),
        ("", None),
        (None, None),
        ("*", "en"),
        ("*, en;q=0.5", "fr"),
        ("*;q=0.1, fr", "fr"),
        ("de, *;q=0.1", "en"),
        ("*, en;q=0, fr;q=0", "pt_BR"),
        ("fr-CA, fr;q=0", None),
        ("fr;q=0, fr-CA, en;q=0.1", "en"),
        ("en-GB;q=0, en;q=0.1", "en"),
        ("*;q=0", None),
        ("fr;q=0.5, en;q=0.5", "fr"),
    ],
)
def test_language_follows_the_visitor(header: str | None, language: str | None) -> None:
    """The best range that can be served wins, refused ones never, the order breaks ties."""
    assert negotiate(header, AVAILABLE) == language


@pytest.mark.parametrize(
    "garbage",
    ["fr;q=2", "fr;q=", "fr;q=0.1234", "fr;x=1", "fr;", ";q=1", "fr fr", "é", "fr-", "toolonglang", "\0"],
)
def test_malformed_range_is_passed_over(garbage: str) -> None:
    """A range that cannot be read counts for nothing, and the next one is read."""
    assert negotiate(f"{garbage}, en;q=0.1", AVAILABLE) == "en"


def test_fifty_ranges_are_read() -> None:
    """What comes after the fiftieth range does not count."""
    assert negotiate("de," * 49 + "fr", AVAILABLE) == "fr"
    assert negotiate("de," * 50 + "fr", AVAILABLE) is None


def test_nothing_available_gives_nothing() -> None:
    """Without languages there is none to choose."""
    assert negotiate("fr, *", []) is None


@given(st.text(alphabet="frenq=;,.*-_01 é\0", max_size=60))
def test_any_header_has_an_answer(header: str) -> None:
    """No header raises, and only what is available is chosen."""
    assert negotiate(header, AVAILABLE) in (None, *AVAILABLE)


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("fr", "fr"),
        ("fr-FR", "fr"),
        ("FR", "fr"),
        (" fr ", "fr"),
        ("pt_BR", "pt_BR"),
        ("pt-BR", "pt_BR"),
        ("zh-Hant-TW", "zh-Hant"),
        ("zh", None),
        ("french", None),
        ("no", "nb"),
        ("nn-NO", "nb"),
        ("nb-NO", "nb"),
        ("iw", "he"),
        ("*", None),
        ("fr FR", None),
        ("", None),
        (None, None),
    ],
)
def test_page_language_is_found(tag: str | None, language: str | None) -> None:
    """An HTML lang finds its language part by part from the end."""
    assert match(tag, AVAILABLE) == language


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (33_955_200, ("months", 13)),
        (397 * DAY, ("months", 13)),
        (398 * DAY, ("days", 398)),
        (392 * DAY, ("days", 392)),
        (184 * DAY, ("months", 6)),
        (181 * DAY, ("months", 6)),
        (180 * DAY, ("days", 180)),
        (365 * DAY, ("months", 12)),
        (366 * DAY, ("months", 12)),
        (730 * DAY, ("months", 24)),
        (731 * DAY, ("months", 24)),
        (1461 * DAY, ("months", 48)),
        (59 * DAY, ("months", 2)),
        (31 * DAY, ("days", 31)),
        (DAY, ("days", 1)),
        (393 * DAY + 3600, ("hours", 9433)),
        (5_400, ("minutes", 90)),
        (61, ("seconds", 61)),
        (0, ("seconds", 0)),
        (-5, ("seconds", -5)),
    ],
)
def test_duration_is_told_exactly(seconds: int, told: tuple[str, int]) -> None:
    """Months only where the calendar agrees, else the largest unit that is exact."""
    assert duration_text(seconds) == told


@given(st.integers(2, 96), st.integers(2001, 2080), st.integers(1, 12))
def test_calendar_months_are_told_as_months(months: int, year: int, month: int) -> None:
    """Any run of calendar months, whenever it begins, is told as that many months."""
    years, index = divmod(month - 1 + months, 12)
    days = (date(year + years, index + 1, 1) - date(year, month, 1)).days
    assert duration_text(days * DAY) == ("months", months)


@given(st.integers(1, 10**9))
def test_exact_units_give_the_duration_back(seconds: int) -> None:
    """What is not told in months is told to the second."""
    unit, count = duration_text(seconds)
    sizes = {"days": DAY, "hours": 3600, "minutes": 60, "seconds": 1}
    assert unit == "months" or sizes[unit] * count == seconds


def test_long_header_is_cheap() -> None:
    """A header of a megabyte is read no further than its fiftieth range."""
    started = time.process_time()
    negotiate("fr;q=0.1," * 120_000, AVAILABLE)
    assert time.process_time() - started < 0.1
