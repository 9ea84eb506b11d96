"""Files whose mtime means "not set", or lies in the future."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from narration_cleanup.core.model import DAY, HOUR
from narration_cleanup.plan import CachePlan, CachePolicy, plan_cache
from narration_cleanup.stores.cache.local.unindexed import AudioTree
from tests.opened import open_sample
from tests.samples import make_cache

POLICY = CachePolicy(ttl=7 * DAY, orphan_ttl=7 * DAY, partial_ttl=HOUR)
NAMES = ("a.mp3", "b.mp3", "c.part")


def reported(plan: CachePlan, code: str) -> list[str | None]:
    return [problem.subject for problem in plan.problems if problem.code == code]


def put(folder: Path, mtime: float) -> None:
    for name in NAMES:
        (folder / name).write_bytes(b"audio")
        os.utime(folder / name, (mtime, mtime))


@pytest.mark.parametrize("mtime", [0.0, -5.0, 86_400.0, 946_684_799.0])
@pytest.mark.parametrize("age", [0.0, 8 * DAY])
def test_the_ctime_counts_where_there_is_no_mtime(tmp_path: Path, mtime: float, age: float) -> None:
    """In a cache without an index and in one with, once it is old enough by its ctime."""
    tree = tmp_path / "tree"
    tree.mkdir()
    sample = make_cache(tmp_path / "indexed", entries=[])
    for folder in (tree, sample.directory):
        put(folder, mtime)
    now = time.time() + age
    plans = []
    store = AudioTree(tree, audio_suffixes=(".mp3",))
    with store.survey() as survey:
        plans.append(plan_cache(survey, POLICY, now))
    store.close()
    indexed = open_sample(sample)
    with indexed.survey() as survey:
        plans.append(plan_cache(survey, POLICY, now))
    indexed.close()
    assert [len(plan.actions) for plan in plans] == ([2, 3] if age else [0, 0])
    for plan in plans:
        assert len(reported(plan, "no_mtime")) == 1


def test_a_file_of_the_future_is_reported_and_kept(tmp_path: Path) -> None:
    sample = make_cache(tmp_path / "indexed", entries=[])
    now = time.time()
    put(sample.directory, now + DAY)
    store = open_sample(sample)
    with store.survey() as survey:
        plan = plan_cache(survey, POLICY, now)
    store.close()
    assert sorted(map(str, reported(plan, "created_in_future"))) == sorted(NAMES)
    assert not plan.actions
