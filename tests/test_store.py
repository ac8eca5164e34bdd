"""The ledger over each database: what it appends, gives back, refuses and survives."""

from __future__ import annotations

import dataclasses
import hashlib
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import START, asking, change, check, count, make_event, make_notice
from sqlalchemy import event as sqlalchemy_event

from gem_consent.errors import ConfigurationError, LedgerError
from gem_consent.ledger.rows import EventRejected
from gem_consent.ledger.schema import SCHEMA_VERSION, metadata
from gem_consent.ledger.store import KEY_LIFETIME, Append, Ledger
from gem_consent.proof.event import Event, with_previous


class Clock:
    """A clock that the test owns."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        """Give the time that it is for the test."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The ledger's clock."""
    return Clock()


@pytest.fixture
def ledger(url: str, clock: Clock) -> Iterator[Ledger]:
    """A ledger without events, checked when the test is over."""
    ledger = Ledger.open(url, clock=clock)
    yield ledger
    ledger.close()
    check(url)


# Opening


def test_second_opening_finds_the_first(ledger: Ledger, url: str) -> None:
    """Who opens a ledger again finds its identity and its events."""
    ledger.append([Append(make_event())])
    again = Ledger.open(url, must_exist=True)
    assert (again.uuid, again.size) == (ledger.uuid, 1)
    again.close()
    again.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "mysql://user:hunter2@host/db",
            "is of 'mysql'; allowed: sqlite:///.*or postgresql://user:password@",
        ),
        ("sqlite+aiosqlite:///consent.db", "is of 'sqlite"),
        ("consent.db", "cannot be read; allowed: sqlite:///"),
        ("sqlite://", "in memory would lose the proof"),
        ("sqlite:///", "in memory would lose the proof"),
        ("sqlite:///:memory:", "in memory would lose the proof"),
        ("sqlite:///file::memory:", "in memory would lose the proof"),
        ("sqlite://consent.db", "has a host or options"),
        ("sqlite:///consent.db?mode=ro", "has a host or options"),
    ],
)
def test_other_urls_are_refused(url: str, message: str) -> None:
    """A URL that cannot keep proof is refused, and its password is not repeated."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        Ledger.open(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("must_exist", [True, False])
def test_other_database_is_refused(url: str, must_exist: bool) -> None:
    """A database of the site's own is no place for a ledger, and stays as it is."""
    change(url, "CREATE TABLE events (name text)")
    with pytest.raises(LedgerError, match=r"holds no ledger: give the ledger a (file|schema) of its own"):
        Ledger.open(url, must_exist=must_exist)
    with asking(url) as ask:
        assert ask("SELECT * FROM events") == []
        if url.startswith("sqlite"):
            assert ask("SELECT name FROM sqlite_master") == [{"name": "events"}]
            assert ask("PRAGMA journal_mode") == [{"journal_mode": "delete"}]


def test_newer_schema_is_refused(ledger: Ledger, url: str) -> None:
    """A ledger of a later release is refused, naming both versions."""
    change(url, "UPDATE ledger SET schema_version = schema_version + 1")
    newer = SCHEMA_VERSION + 1
    with pytest.raises(LedgerError, match=f"has version {newer}, and this .* knows {SCHEMA_VERSION} at most"):
        Ledger.open(url)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM ledger", "the row that says who it is"),
        ("UPDATE ledger SET frontier = commitment FROM events", "the tree's frontier"),
        ("DELETE FROM events WHERE position = 2", "the number of its rows"),
    ],
)
def test_disagreeing_ledger_is_refused(url: str, statement: str, message: str) -> None:
    """A ledger whose rows and tree disagree is refused and pointed to ``verify``."""
    ledger = Ledger.open(url)
    ledger.append([Append(make_event()) for _ in range(3)])
    ledger.close()
    change(url, statement)
    with pytest.raises(LedgerError, match=f"disagrees with itself over {message}.*restore a backup"):
        Ledger.open(url)


# Appending


def test_events_come_back_as_committed(ledger: Ledger, url: str) -> None:
    """What is returned, stored and committed to is one and the same."""
    given = [
        make_event(),
        make_event(purposes={"z": True, "a": False}, browser="Firefox", network="192.0.2.0/24"),
    ]
    stored = ledger.append([Append(event) for event in given])
    assert stored == given == check(url)
    assert [ledger.history(event.subject) for event in given] == [[(0, given[0])], [(1, given[1])]]


