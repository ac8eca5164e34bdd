"""The ledger's server is away: grants count once they are in the spool, and the ledger gets all in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from ledgers import SIGNING_SECRET, check, make_event, make_notice, url_of

from gem_consent.errors import ConfigurationError, LedgerError, LedgerUnavailable
from gem_consent.ledger import writer as writer_module
from gem_consent.ledger.checkpoints import newest_checkpoint
from gem_consent.ledger.rows import EventRejected
from gem_consent.ledger.spool import Spool
from gem_consent.ledger.store import Append, Ledger
from gem_consent.proof.event import Event
from gem_consent.proof.notice import Notice
from gem_consent.recorder import Recorder

LONG_SECONDS = 30.0
OWN = make_notice("Our own")
LATE = make_notice("Ours too, drawn when it was asked for")


class Server:
    """A ledger's server that a test can take away, or have say nothing; a real ledger stands behind it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_away = False
        self.answers = threading.Event()
        self.answers.set()

    def open(self, url: str) -> Ledger:
        """Open the ledger behind the server."""
        self.answer()
        server = self

        class Remote(Ledger):
            def _lock(self) -> None:
                server.answer()
                super()._lock()

            def has_notice(self, digest: str, fingerprint: str) -> bool:
                server.answer()
                return super().has_notice(digest, fingerprint)

        return Remote.open(url_of(self.path))

    def answer(self) -> None:
        """Fail where the server is away, and wait where it says nothing."""
        assert self.answers.wait(LONG_SECONDS)
        if self.is_away:
            raise LedgerUnavailable("the server is away")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Run a coroutine test under both event loops."""
    return request.param


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path / "consent.db")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


Make = Callable[..., Recorder]


@pytest.fixture
def make(server: Server, spool: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Make recorders that are closed, and the ledger and the spool checked, when the test is over."""
    monkeypatch.setattr(writer_module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(writer_module, "SPOOLED_RETRY_SECONDS", 0.02)
    made: list[Recorder] = []

    def make_recorder(**options: Any) -> Recorder:
        options.setdefault("patience_seconds", LONG_SECONDS)
        options.setdefault("opener", server.open)
        found = {LATE.digest: LATE}.get
        made.append(
            Recorder("postgresql://db/consent", lambda: [OWN], spool=spool, find_notice=found, **options)
        )
        return made[-1]

    yield make_recorder
    server.is_away = False
    server.answers.set()
    for recorder in made:
        recorder.close(LONG_SECONDS)


def spooled(spool: Path) -> list[str]:
    with closing(Spool.open(spool)) as opened:
        return [append.event.id for _, append in opened.oldest()]


def stored(server: Server) -> list[str]:
    return [event.id for event in check(server.path)] if server.path.exists() else []


async def back(recorder: Recorder) -> None:
    """Wait until the recorder goes on with the ledger, which has all that waited then."""
    with anyio.fail_after(LONG_SECONDS):
        while recorder.is_away:
            await anyio.sleep(0.01)


@pytest.mark.anyio
async def test_grants_count_in_an_outage(make: Make, server: Server, spool: Path) -> None:
    """With the server away grants are acknowledged, wait in the spool, and are proved when it is back."""
    recorder = make()
    before = await recorder.record(make_event())
    server.is_away = True
    during = [await recorder.record(make_event()) for _ in range(3)]
    assert stored(server) == [before.id]
    assert spooled(spool) == [event.id for event in during]
    assert recorder.pending == 0
    server.is_away = False
    await back(recorder)
    after = await recorder.record(make_event())
    assert stored(server) == [event.id for event in (before, *during, after)]


@pytest.mark.anyio
async def test_first_decision_may_fall_into_an_outage(make: Make, server: Server, spool: Path) -> None:
    """A process that starts while the server is away records from its first decision on."""
    server.is_away = True
    recorder = make()
    recorder.start()
    event = await recorder.record(make_event())
    assert spooled(spool) == [event.id]


@pytest.mark.anyio
async def test_silent_server_is_not_waited_for(make: Make, server: Server, spool: Path) -> None:
    """A server that says nothing costs half of patience once, nothing from then on, and no event twice."""
    recorder = make(patience_seconds=2.0)
    await recorder.record(make_event())
    await back(recorder)
    server.answers.clear()
    with anyio.fail_after(LONG_SECONDS):
        during = [await recorder.record(make_event()) for _ in range(20)]
    assert spooled(spool) == [event.id for event in during]
    server.answers.set()
    await back(recorder)
    assert stored(server)[1:] == [event.id for event in during]


@pytest.mark.anyio
async def test_refusals_are_durable_too(make: Make, server: Server, spool: Path) -> None:
    """A refusal or withdrawal in an outage waits in the spool, not in memory."""
    recorder = make()
    server.is_away = True
    event = await recorder.keep(make_event(state="withdrawn", purposes={"analytics": False}))
    assert spooled(spool) == [event.id]
    assert (recorder.pending, recorder.dropped) == (0, 0)


@pytest.mark.anyio
async def test_change_of_mind_stays_in_order(make: Make, server: Server, spool: Path) -> None:
    """Whoever grants in the outage and withdraws after it is in the ledger in that order, linked."""
    recorder = make()
    server.is_away = True
    given = await recorder.record(make_event(subject="visitor"))
    server.is_away = False
    await back(recorder)
    withdrawn = await recorder.keep(make_event(subject="visitor", state="withdrawn"))
    assert [(event.id, event.previous) for event in check(server.path)] == [
        (given.id, None),
        (withdrawn.id, given.id),
    ]


@pytest.mark.anyio
async def test_other_process_writes_what_waits_first(make: Make, server: Server, spool: Path) -> None:
    """A process that never saw the outage brings what another put into the spool before its own."""
    healthy, cut_off = make(), make(opener=_never)
    await healthy.record(make_event())
    given = await cut_off.record(make_event(subject="visitor"))
    withdrawn = await healthy.keep(make_event(subject="visitor", state="withdrawn"))
    assert stored(server)[1:] == [given.id, withdrawn.id]


def _never(url: str) -> Ledger:
    raise LedgerUnavailable("cut off")


@pytest.mark.anyio
async def test_dead_process_leaves_its_spool_to_the_next(make: Make, server: Server, spool: Path) -> None:
    """What a process put into the spool before it ended is brought by whoever starts next."""
    server.is_away = True
    first = make()
    events = [await first.record(make_event(notice=LATE.digest)) for _ in range(2)]
    first.close(0.05)
    server.is_away = False
    make().start()
    assert spooled(spool) == []
    assert stored(server) == [event.id for event in events]
    with closing(Ledger.open(url_of(server.path))) as book:
        assert book.notice(LATE.digest) == LATE


@pytest.mark.anyio
async def test_key_holds_through_the_outage(make: Make, server: Server, spool: Path) -> None:
    """A request that is sent again under its key gets the same event in the outage and after it."""
    recorder = make()
    server.is_away = True
    first = await recorder.record(make_event(), "key")
    assert (await recorder.record(make_event(), "key")).id == first.id
    server.is_away = False
    await back(recorder)
    assert (await recorder.record(make_event(), "key")).id == first.id
    assert stored(server) == [first.id]


@pytest.mark.anyio
async def test_both_answers_under_one_key_are_proved(make: Make, server: Server, spool: Path) -> None:
    """A key that the ledger knew when it went away makes a second event in the spool, and both are kept."""
    recorder = make()
    first = await recorder.record(make_event(), "key")
    server.is_away = True
    second = await recorder.record(make_event(), "key")
    server.is_away = False
    await back(recorder)
    assert stored(server) == [first.id, second.id]


# Notices and reads


@pytest.mark.anyio
@pytest.mark.parametrize("notice", [OWN, LATE], ids=["declared", "drawn late"])
async def test_own_notices_are_known_in_an_outage(
    make: Make, server: Server, spool: Path, notice: Notice
) -> None:
    """What this process shows can be answered while nobody can be asked, and reaches the ledger after."""
    server.is_away = True
    recorder = make()
    assert await recorder.knows_notice(notice.digest, notice.fingerprint)
    assert not await _is_known(recorder, notice.digest, "another fingerprint")
    await recorder.record(make_event(notice=notice.digest))
    server.is_away = False
    await back(recorder)
    with closing(Ledger.open(url_of(server.path))) as book:
        assert book.notice(notice.digest) == notice


async def _is_known(recorder: Recorder, digest: str, fingerprint: str) -> bool:
    try:
        return await recorder.knows_notice(digest, fingerprint)
    except LedgerUnavailable:
        return False


@pytest.mark.anyio
async def test_notice_answered_late_is_told_later(make: Make, server: Server) -> None:
    """A notice that was known in a moment's absence is stored before the next event, spool or not."""
    recorder = make()
    await recorder.record(make_event())
    server.is_away = True
    assert await recorder.knows_notice(LATE.digest, LATE.fingerprint)
    server.is_away = False
    with anyio.fail_after(LONG_SECONDS):
        while not await _is_stored(recorder, LATE.digest):
            await anyio.sleep(0.01)


async def _is_stored(recorder: Recorder, digest: str) -> bool:
    try:
        return await recorder.read(lambda ledger: ledger.notice(digest)) is not None
    except LedgerUnavailable:
        return False


@pytest.mark.anyio
async def test_reads_fail_at_once_in_an_outage(make: Make, server: Server) -> None:
    """Once the server is known to be away, a question to it keeps nobody waiting."""
    recorder = make()
    await recorder.record(make_event())
    server.answers.clear()
    server.is_away = True
    recorder._turn_away()
    with anyio.fail_after(LONG_SECONDS / 2), pytest.raises(LedgerUnavailable):
        await recorder.history("visitor")


# When the spool fails as well


class FullSpool(Spool):
    """A spool on a full disk."""

    def _put(self, appends: Any) -> list[Event]:
        raise LedgerUnavailable("the disk is full")


def full(path: Path, find: Any) -> Spool:
    return FullSpool.open(path, find)


@pytest.mark.anyio
async def test_nothing_left_to_trust_refuses_grants(make: Make, server: Server, spool: Path) -> None:
    """With server and spool gone a grant fails; a refusal is kept in memory, and stored when it works."""
    recorder = make(spool_opener=full)
    await recorder.record(make_event())
    server.is_away = True
    with pytest.raises(LedgerUnavailable, match="the disk is full"):
        await recorder.record(make_event())
    refused = make_event(state="refused")
    assert await recorder.keep(refused) == refused
    assert recorder.pending == 1
    server.is_away = False
    with anyio.fail_after(LONG_SECONDS):
        while recorder.pending:
            await anyio.sleep(0.01)
    assert stored(server)[1:] == [refused.id]


@pytest.mark.anyio
async def test_cancelled_refusal_is_stored_all_the_same(make: Make, server: Server) -> None:
    """A visitor who leaves does not take back their refusal."""
    recorder = make()
    await recorder.record(make_event())
    server.answers.clear()
    refused = make_event(state="refused")
    with anyio.move_on_after(0.05):
        await recorder.keep(refused)
    server.answers.set()
    with anyio.fail_after(LONG_SECONDS):
        while recorder.pending:
            await anyio.sleep(0.01)
    assert stored(server)[1:] == [refused.id]


@pytest.mark.anyio
async def test_unfit_event_is_refused_at_once(make: Make, server: Server, spool: Path) -> None:
    """An event that could never be stored is no reason to turn away from the ledger."""
    recorder = make()
    with pytest.raises(EventRejected, match="its subject has 65 characters"):
        await recorder.record(make_event(subject="x" * 65))
    await recorder.keep(make_event(subject="x" * 65))
    assert recorder.dropped == 1
    await recorder.record(make_event())
    assert len(stored(server)) == 1
    assert spooled(spool) == []


def test_unusable_spool_refuses_to_start(make: Make, spool: Path) -> None:
    """A spool that somebody must mend is told when the site starts, not in the outage."""
    spool.write_bytes(b"this is no database, and never was one" * 50)
    with pytest.raises(LedgerError, match="is no SQLite database"):
        make().start()


@pytest.mark.parametrize(
    ("url", "spool", "said"),
    [
        ("sqlite:///consent.db", "spool.db", "spool= is for a ledger in PostgreSQL"),
        ("postgresql://db/consent", "", "allowed: the path of a file on a persistent volume"),
    ],
)
def test_nonsense_is_refused(url: str, spool: str, said: str) -> None:
    """A spool beside a ledger on the same disk would save nothing, and a spool needs a file."""
    with pytest.raises(ConfigurationError, match=said):
        Recorder(url, list, spool=spool)


# After it


@pytest.mark.anyio
async def test_what_was_brought_is_signed(make: Make, server: Server, spool: Path) -> None:
    """Events that came through the spool are covered by a checkpoint like any others."""
    server.is_away = True
    recorder = make(signing_secret=SIGNING_SECRET)
    await recorder.record(make_event())
    server.is_away = False
    await back(recorder)
    await anyio.to_thread.run_sync(recorder.close)
    with closing(Ledger.open(url_of(server.path))) as book, book.reading() as connection:
        note = newest_checkpoint(connection)
    assert note is not None
    assert note.split(b"\n")[1] == b"1"


@pytest.mark.anyio
async def test_ordinary_days_touch_the_spool_little(make: Make, server: Server, spool: Path) -> None:
    """While the server answers nothing is written to the spool."""
    recorder = make()
    recorder.start()
    before = [file.stat().st_mtime_ns for file in spool.parent.glob("spool.db*")]
    for _ in range(5):
        await recorder.record(make_event())
    assert [file.stat().st_mtime_ns for file in spool.parent.glob("spool.db*")] == before


def test_log_says_when_it_turns(
    make: Make, server: Server, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator reads where decisions go, and when the ledger has them."""
    recorder = make()

    async def scenario() -> None:
        server.is_away = True
        await recorder.record(make_event())
        await recorder.record(make_event())
        server.is_away = False
        await back(recorder)

    anyio.run(scenario)
    recorder.close(LONG_SECONDS)
    assert caplog.messages.count(f"gem_consent's ledger is away: decisions wait in the spool at {spool}") == 1
    assert "gem_consent's ledger took 2 events from the spool" in caplog.messages


def test_append_says_it_is_acknowledged() -> None:
    """Only what comes from the spool is written whatever its key made before."""
    assert not Append(make_event()).is_acknowledged
