"""A sandbox to try the tool on: a small cache of audio that can be played, and a request database.

Both are what the narration service would have written by now: some narrations are expired, some
requests abandoned, and some of what a crash leaves behind lies about.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import uuid
import wave
from array import array
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from narration_cleanup.core.errors import CleanupError, RefusedError
from narration_cleanup.core.files import check_way
from narration_cleanup.core.model import DAY, HOUR
from narration_cleanup.core.text import printable
from narration_cleanup.core.users import nearest_folder
from narration_cleanup.settings.show import toml

RATE = 16_000
"""Samples in a second of audio; 16 bits each, one channel."""
VOICES = {
    "ghostly_whisper": (190, 0.16),
    "demonic_growl": (68, 0.19),
    "eerie_narrator": (118, 0.15),
    "possessed_child": (310, 0.12),
    "ancient_entity": (52, 0.24),
}
"""By voice style: the pitch of its tones in Hz, and the seconds that each lasts."""
_LINES = (
    "The door at the end of the hall was never locked",
    "Do not answer when it knocks a third time",
    "We have been waiting under the stairs",
    "The clock has stopped but it still strikes",
    "Somebody is breathing on the other side",
)
_AGES = (20.5, 18.2, 16.9, 14.4, 12.0, 11.1, 9.6, 8.3, 7.6, 7.2)
_YOUNG = (6.7, 6.1, 5.2, 4.8, 4.1, 3.3, 2.9, 2.2, 1.8, 1.1, 0.7, 0.4, 0.1, 0.02)
"""Ages in days: those past the TTL of 7 days, and those that stay."""
_REQUESTS = (
    ("queued", (0.05, 0.3, 2.6, 31.0)),
    ("generating", (0.02, 0.1, 1.7)),
    ("failed", (5.0, 29.0)),
    ("cancelled", (50.0,)),
    ("completed", tuple(1.5 + 3.1 * number for number in range(18))),
)
"""Ages in hours by status; queued and generating past 1 hour are abandoned."""
_TABLE = """\
CREATE TABLE requests (
  request_id TEXT PRIMARY KEY,
  variant_id TEXT NOT NULL,
  voice_style TEXT NOT NULL,
  priority INTEGER NOT NULL DEFAULT 2,
  status TEXT NOT NULL,
  progress INTEGER NOT NULL DEFAULT 0,
  created_at TEXT NOT NULL,
  started_at TEXT,
  completed_at TEXT,
  error TEXT,
  result TEXT
)"""
_CONFIG = """\
# The settings of this sandbox; `narration-cleanup config init` writes a file with all there are.

[cache]
dir = {cache}
max_size_mb = 2

[requests]
db = {database}

[cleanup]
state_dir = {state}
"""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Where everything lies, and how much of it there is."""

    directory: Path
    cache: Path
    database: Path
    config: Path
    entry_count: int
    expired_count: int
    request_count: int
    abandoned_count: int


def make_sandbox(directory: Path, now: float) -> Sandbox:
    """Make a sandbox in ``directory``, as it would stand at ``now`` (an instant).

    The directory may exist if it is empty. Raises ``RefusedError`` where it is not, and
    ``CleanupError`` where it cannot be written.
    """
    try:
        str(directory).encode("utf-8")  # which TOML is written in
        return _make_sandbox(directory.absolute(), now)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "its name is not UTF-8"
        raise CleanupError(f"cannot make a sandbox in {printable(directory)}: {why}") from error


def _make_sandbox(directory: Path, now: float) -> Sandbox:
    if os.path.lexists(directory) and (not directory.is_dir() or any(directory.iterdir())):
        raise RefusedError(
            f"{printable(directory)} is not an empty folder: name one that is, or a new one"
        )
    if os.geteuid() == 0:
        check_way(nearest_folder(directory))
    cache = directory / "cache" / "narration"
    cache.mkdir(parents=True)
    _make_cache(cache, directory, now)
    database = directory / "requests.db"
    _make_requests(database, now)
    config = directory / "narration-cleanup.toml"
    places = {"cache": cache, "database": database, "state": directory / "state"}
    quoted = {name: toml(str(path)) for name, path in places.items()}
    config.write_text(_CONFIG.format(**quoted), encoding="utf-8")
    active = [age for status, ages in _REQUESTS[:2] for age in ages]
    return Sandbox(
        directory,
        cache,
        database,
        config,
        entry_count=len(_AGES) + len(_YOUNG) + 1,
        expired_count=len(_AGES),
        request_count=sum(len(ages) for _, ages in _REQUESTS),
        abandoned_count=sum(1 for age in active if age > 1),
    )


