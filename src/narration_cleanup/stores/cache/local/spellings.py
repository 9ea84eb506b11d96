"""Names that are one file where the file system ignores their case, or how an accent is encoded."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator


def other_spellings(
    names: set[str], listed: Callable[[Callable[[str], bool]], Iterator[str]]
) -> dict[str, str]:
    """How the directory lists the files of ``names``, which it finds though it does not list them.

    By name. ``listed(wanted)`` lists the names that ``wanted`` picks. Inodes are not compared:
    exFAT by FUSE gives each spelling another one.
    """
    folded = {_folded(name) for name in names}
    found = list(listed(lambda name: _folded(name) in folded))
    by_folded = {_folded(name): name for name in found}
    others = names.difference(found)  # what is listed after all has come meanwhile
    return {name: by_folded[_folded(name)] for name in others if _folded(name) in by_folded}


def _folded(name: str) -> str:
    return unicodedata.normalize("NFD", name).casefold()
