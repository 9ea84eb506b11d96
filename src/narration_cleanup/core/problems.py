"""Collects problems without letting a hostile input fill the memory or the screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeVar

from narration_cleanup.core.errors import to_target_error
from narration_cleanup.core.model import Problem, Severity, Target

MOST_OF_A_KIND = 100
"""Problems of one code that are kept whole; more are only counted."""

T = TypeVar("T")

_Kind = tuple[Target, str, Severity]


class Problems:
    """Problems in the order met; of each code the first 100 whole, the rest as one line."""

    def __init__(self, problems: Iterable[Problem] = ()) -> None:
        self._kept: list[Problem] = []
        self._seen: Counter[_Kind] = Counter()
        self._reasons: dict[_Kind, str | None] = {}  # the message, where it is the same in all
        self.extend(problems)

    def add(self, problem: Problem) -> None:
        """Take note of one."""
        kind = _kind(problem)
        self._seen[kind] += 1
        if self._reasons.setdefault(kind, problem.message) != problem.message:
            self._reasons[kind] = None
        if self._seen[kind] <= MOST_OF_A_KIND:
            self._kept.append(problem)

    def extend(
        self, problems: Iterable[Problem], change: Callable[[Problem], Problem] | None = None
    ) -> None:
        """Take note of several, each as ``change`` makes it; of those collected elsewhere, also the
        ones only counted there."""
        only_counted: Counter[_Kind] = Counter()
        if isinstance(problems, Problems):
            only_counted = problems._only_counted()
            for kind, reason in problems._reasons.items():
                if self._reasons.setdefault(kind, reason) != reason:
                    self._reasons[kind] = None
            problems = problems._kept
        for problem in problems:
            self.add(problem if change is None else change(problem))
        self._seen.update(only_counted)

    def count(self, codes: Collection[str]) -> int:
        """How many have one of these codes, with those that are only counted."""
        return sum(number for (_, code, _), number in self._seen.items() if code in codes)

    def __iter__(self) -> Iterator[Problem]:
        yield from self._kept
        for (target, code, severity), more in self._only_counted().items():
            same = self._reasons[target, code, severity] is not None
            message = f"and {more} more {'for the same reason' if same else 'of the same kind'}"
            repeats = more if same else 0
            yield Problem(target, code, message, severity=severity, repeats=repeats)

    def _only_counted(self) -> Counter[_Kind]:
        return self._seen - Counter(map(_kind, self._kept))

    def __len__(self) -> int:
        return self._seen.total()


def _kind(problem: Problem) -> _Kind:
    return problem.target, problem.code, problem.severity


def number_of(problems: Sequence[Problem]) -> int:
    """How many problems there are, with those that were only counted."""
    return sum(problem.repeats or 1 for problem in problems)


def attempt(work: Callable[[], T], target: Target, problems: Problems) -> T | None:
    """What ``work`` returns; ``None`` where it fails, and a problem reports why.

    Any failure of one target, foreseen or not, leaves the other to be worked on; a panic of a
    library in another language too, which is no ``Exception``. What stops both is raised.
    """
    try:
        return work()
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        fault = to_target_error(error, "unreadable")
        problems.add(Problem(target, fault.code, str(fault)))
    return None
