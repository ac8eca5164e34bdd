"""The one thread that owns a ledger: it takes what has queued, commits it at once and wakes those who wait.

It knows no event loop and never waits for one; what an event says, and who is told what, is not its business.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol, TypeAlias
from weakref import WeakSet

from gem_consent.errors import ConsentError, LedgerError, LedgerUnavailable
from gem_consent.ledger.checkpoints import INTERVAL
from gem_consent.ledger.rows import EventRejected
from gem_consent.ledger.store import Append
from gem_consent.proof.event import Event

__all__ = ["BATCH_EVENTS", "EXIT_SECONDS", "SIGN_SECONDS", "Job", "Post", "Writer"]

BATCH_EVENTS = 1000
"""How many events one transaction takes at most."""

EXIT_SECONDS = 5.0
"""How long the interpreter's exit waits for what is not stored yet."""

RETRY_SECONDS = 0.1
"""The least time between two tries of a ledger that failed; it doubles while nobody asks."""

RETRY_LIMIT_SECONDS = 30.0

SPOOLED_RETRY_SECONDS = 5.0
"""The most time between two tries while events wait elsewhere, since nobody who comes asks for one."""

SIGN_SECONDS = INTERVAL.total_seconds()
"""The least time between two tries to sign a checkpoint, the end apart."""

FORK_SECONDS = 10.0
"""How long a fork waits for the commit under way."""

Post: TypeAlias = Callable[[Callable[[], object]], object]
"""Runs something soon in another thread, without waiting for it: an event loop's ``call_soon_threadsafe``."""

log = logging.getLogger("gem_consent")


class Flag(Protocol):
    """What a waiter waits for; it is set in the waiter's own thread."""

    def set(self) -> object: ...


class Store(Protocol):
    """What a writer writes to: the ledger, or the spool."""

    def writing(self) -> AbstractContextManager[Callable[[Sequence[Append]], list[Event]]]: ...

    def append(self, appends: Sequence[Append]) -> list[Event]: ...

    def sign(self, secret: str, *, at_once: bool) -> bool: ...

    def close(self) -> None: ...


class Earlier(Protocol):
    """What brings earlier events to a store before anything newer is written to it."""

    def __call__(self, store: Any, /) -> int:
        """Bring them, and say how many they were."""

    def close(self) -> None: ...


@dataclass(eq=False, slots=True)
class Job:
    """One thing asked of the writer, and its answer once ``is_done``: a result, or an error.

    Args:
        append: what to append; else ``read`` is called with the ledger.
        read: a question to the ledger.
        is_change: what is read changes the ledger too, which is to be signed.
        is_kept: it is tried until it works; otherwise it fails with the first try.
        post: how to reach the waiter's thread.
        flag: what to set there.
    """

    append: Append | None = None
    read: Callable[[Any], object] | None = None
    is_change: bool = False
    is_kept: bool = False
    post: Post | None = None
    flag: Flag | None = None
    is_done: bool = False
    result: Any = None
    error: Exception | None = None


