"""What an operator may count: figures of this process, never of a visitor.

Plain integers, read by whoever asks: OpenTelemetry's metrics API where it is installed, and the log.
"""

from __future__ import annotations

import logging
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation

__all__ = ["Tally"]

_INTERVAL_SECONDS = 300
_MAX_SECONDS = 10_000
# OpenTelemetry's own are made for milliseconds: every commit would lie in the first
_DURATION_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_logger = logging.getLogger("gem_consent")


class Tally:
    """Count what one middleware does, since the process began.

    The first ``report`` makes the instruments, where ``opentelemetry-api`` is installed; they are the
    process's, and add up what all its middlewares count.

    Attributes:
        documents: HTML responses, by what became of them: ``changed``, ``shared`` (changed, in the form for
            everyone), or why they were left alone.
        decisions: decisions, by what they did: ``given``, ``refused``, ``withdrawn``, ``renewed``,
            ``repeated``, or the status with which they were turned away.
        quiet: pages on which nothing is started, by what forbids it: ``Trusted Types``.
        cookies: the application's cookies that were ``withheld``, ``undeclared`` or ``refused``.

    Args:
        pending: gives how many events wait for the ledger.
        dropped: gives how many were lost.
        invalid: gives how many consent cookies did not verify.
    """

    def __init__(
        self, pending: Callable[[], int], dropped: Callable[[], int], invalid: Callable[[], int]
    ) -> None:
        self.documents: Counter[str] = Counter()
        self.decisions: Counter[str] = Counter()
        self.cookies: Counter[str] = Counter()
        self.quiet: Counter[str] = Counter()
        self.pending, self.dropped, self.invalid = pending, dropped, invalid
        self.report_at = 0
        self._told: Counter[str] = Counter()
        # the next line in the log tells of these; what keeps that line away must not fill the memory
        self._seconds: deque[float] = deque(maxlen=_MAX_SECONDS)
        self._recorded: Callable[[float], None] = _nothing

    def recorded(self, seconds: float) -> None:
        """Note how long the ledger took to answer a decision."""
        self._seconds.append(seconds)
        self._recorded(seconds)

    def report(self, now: int) -> None:
        """Say in the log, at level INFO, what was counted since the last time; due at ``report_at``."""
        if not self.report_at:
            self._recorded = _instruments(self)
        self.report_at = now + _INTERVAL_SECONDS
        figures = self._figures()
        news = figures - self._told
        self._told = figures
        if news:
            told = ", ".join(f"{name} {count}" for name, count in sorted(news.items()))
            if self._seconds:
                mean, most = sum(self._seconds) / len(self._seconds), max(self._seconds)
                self._seconds.clear()
                told += f"; the ledger took {mean * 1000:.0f} ms on average, {most * 1000:.0f} ms at most"
            _logger.info("since the last line like this one: %s; %d events wait", told, self.pending())

    def _figures(self) -> Counter[str]:
        kinds = (
            ("documents", self.documents),
            ("decisions", self.decisions),
            ("cookies", self.cookies),
            ("quiet pages", self.quiet),
        )
        figures = Counter({f"{kind} {name}": n for kind, names in kinds for name, n in names.copy().items()})
        figures["consent cookies invalid"] = self.invalid()
        return figures


def _nothing(seconds: float) -> None:
    """Count nothing: OpenTelemetry is not installed."""


_tallies: weakref.WeakSet[Tally] = weakref.WeakSet()
_durations: list[Callable[[float], None]] = []


def _instruments(tally: Tally) -> Callable[[float], None]:
    """Make the process's instruments, once; give what takes a duration."""
    _tallies.add(tally)
    if not _durations:
        try:
            _durations.append(_made())
        except Exception as error:  # a provider that the environment names and that is not there, for one
            _logger.warning("OpenTelemetry takes no metrics, so the log alone has them: %r", error)
            _durations.append(_nothing)
    return _durations[0]


def _made() -> Callable[[float], None]:
    try:
        from opentelemetry.metrics import get_meter
    except ImportError:
        return _nothing
    meter = get_meter("gem_consent")
    for name, unit, of, text in (
        ("documents", "{document}", "documents", "HTML responses, by what became of them"),
        ("decisions", "{decision}", "decisions", "Decisions, by what they did or why they were turned away"),
        ("cookies", "{cookie}", "cookies", "Cookies of the application's that were looked at"),
        ("quiet", "{document}", "quiet", "Pages on which nothing is started, by what forbids it"),
    ):
        meter.create_observable_counter(f"gem_consent.{name}", [_by_outcome(of)], unit, text)
    meter.create_observable_counter(
        "gem_consent.cookies.invalid",
        [_sum(lambda one: one.invalid())],
        "{cookie}",
        "Consent cookies with a wrong signature",
    )
    meter.create_observable_counter(
        "gem_consent.ledger.dropped", [_sum(lambda one: one.dropped())], "{event}", "Refusals that were lost"
    )
    meter.create_observable_gauge(
        "gem_consent.ledger.queue", [_sum(lambda one: one.pending())], "{event}", "Events that wait"
    )
    named = ("gem_consent.ledger.duration", "s", "The time that the ledger took")
    try:
        return meter.create_histogram(*named, explicit_bucket_boundaries_advisory=_DURATION_BOUNDS).record
    except TypeError:  # an older API takes no advice
        return meter.create_histogram(*named).record


_Callback = Any


def _by_outcome(of: str) -> _Callback:
    def observe(options: CallbackOptions) -> Iterable[Observation]:
        from opentelemetry.metrics import Observation

        total: Counter[str] = Counter()
        for tally in list(_tallies):
            total.update(getattr(tally, of).copy())
        return [Observation(count, {"outcome": outcome}) for outcome, count in total.items()]

    return observe


def _sum(figure: Callable[[Tally], int]) -> _Callback:
    def observe(options: CallbackOptions) -> Iterable[Observation]:
        from opentelemetry.metrics import Observation

        return [Observation(sum(figure(tally) for tally in list(_tallies)))]

    return observe
