"""Does what was planned: the only room that removes audio, rewrites an index, changes a row.

Each item is checked again at the moment it is done. Files go first and the index follows: an
entry without a file heals (the service drops it when it meets it, and so does the next run),
while a file without an entry would leak; and on a full disk only the removal makes the room that
a new index needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from narration_cleanup.apply.result import ODD_FILE, CacheResult, Outcomes, RequestResult
from narration_cleanup.core.deadline import Stopwatch
from narration_cleanup.core.errors import TargetError, to_target_error
from narration_cleanup.core.model import Problem, Progress, Ref, Target
from narration_cleanup.core.signals import STOPPED, Stop
from narration_cleanup.core.text import printable
from narration_cleanup.plan import CachePlan, RequestPlan
from narration_cleanup.plan.actions import FILE_GONE, Action, Kind, Outcome, Reason
from narration_cleanup.stores.cache import (
    CacheStore,
    CommitReport,
    FileTarget,
    Removal,
    StoppedError,
)
from narration_cleanup.stores.requests.batches import BatchEndedError, next_batch_size

if TYPE_CHECKING:
    from narration_cleanup.stores.requests import RequestStore

FILES_AT_A_TIME = 1_024
"""Files removed together at first, and at least: between two such batches a run can be stopped."""
MOST_FILES = 8_192
"""What that grows to where it is quick: far away, changing one name may take milliseconds."""
_TAKES = 1.0
"""Seconds that such a batch should take."""
_INTERRUPTED = "the run was stopped before it"


def apply_cache(plan: CachePlan, store: CacheStore, stop: Stop, progress: Progress) -> CacheResult:
    """Remove what was planned, then take the entries whose file is gone out of the index."""
    result = CacheResult(plan, Outcomes(plan.actions))
    progress.start("Removing", len(plan.actions))
    trouble = _in_batches(
        result.outcomes,
        _sizes().__next__,
        lambda batch: _remove(batch, store, result),
        stop,
        progress,
    )
    if trouble is not None:
        result.problems.add(Problem(Target.CACHE, trouble.code, str(trouble)))
    if store.has_index:
        _commit(store, result)
    _count(result)
    return result


def apply_requests(
    plan: RequestPlan, store: RequestStore, at: float, stop: Stop, progress: Progress
) -> RequestResult:
    """Cancel and delete what was planned, in batches short enough for the service not to wait.

    ``at`` is the instant that becomes ``completed_at``.
    """
    result = RequestResult(plan, Outcomes(plan.actions))
    progress.start("Cancelling", len(plan.actions))
    trouble = _in_batches(
        result.outcomes,
        lambda: store.batch_size,
        lambda batch: _change(batch, store, at, result),
        stop,
        progress,
    )
    if trouble is not None:
        result.problems.add(Problem(Target.REQUESTS, trouble.code, str(trouble)))
    result.problems.extend(store.problems)
    if result.deleted_count:
        with suppress(TargetError):  # a figure only: the work is done
            result.freed_pages = store.free_pages() or 0
    return result


def _sizes() -> Iterator[int]:
    """How many files to remove together, asked anew for each batch."""
    count = FILES_AT_A_TIME
    while True:
        watch = Stopwatch()
        yield count
        count = next_batch_size(
            count, watch.seconds, _TAKES, least=FILES_AT_A_TIME, most=MOST_FILES
        )


def _in_batches(
    outcomes: Outcomes,
    size: Callable[[], int],
    work: Callable[[Sequence[tuple[int, Action]]], None],
    stop: Stop,
    progress: Progress,
) -> TargetError | None:
    """Do ``work`` for all actions, ``size()`` at a time, until it fails or a stop is asked for.

    What is left then gets its outcome all the same. Returns what was in the way. An entry that is
    only to be dropped stays planned: the commit sets its outcome.
    """
    trouble: TargetError | None = None
    waiting = enumerate(outcomes.actions)
    while batch := list(islice(waiting, size())):
        if stop.asked:
            for position, _ in batch:
                outcomes.set(position, Outcome.SKIPPED, _INTERRUPTED)
            continue
        try:
            if trouble is not None:
                raise trouble
            work(batch)
        except Exception as error:  # an unforeseen one, too, must not stop the other target
            trouble = to_target_error(error, "not_removed")
            ended = Outcome.FAILED, str(trouble)
            if trouble.code == STOPPED:
                ended = Outcome.SKIPPED, _INTERRUPTED
            for position, action in batch:
                untouched = outcomes.get(position) is Outcome.PLANNED
                if untouched and action.kind is not Kind.DROP_ENTRY:
                    outcomes.set(position, *ended)
        progress.advance(len(batch))
    progress.done()
    return trouble


def _remove(batch: Sequence[tuple[int, Action]], store: CacheStore, result: CacheResult) -> None:
    """Remove the files of a batch; raises ``TargetError`` where that had to stop."""
    removing = [(at, action) for at, action in batch if action.kind is not Kind.DROP_ENTRY]
    targets = [_target(action, store.has_index) for _, action in removing]
    stopped: StoppedError | None = None
    try:
        removals = store.remove(targets)
    except StoppedError as error:
        stopped, removals = error, error.removals
    for (position, action), removal in zip(removing, removals, strict=True):
        if stopped is not None and removal.outcome is Outcome.FAILED:
            continue  # reported once for all of them
        result.outcomes.set(position, removal.outcome, removal.note)
        _note_removal(action, removal, result)
    if stopped is not None:
        raise stopped


def _target(action: Action, has_index: bool) -> FileTarget:
    if has_index and action.kind is Kind.REMOVE_ENTRY:
        return FileTarget(action.file, entry=action.ref)
    return FileTarget(action.file, identity=action.ref, sidecars=action.sidecars)


def _note_removal(action: Action, removal: Removal, result: CacheResult) -> None:
    result.freed_bytes += removal.freed_bytes
    freed = result.freed_by_reason
    freed[action.reason] = freed.get(action.reason, 0) + removal.freed_bytes
    if removal.unexpected or removal.outcome is Outcome.FAILED:
        code, remedy = "not_removed", "the next run tries again; check looks at the rights"
        if removal.unexpected:
            code, remedy = ODD_FILE, "take it away by hand"
        # The subject is the file: the same reason is the same message for all.
        why = (removal.note or "").removeprefix(f"{printable(action.file)}: ")
        message = f"not removed: {why}; {remedy}"
        result.problems.add(Problem(Target.CACHE, code, message, str(action.id)))


class _Dropping:
    """The entries whose file is gone, so far as this run knows; to be gone through repeatedly."""

    def __init__(self, result: CacheResult) -> None:
        self._result = result

    def __iter__(self) -> Iterator[tuple[Ref, str]]:
        return ((action.ref, action.file) for _, action in self.actions())

    def actions(self) -> Iterator[tuple[int, Action]]:
        """Each with its position in the plan."""
        for position, action in enumerate(self._result.plan.actions):
            outcome = self._result.outcomes.get(position)
            if (action.kind is Kind.REMOVE_ENTRY and outcome is Outcome.DONE) or (
                action.kind is Kind.DROP_ENTRY and outcome is Outcome.PLANNED
            ):
                yield position, action


def _commit(store: CacheStore, result: CacheResult) -> None:
    """Update the index, and set the outcome of each entry that is out of it."""
    dropping = _Dropping(result)
    try:
        report = store.remove_entries(dropping)
    except Exception as error:
        fault = to_target_error(error, "index_not_replaced")
        report = CommitReport(error=str(fault), code=fault.code)
    if report.error is not None:
        result.entries_left = sum(1 for _ in dropping)
        follow = f"entries without a file, which follow in a later run: {result.entries_left}"
        result.problems.add(Problem(Target.CACHE, report.code, f"{report.error}; {follow}"))
    if report.error is None and not report.kept and Reason.DANGLING not in result.plan.by_reason:
        return
    for position, action in dropping.actions():
        if report.error is not None:
            note = f"{FILE_GONE}, its entry follows in a later run"
            removed = result.outcomes.get(position) is Outcome.DONE
            removed = removed and result.outcomes.note(position) is None  # else it was gone before
            result.outcomes.set(position, Outcome.DONE if removed else Outcome.FAILED, note)
        elif action.ref[2] in report.kept:
            note = "its audio was made anew meanwhile"
            result.outcomes.set(position, Outcome.SKIPPED, note)
        elif action.kind is Kind.DROP_ENTRY:
            result.outcomes.set(position, Outcome.DONE)


def _count(result: CacheResult) -> None:
    removed = result.removed_by_reason
    if result.outcomes.count(Outcome.DONE) == len(result.plan.actions):
        removed.update(result.plan.by_reason)
        result.without_file = result.plan.without_file
        return
    for action, outcome, _ in result.outcomes:
        if outcome is Outcome.DONE:
            removed[action.reason] = removed.get(action.reason, 0) + 1
            result.without_file += action.lacks_file


def _change(
    batch: Sequence[tuple[int, Action]],
    store: RequestStore,
    at: float,
    result: RequestResult,
) -> None:
    """Change the rows of a batch: cancelled ones and deleted ones each in a transaction."""
    cancels = [(p, action) for p, action in batch if action.kind is Kind.CANCEL_REQUEST]
    deletes = [(p, action) for p, action in batch if action.kind is Kind.DELETE_REQUEST]
    if cancels:
        _note(cancels, lambda rows: store.cancel(rows, at), result, result.cancelled_by_status)
    if deletes:
        _note(deletes, store.delete, result, result.deleted_by_status)


def _note(
    some: Sequence[tuple[int, Action]],
    change: Callable[[Sequence[Action]], Sequence[Outcome]],
    result: RequestResult,
    counts: dict[str, int],
) -> None:
    """Change rows and note the outcomes, those before a ``BatchEndedError`` too."""
    ended = None
    try:
        outcomes = change([action for _, action in some])
    except BatchEndedError as error:
        ended, outcomes = error, error.outcomes
    for (position, action), outcome in zip(some, outcomes, strict=ended is None):
        skipped = outcome is Outcome.SKIPPED
        note = "it changed since planning, or a worker holds it" if skipped else None
        result.outcomes.set(position, outcome, note)
        if outcome is Outcome.DONE:
            counts[action.status] = counts.get(action.status, 0) + 1
    if ended is not None:
        raise ended
