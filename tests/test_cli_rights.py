"""The commands that erase, purge and tell what is overdue: what they do, say and refuse."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from ledgers import make_event, make_notice, url_of
from test_cli import COMMAND, assert_one_line, run

from gem_consent.ledger.store import Append, Ledger

VISITOR = "5ubj3ct0f7h3v1s170rwh0w4n75700u7"
LIVE = {"expires": "2126-01-31T00:00:00.000Z"}
OLD = {"time": "2020-01-31T00:00:00.000Z", "expires": "2021-02-28T00:00:00.000Z"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "consent.db"


@pytest.fixture
def url(path: Path) -> str:
    """A ledger of one visitor's two choices, a stranger's, and two old ones."""
    with closing(Ledger.open(url_of(path))) as book:
        book.store_notices([make_notice()])
        notice = make_notice().digest
        book.append([Append(make_event(subject=VISITOR, notice=notice, **LIVE)) for _ in range(2)])
        book.append([Append(make_event(subject="other", notice=notice, **LIVE))])
        book.append([Append(make_event(state="refused", purposes={"analytics": False}, **OLD))])
        book.append([Append(make_event(notice=notice, **OLD))])
    return url_of(path)


def kept(path: Path) -> list[int]:
    """Give the positions of the choices that still hold something."""
    with closing(sqlite3.connect(path)) as connection:
        wanted = "SELECT position FROM events WHERE id IS NOT NULL AND mark IS NULL ORDER BY position"
        return [position for (position,) in connection.execute(wanted)]


def test_erase_says_what_it_did(url: str, path: Path) -> None:
    """The rows, the mark, the withdrawal, the file and what is out of reach are told; the ledger holds."""
    result = run("erase", "--ledger", url, "--subject", VISITOR, "--yes")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "3 rows erased; row 6 says which." in result.stdout
    assert "was live, and was withdrawn first" in result.stdout
    assert "in no byte of the database any more" in result.stdout
    assert "Not reached from here: backups" in result.stdout
    assert kept(path) == [2, 3, 4]
    verified = run("verify", "--ledger", url)
    assert verified.exit_code == 0
    assert "Read: 3 choices, 3 erased, 1 mark, 1 notice, 0 checkpoints." in verified.stdout


def test_erase_rewrites_on_request(url: str, path: Path) -> None:
    """With --rewrite the file is written anew, and holds."""
    result = run("erase", "--ledger", url, "--subject", VISITOR, "--yes", "--rewrite")
    assert result.exit_code == 0
    assert VISITOR.encode() not in path.read_bytes()
    assert run("verify", "--ledger", url).exit_code == 0


@pytest.mark.parametrize("subject", ["nobody", "", "*"])
def test_erase_finds_nobody(url: str, subject: str, path: Path) -> None:
    """An unknown number ends with 1 and is not repeated; marks, which have none, are not meant by it."""
    run("erase", "--ledger", url, "--subject", VISITOR, "--yes")
    before = kept(path)
    result = run("erase", "--ledger", url, "--subject", subject, "--yes")
    assert_one_line(result, 1, "no row of this visitor")
    assert "nobody" not in result.stderr
    assert kept(path) == before


def test_erase_wants_an_answer(url: str, path: Path) -> None:
    """Where nobody can be asked, nothing is erased without --yes."""
    assert_one_line(run("erase", "--ledger", url, "--subject", VISITOR), 2, "add --yes")
    assert kept(path) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, [2, 3, 4]), ("n", 1, [0, 1, 2, 3, 4])])
def test_erase_asks_on_a_terminal(url: str, path: Path, answer: str, code: int, left: list[int]) -> None:
    """On a terminal it asks how many rows are to go, and does as it is told."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "erase", "--ledger", url, "--subject", VISITOR],
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    os.write(leader, f"{answer}\n".encode())
    _, asked = process.communicate(timeout=60)
    os.close(leader)
    os.close(follower)
    assert "Erase 2 rows of this visitor for good?" in asked.decode()
    assert process.returncode == code
    assert kept(path) == left


