"""The Merkle tree against the vectors of the transparency logs, the RFC's recursive words, and pymerkle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ledgers import naive_root
from pymerkle import ConsistencyProof, InclusionProof, InmemoryTree

from gem_consent.errors import ProofError
from gem_consent.proof.tree import (
    EMPTY,
    EMPTY_ROOT,
    MAX_SIZE,
    TILE_WIDTH,
    Frontier,
    ReadTile,
    consistency_proof,
    frontier_of,
    heights_between,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    subtrees_between,
    verify_consistency,
    verify_inclusion,
)

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


# What transparency-dev/merkle (proof/verify_test.go) and certificate-transparency-go prove about INPUTS.
N01 = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
N03 = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
N23 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
N45 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
N47 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
L0 = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
L1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
L4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
L6 = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f"
N67 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
INCLUSIONS = [
    (0, 1, []),
    (0, 8, [L1, N23, N47]),
    (5, 8, [L4, N67, N03]),
    (2, 3, [N01]),
    (1, 5, [L0, N23, L4]),
]
CONSISTENCIES = [
    (1, 1, []),
    (1, 8, [L1, N23, N47]),
    (6, 8, [N45, N67, N03]),
    (2, 5, [N23, L4]),
    (6, 7, [N45, L6, N03]),
]
MANY = 70_000
"""As in C2SP tlog-tiles' own example: 273 full tiles of leaves, and 112 leaves."""


def reader(leaves: Iterable[bytes]) -> ReadTile:
    """Store leaves and tiles as a ledger does, batch by batch, and give what reads them."""
    rows: dict[int, list[bytes]] = {0: list(leaves)}
    tree = EMPTY
    for at in range(0, len(rows[0]), 300):
        tree, finished = tree.grow(rows[0][at : at + 300])
        for one in finished:
            assert one.index == len(rows.setdefault(one.level, []))
            rows[one.level].append(one.digest)

    def read(level: int, start: int, count: int) -> list[bytes]:
        assert start % TILE_WIDTH == 0
        assert 0 < count <= TILE_WIDTH
        return rows[level][start : start + count]

    return read


@cache
def numbered(index: int) -> bytes:
    """Give the hash of the leaf that says its own number."""
    return leaf_hash(b"%d" % index)


@cache
def mth(start: int, end: int) -> bytes:
    """Give ``MTH(D[start:end])`` over numbered leaves (RFC 9162, section 2.1.1)."""
    if end - start < 2:
        return numbered(start) if end > start else EMPTY_ROOT
    split = start + (1 << (end - start - 1).bit_length() - 1)
    return node_hash(mth(start, split), mth(split, end))


def path(index: int, start: int, end: int) -> list[bytes]:
    """Give ``PATH(index - start, D[start:end])`` in the words of RFC 9162, section 2.1.3.1."""
    if end - start == 1:
        return []
    split = start + (1 << (end - start - 1).bit_length() - 1)
    if index < split:
        return [*path(index, start, split), mth(split, end)]
    return [*path(index, split, end), mth(start, split)]


def subproof(first: int, start: int, end: int, is_whole: bool) -> list[bytes]:
    """Give ``SUBPROOF(first - start, D[start:end], is_whole)`` as RFC 9162, section 2.1.4.1, has it."""
    if first == end:
        return [] if is_whole else [mth(start, end)]
    split = start + (1 << (end - start - 1).bit_length() - 1)
    if first <= split:
        return [*subproof(first, start, split, is_whole), mth(split, end)]
    return [*subproof(first, split, end, False), mth(start, split)]


@pytest.fixture(scope="module")
def many() -> ReadTile:
    """A tree of 70,000 numbered leaves, with tiles up to level 2."""
    return reader(numbered(index) for index in range(MANY))


@pytest.mark.parametrize(("index", "size", "proof"), INCLUSIONS)
def test_inclusion_proof_is_published_one(index: int, size: int, proof: list[str]) -> None:
    """The published inclusion proofs are made, and hold."""
    leaves = [leaf_hash(item) for item in INPUTS]
    made = inclusion_proof(index, size, reader(leaves))
    assert [item.hex() for item in made] == proof
    assert verify_inclusion(leaves[index], index, size, made, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("first", "second", "proof"), CONSISTENCIES)
