"""Whether an evidence archive proves what it shows: read as a stranger's file, without any database.

Nothing is unpacked to disk; lines are read one by one, and memory does not grow with the archive.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import struct
import zipfile
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from gem_consent.errors import ProofError
from gem_consent.evidence_cover import Cover, cover, policy_file
from gem_consent.ledger.export import AFTER, BEFORE, neutral
from gem_consent.proof.checkpoint import Checkpoint, PublicKey, verify_signers
from gem_consent.proof.evidence import (
    CHOICES,
    FILES,
    FORMAT,
    Hidden,
    Question,
    Shown,
    Tally,
    Tree,
    committed,
    parse_line,
)
from gem_consent.proof.mark import Mark
from gem_consent.proof.statement import Statement
from gem_consent.proof.strict import json_object, position_of, require_members, require_text
from gem_consent.proof.tree import HASH_BYTES
from gem_consent.rendering import LIBRARY
from gem_consent.translation import available_languages

__all__ = ["Report", "Window", "check", "count"]

MAX_LINE_BYTES = 256 * 1024
"""How long a line may be: a mark's text of 16 KiB, escaped to ASCII, and room to spare."""

MAX_FILE_BYTES = 16 * 1024 * 1024
"""How long a file may be that is read as a whole: a notice, a policy, the cover, the manifest."""

MAX_DIRECTORY_BYTES = 16 * 1024 * 1024
"""How long the ZIP's own list of its files may be."""

MAX_RATIO = 200
"""How many times smaller a file may be packed; rows of a ledger reach 30, a bomb 1,000."""

_SMALL_BYTES = 64 * 1024
_STREAMED = ("events.csv", "events.jsonl", "proofs.jsonl", "checkpoints.jsonl")
_NOTICE = re.compile(r"notices/([0-9a-f]{64})\.html")
_POLICY = re.compile(r"policies/([0-9a-f]{64})\.json")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_ANSWERS = {"granted": True, "denied": False}
_MANIFEST = ("format", "library", "ledger", "rows", "events", "question", "files")
_NAMES = (*BEFORE[1:], *AFTER)
_NEEDED = ("id", "time", "subject", "state", "notice")
_CELLS = {str, type(None)}
_NEEDS_NOTICE = frozenset({"given", "renewed"})


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows were recorded in a period, by the signed times of checkpoints before and after it.

    Args:
        start, end: the first of them, and the one after the last.
        shown: how many of them the archive shows, those that are empty included.
    """

    start: int
    end: int
    shown: int


@dataclass(frozen=True, slots=True)
class Report:
    """What an archive was found to prove.

    Args:
        ledger: the ledger's name.
        question: what the archive says it was asked for; each row is of it.
        tally: what its choices add up to.
        size: how many rows the tree was grown through.
        unsigned: how many rows that are shown lie after the newest checkpoint.
        newest: the newest checkpoint and its signed time; ``None`` where there is none: nothing is proven.
        checkpoints: how many there are.
        window: where the rows of the period lie.
        keys: the public keys that were believed.
        is_vouched: they came from elsewhere than the archive.
        is_cover_compared: the cover was made by this very release, and says what the rows say.
    """

    ledger: str
    question: Question
    tally: Tally
    size: int
    unsigned: int
    newest: tuple[Checkpoint, str] | None
    checkpoints: int
    window: Window
    keys: tuple[str, ...]
    is_vouched: bool
    is_cover_compared: bool


def count(file: BinaryIO) -> int:
    """Say how many rows an archive says it holds, for a progress bar; 0 where it cannot be read."""
    try:
        _require_small_directory(file)
        with _failing_plainly(), zipfile.ZipFile(file) as archive:
            manifest = json_object(archive.open("manifest.json").read(MAX_FILE_BYTES), "manifest.json")
            return position_of(manifest.get("events"), "events")
    except (KeyError, ProofError):
        return 0


def check(
    file: BinaryIO, known: Sequence[PublicKey] = (), advance: Callable[[int], object] = lambda rows: None
) -> Report:
    """Check an archive by itself: rows, tree, signatures, notices, policies, sums and cover.

    Args:
        file: the archive, from anybody; it must be possible to seek in it.
        known: public keys that were kept elsewhere; they alone are believed. Without any, the archive's own.
        advance: called with the number of rows that were just read.

    Raises:
        ProofError: something was altered, or cannot be read; the message names the first such row or file.
    """
    with _failing_plainly():
        _require_small_directory(file)
        with zipfile.ZipFile(file) as archive:
            return _Check(archive, known, advance).run()


@contextmanager
def _failing_plainly() -> Iterator[None]:
    # zipfile lets all of these out of a file that was cut, altered or made up.
    broken = (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        RuntimeError,
        OverflowError,
        UnicodeError,
    )
    try:
        yield
    except broken as error:
        raise ProofError(
            f"The archive cannot be read to its end ({str(error)[:120] or type(error).__name__}): it was cut "
            "off or altered, get it again"
        ) from error


def _require_small_directory(file: BinaryIO) -> None:
    """Refuse a file whose own list of files would fill the memory (APPNOTE.TXT, section 4.3)."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 98))
    tail = file.read(98)
    end = tail[-22:]
    if len(end) < 22 or end[:4] != b"PK\x05\x06":
        raise ProofError("The file is no archive that gem-consent evidence wrote, or its end was cut off")
    length = struct.unpack("<L", end[12:16])[0]
    if tail[-42:-38] == b"PK\x06\x07":
        length = struct.unpack("<Q", tail[-58:-50])[0] if tail[-98:-94] == b"PK\x06\x06" else size
    if length > MAX_DIRECTORY_BYTES:
        raise ProofError(
            f"The archive's list of files has {length} bytes; {MAX_DIRECTORY_BYTES} are the most"
        )
    file.seek(0)


