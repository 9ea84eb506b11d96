"""Lines no wider than the terminal they are read on."""

from __future__ import annotations

import shutil
import textwrap
from typing import TextIO

_NARROWEST = 20
"""Characters that a line gets for its text at least, however far in it begins."""


def columns(stream: TextIO) -> int | None:
    """How wide the terminal is that ``stream`` leads to; ``None`` where it leads to none."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def wrapped(text: str, width: int | None, *, hang: int) -> str:
    """``text`` in lines of at most ``width`` columns, all but the first ``hang`` columns in.

    It stays one line where ``width`` is ``None``. Words stay whole, a long path too: what is
    copied from a terminal must be what was printed.
    """
    if width is None or len(text) <= width:
        return text
    begun = text.lstrip(" ")
    return textwrap.fill(
        begun,
        max(width, hang + _NARROWEST),
        initial_indent=text[: len(text) - len(begun)],
        subsequent_indent=" " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