def test_consistency_proof_is_published_one(first: int, second: int, proof: list[str]) -> None:
    """The published consistency proofs are made, and hold."""
    made = consistency_proof(first, second, reader(leaf_hash(item) for item in INPUTS))
    assert [item.hex() for item in made] == proof
    roots = bytes.fromhex(ROOTS[first]), bytes.fromhex(ROOTS[second])
    assert verify_consistency(first, second, *roots, made)


def test_every_small_inclusion_is_proven() -> None:
    """Every leaf of every tree up to 40 leaves has the RFC's path, which holds for its position alone."""
    read = reader(numbered(index) for index in range(40))
    for size in range(1, 41):
        for index in range(size):
            proof = inclusion_proof(index, size, read)
            assert proof == path(index, 0, size)
            root = mth(0, size)
            held = [at for at in range(-1, 42) if verify_inclusion(numbered(index), at, size, proof, root)]
            assert held == [index]


def test_every_small_growth_is_proven() -> None:
    """Any two trees up to 40 leaves have the RFC's proof, which holds for their sizes alone."""
    read = reader(numbered(index) for index in range(40))
    for second in range(1, 41):
        for first in range(1, second + 1):
            proof = consistency_proof(first, second, read)
            assert proof == subproof(first, 0, second, True)
            roots = mth(0, first), mth(0, second)
            held = [at for at in range(-1, 42) if verify_consistency(at, second, *roots, proof)]
            assert held == [first]


@given(st.data())
def test_proofs_follow_recursive_definition(many: ReadTile, draw: st.DataObject) -> None:
    """Across tiles as well, proofs and roots are those of the RFC's recursive words."""
    size = draw.draw(st.integers(1, MANY), "size")
    index = draw.draw(st.integers(0, size - 1), "index")
    proof, growth = inclusion_proof(index, size, many), consistency_proof(index + 1, size, many)
    assert (proof, growth) == (path(index, 0, size), subproof(index + 1, 0, size, True))
    assert root_of(size, many) == mth(0, size)
    assert verify_inclusion(numbered(index), index, size, proof, mth(0, size))
    assert verify_consistency(index + 1, size, mth(0, index + 1), mth(0, size), growth)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, MANY])
