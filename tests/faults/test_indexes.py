"""An index that is empty, torn or not understood stops the cache half, and only that half."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.faults.server import Run, ToolServer
from tests.samples import (
    TIMEOUT,
    TTL,
    EntrySpec,
    Sample,
    cache_key,
    canonical_entries,
    canonical_requests,
    make_cache,
    make_requests,
    read_index,
    read_requests,
    tree_digest,
    write_index,
)


def _nested(index: bytes) -> bytes:
    return b'{"key": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


NOT_UNDERSTOOD: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda index: b"",
    "only blanks": lambda index: b" \n\n",
    "torn in the middle": lambda index: index[: len(index) // 2],
    "torn between two members": lambda index: index[: index.index(b"\n  },") + 5],
    "without its end": lambda index: index[:-1],
    "followed by an older, longer index": lambda index: index + index[-300:],
    "utf-16": lambda index: index.decode().encode("utf-16"),
    "not utf-8": lambda index: index.replace(b"variant-0001", b"variant-\xff\xfe"),
    "zero bytes": lambda index: bytes(len(index)),
    "zero bytes in the middle": lambda index: index[:2000] + bytes(512) + index[2512:],
    "a list": lambda index: b"[\n  1\n]",
    "null": lambda index: b"null",
    "a string": lambda index: b'"cache"',
    "nested 100,000 deep": _nested,
}


def _now_sample(root: Path) -> Sample:
    """The canonical sample seen from now, without what lies at a cutoff."""
    now, minute = datetime.now(UTC), timedelta(minutes=1)
    entries = [entry for entry in canonical_entries() if abs(entry.age - TTL) > minute]
    rows = [row for row in canonical_requests() if abs(row.age - TIMEOUT) > 1.5 * minute]
    cache = make_cache(root / "cache" / "narration", now=now, entries=entries)
    database = root / "requests.db"
    return Sample(root, cache, database, make_requests(database, now=now, rows=rows), now)


def _run(server: ToolServer, root: Path, *options: str) -> Run:
    arguments = ["run", "--json", "--cache-dir", str(root / "cache" / "narration"), *options]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(root.parent / "state")}
    return server.run(arguments, root.parent, environment)


_SHORT = ("empty", "torn in the middle", "nested 100,000 deep")
"""The rest takes two seconds each as well: as long as an index is given to be written whole."""


@pytest.mark.waits
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in _SHORT else [pytest.mark.faults])
        for name in NOT_UNDERSTOOD
    ],
)
def test_nothing_is_removed_and_requests_are_cancelled_all_the_same(
    server: ToolServer, tmp_path: Path, name: str
) -> None:
    sample = _now_sample(tmp_path / "root")
    sample.cache.index.write_bytes(NOT_UNDERSTOOD[name](sample.cache.index.read_bytes()))
    before = _audio_and_index(sample.root)
    rows = read_requests(sample.database)
    run = _run(server, sample.root, "--requests-db", str(sample.database))
    assert run.code == 3, run.said
    assert _audio_and_index(sample.root) == before
    problems = json.loads(run.output)["problems"]
    where = str(sample.cache.directory)
    assert any(where in problem["message"] for problem in problems), problems
    after = read_requests(sample.database)
    changed = {key for key in rows if after[key] != rows[key]}
    assert {row.request_id for row in sample.abandoned} <= changed
    assert all(after[key][4] == "cancelled" for key in changed)


@pytest.mark.waits
def test_without_the_other_half_the_run_has_failed(server: ToolServer, tmp_path: Path) -> None:
    sample = _now_sample(tmp_path / "root")
    sample.cache.index.write_bytes(b"")
    run = _run(server, sample.root)
    assert run.code == 1, run.said
    assert "empty" in run.said


_REFUSED = ("a number of 5,000 digits", "NaN")
STRANGE_MEMBERS = {
    "a number of 5,000 digits": '"file_size": ' + "9" * 5_000,
    "NaN": '"file_size": NaN',
    "a lone surrogate": '"variant_id": "\\ud800"',
    "a field more": '"extra": true',
    "a field twice": '"voice_style": "eerie_narrator"',
    "a name of 10 MB": f'"{"n" * 10_000_000}": 1',
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.faults] if name in _REFUSED else [])
        for name in STRANGE_MEMBERS
    ],
)
def test_a_strange_member_is_kept_or_stops_the_half(
    server: ToolServer, tmp_path: Path, name: str
) -> None:
    """Whichever of the two: no audio of an unexpired entry goes, and no byte of one changes."""
    sample = _now_sample(tmp_path / "root")
    text = sample.cache.index.read_text()
    strange = text.replace('"narration_id"', f'{STRANGE_MEMBERS[name]},\n    "narration_id"', 1)
    sample.cache.index.write_text(strange)
    before = tree_digest(sample.root)
    run = _run(server, sample.root)
    after = tree_digest(sample.root)
    for entry in sample.kept:
        path = f"cache/narration/{entry.name}"
        assert after[path] == before[path]
    left = sample.cache.index.read_text()
    first = strange[: strange.index("  },\n")]
    if left != strange:
        assert run.code in (0, 3)
        assert left.startswith(first) or sample.cache.entries[0].key not in left
        assert [key for key in (e.key for e in sample.cache.entries) if f'"{key}": {{' in left][
            -len(sample.kept) :
        ] == [entry.key for entry in sample.kept]
    else:
        assert run.code != 0, run.said


@pytest.mark.parametrize(
    "key",
    ["\x00=", "k" * 300, "..", "", "a/b", "../victim", ".narration-cleanup", "cache_index.json"],
    ids=ascii,
)
def test_a_key_that_is_no_name_harms_nothing(server: ToolServer, tmp_path: Path, key: str) -> None:
    """An entry that leads elsewhere is kept, whatever its key; the honest ones go."""
    root = tmp_path / "root"
    specs = [EntrySpec(age=timedelta(days=30)) for _ in range(3)]
    cache = make_cache(root / "cache" / "narration", now=datetime.now(UTC), entries=specs)
    first, *honest = cache.entries
    index = read_index(cache.index)
    (cache.directory / first.name).unlink()
    strange = {**index.pop(first.key), "file_path": "../../victim.mp3"}
    write_index(cache.index, {key: strange, **index})
    run = _run(server, root)
    assert run.code == 3, run.said
    assert read_index(cache.index) == {key: strange}
    assert not any((cache.directory / entry.name).exists() for entry in honest)
    subjects = [problem["subject"] for problem in json.loads(run.output)["problems"]]
    assert subjects == [key]


def test_paths_that_lead_elsewhere_are_named_and_left_alone(
    server: ToolServer, tmp_path: Path
) -> None:
    """Out of the folder, absolute, a symlink, a pipe: four problems; the honest ones go."""
    root = tmp_path / "root"
    old = timedelta(days=30)
    specs = [EntrySpec(age=old) for _ in range(8)]
    specs += [EntrySpec(age=timedelta(days=1)) for _ in range(3)]
    now = datetime.now(UTC)
    cache = make_cache(root / "cache" / "narration", now=now, entries=specs)
    victim = root / "victim.mp3"
    victim.write_bytes(b"not to be touched")
    index = read_index(cache.index)
    climbing, absolute, symlink, pipe, *honest = cache.entries[:8]
    index[climbing.key]["file_path"] = "cache/narration/../../victim.mp3"
    index[absolute.key]["file_path"] = str(victim)
    for entry in (climbing, absolute, symlink, pipe):
        (cache.directory / entry.name).unlink()
    (cache.directory / symlink.name).symlink_to(victim)
    os.mkfifo(cache.directory / pipe.name)
    write_index(cache.index, index)
    before = tree_digest(root)
    run = _run(server, root)
    assert run.code == 3, run.said
    after = tree_digest(root)
    assert after["victim.mp3"] == before["victim.mp3"]
    for entry in (symlink, pipe, *cache.entries[8:]):
        path = f"cache/narration/{entry.name}"
        assert after[path] == before[path]
    assert not any((cache.directory / entry.name).exists() for entry in honest)
    strange = [entry.key for entry in (climbing, absolute, symlink, pipe)]
    subjects = {problem["subject"] for problem in json.loads(run.output)["problems"]}
    names = {entry.name for entry in (climbing, absolute, symlink, pipe)}
    assert len(subjects & (set(strange) | names)) == 4, subjects
    assert list(read_index(cache.index)) == strange + [e.key for e in cache.entries[8:]]


def test_what_is_not_a_regular_file_is_skipped(server: ToolServer, tmp_path: Path) -> None:
    """A directory, a socket, a broken symlink, a symlink to a live file of this very cache."""
    root = tmp_path / "root"
    specs = [EntrySpec(age=timedelta(days=30), file=False) for _ in range(4)]
    specs += [EntrySpec(age=timedelta(days=1))]
    cache = make_cache(root / "cache" / "narration", now=datetime.now(UTC), entries=specs)
    folder, plug, broken, sibling, live = (cache.directory / e.name for e in cache.entries)
    folder.mkdir()
    (folder / "inside.mp3").write_bytes(b"not to be touched")
    broken.symlink_to("nowhere.mp3")
    sibling.symlink_to(live.name)
    here = os.open(cache.directory, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{here}/{plug.name}")
    finally:
        os.close(here)
    before = _audio_and_index(root)
    run = _run(server, root)
    assert run.code == 3, run.said
    assert _audio_and_index(root) == before
    assert len(json.loads(run.output)["problems"]) >= 4


def test_a_file_that_two_entries_share_goes_only_with_both(
    server: ToolServer, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    day = timedelta(days=1)
    specs = [EntrySpec(age=30 * day), EntrySpec(age=day), *[EntrySpec(age=30 * day)] * 2]
    cache = make_cache(root / "cache" / "narration", now=datetime.now(UTC), entries=specs)
    expired, live, one, other = cache.entries
    index = read_index(cache.index)
    index[expired.key]["file_path"] = index[live.key]["file_path"]
    index[other.key]["file_path"] = index[one.key]["file_path"]
    write_index(cache.index, index)
    _run(server, root)
    assert (cache.directory / live.name).exists()
    assert not (cache.directory / one.name).exists()
    left = read_index(cache.index)
    assert live.key in left
    assert not {one.key, other.key} & set(left)


def test_a_file_with_another_hard_link_goes_and_frees_nothing(
    server: ToolServer, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    specs = [EntrySpec(age=timedelta(days=30))]
    cache = make_cache(root / "cache" / "narration", now=datetime.now(UTC), entries=specs)
    backup = tmp_path / "backup.mp3"
    backup.hardlink_to(cache.directory / cache.entries[0].name)
    content = backup.read_bytes()
    run = _run(server, root)
    assert run.code == 0, run.said
    done = json.loads(run.output)["cache"]
    assert (done["removed_count"], done["freed_bytes"]) == (1, 0)
    assert not (cache.directory / cache.entries[0].name).exists()
    assert backup.read_bytes() == content


def test_names_are_escaped_wherever_they_are_shown(server: ToolServer, tmp_path: Path) -> None:
    root = tmp_path / "root"
    specs = [EntrySpec(age=timedelta(days=30), file=False)]
    cache = make_cache(root / "cache" / "narration", now=datetime.now(UTC), entries=specs)
    index = read_index(cache.index)
    fields = index.pop(cache.entries[0].key)
    evil = "\x1b[2Jnew\nline\u202egnp.mp3"
    fields["file_path"] = f"cache/narration/../{evil}"
    write_index(cache.index, {**index, evil: fields, cache_key("a", "b"): fields})
    arguments = ["run", "--cache-dir", str(cache.directory)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    run = server.run(arguments, tmp_path, environment)
    assert run.code == 3, run.said
    assert not {"\x1b", "\u202e"} & set(run.said)
    assert "\nline" not in run.said


def _audio_and_index(root: Path) -> dict[str, str]:
    """All but the database, the tool's own folder, and the time of the cache directory."""
    return {
        name: line
        for name, line in tree_digest(root).items()
        if name.startswith("cache/narration/") and ".narration-cleanup" not in name
    }
