"""The recorder under asyncio and trio: what is durable, what is withdrawn, what is kept and never lost."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from ledgers import check, make_event, make_notice, url_of

from gem_consent import recorder as recorder_module
from gem_consent.errors import ConfigurationError, LedgerError, LedgerUnavailable
from gem_consent.ledger.rows import EventRejected
from gem_consent.ledger.store import Append, Ledger
from gem_consent.proof.event import Event
from gem_consent.proof.notice import Notice
from gem_consent.recorder import Recorder

LONG_SECONDS = 30.0
OWN = make_notice("Our own")


class Database:
    """A real ledger that a test can take away, stop within a commit, and count the commits of."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_away = False
        self.opened = 0
        self.batches: list[int] = []
        self.is_committing = threading.Event()
        self.may_commit = threading.Event()
        self.may_commit.set()

    def open(self, url: str) -> Ledger:
        """Open the ledger, unless it is away."""
        self.opened += 1
        self.answer()
        database = self

        class Watched(Ledger):
            @contextmanager
            def writing(self) -> Iterator[Callable[[Sequence[Append]], list[Event]]]:
                database.answer()
                with super().writing() as append:
                    yield lambda appends: database.committed(append(appends))

            def has_notice(self, digest: str, fingerprint: str) -> bool:
                database.answer()
                return super().has_notice(digest, fingerprint)

        return Watched.open(url)

    def answer(self) -> None:
        """Fail if the database is away."""
        if self.is_away:
            raise LedgerUnavailable("away")

    def committed(self, stored: list[Event]) -> list[Event]:
        """Count a commit, and hold it back if the test wants that."""
        if stored:
            self.batches.append(len(stored))
            self.is_committing.set()
            assert self.may_commit.wait(LONG_SECONDS)
        return stored

    def hold(self) -> None:
        """Hold back the next commit until ``may_commit`` is set."""
        self.is_committing.clear()
        self.may_commit.clear()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Run a coroutine test under both event loops."""
    return request.param


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """The recorders' database."""
    return Database(tmp_path / "consent.db")


@pytest.fixture
def make(database: Database) -> Iterator[Callable[..., Recorder]]:
    """Make recorders that are closed, and their ledger checked, when the test is over."""
    made: list[Recorder] = []

    def make_recorder(**options: Any) -> Recorder:
        options.setdefault("patience_seconds", LONG_SECONDS)
        made.append(Recorder(url_of(database.path), lambda: [OWN], opener=database.open, **options))
        return made[-1]

    yield make_recorder
    database.is_away = False
    database.may_commit.set()
    for recorder in made:
        recorder.close(LONG_SECONDS)
    if database.path.exists():
        check(database.path)


async def until_pending(recorder: Recorder, count: int) -> None:
    """Wait until that many events are accepted."""
    with anyio.fail_after(LONG_SECONDS):
        while recorder.pending < count:
            await anyio.lowlevel.checkpoint()


async def until_set(event: threading.Event) -> None:
    """Wait for another thread's event."""
    assert await anyio.to_thread.run_sync(event.wait, LONG_SECONDS)


async def close(recorder: Recorder) -> None:
    """Close a recorder without blocking the loop."""
    await anyio.to_thread.run_sync(recorder.close, LONG_SECONDS)


async def hold_one_commit(recorder: Recorder, database: Database, group: Any) -> Event:
    """Start a commit of one event and stop within it."""
    database.hold()
    event = make_event()
    group.start_soon(recorder.keep, event)
    await until_set(database.is_committing)
    return event


# Recording


@pytest.mark.anyio
async def test_recorded_event_is_durable(make: Callable[..., Recorder], database: Database) -> None:
    """Once ``record`` returns, another reader of the file finds the event."""
    event = make_event()
    assert await make().record(event) == event
    assert check(database.path) == [event]


@pytest.mark.anyio
async def test_waiting_events_share_commit(make: Callable[..., Recorder], database: Database) -> None:
    """What queues while a commit runs is appended by the next one, in order."""
    recorder = make()
    async with anyio.create_task_group() as group:
        first = await hold_one_commit(recorder, database, group)
        events = []
        for number in range(50):
            events.append(make_event())
            group.start_soon(recorder.record, events[-1])
            await until_pending(recorder, number + 2)
        database.may_commit.set()
    assert database.batches == [1, 50]
    assert check(database.path) == [first, *events]


