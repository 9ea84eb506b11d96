"""A run or dry run on a terminal: what goes and why, what stays, what was in the way."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from narration_cleanup.actions import Action, Outcome
from narration_cleanup.escape import shown
from narration_cleanup.output import sentences
from narration_cleanup.output.digest import Group, Row, grouped
from narration_cleanup.output.terminal import (
    BAD,
    GOES,
    GOOD,
    QUIET,
    STAYS,
    bar,
    problem_lines,
    problems_title,
)
from narration_cleanup.output.words import clock, shortened, size
from narration_cleanup.result import CacheResult, RequestResult, Result, RunOutcome
from narration_cleanup.stats import Stats

ROWS = 8
"""Rows shown of each reason without ``-v``."""
MOST_ROWS = 100_000
"""Rows shown of each reason with ``-v``: more than anyone reads, and memory stays bounded."""
_WIDEST_NAME = 72
_MESSAGE_STYLE = {RunOutcome.SUCCESS: GOOD, RunOutcome.PARTIAL: GOES, RunOutcome.INTERRUPTED: GOES}


def print_run(
    result: Result,
    stats: Stats | None,
    console: Console,
    *,
    verbose: bool = False,
    quiet: bool = False,
) -> None:
    """Print the whole; ``quiet`` only the problems and the last line."""
    if not quiet:
        title = "dry run" if result.dry_run else "run"
        console.print(
            Text.assemble(
                ("Narration cleanup", "bold"), f"  {title}  ", (clock(result.started_at), QUIET)
            )
        )
        _print_cache(result, console, verbose=verbose)
        _print_requests(result, console, verbose=verbose)
        _print_stays(result, stats, console)
    if problems := result.all_problems():
        console.print()
        console.print(Text(problems_title(problems), f"bold {BAD}"))
        for line in problem_lines(problems, verbose=verbose):
            console.print(Padding(line, (0, 0, 0, 2)))
    console.print()
    console.print(Text(shown(result.message), f"bold {_MESSAGE_STYLE.get(result.outcome, BAD)}"))


def _print_cache(result: Result, console: Console, *, verbose: bool) -> None:
    cache = result.cache
    if cache is None:
        _print_absent("Cache", result.cache_configured, console)
        return
    _print_title("Cache", sentences.cache_headline(cache, dry_run=result.dry_run), console)
    total = cache.plan.totals.entry_count
    if total:
        kept = sentences.kept_entries(cache, dry_run=result.dry_run)
        width = min(console.width - 4, 60)
        share = bar(console, width, [(total - kept, GOES), (kept, STAYS)], total)
        console.print(Padding(share, (0, 0, 0, 2)))
    _print_groups(cache.outcomes, console, verbose=verbose)
    if verbose and cache.plan.held:
        _print_held(cache, console)


def _print_requests(result: Result, console: Console, *, verbose: bool) -> None:
    requests: RequestResult | None = result.requests
    if requests is None:
        _print_absent("Requests", result.requests_configured, console)
        return
    _print_title("Requests", sentences.requests_headline(requests, dry_run=result.dry_run), console)
    _print_groups(requests.outcomes, console, verbose=verbose)
    if requests.overwritten:
        text = f"{requests.overwritten:,} cancelled earlier were completed by the service since"
        console.print(Padding(Text(text, GOES), (0, 0, 0, 2)))


def _print_title(name: str, headline: str, console: Console) -> None:
    console.print()
    console.print(Text.assemble((name, "bold"), "  ", headline))


def _print_absent(name: str, configured: bool, console: Console) -> None:
    why = "could not be worked on: see the problems" if configured else sentences.ABSENT_HALF
    console.print()
    console.print(Text.assemble((name, "bold"), "  ", (why, QUIET)))


def _print_groups(
    outcomes: Iterable[tuple[Action, Outcome, str | None]], console: Console, *, verbose: bool
) -> None:
    groups = grouped(outcomes, MOST_ROWS if verbose else ROWS)
    for group in groups.values():
        title = Text.assemble(
            (group.reason.value, f"bold {GOES}"), f"  {sentences.group_title(group)}"
        )
        if group.unusual:
            title.append(f"  {sentences.outcomes_line(group)}", BAD)
        console.print()
        console.print(Padding(title, (0, 0, 0, 2)))
        _print_rows(group, console)
        if group.more:
            hint = "" if verbose else " (-v shows all)"
            console.print(Padding(Text(f"and {group.more:,} more{hint}", QUIET), (0, 0, 0, 4)))


def _print_rows(group: Group, console: Console) -> None:
    sized = any(row.size_bytes is not None for row in group.rows)
    inner = console.width - 4
    why_width = max(14, min(40, inner * 2 // 5))
    size_width = 11 if sized else 0
    name_width = max(8, min(_WIDEST_NAME, inner - why_width - size_width - 2))
    for start in range(0, len(group.rows), 500):
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(width=name_width, no_wrap=True)
        if sized:
            table.add_column(width=size_width - 2, justify="right", no_wrap=True)
        table.add_column(max_width=why_width, overflow="fold")
        for row in group.rows[start : start + 500]:
            cells = [Text(shortened(shown(row.name), name_width)), _why(row)]
            if sized:
                cells.insert(1, Text("" if row.size_bytes is None else size(row.size_bytes)))
            table.add_row(*cells)
        console.print(Padding(table, (0, 0, 0, 4), expand=False))


def _why(row: Row) -> Text:
    text = Text(shown(row.detail), QUIET)
    if row.outcome in (Outcome.FAILED, Outcome.SKIPPED):
        note = "" if row.note is None else f" ({shown(row.note)})"
        text = Text(f"{row.outcome.value}{note}: ", BAD).append_text(text)
    return text


def _print_held(cache: CacheResult, console: Console) -> None:
    console.print()
    title = Text.assemble(("kept", f"bold {STAYS}"), f"  {len(cache.plan.held):,} by a rule")
    console.print(Padding(title, (0, 0, 0, 2)))
    for key, rule in cache.plan.held:
        name = shortened(shown(key), max(12, console.width // 3))
        console.print(Padding(Text.assemble(name, "  ", (shown(rule), QUIET)), (0, 0, 0, 4)))


def _print_stays(result: Result, stats: Stats | None, console: Console) -> None:
    if said := sentences.stays(result, stats):
        console.print()
        console.print(Text.assemble(("What stays", f"bold {STAYS}"), "  ", "; ".join(said)))
