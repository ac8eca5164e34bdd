"""The ledger's inventory of cookies: which were seen, never on whom; no part of what is proved."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from sqlalchemy import Connection, insert, select, update

from gem_consent.inventory import Seen
from gem_consent.ledger.schema import cookies

__all__ = ["add_cookies", "stored_cookies"]

_MAX_ATTRIBUTE_CHARACTERS = 255


def add_cookies(connection: Connection, seen: Iterable[Seen]) -> None:
    """Merge sightings into what is stored, within the transaction that is open."""
    known = {one.name: one for one in stored_cookies(connection)}
    for one in seen:
        before = known.get(one.name)
        row = asdict(one if before is None else before.merged(one))
        row["attributes"] = row["attributes"][:_MAX_ATTRIBUTE_CHARACTERS]
        if before is None:
            connection.execute(insert(cookies).values(**row))
        else:
            connection.execute(update(cookies).where(cookies.c.name == one.name).values(**row))


def stored_cookies(connection: Connection) -> list[Seen]:
    """Give every cookie that was seen, by name."""
    return [Seen(**row) for row in connection.execute(select(cookies).order_by(cookies.c.name)).mappings()]
