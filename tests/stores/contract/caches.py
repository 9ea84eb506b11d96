"""Caches to run one suite of tests over: each kind of store behind the same few calls.

Ages are counted in days back from ``NOW``. Another kind joins by a class with the calls of
``Cache``, and its name in ``test_cache_store.py``.
"""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from narration_cleanup.core.zones import IndexTimes
from narration_cleanup.stores.cache import CacheStore
from narration_cleanup.stores.cache.local.indexed import IndexedDirectory
from narration_cleanup.stores.cache.local.unindexed import AudioTree
from tests.samples import INDEX_NAME, SAMPLE_NOW, audio, service_time, tree_digest

if TYPE_CHECKING:
    from obstore import ObjectMeta

    from tests.s3_server import Server

NOW = SAMPLE_NOW.timestamp()
SUFFIXES = (".mp3", ".wav")


class Cache(Protocol):
    """One cache that a test has for itself."""

    def put(self, name: str, age: float, *, unused: float | None = None, size: int = 700) -> None:
        """An entry with audio of ``size`` bytes; ``unused`` days (``age`` if not told).

        A kind that knows no last use but the audio's own time takes ``unused`` for its age.
        """

    def renew(self, name: str) -> None:
        """What the service does when it generates a known narration anew: 1,234 bytes, just now."""

    def lose(self, name: str) -> None:
        """The audio goes by another hand; an entry in an index stays."""

    def leave(self, name: str, content: bytes = b"x") -> None:
        """A file that is no audio, nor anything the store knows, 400 days old."""

    def entries(self) -> set[str]:
        """The names whose entries there are now."""

    def audio(self) -> dict[str, int]:
        """The audio there is now: name and size."""

    def state(self) -> object:
        """Everything there is, to be compared: equal means that nothing was changed."""

    def open(self) -> CacheStore:
        """The cache as the tool sees it."""


class IndexedCache:
    """A directory with an index, as the narration service keeps it."""

    def __init__(self, root: Path) -> None:
        self.directory = root / "cache" / "narration"
        self.directory.mkdir(parents=True)
        self._write({})

    def put(self, name: str, age: float, *, unused: float | None = None, size: int = 700) -> None:
        _write_audio(self._path(name), age, size)
        entry = _entry(name, age, age if unused is None else unused, size)
        self._write(self._read() | {name: entry})

    def renew(self, name: str) -> None:
        self.put(name, 0, size=1_234)
        os.utime(self._path(name))

    def lose(self, name: str) -> None:
        self._path(name).unlink()

    def leave(self, name: str, content: bytes = b"x") -> None:
        _leave(self.directory / name, content)

    def entries(self) -> set[str]:
        return set(self._read())

    def audio(self) -> dict[str, int]:
        return {path.stem: path.stat().st_size for path in self.directory.glob("*.mp3")}

    def state(self) -> object:
        return tree_digest(self.directory)

    def open(self) -> CacheStore:
        return IndexedDirectory(
            self.directory,
            index_name=INDEX_NAME,
            audio_suffixes=SUFFIXES,
            times=IndexTimes("UTC"),
        )

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.mp3"

    def _read(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.directory / INDEX_NAME).read_bytes())
        return found

    def _write(self, entries: dict[str, object]) -> None:
        (self.directory / INDEX_NAME).write_text(json.dumps(entries, indent=2))


def _entry(name: str, age: float, used: float, size: int) -> dict[str, str | int]:
    return {
        "narration_id": name,
        "file_path": f"cache/narration/{name}.mp3",
        "created_at": service_time(SAMPLE_NOW - timedelta(days=age)),
        "last_accessed": service_time(SAMPLE_NOW - timedelta(days=used)),
        "file_size": size,
        "variant_id": f"variant {name}",
        "voice_style": "eerie_narrator",
    }


class TreeCache:
    """A directory without an index, flat, or with a folder for each first letter."""

    def __init__(self, root: Path, *, folders: bool) -> None:
        self.directory = root / "audio"
        self.directory.mkdir()
        self._folders = folders

    def put(self, name: str, age: float, *, unused: float | None = None, size: int = 700) -> None:
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_audio(path, age if unused is None else unused, size)

    def renew(self, name: str) -> None:
        self.put(name, 0, size=1_234)

    def lose(self, name: str) -> None:
        self._path(name).unlink()

    def leave(self, name: str, content: bytes = b"x") -> None:
        _leave(self.directory / name, content)

    def entries(self) -> set[str]:
        return set(self.audio())

    def audio(self) -> dict[str, int]:
        return {path.stem: path.stat().st_size for path in self.directory.rglob("*.wav")}

    def state(self) -> object:
        return tree_digest(self.directory)

    def open(self) -> CacheStore:
        return AudioTree(self.directory, audio_suffixes=SUFFIXES)

    def _path(self, name: str) -> Path:
        folder = self.directory / name[0] / "voice" if self._folders else self.directory
        return folder / f"{name}.wav"


def _write_audio(path: Path, age: float, size: int) -> None:
    path.write_bytes(audio(len(path.name), size))
    _age(path, age)


def _leave(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    _age(path, 400)


def _age(path: Path, days: float) -> None:
    moment = NOW - days * 86_400
    os.utime(path, (moment, moment))


class BucketCache:
    """A bucket with an index. The time of its audio is that of the test, whatever its age."""

    def __init__(self, server: Server) -> None:
        self.url = server.new_url()
        self.store = server.store(self.url)
        self._write({})

    def put(self, name: str, age: float, *, unused: float | None = None, size: int = 700) -> None:
        import obstore

        obstore.put(self.store, f"{name}.mp3", audio(len(name), size))
        entry = _entry(name, age, age if unused is None else unused, size)
        self._write(self._read() | {name: entry})

    def renew(self, name: str) -> None:
        """In a later second than all before: the server's times have no fractions."""
        time.sleep(1 - time.time() % 1)
        self.put(name, 0, size=1_234)

    def lose(self, name: str) -> None:
        import obstore

        obstore.delete(self.store, f"{name}.mp3")

    def leave(self, name: str, content: bytes = b"x") -> None:
        import obstore

        obstore.put(self.store, name, content)

    def entries(self) -> set[str]:
        return set(self._read())

    def audio(self) -> dict[str, int]:
        names = ((meta["path"], meta["size"]) for meta in self._objects())
        return {name[:-4]: size for name, size in names if name.endswith(".mp3")}

    def state(self) -> object:
        return {meta["path"]: (meta["e_tag"], meta["last_modified"]) for meta in self._objects()}

    def open(self) -> CacheStore:
        from narration_cleanup.stores.cache.s3 import IndexedBucket

        return IndexedBucket(
            self.url,
            index_name=INDEX_NAME,
            audio_suffixes=SUFFIXES,
            times=IndexTimes("UTC"),
        )

    def _objects(self) -> list[ObjectMeta]:
        import obstore

        found = obstore.list(self.store).collect()
        return [meta for meta in found if not meta["path"].startswith(".narration-cleanup/")]

    def _read(self) -> dict[str, object]:
        import obstore

        found: dict[str, object] = json.loads(bytes(obstore.get(self.store, INDEX_NAME).bytes()))
        return found

    def _write(self, entries: dict[str, object]) -> None:
        import obstore

        obstore.put(self.store, INDEX_NAME, json.dumps(entries, indent=2).encode())
