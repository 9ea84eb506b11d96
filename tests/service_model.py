"""A model of the live narration service's cache, to run the tool beside.

It does what the service was observed to do, its faults included: the index is loaded once and
kept in memory; every `get` and `put` rewrites the whole file in place; audio is written before its
entry; the loader is strict; an entry whose file is gone is dropped when it is asked for, and made
again.

As a process (`python -m tests.service_model CACHE_DIR WORKING_DIRECTORY JOURNAL --rate 50`) it
works until its standard input is closed. Before each save it looks at what is on the disk, the
way the service would find it if it were restarted at that moment, and writes what was lost to the
journal as one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import sys
import time
import uuid
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from tests.samples import INDEX_NAME, VOICE_STYLES, audio, cache_key

_AGED = timedelta(days=8)
_TTL = timedelta(days=7)
_MOST_ENTRIES = 300
_SETTLE_SECONDS = 2.0
"""How long a difference may last before it counts as a loss: the tool's last look at a replaced
index, or its putting back of a file, comes a few milliseconds after the fact; far more under load.
"""


@dataclass
class Entry:
    """An entry as the service holds it; one field more or less, and loading fails."""

    narration_id: str
    file_path: str
    created_at: str
    last_accessed: str
    file_size: int
    variant_id: str
    voice_style: str


class Service:
    """The cache of the live service: an index in memory, and a folder of audio."""

    def __init__(self, directory: Path, working_directory: Path) -> None:
        self.directory = directory
        self.index = directory / INDEX_NAME
        self.working_directory = working_directory
        self.entries = self._load()

    def _load(self) -> dict[str, Entry]:
        try:
            with self.index.open(encoding="utf-8") as file:
                return {key: Entry(**fields) for key, fields in json.load(file).items()}
        except (FileNotFoundError, json.JSONDecodeError, TypeError):
            return {}

    def save(self) -> None:
        """Rewrite the whole index in place, as the service does."""
        with self.index.open("w", encoding="utf-8") as file:
            json.dump({key: asdict(entry) for key, entry in self.entries.items()}, file, indent=2)

    def path(self, entry: Entry) -> Path:
        """Where the service finds an entry's audio."""
        return self.working_directory / entry.file_path

    def get(self, key: str) -> bytes | None:
        """The audio of `key`; None, and the entry dropped, when there is none."""
        entry = self.entries.get(key)
        if entry is None:
            return None
        try:
            content = self.path(entry).read_bytes()
        except FileNotFoundError:
            del self.entries[key]
            self.save()
            return None
        entry.last_accessed = datetime.now().isoformat()
        self.save()
        return content

    def put(
        self, variant_id: str, voice_style: str, content: bytes, age: timedelta = timedelta()
    ) -> str:
        """Write audio, then its entry; `age` backdates both, as if put that long ago."""
        key = cache_key(variant_id, voice_style)
        path = self.directory / f"{key}.mp3"
        created = datetime.now() - age
        with path.open("wb") as file:
            file.write(content)
        if age:
            os.utime(path, (created.timestamp(), created.timestamp()))
        self.entries[key] = Entry(
            narration_id=str(uuid.uuid4()),
            file_path=str(path.relative_to(self.working_directory)),
            created_at=created.isoformat(),
            last_accessed=created.isoformat(),
            file_size=len(content),
            variant_id=variant_id,
            voice_style=voice_style,
        )
        self.save()
        return key

    def evict_to(self, most: int) -> None:
        """The service's own size rule: the least recently used go until `most` are left."""
        by_use = sorted(self.entries, key=lambda key: self.entries[key].last_accessed)
        for key in by_use[: max(0, len(by_use) - most)]:
            self.path(self.entries.pop(key)).unlink(missing_ok=True)
            self.save()


@dataclass
class Losses:
    """What was missing on the disk, counted by the service itself before each save."""

    saves: int = 0
    puts: int = 0
    updates_lost: int = 0
    files_lost: int = 0
    torn: int = 0
    healed: int = 0
    settled: int = 0
    resurrected: int = 0
    lost_keys: list[str] = field(default_factory=list)


