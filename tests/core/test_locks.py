"""The run lock where the file system does not do what is asked of it."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from narration_cleanup.core.errors import BusyError, ConfigError
from narration_cleanup.core.model import Problems
from narration_cleanup.core.zones import IndexTimes
from narration_cleanup.run.stores import Targets
from narration_cleanup.stores.cache.local.directory import OWN_FOLDER
from narration_cleanup.stores.cache.local.indexed import IndexedDirectory
from narration_cleanup.stores.cache.local.own_folder import StagingDir
from narration_cleanup.stores.requests.mapping import RequestMapping
from narration_cleanup.stores.requests.sqlite.table import SqliteRequests
from tests.opened import open_sample
from tests.samples import EntrySpec, make_cache


def open_cache(folder: Path) -> IndexedDirectory:
    sample = make_cache(folder, entries=[EntrySpec(age=timedelta(days=1))])
    return open_sample(sample)


def open_again(folder: Path) -> IndexedDirectory:
    return IndexedDirectory(
        folder,
        index_name="cache_index.json",
        audio_suffixes=(".mp3",),
        times=IndexTimes("local"),
    )


@pytest.fixture
def no_locks_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network file system that was mounted without locks."""
    flock = fcntl.flock

    def elsewhere(fd: int, operation: int) -> None:
        if OWN_FOLDER in os.readlink(f"/proc/self/fd/{fd}"):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", elsewhere)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("narration_cleanup.core.locks.RUN_LOCK_WAIT", 0.0)


def test_a_fault_of_the_work_is_not_put_down_to_the_lock(tmp_path: Path) -> None:
    cache = open_cache(tmp_path / "cache")
    with pytest.raises(OSError, match="the work") as raised, cache.locked():
        raise OSError(errno.EINVAL, "the work")
    cache.close()
    assert raised.value.errno == errno.EINVAL


@pytest.mark.usefixtures("no_locks_in_the_cache")
@pytest.mark.usefixtures("no_waiting")
def test_a_lock_in_the_state_directory_serves_instead(tmp_path: Path) -> None:
    cache = open_cache(tmp_path / "cache")
    targets = Targets(cache, None)
    with (
        targets.locked(tmp_path / "state", Problems()),
        pytest.raises(BusyError),
        targets.locked(tmp_path / "state", Problems()),
    ):
        pass
    cache.close()


@pytest.mark.usefixtures("no_locks_in_the_cache")
def test_a_cache_without_any_lock_is_refused(tmp_path: Path) -> None:
    """Two runs that write a new index at once could put a torn one in place."""
    cache = open_cache(tmp_path / "cache")
    (tmp_path / "state").write_text("no folder")
    with (
        pytest.raises(ConfigError, match=r"cleanup\.state_dir"),
        Targets(cache, None).locked(tmp_path / "state", Problems()),
    ):
        pass
    cache.close()


def test_requests_alone_need_no_lock(tmp_path: Path) -> None:
    """Every row is guarded by what it was planned on."""
    (tmp_path / "state").write_text("no folder")
    requests = SqliteRequests(tmp_path / "requests.db", RequestMapping())
    with Targets(None, requests).locked(tmp_path / "state", Problems()):
        pass


@pytest.mark.usefixtures("no_waiting")
def test_who_holds_the_lock_and_since_when_is_reported(tmp_path: Path) -> None:
    cache = open_cache(tmp_path / "cache")
    other = Targets(open_again(tmp_path / "cache"), None)
    with Targets(cache, None).locked(tmp_path / "state", Problems()):
        assert other.cache is not None
        assert other.cache.in_progress()
        since = r"[\w.-]+, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
        with (
            pytest.raises(BusyError, match=rf"another run \(pid {os.getpid()}, {since}\)"),
            other.locked(tmp_path / "state", Problems()),
        ):
            pass
    assert not cache.in_progress()
    with other.locked(tmp_path / "state", Problems()):
        assert cache.in_progress()
    assert list((tmp_path / "cache" / OWN_FOLDER).iterdir()) == []


@pytest.mark.usefixtures("no_waiting")
def test_who_can_only_read_the_cache_cannot_hold_up_a_run(tmp_path: Path) -> None:
    cache = open_cache(tmp_path / "cache")
    reader = os.open(tmp_path / "cache", os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(reader, fcntl.LOCK_EX)
    with cache.locked():
        folder = (tmp_path / "cache" / OWN_FOLDER).stat()
        assert stat.S_IMODE(folder.st_mode) == 0o700
    os.close(reader)
    cache.close()


@pytest.mark.usefixtures("no_waiting")
def test_a_run_that_had_to_lock_elsewhere_is_heard_of_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first found a full disk and locked in the state; then it made room."""
    first = open_cache(tmp_path / "cache")
    later = Targets(open_again(tmp_path / "cache"), None)
    with monkeypatch.context() as full:
        full.setattr(StagingDir, "private", _no_space)
        holding = Targets(first, None).locked(tmp_path / "state", Problems())
        holding.__enter__()
    with pytest.raises(BusyError), later.locked(tmp_path / "state", Problems()):
        pass
    holding.__exit__(None, None, None)
    with later.locked(tmp_path / "state", Problems()):
        pass


def _no_space(self: StagingDir) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
