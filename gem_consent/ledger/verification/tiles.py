"""The tree's stored tiles beside those that the rows make; at most one tile a level is in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from gem_consent.ledger.schema import events, tiles
from gem_consent.ledger.verification.source import Source, raw
from gem_consent.proof.tree import HASH_BYTES, TILE_HEIGHT, TILE_WIDTH, TileHash

__all__ = ["Tiles", "out_of_order"]


class Tiles:
    """Compares each hash that the rows finish with the stored one."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._stored: dict[int, tuple[int, object]] = {}
        self._wrong: dict[int, int] = {}

    def compare(self, finished: Sequence[TileHash]) -> None:
        """Compare hashes; the first that differs of each level is remembered."""
        for one in finished:
            at = one.index % TILE_WIDTH * HASH_BYTES
            stored = self._tile(one.level, one.index // TILE_WIDTH)
            if not isinstance(stored, bytes) or stored[at : at + HASH_BYTES] != one.digest:
                self._wrong.setdefault(one.level, one.index)

    def _tile(self, level: int, tile: int) -> object:
        if self._stored.get(level, (-1, None))[0] != tile:
            wanted = select(raw(tiles.c.hashes)).where(tiles.c.level == level, tiles.c.tile == tile)
            self._stored[level] = tile, self._source.connection.scalar(wanted)
        return self._stored[level][1]

    def finish(self, size: int, fitting: int) -> None:
        """Say what differs: the rows, unless a checkpoint or the frontier agrees with them.

        Args:
            size: the tree's.
            fitting: how many of its first rows a checkpoint or the frontier agrees with.
        """
        for level, index in self._wrong.items():
            width = 1 << TILE_HEIGHT * level
            start, end = index * width, (index + 1) * width
            if end <= fitting:
                self._source.faults.found(
                    f"hash {index} of level {level} of the tree's tiles was altered: the rows fit the rest"
                )
            elif level == 1:
                self._source.faults.found(
                    f"the rows from {start} to {end - 1} no longer make up their tile: some were swapped or "
                    "rewritten, or the tile was altered",
                    out_of_order(self._source.connection, start, end),
                )
        if [tuple(row) for row in self._shapes()] != list(_shapes(size)):
            self._source.faults.found(
                "the tree's tiles are not those of a tree of its size: a row was dropped, added or cut"
            )

    def _shapes(self) -> Iterator[Any]:
        query = select(raw(tiles.c.level), raw(tiles.c.tile), func.length(tiles.c.hashes))
        for batch in self._source.stream(query.order_by(tiles.c.level, tiles.c.tile), "the tiles"):
            yield from batch


def _shapes(size: int) -> Iterator[tuple[int, int, int]]:
    """Give level, tile and length of every tile that a tree of a size has."""
    level = 1
    while hashes := size >> TILE_HEIGHT * level:
        for tile in range((hashes + TILE_WIDTH - 1) // TILE_WIDTH):
            yield level, tile, min(TILE_WIDTH, hashes - tile * TILE_WIDTH) * HASH_BYTES
        level += 1


def out_of_order(connection: Connection, start: int, end: int) -> int:
    """Give the first row of a range whose id is later than the next one's, or the range's first.

    Ids are UUIDv7, so they sort by time; where rows are known to have been swapped, this tells where to look.
    """
    following = events.alias("following")
    first = (
        select(func.min(events.c.position))
        .join(following, following.c.position == events.c.position + 1)
        .where(events.c.position >= start, events.c.position < end, events.c.id > following.c.id)
    )
    position = connection.scalar(first)
    return start if position is None else int(position)
