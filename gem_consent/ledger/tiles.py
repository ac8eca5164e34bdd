"""The tree's interior on disk: tiles of level 1 and up (C2SP tlog-tiles); level 0 is the events' leaves."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, insert, select, update

from gem_consent.ledger.schema import events, tiles
from gem_consent.proof.tree import HASH_BYTES, TILE_WIDTH, ReadTile, TileHash

__all__ = ["add_to_tiles", "tile_reader"]

_ONE = select(tiles.c.hashes).where(
    tiles.c.level == bindparam("at_level"), tiles.c.tile == bindparam("at_tile")
)
_GROW = update(tiles).where(tiles.c.level == bindparam("at_level"), tiles.c.tile == bindparam("at_tile"))
_LEAVES = (
    select(events.c.leaf)
    .where(events.c.position >= bindparam("start"), events.c.position < bindparam("end"))
    .order_by(events.c.position)
)


def add_to_tiles(connection: Connection, finished: Sequence[TileHash]) -> None:
    """Store what ``Frontier.grow`` finished, in the transaction of the leaves that finished it.

    Raises:
        ValueError: a tile does not hold what must be there before.
    """
    grown: dict[tuple[int, int], list[TileHash]] = {}
    for one in finished:
        grown.setdefault((one.level, one.index // TILE_WIDTH), []).append(one)
    for (level, tile), hashes in grown.items():
        _grow(connection, level, tile, hashes[0].index % TILE_WIDTH, b"".join(one.digest for one in hashes))


def _grow(connection: Connection, level: int, tile: int, at: int, added: bytes) -> None:
    if at == 0:
        connection.execute(insert(tiles), {"level": level, "tile": tile, "hashes": added})
        return
    place = {"at_level": level, "at_tile": tile}
    stored = connection.execute(_ONE, place).scalar_one_or_none()
    if not isinstance(stored, bytes) or len(stored) != at * HASH_BYTES:
        raise ValueError(f"tile {tile} of level {level} should hold {at} hashes")
    connection.execute(_GROW, place | {"hashes": stored + added})


def tile_reader(connection: Connection) -> ReadTile:
    """Give what reads tiles for proofs; whatever is missing, ``tree.py`` finds missing."""

    def read(level: int, start: int, count: int) -> Sequence[bytes]:
        if level == 0:
            return list(connection.scalars(_LEAVES, {"start": start, "end": start + count}))
        place = {"at_level": level, "at_tile": start // TILE_WIDTH}
        stored = connection.execute(_ONE, place).scalar_one_or_none() or b""
        return [
            stored[at : at + HASH_BYTES] for at in range(0, min(len(stored), count * HASH_BYTES), HASH_BYTES)
        ]

    return read
