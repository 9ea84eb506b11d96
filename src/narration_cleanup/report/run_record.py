"""The record of a run: one small value, made from its result, that outlives the process.

History, metrics and alerts are all made from it, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from narration_cleanup.apply.result import CacheResult, RequestResult, Result, RunOutcome
from narration_cleanup.core.model import ACTIVE, Problem, RequestStatus, Severity, Target
from narration_cleanup.core.text import printable, printable_line, storable
from narration_cleanup.plan.actions import (
    CACHE_REASONS,
    FILE_GONE,
    FILE_WAS_GONE,
    Action,
    Kind,
    Outcome,
)

PROBLEMS_KEPT = 20
"""Problems that a record keeps whole, worst first; more are only counted."""
ITEM_BYTES = 8
"""Of the name by which the history knows an item that no run can clean."""
LONGEST_NAME = 1_000
"""Characters of a name, detail or note of an item that the history keeps."""


class Trigger(StrEnum):
    """Who started a run. ``systemd``: a unit that no timer started."""

    TIMER = "timer"
    SYSTEMD = "systemd"
    CRON = "cron"
    HAND = "hand"


KILLED = "killed"
RUNNING = "running"
ENDINGS = (*(outcome.value for outcome in RunOutcome), KILLED)
"""Every way in which a run can have ended; one that is killed cannot record it itself."""


class CacheState(msgspec.Struct, frozen=True):
    """The cache at the end of the run. Bytes; ``limit_bytes`` is ``cache.max_size_mb``."""

    entry_count: int
    size_bytes: int
    limit_bytes: int | None


class Places(msgspec.Struct, frozen=True):
    """What a run works on, by where it is; both ``None``: not known, or nothing is configured."""

    cache: str | None = None
    requests: str | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The names that a run is counted under; the first is what a history is asked by."""
        return tuple(each for each in (self.cache, self.requests) if each) or ("",)


ANYWHERE = Places()


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run. Instants in Unix seconds, sizes in bytes; counts are of what was really done.

    ``outcome`` is one of ``ENDINGS``, or ``running``. ``without_file`` counts, of what was removed,
    the entries whose file was gone before. ``cache_state``, ``requests_by_status`` and
    ``abandoned_left`` (requests that are abandoned still) are ``None`` where that target is not
    configured or could not be looked at. ``undone`` names the
    targets that were not done at all; ``busy_count`` counts the runs in a row, this one included,
    that found the lock held. ``known_failures`` counts the actions that failed on items that no
    run can clean, and that an earlier one reported.
    """

    id: int = 0
    outcome: str = RUNNING
    exit_code: int | None = None
    message: str = ""
    trigger: str = Trigger.HAND.value
    version: str = ""
    places: Places = Places()
    started_at: float = 0.0
    finished_at: float | None = None
    planned_count: int = 0
    removed_count: int = 0
    freed_bytes: int = 0
    without_file: int = 0
    removed_by_reason: dict[str, int] = {}
    freed_by_reason: dict[str, int] = {}
    cancelled_count: int = 0
    cancelled_by_status: dict[str, int] = {}
    deleted_count: int = 0
    deleted_by_status: dict[str, int] = {}
    overwritten_count: int = 0
    skipped_count: int = 0
    failed_count: int = 0
    problem_count: int = 0
    warning_count: int = 0
    problems: list[Problem] = []
    undone: list[str] = []
    busy_count: int = 0
    known_failures: int = 0
    cache_state: CacheState | None = None
    requests_by_status: dict[str, int] | None = None
    abandoned_left: int | None = None

    @property
    def duration(self) -> float | None:
        """How long it took, in seconds; never negative, also when the clock was set back."""
        return None if self.finished_at is None else max(0.0, self.finished_at - self.started_at)

    @property
    def success(self) -> bool:
        """Whether everything that should be done was."""
        return self.outcome == RunOutcome.SUCCESS

    @property
    def error_count(self) -> int:
        """Actions that failed, and problems: what an operator should examine, and what no earlier
        run reported of an item that none can clean."""
        return self.failed_count - self.known_failures + self.problem_count


class RunItem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a run acted on, and what became of it, as the history keeps it.

    ``kind`` is that of the action, ``name`` the entry's key, the file's name or the request's id,
    ``file`` the name of an entry's audio. ``run`` is the run's id, and ``at`` when it began.
    """

    kind: str
    name: str
    file: str | None = None
    size_bytes: int = 0
    reason: str
    detail: str
    outcome: str
    note: str | None = None
    run: int = 0
    at: float = 0.0

    @property
    def why(self) -> str:
        """The reason and what came in the way, safe to show."""
        note = beside(self.detail, self.note)
        more = "" if note is None else f"; {printable_line(note)}"
        return f"{printable(self.reason)}, {printable_line(self.detail)}{more}"


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """What only ever grows: over every run since the history began, the forgotten ones included."""

    runs: dict[str, int] = {}
    removed_bytes: int = 0
    last_success_at: float | None = None


def beside(detail: str, note: str | None) -> str | None:
    """``note`` as it is shown next to ``detail``: that a file is gone is said once."""
    if note is None or not detail.endswith(FILE_GONE):
        return note
    return note.removeprefix(FILE_WAS_GONE).removeprefix(f"{FILE_GONE}, ") or None


def number_of(problems: Sequence[Problem]) -> int:
    """How many problems there are, with those that were only counted."""
    return sum(problem.repeats or 1 for problem in problems)


