"""Purge: what a rule no longer allows is emptied, and nothing else, by the calendar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ledgers import make_event, make_notice
from sqlalchemy import select

from gem_consent.ledger import purge as purging
from gem_consent.ledger.erasure import erase
from gem_consent.ledger.purge import Overdue, Purged, overdue, purge
from gem_consent.ledger.schema import events, requests
from gem_consent.ledger.store import Append, Ledger
from gem_consent.ledger.verification import Report, verify
from gem_consent.proof.event import event_id, utc_text
from gem_consent.proof.mark import Mark
from gem_consent.retention import Retention

RULE = Retention()
LIFETIME = timedelta(days=393)


@pytest.fixture
def book(url: str) -> Iterator[Ledger]:
    """A ledger with a notice, in each database in turn."""
    with closing(Ledger.open(url)) as opened:
        opened.store_notices([make_notice()])
        yield opened


def day(text: str) -> datetime:
    """Give noon of a day, in UTC."""
    return datetime.fromisoformat(f"{text}T12:00:00+00:00")


def choose(book: Ledger, on: str, state: str = "given", **changes: Any) -> None:
    """Append a choice that was made on a day; it grants unless it is a refusal or a withdrawal."""
    at = day(on)
    granted = state in ("given", "renewed")
    columns: dict[str, Any] = {
        "id": event_id(at),
        "time": utc_text(at),
        "expires": utc_text(at + LIFETIME),
        "state": state,
        "purposes": {"analytics": granted},
        "notice": make_notice().digest if granted else "",
    }
    book.append([Append(make_event(**(columns | changes)))])


def found(book: Ledger, on: str, rule: Retention = RULE) -> Overdue:
    """Look for what is overdue on a day."""
    with book.reading() as connection:
        return overdue(connection, rule, day(on))


def positions(book: Ledger, on: str, rule: Retention = RULE) -> list[int]:
    """Give the positions of what is overdue on a day."""
    over = found(book, on, rule)
    return sorted([*over.consents, *over.refusals])


def verified(book: Ledger) -> Report:
    """Verify what must hold."""
    with book.reading() as connection:
        report = verify(connection)
    assert report.faults == ()
    return report


# What is overdue


@pytest.mark.rule("F4")
def test_refusal_is_kept_thirteen_months(book: Ledger) -> None:
    """A refusal is kept until the end of the day thirteen months later."""
    choose(book, "2026-01-31", "refused")
    assert positions(book, "2027-02-28") == []
    assert positions(book, "2027-03-01") == [0]


def test_consent_is_kept_five_years_after_expiry(book: Ledger) -> None:
    """A consent that ran out is kept for five years after its last day."""
    choose(book, "2024-01-31", expires=utc_text(day("2024-02-29")))
    assert positions(book, "2029-02-28") == []
    assert positions(book, "2029-03-01") == [0]


def test_withdrawal_ends_consent(book: Ledger) -> None:
    """Five years run from the withdrawal, for the consent and for the withdrawal itself."""
    choose(book, "2026-03-01", subject="one")
    choose(book, "2026-06-15", "withdrawn", subject="one")
    assert positions(book, "2031-06-15") == []
    assert positions(book, "2031-06-16") == [0, 1]


def test_next_choice_ends_consent(book: Ledger) -> None:
    """A consent that another took the place of ended with it; the other goes on."""
    choose(book, "2026-03-01", subject="one")
    choose(book, "2026-06-15", "renewed", subject="one", expires=utc_text(day("2027-06-15")))
    assert positions(book, "2031-06-16") == [0]
    assert positions(book, "2032-06-16") == [0, 1]


def test_partial_withdrawal_is_a_consent(book: Ledger) -> None:
    """What is still granted after a withdrawal of a part lives until it ends."""
    choose(book, "2026-03-01", "withdrawn", purposes={"analytics": True, "media": False})
    assert positions(book, "2031-03-02") == []


@pytest.mark.rule("F4")
@pytest.mark.parametrize("words", ["1 day", "1 week", "1 month", "1 day after end of consent"])
def test_live_consent_is_never_overdue(book: Ledger, words: str) -> None:
    """Whatever the rule, a consent that stands is kept."""
    choose(book, "2026-03-01")
    assert positions(book, "2027-03-01", Retention(consents=words)) == []


def test_short_term_waits_for_the_end(book: Ledger) -> None:
    """A term that runs from the decision never ends before the consent does."""
    choose(book, "2026-03-01", expires=utc_text(day("2026-06-01")))
    rule = Retention(consents="1 month")
    assert positions(book, "2026-05-31", rule) == []
    assert positions(book, "2026-06-02", rule) == [0]


def test_year_end_is_the_consents(book: Ledger) -> None:
    """Years after the year's end run from that in which the consent ended."""
    choose(book, "2025-12-01", expires=utc_text(day("2026-01-02")))
    choose(book, "2025-12-01", expires=utc_text(day("2025-12-31")))
    rule = Retention(consents="3 years after year end")
    assert positions(book, "2028-12-31", rule) == []
    assert positions(book, "2029-01-01", rule) == [1]
    assert positions(book, "2030-01-01", rule) == [0, 1]


