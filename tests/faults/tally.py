"""What the interleavings tried, and what they found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

MoveT = TypeVar("MoveT")


@dataclass
class Tally:
    """How many runs were tried, and what was wrong with which."""

    tries: int = 0
    found: list[tuple[str, list[str]]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count what was tried elsewhere too."""
        self.tries += other.tries
        self.found += other.found

    @property
    def kinds(self) -> Counter[str]:
        """How many runs had each kind of fault: its words up to a key or the details."""
        kinds: Counter[str] = Counter()
        for _, faults in self.found:
            kinds.update({" ".join(fault.partition(":")[0].split()[:3]) for fault in faults})
        return kinds

    def first(self, count: int = 5) -> str:
        """The first of what was found, for a failed assertion."""
        lines = [f"{moves}: {'; '.join(faults)}" for moves, faults in self.found[:count]]
        return "\n".join([f"{len(self.found)} of {self.tries}: {dict(self.kinds)}", *lines])


def tried(
    run: Callable[[Sequence[MoveT]], tuple[list[str], object]], tries: Iterable[tuple[MoveT, ...]]
) -> Tally:
    """Run each, and keep what was wrong."""
    tally = Tally()
    for moves in tries:
        tally.tries += 1
        if faults := run(moves)[0]:
            tally.found.append((" | ".join(map(str, moves)), faults))
    return tally
