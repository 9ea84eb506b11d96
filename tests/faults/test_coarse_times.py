"""A file system whose times have a grain of one second: two versions of an index look the same."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stores.cache.interleaving import Service, Step, commit

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("as_root")]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """ext4 with inodes of 128 bytes, which have no room for parts of a second."""
    if not shutil.which("mkfs.ext4"):
        pytest.skip("needs mkfs.ext4")
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    image.touch()
    os.truncate(image, 64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-I", "128", image], check=True, capture_output=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount it: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


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
