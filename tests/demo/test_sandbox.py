"""The sandbox: audio that plays, an index and a database as the service writes them."""

from __future__ import annotations

import hashlib
import io
import sqlite3
import tomllib
import wave
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from narration_cleanup.core.errors import CleanupError, RefusedError
from narration_cleanup.demo.sandbox import VOICES, make_sandbox, speak
from narration_cleanup.settings import load_settings, require_target
from tests.samples import REQUESTS_SCHEMA, SAMPLE_NOW, read_index, read_requests, strict_load

NOW = SAMPLE_NOW.timestamp()


def test_every_voice_can_be_played_and_sounds_like_itself() -> None:
    sounds = {style: speak(style, "We have been waiting") for style in VOICES}
    assert len(set(sounds.values())) == len(VOICES)
    for style, sound in sounds.items():
        assert sound == speak(style, "We have been waiting")
        with wave.open(io.BytesIO(sound)) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
            seconds = file.getnframes() / file.getframerate()
            frames = memoryview(file.readframes(file.getnframes())).cast("h")
        assert 0.5 < seconds < 4
        assert 5_000 < max(frames) < 32_767


def test_the_sandbox_is_what_the_service_would_have_written(tmp_path: Path) -> None:
    sandbox = make_sandbox(tmp_path / "new" / "demo", NOW)
    index = strict_load(sandbox.cache / "cache_index.json")
    assert len(index) == sandbox.entry_count
    missing = []
    for key, fields in index.items():
        named = f"{fields['variant_id']}:{fields['voice_style']}".encode()
        assert key == hashlib.sha256(named).hexdigest()
        path = sandbox.directory / str(fields["file_path"])
        assert path == sandbox.cache / f"{key}.wav"
        if not path.exists():
            missing.append(key)
            continue
        assert path.stat().st_size == fields["file_size"]
        with wave.open(str(path)) as file:
            assert file.getnframes() > 8_000
    assert len(missing) == 1
    expired = [
        fields
        for fields in index.values()
        if str(fields["created_at"]) < (SAMPLE_NOW - timedelta(days=7)).isoformat()[:19]
    ]
    assert len(expired) == sandbox.expired_count == 10
    assert {str(fields["voice_style"]) for fields in index.values()} == set(VOICES)
    names = {path.name for path in sandbox.cache.iterdir()} - {f"{key}.wav" for key in index}
    assert len(names) == 3
    assert {"cache_index.json", "3f1d.wav.part"} <= names


def test_the_requests_are_a_closed_database(tmp_path: Path) -> None:
    sandbox = make_sandbox(tmp_path / "demo", NOW)
    rows = read_requests(sandbox.database)
    assert len(rows) == sandbox.request_count
    limit = (SAMPLE_NOW - timedelta(hours=1)).isoformat()[:19]
    waiting = [row for row in rows.values() if row[4] in ("queued", "generating")]
    assert len([row for row in waiting if str(row[6]) < limit]) == sandbox.abandoned_count == 3
    with closing(sqlite3.connect(sandbox.database)) as connection:
        (made,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'requests'")
    assert made[0] == REQUESTS_SCHEMA
    assert sorted(path.name for path in sandbox.directory.iterdir()) == [
        "cache",
        "narration-cleanup.toml",
        "requests.db",
    ]


def test_the_settings_lead_into_the_sandbox_and_nowhere_else(tmp_path: Path) -> None:
    sandbox = make_sandbox(tmp_path / 'a "quoted" \\ \x7f name', NOW)
    settings = load_settings(flags={}, config_file=sandbox.config, environ={})
    require_target(settings)
    assert settings.warnings == ()
    assert str(settings.cache.dir) == str(sandbox.cache)
    assert str(settings.requests.db) == str(sandbox.database)
    assert settings.cleanup.state_dir == sandbox.directory / "state"
    assert tomllib.loads(sandbox.config.read_text())["cache"]["dir"] == str(sandbox.cache)


def test_two_sandboxes_of_one_moment_are_the_same(tmp_path: Path) -> None:
    one, two = (make_sandbox(tmp_path / name, NOW) for name in ("one", "two"))
    assert read_index(one.cache / "cache_index.json") == read_index(two.cache / "cache_index.json")
    assert read_requests(one.database) == read_requests(two.database)


def test_what_is_there_already_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RefusedError, match="is not an empty folder"):
        make_sandbox(tmp_path, NOW)
    with pytest.raises(RefusedError, match="is not an empty folder"):
        make_sandbox(tmp_path / "mine.txt", NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(CleanupError, match=r"cannot make a sandbox in .*: Not a directory"):
        make_sandbox(tmp_path / "mine.txt" / "demo", NOW)
    with pytest.raises(CleanupError, match="its name is not UTF-8"):
        make_sandbox(tmp_path / "name\udcff", NOW)
