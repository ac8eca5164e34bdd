"""The command line: what it prints where, how it fails, and what a broken export leaves behind."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import select
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ledgers import fill, make_event, make_notice, url_of
from pyarrow import parquet
from typer.testing import CliRunner, Result

from gem_consent.cli.app import app
from gem_consent.ledger import export as ledger_export
from gem_consent.ledger.store import Append, Ledger

COMMAND = [sys.executable, "-c", "from gem_consent.cli.app import main; main()"]
ESCAPE = "\x1b"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A ledger of three choices and one notice."""
    where = url_of(tmp_path / "consent.db")
    with closing(Ledger.open(where)) as book:
        book.store_notices([make_notice()])
        asked = {"analytics": True, "media": False}
        book.append([Append(make_event(subject=f"visitor-{number}", purposes=asked)) for number in range(2)])
        book.append([Append(make_event(state="refused", purposes={"analytics": False}, language="fr"))])
        yield where


def add(url: str, *changes: dict[str, Any]) -> None:
    with closing(Ledger.open(url)) as book:
        book.append([Append(make_event(**change)) for change in changes])


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, arguments, env=environment, prog_name="gem-consent")


def started(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | options.pop("env", {})
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run([*COMMAND, *arguments], env=environment, check=False, timeout=60, **streams)


def on_terminal(*arguments: str, stdout: Any = None, **environment: str) -> tuple[int, str]:
    """Run with standard error on a terminal, standard output too by default; give what it showed."""
    leader, follower = pty.openpty()
    settings = {"PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm", "COLUMNS": "80"} | environment
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=stdout or follower, stderr=follower, env=os.environ | settings
    )
    os.close(follower)
    shown = b""
    while select.select([leader], [], [], 60)[0]:
        try:
            part = os.read(leader, 65536)
        except OSError:  # Linux says so when the other side is closed.
            break
        if not part:
            break
        shown += part
    os.close(leader)
    return process.wait(60), shown.decode()


