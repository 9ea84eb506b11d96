"""Progress: nothing for short work, nothing in a pipe, and next to no cost."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from narration_cleanup.cli.options import showing_progress
from narration_cleanup.core.model import NoProgress, Problems
from narration_cleanup.report.progress_bar import TerminalProgress
from narration_cleanup.run.stores import cache_policy, open_targets, request_policy
from narration_cleanup.run.survey import survey_and_plan
from narration_cleanup.settings import load_settings
from tests.samples import make_sample


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_only_a_terminal_is_shown_progress() -> None:
    with showing_progress(io.StringIO()) as progress:
        assert isinstance(progress, NoProgress)
    with showing_progress(Terminal(), quiet=True) as progress:
        assert isinstance(progress, NoProgress)
    with showing_progress(Terminal()) as progress:
        assert isinstance(progress, TerminalProgress)


def test_short_work_shows_nothing(clock: Clock) -> None:
    stream = Terminal()
    progress = TerminalProgress(stream, clock=clock)
    progress.start("Removing", 100)
    for _ in range(9):
        clock.now += 0.1
        progress.advance(10)
    progress.done()
    progress.close()
    assert stream.getvalue() == ""


def test_long_work_is_shown_and_wiped_away(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    progress = TerminalProgress(stream, clock=clock)
    progress.start("Looking")
    clock.now += 2
    progress.advance(1500)
    progress.start("Removing", 100)
    clock.now += 2
    progress.advance(50)
    shown = stream.getvalue()
    assert "Looking" in shown
    assert "1,500" in shown
    assert "Removing" in shown
    assert "50 of 100" in shown
    progress.close()
    assert stream.getvalue().endswith("\r\x1b[2K\x1b[?25h\r")


def test_the_screen_is_looked_at_no_more_than_ten_times_a_second(clock: Clock) -> None:
    stream = Terminal()
    progress = TerminalProgress(stream, clock=clock)
    progress.start("Removing", 100_000)
    clock.now += 2
    progress.advance()
    before = len(stream.getvalue())
    for _ in range(10_000):
        progress.advance()
    assert len(stream.getvalue()) == before
    progress.close()


def test_looking_at_a_cache_is_told_as_it_goes(tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    told: list[int] = []

    class Told(NoProgress):
        def advance(self, count: int = 1) -> None:
            told.append(count)

    settings = load_settings(
        flags={"cache.dir": str(sample.cache.directory)}, config_file=None, environ={}
    )
    policies = cache_policy(settings.cache), request_policy(settings.requests)
    now = sample.now.timestamp()
    with open_targets(settings, now, Problems()) as targets:
        plans = survey_and_plan(targets, policies, now, Told())
    assert plans.cache is not None
    assert len(plans.cache.actions) == len(sample.expired)
    assert sum(told) == len(sample.cache.entries)
