"""Stores that a test opened: closed when it ends (tests/conftest.py)."""

from __future__ import annotations

from narration_cleanup.requests import RequestStore

_opened: list[RequestStore] = []


def closed_later(store: RequestStore) -> RequestStore:
    """``store``, to be closed at the end of the test."""
    _opened.append(store)
    return store


def close_all() -> None:
    """Close what has been opened."""
    while _opened:
        _opened.pop().close()
