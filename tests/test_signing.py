"""Signing: when a ledger's checkpoints are made, by which key, and what a failing signature never does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from ledgers import SIGNING_SECRET, START, check, make_event, make_notice, url_of

from gem_consent import ConfigurationError, ConsentMiddleware, Controller, GoogleAnalytics, Policy
from gem_consent.errors import LedgerUnavailable, ProofError
from gem_consent.ledger import writer
from gem_consent.ledger.checkpoints import INTERVAL, Statement, newest_checkpoint, public_keys
from gem_consent.ledger.store import Append, Ledger
from gem_consent.ledger.verification import verify
from gem_consent.proof.checkpoint import Checkpoint, PublicKey, SigningKey, parse
from gem_consent.proof.checkpoint import verify as verify_note
from gem_consent.recorder import Recorder

LONG_SECONDS = 20.0


class Clock:
    """The ledger's clock, which the test owns."""

    now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger is."""
    return tmp_path / "consent.db"


@pytest.fixture
def clock() -> Clock:
    """The ledger's clock."""
    return Clock()


@pytest.fixture
def ledger(path: Path, clock: Clock) -> Iterator[Ledger]:
    """An open ledger, checked in the end."""
    with closing(Ledger.open(url_of(path), clock=clock)) as book:
        book.store_notices([make_notice()])
        yield book
    check(path)


def add(book: Ledger, count: int = 1) -> None:
    book.append([Append(make_event(notice=make_notice().digest)) for _ in range(count)])


def checkpoints(path: Path) -> list[Checkpoint]:
    """Give the ledger's checkpoints in order, each verified by the keys that it knows."""
    with closing(Ledger.open(url_of(path), must_exist=True)) as book, book.reading() as connection:
        keys = [PublicKey.parse(text) for text in public_keys(connection)]
        notes = connection.exec_driver_sql("SELECT note FROM checkpoints ORDER BY size").scalars()
        found = [verify_note(note.encode(), keys) for note in notes]
        assert verify(connection).faults == ()
    return found


def test_checkpoint_says_all(ledger: Ledger, path: Path) -> None:
    """A checkpoint names ledger, size and root, its time, the one before it and the notices."""
    add(ledger, 3)
    assert ledger.sign(SIGNING_SECRET)
    (found,) = checkpoints(path)
    assert (found.origin, found.size) == (f"gem-consent/{ledger.uuid}", 3)
    said = Statement.of(found)
    assert (said.time, said.previous, said.notices) == ("2026-11-23T09:30:00.000Z", 0, 1)


def test_second_checkpoint_waits(ledger: Ledger, path: Path, clock: Clock) -> None:
    """Within a minute of one checkpoint no other is signed, unless it is the last."""
    add(ledger)
    assert ledger.sign(SIGNING_SECRET)
    add(ledger)
    clock.now += INTERVAL - timedelta(milliseconds=1)
    assert not ledger.sign(SIGNING_SECRET)
    clock.now += timedelta(milliseconds=1)
    assert ledger.sign(SIGNING_SECRET)
    add(ledger)
    assert ledger.sign(SIGNING_SECRET, at_once=True)
    assert [one.size for one in checkpoints(path)] == [1, 2, 3]


def test_clock_set_back_signs(ledger: Ledger, path: Path, clock: Clock) -> None:
    """A clock that was set back does not stop the signing until it has caught up."""
    add(ledger)
    assert ledger.sign(SIGNING_SECRET)
    add(ledger)
    clock.now -= timedelta(days=1)
    assert ledger.sign(SIGNING_SECRET)
    assert len(checkpoints(path)) == 2


def test_unchanged_tree_is_not_signed(ledger: Ledger, path: Path) -> None:
    """A tree that has not grown is not signed again, and an empty one never."""
    assert ledger.sign(SIGNING_SECRET, at_once=True)
    assert checkpoints(path) == []
    add(ledger)
    assert ledger.sign(SIGNING_SECRET, at_once=True)
    assert ledger.sign(SIGNING_SECRET, at_once=True)
    assert len(checkpoints(path)) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET leaf = zeroblob(32) WHERE position = 1",
        "UPDATE ledger SET frontier = zeroblob(64)",
        "UPDATE checkpoints SET note = replace(note, x'0a' || '2' || x'0a', x'0a' || '9' || x'0a')",
    ],
)
def test_altered_tree_is_not_signed(path: Path, statement: str) -> None:
    """A log signs nothing that is inconsistent with what it signed before."""
    with closing(Ledger.open(url_of(path))) as book:
        add(book, 2)
        assert book.sign(SIGNING_SECRET)
        add(book)
        with book.writing():
            book._connection.exec_driver_sql(statement)
        with pytest.raises(ProofError, match="not the one that was signed before: run gem-consent verify"):
            book.sign(SIGNING_SECRET, at_once=True)


def test_tiles_grow_with_rows(ledger: Ledger, path: Path) -> None:
    """However rows come, in ones or in hundreds, tiles hold what the tree has finished."""
    for count in (1, 254, 1, 1, 700, 67):
        add(ledger, count)
    assert ledger.sign(SIGNING_SECRET)
    with ledger.reading() as connection:
        lengths = connection.exec_driver_sql("SELECT level, tile, length(hashes) FROM tiles").all()
        assert lengths == [(1, 0, 4 * 32)]
    assert [one.size for one in checkpoints(path)] == [1024]


