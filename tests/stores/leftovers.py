"""What narration services leave behind without an index, beside what their users put there."""

from __future__ import annotations

import hashlib
import json


def digest(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def temporary(number: int) -> str:
    return f"tmp{digest(number)[:8]}"


TEXT = b'{"input": "private words", "response_format": "mp3"}'
SOUND = b"sound"
USELESS = {
    "empty.mp3": b"",
    "low/EMPTY.Wav": b"",
    "a.mp3.part": SOUND,
    "low/.B.WAV.TMP": SOUND,
    "LOUD.MP3": SOUND,
    "LOUD.JSON": TEXT,
    f"{temporary(1)}.mp3": SOUND,
    f"{temporary(1)}.mp3.json": TEXT,
    f"{temporary(1)}.json": TEXT,
}
"""All of it old."""
SIDECARS = {
    f"{digest(5)}.json": TEXT,
    f"{digest(6)}.TXT": b"private words",
    f"{temporary(7)}.mp3.json": json.dumps({"file": f"{temporary(7)}.mp3"}).encode(),
}
"""Their audio is gone."""
FRESH = {
    f"{digest(2)}.Mp3": SOUND,
    f"{digest(2)}.json": TEXT,
    f"{temporary(3)}.mp3": SOUND,
    f"{temporary(3)}.mp3.json": TEXT,
    "new-empty.mp3": b"",
    "new.mp3.part": SOUND,
    f"{digest(8)}.json": TEXT,
}
"""The service's own, young enough."""
KEPT = {
    "notes.json": TEXT,
    "playlist.m3u": f"{digest(2)}.mp3".encode(),
    "README": b"read me",
    "README.txt": b"read me",
    "settings.json.part": b"{",
    "download.part": b"x",
    "video.iso.tmp": b"x",
    "tmpab12cd34": b"x",
    "cache_index.json": TEXT,
    "cache.json": TEXT,
    f"{digest(10)}.json": json.dumps({digest(2): {"text": "a"}, digest(3): {}}).encode(),
    f"{digest(11)}.json": json.dumps({"files": [f"{digest(2)}.mp3"]}).encode(),
    f"{digest(12)}.json": json.dumps([{"id": 1}, {"id": 2}]).encode(),
    f"{digest(13)}.json": b" " * (1 << 20),
    f"{digest(14)[:32]}.json": TEXT,
    f"{digest(15)}.yaml": b"x",
    f"other/{digest(16)}.json": TEXT,
    "backup20240101.json": TEXT,
}
"""The user's: in no form of the audio's there, or no text of one narration. All of it old."""
