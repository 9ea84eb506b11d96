"""Many files at once: a second process removes one half of them, and writes the new index."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from narration_cleanup import beside
from narration_cleanup.apply import apply_cache
from narration_cleanup.cache import replace, staging
from narration_cleanup.cache.directory import OWN_FOLDER, Directory
from narration_cleanup.cache.folders import Folders
from narration_cleanup.cache.indexed import IndexedDirectory
from narration_cleanup.cache.own_folder import OwnFolder
from narration_cleanup.cache.replace import Replacement
from narration_cleanup.cache.staging import Staging
from narration_cleanup.plan import CachePlan, CachePolicy, plan_cache
from narration_cleanup.progress import NoProgress
from narration_cleanup.result import CacheResult
from narration_cleanup.stopping import Stop
from tests.opened import open_sample
from tests.samples import SAMPLE_NOW, CacheSample, EntrySpec, make_cache, read_index

EXPIRED = 40


@pytest.fixture
def sample(tmp_path: Path) -> CacheSample:
    days = [*[20] * EXPIRED, 1, 1]
    entries = [EntrySpec(age=timedelta(days=each), size=100) for each in days]
    return make_cache(tmp_path / "cache" / "narration", entries=entries)


@pytest.fixture(params=["a second process", "no second process", "it is killed"])
def store(
    request: pytest.FixtureRequest, sample: CacheSample, monkeypatch: pytest.MonkeyPatch
) -> Iterator[IndexedDirectory]:
    """A store to which a few are many."""
    monkeypatch.setattr(staging, "AT_A_TIME", 4)
    monkeypatch.setattr(replace, "MANY", 4)
    monkeypatch.setattr(beside, "_other_threads", lambda: False)
    if request.param == "no second process":
        monkeypatch.setattr(os, "fork", no_process)
    if request.param == "it is killed":
        kill_in_the_middle(monkeypatch)
    opened = open_sample(sample)
    yield opened
    opened.close()


def no_process() -> int:
    """As it is where the user, or the unit, has as many as it may have."""
    raise BlockingIOError(11, "Resource temporarily unavailable")


def kill_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a second process end once it has staged its second group, and before it writes."""
    here = os.getpid()
    stage, write = Staging._stage, Replacement._write

    def dying_stage(staging: Staging, *those: Any) -> object:
        done = stage(staging, *those)
        calls.append(os.getpid())
        if os.getpid() != here and calls.count(os.getpid()) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    def dying_write(replacement: Replacement, *those: Any) -> None:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        write(replacement, *those)

    calls: list[int] = []
    monkeypatch.setattr(Staging, "_stage", dying_stage)
    monkeypatch.setattr(Replacement, "_write", dying_write)


def plan(store: IndexedDirectory) -> CachePlan:
    with store.survey() as survey:
        return plan_cache(survey, CachePolicy(), SAMPLE_NOW.timestamp())


def apply(store: IndexedDirectory, planned: CachePlan) -> CacheResult:
    return apply_cache(planned, store, Stop(), NoProgress())


def test_each_gets_its_own_answer(
    sample: CacheSample, store: IndexedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is odd, gone or being written to among them changes nothing for the others."""
    odd, gone, written = (sample.entries[number] for number in (5, 14, 23))
    (sample.directory / odd.name).unlink()
    (sample.directory / odd.name).mkdir()
    (sample.directory / gone.name).unlink()
    take = OwnFolder.take

    def write_after(own: OwnFolder, name: str, folders: Folders) -> str:
        waiting_as = take(own, name, folders)
        if name == written.name:
            waiting = os.open(waiting_as, os.O_WRONLY | os.O_TRUNC, dir_fd=own.descriptor())
            os.write(waiting, b"more")
            os.close(waiting)
        return waiting_as

    planned = plan(store)
    monkeypatch.setattr(OwnFolder, "take", write_after)
    result = apply(store, planned)
    expected = {entry.key: "done" for entry in sample.entries[:EXPIRED]}
    expected |= {odd.key: "skipped", written.key: "skipped"}
    assert [outcome.value for _, outcome, _ in result.outcomes] == list(expected.values())
    stay = [odd, written, *sample.entries[EXPIRED:]]
    assert list(read_index(sample.index)) == [entry.key for entry in stay]
    assert {path.name for path in sample.directory.glob("*.mp3")} == {each.name for each in stay}
    assert (sample.directory / written.name).read_bytes() == b"more"
    assert os.listdir(sample.directory / OWN_FOLDER) == []
    assert result.freed_bytes == 100 * (EXPIRED - 3)


@pytest.mark.parametrize("back", [[7], [0, 7, 8, EXPIRED - 1], list(range(EXPIRED))])
def test_an_entry_whose_file_is_there_again_stays(
    sample: CacheSample, store: IndexedDirectory, back: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the new index was written without it by then."""
    remove = IndexedDirectory.remove

    def then_back(store: IndexedDirectory, files: list[object]) -> object:
        removals = remove(store, files)  # type: ignore[arg-type]
        for number in back:
            (sample.directory / sample.entries[number].name).write_bytes(b"new")
        return removals

    planned = plan(store)
    monkeypatch.setattr(IndexedDirectory, "remove", then_back)
    result = apply(store, planned)
    stay = [*(sample.entries[number] for number in back), *sample.entries[EXPIRED:]]
    assert list(read_index(sample.index)) == [entry.key for entry in stay]
    assert result.removed_count == EXPIRED - len(back)
    assert os.listdir(sample.directory / OWN_FOLDER) == []


def test_where_it_cannot_be_seen_what_is_gone_the_index_stays(
    sample: CacheSample, store: IndexedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, before = plan(store), sample.index.read_bytes()
    status = Directory.status

    def failing(directory: Directory, name: str) -> os.stat_result | None:
        if name == sample.entries[9].name:
            raise OSError(5, "Input/output error", name)
        return status(directory, name)

    monkeypatch.setattr(Directory, "status", failing)
    result = apply(store, planned)
    assert sample.index.read_bytes() == before
    assert [problem.code for problem in result.problems] == ["index_not_replaced"]
    assert os.listdir(sample.directory / OWN_FOLDER) == []
