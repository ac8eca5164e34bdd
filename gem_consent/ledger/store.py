"""The ledger on disk: appends events in one transaction, keeps notices, gives both back.

It owns positions, the tree's growth and each subject's chain. It never changes or removes what is stored, and
never decides what an event says.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from os import stat_result
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import BindParameter, Connection, bindparam, delete, func, insert, or_, select, update

from gem_consent.errors import LedgerError, LedgerUnavailable
from gem_consent.ledger.checkpoints import newest_notice, notice_seal, origin_of, sign_next
from gem_consent.ledger.rows import event_from, fitted, row_from
from gem_consent.ledger.schema import SCHEMA_VERSION, events, ledger, metadata, notices, purposes, requests
from gem_consent.ledger.sqlite import Turn, connect, create_file, ledger_path, translated
from gem_consent.ledger.tiles import add_to_tiles
from gem_consent.proof.event import SALT_BYTES, Event, commitment, utc_text, with_previous
from gem_consent.proof.notice import Notice
from gem_consent.proof.tree import EMPTY, Frontier, TileHash, leaf_hash

__all__ = ["KEY_LIFETIME", "Append", "Ledger"]

KEY_LIFETIME = timedelta(minutes=10)
"""How long a request's key gives back the event that it made."""

_VARIABLES = 500
"""How many values one IN list may hold: SQLite before 3.32 takes 999 variables a statement."""

