"""What is evicted for size: the least recently used entries, until a limit is met."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec

from narration_cleanup.core.model import (
    DAY,
    MB,
    CacheEntry,
    CacheSurvey,
    EntryBatch,
    Problem,
    Target,
)
from narration_cleanup.plan.actions import Action, Kind, Reason
from narration_cleanup.plan.rules import CachePolicy, Rules
from narration_cleanup.plan.types import CachePlan, removal_of


class _Goal(NamedTuple):
    """How many bytes more must go, why, and whether that must free them on the disk."""

    excess: int
    why: str
    to_free: bool = False


def plan_evictions(
    plan: CachePlan,
    survey: CacheSurvey,
    rules: Rules,
    dangling: frozenset[str],
    useless: Sequence[Action],
) -> None:
    """Plan what to evict until the free space and the size are as wanted.

    First ``useless``, files that no entry will name any more, in that order; then the least
    recently used entries. Sizes are those of the files, whatever the index states. ``dangling`` are
    the keys of entries that have no file to free. A file that two entries share is not evicted: one
    of them is kept, so both are held. One with other hard links, such as a backup makes, frees no
    space, though it is a part of the cache's size.
    """
    space, size = _space_goal(plan, survey, rules.policy), _size_goal(plan, survey, rules.policy)
    first, left = len(plan.actions), list(useless)
    gone = _plan_useless(plan, survey, left, space)
    if space.excess > gone:
        more = space._replace(excess=space.excess - gone)
        gone += _plan_least_used(plan, survey, rules, dangling, more)
    gone += _plan_useless(plan, survey, left, size._replace(excess=size.excess - gone))
    if size.excess > gone:
        goal = size._replace(excess=size.excess - gone)
        _plan_least_used(plan, survey, rules, dangling | _keys_from(plan, first), goal)
        if plan.explain:  # what was of no use for one goal may have gone for the other
            evicted, held = _keys_from(plan, first), dict(plan.held).items()
            plan.held = [(key, rule) for key, rule in held if key not in evicted]


def _plan_useless(plan: CachePlan, survey: CacheSurvey, left: list[Action], goal: _Goal) -> int:
    """Plan files of ``left``, and take them out of it, until the goal is reached; their bytes."""
    gathered, kept = 0, list[Action]()
    for action in left:
        enough = gathered >= goal.excess
        if enough or not action.size_bytes or (goal.to_free and survey.is_linked(action.file)):
            kept.append(action)
            continue
        detail = f"{action.detail}, {goal.why}"
        plan.add(msgspec.structs.replace(action, detail=detail))
        gathered += action.size_bytes
    left[:] = kept
    return gathered


def _keys_from(plan: CachePlan, first: int) -> set[str | int]:
    """The keys of the entries that the actions from number ``first`` on remove."""
    actions = islice(plan.actions, first, None)
    return {action.id for action in actions if action.kind.is_of_entry}


def _plan_least_used(
    plan: CachePlan, survey: CacheSurvey, rules: Rules, apart: frozenset[str | int], goal: _Goal
) -> int:
    """Plan evictions until the goal is reached, or report that it cannot be; the bytes evicted.

    Space on the disk is shared with others: where evictions would close less than half of the gap,
    they would cost the cache and not help.
    """
    excess = goal.excess
    # (use, latest first; order; size; action): held small, there may be a hundred thousand.
    candidates: list[tuple[float, int, int, bytes | Action]] = []
    gathered = order = protected = protected_bytes = 0
    for batch in survey.batches(last_used=True):
        for position, entry, rule in _in_question(batch, rules, apart):
            latest_first = -(entry.last_used_at or 0.0)
            if rule is None and gathered >= excess and latest_first <= candidates[0][0]:
                continue
            size = survey.size_of(entry.file, entry.size_bytes)
            if not size:
                continue
            if rule is None and goal.to_free and survey.is_linked(entry.file):
                rule = "its file has other hard links, and would free no space"
            if rule is not None:
                if rules.verdict(entry) is None:
                    plan.hold(entry.key, rule)
                protected += 1
                protected_bytes += size
                continue
            entry, ref = batch.whole(position)
            idle = max(rules.now + latest_first, 0.0)
            detail = f"last used {idle / DAY:.1f} days ago, {goal.why}"
            action = removal_of(entry, (Reason.EVICTED, detail), ref)
            size = survey.size_of(entry.file, entry.size_bytes)
            action = msgspec.structs.replace(action, size_bytes=size)
            order += 1
            heapq.heappush(candidates, (latest_first, -order, size, plan.actions.packed(action)))
            gathered += size
            while gathered - candidates[0][2] >= excess:
                gathered -= heapq.heappop(candidates)[2]
    if goal.to_free and 2 * gathered < excess:
        plan.problems.add(_out_of_reach(goal, gathered))
        return 0
    candidates.sort(reverse=True)
    for _, _, size, packed in candidates:
        plan.add_packed(packed, Reason.EVICTED, size)
    if gathered < excess:
        plan.problems.add(_cannot_reach(excess - gathered, goal.why, protected, protected_bytes))
    return gathered


def _in_question(
    batch: EntryBatch, rules: Rules, apart: frozenset[str | int]
) -> Iterator[tuple[int, CacheEntry, str | None]]:
    """Entries that do not go anyway: position, entry, and what protects it."""
    for position, entry in enumerate(batch.entries):
        if entry.key in apart:
            continue
        rule = rules.held_by(entry)
        if rule is None and rules.verdict(entry) is not None:
            continue
        if rule is None and entry.last_used_at is None:
            rule = "its last use cannot be read"
        yield position, entry, rule


def _size_goal(plan: CachePlan, survey: CacheSurvey, policy: CachePolicy) -> _Goal:
    if policy.evict_above is None or plan.stored_bytes <= policy.evict_above:
        return _Goal(0, "")
    staying = plan.stored_bytes - _leaving(plan, survey)
    if staying <= policy.evict_above:
        return _Goal(0, "")
    return _Goal(staying - policy.evict_to, f"cache over {_limit(policy.evict_above)} MB")


def _space_goal(plan: CachePlan, survey: CacheSurvey, policy: CachePolicy) -> _Goal:
    if policy.min_free is None or (free := survey.free_bytes()) is None:
        return _Goal(0, "")
    missing = policy.min_free - free
    if missing > 0:
        missing -= _leaving(plan, survey, to_free=True)
    return _Goal(missing, f"less than {_limit(policy.min_free)} MB free on the disk", to_free=True)


def _limit(size_bytes: int) -> str:
    return f"{round(size_bytes / MB, 4):.15g}"


def _leaving(plan: CachePlan, survey: CacheSurvey, *, to_free: bool = False) -> int:
    """The size of the files that go by the plan so far, each once."""
    sizes = dict[str, int]()
    for action in plan.actions:
        if action.kind is Kind.REMOVE_ENTRY:
            sizes[action.file] = survey.size_of(action.file, action.size_bytes)
        elif action.kind is Kind.REMOVE_FILE:
            sizes[action.file] = action.size_bytes
    return sum(size for file, size in sizes.items() if not (to_free and survey.is_linked(file)))


def _out_of_reach(goal: _Goal, gathered: int) -> Problem:
    return Problem(
        Target.CACHE,
        "over_limit",
        f"{goal.why}, and all that may be evicted would close less than half of the gap "
        f"({gathered / MB:.2f} of {goal.excess / MB:.2f} MB): nothing is evicted for it; free disk "
        "space, or lower cache.min_free_mb",
    )


def _cannot_reach(missing: int, why: str, protected: int, protected_bytes: int) -> Problem:
    held, words = "nothing else may be evicted", Kind.REMOVE_ENTRY.value
    if protected:
        noun = words.noun if protected == 1 else words.plural
        held = f"protected: {protected} {noun} of {protected_bytes / MB:.2f} MB"
        held += " (dry-run -v says by what)"
    message = f"{why}, and {missing / MB:.2f} MB more should go than may; {held}"
    return Problem(Target.CACHE, "over_limit", message)
