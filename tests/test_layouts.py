"""The caches and queues of known programs: configured, tried and cleaned in their own layouts."""

from __future__ import annotations

import json
import os
import sqlite3
import tomllib
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from narration_cleanup.cli.config import config_app
from narration_cleanup.core.errors import CleanupError, ConfigError
from narration_cleanup.settings.known_programs import PROGRAMS
from tests.layouts import CACHES, INDEXES, OLD, digest, home_assistant, put
from tests.queues import QUEUES, SHARED, iso
from tests.run_at import stopped_clock
from tests.samples import (
    SAMPLE_NOW,
    TTL,
    EntrySpec,
    evenly_aged,
    make_cache,
    make_sample,
    tree_digest,
)
from tests.test_docs import AGAIN
from tests.test_main_job import document
from tools.docs.console import ROOT
from tools.docs.layouts import BEGIN, with_layouts

NOW = SAMPLE_NOW.timestamp()
OWN = ".narration-cleanup"


def files(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and OWN not in p.parts}


def after(name: str, before: dict[object, object]) -> dict[object, object]:
    return {key: QUEUES[name].written.get(key, state) for key, state in before.items()}


def make_queue(name: str, path: Path) -> Path:
    with closing(sqlite3.connect(path)) as database, database:
        QUEUES[name].make(database)
    return path


def states(name: str, path: Path) -> dict[object, object]:
    queue = QUEUES[name]
    key = PROGRAMS[name].settings["requests.columns.id"]
    with closing(sqlite3.connect(path)) as database:
        return dict(database.execute(f"SELECT {key}, {queue.status} FROM {queue.table}"))


def put_state(file: Path, folder: Path) -> dict[str, str]:
    return {"NARRATION_CLEANUP_CONFIG": str(file), "NARRATION_CLEANUP_STATE_DIR": str(folder / "s")}


def init(*arguments: object) -> str:
    """What `config init` prints, at the sample's moment."""
    with stopped_clock():
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
    assert {"narration", *CACHES, *QUEUES, *SHARED} == PROGRAMS.keys()
    recipes = (ROOT / "docs" / "recipes.md").read_text()
    assert recipes.count(BEGIN) == 1
    assert with_layouts(recipes) == recipes, AGAIN


@pytest.mark.parametrize("how", ["for", "from"])
@pytest.mark.parametrize("name", CACHES)
def test_exactly_what_is_old_is_removed(name: str, how: str, tmp_path: Path) -> None:
    root, file = tmp_path / "output", tmp_path / "config.toml"
    goes, remains = CACHES[name](root)
    before = tree_digest(root)
    entries = json.loads((root / INDEXES[name]).read_text()) if name in INDEXES else {}
    if how == "for":
        queue = make_queue(name, tmp_path / "queue.db") if name in QUEUES else None
        more = [] if queue is None else ["--requests-db", queue]
        said = init("--for", name, "--from", root, *more, file)
        assert said.startswith(PROGRAMS[name].title)
    else:
        if name == "open-webui":  # a setting that has to be asked for
            goes -= {f"speech/{digest(20)}.json"}
        said = init("--from", root, file)
        if name == "alltalk":  # a folder that only the user knows to be one of his own
            goes |= {each for each in remains if "/" in each}
            assert "such as Bedtime/Story 1.wav, which is named as people do\n" in said
        assert f"sure      {'index' if name in INDEXES else 'no index:'} " in said
    assert said.endswith(f" -c {file} dry-run\n")
    written = tomllib.loads(file.read_text())
    assert written["cache"]["dir"] == str(root)
    assert written["cache"]["index"] == INDEXES.get(name, "none")

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
    if name in INDEXES:
        index = INDEXES[name]
        remains -= {index}
        stays = {
            key: body for key, body in entries.items() if Path(body["file_name"]).name in remains
        }
        assert (root / index).read_text() == json.dumps(stays)
    assert {n: d for n, d in tree_digest(root).items() if n in remains} == {
        n: before[n] for n in remains
    }
    if name == "agent-tts":
        assert len([each for each in root.iterdir() if each.name != OWN]) == 1


