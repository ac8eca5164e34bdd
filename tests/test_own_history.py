"""What visitors do with their own history on the preferences page: take it away, and have it erased."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from asgi import Answer, Visitor, get, make_policy, parse, request, rows, site, wrap

from gem_consent import ConsentMiddleware, Retention
from gem_consent.errors import LedgerUnavailable
from gem_consent.recorder import Recorder

PATH = "/privacy-choices"
FORM = "application/x-www-form-urlencoded"
DELETED = {"__Host-gem_consent", "gem_consent", "gem_consent_hint"}


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "consent.db"


@pytest.fixture
def app(ledger: Path) -> Iterator[ConsentMiddleware]:
    app = wrap(site(), ledger)
    yield app
    app.site.recorder.close()


@pytest.fixture
def visitor(app: ConsentMiddleware) -> Visitor:
    return Visitor(app)


class Away(Recorder):
    """A recorder whose ledger has gone away since the visitor chose."""

    async def erase(self, subject: str, now: Any) -> Any:
        """Fail."""
        raise LedgerUnavailable("away")

    async def keep(self, event: Any, key: str | None = None) -> Any:
        """Keep for later."""
        return event

    async def history(self, subject: str) -> Any:
        """Fail."""
        raise LedgerUnavailable("away")


def lose_ledger(app: ConsentMiddleware, ledger: Path) -> None:
    """Take the ledger away from a running site."""
    app.site.recorder.close()
    away = Away(f"sqlite:///{ledger}", lambda: app.site.renderer.notices.values())
    object.__setattr__(app.site, "recorder", away)


def press_erase(visitor: Visitor, *, headers: dict[str, str] | None = None, **fields: str) -> Answer:
    """Send the form of the preferences page."""
    content = urlencode({"notice": visitor.notice(), "return": "/a", "confirm": "yes"} | fields)
    given = {"content-type": FORM, "sec-fetch-site": "same-origin"} | (headers or {})
    given = visitor._headers({name: value for name, value in given.items() if value})
    answer = request(visitor.app, f"{PATH}/erase", "POST", given, body=content.encode(), **visitor.scope)
    return visitor._kept(answer)


def texts(answer: Answer, role: str) -> str:
    """Give what the page says in the element of this role."""
    found = ("".join(e.itertext()) for e in parse(answer.body).iter() if e.get("role") == role)
    (said,) = filter(None, found)
    return said


# Taking it away


def test_history_is_a_file(visitor: Visitor, ledger: Path) -> None:
    """The download names every row of the visitor in readable words, stored nowhere on the way."""
    visitor.post("grant_all")
    visitor.post("withdraw")
    answer = visitor.get(f"{PATH}/history")
    assert answer.status == 200
    assert answer.header("content-disposition") == 'attachment; filename="consent-history.json"'
    assert (answer.header("cache-control"), answer.header("vary")) == ("no-store", "Cookie")
    told = json.loads(answer.body)
    assert told["visitor"] == rows(ledger)[0]["subject"]
    assert told["controller"] == {"name": "Example", "contact": "dpo@example.com"}
    assert [choice["choice"] for choice in told["choices"]] == ["given", "withdrawn"]
    assert told["choices"][0]["purposes"] == {"analytics": "accepted", "media": "accepted"}


def test_history_leaves_nothing_out(visitor: Visitor, ledger: Path) -> None:
    """Whatever the row holds, the file says (GDPR art. 15)."""
    visitor.post(
        "grant_all", headers={"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Firefox/145.0"}
    )
    (choice,) = json.loads(visitor.get(f"{PATH}/history").body)["choices"]
    row = rows(ledger)[0]
    kept = {row[n] for n in row if n not in ("commitment", "leaf", "salt", "mark", "purposes", "subject")}
    assert kept == {value for name, value in choice.items() if name != "purposes"}


def test_history_needs_own_cookie(visitor: Visitor, app: ConsentMiddleware) -> None:
    """Without a valid cookie there is no history, whatever is asked for."""
    visitor.post("deny_all")
    assert get(app, f"{PATH}/history").status == 404
    forged = {"cookie": "__Host-gem_consent=" + "x" * 40}
    assert get(app, f"{PATH}/history?subject=1", forged).status == 404


def test_history_of_another_is_not_shown(visitor: Visitor, app: ConsentMiddleware) -> None:
    """Each visitor gets their own rows alone."""
    visitor.post("grant_all")
    other = Visitor(app)
    other.post("deny_all")
    (choice,) = json.loads(other.get(f"{PATH}/history").body)["choices"]
    assert choice["choice"] == "refused"


def test_history_without_ledger_is_told(visitor: Visitor, app: ConsentMiddleware, ledger: Path) -> None:
    """A ledger that is away gives no empty file, but a reason to come back."""
    visitor.post("deny_all")
    lose_ledger(app, ledger)
    answer = visitor.get(f"{PATH}/history")
    assert (answer.status, answer.header("retry-after")) == (503, "5")


# Erasing it


def test_page_offers_both(visitor: Visitor) -> None:
    """Whoever has a history finds a link to take it away, and a form without script to erase it."""
    assert f"{PATH}/history" not in visitor.get(PATH).text
    visitor.post("deny_all")
    page = parse(visitor.get(PATH).body)
    assert page.find(f".//a[@href='{PATH}/history']") is not None
    form = page.find(f".//form[@action='{PATH}/erase']")
    box = form.find(".//input[@type='checkbox']")
    assert "required" in box.attrib
    assert "checked" not in box.attrib
    assert "Yes, erase my history for good" in "".join(form.find(".//label").itertext())


def test_erasure_leaves_nothing(visitor: Visitor, ledger: Path) -> None:
    """Rows and cookies of the visitor are gone, and the page says so."""
    visitor.post("grant_all")
    subject = rows(ledger)[0]["subject"]
    visitor.cookies["_ga"] = "GA1.1.1.1"
    answer = press_erase(visitor)
    assert answer.status == 303
    assert answer.header("location") == f"{PATH}?erased=1&lang=en&return=/a"
    assert {"_ga", *DELETED} <= set(answer.deleted)
    assert visitor.cookies == {}
    kept = rows_as_texts(ledger)
    assert subject not in kept
    page = visitor.get(str(answer.header("location")))
    assert "Your history is erased" in texts(page, "status")
    assert "History erased" in page.text
    assert "You have not chosen yet" in page.text


def rows_as_texts(ledger: Path) -> str:
    """Give all rows as one text; emptied ones have no purposes to read."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(ledger)) as connection:
        return str(connection.execute("SELECT * FROM events").fetchall())