class _Check:
    """One check's state: how far the three files of rows and the tree have come."""

    def __init__(
        self, archive: zipfile.ZipFile, known: Sequence[PublicKey], advance: Callable[[int], object]
    ) -> None:
        self._archive = archive
        self._known = known
        self._advance = advance
        self._tally = Tally()
        self._tree = Tree()
        self._marks: list[array[int]] = [array("q"), array("q")]
        self._empty: list[array[int]] = [array("q"), array("q")]
        self._events = self._shown = self._unsigned = 0
        self._next = self._fitting = 0

    def run(self) -> Report:
        self._files = self._entries()
        self._manifest = self._read_manifest()
        self._ledger = require_text(self._manifest["ledger"], "The ledger's name in manifest.json")
        self._question = _question(self._manifest["question"])
        self._listed = self._read_keys()
        self._read_checkpoints()
        self._read_rows()
        self._check_marks()
        policies = self._read_notices()
        self._check_sums()
        return self._report(is_cover_compared=self._compare_cover(policies))

    def _report(self, *, is_cover_compared: bool) -> Report:
        start, end = self._window
        return Report(
            ledger=self._ledger,
            question=self._question,
            tally=self._tally,
            size=self._tree.size,
            unsigned=self._unsigned,
            newest=self._newest,
            checkpoints=len(self._sizes),
            window=Window(start, self._tree.size if end is None else end, self._shown),
            keys=tuple(sorted(map(str, self._signers))),
            is_vouched=bool(self._known),
            is_cover_compared=is_cover_compared,
        )

    # Files

    def _entries(self) -> dict[str, zipfile.ZipInfo]:
        """Refuse what no archive holds: other names, names twice, what is packed too small or too large."""
        found: dict[str, zipfile.ZipInfo] = {}
        for entry in self._archive.infolist():
            name = entry.filename
            if name not in FILES and not _NOTICE.fullmatch(name) and not _POLICY.fullmatch(name):
                raise ProofError(
                    f"The archive holds {name[:120]!r}, which is none of its files: it was added"
                )
            if name in found:
                raise ProofError(f"The archive holds {name!r} twice: one of them was added")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & 1:
                raise ProofError(f"{name} is packed in another way than gem-consent evidence does")
            if entry.file_size > MAX_RATIO * entry.compress_size + _SMALL_BYTES:
                raise ProofError(f"{name} would unpack to {entry.file_size} bytes, as no such file does")
            if entry.file_size > MAX_FILE_BYTES and name not in _STREAMED:
                raise ProofError(f"{name} has {entry.file_size} bytes, and {MAX_FILE_BYTES} are the most")
            found[name] = entry
        for name in FILES:
            if name not in found:
                raise ProofError(f"The archive lacks {name}: it was taken out")
        return found

    def _content(self, name: str) -> bytes:
        with self._archive.open(self._files[name]) as part:
            return part.read()

    def _read_manifest(self) -> dict[str, Any]:
        manifest = json_object(self._content("manifest.json"), "manifest.json")
        if manifest.get("format") != FORMAT:
            raise ProofError(
                f"The archive is not of the format {FORMAT!r}, the one known here: install the release of "
                "gem_consent that wrote it, or a newer"
            )
        require_members(manifest, _MANIFEST, "manifest.json")
        if not isinstance(manifest["files"], dict):
            raise ProofError("manifest.json names no files")
        position_of(manifest["rows"], "manifest.json's number of rows")
        return manifest

    def _check_sums(self) -> None:
        sums = self._manifest["files"]
        expected = self._files.keys() - {"manifest.json"}
        if sums.keys() != expected:
            name = sorted(sums.keys() ^ expected)[0]
            raise ProofError(f"manifest.json and the archive do not hold the same files: {name[:120]!r}")
        for name, said in sums.items():
            with self._archive.open(self._files[name]) as part:
                if hashlib.file_digest(part, "sha256").hexdigest() != said:  # type: ignore[arg-type]
                    raise ProofError(f"{name} is not the file that manifest.json names: it was altered")

    # Keys and checkpoints

    def _read_keys(self) -> list[PublicKey]:
        text = self._content("public-keys.txt")
        keys = [PublicKey.parse(line) for line in text.decode(errors="replace").splitlines()]
        if "".join(f"{key}\n" for key in keys).encode() != text:
            raise ProofError("public-keys.txt does not hold one public key a line: it was altered")
        return keys

    def _read_checkpoints(self) -> None:
        """Verify every signature, keep sizes and roots, and find the period among the signed times."""
        self._sizes, self._roots = array("q"), bytearray()
        self._signers: set[PublicKey] = set()
        self._newest: tuple[Checkpoint, str] | None = None
        self._note: bytes | None = None
        start, end = 0, None
        signed: set[PublicKey] = set()
        for number, line in enumerate(self._lines("checkpoints.jsonl"), 1):
            try:
                checkpoint, said = self._checkpoint(line, signed)
            except ProofError as error:
                raise ProofError(f"checkpoints.jsonl, line {number}: {error}") from error
            self._sizes.append(checkpoint.size)
            self._roots += checkpoint.root
            self._newest = checkpoint, said.time
            if self._question.since is not None and said.time <= self._question.since:
                start = checkpoint.size
            if end is None and self._question.until is not None and said.time >= self._question.until:
                end = checkpoint.size
        self._window = start, end
        if signed != set(self._listed):
            raise ProofError("public-keys.txt does not name the keys that signed the checkpoints: altered")

    def _checkpoint(self, line: bytes, signed: set[PublicKey]) -> tuple[Checkpoint, Statement]:
        found = json_object(line, "it")
        require_members(found, ("note",), "it")
        note = require_text(found["note"], "the note").encode(errors="replace")
        checkpoint, signers = verify_signers(note, self._listed)
        signed |= signers
        if self._known:
            checkpoint, signers = verify_signers(note, self._known)
        self._signers |= signers
        self._note, said = note, Statement.of(checkpoint)
        before = self._sizes[-1] if self._sizes else 0
        if checkpoint.origin != self._ledger:
            raise ProofError(
                f"it is of {checkpoint.origin[:120]!r}, and the archive of {self._ledger[:120]!r}"
            )
        if checkpoint.size <= before or said.previous != before:
            raise ProofError(f"a checkpoint between size {before} and it was dropped or added")
        if not _TIME.fullmatch(said.time):
            raise ProofError("its time is not written as times are")
        return checkpoint, said

    # Rows

    def _lines(self, name: str) -> Iterator[bytes]:
        with self._archive.open(self._files[name]) as part:
            # its own readline is Python
            buffered = io.BufferedReader(cast(io.RawIOBase, part), _SMALL_BYTES)
            while line := buffered.readline(MAX_LINE_BYTES + 1):
                if not line.endswith(b"\n"):
                    raise ProofError(
                        f"{name} has a line that is cut off, or over {MAX_LINE_BYTES} bytes long"
                    )
                yield line

    def _read_rows(self) -> None:
        self._rows = self._lines("events.jsonl")
        with self._archive.open(self._files["events.csv"]) as self._csv:
            self._columns = self._read_columns()
            purposes = self._columns[len(BEFORE) : -len(AFTER)]
            self._purposes = {name.removeprefix("purpose:"): name for name in purposes}
            for number, line in enumerate(self._lines("proofs.jsonl"), 1):
                self._read_part(parse_line(line, number))
            if next(self._rows, None) is not None or self._csv.read(1):
                raise self._wrong("events.jsonl or events.csv goes on where the proofs end: rows were added")
        if self._next < len(self._sizes):
            raise self._wrong("the proofs end before the newest checkpoint: some were cut off")
        if self._events != self._manifest["events"]:
            raise ProofError(f"manifest.json does not say that there are {self._events} rows: it was altered")
        if self._manifest["rows"] < self._tree.size:
            raise ProofError(f"manifest.json says that the ledger had fewer than {self._tree.size} rows")

    def _wrong(self, what: str, columns: Mapping[str, Any] | None = None) -> ProofError:
        known = f" (id {columns['id']}, of {columns['time']})" if columns and columns.get("id") else ""
        return ProofError(f"Row {self._tree.size}{known}: {what}")

    def _read_columns(self) -> list[str]:
        line = self._csv.readline(MAX_LINE_BYTES)
        try:
            (columns,) = csv.reader([line.decode()])
        except (csv.Error, ValueError) as error:
            raise ProofError("events.csv does not begin with the names of its columns") from error
        middle = columns[len(BEFORE) : -len(AFTER)]
        names = [*BEFORE, *middle, *AFTER]
        is_right = all(name.startswith("purpose:") for name in middle) and len(set(names)) == len(names)
        if not is_right or _csv_line(names) != line:
            raise ProofError(
                "events.csv does not begin with the names of an export's columns: it was altered"
            )
        return names

    def _read_part(self, part: Shown | Hidden) -> None:
        start = part.position if isinstance(part, Shown) else part.start
        if start != self._tree.size:
            raise self._wrong(f"the proofs go on at row {start}: a line was dropped, added or swapped")
        if isinstance(part, Shown):
            self._read_shown(part)
        else:
            self._read_hidden(part)
        self._pass_checkpoints()

    def _read_shown(self, part: Shown) -> None:
        columns = self._next_row(part.position) if part.event is None else _mark_columns(part.event)
        try:
            leaf = committed(part, columns)
        except ProofError as error:
            raise self._wrong(str(error), columns) from error
        if part.event is None and not self._question.covers(columns):
            raise self._wrong(
                "it is of another time or visitor than the archive says it was asked for", columns
            )
        if columns["state"] in CHOICES:
            digest = columns["notice"]
            if (digest or columns["state"] in _NEEDS_NOTICE) and f"notices/{digest}.html" not in self._files:
                raise self._wrong(
                    f"it answers the notice {digest[:64]!r}, which is not in the archive", columns
                )
        else:
            self._note_mark(columns)
        self._tally.add(columns)
        self._unsigned += not self._sizes or part.position >= self._sizes[-1]
        self._count(part.position, part.position + 1)
        self._tree.add(leaf)
        self._advance(1)

    def _next_row(self, position: int) -> dict[str, Any]:
        """Give a row's columns as they were committed to, once CSV and JSON Lines say the same of it."""
        line = next(self._rows, None)
        if line is None:
            raise self._wrong("events.jsonl ends before it: rows were cut off")
        row = json_object(line, f"Row {position} in events.jsonl")
        mark = row.pop("mark", None)
        position_found, *cells = row.values() or [None]
        if list(row) != self._columns or not set(map(type, cells)) <= _CELLS:
            raise self._wrong("events.jsonl has other columns than events.csv, or odd cells: altered")
        if position_found != position or type(position_found) is not int:
            raise self._wrong(f"events.jsonl has row {position_found!r} here: dropped, added or swapped")
        expected = _csv_line(row.values())
        if self._csv.read(len(expected)) != expected:
            raise self._wrong("events.csv says something else of it than events.jsonl", row)
        self._events += 1
        return self._committed_columns(row, mark)

    def _committed_columns(self, row: Mapping[str, Any], mark: object) -> dict[str, Any]:
        """Give the columns that a row of the export was committed to with."""
        columns = {name: row[name] for name in _NAMES}
        answers = {id_: row[name] for id_, name in self._purposes.items() if row[name] is not None}
        if not _ANSWERS.keys() >= set(answers.values()) or any(columns[one] is None for one in _NEEDED):
            raise self._wrong("events.jsonl holds what no ledger writes: it was altered")
        columns["purposes"] = {id_: _ANSWERS[value] for id_, value in answers.items()}
        return columns if mark is None else columns | {"mark": mark}

    def _read_hidden(self, part: Hidden) -> None:
        if part.is_emptied:
            if self._question.is_whole:
                for position in range(part.start, part.end):
                    self._read_empty(position)
            self._empty[0].append(part.start)
            self._empty[1].append(part.end)
            self._tally.emptied += part.end - part.start
            self._count(part.start, part.end)
        elif self._question.is_whole:
            raise self._wrong(f"rows to {part.end - 1} are missing, in an archive of all rows: taken out")
        if self._next < len(self._sizes) and part.end > self._sizes[self._next]:
            raise self._wrong(f"the proofs pass over the checkpoint of size {self._sizes[self._next]}")
        self._tree.skip(part)

    def _read_empty(self, position: int) -> None:
        line = next(self._rows, None)
        row = dict.fromkeys(self._columns) | {"position": position}
        if line is None or json_object(line, f"Row {position} in events.jsonl") != row:
            raise ProofError(f"Row {position}: it is said to be empty, and events.jsonl has another one here")
        expected = _csv_line(row.values())
        if self._csv.read(len(expected)) != expected:
            raise ProofError(f"Row {position}: events.csv says something else of it than events.jsonl")
        self._events += 1
        self._advance(1)

    def _count(self, start: int, end: int) -> None:
        low, high = self._window
        self._shown += max(0, min(end, end if high is None else high) - max(start, low))

    def _pass_checkpoints(self) -> None:
        while self._next < len(self._sizes) and self._sizes[self._next] == self._tree.size:
            at = self._next * HASH_BYTES
            if self._roots[at : at + HASH_BYTES] != self._tree.root:
                raise ProofError(
                    f"Rows {self._fitting} to {self._tree.size - 1}: the checkpoint after them was signed "
                    "over other rows; some were edited, swapped, dropped or added"
                )
            self._fitting = self._tree.size
            self._next += 1

    # Marks

    def _note_mark(self, columns: Mapping[str, Any]) -> None:
        try:
            mark = Mark.decode(columns["mark"])
        except (KeyError, ProofError) as error:
            raise self._wrong("it is neither a choice nor a mark", columns) from error
        for start, last in mark.positions:
            self._marks[0].append(start)
            self._marks[1].append(last + 1)

    def _check_marks(self) -> None:
        """Want a mark for every row that is said to be empty."""
        order = sorted(range(len(self._marks[0])), key=self._marks[0].__getitem__)
        starts = array("q", (self._marks[0][at] for at in order))
        reach = array("q")
        for at in order:
            reach.append(max(self._marks[1][at], reach[-1] if reach else 0))
        for start, end in zip(*self._empty, strict=True):
            while start < end:
                at = bisect_right(starts, start) - 1
                if at < 0 or reach[at] <= start:
                    raise ProofError(f"Row {start}: it is said to be erased or purged, and no mark says so")
                start = reach[at]

    # Notices, policies, cover

    def _read_notices(self) -> dict[str, bytes]:
        """Compare each notice with its digest and its policy; give the policies."""
        digests = {found[1] for name in self._files if (found := _NOTICE.fullmatch(name))}
        if unasked := sorted(digests - self._tally.notices.keys()):
            raise ProofError(f"No choice answers the notice {unasked[0]}: it was added")
        policies = {}
        for digest in sorted(digests):
            html = self._content(f"notices/{digest}.html")
            if hashlib.sha256(html).hexdigest() != digest:
                raise ProofError(f"notices/{digest}.html is not the page that its name says: it was altered")
            policy = policy_file(html)
            if policy is not None:
                policies[digest] = policy
        held = {found[1] for name in self._files if (found := _POLICY.fullmatch(name))}
        for digest in sorted(held | policies.keys()):
            name = f"policies/{digest}.json"
            if digest not in held or self._content(name) != policies.get(digest):
                raise ProofError(f"{name} is not what the notice declares: altered, added or taken out")
        return policies

    def _compare_cover(self, policies: Mapping[str, bytes]) -> bool:
        """Make the cover anew from the rows, and compare: this release's alone, since words change."""
        if self._manifest["library"] != LIBRARY:
            return False
        expected = cover(
            Cover(
                question=self._question,
                ledger=self._ledger,
                rows=self._manifest["rows"],
                tally=self._tally,
                keys=tuple(map(str, self._listed)),
                newest=self._note,
                policies=policies,
            )
        )
        if self._content("index.html") != expected:
            raise ProofError("index.html does not say what the rows say: it was altered")
        return True


