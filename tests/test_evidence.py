"""Evidence archives: what is in them, and that whatever is altered in one is found without a database."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgi import make_policy, parse
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import SIGNING_SECRET, START, make_event, url_of
from typer.testing import CliRunner, Result

from gem_consent import Controller
from gem_consent.cli.app import app as command
from gem_consent.errors import ProofError
from gem_consent.evidence import write
from gem_consent.evidence_check import Report, check
from gem_consent.ledger import export
from gem_consent.ledger.checkpoints import origin_of
from gem_consent.ledger.erasure import erase
from gem_consent.ledger.export import Selection
from gem_consent.ledger.store import Append, Ledger
from gem_consent.proof.checkpoint import PublicKey, SigningKey
from gem_consent.proof.event import event_id, utc_text
from gem_consent.proof.evidence import FILES, Question, Tally, months_between
from gem_consent.proof.mark import mark_events
from gem_consent.proof.receipt import check as check_receipt
from gem_consent.receipt import encoded, find_receipt
from gem_consent.rendering import Renderer

POLICY = make_policy(controller=Controller("Exemple", "dpo@example.com"), language="fr")
NOTICES = Renderer(POLICY).notices
SIZES = (3, 10, 300, 301, 620)
UNSIGNED = 2
DAY = timedelta(days=1)
PERIOD = Question(since="2027-01-01T00:00:00.000Z", until="2027-07-01T00:00:00.000Z")
ALL = Question()


def choice(number: int) -> Append:
    """Make a choice of one of four hundred visitors, a day after the one before."""
    at = START + number * DAY
    is_given = number % 3 != 2
    return Append(
        make_event(
            id=event_id(at),
            time=utc_text(at),
            subject=f"visitor-{number % 400}",
            state="given" if is_given else "refused",
            action="grant_all" if is_given else "deny_all",
            purposes={"analytics": is_given, "media": False} if number % 4 else {"analytics": is_given},
            notice=NOTICES["fr" if number % 5 else "en"].digest if is_given else "",
            fingerprint=POLICY.fingerprint,
            policy_version='=1+1; "« é »"\n\N{RIGHT-TO-LEFT OVERRIDE}',
            browser="Firefox 145",
        )
    )


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A ledger of twenty months under five checkpoints, signed at the time of its last row."""
    path = tmp_path_factory.mktemp("evidence") / "consent.db"
    now = [START]
    with closing(Ledger.open(url_of(path), clock=lambda: now[0])) as book:
        book.store_notices(NOTICES.values())
        for before, size in zip((0, *SIZES), SIZES, strict=False):
            now[0] = START + size * DAY
            book.append([choice(number) for number in range(before, size)])
            book.sign(SIGNING_SECRET, at_once=True)
        book.append([choice(number) for number in range(SIZES[-1], SIZES[-1] + UNSIGNED)])
        yield book


def key(book: Ledger) -> PublicKey:
    return SigningKey.derive(SIGNING_SECRET, origin_of(book.uuid)).public_key


def archived(book: Ledger, question: Question = ALL) -> bytes:
    out = io.BytesIO()
    with book.reading() as connection:
        write(connection, out, question, "It holds.\n")
    return out.getvalue()


@pytest.fixture(scope="module")
def whole(book: Ledger) -> bytes:
    """The archive of all rows."""
    return archived(book)


@pytest.fixture(scope="module")
def part(book: Ledger) -> bytes:
    """The archive of half a year."""
    return archived(book, PERIOD)


def found(content: bytes, *known: PublicKey) -> Report:
    return check(io.BytesIO(content), known)


