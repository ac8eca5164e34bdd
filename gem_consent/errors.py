"""The library's exceptions, named by what the caller does next; a visitor's bad cookie is never one."""

from __future__ import annotations

__all__ = [
    "ConfigurationError",
    "ConsentError",
    "LedgerError",
    "LedgerUnavailable",
    "PolicyError",
    "ProofError",
]


class ConsentError(Exception):
    """Anything that gem_consent raises: catch this to catch all of it."""


class ConfigurationError(ConsentError, ValueError):
    """A setting is missing or wrong: correct it; the application refuses to start until then."""


class PolicyError(ConfigurationError):
    """A policy, or a question put to it, does not hold: correct the field or the name in the message."""


class LedgerError(ConsentError):
    """A ledger cannot be used as it stands: follow the remedy in the message."""


class LedgerUnavailable(LedgerError):
    """The ledger did not answer this time: nothing was written, and trying again later is right."""


class ProofError(ConsentError):
    """A checkpoint, key or proof does not hold: do not rely on it; the message says what is wrong with it."""
