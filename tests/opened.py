"""Stores that tests open; what `closed_later` is given is closed at the end (tests/conftest.py)."""

from __future__ import annotations

from narration_cleanup.core.zones import IndexTimes
from narration_cleanup.stores.cache.local.indexed import IndexedDirectory
from narration_cleanup.stores.requests.store import RequestStore
from tests.samples import CacheSample

_opened: list[RequestStore] = []


def closed_later(store: RequestStore) -> RequestStore:
    """``store``, to be closed at the end of the test."""
    _opened.append(store)
    return store


def close_all() -> None:
    """Close what has been opened."""
    while _opened:
        _opened.pop().close()


def open_sample(sample: CacheSample) -> IndexedDirectory:
    """The store of a sample's cache, with times in UTC; the caller closes it."""
    return IndexedDirectory(
        sample.directory,
        index_name=sample.index.name,
        audio_suffixes=(".mp3",),
        times=IndexTimes("UTC"),
    )