def files_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(files: dict[str, bytes], *, is_mended: bool = True) -> bytes:
    """Pack files again, with sums that fit them: as somebody would who knows how archives are made."""
    if is_mended:
        manifest = json.loads(files["manifest.json"])
        manifest["files"] = {
            name: hashlib.sha256(content).hexdigest()
            for name, content in files.items()
            if name != "manifest.json"
        }
        files = files | {"manifest.json": json.dumps(manifest).encode()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def altered(content: bytes, name: str, change: Callable[[bytes], bytes], **options: Any) -> bytes:
    files = files_of(content)
    after = change(files[name])
    assert after != files[name]
    return packed(files | {name: after}, **options)


# What it holds


def test_archive_is_proven_by_key(book: Ledger, whole: bytes) -> None:
    """With nothing but the file and the public key every row is proven, and vouched for."""
    report = found(whole, key(book))
    assert (report.tally.choices, report.checkpoints, report.unsigned) == (622, 5, UNSIGNED)
    assert report.is_vouched
    assert report.is_cover_compared
    assert report.newest is not None
    assert report.newest[0].size == SIZES[-1]


def test_period_is_proven_by_key(book: Ledger, part: bytes) -> None:
    """An archive of some rows is proven through the hashes of the others, past every checkpoint."""
    report = found(part, key(book))
    assert report.tally.choices == 181
    assert report.checkpoints == 5
    assert min(report.tally.months) == "2027-01"
    assert max(report.tally.months) == "2027-06"


def test_signed_times_bound_the_period(book: Ledger, part: bytes) -> None:
    """The checkpoints' own times say between which rows the period lies."""
    window = found(part, key(book)).window
    assert (window.start, window.end, window.shown) == (10, 300, 181)


def test_one_visitor_is_proven(book: Ledger) -> None:
    """An archive of one visitor shows nobody else's row."""
    content = archived(book, Question(subject="visitor-7"))
    report = found(content, key(book))
    assert report.tally.choices == 2
    assert b"visitor-8" not in b"".join(files_of(content).values())


def test_empty_answer_is_an_archive(book: Ledger) -> None:
    """A period without a choice is an archive too, which says so."""
    content = archived(book, Question(since="2040-01-01T00:00:00.000Z", language="en"))
    assert found(content, key(book)).tally.choices == 0
    assert "No choice was made in this period." in files_of(content)["index.html"].decode()


def test_ledger_without_checkpoint_proves_nothing(tmp_path: Path) -> None:
    """Without a checkpoint there is an archive, of which nobody signed a row."""
    with closing(Ledger.open(url_of(tmp_path / "new.db"))) as book:
        book.append([Append(make_event(state="refused")) for _ in range(3)])
        report = found(archived(book))
    assert (report.newest, report.unsigned, report.tally.choices) == (None, 3, 3)


def test_same_question_gives_same_bytes(book: Ledger, whole: bytes, part: bytes) -> None:
    """Nothing in an archive is of the moment at which it was made."""
    assert archived(book) == whole
    assert archived(book, PERIOD) == part


def test_members_are_as_said(whole: bytes) -> None:
    """The files are those that the reference names, dated and owned alike, unreadable for others."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        entries = archive.infolist()
    names = {entry.filename for entry in entries}
    assert names >= set(FILES)
    assert {name.partition("/")[0] for name in names - set(FILES)} == {"notices", "policies"}
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.external_attr >> 16 for entry in entries} == {0o100600}


def test_events_are_the_exports(book: Ledger, part: bytes) -> None:
    """CSV and JSON Lines are what the export writes for the same question."""
    for form in ("csv", "jsonl"):
        out = io.BytesIO()
        with book.reading() as connection:
            export.write(connection, out, form, Selection(PERIOD.since, PERIOD.until))
        assert files_of(part)[f"events.{form}"] == out.getvalue()


def test_notices_open_by_themselves(whole: bytes) -> None:
    """Each notice that a choice names is there, byte for byte, no other is; beside it what it declares."""
    files = files_of(whole)
    digests = {NOTICES[language].digest for language in ("fr", "en")}
    assert {name for name in files if name.startswith("notices/")} == {
        f"notices/{one}.html" for one in digests
    }
    assert files[f"notices/{NOTICES['fr'].digest}.html"] == NOTICES["fr"].html
    policy = json.loads(files[f"policies/{NOTICES['fr'].digest}.json"])
    assert policy["controller"]["name"] == "Exemple"
    assert policy["fingerprint"] == POLICY.fingerprint


def test_cover_tells_what_the_rows_say(whole: bytes) -> None:
    """The cover names the controller and counts the choices; its links lead to files of the archive."""
    files = files_of(whole)
    tree = parse(files["index.html"])
    shown = " ".join("".join(tree.find("body").itertext()).split())
    assert "Preuves des choix relatifs aux cookies" in shown
    assert "Exemple" in shown
    rows = [[cell.text for cell in row] for row in tree.iter("tr")]
    given = sum(number % 3 != 2 for number in range(622))
    assert ["Total", str(given), "0", "0", str(622 - given), "622"] in rows
    links = [one.get("href") for one in tree.iter("a")]
    assert set(links) <= files.keys()
    assert len(links) > 8


@pytest.mark.parametrize("language", ["fr", "en"])
def test_cover_reads_in_each_language(book: Ledger, language: str) -> None:
    """The cover is in the language that was asked for, and needs nothing from elsewhere."""
    tree = parse(files_of(archived(book, Question(language=language)))["index.html"])
    assert tree.get("lang") == language
    assert [one for one in tree.iter() if one.tag in ("script", "link", "img") or one.get("src")] == []


def test_spreadsheets_run_nothing(whole: bytes) -> None:
    """A cell that a spreadsheet would run is disarmed in CSV, and whole in JSON Lines."""
    files = files_of(whole)
    rows = list(csv.DictReader(io.StringIO(files["events.csv"].decode())))
    assert rows[0]["policy_version"].startswith("'=1+1")
    assert json.loads(files["events.jsonl"].splitlines()[0])["policy_version"].startswith("=1+1")


def test_each_database_gives_evidence(url: str) -> None:
    """From SQLite and PostgreSQL alike, archives and receipts are proven by the key, erased rows too."""
    now = [START]
    with closing(Ledger.open(url, clock=lambda: now[0])) as book:
        book.store_notices(NOTICES.values())
        book.append([choice(number) for number in range(300)])
        erase(book, "visitor-7", START + 300 * DAY)
        book.sign(SIGNING_SECRET, at_once=True)
        question = Question(until=utc_text(START + 20 * DAY))
        report = found(archived(book, question), key(book))
        assert (report.tally.choices, report.tally.emptied, report.tally.marks) == (19, 1, 1)
        assert found(archived(book), key(book)).tally.choices == 299
        (_, event), *_ = book.history("visitor-8")
        with book.reading() as connection:
            receipt = find_receipt(connection, event.id)
        assert receipt is not None
        assert check_receipt(encoded(receipt), [key(book)]).position == 8


# Erased and purged rows


@pytest.fixture
def emptied(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of thirty choices, four of them emptied, and the mark that says so, nine months later."""
    now = [START]
    with closing(Ledger.open(url_of(tmp_path / "emptied.db"), clock=lambda: now[0])) as book:
        book.store_notices(NOTICES.values())
        book.append([choice(number) for number in range(30)])
        at = START + 300 * DAY
        marks = mark_events("erased", "on request", [4, 9, 10, 29], at, surface="command", library="l")
        book.append([Append(mark) for mark in marks])
        with book.writing():
            kept = ("position", "commitment", "leaf")
            names = [row[1] for row in book._connection.exec_driver_sql("PRAGMA table_info(events)")]
            gone = ", ".join(f'"{name}" = NULL' for name in names if name not in kept)
            book._connection.exec_driver_sql(f"UPDATE events SET {gone} WHERE position IN (4, 9, 10, 29)")
            book._connection.exec_driver_sql("DELETE FROM requests")
        book.sign(SIGNING_SECRET, at_once=True)
        yield book


def test_emptied_rows_are_shown_as_such(emptied: Ledger) -> None:
    """Erased rows keep their place in the proof, and the mark that says by which rule is among the rows."""
    content = archived(emptied)
    report = found(content, key(emptied))
    assert (report.tally.choices, report.tally.emptied, report.tally.marks) == (26, 4, 1)
    assert b'{"emptied":[9,10],"hashes":[' in files_of(content)["proofs.jsonl"]


def test_mark_of_another_time_comes_along(emptied: Ledger) -> None:
    """Where the mark is of a later time than the period, the proofs hold it: it says why rows are empty."""
    question = Question(until=utc_text(START + 20 * DAY))
    content = archived(emptied, question)
    report = found(content, key(emptied))
    assert (report.tally.choices, report.tally.emptied, report.tally.marks) == (17, 3, 1)
    assert b'"mark":{' in files_of(content)["proofs.jsonl"]


def test_emptied_row_wants_a_mark(emptied: Ledger) -> None:
    """A row that was merely hidden cannot pass for an erased one."""
    content = archived(emptied, Question(until=utc_text(START + 20 * DAY)))
    for claim in (b'{"hidden":[20,', b'{"hidden":[20,29]'):
        proofs = files_of(content)["proofs.jsonl"]
        if claim in proofs:
            break
    changed = re.sub(rb'\{"hidden":\[20,', b'{"emptied":[20,', proofs)
    with pytest.raises(ProofError, match="Row 20: it is said to be erased or purged, and no mark says so"):
        found(altered(content, "proofs.jsonl", lambda _: changed))


# Alterations: each is packed again with sums that fit, as somebody would who wants it not to be noticed


def lines(content: bytes) -> list[bytes]:
    return content.splitlines(keepends=True)


def without(at: int) -> Callable[[bytes], bytes]:
    return lambda content: b"".join(line for number, line in enumerate(lines(content)) if number != at)


def swapped(at: int) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        all_ = lines(content)
        all_[at], all_[at + 1] = all_[at + 1], all_[at]
        return b"".join(all_)

    return change


def cut(content: bytes) -> bytes:
    return b"".join(lines(content)[:-1])


@pytest.mark.parametrize("name", [name for name in FILES if name != "manifest.json"])
def test_altered_file_is_found(part: bytes, name: str) -> None:
    """One altered byte in any file is found by its sum alone."""
    content = altered(part, name, lambda old: old[:-2] + b"x" + old[-1:], is_mended=False)
    with pytest.raises(ProofError):
        found(content)


@pytest.mark.parametrize("name", ["events.csv", "events.jsonl", "proofs.jsonl", "checkpoints.jsonl"])
@pytest.mark.parametrize("change", [without(40), swapped(40), cut], ids=["dropped", "swapped", "truncated"])
def test_moved_lines_are_found(whole: bytes, name: str, change: Callable[[bytes], bytes]) -> None:
    """A line dropped, swapped with its neighbour or cut off at the end is found in every file of lines."""
    if name == "checkpoints.jsonl" and change is not cut:
        change = without(2) if change.__qualname__.startswith("without") else swapped(2)
    with pytest.raises(ProofError):
        found(altered(whole, name, change))


def test_every_cell_is_covered(book: Ledger, whole: bytes) -> None:
    """One altered cell of any column is found and its row named, even where CSV and JSON Lines agree."""
    files = files_of(whole)
    all_ = lines(files["events.jsonl"])
    row = json.loads(all_[101])
    for name, value in row.items():
        if name == "position":
            continue
        other = {"granted": "denied", "denied": "granted"}.get(str(value), f"{value or ''}x")
        changed = row | {name: other}
        jsonl = [*all_[:101], json.dumps(changed, separators=(",", ":")).encode() + b"\n", *all_[102:]]
        content = packed(files | {"events.jsonl": b"".join(jsonl), "events.csv": csv_of(jsonl, files)})
        with pytest.raises(ProofError, match=r"^Row 101\b"):
            found(content, key(book))


def csv_of(jsonl: list[bytes], files: dict[str, bytes]) -> bytes:
    """Write the CSV that says what these lines say."""
    text = [",".join(quoted(cell) for cell in json.loads(line).values()) for line in jsonl]
    return lines(files["events.csv"])[0] + "".join(f"{line}\r\n" for line in text).encode()


def quoted(cell: object) -> str:
    return '"' + export.neutral("" if cell is None else str(cell)).replace('"', '""') + '"'


def test_csv_alone_is_found(whole: bytes) -> None:
    """A cell that is altered in the spreadsheet alone is found, and its row named."""
    content = altered(whole, "events.csv", lambda old: old.replace(b'"visitor-77"', b'"visitor-78"', 1))
    with pytest.raises(ProofError, match=r"^Row 77\b.*events\.csv says something else"):
        found(content)


def test_recommitted_row_is_found(book: Ledger, whole: bytes) -> None:
    """An edited row whose commitment was made anew no longer leads to the checkpoint after it."""
    from gem_consent.proof.event import commitment_to

    files = files_of(whole)
    jsonl, proofs = lines(files["events.jsonl"]), lines(files["proofs.jsonl"])
    row = json.loads(jsonl[101]) | {"site": "elsewhere.example"}
    jsonl[101] = json.dumps(row, separators=(",", ":")).encode() + b"\n"
    answers = {
        k.removeprefix("purpose:"): v == "granted" for k, v in row.items() if k.startswith("purpose:") and v
    }
    columns = {k: v for k, v in row.items() if k != "position" and not k.startswith("purpose:")}
    said = json.loads(proofs[101])
    said["commitment"] = commitment_to(bytes.fromhex(said["salt"]), columns | {"purposes": answers}).hex()
    proofs[101] = json.dumps(said).encode() + b"\n"
    changed = {
        "events.jsonl": b"".join(jsonl),
        "events.csv": csv_of(jsonl, files),
        "proofs.jsonl": b"".join(proofs),
    }
    with pytest.raises(
        ProofError, match=r"^Rows 10 to 299: the checkpoint after them was signed over other rows"
    ):
        found(packed(files | changed), key(book))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("since", "2026-12-01T00:00:00.000Z"),
        ("since", "2027-02-01T00:00:00.000Z"),
        ("until", "2027-06-01T00:00:00.000Z"),
        ("until", None),
        ("subject", "visitor-50"),
        ("language", "en"),
        ("language", "xx"),
        ("since", "yesterday"),
    ],
)
def test_altered_question_is_found(part: bytes, name: str, value: str | None) -> None:
    """Another question than the one that was answered is found by the rows or by the cover."""

    def change(content: bytes) -> bytes:
        manifest = json.loads(content)
        manifest["question"][name] = value
        return json.dumps(manifest).encode()

    with pytest.raises(ProofError):
        found(altered(part, "manifest.json", change))