class Audited(Service):
    """The service, looking before each save whether what it last wrote is still there.

    `promised` is what the last save wrote. Of that, the tool may have dropped what is expired;
    anything else missing, older or new is an update lost.
    """

    def __init__(self, directory: Path, working_directory: Path) -> None:
        super().__init__(directory, working_directory)
        self.losses = Losses()
        self.promised = self._as_saved()
        self.own: set[str] = set()
        """Keys whose audio the service itself has changed since its last save."""

    def put(
        self, variant_id: str, voice_style: str, content: bytes, age: timedelta = timedelta()
    ) -> str:
        """As the service's, remembering that this audio is being changed by the service."""
        self.own.add(cache_key(variant_id, voice_style))
        return super().put(variant_id, voice_style, content, age)

    def evict_to(self, most: int) -> None:
        """As the service's, remembering which audio the service itself removes."""
        by_use = sorted(self.entries, key=lambda key: self.entries[key].last_accessed)
        self.own.update(by_use[: max(0, len(by_use) - most)])
        super().evict_to(most)
        self.own.clear()

    def save(self) -> None:
        """Look, then save as the service does."""
        self.audit()
        super().save()
        gone = {key for key in self.promised if key not in self._on_disk_before}
        self.losses.resurrected += len(gone & set(self.entries))
        self.promised = self._as_saved()
        self.own -= {key for key in self.own if key in self.entries}
        self.losses.saves += 1

    def audit(self) -> None:
        """Compare what is on the disk with what was promised; wait for the tool to settle."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        first = True
        while True:
            lost, torn = self._lost_updates()
            files = self._lost_files()
            self.losses.torn += torn
            if not lost and not files and not torn:
                self.losses.settled += not first
                return
            if time.monotonic() > deadline:
                self.losses.updates_lost += len(lost)
                self.losses.files_lost += len(files)
                self.losses.lost_keys += [f"entry {key}" for key in lost]
                self.losses.lost_keys += [f"file {key}" for key in files]
                return
            first = False
            time.sleep(0.001)

    def _as_saved(self) -> dict[str, dict[str, str | int]]:
        return {key: asdict(entry) for key, entry in self.entries.items()}

    def _lost_updates(self) -> tuple[set[str], bool]:
        try:
            found = json.loads(self.index.read_bytes())
        except ValueError:
            # This process is the only one that writes in place, and it is not writing now.
            return set(), True
        self._on_disk_before = set(found)
        limit = (datetime.now() - _TTL).isoformat()
        lost = set(found) - set(self.promised)
        for key, fields in self.promised.items():
            if found.get(key) != fields and (key in found or str(fields["created_at"]) > limit):
                lost.add(key)
        return lost, False

    def _lost_files(self) -> set[str]:
        limit = (datetime.now() - _TTL).isoformat()
        return {
            key
            for key, fields in self.promised.items()
            if str(fields["created_at"]) > limit
            and key not in self.own
            and self._size(str(fields["file_path"])) != fields["file_size"]
        }

    def _size(self, file_path: str) -> int | None:
        try:
            return (self.working_directory / file_path).stat().st_size
        except FileNotFoundError:
            return None


def work(service: Audited, chance: random.Random, number: int) -> None:
    """One thing the service does: a `get`, a `put` of something new, old or known, an eviction."""
    known = list(service.entries)
    dice = chance.random()
    if dice < 0.5 and known:
        if service.get(chance.choice(known)) is None:
            service.losses.healed += 1
    elif dice < 0.7 and known:
        entry = service.entries[chance.choice(known)]
        service.put(entry.variant_id, entry.voice_style, audio(number, 900))
        service.losses.puts += 1
    else:
        age = _AGED if dice < 0.85 else timedelta()
        service.put(f"live-{number}", VOICE_STYLES[number % 5], audio(number, 600), age)
        service.losses.puts += 1
    if len(service.entries) > _MOST_ENTRIES:
        service.evict_to(_MOST_ENTRIES)


def main() -> None:
    """Work at the given rate until standard input closes, then write the journal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache_dir", type=Path)
    parser.add_argument("working_directory", type=Path)
    parser.add_argument("journal", type=Path)
    parser.add_argument("--rate", type=float, default=50, help="saves a second")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    service = Audited(options.cache_dir, options.working_directory)
    chance = random.Random(options.seed)
    number = 0
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], chance.uniform(0, 2 / options.rate))[0]:
        work(service, chance, number)
        number += 1
    service.audit()
    options.journal.write_text(json.dumps(asdict(service.losses)))


if __name__ == "__main__":
    main()
