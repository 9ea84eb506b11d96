"""What a directory with an index holds beside it: told apart by name, and judged by its time."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from narration_cleanup.plan import CachePolicy, plan_cache
from narration_cleanup.plan.actions import (
    Kind,
    Reason,
)
from narration_cleanup.stores.cache.local.scan import is_index_temporary
from tests.opened import open_sample
from tests.samples import INDEX_NAME, SAMPLE_NOW, EntrySpec, make_cache

DAY = 86_400.0
NOW = SAMPLE_NOW.timestamp()
TEMPORARY = (
    "cache_index.json.tmp",
    "cache_index.json.tmp.4711",
    "cache_index.json.tmp-a1b2",
    "cache_index.json.tmp1234",
    "cache_index.json.new",
    "cache_index.json.temp",
    ".cache_index.json.tmp",
    ".cache_index.json.new",
    ".cache_index.json.Xq3_9f",
    ".cache_index.json.k2j4h5g6",
)
PARTIAL = ("a.mp3.part", ".a.mp3.part", ".a.tmp", "a.part", ".part", "cache_index.json.part")
FOREIGN = (
    "cache_index.json",
    "cache_index.json.lock",
    "cache_index.json.bak",
    "cache_index.json.old",
    "cache_index.json.backup",
    "cache_index.json.original",
    "cache_index.json.20261101",
    "cache_index.json~",
    "cache_index.json2",
    ".cache_index.json.swp",
    ".cache_index.json.lock",
    ".cache_index.json.backup",
    ".cache_index.json.20261101",
    ".cache_index.json.previous",
    ".cache_index.json.old_copy",
    ".cache_index.json.before",
    ".cache_index.json.backup01",
    ".cache_index.json.Original",
    ".cache_index.json.20261101_1",
    "my_cache_index.json.tmp.txt",
    "cache_index.tmp.json",
    "notes.txt",
    "partial",
    "tmp",
)


@pytest.mark.parametrize("name", TEMPORARY)
def test_what_a_program_leaves_that_replaces_the_index(name: str) -> None:
    assert is_index_temporary(name, INDEX_NAME)


@pytest.mark.parametrize("name", FOREIGN)
def test_what_somebody_keeps_on_purpose_is_no_temporary(name: str) -> None:
    assert not is_index_temporary(name, INDEX_NAME)


@pytest.mark.parametrize(("hours", "go"), [(25, True), (23, False)])
def test_only_stale_temporaries_and_partials_go(tmp_path: Path, hours: float, *, go: bool) -> None:
    sample = make_cache(tmp_path / "cache", entries=[EntrySpec(timedelta(days=1))])
    for name in (*TEMPORARY, *PARTIAL, *FOREIGN):
        path = sample.directory / name
        if name != INDEX_NAME:
            path.write_bytes(b"x")
            os.utime(path, (NOW, NOW - hours * 3_600 - (90 * DAY if name in FOREIGN else 0)))
    (sample.directory / "folder.part").mkdir()
    (sample.directory / "link.tmp").symlink_to(sample.index)
    (sample.directory / "sub").mkdir()
    (sample.directory / "sub" / "deep.part").write_bytes(b"x")
    for name in ("folder.part", "link.tmp", "sub/deep.part"):
        os.utime(sample.directory / name, (0, 0), follow_symlinks=False)
    store = open_sample(sample)
    with store.survey() as survey:
        plan = plan_cache(survey, CachePolicy(orphan_ttl=7 * DAY, partial_ttl=DAY), NOW)
    store.close()
    assert all(action.kind is Kind.REMOVE_FILE for action in plan.actions)
    assert plan.by_reason == ({Reason.PARTIAL: len(TEMPORARY + PARTIAL)} if go else {})
    assert {action.file for action in plan.actions} == (set(TEMPORARY + PARTIAL) if go else set())
