"""``gem-consent inventory``: the cookies that the site was seen to set, and who declared them."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from gem_consent.cli.options import LedgerUrl

if TYPE_CHECKING:
    from gem_consent.inventory import Seen

__all__ = ["inventory"]


def inventory(
    ledger: LedgerUrl,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """List the cookies that the site's own responses were seen to set; never a value, never of whom.

    \b
    Examples:
      gem-consent inventory --ledger sqlite:///consent.db
      gem-consent inventory --ledger sqlite:///consent.db --json
    """
    # Late: SQLAlchemy takes 0.2 s to import, and --help needs none of it.
    from gem_consent.ledger.store import Ledger

    with closing(Ledger.open(ledger, must_exist=True)) as book:
        seen = book.cookies()
    if as_json:
        typer.echo(json.dumps([_as_json(one) for one in seen], indent=2))
        return
    for one in seen:
        typer.echo(_line(one))
    if not seen:
        typer.echo("No cookie of the site's own was seen yet.")


def _line(one: Seen) -> str:
    parts = [
        one.name,
        f"first seen {_day(one.first)}",
        f"last seen {_day(one.last)}",
        _lifetime(one.lifetime),
        one.attributes or "no attributes",
        f"declared by {one.service}" if one.service else "NOT DECLARED",
        *_remarks(one),
    ]
    return "  ".join(parts)


def _remarks(one: Seen) -> list[str]:
    from gem_consent.inventory import exceeds

    return [f"LONGER THAN DECLARED ({_lifetime(one.declared)})"] if exceeds(one) else []


def _as_json(one: Seen) -> dict[str, object]:
    return asdict(one) | {"first": _day(one.first), "last": _day(one.last), "remarks": _remarks(one)}


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _lifetime(seconds: int | None) -> str:
    if seconds is None:
        return "until the browser closes"
    span = timedelta(seconds=seconds)
    return f"{span.days} days" if span.days else f"{seconds} seconds"
