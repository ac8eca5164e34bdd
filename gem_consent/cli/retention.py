"""The rule of retention that a command goes by: a policy file's, the options', or the library's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from gem_consent.retention import Retention

__all__ = ["Keep", "KeepRefusals", "PolicyFile", "rule_of"]

Keep: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="GEM_CONSENT_KEEP",
        metavar="TERM",
        help="How long consents and withdrawals are kept: '5 years after end of consent' unless told "
        "otherwise, or such as '3 years after year end'.",
    ),
]
KeepRefusals: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="GEM_CONSENT_KEEP_REFUSALS",
        metavar="TERM",
        help="How long refusals are kept: '13 months' unless told otherwise.",
    ),
]
PolicyFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="Take the terms from the retention in this policy file."),
]


def rule_of(policy: Path | None, keep: str | None, keep_refusals: str | None) -> Retention:
    """Give the rule: what an option says goes before the policy file.

    Raises:
        PolicyError: a term, or the file, cannot be read.
    """
    # Late: the policy file takes 0.1 s to import, and --help needs none of it.
    from gem_consent.policy_file import load_policy
    from gem_consent.retention import Retention

    declared = load_policy(policy).retention if policy else None
    rule = declared or Retention()
    return Retention(consents=keep or rule.consents, refusals=keep_refusals or rule.refusals)
