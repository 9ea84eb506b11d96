"""What is left after a run: told without looking at everything again only where it is the same."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from narration_cleanup.apply.apply import apply_cache
from narration_cleanup.core.model import DAY, NoProgress
from narration_cleanup.core.signals import Stop
from narration_cleanup.plan import CachePlan, CachePolicy, plan_after, plan_cache
from narration_cleanup.stores.cache import CacheStore
from narration_cleanup.stores.cache.local import scan
from narration_cleanup.stores.cache.local.unindexed import AudioTree
from tests.opened import open_sample
from tests.run_at import arrival_before
from tests.samples import SAMPLE_NOW, CacheSample, EntrySpec, make_cache, read_index, write_index

NOW = SAMPLE_NOW.timestamp()


@pytest.fixture
def sample(tmp_path: Path) -> CacheSample:
    entries = [EntrySpec(age=timedelta(days=days), size=100 + days) for days in range(14)]
    return make_cache(tmp_path / "cache" / "narration", entries=entries)


@pytest.fixture(params=["index", "none"])
def store(request: pytest.FixtureRequest, sample: CacheSample) -> Iterator[CacheStore]:
    opened: CacheStore
    if request.param == "index":
        opened = open_sample(sample)
    else:
        opened = AudioTree(sample.directory, audio_suffixes=(".mp3",))
    yield opened
    opened.close()


def look(store: CacheStore, policy: CachePolicy) -> CachePlan:
    with store.survey() as survey:
        return plan_cache(survey, policy, NOW)


def clean(store: CacheStore, policy: CachePolicy) -> CachePlan:
    plan = look(store, policy)
    result = apply_cache(plan, store, Stop(), NoProgress())
    assert result.removed_count == len(plan.actions) > 0
    return plan


def test_left_is_what_a_second_look_finds(
    sample: CacheSample, store: CacheStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with entries without a file (expired and not), orphans (old and not), empty audio."""
    monkeypatch.setattr(scan, "stored_file", arrival_before(NOW))
    (sample.directory / sample.entries[0].name).unlink()
    (sample.directory / sample.entries[12].name).unlink()
    if store.has_index:
        empty = sample.directory / sample.entries[2].name
        empty.write_bytes(b"")
        os.utime(empty, (NOW - 3 * 3600,) * 2)
        for number, age in enumerate((40, 1)):
            orphan = sample.directory / f"{number:064x}.mp3"
            orphan.write_bytes(b"12345")
            os.utime(orphan, (NOW - age * DAY,) * 2)
    policy = CachePolicy(orphan_ttl=30 * DAY, remove_empty=store.has_index)
    plan = clean(store, policy)

    left, second = plan_after(plan), look(store, policy)
    assert left is not None
    assert left.totals == second.totals
    assert list(left.actions) == list(second.actions) == []
    assert [problem.code for problem in left.problems] == [each.code for each in second.problems]
    assert store.unchanged_since([action.file for action in plan.actions])
    if store.has_index:
        assert {reason.value for reason in plan.by_reason} == {"expired", "empty", "orphan"}
        assert (left.totals.dangling_count, left.totals.orphan_count) == (1, 1)


def test_evictions_ask_for_a_second_look(store: CacheStore) -> None:
    assert plan_after(clean(store, CachePolicy(evict_above=300, evict_to=200))) is None


def test_dropped_entries_ask_for_a_second_look(sample: CacheSample) -> None:
    (sample.directory / sample.entries[0].name).unlink()
    store = open_sample(sample)
    assert plan_after(clean(store, CachePolicy(remove_dangling=True))) is None
    store.close()


def test_a_file_that_is_there_again_is_not_settled(sample: CacheSample, store: CacheStore) -> None:
    files = [action.file for action in clean(store, CachePolicy()).actions]
    (sample.directory / files[-1]).write_bytes(b"made anew")
    assert not store.unchanged_since(files)


def test_an_index_that_the_service_rewrote_is_not_settled(
    sample: CacheSample, store: CacheStore
) -> None:
    before = read_index(sample.index)
    files = [action.file for action in clean(store, CachePolicy()).actions]
    write_index(sample.index, before)
    assert store.unchanged_since(files) is not store.has_index


def test_audio_that_the_service_added_meanwhile_waits_for_the_next_look(
    sample: CacheSample, store: CacheStore
) -> None:
    """As docs/how-removal-works.md says: what is removed is looked for again, and no more."""
    files = [action.file for action in clean(store, CachePolicy()).actions]
    before = look(store, CachePolicy()).totals
    (sample.directory / f"added-{Path(files[0]).name}").write_bytes(b"not in the index yet")
    assert store.unchanged_since(files)
    after = look(store, CachePolicy()).totals
    assert after.orphan_count + after.entry_count == before.orphan_count + before.entry_count + 1
