"""One check, from the archive's list of files to the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO

from gem_consent.errors import ProofError
from gem_consent.evidence_check.archive import MAX_FILE_BYTES, Archive, opened
from gem_consent.evidence_check.manifest import Manifest, check_sums, read_manifest
from gem_consent.evidence_check.notices import read_notices
from gem_consent.evidence_check.report import Report, Window
from gem_consent.evidence_check.rows import Rows
from gem_consent.evidence_check.signed import Signed, read_signed
from gem_consent.evidence_cover import Cover, cover
from gem_consent.proof.checkpoint import PublicKey
from gem_consent.proof.evidence import Tally
from gem_consent.proof.strict import json_object, position_of
from gem_consent.rendering import LIBRARY

__all__ = ["check", "count"]


def count(file: BinaryIO) -> int:
    """Say how many rows an archive says it holds, for a progress bar; 0 where it cannot be read."""
    try:
        with opened(file) as archive:
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
    with opened(file) as opened_file:
        archive = Archive(opened_file)
        manifest = read_manifest(archive)
        signed = read_signed(archive, manifest, known)
        rows = Rows(archive, manifest, signed, advance)
        rows.read()
        policies = read_notices(archive, rows.tally.notices)
        check_sums(archive, manifest)
        is_cover_compared = _compare_cover(archive, manifest, signed, rows.tally, policies)
    return Report(
        ledger=manifest.ledger,
        question=manifest.question,
        tally=rows.tally,
        size=rows.size,
        unsigned=rows.unsigned,
        newest=signed.newest,
        checkpoints=len(signed.sizes),
        window=Window(signed.start, rows.size if signed.end is None else signed.end, rows.shown),
        keys=tuple(sorted(map(str, signed.signers))),
        is_vouched=bool(known),
        is_cover_compared=is_cover_compared,
    )


def _compare_cover(
    archive: Archive, manifest: Manifest, signed: Signed, tally: Tally, policies: Mapping[str, bytes]
) -> bool:
    """Make the cover anew from the rows, and compare: this release's alone, since words change."""
    if manifest.library != LIBRARY:
        return False
    expected = cover(
        Cover(
            question=manifest.question,
            ledger=manifest.ledger,
            rows=manifest.rows,
            tally=tally,
            keys=tuple(map(str, signed.listed)),
            newest=signed.note,
            policies=policies,
        )
    )
    if archive.content("index.html") != expected:
        raise ProofError("index.html does not say what the rows say: it was altered")
    return True
