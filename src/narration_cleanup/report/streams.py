"""Writing to a stream that may be closed, full, or unable to hold every character."""

from __future__ import annotations

import atexit
import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from narration_cleanup.core.errors import CleanupError
from narration_cleanup.report.format import wrapped


@contextmanager
def until_closed(stream: TextIO) -> Iterator[None]:
    """Write to ``stream`` and flush it; a reader that has gone away (``| head``) ends it quietly.

    Any other failure raises ``CleanupError``: a report that could not be written is no report.
    """
    try:
        yield
        stream.flush()
    except BrokenPipeError:
        let_go(stream)
    except OSError as error:
        let_go(stream)
        raise CleanupError(f"the output could not be written: {error.strerror}") from error


def allow_any_character(stream: TextIO) -> None:
    """Let characters that the stream's encoding lacks be shown as escapes, not end the report."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def write_labelled(
    blocks: Iterable[Iterable[tuple[str, str]]], hang: int, stream: TextIO, width: int | None
) -> None:
    """Write lines of label and value, the values ``hang`` columns in, wrapped at ``width`` columns
    (``None``: not at all), with an empty line between the blocks."""
    allow_any_character(stream)
    with until_closed(stream):
        for number, lines in enumerate(blocks):
            stream.write("\n" if number else "")
            for label, value in lines:
                stream.write(f"{wrapped(f'{label:<{hang}}{value}', width, hang=hang)}\n")


def is_terminal(stream: TextIO) -> bool:
    """Whether a person is at the other end; a closed stream leads nowhere."""
    try:
        return stream.isatty()
    except ValueError:
        return False


def stand_in_for_closed_streams() -> None:
    """Where standard input, output or error is closed, put the null device in its place.

    Without it the next file opened, an index being written perhaps, would be standard output, and
    a line printed would go into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


def write_or_wait(stream: TextIO, lines: str) -> None:
    """Write and flush lines that are not worth stopping for when they cannot be written.

    On a full disk the stream keeps them, as far as it has room for them, and they come out with
    later ones, once there is room on the disk. If there never is, they are dropped at exit, which
    would otherwise end the process with code 120.
    """
    try:
        stream.write(lines)
        stream.flush()
    except BrokenPipeError:
        let_go(stream)
    except (OSError, ValueError):
        atexit.unregister(let_go)
        atexit.register(let_go, stream)


def let_go(stream: TextIO) -> None:
    """Where the stream cannot be flushed, give it nowhere to go: closing it then cannot fail."""
    try:
        stream.flush()
    except OSError:
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
    except ValueError:
        return