def test_proofs_hold_at_tile_edges(many: ReadTile, size: int) -> None:
    """Where a tile begins or ends, first and last leaf and the trees beside it are proven."""
    for index in {0, size // 2, size - 1}:
        proof = inclusion_proof(index, size, many)
        assert verify_inclusion(numbered(index), index, size, proof, mth(0, size))
    for first in {1, size - 1, size} - {0}:
        proof = consistency_proof(first, size, many)
        assert verify_consistency(first, size, mth(0, first), mth(0, size), proof)


@given(st.integers(0, MANY))
@example(0)
@example(65_536)
def test_frontier_is_read_back(many: ReadTile, size: int) -> None:
    """From its tiles the tree grows on as it did, from whatever size."""
    frontier = frontier_of(size, many)
    more = [numbered(index) for index in range(size, min(size + 3, MANY))]
    assert (frontier.size, frontier.root) == (size, mth(0, size))
    assert frontier.extend(more).root == mth(0, size + len(more))


@given(st.integers(0, MANY), st.integers(0, MANY), st.integers(0, 5_000))
@example(0, 65_536, 0)
@example(3, 65_537, 0)
def test_subtrees_stand_for_their_leaves(many: ReadTile, one: int, other: int, more: int) -> None:
    """A tree that joins the subtrees between two leaves is the tree that took every leaf between them."""
    start, end = sorted((one, other))
    size = min(MANY, end + more)
    roots = subtrees_between(start, end, size, many)
    joined = frontier_of(start, many)
    for height, root in zip(heights_between(start, end), roots, strict=True):
        joined = joined.join(height, root)
    assert joined == frontier_of(end, many)
    assert len(roots) <= 2 * MANY.bit_length()


@pytest.mark.parametrize(("size", "height"), [(1, 1), (6, 2), (8, 4), (0, 63), (0, -1)])
def test_misplaced_subtree_is_refused(many: ReadTile, size: int, height: int) -> None:
    """A perfect subtree begins at a multiple of its width, and no tree has 2**63 leaves."""
    with pytest.raises(ValueError, match="No perfect subtree of height"):
        frontier_of(size, many).join(height, bytes(32))


def test_tiles_fill_as_specified() -> None:
    """A tree of 70,000 leaves has the tiles of the specification's example, each hash its subtree's root."""
    _, finished = EMPTY.grow(numbered(index) for index in range(MANY))
    assert [one.index for one in finished if one.level == 1] == list(range(273))
    assert [(one.level, one.index) for one in finished if one.level > 1] == [(2, 0)]
    for one in (finished[0], finished[100], finished[-1]):
        assert one.digest == mth(one.index * 256**one.level, (one.index + 1) * 256**one.level)


@given(st.lists(st.integers(1, 300), max_size=8))
def test_batches_finish_same_tiles(batches: list[int]) -> None:
    """However the leaves are batched, the same hashes of tiles are finished, once each."""
    tree, finished, numbers = EMPTY, [], iter(range(sum(batches)))
    for batch in batches:
        tree, some = tree.grow(numbered(next(numbers)) for _ in range(batch))
        finished += some
    assert (tree, finished) == EMPTY.grow(numbered(index) for index in range(sum(batches)))


def one_odd_leaf(odd: int, reads: list[tuple[int, int, int]]) -> ReadTile:
    """Give the tiles of a tree of any size whose leaves are all the same but one; note what is read."""

    @cache
    def subtree(height: int, index: int) -> bytes:
        if index != odd >> height:
            index = -1
        if height == 0:
            return leaf_hash(b"same" if index < 0 else b"odd")
        if index < 0:
            return node_hash(subtree(height - 1, -1), subtree(height - 1, -1))
        return node_hash(subtree(height - 1, 2 * index), subtree(height - 1, 2 * index + 1))

    def read(level: int, start: int, count: int) -> list[bytes]:
        reads.append((level, start, count))
        return [subtree(8 * level, index) for index in range(start, start + count)]

    return read


@given(st.data())
def test_huge_tree_is_proven_from_few_tiles(draw: st.DataObject) -> None:
    """At any size up to the largest, a proof holds for its leaf alone and reads two tiles a level at most."""
    size = draw.draw(st.integers(2, 10_000_000) | st.integers(2, MAX_SIZE), "size")
    index, other = (draw.draw(st.integers(0, size - 1)) for _ in range(2))
    reads: list[tuple[int, int, int]] = []
    read = one_odd_leaf(index, reads)
    proof = inclusion_proof(index, size, read)
    levels = -(-size.bit_length() // 8)
    assert len(reads) == len(set(reads)) <= 2 * levels
    assert all(start % 256 == 0 and count <= 256 for _, start, count in reads)
    root, leaf = root_of(size, read), leaf_hash(b"odd")
    assert verify_inclusion(leaf, index, size, proof, root)
    assert verify_inclusion(leaf, other, size, proof, root) == (other == index)
    growth = consistency_proof(other + 1, size, read)
    assert verify_consistency(other + 1, size, root_of(other + 1, read), root, growth)


def spoiled(proof: list[bytes]) -> Iterator[Any]:
    """Give everything that a proof must not be."""
    yield [*proof, numbered(0)]
    yield [numbered(0), *proof]
    yield [*proof, b""]
    yield from (None, 7, "proof", b"proof", [*proof, None])
    for at, item in enumerate(proof):
        yield [*proof[:at], *proof[at + 1 :]]
        yield [*proof[:at], bytes([item[0] ^ 8]) + item[1:], *proof[at + 1 :]]
        yield [*proof[:at], item[:31], *proof[at + 1 :]]
        yield [*proof[:at], item.hex(), *proof[at + 1 :]]
        yield [*proof[:at], item, item, *proof[at + 1 :]]


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 2), (0, 8), (5, 8), (6, 7), (20, 21)])
def test_spoiled_inclusion_proof_is_false(index: int, size: int) -> None:
    """Nothing but the exact proof for the exact tree holds, and nothing raises."""
    proof, root, leaf = path(index, 0, size), mth(0, size), numbered(index)
    assert verify_inclusion(leaf, index, size, proof, root)
    assert not any(verify_inclusion(leaf, index, size, bad, root) for bad in spoiled(proof))
    for bad in (b"", EMPTY_ROOT, root[:31], root.hex(), None):
        assert not verify_inclusion(leaf, index, size, proof, bad)  # type: ignore[arg-type]
        assert not verify_inclusion(bad, index, size, proof, root)  # type: ignore[arg-type]
    for odd in (-1, size, index + 0.0, str(index), None, 10**100):
        assert not verify_inclusion(leaf, odd, size, proof, root)  # type: ignore[arg-type]
    for odd in (0, -1, size * 2, size + 0.0, None, 2**64, 10**100):
        assert not verify_inclusion(leaf, index, odd, proof, root)  # type: ignore[arg-type]


