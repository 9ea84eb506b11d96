"""Lines on a terminal: as wide as that at most, words whole, and nothing lost."""

from __future__ import annotations

import io
import os
import pty

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narration_cleanup.check.finding import Finding, Status
from narration_cleanup.cli.check import show_check
from narration_cleanup.report.format import columns, wrapped
from narration_cleanup.report.history_text import show_run_record
from narration_cleanup.report.run_record import RunRecord
from tests.results import NOW

FINDING = Finding(
    "cache.directory",
    Status.FAILED,
    "the folder is not there, and so nothing can be looked at",
    "set cache.dir, or start the service once so that it makes the folder",
    ("cache.dir = /a/rather/long/path/that/stays/whole  (file config.toml)",),
)


def test_a_check_is_wrapped_with_its_text_below_its_text() -> None:
    stream = io.StringIO()
    show_check([FINDING], stream, width=50)
    assert stream.getvalue().splitlines() == [
        "failed   cache.directory: the folder is not there,",
        "           and so nothing can be looked at",
        "         -> set cache.dir, or start the service",
        "            once so that it makes the folder",
        "            cache.dir =",
        "              /a/rather/long/path/that/stays/whole",
        "              (file config.toml)",
        "1 check: 0 passed, 0 warnings, 1 failed",
        "More on each: docs/troubleshooting.md",
    ]


def test_one_run_is_wrapped_in_its_second_column() -> None:
    stream = io.StringIO()
    message = "variable A is wrong, expected another\nvariable B is wrong, expected another"
    record = RunRecord(outcome="refused", started_at=NOW, message=message, trigger="hand")
    show_run_record(record, stream, width=45)
    assert stream.getvalue().splitlines()[-4:] == [
        "message            variable A is wrong,",
        "                   expected another",
        "                   variable B is wrong,",
        "                   expected another",
    ]


def test_a_pipe_gets_whole_lines() -> None:
    stream = io.StringIO()
    show_check([FINDING], stream)
    assert [line[:12].strip() for line in stream.getvalue().splitlines()] == [
        "failed   cac",
        "->",
        "",
        "1 check: 0 p",
        "More on each",
    ]
    assert columns(stream) is None


def test_a_terminal_is_asked_how_wide_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "33")
    ours, theirs = pty.openpty()
    try:
        with os.fdopen(theirs, "w") as terminal:
            assert columns(terminal) == 33
            show_check([FINDING], terminal)
            terminal.flush()
            shown = os.read(ours, 4096).decode()
    finally:
        os.close(ours)
    assert shown.startswith("\x1b[31mfailed\x1b[0m   cache.directory: the")
    assert "\r\n           folder is not there," in shown


def test_a_word_too_long_for_its_line_stands_where_it_would() -> None:
    assert wrapped(f"    {'x' * 40} y", 30, hang=6) == f"    {'x' * 40}\n      y"


@given(st.text("ab c-/", min_size=1, max_size=300), st.integers(1, 120), st.integers(0, 30))
def test_no_word_is_lost_or_cut(text: str, width: int, hang: int) -> None:
    lines = wrapped(text, width, hang=hang).splitlines() or [""]
    assert " ".join(lines).split() == text.split()
    assert all(line.startswith(" " * hang) for line in lines[1:])
    most = max(width, hang + 20)
    for line in lines:
        assert len(line) <= most or len(line.split()) == 1