def test_a_place_is_written_as_any_working_directory_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    init("--for", "agent-tts", "--from", "audio", "--requests-db", "queue.db", "config.toml")
    written = tomllib.loads(Path("config.toml").read_text())
    assert written["cache"]["dir"] == str(tmp_path / "audio")
    assert written["requests"]["db"] == str(tmp_path / "queue.db")
    assert '"postgresql:///jobs"' in init("--for", "river", "--requests-db", "postgresql:///jobs")


def test_a_users_own_files_are_kept_however_many_there_are(tmp_path: Path) -> None:
    """All that TTS-Ultimate stores: the cache, and beside it what the user brought."""
    root, file = tmp_path / "sonospollyttsstorage", tmp_path / "config.toml"
    for number in range(4):
        put(root, f"ttsfiles/a1b2.c3d4/{digest(number)[:32]}.mp3", OLD)
    names = ("Bell", "Door open", "Good night")
    users = {put(root, f"hailingpermanentfiles/Hailing_{name}.mp3", OLD) for name in names}
    users |= {put(root, f"ttspermanentfiles/OwnFile_{name}.mp3", OLD) for name in names}
    said = init("--from", root, file)
    assert "sure      6 files of the user's own (OwnFile_*, Hailing_*): kept\n" in said
    document("run", **put_state(file, tmp_path))
    assert files(root) == users
    assert "all of it is the user's own" in refused("--from", root / "ttspermanentfiles")


def test_the_settings_of_another_index_may_be_variables(tmp_path: Path) -> None:
    root = tmp_path / "output"
    goes, _ = CACHES["xtts-api-server"](root)
    variables = {
        "NARRATION_CACHE_DIR": str(root),
        "NARRATION_CACHE_INDEX": "cache.json",
        "NARRATION_CACHE_FIELDS_FILE_PATH": "file_name",
        "NARRATION_CACHE_FIELDS_CREATED_AT": "@key",
        "NARRATION_CACHE_FIELDS_FILE_SIZE": "none",
    }
    tried = document("dry-run", **variables)
    assert {action["file"] for action in tried["actions"]} == goes
    assert tried["cache"]["planned_bytes"] == 30 * len(goes)


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
        assert "config init --for litequeue" in refused("--requests-db", database)
        return
    else:
        said = init("--requests-db", database, file)
        assert f"sure      requests: table {QUEUES[name].table}" in said
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
    left = sample.cache.directory / "left.mp3.part"
    left.write_bytes(b"half")
    os.utime(left, (0, SAMPLE_NOW.timestamp() - 9 * 86_400))
    said = init("--from", sample.cache.directory)
    assert "remove 33 of 60 entries and 1 file without an entry (older than 7 days)\n" in said


def test_a_terminal_shows_each_remark_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = make_sample(tmp_path)
    remark = "sure      index cache_index.json: 60 entries\n"
    assert init("--from", sample.cache.directory).count(remark) == 2  # one may go into a file
    monkeypatch.setattr("narration_cleanup.cli.config.is_terminal", lambda _: True)
    assert init("--from", sample.cache.directory).count(remark) == 1
    set_it = "Set cache.dir: the place differs from installation to installation\n"
    assert set_it in init("--for", "alltalk")


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
    (zone,) = (line for line in said.splitlines() if "+02:00" in line and not line.startswith("#"))
    assert zone == "sure      times without a zone are read in +02:00, as 20 audio files prove now"
    assert (
        "not sure  the name of the service's zone: set cleanup.timezone to it, such as "
        '"Europe/Berlin": an offset changes with daylight saving\n'
    ) in said


