"""Problems with one reason told once: a folder that cannot be written to fails every file in it."""

from __future__ import annotations

from collections.abc import Sequence

from narration_cleanup.core.model import Problem, Severity, Target

EACH_TOLD = 3
"""Problems with the same reason that are each told, for what they are about."""


def gathered(problems: Sequence[Problem]) -> list[tuple[Problem, int]]:
    """Problems by reason, as these were met, each with how many more there are of its reason.

    A reason is a code and its message.
    Up to three of the same are left as they are; of more, the first stands for all.
    """
    same: dict[tuple[Target, str, Severity, str], list[Problem]] = {}
    reasons: dict[tuple[Target, str, Severity], str] = {}
    for problem in problems:
        kind = problem.target, problem.code, problem.severity
        # Those that were only counted have the message of the ones before them.
        reason = reasons.get(kind, "") if problem.repeats else problem.message
        reasons[kind] = reason
        same.setdefault((*kind, reason), []).append(problem)
    told: list[tuple[Problem, int]] = []
    for found in same.values():
        if len(found) <= EACH_TOLD:
            told += [(problem, 0) for problem in found]
        else:
            told.append((found[0], number_of(found) - 1))
    return told


def number_of(problems: Sequence[Problem]) -> int:
    """How many problems there are, with those that were only counted."""
    return sum(problem.repeats or 1 for problem in problems)


def and_more(more: int) -> str:
    """What follows the one that was told."""
    return f", and {more:,} more for the same reason" if more else ""
