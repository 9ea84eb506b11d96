"""Log lines: the promised words, what quiet leaves, the journal's priorities, JSON lines."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from narration_cleanup.apply.result import Result
from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.model import Problem, Severity, Target
from narration_cleanup.plan.actions import Outcome
from narration_cleanup.report.log import Log, LogFormat
from tests.report.results import (
    HOSTILE,
    NOW,
    add_every_kind,
    cache_plan,
    request_plan,
    result_of,
)


def tell(log: Log, result: Result) -> None:
    """The story of one run, as the command line tells it."""
    log.started(6, 1)
    log.tasks_started()
    if result.cache is not None:
        log.cache_started()
        log.cache_done(result.cache)
    if result.requests is not None:
        log.requests_started()
        log.requests_done(result.requests)
    log.finished(result)


def told(result: Result, *, quiet: bool = False, verbose: bool = False) -> list[str]:
    stream = io.StringIO()
    tell(Log(stream, quiet=quiet, verbose=verbose), result)
    return stream.getvalue().splitlines()


def test_a_run_is_told_in_the_promised_words() -> None:
    requests = request_plan()
    lines = told(result_of(cache_plan(60, 5), requests, dry_run=False))
    assert lines[:4] == [
        "INFO - Starting narration cleanup (interval: 6 h, abandoned timeout: 1 h)",
        "INFO - Starting cleanup tasks",
        "INFO - Cleaning up expired cache entries",
        "INFO - Removed 5 expired cache entries, freed 0.00 MB",
    ]
    assert lines[4] == "INFO - Cleaning up abandoned requests"
    assert lines[5] == (
        "WARNING - Cancelled abandoned request request-0: queued for 1.2 h, limit 1 h"
    )
    assert len([line for line in lines if line.startswith("WARNING - Cancelled")]) == 7
    assert lines[-2:] == [
        "INFO - Cancelled 7 abandoned requests",
        "INFO - Cleanup tasks completed successfully",
    ]


@pytest.mark.parametrize(
    ("outcome", "first", "last"),
    [
        (Outcome.DONE, "WARNING - Cancelled abandoned", "WARNING - Cancelled 22 more requests"),
        (Outcome.FAILED, "ERROR - Failed: abandoned", "ERROR - Failed: 22 more requests"),
    ],
)
def test_of_many_requests_twenty_have_their_own_line(
    outcome: Outcome, first: str, last: str
) -> None:
    requests = request_plan()
    for action in list(requests.actions) * 5:
        requests.actions.append(action)
    result = result_of(None, requests, dry_run=False)
    assert result.requests is not None
    for position in range(42):
        result.requests.outcomes.set(position, outcome)
    lines = told(result)
    assert len([line for line in lines if line.startswith(first)]) == 20
    assert f"{last}: -v lists each" in lines
    everything = told(result, verbose=True)
    assert len([line for line in everything if line.startswith(first)]) == 42
    assert not [line for line in everything if "more requests" in line]


def test_freed_bytes_are_told_in_megabytes() -> None:
    result = result_of(cache_plan(5, 5), None, dry_run=False)
    assert result.cache is not None
    for reason in result.cache.freed_by_reason:
        result.cache.freed_by_reason[reason] = 12_939_427
    assert "INFO - Removed 5 expired cache entries, freed 12.34 MB" in told(result)


def test_nothing_to_do_is_told_as_well() -> None:
    lines = told(result_of(cache_plan(3, 0), None, dry_run=False))
    assert "INFO - Removed 0 expired cache entries, freed 0.00 MB" in lines
    assert not [line for line in lines if "request" in line]


def test_every_reason_has_its_line() -> None:
    cache, requests = cache_plan(), request_plan()
    add_every_kind(cache, requests)
    lines = told(result_of(cache, requests, dry_run=False))
    for text in (
        "INFO - Removed 1 evicted cache entry, freed 0.00 MB",
        "INFO - Removed 1 orphan file, freed 0.00 MB",
        "INFO - Removed 1 partial file, freed 0.00 MB",
        "INFO - Dropped 1 dangling cache entry",
        "INFO - Deleted 1 finished request, 0 database pages free for reuse",
        "ERROR - Cache: leads out of the cache (../../victim) [outside]",
        "WARNING - Requests: an unknown status (lost) [odd]",
        "WARNING - Cleanup tasks completed in part: see the problems",
    ):
        assert text in lines


def test_entries_without_audio_have_a_line_of_their_own() -> None:
    result = result_of(cache_plan(60, 33), None, dry_run=False)
    line = (
        "INFO - 31 of the removed entries had no audio file: the service had written them back "
        "from its memory, or their audio was lost"
    )
    assert line not in told(result)
    assert result.cache is not None
    result.cache.without_file = 31
    lines = told(result)
    assert lines[lines.index(line) - 1].startswith("INFO - Removed 33 expired cache entries")


def test_quiet_says_nothing_while_all_goes_well() -> None:
    assert told(result_of(cache_plan(), request_plan(), dry_run=False), quiet=True) == []


def test_quiet_still_says_what_is_wrong() -> None:
    result = result_of(cache_plan(), request_plan(), dry_run=False)
    assert result.cache is not None
    result.cache.outcomes.set(0, Outcome.FAILED, "Permission denied")
    result.problems.add(Problem(Target.CACHE, "odd", "an odd thing", severity=Severity.WARNING))
    lines = told(result, quiet=True)
    assert [line.split(" - ")[0] for line in lines] == ["ERROR", "WARNING", "WARNING"]
    assert lines[0] == "ERROR - 1 removal failed; see the errors below"
    (named,) = (line for line in told(result, verbose=True) if "Failed: " in line)
    assert named.endswith("limit 7 (Permission denied)")
    assert lines[1:] == [
        "WARNING - Cache: an odd thing [odd]",
        "WARNING - Cleanup tasks completed in part: see the problems",
    ]


def test_quiet_says_a_refusal() -> None:
    result = Result(
        NOW, False, True, True, NOW, stopped=ExitCode.REFUSED, stop_message="no\nno, no"
    )
    stream = io.StringIO()
    Log(stream, quiet=True).finished(result)
    assert stream.getvalue() == "ERROR - no [refused]\nERROR - no, no [refused]\n"


def test_verbose_adds_a_line_for_each_action() -> None:
    lines = told(result_of(cache_plan(), request_plan(), dry_run=False), verbose=True)
    assert len([line for line in lines if line.startswith("DEBUG - Removed ")]) == 33


def test_hostile_names_forge_no_line() -> None:
    result = result_of(cache_plan(3, 0), None, dry_run=False)
    result.problems.add(Problem(Target.CACHE, "odd_key", "left alone", HOSTILE))
    lines = told(result)
    assert len(lines) == 6
    assert "\\x1b[31m\\nINFO - Removed\\u202egnp.\\ud800" in lines[4]
    assert all(line.isprintable() for line in lines)


def test_the_journal_gets_priorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    with path.open("w") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        log = Log(stream)
        log.tasks_started()
        log.warning("odd")
        log.problem(Problem(Target.CACHE, "unreadable", "bad"))
    assert path.read_text().splitlines() == [
        "<6>INFO - Starting cleanup tasks",
        "<4>WARNING - odd",
        "<3>ERROR - Cache: bad [unreadable]",
    ]


@pytest.mark.parametrize("named", ["", "1:1", "rubbish"])
def test_another_stream_gets_none(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", named)
    with (tmp_path / "file").open("w+") as stream:
        Log(stream).tasks_started()
        stream.seek(0)
        assert stream.read() == "INFO - Starting cleanup tasks\n"


def test_json_lines_for_collectors() -> None:
    stream = io.StringIO()
    cache = cache_plan()
    cache.problems.add(Problem(Target.CACHE, "odd_key", "left alone", HOSTILE))
    log = Log(stream, form=LogFormat.JSON, clock=lambda: NOW)
    tell(log, result_of(cache, request_plan(), dry_run=False))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {line["time"] for line in lines} == {"2026-11-23T12:00:00+00:00"}
    assert all({"time", "level", "event", "message"} <= line.keys() for line in lines)
    by_event = {line["event"]: line for line in lines}
    assert by_event["removed"]["count"] == 33
    assert by_event["removed"]["freed_bytes"] == 33_000
    assert by_event["cancelled"]["by_status"] == {"queued": 4, "generating": 3}
    assert by_event["cancelled_request"]["age_seconds"] == 26_100.0
    assert by_event["problem"]["subject"] == HOSTILE
    assert by_event["finished"]["outcome"] == "partial"


PROGRAM = """
import sys
from narration_cleanup.report.log import Log
log = Log()
for _ in range(1000):
    log.tasks_started()
