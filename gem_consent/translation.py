"""The library's catalogues, and how texts, durations, dates and places read in one language."""

from __future__ import annotations

import functools
import gettext
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gem_consent.errors import ConfigurationError
from gem_consent.fields import Message, Text
from gem_consent.locale import duration_text, match
from gem_consent.policy import Policy, Tracker
from gem_consent.retention import Retention, Term

__all__ = ["Translation", "available_languages", "catalogue_digest", "languages_of"]

_DOMAIN = "gem_consent"
_LOCALES = Path(__file__).parent / "locales"

_STATES = {
    "given": Message("Agreement given"),
    "refused": Message("Refusal"),
    "withdrawn": Message("Agreement withdrawn"),
    "renewed": Message("Agreement renewed"),
}
_STORAGES = {
    "cookie": Message("Cookie"),
    "localStorage": Message("Browser storage"),
    "sessionStorage": Message("Browser storage"),
    "indexedDB": Message("Browser storage"),
    "server": Message("Our server"),
}
_COUNTRIES = {
    "AU": Message("Australia"),
    "CA": Message("Canada"),
    "CH": Message("Switzerland"),
    "GB": Message("United Kingdom"),
    "IL": Message("Israel"),
    "IN": Message("India"),
    "JP": Message("Japan"),
    "SG": Message("Singapore"),
    "US": Message("United States"),
}


@functools.cache
def available_languages() -> tuple[str, ...]:
    """Give the tags of the languages that the library has a compiled catalogue for."""
    found = sorted(path.parent.parent.name for path in _LOCALES.glob(f"*/LC_MESSAGES/{_DOMAIN}.mo"))
    return tuple(tag.replace("_", "-") for tag in found)


@functools.cache
def catalogue_digest(language: str) -> str:
    """Sum up the texts of a language: the SHA-256 of its compiled catalogue."""
    path = _LOCALES / language.replace("-", "_") / "LC_MESSAGES" / f"{_DOMAIN}.mo"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def languages_of(policy: Policy) -> tuple[str, ...]:
    """Give the languages a policy's notice is shown in: those it names, else all that the library speaks.

    Raises:
        ConfigurationError: the policy names a language that the library does not speak.
    """
    available = available_languages()
    for language in policy.languages or (policy.language,):
        if language not in available:
            raise ConfigurationError(
                f"Policy.languages names {language!r}; the library speaks {', '.join(available)}. "
                "Remove it, or add its catalogue to gem_consent/locales and build again"
            )
    return tuple(policy.languages) or available


