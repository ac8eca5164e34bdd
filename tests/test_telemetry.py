"""What operators may count: in the log and through OpenTelemetry, and nothing of any visitor in it."""

from __future__ import annotations

import logging
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asgi import START, Clock, Visitor, get, site, wrap
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader

from gem_consent import ConsentMiddleware
from gem_consent.telemetry import _made

READER = InMemoryMetricReader()


@pytest.fixture(scope="module", autouse=True)
def provider() -> None:
    """Have the process's metrics kept in memory; a process has one provider."""
    metrics.set_meter_provider(MeterProvider([READER]))


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the metrics count this test's middlewares alone: others of the process may still have a queue."""
    monkeypatch.setattr("gem_consent.telemetry._tallies", weakref.WeakSet())


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """The file of a ledger."""
    return tmp_path / "consent.db"


def told() -> dict[str, dict[str, Any]]:
    """Give the library's metrics: by name, then by outcome."""
    data = READER.get_metrics_data()
    found: dict[str, dict[str, Any]] = {}
    for resource in data.resource_metrics if data else []:
        for scope in resource.scope_metrics:
            for metric in scope.metrics if scope.scope.name == "gem_consent" else []:
                for point in metric.data.data_points:
                    value = getattr(point, "value", None)
                    outcome = str((point.attributes or {}).get("outcome", ""))
                    found.setdefault(metric.name, {})[outcome] = (
                        value if value is not None else getattr(point, "count", 0)
                    )
    return found


def difference(before: dict[str, dict[str, Any]], name: str, outcome: str = "") -> int:
    """Give by how much a figure has grown."""
    return int(told().get(name, {}).get(outcome, 0)) - int(before.get(name, {}).get(outcome, 0))


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        ({}, "changed"),
        ({"headers": [("cache-control", "max-age=60")]}, "shared"),
        ({"headers": [("cache-control", "no-transform")]}, "no-transform"),
        ({"headers": [("content-disposition", "attachment")]}, "attachment"),
        ({"headers": [("content-encoding", "br")]}, "encoding"),
        ({"headers": [("content-range", "bytes 0-9/10")]}, "part or none"),
        ({"body": b"<p>A fragment</p>"}, "fragment"),
        ({"body": b"\xff\xfe<\x00"}, "not ASCII-compatible"),
    ],
)
def test_documents_are_counted(ledger: Path, options: dict[str, Any], outcome: str) -> None:
    """Each HTML response is counted once: changed, or why it was left alone."""
    app = wrap(site(**options), ledger)
    get(app)
    assert app.site.tally.documents == {outcome: 1}
    before = told()
    get(app)
    assert difference(before, "gem_consent.documents", outcome) == 1


