"""The figures: what a ledger's choices add up to, checked against a count by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import START, make_event, make_notice, url_of
from sqlalchemy import update

from gem_consent.errors import LedgerError
from gem_consent.ledger.erasure import erase
from gem_consent.ledger.export import Selection
from gem_consent.ledger.figures import CHOICES, OTHERS, Answers, Figures, figures
from gem_consent.ledger.purge import purge
from gem_consent.ledger.schema import events
from gem_consent.ledger.store import Append, Ledger
from gem_consent.retention import Retention

EVERYTHING = Selection()


@pytest.fixture
def book(url: str) -> Iterator[Ledger]:
    with closing(Ledger.open(url)) as opened:
        yield opened


def figures_of(book: Ledger, selection: Selection = EVERYTHING) -> Figures:
    with book.reading() as connection:
        return figures(connection, selection)


def fill(book: Ledger, *changes: dict[str, Any]) -> None:
    book.append([Append(make_event(**change)) for change in changes])


def test_empty_ledger_adds_to_nothing(book: Ledger) -> None:
    """A new ledger has zeros, no dates and all four states."""
    found = figures_of(book)
    assert found == Figures(0, 0, None, None, 0, 0, 0, dict.fromkeys(CHOICES, 0), {}, {}, {}, {})


def test_visitors_count_once(book: Ledger) -> None:
    """Two choices of one visitor are two choices and one visitor."""
    fill(book, {"subject": "one"}, {"subject": "one"}, {"subject": "two"})
    found = figures_of(book)
    assert (found.choices, found.visitors) == (3, 2)


def test_period_spans_the_choices(book: Ledger) -> None:
    """First and last are the earliest and the latest time, in whatever order the rows were written."""
    times = [f"2026-0{month}-01T00:00:00.000Z" for month in (3, 1, 2)]
    fill(book, *({"time": time} for time in times))
    found = figures_of(book)
    assert (found.first, found.last) == (times[1], times[0])
    assert list(found.days) == ["2026-01-01", "2026-02-01", "2026-03-01"]


def test_purposes_count_those_asked(book: Ledger) -> None:
    """A choice counts for the purposes that it was asked about, and for no others."""
    fill(book, {"purposes": {"analytics": True}}, {"purposes": {"analytics": True, "media": False}})
    fill(book, {"purposes": {"analytics": False}}, {"purposes": {"analytics": True}})
    found = figures_of(book).purposes
    assert found == {"analytics": Answers(granted=3, denied=1), "media": Answers(granted=0, denied=1)}
    assert found["analytics"].share == 0.75


def test_frequent_names_come_first(book: Ledger) -> None:
    """Languages and surfaces are ordered by how many choices they have."""
    fill(
        book,
        *({"language": language, "surface": language} for language in ("de", "fr", "fr", "en", "fr", "en")),
    )
    found = figures_of(book)
    assert list(found.languages.items()) == [("fr", 3), ("en", 2), ("de", 1)]
    assert found.surfaces == found.languages


def test_rare_names_are_summed(book: Ledger) -> None:
    """However many surfaces visitors make up, the figures stay short and their sum stays right."""
    fill(book, *({"surface": f"surface-{number}"} for number in range(50)), {"surface": OTHERS})
    found = figures_of(book).surfaces
    assert len(found) <= 21
    assert sum(found.values()) == 51


def test_notices_are_counted(book: Ledger) -> None:
    """The notices are those that the ledger keeps, whether somebody answered them or not."""
    book.store_notices([make_notice("one"), make_notice("two")])
    assert figures_of(book).notices == 2


def test_marks_and_erased_rows_stay_out(book: Ledger) -> None:
    """An erasure's mark is no choice, and an erased row is counted as that alone."""
    fill(book, {"subject": "gone", "purposes": {"analytics": False}}, {"state": "refused"})
    erase(book, "gone", START)
    found = figures_of(book)
    assert (found.choices, found.visitors, found.erased, found.purged) == (1, 1, 1, 0)
    assert found.states["refused"] == 1


def test_purged_rows_are_counted_apart(book: Ledger) -> None:
    """Rows that a rule emptied are told from those that were erased on request."""
    fill(book, *({"state": "refused", "time": "2001-01-01T00:00:00.000Z"} for _ in range(3)))
    purge(book, Retention(), START)
    found = figures_of(book)
    assert (found.choices, found.erased, found.purged) == (0, 0, 3)


def test_unreadable_mark_is_refused(book: Ledger) -> None:
    """A mark that no ledger writes stops the count, with the way to find the row."""
    fill(book, {"subject": "gone"})
    erase(book, "gone", START)
    with book.writing():
        book._connection.execute(update(events).where(events.c.mark.is_not(None)).values(mark="x"))
    with pytest.raises(LedgerError, match="run gem-consent verify"):
        figures_of(book)


def test_period_narrows_every_figure(book: Ledger) -> None:
    """A selection counts its own choices in all figures but the notices and the erased rows."""
    fill(book, {"time": "2026-01-01T00:00:00.000Z", "language": "de", "purposes": {"media": True}})
    fill(book, {"time": "2026-02-01T00:00:00.000Z", "language": "fr"})
    found = figures_of(book, Selection.parse(since="2026-01-31"))
    assert found.choices == sum(found.states.values()) == sum(found.days.values()) == 1
    assert (list(found.languages), list(found.purposes)) == (["fr"], ["analytics"])


def test_unreadable_purposes_are_refused(book: Ledger) -> None:
    """Purposes that no ledger writes stop the count, with the way to find the row."""
    fill(book, {})
    with book.writing():
        book._connection.execute(update(events).values(purposes="[]"))
    with pytest.raises(LedgerError, match="restore a backup"):
        figures_of(book)


choices = st.fixed_dictionaries(
    {
        "state": st.sampled_from(CHOICES),
        "subject": st.sampled_from("abc"),
        "language": st.sampled_from(["fr", "en"]),
        "purposes": st.dictionaries(st.sampled_from(["analytics", "media"]), st.booleans()),
    }
)


@settings(max_examples=25, deadline=None)
@given(st.lists(choices, max_size=12))
def test_figures_equal_a_plain_count(tmp_path_factory: pytest.TempPathFactory, made: list[Any]) -> None:
    """What the database adds up is what a loop over the events would."""
    with closing(Ledger.open(url_of(tmp_path_factory.mktemp("count") / "consent.db"))) as book:
        fill(book, *made)
        found = figures_of(book)
    asked = Counter((id_, answer) for choice in made for id_, answer in choice["purposes"].items())
    assert {(id_, True): n.granted for id_, n in found.purposes.items() if n.granted} | {
        (id_, False): n.denied for id_, n in found.purposes.items() if n.denied
    } == asked
    assert +Counter(found.states) == Counter(choice["state"] for choice in made)
    assert found.languages == Counter(choice["language"] for choice in made)
    assert (found.choices, found.visitors) == (len(made), len({choice["subject"] for choice in made}))
