"""The caches of known programs, in their own layouts: what is old and useless, and what stays.

Made from the names that those programs give, for the tests and for the table in the documentation.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.samples import SAMPLE_NOW

NOW = SAMPLE_NOW.timestamp()
DAY = 86_400
OLD, FRESH = 400.0, 0.1

Names = tuple[set[str], set[str]]
"""What goes, and what remains."""

INDEXES = {"xtts-api-server": "cache.json"}
"""Those of the programs that have one."""


def digest(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def put(root: Path, name: str, age_days: float, content: bytes = b"x" * 30) -> str:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (NOW, NOW - age_days * DAY))
    return name


def tree(root: Path, name: Callable[[int], str], *beside: Callable[[str], str]) -> Names:
    """Ten old audio files and ten fresh ones, with what belongs to each beside it."""
    goes, remains = set[str](), set[str]()
    for number in range(20):
        audio = name(number)
        age = OLD if number % 2 else FRESH
        names = {put(root, each, age) for each in (audio, *(it(audio) for it in beside))}
        (goes if number % 2 else remains).update(names)
    return goes, remains


def stem(audio: str) -> str:
    return audio.rpartition(".")[0]


def home_assistant(root: Path) -> Names:
    """With an empty file, for which its phrase stays silent."""
    goes, remains = tree(root, lambda n: f"{digest(n)[:40]}_en-us_-_tts.piper.mp3")
    return goes | {put(root, f"{digest(20)[:40]}_en-us_-_tts.piper.mp3", FRESH, b"")}, remains


def open_webui(root: Path) -> Names:
    """With texts whose audio is gone."""
    speech = tree(root, lambda n: f"speech/{digest(n)}.mp3", lambda name: f"{stem(name)}.json")
    heard = tree(
        root,
        lambda n: f"transcriptions/{uuid.UUID(int=n)}.webm",
        lambda name: f"{stem(name)}.json",
    )
    lonely, fresh = (put(root, f"speech/{digest(20 + n)}.json", (OLD, 1)[n]) for n in range(2))
    return speech[0] | heard[0] | {lonely}, speech[1] | heard[1] | {fresh}


def ovos(root: Path) -> Names:
    return tree(
        root,
        lambda n: f"ovos-tts-plugin-piper/alan-low/{digest(n)[:32]}.wav",
        lambda name: f"{stem(name)}.pho",
    )


def kokoro(root: Path) -> Names:
    return tree(root, lambda n: f"tmp{digest(n)[:8]}.mp3", lambda name: f"{name}.json")


def alltalk(root: Path) -> Names:
    """With what its user has sorted into a folder."""
    kinds = ("myoutputfile_{}.wav", "{}_combined.wav")
    goes, remains = tree(root, lambda n: kinds[n // 2 % 2].format(1_703_149_900 + n))
    return goes, remains | {put(root, "Bedtime/Story 1.wav", OLD)}


def localai(root: Path) -> Names:
    return tree(root, lambda n: f"tts_{n + 1}.wav")


def hashed(root: Path) -> Names:
    return tree(root, lambda n: f"{digest(n)}.wav")


def sonos(root: Path) -> Names:
    return tree(root, lambda n: f"google-{digest(n)[:40]}-en.{('mp3', 'm4a', 'wav')[n % 3]}")


def tts_ultimate(root: Path) -> Names:
    goes, remains = tree(root, lambda n: f"node1/{digest(n)[:32]}.mp3")
    users = {put(root, name, OLD) for name in ("OwnFile_bell.mp3", "node1/Hailing_gong.mp3")}
    return goes, remains | users


def agent_tts(root: Path) -> Names:
    def name(number: int) -> str:
        made = datetime.fromtimestamp(NOW - (OLD if number % 2 else FRESH) * DAY, UTC)
        return f"{made:%Y-%m-%d}/claude-{int(made.timestamp()) + number}.mp3"

    return tree(root, name)


def xtts(root: Path) -> Names:
    """An index by the time of generation, begun anew at the last start: four files are older."""
    goes, remains, entries = set[str](), set[str](), {}
    for number in range(20):
        age = timedelta(days=OLD if number % 2 else FRESH, seconds=number)
        stamp = f"{SAMPLE_NOW - age:%Y%m%d%H%M%S}"
        name = f"{stamp}_cache_{uuid.UUID(int=number)}.wav"
        (goes if number % 2 else remains).add(put(root, name, age / timedelta(days=1)))
        if number >= 4:
            given = {"text": "private", "speaker_name_or_path": "female", "language": "en"}
            entries[stamp] = {**given, "file_name": f"./output/{name}"}
    put(root, INDEXES["xtts-api-server"], FRESH, json.dumps(entries).encode())
    return goes, remains | {INDEXES["xtts-api-server"]}


CACHES = {
    "home-assistant": home_assistant,
    "open-webui": open_webui,
    "ovos": ovos,
    "kokoro-fastapi": kokoro,
    "alltalk": alltalk,
    "localai": localai,
    "opentts": hashed,
    "mimic3": hashed,
    "sonos-http-api": sonos,
    "tts-ultimate": tts_ultimate,
    "agent-tts": agent_tts,
    "xtts-api-server": xtts,
}