def assert_one_line(result: Result, code: int, *words: str) -> None:
    """Check that a command failed in one line on standard error, with these words and nothing else."""
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("gem-consent: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


def test_export_prints_rows(url: str) -> None:
    """Without a file, the rows and nothing else go to standard output."""
    result = run("export", "--ledger", url, "--format", "csv")
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(list(csv.reader(result.stdout.splitlines()))) == 4


def test_export_reads_the_environment(url: str) -> None:
    """The ledger's URL may stand in the environment."""
    result = run("export", "--format", "jsonl", "--subject", "visitor-1", GEM_CONSENT_LEDGER=url)
    assert json.loads(result.stdout)["subject"] == "visitor-1"


def test_export_filters_by_date(url: str) -> None:
    """A period without choices gives the header alone."""
    result = run("export", "--ledger", url, "--format", "csv", "--until", "2020-01-31")
    assert result.stdout.count("\n") == 1


def test_export_writes_a_private_file(url: str, tmp_path: Path) -> None:
    """The file holds the rows, is its owner's alone, and one line says how many were written."""
    target = tmp_path / "consent.csv"
    result = run("export", "--ledger", url, "--format", "csv", "--output", str(target))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"3 events written to {target}, up to position 2\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert target.read_bytes().count(b"\r\n") == 4


def test_export_names_one_event(url: str, tmp_path: Path) -> None:
    """One event is not called events."""
    target = tmp_path / "one.jsonl"
    options = ("--subject", "visitor-0", "--output", str(target))
    result = run("export", "--ledger", url, "--format", "jsonl", *options)
    assert result.stderr == f"1 event written to {target}, up to position 0\n"


def test_export_goes_on_after_a_position(url: str, tmp_path: Path) -> None:
    """Named the last position, an export holds what follows; where nothing does, it says no position."""
    result = run("export", "--ledger", url, "--format", "jsonl", "--after", "0")
    assert [json.loads(line)["position"] for line in result.stdout.splitlines()] == [1, 2]
    target = tmp_path / "rest.jsonl"
    result = run("export", "--ledger", url, "--format", "jsonl", "--after", "2", "--output", str(target))
    assert (result.stderr, target.read_bytes()) == (f"0 events written to {target}\n", b"")


def test_export_refuses_impossible_positions(url: str) -> None:
    """No row comes before the first."""
    result = run("export", "--ledger", url, "--after", "-1")
    assert_one_line(result, 2, "--after -1 is no position: they begin with 0")


def test_export_writes_parquet(url: str, tmp_path: Path) -> None:
    """A file holds the rows as typed columns, and so does a pipe."""
    target = tmp_path / "consent.parquet"
    assert run("export", "--ledger", url, "--format", "parquet", "--output", str(target)).exit_code == 0
    piped = started("export", "--ledger", url, "--format", "parquet")
    assert (piped.stderr, piped.stdout) == (b"", target.read_bytes())
    assert parquet.read_table(target)["state"].to_pylist() == ["given", "given", "refused"]


def test_export_spares_the_terminal(url: str) -> None:
    """Parquet is not poured onto a screen."""
    code, shown = on_terminal("export", "--ledger", url, "--format", "parquet")
    assert (code, shown.strip()) == (
        2,
        "gem-consent: A terminal cannot show Parquet: name a file with --output, or use a pipe",
    )


def test_export_names_what_parquet_needs(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyarrow the command says how to have it, before it opens anything."""
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    result = run("export", "--ledger", "sqlite:///nowhere.db", "--format", "parquet")
    assert_one_line(result, 2, 'pip install "gem-consent[parquet]"')


def test_export_replaces_whole_files(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export that breaks leaves the former file as it was, and nothing beside it."""
    target = tmp_path / "out" / "consent.csv"
    target.parent.mkdir()
    target.write_text("former")

    def broken(connection: object, out: Any, *_: object) -> int:
        out.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(ledger_export, "write", broken)
        result = run("export", "--ledger", url, "--format", "csv", "--output", str(target))
    assert_one_line(result, 1, f"Cannot write to {target}: No space left on device")
    assert (os.listdir(target.parent), target.read_text()) == (["consent.csv"], "former")
    run("export", "--ledger", url, "--format", "csv", "--output", str(target))
    assert target.read_text().startswith('"position"')


def test_export_follows_links(url: str, tmp_path: Path) -> None:
    """A link stays a link; what it leads to is replaced."""
    (tmp_path / "link").symlink_to(tmp_path / "real")
    run("export", "--ledger", url, "--format", "csv", "--output", str(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").stat().st_size


@pytest.mark.parametrize("output", ["/dev/null", "."])
def test_export_spares_devices(url: str, output: str) -> None:
    """A device or a folder is refused, since a rename would replace it."""
    result = run("export", "--ledger", url, "--format", "csv", "--output", output)
    assert_one_line(result, 2, f"--output {output} is no regular file", "redirect standard output")


def test_export_needs_the_folder(url: str, tmp_path: Path) -> None:
    """A folder that is not there is a failure in one line."""
    target = tmp_path / "missing" / "consent.csv"
    result = run("export", "--ledger", url, "--format", "csv", "--output", str(target))
    assert_one_line(result, 1, "No such file or directory", "name a folder")


def test_closed_pipe_ends_quietly(url: str) -> None:
    """A reader that has seen enough, such as ``head``, ends the export without a word."""
    add(url, *({} for _ in range(3000)))
    reader, writer = os.pipe()
    os.close(reader)
    done = started(
        "export",
        "--ledger",
        url,
        "--format",
        "jsonl",
        stdout=writer,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_full_output_is_a_failure(url: str) -> None:
    """Standard output that takes nothing is told in one line, not taken for a fault of the ledger."""
    with open("/dev/full", "wb") as full:
        done = started(
            "export",
            "--ledger",
            url,
            "--format",
            "csv",
            stdout=full,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(b"gem-consent: Cannot write to standard output: No space left")
    assert done.stderr.count(b"\n") == 1


def test_rows_are_utf8_in_any_locale(url: str) -> None:
    """Bytes do not depend on the terminal's encoding."""
    add(url, {"site": "café.example"})
    done = started("export", "--ledger", url, "--format", "csv", env={"PYTHONIOENCODING": "ascii"})
    assert "café.example" in done.stdout.decode()
    assert done.stdout.count(b"\r\n") == done.stdout.count(b"\n") == 5


def test_bar_shows_on_terminal(url: str, tmp_path: Path) -> None:
    """With a file to write and somebody to look, a bar runs, and the last line says what was written."""
    target = tmp_path / "consent.csv"
    code, shown = on_terminal("export", "--ledger", url, "--format", "csv", "--output", str(target))
    assert code == 0
    assert "Exporting" in shown
    assert shown.rstrip().endswith(f"3 events written to {target}, up to position 2")


def test_bar_shows_beside_redirection(url: str, tmp_path: Path) -> None:
    """Rows that are redirected to a file leave the terminal to the bar."""
    with (tmp_path / "rows.csv").open("wb") as rows:
        _, shown = on_terminal("export", "--ledger", url, "--format", "csv", stdout=rows)
    assert "Exporting" in shown
    assert (tmp_path / "rows.csv").read_bytes().count(b"\r\n") == 4


def test_bar_spares_rows_on_terminal(url: str) -> None:
    """Rows on the terminal have it for themselves."""
    _, shown = on_terminal("export", "--ledger", url, "--format", "csv")
    assert "Exporting" not in shown
    assert shown.count("\n") == 4


def test_bar_stays_out_of_pipes(url: str, tmp_path: Path) -> None:
    """Where standard error is no terminal, as in CI, it holds one plain line; rows in a pipe have no bar."""
    done = started("export", "--ledger", url, "--format", "csv", "--output", str(tmp_path / "consent.csv"))
    assert done.stderr.decode() == f"3 events written to {tmp_path / 'consent.csv'}, up to position 2\n"
    _, shown = on_terminal("export", "--ledger", url, "--format", "csv", stdout=subprocess.DEVNULL)
    assert shown == ""


def test_stats_say_totals_first(url: str) -> None:
    """The first lines hold what a data-protection officer asks first, and the states are explained."""
    result = run("stats", "--ledger", url)
    lines = result.stdout.splitlines()
    assert (result.exit_code, lines[0], lines[2]) == (0, "3 choices by 3 visitors", "1 notice kept")
    assert re.fullmatch(r"from 2026-\d\d-\d\d \d\d:\d\d to 2026-\d\d-\d\d \d\d:\d\d UTC", lines[1])
    assert re.search(r"refused +accepted nothing +1 +33% +█", result.stdout)
    assert re.search(r"analytics +2 granted, 1 denied +67% +█", result.stdout)


def test_stats_fit_eighty_columns(url: str) -> None:
    """No line is longer than 80 columns, whatever names visitors made up."""
    add(url, {"surface": "x" * 32, "language": "y" * 35}, {"time": "2025-01-01T00:00:00.000Z"})
    result = run("stats", "--ledger", url, COLUMNS="200")
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_stats_group_older_days(url: str) -> None:
    """The last thirty days have a line each, empty ones too; what came before is told by month."""
    times = ("2026-01-02", "2026-01-03", "2026-02-01", "2026-03-31")
    add(url, *({"time": f"{day}T00:00:00.000Z"} for day in times))
    result = run("stats", "--ledger", url, "--until", "2026-03-31")
    assert re.search(r"Before 2026-03-02, by month\n2026-01 +2 +█+ *\n2026-02 +1 +█", result.stdout)
    assert re.search(r"\n2026-03-30 +0 *\n2026-03-31 +1 +█", result.stdout)
    assert len(re.findall(r"\n2026-\d\d-\d\d ", result.stdout)) == 30


def test_stats_print_json(url: str) -> None:
    """For programs, the same figures are one JSON object."""
    found = json.loads(run("stats", "--ledger", url, "--json").stdout)
    assert (found["choices"], found["states"]["refused"]) == (3, 1)
    assert found["purposes"]["analytics"] == {"granted": 2, "denied": 1}


def test_empty_ledger_says_so(tmp_path: Path, url: str) -> None:
    """A ledger or a period without choices is told in a sentence, not in empty tables."""
    Ledger.open(url_of(tmp_path / "new.db")).close()
    assert run("stats", "--ledger", url_of(tmp_path / "new.db")).stdout == "The ledger holds no choice yet.\n"
    result = run("stats", "--ledger", url, "--until", "2020-01-01")
    assert (result.exit_code, result.stdout) == (0, "No choice was made in this period.\n")


def test_stats_obey_no_visitor(url: str) -> None:
    """Text that visitors chose neither commands the terminal nor turns its lines around, nor is markup."""
    add(url, {"surface": "\x1b[31m\u202e[bold]x"})
    result = run("stats", "--ledger", url)
    assert "?[31m?[bold]x" in result.stdout
    assert ESCAPE not in result.stdout
    assert "\u202e" not in result.stdout


def test_colour_is_for_terminals(url: str) -> None:
    """Bold titles show on a terminal; a pipe has no codes, and NO_COLOR leaves a terminal without colour."""
    assert ESCAPE.encode() not in started("stats", "--ledger", url).stdout
    assert f"{ESCAPE}[1m" in on_terminal("stats", "--ledger", url)[1]
    _, shown = on_terminal("stats", "--ledger", url, NO_COLOR="1")
    assert not re.search(rf"{ESCAPE}\[\d*;?[34]\dm", shown)


def test_poor_encodings_get_ascii(url: str) -> None:
    """Where the encoding has no blocks, bars are plain signs, and an odd name is no failure."""
    add(url, {"surface": "é"})
    done = started("stats", "--ledger", url, env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"####" in done.stdout
    assert done.stdout.isascii()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["export", "--format", "xml"],
            ["'xml' is not one of 'csv', 'jsonl'", "see gem-consent export --help"],
        ),
        (["export", "--format", "csv", "--since", "soon"], ["--since 'soon' is no date", "2026-01-31"]),
        (["stats", "--until", "2026-02-30"], ["--until '2026-02-30' is no date"]),
        (["stats", "--wrong"], ["No such option: --wrong", "see gem-consent stats --help"]),
        (["wrong"], ["No such command 'wrong'", "see gem-consent --help"]),
        (["--wrong"], ["No such option: --wrong"]),
        (["stats", "--ledger", "consent.db"], ["sqlite:///relative.db"]),
        (["stats", "--ledger", "redis://host/0"], ["'redis'", "sqlite:///relative.db"]),
    ],
)
def test_wrong_usage_exits_two(url: str, arguments: list[str], words: list[str]) -> None:
    """Whatever should have been typed otherwise is told in one line, with what is allowed."""
    assert_one_line(run(*arguments, GEM_CONSENT_LEDGER=url), 2, *words)


def test_ledger_must_be_named() -> None:
    """Without a ledger, both ways to name one are told."""
    assert_one_line(run("stats"), 2, "Missing option '--ledger'", "GEM_CONSENT_LEDGER")


def test_missing_ledger_is_not_made(tmp_path: Path) -> None:
    """A path that leads nowhere is a failure, and stays empty."""
    assert_one_line(run("stats", "--ledger", url_of(tmp_path / "no.db")), 1, "There is no ledger at")
    assert os.listdir(tmp_path) == []


def test_other_files_are_refused(tmp_path: Path) -> None:
    """A file that is no ledger is a failure, whether a database or not."""
    (tmp_path / "text.db").write_text("This is no database, however long it may be. " * 50)
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE things (id)")
    for name in ("text.db", "other.db"):
        assert_one_line(run("export", "--format", "csv", "--ledger", url_of(tmp_path / name)), 1, name)


def test_spoilt_rows_are_a_failure(url: str, tmp_path: Path) -> None:
    """A row that no ledger writes is told in one line, by both commands."""
    with closing(sqlite3.connect(tmp_path / "consent.db")) as other, other:
        other.execute("UPDATE events SET purposes = 'x' WHERE position = 1")
    assert_one_line(run("stats", "--ledger", url), 1, "restore a backup")
    result = run("export", "--ledger", url, "--format", "csv", "--output", str(tmp_path / "out.csv"))
    assert_one_line(result, 1, "restore a backup")
    assert not (tmp_path / "out.csv").exists()


def test_bare_command_shows_help() -> None:
    """Without a command, the help names all of them."""
    result = run()
    assert result.exit_code == 2
    assert "export" in result.stdout
    assert "stats" in result.stdout


@pytest.mark.parametrize("command", ["export", "stats"])
def test_help_has_examples(command: str) -> None:
    """Each command's help shows how it is used and where the ledger's URL may stand."""
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"gem-consent {command} --ledger sqlite:///consent.db" in result.stdout
    assert "GEM_CONSENT_LEDGER" in result.stdout
    assert "--install-completion" not in result.stdout


def test_version_is_one_line() -> None:
    """The version is the installed package's."""
    result = run("--version")
    assert result.exit_code == 0
    assert re.fullmatch(r"gem-consent \S.*\n", result.stdout)


def test_commands_load_late() -> None:
    """The command line's own modules load neither rich nor the ledger's store before a command needs them."""
    code = (
        "import sys, gem_consent; before = set(sys.modules); import gem_consent.cli.app; "
        "late = {'rich', 'gem_consent.ledger.figures', 'gem_consent.ledger.export'}; "
        "print(sorted(late & (set(sys.modules) - before)))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_notice_lists_what_was_shown(url: str) -> None:
    """Without a digest every notice is a line: digest, day, language, fingerprint, library."""
    result = run("notice", "--ledger", url)
    assert result.exit_code == 0
    digest, day, language, fingerprint, *_ = result.stdout.split()
    shown = make_notice()
    assert (digest, language, fingerprint) == (shown.digest, shown.language, shown.fingerprint)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", day)


def test_notice_prints_the_page(url: str) -> None:
    """With the beginning of a digest it prints the very bytes that the digest is of."""
    shown = make_notice()
    done = started("notice", "--ledger", url, shown.digest[:8])
    assert (done.returncode, done.stdout) == (0, shown.html)


@pytest.mark.parametrize("digest", ["1234567", "0" * 64])
def test_unknown_notice_is_said(url: str, digest: str) -> None:
    """A digest that is too short, or of no notice, is one line and exit 1."""
    result = run("notice", "--ledger", url, digest)
    assert result.exit_code == 1
    assert result.stderr.startswith("gem-consent: 0 notices begin with")
    assert result.stderr.count("\n") == 1


# Verification


@pytest.fixture
def signed(tmp_path: Path) -> str:
    """A ledger of ten signed rows and one after them."""
    where = url_of(tmp_path / "signed.db")
    with closing(Ledger.open(where)) as book:
        fill(book, [4, 10])
        book.append([Append(make_event(notice=make_notice().digest))])
    return where


def alter(url: str, statement: str) -> None:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute(statement)


def test_verify_says_what_it_proves(signed: str) -> None:
    """With nothing from elsewhere, the ledger is consistent with itself, and no more is said."""
    answer = run("verify", "--ledger", signed)
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert "11 rows in its tree" in answer.stdout
    assert "covers 10 rows; 1 row lies after it, unsigned." in answer.stdout
    assert "consistent with itself, keys not vouched for" in answer.stdout


def test_verify_takes_kept_key(signed: str) -> None:
    """What public-key prints is what verify takes, and the answer then says who vouches."""
    key = run("public-key", "--ledger", signed).stdout.strip()
    answer = run("verify", "--ledger", signed, "--public-key", key)
    assert answer.exit_code == 0
    assert "whoever held the private key signed exactly these rows" in answer.stdout
    assert "not vouched for" not in answer.stdout


def test_verify_takes_kept_checkpoint(signed: str, tmp_path: Path) -> None:
    """What checkpoint prints is what verify reads, byte for byte."""
    held = tmp_path / "checkpoint.txt"
    held.write_bytes(started("checkpoint", "--ledger", signed).stdout)
    answer = run("verify", "--ledger", signed, "--since-checkpoint", str(held))
    assert answer.exit_code == 0
    assert (
        "Of the first 10 rows, which the checkpoint covers, only the tree's hashes were compared"
        in answer.stdout
    )
    assert "still begins with the rows that the checkpoint covers" in answer.stdout


def test_verify_names_bad_row(signed: str) -> None:
    """An altered ledger is told by exit 1 and the first bad row."""
    alter(signed, "UPDATE events SET site = 'x' WHERE position >= 5")
    answer = run("verify", "--ledger", signed)
    assert (answer.exit_code, answer.stderr) == (1, "")
    assert "It does not hold: 6 faults. The first: row 5 (id " in answer.stdout
    assert "What this proves" not in answer.stdout


def test_verify_opens_disagreeing_ledger(signed: str) -> None:
    """A ledger that every other command refuses is opened to say what is wrong with it."""
    alter(signed, "DELETE FROM events WHERE position = 10")
    answer = run("verify", "--ledger", signed)
    assert answer.exit_code == 1
    assert "row 10: it is missing at the end: the ledger was truncated" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--public-key", "nonsense"), "--public-key: A public key reads"),
        (("--since-checkpoint", "absent.txt"), "--since-checkpoint absent.txt cannot be read"),
    ],
)
def test_verify_refuses_misuse(signed: str, arguments: tuple[str, ...], words: str) -> None:
    """A key or file that cannot be one is wrong usage, in one line."""
    assert_one_line(run("verify", "--ledger", signed, *arguments), 2, words)


@pytest.mark.parametrize("command", ["public-key", "checkpoint"])
def test_unsigned_ledger_has_nothing_to_keep(url: str, command: str) -> None:
    """Where nothing was signed yet, that is said."""
    assert_one_line(run(command, "--ledger", url), 1, "no checkpoint yet")


def test_verify_shows_progress(signed: str) -> None:
    """On a terminal a bar shows how far it is, and is gone in the end."""
    code, shown = on_terminal("verify", "--ledger", signed)
    assert code == 0
    assert "Verifying" in shown
    assert shown.rstrip().endswith("find that.")
