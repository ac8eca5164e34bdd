"""What every test shares: where a skipped test counts as a failure, and patience with slow machines."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from ledgers import url_of
from postgres import Server, running_server

# A machine that others use too is slow now and then, which says nothing about the code.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL server that all tests of a run share."""
    with running_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Give the URL of a new place for a ledger, in each database in turn."""
    if request.param == "sqlite":
        numbers = itertools.count()
        return lambda: url_of(tmp_path / f"consent-{next(numbers)}.db")
    server: Server = request.getfixturevalue("postgres_server")
    return server.new_url


@pytest.fixture
def url(new_url: Callable[[], str]) -> str:
    """The URL of a place for a ledger, in each database in turn."""
    return new_url()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail the run on any skip where GEM_CONSENT_NO_SKIPS is set, as continuous integration does."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if reporter and skipped and os.environ.get("GEM_CONSENT_NO_SKIPS") and exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"GEM_CONSENT_NO_SKIPS: {len(skipped)} skipped, which fails this run", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