def test_hidden_row_of_the_period_is_counted(book: Ledger) -> None:
    """Somebody who hides a row of the period cannot hide that one is missing."""
    content = archived(book, PERIOD)
    files = files_of(content)
    jsonl, proofs = lines(files["events.jsonl"]), lines(files["proofs.jsonl"])
    at = next(number for number, line in enumerate(proofs) if b'"position"' in line) + 5
    said = json.loads(proofs[at])
    leaf = hashlib.sha256(b"\0" + bytes.fromhex(said["commitment"])).hexdigest()
    hidden = {"hidden": [said["position"]] * 2, "hashes": [leaf]}
    proofs[at] = json.dumps(hidden).encode() + b"\n"
    del jsonl[5]
    manifest = json.loads(files["manifest.json"]) | {"events": 180, "library": "another release"}
    changed = {
        "events.jsonl": b"".join(jsonl),
        "events.csv": csv_of(jsonl, files),
        "proofs.jsonl": b"".join(proofs),
        "manifest.json": json.dumps(manifest).encode(),
    }
    report = found(packed(files | changed), key(book))
    assert report.window.shown == 180
    assert not report.is_cover_compared


def test_other_key_is_refused(whole: bytes, book: Ledger) -> None:
    """Another key than the one that signed is no proof."""
    other = SigningKey.derive("z" * 40, origin_of(book.uuid)).public_key
    with pytest.raises(ProofError, match=r"checkpoints\.jsonl, line 1: None of the 1 known keys"):
        found(whole, other)


