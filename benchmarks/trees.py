"""Makes caches as the live service leaves them, and checks what a clean-up left of one."""

import hashlib
import os
import random
import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.measure import BenchmarkError

CACHE = Path("service", "cache", "narration")
INDEX = CACHE / "cache_index.json"
DROPS = Path("drops.txt")
AUDIO_BYTES = 2000
ENTRY_BYTES = 480
DAY = 86_400.0
EXPIRED_SHARE = 10
VOICES = (
    "ghostly_whisper",
    "demonic_growl",
    "eerie_narrator",
    "possessed_child",
    "ancient_entity",
)


@dataclass(frozen=True)
class Tree:
    """What was made: how many files, how many of them expired, and the index that should stay."""

    files: int
    expired: int
    kept_digest: str | None


def room_for(files: int) -> int:
    """Bytes that a tree needs beside its audio: the index twice, and the list for the floor."""
    return files * (2 * ENTRY_BYTES + 20)


def make_tree(root: Path, files: int, now: float, *, index: bool) -> Tree:
    """Make a cache of `files` small files under `root`, a tenth of them expired at `now`.

    Expired is 9 to 30 days old and kept is at most 5, so that every peer's reading of "7 days"
    agrees. Beside the cache lies the list of ranges and names that the floor works from.
    """
    folder = root / CACHE
    folder.mkdir(parents=True)
    chance = random.Random(files)
    expired = set(chance.sample(range(files - 1), files // EXPIRED_SHARE))
    kept = hashlib.sha256()
    offset = 0
    directory = os.open(folder, os.O_RDONLY)
    with (
        open(root / INDEX if index else os.devnull, "wb") as whole,
        open(root / DROPS, "w") as drops,
    ):
        for number in range(files):
            old = number in expired
            age = chance.uniform(9, 30) if old else chance.uniform(0, 5)
            created = now - age * DAY
            variant, voice = f"variant-{number // 5:06d}", VOICES[number % 5]
            key = hashlib.sha256(f"{variant}:{voice}".encode()).hexdigest()
            make_audio(directory, f"{key}.mp3", created)
            text = member(key, created, min(now, created + chance.random() * DAY), variant, voice)
            last = number == files - 1
            piece = (text + ("\n}" if last else ",\n")).encode()
            if number == 0:
                whole.write(b"{\n")
                kept.update(b"{\n")
                offset = 2
            if old:
                drops.write(f"{offset} {len(piece)} {key}.mp3\n")
            else:
                kept.update(piece)
            whole.write(piece)
            offset += len(piece)
    os.close(directory)
    return Tree(files, len(expired), kept.hexdigest() if index else None)


def make_audio(directory: int, name: str, modified: float) -> None:
    """One file, its block set aside but not written: freed like any other, copied for nothing."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=directory)
    try:
        os.posix_fallocate(descriptor, 0, AUDIO_BYTES)
        os.utime(descriptor, (modified, modified))
    finally:
        os.close(descriptor)


def member(key: str, created: float, accessed: float, variant: str, voice: str) -> str:
    """One entry as the service's `json.dump(…, indent=2)` writes it, without the comma after it."""
    digest = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
    narration = "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:]))
    return (
        f'  "{key}": {{\n'
        f'    "narration_id": "{narration}",\n'
        f'    "file_path": "cache/narration/{key}.mp3",\n'
        f'    "created_at": "{datetime.fromtimestamp(created).isoformat()}",\n'
        f'    "last_accessed": "{datetime.fromtimestamp(accessed).isoformat()}",\n'
        f'    "file_size": {AUDIO_BYTES},\n'
        f'    "variant_id": "{variant}",\n'
        f'    "voice_style": "{voice}"\n'
        f"  }}"
    )


def check_cleaned(root: Path, tree: Tree) -> None:
    """Fail unless exactly the expired files are gone, and the index is the one that should stay."""
    with os.scandir(root / CACHE) as found:
        left = sum(entry.name.endswith(".mp3") for entry in found)
    if left != tree.files - tree.expired:
        raise BenchmarkError(f"{left} files are left of {tree.files}, {tree.expired} expired")
    if tree.kept_digest is not None and digest_of(root / INDEX) != tree.kept_digest:
        raise BenchmarkError("the index is not the one that should be left")


def check_files(root: Path, tree: Tree) -> None:
    """The same for a peer that knows of no index."""
    check_cleaned(root, Tree(tree.files, tree.expired, None))


def digest_of(path: Path) -> str:
    """SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def warm(root: Path) -> None:
    """Bring every inode and the index into memory, so that each contender starts from the same."""
    everything = ("find", str(root / CACHE), "-size", "+1G")
    subprocess.run(everything, stdout=subprocess.DEVNULL, check=True)
    if (root / INDEX).exists():
        digest_of(root / INDEX)