@pytest.mark.anyio
async def test_answers_reach_their_askers(make: Callable[..., Recorder]) -> None:
    """Each of many concurrent callers gets its own event back."""
    recorder = make()

    async def ask() -> None:
        event = make_event()
        assert await recorder.record(event) == event

    async with anyio.create_task_group() as group:
        for _ in range(300):
            group.start_soon(ask)


@pytest.mark.anyio
async def test_repeated_key_gives_earlier_event(make: Callable[..., Recorder], database: Database) -> None:
    """A request sent twice is answered with the event it made first, refusals too."""
    recorder = make()
    first = await recorder.record(make_event(), key="k")
    assert await recorder.record(make_event(), key="k") == first
    assert await recorder.keep(make_event(), key="k") == first
    assert check(database.path) == [first]


@pytest.mark.anyio
async def test_failed_grant_is_never_written(make: Callable[..., Recorder], database: Database) -> None:
    """A grant that met a ledger that was away fails at once and is not written afterwards."""
    recorder = make()
    database.is_away = True
    with pytest.raises(LedgerUnavailable, match="did not answer: away"):
        await recorder.record(make_event())
    database.is_away = False
    event = await recorder.record(make_event())
    assert check(database.path) == [event]


@pytest.mark.anyio
async def test_impatient_grant_is_withdrawn(make: Callable[..., Recorder], database: Database) -> None:
    """A grant that still waits when patience ends is never written."""
    recorder, impatient = make(), None
    async with anyio.create_task_group() as group:
        first = await hold_one_commit(recorder, database, group)
        recorder._patience = 0.01
        with pytest.raises(LedgerUnavailable, match="did not answer in time"):
            impatient = await recorder.record(make_event())
        assert recorder.pending == 1
        database.may_commit.set()
    await close(recorder)
    assert impatient is None
    assert check(database.path) == [first]


@pytest.mark.anyio
async def test_cancelled_grant_is_withdrawn(make: Callable[..., Recorder], database: Database) -> None:
    """A grant whose request was cancelled while it waited is never written."""
    recorder = make()
    async with anyio.create_task_group() as group:
        first = await hold_one_commit(recorder, database, group)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await recorder.record(make_event())
        database.may_commit.set()
    await close(recorder)
    assert check(database.path) == [first]


@pytest.mark.anyio
async def test_commit_under_way_counts(make: Callable[..., Recorder], database: Database) -> None:
    """A grant whose commit was under way when patience ended is found by its key."""
    recorder = make(patience_seconds=0.01)
    database.hold()
    event = make_event()
    while not database.is_committing.is_set():
        with pytest.raises(LedgerUnavailable, match="did not answer in time"):
            await recorder.record(event, key="k")
    database.may_commit.set()
    recorder._patience = LONG_SECONDS
    assert await recorder.record(make_event(), key="k") == event
    assert check(database.path) == [event]


@pytest.mark.anyio
async def test_lock_wait_leaves_withdrawal(make: Callable[..., Recorder], database: Database) -> None:
    """A grant that gave up while another process held the write lock is never written."""
    recorder = make()
    await recorder.record(make_event())
    with closing(Ledger.open(url_of(database.path))) as other:
        lock = other.writing()
        lock.__enter__()
        recorder._patience = 0.05
        with pytest.raises(LedgerUnavailable, match="did not answer in time"):
            await recorder.record(make_event())
        lock.__exit__(None, None, None)
    await close(recorder)
    assert len(check(database.path)) == 1


@pytest.mark.anyio
async def test_full_queue_refuses_grants(make: Callable[..., Recorder], database: Database) -> None:
    """Beyond the bound a grant is refused at once, and those that wait go on."""
    recorder = make(max_pending=3)
    async with anyio.create_task_group() as group:
        await hold_one_commit(recorder, database, group)
        for count in (2, 3):
            group.start_soon(recorder.record, make_event())
            await until_pending(recorder, count)
        with pytest.raises(LedgerUnavailable, match="3 events waiting, of 3 allowed: try again later"):
            await recorder.record(make_event())
        database.may_commit.set()
    assert len(check(database.path)) == 3


