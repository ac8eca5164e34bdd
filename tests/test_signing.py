"""Signing: when a ledger's checkpoints are made, by which key, and what a failing signature never does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import anyio
import pytest
from ledgers import SIGNING_SECRET, START, check, make_event, make_notice
from sqlalchemy import Update, func, update

from gem_consent import ConfigurationError, ConsentMiddleware, Controller, GoogleAnalytics, Policy
from gem_consent.errors import LedgerUnavailable, ProofError
from gem_consent.ledger import schema, writer
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
def clock() -> Clock:
    """The ledger's clock."""
    return Clock()


@pytest.fixture
def ledger(url: str, clock: Clock) -> Iterator[Ledger]:
    """An open ledger, checked in the end."""
    with closing(Ledger.open(url, clock=clock)) as book:
        book.store_notices([make_notice()])
        yield book
    check(url)


def add(book: Ledger, count: int = 1) -> None:
    book.append([Append(make_event(notice=make_notice().digest)) for _ in range(count)])


def checkpoints(url: str) -> list[Checkpoint]:
    """Give the ledger's checkpoints in order, each verified by the keys that it knows."""
    with closing(Ledger.open(url, must_exist=True)) as book, book.reading() as connection:
        keys = [PublicKey.parse(text) for text in public_keys(connection)]
        notes = connection.exec_driver_sql("SELECT note FROM checkpoints ORDER BY size").scalars()
        found = [verify_note(note.encode(), keys) for note in notes]
        assert verify(connection).faults == ()
    return found


def test_checkpoint_says_all(ledger: Ledger, url: str) -> None:
    """A checkpoint names ledger, size and root, its time, the one before it and the notices."""
    add(ledger, 3)
    assert ledger.sign(SIGNING_SECRET)
    (found,) = checkpoints(url)
    assert (found.origin, found.size) == (f"gem-consent/{ledger.uuid}", 3)
    said = Statement.of(found)
    assert (said.time, said.previous, said.notices) == ("2026-11-23T09:30:00.000Z", 0, 1)


def test_second_checkpoint_waits(ledger: Ledger, url: str, clock: Clock) -> None:
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
    assert [one.size for one in checkpoints(url)] == [1, 2, 3]


def test_clock_set_back_signs(ledger: Ledger, url: str, clock: Clock) -> None:
    """A clock that was set back does not stop the signing until it has caught up."""
    add(ledger)
    assert ledger.sign(SIGNING_SECRET)
    add(ledger)
    clock.now -= timedelta(days=1)
    assert ledger.sign(SIGNING_SECRET)
    assert len(checkpoints(url)) == 2


def test_unchanged_tree_is_not_signed(ledger: Ledger, url: str) -> None:
    """A tree that has not grown is not signed again, and an empty one never."""
    assert ledger.sign(SIGNING_SECRET, at_once=True)
    assert checkpoints(url) == []
    add(ledger)
    assert ledger.sign(SIGNING_SECRET, at_once=True)
    assert ledger.sign(SIGNING_SECRET, at_once=True)
    assert len(checkpoints(url)) == 1


@pytest.mark.parametrize(
    "statement",
    [
        update(schema.events).where(schema.events.c.position == 1).values(leaf=bytes(32)),
        update(schema.ledger).values(frontier=bytes(64)),
        update(schema.checkpoints).values(note=func.replace(schema.checkpoints.c.note, "\n2\n", "\n9\n")),
    ],
    ids=["leaf", "frontier", "note"],
)
def test_altered_tree_is_not_signed(url: str, statement: Update) -> None:
    """A log signs nothing that is inconsistent with what it signed before."""
    with closing(Ledger.open(url)) as book:
        add(book, 2)
        assert book.sign(SIGNING_SECRET)
        add(book)
        with book.writing():
            book._connection.execute(statement)
        with pytest.raises(ProofError, match="not the one that was signed before: run gem-consent verify"):
            book.sign(SIGNING_SECRET, at_once=True)


