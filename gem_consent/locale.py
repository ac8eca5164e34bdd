"""Chooses among languages and units; never holds a word of text, and never reads the machine's own locale."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Literal, TypeAlias

__all__ = ["Unit", "duration_text", "match", "negotiate"]

Unit: TypeAlias = Literal["months", "days", "hours", "minutes", "seconds"]

_MAX_RANGES = 50
# What stands for a language that is not available: Bokmål for Norwegian of any kind, as in CLDR, and Hebrew
# under the code that ISO 639 gave up.
_KIN = {"no": ("nb",), "nn": ("nb", "no"), "nb": ("no",), "iw": ("he",), "he": ("iw",)}
_TAG = re.compile(r"[a-z]{1,8}(?:-[a-z0-9]{1,8}){0,7}\Z")
_QUALITY = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\Z", re.IGNORECASE)

_DAY_SECONDS = 86_400
_SMALLER_UNITS: tuple[tuple[Unit, int], ...] = (("days", _DAY_SECONDS), ("hours", 3_600), ("minutes", 60))
# Four years, the first of them a leap year; twice over, so that a span may begin in any month.
_MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] * 4
_MONTH_DAYS[1] = 29
_CYCLE_MONTHS, _CYCLE_DAYS = len(_MONTH_DAYS), sum(_MONTH_DAYS)
_ELAPSED_DAYS = [0, *accumulate(_MONTH_DAYS * 2)]


def negotiate(accept_language: str | None, available: Sequence[str]) -> str | None:
    """Choose a language by the visitor's ``Accept-Language`` (RFC 9110 §12.5.4, RFC 4647 §3.4 lookup).

    Args:
        accept_language: the header's value; garbage in it is passed over, and 50 ranges are read at most.
        available: tags to choose from, in the site's order of preference; ``pt-BR`` and ``pt_BR`` are the
            same.

    Returns:
        One of ``available`` as it is spelt there, or ``None`` if nothing fits: the caller has its own
        default.
    """
    ranges = sorted(_ranges(accept_language or ""), key=lambda item: -item[1])
    refused = [tag for tag, quality in ranges if quality == 0]
    offered = [tag for tag in available if not any(_is_within(_plain(tag), range_) for range_ in refused)]
    named = [range_ for range_, _ in ranges]
    for range_, quality in ranges:
        found = _any_other(named, offered) if range_ == "*" else _lookup(range_, offered)
        if quality > 0 and found is not None:
            return found
    return None


def match(tag: str | None, available: Sequence[str]) -> str | None:
    """Find the language of an HTML ``lang`` among those available (RFC 4647 §3.4 lookup).

    Norwegian of any kind is found as Bokmål, and Hebrew by its old code.

    Args:
        tag: such as ``fr-FR``, in any case, with hyphens or underscores; garbage finds nothing.
        available: tags to choose from.

    Returns:
        One of ``available`` as it is spelt there, or ``None``.

    Example:
        >>> match("zh-Hant-TW", ["en", "zh_Hant"])
        'zh_Hant'
    """
    plain = _plain(tag or "")
    return _lookup(plain, available) if _TAG.match(plain) else None


def _ranges(header: str) -> Iterator[tuple[str, float]]:
    for part in header.split(",", _MAX_RANGES)[:_MAX_RANGES]:
        tag, separator, weight = part.partition(";")
        plain, quality = _plain(tag), _QUALITY.match(weight.strip())
        if (plain == "*" or _TAG.match(plain)) and (quality or not separator):
            yield plain, float(quality[1]) if quality else 1.0


def _plain(tag: str) -> str:
    return tag.strip().replace("_", "-").lower()


def _is_within(tag: str, range_: str) -> bool:
    return tag == range_ or tag.startswith(range_ + "-")


def _lookup(range_: str, available: Sequence[str]) -> str | None:
    spelling = {_plain(tag): tag for tag in reversed(available)}
    subtags = range_.split("-")
    # A prefix that ends in a singleton, as in zh-Hant-x-private, is none of the available ones: it fails by
    # itself.
    prefixes = ["-".join(subtags[:count]) for count in range(len(subtags), 0, -1)]
    wanted = (*prefixes, *_KIN.get(subtags[0], ()))
    return next((spelling[tag] for tag in wanted if tag in spelling), None)


def _any_other(named: list[str], offered: Sequence[str]) -> str | None:
    # RFC 9110 §12.5.4 by way of RFC 4647 §2.1: `*` stands for the languages that no other range names.
    return next(
        (tag for tag in offered if not any(_is_within(_plain(tag), range_) for range_ in named)), None
    )


def duration_text(seconds: int) -> tuple[Unit, int]:
    """Give the unit and number in which a duration is told to a visitor, never rounded.

    Months are said from two on, and only where the days lie between the shortest and the longest run of that
    many calendar months: 13 months last 393 to 397 days, six 181 to 184, 24 last 730 or 731. What fits no
    month, unit by unit down to seconds, is told exactly (GDPR art. 13(2)(a): the period must be the true
    one).

    Args:
        seconds: the duration.

    Example:
        >>> duration_text(33_955_200), duration_text(30 * 86_400), duration_text(5_400)
        (('months', 13), ('days', 30), ('minutes', 90))
    """
    if seconds <= 0:
        return "seconds", seconds
    if months := _calendar_months(seconds):
        return "months", months
    return next(
        ((unit, seconds // size) for unit, size in _SMALLER_UNITS if seconds % size == 0),
        ("seconds", seconds),
    )


def _calendar_months(seconds: int) -> int:
    days, rest = divmod(seconds, _DAY_SECONDS)
    # Runs of n and n + 1 months never overlap, so the nearest number is the only candidate.
    months = (2 * days * _CYCLE_MONTHS + _CYCLE_DAYS) // (2 * _CYCLE_DAYS)
    shortest, longest = _bounds_days(months)
    return months if rest == 0 and months >= 2 and shortest <= days <= longest else 0


def _bounds_days(months: int) -> tuple[int, int]:
    cycles, rest = divmod(months, _CYCLE_MONTHS)
    runs = [_ELAPSED_DAYS[start + rest] - _ELAPSED_DAYS[start] for start in range(_CYCLE_MONTHS)]
    return cycles * _CYCLE_DAYS + min(runs), cycles * _CYCLE_DAYS + max(runs)
