"""A run or dry run for a reader: what is removed and why, what is kept, what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TextIO

from rich.cells import set_cell_size
from rich.console import Console
from rich.text import Text

from narration_cleanup.apply.result import CacheResult, Outcomes, Result, RunOutcome
from narration_cleanup.core.text import printable, printable_line
from narration_cleanup.report import summary
from narration_cleanup.report.format import Sizes, clock, shortened, sizes_up_to
from narration_cleanup.report.stats import Stats
from narration_cleanup.report.summary import EVERYTHING, Row, Selection
from narration_cleanup.report.terminal import (
    ERROR,
    KEEP,
    OK,
    WARN,
    bar,
    indented,
    problem_table,
    report_console,
    worst,
)

ROWS_PLANNED = 8
ROWS_DONE = 3
"""Rows shown of each reason on a terminal without ``-v``: of a dry run, and of a run."""
_SIZE = 9
_NARROW = 56
_CHUNK = 500
_MESSAGE_STYLE = {RunOutcome.SUCCESS: OK, RunOutcome.PARTIAL: WARN, RunOutcome.INTERRUPTED: WARN}


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
    ``selection`` is listed. See ``report_console`` for ``stream``, ``terminal`` and ``width``.
    On a terminal ``verbose`` shows every item, and what a rule kept. In a pipe every item is shown
    of a dry run; a run shows nothing here, and neither does what was refused: log lines
    (``report.log``) report those. ``quiet`` shows only the problems and the last line, and nothing
    unless something is wrong.
    """
    if quiet and result.outcome is RunOutcome.SUCCESS and not result.all_problems():
        return
    with report_console(stream, width, terminal) as console:
        if not console.is_terminal and (not result.dry_run or result.stopped is not None):
            return
        if not quiet:
            title = "dry run" if result.dry_run else "run"
            _print_title("Narration cleanup", title, console, clock(result.started_at))
            if result.stopped is None or result.cache or result.requests:
                sizes = _sizes(result.cache)
                limit: int | None = ROWS_PLANNED if result.dry_run else ROWS_DONE
                if verbose or not console.is_terminal or selection.limit is not None:
                    limit = None
                shown = selection.of(result)
                if selection != EVERYTHING:
                    count = f"{shown.action_count:,} of {result.action_count:,} planned actions"
                    console.print(Text(f"Showing {count}; a run does them all"))
                _print_cache(shown, console, sizes, limit, verbose=verbose)
                _print_requests(shown, console, sizes, limit, selection)
                if kept := summary.kept_texts(result, stats, sizes):
                    console.print()
                    _print_title("Kept", "; ".join(kept), console, style=f"bold {KEEP}")
        if problems := result.all_problems():
            console.print()
            console.print(Text(summary.problems_title(problems), f"bold {worst(problems)}"))
            console.print(indented(problem_table(problems, console, verbose=verbose), 2))
        if not quiet or problems:
            console.print()
        for line in result.message.splitlines():
            style = f"bold {_MESSAGE_STYLE.get(result.outcome, ERROR)}"
            console.print(Text(printable_line(line), style))
        if command is not None and not quiet:
            console.print(Text(f"To do it: {printable(command)}"), soft_wrap=True)


def _sizes(cache: CacheResult | None) -> Sizes:
    if cache is None:
        return sizes_up_to(0)
    return sizes_up_to(max(cache.plan.totals.total_size_bytes, cache.plan.planned_bytes))


def _print_title(
    name: str, text: str, console: Console, more: str = "", style: str = "bold"
) -> None:
    console.print(Text.assemble((name, style), f"  {text}", f"  {more}" if more else ""))


def _print_cache(
    result: Result, console: Console, sizes: Sizes, limit: int | None, *, verbose: bool
) -> None:
    cache = result.cache
    if cache is None:
        _print_absent("Cache", result.cache_configured, result, console)
        return
    console.print()
    _print_title("Cache", summary.cache_headline(cache, sizes, dry_run=result.dry_run), console)
    total = cache.plan.totals.entry_count
    if total and console.is_terminal:
        kept = summary.kept_entries(cache, dry_run=result.dry_run)
        width = min(console.width - 4, 60)
        console.print(indented(bar(console, width, [(total - kept, WARN), (kept, KEEP)], total), 2))
    _print_groups(cache.outcomes, console, sizes, limit)
    if verbose and cache.plan.held:
        console.print()
        title = Text.assemble(("kept", f"bold {KEEP}"), f"  {len(cache.plan.held):,} by a rule")
        console.print(indented(title, 2))
        rows = [Row(printable(key), None, printable(rule), "") for key, rule in cache.plan.held]
        widths = max(len(row.name) for row in rows), max(len(row.detail) for row in rows)
        _print_rows(rows, console, sizes, widths, sized=False)


