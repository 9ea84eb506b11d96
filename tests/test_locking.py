"""The run lock where the file system does not do what is asked of it."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from narration_cleanup.cache.directory import Directory
from narration_cleanup.cache.indexed import IndexedDirectory
from narration_cleanup.errors import BusyError, ConfigError
from narration_cleanup.opening import Halves
from narration_cleanup.requests.mapping import RequestMapping
from narration_cleanup.requests.sqlite import SqliteRequests
from tests.opened import open_sample
from tests.samples import EntrySpec, make_cache


def open_cache(folder: Path) -> IndexedDirectory:
    sample = make_cache(folder, entries=[EntrySpec(age=timedelta(days=1))])
    return open_sample(sample)


@pytest.fixture
def no_directory_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on NFS, where only a file that is open for writing can be locked."""
    flock = fcntl.flock

    def files_only(fd: int, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", files_only)


def test_a_fault_of_the_work_is_not_put_down_to_the_lock(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    with pytest.raises(OSError, match="the work") as raised, directory.locked():
        raise OSError(errno.EINVAL, "the work")
    directory.close()
    assert raised.value.errno == errno.EINVAL


@pytest.mark.usefixtures("no_directory_locks")
def test_a_lock_in_the_state_directory_serves_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("narration_cleanup.locking.RUN_LOCK_WAIT", 0.0)
    cache = open_cache(tmp_path / "cache")
    halves = Halves(cache, None)
    with (
        halves.locked(tmp_path / "state"),
        pytest.raises(BusyError),
        halves.locked(tmp_path / "state"),
    ):
        pass
    cache.close()


@pytest.mark.usefixtures("no_directory_locks")
def test_a_cache_without_any_lock_is_refused(tmp_path: Path) -> None:
    """Two runs that write a new index at once could put a torn one in place."""
    cache = open_cache(tmp_path / "cache")
    (tmp_path / "state").write_text("no folder")
    with (
        pytest.raises(ConfigError, match=r"cleanup\.state_dir"),
        Halves(cache, None).locked(tmp_path / "state"),
    ):
        pass
    cache.close()


def test_requests_alone_need_no_lock(tmp_path: Path) -> None:
    """Every row is guarded by what it was planned on."""
    (tmp_path / "state").write_text("no folder")
    requests = SqliteRequests(tmp_path / "requests.db", RequestMapping())
    with Halves(None, requests).locked(tmp_path / "state"):
        pass
