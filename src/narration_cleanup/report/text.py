"""What a person reads of a run and of the state, on a terminal or in a pipe."""

from __future__ import annotations

import sys
from typing import TextIO

from narration_cleanup.apply.result import Result, RunOutcome
from narration_cleanup.report.selection import EVERYTHING, Selection
from narration_cleanup.report.stats import Stats
from narration_cleanup.report.streams import allow_any_character, until_closed


def show_run(
    result: Result,
    stats: Stats | None,
    stream: TextIO | None = None,
    *,
    terminal: bool | None = None,
    width: int | None = None,
    verbose: bool = False,
    quiet: bool = False,
    command: str | None = None,
    selection: Selection = EVERYTHING,
) -> None:
    """Show what a run did, or what it would do (``result.dry_run``), and why.

    ``stats`` is the state afterwards; ``command`` is the one that does what is planned, of which
    ``selection`` is listed. On a terminal (``terminal=None`` asks the stream) as wide as that
    unless ``width`` is given; ``verbose`` shows every item, and what a rule kept. In a pipe every
    item is shown of a dry run; a run shows nothing here, and neither does what was refused: log
    lines (``report.log``) report those. ``quiet`` shows nothing unless something is wrong.
    """
    stream = sys.stdout if stream is None else stream
    if quiet and result.outcome is RunOutcome.SUCCESS and not result.all_problems():
        return
    terminal = is_terminal(stream) if terminal is None else terminal
    if not terminal and (not result.dry_run or result.stopped is not None):
        return
    from narration_cleanup.report.run_text import print_run
    from narration_cleanup.report.terminal import open_console

    allow_any_character(stream)
    with until_closed(stream):
        console = open_console(stream, width, terminal=terminal)
        print_run(
            result,
            stats,
            console,
            verbose=verbose,
            quiet=quiet,
            command=command,
            selection=selection,
        )


def show_stats(
    stats: Stats,
    stream: TextIO | None = None,
    *,
    terminal: bool | None = None,
    width: int | None = None,
    verbose: bool = False,
    quiet: bool = False,
) -> None:
    """Show the state of cache and queue: on a terminal in panels with bars.

    ``verbose`` shows every voice style and problem; ``quiet`` shows nothing unless there are
    problems, and then only those.
    """
    stream = sys.stdout if stream is None else stream
    if quiet and not stats.problems:
        return
    from narration_cleanup.report.stats_text import print_stats
    from narration_cleanup.report.terminal import open_console

    allow_any_character(stream)
    with until_closed(stream):
        terminal = is_terminal(stream) if terminal is None else terminal
        console = open_console(stream, width, terminal=terminal)
        print_stats(stats, console, verbose=verbose, quiet=quiet)


def is_terminal(stream: TextIO) -> bool:
    """Whether a person is at the other end; a closed stream leads nowhere."""
    try:
        return stream.isatty()
    except ValueError:
        return False