def _question(said: object) -> Question:
    if not isinstance(said, dict):
        raise ProofError("manifest.json does not say what was asked for")
    require_members(said, Question.__slots__, "manifest.json's question")
    for name in ("since", "until"):
        if said[name] is not None and not (isinstance(said[name], str) and _TIME.fullmatch(said[name])):
            raise ProofError(f"manifest.json's {name!r} is no time")
    if said["subject"] is not None:
        require_text(said["subject"], "manifest.json's subject")
    if said["language"] not in available_languages():
        raise ProofError("manifest.json's language is none that this release speaks")
    return Question(**said)


def _mark_columns(event: Mapping[str, Any]) -> Mapping[str, Any]:
    require_members(event, (*_NAMES, "purposes", "mark"), "A mark in proofs.jsonl")
    if event["state"] in CHOICES or not all(isinstance(event[name], str) for name in _NEEDED):
        raise ProofError("proofs.jsonl holds as a mark what is none: it was added")
    return event


def _csv_line(cells: Any) -> bytes:
    texts = ["" if cell is None else str(cell) for cell in cells]
    joined = ";".join(texts)
    # Looked at once: after a semicolon a formula begins as it does at the start of a cell.
    if '"' in joined or neutral(joined) != joined:
        texts = [neutral(text).replace('"', '""') for text in texts]
    return ('"' + '","'.join(texts) + '"\r\n').encode()
