"""Audio that has just arrived, with an old mtime: by the real clock and the real ctime."""

from __future__ import annotations

import os
import time
from pathlib import Path

from narration_cleanup.core.zones import IndexTimes
from narration_cleanup.plan import CachePolicy, plan_cache
from narration_cleanup.stores.cache.local.indexed import IndexedDirectory
from tests.samples import make_cache


def test_a_copy_with_an_old_mtime_is_an_orphan_after_its_hour(tmp_path: Path) -> None:
    """As `cp -p` and rsync bring it, while the index is yet to come."""
    sample = make_cache(tmp_path / "cache")
    copy = sample.directory / "copy.mp3"
    copy.write_bytes(b"audio")
    now = time.time()
    os.utime(copy, (now - 90 * 86_400,) * 2)
    store = IndexedDirectory(
        sample.directory,
        index_name=sample.index.name,
        audio_suffixes=(".mp3",),
        times=IndexTimes("UTC"),
    )
    for later, goes in ((0, False), (3_500, False), (3_700, True)):
        with store.survey() as survey:
            planned = plan_cache(survey, CachePolicy(orphan_ttl=86_400), now + later)
        assert ("copy.mp3" in {action.file for action in planned.actions}) is goes
    store.close()
