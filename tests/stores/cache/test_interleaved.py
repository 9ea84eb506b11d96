"""The service writes its index between any two calls of a commit to the operating system."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from narration_cleanup.stores.cache.local import index_commit, index_file
from tests.stores.cache.interleaving import Service, Step, commit

STATUS_OF = index_file.status_of


@pytest.fixture(params=["fine", "coarse"])
def coarse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether times have a grain of 2 s, the change time too."""
    is_coarse: bool = request.param == "coarse"
    if is_coarse:
        monkeypatch.setattr(
            index_file,
            "status_of",
            lambda status: (*STATUS_OF(status)[:2], status.st_mtime_ns // 2_000_000_000, 0),
        )
    return is_coarse


@pytest.fixture(autouse=True)
def in_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index is read in passes, and nothing is waited for. The proofs have one held whole."""
    monkeypatch.setattr(index_commit, "SETTLE", 0.0)
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(index_file, "HELD_WHOLE", 10)


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Path]:
    return (tmp_path / str(number) / "cache" / "narration" for number in itertools.count())


@pytest.mark.parametrize("step", [Service.use, Service.make_anew])
def test_a_save_between_any_two_calls(folders: Iterator[Path], coarse: bool, step: Step) -> None:
    for call in range(commit(next(folders), {}, coarse=coarse)):
        commit(next(folders), {call: [step]}, coarse=coarse)


def test_two_saves_around_any_call(folders: Iterator[Path], coarse: bool) -> None:
    """The first may be in the replaced index and the second in the new one, which is then newer."""
    for call in range(commit(next(folders), {}, coarse=coarse)):
        for later in (1, 2):
            steps = {call: [Service.use], call + later: [Service.use]}
            commit(next(folders), steps, coarse=coarse)


def test_a_save_that_begins_before_any_call_and_ends_later(
    folders: Iterator[Path], coarse: bool
) -> None:
    for call in range(commit(next(folders), {}, coarse=coarse)):
        for later in (1, 5, 20):
            steps = {call: [Service.use_slowly], call + later: [Service.finish]}
            commit(next(folders), steps, coarse=coarse)


@pytest.mark.parametrize("held_whole", [False, True])
def test_saves_that_follow_each_other_at_once(
    folders: Iterator[Path], coarse: bool, held_whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while what a late writer wrote is being brought in."""
    if held_whole:
        monkeypatch.setattr(index_file, "HELD_WHOLE", 1 << 20)
    for call in range(commit(next(folders), {}, coarse=coarse)):
        for apart in (3, 7):
            steps = {call + apart * number: [Service.use] for number in range(5)}
            commit(next(folders), steps, coarse=coarse)
