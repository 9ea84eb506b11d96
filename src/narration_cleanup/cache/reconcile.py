"""Finds where an index and a directory disagree, without holding the names of either.

Every name that an entry has adds its hash to one of 65,536 cells; every file found subtracts its
own. Where both sides agree a cell ends at zero, so only the names that fall into the other cells
have to be looked at again, a bounded number of them at a time. Hashes are 64 bits: a disagreement
hidden by chance has odds of 2**-64, and the next run hashes differently.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

CELLS = 1 << 16
_MASK = CELLS - 1
NAMES_AT_A_TIME = 50_000
"""Names of each side held at once in the second look."""


class Balance:
    """The sum of what entries name, less what the directory holds, by cell."""

    def __init__(self) -> None:
        self._cells = [0] * CELLS
        self._names = 0

    def add_entries(self, names: Iterable[str]) -> None:
        """Count names that entries have (a name twice where two entries have it)."""
        cells = self._cells
        count = 0
        for digest in map(hash, names):
            cells[digest & _MASK] += digest
            count += 1
        self._names += count

    def add_files(self, names: Iterable[str]) -> None:
        """Count names that files have."""
        cells = self._cells
        for digest in map(hash, names):
            cells[digest & _MASK] -= digest

    def rounds(self) -> Iterator[Callable[[str], bool]]:
        """Tests for the names to look at again, each test picking about ``NAMES_AT_A_TIME``.

        None where both sides agree.
        """
        unequal = [cell for cell, total in enumerate(self._cells) if total]
        if not unequal:
            return
        in_each = max(1, self._names // CELLS)
        step = max(1, NAMES_AT_A_TIME // in_each)
        for first in range(0, len(unequal), step):
            chosen = frozenset(unequal[first : first + step])
            yield lambda name, chosen=chosen: hash(name) & _MASK in chosen  # type: ignore[misc]


class Differences:
    """What one round of the second look found: exact, by name."""

    def __init__(self, entry_names: Iterable[str], file_names: Iterable[str]) -> None:
        named = Counter(entry_names)
        found = set(file_names)
        self.without_entry = found - named.keys()
        self.without_file = named.keys() - found
        self.shared = {name for name, count in named.items() if count > 1}
