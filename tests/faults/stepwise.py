"""The service's cache again, one call at a time, so that a run can be placed between any two.

Each thing it does is a generator: what lies between two `yield` is done without a pause. The
service has one thread, so a thing ends before the next one begins. It knows what it has saved,
and says what of that is lost.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from tests.samples import TTL, audio, cache_key, service_time
from tests.service_model import Entry, Service

Steps = Generator[None, None, None]
Fields = dict[str, str | int]
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
_VOICE = "ghostly_whisper"


class Stepwise(Service):
    """The live service at the moments that `clock` tells (seconds, as `time.time`)."""

    def __init__(self, directory: Path, working_directory: Path, clock: Callable[[], int]) -> None:
        super().__init__(directory, working_directory)
        self._clock = clock
        self.saved = self._snapshot()
        """What the last complete save wrote."""
        self.first = list(self.saved.items())
        """What it held at the beginning, in order."""
        self.audio = {
            key: self.path(entry).read_bytes()
            for key, entry in self.entries.items()
            if self.path(entry).exists()
        }
        """The audio that it wrote last, of all that it holds."""
        self.writing: int | None = None
        """The inode of the index that a save has opened and not closed yet."""
        self.faults: list[str] = []
        self._seen = b""

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._clock() // 1000 / 1e6, UTC)

    def is_live(self, fields: Fields) -> bool:
        return self.now().replace(tzinfo=None) - _moment(fields) <= TTL

    def keys(self, *, live: bool) -> list[str]:
        """The entries that were saved and are live, or expired, in the order of the index."""
        return [key for key, fields in self.saved.items() if self.is_live(fields) is live]

    def get_steps(self, key: str) -> Steps:
        """`get`: an expired entry goes with its file; a live one was used now."""
        entry = self.entries.get(key)
        if entry is None:
            return
        if not self.is_live(_fields(entry)):
            self._unlink(entry)
            yield
            del self.entries[key]
        elif self._read(entry) != self.audio[key]:
            self.faults.append(f"get found no audio of the live {key[:8]}")
            del self.entries[key]
        else:
            entry.last_accessed = self._text()
        yield
        yield from self.save_steps()

    def put_steps(self, variant_id: str, number: int = 7) -> Steps:
        """`put`: the audio, then its entry, then all of the index."""
        key = cache_key(variant_id, _VOICE)
        path = self.directory / f"{key}.mp3"
        content = audio(number, 700)
        self.audio.pop(key, None)
        fd = os.open(path, _NEW, 0o644)
        yield
        os.write(fd, content)
        os.close(fd)
        self.audio[key] = content
        yield
        self.entries[key] = Entry(
            narration_id="00000000-0000-0000-0000-00000000000" + str(number % 10),
            file_path=str(path.relative_to(self.working_directory)),
            created_at=self._text(),
            last_accessed=self._text(),
            file_size=len(content),
            variant_id=variant_id,
            voice_style=_VOICE,
        )
        yield from self.save_steps()

    def save_steps(self) -> Steps:
        """Empty, then partial, then whole, in place."""
        fd = os.open(self.index, _NEW, 0o644)
        self.writing = os.fstat(fd).st_ino
        saving = self._snapshot()
        text = json.dumps(saving, indent=2).encode()
        yield
        os.write(fd, text[: len(text) // 2])
        yield
        os.write(fd, text[len(text) // 2 :])
        os.close(fd)
        self.writing, self.saved = None, saving

    def clean_steps(self) -> Steps:
        """Its own clean-up: all that is expired, with its files, and one save."""
        for key in [key for key, entry in self.entries.items() if not self.is_live(_fields(entry))]:
            self._unlink(self.entries.pop(key))
            yield
        yield from self.save_steps()

    def evict_steps(self) -> Steps:
        """Its own size rule: the live entry that was used least recently goes."""
        live = [key for key in self.keys(live=True) if key in self.entries]
        if not live:
            return
        oldest = min(live, key=lambda key: self.entries[key].last_accessed)
        self._unlink(self.entries.pop(oldest))
        yield
        yield from self.save_steps()

    def restart_steps(self) -> Steps:
        """It is stopped, and loads what lies there."""
        promised = self.saved
        self.entries = self._load()
        self.saved = self._snapshot()
        self.faults += [f"started without {line}" for line in self._missing(promised, self.saved)]
        for key in set(promised) - set(self.saved):
            self.audio.pop(key, None)
        yield

    def look(self) -> None:
        """To be called after each change that another makes: is the index whole?"""
        try:
            if self.writing is not None and self.writing == os.stat(self.index).st_ino:
                return
            content = self.index.read_bytes()
            if content != self._seen:
                json.loads(content)
            self._seen = content
        except (ValueError, OSError) as error:
            self.faults.append(f"torn: {error}")

    def judge(self) -> list[str]:
        """What is lost, once the run has ended and the service too is done."""
        try:
            found: dict[str, Fields] = json.loads(self.index.read_bytes())
        except (ValueError, OSError) as error:
            return [*self.faults, f"torn: {error}"]
        lost = list(self.faults)
        lost += self._missing(self.saved, found)
        lost += [f"a dropped entry is back: {key[:8]}" for key in found if key not in self.saved]
        if list(found) != [key for key in self.saved if key in found] and not lost:
            lost.append("the order of the index")
        for key, fields in self.saved.items():
            if self.is_live(fields) and self._read_name(fields) != self.audio.get(key):
                lost.append(f"audio of the live {key[:8]}")
        return lost

    def _missing(self, promised: dict[str, Fields], found: dict[str, Fields]) -> Iterator[str]:
        for key, fields in promised.items():
            if key in found and found[key] != fields:
                yield f"the update of {key[:8]}"
            elif key not in found and self.is_live(fields):
                yield f"the live entry {key[:8]}"

    def _snapshot(self) -> dict[str, Fields]:
        return {key: _fields(entry) for key, entry in self.entries.items()}

    def _text(self) -> str:
        return service_time(self.now())

    def _unlink(self, entry: Entry) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.path(entry))

    def _read(self, entry: Entry) -> bytes | None:
        return self._read_name(_fields(entry))

    def _read_name(self, fields: Fields) -> bytes | None:
        try:
            return (self.working_directory / str(fields["file_path"])).read_bytes()
        except FileNotFoundError:
            return None


def _fields(entry: Entry) -> Fields:
    return dict(vars(entry))


def _moment(fields: Fields) -> datetime:
    return datetime.fromisoformat(str(fields["created_at"]))