# The writer


async def record(recorder: Recorder, count: int = 1) -> None:
    for _ in range(count):
        await recorder.record(make_event(notice=make_notice().digest))


def recorder_at(path: Path, **options: Any) -> Recorder:
    settings: dict[str, Any] = {"patience_seconds": LONG_SECONDS, "signing_secret": SIGNING_SECRET} | options
    return Recorder(url_of(path), lambda: [make_notice()], **settings)


def test_closing_signs_all(path: Path) -> None:
    """Whatever was stored is covered by a checkpoint once the recorder is closed."""
    recorder = recorder_at(path)
    anyio.run(record, recorder, 3)
    recorder.close(LONG_SECONDS)
    assert checkpoints(path)[-1].size == 3
    check(path)


def test_reading_alone_signs_nothing(path: Path) -> None:
    """A recorder that stored nothing leaves no checkpoint."""
    recorder = recorder_at(path)
    recorder.start()
    recorder.close(LONG_SECONDS)
    assert checkpoints(path) == []


def test_without_secret_nothing_is_signed(path: Path) -> None:
    """A recorder without a secret stores events and signs nothing."""
    recorder = recorder_at(path, signing_secret=None)
    anyio.run(record, recorder)
    recorder.close(LONG_SECONDS)
    assert checkpoints(path) == []


class Watched(Ledger):
    """A ledger that tells when it has signed, and can be made to fail at it."""

    signed: threading.Semaphore
    failures: list[Exception]

    def sign(self, secret: str, *, at_once: bool = False) -> bool:
        """Sign, or fail as the test wants."""
        try:
            if self.failures:
                raise self.failures.pop()
            return super().sign(secret, at_once=at_once)
        finally:
            self.signed.release()


@pytest.fixture
def watched() -> Callable[[str], Ledger]:
    """Open ledgers that are watched."""
    Watched.signed, Watched.failures = threading.Semaphore(0), []
    return Watched.open


def test_idle_writer_signs_in_time(
    path: Path, watched: Callable[[str], Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that came too early for a second checkpoint are signed once it is time, though nobody asks."""
    monkeypatch.setattr(writer, "SIGN_SECONDS", 0.05)
    monkeypatch.setattr("gem_consent.ledger.checkpoints.INTERVAL", timedelta(seconds=0.1))
    recorder = recorder_at(path, opener=watched)
    anyio.run(record, recorder)
    assert Watched.signed.acquire(timeout=LONG_SECONDS)
    anyio.run(record, recorder)
    for _ in range(50):
        assert Watched.signed.acquire(timeout=LONG_SECONDS)
        if checkpoints(path)[-1].size == 2:
            break
    assert checkpoints(path)[-1].size == 2
    recorder.close(LONG_SECONDS)


@pytest.mark.parametrize("error", [ProofError("no"), LedgerUnavailable("away"), RuntimeError("odd")])
def test_failing_signature_fails_nothing(
    path: Path, watched: Callable[[str], Ledger], caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """Events are stored and answered whatever becomes of their signature, which is made at the end."""
    Watched.failures.append(error)
    recorder = recorder_at(path, opener=watched)
    with caplog.at_level(logging.ERROR, "gem_consent"):
        anyio.run(record, recorder, 2)
        recorder.close(LONG_SECONDS)
    said = "RuntimeError" if isinstance(error, RuntimeError) else str(error)
    assert f"gem_consent cannot sign a checkpoint of its ledger: {said}" in caplog.messages
    assert len(check(path)) == 2
    assert checkpoints(path)[-1].size == 2


# The middleware


POLICY = Policy(
    controller=Controller(name="Example", contact="dpo@example.com"),
    privacy_url="/privacy",
    services=[GoogleAnalytics("G-XXXXXXXXXX")],
)


async def _site(scope: Any, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize(
    ("settings", "secret"),
    [
        ({"secret_key": "s" * 40}, "s" * 40),
        ({"secret_key": ["o" * 40, "n" * 40]}, "n" * 40),
        ({"secret_key": "s" * 40, "signing_key": "k" * 40}, "k" * 40),
    ],
)
def test_newest_secret_signs(path: Path, settings: dict[str, Any], secret: str) -> None:
    """The setting of its own signs, else the newest of the cookies' keys: nothing needs to be set."""
    app = ConsentMiddleware(_site, policy=POLICY, ledger=url_of(path), **settings)
    anyio.run(record_here, app.site.recorder)
    app.site.recorder.close(LONG_SECONDS)
    with closing(Ledger.open(url_of(path))) as book, book.reading() as connection:
        note = newest_checkpoint(connection)
    assert note is not None
    key = SigningKey.derive(secret, parse(note).origin).public_key
    assert verify_note(note, [key]).size == 1


async def record_here(recorder: Recorder) -> None:
    await recorder.record(make_event(state="refused"))


@pytest.mark.parametrize("key", ["", "short", 7, ["k" * 40]])
def test_unfit_signing_key_is_refused(key: Any) -> None:
    """A signing key is one text of 32 characters or more."""
    with pytest.raises(ConfigurationError, match="signing_key needs 32 characters at least"):
        ConsentMiddleware(
            _site, policy=POLICY, secret_key="s" * 40, ledger="sqlite:///consent.db", signing_key=key
        )
