"""Whether a ledger still holds what was written: every row, the tree over them, and what was signed of it.

One read transaction, streamed, with flat memory; it writes nothing and repairs nothing. Imports go one way:
``whole`` puts the parts in order; each part reads one thing, and is given what it needs of the others.
"""

from __future__ import annotations

from gem_consent.ledger.verification.faults import MAX_FAULTS, Fault
from gem_consent.ledger.verification.report import Report
from gem_consent.ledger.verification.whole import count, verify

__all__ = ["MAX_FAULTS", "Fault", "Report", "count", "verify"]
