"""What every cache store promises, each kind of it held to the same tests.

What must stay is asserted beside what must change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from narration_cleanup.apply.apply import apply_cache
from narration_cleanup.apply.result import CacheResult
from narration_cleanup.core import locks
from narration_cleanup.core.errors import BusyError
from narration_cleanup.core.model import NoProgress
from narration_cleanup.core.signals import Stop
from narration_cleanup.plan import CachePlan, CachePolicy, plan_cache
from narration_cleanup.plan.actions import Outcome, Reason
from narration_cleanup.stores.cache import CacheStore
from tests.stores.contract.caches import NOW, BucketCache, Cache, IndexedCache, TreeCache

KINDS = ["index", "tree", "tree-in-folders", pytest.param("bucket", marks=pytest.mark.s3)]


@pytest.fixture(params=KINDS)
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Cache:
    """An empty cache of each kind."""
    if request.param == "bucket":
        return BucketCache(request.getfixturevalue("s3"))
    if request.param == "index":
        return IndexedCache(tmp_path)
    return TreeCache(tmp_path, folders=request.param == "tree-in-folders")


@contextmanager
def opened(cache: Cache) -> Iterator[CacheStore]:
    store = cache.open()
    try:
        yield store
    finally:
        store.close()


def plan(store: CacheStore, **policy: object) -> CachePlan:
    with store.survey() as survey:
        return plan_cache(survey, CachePolicy(**policy), NOW)  # type: ignore[arg-type]


def apply(store: CacheStore, planned: CachePlan) -> CacheResult:
    with store.locked():
        return apply_cache(planned, store, Stop(), NoProgress())


def outcomes(result: CacheResult) -> list[Outcome]:
    return [outcome for _, outcome, _ in result.outcomes]


def fill(cache: Cache) -> None:
    for name, age in {"old": 8, "older": 30, "young": 1, "edge": 7}.items():
        cache.put(name, age, size=100 * len(name))
    cache.leave("notes.yaml")
    cache.leave("state.db")


def test_a_survey_tells_every_entry_the_same_way_each_time(cache: Cache) -> None:
    fill(cache)
    with opened(cache) as store, store.survey() as survey:
        looks = [
            [
                (entry.file.rpartition("/")[2].rpartition(".")[0], entry.size_bytes)
                for batch in survey.batches()
                for entry in batch.entries
            ]
            for _ in range(2)
        ]
        assert sorted(looks[0]) == [("edge", 400), ("old", 300), ("older", 500), ("young", 500)]
        assert looks[1] == looks[0]
        assert list(survey.problems) == []


def test_looking_and_planning_change_nothing(cache: Cache) -> None:
    fill(cache)
    before = cache.state()
    with opened(cache) as store:
        assert len(plan(store).actions) == 2
        assert not store.in_progress()
    assert cache.state() == before


def test_exactly_the_expired_go_and_the_bytes_are_counted(cache: Cache) -> None:
    fill(cache)
    with opened(cache) as store:
        result = apply(store, plan(store))
        assert outcomes(result) == [Outcome.DONE] * 2
        assert result.freed_bytes == result.plan.planned_bytes == 800
        assert result.removed_by_reason == {Reason.EXPIRED: 2}
        assert list(result.problems) == []
        assert len(plan(store).actions) == 0
    assert cache.entries() == {"young", "edge"}
    assert cache.audio() == {"young": 500, "edge": 400}
    assert all(name in str(cache.state()) for name in ("notes.yaml", "state.db"))


def test_an_empty_cache_is_no_trouble(cache: Cache) -> None:
    with opened(cache) as store:
        result = apply(store, plan(store, min_free=10**18))
        assert outcomes(result) == []


def test_what_was_made_anew_since_the_look_stays(cache: Cache) -> None:
    """The fresh audio and its entry survive, and are said to be skipped; the others go."""
    fill(cache)
    with opened(cache) as store:
        planned = plan(store)
        cache.renew("old")
        result = apply(store, planned)
        assert sorted(outcomes(result)) == [Outcome.DONE, Outcome.SKIPPED]
    assert cache.entries() == {"old", "young", "edge"}
    assert cache.audio() == {"old": 1_234, "young": 500, "edge": 400}


def test_audio_that_somebody_else_removed_is_no_fault(cache: Cache) -> None:
    fill(cache)
    with opened(cache) as store:
        planned = plan(store)
        cache.lose("old")
        result = apply(store, planned)
        assert outcomes(result) == [Outcome.DONE] * 2
        assert result.freed_bytes == 500
        assert list(result.problems) == []
    assert cache.entries() == {"young", "edge"}


def test_the_least_recently_used_are_evicted(cache: Cache) -> None:
    for number in range(10):
        cache.put(f"k{number}", 6, unused=6 - number / 2, size=1_000)
    with opened(cache) as store:
        result = apply(store, plan(store, evict_above=9_999, evict_to=7_000))
        assert result.removed_by_reason == {Reason.EVICTED: 3}
    assert cache.entries() == set(cache.audio()) == {f"k{number}" for number in range(3, 10)}


def test_free_space_is_known_or_said_to_be_unknown(cache: Cache) -> None:
    with opened(cache) as store, store.survey() as survey:
        free = survey.free_bytes()
        assert free is None or free > 0


def test_one_run_at_a_time_and_others_can_tell(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "RUN_LOCK_WAIT", 0.1)
    fill(cache)
    with opened(cache) as store, opened(cache) as other:
        if not store.has_lock:
            with store.locked(), other.locked():  # test_s3.py has what two runs at once do there
                assert not other.in_progress()
            return
        with store.locked():
            assert other.in_progress()
            with pytest.raises(BusyError), other.locked():
                pass
        assert not other.in_progress()
        with other.locked():
            assert store.in_progress()


def test_there_is_nothing_to_put_back_after_a_run_that_ended(cache: Cache) -> None:
    fill(cache)
    with opened(cache) as store:
        apply(store, plan(store))
        after = cache.state()
        assert store.recover() == 0
    assert cache.state() == after


def test_many_go_in_one_batch_and_the_rest_stays_in_order(cache: Cache) -> None:
    for number in range(60):
        cache.put(f"n{number}", 20 if number % 3 else 2, size=10 + number)
    with opened(cache) as store:
        result = apply(store, plan(store))
        assert outcomes(result) == [Outcome.DONE] * 40
    left = {f"n{number}": 10 + number for number in range(0, 60, 3)}
    assert cache.audio() == left
    assert cache.entries() == set(left)
