"""What a person reads: Rich on a terminal, plain text in a pipe; the same facts in both."""

from __future__ import annotations

import sys
from typing import TextIO

from narration_cleanup.apply.result import Result, RunOutcome
from narration_cleanup.report import plain_text
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
) -> None:
    """Show what a run did, or what it would do (``result.dry_run``), and why.

    ``stats`` is how things stand afterwards. On a terminal (``terminal=None`` asks the stream)
    with Rich, as wide as the terminal unless ``width`` is given; ``verbose`` shows every item,
    and what a rule kept. In a pipe a dry run is plain lines, one for each item; a run says
    nothing here, and neither does what was refused: log lines (``output.logs``) tell of those.
    ``quiet`` says nothing unless something is wrong.
    """
    stream = sys.stdout if stream is None else stream
    if quiet and result.outcome is RunOutcome.SUCCESS and not result.all_problems():
        return
    on_terminal = _is_terminal(stream) if terminal is None else terminal
    if not on_terminal and (not result.dry_run or result.stopped is not None):
        return
    allow_any_character(stream)
    with until_closed(stream):
        if not on_terminal:
            plain_text.write_dry_run(result, stream, verbose=verbose, quiet=quiet)
            return
        from narration_cleanup.report.rich_run import print_run
        from narration_cleanup.report.terminal import open_console

        print_run(result, stats, open_console(stream, width), verbose=verbose, quiet=quiet)


def show_stats(
    stats: Stats,
    stream: TextIO | None = None,
    *,
    terminal: bool | None = None,
    width: int | None = None,
    verbose: bool = False,
    quiet: bool = False,
) -> None:
    """Show how cache and queue stand: panels with bars on a terminal, a table in a pipe.

    ``verbose`` shows every voice style and problem; ``quiet`` says nothing unless there are
    problems, and then only those.
    """
    stream = sys.stdout if stream is None else stream
    if quiet and not stats.problems:
        return
    allow_any_character(stream)
    with until_closed(stream):
        if not (_is_terminal(stream) if terminal is None else terminal):
            plain_text.write_stats(stats, stream, verbose=verbose, quiet=quiet)
            return
        from narration_cleanup.report.rich_stats import print_stats
        from narration_cleanup.report.terminal import open_console

        print_stats(stats, open_console(stream, width), verbose=verbose, quiet=quiet)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:
        return False