def test_erase_needs_a_ledger(tmp_path: Path) -> None:
    """A ledger that is not there is not made."""
    result = run("erase", "--ledger", url_of(tmp_path / "absent.db"), "--subject", "x", "--yes")
    assert_one_line(result, 1, "There is no ledger")


def test_dry_run_changes_nothing(url: str, path: Path) -> None:
    """A dry run names the rule and what would go, by state and year, and writes nothing."""
    result = run("purge", "--ledger", url, "--dry-run", "--keep", "4 years after the end of the consent")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "Kept: consents and withdrawals for 4 years after end of consent, refusals for 13 months.",
        "2 rows overdue:",
        "  given      2020            1",
        "  refused    2020            1",
        "Nothing was changed.",
    ]
    assert kept(path) == [0, 1, 2, 3, 4]


def test_purge_keeps_to_the_rule(url: str, path: Path) -> None:
    """What is overdue goes, the rest stays, and the ledger holds."""
    result = run("purge", "--ledger", url, "--keep", "90 years", "--keep-refusals", "3 years after year end")
    assert "1 row purged; 1 row of their own say which." in result.stdout
    assert kept(path) == [0, 1, 2, 4]
    again = run("purge", "--ledger", url, "--keep", "90 years", "--rewrite")
    assert "No row is overdue." in again.stdout
    assert "written anew" in again.stdout
    assert "4 choices, 1 purged, 1 mark" in run("verify", "--ledger", url).stdout


def test_purge_reads_the_policy(url: str, path: Path, tmp_path: Path) -> None:
    """The terms may stand in the policy file; an option goes before them."""
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'privacy_url = "/privacy"\n[controller]\nname = "Example"\ncontact = "dpo@example.com"\n'
        '[retention]\nconsents = "3 ans après la fin du consentement"\nrefusals = "20 years"\n',
        "utf-8",
    )
    told = run("purge", "--ledger", url, "--policy", str(policy), "--dry-run").stdout
    assert "for 3 years after end of consent, refusals for 20 years." in told
    assert "1 row overdue" in told
    told = run(
        "purge", "--ledger", url, "--policy", str(policy), "--keep-refusals", "1 day", "--dry-run"
    ).stdout
    assert "refusals for 1 day." in told


def test_terms_may_stand_in_the_environment(url: str) -> None:
    """A scheduled job may have its terms from the environment."""
    terms = {"GEM_CONSENT_KEEP": "90 years", "GEM_CONSENT_KEEP_REFUSALS": "90 years"}
    assert "No row is overdue." in run("purge", "--ledger", url, "--dry-run", **terms).stdout


@pytest.mark.parametrize("command", ["purge", "stats"])
def test_unreadable_term_lists_the_forms(url: str, path: Path, command: str) -> None:
    """A term that cannot be read is wrong usage, and what can be read is told."""
    result = run(command, "--ledger", url, "--keep", "a while")
    assert_one_line(result, 2, "'a while' cannot be read", "'3 years after year end'")
    assert kept(path) == [0, 1, 2, 3, 4]


def test_stats_name_what_is_overdue(url: str) -> None:
    """Overdue rows are counted under the rule, for people and for programs."""
    told = run("stats", "--ledger", url, "--keep", "1 year after end of consent")
    assert "2 rows overdue: consents and withdrawals are kept for 1 year after end of consent" in told.stdout
    found = json.loads(run("stats", "--ledger", url, "--keep", "30 years", "--json").stdout)
    assert found["overdue"] == {"rows": 1, "consents": "30 years", "refusals": "13 months"}
    run("purge", "--ledger", url)
    run("erase", "--ledger", url, "--subject", VISITOR, "--yes")
    after = run("stats", "--ledger", url)
    assert "overdue" not in after.stdout
    assert "3 rows erased, 2 rows purged" in after.stdout
