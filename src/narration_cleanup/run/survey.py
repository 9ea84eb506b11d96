"""Surveys both targets and decides what should go; neither stops the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from narration_cleanup.core.deadline import Deadline, time_to_write
from narration_cleanup.core.errors import IndexChangedError, IndexFormatError, TargetError
from narration_cleanup.core.model import (
    CacheEntry,
    CacheSurvey,
    EntryBatch,
    Found,
    FoundRequest,
    GenerationRequest,
    Problem,
    Problems,
    Progress,
    Ref,
    RequestSurvey,
    Target,
    Unmatched,
)
from narration_cleanup.core.signals import end_survey_if_overdue
from narration_cleanup.core.text import printable
from narration_cleanup.plan import (
    CachePlan,
    CachePolicy,
    RequestPlan,
    RequestPolicy,
    plan_cache,
    plan_requests,
)
from narration_cleanup.run.stores import Targets, attempt
from narration_cleanup.stores.cache import CacheStore

if TYPE_CHECKING:
    from narration_cleanup.stores.requests import RequestStore


class _SurveyWrapper:
    """``survey`` as it is."""

    def __init__(self, survey: CacheSurvey) -> None:
        self._survey = survey

    @property
    def problems(self) -> Iterable[Problem]:
        return self._survey.problems

    @property
    def empty_files(self) -> Mapping[str, float]:
        return self._survey.empty_files

    def times_changed(self) -> bool:
        return self._survey.times_changed()

    def unmatched(self) -> Unmatched:
        return self._survey.unmatched()

    def find(self, spellings: Sequence[str]) -> Found:
        return self._survey.find(spellings)

    def free_bytes(self) -> int | None:
        return self._survey.free_bytes()

    def stored_bytes(self) -> int | None:
        return self._survey.stored_bytes()

    def size_of(self, file: str, stated: int) -> int:
        return self._survey.size_of(file, stated)

    def is_linked(self, file: str) -> bool:
        return self._survey.is_linked(file)


class CountedSurvey(_SurveyWrapper):
    """``survey`` as it is; ``progress`` hears of every batch that has been consumed."""

    def __init__(self, survey: CacheSurvey, progress: Progress) -> None:
        super().__init__(survey)
        self._progress = progress

    def batches(self, *, last_used: bool = False) -> Iterator[EntryBatch]:
        for batch in self._survey.batches(last_used=last_used):
            end_survey_if_overdue()
            yield batch
            self._progress.advance(len(batch.entries))


class VoiceFilter(_SurveyWrapper):
    """``survey`` as if the cache held the narrations of one voice style alone.

    ``others`` are the voice styles that were met besides, the first 20.
    """

    MOST_OTHERS = 20

    def __init__(self, survey: CacheSurvey, voice_style: str, others: set[str]) -> None:
        super().__init__(survey)
        self._voice_style = voice_style
        self._others = others

    def batches(self, *, last_used: bool = False) -> Iterator[EntryBatch]:
        """See ``CacheSurvey``; of each batch only the entries of the voice style."""
        for batch in self._survey.batches(last_used=last_used):
            chosen = _Chosen(batch, self._voice_style)
            yield chosen
            if len(self._others) < self.MOST_OTHERS and len(chosen.entries) < len(batch.entries):
                found = {entry.voice_style for entry in batch.entries} - {self._voice_style}
                self._others.update(sorted(found)[: self.MOST_OTHERS])

    def stored_bytes(self) -> None:
        """Nothing: the entries of the voice style state what they have."""

    def unmatched(self) -> Unmatched:
        """See ``CacheSurvey``; files without an entry have no voice style, and are left out."""
        found = self._survey.unmatched()
        dangling = [
            (entry, ref) for entry, ref in found.dangling if entry.voice_style == self._voice_style
        ]
        return Unmatched(dangling=dangling, shared=found.shared)


class _Chosen:
    """The entries of a batch that have one voice style."""

    unjudged = more_bytes = 0

    def __init__(self, batch: EntryBatch, voice_style: str) -> None:
        self._batch = batch
        self._positions = [
            position
            for position, entry in enumerate(batch.entries)
            if entry.voice_style == voice_style
        ]
        self.entries = [batch.entries[position] for position in self._positions]

    def whole(self, position: int) -> tuple[CacheEntry, Ref]:
        return self._batch.whole(self._positions[position])


class CacheLookup(_SurveyWrapper):
    """``survey`` as it is; keeps what it has of a name, and what the planner judges files by."""

    def __init__(self, survey: CacheSurvey, spellings: Sequence[str]) -> None:
        super().__init__(survey)
        self._spellings = spellings
        self.found = Found()
        self.seen = Unmatched()
        self.empty: Mapping[str, float] = {}

    def batches(self, *, last_used: bool = False) -> Iterator[EntryBatch]:
        return self._survey.batches(last_used=last_used)

    def unmatched(self) -> Unmatched:
        """See ``CacheSurvey``; by now a whole pass has been made."""
        found = self._survey.unmatched()
        partials, sidecars = list(found.partials), list(found.sidecars)
        self.seen = msgspec.structs.replace(found, partials=partials, sidecars=sidecars)
        self.found, self.empty = self._survey.find(self._spellings), self._survey.empty_files
        return self.seen


class RequestLookup:
    """The rows as they are; keeps those that have an id. ``now`` is what they are planned by."""

    def __init__(self, survey: RequestSurvey, identity: str, now: float) -> None:
        self._survey = survey
        self._identity = identity
        self.now = now
        self.found: Sequence[FoundRequest] = ()

    @property
    def problems(self) -> Iterable[Problem]:
        return self._survey.problems

    def by_status(self) -> dict[str, int]:
        found = self._survey.by_status()
        self.found = self._survey.find(self._identity)
        return found

    def active(self) -> Iterator[Sequence[GenerationRequest]]:
        return self._survey.active()

    def finished(self, before: float) -> Iterator[Sequence[GenerationRequest]]:
        return self._survey.finished(before)

    def find(self, identity: str) -> Sequence[FoundRequest]:
        return self._survey.find(identity)


Policies = tuple[CachePolicy, RequestPolicy]
Glass = Callable[[CacheSurvey], CacheSurvey]
RowGlass = Callable[[RequestSurvey, float], RequestSurvey]
"""Also gets the instant that ages are of: by the database's clock, where it has one."""


