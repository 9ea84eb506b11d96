"""What is said of a run's end, and when."""

from __future__ import annotations

import sys

import msgspec
import pytest

from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.model import Problem, Target
from narration_cleanup.report.alert_policy import Attention, Change
from narration_cleanup.report.notify import (
    UnitEnd,
    message_of,
    record_of_unit,
    unit_end,
    wanted,
)
from narration_cleanup.report.run_record import ENDINGS, KILLED, record_of
from tests.results import A_PROBLEM, NOW, make_result

ASKED: dict[str, set[str]] = {
    "attention": set(),
    "failure": {"failed", "refused", KILLED},
    "partial": {"failed", "refused", KILLED, "partial", "interrupted"},
    "always": set(ENDINGS),
}


@pytest.mark.parametrize("on", ASKED)
def test_who_is_told_of_what(on: str) -> None:
    assert {outcome for outcome in ENDINGS if wanted(outcome, on, None)} == ASKED[on]


def test_attention_asks_for_what_is_news_alone() -> None:
    news = Attention(Change.BEGINS, NOW)
    assert {outcome for outcome in ENDINGS if wanted(outcome, "attention", news)} == set(ENDINGS)


@pytest.mark.parametrize(
    ("change", "title", "first"),
    [
        (Change.BEGINS, "needs attention (failed)", "Cleanup tasks failed"),
        (Change.LASTS, "still needs attention (failed)", "The operator has been needed since 20"),
        (Change.ENDS, "is well again (failed)", "The operator was needed since 20"),
    ],
)
def test_a_message_says_that_it_begins_lasts_or_ends(
    change: Change, title: str, first: str
) -> None:
    record = record_of(make_result(stopped=ExitCode.FAILED, message="Cleanup tasks failed"))
    message = message_of(record, "box", found=Attention(change, NOW))
    assert message.title == f"narration-cleanup on box: {title}"
    assert message.body.startswith(first)


def test_a_message_says_what_happened_and_where_to_look() -> None:
    problem = Problem(Target.CACHE, "code", "line one\nline two", "key\u202e")
    record = record_of(make_result(failed=1, problems=(A_PROBLEM,) * 6 + (problem,)))
    message = message_of(record, "box")
    assert message.title == "narration-cleanup on box: partial"
    assert message.level == "warning"
    lines = message.body.splitlines()
    assert lines[0] == "Cleanup tasks completed in part: see the problems (exit code 3)"
    assert "Removed from the cache: 3, freed 0.00 MB" in lines
    assert "Abandoned requests cancelled: 2" in lines
    assert "problem: cache: created_at cannot be read (some-key) [created_at_unreadable]" in lines
    assert "and 2 more" in lines
    lacking = message_of(msgspec.structs.replace(record, without_file=2), "box").body.splitlines()
    assert "Removed from the cache: 3 (2 without audio), freed 0.00 MB" in lacking


def test_names_in_a_message_are_escaped() -> None:
    problem = Problem(Target.CACHE, "code", "line one\nline two", "key\u202e")
    body = message_of(record_of(make_result(problems=(problem,))), "box").body
    assert "problem: cache: line one\\nline two (key\\u202e) [code]" in body.splitlines()


def test_a_run_that_could_not_start_tells_no_counts() -> None:
    record = record_of(make_result(stopped=ExitCode.BAD_CONFIGURATION, message="no such file: x"))
    message = message_of(record, "box")
    assert message.level == "failure"
    assert "no such file: x (exit code 78)" in message.body
    assert "Removed" not in message.body


@pytest.mark.parametrize(
    ("result", "code", "status", "outcome", "exit_code"),
    [
        ("success", "exited", "0", "success", 0),
        ("exit-code", "exited", "1", "failed", 1),
        ("exit-code", "exited", "2", "failed", 2),
        ("exit-code", "exited", "3", "partial", 3),
        ("exit-code", "exited", "4", "refused", 4),
        ("success", "exited", "75", "busy", 75),
        ("exit-code", "exited", "78", "refused", 78),
        ("exit-code", "exited", "203", "failed", 203),
        ("success", "exited", "143", "interrupted", 143),
        ("success", "killed", "TERM", "interrupted", None),
        ("timeout", "exited", "143", "failed", 143),
        ("timeout", "killed", "TERM", "killed", None),
        ("signal", "killed", "KILL", "killed", None),
        ("oom-kill", "killed", "KILL", "killed", None),
        ("core-dump", "dumped", "SEGV", "killed", None),
        ("start-limit-hit", "", "", "failed", None),
        ("", "", "", "failed", None),
    ],
)
def test_how_a_unit_ended(
    result: str, code: str, status: str, outcome: str, exit_code: int | None
) -> None:
    record = record_of_unit(UnitEnd("x.service", result, code, status), NOW)
    assert (record.outcome, record.exit_code) == (outcome, exit_code)
    assert record.message


def test_a_message_about_a_unit_names_it_and_carries_its_last_lines() -> None:
    end = UnitEnd("x.service", "oom-kill", "killed", "KILL", ("INFO - one", "ERROR - two"))
    message = message_of(record_of_unit(end, NOW), "box", unit=end.unit, lines=end.lines)
    assert message.title == "x.service on box: killed"
    assert "systemd says: oom-kill (killed, KILL)" in message.body
    assert message.body.endswith(
        "Last lines of the log:\nINFO - one\nERROR - two\n\nMore: journalctl -u x.service\n"
        "What to do, by the code in brackets: docs/troubleshooting.md"
    )


def test_a_line_of_the_journal_keeps_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end has the advice and the code, whatever names come before it."""
    line = f"ERROR - {'a' * 250}: give it back [index_owner]"
    monkeypatch.setattr(sys.modules[unit_end.__module__], "_output", lambda command: line)
    assert unit_end("x.service", {}).lines == (line,)
