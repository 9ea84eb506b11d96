"""Caches of other shapes, a size limit, and leftovers: as an operator runs the tool over them."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.samples import (
    SAMPLE_NOW,
    EntrySpec,
    audio,
    evenly_aged,
    make_cache,
    read_index,
    strict_load,
    tree_digest,
)
from tests.test_main_job import cleanup, document

NOW = SAMPLE_NOW.timestamp()
DAY = 86_400
MB = 1024 * 1024
OWN = ".narration-cleanup"


def put(path: Path, age_days: float, content: bytes = b"x" * 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (NOW, NOW - age_days * DAY))
    return path


def ages() -> Iterator[float]:
    """Half of them old: 8 to 40 days, and up to exactly 7."""
    number = 0
    while True:
        yield 8 + number % 32 if number % 2 else number % 8
        number += 1


def home_assistant(root: Path) -> tuple[set[str], set[str]]:
    """2,000 files, flat, as `<hash>_<language>_<options>_<engine>.mp3`; what is old, what stays."""
    old: set[str] = set()
    stays: set[str] = set()
    age = ages()
    engines = ("tts.piper", "google_translate", "cloud")
    for number in range(1_990):
        text = hashlib.sha1(str(number).encode()).hexdigest()
        options = "-" if number % 3 else hashlib.blake2s(text.encode(), digest_size=5).hexdigest()
        name = f"{text}_en-us_{options}_{engines[number % 3]}.mp3"
        days = next(age)
        put(root / name, days, audio(number, 200))
        (old if days > 7 else stays).add(name)
    for name in ("configuration.yaml", "home-assistant_v2.db", "README", ".gitkeep", "x.log"):
        put(root / name, 300)
        put(root / f"old-{name}", 3)
        stays |= {name, f"old-{name}"}
    return old, stays


def ovos(root: Path) -> tuple[set[str], set[str]]:
    """2,000 files as `<plugin>/<voice>/<hash>.wav`, most with phonemes beside them."""
    old: set[str] = set()
    stays: set[str] = set()
    age = ages()
    for number in range(1_050):
        text = hashlib.md5(str(number).encode()).hexdigest()
        plugin = ("ovos-tts-plugin-piper", "ovos-tts-plugin-mimic", "ovos-tts-server")[number % 3]
        stem = f"{plugin}/{('alan-low', 'ap', 'default')[number % 3]}-{number % 4}/{text}"
        days = next(age)
        put(root / f"{stem}.wav", days, audio(number, 300))
        mine = {f"{stem}.wav"}
        if number % 10:
            put(root / f"{stem}.pho", 2 if number % 4 else 50, b"[]")
            mine.add(f"{stem}.pho")
        (old if days > 7 else stays).update(mine)
    for number, name in enumerate(
        ("plugin.yaml", "cache.db", "LICENSE", "lonely.pho", "voice.onnx")
    ):
        put(root / "ovos-tts-plugin-piper" / name, 100 + number)
        stays.add(f"ovos-tts-plugin-piper/{name}")
    return old, stays


def files(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and OWN not in p.parts}


@pytest.mark.parametrize(("lay_out", "suffixes"), [(home_assistant, 1), (ovos, 2)])
def test_exactly_the_old_audio_and_its_sidecars_go(
    lay_out: Any, suffixes: int, tmp_path: Path
) -> None:
    root = tmp_path / "tts"
    old, stays = lay_out(root)
    assert len(old | stays) >= 2_000
    assert len({Path(name).suffix for name in old}) == suffixes
    before = tree_digest(root)
    without_index = {
        "NARRATION_CACHE_INDEX": "none",
        "NARRATION_CLEANUP_STATE_DIR": f"{tmp_path}/s",
    }
    planned = document("dry-run", "--cache-dir", root, **without_index)
    assert tree_digest(root) == before
    named = [[a["file"], *a.get("sidecars", ())] for a in planned["actions"]]
    assert {name for names in named for name in names} == old
    assert planned["cache"]["planned_bytes"] == sum((root / name).stat().st_size for name in old)

    done = document("run", "--cache-dir", root, **without_index)
    assert files(root) == stays
    assert {name: before[name] for name in stays} == {
        name: digest for name, digest in tree_digest(root).items() if name in stays
    }
    assert done["cache"]["removed_count"] == done["cache"]["planned_count"] == len(named)
    assert done["cache"]["freed_bytes"] == planned["cache"]["planned_bytes"]
    assert done["problems"] == []
    assert os.listdir(root / OWN) == []
    again = document("run", "--cache-dir", root, **without_index)
    assert again["cache"]["removed_count"] == 0


def test_emptied_folders_go_where_that_is_asked_for(tmp_path: Path) -> None:
    root = tmp_path / "tts"
    put(root / "plugin/voice/old.wav", 30)
    put(root / "plugin/other/new.wav", 1)
    (root / "never-used").mkdir()
    config = tmp_path / "config.toml"
    config.write_text(f'[cache]\ndir = "{root}"\nindex = "none"\nremove_empty_dirs = true\n')
    cleanup("--config", config, "run", NARRATION_CLEANUP_STATE_DIR=f"{tmp_path}/s")
    assert not (root / "plugin/voice").exists()
    assert files(root) == {"plugin/other/new.wav"}
    assert (root / "never-used").is_dir()


def test_over_the_limit_the_least_recently_used_go_down_to_the_mark(tmp_path: Path) -> None:
    """700 MB of sparse audio, a limit of 500: down to 450, in order of last use, the pin stays."""
    specs = [
        EntrySpec(timedelta(hours=6), accessed=timedelta(minutes=7 * (n * 37 % 70)), size=1)
        for n in range(70)
    ]
    sample = make_cache(tmp_path / "cache" / "narration", entries=specs)
    entries = read_index(sample.index)
    for number, entry in enumerate(sample.entries):
        size = (5 + number % 11 if number < 66 else 10) * MB
        os.truncate(sample.directory / entry.name, size)
        os.utime(sample.directory / entry.name, (NOW, entry.created_at.timestamp()))
        entries[entry.key]["file_size"] = size
    sample.index.write_text(json.dumps(entries, indent=2))
    total = sum(int(entry["file_size"]) for entry in entries.values())
    assert total > 690 * MB
    oldest = min(entries, key=lambda key: entries[key]["last_accessed"])
    config = tmp_path / "config.toml"
    config.write_text(
        f'[cache]\ndir = "{sample.directory}"\nmax_size_mb = 500\nkeep = ["{oldest[:12]}*"]\n'
        f'[cleanup]\nstate_dir = "{tmp_path}/state"\n'
    )

    size, expected = total, []
    for key in sorted(entries, key=lambda key: entries[key]["last_accessed"]):
        if size > 450 * MB and key != oldest:
            expected.append(key)
            size -= int(entries[key]["file_size"])

    off = document("--config", config, "dry-run")
    assert off["actions"] == []
    planned = document("--config", config, "dry-run", "--enforce-max-size")
    assert [action["key"] for action in planned["actions"]] == expected
    told = cleanup("--config", config, "dry-run", "-v", "--enforce-max-size").stdout
    assert f"    {oldest}  kept by {oldest[:12]}*\n" in told
    done = document("--config", config, "run", "--enforce-max-size")
    assert [(a["key"], a["reason"], a["outcome"]) for a in done["actions"]] == [
        (key, "evicted", "done") for key in expected
    ]
    left = strict_load(sample.index)
    assert left == {key: fields for key, fields in entries.items() if key not in expected}
    assert {path.stem for path in sample.directory.glob("*.mp3")} == set(left)
    assert oldest in left
    assert 430 * MB < sum(int(fields["file_size"]) for fields in left.values()) <= 450 * MB


def test_what_keeps_the_cache_above_its_limit_is_said(tmp_path: Path) -> None:
    sample = make_cache(tmp_path / "cache", entries=evenly_aged(4, timedelta(2), timedelta(1)))
    config = tmp_path / "config.toml"
    config.write_text(
        f'[cache]\ndir = "{sample.directory}"\nmax_size_mb = 0.001\nenforce_max_size = true\n'
        f'keep = ["variant-*"]\n[cleanup]\nstate_dir = "{tmp_path}/state"\n'
    )
    told = cleanup("--config", config, "dry-run", "-v", expect=3).stdout
    for entry in sample.entries:
        assert f"    {entry.key}  kept by variant-*\n" in told
    assert "protected: 4 entries of 0.00 MB (dry-run -v says by what)" in told


def test_free_space_is_made(tmp_path: Path) -> None:
    """Asked for more than the disk can have, nothing goes: it would help nobody."""
    sample = make_cache(tmp_path / "cache", entries=evenly_aged(6, timedelta(2), timedelta(1)))
    state = {"NARRATION_CLEANUP_STATE_DIR": f"{tmp_path}/state"}
    where = ["--cache-dir", sample.directory]
    assert document("dry-run", *where, "--min-free-mb", "0.001", **state)["actions"] == []
    done = document("run", *where, "--min-free-mb", 10**9, expect=3, **state)
    assert done["cache"]["removed_by_reason"] == {}
    assert [p["code"] for p in done["problems"]][:1] == ["over_limit"]
    assert len(read_index(sample.index)) == 6


def test_voices_with_a_ttl_of_their_own_and_pins_are_explained(tmp_path: Path) -> None:
    voices = ["eerie_narrator", "demonic_growl", "eerie_narrator", "ghostly_whisper"]
    specs = [
        EntrySpec(timedelta(days=days), voice_style=voice, variant_id=f"v{number}")
        for number, (voice, days) in enumerate(zip(voices, [20, 20, 40, 20], strict=True))
    ]
    sample = make_cache(tmp_path / "cache", entries=specs)
    config = tmp_path / "config.toml"
    config.write_text(
        f'[cache]\ndir = "{sample.directory}"\nkeep = ["v3", "intro-*"]\n'
        "[cache.ttl_days_by_voice_style]\neerie_narrator = 30\n"
        f'[cleanup]\nstate_dir = "{tmp_path}/state"\n'
    )
    told = cleanup("--config", config, "dry-run", "-v").stdout
    long_lived, gone, too_old, pinned = (entry.key for entry in sample.entries)
    assert f"    {long_lived}  voice style eerie_narrator has 30 days\n" in told
    assert f"    {pinned}  kept by v3\n" in told
    done = document("--config", config, "run")
    assert {action["key"] for action in done["actions"]} == {gone, too_old}
    assert set(read_index(sample.index)) == {long_lived, pinned}


def test_exactly_the_leftovers_go_each_under_its_reason(tmp_path: Path) -> None:
    """5 orphans of which 2 are old, 3 partials of which 1 is, 2 dangling entries, 1 empty file."""
    specs = [EntrySpec(timedelta(days=n % 6), file=n not in (3, 7)) for n in range(20)]
    specs[11] = EntrySpec(timedelta(days=1), size=0)
    specs.append(EntrySpec(timedelta(days=30)))
    sample = make_cache(tmp_path / "cache" / "narration", entries=specs)
    cache = sample.directory
    for number, days in enumerate((8, 300, 7, 1, 0.1)):
        put(cache / f"orphan{number}.mp3", days)
    put(cache / "a.mp3.part", 2)
    put(cache / ".b.mp3.tmp", 0.9)
    put(cache / "c.part", 0.01)
    for name in ("cache_index.json.lock", "cache_index.json.bak", "cache_index.json.20261101"):
        put(cache / name, 50)
    before = tree_digest(cache)
    keys = [entry.key for entry in sample.entries]
    expected = {
        ("orphan", "orphan0.mp3"),
        ("orphan", "orphan1.mp3"),
        ("partial", "a.mp3.part"),
        ("dangling", sample.entries[3].name),
        ("dangling", sample.entries[7].name),
        ("empty", sample.entries[11].name),
        ("expired", sample.entries[20].name),
    }
    state = {"NARRATION_CLEANUP_STATE_DIR": f"{tmp_path}/state"}
    state["NARRATION_CACHE_REMOVE_DANGLING"] = "true"
    planned = document("dry-run", "--cache-dir", cache, **state)
    assert {(a["reason"], a["file"]) for a in planned["actions"]} == expected
    assert tree_digest(cache) == before
    done = document("run", "--cache-dir", cache, **state)
    assert [(a["reason"], a["file"], a["outcome"]) for a in done["actions"]] == [
        (a["reason"], a["file"], "done") for a in planned["actions"]
    ]
    assert done["cache"]["removed_by_reason"] == Counter(reason for reason, _ in expected)
    assert done["cache"]["freed_bytes"] == planned["cache"]["planned_bytes"]
    left = [key for n, key in enumerate(keys) if n not in (3, 7, 11, 20)]
    assert list(strict_load(sample.index)) == left
    after = tree_digest(cache)
    gone = {name for reason, name in expected if reason != "dangling"}
    unchanged = before.keys() - gone - {"cache_index.json", "."}
    assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}
    assert not gone & after.keys()
    assert after.keys() - before.keys() == {OWN}


def test_each_kind_of_leftover_can_be_left(tmp_path: Path) -> None:
    specs = [EntrySpec(timedelta(days=1), file=False), EntrySpec(timedelta(days=1), size=0)]
    sample = make_cache(tmp_path / "cache", entries=specs)
    put(sample.directory / "orphan.mp3", 90)
    put(sample.directory / "a.mp3.part", 90)
    config = tmp_path / "config.toml"
    config.write_text(
        f'[cache]\ndir = "{sample.directory}"\nremove_orphans = false\n'
        "partial_hours = 0\nremove_empty_audio = false\n"
        f'[cleanup]\nstate_dir = "{tmp_path}/state"\n'
    )
    before = tree_digest(sample.directory)
    assert document("--config", config, "run")["actions"] == []
    after = tree_digest(sample.directory)
    assert after.keys() - before.keys() == {OWN}
    assert {name: after[name] for name in before.keys() - {"."}} == {
        name: before[name] for name in before.keys() - {"."}
    }


def test_a_service_that_started_empty_leaves_only_orphans(tmp_path: Path) -> None:
    """Its index did not parse, it began anew: every file from before is an orphan, and ages out."""
    sample = make_cache(tmp_path / "cache", entries=evenly_aged(10, timedelta(12), timedelta(3)))
    sample.index.write_text("{}")
    done = document(
        "run", "--cache-dir", sample.directory, NARRATION_CLEANUP_STATE_DIR=f"{tmp_path}/s"
    )
    old = [entry for entry in sample.entries if SAMPLE_NOW - entry.created_at > timedelta(7)]
    assert done["cache"]["removed_by_reason"] == {"orphan": len(old)}
    assert {path.name for path in sample.directory.glob("*.mp3")} == {
        entry.name for entry in sample.entries if entry not in old
    }


def test_a_request_table_needs_no_cache_and_a_tree_no_requests(tmp_path: Path) -> None:
    """The halves stay independent: a broken database beside a tree stops only its half."""
    root = tmp_path / "tts"
    put(root / "old.mp3", 30)
    database = tmp_path / "requests.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE other (x)")
    done = document(
        "run", "--cache-dir", root, "--requests-db", database, expect=3,
        NARRATION_CACHE_INDEX="none", NARRATION_CLEANUP_STATE_DIR=f"{tmp_path}/s",
    )  # fmt: skip
    assert done["outcome"] == "partial"
    assert files(root) == set()


@pytest.mark.parametrize("index", ["none", "cache_index.json"])
def test_times_of_another_age_of_the_world_stop_neither_half(tmp_path: Path, index: str) -> None:
    """In nanoseconds they are more than 64 bits hold; some file systems keep them."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        pytest.skip("needs a file system that keeps any time")
    with tempfile.TemporaryDirectory(dir=memory) as place:
        cache = Path(place, "cache")
        sample = make_cache(cache, entries=[EntrySpec(timedelta(days=1))])
        for name, time in (("past.mp3", -99_999_999_999), ("future.mp3", 300_000_000_000)):
            put(cache / name, 1)
            subprocess.run(["touch", "-d", f"@{time}", cache / name], check=True)
        arguments = ["--cache-dir", cache]
        told = cleanup(
            *("run", "--json", *arguments),
            expect=3,
            NARRATION_CACHE_INDEX=index,
            NARRATION_CLEANUP_STATE_DIR=f"{tmp_path}/state",
        )
        done = json.loads(told.stdout)
        assert not done["actions"]
        codes = {problem["code"] for problem in done["problems"]}
        assert codes == {"created_in_future", "no_mtime"}
        expected = {sample.entries[0].name, "future.mp3", "past.mp3"}
        assert {path.name for path in cache.iterdir()} >= expected