@pytest.mark.anyio
async def test_unfit_event_sinks_no_other(make: Callable[..., Recorder], database: Database) -> None:
    """An event that can never be stored fails alone; the rest of its batch is stored in order."""
    recorder = make()
    events = [make_event() for _ in range(4)]
    rejected = []

    async def record_unfit() -> None:
        with pytest.raises(EventRejected, match="its state has 17 characters"):
            await recorder.record(make_event(state="x" * 17))
        rejected.append(True)

    async with anyio.create_task_group() as group:
        first = await hold_one_commit(recorder, database, group)
        for number, event in enumerate(events):
            group.start_soon(recorder.record, event)
            await until_pending(recorder, number * 2 + 2)
            group.start_soon(record_unfit)
            await until_pending(recorder, number * 2 + 3)
        database.may_commit.set()
    assert len(rejected) == 4
    assert (recorder.pending, recorder.dropped) == (0, 0)
    assert check(database.path) == [first, *events]


# Keeping


@pytest.mark.anyio
async def test_kept_event_is_durable(make: Callable[..., Recorder], database: Database) -> None:
    """With the ledger there, ``keep`` returns once the event is stored."""
    event = make_event(subject="s")
    recorder = make()
    assert await recorder.keep(event) == event
    assert (await recorder.keep(make_event(subject="s"))).previous == event.id
    assert len(check(database.path)) == 2


@pytest.mark.anyio
async def test_kept_events_outlast_outage(make: Callable[..., Recorder], database: Database) -> None:
    """Refusals that met a ledger that was away are stored when it is back, in order, before later ones."""
    recorder = make(patience_seconds=0.0)
    database.is_away = True
    events = [make_event() for _ in range(5)]
    for event in events:
        assert await recorder.keep(event) == event
    assert (recorder.pending, recorder.dropped) == (5, 0)
    database.is_away = False
    recorder._patience = LONG_SECONDS
    last = await recorder.record(make_event())
    assert check(database.path) == [*events, last]