@pytest.mark.parametrize("scale", [1, 1_000])
def test_an_index_of_another_form_is_proposed_by_the_names_that_it_has(
    scale: int, tmp_path: Path
) -> None:
    """Entries one level down, other names, times as numbers: and then it is cleaned."""
    root, file = tmp_path / "speech", tmp_path / "config.toml"
    sample = make_cache(root, entries=evenly_aged(20, timedelta(days=12), timedelta(hours=1)))
    old = [entry for entry in sample.entries if SAMPLE_NOW - entry.created_at > timedelta(7)]
    entries = {
        entry.key: {
            "text": "private",
            "audio": entry.name,
            "created": int(entry.created_at.timestamp() * scale),
            "voice": "v1",
            "size": entry.size,
        }
        for entry in sample.entries
    }
    sample.index.unlink()
    index = root / "index.json"
    index.write_text(json.dumps({"version": 3, "items": entries}, indent=1))
    said = init("--from", root, file)
    for remark in (
        "sure      index index.json: 20 entries\n",
        "sure      the entries are in its member items\n",
        "sure      the path of an entry is in audio\n",
        "sure      an entry was generated at the time in created\n",
        f"sure      a run now would remove {len(old)} of 20 entries (older than 7 days)\n",
    ):
        assert remark in said
    assert tomllib.loads(file.read_text())["cache"] == {
        "dir": str(root),
        "index": "index.json",
        "index_member": "items",
        "fields": {
            "file_path": "audio",
            "created_at": "created",
            "last_accessed": "none",
            "file_size": "size",
            "variant_id": "none",
            "voice_style": "voice",
        },
    }
    checked = {
        each["check"]: each for each in document("check", **put_state(file, tmp_path))["checks"]
    }
    assert checked["cache.index_form"]["message"].startswith(
        "the entries are read by these settings: in the member items; file_path = audio, "
    )
    assert checked["cache.agreement"]["message"] == "index and files agree"
    document("run", **put_state(file, tmp_path))
    gone = {entry.key for entry in old}
    stays = {key: value for key, value in entries.items() if key not in gone}
    assert index.read_text() == json.dumps({"version": 3, "items": stays}, indent=1)
    assert {path.name for path in root.glob("*.mp3")} == {each["audio"] for each in stays.values()}


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
    index = []
    for number in range(12):
        name = put(root, f"{1_703_149_900 + number}_cache_{digest(number)[:8]}.wav", OLD)
        index.append({"text": "private", "file_name": name})
    put(root, "cache.json", 0, json.dumps(index).encode())


def other_lines(root: Path) -> None:
    other_index(root)
    entries = json.loads((root / "cache.json").read_text())
    (root / "cache.json").write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))


def timeless(root: Path) -> None:
    other_index(root)
    entries = json.loads((root / "cache.json").read_text())
    (root / "cache.json").write_text(json.dumps({f"n{n}": e for n, e in enumerate(entries)}))


def audio_book(root: Path) -> None:
    for number in range(1, 15):
        put(root, f"A Novel/A Novel_chapter_{number}.wav", OLD)
    put(root, "A Novel/A Novel.m4b", OLD)


def recordings(root: Path) -> None:
    for number in range(1, 13):
        put(root, f"VID_202401{number:02}_101210.mp4", OLD)
        put(root, f"PTT-202402{number:02}-WA0007.opus", OLD)


def checkout(root: Path) -> None:
    for number in range(12):
        put(root, f"library/tests/{digest(number)}.wav", OLD)
    put(root, "library/.git/HEAD", OLD)


def service(root: Path) -> None:
    """The service's own folder, with its cache below it."""
    make_cache(root / "cache" / "narration", entries=evenly_aged(12, TTL, timedelta(hours=1)))
    put(root, "service.py", OLD)


