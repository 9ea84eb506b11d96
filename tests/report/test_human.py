"""What a person reads: on terminals of every width, and in a pipe."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys

import pytest
from msgspec.structs import replace
from rich.cells import cell_len

from narration_cleanup.apply.result import Result
from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.model import Problem, Target
from narration_cleanup.plan import RequestPlan
from narration_cleanup.plan.actions import Outcome, Reason
from narration_cleanup.plan.types import RequestTotals, VoiceTotals
from narration_cleanup.report.format import ago, old
from narration_cleanup.report.run_text import show_run
from narration_cleanup.report.stats import Stats
from narration_cleanup.report.stats_text import show_stats
from tests.report.results import (
    HOSTILE,
    NOW,
    add_every_kind,
    cache_plan,
    collect_stats,
    key_of,
    removal_of_file,
    request_plan,
    result_of,
)

ANSI = re.compile(r"\x1b\[[0-9;]*m")
WIDTHS = (40, 59, 80, 110, 120, 200)


def everything(*, dry_run: bool) -> Result:
    """A result with every kind of action, and, where it ran, one failed and one skipped."""
    cache, requests = cache_plan(), request_plan()
    add_every_kind(cache, requests)
    cache.problems.add(Problem(Target.CACHE, "odd_key", "left alone", HOSTILE))
    cache.totals.by_voice_style[HOSTILE] = VoiceTotals(1, 10)
    requests.totals.by_status[HOSTILE] = 1
    result = result_of(cache, requests, dry_run=dry_run)
    if not dry_run and result.cache is not None:
        result.cache.outcomes.set(20, Outcome.FAILED, "Permission denied")
        result.cache.outcomes.set(30, Outcome.SKIPPED, HOSTILE)
        result.cache.removed_by_reason[Reason.EXPIRED] -= 2
    return result


def run_shown(
    result: Result,
    *,
    terminal: bool = True,
    width: int = 80,
    verbose: bool = False,
    quiet: bool = False,
) -> str:
    stream = io.StringIO()
    stats = collect_stats(result)
    show_run(result, stats, stream, terminal=terminal, width=width, verbose=verbose, quiet=quiet)
    return stream.getvalue()


def stats_shown(
    stats: Stats,
    *,
    terminal: bool = True,
    width: int = 80,
    verbose: bool = False,
    quiet: bool = False,
) -> str:
    stream = io.StringIO()
    show_stats(stats, stream, terminal=terminal, width=width, verbose=verbose, quiet=quiet)
    return stream.getvalue()


def bare(text: str) -> str:
    """``text`` without its styles; nothing that could move a cursor is in it."""
    found = ANSI.sub("", text)
    assert all(line.isprintable() for line in found.split("\n"))
    return found


def in_one_line(text: str) -> str:
    """``text`` without line ends and edges, so that what was folded can be found."""
    return " ".join(bare(text).replace("│", " ").split())


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("dry_run", [False, True])
def test_no_line_is_wider_than_the_terminal(width: int, verbose: bool, dry_run: bool) -> None:
    result = everything(dry_run=dry_run)
    for text in (
        run_shown(result, width=width, verbose=verbose),
        stats_shown(collect_stats(result), width=width, verbose=verbose),
        run_shown(result_of(None, request_plan(), dry_run=dry_run), width=width),
        stats_shown(Stats(NOW, 6, 1), width=width),
    ):
        assert max(cell_len(line) for line in bare(text).split("\n")) <= width


def test_a_dry_run_shows_what_would_go_why_and_what_stays() -> None:
    text = in_one_line(run_shown(result_of(cache_plan(), request_plan())))
    for part in (
        "Narration cleanup dry run 2026-11-23 12:00 UTC",
        "Cache Would remove 33 of 60 entries, 32.2 KB",
        "expired 33 entries, 32.2 KB",
        "1.0 KB ghostly_whisper/variant-0: 8.4 days old, limit 7",
        "and 25 more (-v shows all)",
        "Requests Would cancel 7 of 158 requests",
        "request-3 queued for 4.2 h, limit 1 h",
        "Kept 27 entries in the cache; 151 requests as they are",
        "Nothing was changed: this is what a run would do",
    ):
        assert part in text
    assert "problem" not in text


@pytest.mark.parametrize(("number", "files"), [(1, "1 old file"), (2, "2 old files")])
def test_a_dry_run_says_which_files_a_run_within_the_hour_may_remove(
    number: int, files: str
) -> None:
    plan = cache_plan()
    plan.judged_later = number
    text = in_one_line(run_shown(result_of(plan, request_plan())))
    whose = "its" if number == 1 else "their"
    assert f"{files} without an entry, for an hour from {whose} arrival (-v); 151 requests" in text
    assert "arrival" not in in_one_line(run_shown(result_of(plan, request_plan(), dry_run=False)))


def test_one_request_that_stays_is_one() -> None:
    plan = RequestPlan(RequestTotals(by_status={"queued": 1}))
    assert "Kept 1 request as it is " in in_one_line(run_shown(result_of(None, plan)))


def test_no_two_blank_lines_follow_each_other() -> None:
    for width in (40, 80):
        assert "\n\n\n" not in bare(run_shown(everything(dry_run=False), width=width))


def test_verbose_shows_every_item_and_what_a_rule_kept() -> None:
    text = bare(run_shown(everything(dry_run=True), width=140, verbose=True))
    assert "-v" not in text
    for number in range(33):
        assert f"{key_of(number)}.mp3" in text
    assert f"{key_of(40)[:30]}" in text
    assert "kept by eerie*" in text


def test_a_run_shows_first_what_did_not_go() -> None:
    text = in_one_line(run_shown(everything(dry_run=False), width=140))
    assert "Removed 34 of 60 entries and 2 files without an entry" in text
    assert "expired 33 entries, 32.2 KB 31 done, 1 failed, 1 skipped" in text
    failed = text.index("failed (Permission denied): ")
    assert failed < text.index(key_of(0)[:20])
    assert "2 problems, 1 warning" in text
    assert "Cleanup tasks completed in part: see the problems" in text


def test_a_half_that_is_absent_is_said() -> None:
    text = in_one_line(run_shown(result_of(None, request_plan())))
    assert "Cache not configured: left out" in text
    result = Result(NOW, True, True, True, NOW)
    result.problems.add(Problem(Target.CACHE, "index_torn", "cannot be read"))
    text = in_one_line(run_shown(result))
    assert "Cache could not be worked on: see the problems" in text
    text = in_one_line(stats_shown(Stats(NOW, 6, 1, problems=result.all_problems())))
    assert "could not be read: see the problems" in text
    assert "not configured: left out" in text


def test_a_refusal_is_said_and_nothing_else() -> None:
    result = Result(NOW, False, True, True, NOW)
    result.stop(ExitCode.BAD_CONFIGURATION, "one fault\nanother \x1b[31m")
    text = bare(run_shown(result))
    assert text.split("\n")[2:] == ["one fault", "another \\x1b[31m", ""]
    assert "Cache" not in text
    result.dry_run = True
    assert run_shown(result, terminal=False) == ""


def test_what_a_signal_left_out_is_said() -> None:
    result = result_of(cache_plan(), None, dry_run=False)
    result.requests_configured = True
    result.stop(ExitCode.TERMINATED, "Stopped by a signal")
    text = in_one_line(run_shown(result))
    assert "Removed 33 of 60 entries" in text
    assert "Requests not reached" in text


def test_what_is_not_yet_past_is_in_the_future() -> None:
    """What came while the cache was looked at is new, and not in the future."""
    spans = (-301, -2, 0, 840)
    assert [ago(span) for span in spans] == ["in the future", "0 s ago", "0 s ago", "14 min ago"]
    assert [old(span) for span in spans] == ["in the future", "0 s old", "0 s old", "14 min old"]


def test_stats_show_ages_sizes_voices_and_the_abandoned() -> None:
    text = in_one_line(stats_shown(collect_stats(result_of(cache_plan(), request_plan()))))
    for part in (
        "entries 60",
        "size 0.06 MB of 500 MB, 0.0 %",
        "expired 33, 0.03 MB",
        "Ages against the TTL of 7 days",
        "By voice style",
        "0.01 MB, 12 entries",
        "8, 4 abandoned",
        "5, 3 abandoned",
        "158 requests, 7 abandoned (limit 1 h)",
        "automatic alive (every 6 h)",
        "last run 2026-11-23 09:00 UTC, 3.0 h ago: success, 5 removed, 0.01 MB freed",
        "next run 2026-11-23 15:00 UTC, in 3.0 h",
    ):
        assert part in text


@pytest.mark.parametrize("terminal", [False, True])
def test_quiet_says_nothing_unless_something_is_wrong(terminal: bool) -> None:
    good = result_of(cache_plan(), request_plan())
    assert run_shown(good, terminal=terminal, quiet=True) == ""
    assert stats_shown(collect_stats(good), terminal=terminal, quiet=True) == ""
    bad = everything(dry_run=True)
    for text in (
        run_shown(bad, terminal=terminal, quiet=True),
        stats_shown(collect_stats(bad), terminal=terminal, quiet=True),
    ):
        assert "leads out of the cache (../../victim)" in in_one_line(text)
        assert "expired" not in text


def test_a_pipe_gets_every_item_in_a_plain_line_with_its_whole_name() -> None:
    text = run_shown(everything(dry_run=True), terminal=False)
    assert not re.search("[\x1b─│╭━]", text)
    lines = [re.sub(" {2,}", "  ", line) for line in text.splitlines()]
    assert "  expired  33 entries, 32.2 KB" in lines
    why = "expired: eerie_narrator/variant-32: 7.0 days old, limit 7"
    assert f"remove  {key_of(32)}.mp3  1.0 KB  {why}" in lines
    assert "cancel  request-0  abandoned: queued for 1.2 h, limit 1 h" in lines
    assert "drop  k3.mp3  dangling: noir/v2: its file is gone" in lines
    assert "delete  17  finished: completed 40.0 days ago" in lines
    assert len([line for line in lines if ".mp3  1.0 KB  " in line]) == 33
    assert lines[-1] == "Nothing was changed: a run would do this in part, see the problems"
    assert all(line.isprintable() and line == line.rstrip() for line in text.splitlines())
    verbose = run_shown(everything(dry_run=True), terminal=False, verbose=True)
    assert re.search(f"{key_of(40)} +kept by eerie", verbose)


def test_a_long_or_wide_name_is_whole_in_a_pipe() -> None:
    name = "漢字" * 60
    plan = cache_plan(1, 0)
    plan.add(removal_of_file(name, 10, Reason.ORPHAN, "no entry names it"))
    assert f"  {name}  " in run_shown(result_of(plan, None), terminal=False)


def test_a_dry_run_ends_with_the_command_that_does_it() -> None:
    stream = io.StringIO()
    result = result_of(cache_plan(), None)
    show_run(result, None, stream, terminal=False, command="narration-cleanup run --ttl-days 3")
    assert stream.getvalue().endswith("\nTo do it: narration-cleanup run --ttl-days 3\n")


def test_a_run_in_a_pipe_is_told_by_its_log_alone() -> None:
    assert run_shown(everything(dry_run=False), terminal=False) == ""


def test_stats_in_a_pipe_are_plain_tables() -> None:
    text = stats_shown(collect_stats(everything(dry_run=True)), terminal=False)
    assert not re.search("[\x1b─│╭━]", text)
    assert all(line.isprintable() for line in text.splitlines())
    for line in (
        "  entries   60",
        "  size      0.06 MB of 500 MB, 0.0 %",
        "  expired   33, 0.03 MB",
        "  159 requests, 7 abandoned (limit 1 h)",
        "  problem  cache: leads out of the cache (../../victim) [outside]",
    ):
        assert line in text.splitlines()
    assert re.search("^ +queued  ?8, 4 abandoned$", text, re.MULTILINE)


@pytest.mark.parametrize("terminal", [False, True])
def test_stats_begin_with_the_state_in_one_line(terminal: bool) -> None:
    good = collect_stats(result_of(cache_plan(), request_plan()))
    first = bare(stats_shown(good, terminal=terminal)).split("\n")[0]
    assert first == "OK: 60 entries, 0.06 MB, 33 expired; 158 requests, 7 abandoned"
    torn = Problem(Target.CACHE, "torn", "torn")
    for stats, attention in (
        (replace(good, running=False), "no schedule found"),
        (replace(good, running=False, generated_at=good.generated_at + 90_000), "no run lately"),
        (replace(good, running=False, last_run=None), "no run recorded"),
        (replace(good, problems=[torn]), "1 problem"),
    ):
        text = bare(stats_shown(stats, terminal=terminal))
        assert text.startswith(f"Attention: {attention}; 60 entries")


@pytest.mark.parametrize("terminal", [False, True])
def test_the_sizes_of_one_output_have_one_unit(terminal: bool) -> None:
    result = everything(dry_run=False)
    for text in (
        run_shown(result, terminal=terminal),
        stats_shown(collect_stats(result), terminal=terminal),
    ):
        assert len(set(re.findall(r"[0-9] ([KMG]?B)\b", bare(text).replace("over 500 MB", "")))) < 2


def test_no_text_has_a_colour_that_one_background_hides() -> None:
    """Bright black, a grey, cannot be read on some dark backgrounds, and white on no light one."""
    result = everything(dry_run=False)
    for text in (run_shown(result), stats_shown(collect_stats(result))):
        assert not re.search(r"\x1b\[[0-9;]*\b(90|37|97)m", text)


def test_nothing_that_is_to_be_read_is_dim() -> None:
    """On Solarized, dim text has a contrast of 1.9 to 2.9: enough for a frame alone."""
    result = everything(dry_run=False)
    shown = "".join((run_shown(result), stats_shown(collect_stats(result))))
    dim = re.findall(r"\x1b\[(?:[0-9]+;)*2(?:;[0-9]+)*m([^\x1b]*)", shown)
    assert any("─" in text for text in dim)
    assert [text for text in dim if re.search(r"\w", text)] == []


def test_colours_are_left_out_where_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured = re.compile(r"\x1b\[[0-9;]*(3[0-7]|9[0-7])")
    result = result_of(cache_plan(), request_plan())
    assert coloured.search(run_shown(result))
    monkeypatch.setenv("NO_COLOR", "1")
    for text in (run_shown(result), stats_shown(collect_stats(result))):
        assert not coloured.search(text)


def test_a_stream_that_holds_only_ascii_gets_ascii() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    result = result_of(cache_plan(), request_plan())
    show_run(result, None, stream, terminal=True, width=140)
    show_stats(collect_stats(result), stream, terminal=True, width=80)
    text = raw.getvalue().decode("ascii")
    assert "====" in text
    assert "\\u" not in text


PROGRAM = """
from narration_cleanup.report.run_text import show_run
from narration_cleanup.report.stats_text import show_stats
from tests.report.results import cache_plan, request_plan, result_of, collect_stats
result = result_of(cache_plan(), request_plan())
show_run(result, None)
show_stats(collect_stats(result))
"""


def test_a_real_terminal_gets_boxes_and_colours_and_a_pipe_plain_text() -> None:
    command = [sys.executable, "-c", PROGRAM]
    piped = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not re.search("[\x1b─│╭━]", piped.stdout)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
    with subprocess.Popen(command, stdout=theirs, env=environment) as process:
        os.close(theirs)
        shown = b"".join(iter(lambda: read_some(ours), b"")).decode()
    os.close(ours)
    assert process.returncode == 0
    assert "\x1b[" in shown
    assert "╭" in shown


def read_some(descriptor: int) -> bytes:
    """What has come; nothing once the other side is closed (Linux says EIO then)."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""
