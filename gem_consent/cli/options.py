"""Options that several commands take, worded once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = ["LedgerUrl", "Output", "PublicKeys", "Rewrite", "Since", "Until"]

LedgerUrl: TypeAlias = Annotated[
    str,
    typer.Option(
        "--ledger",
        envvar="GEM_CONSENT_LEDGER",
        metavar="URL",
        help="The ledger: sqlite:///consent.db, sqlite:////absolute/path/consent.db or postgresql://host/database.",
    ),
]
Since: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="DATE",
        help="From then on: 2026-01-31 (in UTC), or an instant such as 2026-01-31T09:30:00+01:00.",
    ),
]
Until: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="Until then: a date's whole day included, an instant itself not."),
]
Output: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write to this file, replaced once all is written, for its owner alone to read. "
        "Without it: standard output.",
    ),
]
PublicKeys: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--public-key", metavar="KEY", help="A public key that was kept elsewhere; may be repeated."
    ),
]
Rewrite: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--rewrite",
        help="Then write the database anew, without what its free space may still hold. The site cannot "
        "record decisions meanwhile.",
    ),
]
