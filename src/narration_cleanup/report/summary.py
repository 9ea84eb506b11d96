"""A result as a reader wants it: grouped by reason, problems gathered, and headlines of each.

Every text for people, be it a terminal's, a pipe's or the log's, has its words from here.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from narration_cleanup.apply.result import CacheResult, Outcomes, RequestResult, Result
from narration_cleanup.core.model import (
    MOST_OF_A_KIND,
    SAME_REASON,
    Problem,
    RequestStatus,
    Severity,
    Target,
)
from narration_cleanup.core.text import printable, printable_line
from narration_cleanup.plan.actions import Action, Actions, Outcome, Reason
from narration_cleanup.report.format import Sizes, count, entries, without_audio
from narration_cleanup.report.run_record import beside, number_of
from narration_cleanup.report.stats import Stats

MOST_ALIKE = 3
"""Problems with the same reason that are each shown, for what they are about."""
MORE_PROBLEMS = 10
"""Problems shown without ``-v``."""
NOT_CONFIGURED = "not configured: left out"

StrT = TypeVar("StrT", bound=str)


class Row(NamedTuple):
    """One action for a reader, its texts safe to show.

    ``size_bytes`` is ``None`` for what has no size: requests, and entries without a file.
    ``problem`` is why it failed or was skipped, empty where it was not. ``verb`` and ``reason``
    begin and explain its line in a pipe, where each line is complete by itself.
    """

    name: str
    size_bytes: int | None
    detail: str
    problem: str
    verb: str = "keep"
    reason: str = ""


@dataclass(slots=True)
class Group:
    """The actions of one reason: how many, how large, and what became of them."""

    reason: Reason
    outcomes: Outcomes
    size_bytes: int = 0
    name_width: int = 0
    detail_width: int = 0
    by_outcome: dict[Outcome, int] = field(default_factory=dict)
    unusual: list[Row] = field(default_factory=list)
    usual: array[int] = field(default_factory=lambda: array("Q"))

    @property
    def count(self) -> int:
        """How many actions have this reason."""
        return len(self.unusual) + len(self.usual)

    def rows(self, limit: int | None) -> Iterator[Row]:
        """At most ``limit`` of the actions, those that failed or were skipped first."""
        actions = self.outcomes.actions
        usual = (row_of(actions[position]) for position in self.usual)
        return islice(chain(self.unusual, usual), limit)


def grouped(outcomes: Outcomes) -> list[Group]:
    """One pass over the actions: a group for each reason, in the order first met."""
    groups: dict[Reason, Group] = {}
    for position, (action, outcome, note) in enumerate(outcomes):
        group = groups.get(action.reason)
        if group is None:
            group = groups[action.reason] = Group(action.reason, outcomes)
        group.size_bytes += size_of(action) or 0
        group.name_width = max(group.name_width, len(printable(_name(action))))
        group.detail_width = max(group.detail_width, len(_detail(action)))
        group.by_outcome[outcome] = group.by_outcome.get(outcome, 0) + 1
        if outcome in (Outcome.FAILED, Outcome.SKIPPED):
            note = beside(action.detail, note)
            why = "" if note is None else f" ({printable_line(note)})"
            group.unusual.append(row_of(action, f"{outcome.value}{why}"))
        else:
            group.usual.append(position)
    return list(groups.values())


def row_of(action: Action, problem: str = "") -> Row:
    """One action as a row."""
    name, detail = printable(_name(action)), printable(_detail(action))
    return Row(name, size_of(action), detail, problem, action.kind.value.verb, action.reason.value)


def _detail(action: Action) -> str:
    """The figures behind the reason, after the voice and variant of an entry."""
    if action.kind.is_of_entry:
        voice = "/".join(filter(None, (action.voice_style, action.variant_id)))
        return f"{voice}: {action.detail}" if voice else action.detail
    return action.detail


def size_of(action: Action) -> int | None:
    """The size that an action is expected to free, where it frees any."""
    return action.size_bytes if action.kind.frees_bytes else None


def _name(action: Action) -> str:
    return action.file if action.kind.is_of_cache else str(action.id)


def gathered(problems: Sequence[Problem]) -> list[tuple[Problem, int]]:
    """Problems by reason, as these were met, each with how many more there are of its reason.

    A reason is a code and its message. Up to three of the same are left as they are; of more, the
    first represents all. Of one code there are at most ten, and the number of the others; of items
    that an earlier run reported there is only the number.
    """
    same: dict[tuple[Target, str, Severity, str], list[Problem]] = {}
    reasons: dict[tuple[Target, str, Severity], str] = {}
    known = [each for each in problems if each.known]
    for problem in problems:
        if problem.known:
            continue
        kind = problem.target, problem.code, problem.severity
        # Those that were only counted have the message of the ones before them.
        is_same = problem.repeats and problem.message.endswith(SAME_REASON)
        reason = reasons.get(kind, "") if is_same else problem.message
        reasons[kind] = reason
        same.setdefault((*kind, reason), []).append(problem)
    shown: list[tuple[Problem, int]] = []
    lines, others = Counter[tuple[Target, str, Severity]](), Counter[tuple[Target, str, Severity]]()
    for (target, code, severity, _), found in same.items():
        kind = target, code, severity
        lines[kind] += 1
        if lines[kind] > MORE_PROBLEMS:
            others[kind] += number_of(found)
        elif len(found) <= MOST_ALIKE:
            shown += [(problem, 0) for problem in found]
        else:
            shown.append((found[0], number_of(found) - 1))
    for (target, code, severity), number in others.items():
        message = f"and {number:,} more of the same kind"
        shown.append((Problem(target, code, message, None, severity, number), 0))
    numbers: Counter[tuple[Target, str]] = Counter()
    for each in known:
        numbers[each.target, each.code] += each.repeats or 1
    for (target, code), number in numbers.items():
        message = (
            f"{count(number, 'item')} that an earlier run reported, and that no run can clean: "
            f"-v lists {'each' if number <= MOST_OF_A_KIND else f'the first {MOST_OF_A_KIND}'}"
        )
        shown.append((Problem(target, code, message, severity=Severity.WARNING, known=True), 0))
    return shown


def entries_among(by_reason: Mapping[Reason, int]) -> int:
    """How many of these actions remove an entry."""
    return sum(number for reason, number in by_reason.items() if reason.kind.is_of_entry)


def kept_entries(cache: CacheResult, *, dry_run: bool) -> int:
    """Entries that are kept: those surveyed, less those that are (or were) removed."""
    removed = cache.plan.by_reason if dry_run else cache.removed_by_reason
    return cache.plan.totals.entry_count - entries_among(removed)


def removed_items(by_reason: Mapping[Reason, int], total: int, without_file: int) -> str:
    """``33 (1 without audio) of 60 entries and 2 files without an entry``."""
    going = entries_among(by_reason)
    files = sum(by_reason.values()) - going
    more = f" and {count(files, 'file')} without an entry" if files else ""
    return f"{going:,}{without_audio(without_file)} of {entries(total)}{more}"


def cache_headline(cache: CacheResult, sizes: Sizes, *, dry_run: bool) -> str:
    """``Would remove 33 of 60 entries and 2 files, 1.02 MB`` or ``Removed …, freed …``."""
    by_reason = cache.plan.by_reason if dry_run else cache.removed_by_reason
    lacking = cache.plan.without_file if dry_run else cache.without_file
    what = removed_items(by_reason, cache.plan.totals.entry_count, lacking)
    if dry_run:
        return f"Would remove {what}, {sizes(cache.plan.planned_bytes)}"
    return f"Removed {what}, freed {sizes(cache.freed_bytes)}"


def requests_headline(requests: RequestResult, *, dry_run: bool) -> str:
    """``Would cancel 7 of 158 requests`` or ``Cancelled …``; deletions where there are any."""
    deletions = requests.deleted_count
    cancels = requests.cancelled_count
    if dry_run:
        cancels = requests.plan.by_reason.get(Reason.ABANDONED, 0)
        deletions = requests.plan.by_reason.get(Reason.FINISHED, 0)
    total = count(requests.plan.totals.total, "request")
    text = f"{'Would cancel' if dry_run else 'Cancelled'} {cancels:,} of {total}"
    if deletions:
        text += f", {'delete' if dry_run else 'deleted'} {deletions:,} finished"
    return text


def kept_texts(result: Result, stats: Stats | None, sizes: Sizes) -> list[str]:
    """What is kept, a text for each target that was surveyed."""
    texts = []
    if result.cache is not None:
        text = f"{entries(kept_entries(result.cache, dry_run=result.dry_run))} in the cache"
        if not result.dry_run and stats is not None and stats.cache is not None:
            text += f", {sizes(stats.cache.totals.total_size_bytes)}"
        texts.append(text)
        if result.dry_run and (later := result.cache.plan.judged_later):
            which = f"{count(later, 'old file')} without an entry"
            texts.append(
                f"{which}, for an hour from {'its' if later == 1 else 'their'} arrival (-v)"
            )
    if result.requests is not None:
        changed = result.requests.cancelled_count + result.requests.deleted_count
        if result.dry_run:
            changed = len(result.requests.plan.actions)
        untouched = result.requests.plan.totals.total - changed
        texts.append(count(untouched, "request as it is", "requests as they are"))
    return texts


def group_title(group: Group, sizes: Sizes) -> str:
    """``33 entries, 0.99 MB``: the totals of one reason."""
    kind = group.reason.kind
    text = count(group.count, kind.value.noun, kind.value.plural)
    return f"{text}, {sizes(group.size_bytes)}" if kind.frees_bytes else text


def done_for(reason: Reason, number: int) -> str:
    """``Removed 33 expired cache entries``, ``Cancelled 1 abandoned request``."""
    words = reason.kind.value
    what = f"{reason.value} cache" if reason.kind.is_of_entry else reason.value
    return f"{words.done} {count(number, f'{what} {words.noun}', f'{what} {words.plural}')}"


def listed(counts: Mapping[StrT, int]) -> str:
    """``4 queued, 3 generating``."""
    return ", ".join(f"{number:,} {printable(name)}" for name, number in counts.items())


def problems_title(problems: Sequence[Problem]) -> str:
    """``2 problems, 1 warning``."""
    severe = number_of([each for each in problems if each.severity is Severity.PROBLEM])
    mild = number_of(problems) - severe
    parts = [count(severe, "problem")] if severe else []
    return ", ".join(parts + ([count(mild, "warning")] if mild else []))


def problem_line(problem: Problem, more: int = 0) -> str:
    """One problem in one line, safe to show: target, message (with what to do), subject.

    ``more``: how many others there are with the same reason.
    """
    subject = "" if problem.subject is None else f" ({printable(problem.subject)})"
    others = f", and {more:,} more {SAME_REASON}" if more else ""
    text = f"{problem.target.value}: {printable_line(problem.message)}{subject}{others}"
    return f"{text} [{printable(problem.code)}]"


def in_order(by_status: Mapping[str, int]) -> list[tuple[str, int]]:
    """Requests by status in the order of a request's life; unknown statuses last."""
    known = tuple(RequestStatus)
    return sorted(
        by_status.items(),
        key=lambda item: known.index(RequestStatus(item[0])) if item[0] in known else len(known),
    )