def test_quiet_pages_are_counted(ledger: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Pages under Trusted Types on which something granted is not started are counted, and logged once."""
    policy = "script-src 'self'; require-trusted-types-for 'script'"
    visitor = Visitor(wrap(site(headers=[("content-security-policy", policy)]), ledger))
    assert b"googletagmanager" not in visitor.get().body
    assert visitor.app.site.tally.quiet == {}
    visitor.post("grant_all")
    caplog.clear()
    for _ in range(2):
        page = visitor.get("/somebody")
        assert b" data-quiet" in page.body
        assert b"googletagmanager" not in page.body
        assert "google" not in (page.header("content-security-policy") or "")
    assert visitor.app.site.tally.quiet == {"Trusted Types": 2}
    assert [line for line in caplog.messages if "Trusted Types forbids it" in line] == caplog.messages[:1]
    assert "somebody" not in caplog.text


def test_other_types_are_not_counted(ledger: Path) -> None:
    """JSON, images and the like are no documents."""
    app = wrap(site(kind="application/json"), ledger)
    get(app)
    assert app.site.tally.documents == {}


def test_decisions_are_counted_by_kind(ledger: Path) -> None:
    """Decisions are counted by what they did, or by the status of a refusal to; the ledger is timed."""
    visitor = Visitor(wrap(site(), ledger))
    visitor.get()
    before = told()
    for decision in ("grant_all", "grant_all", "withdraw"):
        visitor.post(decision)
    visitor.post("grant_all", notice="0" * 64)
    visitor.post("deny_all", headers={"sec-fetch-site": "cross-site"})
    assert visitor.app.site.tally.decisions == {"given": 1, "repeated": 1, "withdrawn": 1, "409": 1, "403": 1}
    assert difference(before, "gem_consent.decisions", "withdrawn") == 1
    assert difference(before, "gem_consent.ledger.duration") == 2
    assert told()["gem_consent.ledger.queue"][""] == 0


def test_durations_are_told_apart(ledger: Path) -> None:
    """The histogram's bounds are made for seconds: a commit does not count as one of five seconds."""
    visitor = Visitor(wrap(site(), ledger))
    visitor.get()
    visitor.post("grant_all")
    data = READER.get_metrics_data()
    assert data is not None
    (bounds,) = {
        point.explicit_bounds
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        if metric.name == "gem_consent.ledger.duration" and isinstance(point, HistogramDataPoint)
    }
    assert sum(bound < 1 for bound in bounds) > 5


def test_older_opentelemetry_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """An API that takes no bounds has its own."""
    made: list[str] = []

    class Meter:
        def create_histogram(self, name: str, unit: str, description: str) -> Any:
            made.append(name)
            return SimpleNamespace(record=print)

        def __getattr__(self, name: str) -> Any:
            return lambda *given: None

    monkeypatch.setattr(metrics, "get_meter", lambda name: Meter())
    assert _made() is print
    assert made == ["gem_consent.ledger.duration"]


def test_bad_cookies_are_counted(ledger: Path) -> None:
    """A consent cookie that does not verify is counted; none or a good one is not."""
    app = wrap(site(), ledger)
    visitor = Visitor(app)
    visitor.post("deny_all")
    visitor.get()
    before = told()
    get(app, headers={"cookie": "__Host-gem_consent=forged"})
    assert (app.site.cookie.rejected, difference(before, "gem_consent.cookies.invalid")) == (1, 1)


def test_figures_are_told_in_the_log(ledger: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At level INFO a line says every five minutes what was counted since the last, if anything was."""
    app = wrap(site(), ledger)
    clock = app.site.clock
    assert isinstance(clock, Clock)
    with caplog.at_level(logging.INFO, "gem_consent"):
        get(app)
        get(app)
        clock.seconds += 300
        get(app)
        clock.seconds += 300
        get(app, headers={"accept": "image/png"})
    assert [line for line in caplog.messages if "since the last line" in line] == [
        "since the last line like this one: documents changed 2; 0 events wait",
        "since the last line like this one: documents changed 1; 0 events wait",
    ]


def test_ledger_is_timed_in_the_log(ledger: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The line also says how long decisions waited for the ledger since the last, if there were any."""
    tally = wrap(site(), ledger).site.tally
    with caplog.at_level(logging.INFO, "gem_consent"):
        for seconds in (0.002, 0.010):
            tally.recorded(seconds)
        tally.decisions["given"] += 2
        tally.report(START)
        tally.decisions["repeated"] += 1
        tally.report(START + 300)
    assert caplog.messages == [
        "since the last line like this one: decisions given 2; "
        "the ledger took 6 ms on average, 10 ms at most; 0 events wait",
        "since the last line like this one: decisions repeated 1; 0 events wait",
    ]


def test_durations_fill_no_memory(ledger: Path) -> None:
    """What is timed is kept until the next line, and no more of it than the last ten thousand."""
    tally = wrap(site(), ledger).site.tally
    for _ in range(10_001):
        tally.recorded(0.001)
    assert len(tally._seconds) == 10_000


def test_nothing_personal_is_counted(ledger: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No address, path, cookie or visitor's number is in any figure or line."""
    visitor = Visitor(wrap(site(headers=[("set-cookie", "theme_4711=value-of-mine")]), ledger))
    with caplog.at_level(logging.DEBUG, "gem_consent"):
        visitor.post("grant_all")
        visitor.get("/somebody/page?name=somebody")
        visitor.app.site.tally.report(START)
    subject = visitor.cookies["__Host-gem_consent"].split(".")[0]
    everything = f"{told()} {caplog.messages} {visitor.app.site.tally.__dict__}"
    for personal in ("203.0.113.77", "somebody", "4711", "value-of-mine", subject):
        assert personal not in everything


def test_opentelemetry_is_not_needed() -> None:
    """Without its packages the figures are counted and told in the log all the same."""
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from gem_consent.telemetry import Tally\n"
        "tally = Tally(int, int, int); tally.report(1); tally.recorded(0.1)\n"
        "tally.documents['changed'] += 1; tally.report(400); print(tally.report_at)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "700\n"


def test_broken_opentelemetry_stops_nothing(
    ledger: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where OpenTelemetry itself fails, as by a provider that is not there, the site goes on without."""
    monkeypatch.setattr("gem_consent.telemetry._durations", [])
    monkeypatch.setattr(metrics, "get_meter", lambda name: next(iter(())))
    app = wrap(site(), ledger)
    assert [get(app).status for _ in range(2)] == [200, 200]
    assert caplog.messages == ["OpenTelemetry takes no metrics, so the log alone has them: StopIteration()"]


def test_import_leaves_opentelemetry_alone() -> None:
    """Making the middleware imports nothing of it; the first request does."""
    program = "import sys, gem_consent; print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_middlewares_add_up(ledger: Path, tmp_path: Path) -> None:
    """Two middlewares of one process are one series."""
    apps = [wrap(site(), path) for path in (ledger, tmp_path / "other.db")]
    for app in apps:
        get(app)
    before = told()
    for app in apps:
        assert isinstance(app, ConsentMiddleware)
        get(app)
    assert difference(before, "gem_consent.documents", "changed") == 2
