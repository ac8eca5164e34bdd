"""The spool: a file on this machine where decisions wait while the ledger's server is away.

A queue in SQLite of canonical events, shared by the processes of a machine. It has no tree of its own and
proves nothing: what it holds goes to the ledger in the order in which it came, and is gone from here then.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import (
    URL,
    BindParameter,
    Boolean,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from gem_consent.errors import LedgerError
from gem_consent.ledger.requests import KEY_LIFETIME, key_digest
from gem_consent.ledger.rows import EventRejected, fitted, slices
from gem_consent.ledger.sqlite import SqliteDatabase
from gem_consent.ledger.store import Append, Ledger
from gem_consent.proof.event import Event, canonical, utc_text
from gem_consent.proof.notice import Notice

__all__ = ["Drain", "Spool"]

DRAIN_EVENTS = 500
"""How many events go to the ledger in one transaction."""

_VERSION = 1
_metadata = MetaData()
_queue = Table(
    "queue",
    _metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("time", String(24), nullable=False),
    Column("key", Text),
    Column("digest", String(64), index=True),
    Column("event", Text, nullable=False),
    Column("is_refused", Boolean, nullable=False, default=False),
    sqlite_autoincrement=True,  # a number that was drained is never given again
)
_notices = Table(
    "notices",
    _metadata,
    Column("digest", String(64), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("language", String(35), nullable=False),
    Column("library", String(64), nullable=False),
    Column("html", LargeBinary, nullable=False),
)
_NOTICE = tuple(field.name for field in fields(Notice))

_IDS: BindParameter[str] = bindparam("ids", expanding=True)
_DIGESTS: BindParameter[str] = bindparam("digests", expanding=True)
_NUMBERS: BindParameter[int] = bindparam("numbers", expanding=True)
_BY_ID = select(_queue.c.id, _queue.c.event).where(_queue.c.id.in_(_IDS))
_BY_KEY = (
    select(_queue.c.digest, _queue.c.event)
    .where(_queue.c.digest.in_(_DIGESTS), _queue.c.time > bindparam("cutoff"))
    .order_by(_queue.c.number)
)
_OLDEST = (
    select(_queue.c.number, _queue.c.time, _queue.c.key, _queue.c.event)
    .where(~_queue.c.is_refused)
    .order_by(_queue.c.number)
    .limit(DRAIN_EVENTS)
)
_DROP = delete(_queue).where(_queue.c.number.in_(_NUMBERS))
_SET_ASIDE = update(_queue).where(_queue.c.number.in_(_NUMBERS)).values(is_refused=True)

log = logging.getLogger("gem_consent")


def _now() -> datetime:
    return datetime.now(UTC)


class Spool:
    """An open spool: synchronous, one connection, used by one thread at a time (any thread).

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> spool = Spool.open(Path(folder.name) / "spool.db")
        >>> spool.oldest()
        []
        >>> spool.close()
        >>> folder.cleanup()
    """

    def __init__(
        self,
        database: SqliteDatabase,
        connection: Connection,
        find_notice: Callable[[str], Notice | None],
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._connection = connection
        self._find_notice = find_notice
        self._clock = clock

    @classmethod
    def open(
        cls,
        path: Path,
        find_notice: Callable[[str], Notice | None] = lambda digest: None,
        *,
        clock: Callable[[], datetime] = _now,
    ) -> Spool:
        """Open the spool in a file, made first where there is none; any number of processes may.

        Args:
            path: the file.
            find_notice: gives this process's own notice of a digest; it waits with the events that name it.
            clock: gives the present, aware; it ages the requests' keys.

        Raises:
            LedgerUnavailable: the file is locked, the disk full or not answering.
            LedgerError: the file is no spool or a newer release's, or there is no right to it.
        """
        database = SqliteDatabase(URL.create("sqlite", database=str(path)))
        spool = cls(database, database.connect(must_exist=False), find_notice, clock)
        try:
            with database.translated():
                spool._prepare()
        except BaseException:
            spool.close()
            raise
        return spool

    def _prepare(self) -> None:
        # What was drained must not stay in free pages (sqlite.org/pragma.html#pragma_secure_delete).
        self._connection.connection.cursor().execute("PRAGMA secure_delete=ON")
        with self._database.upgrading(self._connection):
            version = self._connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            names = self._connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
            tables = set(names.scalars()) - {"sqlite_sequence"}
            if tables and (tables != _metadata.tables.keys() or version < 1):
                raise LedgerError(f"The file at {self._database.name} is no spool: give it a file of its own")
            if version > _VERSION:
                raise LedgerError(
                    f"The spool at {self._database.name} has version {version}, and this release of "
                    f"gem_consent knows {_VERSION} at most: install the release that wrote it, or a newer"
                )
            if not tables:
                _metadata.create_all(self._connection, checkfirst=False)
                self._connection.exec_driver_sql(f"PRAGMA user_version={_VERSION}")

    @contextmanager
    def writing(self) -> Iterator[Callable[[Sequence[Append]], list[Event]]]:
        """Hold the write lock; the function given puts events, and the block's end makes them durable.

        Raises:
            LedgerUnavailable, LedgerError: as ``Ledger.writing``.
        """
        with self._database.translated(), self._database.writing(self._connection):
            yield self._put

    def append(self, appends: Sequence[Append]) -> list[Event]:
        """Put events in one transaction: all of them or none, durable once this returns.

        One that waits here already, by its id or by a key of the last ten minutes, is not put twice.

        Returns:
            The events that wait, in the order asked for; ``previous`` is filled in by the ledger later.

        Raises:
            EventRejected: the ledger could never store one of them; none was put.
            LedgerUnavailable, LedgerError: as ``Ledger.append``.
        """
        with self.writing() as put:
            return put(appends)

    def _put(self, appends: Sequence[Append]) -> list[Event]:
        wanted = [(fitted(item.event), item.key) for item in appends]
        digests = [None if key is None else key_digest(key, event) for event, key in wanted]
        by_id = self._found([event.id for event, _ in wanted])
        by_digest = self._found_by_key([digest for digest in digests if digest])
        now = utc_text(self._clock())
        rows, answers = [], []
        for (event, key), digest in zip(wanted, digests, strict=True):
            earlier = by_id.get(event.id) or (by_digest.get(digest) if digest else None)
            if earlier is None:
                earlier = by_id[event.id] = event
                if digest:
                    by_digest[digest] = event
                text = canonical(event).decode()
                rows.append({"id": event.id, "time": now, "key": key, "digest": digest, "event": text})
            answers.append(earlier)
        if rows:
            self._connection.execute(insert(_queue), rows)
            self._put_notices({event.notice for event in answers})
        return answers

    def _found(self, ids: Sequence[str]) -> dict[str, Event]:
        rows = [row for some in slices(ids) for row in self._connection.execute(_BY_ID, {"ids": some})]
        return {row.id: _event(row.event) for row in rows}

    def _found_by_key(self, digests: Sequence[str]) -> dict[str, Event]:
        cutoff = utc_text(self._clock() - KEY_LIFETIME)
        found = {}
        for some in slices(digests):
            for row in self._connection.execute(_BY_KEY, {"digests": some, "cutoff": cutoff}):
                found[row.digest] = _event(row.event)
        return found

    def _put_notices(self, digests: set[str]) -> None:
        """Keep what was shown: a process of another version of the site may be the one that drains."""
        own = [self._find_notice(digest) for digest in digests if digest]
        rows = [{name: getattr(notice, name) for name in _NOTICE} for notice in own if notice]
        if rows:
            self._connection.execute(insert(_notices).prefix_with("OR IGNORE"), rows)

    def oldest(self) -> list[tuple[int, Append]]:
        """Give the events that have waited longest, with their numbers, in the order in which they came.

        Raises:
            LedgerUnavailable, LedgerError: the spool cannot be read.
        """
        cutoff = utc_text(self._clock() - KEY_LIFETIME)
        with self._database.translated(), self._database.reading(self._connection):
            rows = self._connection.execute(_OLDEST).all()
        return [
            (
                row.number,
                Append(_event(row.event), row.key if row.time > cutoff else None, is_acknowledged=True),
            )
            for row in rows
        ]

    def notices(self) -> list[Notice]:
        """Give the notices that waiting events point at.

        Raises:
            LedgerUnavailable, LedgerError: the spool cannot be read.
        """
        with self._database.translated(), self._database.reading(self._connection):
            rows = self._connection.execute(select(_notices)).mappings().all()
        return [Notice(**{name: row[name] for name in _NOTICE}) for row in rows]

    def drop(self, numbers: Sequence[int]) -> None:
        """Forget events that the ledger has; with the last one, their notices too, and every trace of both.

        Raises:
            LedgerUnavailable, LedgerError: as ``append``.
        """
        with self._database.translated():
            with self._database.writing(self._connection):
                for some in slices(numbers):
                    self._connection.execute(_DROP, {"numbers": some})
                is_empty = self._connection.scalar(select(_queue.c.number).limit(1)) is None
                if is_empty:
                    self._connection.execute(delete(_notices))
            if is_empty:
                self._connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def set_aside(self, numbers: Sequence[int]) -> None:
        """Keep events that the ledger refuses out of the others' way; they stay in the file.

        Raises:
            LedgerUnavailable, LedgerError: as ``append``.
        """
        with self._database.translated(), self._database.writing(self._connection):
            self._connection.execute(_SET_ASIDE, {"numbers": list(numbers)})

    def sign(self, secret: str, *, at_once: bool = False) -> bool:
        """Sign nothing: a spool has no tree."""
        return True

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        self._connection.close()


class Drain:
    """Moves what waits in the spool to the ledger, in the ledger's thread, before anything newer is written.

    Args:
        opener: opens the spool; called again after each of its failures.
        emptied: called whenever nothing waits any more.
        owed: notices that the ledger must be told of too, by digest; taken out once it has been.
    """

    def __init__(
        self,
        opener: Callable[[], Spool],
        emptied: Callable[[], object],
        owed: MutableMapping[str, Notice],
    ) -> None:
        self._opener = opener
        self._owed = owed
        self._emptied = emptied
        self._spool: Spool | None = None
        self._has_told = False

    def __call__(self, ledger: Ledger) -> int:
        """Move all that waits, and give how many events that were.

        A spool that fails is logged, once, and does not stop the ledger.

        Raises:
            LedgerUnavailable, LedgerError: the ledger failed; what waits goes on waiting.
        """
        moved = 0
        if owed := list(self._owed.values()):
            ledger.store_notices(owed)
            for notice in owed:
                self._owed.pop(notice.digest, None)
        try:
            while waiting := self._waiting():
                moved += self._move(ledger, *waiting)
                if self._spool is None:
                    return moved
        finally:
            if moved:
                log.warning("gem_consent's ledger took %d events from the spool", moved)
        self._emptied()
        return moved

    def _waiting(self) -> tuple[list[tuple[int, Append]], list[Notice]] | None:
        try:
            if self._spool is None:
                self._spool = self._opener()
            batch = self._spool.oldest()
            self._has_told = False
            return (batch, self._spool.notices()) if batch else None
        except LedgerError as error:
            self._give_up(error)
            return None

    def _move(self, ledger: Ledger, batch: Sequence[tuple[int, Append]], notices: Sequence[Notice]) -> int:
        ledger.store_notices(notices)
        refused = []
        try:
            ledger.append([append for _, append in batch])
        except EventRejected:
            refused = [number for number, append in batch if not _is_taken(ledger, append)]
        taken = [number for number, _ in batch if number not in refused]
        try:
            # A crash before this leaves them here: the ledger knows them by their ids next time.
            if self._spool and taken:
                self._spool.drop(taken)
            if self._spool and refused:
                self._spool.set_aside(refused)
        except LedgerError as error:
            self._give_up(error)
        return len(taken)

    def _give_up(self, error: LedgerError) -> None:
        if not self._has_told:
            log.error("gem_consent's spool cannot be drained: %s", error)
        self._has_told = True
        self.close()

    def close(self) -> None:
        """Close the spool until the next call."""
        if self._spool is not None:
            with suppress(Exception):
                self._spool.close()
        self._spool = None


def _is_taken(ledger: Ledger, append: Append) -> bool:
    try:
        ledger.append([append])
    except EventRejected as error:
        log.error("gem_consent's ledger refuses an event of the spool, which stays there: %s", error)
        return False
    return True


def _event(text: str) -> Event:
    return Event(**json.loads(text))