def test_empty_batch_writes_nothing(ledger: Ledger) -> None:
    """No events make no transaction."""
    assert ledger.append([]) == []
    assert ledger.size == 0


def test_batch_larger_than_variables(ledger: Ledger, url: str) -> None:
    """A batch may hold more events than a statement takes variables."""
    given = [make_event(subject=f"s{number % 700}") for number in range(1500)]
    stored = ledger.append([Append(event, key=event.id) for event in given])
    assert [event.id for event in stored] == [event.id for event in given]
    assert check(url) == stored == ledger.append([Append(event, key=event.id) for event in given])


def test_subject_is_chained(ledger: Ledger) -> None:
    """Each event names its subject's one before, in the batch and before it, whatever the caller said."""
    (first,) = ledger.append([Append(make_event(subject="s", previous="invented"))])
    batch = [make_event(subject="s"), make_event(subject="other"), make_event(subject="s")]
    second, other, third = ledger.append([Append(event) for event in batch])
    assert [event.previous for event in (first, second, other, third)] == [None, first.id, None, second.id]
    assert ledger.history("s") == [(0, first), (1, second), (3, third)]


def test_repeated_event_is_written_once(ledger: Ledger, url: str) -> None:
    """An event that is stored already comes back as it was, in one batch and in the next."""
    event = make_event(subject="s")
    first, second = ledger.append([Append(event), Append(event)])
    ledger.append([Append(make_event(subject="s"))])
    (again,) = ledger.append([Append(dataclasses.replace(event, state="changed"))])
    assert first == second == again == event
    assert len(check(url)) == 2


def test_repeated_key_is_written_once(ledger: Ledger, clock: Clock, url: str) -> None:
    """The same key and decision within ten minutes give back the first event."""
    first, same = ledger.append([Append(make_event(), key="k"), Append(make_event(), key="k")])
    clock.now += KEY_LIFETIME - timedelta(seconds=1)
    (again,) = ledger.append([Append(make_event(), key="k")])
    assert first == same == again
    assert check(url) == [first]


def test_key_with_other_decision_counts(ledger: Ledger, url: str) -> None:
    """A refusal under the key of a grant is a decision of its own."""
    grant, refusal = (
        make_event(),
        make_event(purposes={"analytics": False}, action="deny_all", state="refused"),
    )
    assert ledger.append([Append(grant, key="k"), Append(refusal, key="k")]) == [grant, refusal]
    assert check(url) == [grant, refusal]


def test_old_keys_are_forgotten(ledger: Ledger, clock: Clock, url: str) -> None:
    """After ten minutes a key is free again, and its row is gone."""
    ledger.append([Append(make_event(), key="k"), Append(make_event(), key="l")])
    clock.now += KEY_LIFETIME
    ledger.append([Append(make_event(), key="k")])
    assert len(check(url)) == 3
    assert count(url, "requests") == 1


def test_keys_are_never_stored(ledger: Ledger, url: str) -> None:
    """A key is kept as a hash only."""
    ledger.append([Append(make_event(), key="a-very-recognisable-key")])
    with asking(url) as ask:
        assert "recognisable" not in str([ask(f"SELECT * FROM {table}") for table in metadata.tables])


def test_erased_event_frees_its_key(url: str) -> None:
    """A key whose event was erased makes a new event."""
    ledger = Ledger.open(url)
    ledger.append([Append(make_event(), key="k")])
    change(url, "UPDATE events SET id = NULL, subject = NULL, salt = NULL, purposes = NULL")
    (event,) = ledger.append([Append(make_event(), key="k")])
    assert ledger.history(event.subject) == [(1, event)]
    ledger.close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "x" * 37}, "its id has 37 characters; allowed: at most 36"),
        ({"subject": None}, "its subject is of type NoneType"),
        ({"subject": "s\0"}, "its subject holds a NUL"),
        ({"policy_version": "\ud800"}, "its policy_version holds a NUL or a lone surrogate"),
        ({"language": 5}, "its language is of type int"),
        ({"purposes": {"x" * 33: True}}, "its purposes has an id of 33 characters.* allowed: ids of 1 to 32"),
        ({"purposes": {"analytics": 1}}, "its purposes answers with type int; allowed: True or False"),
    ],
)
def test_misfit_sinks_nothing(ledger: Ledger, url: str, changes: dict[str, Any], message: str) -> None:
    """An event that can never be stored is refused with its column, and its batch leaves no trace."""
    with pytest.raises(EventRejected, match=message):
        ledger.append([Append(make_event()), Append(make_event(**changes))])
    assert check(url) == []


