"""How much is done at a time: a lock is held about as long as it should be, whatever the disk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narration_cleanup.stores.requests.batches import (
    LONG,
    SHORT,
    min_batch_size,
    next_batch_size,
    yield_gap,
)

_SQLITE_DELAYS = (1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100)
"""Milliseconds, from the busy handler in SQLite's ``main.c``."""


def _looks(arrival: float, until: float) -> list[float]:
    """When one who came at ``arrival`` looks for the lock."""
    looks, waited = [arrival], 0
    while looks[-1] < until:
        delay = _SQLITE_DELAYS[min(waited, len(_SQLITE_DELAYS) - 1)]
        waited += 1
        looks.append(looks[-1] + delay / 1000)
    return looks


@given(st.floats(0.0001, 5.0), st.floats(0, 1, exclude_max=True))
def test_whoever_waits_as_sqlite_does_looks_in_the_gap(held: float, when: float) -> None:
    ended = held + yield_gap(held)
    assert any(held <= look < ended for look in _looks(when * held, ended))


def test_a_gap_is_no_longer_than_it_must_be() -> None:
    """A minute of nothing would keep every promise as well."""
    for held in (0.0005, 0.002, 0.007, 0.017, 0.032):
        assert yield_gap(held) < held + 0.005
    assert yield_gap(60.0) < 0.11


@given(st.integers(100, 500), st.floats(0, 10))
def test_the_next_is_bounded_and_changes_by_half_at_most(count: int, took: float) -> None:
    found = next_batch_size(count, took, LONG, least=100, most=500)
    assert 100 <= found <= 500
    assert count // 2 <= found or found == 100
    assert found <= 2 * count or found == 500


@pytest.mark.parametrize("goal", [SHORT, LONG])
@pytest.mark.parametrize(("each", "fixed"), [(1e-5, 0.002), (4e-5, 0.003), (1e-4, 0.0)])
def test_it_comes_to_where_the_goal_is_kept(each: float, fixed: float, goal: float) -> None:
    count = 100
    for _ in range(20):
        count = next_batch_size(count, fixed + count * each, goal, least=50, most=2_000)
    assert goal * 0.8 < fixed + count * each < goal * 1.2


def test_what_always_takes_too_long_comes_to_the_least() -> None:
    count = 500
    for _ in range(5):
        count = next_batch_size(count, 1.0, LONG, least=100, most=500)
    assert count == 100


@given(st.integers(1, 500), st.floats(0, 10))
def test_slow_work_has_as_few_as_fit_and_never_none(count: int, worked: float) -> None:
    found = min_batch_size(count, worked, SHORT, most=100)
    assert 1 <= found <= 100
    assert found == 1 or found * worked <= SHORT * count * 1.001


def test_work_that_is_quick_has_as_many_as_ever() -> None:
    assert min_batch_size(100, 0.0, SHORT, most=100) == 100
    assert min_batch_size(100, SHORT / 2, SHORT, most=100) == 100
    assert min_batch_size(100, SHORT * 10, SHORT, most=100) == 10