def _print_requests(
    result: Result, console: Console, sizes: Sizes, limit: int | None, selection: Selection
) -> None:
    requests = result.requests
    if requests is None:
        _print_absent("Requests", result.requests_configured, result, console)
        return
    console.print()
    _print_title("Requests", summary.requests_headline(requests, dry_run=result.dry_run), console)
    _print_groups(requests.outcomes, console, sizes, limit)
    if selection.voice_style is not None and len(requests.plan.actions):
        console.print(indented(Text("not listed: --voice-style is about the cache alone"), 2))
    if requests.overwritten:
        text = f"{requests.overwritten:,} cancelled earlier were completed by the service since"
        console.print(indented(Text(text, WARN), 2))


def _print_absent(name: str, configured: bool, result: Result, console: Console) -> None:
    why = summary.NOT_CONFIGURED
    if configured:
        stopped = result.stopped is not None
        why = "not reached" if stopped else "could not be worked on: see the problems"
    console.print()
    console.print(Text.assemble((name, "bold"), f"  {why}"))


def _print_groups(outcomes: Outcomes, console: Console, sizes: Sizes, limit: int | None) -> None:
    for group in summary.grouped(outcomes):
        text = f"  {summary.group_title(group, sizes)}"
        title = Text.assemble((group.reason.value, f"bold {WARN}"), text)
        if group.unusual:
            title.append(f"  {summary.listed(group.by_outcome)}", ERROR)
        console.print()
        console.print(indented(title, 2))
        sized = group.reason.kind.is_of_cache
        widths = group.name_width, group.detail_width
        _print_rows(group.rows(limit), console, sizes, widths, sized=sized)
        if limit is not None and group.count > limit:
            more = Text(f"and {group.count - limit:,} more (-v shows all)")
            console.print(indented(more, 4))


def _print_rows(
    rows: Iterable[Row], console: Console, sizes: Sizes, widths: tuple[int, int], *, sized: bool
) -> None:
    """In columns, or each on two lines where it is narrow; ``widths`` of all names and details.

    Not by a table of Rich's, which takes 30 s for a hundred thousand rows.
    """
    if not console.is_terminal:
        for row in rows:
            size = "" if row.size_bytes is None else f"  {sizes(row.size_bytes)}"
            why = ": ".join(filter(None, (row.problem, row.reason, row.detail)))
            console.file.write(f"{row.verb:<6}  {row.name}{size}  {why}\n")
        return
    inner = console.width - 4
    if inner < _NARROW:
        for row in rows:
            console.print(indented(Text(shortened(row.name, inner)), 4))
            console.print(indented(_detail(row), 6))
        return
    before_detail = 2 + (_SIZE + 2 if sized else 0)
    name = min(widths[0], max(inner - before_detail - widths[1], inner // 6))
    room = inner - name - before_detail
    rows = iter(rows)
    while chunk := list(islice(rows, _CHUNK)):
        block = Text()
        for row in chunk:
            cell = set_cell_size(shortened(row.name, name), name)
            block.append(f"    {cell}  ")
            if sized:
                size = "" if row.size_bytes is None else sizes(row.size_bytes)
                block.append(f"{size:>{_SIZE}}  ")
            detail = _detail(row)
            lines = [detail] if detail.cell_len <= room else detail.wrap(console, room)
            for number, line in enumerate(lines):
                block.append(" " * (console.width - room if number else 0))
                block.append_text(line).append("\n")
        console.print(block, soft_wrap=True, end="")


def _detail(row: Row) -> Text:
    problem = (f"{row.problem}: " if row.problem else "", ERROR)
    return Text.assemble(problem, row.detail)
