"""The caches and queues of known programs: configured, tried and cleaned in their own layouts.

The trees and tables are made here, from the names and columns that those programs use.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import tomllib
import uuid
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time
from typer.testing import CliRunner

from narration_cleanup.cli.config import config_app
from narration_cleanup.core.errors import CleanupError, ConfigError
from narration_cleanup.settings.programs import PROGRAMS, UNSUPPORTED
from tests.samples import SAMPLE_NOW, EntrySpec, evenly_aged, make_cache, make_sample, tree_digest
from tests.test_main_job import document

NOW = SAMPLE_NOW.timestamp()
DAY = 86_400
OLD, FRESH = 400.0, 0.1
OWN = ".narration-cleanup"

Names = tuple[set[str], set[str]]
"""What goes, and what remains."""


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
    return tree(root, lambda n: f"{digest(n)[:40]}_en-us_-_tts.piper.mp3")


def open_webui(root: Path) -> Names:
    speech = tree(root, lambda n: f"speech/{digest(n)}.mp3", lambda name: f"{stem(name)}.json")
    heard = tree(
        root,
        lambda n: f"transcriptions/{uuid.UUID(int=n)}.webm",
        lambda name: f"{stem(name)}.json",
    )
    return speech[0] | heard[0], speech[1] | heard[1]


def ovos(root: Path) -> Names:
    return tree(
        root,
        lambda n: f"ovos-tts-plugin-piper/alan-low/{digest(n)[:32]}.wav",
        lambda name: f"{stem(name)}.pho",
    )


def kokoro(root: Path) -> Names:
    return tree(root, lambda n: f"tmp{digest(n)[:8]}.mp3")


def alltalk(root: Path) -> Names:
    kinds = ("myoutputfile_{}.wav", "{}_combined.wav")
    return tree(root, lambda n: kinds[n % 2].format(1_703_149_900 + n))


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
}


def files(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and OWN not in p.parts}


def iso(hours: float, ending: str = "") -> str:
    made = SAMPLE_NOW - timedelta(hours=hours)
    return made.replace(tzinfo=None).isoformat(timespec="milliseconds") + ending


def agent_tts_table(database: sqlite3.Connection) -> None:
    database.execute(
        "CREATE TABLE tts_queue (id INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL, filename TEXT,"
        " state TEXT CHECK(state IN ('queued', 'playing', 'played', 'error', 'user')) NOT NULL,"
        " created_at INTEGER)"
    )
    for key, (state, hours) in enumerate(
        [("queued", 3.0), ("playing", 3.0), ("queued", 0.5), ("played", 3.0), ("user", 3.0)]
    ):
        at = int((NOW - hours * 3600) * 1000)
        database.execute(
            "INSERT INTO tts_queue VALUES (?, ?, 'f', ?, ?)", (key, at, state, at // 1000)
        )


def audicle_table(database: sqlite3.Connection) -> None:
    database.execute(
        "CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT NOT NULL, created_at TEXT NOT NULL, "
        "updated_at TEXT NOT NULL, error TEXT)"
    )
    rows = [
        ("queued", 3.0, 3.0),
        ("processing", 3.0, 3.0),
        ("processing", 3.0, 0.1),
        ("queued", 0.5, 0.5),
        ("done", 3.0, 3.0),
        ("failed", 3.0, 3.0),
        ("cancelled", 3.0, 3.0),
    ]
    for key, (status, created, updated) in enumerate(rows):
        row = (f"job-{key}", status, iso(created, "Z"), iso(updated, "Z"))
        database.execute("INSERT INTO jobs VALUES (?, ?, ?, ?, NULL)", row)


def litequeue_table(database: sqlite3.Connection) -> None:
    database.execute(
        "CREATE TABLE Queue (data TEXT NOT NULL, message_id TEXT NOT NULL, status INTEGER NOT NULL,"
        " in_time INTEGER NOT NULL, lock_time INTEGER, done_time INTEGER)"
    )
    for key, (status, hours) in enumerate([(0, 3.0), (1, 3.0), (0, 0.5), (2, 3.0), (3, 3.0)]):
        at = int((NOW - hours * 3600) * 10**9)
        database.execute(
            "INSERT INTO Queue VALUES ('text', ?, ?, ?, ?, ?)",
            (f"m{key}", status, at, at if status else None, at if status > 1 else None),
        )


Queue = tuple[Callable[[sqlite3.Connection], None], str, str, dict[object, object]]
QUEUES: dict[str, Queue] = {
    "agent-tts": (agent_tts_table, "tts_queue", "state", {0: "error", 1: "error"}),
    "litequeue": (litequeue_table, "Queue", "status", {"m0": 3, "m1": 3}),
    "audicle": (audicle_table, "jobs", "status", {"job-0": "cancelled", "job-1": "cancelled"}),
}


def after(name: str, before: dict[object, object]) -> dict[object, object]:
    return {key: QUEUES[name][3].get(key, state) for key, state in before.items()}


def make_queue(name: str, path: Path) -> Path:
    with closing(sqlite3.connect(path)) as database, database:
        QUEUES[name][0](database)
    return path


def states(name: str, path: Path) -> dict[object, object]:
    _, table, status, _ = QUEUES[name]
    key = PROGRAMS[name].settings["requests.columns.id"]
    with closing(sqlite3.connect(path)) as database:
        return dict(database.execute(f"SELECT {key}, {status} FROM {table}"))


def put_state(file: Path, folder: Path) -> dict[str, str]:
    return {"NARRATION_CLEANUP_CONFIG": str(file), "NARRATION_CLEANUP_STATE_DIR": str(folder / "s")}


def init(*arguments: object) -> str:
    """What `config init` prints, at the sample's moment."""
    with freeze_time(SAMPLE_NOW):
        done = CliRunner().invoke(config_app, ["init", *map(str, arguments)])
    if done.exception is not None:
        raise done.exception
    return done.output