def test_refusals_year_is_the_decisions(book: Ledger) -> None:
    """A refusal's year is the one in which it was made."""
    choose(book, "2025-12-31", "refused")
    rule = Retention(refusals="1 year after year end")
    assert positions(book, "2026-12-31", rule) == []
    assert positions(book, "2027-01-01", rule) == [0]


def test_overdue_rows_are_counted(book: Ledger) -> None:
    """What would go is told by state and year."""
    for year in ("2018", "2018", "2019"):
        choose(book, f"{year}-05-05", "refused")
    choose(book, "2017-05-05")
    over = found(book, "2026-01-01")
    assert len(over) == 4
    assert over.by_year == {("given", "2017"): 1, ("refused", "2018"): 2, ("refused", "2019"): 1}


# Purging


@pytest.mark.rule("F4")
def test_overdue_rows_are_emptied_and_marked(book: Ledger) -> None:
    """What is overdue is emptied, the rest stays, and marks quote the rules."""
    for at in ("2018-01-01", "2018-01-02", "2026-01-01", "2018-01-04"):
        choose(book, at, "refused")
    choose(book, "2018-01-01")
    assert purge(book, RULE, day("2026-02-01")) == Purged(rows=4, marks=2)
    report = verified(book)
    assert (report.choices, report.purged, report.erased, report.marks) == (1, 4, 0, 2)
    assert [Mark.decode(text) for text in marks(book)] == [
        Mark("refusals: 13 months", ((0, 1), (3, 3)), since={"analytics": 0}),
        Mark("consents and withdrawals: 5 years after end of consent", ((4, 4),)),
    ]


def marks(book: Ledger) -> list[str]:
    """Give the texts of all marks, in order."""
    wanted = select(events.c.mark).where(events.c.mark.is_not(None)).order_by(events.c.position)
    with book.reading() as connection:
        return [str(text) for text in connection.scalars(wanted)]


def test_second_purge_finds_nothing(book: Ledger) -> None:
    """What is empty is not emptied again, and marks never are."""
    choose(book, "2000-01-01", "refused")
    purge(book, RULE, day("2026-01-01"))
    size = book.size
    assert purge(book, RULE, day("2099-01-01")) == Purged(0, 0)
    assert book.size == size


def test_search_alone_changes_nothing(book: Ledger) -> None:
    """Looking for what is overdue writes no row."""
    choose(book, "2000-01-01", "refused")
    found(book, "2026-01-01")
    assert (book.size, verified(book).purged) == (1, 0)


def test_later_rows_keep_their_links(book: Ledger) -> None:
    """A visitor's later row still names the one before it, which is gone; the ledger holds."""
    choose(book, "2018-01-01", "refused", subject="one")
    choose(book, "2024-01-02", subject="one")
    purge(book, RULE, day("2024-06-01"))
    assert book.history("one")[0][1].previous is not None
    verified(book)


def test_emptied_row_between_two_is_no_gap(book: Ledger) -> None:
    """Of three rows of a visitor, the one between may go by another rule than those around it."""
    choose(book, "2023-01-01", subject="one")
    choose(book, "2023-02-01", "refused", subject="one")
    choose(book, "2026-01-01", subject="one")
    purge(book, RULE, day("2026-02-01"))
    assert [position for position, _ in book.history("one")] == [0, 2]
    verified(book)


def test_purge_goes_in_small_steps(book: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each transaction empties a bounded number of rows, and tells its progress."""
    monkeypatch.setattr(purging, "BATCH_ROWS", 7)
    for _ in range(20):
        choose(book, "2018-01-01", "refused")
    told: list[int] = []
    assert purge(book, RULE, day("2026-01-01"), advance=told.append) == Purged(rows=20, marks=3)
    assert told == [7, 7, 6]
    assert verified(book).purged == 20


def test_rows_erased_meanwhile_are_left(book: Ledger) -> None:
    """A visitor who is erased between the search and the purge is not emptied twice."""
    choose(book, "2018-01-01", "refused", subject="one")
    choose(book, "2018-01-01", "refused", subject="two")
    over = found(book, "2026-01-01")
    erase(book, "one", day("2026-01-01"))
    assert purge(book, RULE, day("2026-01-01"), found=over).rows == 1
    report = verified(book)
    assert (report.erased, report.purged) == (1, 1)


def test_old_requests_are_forgotten(book: Ledger) -> None:
    """Keys of requests older than ten minutes go with a purge."""
    event = make_event(state="refused", purposes={"analytics": False})
    book.append([Append(event, key="k" * 16)])
    purge(book, RULE, datetime.now(UTC) + timedelta(minutes=11))
    with book.reading() as connection:
        assert connection.scalars(select(requests.c.key)).all() == []


def test_scattered_million_is_found_in_little_memory(book: Ledger) -> None:
    """Positions are kept as eight bytes each."""
    choose(book, "2018-01-01", "refused")
    over = found(book, "2026-01-01")
    assert over.refusals.itemsize == 8  # type: ignore[attr-defined]
