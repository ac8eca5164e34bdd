"""Ledgers of a million rows in a minute: valid in every row, tile and index, written past the writer.

Four events in five are a new visitor's, the fifth changes the mind of one who came five events before.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from ledgers import SIGNING_SECRET, START, make_event, make_notice, url_of

from gem_consent.ledger.rows import row_from
from gem_consent.ledger.store import Ledger
from gem_consent.proof.event import Event, commitment, event_id, utc_text
from gem_consent.proof.tree import EMPTY, TILE_WIDTH, Frontier, TileHash, leaf_hash

__all__ = ["big_ledger", "made_up_events"]

BATCH_ROWS = 10_000
_DEVICES = (
    ("Firefox 145", "Linux", "desktop"),
    ("Chrome 142", "Android", "mobile"),
    ("Safari 26", "iOS", "mobile"),
)


def made_up_events(count: int, seed: int = 0, start: int = 0) -> Iterator[Event]:
    """Give events as a site would make them, one each 20 ms, linked to their subject's one before."""
    chance = random.Random(seed)
    model = make_event(notice=make_notice().digest, library="gem_consent 0.1.0", site="www.example.com")
    recent: list[Event] = []
    for number in range(start, start + count):
        at = START + timedelta(milliseconds=20 * number)
        former = recent.pop(0) if number % 5 == 4 and recent else None
        given = not former and bool(number % 3)
        browser, system, device = chance.choice(_DEVICES)
        event = replace(
            model,
            id=event_id(at),
            time=utc_text(at),
            subject=former.subject if former else f"{chance.getrandbits(128):032x}"[:22],
            state="given" if given else "withdrawn" if former else "refused",
            action="grant_all" if given else "withdraw" if former else "deny_all",
            purposes={"analytics": given, "marketing": given},
            expires=utc_text(at + timedelta(days=393)),
            previous=former.id if former else None,
            browser=browser,
            system=system,
            device=device,
        )
        if not former:
            recent = [*recent[-4:], event]
        yield event


def big_ledger(folder: Path, size: int) -> Path:
    """Give a valid, signed ledger of so many rows, made if the folder has none."""
    path = folder / f"ledger-{size}.db"
    if path.exists():
        return path
    part = folder / f"ledger-{size}.part"
    for name in (part, Path(f"{part}-wal"), Path(f"{part}-shm"), Path(f"{part}-lock")):
        name.unlink(missing_ok=True)
    with closing(Ledger.open(url_of(part))) as book:
        book.store_notices([make_notice()])
    with closing(sqlite3.connect(part, isolation_level=None)) as connection:
        _fill(connection, size)
    with closing(Ledger.open(url_of(part))) as book:
        book.sign(SIGNING_SECRET, at_once=True)
    part.rename(path)
    with suppress(FileNotFoundError):
        Path(f"{part}-lock").unlink()
    return path


def _fill(connection: sqlite3.Connection, size: int) -> None:
    # A crash leaves a part of a ledger, which nobody takes for one: it has its name only once it is whole.
    connection.execute("PRAGMA synchronous=OFF")
    indexes = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'events' AND sql IS NOT NULL"
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    frontier, tiles = EMPTY, {}  # type: ignore[var-annotated]
    for batch in _batches(_rows(size)):
        connection.execute("BEGIN")
        _insert(connection, "events", batch)
        connection.execute("COMMIT")
        frontier, finished = frontier.grow(row["leaf"] for row in batch)
        _gather(tiles, finished)
    connection.execute("BEGIN")
    _insert(connection, "tiles", _tile_rows(tiles))
    _insert(connection, "purposes", [{"id": id_, "since": 0} for id_ in ("analytics", "marketing") if size])
    _grow(connection, frontier)
    for _, sql in indexes:
        connection.execute(sql)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _rows(size: int) -> Iterator[dict[str, Any]]:
    for position, event in enumerate(made_up_events(size)):
        # The salt of a benchmark is no secret: a counter's digest costs less than the system's randomness.
        salt = hashlib.sha256(position.to_bytes(8)).digest()[:16]
        committed = commitment(salt, event)
        proof = {"position": position, "commitment": committed, "leaf": leaf_hash(committed), "salt": salt}
        yield proof | row_from(event)


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(islice(rows, BATCH_ROWS)):
        yield batch


def _insert(connection: sqlite3.Connection, table: str, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        names = list(rows[0])
        marks = ", ".join(f":{name}" for name in names)
        connection.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", rows)


def _gather(tiles: dict[tuple[int, int], list[bytes]], finished: Iterable[TileHash]) -> None:
    for one in finished:
        tiles.setdefault((one.level, one.index // TILE_WIDTH), []).append(one.digest)


def _tile_rows(tiles: dict[tuple[int, int], list[bytes]]) -> list[dict[str, Any]]:
    return [
        {"level": level, "tile": tile, "hashes": b"".join(hashes)} for (level, tile), hashes in tiles.items()
    ]


def _grow(connection: sqlite3.Connection, frontier: Frontier) -> None:
    connection.execute("UPDATE ledger SET size = ?, frontier = ?", (frontier.size, frontier.encode()))
