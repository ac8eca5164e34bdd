"""What one visitor decided, and what follows from it; values and rules only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gem_consent.errors import PolicyError
from gem_consent.policy import Policy

__all__ = [
    "UNDECIDED",
    "Action",
    "Choice",
    "Consent",
    "State",
    "consent_from",
    "expires_at",
    "granted_by",
    "is_current",
    "state_after",
]

Action: TypeAlias = Literal["grant_all", "deny_all", "save", "withdraw", "grant", "deny"]
"""What a visitor pressed; the last two change the named purposes alone."""

State: TypeAlias = Literal["given", "refused", "withdrawn", "renewed"]
"""What a decision did, in the words of the W3C Data Privacy Vocabulary (ConsentGiven, ConsentRefused, …)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a visitor's cookie says once its signature is verified; it may be of an older policy, or over.

    Args:
        subject: the visitor's random id.
        fingerprint: the policy that was asked about.
        granted: the ids of the purposes that were granted.
        decided_at: when, in seconds since 1970 (UTC).
    """

    subject: str
    fingerprint: str
    granted: frozenset[str]
    decided_at: int

    def __hash__(self) -> int:
        # one field is enough to tell visitors apart, and it is looked up at each request
        return hash(self.subject)


@dataclass(frozen=True, slots=True)
class Consent:
    """What a visitor allows now.

    Args:
        subject: the visitor's random id; empty before the first decision.
        granted: the ids of the granted purposes; empty unless decided.
        purposes: each purpose of the policy, and whether it is allowed without asking.
        decided_at: when the choice was made, in seconds since 1970 (UTC); ``None`` while undecided.
        expires_at: when it ends, likewise.

    Example:
        >>> consent = Consent(subject="s", granted=frozenset({"analytics"}), decided_at=1, expires_at=2)
        >>> consent.is_decided, consent.allows("analytics")
        (True, True)
    """

    subject: str = ""
    granted: frozenset[str] = frozenset()
    purposes: Mapping[str, bool] | None = None
    decided_at: int | None = None
    expires_at: int | None = None

    @property
    def is_decided(self) -> bool:
        """Whether a valid choice stands; a page asks only while none does."""
        return self.decided_at is not None

    def allows(self, purpose: str) -> bool:
        """Say whether something may be done for this purpose now; necessary purposes always may.

        Raises:
            PolicyError: the site's policy has no such purpose (a misspelt one would
                otherwise stay silent for ever).
        """
        if purpose in self.granted:
            return True
        if self.purposes is None:
            return purpose == "necessary"
        if purpose not in self.purposes:
            raise PolicyError(f"purpose is {purpose!r}; allowed: one of {', '.join(self.purposes)}")
        return self.purposes[purpose]


UNDECIDED = Consent()
"""No choice has been made, or none that holds."""


def consent_from(choice: Choice | None, policy: Policy, now: int) -> Consent:
    """Hold a verified choice against today's policy and the clock.

    A choice made under another fingerprint grants nothing and is asked again, under the same subject; one
    whose time is over is as if there were none.
    """
    exempt = policy.exempt
    end = expires_at(choice.decided_at, policy) if choice is not None else 0
    if choice is None or now >= end:
        return Consent(purposes=exempt)
    if choice.fingerprint != policy.fingerprint:
        return Consent(subject=choice.subject, purposes=exempt)
    return Consent(
        subject=choice.subject,
        granted=frozenset(id_ for id_ in choice.granted if exempt.get(id_) is False),
        purposes=exempt,
        decided_at=choice.decided_at,
        expires_at=end,
    )


def is_current(choice: Choice, policy: Policy, now: int) -> bool:
    """Say whether a choice's time is not over: the server decides it, whatever the browser kept."""
    return now < expires_at(choice.decided_at, policy)


def expires_at(decided_at: int, policy: Policy) -> int:
    """Give the end of a choice made at this time, in seconds since 1970 (UTC)."""
    return decided_at + int(policy.lifetime.total_seconds())


def granted_by(
    action: Action, purposes: frozenset[str], policy: Policy, before: frozenset[str] = frozenset()
) -> frozenset[str]:
    """Give the purposes that are granted once a visitor pressed this.

    Args:
        purposes: what was ticked, for ``save``, or is meant, for ``grant`` and ``deny``: whatever an outdated
            page sends with another refusal, it stays one. Necessary purposes may be among them and change
            nothing.
        before: what was granted until now, for ``grant`` and ``deny`` to leave as it is.

    Raises:
        PolicyError: a purpose that is to be granted is none of the policy's.
    """
    asked = frozenset(purpose.id for purpose in policy.asked)
    if action == "grant_all":
        return asked
    if action == "deny":
        return before - purposes
    if action not in ("save", "grant"):
        return frozenset()
    for purpose in purposes:
        policy.require_purpose(purpose)
    return (purposes | before if action == "grant" else purposes) & asked


def state_after(previous: Choice | None, consent: Consent, granted: frozenset[str]) -> State | None:
    """Name what a decision does, or ``None`` where it repeats the choice that stands and nothing is written.

    Purposes that the policy no longer asks about are left out: no visitor withdrew them.

    Args:
        previous: the verified choice in the visitor's cookie, even if it is over or of another policy.
        consent: what that choice still allows now.
        granted: what the visitor grants now.
    """
    if consent.is_decided and consent.granted == granted:
        return None
    before = previous.granted if previous else frozenset()
    if consent.purposes is not None:
        before &= {id_ for id_, is_necessary in consent.purposes.items() if not is_necessary}
    if granted and granted == before:
        return "renewed"
    if granted - before:
        return "given"
    return "withdrawn" if before - granted else "refused"