@pytest.mark.anyio
async def test_retry_needs_no_caller(
    make: Callable[..., Recorder], database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """What is kept is stored by the writer alone once the ledger is back; failure and return are logged."""
    recorder = make(patience_seconds=0.0)
    await recorder.keep(make_event())
    await close(recorder)
    database.is_away = True
    await recorder.keep(make_event())
    database.hold()
    database.is_away = False
    await until_set(database.is_committing)
    database.may_commit.set()
    await close(recorder)
    assert len(check(database.path)) == 2
    assert "subject-" not in caplog.text


@pytest.mark.anyio
async def test_full_memory_drops_oldest(
    make: Callable[..., Recorder], database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond the bound the oldest refusal is lost, which is logged without its words, and counted."""
    recorder = make(patience_seconds=0.0, max_pending=3)
    database.is_away = True
    events = [make_event() for _ in range(5)]
    for event in events:
        await recorder.keep(event)
    assert (recorder.pending, recorder.dropped) == (3, 2)
    database.is_away = False
    await close(recorder)
    assert check(database.path) == events[2:]
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "gem_consent lost 1 refusals or withdrawals, its memory of 3 being full; 2 so far" in errors
    assert "subject-" not in caplog.text


@pytest.mark.anyio
async def test_refusal_goes_before_grants(make: Callable[..., Recorder], database: Database) -> None:
    """In a full queue a refusal takes the place of the oldest grant, which fails at once."""
    recorder = make(max_pending=2)
    refusal = make_event()

    async def record_in_vain() -> None:
        with pytest.raises(LedgerUnavailable, match="Newer events took its place"):
            await recorder.record(make_event())
        database.may_commit.set()

    async with anyio.create_task_group() as group:
        first = await hold_one_commit(recorder, database, group)
        group.start_soon(record_in_vain)
        await until_pending(recorder, 2)
        await recorder.keep(refusal)
    assert recorder.dropped == 0
    assert check(database.path) == [first, refusal]


@pytest.mark.anyio
async def test_cancelled_refusal_is_stored(make: Callable[..., Recorder], database: Database) -> None:
    """A refusal counts although its request was cancelled."""
    recorder = make()
    event = make_event()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await recorder.keep(event)
    await close(recorder)
    assert check(database.path) == [event]


@pytest.mark.anyio
async def test_unfit_refusal_is_counted(
    make: Callable[..., Recorder], database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """A refusal that can never be stored is lost at once: logged without its words, and counted."""
    recorder = make()
    await recorder.keep(make_event(subject="very personal" * 9))
    await recorder.keep(make_event(purposes={"analytics": "very personal"}, subject=None))
    assert (recorder.pending, recorder.dropped) == (0, 2)
    assert "cannot store an event, which is lost" in caplog.text
    assert "personal" not in caplog.text
    assert (await recorder.record(make_event())).previous is None


# Notices and history


@pytest.mark.anyio
async def test_notices_are_stored_and_known(make: Callable[..., Recorder], database: Database) -> None:
    """A process stores its notices when its ledger opens, and another process knows them."""
    recorder = make()
    assert await recorder.knows_notice(OWN.digest, OWN.fingerprint)
    assert not await recorder.knows_notice(OWN.digest, "0" * 32)
    other = Recorder(url_of(database.path), list)
    assert await other.knows_notice(OWN.digest, OWN.fingerprint)
    await close(other)


@pytest.mark.anyio
async def test_others_notices_are_looked_up(make: Callable[..., Recorder], database: Database) -> None:
    """A notice that another process stores later is found, and remembered while the ledger is away."""
    recorder, notice, third = make(), make_notice("Of another process"), make_notice("Of a third")
    assert not await recorder.knows_notice(notice.digest, notice.fingerprint)
    with closing(Ledger.open(url_of(database.path))) as other:
        other.store_notices([notice, third])
    assert await recorder.knows_notice(notice.digest, notice.fingerprint)
    database.is_away = True
    assert await recorder.knows_notice(notice.digest, notice.fingerprint)
    with pytest.raises(LedgerUnavailable, match="did not answer: away"):
        await recorder.knows_notice(third.digest, third.fingerprint)


@pytest.mark.anyio
async def test_own_notices_need_no_ledger(make: Callable[..., Recorder], database: Database) -> None:
    """A process knows its own notices even if the ledger never answered."""
    database.is_away = True
    assert await make().knows_notice(OWN.digest, OWN.fingerprint)


@pytest.mark.anyio
async def test_own_notice_is_stored_once_answered(make: Callable[..., Recorder], database: Database) -> None:
    """A notice that is not kept in any case is kept from the first answer to it on."""
    rare = make_notice("In a rare language")
    recorder = make(find_notice={rare.digest: rare}.get)
    assert await recorder.knows_notice(OWN.digest, OWN.fingerprint)
    with closing(Ledger.open(url_of(database.path))) as book:
        assert not book.has_notice(rare.digest, rare.fingerprint)
    assert not await recorder.knows_notice(rare.digest, "0" * 32)
    assert await recorder.knows_notice(rare.digest, rare.fingerprint)
    with closing(Ledger.open(url_of(database.path))) as book:
        assert book.has_notice(rare.digest, rare.fingerprint)


@pytest.mark.anyio
@pytest.mark.parametrize("digest", ["", "x" * 64, "A" * 64, "0" * 63, "0" * 65, "\udcff", "0" * 63 + "\n"])
async def test_malformed_digest_is_unknown(
    make: Callable[..., Recorder], database: Database, digest: str
) -> None:
    """What cannot be a digest is answered without asking anybody."""
    assert not await make().knows_notice(digest, OWN.fingerprint)
    assert database.opened == 0


@pytest.mark.anyio
async def test_memory_of_notices_is_bounded(
    make: Callable[..., Recorder], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many notices other processes show, few are remembered, and all are known."""
    monkeypatch.setattr(recorder_module, "MAX_REMEMBERED", 2)
    recorder, notices = make(), [make_notice(str(number)) for number in range(5)]
    with closing(Ledger.open(url_of(database.path))) as other:
        other.store_notices(notices)
    for notice in notices * 2:
        assert await recorder.knows_notice(notice.digest, notice.fingerprint)
        assert len(recorder._known) <= 2


@pytest.mark.anyio
async def test_history_shows_what_was_recorded(make: Callable[..., Recorder], database: Database) -> None:
    """A subject's history is complete right after its last event, and fails when the ledger is away."""
    recorder = make()
    await recorder.record(make_event())
    events = [await recorder.record(make_event(subject="s")) for _ in range(2)]
    assert await recorder.history("s") == [(1, events[0]), (2, events[1])]
    assert await recorder.history("unknown") == []
    await close(recorder)
    database.is_away = True
    with pytest.raises(LedgerUnavailable, match="did not answer: away"):
        await recorder.history("s")


# Opening and closing


def test_constructor_opens_nothing(make: Callable[..., Recorder], database: Database) -> None:
    """No file, thread or connection is made before the first use."""
    before = threading.active_count()
    recorder = make()
    assert (recorder.pending, recorder.dropped) == (0, 0)
    recorder.close(0)
    assert (database.opened, threading.active_count()) == (0, before)
    assert not database.path.exists()


def test_bad_url_refuses_to_start() -> None:
    """A URL that can keep no ledger is refused by the constructor."""
    with pytest.raises(ConfigurationError, match="in memory would lose the proof"):
        Recorder("sqlite://", list)


def test_start_opens_the_ledger(make: Callable[..., Recorder], database: Database) -> None:
    """An eager start makes the ledger and stores the notices; a second one changes nothing."""
    recorder = make()
    recorder.start()
    recorder.start()
    assert database.opened == 1
    with closing(Ledger.open(url_of(database.path), must_exist=True)) as ledger:
        assert ledger.notice(OWN.digest) == OWN


def test_start_refuses_newer_ledger(make: Callable[..., Recorder], database: Database) -> None:
    """A ledger that this release cannot read stops the start, and leaves no thread behind."""
    before = threading.active_count()
    Ledger.open(url_of(database.path)).close()
    with closing(sqlite3.connect(database.path)) as connection, connection:
        connection.execute("UPDATE ledger SET schema_version = 9")
    with pytest.raises(LedgerError, match="has version 9"):
        make().start()
    assert threading.active_count() == before


def test_start_tells_what_notices_raise(database: Database) -> None:
    """A notice that cannot be rendered stops the start with its own error."""

    def fail() -> list[Notice]:
        raise ValueError("no such template")

    with pytest.raises(ValueError, match="no such template"):
        Recorder(url_of(database.path), fail).start()


@pytest.mark.anyio
async def test_start_outlives_absent_ledger(make: Callable[..., Recorder], database: Database) -> None:
    """A database that is away does not stop the start, and is used when it is back."""
    database.is_away = True
    recorder = make()
    await anyio.to_thread.run_sync(recorder.start)
    database.is_away = False
    event = await recorder.record(make_event())
    assert check(database.path) == [event]


@pytest.mark.anyio
async def test_closed_recorder_opens_again(make: Callable[..., Recorder], database: Database) -> None:
    """Closing twice is safe, and the next event opens the ledger again."""
    recorder = make()
    events = [await recorder.record(make_event())]
    await close(recorder)
    await close(recorder)
    events.append(await recorder.record(make_event()))
    assert database.opened == 2
    assert check(database.path) == events


@pytest.mark.anyio
async def test_closing_gives_up_in_time(
    make: Callable[..., Recorder], database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """With the ledger away, closing ends, says how many wait, and they are stored by the next use."""
    recorder = make(patience_seconds=0.0)
    database.is_away = True
    event = make_event()
    await recorder.keep(event)
    recorder.close(0.2)
    assert recorder.pending == 1
    assert "closed its ledger with 1 events not stored" in caplog.text
    database.is_away = False
    recorder._patience = LONG_SECONDS
    later = await recorder.record(make_event())
    assert check(database.path) == [event, later]


def test_two_loops_share_one_recorder(make: Callable[..., Recorder], database: Database) -> None:
    """An asyncio loop and a trio loop in two threads use one recorder at once."""
    recorder = make()

    async def record_some() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(recorder.record, make_event())

    threads = [
        threading.Thread(target=anyio.run, args=(record_some,), kwargs={"backend": backend})
        for backend in ("asyncio", "trio")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_SECONDS)
    assert len(check(database.path)) == 100


def test_closed_loop_stops_nobody(make: Callable[..., Recorder], database: Database) -> None:
    """A loop that was closed with an event under way does not hurt the writer."""
    recorder = make()

    async def start_and_leave(ask: Callable[[], Awaitable[Event]]) -> None:
        task = asyncio.ensure_future(ask())
        await until_set(database.is_committing)
        task.cancel()

    database.hold()
    event = make_event()
    asyncio.run(start_and_leave(lambda: recorder.keep(event)))
    database.may_commit.set()
    later = anyio.run(recorder.record, make_event())
    assert check(database.path) == [event, later]


# Processes

EXITING = """
import sys, anyio
from ledgers import make_event
from gem_consent.recorder import Recorder
recorder = Recorder(sys.argv[1], list, patience_seconds=0.0)
for _ in range(20):
    anyio.run(recorder.keep, make_event())
"""

FORKING = """
import os, sys, anyio
from ledgers import make_event
from gem_consent.ledger.store import Append
from gem_consent.ledger.writer import Job
from gem_consent.recorder import Recorder
recorder = Recorder(sys.argv[1], list, patience_seconds=30.0)

async def record(subject, count):
    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(recorder.record, make_event(subject=subject))

anyio.run(record, "before", 20)
children = []
for number in range(3):
    recorder._writer().submit(Job(append=Append(make_event(subject="kept")), is_kept=True))
    child = os.fork()
    if not child:
        anyio.run(record, f"child {number}", 20)
        sys.exit(0)
    children.append(child)
anyio.run(record, "parent", 60)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
anyio.run(record, "after", 20)
"""


STUCK = """
import logging, os, sys, anyio, threading
from contextlib import contextmanager
from ledgers import make_event
from gem_consent.errors import LedgerUnavailable
from gem_consent.ledger import writer
from gem_consent.ledger.store import Ledger
from gem_consent.recorder import Recorder
is_committing, may_commit = threading.Event(), threading.Event()

class Stuck(Ledger):
    @contextmanager
    def writing(self):
        with super().writing() as append:
            yield append
            is_committing.set()
            may_commit.wait(30)

writer.FORK_SECONDS = 0.0
logging.disable()
recorder = Recorder(sys.argv[1], list, patience_seconds=0.0, opener=Stuck.open)
anyio.run(recorder.keep, make_event())
is_committing.wait(30)
child = os.fork()
if not child:
    recorder._patience = 30.0
    try:
        anyio.run(recorder.record, make_event())
    except LedgerUnavailable as error:
        os._exit(42 if "forked while its parent's ledger was open" in str(error) else 1)
    os._exit(2)
may_commit.set()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
"""


def run(script: str, path: Path) -> None:
    """Run a script in a process of its own, which must end well and say nothing."""
    tests = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", script, url_of(path)],
        env=os.environ | {"PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_normal_exit_loses_nothing(tmp_path: Path) -> None:
    """Refusals that were accepted are stored when the interpreter ends, though nobody closed the recorder."""
    run(EXITING, tmp_path / "consent.db")
    assert len(check(tmp_path / "consent.db")) == 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forked_children_start_anew(tmp_path: Path) -> None:
    """Children of a busy recorder write through their own; what the parent accepted is its own."""
    run(FORKING, tmp_path / "consent.db")
    subjects = [event.subject for event in check(tmp_path / "consent.db")]
    assert {subject: subjects.count(subject) for subject in subjects} == {
        "before": 20,
        "child 0": 20,
        "child 1": 20,
        "child 2": 20,
        "parent": 60,
        "after": 20,
        "kept": 3,
    }


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork_amid_stuck_commit_is_refused(tmp_path: Path) -> None:
    """A child forked while its parent's ledger could not be closed never touches the file."""
    run(STUCK, tmp_path / "consent.db")
    assert len(check(tmp_path / "consent.db")) == 1
