"""The main job, as an operator runs it: `dry-run`, `run` and `stats` on a whole sample."""

import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from narration_cleanup.stores.cache.local.directory import OWN_FOLDER
from tests import forked
from tests.samples import (
    ENTRY_FIELDS,
    INDEX_NAME,
    SAMPLE_NOW,
    Sample,
    make_sample,
    read_index,
    read_requests,
    strict_load,
    tree_digest,
)

ROOT = Path(__file__).resolve().parent.parent


def cleanup(
    *arguments: object, cwd: Path = ROOT, expect: int = 0, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the tool in a process of its own, at the sample's moment."""
    done = forked.run(
        *(SAMPLE_NOW.isoformat(), *arguments),
        module="tests.run_at",
        cwd=cwd,
        env={**os.environ, "TZ": "UTC", **variables},
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def document(*arguments: object, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cleanup(*arguments, "--json", **more).stdout)
    return found


@pytest.fixture(params=["relative", "absolute"])
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> Sample:
    return make_sample(tmp_path / "service", paths=request.param)


@pytest.fixture
def places(sample: Sample) -> list[object]:
    return ["--cache-dir", sample.cache.directory, "--requests-db", sample.database]


def test_a_dry_run_tells_what_a_run_would_do_and_changes_nothing(
    sample: Sample, places: list[object], tmp_path: Path
) -> None:
    """Not a file, not a row, not a time stamp; no lock, no -wal, no -shm left behind."""
    before = tree_digest(sample.root)
    told = document("dry-run", *places, NARRATION_CLEANUP_STATE_DIR=str(tmp_path / "state"))
    assert tree_digest(sample.root) == before
    assert not (tmp_path / "state").exists()
    expired = sample.expired
    assert told["cache"]["planned_count"] == len(expired) == 33
    assert told["cache"]["planned_bytes"] == sum(e.size for e in expired)
    assert told["requests"]["planned_count"] == 7
    assert Counter(a["status"] for a in told["actions"] if a["kind"] == "cancel_request") == {
        "queued": 4,
        "generating": 3,
    }
    assert {action["outcome"] for action in told["actions"]} == {"planned"}
    nothing = ("removed_count", "freed_bytes", "freed_mb")
    assert [told["cache"][name] for name in nothing] == [0, 0, 0]
    assert told["requests"]["cancelled_count"] == 0
    assert told["dry_run"]


def test_a_run_does_what_the_dry_run_told(
    sample: Sample, places: list[object], tmp_path: Path
) -> None:
    """From another working directory; what stays is as it was; a second run finds nothing."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    told = document("dry-run", *places)
    index, rows = sample.cache.index, read_requests(sample.database)
    entries = read_index(index)
    files = {path.name for path in sample.cache.directory.glob("*.mp3")}

    did = document("run", *places, cwd=elsewhere)

    done = [{**action, "outcome": "done"} for action in told["actions"]]
    assert did["actions"] == done
    assert did["outcome"] == "success"
    assert did["cache"]["removed_count"] == 33
    assert did["cache"]["freed_bytes"] == told["cache"]["planned_bytes"]
    gone = {action["key"] for action in done if action["kind"] == "remove_entry"}
    left = read_index(index)
    assert list(left.items()) == [item for item in entries.items() if item[0] not in gone]
    assert len(left) == did["cache"]["kept_count"] == 27
    assert {path.name for path in sample.cache.directory.glob("*.mp3")} == files - {
        f"{key}.mp3" for key in gone
    }
    assert all((sample.cache.directory / f"{key}.mp3").exists() for key in left)
    assert strict_load(index) == left
    assert all(tuple(entry) == tuple(ENTRY_FIELDS) for entry in left.values())

    cancelled = {action["id"] for action in done if action["kind"] == "cancel_request"}
    after = read_requests(sample.database)
    assert len(cancelled) == 7
    assert {key: row for key, row in after.items() if key not in cancelled} == {
        key: row for key, row in rows.items() if key not in cancelled
    }
    with closing(sqlite3.connect(sample.database)) as connection:
        changed = connection.execute(
            "SELECT DISTINCT status, completed_at FROM requests WHERE request_id IN "
            f"({','.join('?' * len(cancelled))})",
            sorted(cancelled),
        ).fetchall()
    assert [status for status, _ in changed] == ["cancelled"]
    assert changed[0][1].startswith("2026-11-23T12:00:00")

    again = document("run", *places)
    assert again["actions"] == []
    assert again["outcome"] == "success"


def test_stats_agree_with_index_and_table_before_and_after(
    sample: Sample, places: list[object]
) -> None:
    for command in (None, "run"):
        if command:
            cleanup(command, *places)
        told = document("stats", *places)
        entries = read_index(sample.cache.index)
        cutoff = "2026-11-16T12:00:00"
        expired = [entry for entry in entries.values() if str(entry["created_at"]) < cutoff]
        sizes = Counter[str]()
        for entry in entries.values():
            sizes[str(entry["voice_style"])] += int(entry["file_size"])
        cache = told["cache"]
        assert cache["entry_count"] == len(entries)
        assert cache["total_size_bytes"] == sizes.total()
        assert cache["expired_count"] == len(expired) == (0 if command else 33)
        assert cache["expired_size_bytes"] == sum(int(entry["file_size"]) for entry in expired)
        by_voice = {name: voice["size_bytes"] for name, voice in cache["by_voice_style"].items()}
        assert by_voice == sizes
        with closing(sqlite3.connect(sample.database)) as connection:
            by_status = dict(
                connection.execute("SELECT status, count(*) FROM requests GROUP BY status")
            )
        requests = told["requests"]
        assert requests["total"] == sum(by_status.values())
        assert {k: v for k, v in requests["by_status"].items() if v} == by_status
        assert requests["active"] == by_status.get("generating", 0)
        assert requests["queued"] == by_status["queued"]
        assert requests["abandoned"] == (0 if command else 7)


def test_the_log_of_a_run_is_in_the_agreed_words(sample: Sample, places: list[object]) -> None:
    lines = cleanup("run", *places).stderr.splitlines()
    told = [line for line in lines if line.startswith("INFO - ")]
    freed = sum(e.size for e in sample.expired) / 1024 / 1024
    assert told[1:] == [
        "INFO - Starting cleanup tasks",
        "INFO - Cleaning up expired cache entries",
        f"INFO - Removed 33 expired cache entries, freed {freed:.2f} MB",
        "INFO - Cleaning up abandoned requests",
        "INFO - Cancelled 7 abandoned requests",
        "INFO - Cleanup tasks completed successfully",
    ]
    assert "6 h" in told[0]
    assert "1 h" in told[0]
    assert sum(line.startswith("WARNING - ") for line in lines) == 7
    assert cleanup("run", *places, "--quiet").stderr == ""


@pytest.mark.parametrize("left_out", ["cache", "requests"])
def test_one_half_may_be_left_out(sample: Sample, left_out: str) -> None:
    place = (
        ["--requests-db", sample.database]
        if left_out == "cache"
        else ["--cache-dir", sample.cache.directory]
    )
    told = document("dry-run", *place)
    assert told[left_out] is None
    assert told["success"]
    assert left_out in cleanup("dry-run", *place).stdout.lower()


def test_neither_half_is_a_fault_of_the_configuration() -> None:
    assert "cache.dir" in cleanup("run", expect=78).stderr


def test_a_directory_without_an_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"audio")
    told = cleanup("run", "--cache-dir", tmp_path, expect=78).stderr
    assert INDEX_NAME in told
    assert "Traceback" not in told
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp3"]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--ttl-days", "soon"], "--ttl-days"),
        (["--ttl-days", "-1"], "--ttl-days"),
        (["--abandoned-timeout-hours", "nan"], "--abandoned-timeout-hours"),
    ],
)
def test_a_wrong_value_names_its_flag(sample: Sample, flags: list[str], told: str) -> None:
    done = cleanup("stats", "--cache-dir", sample.cache.directory, *flags, expect=78)
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["run", "stats"])
def test_what_to_do_is_told_however_long_the_path_is(tmp_path: Path, command: str) -> None:
    deep = tmp_path.joinpath(*["a-folder-of-a-service"] * 8)
    deep.mkdir(parents=True)
    told = cleanup(command, "--cache-dir", deep, expect=78).stderr
    assert 'say cache.index = "none" for a cache that has none' in told


@pytest.mark.parametrize("command", ["run", "dry-run", "stats"])
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], "Nothing configured"),
        (["--cache-dir", "/nonexistent"], "cache.dir /nonexistent does not exist"),
        (["--cache-dir", "/nonexistent", "--ttl-days", "soon"], 'flag --ttl-days is "soon"'),
    ],
)
def test_a_wrong_configuration_is_one_document_and_one_line(
    command: str, flags: list[str], told: str
) -> None:
    done = cleanup(command, "--quiet", "--json", *flags, expect=78)
    found = json.loads(done.stdout)
    message = found["problems"][0]["message"] if command == "stats" else found["message"]
    assert message.startswith(told)
    assert done.stderr.splitlines() == [f"ERROR - {message} [bad_configuration]"]
    schema = json.loads(cleanup("schema", "run" if command == "dry-run" else command).stdout)
    jsonschema.validate(found, schema)


def test_a_dry_run_tells_that_a_run_would_refuse(sample: Sample, places: list[object]) -> None:
    before = tree_digest(sample.root)
    found = document("dry-run", *places, "--max-delete", "32")
    (warning,) = found["problems"]
    assert (warning["code"], warning["severity"]) == ("max_delete", "warning")
    assert warning["message"] == (
        "33 entries and files would go from a cache of 60 entries, more than cleanup.max_delete 32 "
        "allows: a run would refuse, and touch nothing"
    )
    cleanup("run", *places, "--max-delete", "32", expect=4)
    # The lock was held in the tool's own folder, which is empty again.
    (sample.cache.directory / OWN_FOLDER).rmdir()
    cache = str(sample.cache.directory.relative_to(sample.root))  # its own time is newer
    assert tree_digest(sample.root) | {cache: before[cache]} == before
    assert document("dry-run", *places, "--max-delete", "33")["problems"] == []


@pytest.mark.parametrize(("limit", "most"), [("6", "7"), ("46%", "47%")])
def test_more_to_cancel_than_allowed_leaves_the_requests_and_cleans_the_cache(
    sample: Sample, places: list[object], limit: str, most: str
) -> None:
    """7 of 15 active requests are abandoned."""
    database = sample.database.read_bytes()
    why = f"7 of 15 active requests would be cancelled, more than cleanup.max_cancel {limit} allows"
    (warning,) = document("dry-run", *places, "--max-cancel", limit)["problems"]
    assert (warning["code"], warning["severity"]) == ("max_cancel", "warning")
    assert warning["message"] == f"{why}: a run would refuse, and leave the requests"
    found = document("run", *places, "--max-cancel", limit, expect=4)
    assert found["outcome"] == "refused"
    assert found["message"].startswith(f"{why}: nothing was cancelled.")
    assert found["cache"]["removed_count"] == 33
    assert found["requests"] is None
    assert found["stats"]["requests"]["by_status"]["queued"] == 9
    assert sample.database.read_bytes() == database
    assert document("run", *places, "--max-cancel", most)["requests"]["cancelled_count"] == 7


def test_a_backlog_is_reported(sample: Sample, places: list[object]) -> None:
    with closing(sqlite3.connect(sample.database)) as connection, connection:
        connection.execute(
            "UPDATE requests SET status = 'queued' WHERE rowid IN "
            "(SELECT rowid FROM requests WHERE status = 'completed' LIMIT 8)"
        )
    for command in ("dry-run", "run"):
        codes = [each["code"] for each in document(command, *places)["problems"]]
        assert codes == ["backlog"]


def test_an_entry_made_in_the_future_is_not_said_to_be_new(sample: Sample) -> None:
    index = sample.cache.index
    entries = read_index(index)
    entries[list(entries)[-1]]["created_at"] = "2031-01-01T00:00:00"
    index.write_text(json.dumps(entries, indent=2), encoding="utf-8")
    told = cleanup("stats", "--cache-dir", sample.cache.directory, expect=3).stdout
    assert "2031-01-01 00:00 UTC, in the future" in told


def test_a_relative_place_in_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    call = f"rmdir {gone}; exec {sys.executable} -m narration_cleanup stats --cache-dir cache"
    done = subprocess.run(
        ["bash", "-c", call],
        cwd=gone,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 78
    assert done.stderr == (
        'ERROR - flag --cache-dir is "cache", expected an absolute path: the current directory, '
        "where it would start, is gone [bad_configuration]\n"
    )


def test_stats_of_one_voice_style_are_those_of_its_entries(sample: Sample) -> None:
    """Against its own TTL; a misspelt one is told the others."""
    place = ["--cache-dir", sample.cache.directory]
    variables = {"NARRATION_CACHE_TTL_DAYS_BY_VOICE_STYLE": "eerie_narrator=1000"}
    told = document("stats", *place, "--voice-style", "eerie_narrator", **variables)["cache"]
    entries = [e for e in sample.cache.entries if e.fields["voice_style"] == "eerie_narrator"]
    assert told["entry_count"] == len(entries) > 0
    assert told["total_size_bytes"] == sum(entry.size for entry in entries)
    assert told["by_voice_style"] == {
        "eerie_narrator": {"entry_count": len(entries), "size_bytes": told["total_size_bytes"]}
    }
    assert told["ttl_days"] == 1000
    assert told["expired_count"] == 0
    told = document("stats", *place, "--voice-style", "demonic_growl")["cache"]
    expired = [e for e in sample.expired if e.fields["voice_style"] == "demonic_growl"]
    assert told["expired_count"] == len(expired) > 0
    gone = document("stats", *place, "--voice-style", "gone")["cache"]
    assert (gone["entry_count"], gone["by_voice_style"]) == (0, {})
    two_forms = cleanup("stats", *place, "--json", "--prometheus", expect=2).stderr
    assert "leave --json out" in two_forms
    wrong = cleanup("stats", *place, "--voice-style", "eerie", expect=2).stderr
    assert "eerie_narrator" in wrong
    assert len(wrong.splitlines()) == 1
