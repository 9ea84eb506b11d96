"""Makes caches as the live service leaves them, and checks what a clean-up left of one."""

import hashlib
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.measure import BenchmarkError

CACHE = Path("service", "cache", "narration")
INDEX = CACHE / "cache_index.json"
DROPS = Path("drops.txt")
TTL_DAYS = 7
AUDIO_BYTES = 2000
ENTRY_BYTES = 560
"""The most that an entry takes, in any form."""
DAY = 86_400.0
EXPIRED_SHARE = 10
ODD_SHARE = 100
WITHOUT_FILE, WITHOUT_ENTRY = 33, 66
"""Of each hundred of a mismatched tree: the entry without a file, and the file without an entry."""
VOICES = (
    "ghostly_whisper",
    "demonic_growl",
    "eerie_narrator",
    "possessed_child",
    "ancient_entity",
)


@dataclass(frozen=True)
class Form:
    """How an index is written: what begins it, parts its members, and ends it; and a member as it
    is there, made of the service's own form and whether it is one of those that are odd."""

    begin: str
    comma: str
    end: str
    member: Callable[[str, bool], str]


def in_one_line(text: str, odd: bool) -> str:
    """As `json.dump` writes a member by default."""
    return text.strip().replace("{\n    ", "{").replace(",\n    ", ", ").replace("\n  }", "}")


PLAIN = "indented"
FORMS = {
    PLAIN: Form("{\n", ",\n", "\n}", lambda text, odd: text),
    "in one line": Form("{", ", ", "}", in_one_line),
    "indent of 4": Form("{\n", ",\n", "\n}", lambda text, odd: text.replace("  ", "    ")),
    "CRLF": Form("{\r\n", ",\r\n", "\r\n}", lambda text, odd: text.replace("\n", "\r\n")),
    "1 % with a new field": Form(
        *("{\n", ",\n", "\n}"),
        lambda text, odd: text.replace("\n  }", ',\n    "mood": "calm"\n  }') if odd else text,
    ),
    "1 % with NaN": Form(
        *("{\n", ",\n", "\n}"),
        lambda text, odd: text.replace(f": {AUDIO_BYTES}", ": NaN") if odd else text,
    ),
}
"""The forms of an index. A text in one has neither a line break nor two spaces."""


@dataclass(frozen=True)
class Tree:
    """What was made: how many files, how many of them expired, and the index that should stay, by
    the form that it was written in (SHA-256)."""

    files: int
    expired: int
    kept: Mapping[str, str]


def make_tree(
    root: Path,
    files: int,
    now: float,
    forms: Mapping[str, Path] | None = None,
    *,
    mismatched: bool = False,
) -> Tree:
    """Make a cache of ``files`` small files under ``root``, a tenth of them expired at ``now``.

    Expired is 9 to 30 days old and kept is at most 5, so that every peer's reading of "7 days"
    agrees. The index goes to the path of each of ``forms``, or to its place in the service's own
    form. Beside the cache lies the list of ranges and names that the floor works from. In a
    ``mismatched`` one, of a hundred one that is to be kept has no file, and one has no entry.
    """
    folder = root / CACHE
    folder.mkdir(parents=True)
    forms = {PLAIN: root / INDEX} if forms is None else forms
    kept = {name: hashlib.sha256() for name in forms}
    offset, made = 2, 0
    with ExitStack() as opened:
        directory = os.open(folder, os.O_RDONLY)
        opened.callback(os.close, directory)
        written = {
            name: opened.enter_context(path.open("wb", 1 << 20)) for name, path in forms.items()
        }
        drops = opened.enter_context(open(root / DROPS, "w"))
        for number, (key, created, is_old, text) in enumerate(members(files, now)):
            lacks = 0 if is_old or not mismatched else number % ODD_SHARE
            if lacks != WITHOUT_FILE:
                make_audio(directory, f"{key}.mp3", created)
                made += 1
            if lacks == WITHOUT_ENTRY and number < files - 1:
                continue
            for name, file in written.items():
                form = FORMS[name]
                odd = not is_old and number % ODD_SHARE == 0
                after = form.end if number == files - 1 else form.comma
                piece = (form.member(text, odd) + after).encode()
                if number == 0:
                    file.write(form.begin.encode())
                    kept[name].update(form.begin.encode())
                file.write(piece)
                if not is_old:
                    kept[name].update(piece)
                elif name == PLAIN:
                    drops.write(f"{offset} {len(piece)} {key}.mp3\n")
                if name == PLAIN:
                    offset += len(piece)
    digests = {name: digest.hexdigest() for name, digest in kept.items()}
    return Tree(made, files // EXPIRED_SHARE, digests)


def members(files: int, now: float) -> Iterator[tuple[str, float, bool, str]]:
    """Of each file: its key, when it was made, whether it is expired, and its member of the index;
    the first and the last are never expired."""
    chance = random.Random(files)
    expired = set(chance.sample(range(1, files - 1), files // EXPIRED_SHARE))
    for number in range(files):
        age = chance.uniform(9, 30) if number in expired else chance.uniform(0, 5)
        created = now - age * DAY
        variant, voice = f"variant-{number // 5:06d}", VOICES[number % 5]
        key = hashlib.sha256(f"{variant}:{voice}".encode()).hexdigest()
        used = min(now, created + chance.random() * DAY)
        yield key, created, number in expired, member(key, created, used, variant, voice)


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


def check_cleaned(root: Path, tree: Tree, form: str | None = None) -> None:
    """Fail unless exactly the expired files are gone, and, of an index in a form, the index is the
    one that should stay."""
    oldest = time.time() - TTL_DAYS * DAY
    with os.scandir(root / CACHE) as found:
        left = [entry.stat().st_mtime > oldest for entry in found if entry.name.endswith(".mp3")]
    if len(left) != tree.files - tree.expired or not all(left):
        old = left.count(False)
        raise BenchmarkError(
            f"{len(left)} files are left of {tree.files}, {old} of {tree.expired} expired ones"
        )
    if form is not None and digest_of(root / INDEX) != tree.kept[form]:
        raise BenchmarkError("the index is not the one that should be left")


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