@pytest.mark.parametrize(("first", "second"), [(1, 2), (1, 8), (2, 5), (4, 8), (6, 8), (6, 7), (20, 21)])
def test_spoiled_consistency_proof_is_false(first: int, second: int) -> None:
    """Nothing but the exact proof for the exact two trees holds, and nothing raises."""
    proof, old, new = subproof(first, 0, second, True), mth(0, first), mth(0, second)
    assert verify_consistency(first, second, old, new, proof)
    assert not any(verify_consistency(first, second, old, new, bad) for bad in [[], *spoiled(proof)])
    assert not verify_consistency(first, second, new, old, proof)
    for bad in (b"", EMPTY_ROOT, old[:31], old.hex(), None):
        assert not verify_consistency(first, second, bad, new, proof)  # type: ignore[arg-type]
        assert not verify_consistency(first, second, old, bad, proof)  # type: ignore[arg-type]
    for odd in (0, -1, first + 0.0, None, 10**100):
        assert not verify_consistency(odd, second, old, new, proof)  # type: ignore[arg-type]
    for odd in (0, -1, first - 1, first, second * 2, None, 10**100):
        assert not verify_consistency(first, odd, old, new, proof)  # type: ignore[arg-type]


sizes = st.integers(-2, 70) | st.integers()
hashes = st.binary(min_size=32, max_size=32) | st.binary(max_size=33)


@given(hashes, sizes, sizes, st.lists(hashes, max_size=8), hashes)
def test_garbage_proves_no_inclusion(
    leaf: bytes, at: int, size: int, proof: list[bytes], root: bytes
) -> None:
    """Whatever is given as a proof is false, unless it is the one leaf of a tree."""
    alone = (at, size, proof) == (0, 1, []) and leaf == root and len(root) == 32
    assert verify_inclusion(leaf, at, size, proof, root) == alone


@given(sizes, sizes, hashes, hashes, st.lists(hashes, max_size=8))
def test_garbage_proves_no_growth(
    first: int, second: int, old: bytes, new: bytes, proof: list[bytes]
) -> None:
    """Whatever is given as a proof is false, unless the tree did not grow."""
    same = first == second and old == new and len(old) == 32 and not proof and 0 < first <= MAX_SIZE
    assert verify_consistency(first, second, old, new, proof) == same


