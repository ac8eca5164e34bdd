"""The archive as a file: what it may hold, each file's bytes or lines, never more than memory takes."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, KeysView
from contextlib import contextmanager
from typing import IO, BinaryIO, cast

from gem_consent.errors import ProofError
from gem_consent.proof.evidence import FILES

__all__ = ["MAX_FILE_BYTES", "MAX_LINE_BYTES", "Archive", "opened"]

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


@contextmanager
def opened(file: BinaryIO) -> Iterator[zipfile.ZipFile]:
    """Open a ZIP file while the block lasts, and say plainly where it was cut, altered or made up."""
    # zipfile lets all of these out
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
        _require_small_directory(file)
        with zipfile.ZipFile(file) as archive:
            yield archive
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


class Archive:
    """The files of an archive, once none is there that an archive does not hold."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._files = _entries(archive)

    @property
    def names(self) -> KeysView[str]:
        """What the files are called."""
        return self._files.keys()

    @property
    def notices(self) -> set[str]:
        """The digests of the notices."""
        return {found[1] for name in self._files if (found := _NOTICE.fullmatch(name))}

    @property
    def policies(self) -> set[str]:
        """The digests of the notices that a policy is there for."""
        return {found[1] for name in self._files if (found := _POLICY.fullmatch(name))}

    def open(self, name: str) -> IO[bytes]:
        """Open one file; the caller closes it."""
        return self._archive.open(self._files[name])

    def content(self, name: str) -> bytes:
        """Give a whole file."""
        with self.open(name) as part:
            return part.read()

    def lines(self, name: str) -> Iterator[bytes]:
        """Give a file line by line."""
        with self.open(name) as part:
            # its own readline is Python
            buffered = io.BufferedReader(cast(io.RawIOBase, part), _SMALL_BYTES)
            while line := buffered.readline(MAX_LINE_BYTES + 1):
                if not line.endswith(b"\n"):
                    raise ProofError(
                        f"{name} has a line that is cut off, or over {MAX_LINE_BYTES} bytes long"
                    )
                yield line


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Refuse what no archive holds: other names, names twice, what is packed too small or too large."""
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = entry.filename
        if name not in FILES and not _NOTICE.fullmatch(name) and not _POLICY.fullmatch(name):
            raise ProofError(f"The archive holds {name[:120]!r}, which is none of its files: it was added")
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
