"""Terms in words: what they mean in the calendar, and which days are overdue."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_consent.errors import PolicyError
from gem_consent.retention import Retention, Term

days = st.dates(date(2020, 1, 1), date(2040, 12, 31))
terms = st.builds(
    Term,
    st.integers(1, 60),
    st.sampled_from(["day", "week", "month", "year"]),
    st.sampled_from(["decision", "consent", "year"]),
)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("13 months", "13 months"),
        ("1 month after the decision", "1 month"),
        ("5 Years  after end of consent", "5 years after end of consent"),
        ("5 years after the end of the consent", "5 years after end of consent"),
        ("3 years after year end", "3 years after year end"),
        ("3 years after the end of the calendar year", "3 years after year end"),
        ("2 weeks", "2 weeks"),
        ("1 day", "1 day"),
        ("13 mois", "13 months"),
        ("5 ans après la fin du consentement", "5 years after end of consent"),
        ("3 ans après la fin de l’année civile", "3 years after year end"),
        ("1 an après le choix", "1 year"),
    ],
)
def test_words_are_read(words: str, meant: str) -> None:
    """A term is read in the words of lawyers, in English and in French, and written in one form."""
    assert str(Term.parse(words)) == meant
    assert Term.parse(meant) == Term.parse(words)


@pytest.mark.parametrize(
    "words",
    ["", "for ever", "0 months", "13", "13 month of sundays", "-1 year", "5 years after", "1.5 years"],
)
def test_other_words_are_refused(words: str) -> None:
    """What is no term is refused with the forms that are."""
    with pytest.raises(PolicyError, match=r"allowed: '13 months', '5 years after end of consent' or"):
        Term.parse(words)


def test_endless_term_is_refused() -> None:
    """More than a hundred years is a slip of the hand."""
    with pytest.raises(PolicyError, match="100 years at most"):
        Term.parse("101 years")


@pytest.mark.parametrize(
    ("words", "base", "last"),
    [
        ("1 month", date(2027, 1, 31), date(2027, 2, 28)),
        ("1 month", date(2028, 1, 30), date(2028, 2, 29)),
        ("1 year", date(2028, 2, 29), date(2029, 2, 28)),
        ("4 years", date(2028, 2, 29), date(2032, 2, 29)),
        ("13 months", date(2026, 11, 23), date(2027, 12, 23)),
        ("12 months", date(2026, 12, 31), date(2027, 12, 31)),
        ("3 years after year end", date(2026, 1, 1), date(2029, 12, 31)),
        ("2 months after year end", date(2026, 6, 1), date(2027, 2, 28)),
        ("10 days", date(2026, 12, 25), date(2027, 1, 4)),
        ("2 weeks", date(2026, 12, 25), date(2027, 1, 8)),
    ],
)
def test_term_ends_by_the_calendar(words: str, base: date, last: date) -> None:
    """Months and years end on the same day of the month, or on the month's last; years end on 31 December."""
    assert Term.parse(words).last_day(base) == last


@given(terms, days)
def test_one_day_parts_kept_from_overdue(term: Term, today: date) -> None:
    """What began before the day given is over today, and what began on it or later is not."""
    kept = term.kept_from(today)
    assert term.last_day(kept - timedelta(days=1)) < today
    assert term.last_day(kept) >= today


@given(terms, days, st.integers(0, 400))
def test_later_days_are_kept_as_long(term: Term, day: date, later: int) -> None:
    """Nothing that began later is over earlier."""
    assert term.last_day(day) <= term.last_day(day + timedelta(days=later))


def test_retention_keeps_its_words() -> None:
    """The rule is written in one form, whatever language it was given in."""
    rule = Retention(consents="5 ans après la fin du consentement", refusals="6 mois")
    assert (rule.consents, rule.refusals) == ("5 years after end of consent", "6 months")
    assert Retention() == Retention("5 years after end of consent", "13 months")


def test_refusals_have_no_consent_that_ends() -> None:
    """A refusal's term cannot run from the end of a consent."""
    with pytest.raises(PolicyError, match=r"Retention\.refusals .* no consent that ends"):
        Retention(refusals="1 year after end of consent")


def test_wrong_term_is_named() -> None:
    """A term that cannot be read is told with the field that it was given for."""
    with pytest.raises(PolicyError, match=r"Retention\.consents: The term 'long' cannot be read"):
        Retention(consents="long")
