"""Somewhere to measure: an ext4 of the benchmark's own, without discard, or a plain folder.

A file system mounted with `discard` spends about 0.1 ms in every unlink waiting for the device,
whoever unlinks, which hides every difference. Where this process may mount (root, a free loop
device), each tree is made once in an image file, and each run gets a fresh copy of that image.
Elsewhere each run gets a copy of a folder, and the report says which file system that was.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import BenchmarkError

LOOP_OPTIONS = "loop,noatime,nodiscard"
BLOCK = 4096
JOURNAL_MB = 128
BASE_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True)
class Ground:
    """Where to measure; `loop` where image files can be mounted, and `note` for the report."""

    folder: Path
    loop: bool
    note: str


@dataclass(frozen=True)
class Template:
    """A tree made once: an image file, or a folder where images cannot be mounted."""

    ground: Ground
    path: Path


def find_ground(folder: Path) -> Ground:
    """Try to mount a tiny image in `folder`; else measure on what `folder` is on."""
    try:
        with template(Ground(folder, True, ""), "probe", size=0, files=0) as (probe, _):
            pass
        with fresh(probe) as mounted:
            note = f"ext4 on a loop device, {mount_options(mounted)}"
        discard(probe)
    except (BenchmarkError, OSError) as why:
        return plain(folder, str(why))
    return Ground(folder, True, note)


def plain(folder: Path, why: str) -> Ground:
    """Measure on the file system that `folder` is on, and say why."""
    return Ground(folder, False, f"no file system of its own ({why}): {mount_options(folder)}")


@contextmanager
def template(
    ground: Ground, name: str, *, size: int, files: int
) -> Iterator[tuple[Template, Path]]:
    """Yield a template and the folder to fill, with room for `size` bytes in `files` files."""
    path = ground.folder / name
    if not ground.loop:
        path.mkdir()
        yield Template(ground, path), path
        return
    blocks = files * 1.1 * (BLOCK + 256) + size * 1.1
    with path.open("wb") as image:
        image.truncate(int(blocks) + BASE_BYTES)
    command(
        *("mkfs.ext4", "-q", "-F", "-b", str(BLOCK), "-m", "0"),
        *("-N", str(int(files * 1.1) + 1000), "-J", f"size={JOURNAL_MB}"),
        *("-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", str(path)),
    )
    with mounted(ground, path) as folder:
        yield Template(ground, path), folder


@contextmanager
def fresh(source: Template) -> Iterator[Path]:
    """Yield a fresh copy of the template's tree, and take it away afterwards."""
    copy = source.path.with_name("run")
    try:
        if source.ground.loop:
            # The audio's blocks are set aside but never written, so that the copy is small.
            command("cp", "--sparse=always", str(source.path), str(copy))
            flush(copy)
            with mounted(source.ground, copy) as folder:
                yield folder
        else:
            command("cp", "-a", str(source.path), str(copy))
            yield copy
    finally:
        if source.ground.loop:
            copy.unlink(missing_ok=True)
        else:
            shutil.rmtree(copy, ignore_errors=True)


@contextmanager
def mounted(ground: Ground, image: Path) -> Iterator[Path]:
    """Mount `image`, and unmount it whatever happens."""
    folder = ground.folder / "mount"
    folder.mkdir(exist_ok=True)
    command("mount", "-o", LOOP_OPTIONS, str(image), str(folder))
    try:
        yield folder
    finally:
        command("umount", str(folder))


def discard(source: Template) -> None:
    """Take a template away."""
    if source.ground.loop:
        source.path.unlink(missing_ok=True)
    else:
        shutil.rmtree(source.path, ignore_errors=True)


def flush(path: Path) -> None:
    """Have the copy on the disk before the clock starts, so that no run pays for its making."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def mount_options(folder: Path) -> str:
    """The type and the options of the file system that `folder` is on, from /proc/mounts."""
    found = ("", "unknown")
    resolved = str(folder.resolve())
    try:
        lines = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        point, kind, options = line.split()[1:4]
        inside = resolved == point or resolved.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(found[0]):
            found = (point, f"{kind} ({options})")
    return found[1]


def command(*argv: str) -> None:
    """Run one system tool, or say in one line why it could not."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise BenchmarkError(f"{argv[0]} is not installed") from None
    if done.returncode:
        raise BenchmarkError(f"{argv[0]}: {done.stderr.strip() or done.returncode}")
