"""Whether an evidence archive proves what it shows: read as a stranger's file, without any database.

Nothing is unpacked to disk; lines are read one by one, and memory does not grow with the archive.
Imports go one way: ``whole`` puts the parts in order; each part reads one thing, and is given what it needs.
"""

from __future__ import annotations

from gem_consent.evidence_check.report import Report, Window
from gem_consent.evidence_check.whole import check, count

__all__ = ["Report", "Window", "check", "count"]