def test_erased_visitor_is_asked_again(visitor: Visitor, ledger: Path) -> None:
    """After an erasure the visitor is a stranger, and a new choice has a new number."""
    visitor.post("deny_all")
    before = rows(ledger)[0]["subject"]
    press_erase(visitor)
    assert 'id="gem-notice"' in visitor.get("/").text
    visitor.post("deny_all")
    assert before not in rows_as_texts(ledger)


@pytest.mark.parametrize("confirm", ["", "no", "YES"])
def test_erasure_wants_the_box(visitor: Visitor, ledger: Path, confirm: str) -> None:
    """Without the tick nothing is erased, whatever browser lets the form through."""
    visitor.post("grant_all")
    answer = press_erase(visitor, confirm=confirm)
    assert answer.status == 400
    assert "Nothing was erased: please tick the box first." in texts(answer, "alert")
    assert not answer.deleted
    assert rows(ledger)[0]["state"] == "given"


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": ""}])
def test_only_own_pages_erase(visitor: Visitor, ledger: Path, headers: dict[str, str]) -> None:
    """A page of another site, or a request that says nothing of its own, erases nothing."""
    visitor.post("grant_all")
    assert press_erase(visitor, headers=headers).status == 403
    assert rows(ledger)[0]["state"] == "given"


def test_erasure_is_a_form(visitor: Visitor) -> None:
    """Other types of body are refused."""
    assert press_erase(visitor, headers={"content-type": "application/json"}).status == 415


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_erasure_takes_post_alone(app: ConsentMiddleware, method: str) -> None:
    """No link, prefetch or crawler erases anything."""
    answer = request(app, f"{PATH}/erase", method)
    assert (answer.status, answer.header("allow")) == (405, "POST")


def test_stranger_may_press_it(visitor: Visitor, ledger: Path) -> None:
    """Who has no history loses what cookies there are, and writes no row."""
    assert press_erase(visitor).status == 303
    assert rows(ledger) == []


def test_erasure_without_ledger_withdraws(visitor: Visitor, app: ConsentMiddleware, ledger: Path) -> None:
    """Where the ledger is away the agreement ends all the same, and the number is kept to try again with."""
    visitor.post("grant_all")
    subject = rows(ledger)[0]["subject"]
    lose_ledger(app, ledger)
    answer = press_erase(visitor)
    assert (answer.status, answer.header("retry-after")) == (503, "5")
    assert "could not be erased just now" in texts(answer, "alert")
    assert "You refused on" in answer.text
    choice = app.site.cookie._decode(visitor.cookies["__Host-gem_consent"].encode())
    assert choice is not None
    assert (choice.subject, choice.granted) == (subject, frozenset())


def test_failed_erasure_works_later(visitor: Visitor, app: ConsentMiddleware, ledger: Path) -> None:
    """Whoever was told to try again later is erased then."""
    visitor.post("grant_all")
    present = app.site.recorder
    lose_ledger(app, ledger)
    press_erase(visitor)
    object.__setattr__(app.site, "recorder", present)
    assert press_erase(visitor).status == 303
    assert [state for (state,) in states(ledger)] == [None, None, "erased"]


def states(ledger: Path) -> list[tuple[str | None]]:
    """Give the states of all rows, in order."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(ledger)) as connection:
        return connection.execute("SELECT state FROM events ORDER BY position").fetchall()


def test_copy_of_cookie_is_harmless(visitor: Visitor, ledger: Path) -> None:
    """A copy of the cookie that is used after the erasure shows no history, and begins a new one."""
    visitor.post("grant_all")
    copy = Visitor(visitor.app)
    copy.cookies = dict(visitor.cookies)
    press_erase(visitor)
    assert json.loads(copy.get(f"{PATH}/history").body)["choices"] == []
    copy.post("withdraw")
    assert states(ledger)[-1] == ("withdrawn",)


# What visitors are told


def test_retention_is_told(tmp_path: Path) -> None:
    """A declared retention stands in the table of trackers, in the page's language."""
    policy = make_policy(retention=Retention(consents="5 years after end of consent", refusals="13 months"))
    page = get(wrap(site(), tmp_path / "a.db", policy=policy), PATH).text
    assert "Agreements: 5 years after the agreement ends. Refusals: 13 months after the choice." in page
    page = get(wrap(site(), tmp_path / "b.db"), PATH).text
    assert "As long as your choice may have to be proved" in page


def test_retention_asks_nobody_again() -> None:
    """A retention changes what is told, not what was asked: the fingerprint stays."""
    assert make_policy(retention=Retention()).fingerprint == make_policy().fingerprint
