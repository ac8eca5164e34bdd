"""What the ledger's tests share: made-up events and notices, and the check of every invariant of a ledger."""

from __future__ import annotations

import hashlib
import itertools
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from psycopg.rows import dict_row

from gem_consent.ledger.store import Append, Ledger
from gem_consent.proof.event import Event, commitment, event_id, utc_text
from gem_consent.proof.notice import Notice, notice_of
from gem_consent.proof.tree import leaf_hash, node_hash

Ask: TypeAlias = Callable[..., list[dict[str, Any]]]
START = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
_COLUMNS = tuple(Event.__dataclass_fields__)
_ticks = itertools.count()


def make_event(**changes: Any) -> Event:
    """Make an event of a new visitor, a second after the one made before, with these fields changed."""
    number = next(_ticks)
    at = START + timedelta(seconds=number)
    columns: dict[str, Any] = {
        "id": event_id(at),
        "time": utc_text(at),
        "subject": f"subject-{number}",
        "site": "example.com",
        "state": "given",
        "action": "grant_all",
        "surface": "notice",
        "purposes": {"analytics": True},
        "notice": "",
        "fingerprint": "f" * 32,
        "policy_version": "",
        "language": "en",
        "expires": utc_text(at + timedelta(days=393)),
        "library": "gem_consent 0",
    }
    return Event(**(columns | changes))


def make_notice(text: str = "A notice", fingerprint: str = "f" * 32) -> Notice:
    """Make a notice that says this."""
    return notice_of(text.encode(), fingerprint=fingerprint, language="en", library="gem_consent 0")


def url_of(path: Path) -> str:
    """Give the URL of the ledger in this file."""
    return f"sqlite:///{path}"


@contextmanager
def asking(place: Path | str) -> Iterator[Ask]:
    """Give what runs a statement, with nothing but the driver, and gives its rows; all in one transaction.

    Args:
        place: a file, or the URL of a ledger.
    """
    if not str(place).startswith("postgresql:"):
        with closing(sqlite3.connect(str(place).removeprefix("sqlite:///"))) as file, file:
            file.row_factory = sqlite3.Row
            file.execute("BEGIN")
            assert file.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            yield lambda statement, *values: [dict(row) for row in file.execute(statement, values)]
        return
    with psycopg.connect(str(place), row_factory=dict_row) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ

        def ask(statement: str, *values: Any) -> list[dict[str, Any]]:
            cursor = connection.execute(statement.replace("?", "%s").encode(), values)
            return cursor.fetchall() if cursor.description else []

        yield ask


def change(place: Path | str, statement: str, *values: Any) -> None:
    """Change a ledger behind its back."""
    with asking(place) as ask:
        ask(statement, *values)


def count(place: Path | str, table: str) -> int:
    """Count a table's rows."""
    with asking(place) as ask:
        return len(ask(f"SELECT 1 AS one FROM {table}"))


def naive_root(leaves: list[bytes]) -> bytes:
    """Give a tree's root as RFC 9162, section 2.1.1, says it: by splitting at the largest power of two."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(naive_root(leaves[:split]), naive_root(leaves[split:]))


def naive_frontier(leaves: list[bytes]) -> bytes:
    """Give the roots of the perfect subtrees, largest first, each by the recursive definition."""
    roots, start = [], 0
    for bit in reversed(range(len(leaves).bit_length())):
        if len(leaves) >> bit & 1:
            roots.append(naive_root(leaves[start : start + (1 << bit)]))
            start += 1 << bit
    return b"".join(roots)


def check(place: Path | str) -> list[Event]:
    """Re-check every invariant of a ledger, with nothing but the driver, and give its events in order.

    Args:
        place: a file, or the URL of a ledger.
    """
    with asking(place) as ask:
        rows = ask("SELECT * FROM events ORDER BY position")
        found = [_checked_event(row) for row in rows]
        _check_tree(ask, rows)
        _check_chain(found)
        _check_purposes(ask, found)
        _check_keys(ask, found)
        for row in ask("SELECT digest, html FROM notices"):
            assert hashlib.sha256(row["html"]).hexdigest() == row["digest"]
    return found


def _checked_event(row: dict[str, Any]) -> Event:
    columns = {name: row[name] for name in _COLUMNS}
    event = Event(**(columns | {"purposes": json.loads(row["purposes"])}))
    assert len(row["salt"]) == 16
    assert commitment(row["salt"], event) == row["commitment"]
    assert leaf_hash(row["commitment"]) == row["leaf"]
    return event


def _check_tree(ask: Ask, rows: list[dict[str, Any]]) -> None:
    (ledger,) = ask("SELECT * FROM ledger")
    assert ledger["one"] == 1
    assert [row["position"] for row in rows] == list(range(ledger["size"]))
    assert ledger["frontier"] == naive_frontier([row["leaf"] for row in rows])
    assert len({row["salt"] for row in rows}) == len(rows)


def _check_chain(found: list[Event]) -> None:
    latest: dict[str, str] = {}
    for event in found:
        assert event.previous == latest.get(event.subject)
        latest[event.subject] = event.id
    assert len({event.id for event in found}) == len(found)


def _check_purposes(ask: Ask, found: list[Event]) -> None:
    since: dict[str, int] = {}
    for position, event in enumerate(found):
        for purpose in event.purposes:
            since.setdefault(purpose, position)
    assert {row["id"]: row["since"] for row in ask("SELECT id, since FROM purposes")} == since


def _check_keys(ask: Ask, found: list[Event]) -> None:
    ids = {event.id for event in found}
    for row in ask("SELECT key, event FROM requests"):
        assert len(bytes.fromhex(row["key"])) == 32
        assert row["event"] in ids


SIGNING_SECRET = "the secret that the tests sign checkpoints with"


def fill(book: Ledger, sizes: Iterable[int], secret: str = SIGNING_SECRET) -> None:
    """Append events of all kinds until the ledger has each of these sizes, and sign a checkpoint there."""
    notice = make_notice()
    book.store_notices([notice, make_notice("Another"), make_notice("A third")])
    at = book.size
    for size in sizes:
        for number in range(at, size):
            given = number % 3 != 2
            event = make_event(
                subject=f"visitor-{number // 2}",
                state="given" if given else "refused",
                purposes={"analytics": given, "media": False} if number % 4 else {"analytics": given},
                notice=notice.digest if given else "",
                policy_version="1 « é »\n",
                browser="Firefox 145",
                system="Linux",
                device="desktop",
                network="192.0.2.0/24",
            )
            book.append([Append(event, key=f"key-{number}")])
        at = size
        book.sign(secret, at_once=True)