def test_resigned_archive_needs_the_key(book: Ledger, tmp_path: Path) -> None:
    """A ledger signed with another key is consistent with itself, and fails against the true key."""
    with closing(Ledger.open(url_of(tmp_path / "forged.db"))) as forged:
        forged.store_notices(NOTICES.values())
        forged.append([choice(number) for number in range(5)])
        forged.sign("a forger's secret of forty characters!!", at_once=True)
        content = archived(forged)
    assert not found(content).is_vouched
    with pytest.raises(ProofError, match="None of the 1 known keys"):
        found(content, key(book))


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_found(part: bytes, name: str) -> None:
    """A file that was taken out is named."""
    files = {one: content for one, content in files_of(part).items() if one != name}
    with pytest.raises(ProofError, match=re.escape(f"lacks {name}")):
        found(packed(files, is_mended=name != "manifest.json"))


def test_missing_notice_is_found(part: bytes) -> None:
    """A notice that was taken out is missed by the first row that names it."""
    name = f"notices/{NOTICES['fr'].digest}.html"
    files = {one: content for one, content in files_of(part).items() if one != name}
    with pytest.raises(ProofError, match=r"^Row \d+ .*which is not in the archive"):
        found(packed(files))


@pytest.mark.parametrize("folder", ["notices", "policies"])
def test_altered_notice_is_found(part: bytes, folder: str) -> None:
    """A changed character in a notice, or in the policy beside it, is found."""
    name = f"{folder}/{NOTICES['fr'].digest}.{'html' if folder == 'notices' else 'json'}"
    with pytest.raises(ProofError, match=re.escape(name)):
        found(altered(part, name, lambda old: old.replace(b"Google", b"Goggle", 1)))


