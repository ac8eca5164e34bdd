"""Faults at any statement or commit: it fails with or without its effect, or the process dies there.

Run as a program it is a process that forks a child for each line it reads, and says how the child ended: the
children are killed in the middle of a write, and whoever asked is not.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from ledgers import SIGNING_SECRET, START, asking, make_event, make_notice
from sqlalchemy import Connection

from gem_consent.inventory import Seen
from gem_consent.ledger.erasure import erase
from gem_consent.ledger.purge import purge
from gem_consent.ledger.spool import Drain, Spool
from gem_consent.ledger.store import Append, Ledger
from gem_consent.proof.event import Event, utc_text
from gem_consent.retention import Retention

FAILING = ("fails before", "fails after")
KILLED = ("killed before", "killed after")
KILLED_CODE = -signal.SIGKILL


@dataclass(frozen=True)
class Fault:
    """What happens at the n-th statement or commit on a connection.

    Args:
        point: which, from 0.
        kind: one of ``FAILING`` or ``KILLED``; before or after its effect.
    """

    point: int
    kind: str

    def strike(self, connection: Connection) -> None:
        """Fail as the driver does, or die."""
        if self.kind in KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        if connection.dialect.name == "sqlite":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorname = "SQLITE_IOERR"
            raise error
        driver: Any = connection.connection.dbapi_connection
        driver.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")


class Points:
    """Counts a connection's statements and commits, and lets the fault strike at its own."""

    def __init__(self, connection: Connection, fault: Fault | None) -> None:
        self.seen = 0
        self._connection = connection
        self._fault = fault
        dialect: Any = connection.dialect
        for name in ("do_execute", "do_executemany", "do_commit"):
            setattr(dialect, name, self._watched(getattr(dialect, name)))

    def _watched(self, run: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **options: Any) -> Any:
            point, self.seen = self.seen, self.seen + 1
            is_here = self._fault is not None and point == self._fault.point
            if is_here and self._fault and self._fault.kind.endswith("before"):
                self._fault.strike(self._connection)
            answer = run(*arguments, **options)
            if is_here and self._fault:
                self._fault.strike(self._connection)
            return answer

        return watched


def events_of(number: int, count: int, **changes: Any) -> list[Event]:
    """Make the events of one write, the same in every process."""
    model = {"time": utc_text(START), **changes}
    return [
        make_event(
            **{
                "id": f"{number:08x}-0000-7000-8000-{at:012x}",
                "subject": f"visitor-{number}-{at % 3}",
                **model,
            }
        )
        for at in range(count)
    ]


@dataclass(frozen=True)
class Write:
    """One kind of write to a ledger.

    Args:
        act: does it; the number makes each its own.
        effect: counts what of it is stored.
        whole: the count when all of it is.
        prepare: what must be there before.
    """

    act: Callable[[Ledger, int], object]
    effect: Callable[[str, int], int]
    whole: int
    prepare: Callable[[Ledger, int], object] = lambda book, number: None


def stored_events(place: Path | str, number: int) -> int:
    """Count the events of one write."""
    with asking(place) as ask:
        return len(ask("SELECT id FROM events WHERE id LIKE ?", f"{number:08x}-%"))


def _stored_notices(place: str, number: int) -> int:
    with asking(place) as ask:
        return len(ask("SELECT digest FROM notices WHERE digest = ?", make_notice(f"{number}").digest))


def _signed(place: str, number: int) -> int:
    with asking(place) as ask:
        return len(ask("SELECT note FROM checkpoints, ledger WHERE checkpoints.size = ledger.size"))


def _emptied(place: str, number: int) -> int:
    return 3 - stored_events(place, number)


def _cookies(place: str, number: int) -> int:
    with asking(place) as ask:
        return len(ask("SELECT name FROM cookies WHERE name LIKE ?", f"seen-{number}-%"))


