"""How things stand, on a terminal: panels with bars, side by side where there is room."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import ROUNDED
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from narration_cleanup.apply.result import RunOutcome
from narration_cleanup.core.model import Target
from narration_cleanup.core.text import printable
from narration_cleanup.plan.totals import AGE_BINS, RequestTotals, VoiceTotals
from narration_cleanup.report import sentences
from narration_cleanup.report.format import MB, clock, count, old, percent, shortened, size
from narration_cleanup.report.plain_text import age_rows
from narration_cleanup.report.stats import CacheStats, Stats
from narration_cleanup.report.terminal import DIM, ERROR, KEEP, OK, WARN, bar, problem_table, worst

SIDE_BY_SIDE = 110
"""From this width on, panels stand in two columns."""
WIDEST = 160
VOICES = 10
"""Voice styles shown without ``-v``, the largest first."""
_ROOMY = 56
_NEARLY_FULL = 0.9


def print_stats(
    stats: Stats, console: Console, *, verbose: bool = False, quiet: bool = False
) -> None:
    """Print the whole; ``quiet`` only the problems."""
    if not quiet:
        title = Text.assemble(("Narration system", "bold"), "  ", (clock(stats.generated_at), DIM))
        console.print(title)
        whole = min(console.width, WIDEST)
        two = whole >= SIDE_BY_SIDE
        width = (whole - 1) // 2 if two else whole
        left = _cache_panels(stats, console, width, verbose=verbose)
        right: list[RenderableType] = [
            _requests_panel(stats, console, width),
            _cleanup_panel(stats, width),
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
        body = problem_table(stats.problems, verbose=verbose)
        console.print(
            _panel(
                sentences.problems_title(stats.problems), body, console.width, worst(stats.problems)
            )
        )


def _cache_panels(
    stats: Stats, console: Console, width: int, *, verbose: bool
) -> list[RenderableType]:
    cache = stats.cache
    if cache is None:
        return [_panel("Cache", _absent(stats, Target.CACHE), width)]
    return [
        _panel("Cache", _cache_body(stats, cache, console, width), width),
        _panel(
            f"Ages against the TTL of {cache.ttl_days:g} days",
            _ages_body(cache, console, width),
            width,
        ),
        _panel("By voice style", _voices_body(cache, console, width, verbose=verbose), width),
    ]


def _cache_body(stats: Stats, cache: CacheStats, console: Console, width: int) -> RenderableType:
    totals = cache.totals
    rows: list[tuple[str, Text]] = [("entries", Text(f"{totals.entry_count:,}"))]
    held = totals.total_size_bytes
    if cache.max_size_mb is None:
        rows.append(("size", Text(f"{size(held)}, no limit set")))
    else:
        limit = cache.max_size_mb * MB
        rows.append(("size", Text(f"{size(held)} of {cache.max_size_mb:g} MB")))
        share = held / limit if limit else 1.0
        style = ERROR if share > 1 else WARN if share > _NEARLY_FULL else KEEP
        filled = bar(console, max(8, width - 24), [(min(held, limit), style)], limit)
        rows.append(("", filled.append(f" {percent(held, limit)}", "default")))
    expired = Text(f"{totals.expired_count:,}", WARN if totals.expired_count else "")
    rows.append(("expired", expired.append(f", {size(totals.expired_size_bytes)}", "default")))
    rows.append(("dangling", _marked(totals.dangling_count)))
    orphans = _marked(totals.orphan_count)
    rows.append(("orphans", orphans.append(f", {size(totals.orphan_size_bytes)}", "default")))
    for label, instant in (
        ("oldest", totals.oldest_created_at),
        ("newest", totals.newest_created_at),
    ):
        if instant is not None:
            text = f"{clock(instant)}, {old(stats.generated_at - instant)}"
            rows.append((label, Text(text)))
    return _pairs(rows)


def _ages_body(cache: CacheStats, console: Console, width: int) -> RenderableType:
    rows = list(age_rows(cache))
    most = max(number for _, number in rows)
    bars = [
        (label, [(number, WARN if position == AGE_BINS else KEEP)], f"{number:,}")
        for position, (label, number) in enumerate(rows)
    ]
    return _bars(bars, most, console, width)


def _voices_body(
    cache: CacheStats, console: Console, width: int, *, verbose: bool
) -> RenderableType:
    voices = sorted(cache.totals.by_voice_style.items(), key=_largest_first)
    if not voices:
        return Text("none yet", DIM)
    cap = len(voices) if verbose else VOICES
    unit = " entries" if width >= _ROOMY else ""
    most = max(voice.size_bytes for _, voice in voices)
    bars = [
        (
            shortened(printable(name), max(8, width // 3)),
            [(voice.size_bytes, KEEP)],
            f"{size(voice.size_bytes)}, {voice.entry_count:,}{unit}",
        )
        for name, voice in voices[:cap]
    ]
    body = _bars(bars, most, console, width)
    if len(voices) <= cap:
        return body
    return Group(body, Text(f"and {len(voices) - cap:,} more (-v shows all)", DIM))


def _largest_first(voice: tuple[str, VoiceTotals]) -> tuple[int, str]:
    name, totals = voice
    return -totals.size_bytes, name


def _requests_panel(stats: Stats, console: Console, width: int) -> Panel:
    totals: RequestTotals | None = stats.requests
    if totals is None:
        return _panel("Requests", _absent(stats, Target.REQUESTS), width)
    bars = []
    for status, number in sentences.in_order(totals.by_status):
        abandoned = totals.abandoned_by_status.get(status, 0)
        figure = f"{number:,}" + (f", {abandoned:,} abandoned" if abandoned else "")
        parts = [(abandoned, WARN), (number - abandoned, KEEP)]
        bars.append((shortened(printable(status), max(8, width // 3)), parts, figure))
    limit = f"limit {stats.abandoned_timeout_hours:g} h"
    foot = Text(f"{count(totals.total, 'request')}, ", DIM)
    foot.append(f"{totals.abandoned_count:,} abandoned", WARN if totals.abandoned_count else DIM)
    foot.append(f" ({limit})", DIM)
    most = max(totals.by_status.values(), default=0)
    return _panel("Requests", Group(_bars(bars, most, console, width), foot), width)


def _cleanup_panel(stats: Stats, width: int) -> Panel:
    alive = stats.running or stats.in_progress
    run = stats.last_run
    fine = run is None or run.outcome == RunOutcome.SUCCESS
    return _panel(
        "Cleanup",
        _pairs(
            [
                ("automatic", Text(sentences.automatic(stats), OK if alive else WARN)),
                (
                    "last run",
                    Text(sentences.last_run(run, stats.generated_at), "" if fine else WARN),
                ),
                ("next run", Text(sentences.next_run(stats))),
            ]
        ),
        width,
    )


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
    grid.add_column(justify="right", no_wrap=True, style=DIM)
    grid.add_column(no_wrap=True)
    numbers = not any("abandoned" in text for _, _, text in rows)
    grid.add_column(overflow="fold", justify="right" if numbers else "left")
    for name, parts, text in rows:
        grid.add_row(Text(name), bar(console, room, parts, most, track=False), Text(text))
    return grid


def _pairs(rows: Iterable[tuple[str, Text]]) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style=DIM)
    grid.add_column(overflow="fold")
    for label, value in rows:
        grid.add_row(Text(label), value)
    return grid


def _marked(number: int) -> Text:
    return Text(f"{number:,}", WARN if number else "")


def _absent(stats: Stats, target: Target) -> Text:
    if any(problem.target is target for problem in stats.problems):
        return Text("could not be read: see the problems", ERROR)
    return Text(sentences.ABSENT_HALF, DIM)


def _panel(title: str, body: RenderableType, width: int, style: str = DIM) -> Panel:
    return Panel(
        body,
        title=Text(title, "bold default"),
        title_align="left",
        box=ROUNDED,
        border_style=style,
        width=width,
    )