def test_altered_cover_is_found(part: bytes) -> None:
    """A cover that says something else than the rows is found, although its sum fits."""
    with pytest.raises(ProofError, match=r"index\.html does not say what the rows say"):
        found(altered(part, "index.html", lambda old: old.replace(b">181<", b">182<")))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_change_of_a_byte_is_found(book: Ledger, data: st.DataObject) -> None:
    """Whatever byte of whatever file is changed, the archive means the same or does not hold."""
    files = files_of(archived(book, Question(subject="visitor-7", language="en")))
    name = data.draw(st.sampled_from(sorted(files.keys() - {"verification.txt", "manifest.json"})))
    at = data.draw(st.integers(0, len(files[name]) - 1))
    content = bytearray(files[name])
    content[at] = data.draw(st.integers(0, 255).filter(lambda value: value != content[at]))
    changed = packed(files | {name: bytes(content)})
    if name.endswith(".jsonl") and is_same(files[name], bytes(content)):
        found(changed, key(book))
    else:
        with pytest.raises(ProofError):
            found(changed, key(book))


def is_same(before: bytes, after: bytes) -> bool:
    try:
        return [json.loads(line) for line in lines(before)] == [json.loads(line) for line in lines(after)]
    except ValueError:
        return False


# Hostile files


def hostile() -> dict[str, Callable[[dict[str, bytes]], bytes]]:
    def raw(files: dict[str, bytes]) -> bytes:
        return packed(files)

    def added(name: str, content: bytes = b"x") -> Callable[[dict[str, bytes]], bytes]:
        return lambda files: packed(files | {name: content})

    def twice(files: dict[str, bytes]) -> bytes:
        out = io.BytesIO(packed(files))
        with zipfile.ZipFile(out, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("index.html", b"another")
        return out.getvalue()

    def line(name: str, content: bytes) -> Callable[[dict[str, bytes]], bytes]:
        return lambda files: packed(files | {name: content})

    def encrypted(files: dict[str, bytes]) -> bytes:
        content = bytearray(packed(files))
        at = content.index(b"PK\x01\x02") + 8
        content[at] |= 1
        return bytes(content)

    def directory(files: dict[str, bytes]) -> bytes:
        content = bytearray(packed(files))
        content[-10:-6] = struct.pack("<L", 2**31)
        return bytes(content)

    deep = b'{"hidden": ' + b"[" * 50_000 + b"]" * 50_000 + b"}\n"
    return {
        "path outside": added("../../etc/passwd"),
        "absolute path": added("/etc/passwd"),
        "odd notice": added("notices/../../x.html"),
        "unknown file": added("readme.exe"),
        "unasked notice": added(f"notices/{hashlib.sha256(b'x').hexdigest()}.html"),
        "twice": twice,
        "encrypted": encrypted,
        "huge directory": directory,
        "cut": lambda files: raw(files)[:-30],
        "half": lambda files: raw(files)[: len(raw(files)) // 2],
        "trailing": lambda files: raw(files) + b"more",
        "only the end": lambda files: raw(files)[-22:],
        "bomb": line("index.html", bytes(50 * 1024 * 1024)),
        "long line": line(
            "proofs.jsonl", b'{"hidden": "' + bytes(range(32, 127)).replace(b'"', b"") * 5000 + b'"}\n'
        ),
        "deep": line("proofs.jsonl", deep),
        "not utf-8": line("events.jsonl", b'{"position": "\xff"}\n'),
        "no columns": line("events.csv", b"\xff\xfe\r\n"),
        "huge position": line("proofs.jsonl", b'{"hidden": [0, 9223372036854775807], "hashes": []}\n'),
        "odd hashes": line("proofs.jsonl", b'{"hidden": [0, 1], "hashes": [1]}\n'),
        "odd keys": line("public-keys.txt", b"\xff\n"),
        "odd note": line("checkpoints.jsonl", b'{"note": {}}\n'),
        "not a list": line("manifest.json", b"[]"),
    }


@pytest.mark.parametrize("name", hostile())
def test_hostile_archive_is_one_error(part: bytes, name: str) -> None:
    """Whatever a stranger packs ends in one error of the library's own."""
    files = files_of(part)
    make = hostile()[name]
    content = (
        packed(files | {"manifest.json": b"[]"}, is_mended=False) if name == "not a list" else make(files)
    )
    with pytest.raises(ProofError):
        found(content)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_damaged_zip_is_one_error(book: Ledger, data: st.DataObject) -> None:
    """A byte that is changed anywhere in the ZIP itself gives the same answer, or one error."""
    content = bytearray(archived(book, Question(subject="visitor-7", language="en")))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] = data.draw(st.integers(0, 255))
    with suppress(ProofError):
        assert found(bytes(content), key(book)).tally.choices == 2


# Values


def test_months_between_are_complete() -> None:
    """Months without a choice stand between those that have some."""
    assert months_between([]) == []
    assert months_between(["2026-02", "2025-11"]) == ["2025-11", "2025-12", "2026-01", "2026-02"]


def test_tally_counts_as_the_database_does(book: Ledger, whole: bytes) -> None:
    """What the rows add up to, read one by one, is what the database sums up."""
    out = io.BytesIO()
    with book.reading() as connection:
        counted: Tally = write(connection, out, ALL, "")
    assert found(whole).tally == counted


# The command line


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, prog_name="gem-consent")


