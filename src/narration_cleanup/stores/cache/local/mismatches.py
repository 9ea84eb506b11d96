"""Finds where an index and a directory disagree, without holding the names of either.

Every name that an entry has adds its hash to one of 8,192 cells, and every file found to one of
as many others. What both sides agree on leaves equal cells, so only the names that fall into the
unequal ones have to be looked at again. Where these are many, their hashes are compared first, so
that the number of looks depends on the disagreements and not on the names. Hashes are 64 bits:
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
_HASH_CELLS = 1 << 8
"""The hashes of one cell are held as a set, one cell at a time: 4,000 of a million."""
NAMES_AT_A_TIME = 50_000
"""Names of each side held at once in the second look."""


Wanted = Callable[[str], bool]
"""Whether a name is one to look at."""
Listing = Callable[[Wanted], Iterable[str]]
"""The names of one side that a test picks, looked at anew."""


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


class HashCells:
    """The hashes of some names, eight bytes each, to be compared one cell at a time."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._cells = [array("q") for _ in range(_HASH_CELLS)]
        self.add(names)

    def add(self, names: Iterable[str]) -> None:
        """Note names."""
        cells, mask = self._cells, _HASH_CELLS - 1
        for digest in map(hash, names):
            cells[digest & mask].append(digest)

    def repeated(self) -> frozenset[int]:
        """The hashes that occur more than once."""
        return frozenset().union(*map(_repeated, self._cells))

    def unequal(self, other: HashCells) -> Iterator[set[int]]:
        """The hashes that are in one of both alone, or more than once in this one; by cell."""
        for one, two in zip(self._cells, other._cells, strict=True):
            yield set(one).symmetric_difference(two) | _repeated(one)


def _repeated(digests: Sequence[int]) -> set[int]:
    if len(set(digests)) == len(digests):
        return set()
    return {digest for digest, count in Counter(digests).items() if count > 1}


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
    def names(self, wanted: Wanted) -> Iterator[str]: ...
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


def rounds(
    entries: NameSums, files: NameSums, entry_names: Listing, file_names: Listing
) -> Iterator[Wanted]:
    """Tests for the names to look at again, each test picking about ``NAMES_AT_A_TIME``.

    None where both sides agree.
    """
    pairs = enumerate(zip(entries.sums, files.sums, strict=True))
    cells = frozenset(cell for cell, (one, other) in pairs if one != other)
    if not cells:
        return

    def is_in_cells(name: str) -> bool:
        return hash(name) & _MASK in cells

    if len(cells) * max(entries.names, files.names) <= CELLS * NAMES_AT_A_TIME:
        yield is_in_cells
        return
    named, found = HashCells(entry_names(is_in_cells)), HashCells(file_names(is_in_cells))
    chosen: set[int] = set()
    for digests in named.unequal(found):
        chosen |= digests
        if len(chosen) >= NAMES_AT_A_TIME:
            yield _has_hash_in(chosen)
            chosen = set()
    if chosen:
        yield _has_hash_in(chosen)


def _has_hash_in(digests: set[int]) -> Wanted:
    return lambda name: hash(name) in digests


class Mismatches:
    """What one round of the second scan found: exact, by name."""

    def __init__(self, entry_names: Iterable[str], file_names: Iterable[str]) -> None:
        named = Counter(entry_names)
        found = set(file_names)
        self.without_entry = found - named.keys()
        self.without_file = named.keys() - found
        self.shared = {name for name, count in named.items() if count > 1}
