"""A full disk, a disk without inodes, a read-only one: the cache is cleaned where it can be."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.server import Run, ToolServer
from tests.faults.trial import arguments_for, environment_for
from tests.faults.truth import Truth, make_truth
from tests.samples import tree_digest

pytestmark = pytest.mark.usefixtures("as_root")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def _remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)


def _fill(disk: Path) -> Path:
    """Take all the room that is left; the file that takes it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    free = os.statvfs(disk).f_bavail
    assert free == 0
    return ballast


def _run(server: ToolServer, truth: Truth, elsewhere: Path) -> Run:
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(elsewhere / "state"), "HOME": str(elsewhere)}
    return server.run(arguments_for(truth), elsewhere, environment)


def _assert_converges(server: ToolServer, truth: Truth, elsewhere: Path) -> None:
    run = _run(server, truth, elsewhere)
    assert (run.code, truth.losses(), truth.unfinished()) == (0, [], []), run.said


def _audio_left(truth: Truth) -> list[str]:
    expired = [entry.name for entry in truth.cache.entries if entry.key in truth.expired]
    return [name for name in expired if (truth.cache.directory / name).exists()]


def test_a_full_disk_is_cleaned(server: ToolServer, disk: Path, tmp_path: Path) -> None:
    truth = make_truth(disk, wal=False)
    _fill(disk)
    run = _run(server, truth, tmp_path)
    assert (truth.losses(), _audio_left(truth)) == ([], []), run.said
    assert run.code == 0 or "space" in run.said
    assert run.code in (0, 3)
    (disk / "ballast").unlink()
    _assert_converges(server, truth, tmp_path)


def test_a_full_disk_with_its_own_state_and_wal(
    server: ToolServer, disk: Path, tmp_path: Path
) -> None:
    truth = make_truth(disk, wal=True)
    _fill(disk)
    run = _run(server, truth, disk)
    assert (truth.losses(), _audio_left(truth)) == ([], []), run.said
    assert run.code in (0, 3)
    (disk / "ballast").unlink()
    _assert_converges(server, truth, disk)


def test_a_disk_without_inodes_is_cleaned(server: ToolServer, disk: Path, tmp_path: Path) -> None:
    truth = make_truth(disk, wal=False)
    taken = os.statvfs(disk)
    _remount(disk, f"nr_inodes={taken.f_files - taken.f_ffree}")
    with pytest.raises(OSError, match="No space left"):
        (disk / "one-more").mkdir()
    run = _run(server, truth, tmp_path)
    assert (truth.losses(), _audio_left(truth)) == ([], []), run.said
    assert run.code in (0, 3), run.said
    _assert_converges(server, truth, tmp_path)


def test_removal_that_frees_nothing_says_what_could_not_be_written(
    server: ToolServer, disk: Path, tmp_path: Path
) -> None:
    """The audio has other hard links, so that there is no room for the new index even then."""
    truth = make_truth(disk, wal=False)
    backup = disk / "backup"
    backup.mkdir()
    for name in truth.audio:
        os.link(truth.cache.directory / name, backup / name)
    _fill(disk)
    run = _run(server, truth, tmp_path)
    assert truth.losses() == []
    assert run.code in (1, 3), run.said
    assert "No space left" in run.said
    (disk / "ballast").unlink()
    _assert_converges(server, truth, tmp_path)
    assert {path.name for path in backup.iterdir()} == set(truth.audio)


def test_a_read_only_disk_is_left_alone(server: ToolServer, disk: Path, tmp_path: Path) -> None:
    truth = make_truth(disk, wal=False)
    _remount(disk, "ro")
    before = tree_digest(disk)
    run = _run(server, truth, tmp_path)
    assert run.code not in (0, -6, -9, -11), run.said
    assert "read-only" in run.said.lower()
    looked = server.run(["dry-run", *arguments_for(truth)[1:]], tmp_path, environment_for(truth))
    foreseen = json.loads(looked.output)["problems"]
    assert [(each["half"], each["code"]) for each in foreseen] == [
        ("cache", "not_writable"),
        ("requests", "not_writable"),
    ]
    assert all("on a file system that is read-only" in each["message"] for each in foreseen)
    places = {
        "NARRATION_CACHE_DIR": str(truth.cache.directory),
        "NARRATION_REQUESTS_DB": str(truth.database),
    }
    checked = server.run(["check", "--json"], tmp_path, {**environment_for(truth), **places})
    checks = json.loads(checked.output)["checks"]
    rights = [each for each in checks if each["check"].endswith(".permissions")]
    assert [each["status"] for each in rights] == ["failed", "failed"]
    assert all("read-only" in each["message"] for each in rights)
    assert {each["remedy"] for each in rights} == {"mount it writable"}
    assert tree_digest(disk) == before
    _remount(disk, "rw")
    _assert_converges(server, truth, tmp_path)


def test_a_read_only_database_does_not_stop_the_cache(
    server: ToolServer, disk: Path, tmp_path: Path
) -> None:
    truth = make_truth(disk, wal=False)
    apart = tmp_path / "apart"
    apart.mkdir()
    subprocess.run(["mount", "--bind", disk / "db", apart], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", apart], check=True)
        cache, database = str(truth.cache.directory), str(apart / "requests.db")
        arguments = ["run", "--json", "--cache-dir", cache, "--requests-db", database]
        environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
        run = server.run(arguments, tmp_path, environment)
    finally:
        subprocess.run(["umount", apart], check=True)
    assert run.code == 3, run.said
    assert (truth.losses(), _audio_left(truth)) == ([], [])
    assert len(truth.unfinished()) == len(truth.abandoned)
    _assert_converges(server, truth, tmp_path)


def test_a_mount_point_or_a_device_where_audio_should_lie(
    server: ToolServer, disk: Path, tmp_path: Path
) -> None:
    truth = make_truth(tmp_path / "root", wal=False)
    expired = [entry.name for entry in truth.cache.entries if entry.key in truth.expired]
    mounted, device, *others = (name for name in expired if name in truth.audio)
    covering = disk / "covering.mp3"
    covering.write_bytes(b"not to be touched")
    os.utime(covering, (time.time() - 600,) * 2)  # it is not audio that was just written
    place = truth.cache.directory / mounted
    (truth.cache.directory / device).unlink()
    os.mknod(truth.cache.directory / device, stat.S_IFBLK | 0o600, os.makedev(7, 250))
    subprocess.run(["mount", "--bind", covering, place], check=True)
    try:
        run = _run(server, truth, tmp_path)
        assert place.read_bytes() == b"not to be touched"
    finally:
        subprocess.run(["umount", place], check=True)
    assert run.code == 3, run.said
    assert covering.read_bytes() == b"not to be touched"
    assert place.read_bytes() == truth.audio[mounted]
    assert stat.S_ISBLK((truth.cache.directory / device).lstat().st_mode)
    assert not any((truth.cache.directory / name).exists() for name in others)
    assert len(json.loads(run.output)["problems"]) >= 2, run.output
