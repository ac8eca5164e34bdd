"""Where commands write what they give: whole files for their owner alone, or standard output."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import typer

from gem_consent.errors import ConfigurationError, ConsentError

__all__ = ["PIPE_CLOSED", "checked_target", "failing_plainly", "give", "replacing"]

PIPE_CLOSED = 141
"""What a shell reports for a program that SIGPIPE ended (128 + 13), as ``cat`` and its like do."""


def checked_target(output: Path) -> Path:
    """Follow links, and refuse what a rename would destroy: a device, a pipe, a folder.

    Raises:
        ConfigurationError: it is no regular file.
    """
    target = Path(os.path.realpath(output))
    if target.exists() and not target.is_file():
        raise ConfigurationError(
            f"--output {output} is no regular file: name one, or redirect standard output"
        )
    return target


@contextmanager
def failing_plainly(output: Path | None) -> Iterator[None]:
    """Say in one line what became of an output that cannot be written; end as ``cat`` does on a closed pipe.

    Raises:
        ConsentError: the system refused to write.
    """
    try:
        yield
    except BrokenPipeError:
        # Python flushes standard output once more at exit, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(PIPE_CLOSED) from None
    except OSError as error:
        place = "standard output" if output is None else output
        raise ConsentError(
            f"Cannot write to {place}: {error.strerror}; "
            "free some space, or name a folder that you may write to"
        ) from error


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Give a file that takes the target's place once the block ends well; mode 0600: personal data."""
    descriptor, part = tempfile.mkstemp(prefix=".gem-consent-", suffix=".part", dir=target.parent)
    try:
        with open(descriptor, "wb") as out:
            yield out
            out.flush()
            os.fsync(descriptor)
        os.replace(part, target)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def give(content: bytes, output: Path | None) -> None:
    """Write what is in memory to a file, or to standard output."""
    with failing_plainly(output):
        if output is None:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
            return
        with replacing(checked_target(output)) as out:
            out.write(content)
