"""From a decision to a durable event: what an event loop, asyncio's or trio's, asks of the one writer.

It owns patience, back-pressure and what is remembered of notices. It never blocks the loop, never opens
anything before the first use in this process, and never says that something is stored before it is.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio import to_thread

from gem_consent.errors import ConfigurationError, LedgerUnavailable
from gem_consent.ledger.database import database_of
from gem_consent.ledger.erasure import Erasure, erase
from gem_consent.ledger.rows import EventRejected
from gem_consent.ledger.spool import Drain, Spool
from gem_consent.ledger.store import Append, Ledger
from gem_consent.ledger.writer import EXIT_SECONDS, Job, Post, Writer
from gem_consent.proof.event import Event
from gem_consent.proof.notice import Notice

__all__ = ["Recorder"]

MAX_REMEMBERED = 1024
"""How many notices of other processes are remembered as known."""

_DIGEST = re.compile(r"[0-9a-f]{64}")

_T = TypeVar("_T")

log = logging.getLogger("gem_consent")


class Recorder:
    """Records events in the ledger at a URL, many to a commit; one for each application.

    A process that forks may go on using it on both sides: the child starts a thread and a connection of its
    own, and leaves alone what its parent had accepted.

    Args:
        url: the ledger's, as ``Ledger.open`` takes it; relative paths are those of the present folder.
        notices: gives those of this process's own notices that are kept in any case; called in the writer's
            thread when the ledger is opened.
        max_pending: how many events may wait to be stored, refusals kept for a retry included.
        patience_seconds: how long a caller waits for the ledger.
        signing_secret: what the ledger's checkpoints are signed with, 32 characters at least (the key is
            derived from it, for each ledger its own); none are signed without it.
        spool: a file on this machine where events wait while the ledger's server is away; shared by the
            processes of a machine. Not for a ledger on SQLite, whose disk is the spool's.
        opener: opens the ledger at an absolute URL.
        find_notice: gives this process's own notice of a digest, which is kept once it is answered; called in
            the writer's thread.
        spool_opener: opens the spool.

    Raises:
        ConfigurationError: the URL is none that can keep a ledger, or a spool was given for a file.

    Example:
        >>> recorder = Recorder("sqlite:///consent.db", notices=list)
        >>> recorder.pending, recorder.dropped
        (0, 0)
    """

    def __init__(
        self,
        url: str,
        notices: Callable[[], Iterable[Notice]],
        *,
        max_pending: int = 10_000,
        patience_seconds: float = 2.0,
        signing_secret: str | None = None,
        spool: str | os.PathLike[str] | None = None,
        opener: Callable[[str], Ledger] = Ledger.open,
        find_notice: Callable[[str], Notice | None] = lambda digest: None,
        spool_opener: Callable[[Path, Callable[[str], Notice | None]], Spool] = Spool.open,
    ) -> None:
        database = database_of(url)
        self._url, self._survives_fork = database.url, database.survives_fork
        self._spool = None if spool is None else _spool_path(spool, self._url)
        self._spool_opener = spool_opener
        self._notices = notices
        self._max_pending = max_pending
        self._patience = patience_seconds
        self._secret = signing_secret
        self._opener = opener
        self._find_notice = find_notice
        # By process: a parent's writer stays here in its child, untouched and never closed.
        self._writers: dict[int, Writer] = {}
        self._spoolers: dict[int, Writer] = {}
        self._away_in: int | None = None
        self._unfit = 0
        self._owed: dict[str, Notice] = {}
        self._own: frozenset[tuple[str, str]] = frozenset()
        self._known: dict[tuple[str, str], None] = {}

    @property
    def pending(self) -> int:
        """How many events this process has accepted and not yet stored; those in the spool are."""
        return self._writer().pending + (self._spooler(self._spool).pending if self._spool else 0)

    @property
    def dropped(self) -> int:
        """How many refusals and withdrawals this process lost: its memory was full, or the event unfit."""
        return self._writer().dropped + self._unfit

    @property
    def is_away(self) -> bool:
        """Whether this process puts events into the spool, the ledger being away; never without a spool."""
        return self._away_in == os.getpid()

    def start(self) -> None:
        """Open the ledger now, and the spool, and wait as long as patience lasts; safe to call twice.

        A database that is away does not raise: it is tried again with the first event.

        Raises:
            LedgerError: ledger or spool cannot be used until somebody acts, such as one of a newer version.
            Exception: whatever ``notices`` raised.
        """
        if self._spool:
            self._open_now(self._spooler(self._spool))
        if not self._open_now(self._writer()) and self._spool:
            self._turn_away()

    def _open_now(self, writer: Writer) -> bool:
        opened = threading.Event()
        job = Job(read=_nothing, post=_at_once, flag=opened)
        with suppress(LedgerUnavailable):
            writer.submit(job)
            opened.wait(self._patience)
        if job.error is not None and not isinstance(job.error, LedgerUnavailable):
            self.close(self._patience)
            raise job.error
        return job.is_done and job.error is None

    def close(self, timeout: float = EXIT_SECONDS) -> None:
        """Store what waits, that many seconds at most, and close; blocks.

        Safe to call twice; the next use opens the ledger again. Where nobody calls it, the interpreter's
        exit does. What waits in the spool stays there.
        """
        self._writer().close(timeout)
        if self._spool:
            self._spooler(self._spool).close(timeout)

    async def record(self, event: Event, key: str | None = None) -> Event:
        """Store an event; once this returns, it is durable, in the ledger or in the spool.

        An event that still waits when patience ends, or whose caller is cancelled, is taken back and never
        written. One whose commit is under way by then may be written although this raises: no cookie was set
        for it, and trying again with the same ``key`` within ten minutes gives back that event.

        Args:
            event: what was decided; the ledger fills in ``previous``.
            key: the request's own random id.

        Returns:
            The event as it is stored. Under a key that was seen with the same decision it is the earlier one,
            and its subject, time and end are those to tell the browser.

        Raises:
            LedgerUnavailable: the ledger failed, the queue is full, or patience ended.
            EventRejected: the event can never be stored as it is (a ``LedgerError``).
        """
        job = await self._store(Append(event, key), is_kept=False)
        stored: Event = _answer(job)
        return stored

    async def keep(self, event: Event, key: str | None = None) -> Event:
        """Store a refusal or withdrawal: within patience if that can be, else as soon as it works.

        Nothing is raised but the caller's own cancellation, which does not take the event back. What waits is
        in memory, in order, and is tried until it works; a full memory loses its oldest, which is logged and
        counted in ``dropped``. The interpreter's exit waits a few seconds for it; a killed process loses it.

        Args:
            event: what was decided.
            key: the request's own random id.

        Returns:
            The event as it is stored, as ``record`` does; the one given where it is not stored yet.
        """
        job = await self._store(Append(event, key), is_kept=True)
        stored: Event | None = job.result
        return stored or event

    async def _store(self, append: Append, *, is_kept: bool) -> Job:
        """Have an event stored, in the ledger if it answers in half the time there is, else in the spool."""
        if self._spool is None:
            return await self._ask(Job(append=append, is_kept=is_kept))
        end = anyio.current_time() + self._patience
        job = Job(append=append)
        try:
            if not self.is_away:
                await self._try(self._writer(), job, self._patience / 2)
            if not _is_settled(job):
                self._turn_away()
                # The same event: a commit under way cannot be taken back, and the ledger knows it by its id.
                job = Job(append=append)
                await self._try(self._spooler(self._spool), job, end - anyio.current_time())
                self._writer().nudge()
        finally:
            if is_kept and not _is_settled(job):
                self._writer().submit(Job(append=append, is_kept=True))
        self._unfit += is_kept and job.error is not None and _is_settled(job)
        return job

    async def _try(self, writer: Writer, job: Job, seconds: float) -> None:
        """Wait for a job; a writer that takes no more gives it its error."""
        try:
            await self._ask(job, writer, seconds)
        except LedgerUnavailable as error:
            job.is_done, job.error = True, error

    def _turn_away(self) -> None:
        if not self.is_away:
            self._away_in = os.getpid()
            log.warning("gem_consent's ledger is away: decisions wait in the spool at %s", self._spool)
        self._writer().nudge()

    def _turn_back(self) -> None:
        """Go on with the ledger: it answers, and has all that waited."""
        self._away_in = None

    def post(self, read: Callable[[Ledger], object]) -> threading.Event:
        """Have something done with the ledger in the writer's thread, soon; what fails there is lost.

        Returns:
            What is set once it is done or has failed.
        """
        done = threading.Event()
        self._writer().submit(Job(read=read, post=_at_once, flag=done))
        return done

    async def knows_notice(self, digest: str, fingerprint: str) -> bool:
        """Say whether a notice was shown under this fingerprint, by this process or by any other.

        One of this process's own that is not in the ledger yet is stored first.

        Raises:
            LedgerUnavailable: the notice is none of this process's, and the ledger cannot be asked.
        """
        notice = (digest, fingerprint)
        if notice in self._own or notice in self._known:
            return True
        if not _DIGEST.fullmatch(digest):
            return False
        own = None
        if self._spool:
            own = await to_thread.run_sync(self._own_notice, digest, fingerprint)
        job = await self._look(lambda ledger: self._look_up(ledger, digest, fingerprint))
        if notice in self._own:
            return True
        if own is not None and (not job.is_done or job.error):
            self._owed[digest] = own
            return True
        is_known: bool = _answer(job)
        if is_known:
            self._remember(notice)
        return is_known

    def _own_notice(self, digest: str, fingerprint: str) -> Notice | None:
        found = self._notice_of(digest)
        return found if found is not None and found.fingerprint == fingerprint else None

    def _notice_of(self, digest: str) -> Notice | None:
        declared = (notice for notice in self._own_notices() if notice.digest == digest)
        return next(declared, None) or self._find_notice(digest)

    def _look_up(self, ledger: Ledger, digest: str, fingerprint: str) -> bool:
        own = self._find_notice(digest)
        if own is not None and own.fingerprint == fingerprint:
            ledger.store_notices([own])
            return True
        return ledger.has_notice(digest, fingerprint)

    async def history(self, subject: str) -> list[tuple[int, Event]]:
        """Give a subject's events with their positions, oldest first.

        Raises:
            LedgerUnavailable: the ledger cannot be read, or patience ended.
        """
        job = await self._look(lambda ledger: ledger.history(subject))
        events: list[tuple[int, Event]] = _answer(job)
        return events

    async def read(self, question: Callable[[Ledger], _T]) -> _T:
        """Put a question to the ledger, in the writer's thread; it must not write.

        Args:
            question: is called with the ledger.

        Raises:
            LedgerUnavailable: the ledger cannot be read, or patience ended.
        """
        job = await self._look(question)
        answer: _T = _answer(job)
        return answer

    async def erase(self, subject: str, now: datetime) -> Erasure | None:
        """Erase a visitor's events; once this returns, it is done and durable.

        An erasure that still waits when patience ends is taken back; one under way by then may be done
        although this raises: asking again finds nothing more to erase.

        Args:
            subject: the visitor's random id.
            now: the present, aware.

        Raises:
            LedgerUnavailable: the ledger failed, the queue is full, or patience ended.
        """
        # While the spool holds decisions there is no erasing: the visitor's own may be among them.
        job = await self._look(
            lambda ledger: erase(ledger, subject, now, surface="preferences"), is_change=True
        )
        erasure: Erasure | None = _answer(job)
        return erasure

    async def _look(self, question: Callable[[Ledger], object], *, is_change: bool = False) -> Job:
        """Put a question to the ledger; one that is known to be away keeps nobody waiting."""
        job = Job(read=question, is_change=is_change)
        if self._spool and self.is_away:
            return job
        await self._ask(job)
        if self._spool and (not job.is_done or isinstance(job.error, LedgerUnavailable)):
            self._turn_away()
        return job

    async def _ask(self, job: Job, writer: Writer | None = None, seconds: float | None = None) -> Job:
        """Give a job to a writer and wait, as long as patience lasts, for its answer."""
        writer = writer or self._writer()
        answered = anyio.Event()
        job.post, job.flag = _post_here(), answered
        writer.submit(job)
        try:
            with anyio.move_on_after(self._patience if seconds is None else seconds):
                await answered.wait()
        finally:
            if not job.is_done and not job.is_kept:
                writer.withdraw(job)
        return job

    def _writer(self) -> Writer:
        # setdefault is atomic: of two threads that come first, both get the same one.
        pid = os.getpid()
        return self._writers.get(pid) or self._writers.setdefault(pid, self._new_writer())

    def _new_writer(self) -> Writer:
        drain = None
        if self._spool is not None:
            drain = Drain(self._opener_of(self._spool), self._turn_back, self._owed)
        # The spool is a SQLite file, whatever the ledger is.
        survives_fork = self._survives_fork and drain is None
        return Writer(self._open, self._max_pending, self._secret, earlier=drain, survives_fork=survives_fork)

    def _spooler(self, spool: Path) -> Writer:
        pid = os.getpid()
        return self._spoolers.get(pid) or self._spoolers.setdefault(
            pid, Writer(self._opener_of(spool), self._max_pending, name="spool")
        )

    def _opener_of(self, spool: Path) -> Callable[[], Spool]:
        return lambda: self._spool_opener(spool, self._notice_of)

    def _own_notices(self) -> list[Notice]:
        notices = list(self._notices())
        self._own = frozenset((notice.digest, notice.fingerprint) for notice in notices)
        return notices

    def _open(self) -> Ledger:
        notices = self._own_notices()
        ledger = self._opener(self._url)
        try:
            ledger.store_notices(notices)
        except BaseException:
            ledger.close()
            raise
        return ledger

    def _remember(self, notice: tuple[str, str]) -> None:
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[notice] = None


def _spool_path(spool: str | os.PathLike[str], url: str) -> Path:
    if not url.startswith("postgresql"):
        raise ConfigurationError(
            "spool= is for a ledger in PostgreSQL, which may be away: a ledger in SQLite lies on the same "
            "machine, and fails with its disk as the spool would; leave spool= out"
        )
    text = os.fspath(spool)
    if not isinstance(text, str) or not text:
        raise ConfigurationError(f"spool is {spool!r}; allowed: the path of a file on a persistent volume")
    return Path(text).absolute()


def _is_settled(job: Job) -> bool:
    """Say whether a job was carried out, or never can be."""
    return job.is_done and (job.error is None or isinstance(job.error, EventRejected))


def _answer(job: Job) -> Any:
    if not job.is_done:
        raise LedgerUnavailable("The ledger did not answer in time: try again later")
    if job.error is None:
        return job.result
    if isinstance(job.error, EventRejected):
        raise job.error
    raise LedgerUnavailable(f"The ledger did not answer: {job.error}") from job.error


def _post_here() -> Post:
    """Give the way back into the running event loop, which never waits for it.

    trio is asked first: as a guest of asyncio's loop it is the one whose task this is.
    """
    if "trio" in sys.modules:
        import trio

        with suppress(RuntimeError):
            return trio.lowlevel.current_trio_token().run_sync_soon
    return asyncio.get_running_loop().call_soon_threadsafe


def _at_once(callback: Callable[[], object]) -> None:
    callback()


def _nothing(ledger: Ledger) -> None:
    """Ask nothing: that the ledger is open is the answer."""
