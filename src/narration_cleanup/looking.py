"""A survey that tells how many entries have been looked at, for those who wait."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from narration_cleanup.model import CacheSurvey, EntryBatch, Problem, Unmatched
from narration_cleanup.progress import Progress


class Watched:
    """``survey`` as it is; ``progress`` hears of every batch that has been consumed."""

    def __init__(self, survey: CacheSurvey, progress: Progress) -> None:
        self._survey = survey
        self._progress = progress

    @property
    def problems(self) -> Iterable[Problem]:
        """See ``CacheSurvey``."""
        return self._survey.problems

    @property
    def empty_files(self) -> Mapping[str, float]:
        """See ``CacheSurvey``."""
        return self._survey.empty_files

    def batches(self, *, last_used: bool = False) -> Iterator[EntryBatch]:
        """See ``CacheSurvey``."""
        for batch in self._survey.batches(last_used=last_used):
            yield batch
            self._progress.advance(len(batch.entries))

    def unmatched(self) -> Unmatched:
        """See ``CacheSurvey``."""
        return self._survey.unmatched()

    def free_bytes(self) -> int | None:
        """See ``CacheSurvey``."""
        return self._survey.free_bytes()