def speak(voice_style: str, text: str) -> bytes:
    """``text`` as the bytes of a WAV file: a tone for each vowel, by the voice's pitch and pace."""
    pitch, pace = VOICES[voice_style]
    length = int(pace * RATE)
    swell = [14_000 * math.sin(math.pi * position / length) for position in range(length)]
    samples = array("h")
    for vowel in filter("aeiou".__contains__, text.lower()):
        step = 2 * math.pi * pitch * (1 + "aeiou".index(vowel) / 10) / RATE
        samples.extend(int(loud * math.sin(step * at)) for at, loud in enumerate(swell))
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(samples.tobytes())
    return file.getvalue()


def _make_cache(cache: Path, working_directory: Path, now: float) -> None:
    """The index as the service writes it: its own fields and order, paths from where it runs."""
    index: dict[str, dict[str, str | int]] = {}
    below = cache.relative_to(working_directory)
    for number, age in enumerate((*_AGES, *_YOUNG)):
        audio = speak(_voice(number), _LINES[number % len(_LINES)])
        key, entry = _narration(below, number, now - age * DAY, len(audio))
        _write(cache / f"{key}.wav", audio, now - age * DAY)
        index[key] = entry
    lost, entry = _narration(below, len(index), now - 2 * DAY, 30_000)
    index[lost] = entry
    forgotten, _ = _narration(below, len(index), now, 0)
    _write(cache / f"{forgotten}.wav", speak(_voice(len(index)), _LINES[0]), now - 12 * DAY)
    cut = speak("ancient_entity", _LINES[1])[:9_000]
    _write(cache / "3f1d.wav.part", cut, now - 2 * DAY)
    with (cache / "cache_index.json").open("w", encoding="utf-8") as file:
        json.dump(index, file, indent=2)


def _voice(number: int) -> str:
    return tuple(VOICES)[(number + number // len(VOICES)) % len(VOICES)]


def _narration(
    folder: Path, number: int, created_at: float, size_bytes: int
) -> tuple[str, dict[str, str | int]]:
    """The key and the entry of a narration whose audio is in ``folder``."""
    voice_style, variant = _voice(number), f"chapter-{number + 1:02d}"
    key = hashlib.sha256(f"{variant}:{voice_style}".encode()).hexdigest()
    return key, {
        "narration_id": _id("narration", number),
        "file_path": str(folder / f"{key}.wav"),
        "created_at": _local(created_at),
        "last_accessed": _local(created_at + 0.25 * HOUR),
        "file_size": size_bytes,
        "variant_id": variant,
        "voice_style": voice_style,
    }


def _write(path: Path, content: bytes, modified_at: float) -> None:
    path.write_bytes(content)
    os.utime(path, (modified_at, modified_at))


def _make_requests(database: Path, now: float) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(database)) as connection:
        connection.execute(_TABLE)
        number = 0
        for status, ages in _REQUESTS:
            for age in ages:
                row = _row(number, status, now - age * HOUR)
                places = ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO requests VALUES ({places})", row)
                number += 1
        connection.commit()


def _row(number: int, status: str, created_at: float) -> tuple[str | int | None, ...]:
    started = None if status in ("queued", "cancelled") else _local(created_at + 1)
    ended = _local(created_at + 40) if status in ("completed", "failed", "cancelled") else None
    return (
        _id("request", number),
        f"chapter-{number + 1:02d}",
        tuple(VOICES)[number % len(VOICES)],
        1 + number % 3,
        status,
        {"completed": 100, "generating": 45}.get(status, 0),
        _local(created_at),
        started,
        ended,
        "the voice model ran out of memory" if status == "failed" else None,
        None,
    )


def _id(kind: str, number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"narration-cleanup demo {kind} {number}"))


def _local(instant: float) -> str:
    """As the service writes its times: local, and without saying so."""
    return datetime.fromtimestamp(instant).isoformat()