class Writer:
    """A queue, and the thread that serves it: it starts with the first job and opens its store by itself.

    Args:
        opener: opens the ledger; called again after each failure.
        max_pending: how many jobs may wait.
        signing_secret: what checkpoints are signed with; none are signed without it.
        earlier: called with the ledger before each write. With it a ledger that failed is tried again even
            when nobody asks.
        name: what the log calls the store.
        survives_fork: whether a child may open the ledger although its parent had it open when it forked.
    """

    def __init__(
        self,
        opener: Callable[[], Store],
        max_pending: int,
        signing_secret: str | None = None,
        *,
        earlier: Earlier | None = None,
        name: str = "ledger",
        survives_fork: bool = False,
    ) -> None:
        self._opener = opener
        self._earlier = earlier
        self._is_nudged = False
        self._name = name
        self._limit = max_pending
        self._pid = os.getpid()
        self._survives_fork = survives_fork
        self._changed = threading.Condition()
        self._writes: OrderedDict[Job, None] = OrderedDict()
        self._reads: OrderedDict[Job, None] = OrderedDict()
        self._in_flight = 0
        self._arrivals = 0
        self._closing_at: float | None = None
        self._thread: threading.Thread | None = None
        self._ledger: Store | None = None
        self._may_be_open = False
        self._is_forking = False
        self._flushes_at_exit = False
        self._secret = signing_secret
        self._sign_at: float | None = None
        self._may_sign_at = 0.0
        self._has_told_unsigned = False
        self.dropped = 0
        _writers.add(self)

    @property
    def pending(self) -> int:
        """How many events are accepted and not yet stored."""
        return len(self._writes) + self._in_flight

    def submit(self, job: Job) -> None:
        """Queue a job. A full queue drops its oldest for one that is kept, and refuses any other.

        Raises:
            LedgerUnavailable: the queue is full, or no thread can be started; never for a job that is kept.
        """
        with self._changed:
            if not job.is_kept and self.pending + len(self._reads) >= self._limit:
                raise LedgerUnavailable(
                    f"The ledger has {self.pending} events waiting, of {self._limit} allowed: try again later"
                )
            dropped = self._make_room(self._limit - 1) if job.is_kept else []
            (self._writes if job.append else self._reads)[job] = None
            self._arrivals += 1
            self._changed.notify()
            self._ensure_thread(job)
        self._report_dropped(dropped)

    def nudge(self) -> None:
        """Have the earlier events brought soon; does not cut short the wait after a failure."""
        with self._changed:
            self._is_nudged = True
            self._changed.notify()
            self._ensure_thread(None)

    def withdraw(self, job: Job) -> None:
        """Take a job back unless its commit is under way or done."""
        with self._changed:
            self._writes.pop(job, None)
            self._reads.pop(job, None)

    def close(self, timeout: float) -> None:
        """Store what waits, that many seconds at most, and end the thread; safe to call twice.

        What could not be stored stays, and is tried again when a next job starts a new thread.
        """
        if self.is_inherited:
            return
        with self._changed:
            thread = self._thread
            if thread is None:
                return
            self._closing_at = monotonic() + timeout
            self._changed.notify()
        thread.join(timeout + RETRY_SECONDS)
        if self.pending:
            log.error("gem_consent closed its %s with %d events not stored", self._name, self.pending)

    def _ensure_thread(self, job: Job | None) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        if not self._flushes_at_exit:
            self._flushes_at_exit = True
            atexit.register(self.close, EXIT_SECONDS)
        # A daemon, or a site that never closes its recorder could not end; the flush at exit loses nothing.
        thread = threading.Thread(target=self._run, name="gem_consent writer", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if job is not None and not job.is_kept:
                self._writes.pop(job, None)
                self._reads.pop(job, None)
                raise LedgerUnavailable(f"The ledger's thread cannot be started: {error}") from error
            log.error("gem_consent cannot start its %s's thread; %d events wait", self._name, self.pending)
            return
        self._thread = thread
        self._closing_at = None

    def rest(self) -> None:
        """Close the ledger and open none until ``wake``: this process is about to fork."""
        with self._changed:
            self._is_forking = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._may_be_open, FORK_SECONDS)

    def wake(self) -> None:
        """Go on after ``rest``."""
        with self._changed:
            self._is_forking = False
            self._changed.notify_all()

    @property
    def is_inherited(self) -> bool:
        """Whether it is of this process's parent: its lock may never be freed, and its thread is not here."""
        return self._pid != os.getpid()

    @property
    def may_be_open(self) -> bool:
        """Whether its ledger is open, or about to be; in a child, whether it was when the process forked."""
        return self._may_be_open

    @property
    def taints_children(self) -> bool:
        """Whether it was left open by a fork that its database does not survive."""
        return self.is_inherited and self.may_be_open and not self._survives_fork

    def _run(self) -> None:
        failures = 0
        while self._has_work(failures):
            try:
                self._serve()
                if failures:
                    log.warning("gem_consent's %s answers again after %d failures", self._name, failures)
                failures = 0
            except Exception as error:
                failures += 1
                self._is_nudged = self._earlier is not None
                self._fail(error, failures)
                self._close_ledger()

    def _serve(self) -> None:
        if self._ledger is None:
            _require_clean_process()
            self._ledger = self._opener()
        self._bring_earlier(self._ledger)
        self._write(self._ledger)
        self._read(self._ledger)
        self._sign(self._ledger)

    def _bring_earlier(self, ledger: Store) -> None:
        if self._earlier is None:
            return
        self._is_nudged = False
        if self._earlier(ledger):
            self._expect_to_sign()

    def _has_work(self, failures: int) -> bool:
        """Wait for a job; say no when the thread is to end, which it then is to all who come."""
        with self._changed:
            if failures:
                self._pause(failures)
            while self._is_forking or not (
                self._writes
                or self._reads
                or self._closing_at is not None
                or self._is_nudged
                or self._is_to_sign()
            ):
                if self._is_forking:
                    self._close_ledger()
                self._changed.wait(self._seconds_to_sign())
            # A signature, or what the spool holds, is not worth waiting for a ledger that fails at the end.
            is_optional = self._is_to_sign() or self._is_nudged
            is_wanted = is_optional and not (failures and self._closing_at is not None)
            has_jobs = bool(self._writes or self._reads or is_wanted)
            is_overdue = self._closing_at is not None and failures and monotonic() >= self._closing_at
            self._may_be_open = self._may_be_open or has_jobs
            if has_jobs and not is_overdue:
                return True
            # Before the thread is gone for others: the next one opens a ledger of its own.
            self._close_ledger()
            self._thread = None
            return False

    def _close_ledger(self) -> None:
        try:
            if self._earlier is not None:
                self._earlier.close()
            if self._ledger is not None:
                self._ledger.close()
        except Exception as error:
            log.error("gem_consent's %s could not be closed: %s", self._name, type(error).__name__)
        with self._changed:
            self._ledger = None
            self._may_be_open = False
            self._changed.notify_all()

    def _pause(self, failures: int) -> None:
        """Wait before the next try: a moment in any case, then until somebody asks or the time is over."""
        arrivals = self._arrivals
        self._changed.wait_for(lambda: False, RETRY_SECONDS)
        limit = RETRY_LIMIT_SECONDS if self._earlier is None else SPOOLED_RETRY_SECONDS
        backoff = min(RETRY_SECONDS * 2.0 ** min(failures, 16), limit)
        self._changed.wait_for(
            lambda: self._arrivals != arrivals or self._closing_at is not None, backoff - RETRY_SECONDS
        )

    def _write(self, ledger: Store) -> None:
        if not self._writes:
            return
        batch: list[Job] = []
        try:
            with ledger.writing() as append:
                # Taken once the write lock is held: who gave up while it was waited for is not written.
                batch = self._take_writes()
                stored = append([job.append for job in batch if job.append])
        except Exception as error:
            if not batch or _is_ledgers_own(error):
                self._put_back(batch, error)
                raise
            self._write_singly(ledger, batch)
        else:
            self._settle(batch, stored)

    def _seconds_to_sign(self) -> float | None:
        if self._sign_at is None or self._is_forking:
            return None
        return max(0.0, self._sign_at - monotonic())

    def _is_to_sign(self) -> bool:
        if self._sign_at is None:
            return False
        return self._closing_at is not None or monotonic() >= self._sign_at

    def _sign(self, ledger: Store) -> None:
        """Sign what has grown, once it is time; the events are stored already, and stay so if this fails."""
        if self._secret is None or not self._is_to_sign():
            return
        is_last = self._closing_at is not None
        self._may_sign_at = monotonic() + SIGN_SECONDS
        self._sign_at = None if is_last else self._may_sign_at
        try:
            if ledger.sign(self._secret, at_once=is_last):
                self._sign_at = None
            self._has_told_unsigned = False
        except Exception as error:
            if not self._has_told_unsigned:
                reason = str(error) if isinstance(error, ConsentError) else type(error).__name__
                log.error("gem_consent cannot sign a checkpoint of its ledger: %s", reason)
            self._has_told_unsigned = True

    def _write_singly(self, ledger: Store, batch: Sequence[Job]) -> None:
        """Append one by one what failed together, so that an event that cannot be stored sinks no other."""
        for at, job in enumerate(batch):
            try:
                stored = ledger.append([job.append] if job.append else [])
            except Exception as error:
                if _is_ledgers_own(error):
                    self._put_back(batch[at:], error)
                    raise
                self._reject(job, error)
            else:
                self._settle([job], stored)

    def _read(self, ledger: Store) -> None:
        if not self._reads:
            return
        with self._changed:
            jobs = list(self._reads)
            self._reads.clear()
        for at, job in enumerate(jobs):
            try:
                job.result = job.read(ledger) if job.read else None
            except Exception as error:
                self._finish(jobs[at:], error)
                raise
            if job.is_change:
                self._expect_to_sign()
            self._finish([job])

    def _take_writes(self) -> list[Job]:
        with self._changed:
            count = min(BATCH_EVENTS, len(self._writes))
            batch = [self._writes.popitem(last=False)[0] for _ in range(count)]
            self._in_flight = count
            return batch

    def _settle(self, jobs: Sequence[Job], stored: Sequence[object]) -> None:
        for job, event in zip(jobs, stored, strict=True):
            job.result = event
        with self._changed:
            self._in_flight -= len(jobs)
        self._expect_to_sign()
        self._finish(jobs)

    def _expect_to_sign(self) -> None:
        if self._secret is not None and self._sign_at is None:
            self._sign_at = self._may_sign_at

    def _reject(self, job: Job, error: Exception) -> None:
        with self._changed:
            self._in_flight -= 1
            self.dropped += job.is_kept
        # No traceback: an error's words may hold an event's.
        reason = str(error) if isinstance(error, LedgerError) else type(error).__name__
        log.error("gem_consent's %s cannot store an event, which is lost: %s", self._name, reason)
        self._finish([job], error)

    def _put_back(self, batch: Sequence[Job], error: Exception) -> None:
        """Return what is kept to the head of the queue, in order; the rest fails."""
        with self._changed:
            self._in_flight = 0
            for job in reversed(batch):
                if job.is_kept:
                    self._writes[job] = None
                    self._writes.move_to_end(job, last=False)
            dropped = self._make_room(self._limit)
        self._finish([job for job in batch if not job.is_kept], error)
        self._report_dropped(dropped)

    def _make_room(self, limit: int) -> list[Job]:
        dropped = []
        while self._writes and self.pending > limit:
            job, _ = self._writes.popitem(last=False)
            dropped.append(job)
        self.dropped += sum(job.is_kept for job in dropped)
        return dropped

    def _report_dropped(self, jobs: Sequence[Job]) -> None:
        lost = sum(job.is_kept for job in jobs)
        if lost:
            log.error(
                "gem_consent lost %d refusals or withdrawals, its memory of %d being full; %d so far",
                lost,
                self._limit,
                self.dropped,
            )
        self._finish(jobs, LedgerUnavailable("Newer events took its place: try again later"))

    def _fail(self, error: Exception, failures: int) -> None:
        with self._changed:
            jobs = [job for job in (*self._writes, *self._reads) if not job.is_kept]
            for job in jobs:
                self._writes.pop(job, None)
                self._reads.pop(job, None)
        if failures == 1:
            trace = None if isinstance(error, LedgerError) else error
            log.error(
                "gem_consent's %s failed; %d events wait: %s",
                self._name,
                self.pending,
                error,
                exc_info=trace,
            )
        self._finish(jobs, error)

    def _finish(self, jobs: Sequence[Job], error: Exception | None = None) -> None:
        """Give jobs their answer, and tell each event loop once that theirs are there."""
        flags: dict[Post, list[Flag]] = {}
        for job in jobs:
            job.error = error
            job.is_done = True
            if job.post and job.flag:
                flags.setdefault(job.post, []).append(job.flag)
        for post, some in flags.items():
            # A loop that was closed meanwhile: nobody waits there any more.
            with suppress(RuntimeError):
                post(_Set(some))


class _Set:
    """Sets flags when called, in the thread that waits for them."""

    def __init__(self, flags: Sequence[Flag]) -> None:
        self._flags = flags

    def __call__(self) -> None:
        for flag in self._flags:
            flag.set()


def _is_ledgers_own(error: Exception) -> bool:
    """Say whether the ledger failed, rather than one event of the batch."""
    return isinstance(error, LedgerError) and not isinstance(error, EventRejected)


# SQLite keeps its locks by process, in memory that a fork copies: a child that inherits an open database
# believes that it holds its parent's locks, whatever it opens itself (sqlite.org/howtocorrupt.html, 2.6). So
# every ledger is closed while its process forks.
_writers: WeakSet[Writer] = WeakSet()


def _rest_all() -> None:
    for writer in list(_writers):
        if not writer.is_inherited:
            writer.rest()


def _wake_all() -> None:
    for writer in list(_writers):
        if not writer.is_inherited:
            writer.wake()


def _require_clean_process() -> None:
    if any(writer.taints_children for writer in list(_writers)):
        raise LedgerUnavailable(
            "This process was forked while its parent's ledger was open, which SQLite does not survive: "
            "start workers before the first request, or afresh"
        )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_rest_all, after_in_parent=_wake_all)
