"""A service that makes the same narrations anew while the tool removes them, as a process.

`python -m tests.faults.regenerator CACHE_DIR WORKING_DIRECTORY ENTRIES` works in rounds. It makes a
cache of expired entries, says "ready", and then follows the tool: it watches the audio files in the
order of the index, and as they disappear, it rewrites those around, in place, as the service's
`put` does: often with the old length, and sometimes in several writes. At the next line of its
standard input it looks what became of the audio it made anew, and of the entries that it saved,
and prints that as one JSON object; then the next round begins.
"""

from __future__ import annotations

import json
import os
import random
import select
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from tests.samples import EntrySpec, audio, make_cache
from tests.service_model import Service

_AHEAD = (-3, -1, *range(12), *range(12, 64, 4), *range(64, 256, 16))
"""How far from the tool's place an entry is made anew: those near it are met in the act."""
_LOOK_EVERY = 2
_SAVE_EVERY = 50


@dataclass
class Made:
    """What was made anew in a round: the audio, and the entries that were saved since."""

    audio: dict[str, bytes] = field(default_factory=dict)
    saved: dict[str, dict[str, str | int]] = field(default_factory=dict)


def follow(service: Service, chance: random.Random) -> Made:
    """Make entries anew, just before, while and after the tool gets to them."""
    keys = list(service.entries)
    paths = [str(service.path(entry)) for entry in service.entries.values()]
    made = Made()
    front = 0
    while not _asked() and (_exists(paths[0]) or _exists(paths[1])):
        pass
    for _ in _until_asked():
        while front < len(keys) - 1 and (keys[front] in made.audio or not _exists(paths[front])):
            front += 1
        for _ in range(_LOOK_EVERY):
            key = keys[max(0, min(len(keys) - 1, front + chance.choice(_AHEAD)))]
            if key not in made.audio:
                made.audio[key] = _regenerate(service, key, chance)
        if len(made.audio) - len(made.saved) >= _SAVE_EVERY:
            service.save()
            made.saved = {key: asdict(service.entries[key]) for key in made.audio}
        if len(made.audio) == len(keys):
            break
    return made


def _asked() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


def _until_asked() -> Iterator[None]:
    while not _asked():
        yield


def _exists(path: str) -> bool:
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True


def _regenerate(service: Service, key: str, chance: random.Random) -> bytes:
    """`put` in the way of the service, but for the save, which comes a moment later."""
    entry = service.entries[key]
    size = entry.file_size if chance.random() < 0.7 else chance.randrange(100, 2000)
    content = audio(chance.randrange(1 << 30), size)
    with service.path(entry).open("wb", buffering=0) as file:
        if chance.random() < 0.05:
            file.write(content[: size // 2])
            time.sleep(chance.choice((0, 0.0005, 0.002)))
            file.write(content[size // 2 :])
        else:
            file.write(content)
    entry.created_at = entry.last_accessed = datetime.now().isoformat()
    entry.file_size = size
    return content


def _lost(service: Service, made: Made) -> dict[str, int]:
    """What the service would miss if it were started anew now."""
    found = Service(service.directory, service.working_directory)
    files = [service.directory / f"{key}.mp3" for key in made.audio]
    lost = [
        path
        for path, content in zip(files, made.audio.values(), strict=True)
        if not path.is_file() or path.read_bytes() != content
    ]
    entries = [
        key
        for key, saved in made.saved.items()
        if key not in found.entries or asdict(found.entries[key]) != saved
    ]
    return {"tries": len(files), "files_lost": len(lost), "entries_lost": len(entries)}


def main() -> None:
    """Work in rounds until standard input closes."""
    directory, root, entries = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(entries)
    specs = [EntrySpec(age=timedelta(days=30)) for _ in range(entries)]
    while True:
        now = datetime.now().astimezone()
        make_cache(directory, now=now, entries=specs, working_directory=root)
        service = Service(directory, root)
        print("ready", flush=True)
        made = follow(service, chance)
        if not sys.stdin.readline():
            return
        print(json.dumps(_lost(service, made)), flush=True)


if __name__ == "__main__":
    main()