# Statements are built once: building one costs as much as running it.
_IDS: BindParameter[str] = bindparam("ids", expanding=True)
_KEYS: BindParameter[str] = bindparam("keys", expanding=True)
_SUBJECTS: BindParameter[str] = bindparam("subjects", expanding=True)
_CUTOFF: BindParameter[str] = bindparam("cutoff")
_TREE = select(ledger.c.size, ledger.c.frontier)
_GROW = update(ledger).where(ledger.c.size == bindparam("before"))
_BY_ID = select(events).where(events.c.id.in_(_IDS))
_BY_KEY = (
    select(requests.c.key, events)
    .join(events, events.c.id == requests.c.event)
    .where(requests.c.key.in_(_KEYS), requests.c.time > _CUTOFF)
)
_FORGET = delete(requests).where(or_(requests.c.time <= _CUTOFF, requests.c.key.in_(_KEYS)))
_NEWEST = (
    select(func.max(events.c.position)).where(events.c.subject.in_(_SUBJECTS)).group_by(events.c.subject)
)
_LATEST = select(events.c.subject, events.c.id).where(events.c.position.in_(_NEWEST))

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Append:
    """One event to be appended.

    Args:
        event: what was decided; its ``previous`` is filled in by the ledger.
        key: the request's own random id: the same key with the same decision, within ten minutes, is the same
            request sent again and makes no second event.
    """

    event: Event
    key: str | None = None


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

    def __init__(self, path: Path, connection: Connection, clock: Callable[[], datetime]) -> None:
        self.path = path
        self.uuid = ""
        self._connection = connection
        self._clock = clock
        self._turn = Turn(path)
        self._identity = _identity(path.stat())
        self._known_purposes: set[str] = set()

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

        Args:
            url: ``sqlite:///relative.db`` or ``sqlite:////absolute/path.db``.
            must_exist: refuse where there is none, and create nothing.
            is_suspect: let in a ledger whose rows and tree disagree: it is opened to find out where.
            clock: gives the present, aware; it ages the requests' keys and dates the notices.

        Raises:
            ConfigurationError: the URL is of another kind, or in memory.
            LedgerUnavailable: the database is locked, the disk full or not answering.
            LedgerError: there is no ledger, no right to it, a newer version's, or another file in its place.
        """
        path = ledger_path(url)
        if must_exist and not path.is_file():
            raise LedgerError(f"There is no ledger at {path}: check the URL and the present folder")
        if not must_exist:
            create_file(path)
        with translated(path):
            book = cls(path, connect(path), clock)
            try:
                book._prepare(must_exist, is_suspect)
            except BaseException:
                book.close()
                raise
        return book

    def _prepare(self, must_exist: bool, is_suspect: bool) -> None:
        with self._turn.taken():
            if not must_exist and self._is_empty():
                # Outside a transaction, and in turn: two processes that change the mode at once would fail.
                self._connection.connection.cursor().execute("PRAGMA journal_mode=WAL")
            with _transaction(self._connection, "DEFERRED" if must_exist else "IMMEDIATE"):
                if not must_exist:
                    self._create()
                self._identify()
                if not is_suspect:
                    self._check()

    def _is_empty(self) -> bool:
        with _transaction(self._connection, "DEFERRED"):
            return not self._tables()

    def _create(self) -> None:
        if self._tables():
            return
        metadata.create_all(self._connection, checkfirst=False)
        row = {"one": 1, "uuid": str(uuid.uuid4()), "schema_version": SCHEMA_VERSION}
        self._connection.execute(insert(ledger).values(**row, size=0, frontier=EMPTY.encode()))

    def _identify(self) -> None:
        """Refuse what is no ledger, and what is of a newer version."""
        tables = self._tables()
        if "ledger" not in tables:
            raise LedgerError(
                f"The database at {self.path} holds no ledger: give the ledger a file of its own, "
                "or check the URL"
            )
        row = self._connection.execute(select(ledger.c.uuid, ledger.c.schema_version)).one_or_none()
        if row is None or row.schema_version < 1:
            raise self._disagreement("the row that says who it is")
        if row.schema_version > SCHEMA_VERSION:
            raise LedgerError(
                f"The ledger at {self.path} has version {row.schema_version}, and this release of "
                f"gem_consent knows {SCHEMA_VERSION} at most: install the release that wrote it, or a newer"
            )
        if not metadata.tables.keys() <= tables:
            raise self._disagreement(
                f"its tables ({', '.join(sorted(metadata.tables.keys() - tables))} missing)"
            )
        self.uuid = row.uuid

    def _check(self) -> None:
        """Refuse a ledger whose number of rows and tree disagree; ``verification.py`` compares the rest."""
        last = self._connection.scalar(select(func.max(events.c.position)))
        if self._frontier().size != (0 if last is None else last + 1):
            raise self._disagreement("the number of its rows")

    def _tables(self) -> set[str]:
        names = self._connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
        return set(names.scalars())

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
            return append(appends)

    @contextmanager
    def writing(self) -> Iterator[Callable[[Sequence[Append]], list[Event]]]:
        """Hold the ledger's write lock; the function given appends within it, and the block's end commits.

        Whoever waits for the lock can choose what to append once it has it.

        Raises:
            LedgerUnavailable, LedgerError: as ``append``.
        """
        with translated(self.path), self._turn.taken():
            self._require_same_file()
            with _transaction(self._connection, "IMMEDIATE"):
                yield self._append

    def _require_same_file(self) -> None:
        # SQLite goes on writing to a file that was removed or replaced, where nobody would find the proof.
        try:
            found = _identity(self.path.stat())
        except FileNotFoundError:
            found = None
        if found != self._identity:
            raise LedgerUnavailable(
                f"The ledger at {self.path} was moved or replaced while open: open it again"
            )

    def _append(self, appends: Sequence[Append]) -> list[Event]:
        wanted = [(fitted(item.event), _key_digest(item)) for item in appends]
        by_id = self._stored([event.id for event, _ in wanted])
        by_key = self._remembered([key for _, key in wanted if key])
        fresh: list[Event] = []
        keys: dict[str, Event] = {}
        answers = []
        for event, key in wanted:
            earlier = by_id.get(event.id) or (by_key.get(key) if key else None)
            if earlier is None:
                earlier = event
                fresh.append(event)
                by_id[event.id] = event
                if key:
                    by_key[key] = keys[key] = event
            answers.append(earlier)
        written = self._write(fresh)
        self._remember(keys)
        return [written.get(event.id, event) for event in answers]

    def _stored(self, ids: Sequence[str]) -> dict[str, Event]:
        found = {}
        for some in _slices(ids):
            for row in self._connection.execute(_BY_ID, {"ids": some}).mappings():
                found[row["id"]] = event_from(row)
        return found

    def _remembered(self, keys: Sequence[str]) -> dict[str, Event]:
        found = {}
        for some in _slices(keys):
            recent = {"keys": some, "cutoff": self._cutoff()}
            for row in self._connection.execute(_BY_KEY, recent).mappings():
                found[row["key"]] = event_from(row)
        return found

    def _remember(self, keys: dict[str, Event]) -> None:
        if not keys:
            return
        for some in _slices(list(keys)):
            self._connection.execute(_FORGET, {"keys": some, "cutoff": self._cutoff()})
        now = utc_text(self._clock())
        rows = [{"key": key, "event": event.id, "time": now} for key, event in keys.items()]
        self._connection.execute(insert(requests), rows)

    def _cutoff(self) -> str:
        return utc_text(self._clock() - KEY_LIFETIME)

    def _write(self, fresh: Sequence[Event]) -> dict[str, Event]:
        """Insert new events behind the last one; give them by id, each linked to its subject's one before."""
        if not fresh:
            return {}
        frontier = self._frontier()
        chained = self._chained(fresh)
        rows = [_row(frontier.size + at, event) for at, event in enumerate(chained)]
        self._connection.execute(insert(events), rows)
        self._register(frontier.size, chained)
        grown, finished = frontier.grow(row["leaf"] for row in rows)
        self._advance(frontier, grown)
        self._add_to_tiles(finished)
        return {event.id: event for event in chained}

    def _frontier(self) -> Frontier:
        row = self._connection.execute(_TREE).one()
        try:
            return Frontier.decode(row.size, row.frontier)
        except ValueError as error:
            raise self._disagreement("the tree's frontier") from error

    def _advance(self, before: Frontier, after: Frontier) -> None:
        step = {"before": before.size, "size": after.size, "frontier": after.encode()}
        changed = self._connection.execute(_GROW, step)
        if changed.rowcount != 1:
            raise self._disagreement("the tree's size")

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
            return sign_next(
                self._connection,
                origin_of(self.uuid),
                secret,
                self._clock(),
                self._frontier(),
                at_once=at_once,
            )

    def _chained(self, fresh: Sequence[Event]) -> list[Event]:
        latest: dict[str, str] = {}
        for some in _slices(list({event.subject for event in fresh if event.mark is None})):
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
        rows = {notice.digest: self._notice_row(notice) for notice in given}
        if not rows:
            return
        with translated(self.path), self.reading() as connection:
            missing = rows.keys() - set(connection.scalars(select(notices.c.digest)))
        if not missing:
            return
        with self.writing():
            present = set(self._connection.scalars(select(notices.c.digest)))
            new = [row for digest, row in rows.items() if digest not in present]
            last, seal = newest_notice(self._connection)
            for number, row in enumerate(new, last + 1):
                seal = notice_seal(seal, number, row)
                row |= {"number": number, "seal": seal}
            if new:
                self._connection.execute(insert(notices), new)

    def _notice_row(self, notice: Notice) -> dict[str, Any]:
        if hashlib.sha256(notice.html).hexdigest() != notice.digest:
            raise LedgerError(
                f"The notice {notice.digest[:64]!r} cannot be stored: that is not the SHA-256 of its page"
            )
        for name in ("fingerprint", "language", "library"):
            limit: int = notices.c[name].type.length  # type: ignore[attr-defined]
            if len(getattr(notice, name)) > limit:
                raise LedgerError(
                    f"The notice {notice.digest} cannot be stored: its {name} has over {limit} characters"
                )
        row = {field.name: getattr(notice, field.name) for field in fields(notice)}
        return row | {"stored": utc_text(self._clock())}

    def notice(self, digest: str) -> Notice | None:
        """Give the notice of this digest, or ``None``.

        Raises:
            LedgerUnavailable, LedgerError: the ledger cannot be read.
        """
        with self.reading() as connection:
            row = connection.execute(select(notices).where(notices.c.digest == digest)).one_or_none()
        if row is None:
            return None
        return Notice(row.digest, row.fingerprint, row.language, row.library, bytes(row.html))

    def stored_notices(self) -> list[tuple[str, Notice]]:
        """Give every notice with the time it was stored at, oldest first.

        Raises:
            LedgerUnavailable, LedgerError: the ledger cannot be read.
        """
        wanted = select(notices).order_by(notices.c.stored, notices.c.language)
        with self.reading() as connection:
            rows = connection.execute(wanted).mappings().all()
        return [(row["stored"], Notice(**{name: row[name] for name in Notice.__slots__})) for row in rows]

    def has_notice(self, digest: str, fingerprint: str) -> bool:
        """Say whether a notice of this digest was stored under this fingerprint, by any process.

        Raises:
            LedgerUnavailable, LedgerError: the ledger cannot be read.
        """
        found = select(notices.c.fingerprint).where(notices.c.digest == digest)
        with self.reading() as connection:
            return bool(connection.scalar(found) == fingerprint)

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
        with translated(self.path), _transaction(self._connection, "DEFERRED"):
            yield self._connection

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        self._connection.close()

    def _disagreement(self, where: str) -> LedgerError:
        return LedgerError(
            f"The ledger at {self.path} disagrees with itself over {where}, so nothing was written: "
            "keep the file, restore a backup"
        )


@contextmanager
def _transaction(connection: Connection, kind: str) -> Iterator[None]:
    # IMMEDIATE takes the write lock at once: a transaction that had read first could not be upgraded safely.
    with connection.begin():
        connection.exec_driver_sql(f"BEGIN {kind}")
        yield


def _identity(status: stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _key_digest(item: Append) -> str | None:
    """Sum up a request's key and what it decides: a key that comes with another decision is another."""
    if item.key is None:
        return None
    event = item.event
    said = [item.key, event.site, event.fingerprint, event.action, dict(sorted(event.purposes.items()))]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _row(position: int, event: Event) -> dict[str, Any]:
    salt = secrets.token_bytes(SALT_BYTES)
    committed = commitment(salt, event)
    proof = {"position": position, "commitment": committed, "leaf": leaf_hash(committed), "salt": salt}
    return proof | row_from(event)


def _slices(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for at in range(0, len(values), _VARIABLES):
        yield values[at : at + _VARIABLES]
