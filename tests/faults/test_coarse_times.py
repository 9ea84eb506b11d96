"""A file system whose times have a grain of one second: two versions of an index look the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.file_systems import CannotMountError, mounted
from tests.stores.cache.interleaving import Service, Step, commit

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("as_root")]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    try:
        with mounted("ext4 with 128-byte inodes", tmp_path) as folder:
            yield folder
    except CannotMountError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("step", [Service.use, Service.make_anew])
def test_a_save_within_the_second_of_the_last_one(
    disk: Path, step: Step, tries: Callable[[int, int], int]
) -> None:
    """Each has the inode, size and times of the one before it."""
    (disk / "a").touch()
    assert (disk / "a").stat().st_mtime_ns % 1_000_000_000 == 0
    calls = commit(disk / "unharmed" / "narration", {}, coarse=False)
    for call in range(0, calls, tries(3, 1)):
        commit(disk / str(call) / "narration", {call: [step]}, coarse=False)
        commit(disk / f"{call}+1" / "narration", {call: [step], call + 1: [step]}, coarse=False)
