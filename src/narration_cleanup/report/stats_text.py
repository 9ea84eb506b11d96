"""The state of cache and queue for a reader: panels with bars, side by side where they fit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from narration_cleanup.apply.result import RunOutcome
from narration_cleanup.core.model import MB, Target
from narration_cleanup.core.text import printable
from narration_cleanup.plan.types import AGE_BINS, RequestTotals, VoiceTotals
from narration_cleanup.report import summary
from narration_cleanup.report.format import (
    Sizes,
    clock,
    count,
    old,
    percent,
    shortened,
    sizes_up_to,
)
from narration_cleanup.report.stats import CacheStats, Stats
from narration_cleanup.report.terminal import (
    ERROR,
    KEEP,
    OK,
    WARN,
    bar,
    pairs,
    panel,
    problem_table,
    report_console,
    worst,
)

SIDE_BY_SIDE = 110
"""From this width on, panels are in two columns."""
WIDEST = 160
VOICES = 10
"""Voice styles shown without ``-v``, the largest first."""
_ROOMY = 56
_NEARLY_FULL = 0.9


def show_stats(
    stats: Stats,
    stream: TextIO | None = None,
    *,
    terminal: bool | None = None,
    width: int | None = None,
    verbose: bool = False,
    quiet: bool = False,
) -> None:
    """Show the state of cache and queue, in one line first; on a terminal in panels with bars.

    ``verbose`` and a pipe get every voice style and problem; ``quiet`` shows nothing unless there
    are problems, and then only those. See ``report_console`` for the rest.
    """
    if quiet and not stats.problems:
        return
    with report_console(stream, width, terminal) as console:
        verbose = verbose or not console.is_terminal
        if not quiet:
            sizes = _sizes(stats)
            good, state = summary.state(stats, sizes)
            console.print(Text(state, f"bold {OK if good else ERROR}"))
            console.print(Text(f"Narration system, {clock(stats.generated_at)}"))
            whole = min(console.width, WIDEST)
            two = whole >= SIDE_BY_SIDE and console.is_terminal
            width = (whole - 1) // 2 if two else whole
            left = _cache_panels(stats, console, sizes, width, verbose=verbose)
            right = [
                _requests_panel(stats, console, width),
                _cleanup_panel(stats, console, sizes, width),
            ]
            if two:
                if len(left) > 1:
                    right.insert(0, left.pop())
                grid = Table.grid(padding=(0, 1, 0, 0))
                grid.add_row(Group(*left), Group(*right))
                console.print(grid)
            else:
                console.print(Group(*left, *right))
        if stats.problems:
            body = problem_table(stats.problems, console, verbose=verbose)
            title, style = summary.problems_title(stats.problems), worst(stats.problems)
            console.print(panel(console, title, body, console.width, style))


def _sizes(stats: Stats) -> Sizes:
    """In the unit of the limit, where there is one: MB."""
    if stats.cache is None:
        return sizes_up_to(0)
    limit = 0 if stats.cache.max_size_mb is None else MB
    return sizes_up_to(max(stats.cache.totals.total_size_bytes, limit))


def _cache_panels(
    stats: Stats, console: Console, sizes: Sizes, width: int, *, verbose: bool
) -> list[RenderableType]:
    cache = stats.cache
    if cache is None:
        return [panel(console, "Cache", _absent(stats, Target.CACHE), width)]
    ages = f"Ages against the TTL of {cache.ttl_days:g} days"
    voices = _voices_body(cache, console, sizes, width, verbose=verbose)
    return [
        panel(console, "Cache", _cache_body(stats, cache, console, sizes, width), width),
        panel(console, ages, _ages_body(cache, console, width), width),
        panel(console, "By voice style", voices, width),
    ]


def _cache_body(
    stats: Stats, cache: CacheStats, console: Console, sizes: Sizes, width: int
) -> RenderableType:
    totals = cache.totals
    rows: list[tuple[str, Text]] = [("entries", Text(f"{totals.entry_count:,}"))]
    held = totals.total_size_bytes
    if cache.max_size_mb is None:
        rows.append(("size", Text(f"{sizes(held)}, no limit set")))
    else:
        limit = cache.max_size_mb * MB
        share = held / limit if limit else 1.0
        style = ERROR if share > 1 else WARN if share > _NEARLY_FULL else KEEP
        figures = f"{sizes(held)} of {cache.max_size_mb:g} MB, {percent(held, limit)}"
        rows.append(("size", Text(figures)))
        if console.is_terminal:
            width_of_bar = max(8, width - 16)
            rows.append(("", bar(console, width_of_bar, [(min(held, limit), style)], limit)))
    expired = Text(f"{totals.expired_count:,}", WARN if totals.expired_count else "")
    rows.append(("expired", expired.append(f", {sizes(totals.expired_size_bytes)}", "default")))
    rows.append(("dangling", _marked(totals.dangling_count)))
    orphans = _marked(totals.orphan_count)
    rows.append(("orphans", orphans.append(f", {sizes(totals.orphan_size_bytes)}", "default")))
    for label, instant in (
        ("oldest", totals.oldest_created_at),
        ("newest", totals.newest_created_at),
    ):
        if instant is not None:
            text = f"{clock(instant)}, {old(stats.generated_at - instant)}"
            rows.append((label, Text(text)))
    return pairs(rows)


def _ages_body(cache: CacheStats, console: Console, width: int) -> RenderableType:
    step = cache.ttl_days / AGE_BINS
    rows = [
        (f"{number * step:.3g}-{(number + 1) * step:.3g} d", found)
        for number, found in enumerate(cache.totals.age_bins[:AGE_BINS])
    ]
    rows.append((f"over {cache.ttl_days:g} d", cache.totals.age_bins[AGE_BINS]))
    most = max(number for _, number in rows)
    bars = [
        (label, [(number, WARN if position == AGE_BINS else KEEP)], f"{number:,}")
        for position, (label, number) in enumerate(rows)
    ]
    return _bars(bars, most, console, width)


def _voices_body(
    cache: CacheStats, console: Console, sizes: Sizes, width: int, *, verbose: bool
) -> RenderableType:
    voices = sorted(cache.totals.by_voice_style.items(), key=_largest_first)
    if not voices:
        return Text("none yet")
    cap = len(voices) if verbose else VOICES
    unit = " entries" if width >= _ROOMY else ""
    most = max(voice.size_bytes for _, voice in voices)
    bars = [
        (
            shortened(printable(name), max(8, width // 3)),
            [(voice.size_bytes, KEEP)],
            f"{sizes(voice.size_bytes)}, {voice.entry_count:,}{unit}",
        )
        for name, voice in voices[:cap]
    ]
    body = _bars(bars, most, console, width)
    if len(voices) <= cap:
        return body
    return Group(body, Text(f"and {len(voices) - cap:,} more (-v shows all)"))


def _largest_first(voice: tuple[str, VoiceTotals]) -> tuple[int, str]:
    name, totals = voice
    return -totals.size_bytes, name


def _requests_panel(stats: Stats, console: Console, width: int) -> RenderableType:
    totals: RequestTotals | None = stats.requests
    if totals is None:
        return panel(console, "Requests", _absent(stats, Target.REQUESTS), width)
    bars = []
    for status, number in summary.in_order(totals.by_status):
        abandoned = totals.abandoned_by_status.get(status, 0)
        figure = f"{number:,}" + (f", {abandoned:,} abandoned" if abandoned else "")
        parts = [(abandoned, WARN), (number - abandoned, KEEP)]
        bars.append((shortened(printable(status), max(8, width // 3)), parts, figure))
    limit = f"limit {stats.abandoned_timeout_hours:g} h"
    foot = Text(f"{count(totals.total, 'request')}, ")
    foot.append(f"{totals.abandoned_count:,} abandoned", WARN if totals.abandoned_count else "")
    foot.append(f" ({limit})")
    most = max(totals.by_status.values(), default=0)
    return panel(console, "Requests", Group(_bars(bars, most, console, width), foot), width)


def _cleanup_panel(stats: Stats, console: Console, sizes: Sizes, width: int) -> RenderableType:
    alive = stats.running or stats.in_progress
    run = stats.last_run
    fine = run is None or run.outcome == RunOutcome.SUCCESS
    last = summary.last_run(run, stats.generated_at, sizes)
    body = pairs(
        [
            ("automatic", Text(summary.automatic(stats), OK if alive else WARN)),
            ("last run", Text(last, "" if fine else WARN)),
            ("next run", Text(summary.next_run(stats))),
        ]
    )
    return panel(console, "Cleanup", body, width)


def _bars(
    rows: Iterable[tuple[str, list[tuple[int, str]], str]],
    most: int,
    console: Console,
    width: int,
) -> RenderableType:
    """Label, bar and figure in three columns that fit ``width`` with the panel's edges."""
    rows = list(rows)
    label = max((len(name) for name, _, _ in rows), default=0)
    figure = max((len(text) for _, _, text in rows), default=0)
    room = max(4, width - 4 - label - figure - 2)
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(no_wrap=True)
    numbers = not any("abandoned" in text for _, _, text in rows)
    grid.add_column(overflow="fold", justify="right" if numbers else "left")
    for name, parts, text in rows:
        grid.add_row(Text(name), bar(console, room, parts, most, track=False), Text(text))
    return grid


def _marked(number: int) -> Text:
    return Text(f"{number:,}", WARN if number else "")


def _absent(stats: Stats, target: Target) -> Text:
    if any(problem.target is target for problem in stats.problems):
        return Text("could not be read: see the problems", ERROR)
    return Text(summary.NOT_CONFIGURED)
