"""The application's own cookies: which are let through, what is remembered, and what the command tells."""

from __future__ import annotations

import json
import logging
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from asgi import START, Clock, Visitor, get, http_scope, make_policy, site, wrap
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from gem_consent import ConfigurationError, ConsentMiddleware, GoogleAnalytics, Service, Tracker
from gem_consent.cli.app import app as cli
from gem_consent.inventory import Inventory, Seen, exceeds, family_of
from gem_consent.ledger.store import Ledger

_BASKET = Service(
    id="basket",
    name="Basket",
    purpose="necessary",
    provider="Example",
    trackers=(Tracker("basket_*", timedelta(days=7), "What was put into it."),),
)
_POLICY = make_policy(services=(GoogleAnalytics("G-XXXXXXXXXX"), _BASKET))


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """The file of a ledger."""
    return tmp_path / "consent.db"


def setting(ledger: Path, *lines: str, **options: Any) -> ConsentMiddleware:
    """Make a site whose every page sets these cookies."""
    return wrap(site(headers=[("set-cookie", line) for line in lines]), ledger, policy=_POLICY, **options)


def test_undeclared_cookie_is_named_once(ledger: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is let through, named once in the log, and counted each time; its value is nowhere."""
    app = setting(ledger, "theme=very-dark")
    for _ in range(3):
        assert get(app).all("set-cookie") == ["theme=very-dark"]
    assert caplog.messages == ["a cookie that the policy does not declare: theme, and it was let through"]
    assert app.site.tally.cookies == {"undeclared": 3}


def test_undeclared_cookie_is_refused_on_request(ledger: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With ``refuse`` it does not leave; what is declared, needed or deleted does."""
    kept = ["basket_1=a", "csrftoken=b", "session=c", "theme=; Max-Age=0"]
    app = setting(ledger, "theme=dark", *kept, undeclared="refuse")
    assert get(app).all("set-cookie") == kept
    assert "a cookie that the policy does not declare: theme, and it was refused" in caplog.messages
    assert app.site.tally.cookies["refused"] == 1


def test_allow_says_nothing(ledger: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With ``allow`` cookies pass in silence, and are in the inventory all the same."""
    app = setting(ledger, "theme=dark", undeclared="allow")
    assert get(app).all("set-cookie") == ["theme=dark"]
    assert (caplog.messages, app.site.tally.cookies) == ([], {})
    assert [one.name for one in app.site.inventory.take(START)] == ["theme"]


@pytest.mark.parametrize("undeclared", ["report", "refuse", "allow"])
def test_ungranted_tracker_is_withheld_always(ledger: Path, undeclared: str) -> None:
    """A declared tracker needs its grant, whatever is done with undeclared cookies; granted, it passes."""
    visitor = Visitor(setting(ledger, "_ga=1", undeclared=undeclared))
    assert visitor.get().all("set-cookie") == []
    visitor.post("grant_all")
    assert visitor.get().all("set-cookie") == ["_ga=1"]


@pytest.mark.parametrize("line", ["vid_somebody@example.com=1", "old_vid_somebody=1"])
def test_name_that_fits_a_pattern_is_told_as_the_pattern(
    ledger: Path, caplog: pytest.LogCaptureFixture, line: str
) -> None:
    """What stands for the ``*`` may be a visitor's: neither log nor inventory has it."""
    video = replace(make_policy().services[1], leftovers=("old_vid_*",))
    app = wrap(site(headers=[("set-cookie", line)]), ledger, policy=make_policy(services=(video,)))
    pattern = f"{line.partition('vid_')[0]}vid_*"
    for _ in range(3):
        assert get(app).all("set-cookie") == []
    assert caplog.messages == [f"withheld cookies whose purpose was not granted: {pattern}"]
    assert [(one.name, one.service) for one in app.site.inventory.take(START)] == [(pattern, "video")]
    assert app.site.tally.cookies == {"withheld": 3}


def test_own_cookies_are_declared(ledger: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The library's own cookies are nobody's surprise."""
    visitor = Visitor(setting(ledger))
    visitor.post("grant_all")
    assert (caplog.messages, visitor.app.site.tally.cookies) == ([], {})


def test_wrong_mode_refuses_to_start(ledger: Path) -> None:
    """Anything but the three words is a wrong setting."""
    with pytest.raises(ConfigurationError, match="undeclared is 'drop'; allowed: one of report"):
        setting(ledger, undeclared="drop")


async def _lifespan(app: ConsentMiddleware, *paths: str) -> None:
    """Start an application, ask for pages, and stop it."""
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Any:
        if len(messages) == 1:
            for path in paths:
                await app(http_scope(path, "GET", {"accept": "text/html"}), _nothing_comes, _nowhere)
        return messages.pop(0)

    await app({"type": "lifespan", "state": {}}, receive, _nowhere)


async def _nothing_comes() -> Any:
    """Wait for ever, as a client that has sent all does."""
    await anyio.sleep_forever()


async def _nowhere(message: Any) -> None:
    """Take a message that nobody looks at."""


def _stored(ledger: Path) -> list[Seen]:
    with closing(Ledger.open(f"sqlite:///{ledger}", must_exist=True)) as book:
        return book.cookies()


def test_inventory_is_stored_at_the_end(ledger: Path) -> None:
    """An orderly end stores what was seen: name, times, lifetime, attributes, who declares it; no value."""
    app = setting(ledger, "theme=very-dark; Max-Age=60; HttpOnly", "basket_17=full; Max-Age=9999999")
    anyio.run(_lifespan, app, "/", "/")
    assert _stored(ledger) == [
        Seen("basket_*", START, START, 9_999_999, "", "basket", 7 * 86_400),
        Seen("theme", START, START, 60, "HttpOnly"),
    ]
    assert b"very-dark" not in ledger.read_bytes()


def test_inventory_is_stored_in_time(ledger: Path) -> None:
    """A process that goes on stores what it saw after a minute, then every ten; nobody waits for it."""
    app = setting(ledger, "theme=dark")
    clock = app.site.clock
    assert isinstance(clock, Clock)
    get(app)
    assert not ledger.exists()
    clock.seconds += 60
    get(app)
    app.site.recorder.post(lambda _: None).wait(10)
    assert [(one.first, one.last) for one in _stored(ledger)] == [(START, START + 60)]
    app.site.close()


def test_two_processes_share_one_inventory(ledger: Path) -> None:
    """What other processes see is merged, whoever stores first: first time, last time, longest lifetime."""
    anyio.run(_lifespan, setting(ledger, "theme=a; Max-Age=90"), "/")
    anyio.run(_lifespan, setting(ledger, "theme=a; Max-Age=60", clock=Clock(START + 86_400)), "/")
    anyio.run(_lifespan, setting(ledger, "theme=a; Max-Age=60", clock=Clock(START + 60)), "/")
    assert _stored(ledger) == [Seen("theme", START, START + 86_400, 90, "")]


def test_nothing_seen_opens_nothing(ledger: Path) -> None:
    """A site that sets no cookie writes no inventory."""
    app = setting(ledger)
    get(app)
    assert not app.site.inventory.has_fresh
    assert not ledger.exists()


def test_failing_ledger_keeps_sightings(ledger: Path) -> None:
    """What could not be stored is tried again with the next."""
    ledger.mkdir()
    app = setting(ledger, "theme=dark")
    get(app)
    app.site.keep_inventory().wait(10)
    app.site.recorder.close()
    assert not app.site.inventory.has_fresh or [one.name for one in app.site.inventory.take(START)] == [
        "theme"
    ]


def test_command_tells_the_inventory(ledger: Path) -> None:
    """Each cookie is a line: who declares it or that nobody does, and whether it lives too long."""
    anyio.run(_lifespan, setting(ledger, "theme=x; HttpOnly", "basket_a=x; Max-Age=9999999"), "/")
    done = CliRunner().invoke(cli, ["inventory", "--ledger", f"sqlite:///{ledger}"])
    lines = done.stdout.splitlines()
    assert lines == [
        "basket_*  first seen 2026-11-24  last seen 2026-11-24  115 days  no attributes  declared by basket"
        "  LONGER THAN DECLARED (7 days)",
        "theme  first seen 2026-11-24  last seen 2026-11-24  until the browser closes  HttpOnly"
        "  NOT DECLARED",
    ]


def test_command_tells_json(ledger: Path) -> None:
    """Programs get the same as JSON."""
    anyio.run(_lifespan, setting(ledger, "theme=x"), "/")
    done = CliRunner().invoke(cli, ["inventory", "--json", "--ledger", f"sqlite:///{ledger}"])
    (one,) = json.loads(done.stdout)
    assert (one["name"], one["service"], one["lifetime"], one["remarks"]) == ("theme", "", None, [])


def test_command_says_when_empty(ledger: Path) -> None:
    """A ledger that has seen nothing says so."""
    Ledger.open(f"sqlite:///{ledger}").close()
    done = CliRunner().invoke(cli, ["inventory", "--ledger", f"sqlite:///{ledger}"])
    assert done.stdout == "No cookie of the site's own was seen yet.\n"


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("wp-settings-42", "wp-settings-*"),
        ("amp_1a2b3c4d5e", "amp_*"),
        ("sessionid", "sessionid"),
        ("_ga", "_ga"),
        ("v2", "v*"),
        ("a" * 200_000, "a" * 128),
    ],
)
def test_numbers_in_names_are_left_out(name: str, family: str) -> None:
    """A number in a name may be a visitor's."""
    assert family_of(name) == family


@given(st.lists(st.text(max_size=200), max_size=50))
def test_inventory_is_bounded(names: list[str]) -> None:
    """However many names are set, memory has an end, and nothing is lost of those that are kept."""
    inventory = Inventory()
    for at, name in enumerate([*names, *(f"{number}n" for number in range(600))]):
        inventory.note(Seen(name, at, at, None, ""))
    kept = inventory.take(0)
    assert len(kept) == 500
    assert all(len(one.name) <= 128 for one in kept)
    inventory.settle(kept)
    assert not inventory.has_fresh


def test_longer_than_declared_is_told() -> None:
    """A lifetime counts as longer once it is so by more than a day."""
    seen = Seen("a", 0, 0, 86_400 * 9, "", "s", 86_400 * 7)
    assert exceeds(seen)
    assert not exceeds(Seen("a", 0, 0, 86_400 * 8, "", "s", 86_400 * 7))
    assert not exceeds(Seen("a", 0, 0, None, "", "s", 86_400 * 7))


def test_logger_is_the_librarys(ledger: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All of it is said by one logger."""
    with caplog.at_level(logging.WARNING):
        get(setting(ledger, "theme=dark"))
    assert {record.name for record in caplog.records} == {"gem_consent"}
