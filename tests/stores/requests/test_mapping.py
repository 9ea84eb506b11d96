"""Status values and the states that they mean, as number and as text."""

from __future__ import annotations

from narration_cleanup.core.model import ACTIVE, RequestStatus
from narration_cleanup.stores.requests.mapping import Statuses


def test_a_number_is_also_asked_for_and_read_as_text() -> None:
    """A column of text gives back '0' for 0, and one of numbers 0 for '0'."""
    statuses = Statuses(queued=(0,), generating=("1", "-2"))
    assert statuses.values(ACTIVE) == [0, "0", "1", 1, "-2", -2]
    words = statuses.words()
    assert [words[each] for each in (0, "0", 1, "1", -2, 1.0)] == [
        RequestStatus.QUEUED,
        RequestStatus.QUEUED,
        RequestStatus.GENERATING,
        RequestStatus.GENERATING,
        RequestStatus.GENERATING,
        RequestStatus.GENERATING,
    ]


def test_an_exact_value_goes_before_a_converted_one() -> None:
    words = Statuses(queued=(1,), generating=("1",)).words()
    assert (words[1], words["1"]) == (RequestStatus.QUEUED, RequestStatus.GENERATING)


def test_text_that_only_looks_like_a_number_stays_text() -> None:
    statuses = Statuses(queued=("01", "+1", "1.0", "", "-", "¹", "9" * 30), generating=())
    assert statuses.values(ACTIVE) == ["01", "+1", "1.0", "", "-", "¹", "9" * 30]
