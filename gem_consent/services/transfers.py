"""What transfers outside the European Economic Area commonly rest on (GDPR art. 44 to 49)."""

from __future__ import annotations

from gem_consent.fields import Message

__all__ = ["DATA_PRIVACY_FRAMEWORK", "STANDARD_CLAUSES", "UNITED_KINGDOM_ADEQUACY"]

DATA_PRIVACY_FRAMEWORK = Message(
    "EU-US Data Privacy Framework, adequacy decision (EU) 2023/1795 of 10 July 2023"
)
STANDARD_CLAUSES = Message(
    "Standard contractual clauses of the European Commission, decision (EU) 2021/914 of 4 June 2021"
)
UNITED_KINGDOM_ADEQUACY = Message(
    "Adequacy decision (EU) 2021/1772 on the United Kingdom, renewed in December 2025"
)
