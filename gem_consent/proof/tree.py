"""The Merkle tree of RFC 9162, section 2.1: leaves, nodes, and the frontier from which it grows.

Pure: it holds hashes of commitments, never an event, and keeps no node that the next leaf does not need.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["EMPTY", "EMPTY_ROOT", "HASH_BYTES", "Frontier", "leaf_hash", "node_hash"]

HASH_BYTES = 32

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
        """Give the frontier with more leaves, in order.

        Each low bit that is set in the size is a finished subtree as tall as the one in hand: they join.
        """
        size, roots = self.size, list(self.roots)
        for leaf in leaves:
            node, carry = leaf, size
            while carry & 1:
                node = node_hash(roots.pop(), node)
                carry >>= 1
            roots.append(node)
            size += 1
        return Frontier(size, tuple(roots))

    @property
    def root(self) -> bytes:
        """The root of the whole tree, 32 bytes: the subtrees joined from the smallest (RFC 9162, 2.1.1)."""
        if not self.roots:
            return EMPTY_ROOT
        *larger, root = self.roots
        for left in reversed(larger):
            root = node_hash(left, root)
        return root

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
