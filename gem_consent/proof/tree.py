"""The Merkle tree of RFC 9162, section 2.1: leaves, nodes, the frontier from which it grows, and its proofs.

Pure: it holds hashes of commitments, never an event. Interior nodes are kept elsewhere, as the tiles of C2SP
tlog-tiles: a hash of level ``n`` covers ``256 ** n`` leaves, level 0 being the leaves themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gem_consent.errors import ProofError

__all__ = [
    "EMPTY",
    "EMPTY_ROOT",
    "HASH_BYTES",
    "MAX_SIZE",
    "TILE_HEIGHT",
    "TILE_WIDTH",
    "Frontier",
    "ReadTile",
    "TileHash",
    "consistency_proof",
    "frontier_of",
    "heights_between",
    "inclusion_proof",
    "leaf_hash",
    "node_hash",
    "root_of",
    "subtrees_between",
    "verify_consistency",
    "verify_inclusion",
]

HASH_BYTES = 32
MAX_SIZE = 2**63 - 1
"""How many leaves a tree may have: what a BIGINT holds, and what Go's logs do."""

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT

ReadTile: TypeAlias = Callable[[int, int, int], Sequence[bytes]]
"""``read(level, start, count)`` gives ``count`` hashes of a level from the ``start``-th on, in order.

They are of one tile: ``start`` is a multiple of 256, ``count`` 256 at most. For a tree of one size a tile is
always asked for in the same words: for many proofs, wrap the reader in a ``functools.lru_cache``.
"""

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves (RFC 9162, section 2.1.1)."""


def leaf_hash(commitment: bytes) -> bytes:
    """Give the hash of a leaf, ``SHA-256(0x00 || commitment)`` (RFC 9162, section 2.1.1)."""
    return hashlib.sha256(b"\x00" + commitment).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Give the hash of an interior node, ``SHA-256(0x01 || left || right)`` (RFC 9162, section 2.1.1).

    The prefix differs from a leaf's so that no leaf can pass for a node (second-preimage resistance).
    """
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class TileHash:
    """One hash of a tile: the root of the ``index``-th perfect subtree of ``256 ** level`` leaves.

    Args:
        level: the tile's level, 1 at least: level 0 is the leaves.
        index: which subtree of that width, from 0.
        digest: its root, 32 bytes; it never changes once its last leaf is there.
    """

    level: int
    index: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Frontier:
    """The roots of the perfect subtrees that a tree is made of: all it takes to append and to know its root.

    Args:
        size: how many leaves the tree has.
        roots: the subtrees' roots, largest first, 32 bytes each: one for each bit that is set in ``size``.

    Raises:
        ValueError: the roots do not fit the size.

    Example:
        >>> tree = EMPTY.append(leaf_hash(b"first")).append(leaf_hash(b"second"))
        >>> tree.size, tree.root == node_hash(leaf_hash(b"first"), leaf_hash(b"second"))
        (2, True)
    """

    size: int = 0
    roots: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"A tree cannot have {self.size} leaves")
        if len(self.roots) != self.size.bit_count() or any(len(root) != HASH_BYTES for root in self.roots):
            raise ValueError(
                f"The frontier of {self.size} leaves has {self.size.bit_count()} hashes of {HASH_BYTES} "
                f"bytes; given: {len(self.roots)} of {sorted({len(root) for root in self.roots})} bytes"
            )

    def append(self, leaf: bytes) -> Frontier:
        """Give the frontier with one more leaf, the hash of which is given."""
        return self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> Frontier:
        """Give the frontier with more leaves, in order."""
        return self.grow(leaves)[0]

    def grow(self, leaves: Iterable[bytes]) -> tuple[Frontier, list[TileHash]]:
        """Give the frontier with more leaves, in order, and what they finish in the tiles of level 1 and up.

        Each low bit that is set in the size is a finished subtree as tall as the one in hand: they join.
        Every eighth joint on the way up belongs to a tile (C2SP tlog-tiles, "Merkle Tree").

        Returns:
            The frontier, and the hashes to be stored with it, in the order they were finished.
        """
        size, roots, finished = self.size, list(self.roots), []
        for leaf in leaves:
            node, carry, height = leaf, size, 0
            while carry & 1:
                node = node_hash(roots.pop(), node)
                carry >>= 1
                height += 1
                if not height % TILE_HEIGHT:
                    finished.append(TileHash(height // TILE_HEIGHT, size >> height, node))
            roots.append(node)
            size += 1
        return Frontier(size, tuple(roots)), finished

    def join(self, height: int, root: bytes) -> Frontier:
        """Give the frontier with a whole perfect subtree more, of which only the root is known.

        Args:
            height: the subtree has ``2 ** height`` leaves.
            root: its root, 32 bytes.

        Raises:
            ValueError: no perfect subtree of that height can begin at this size.
        """
        if not 0 <= height < MAX_SIZE.bit_length() or self.size & ((1 << height) - 1):
            raise ValueError(f"No perfect subtree of height {height} begins at leaf {self.size}")
        node, carry, roots = root, self.size >> height, list(self.roots)
        while carry & 1:
            node = node_hash(roots.pop(), node)
            carry >>= 1
        return Frontier(self.size + (1 << height), (*roots, node))

    @property
    def root(self) -> bytes:
        """The root of the whole tree, 32 bytes (RFC 9162, section 2.1.1)."""
        return _joined(self.roots) if self.roots else EMPTY_ROOT

    def encode(self) -> bytes:
        """Give the roots as bytes, one after the other, largest first; the size is kept beside them."""
        return b"".join(self.roots)

    @classmethod
    def decode(cls, size: int, encoded: bytes) -> Frontier:
        """Read what ``encode`` wrote for a tree of this size.

        Raises:
            ValueError: the length is not 32 bytes for each bit that is set in the size.
        """
        return cls(size, tuple(encoded[at : at + HASH_BYTES] for at in range(0, len(encoded), HASH_BYTES)))


EMPTY = Frontier()
"""The frontier of a tree without leaves."""


def frontier_of(size: int, read: ReadTile) -> Frontier:
    """Give the frontier that the tree had at this size, from its tiles: where to grow on from a checkpoint.

    Raises:
        ValueError: the size is negative or beyond ``MAX_SIZE``.
        ProofError: the reader gave other than what it was asked for.
    """
    _require(0 <= size <= MAX_SIZE, f"No tree has {size} leaves")
    tiles = _Tiles(size, read)
    return Frontier(size, tuple(tiles.subtree(*one) for one in _perfect(0, size)))


def root_of(size: int, read: ReadTile) -> bytes:
    """Give the root that the tree had at this size, 32 bytes, from its tiles.

    Raises:
        ValueError, ProofError: as ``frontier_of``.
    """
    return frontier_of(size, read).root


def inclusion_proof(index: int, size: int, read: ReadTile) -> list[bytes]:
    """Prove that a leaf is in the tree of a size: ``PATH(index, D[size])`` (RFC 9162, section 2.1.3.1).

    Two tiles a level are read at most: the leaf's and the one at the tree's right edge.

    Returns:
        The siblings on the leaf's way to the root, 32 bytes each, lowest first.

    Raises:
        ValueError: the tree of that size has no such leaf.
        ProofError: the reader gave other than what it was asked for.
    """
    _require(0 <= index < size <= MAX_SIZE, f"A tree of {size} leaves has no leaf {index}")
    siblings, start, end = [], 0, size
    while end - start > 1:
        middle = _middle(start, end)
        if index < middle:
            siblings.append((middle, end))
            end = middle
        else:
            siblings.append((start, middle))
            start = middle
    return _roots(siblings, size, read)


def heights_between(start: int, end: int) -> Iterator[int]:
    """Give the heights of the perfect subtrees that lie side by side between two leaves, in order.

    Each is as tall as its place in the tree and the leaves that are left allow: so the frontier can ``join``
    them one after the other.

    Example:
        >>> list(heights_between(3, 9)), list(heights_between(0, 5))
        ([0, 2, 0], [2, 0])
    """
    while start < end:
        widest = (end - start).bit_length() - 1
        height = min(widest, (start & -start).bit_length() - 1) if start else widest
        yield height
        start += 1 << height


def subtrees_between(start: int, end: int, size: int, read: ReadTile) -> list[bytes]:
    """Give the roots of the subtrees that ``heights_between`` names, from the tiles of a tree of this size.

    Raises:
        ProofError: the reader gave other than what it was asked for.
    """
    tiles, roots = _Tiles(size, read), []
    for height in heights_between(start, end):
        roots.append(tiles.subtree(start, height))
        start += 1 << height
    return roots


def consistency_proof(first: int, second: int, read: ReadTile) -> list[bytes]:
    """Prove that the tree of one size is the beginning of another: ``PROOF`` (RFC 9162, section 2.1.4.1).

    Args:
        first: the smaller size; nothing need be proven of 0, and the proof is empty.
        second: the larger size; the same one needs no proof either.
        read: gives the hashes of the tiles.

    Returns:
        The hashes from which both roots can be made, 32 bytes each, lowest first.

    Raises:
        ValueError: the sizes are not in order.
        ProofError: the reader gave other than what it was asked for.
    """
    _require(0 <= first <= second <= MAX_SIZE, f"A tree of {first} leaves does not grow to {second}")
    if first == 0:
        return []
    subtrees, start, end = [], 0, second
    while end != first:
        middle = _middle(start, end)
        if first <= middle:
            subtrees.append((middle, end))
            end = middle
        else:
            subtrees.append((start, middle))
            start = middle
    if start:  # else it is the whole first tree, whose root the verifier has
        subtrees.append((start, end))
    return _roots(subtrees, second, read)


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Say whether a proof leads from a leaf to the root, as RFC 9162, section 2.1.3.2, has it.

    Args:
        leaf: the leaf's hash, as ``leaf_hash`` gives it.
        index: the leaf's position, from 0.
        size: how many leaves the tree has.
        proof: what ``inclusion_proof`` gave; one hash more or less and it is false.
        root: the tree's root, from a checkpoint that was verified.

    Whatever is given, nothing is raised.
    """
    if not (_are_sizes(index, size) and index < size and _are_hashes([leaf, root]) and _are_hashes(proof)):
        return False
    node, at, last = leaf, index, size - 1
    for sibling in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            node = node_hash(sibling, node)
            at, last = _climbed(at, last)
        else:
            node = node_hash(node, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and node == root


def verify_consistency(
    first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Say whether a proof shows one tree to be the beginning of another (RFC 9162, section 2.1.4.2).

    The empty tree begins every other: then the proof must be empty and the first root ``EMPTY_ROOT``. For
    trees of one size it must be empty and the roots the same. Whatever is given, nothing is raised.
    """
    if not (_are_sizes(first, second) and _are_hashes([first_root, second_root]) and _are_hashes(proof)):
        return False
    if first == 0:
        return not proof and first_root == EMPTY_ROOT and (second > 0 or second_root == EMPTY_ROOT)
    if first >= second:
        return not proof and first == second and first_root == second_root
    hashes = list(proof) if first & (first - 1) else [first_root, *proof]
    if not hashes:
        return False
    old = new = hashes[0]
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            at, last = _climbed(at, last)
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root


class _Tiles:
    """The tiles that one proof is made of: each read once, and no further than the tree's size."""

    def __init__(self, size: int, read: ReadTile) -> None:
        self._size = size
        self._read = read
        self._tiles: dict[tuple[int, int], Sequence[bytes]] = {}

    def root(self, start: int, end: int) -> bytes:
        """Give ``MTH(D[start:end])``, where the RFC's splitting leads to that range."""
        return _joined([self.subtree(*one) for one in _perfect(start, end)])

    def subtree(self, start: int, height: int) -> bytes:
        """Give the root of the perfect subtree that begins at a leaf: from 128 hashes of one tile at most."""
        level, rest = divmod(height, TILE_HEIGHT)
        first = start >> TILE_HEIGHT * level
        at = first % TILE_WIDTH
        row = self._tile(level, first - at)[at : at + (1 << rest)]
        while len(row) > 1:
            row = [node_hash(left, right) for left, right in zip(row[::2], row[1::2], strict=True)]
        return row[0]

    def _tile(self, level: int, start: int) -> Sequence[bytes]:
        if (level, start) not in self._tiles:
            count = min(TILE_WIDTH, (self._size >> TILE_HEIGHT * level) - start)
            found = self._read(level, start, count)
            if len(found) != count or not _are_hashes(found):
                raise ProofError(
                    f"The tree of {self._size} leaves proves nothing: level {level} of its tiles should hold "
                    f"{count} hashes of {HASH_BYTES} bytes from {start} on, and {len(found)} rows were read: "
                    "run gem-consent verify"
                )
            self._tiles[level, start] = found
        return self._tiles[level, start]


def _roots(ranges: Sequence[tuple[int, int]], size: int, read: ReadTile) -> list[bytes]:
    # The ranges come from the top down, and a proof goes from the leaf up.
    tiles = _Tiles(size, read)
    return [tiles.root(start, end) for start, end in reversed(ranges)]


def _joined(roots: Sequence[bytes]) -> bytes:
    """Join the roots of perfect subtrees, largest first, from the smallest on (RFC 9162, section 2.1.1)."""
    *larger, root = roots
    for left in reversed(larger):
        root = node_hash(left, root)
    return root


def _perfect(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Give start and height of the perfect subtrees that make up a range, largest first."""
    while start < end:
        height = (end - start).bit_length() - 1
        yield start, height
        start += 1 << height


def _middle(start: int, end: int) -> int:
    # k, the largest power of two smaller than the width (RFC 9162, section 2.1.1)
    return start + (1 << (end - start - 1).bit_length() - 1)


def _climbed(at: int, last: int) -> tuple[int, int]:
    # A node at the right edge has no sibling on these levels; where it is a right child, it stays.
    while at and not at & 1:
        at, last = at >> 1, last >> 1
    return at, last


def _are_sizes(*values: int) -> bool:
    return all(type(value) is int and 0 <= value <= MAX_SIZE for value in values)


def _are_hashes(values: Sequence[bytes]) -> bool:
    return isinstance(values, Sequence) and all(
        isinstance(value, bytes) and len(value) == HASH_BYTES for value in values
    )


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