def test_an_empty_orphan_is_no_entry(tmp_path: Path) -> None:
    sample = make_cache(tmp_path / "cache", entries=[EntrySpec(timedelta(days=1))])
    put(sample.directory / "empty.mp3", 0.1, b"")
    arguments = ["--cache-dir", sample.directory]
    told = cleanup("dry-run", *arguments).stdout
    assert "Would remove 0 of 1 entry and 1 file without an entry" in told
    done = document("run", *arguments, NARRATION_CLEANUP_STATE_DIR=f"{tmp_path}/state")
    (action,) = done["actions"]
    assert (action["kind"], action["reason"]) == ("remove_file", "orphan")
    assert done["cache"]["kept_count"] == 1
    jsonschema.validate(done, json.loads(cleanup("schema", "run").stdout))
    assert not (sample.directory / "empty.mp3").exists()


def test_the_document_of_sidecars_whose_audio_is_gone_keeps_to_its_schema(tmp_path: Path) -> None:
    root = tmp_path / "tts"
    kept, left, recent = (hashlib.sha1(text).hexdigest() for text in (b"a", b"b", b"c"))
    put(root / f"{kept}.wav", 1)
    put(root / f"{left}.json", 20, b'{"text": "private"}')
    put(root / f"{recent}.json", 2, b'{"text": "recent"}')
    environment = {
        "NARRATION_CACHE_INDEX": "none",
        "NARRATION_CACHE_REMOVE_SIDECARS": "true",
        "NARRATION_CLEANUP_STATE_DIR": f"{tmp_path}/state",
    }
    schema = json.loads(cleanup("schema", "run").stdout)
    for command in ("dry-run", "run"):
        told = document(command, "--cache-dir", root, **environment)
        jsonschema.validate(told, schema)
        (action,) = told["actions"]
        assert (action["file"], action["reason"]) == (f"{left}.json", "orphan")
        assert action["age_seconds"] == pytest.approx(20 * 86_400, abs=600)
    assert files(root) == {f"{kept}.wav", f"{recent}.json"}
