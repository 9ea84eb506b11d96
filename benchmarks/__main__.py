"""The command: `python -m benchmarks [--size N] [--json FILE] [--only NAME] [--runs K]`."""

import argparse
import compileall
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import narration_cleanup
from benchmarks import suites
from benchmarks.aims import aims_of
from benchmarks.arena import Bench
from benchmarks.beside import requests_section
from benchmarks.filesystem import find_ground, plain
from benchmarks.measure import BenchmarkError
from benchmarks.plot import Series, svg, text_plot
from benchmarks.programs import find_programs
from benchmarks.report import MB, Report, Section, as_json, as_markdown, replaced
from benchmarks.suites import FLOOR, RUN

SUITES: dict[str, Callable[[Bench], list[Section]]] = {
    "index": lambda bench: [suites.index_section(bench)],
    "rewrite": lambda bench: [suites.rewrite_section(bench)],
    "directory": lambda bench: [suites.directory_section(bench)],
    "looking": lambda bench: [suites.looking_section(bench)],
    "requests": lambda bench: [
        requests_section(bench, "wal"),
        requests_section(bench, "delete"),
    ],
    "startup": lambda bench: [suites.startup_section(bench)],
    "growth": suites.growth_sections,
}


def main(arguments: Sequence[str]) -> int:
    """Measure what was asked for, and print it; 1 when something could not be measured."""
    asked = parser().parse_args(arguments)
    work = Path(tempfile.mkdtemp(prefix="bench-", dir=asked.work))
    try:
        report, failed = measured(asked, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    panels = growth_panels(report.sections)
    plots = "".join(f"{text_plot(title, unit, series)}\n" for title, unit, series in panels)
    tables = as_markdown(report, made_at)
    print(tables, plots, sep="\n")
    if asked.json:
        asked.json.write_text(as_json(report, made_at))
    if asked.markdown:
        text = f"{tables}\n```text\n{plots.strip()}\n```\n" if plots else tables
        asked.markdown.write_text(replaced(asked.markdown, text))
    if asked.svg and panels:
        asked.svg.write_text(svg(panels))
    return 1 if failed else 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser("python3 dev.py bench", description=__doc__)
    options.add_argument("--size", type=int, default=100_000, help="entries, files and rows")
    options.add_argument("--runs", type=int, default=5, help="runs of each contender")
    options.add_argument(
        "--only", action="append", choices=SUITES, help="one benchmark; repeatable"
    )
    options.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    options.add_argument(
        "--markdown",
        type=Path,
        metavar="FILE",
        help="write the tables (only what lies between two marks, if it has them)",
    )
    options.add_argument("--svg", type=Path, metavar="FILE", help="draw the growth")
    options.add_argument("--no-mount", action="store_true", help="measure on --work as it is")
    options.add_argument("--ahead", action="store_true", help="measure before all other processes")
    options.add_argument("--work", type=Path, metavar="DIR", help="where to make the trees")
    return options


def measured(asked: argparse.Namespace, work: Path) -> tuple[Report, bool]:
    """Run the benchmarks asked for; one that fails is reported, and does not stop the others."""
    found = find_programs(work, ahead=asked.ahead)
    ground = plain(work, "as asked") if asked.no_mount else find_ground(work)
    bench = Bench(found, ground, asked.size, asked.runs, time.time(), say)
    say(bench.ground.note)
    # As an installed package is: a source tree may be run where no byte code is kept.
    compileall.compile_dir(narration_cleanup.__path__[0], quiet=1)
    sections: list[Section] = []
    failed = False
    for name in asked.only or SUITES:
        try:
            sections += SUITES[name](bench)
        except BenchmarkError as error:
            say(f"{name} could not be measured: {error}")
            failed = True
    sections += [
        replace(section, name=f"growth-{section.name}-{section.size}")
        for section in sections
        if section.name in ("index", "directory") and "growth" in (asked.only or SUITES)
    ]
    note = f"{bench.ground.note}{'; ahead of all other processes' if asked.ahead else ''}"
    return Report(asked.size, note, found.absent, sections, aims_of(sections)), failed


def growth_panels(sections: Sequence[Section]) -> list[tuple[str, str, Series]]:
    """Time and memory against size, where more than one size was measured."""
    times: dict[str, list[tuple[float, float]]] = {}
    peaks: dict[str, list[tuple[float, float]]] = {}
    for section in sections:
        kind = section.name.split("-")
        if kind[0] != "growth":
            continue
        for name, label in (
            (RUN, f"run, {kind[1]}"),
            (FLOOR, FLOOR),
            ("find", "find"),
        ):
            if name in section.results:
                times.setdefault(label, []).append((section.size, section.results[name].median))
                peak = section.results[name].peak / MB
                peaks.setdefault(label, []).append((section.size, peak))
    if not times or max(len(line) for line in times.values()) < 2:
        return []
    return [("Time", "seconds", times), ("Peak memory", "MB", peaks)]


def say(line: str) -> None:
    """Tell how far it is; the results alone go to stdout."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