def record_of(result: Result, *, limit_bytes: int | None = None) -> RunRecord:
    """Tell the record of a run that has ended; ``limit_bytes`` is the cache's configured size."""
    problems = result.all_problems()
    serious = [problem for problem in problems if problem.severity is Severity.PROBLEM]
    others = [problem for problem in problems if problem.severity is not Severity.PROBLEM]
    record = RunRecord(
        outcome=result.outcome.value,
        exit_code=int(result.exit_code),
        message=storable(result.message),
        started_at=result.started_at,
        finished_at=result.finished_at,
        problem_count=number_of(serious),
        warning_count=number_of(others),
        problems=[_kept(problem) for problem in [*serious, *others][:PROBLEMS_KEPT]],
        undone=_undone(result),
        skipped_count=sum(each.outcomes.count(Outcome.SKIPPED) for each in result.targets),
        failed_count=sum(each.outcomes.count(Outcome.FAILED) for each in result.targets),
        known_failures=sum(len(target.known_failures) for target in result.targets),
        planned_count=sum(len(target.plan.actions) for target in result.targets),
    )
    if result.cache is not None:
        record = _with_cache(record, result.cache, limit_bytes)
    if result.requests is not None:
        record = _with_requests(record, result.requests)
    return record


def items_of(result: Result, most: int) -> list[RunItem]:
    """What became of the last ``most`` actions that were tried, in their order."""
    found: list[RunItem] = []
    for target in reversed(result.targets):
        outcomes = target.outcomes
        for position in reversed(range(len(outcomes.actions))):
            if len(found) >= most:
                break
            outcome = outcomes.get(position)
            if outcome is not Outcome.PLANNED:
                found.append(_item(outcomes.actions[position], outcome, outcomes.note(position)))
    return found[::-1]


def storable_name(name: str | int) -> str:
    """The name of an item as the history keeps it, and is asked for it."""
    return storable(str(name))[:LONGEST_NAME]


def filled(names: tuple[str, ...], found: Mapping[str, int]) -> dict[str, int]:
    """``found`` with a 0 for each name that is not in it: what is not there is shown as none."""
    return dict.fromkeys(names, 0) | dict(found)


REASON_NAMES = tuple(reason.value for reason in CACHE_REASONS)
ACTIVE_NAMES = tuple(status.value for status in ACTIVE)
STATUS_NAMES = tuple(status.value for status in RequestStatus)


def _item(action: Action, outcome: Outcome, note: str | None) -> RunItem:
    return RunItem(
        kind=action.kind.name.lower(),
        name=storable_name(action.id),
        file=storable_name(action.file) if action.kind.is_of_entry else None,
        size_bytes=action.size_bytes,
        reason=action.reason.value,
        detail=storable_name(action.detail),
        outcome=outcome.value,
        note=None if note is None else storable_name(note),
    )


def _kept(problem: Problem) -> Problem:
    """The problem as history and receivers can hold it: a file's name may be no UTF-8."""
    subject = None if problem.subject is None else storable(problem.subject)
    return msgspec.structs.replace(problem, message=storable(problem.message), subject=subject)


def _undone(result: Result) -> list[str]:
    """The targets that could not be surveyed, or of whose work all failed."""
    if result.stopped is not None:
        return []
    targets = (
        (Target.CACHE, result.cache_configured, result.cache),
        (Target.REQUESTS, result.requests_configured, result.requests),
    )
    return [
        name.value
        for name, configured, target in targets
        if configured and (target is None or target.nothing_done)
    ]


def _with_cache(record: RunRecord, target: CacheResult, limit_bytes: int | None) -> RunRecord:
    totals = (target.after or target.plan).totals
    entry_count, size_bytes = totals.entry_count, totals.total_size_bytes
    if target.after is None:  # not looked at again: take off what went
        for action, outcome, _ in target.outcomes:
            if outcome is Outcome.DONE and action.kind.is_of_entry:
                entry_count -= 1
                size_bytes -= action.size_bytes
    return msgspec.structs.replace(
        record,
        removed_count=target.removed_count,
        freed_bytes=target.freed_bytes,
        without_file=target.without_file,
        removed_by_reason={k.value: n for k, n in target.removed_by_reason.items()},
        freed_by_reason={k.value: n for k, n in target.freed_by_reason.items()},
        cache_state=CacheState(entry_count, size_bytes, limit_bytes),
    )


def _with_requests(record: RunRecord, target: RequestResult) -> RunRecord:
    totals = (target.after or target.plan).totals
    by_status, abandoned = dict(totals.by_status), totals.abandoned_count
    if target.after is None:
        abandoned -= target.cancelled_count
        for action, outcome, _ in target.outcomes:
            if outcome is not Outcome.DONE:
                continue
            by_status[action.status] = by_status.get(action.status, 0) - 1
            if action.kind is Kind.CANCEL_REQUEST:
                by_status[RequestStatus.CANCELLED] = by_status.get(RequestStatus.CANCELLED, 0) + 1
    return msgspec.structs.replace(
        record,
        cancelled_count=target.cancelled_count,
        cancelled_by_status=dict(target.cancelled_by_status),
        deleted_count=target.deleted_count,
        deleted_by_status=dict(target.deleted_by_status),
        overwritten_count=target.overwritten,
        requests_by_status={str(name): number for name, number in by_status.items()},
        abandoned_left=abandoned,
    )