SORT = ("size", "age")


@dataclass(frozen=True, slots=True)
class Selection:
    """Actions of one voice style, or for one reason; the largest or oldest first; at most ``limit``
    of them. ``None`` leaves a thing as it is."""

    voice_style: str | None = None
    reason: str | None = None
    sort: str | None = None
    limit: int | None = None

    def of(self, result: Result) -> Result:
        """A dry run's result with these actions alone, its plans and their figures as they are."""
        if self == EVERYTHING:
            return result
        cache, requests = result.cache, result.requests
        cache_actions, request_actions = Actions(), Actions()
        for action in self._chosen(result):
            (cache_actions if action.kind.is_of_cache else request_actions).append(action)
        if cache is not None:
            cache = replace(cache, outcomes=Outcomes(cache_actions))
        if requests is not None:
            requests = replace(requests, outcomes=Outcomes(request_actions))
        return replace(result, cache=cache, requests=requests)

    def _chosen(self, result: Result) -> list[Action]:
        actions = chain.from_iterable(target.outcomes.actions for target in result.targets)
        found = filter(self._matches, actions)
        key: Callable[[Action], float] = _size if self.sort == "size" else _age
        if self.sort is None:
            return list(islice(found, self.limit))
        return sorted(found, key=key, reverse=True)[: self.limit]

    def _matches(self, action: Action) -> bool:
        voice = action.voice_style if action.kind.is_of_entry else None
        return self.voice_style in (None, voice) and self.reason in (None, action.reason.value)


EVERYTHING = Selection()


def _size(action: Action) -> float:
    return action.size_bytes if action.kind.frees_bytes else -1


def _age(action: Action) -> float:
    return float("-inf") if action.created_at is None else -action.created_at