def test_words_of_requests_are_cut(ledger: Ledger, url: str) -> None:
    """What a request words is cut to its column and cleaned, and committed to as it is stored."""
    event = make_event(site="é" * 300, surface="a\0b", language="\udcff", browser="b" * 65, device="d" * 16)
    (stored,) = ledger.append([Append(event)])
    assert (stored.site, stored.surface, stored.language) == ("é" * 254 + "…", "a\ufffdb", "?")
    assert (stored.browser, stored.device, stored.system) == ("b" * 63 + "…", "d" * 16, None)
    assert check(url) == [stored]


printable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
appends = st.builds(
    lambda number, subject, key, answers, words: Append(
        make_event(id=f"id-{number}", subject=subject, purposes=answers, site=words, policy_version=words),
        key,
    ),
    st.integers(0, 30),
    st.sampled_from("abc"),
    st.none() | st.sampled_from("kl"),
    st.dictionaries(st.sampled_from(["analytics", "marketing", "média"]), st.booleans()),
    printable,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(appends, max_size=12), max_size=6))
def test_any_batches_keep_the_invariants(new_url: Callable[[], str], batches: list[list[Append]]) -> None:
    """Whatever is appended, in whatever batches: the ledger holds each event once, and answers with it."""
    url = new_url()
    expected: list[Event] = []
    keys: dict[str, Event] = {}
    with closing(Ledger.open(url)) as ledger:
        for batch in batches:
            answers = ledger.append(batch)
            assert len(answers) == len(batch)
            for item, answer in zip(batch, answers, strict=True):
                expect(item, answer, expected, keys)
            assert check(url) == expected


def expect(item: Append, answer: Event, expected: list[Event], keys: dict[str, Event]) -> None:
    """Follow one append in a model of the ledger: by id, then by key and decision, else new."""
    event = item.event
    told = f"{item.key}{event.site}{sorted(event.purposes.items())}"
    known = next((old for old in expected if old.id == event.id), None) or (
        keys.get(told) if item.key else None
    )
    if known is not None:
        assert answer == known
        return
    chain = [old.id for old in expected if old.subject == event.subject]
    assert answer == with_previous(event, chain[-1] if chain else None)
    expected.append(answer)
    if item.key:
        keys[told] = answer


# Notices


def test_notice_is_kept_for_ever(ledger: Ledger) -> None:
    """A notice is found by its digest, as it was stored, and once."""
    one, other = make_notice("Un avis éprouvé"), make_notice("Another")
    ledger.store_notices([one, other])
    ledger.store_notices(iter([one, make_notice("A third")]))
    assert (ledger.notice(one.digest), ledger.notice(other.digest)) == (one, other)
    assert ledger.notice("0" * 64) is None


def test_notice_belongs_to_its_fingerprint(ledger: Ledger) -> None:
    """A notice counts under the fingerprint that it was stored with alone."""
    notice = make_notice(fingerprint="a" * 32)
    ledger.store_notices([notice])
    assert ledger.has_notice(notice.digest, "a" * 32)
    assert not ledger.has_notice(notice.digest, "b" * 32)
    assert not ledger.has_notice("0" * 64, "a" * 32)


def test_stored_notice_is_immutable(ledger: Ledger) -> None:
    """A digest that is stored keeps its first fingerprint and page."""
    notice = make_notice()
    ledger.store_notices([notice])
    ledger.store_notices([dataclasses.replace(notice, language="fr", fingerprint="b" * 32)])
    assert ledger.notice(notice.digest) == notice