def torn(root: Path) -> None:
    make_cache(root, entries=[EntrySpec(timedelta(days=1))])
    (root / "cache_index.json").write_text('{"a": {"file_pa')


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (music, "looks like a collection"),
        (tagged, "has an album in its tags"),
        (nothing, "is no cache of audio: there is nothing in it"),
        (configurations, "is no cache of audio: it has 20 files, none of them audio"),
        (mixed, "200 of 221 files in it are something else"),
        (other_index, "in a form that cannot be cleaned"),
        (other_lines, "in a form that cannot be cleaned"),
        (timeless, "in a form that cannot be cleaned"),
        (audio_book, "14 of 14 audio files are numbered parts, such as A Novel/A Novel_chapter_1"),
        (torn, "cannot be read as JSON"),
        (recordings, "is named as people do, such as PTT-20240201-WA0007.opus"),
        (checkout, "library is a working copy of a version control system"),
        (service, "cache/narration/cache_index.json is the index of audio below it"),
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


def test_check_names_an_index_below_a_folder_that_is_cleaned_without_one(tmp_path: Path) -> None:
    service(tmp_path / "service")
    finding = found_by_check(tmp_path / "service", tmp_path / "s")["cache.unused_index"]
    assert finding["message"].startswith("cache/narration/cache_index.json lists the audio")
    place = tmp_path / "service" / "cache" / "narration"
    assert f"and cache.dir: narration-cleanup config init --from {place}" in finding["remedy"]


def test_what_a_run_would_remove_is_what_was_examined(tmp_path: Path) -> None:
    """Hidden or not; what is hidden and no audio is not looked at."""
    root, file = tmp_path / "home", tmp_path / "config.toml"
    goes, _ = home_assistant(root / ".cache")
    for number in range(100):
        put(root, f".config/{number}", OLD)
    said = init("--from", root, file)
    assert "sure      no index: 21 audio files (.mp3)" in said
    assert f"sure      a run now would remove {len(goes)} of 21 entries" in said


def test_check_says_where_a_folder_is_the_work_of_one_job(tmp_path: Path) -> None:
    audio_book(tmp_path / "books")
    finding = found_by_check(tmp_path / "books", tmp_path / "s")["cache.one_job"]
    assert finding["message"].startswith("14 of 14 audio files are numbered parts")
    assert "not for the results of a job" in finding["remedy"]
    for name, make in CACHES.items():
        if name not in INDEXES:
            make(tmp_path / name)
            assert "cache.one_job" not in found_by_check(tmp_path / name, tmp_path / "s")


def test_check_names_what_sets_an_index_of_another_form(tmp_path: Path) -> None:
    root = tmp_path / "output"
    CACHES["xtts-api-server"](root)
    finding = found_by_check(root, tmp_path / "s")["cache.unused_index"]
    assert finding["message"].startswith("cache.json lists the audio")
    assert 'set cache.index = "cache.json" and cache.fields.created_at' in finding["remedy"]
    assert f"config init --from {root}" in finding["remedy"]


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


def test_what_is_generated_later_is_not_forgotten_where_nothing_is_at_the_moment(
    tmp_path: Path,
) -> None:
    database = sql(
        tmp_path / "jobs.db",
        "CREATE TABLE jobs (id INTEGER PRIMARY KEY, created_at TEXT, status TEXT)",
        f"INSERT INTO jobs VALUES (1, '{iso(5, 'Z')}', 'queued')",
    )
    file = tmp_path / "config.toml"
    said = init("--requests-db", database, file)
    assert "not sure  which state means generating: no row has one, generating is assumed" in said
    sql(database, f"INSERT INTO jobs VALUES (2, '{iso(5, 'Z')}', 'generating')")
    assert document("run", **put_state(file, tmp_path))["requests"]["cancelled_count"] == 2


def test_an_unknown_program_is_an_error_that_names_the_known() -> None:
    assert "did you mean home-assistant?" in refused("--for", "homeassistant")
    assert "ALTER TABLE procrastinate_jobs ADD COLUMN" in init("--for", "procrastinate")
    assert "audicle has no cache.dir" in refused("--for", "audicle", "--from", "/x")
    assert init("--for", "audicle").startswith("# Audicle: ")
