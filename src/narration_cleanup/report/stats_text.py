"""The state of cache and queue for a reader: panels with bars, side by side where they fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from narration_cleanup.apply.result import RunOutcome
from narration_cleanup.core.model import MB, Target
from narration_cleanup.core.text import printable
from narration_cleanup.plan.types import AGE_BINS
from narration_cleanup.report import state_line, summary
from narration_cleanup.report.format import (
    Sizes,
    clock,
    count,
    old,
    percent,
    shortened,
    sizes_up_to,
    without_audio,
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
            good, state = state_line.state(stats, sizes)
            console.print(Text(state, f"bold {OK if good else ERROR}"))
            console.print(Text(f"Narration system, {clock(stats.generated_at)}"))
            whole = min(console.width, WIDEST)
            two = whole >= SIDE_BY_SIDE and console.is_terminal
            view = _View(stats, console, sizes, (whole - 1) // 2 if two else whole, verbose)
            left, right = view.of_cache(), [view.of_requests(), view.of_cleanup()]
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


@dataclass(frozen=True, slots=True)
class _View:
    """The panels of one report, each ``width`` columns wide."""

    stats: Stats
    console: Console
    sizes: Sizes
    width: int
    verbose: bool

    def of_cache(self) -> list[RenderableType]:
        """Its state, its ages and its voices; one panel where there is no state to show."""
        cache = self.stats.cache
        if cache is None:
            return [self._panel("Cache", self._absent(Target.CACHE))]
        return [
            self._panel("Cache", self._cache(cache)),
            self._panel(f"Ages against the TTL of {cache.ttl_days:g} days", self._ages(cache)),
            self._panel("By voice style", self._voices(cache)),
        ]

    def of_requests(self) -> RenderableType:
        """The requests by status, and how many are abandoned."""
        totals = self.stats.requests
        if totals is None:
            return self._panel("Requests", self._absent(Target.REQUESTS))
        bars = []
        for status, number in summary.in_order(totals.by_status):
            abandoned = totals.abandoned_by_status.get(status, 0)
            figure = f"{number:,}" + (f", {abandoned:,} abandoned" if abandoned else "")
            parts = [(abandoned, WARN), (number - abandoned, KEEP)]
            bars.append((self._name(status), parts, figure))
        foot = Text(f"{count(totals.total, 'request')}, ")
        abandoned = totals.abandoned_count
        foot.append(f"{abandoned:,} abandoned", WARN if abandoned else "")
        foot.append(f" (limit {self.stats.abandoned_timeout_hours:g} h)")
        most = max(totals.by_status.values(), default=0)
        return self._panel("Requests", Group(self._bars(bars, most), foot))

    def of_cleanup(self) -> RenderableType:
        """Whether runs are made, the last and the next."""
        stats, run = self.stats, self.stats.last_run
        alive = stats.running or stats.in_progress
        fine = run is None or run.outcome == RunOutcome.SUCCESS
        last = state_line.last_run(run, stats.generated_at, self.sizes)
        rows = [
            ("automatic", Text(state_line.automatic(stats), OK if alive else WARN)),
            ("last run", Text(last, "" if fine else WARN)),
            ("next run", Text(state_line.next_run(stats))),
        ]
        return self._panel("Cleanup", pairs(rows))

    def _cache(self, cache: CacheStats) -> RenderableType:
        totals, sizes = cache.totals, self.sizes
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
            if self.console.is_terminal:
                parts = [(min(held, limit), style)]
                rows.append(("", bar(self.console, max(8, self.width - 16), parts, limit)))
        # Of an entry without a file no byte is on the disk, whatever the index states.
        expired_bytes = totals.expired_size_bytes - totals.missing_size_bytes
        expired = f"{without_audio(totals.missing_count)}, {sizes(expired_bytes)}"
        for label, number, size in (
            ("expired", totals.expired_count, expired),
            ("dangling", totals.dangling_count, ""),
            ("orphans", totals.orphan_count, f", {sizes(totals.orphan_size_bytes)}"),
        ):
            text = Text(f"{number:,}", WARN if number else "")
            rows.append((label, text.append(size, "default")))
        for label, instant in (
            ("oldest", totals.oldest_created_at),
            ("newest", totals.newest_created_at),
        ):
            if instant is not None:
                aged = old(self.stats.generated_at - instant)
                rows.append((label, Text(f"{clock(instant)}, {aged}")))
        return pairs(rows)

    def _ages(self, cache: CacheStats) -> RenderableType:
        step, bins = cache.ttl_days / AGE_BINS, cache.totals.age_bins
        names = [f"{number * step:.3g}-{(number + 1) * step:.3g} d" for number in range(AGE_BINS)]
        names.append(f"over {cache.ttl_days:g} d")
        bars = [
            (name, [(number, WARN if position == AGE_BINS else KEEP)], f"{number:,}")
            for position, (name, number) in enumerate(zip(names, bins, strict=True))
        ]
        return self._bars(bars, max(bins))

    def _voices(self, cache: CacheStats) -> RenderableType:
        found = cache.totals.by_voice_style.items()
        voices = sorted(found, key=lambda voice: (-voice[1].size_bytes, voice[0]))
        if not voices:
            return Text("none yet")
        cap = len(voices) if self.verbose else VOICES
        unit = " entries" if self.width >= _ROOMY else ""
        bars = [
            (
                self._name(name),
                [(voice.size_bytes, KEEP)],
                f"{self.sizes(voice.size_bytes)}, {voice.entry_count:,}{unit}",
            )
            for name, voice in voices[:cap]
        ]
        body = self._bars(bars, voices[0][1].size_bytes)
        if len(voices) <= cap:
            return body
        return Group(body, Text(f"and {len(voices) - cap:,} more (-v shows all)"))

    def _bars(
        self, rows: Sequence[tuple[str, list[tuple[int, str]], str]], most: int
    ) -> RenderableType:
        """Label, bar and figure in three columns that fit the width with the panel's edges."""
        label = max((len(name) for name, _, _ in rows), default=0)
        figure = max((len(text) for _, _, text in rows), default=0)
        room = max(4, self.width - 4 - label - figure - 2)
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column(no_wrap=True)
        numbers = not any("abandoned" in text for _, _, text in rows)
        grid.add_column(overflow="fold", justify="right" if numbers else "left")
        for name, parts, text in rows:
            whole = bar(self.console, room, parts, most, track=False)
            grid.add_row(Text(name), whole, Text(text))
        return grid

    def _panel(self, title: str, body: RenderableType) -> RenderableType:
        return panel(self.console, title, body, self.width)

    def _name(self, name: str) -> str:
        return shortened(printable(name), max(8, self.width // 3))

    def _absent(self, target: Target) -> Text:
        if any(problem.target is target for problem in self.stats.problems):
            return Text("could not be read: see the problems", ERROR)
        return Text(summary.NOT_CONFIGURED)