def test_forged_notice_is_refused(ledger: Ledger) -> None:
    """A digest that is not the page's own is refused, and the notices beside it wait."""
    forged = dataclasses.replace(make_notice(), html=b"Something else")
    with pytest.raises(LedgerError, match="not the SHA-256 of its page"):
        ledger.store_notices([make_notice("good"), forged])
    assert ledger.notice(make_notice("good").digest) is None


def test_misfitting_notice_is_refused(ledger: Ledger) -> None:
    """A notice whose language does not fit is refused with the column's name."""
    with pytest.raises(LedgerError, match="its language has over 35 characters"):
        ledger.store_notices([dataclasses.replace(make_notice(), language="x" * 36)])


# Faults


def fail_statement(ledger: Ledger, number: int) -> Callable[[], None]:
    """Let the n-th statement from here fail as a disk does; gives what mends it."""
    remaining = [number]

    def fail(*_: Any) -> None:
        remaining[0] -= 1
        if remaining[0] == 0:
            raise driver.OperationalError("disk I/O error")

    engine = ledger._connection.engine
    driver: Any = engine.dialect.loaded_dbapi
    sqlalchemy_event.listen(engine, "before_cursor_execute", fail)
    return lambda: sqlalchemy_event.remove(engine, "before_cursor_execute", fail)


def test_failed_statement_leaves_no_trace(url: str) -> None:
    """Whichever statement fails, nothing of the batch stays, and a second try stores it once."""
    ledger = Ledger.open(url)
    ledger.append([Append(make_event(subject="s"))])
    failures = 0
    for number in range(1, 40):
        batch = [
            Append(make_event(subject="s", purposes={f"p{number}": True}), key=f"k{number}") for _ in "12"
        ]
        before = check(url)
        mend = fail_statement(ledger, number)
        try:
            ledger.append(batch)
            break
        except LedgerError:
            failures += 1
        finally:
            mend()
        assert check(url) == before
        (first, _) = ledger.append(batch)
        assert check(url) == [*before, first]
    ledger.close()
    assert failures >= 9


def test_commit_with_lost_answer_is_found(ledger: Ledger, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that happened although it failed is found by the second try."""
    event = make_event()
    dialect: Any = ledger._connection.engine.dialect
    commit = dialect.do_commit

    def lose(connection: Any) -> None:
        commit(connection)
        raise dialect.loaded_dbapi.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(dialect, "do_commit", lose)
        with pytest.raises(LedgerError, match=r"cannot be (used|reached)"):
            ledger.append([Append(event, key="k")])
    assert ledger.append([Append(event, key="k")]) == [event] == check(url)


def test_purposes_survive_failed_batch(ledger: Ledger, url: str) -> None:
    """A purpose first named by a batch that failed is registered by the next one that names it."""
    for number in (7, 8):
        mend = fail_statement(ledger, number)
        with pytest.raises(LedgerError, match=r"cannot be (used|reached)"):
            ledger.append([Append(make_event(purposes={"new": True}))])
        mend()
    ledger.append([Append(make_event(purposes={"old": True}))])
    ledger.append([Append(make_event(purposes={"new": True}))])
    ledger.append([Append(make_event(purposes={"new": False, "old": True}))])
    assert len(check(url)) == 3


# Processes


def append_some(url: str, number: int) -> None:
    """Append 200 events, in batches of one to seven, as one process of several."""
    ledger = Ledger.open(url)
    left = 200
    while left:
        size = min(left, 1 + left % 7)
        ledger.append([Append(make_event(subject=f"{number}-{left % 5}")) for _ in range(size)])
        left -= size
    ledger.close()


def test_processes_share_one_ledger(url: str) -> None:
    """Four processes that start at once make one ledger, and each event has its place in it."""
    spawn = multiprocessing.get_context("spawn")
    children = [spawn.Process(target=append_some, args=(url, number)) for number in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0] * 4
    events = check(url)
    assert len(events) == 800
    assert {event.subject for event in events} == {f"{n}-{k}" for n in range(4) for k in range(5)}


def test_commitments_hide_their_events(ledger: Ledger, url: str) -> None:
    """The same words under another salt make another commitment, so a guess cannot be tried."""
    ledger.append([Append(make_event()), Append(make_event())])
    with asking(url) as ask:
        salts = [row["salt"] for row in ask("SELECT salt FROM events")]
    assert len({hashlib.sha256(salt).digest() for salt in salts}) == 2
