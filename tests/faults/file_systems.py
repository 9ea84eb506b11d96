"""File systems to try the proofs on, each on an image of its own, mounted for as long as needed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

Fill = Callable[[Path], None]
"""Makes what is to lie there: in the lower layer of an overlay, where it has one."""

_MIB = 1 << 20


class CannotMountError(Exception):
    """A file system that cannot be made or mounted on this machine, with the reason."""


@contextmanager
def mounted(name: str, folder: Path, fill: Fill = lambda root: None) -> Iterator[Path]:
    """One of ``FILE_SYSTEMS``, mounted below ``folder`` and filled. Raises ``CannotMountError``."""
    with ExitStack() as stack:
        yield FILE_SYSTEMS[name](stack, folder, fill)


def mount_image(
    stack: ExitStack, image: Path, place: Path, kind: str, options: str = "loop"
) -> Path:
    """Mount an image until ``stack`` is closed."""
    place.mkdir(exist_ok=True)
    command("mount", "-t", kind, "-o", options, image, place)
    stack.callback(command, "umount", place)
    return place


def make_image(path: Path, size_mib: int, *maker: str) -> Path:
    """A new image with the file system that the command ``maker`` makes."""
    path.touch()
    os.truncate(path, size_mib * _MIB)
    command(*maker, path)
    return path


def command(*words: str | Path) -> str:
    """Run a command and return its output; raises ``CannotMountError`` with what it reported."""
    if not shutil.which(words[0]):
        raise CannotMountError(f"{words[0]} is not installed")
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit {done.returncode}"]
        raise CannotMountError(f"{words[0]}: {said[0]}")
    return done.stdout.strip()


def _of_kind(
    kind: str, size_mib: int, maker: tuple[str, ...], stack: ExitStack, folder: Path, fill: Fill
) -> Path:
    image = make_image(folder / f"{kind}.image", size_mib, *maker)
    place = mount_image(stack, image, folder / kind, kind)
    fill(place)
    return place


def _tmpfs(stack: ExitStack, folder: Path, fill: Fill) -> Path:
    place = folder / "tmpfs"
    place.mkdir()
    command("mount", "-t", "tmpfs", "tmpfs", place)
    stack.callback(command, "umount", place)
    fill(place)
    return place


def exfat(stack: ExitStack, folder: Path, fill: Fill, options: str = "umask=022") -> Path:
    """Without options everybody may write there, and root works in no such folder."""
    image = make_image(folder / "exfat.image", 64, "mkfs.exfat")
    place = folder / "exfat"
    place.mkdir()
    device = command("losetup", "--find", "--show", image)
    stack.callback(command, "losetup", "--detach", device)
    command("mount.exfat-fuse", "-o", options, device, place)
    stack.callback(command, "umount", place)
    fill(place)
    return place


def _overlay(layers: int, stack: ExitStack, folder: Path, fill: Fill) -> Path:
    """What is filled in is in the lower layer: the first change of a file copies it up."""
    upper = _tmpfs(stack, folder, lambda root: None)
    lower = upper / "lower"
    if layers == 2:
        lower = _of_kind("ext4", 64, ("mkfs.ext4", "-q"), stack, folder, lambda root: None)
    for path in (lower, upper / "upper", upper / "work"):
        path.mkdir(exist_ok=True)
    fill(lower)
    place = folder / "overlay"
    place.mkdir()
    where = f"lowerdir={lower},upperdir={upper / 'upper'},workdir={upper / 'work'}"
    command("mount", "-t", "overlay", "-o", where, "overlay", place)
    stack.callback(command, "umount", place)
    return place


FILE_SYSTEMS: dict[str, Callable[[ExitStack, Path, Fill], Path]] = {
    "ext4 with 128-byte inodes": partial(
        _of_kind, "ext4", 64, ("mkfs.ext4", "-q", "-I", "128")
    ),  # which have no room for parts of a second
    "XFS": partial(_of_kind, "xfs", 320, ("mkfs.xfs", "-q")),
    "btrfs": partial(_of_kind, "btrfs", 256, ("mkfs.btrfs", "-q")),
    "tmpfs": _tmpfs,
    "exFAT by FUSE": exfat,  # times of two seconds, no hard links, no owners
    "an overlay on one file system": partial(_overlay, 1),
    "an overlay on two file systems": partial(_overlay, 2),
}
