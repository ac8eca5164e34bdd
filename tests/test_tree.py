"""The Merkle tree against the vectors of the transparency logs, and against the RFC's own recursive words."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import naive_root

from gem_consent.proof.tree import EMPTY, EMPTY_ROOT, Frontier, leaf_hash, node_hash

# The inputs and roots that every Certificate Transparency implementation is tested with.
INPUTS = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

commitments = st.lists(st.binary(min_size=32, max_size=32), max_size=70)


@pytest.mark.parametrize("size", range(9))
def test_root_is_the_published_one(size: int) -> None:
    """The roots of the first eight sizes are those of the published vectors."""
    assert EMPTY.extend(leaf_hash(item) for item in INPUTS[:size]).root.hex() == ROOTS[size]


def test_prefixes_tell_leaf_from_node() -> None:
    """A leaf over two joined hashes is not the node over them."""
    left, right = leaf_hash(b"left"), leaf_hash(b"right")
    assert leaf_hash(left + right) == hashlib.sha256(b"\x00" + left + right).digest()
    assert node_hash(left, right) == hashlib.sha256(b"\x01" + left + right).digest()


@given(commitments)
def test_root_follows_recursive_definition(items: list[bytes]) -> None:
    """The frontier's root equals the RFC's recursive hash for any leaves."""
    leaves = [leaf_hash(item) for item in items]
    tree = EMPTY.extend(leaves)
    assert (tree.size, tree.root) == (len(items), naive_root(leaves))


@given(commitments, st.integers(0, 70))
def test_frontier_survives_being_stored(items: list[bytes], cut: int) -> None:
    """A tree that is stored after any leaf grows on to the same root."""
    leaves = [leaf_hash(item) for item in items]
    before = EMPTY.extend(leaves[:cut])
    stored = Frontier.decode(before.size, before.encode())
    assert stored == before
    assert stored.extend(leaves[cut:]) == EMPTY.extend(leaves)


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=40, unique=True), st.data())
def test_any_change_moves_the_root(items: list[bytes], draw: st.DataObject) -> None:
    """Dropping, swapping or editing a leaf gives another root."""
    leaves = [leaf_hash(item) for item in items]
    at = draw.draw(st.integers(0, len(leaves) - 2))
    swapped = [*leaves[:at], leaves[at + 1], leaves[at], *leaves[at + 2 :]]
    dropped = [*leaves[:at], *leaves[at + 1 :]]
    edited = [*leaves[:at], leaf_hash(b"edited"), *leaves[at + 1 :]]
    changed = {EMPTY.extend(change).root for change in (swapped, dropped, edited)}
    assert EMPTY.extend(leaves).root not in changed


def test_appending_leaves_the_value_alone() -> None:
    """A frontier is a value: appending gives another one."""
    one = EMPTY.append(leaf_hash(b"one"))
    one.append(leaf_hash(b"two"))
    assert (EMPTY.size, EMPTY.root, one.size) == (0, EMPTY_ROOT, 1)


@pytest.mark.parametrize(("size", "length"), [(0, 1), (0, 32), (1, 0), (1, 31), (1, 33), (3, 32), (7, 95)])
def test_misfitting_frontier_is_refused(size: int, length: int) -> None:
    """Bytes that cannot be the frontier of the size are refused."""
    with pytest.raises(ValueError, match=f"frontier of {size} leaves"):
        Frontier.decode(size, bytes(length))


def test_negative_size_is_refused() -> None:
    """No tree has fewer than no leaves."""
    with pytest.raises(ValueError, match="cannot have -1 leaves"):
        Frontier(-1)
