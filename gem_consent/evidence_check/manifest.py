"""The manifest: what the archive says it was asked for, and the sum of every file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gem_consent.errors import ProofError
from gem_consent.evidence_check.archive import Archive
from gem_consent.proof.evidence import FORMAT, Question
from gem_consent.proof.strict import json_object, position_of, require_members, require_text
from gem_consent.translation import available_languages

__all__ = ["TIME", "Manifest", "check_sums", "read_manifest"]

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
"""How times are written."""

_MEMBERS = ("format", "library", "ledger", "rows", "events", "question", "files")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What ``manifest.json`` says, which the rows have yet to agree with.

    Args:
        library: the release that wrote the archive.
        ledger: the ledger's name.
        rows: how many rows the ledger had.
        events: how many of them are in the archive's tables.
        question: what was asked for.
        sums: each file's SHA-256.
    """

    library: object
    ledger: str
    rows: int
    events: object
    question: Question
    sums: Mapping[str, object]


def read_manifest(archive: Archive) -> Manifest:
    """Read it, and refuse another format, and what no release writes."""
    said = json_object(archive.content("manifest.json"), "manifest.json")
    if said.get("format") != FORMAT:
        raise ProofError(
            f"The archive is not of the format {FORMAT!r}, the one known here: install the release of "
            "gem_consent that wrote it, or a newer"
        )
    require_members(said, _MEMBERS, "manifest.json")
    if not isinstance(said["files"], dict):
        raise ProofError("manifest.json names no files")
    return Manifest(
        rows=position_of(said["rows"], "manifest.json's number of rows"),
        ledger=require_text(said["ledger"], "The ledger's name in manifest.json"),
        question=_question(said["question"]),
        library=said["library"],
        events=said["events"],
        sums=said["files"],
    )


def _question(said: object) -> Question:
    if not isinstance(said, dict):
        raise ProofError("manifest.json does not say what was asked for")
    require_members(said, Question.__slots__, "manifest.json's question")
    for name in ("since", "until"):
        if said[name] is not None and not (isinstance(said[name], str) and TIME.fullmatch(said[name])):
            raise ProofError(f"manifest.json's {name!r} is no time")
    if said["subject"] is not None:
        require_text(said["subject"], "manifest.json's subject")
    if said["language"] not in available_languages():
        raise ProofError("manifest.json's language is none that this release speaks")
    return Question(**said)


def check_sums(archive: Archive, manifest: Manifest) -> None:
    """Compare every other file with the sum that is stated of it."""
    expected = archive.names - {"manifest.json"}
    if manifest.sums.keys() != expected:
        name = sorted(manifest.sums.keys() ^ expected)[0]
        raise ProofError(f"manifest.json and the archive do not hold the same files: {name[:120]!r}")
    for name, said in manifest.sums.items():
        with archive.open(name) as part:
            if hashlib.file_digest(part, "sha256").hexdigest() != said:  # type: ignore[arg-type]
                raise ProofError(f"{name} is not the file that manifest.json names: it was altered")