class Plans(msgspec.Struct, frozen=True):
    """What would be done; ``None`` for a target that is not configured or cannot be surveyed."""

    cache: CachePlan | None
    requests: RequestPlan | None
    problems: Problems


def survey_and_plan(
    targets: Targets,
    policies: Policies,
    now: float,
    progress: Progress,
    *,
    explain: bool = False,
    through: Glass | None = None,
    rows_through: RowGlass | None = None,
) -> Plans:
    """Survey both targets and decide, without touching anything; see the functions of each."""
    cache_policy, request_policy = policies
    problems = Problems()
    cache, requests = targets.cache, targets.requests
    cache_plan = request_plan = None
    if cache is not None:
        cache_plan = attempt(
            lambda: survey_and_plan_cache(
                cache, cache_policy, now, progress, explain=explain, through=through
            ),
            Target.CACHE,
            problems,
        )
    if requests is not None:
        request_plan = attempt(
            lambda: survey_and_plan_requests(
                requests, request_policy, now, progress, through=rows_through
            ),
            Target.REQUESTS,
            problems,
        )
    progress.done()
    return Plans(cache_plan, request_plan, problems)


def survey_and_plan_cache(
    store: CacheStore,
    policy: CachePolicy,
    now: float,
    progress: Progress,
    *,
    explain: bool = False,
    through: Glass | None = None,
) -> CachePlan:
    """What should go from the cache, without touching anything; ``now``: the instant of ages.

    ``through`` shows the planner another survey than the whole one. Surveys as often as the
    service rewrites the index meanwhile. Raises ``TargetError`` where that does not end.
    """
    progress.start("Looking at the cache")
    deadline: Deadline | None = None
    while True:
        try:
            with store.survey() as survey:
                watched = CountedSurvey(survey, progress)
                seen = watched if through is None else through(watched)
                return plan_cache(seen, policy, now, explain=explain)
        except IndexFormatError as error:
            raise TargetError(
                "index_format",
                f"the index of {printable(store.location)}: {error}. Nothing is removed; look for "
                "a newer version of narration-cleanup, or, if the index is another program's, set "
                "cache.fields and cache.index_member (config init --from)",
            ) from None
        except IndexChangedError as error:
            deadline = deadline or Deadline(time_to_write(error.size))
            if deadline.passed:
                remedy = (
                    "The service writes it again and again: the next run tries again"
                    if error.rewritten
                    else "If the service is not writing it, restore it from a backup"
                )
                raise TargetError(
                    "index_unreadable",
                    f"the index of {printable(store.location)} cannot be used: {error}. Nothing is "
                    f"removed. {remedy}",
                ) from None
            deadline.pause(0.01)


def survey_and_plan_requests(
    store: RequestStore,
    policy: RequestPolicy,
    now: float,
    progress: Progress,
    *,
    through: RowGlass | None = None,
) -> RequestPlan:
    """What should be cancelled and deleted; as ``survey_and_plan_cache``."""
    progress.start("Looking at the requests")
    survey = store.survey()
    at = store.now() or now
    return plan_requests(survey if through is None else through(survey, at), policy, at)
