"""File systems that are unlike a local disk: what is removed there, and by which checks."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from narration_cleanup.apply.apply import apply_cache
from narration_cleanup.apply.result import CacheResult
from narration_cleanup.core.deadline import Stopwatch
from narration_cleanup.core.model import NoProgress
from narration_cleanup.core.signals import Stop
from narration_cleanup.core.zones import IndexTimes
from narration_cleanup.plan import CachePolicy, plan_cache
from narration_cleanup.stores.cache import CacheStore
from narration_cleanup.stores.cache.local import directory as directory_module
from narration_cleanup.stores.cache.local import walk
from narration_cleanup.stores.cache.local.directory import OWN_FOLDER, Directory, Mounts
from narration_cleanup.stores.cache.local.indexed import IndexedDirectory
from narration_cleanup.stores.cache.local.own_folder import MARK, SECOND
from narration_cleanup.stores.cache.local.unindexed import AudioTree
from tests.samples import SAMPLE_NOW, CacheSample, EntrySpec, make_cache, read_index

NOW = SAMPLE_NOW.timestamp()
RENAME = os.rename


@pytest.fixture
def sample(tmp_path: Path) -> CacheSample:
    entries = [EntrySpec(age=timedelta(days=days), size=100 + days) for days in (20, 9, 1)]
    return make_cache(tmp_path / "cache" / "narration", entries=entries)


def run(directory: Path, *, indexed: bool = True) -> CacheResult:
    store: CacheStore
    if indexed:
        store = IndexedDirectory(
            directory,
            index_name="cache_index.json",
            audio_suffixes=(".mp3",),
            times=IndexTimes("UTC"),
        )
    else:
        store = AudioTree(directory, audio_suffixes=(".mp3",))
    try:
        with store.survey() as survey:
            planned = plan_cache(survey, CachePolicy(), NOW, explain=True)
        return apply_cache(planned, store, Stop(), NoProgress())
    finally:
        store.close()


def outcomes(result: CacheResult) -> list[tuple[str, str | None]]:
    return [(outcome.value, note) for _, outcome, note in result.outcomes]


def left(sample: CacheSample) -> list[str]:
    return sorted(path.name for path in sample.directory.glob("*.mp3"))


def assert_cleaned(sample: CacheSample, result: CacheResult) -> None:
    assert outcomes(result) == [("done", None)] * 2
    assert result.freed_bytes == 120 + 109
    assert left(sample) == [sample.entries[2].name]
    assert list(read_index(sample.index)) == [sample.entries[2].key]
    assert os.listdir(sample.directory / OWN_FOLDER) == []


@pytest.fixture
def renumbering(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rename that gives a file another inode number, as rclone's does."""

    def renamed(src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        source, target = f"/proc/self/fd/{src_dir_fd}/{src}", f"/proc/self/fd/{dst_dir_fd}/{dst}"
        shutil.copy2(source, f"{target}.copy")
        RENAME(f"{target}.copy", target)
        os.unlink(source)

    monkeypatch.setattr(os, "rename", renamed)


def on_file_system(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "mounts_of", lambda _: Mounts(file_system=name))


@pytest.mark.parametrize("name", ["fuse.rclone", "fuse", "cifs", "9p"])
@pytest.mark.usefixtures("renumbering")
def test_where_no_inode_number_lasts_size_and_time_say_which_file_it_is(
    sample: CacheSample, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_file_system(name, monkeypatch)
    assert_cleaned(sample, run(sample.directory))


@pytest.mark.usefixtures("renumbering")
def test_a_file_that_is_written_to_there_is_put_back(
    sample: CacheSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_file_system("fuse.rclone", monkeypatch)
    staged = sample.directory / OWN_FOLDER / f"{MARK}{sample.entries[0].name}"
    monkeypatch.setattr("time.sleep", lambda _: staged.exists() and staged.write_bytes(b"fresh"))
    assert outcomes(run(sample.directory)) == [
        ("skipped", "it was being written to"),
        ("done", None),
    ]
    assert (sample.directory / sample.entries[0].name).read_bytes() == b"fresh"


@pytest.mark.usefixtures("renumbering")
def test_another_inode_number_alone_is_no_change_and_is_reported(
    sample: CacheSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_file_system("unheard-of", monkeypatch)
    before = left(sample)
    result = run(sample.directory)
    assert {outcome for outcome, _ in outcomes(result)} == {"skipped"}
    assert left(sample) == before
    problems = list(result.problems)
    assert [problem.severity.value for problem in problems] == ["problem"] * 2
    assert all("another inode number" in problem.message for problem in problems)


def save_into_the_replaced_index(
    sample: CacheSample, pauses: int, monkeypatch: pytest.MonkeyPatch
) -> dict[str, dict[str, str | int]]:
    """Let the service open the index just before it is replaced, and write it so many pauses of the
    run later; what must be in the index then."""
    saved = read_index(sample.index)
    live = sample.entries[2].key
    saved[live]["last_accessed"] = "2026-11-23T12:00:00"
    open_still: list[int] = []
    left = iter(range(pauses))

    def renamed(src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if dst == sample.index.name:
            open_still.append(os.open(sample.index, os.O_WRONLY))
            monkeypatch.setattr(os, "rename", RENAME)
        RENAME(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def sleep(seconds: float) -> None:
        if open_still and next(left, None) == pauses - 1:
            content = json.dumps(saved, indent=2).encode()
            os.ftruncate(open_still[0], 0)
            os.write(open_still[0], content)
            os.close(open_still.pop())

    monkeypatch.setattr(os, "rename", renamed)
    monkeypatch.setattr("time.sleep", sleep)
    return {live: saved[live]}


@pytest.mark.parametrize("name", ["fuseblk", "exfat", "virtiofs", "ext4"])
def test_what_a_service_writes_into_the_replaced_index_is_brought_in(
    sample: CacheSample, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_file_system(name, monkeypatch)
    expected = save_into_the_replaced_index(sample, 1, monkeypatch)
    run(sample.directory)
    assert read_index(sample.index) == expected


@pytest.mark.parametrize(("name", "took"), [("ext4", 0.2), ("btrfs", 0.0), ("fuseblk", 0.0)])
def test_it_is_looked_for_longer_where_opening_or_the_replacement_takes_long(
    sample: CacheSample, name: str, took: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk or the processor is busy, for the service too."""
    on_file_system(name, monkeypatch)
    monkeypatch.setattr(Stopwatch, "seconds", took)
    expected = save_into_the_replaced_index(sample, 4, monkeypatch)
    run(sample.directory)
    assert read_index(sample.index) == expected


@pytest.fixture
def own_folder_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A union of disks, where what is staged would have to go to another disk."""

    def renamed(src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if os.readlink(f"/proc/self/fd/{dst_dir_fd}").endswith(OWN_FOLDER):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        RENAME(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "rename", renamed)


@pytest.mark.usefixtures("own_folder_elsewhere")
def test_what_cannot_be_staged_is_removed_where_it_is(sample: CacheSample) -> None:
    assert_cleaned(sample, run(sample.directory))


@pytest.mark.usefixtures("own_folder_elsewhere")
def test_nothing_is_removed_from_another_mount(
    sample: CacheSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Directory, "is_mount", lambda *_: True)
    before = left(sample)
    result = run(sample.directory)
    assert set(outcomes(result)) == {("skipped", "another file system is mounted there")}
    assert left(sample) == before
    assert {problem.severity.value for problem in result.problems} == {"problem"}


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_folder_that_cannot_be_synced_is_no_fault(
    sample: CacheSample, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(code, os.strerror(code))
        sync(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    result = run(sample.directory)
    assert_cleaned(sample, result)
    assert list(result.problems) == []


@pytest.mark.parametrize(
    "name",
    [
        ".fuse_hidden0000000300000001",
        ".nfs00000000024a01c700000002",
        ".smbdelete00000000001a2b",
        ".DS_Store",
        "Thumbs.db",
        "notes.txt",
        "notes",
        "%notes",
    ],
)
@pytest.mark.parametrize("place", [".", SECOND])
def test_what_no_run_staged_is_neither_put_back_nor_removed(
    sample: CacheSample, name: str, place: str
) -> None:
    """As a removed file that a program has open still, which its file system removes."""
    own = sample.directory / OWN_FOLDER
    (own / place).mkdir(parents=True)
    (own / place / name).write_bytes(b"removed, and open still")
    (own / "staged.mp3").write_bytes(b"staged by a run that was killed")
    store = AudioTree(sample.directory, audio_suffixes=(".mp3",))
    try:
        with store.survey() as survey:
            assert [problem.code for problem in survey.problems] == ["set_aside"]
        assert store.recover() == 1
        with store.survey() as survey:
            assert list(survey.problems) == []
    finally:
        store.close()
    assert (sample.directory / "staged.mp3").exists()
    assert not (sample.directory / name).exists()
    assert [path for path in own.rglob("*") if path.is_file()] == [own / place / name]


def _a_link(place: Path) -> None:
    place.symlink_to("cache_index.json")


@pytest.mark.parametrize("make_other", [Path.mkdir, os.mkfifo, _a_link])
@pytest.mark.parametrize("name", ["other.mp3", f"{MARK}other.mp3"])
@pytest.mark.parametrize("place", [".", SECOND])
def test_what_is_no_file_is_not_put_back_whatever_its_name(
    sample: CacheSample, name: str, place: str, make_other: Callable[[Path], None]
) -> None:
    own = sample.directory / OWN_FOLDER
    (own / place).mkdir(parents=True)
    make_other(own / place / name)
    (own / place / f"{MARK}staged.mp3").write_bytes(b"staged by a run that was killed")
    store = AudioTree(sample.directory, audio_suffixes=(".mp3",))
    try:
        assert store.recover() == 1
        with store.survey() as survey:
            assert list(survey.problems) == []
    finally:
        store.close()
    assert (sample.directory / "staged.mp3").exists()
    assert not os.path.lexists(sample.directory / "other.mp3")
    assert os.listdir(own / place) == [name]


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Path]:
    """A folder whose files come from another file system than what is written goes to."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for mounts")
    lower, disk, merged = (tmp_path / name for name in ("lower", "disk", "merged"))
    for folder in (lower, disk, merged):
        folder.mkdir()
    entries = [EntrySpec(age=timedelta(days=days), size=100 + days) for days in (20, 9, 1)]
    make_cache(lower / "cache/narration", entries=entries)
    subprocess.run(["mount", "-t", "tmpfs", "none", disk], check=True)
    try:
        for name in ("upper", "work"):
            (disk / name).mkdir()
        options = f"lowerdir={lower},upperdir={disk}/upper,workdir={disk}/work"
        mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(merged)]
        if subprocess.run(mount, check=False).returncode:
            pytest.skip("no overlay can be mounted here")
        try:
            yield merged / "cache/narration"
        finally:
            subprocess.run(["umount", merged], check=True)
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.faults
@pytest.mark.parametrize("indexed", [True, False])
def test_files_of_another_layer_of_an_overlay_go(overlay: Path, indexed: bool) -> None:
    expired = sorted(overlay.glob("*.mp3"), key=lambda path: path.stat().st_mtime)[:2]
    result = run(overlay, indexed=indexed)
    assert outcomes(result) == [("done", None)] * 2
    assert [path.exists() for path in expired] == [False, False]
    assert len(list(overlay.glob("*.mp3"))) == 1


@pytest.mark.faults
def test_a_file_mounted_into_the_cache_stays_and_is_reported(sample: CacheSample) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, for mounts")
    mounted = sample.directory / sample.entries[0].name
    other = sample.directory.parent / "other"
    other.write_bytes(b"x")
    os.utime(other, (0, 1e9))
    subprocess.run(["mount", "--bind", other, mounted], check=True)
    try:
        result = run(sample.directory)
    finally:
        subprocess.run(["umount", mounted], check=True)
    assert outcomes(result)[0] == ("skipped", "another file system is mounted there")
    assert other.read_bytes() == b"x"


@pytest.mark.parametrize(("place", "severity"), [("lost+found", "warning"), ("a/b", "problem")])
def test_a_folder_of_roots_at_the_top_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, severity: str
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, for folders of root's")
    (tmp_path / place).mkdir(parents=True)
    opened = directory_module.open_folder

    def denied(name: str, above: int) -> int:
        if name == place.rpartition("/")[2]:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(name, above)

    monkeypatch.setattr(walk, "open_folder", denied)
    (problem,) = run(tmp_path, indexed=False).plan.problems
    assert (problem.code, problem.subject) == ("unreadable_folder", place)
    assert problem.severity.value == severity
