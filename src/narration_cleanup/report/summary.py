"""A result as a reader wants it: grouped by reason, the unusual first, the long tail counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from narration_cleanup.plan.actions import (
    Action,
    CancelRequest,
    DeleteRequest,
    Outcome,
    Reason,
    RemoveEntry,
    RemoveFile,
)

_UNUSUAL = (Outcome.FAILED, Outcome.SKIPPED)


@dataclass(frozen=True, slots=True)
class Row:
    """One action for a reader: the names are raw, to be escaped where they are shown.

    ``size_bytes`` is ``None`` for what has no size: requests, and entries without a file.
    """

    name: str
    size_bytes: int | None
    status: str | None
    detail: str
    outcome: Outcome
    note: str | None


@dataclass(slots=True)
class Group:
    """The actions of one reason: how many, how large, what became of them, and some of them."""

    reason: Reason
    cap: int
    count: int = 0
    size_bytes: int = 0
    by_outcome: dict[Outcome, int] = field(default_factory=dict)
    unusual: list[Row] = field(default_factory=list)
    usual: list[Row] = field(default_factory=list)

    @property
    def rows(self) -> list[Row]:
        """At most ``cap`` rows, those that failed or were skipped first."""
        return (self.unusual + self.usual)[: self.cap]

    @property
    def more(self) -> int:
        """How many are not among the rows."""
        return self.count - len(self.rows)

    def add(self, action: Action, outcome: Outcome, note: str | None) -> None:
        """Count one action, and keep its row while there is room."""
        self.count += 1
        self.size_bytes += size_of(action) or 0
        self.by_outcome[outcome] = self.by_outcome.get(outcome, 0) + 1
        rows = self.unusual if outcome in _UNUSUAL else self.usual
        if len(rows) < self.cap:
            rows.append(row_of(action, outcome, note))


def grouped(
    outcomes: Iterable[tuple[Action, Outcome, str | None]], cap: int
) -> dict[Reason, Group]:
    """One pass over the actions: a group for each reason, in the order first met."""
    groups: dict[Reason, Group] = {}
    for action, outcome, note in outcomes:
        group = groups.get(action.reason)
        if group is None:
            group = groups[action.reason] = Group(action.reason, cap)
        group.add(action, outcome, note)
    return groups


def row_of(action: Action, outcome: Outcome, note: str | None) -> Row:
    """One action as a row."""
    if isinstance(action, CancelRequest | DeleteRequest):
        return Row(str(action.id), None, action.status.value, action.detail, outcome, note)
    return Row(action.file, size_of(action), None, action.detail, outcome, note)


def size_of(action: Action) -> int | None:
    """The size that an action is expected to free, where it frees any."""
    return action.size_bytes if isinstance(action, RemoveEntry | RemoveFile) else None