@pytest.fixture
def file(book: Ledger, tmp_path: Path) -> Path:
    """The half year's archive, written by the command."""
    target = tmp_path / "half-year.zip"
    result = run(
        *("evidence", "--ledger", url_of(Path(book.name)), "--since", "2027-01-01", "--until", "2027-06-30"),
        *("--output", str(target)),
    )
    assert result.exit_code == 0, result.stderr
    assert "181 choices written to" in result.stderr
    return target


def test_command_writes_what_verify_takes(book: Ledger, file: Path) -> None:
    """The archive that evidence writes is its owner's alone, and is verified by the public key alone."""
    assert file.stat().st_mode & 0o777 == 0o600
    result = run("verify", str(file), "--public-key", str(key(book)))
    assert result.exit_code == 0, result.stdout
    assert hashlib.sha256(file.read_bytes()).hexdigest() in result.stdout
    assert "It shows 181 choices" in result.stdout
    assert "181 of them are here, 109 are not" in result.stdout
    assert "whoever holds the private key" in result.stdout


def test_archive_holds_the_verification(file: Path) -> None:
    """What verify said of the whole ledger at that moment is in the archive."""
    assert b"It holds: each row read" in files_of(file.read_bytes())["verification.txt"]


def test_altered_archive_fails_verify(file: Path) -> None:
    """An altered archive fails in one sentence that names the row."""
    file.write_bytes(
        altered(file.read_bytes(), "events.csv", lambda old: old.replace(b"example.com", b"x", 1))
    )
    result = run("verify", str(file))
    assert (result.exit_code, result.stdout.count("\n")) == (1, 1)
    assert "half-year.zip does not hold. Row 39 " in result.stdout


