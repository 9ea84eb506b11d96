"""Finds where an index and a directory disagree, without holding the names of either.

Every name that an entry has adds its hash to one of 8,192 cells, and every file found to one of
as many others. What both sides agree on leaves equal cells, so only the names that fall into the
unequal ones have to be looked at again, a bounded number of them at a time. Hashes are 64 bits:
a disagreement hidden by chance has odds of 2**-64, and the next run hashes differently.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from narration_cleanup.core.model import ReadTime, StoredFile

NO_RULE = "it is neither audio nor left of audio, by cache.audio_suffixes: no rule is about it"
NOT_REGULAR = "it is not a regular file: no rule is about it"

CELLS = 1 << 13
"""Few enough for a processor's cache: with 65,536 counting a name takes twice as long."""
_MASK = CELLS - 1
_KEY_CELLS = 1 << 8
"""The hashes of one cell are held as a set, one cell at a time: 4,000 of a million."""
NAMES_AT_A_TIME = 50_000
"""Names of each side held at once in the second look."""


class NameSums:
    """The sums of the hashes of some names, by cell."""

    def __init__(self) -> None:
        self.sums = [0] * CELLS
        self.names = 0

    def add(self, names: Sequence[str]) -> None:
        """Count names (one twice where two entries have it)."""
        sums = self.sums
        for digest in map(hash, names):
            sums[digest & _MASK] += digest
        self.names += len(names)


class DoubleKeys:
    """Finds the keys that occur more than once in an index, by eight bytes of each."""

    def __init__(self) -> None:
        self._cells = [array("q") for _ in range(_KEY_CELLS)]

    def add(self, keys: Sequence[str]) -> None:
        """Note the keys of one batch."""
        cells, mask = self._cells, _KEY_CELLS - 1
        for digest in map(hash, keys):
            cells[digest & mask].append(digest)

    def found(self) -> frozenset[int]:
        """The hashes of the keys that occur more than once."""
        doubtful = (cell for cell in self._cells if len(set(cell)) < len(cell))
        counts = (each for cell in doubtful for each in Counter(cell).items())
        return frozenset(digest for digest, count in counts if count > 1)


class ScannedNames(NamedTuple):
    """The files of a cache with an index: audio by cells, partials, zero-byte audio with its mtime.

    ``fresh`` is audio that was written so shortly before that its entry may be yet to come;
    ``size_bytes`` the size of all audio.
    """

    audio: NameSums
    partials: list[str]
    empty_files: dict[str, float]
    fresh: set[str]
    size_bytes: int = 0


class Files(Protocol):
    """The files next to the index. ``names``: the audio that ``wanted`` picks, as it is now."""

    def look(self) -> ScannedNames: ...
    def names(self, wanted: Callable[[str], bool]) -> Iterator[str]: ...
    def stored(self, names: Iterable[str]) -> Iterator[StoredFile]: ...
    def missing(self, names: set[str]) -> set[str]: ...
    def free_bytes(self) -> int | None: ...
    def size_of(self, name: str) -> int: ...
    def is_linked(self, name: str) -> bool: ...
    def times(self, file: StoredFile) -> tuple[ReadTime, ...]: ...


def file_times(stored: StoredFile, *, atime: float | None = None) -> tuple[ReadTime, ...]:
    """The times of a file; ``atime`` where ages are counted from it."""
    mtime = None if stored.by_ctime else stored.modified_at
    times = (
        ReadTime("mtime", "file", instant=mtime),
        ReadTime("ctime", "file", instant=stored.arrived_at),
    )
    return times if atime is None else (*times, ReadTime("atime", "file", instant=atime))


def rounds(entries: NameSums, files: NameSums) -> Iterator[Callable[[str], bool]]:
    """Tests for the names to look at again, each test picking about ``NAMES_AT_A_TIME``.

    None where both sides agree.
    """
    pairs = enumerate(zip(entries.sums, files.sums, strict=True))
    unequal = [cell for cell, (one, other) in pairs if one != other]
    if not unequal:
        return
    in_each = max(1, entries.names // CELLS)
    step = max(1, NAMES_AT_A_TIME // in_each)
    for first in range(0, len(unequal), step):
        chosen = frozenset(unequal[first : first + step])
        yield lambda name, chosen=chosen: hash(name) & _MASK in chosen  # type: ignore[misc]


class Mismatches:
    """What one round of the second scan found: exact, by name."""

    def __init__(self, entry_names: Iterable[str], file_names: Iterable[str]) -> None:
        named = Counter(entry_names)
        found = set(file_names)
        self.without_entry = found - named.keys()
        self.without_file = named.keys() - found
        self.shared = {name for name, count in named.items() if count > 1}
