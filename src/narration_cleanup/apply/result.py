"""What happened: an outcome for every planned action, from which all reports are made."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from enum import StrEnum
from typing import Generic

import msgspec

from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.model import Problem, Problems, Severity
from narration_cleanup.plan import Plan
from narration_cleanup.plan.actions import Action, Actions, Outcome, Reason
from narration_cleanup.plan.types import CacheTotals, RequestTotals, TotalsT

ODD_FILE = "odd_file"
"""The code of what lies where audio should and cannot be removed."""
ROW_REFUSED = "row_refused"
"""The code of a row whose change the database refuses."""
NOT_CHANGED = "not_changed"
"""The code of a row that was skipped, and is as it was planned on."""
_OUTCOMES = tuple(Outcome)


class RunOutcome(StrEnum):
    """What became of the whole."""

    SUCCESS = "success"
    PARTIAL = "partial"
    FAILED = "failed"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"
    BUSY = "busy"


class Outcomes:
    """One outcome for each action of a plan: one byte each, and a note only where there is one."""

    def __init__(self, actions: Actions) -> None:
        self.actions = actions
        self._codes = array("B", bytes(len(actions)))
        self._notes: dict[int, str] = {}

    def set(self, position: int, outcome: Outcome, note: str | None = None) -> None:
        """Record what became of the action at ``position``."""
        self._codes[position] = _OUTCOMES.index(outcome)
        if note is None:
            self._notes.pop(position, None)
        else:
            self._notes[position] = note

    def get(self, position: int) -> Outcome:
        """What became of the action at ``position`` so far."""
        return _OUTCOMES[self._codes[position]]

    def note(self, position: int) -> str | None:
        """The note on the action at ``position``, if it has one."""
        return self._notes.get(position)

    def count(self, outcome: Outcome) -> int:
        """How many actions ended so."""
        return self._codes.count(_OUTCOMES.index(outcome))

    def notes(self, outcome: Outcome) -> frozenset[str]:
        """The different notes of the actions that ended so."""
        code = _OUTCOMES.index(outcome)
        ended = (note for position, note in self._notes.items() if self._codes[position] == code)
        return frozenset(ended)

    def __iter__(self) -> Iterator[tuple[Action, Outcome, str | None]]:
        for position, action in enumerate(self.actions):
            yield action, _OUTCOMES[self._codes[position]], self._notes.get(position)


class TargetResult(msgspec.Struct, Generic[TotalsT]):
    """One target: the plan, what became of each action, and what came of it.

    ``after`` is the plan of how it is afterwards: what should have gone and is still there.

    Of the cache: ``freed_bytes`` counts the bytes that the disk got back (0 for a file with other
    hard links); ``removed_by_reason`` and ``freed_by_reason`` count actions that are done.
    ``without_file`` counts those that took an entry out of the index whose file was gone before.
    ``entries_left`` of removed files are in the index still, because it could not be replaced.
    Of the requests: ``overwritten`` were completed by the service after we had cancelled them.
    ``known_failures`` name the actions that fail as in an earlier run, which reported why.
    """

    plan: Plan[TotalsT]
    outcomes: Outcomes
    problems: Problems = msgspec.field(default_factory=Problems)
    after: Plan[TotalsT] | None = None
    freed_bytes: int = 0
    removed_by_reason: dict[Reason, int] = msgspec.field(default_factory=dict)
    freed_by_reason: dict[Reason, int] = msgspec.field(default_factory=dict)
    without_file: int = 0
    entries_left: int = 0
    known_failures: set[str] = msgspec.field(default_factory=set)
    cancelled_by_status: dict[str, int] = msgspec.field(default_factory=dict)
    deleted_by_status: dict[str, int] = msgspec.field(default_factory=dict)
    overwritten: int = 0
    freed_pages: int = 0

    @property
    def removed_count(self) -> int:
        """Actions on the cache that are done."""
        return sum(self.removed_by_reason.values())

    @property
    def cancelled_count(self) -> int:
        """Requests that are cancelled."""
        return sum(self.cancelled_by_status.values())

    @property
    def deleted_count(self) -> int:
        """Finished rows that are deleted."""
        return sum(self.deleted_by_status.values())

    @property
    def new_failures(self) -> int:
        """How many actions failed for another reason than in an earlier run."""
        return self.outcomes.count(Outcome.FAILED) - len(self.known_failures)

    @property
    def nothing_done(self) -> bool:
        """There was work, and all of it failed. (Of an entry that is still in the index, the file
        may be gone: that is something. That the database refuses one row, and no other was to be
        changed, shows nothing of the table.)"""
        known = len(self.known_failures)
        count = len(self.outcomes.actions) - known
        is_one_row = count == 1 == self.problems.count({ROW_REFUSED}) - known
        all_failed = 0 < count == self.new_failures
        return all_failed and not self.freed_bytes and not is_one_row


CacheResult = TargetResult[CacheTotals]
RequestResult = TargetResult[RequestTotals]


class Result(msgspec.Struct):
    """One run or dry run, from which terminal, log, JSON, metrics, history and alerts are made.

    A target that is not configured is ``None``, and so is one that could not be surveyed: then
    a problem reports why. Instants in Unix seconds.
    """

    started_at: float
    dry_run: bool
    cache_configured: bool = False
    requests_configured: bool = False
    finished_at: float | None = None
    cache: CacheResult | None = None
    requests: RequestResult | None = None
    problems: Problems = msgspec.field(default_factory=Problems)
    stopped: ExitCode | None = None
    stop_message: str | None = None

    @property
    def targets(self) -> list[CacheResult | RequestResult]:
        """The results of the targets that could be surveyed."""
        return [target for target in (self.cache, self.requests) if target is not None]

    def stop(self, exit_code: ExitCode, message: str) -> None:
        """The run ends here, for this reason."""
        self.stopped = exit_code
        self.stop_message = message

    def all_problems(self) -> list[Problem]:
        """Everything that was in the way, in the order of the work."""
        found = list(self.problems)
        for target in self.targets:
            found.extend(target.plan.problems)
            found.extend(target.problems)
        return found

    @property
    def outcome(self) -> RunOutcome:
        """What became of the whole, derived from what happened."""
        if self.stopped is not None:
            return _STOPPED.get(self.stopped, RunOutcome.FAILED)
        problems = any(each.severity is Severity.PROBLEM for each in self.all_problems())
        failed = any(target.new_failures for target in self.targets)
        if not problems and not failed:
            return RunOutcome.SUCCESS
        if all(target.nothing_done for target in self.targets):
            return RunOutcome.FAILED
        return RunOutcome.PARTIAL

    @property
    def action_count(self) -> int:
        """Actions that have an outcome."""
        return sum(len(target.outcomes.actions) for target in self.targets)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the process."""
        return self.stopped if self.stopped is not None else _EXIT_CODES[self.outcome]

    @property
    def message(self) -> str:
        """One line for a reader."""
        if self.stop_message is not None:
            return self.stop_message
        if self.dry_run and self.outcome is RunOutcome.SUCCESS:
            codes = {problem.code for problem in self.problems}
            if codes & _REFUSED_FOR:
                return "Nothing was changed: a run would refuse this, see the warnings"
            if "not_writable" in codes:
                return "Nothing was changed: a run could not do all of this, see the warnings"
        return _MESSAGES[self.dry_run][self.outcome]


