"""What every test shares: where a skipped test counts as a failure, and patience with slow machines."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# A machine that others use too is slow now and then, which says nothing about the code.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail the run on any skip where GEM_CONSENT_NO_SKIPS is set, as continuous integration does."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if reporter and skipped and os.environ.get("GEM_CONSENT_NO_SKIPS") and exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"GEM_CONSENT_NO_SKIPS: {len(skipped)} skipped, which fails this run", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