def _add_visitor(book: Ledger, number: int, **changes: Any) -> None:
    notice = make_notice("Shown")
    book.store_notices([notice])
    events = events_of(number, 3, subject=f"visitor-{number}", notice=notice.digest, **changes)
    book.append([Append(event, f"{number}-{at}") for at, event in enumerate(events)])


def _see_cookies(book: Ledger, number: int) -> None:
    names = [f"seen-{number}-{at}" for at in range(2)]
    book.store_cookies([Seen(name, 1, 2, None, "Secure") for name in names])


def _append_under_keys(book: Ledger, number: int) -> None:
    first, second, third = events_of(number, 3)
    book.append([Append(first, f"{number}"), Append(second, f"{number}b"), Append(third, f"{number}")])


WRITES = {
    "one event": Write(
        lambda book, number: book.append([Append(event) for event in events_of(number, 1)]),
        stored_events,
        1,
    ),
    "events that finish a tile": Write(
        lambda book, number: book.append([Append(event) for event in events_of(number, 64)]),
        stored_events,
        64,
    ),
    "events under keys": Write(_append_under_keys, stored_events, 2),
    "a new purpose": Write(
        lambda book, number: book.append(
            [Append(event) for event in events_of(number, 1, purposes={f"purpose-{number}": True})]
        ),
        stored_events,
        1,
    ),
    "a notice": Write(
        lambda book, number: book.store_notices([make_notice(f"{number}")]), _stored_notices, 1
    ),
    "a checkpoint": Write(
        lambda book, number: book.sign(SIGNING_SECRET, at_once=True),
        _signed,
        1,
        lambda book, number: book.append([Append(event) for event in events_of(number, 1)]),
    ),
    "an erasure": Write(
        lambda book, number: erase(book, f"visitor-{number}", START),
        _emptied,
        3,
        _add_visitor,
    ),
    "a purge": Write(
        lambda book, number: purge(book, Retention(), START),
        _emptied,
        3,
        lambda book, number: _add_visitor(
            book, number, time="2010-01-31T09:30:00.000Z", state="refused", purposes={"analytics": False}
        ),
    ),
    "cookies seen": Write(_see_cookies, _cookies, 2),
}


def write(url: str, name: str, number: int, fault: Fault | None) -> int:
    """Do one write on a ledger of its own opening, and give how many points it has."""
    with closing(Ledger.open(url)) as book:
        points = Points(book._connection, fault)
        WRITES[name].act(book, number)
        return points.seen


def put(path: str, number: int, fault: Fault | None) -> int:
    """Put three events into a spool, and give how many points that has."""
    notice = make_notice("Shown")
    with closing(Spool.open(Path(path), {notice.digest: notice}.get)) as spool:
        points = Points(spool._connection, fault)
        events = events_of(number, 3, notice=notice.digest)
        spool.append([Append(events[0], f"{number}"), *(Append(event) for event in events[1:])])
        return points.seen


def drain(url: str, path: str, where: str, fault: Fault | None) -> int:
    """Bring what waits in a spool to a ledger, with the fault in one of the two, and give its points."""
    seen: list[Points] = []

    def open_spool() -> Spool:
        spool = Spool.open(Path(path))
        seen.append(Points(spool._connection, fault if where == "spool" and len(seen) < 2 else None))
        return spool

    with closing(Ledger.open(url)) as book:
        points = Points(book._connection, fault if where == "ledger" else None)
        seen.append(points)
        bring = Drain(open_spool, lambda: None, {})
        try:
            bring(book)
        finally:
            bring.close()
    return seen[0].seen if where == "ledger" else seen[1].seen


CALLS: dict[str, Callable[..., int]] = {"write": write, "put": put, "drain": drain}


def main() -> None:
    """Fork a child for each line, and print how it ended: 0, or the signal that killed it as a negative."""
    for line in sys.stdin:
        call, arguments, point, kind = json.loads(line)
        pid = os.fork()
        if pid == 0:
            CALLS[call](*arguments, Fault(point, kind))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