def refused(*arguments: object) -> str:
    """The one line with which `config init` refuses."""
    with pytest.raises(ConfigError) as error:
        init(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_known_program_is_tried_here() -> None:
    on_postgres = {"river", "oban", "pg-boss"}  # tests/check/test_examine_postgres.py
    assert {"narration", *CACHES, *QUEUES, *on_postgres} == PROGRAMS.keys()
    assert not PROGRAMS.keys() & UNSUPPORTED.keys()
    recipes = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text()
    for name, program in PROGRAMS.items():
        assert f"| `{name}` | {program.title} | {program.why} |\n" in recipes


@pytest.mark.parametrize("how", ["for", "from"])
@pytest.mark.parametrize("name", CACHES)
def test_exactly_what_is_old_is_removed(name: str, how: str, tmp_path: Path) -> None:
    root, file = tmp_path / "cache", tmp_path / "config.toml"
    goes, remains = CACHES[name](root)
    before = tree_digest(root)
    if how == "for":
        queue = make_queue(name, tmp_path / "queue.db") if name in QUEUES else None
        more = [] if queue is None else ["--requests-db", queue]
        said = init("--for", name, "--from", root, *more, file)
        assert said.startswith(PROGRAMS[name].title)
    else:
        if name == "tts-ultimate":  # what is the user's is not known from the names alone
            goes |= {"OwnFile_bell.mp3", "node1/Hailing_gong.mp3"}
            remains -= goes
        said = init("--from", root, file)
        assert "sure      no index: " in said
    assert said.endswith(f"Try it: narration-cleanup -c {file} dry-run\n")
    written = tomllib.loads(file.read_text())
    assert written["cache"]["dir"] == str(root)
    assert written["cache"]["index"] == "none"

    tried = document("dry-run", **put_state(file, tmp_path))
    named = {
        each
        for a in tried["actions"]
        if "file" in a
        for each in (a["file"], *a.get("sidecars", ()))
    }
    assert named == goes
    assert tree_digest(root) == before
    if how == "from":
        return
    document("run", **put_state(file, tmp_path))
    assert files(root) == remains
    assert {n: d for n, d in tree_digest(root).items() if n in remains} == {
        n: before[n] for n in remains
    }
    if name == "agent-tts":
        assert len([each for each in root.iterdir() if each.name != OWN]) == 1


@pytest.mark.parametrize("how", ["for", "from"])
@pytest.mark.parametrize("name", QUEUES)
def test_exactly_what_is_abandoned_is_cancelled(name: str, how: str, tmp_path: Path) -> None:
    database, file = make_queue(name, tmp_path / "queue.db"), tmp_path / "config.toml"
    before = states(name, database)
    if how == "for":
        cache = tmp_path / "cache"
        cache.mkdir()
        place = ["--from", cache] if "cache.dir" in PROGRAMS[name].settings else []
        init("--for", name, "--requests-db", database, *place, file)
    elif name == "litequeue":  # its names and states say too little
        assert "has no table with an id" in refused("--requests-db", database)
        return
    else:
        said = init("--requests-db", database, file)
        assert f"sure      requests: table {QUEUES[name][1]}" in said
        assert "sure      a run now would cancel 2 requests" in said
    assert states(name, database) == before
    document("run", **put_state(file, tmp_path))
    assert states(name, database) == after(name, before)


def test_a_cancelled_jobs_heartbeat_moves(tmp_path: Path) -> None:
    database, file = make_queue("audicle", tmp_path / "queue.db"), tmp_path / "config.toml"
    init("--for", "audicle", "--requests-db", database, file)
    document("run", **put_state(file, tmp_path))
    with closing(sqlite3.connect(database)) as connection:
        rows = dict(connection.execute("SELECT id, updated_at FROM jobs"))
    assert rows["job-0"] == iso(0, "Z")
    assert rows["job-4"] == iso(3, "Z")


def test_the_services_own_places_are_proposed_as_they_are(tmp_path: Path) -> None:
    sample = make_sample(tmp_path / "service")
    before = tree_digest(sample.root)
    file = tmp_path / "config.toml"
    said = init("--from", sample.cache.directory, "--requests-db", sample.database, file)
    assert tree_digest(sample.root) == before
    assert "sure      index cache_index.json: 60 entries\n" in said
    assert "sure      a run now would remove 33 of 60 entries (older than 7 days)\n" in said
    assert "sure      a run now would cancel 7 requests\n" in said
    assert "not sure" not in said
    written = tomllib.loads(file.read_text())
    assert written == {
        "cache": {"dir": str(sample.cache.directory), "index": "cache_index.json"},
        "requests": {"db": str(sample.database), "table": "requests"},
    }
    with pytest.raises(CleanupError, match="exists already: add --force"):
        init("--from", sample.cache.directory, file)


def test_a_containers_paths_and_zone_are_found(tmp_path: Path) -> None:
    """The service ran in another zone, and under another path."""
    root = tmp_path / "volumes" / "_data"
    sample = make_cache(
        root,
        entries=evenly_aged(20, timedelta(days=12), timedelta(hours=1)),
        paths="absolute",
        zone=timezone(timedelta(hours=2)),
    )
    entries = json.loads(sample.index.read_text())
    for entry in entries.values():
        entry["file_path"] = f"/app/cache/narration/{Path(entry['file_path']).name}"
    sample.index.write_text(json.dumps(entries, indent=2))
    said = init("--from", root)
    assert "sure      the index calls this folder /app/cache/narration: 20 of 20 entries" in said
    assert 'dir_in_index = ["/app/cache/narration"]\n' in said
    assert "sure      times without a zone are read in +02:00, as 20 audio files prove" in said


def music(root: Path) -> None:
    for number in range(1, 13):
        put(root, f"Artist/Album/{number:02} - A Song.mp3", OLD, b"ID3\x03TALB" + bytes(100))
    put(root, "Artist/Album/cover.jpg", OLD)


def tagged(root: Path) -> None:
    for number in range(12):
        put(root, f"{digest(number)}.mp3", OLD, b"ID3\x03\0\0\0TPE1\0\0TALB" + bytes(100))


def nothing(root: Path) -> None:
    root.mkdir()


def configurations(root: Path) -> None:
    for number in range(20):
        put(root, f"program{number}/program.conf", OLD)


def mixed(root: Path) -> None:
    home_assistant(root / "tts")
    for number in range(200):
        put(root, f"documents/{number}.odt", OLD)


def other_index(root: Path) -> None:
    index = {}
    for number in range(12):
        name = put(root, f"{1_703_149_900 + number}_cache_{digest(number)[:8]}.wav", OLD)
        index[str(1_703_149_900 + number)] = {"text": "private", "file_name": name}
    put(root, "cache.json", 0, json.dumps(index).encode())


def torn(root: Path) -> None:
    make_cache(root, entries=[EntrySpec(timedelta(days=1))])
    (root / "cache_index.json").write_text('{"a": {"file_pa')


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (music, "looks like a collection"),
        (tagged, "has an album in its tags"),
        (nothing, "is no cache of audio: there is nothing in it"),
        (configurations, "is no cache of audio: there is 20 files, none of them audio"),
        (mixed, "200 of 220 files in it are something else"),
        (other_index, "lists the audio of this folder, in a form that is not known"),
        (torn, "cannot be read as JSON"),
    ],
)
def test_what_is_no_cache_is_refused_with_the_reason(
    make: Callable[[Path], object], why: str, tmp_path: Path
) -> None:
    root = tmp_path / "place"
    make(root)
    before = tree_digest(root)
    file = tmp_path / "config.toml"
    assert why in refused("--from", root, file)
    assert not file.exists()
    assert tree_digest(root) == before


