"""Surveys seen through a glass: one counts what goes by, one lets a single voice style through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from narration_cleanup.core.model import (
    CacheEntry,
    CacheSurvey,
    EntryBatch,
    Found,
    FoundRequest,
    GenerationRequest,
    Problem,
    Ref,
    RequestSurvey,
    Unmatched,
)
from narration_cleanup.core.progress import Progress


class _SurveyWrapper:
    """``survey`` as it is."""

    def __init__(self, survey: CacheSurvey) -> None:
        self._survey = survey

    @property
    def problems(self) -> Iterable[Problem]:
        """See ``CacheSurvey``."""
        return self._survey.problems

    @property
    def empty_files(self) -> Mapping[str, float]:
        """See ``CacheSurvey``."""
        return self._survey.empty_files

    def times_changed(self) -> bool:
        """See ``CacheSurvey``."""
        return self._survey.times_changed()

    def unmatched(self) -> Unmatched:
        """See ``CacheSurvey``."""
        return self._survey.unmatched()

    def find(self, spellings: Sequence[str]) -> Found:
        """See ``CacheSurvey``."""
        return self._survey.find(spellings)

    def free_bytes(self) -> int | None:
        """See ``CacheSurvey``."""
        return self._survey.free_bytes()

    def stored_bytes(self) -> int | None:
        """See ``CacheSurvey``."""
        return self._survey.stored_bytes()

    def size_of(self, file: str, stated: int) -> int:
        """See ``CacheSurvey``."""
        return self._survey.size_of(file, stated)

    def is_linked(self, file: str) -> bool:
        """See ``CacheSurvey``."""
        return self._survey.is_linked(file)


class CountedSurvey(_SurveyWrapper):
    """``survey`` as it is; ``progress`` hears of every batch that has been consumed."""

    def __init__(self, survey: CacheSurvey, progress: Progress) -> None:
        super().__init__(survey)
        self._progress = progress

    def batches(self, *, last_used: bool = False) -> Iterator[EntryBatch]:
        """See ``CacheSurvey``."""
        for batch in self._survey.batches(last_used=last_used):
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
        """See ``EntryBatch``."""
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
        """See ``CacheSurvey``."""
        return self._survey.batches(last_used=last_used)

    def unmatched(self) -> Unmatched:
        """See ``CacheSurvey``; by now a whole pass has been made."""
        found = self._survey.unmatched()
        partials, sidecars = list(found.partials), list(found.sidecars)
        self.seen = msgspec.structs.replace(found, partials=partials, sidecars=sidecars)
        self.found, self.empty = self._survey.find(self._spellings), self._survey.empty_files
        return self.seen


class RequestLookup:
    """The rows as they are; keeps those that have an id."""

    def __init__(self, survey: RequestSurvey, identity: str) -> None:
        self._survey = survey
        self._identity = identity
        self.found: Sequence[FoundRequest] = ()

    @property
    def problems(self) -> Iterable[Problem]:
        """See ``RequestSurvey``."""
        return self._survey.problems

    def by_status(self) -> dict[str, int]:
        """See ``RequestSurvey``."""
        found = self._survey.by_status()
        self.found = self._survey.find(self._identity)
        return found

    def active(self) -> Iterator[Sequence[GenerationRequest]]:
        """See ``RequestSurvey``."""
        return self._survey.active()

    def finished(self, before: float) -> Iterator[Sequence[GenerationRequest]]:
        """See ``RequestSurvey``."""
        return self._survey.finished(before)

    def find(self, identity: str) -> Sequence[FoundRequest]:
        """See ``RequestSurvey``."""
        return self._survey.find(identity)
