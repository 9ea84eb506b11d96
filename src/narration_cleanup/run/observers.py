"""Surveys seen through a glass: one counts what goes by, one lets a single voice style through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from narration_cleanup.core.model import (
    CacheEntry,
    CacheSurvey,
    EntryBatch,
    Problem,
    Ref,
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