_STOPPED = {
    ExitCode.REFUSED: RunOutcome.REFUSED,
    ExitCode.BAD_CONFIGURATION: RunOutcome.REFUSED,
    ExitCode.BUSY: RunOutcome.BUSY,
    ExitCode.INTERRUPTED: RunOutcome.INTERRUPTED,
    ExitCode.TERMINATED: RunOutcome.INTERRUPTED,
}
_EXIT_CODES = {
    RunOutcome.SUCCESS: ExitCode.DONE,
    RunOutcome.PARTIAL: ExitCode.PARTLY_DONE,
    RunOutcome.FAILED: ExitCode.FAILED,
}
_REFUSED_FOR = {"max_delete", "max_cancel", "clock_jumped"}
"""Warnings of a dry run that a run would refuse."""
_MESSAGES = {
    False: {
        RunOutcome.SUCCESS: "Cleanup tasks completed successfully",
        RunOutcome.PARTIAL: "Cleanup tasks completed in part: see the problems",
        RunOutcome.FAILED: "Cleanup tasks failed: see the problems",
    },
    True: {
        RunOutcome.SUCCESS: "Nothing was changed: this is what a run would do",
        RunOutcome.PARTIAL: "Nothing was changed: a run would do this in part, see the problems",
        RunOutcome.FAILED: "Nothing was changed: a run would fail, see the problems",
    },
}
