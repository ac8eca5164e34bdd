"""The ledger: appends events in one transaction, keeps notices, gives both back.

It owns positions, the tree's growth and each subject's chain. It never changes or removes what is stored, and
never decides what an event says.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, func, insert, select, update

from gem_consent.errors import LedgerError, LedgerUnavailable
from gem_consent.inventory import Seen
from gem_consent.ledger.checkpoints import origin_of, sign_next
from gem_consent.ledger.cookies import add_cookies, stored_cookies
from gem_consent.ledger.database import Database, database_of
from gem_consent.ledger.notices import (
    add_notices,
    find_notice,
    has_notice,
    missing_notices,
    notice_row,
    stored_notices,
)
from gem_consent.ledger.opening import disagreement, prepare
from gem_consent.ledger.requests import KEY_LIFETIME, key_digest, remember, remembered
from gem_consent.ledger.rows import event_from, fitted, insert_rows, row_from, slices
from gem_consent.ledger.schema import events, ledger, purposes
from gem_consent.ledger.tiles import add_to_tiles
from gem_consent.proof.event import SALT_BYTES, Event, commitment, utc_text, with_previous
from gem_consent.proof.notice import Notice
from gem_consent.proof.tree import Frontier, TileHash, leaf_hash

__all__ = ["KEY_LIFETIME", "Append", "Ledger"]

# Statements are built once: building one costs as much as running it.
_IDS: BindParameter[str] = bindparam("ids", expanding=True)
_SUBJECTS: BindParameter[str] = bindparam("subjects", expanding=True)
# The row is locked until the transaction ends, which keeps writers apart; SQLite keeps them apart itself.
_LOCK = select(ledger.c.uuid, ledger.c.size, ledger.c.frontier).with_for_update()
_GROW = update(ledger).where(ledger.c.size == bindparam("before"))
_BY_ID = select(events).where(events.c.id.in_(_IDS))
_NEWEST = (
    select(func.max(events.c.position)).where(events.c.subject.in_(_SUBJECTS)).group_by(events.c.subject)
)
_LATEST = select(events.c.subject, events.c.id).where(events.c.position.in_(_NEWEST))


@dataclass(frozen=True, slots=True)
class Append:
    """One event to be appended.

    Args:
        event: what was decided; its ``previous`` is filled in by the ledger.
        key: the request's own random id: the same key with the same decision, within ten minutes, is the same
            request sent again and makes no second event.
        is_acknowledged: the visitor has their answer already, so the event is written whatever its key made
            before; the key is noted all the same.
    """

    event: Event
    key: str | None = None
    is_acknowledged: bool = False


def _now() -> datetime:
    return datetime.now(UTC)


class Ledger:
    """An open ledger: synchronous, one connection, used by one thread at a time (any thread).

    A process that forks closes it first: SQLite's locks do not survive it (``writer.py`` sees to its own).

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> book = Ledger.open(f"sqlite:///{folder.name}/consent.db")
        >>> book.size
        0
        >>> book.close()
        >>> folder.cleanup()
    """

    def __init__(self, database: Database, connection: Connection, clock: Callable[[], datetime]) -> None:
        self.name = database.name
        self.uuid = ""
        self._database = database
        self._connection = connection
        self._clock = clock
        self._tree = Frontier()
        self._known_purposes: set[str] = set()
        self._is_scrubbed = True

    @classmethod
    def open(
        cls,
        url: str,
        *,
        must_exist: bool = False,
        is_suspect: bool = False,
        clock: Callable[[], datetime] = _now,
    ) -> Ledger:
        """Open the ledger at a URL, made first where there is none; two processes may do so at once.

        One of an older release is brought to this one's version, which needs the right to change tables.

        Args:
            url: ``sqlite:///relative.db``, ``sqlite:////absolute/path.db`` or
                ``postgresql://user:password@host/database``.
            must_exist: refuse where there is none, and create nothing.
            is_suspect: let in a ledger whose rows and tree disagree: it is opened to find out where.
            clock: gives the present, aware; it ages the requests' keys and dates the notices.

        Raises:
            ConfigurationError: the URL is of another kind, or in memory.
            LedgerUnavailable: the database is locked, the disk full or not answering.
            LedgerError: there is no ledger, no right to it, a newer version's, or something else there.
        """
        database = database_of(url, is_patient=must_exist)
        book = cls(database, database.connect(must_exist=must_exist), clock)
        try:
            book._prepare(must_exist, is_suspect)
        except BaseException:
            book.close()
            raise
        return book

    def _prepare(self, must_exist: bool, is_suspect: bool) -> None:
        with self._database.translated():
            self.uuid = prepare(self._database, self._connection, must_exist=must_exist)
        if not is_suspect:
            with self.reading() as connection:
                self._check(connection)

    def _check(self, connection: Connection) -> None:
        """Refuse a ledger whose number of rows and tree disagree; ``verification.py`` compares the rest."""
        row = connection.execute(select(ledger.c.size, ledger.c.frontier)).one()
        last = connection.scalar(select(func.max(events.c.position)))
        if self._frontier(row.size, row.frontier).size != (0 if last is None else last + 1):
            raise self._disagreement("the number of its rows")

    @property
    def size(self) -> int:
        """How many leaves the tree has, erased events and marks included.

        Raises:
            LedgerUnavailable, LedgerError: the ledger cannot be read.
        """
        with self.reading() as connection:
            return int(connection.execute(select(ledger.c.size)).scalar_one())

    def append(self, appends: Sequence[Append]) -> list[Event]:
        """Append events in one transaction: all of them or none, durable once this returns.

        Safe to call again with the same events: one whose id is stored, or whose key was seen with the same
        decision within ten minutes, is not written twice.

        Returns:
            The events as they are stored, in the order asked for; an earlier one where it was stored already.

        Raises:
            EventRejected: one of them can never be stored; none was, so send the others alone.
            LedgerUnavailable: the database is locked, the disk full or not answering; a commit whose answer
                was lost may have happened, which a second call finds out.
            LedgerError: the ledger cannot be used, or disagrees with itself.
        """
        if not appends:
            return []
        with self.writing() as append:
            stored: list[Event] = append(appends)
        return stored

    @contextmanager
    def writing(self) -> Iterator[Callable[[Sequence[Append]], list[Event]]]:
        """Hold the ledger's write lock; the function given appends within it, and the block's end commits.

        Whoever waits for the lock can choose what to append once it has it.

        Raises:
            LedgerUnavailable, LedgerError: as ``append``.
        """
        with self._database.translated(), self._database.writing(self._connection):
            self._lock()
            yield self._append

    @contextmanager
    def changing(self) -> Iterator[tuple[Connection, Callable[[Sequence[Append]], list[Event]]]]:
        """Hold the write lock as ``writing`` does, with the connection: for what empties rows alone."""
        with self.writing() as append:
            yield self._connection, append

    def scrub(self) -> bool:
        """Take what was emptied out of the database's log too; say whether nobody who reads kept it there.

        Where somebody did, it is tried again with each checkpoint.

        Raises:
            LedgerUnavailable, LedgerError: as ``append``; it may be tried again.
        """
        with self._database.translated():
            self._is_scrubbed = self._database.scrub(self._connection)
        return self._is_scrubbed

    def traces(self, text: str) -> int | None:
        """Count where a text still lies in the database's files; ``None`` where they cannot be read."""
        with self._database.translated():
            return self._database.traces(text)

    def rewrite(self) -> None:
        """Write the database anew, without what its pages still hold of emptied rows, while nobody writes.

        Raises:
            LedgerUnavailable, LedgerError: as ``append``; the disk needs room for a copy of the database.
        """
        with self._database.translated():
            self._database.rewrite(self._connection)

    def _lock(self) -> None:
        """Lock the ledger's row until the transaction ends, and read the tree from it."""
        row = self._connection.execute(_LOCK).one_or_none()
        if row is None:
            raise self._disagreement("the row that says who it is")
        if row.uuid != self.uuid:
            raise LedgerUnavailable(f"The ledger at {self.name} was replaced while open: open it again")
        self._tree = self._frontier(row.size, row.frontier)

    def _append(self, appends: Sequence[Append]) -> list[Event]:
        now = self._clock()
        wanted = [
            (fitted(item.event), key_digest(item.key, item.event) if item.key is not None else None)
            for item in appends
        ]
        by_id = self._stored([event.id for event, _ in wanted])
        by_key = remembered(self._connection, [key for _, key in wanted if key], now)
        fresh: list[Event] = []
        keys: dict[str, Event] = {}
        answers = []
        for item, (event, key) in zip(appends, wanted, strict=True):
            earlier = by_id.get(event.id) or (by_key.get(key) if key and not item.is_acknowledged else None)
            if earlier is None:
                earlier = event
                fresh.append(event)
                by_id[event.id] = event
                if key:
                    by_key[key] = keys[key] = event
            answers.append(earlier)
        written = self._write(fresh)
        remember(self._connection, keys, now)
        return [written.get(event.id, event) for event in answers]

    def _stored(self, ids: Sequence[str]) -> dict[str, Event]:
        found = {}
        for some in slices(ids):
            for row in self._connection.execute(_BY_ID, {"ids": some}).mappings():
                found[row["id"]] = event_from(row)
        return found

    def _write(self, fresh: Sequence[Event]) -> dict[str, Event]:
        """Insert new events behind the last one; give them by id, each linked to its subject's one before."""
        if not fresh:
            return {}
        start = self._tree.size
        chained = self._chained(fresh)
        rows = [_row(position, event) for position, event in enumerate(chained, start)]
        insert_rows(self._connection, rows)
        self._register(start, chained)
        self._grow([row["leaf"] for row in rows])
        return {event.id: event for event in chained}

    def _frontier(self, size: int, stored: bytes) -> Frontier:
        try:
            return Frontier.decode(size, stored)
        except ValueError as error:
            raise self._disagreement("the tree's frontier") from error

    def _grow(self, leaves: Sequence[bytes]) -> None:
        grown, finished = self._tree.grow(leaves)
        step = {"before": self._tree.size, "size": grown.size, "frontier": grown.encode()}
        if self._connection.execute(_GROW, step).rowcount != 1:
            raise self._disagreement("the tree's size")
        self._add_to_tiles(finished)
        self._tree = grown

    def _add_to_tiles(self, finished: Sequence[TileHash]) -> None:
        try:
            add_to_tiles(self._connection, finished)
        except ValueError as error:
            raise self._disagreement("the tree's tiles") from error

    def sign(self, secret: str, *, at_once: bool = False) -> bool:
        """Sign a checkpoint of the tree as it is, unless the newest one is of this size or of this minute.

        Args:
            secret: what this ledger's signing key is derived from, 32 characters at least.
            at_once: sign even though less than a minute has passed since the newest.

        Returns:
            Whether all rows are covered now; if not, it is too early.

        Raises:
            LedgerUnavailable, LedgerError: as ``append``.
            ProofError: the tree is not the one that was signed before, so that signing it would be a lie.
        """
        with self.writing():
            is_signed = sign_next(
                self._connection,
                origin_of(self.uuid),
                secret,
                self._clock(),
                self._tree,
                at_once=at_once,
            )
        if not self._is_scrubbed:
            self.scrub()
        return is_signed

    def _chained(self, fresh: Sequence[Event]) -> list[Event]:
        latest: dict[str, str] = {}
        for some in slices(list({event.subject for event in fresh if event.mark is None})):
            rows = self._connection.execute(_LATEST, {"subjects": some})
            latest.update((row.subject, row.id) for row in rows)
        chained = []
        for event in fresh:
            if event.mark is None:
                event = with_previous(event, latest.get(event.subject))
                latest[event.subject] = event.id
            chained.append(event)
        return chained

    def _register(self, start: int, chained: Sequence[Event]) -> None:
        """Note purposes that no event has spoken of before, with the position of the first that does."""
        seen: dict[str, int] = {}
        for position, event in enumerate(chained, start):
            for purpose in event.purposes.keys() - self._known_purposes:
                seen.setdefault(purpose, position)
        if not seen:
            return
        known = set(self._connection.scalars(select(purposes.c.id)))
        new = [{"id": purpose, "since": since} for purpose, since in seen.items() if purpose not in known]
        if new:
            self._connection.execute(insert(purposes), new)
        # Only what was committed before may be relied on: this transaction can still fail.
        self._known_purposes = known

    def store_notices(self, given: Iterable[Notice]) -> None:
        """Keep notices for ever, those that are not there yet; safe to call again with the same.

        Raises:
            LedgerError: a digest is not the SHA-256 of its page, or a field does not fit; none was stored.
            LedgerUnavailable: the database is locked, the disk full or not answering.
        """
        stored = utc_text(self._clock())
        rows = {notice.digest: notice_row(notice, stored) for notice in given}
        if not rows:
            return
        with self.reading() as connection:
            is_complete = not missing_notices(connection, rows)
        if is_complete:
            return
        with self.writing():
            add_notices(self._connection, missing_notices(self._connection, rows))

    def notice(self, digest: str) -> Notice | None:
        """Give the notice of this digest, or ``None``.

        Raises:
            LedgerUnavailable, LedgerError: the ledger cannot be read.
        """
        with self.reading() as connection:
            return find_notice(connection, digest)

    def stored_notices(self) -> list[tuple[str, Notice]]:
        """Give every notice with the time it was stored at, oldest first.

        Raises:
            LedgerUnavailable, LedgerError: the ledger cannot be read.
        """
        with self.reading() as connection:
            return stored_notices(connection)

    def has_notice(self, digest: str, fingerprint: str) -> bool:
        """Say whether a notice of this digest was stored under this fingerprint, by any process.

        Raises:
            LedgerUnavailable, LedgerError: the ledger cannot be read.
        """
        with self.reading() as connection:
            return has_notice(connection, digest, fingerprint)

    def store_cookies(self, seen: Sequence[Seen]) -> None:
        """Merge sightings of cookies into the inventory.

        Raises:
            LedgerUnavailable, LedgerError: as ``append``.
        """
        with self.writing():
            add_cookies(self._connection, seen)

    def cookies(self) -> list[Seen]:
        """Give the inventory of cookies, by name.

        Raises:
            LedgerUnavailable, LedgerError: the ledger cannot be read.
        """
        with self.reading() as connection:
            return stored_cookies(connection)

    def history(self, subject: str) -> list[tuple[int, Event]]:
        """Give a subject's events with their positions, oldest first; what was erased is gone.

        Raises:
            LedgerUnavailable, LedgerError: the ledger cannot be read.
        """
        wanted = select(events).where(events.c.subject == subject).order_by(events.c.position)
        with self.reading() as connection:
            return [(row["position"], event_from(row)) for row in connection.execute(wanted).mappings()]

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give the connection within one read transaction: all that is read is of one moment.

        Raises:
            LedgerUnavailable, LedgerError: the ledger cannot be read.
        """
        with self._database.translated(), self._database.reading(self._connection):
            yield self._connection

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        self._connection.close()

    def _disagreement(self, where: str) -> LedgerError:
        return disagreement(self._database, where)


def _row(position: int, event: Event) -> dict[str, Any]:
    salt = secrets.token_bytes(SALT_BYTES)
    committed = commitment(salt, event)
    proof = {"position": position, "commitment": committed, "leaf": leaf_hash(committed), "salt": salt}
    return proof | row_from(event)