def test_tiles_grow_with_rows(ledger: Ledger, url: str) -> None:
    """However rows come, in ones or in hundreds, tiles hold what the tree has finished."""
    for count in (1, 254, 1, 1, 700, 67):
        add(ledger, count)
    assert ledger.sign(SIGNING_SECRET)
    with ledger.reading() as connection:
        lengths = connection.exec_driver_sql("SELECT level, tile, length(hashes) FROM tiles").all()
        assert lengths == [(1, 0, 4 * 32)]
    assert [one.size for one in checkpoints(url)] == [1024]


# The writer


async def record(recorder: Recorder, count: int = 1) -> None:
    for _ in range(count):
        await recorder.record(make_event(notice=make_notice().digest))


def recorder_at(url: str, **options: Any) -> Recorder:
    settings: dict[str, Any] = {"patience_seconds": LONG_SECONDS, "signing_secret": SIGNING_SECRET} | options
    return Recorder(url, lambda: [make_notice()], **settings)


def test_closing_signs_all(url: str) -> None:
    """Whatever was stored is covered by a checkpoint once the recorder is closed."""
    recorder = recorder_at(url)
    anyio.run(record, recorder, 3)
    recorder.close(LONG_SECONDS)
    assert checkpoints(url)[-1].size == 3
    check(url)


def test_reading_alone_signs_nothing(url: str) -> None:
    """A recorder that stored nothing leaves no checkpoint."""
    recorder = recorder_at(url)
    recorder.start()
    recorder.close(LONG_SECONDS)
    assert checkpoints(url) == []


def test_without_secret_nothing_is_signed(url: str) -> None:
    """A recorder without a secret stores events and signs nothing."""
    recorder = recorder_at(url, signing_secret=None)
    anyio.run(record, recorder)
    recorder.close(LONG_SECONDS)
    assert checkpoints(url) == []


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
    url: str, watched: Callable[[str], Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that came too early for a second checkpoint are signed once it is time, though nobody asks."""
    monkeypatch.setattr(writer, "SIGN_SECONDS", 0.05)
    monkeypatch.setattr("gem_consent.ledger.checkpoints.INTERVAL", timedelta(seconds=0.1))
    recorder = recorder_at(url, opener=watched)
    anyio.run(record, recorder)
    assert Watched.signed.acquire(timeout=LONG_SECONDS)
    anyio.run(record, recorder)
    for _ in range(50):
        assert Watched.signed.acquire(timeout=LONG_SECONDS)
        if checkpoints(url)[-1].size == 2:
            break
    assert checkpoints(url)[-1].size == 2
    recorder.close(LONG_SECONDS)


@pytest.mark.parametrize("error", [ProofError("no"), LedgerUnavailable("away"), RuntimeError("odd")])
def test_failing_signature_fails_nothing(
    url: str, watched: Callable[[str], Ledger], caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """Events are stored and answered whatever becomes of their signature, which is made at the end."""
    Watched.failures.append(error)
    recorder = recorder_at(url, opener=watched)
    with caplog.at_level(logging.ERROR, "gem_consent"):
        anyio.run(record, recorder, 2)
        recorder.close(LONG_SECONDS)
    said = "RuntimeError" if isinstance(error, RuntimeError) else str(error)
    assert f"gem_consent cannot sign a checkpoint of its ledger: {said}" in caplog.messages
    assert len(check(url)) == 2
    assert checkpoints(url)[-1].size == 2


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
def test_newest_secret_signs(url: str, settings: dict[str, Any], secret: str) -> None:
    """The setting of its own signs, else the newest of the cookies' keys: nothing needs to be set."""
    app = ConsentMiddleware(_site, policy=POLICY, ledger=url, **settings)
    anyio.run(record_here, app.site.recorder)
    app.site.recorder.close(LONG_SECONDS)
    with closing(Ledger.open(url)) as book, book.reading() as connection:
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
