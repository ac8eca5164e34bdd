"""One verification, from the row that says which ledger it is to the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, func, select

from gem_consent.ledger.schema import events
from gem_consent.ledger.verification.faults import Faults
from gem_consent.ledger.verification.keys import check_keys, read_keys
from gem_consent.ledger.verification.links import check_links, check_purposes, check_requests
from gem_consent.ledger.verification.marks import Marks, read_marks
from gem_consent.ledger.verification.notices import read_notices
from gem_consent.ledger.verification.report import Report
from gem_consent.ledger.verification.rows import Rows
from gem_consent.ledger.verification.signed import Signed, opening
from gem_consent.ledger.verification.source import Source, read_identity
from gem_consent.ledger.verification.tree import Tree
from gem_consent.proof.checkpoint import PublicKey

__all__ = ["count", "verify"]


def count(connection: Connection) -> int:
    """Say how many rows a whole verification will read."""
    return int(connection.execute(select(func.count()).select_from(events)).scalar_one())


def verify(
    connection: Connection,
    *,
    known: Sequence[PublicKey] = (),
    since: bytes | None = None,
    advance: Callable[[int], object] = lambda rows: None,
) -> Report:
    """Read a ledger and compare all that must agree.

    Args:
        connection: one read transaction.
        known: public keys that were kept elsewhere: they alone are believed. Without any, the ledger's own.
        since: a signed checkpoint that was kept elsewhere: the tree must continue it, and only later rows are
            read (all of them where it does not, to name the first bad one). Marks after it may say of rows
            before it that they were emptied; whether those are, is not read.
        advance: called with the number of rows that were just read.

    Raises:
        LedgerError: there is not even a ledger to compare with.
    """
    faults = Faults()
    source = Source(connection, faults)
    identity = read_identity(source)
    notices = read_notices(source)
    keys = read_keys(source, identity.origin, known)
    frontier, held = opening(source, identity, keys, since, is_given=bool(known))
    start = frontier.size
    marks = read_marks(source)
    rows = Rows(source, start, notices.digests, marks)
    signed = Signed(source, identity, keys, notices, start)
    tree = Tree(source, frontier, signed.read(), held)
    for leaves, some in rows.read():
        tree.add(leaves)
        advance(some)
    tree.finish(identity, rows.next, is_dense=rows.is_dense)
    check_keys(source, keys, signed.first_signed, start)
    check_purposes(source, rows.purposes, marks, start)
    check_links(source, marks, start, rows.firsts)
    check_requests(source)
    _check_marks(source, marks, rows.marks, start)
    if known and not tree.signed and not start:
        faults.found("no checkpoint of the ledger holds under the public keys that were given")
    return Report(
        origin=identity.origin,
        size=identity.size,
        start=start,
        choices=rows.choices,
        marks=rows.marks,
        emptied=rows.emptied,
        erased=rows.by_kind["erased"],
        purged=rows.by_kind["purged"],
        notices=len(notices.digests),
        signed=tree.signed,
        newest=tree.newest,
        keys=tuple(str(key) for key in keys.believed),
        is_vouched=bool(known or since),
        faults=faults.first(),
        fault_count=faults.count,
    )


def _check_marks(source: Source, marks: Marks, read: int, start: int) -> None:
    source.faults.include(marks.faults)
    # The marks come by an index, the rows by the table: an index that leaves some out would hide them.
    if marks.count_from(start) != read:
        source.faults.found(
            f"{marks.count_from(start)} marks are listed, and {read} rows have one: the index was altered"
        )
