"""More files at once than are staged together."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from narration_cleanup.apply.apply import apply_cache
from narration_cleanup.apply.result import CacheResult, Result, RunOutcome
from narration_cleanup.core.model import DAY, NoProgress, Target
from narration_cleanup.core.signals import Stop
from narration_cleanup.plan import CachePlan, CachePolicy, plan_cache
from narration_cleanup.run import run as job
from narration_cleanup.run.stores import attempt
from narration_cleanup.stores.cache.local import staging
from narration_cleanup.stores.cache.local.directory import OWN_FOLDER, Directory
from narration_cleanup.stores.cache.local.indexed import IndexedDirectory
from narration_cleanup.stores.cache.local.own_folder import SECOND, Folders, StagingDir
from tests.opened import open_sample
from tests.run.test_run import Silent
from tests.samples import SAMPLE_NOW, CacheSample, EntrySpec, make_cache, read_index

EXPIRED = 40
STEP = 3
"""Killed at one of so many calls."""


@pytest.fixture
def sample(tmp_path: Path) -> CacheSample:
    return make_sample_of_many(tmp_path)


def make_sample_of_many(folder: Path) -> CacheSample:
    days = [*[20] * EXPIRED, 1, 1]
    entries = [EntrySpec(age=timedelta(days=each), size=100) for each in days]
    return make_cache(folder / "cache" / "narration", entries=entries)


@pytest.fixture
def store(sample: CacheSample, monkeypatch: pytest.MonkeyPatch) -> Iterator[IndexedDirectory]:
    monkeypatch.setattr(staging, "AT_A_TIME", 4)
    opened = open_sample(sample)
    yield opened
    opened.close()


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
    take = StagingDir.take

    def write_after(own: StagingDir, name: str, folders: Folders) -> str:
        waiting_as = take(own, name, folders)
        if name == written.name:
            waiting = os.open(waiting_as, os.O_WRONLY | os.O_TRUNC, dir_fd=own.descriptor())
            os.write(waiting, b"more")
            os.close(waiting)
        return waiting_as

    planned = plan(store)
    monkeypatch.setattr(StagingDir, "take", write_after)
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


def test_an_entry_without_a_file_whose_file_is_back_by_then_stays(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    audio = {entry.name: (sample.directory / entry.name) for entry in sample.entries[:10]}
    for path in audio.values():
        path.unlink()
    with store.survey() as survey:
        planned = plan_cache(
            survey, CachePolicy(ttl=30 * DAY, remove_dangling=True), SAMPLE_NOW.timestamp()
        )
    assert {action.reason.value for action in planned.actions} == {"dangling"}
    for path in audio.values():
        path.write_bytes(b"back")
    before = sample.index.read_bytes()
    apply(store, planned)
    assert sample.index.read_bytes() == before
    assert not (sample.directory / OWN_FOLDER / "index.new").exists()


def test_audio_that_cannot_be_put_back_keeps_its_entry(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    """It was set aside where nobody can look now; what can be put back is."""
    own = sample.directory / OWN_FOLDER
    own.mkdir()
    (own / SECOND).write_bytes(b"in the way of a folder")
    waiting = sample.directory / sample.entries[-1].name
    waiting.rename(own / waiting.name)
    before = sample.index.read_bytes()
    result = Result(SAMPLE_NOW.timestamp(), dry_run=False, cache_configured=True)
    work = job.Work(result, Stop(), NoProgress(), Silent())
    done = attempt(
        lambda: job.clean_cache(store, CachePolicy(), work), Target.CACHE, result.problems
    )
    assert done is None
    assert [problem.code for problem in result.problems] == ["own_folder"]
    assert "run as its owner" in next(iter(result.problems)).message
    assert result.outcome is RunOutcome.FAILED
    assert waiting.exists()
    assert sample.index.read_bytes() == before


@pytest.mark.parametrize("back", [[7], [0, 7, 8, EXPIRED - 1], list(range(EXPIRED))])
def test_an_entry_whose_file_is_there_again_stays(
    sample: CacheSample, store: IndexedDirectory, back: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_what_an_older_version_staged_in_a_second_folder_is_put_back(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    second = sample.directory / OWN_FOLDER / SECOND
    second.mkdir(parents=True)
    waiting = sample.directory / sample.entries[-1].name
    waiting.rename(second / waiting.name)
    assert store.recover() == 1
    assert waiting.exists()
    assert os.listdir(sample.directory / OWN_FOLDER) == []


@pytest.mark.filterwarnings("ignore:.*fork")
def test_killed_at_any_call_nothing_that_lives_is_lost_and_the_next_run_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "AT_A_TIME", 4)
    for number in range(1, 1_000, STEP):
        sample = make_sample_of_many(tmp_path / str(number))
        if not killed(sample, number):
            break
        live = [entry.name for entry in sample.entries[EXPIRED:]]
        assert all((sample.directory / name).exists() for name in live), number
        with closing(open_sample(sample)) as store:
            store.recover()
            apply(store, plan(store))
            again = plan(store)
        assert len(again.actions) == 0, number
        assert {path.name for path in sample.directory.glob("*.mp3")} == set(live), number
        assert list(read_index(sample.index)) == [entry.key for entry in sample.entries[EXPIRED:]]
        assert os.listdir(sample.directory / OWN_FOLDER) == [], number
    else:
        pytest.fail("the run never came to its end")
    assert number > 2 * EXPIRED  # each file is renamed and unlinked


def killed(sample: CacheSample, number: int) -> bool:
    """Run in a process of its own; whether it came to its so many-th change, and died there."""
    runner = os.fork()
    if not runner:
        try:
            kill_at(number)
            store = open_sample(sample)
            apply(store, plan(store))
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(runner, 0)[1])


def kill_at(number: int) -> None:
    """Let this process kill itself at its so many-th change of the file system."""
    count = 0
    for name in ("rename", "unlink", "rmdir", "mkdir", "write"):
        real = getattr(os, name)

        def change(*those: Any, real: Any = real, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*those, **more)

        setattr(os, name, change)
