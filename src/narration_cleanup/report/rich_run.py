"""A run or dry run on a terminal: what goes and why, what stays, what was in the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from rich.cells import set_cell_size
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from narration_cleanup.apply.result import CacheResult, RequestResult, Result, RunOutcome
from narration_cleanup.core.text import printable, printable_line
from narration_cleanup.plan.actions import Action, Outcome
from narration_cleanup.report import sentences
from narration_cleanup.report.format import clock, shortened, size
from narration_cleanup.report.stats import Stats
from narration_cleanup.report.summary import Row, grouped
from narration_cleanup.report.terminal import DIM, ERROR, KEEP, OK, WARN, bar, problem_table, worst

ROWS_TO_COME = 8
ROWS_DONE = 3
"""Rows shown of each reason without ``-v``: in a dry run, and of what a run has done."""
MOST_ROWS = 100_000
"""Rows shown of each reason with ``-v``: more than anyone reads, and memory stays bounded."""
_SIZE = 9
_NARROW = 56
_CHUNK = 500
_MESSAGE_STYLE = {RunOutcome.SUCCESS: OK, RunOutcome.PARTIAL: WARN, RunOutcome.INTERRUPTED: WARN}


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
                ("Narration cleanup", "bold"), f"  {title}  ", (clock(result.started_at), DIM)
            )
        )
        if result.stopped is None or result.cache or result.requests:
            _print_cache(result, console, verbose=verbose)
            _print_requests(result, console, verbose=verbose)
            _print_stays(result, stats, console)
    if problems := result.all_problems():
        console.print()
        console.print(Text(sentences.problems_title(problems), f"bold {worst(problems)}"))
        console.print(Padding(problem_table(problems, verbose=verbose), (0, 0, 0, 2)))
    console.print()
    for line in result.message.splitlines():
        console.print(
            Text(printable_line(line), f"bold {_MESSAGE_STYLE.get(result.outcome, ERROR)}")
        )


def _print_cache(result: Result, console: Console, *, verbose: bool) -> None:
    cache = result.cache
    if cache is None:
        _print_absent("Cache", result.cache_configured, result, console)
        return
    _print_title("Cache", sentences.cache_headline(cache, dry_run=result.dry_run), console)
    total = cache.plan.totals.entry_count
    if total:
        kept = sentences.kept_entries(cache, dry_run=result.dry_run)
        width = min(console.width - 4, 60)
        share = bar(console, width, [(total - kept, WARN), (kept, KEEP)], total)
        console.print(Padding(share, (0, 0, 0, 2)))
    _print_groups(cache.outcomes, console, cap=_cap(result, verbose))
    if verbose and cache.plan.held:
        _print_held(cache, console)


def _cap(result: Result, verbose: bool) -> int:
    if verbose:
        return MOST_ROWS
    return ROWS_TO_COME if result.dry_run else ROWS_DONE


def _print_requests(result: Result, console: Console, *, verbose: bool) -> None:
    requests: RequestResult | None = result.requests
    if requests is None:
        _print_absent("Requests", result.requests_configured, result, console)
        return
    _print_title("Requests", sentences.requests_headline(requests, dry_run=result.dry_run), console)
    _print_groups(requests.outcomes, console, cap=_cap(result, verbose))
    if requests.overwritten:
        text = f"{requests.overwritten:,} cancelled earlier were completed by the service since"
        console.print(Padding(Text(text, WARN), (0, 0, 0, 2)))


def _print_title(name: str, headline: str, console: Console) -> None:
    console.print()
    console.print(Text.assemble((name, "bold"), "  ", headline))


def _print_absent(name: str, configured: bool, result: Result, console: Console) -> None:
    why = sentences.ABSENT_HALF
    if configured:
        stopped = result.stopped is not None
        why = "not reached" if stopped else "could not be worked on: see the problems"
    console.print()
    console.print(Text.assemble((name, "bold"), "  ", (why, DIM)))


def _print_groups(
    outcomes: Iterable[tuple[Action, Outcome, str | None]], console: Console, *, cap: int
) -> None:
    groups = grouped(outcomes, cap)
    print_rows = _row_printer([row for group in groups.values() for row in group.rows], console)
    for group in groups.values():
        title = Text.assemble(
            (group.reason.value, f"bold {WARN}"), f"  {sentences.group_title(group)}"
        )
        if group.unusual:
            title.append(f"  {sentences.outcomes_line(group)}", ERROR)
        console.print()
        console.print(Padding(title, (0, 0, 0, 2)))
        print_rows(group.rows)
        if group.more:
            hint = "" if cap == MOST_ROWS else " (-v shows all)"
            console.print(Padding(Text(f"and {group.more:,} more{hint}", DIM), (0, 0, 0, 4)))


def _row_printer(rows: Sequence[Row], console: Console) -> Callable[[Sequence[Row]], None]:
    """How to print rows of these measures: in columns, or each on two lines where it is narrow."""
    inner = console.width - 4
    sizes = _SIZE + 2 if any(row.size_bytes is not None for row in rows) else 0
    if inner < _NARROW:
        return partial(_print_stacked, console=console, width=inner)
    names = max((len(printable(row.name)) for row in rows), default=0)
    whys = max((len(_why(row)) for row in rows), default=0)
    name = min(names, max(inner - sizes - 2 - whys, inner * 2 // 5))
    return partial(_print_columns, console=console, name=name, sized=bool(sizes))


def _print_columns(rows: Sequence[Row], console: Console, name: int, sized: bool) -> None:
    """Not by a table of Rich's, which takes half a minute for a hundred thousand rows."""
    indent = 4 + name + 2 + (_SIZE + 2 if sized else 0)
    room = console.width - indent
    for start in range(0, len(rows), _CHUNK):
        block = Text()
        for row in rows[start : start + _CHUNK]:
            block.append(f"    {set_cell_size(shortened(printable(row.name), name), name)}  ")
            if sized:
                block.append(f"{'' if row.size_bytes is None else size(row.size_bytes):>{_SIZE}}  ")
            why = _why(row)
            lines = [why] if why.cell_len <= room else why.wrap(console, room)
            for number, line in enumerate(lines):
                block.append(" " * (indent if number else 0)).append_text(line).append("\n")
        console.print(block, soft_wrap=True, end="")


def _print_stacked(rows: Sequence[Row], console: Console, width: int) -> None:
    for row in rows:
        console.print(Padding(Text(shortened(printable(row.name), width)), (0, 0, 0, 4)))
        console.print(Padding(_why(row), (0, 0, 0, 6)))


def _why(row: Row) -> Text:
    text = Text(printable(row.detail), DIM)
    if row.outcome in (Outcome.FAILED, Outcome.SKIPPED):
        note = "" if row.note is None else f" ({printable_line(row.note)})"
        text = Text(f"{row.outcome.value}{note}: ", ERROR).append_text(text)
    return text


def _print_held(cache: CacheResult, console: Console) -> None:
    console.print()
    title = Text.assemble(("kept", f"bold {KEEP}"), f"  {len(cache.plan.held):,} by a rule")
    console.print(Padding(title, (0, 0, 0, 2)))
    for key, rule in cache.plan.held:
        name = shortened(printable(key), max(12, console.width // 3))
        console.print(Padding(Text.assemble(name, "  ", (printable(rule), DIM)), (0, 0, 0, 4)))


def _print_stays(result: Result, stats: Stats | None, console: Console) -> None:
    if said := sentences.stays(result, stats):
        console.print()
        console.print(Text.assemble(("What stays", f"bold {KEEP}"), "  ", "; ".join(said)))