def found_by_check(root: Path, state: Path) -> dict[str, Any]:
    told = document(
        "check",
        NARRATION_CACHE_DIR=str(root),
        NARRATION_CACHE_INDEX="none",
        NARRATION_CLEANUP_STATE_DIR=str(state),
    )
    return {each["check"]: each for each in told["checks"]}


@pytest.mark.parametrize("own", [True, False])
def test_check_names_the_index_of_a_folder_that_is_cleaned_without_one(
    own: bool, tmp_path: Path
) -> None:
    root = tmp_path / "cache"
    if own:
        make_cache(root, entries=evenly_aged(12, timedelta(days=2), timedelta(hours=1)))
    else:
        other_index(root)
    put(root, "empty.wav", 0.5, b"")
    findings = found_by_check(root, tmp_path / "s")
    name = "cache_index.json" if own else "cache.json"
    assert findings["cache.unused_index"]["message"].startswith(f"{name} lists the audio")
    assert findings["cache.empty_audio"]["details"] == ["empty.wav"]
    (root / name).unlink()
    assert "cache.unused_index" not in found_by_check(root, tmp_path / "s")


@pytest.mark.parametrize("place", ["/etc", "/no/such/folder", "s3://bucket/cache"])
def test_other_places_are_refused(place: str) -> None:
    assert place in refused("--from", place)


