"""What the tests of whole sites share: a program that serves one, and a visitor without a script."""

from __future__ import annotations

import csv
import io
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from xml.etree.ElementTree import Element

import html5lib
import httpx

ROOT = Path(__file__).parent.parent
SECRET = "a secret of this test, of 32 characters or more"
PATIENCE_SECONDS = 60
_ADDRESS = re.compile(r"http://127\.0\.0\.1:[1-9]\d*")


@dataclass(frozen=True)
class Serving:
    """A program that serves a site: its address, and the lines it has printed so far."""

    address: str
    out: list[str]
    err: list[str]
    process: subprocess.Popen[str]


def environment(**changes: str) -> dict[str, str]:
    """Give the environment of this test's own Python: its commands come first."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GEM_CONSENT_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return inherited | {"PATH": path, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "error"} | changes


@contextmanager
def serving(command: Sequence[str], folder: Path, **changes: str) -> Iterator[Serving]:
    """Run a program until the block ends, and wait for the address that it prints."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(**changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    out: list[str] = []
    err: list[str] = []
    assert process.stdout
    assert process.stderr
    readers = [
        threading.Thread(target=_read, args=(stream, kept, lines), daemon=True)
        for stream, kept in ((process.stdout, out), (process.stderr, err))
    ]
    for reader in readers:
        reader.start()
    try:
        yield Serving(_address(lines, err), out, err, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()
        for reader in readers:
            reader.join(PATIENCE_SECONDS)
        process.stdout.close()
        process.stderr.close()


def _read(stream: IO[str], kept: list[str], lines: queue.SimpleQueue[str | None]) -> None:
    for line in stream:
        kept.append(line)
        lines.put(line)
    lines.put(None)


def _address(lines: queue.SimpleQueue[str | None], err: list[str]) -> str:
    ends = 0
    while ends < 2:
        line = lines.get(timeout=PATIENCE_SECONDS)
        ends += line is None
        if line and (found := _ADDRESS.search(line)):
            return found[0]
    raise AssertionError("The program ended before it served:\n" + "".join(err))


@dataclass(frozen=True)
class Page:
    """An HTML document as a visitor gets it."""

    response: httpx.Response
    root: Element

    def find(self, id_: str) -> Element | None:
        """Give the element of this id."""
        return self.root.find(f".//*[@id='{id_}']")

    def fields(self, button: Element) -> tuple[str, dict[str, str]]:
        """Give the action and the fields of a button's form, as pressing it would send them."""
        form = next(form for form in self.root.iter("form") if button in list(form.iter()))
        hidden = {
            i.attrib["name"]: i.get("value", "") for i in form.iter("input") if i.get("type") == "hidden"
        }
        return form.attrib["action"], hidden | {button.attrib["name"]: button.attrib["value"]}


class Visitor:
    """Somebody whose browser runs no script, and keeps cookies."""

    def __init__(self, address: str) -> None:
        self.client = httpx.Client(base_url=address, timeout=PATIENCE_SECONDS, trust_env=False)

    def look(self, path: str = "/", **headers: str) -> Page:
        """Open a page, which must be HTML5 without an error."""
        response = self.client.get(path, headers=headers)
        assert response.status_code == 200, response.text
        parser = html5lib.HTMLParser(namespaceHTMLElements=False)
        root = parser.parse(response.content)
        # html5lib alone takes "&" before a word for an error (HTML standard, "ambiguous ampersand state")
        assert {code for _, code, _ in parser.errors} <= {"expected-named-entity"}
        return Page(response, root)

    def press(self, page: Page, decision: str) -> httpx.Response:
        """Press the first button of this value that the page shows."""
        button = next(b for b in page.root.iter("button") if b.get("value") == decision)
        action, fields = page.fields(button)
        origin = str(self.client.base_url).rstrip("/")
        return self.client.post(action, data=fields, headers={"origin": origin})

    def close(self) -> None:
        """Leave."""
        self.client.close()


def is_shown(page: Page, id_: str) -> bool:
    """Say whether the page has this part, and not hidden."""
    part = page.find(id_)
    return part is not None and "hidden" not in part.attrib


def walk(address: str, tag: str, path: str = "/") -> None:
    """Refuse as one visitor and accept as another; check what each gets."""
    for decision, is_tagged in (("deny_all", False), ("grant_all", True)):
        visitor = Visitor(address)
        first = visitor.look(path)
        assert is_shown(first, "gem-notice")
        assert tag not in first.response.text
        answer = visitor.press(first, decision)
        assert (answer.status_code, answer.headers["location"]) == (303, path)
        then = visitor.look(path)
        assert not is_shown(then, "gem-notice")
        assert is_shown(then, "gem-settings")
        assert (tag in then.response.text) is is_tagged
        visitor.close()


def run(*command: str, folder: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(**changes),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def states(exported: str) -> list[str]:
    """Give the states of the rows of a CSV export, in order."""
    return [row["state"] for row in csv.DictReader(io.StringIO(exported))]
