"""``gem-consent demo`` as somebody starts it: what it prints, serves, records, and how it ends."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from walks import PATIENCE_SECONDS, Serving, Visitor, is_shown, run, serving, states

PAGES = ("/", "/services", "/contact", "/confidentialite")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Serving]:
    """The demonstration site on a free port, with a ledger of its own."""
    command = ["gem-consent", "demo", "--port", "0", "--ledger", "sqlite:///demo.db"]
    with serving(command, tmp_path) as site:
        yield site


@pytest.fixture
def visitor(demo: Serving) -> Iterator[Visitor]:
    """Somebody who has made no choice."""
    somebody = Visitor(demo.address)
    yield somebody
    somebody.close()


def rows(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "demo.db")) as database:
        return [state for (state,) in database.execute("SELECT state FROM events ORDER BY position")]


def printed_command(demo: Serving, word: str) -> list[str]:
    line = next(line for line in demo.out if f" {word} --ledger" in line)
    return shlex.split(line.partition(":")[2])


@pytest.mark.parametrize("path", PAGES)
def test_pages_ask_in_french(visitor: Visitor, path: str) -> None:
    """Each page is French and holds the notice in French, with equal buttons and nothing of Google's."""
    page = visitor.look(path)
    assert page.root.get("lang") == "fr"
    notice = page.find("gem-notice")
    assert notice is not None
    assert notice.get("lang") == "fr"
    words = " ".join(" ".join(notice.itertext()).split())
    assert "Tout accepter" in words
    assert "Tout refuser" in words
    assert "googletagmanager.com" not in page.response.text
    assert "set-cookie" not in page.response.headers


def test_looking_writes_no_row(visitor: Visitor, demo: Serving, tmp_path: Path) -> None:
    """Somebody who only looks leaves no row and gets no cookie."""
    for path in PAGES:
        visitor.look(path)
    assert rows(tmp_path) == []
    assert not visitor.client.cookies


def test_accepting_starts_the_tag(visitor: Visitor, tmp_path: Path) -> None:
    """Accepting puts the tag into the next page and writes one row."""
    visitor.press(visitor.look(), "grant_all")
    assert "googletagmanager.com" in visitor.look("/services").response.text
    assert rows(tmp_path) == ["given"]


def test_refusing_starts_nothing(visitor: Visitor, tmp_path: Path) -> None:
    """Refusing writes one row, and no page asks or measures."""
    visitor.press(visitor.look(), "deny_all")
    page = visitor.look("/services")
    assert not is_shown(page, "gem-notice")
    assert "googletagmanager.com/gtag" not in page.response.text
    assert rows(tmp_path) == ["refused"]


def test_withdrawing_deletes_analytics_cookies(visitor: Visitor, tmp_path: Path) -> None:
    """Withdrawing writes one row and deletes ``_ga`` and ``_ga_*``, not the site's own cookies."""
    visitor.press(visitor.look(), "grant_all")
    visitor.client.cookies.update({"_ga": "GA1.1.1", "_ga_OLDER": "GS1", "session": "mine"})
    answer = visitor.press(visitor.look(), "withdraw")
    deleted = {
        line.partition("=")[0]
        for line in answer.headers.get_list("set-cookie")
        if re.search(r"max-age=0\b", line, re.IGNORECASE)
    }
    assert deleted >= {"_ga", "_ga_OLDER"}
    assert "session" not in deleted
    assert rows(tmp_path) == ["given", "withdrawn"]


def test_printed_commands_show_clicks(visitor: Visitor, demo: Serving, tmp_path: Path) -> None:
    """The two commands that the demo prints show what was clicked, as rows and as figures."""
    page = visitor.look()
    visitor.press(page, "grant_all")
    visitor.press(page, "withdraw")
    exported = run(*printed_command(demo, "export"), folder=tmp_path)
    assert exported.stderr == ""
    assert states(exported.stdout) == ["given", "withdrawn"]
    figures = run(*printed_command(demo, "stats"), folder=tmp_path)
    assert "2 choices by 1 visitor" in figures.stdout


def test_map_waits_for_consent(visitor: Visitor) -> None:
    """The contact page loads its map only once that purpose is granted."""
    framed = 'src="https://www.openstreetmap.org/export/embed.html'
    assert f" {framed}" not in visitor.client.get("/contact").text
    visitor.press(visitor.look("/contact"), "grant_all")
    assert f" {framed}" in visitor.client.get("/contact").text


def test_interrupt_ends_it_cleanly(demo: Serving) -> None:
    """Ctrl-C ends the demo without a traceback, and closes its ledger."""
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(PATIENCE_SECONDS) in (0, 130)
    assert "Traceback" not in "".join(demo.err)


def test_busy_port_is_one_line(tmp_path: Path) -> None:
    """A port that is taken is told in one line, with a remedy."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        answer = run("gem-consent", "demo", "--port", port, "--ledger", "sqlite:///demo.db", folder=tmp_path)
    assert answer.returncode in (1, 2)
    assert answer.stdout == ""
    assert answer.stderr.count("\n") == 1
    assert port in answer.stderr
    assert "--port" in answer.stderr