def sql(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement)
    return path


JOBS = "CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT{})"


@pytest.mark.parametrize(
    ("statements", "why"),
    [
        (["CREATE TABLE notes (id INTEGER, text TEXT)"], "has no table with an id, a status"),
        (
            [
                JOBS.format(", queue TEXT"),
                "INSERT INTO jobs VALUES (1, 'queued', '2020-01-01', 'tts'), "
                "(2, 'queued', '2020-01-01', 'mail')",
            ],
            "several queues (queue: tts, queue: mail)",
        ),
        (
            [JOBS.format(""), "INSERT INTO jobs VALUES (1, 'published', '2020-01-01')"],
            "no state in table jobs means waiting",
        ),
        (
            [
                "CREATE TABLE jobs (id INTEGER PRIMARY KEY, status INTEGER, created_at TEXT)",
                "INSERT INTO jobs VALUES (1, 2, '2020-01-01')",
            ],
            "set requests.statuses by hand",
        ),
        (
            [
                "CREATE TABLE jobs (id INTEGER PRIMARY KEY, created_at TEXT, "
                "status TEXT CHECK (status IN ('pending', 'done')))"
            ],
            "allows no state that could be written",
        ),
    ],
)
def test_what_is_no_request_table_is_refused_with_the_reason(
    statements: list[str], why: str, tmp_path: Path
) -> None:
    database = sql(tmp_path / "other.db", *statements)
    before = database.read_bytes()
    assert why in refused("--requests-db", database)
    assert database.read_bytes() == before


def test_a_check_without_a_word_for_cancelled_is_heeded(tmp_path: Path) -> None:
    database = sql(
        tmp_path / "jobs.db",
        "CREATE TABLE jobs (id INTEGER PRIMARY KEY, created_at TEXT, status TEXT CHECK "
        "(status IN ('pending', 'processing', 'completed', 'failed')))",
        f"INSERT INTO jobs VALUES (1, '{iso(5, 'Z')}', 'pending')",
    )
    file = tmp_path / "config.toml"
    said = init("--requests-db", database, file)
    assert "not sure  the table allows no word for cancelled: failed is written" in said
    done = document("run", **put_state(file, tmp_path))
    assert done["requests"]["cancelled_count"] == 1
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT status FROM jobs").fetchall() == [("failed",)]


def test_an_unknown_program_is_an_error_that_names_the_known() -> None:
    assert "did you mean home-assistant?" in refused("--for", "homeassistant")
    assert "index of another form" in refused("--for", "xtts-api-server")
    assert "audicle has no cache.dir" in refused("--for", "audicle", "--from", "/x")
    assert init("--for", "audicle").startswith("# Audicle: ")