class Translation:
    """Everything that reads differently in another language.

    Args:
        language: one of ``available_languages()``.
        fallback: the language to take where a site's own text lacks this one.
    """

    def __init__(self, language: str, fallback: str) -> None:
        self.language = language
        self._fallback = fallback
        self.catalogue = gettext.translation(_DOMAIN, _LOCALES, [language.replace("-", "_")])

    @property
    def direction(self) -> str:
        """The direction that this language is written in: ``ltr`` or ``rtl``, as HTML's ``dir`` has it."""
        return self.catalogue.pgettext("direction of the script, ltr or rtl", "ltr")

    def text(self, value: Text | None) -> str:
        """Give a site's or the library's text in this language."""
        if isinstance(value, Message):
            return self.catalogue.gettext(value)
        if isinstance(value, Mapping):
            tag = match(self.language, list(value)) or match(self._fallback, list(value))
            return value[tag] if tag else next(iter(value.values()))
        return value or ""

    def duration(self, value: timedelta) -> str:
        """Say a duration in whole months where the calendar allows it, else in days, hours or minutes."""
        unit, count = duration_text(int(value.total_seconds()))
        ngettext = self.catalogue.ngettext
        forms = {
            "months": ngettext("%(n)d month", "%(n)d months", count),
            "days": ngettext("%(n)d day", "%(n)d days", count),
            "hours": ngettext("%(n)d hour", "%(n)d hours", count),
            "minutes": ngettext("%(n)d minute", "%(n)d minutes", count),
            "seconds": ngettext("%(n)d second", "%(n)d seconds", count),
        }
        return forms[unit] % {"n": count}

    def lifetime(self, value: timedelta | Text | None) -> str:
        """Say how long a tracker is kept; ``None`` is the end of the browser's session."""
        if value is None:
            return self.catalogue.gettext("Until the browser is closed")
        return self.duration(value) if isinstance(value, timedelta) else self.text(value)

    def retention(self, value: Retention | None) -> str:
        """Say how long the proof of a choice is kept; empty where no time is declared."""
        if value is None:
            return ""
        pattern = self.catalogue.gettext("Agreements: %(consents)s. Refusals: %(refusals)s.")
        return pattern % {
            "consents": self._term(value.consent_term),
            "refusals": self._term(value.refusal_term),
        }

    def _term(self, term: Term) -> str:
        count = term.count * (7 if term.unit == "week" else 1)
        gettext, ngettext = self.catalogue.gettext, self.catalogue.ngettext
        durations = {
            "day": ngettext("%(n)d day", "%(n)d days", count),
            "week": ngettext("%(n)d day", "%(n)d days", count),
            "month": ngettext("%(n)d month", "%(n)d months", count),
            "year": ngettext("%(n)d year", "%(n)d years", count),
        }
        patterns = {
            "decision": gettext("%(duration)s after the choice"),
            "consent": gettext("%(duration)s after the agreement ends"),
            "year": gettext("%(duration)s after the end of the year"),
        }
        return patterns[term.base] % {"duration": durations[term.unit] % {"n": count}}

    def storage(self, tracker: Tracker) -> str:
        """Say where a tracker is kept, with its domain if that is not the site's own."""
        place = self.catalogue.gettext(_STORAGES[tracker.storage])
        return f"{place} ({tracker.host})" if tracker.host else place

    def country(self, code: str) -> str:
        """Name a country; its code stands for one without a name here."""
        return self.catalogue.gettext(_COUNTRIES[code]) if code in _COUNTRIES else code

    def state(self, state: str) -> str:
        """Name what a decision did."""
        return self.catalogue.gettext(_STATES[state]) if state in _STATES else state

    def day(self, seconds: int) -> str:
        """Write the day of a time in seconds since 1970 (UTC)."""
        return self._date(datetime.fromtimestamp(seconds, UTC))

    def moment(self, utc: str) -> str:
        """Write an RFC 3339 time as day, hours and minutes."""
        at = datetime.fromisoformat(utc)
        pattern = self.catalogue.pgettext(
            "pattern of a date and time", "%(date)s, %(hour)02d:%(minute)02d UTC"
        )
        return pattern % {"date": self._date(at), "hour": at.hour, "minute": at.minute}

    def _date(self, at: datetime) -> str:
        pattern = self.catalogue.pgettext("pattern of a date", "%(day)s %(month)s %(year)d")
        month = (
            self.catalogue.pgettext("in a date", "January"),
            self.catalogue.pgettext("in a date", "February"),
            self.catalogue.pgettext("in a date", "March"),
            self.catalogue.pgettext("in a date", "April"),
            self.catalogue.pgettext("in a date", "May"),
            self.catalogue.pgettext("in a date", "June"),
            self.catalogue.pgettext("in a date", "July"),
            self.catalogue.pgettext("in a date", "August"),
            self.catalogue.pgettext("in a date", "September"),
            self.catalogue.pgettext("in a date", "October"),
            self.catalogue.pgettext("in a date", "November"),
            self.catalogue.pgettext("in a date", "December"),
        )[at.month - 1]
        first = self.catalogue.pgettext("first day of a month", "1")
        return pattern % {"day": first if at.day == 1 else at.day, "month": month, "year": at.year}
