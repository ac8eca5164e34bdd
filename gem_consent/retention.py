"""How long the proof of a choice is kept, in words that a lawyer uses, and which days they mean. Pure."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, TypeAlias

from gem_consent.errors import PolicyError

__all__ = ["FORMS", "Base", "Retention", "Term", "Unit"]

Unit: TypeAlias = Literal["day", "week", "month", "year"]
Base: TypeAlias = Literal["decision", "consent", "year"]
"""What a term runs from: the decision, the end of the consent, or the end of that end's calendar year."""

FORMS = "'13 months', '5 years after end of consent' or '3 years after year end'"
"""The forms of a term, for messages."""

_BASES: dict[Base, str] = {"decision": "", "consent": " after end of consent", "year": " after year end"}
_LONGEST_YEARS = 100
_DAYS = {"day": 1, "week": 7}
_TERM = re.compile(
    r"([1-9]\d{0,4}) (day|week|month|year)s?"
    r"(?: after (?:the )?(?:(?P<decision>decision|choice)|(?P<consent>end of (?:the )?consent|consent ends)"
    r"|(?P<year>year end|end of (?:the )?(?:calendar )?year)))?"
)
_TERME = re.compile(
    r"([1-9]\d{0,4}) (jour|semaine|moi|an|année)s?"
    r"(?: après (?:(?P<decision>la décision|le choix)|(?P<consent>la fin du consentement)"
    r"|(?P<year>la fin de l['’]année(?: civile)?)))?"
)
_UNITS: dict[str, Unit] = {
    **{"day": "day", "week": "week", "month": "month", "year": "year"},
    **{"jour": "day", "semaine": "week", "moi": "month", "an": "year", "année": "year"},
}


@dataclass(frozen=True, slots=True)
class Term:
    """A span of the calendar, and what it runs from.

    Months and years end on the same day of the month as they began, or on the month's last where it has no
    such day, and a term lasts until midnight of its last day: Regulation (EEC, Euratom) No 1182/71, art.
    3(2); in France, art. 641 and 642 of the code of civil procedure. Days are those of UTC, as a ledger's
    times.

    Args:
        count: how many of the unit.
        unit: ``day``, ``week``, ``month`` or ``year``.
        base: what it runs from.

    Example:
        >>> str(Term.parse("5 years after the end of consent"))
        '5 years after end of consent'
        >>> Term.parse("1 month").last_day(date(2027, 1, 31))
        datetime.date(2027, 2, 28)
    """

    count: int
    unit: Unit
    base: Base = "decision"

    @classmethod
    def parse(cls, words: str) -> Term:
        """Read a term in English or French.

        Raises:
            PolicyError: the words are none of the forms, or mean more than a hundred years.
        """
        text = " ".join(words.lower().split()) if isinstance(words, str) else ""
        match = _TERM.fullmatch(text) or _TERME.fullmatch(text)
        if match is None:
            raise PolicyError(f"The term {words!r} cannot be read; allowed: {FORMS}")
        base: Base = "consent" if match["consent"] else "year" if match["year"] else "decision"
        term = cls(int(match[1]), _UNITS[match[2]], base)
        if term._days_at_most() > _LONGEST_YEARS * 366:
            raise PolicyError(f"The term {words!r} is too long; allowed: {_LONGEST_YEARS} years at most")
        return term

    def _days_at_most(self) -> int:
        return self.count * {"day": 1, "week": 7, "month": 31, "year": 366}[self.unit]

    def __str__(self) -> str:
        return f"{self.count} {self.unit}{'' if self.count == 1 else 's'}{_BASES[self.base]}"

    def last_day(self, base: date) -> date:
        """Give the last day on which what began then is kept."""
        start = date(base.year, 12, 31) if self.base == "year" else base
        if self.unit in _DAYS:
            return start + timedelta(days=self.count * _DAYS[self.unit])
        return _months_later(start, self.count * (12 if self.unit == "year" else 1))

    def kept_from(self, today: date) -> date:
        """Give the first day whose rows are still kept: what began before it is overdue.

        Later days are never due before earlier ones, so that one comparison decides for every row.
        """
        day = _months_later(today, -self._months_at_least()) + timedelta(days=1)
        if self.base == "year":
            day = date(day.year, 12, 31)
        while self.last_day(day) >= today:
            day = date(day.year - 1, 12, 31) if self.base == "year" else day - timedelta(days=1)
        return day + timedelta(days=1)

    def _months_at_least(self) -> int:
        days = self.count * _DAYS.get(self.unit, 0)
        return days // 31 or self.count * {"month": 1, "year": 12}.get(self.unit, 0)


def _months_later(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


@dataclass(frozen=True, slots=True)
class Retention:
    """How long rows of the ledger are kept.

    A proof is kept for as long as it may be needed, and no longer (GDPR art. 5(1)(e) and 7(1)). The defaults:
    what was granted, and its withdrawal, for five years after the consent ends, the time in which civil
    claims can be brought in France (art. 2224 of the civil code); refusals, which nobody has to prove, for 13
    months after they were made, the longest that they are obeyed. A live consent is kept whatever the term.

    Args:
        consents: the term of what granted something, and of withdrawals: ``5 years after end of consent``.
        refusals: the term of refusals: ``13 months``.

    Raises:
        PolicyError: a term cannot be read.

    Example:
        >>> Retention(consents="3 years after year end").consent_term.last_day(date(2026, 2, 1))
        datetime.date(2029, 12, 31)
    """

    consents: str = "5 years after end of consent"
    refusals: str = "13 months"

    def __post_init__(self) -> None:
        for name in ("consents", "refusals"):
            try:
                object.__setattr__(self, name, str(Term.parse(getattr(self, name))))
            except PolicyError as error:
                raise PolicyError(f"Retention.{name}: {error}") from error
        if self.refusal_term.base == "consent":
            raise PolicyError(
                f"Retention.refusals is {self.refusals!r}, and a refusal has no consent that ends; allowed: "
                "'13 months' or '1 year after year end'"
            )

    @property
    def consent_term(self) -> Term:
        """The term of consents and withdrawals."""
        return Term.parse(self.consents)

    @property
    def refusal_term(self) -> Term:
        """The term of refusals; it runs from the decision, or from the end of its year."""
        return Term.parse(self.refusals)