def test_faulty_ledger_gives_no_archive(tmp_path: Path) -> None:
    """A ledger that does not hold gives no archive, and leaves the file that was there as it was."""
    path, target = tmp_path / "consent.db", tmp_path / "evidence.zip"
    target.write_bytes(b"before")
    with closing(Ledger.open(url_of(path))) as book:
        book.append([Append(make_event())])
        with book.writing():
            book._connection.exec_driver_sql("UPDATE events SET site = 'elsewhere'")
    result = run("evidence", "--ledger", url_of(path), "--output", str(target))
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "no archive was written. The first fault: row 0" in result.stderr
    assert target.read_bytes() == b"before"


def test_unknown_language_is_one_line(book: Ledger, tmp_path: Path) -> None:
    """A language that the library does not speak is refused before anything is read."""
    result = run(
        "evidence",
        "--ledger",
        url_of(Path(book.name)),
        "--output",
        str(tmp_path / "x.zip"),
        "--language",
        "tlh",
    )
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "--language is 'tlh'" in result.stderr


def test_progress_counts_every_row(book: Ledger) -> None:
    """Progress adds up to three times the rows that were asked for, and once on the way back."""
    seen: list[int] = []
    out = io.BytesIO()
    with book.reading() as connection:
        write(connection, out, PERIOD, "", seen.append)
    assert sum(seen) == 3 * 181
    back: list[int] = []
    check(out, (), back.append)
    assert sum(back) == 181