@pytest.mark.parametrize(
    ("first", "second", "old", "new", "holds"),
    [
        (0, 0, EMPTY_ROOT, EMPTY_ROOT, True),
        (0, 5, EMPTY_ROOT, mth(0, 5), True),
        (5, 5, mth(0, 5), mth(0, 5), True),
        (0, 0, EMPTY_ROOT, mth(0, 5), False),
        (0, 5, mth(0, 5), mth(0, 5), False),
        (5, 5, mth(0, 5), mth(0, 4), False),
        (5, 0, mth(0, 5), EMPTY_ROOT, False),
        (5, 4, mth(0, 5), mth(0, 4), False),
    ],
)
def test_empty_proof_has_its_cases(first: int, second: int, old: bytes, new: bytes, holds: bool) -> None:
    """Without a proof only the empty tree and an unchanged one are consistent."""
    assert verify_consistency(first, second, old, new, []) == holds
    assert not verify_consistency(first, second, old, new, [mth(0, 5)])


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 5), (5, 5)])
def test_unchanged_tree_needs_no_proof(first: int, second: int) -> None:
    """The empty tree and an unchanged one are proven by nothing, and no tile is read."""
    assert consistency_proof(first, second, lambda level, start, count: pytest.fail("read a tile")) == []


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda read: inclusion_proof(5, 5, read), "5 leaves has no leaf 5"),
        (lambda read: inclusion_proof(-1, 5, read), "5 leaves has no leaf -1"),
        (lambda read: inclusion_proof(0, 0, read), "0 leaves has no leaf 0"),
        (lambda read: consistency_proof(6, 5, read), "6 leaves does not grow to 5"),
        (lambda read: consistency_proof(-1, 5, read), "-1 leaves does not grow to 5"),
        (lambda read: root_of(-1, read), "No tree has -1 leaves"),
        (lambda read: root_of(MAX_SIZE + 1, read), "No tree has 9223372036854775808 leaves"),
    ],
)
def test_impossible_question_is_refused(ask: Callable[[ReadTile], object], message: str) -> None:
    """A proof of what no tree holds is a mistake of the caller's."""
    with pytest.raises(ValueError, match=message):
        ask(reader(numbered(index) for index in range(5)))


@pytest.mark.parametrize("found", [[], [numbered(0)], [numbered(0)] * 6, [b"short"] * 5, ["text"] * 5])
def test_faulty_tile_is_refused(found: list[bytes]) -> None:
    """A reader that gives other than what was asked for proves nothing."""
    with pytest.raises(
        ProofError, match=r"level 0 of its tiles should hold 5 hashes .* run gem-consent verify"
    ):
        inclusion_proof(0, 5, lambda level, start, count: found)


@given(st.integers(1, 600), st.data())
def test_independent_library_agrees(size: int, draw: st.DataObject) -> None:
    """Roots and inclusion proofs are pymerkle's own, and pymerkle accepts ours."""
    index = draw.draw(st.integers(0, size - 1), "index")
    theirs, read = pymerkle_tree(), reader(numbered(index) for index in range(600))
    proof, root = inclusion_proof(index, size, read), root_of(size, read)
    asked = theirs.prove_inclusion(index + 1, size)  # it counts leaves from one, and puts the leaf first
    assert (theirs.get_root(size), asked.path) == (root, [numbered(index), *proof])
    ours = InclusionProof("sha256", True, size, index + 1, asked.rule, [numbered(index), *proof])
    ours.verify(numbered(index), root, index=index + 1, size=size)


@given(st.integers(1, 600), st.data())
def test_independent_growth_agrees(second: int, draw: st.DataObject) -> None:
    """Consistency proofs that pymerkle makes and accepts come to ours once they have the RFC's shape."""
    first = draw.draw(st.integers(1, second), "first")
    read = reader(numbered(index) for index in range(600))
    theirs = pymerkle_tree().prove_consistency(first, second)
    theirs.verify(root_of(first, read), root_of(second, read), prior_size=first, later_size=second)
    assert in_shape(theirs, first, second) == consistency_proof(first, second, read)


@cache
def pymerkle_tree() -> InmemoryTree:
    """Give pymerkle's tree of 600 numbered leaves."""
    theirs = InmemoryTree()
    for index in range(600):
        theirs.append_entry(b"%d" % index)
    return theirs


def in_shape(proof: ConsistencyProof, first: int, second: int) -> list[bytes]:
    """Give pymerkle's proof as the RFC has it.

    Pymerkle begins at the first new leaf and climbs to the subtree that ends with the first tree. The RFC
    begins there: one hash for what lies right of it, and none for it if it is the whole first tree.
    """
    if first == second:
        return []
    marks, (new, *rest) = proof.subset[1:], proof.path
    while not marks[0]:
        new, rest, marks = node_hash(new, rest[0]), rest[1:], marks[1:]
    old, *higher = rest
    return [new, *higher] if first & (first - 1) == 0 else [old, new, *higher]