"""


def test_a_full_disk_or_a_closed_pipe_stops_nothing() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as closed, open("/dev/full", "w") as full:
        for stream in (closed, full):
            assert subprocess.run([sys.executable, "-c", PROGRAM], stderr=stream).returncode == 0


def test_what_a_full_disk_refused_comes_out_later(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w") as stream:
        room = os.dup(stream.fileno())
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, stream.fileno())
        log = Log(stream)
        log.tasks_started()
        os.dup2(room, stream.fileno())
        log.cache_started()
        os.close(room)
        os.close(full)
    assert path.read_text().splitlines() == [
        "INFO - Starting cleanup tasks",
        "INFO - Cleaning up expired cache entries",
    ]


def test_muted_leaves_the_story_to_the_terminal_but_warns() -> None:
    stream = io.StringIO()
    log = Log(stream, muted=True)
    log.warning("odd")
    tell(log, result_of(cache_plan(), request_plan(), dry_run=False))
    assert stream.getvalue() == "WARNING - odd\n"
    assert log.last[-1] == "INFO - Cleanup tasks completed successfully"


def test_what_was_skipped_is_told_with_its_own_reason() -> None:
    """A run that was stopped has not found anything changed."""
    result = result_of(cache_plan(60, 5), None, dry_run=False)
    assert result.cache is not None
    for position in (1, 2):
        result.cache.outcomes.set(position, Outcome.SKIPPED, "the run was stopped before it")
    stopped = "INFO - Skipped 2 entries: the run was stopped before it"
    assert stopped in told(result)
    result.cache.outcomes.set(3, Outcome.SKIPPED, "it changed after the cache was surveyed")
    lines = told(result)
    assert stopped not in lines
    assert "INFO - Skipped 3 entries: -v shows each reason" in lines
