"""The notices and the policies: each is what its name says, and was answered."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from gem_consent.errors import ProofError
from gem_consent.evidence_check.archive import Archive
from gem_consent.evidence_cover import policy_file

__all__ = ["read_notices"]


def read_notices(archive: Archive, answered: Iterable[str]) -> dict[str, bytes]:
    """Compare each notice with its digest and its policy; give the policies by the notice's digest.

    Args:
        answered: the digests that rows answer.
    """
    digests = archive.notices
    if unasked := sorted(digests.difference(answered)):
        raise ProofError(f"No choice answers the notice {unasked[0]}: it was added")
    policies = {}
    for digest in sorted(digests):
        html = archive.content(f"notices/{digest}.html")
        if hashlib.sha256(html).hexdigest() != digest:
            raise ProofError(f"notices/{digest}.html is not the page that its name says: it was altered")
        policy = policy_file(html)
        if policy is not None:
            policies[digest] = policy
    held = archive.policies
    for digest in sorted(held | policies.keys()):
        name = f"policies/{digest}.json"
        if digest not in held or archive.content(name) != policies.get(digest):
            raise ProofError(f"{name} is not what the notice declares: altered, added or taken out")
    return policies
