"""The command: `python -m benchmarks [--size N] [--runs K] [--only NAME] [--baseline PYTHON]`."""

import argparse
import compileall
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import narration_cleanup
from benchmarks.filesystem import find_ground, plain
from benchmarks.measure import BenchmarkError
from benchmarks.plot import Panel, svg
from benchmarks.programs import build_floor, tools
from benchmarks.report import (
    FIND,
    FLOOR,
    MB,
    RUN,
    Report,
    Section,
    as_json,
    as_markdown,
    replaced,
    report_of,
)
from benchmarks.suites import SUITES, Bench


def main(arguments: Sequence[str]) -> int:
    """Measure what was asked for, and print it; 1 when something could not be measured."""
    asked = parser().parse_args(arguments)
    work = Path(tempfile.mkdtemp(prefix="bench-", dir=asked.work))
    try:
        ground, sections, failed = measured(asked, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    report = report_of(ground, sections, asked.json)
    tables = as_markdown(report)
    print(tables)
    if asked.json:
        asked.json.write_bytes(as_json(report))
    if asked.markdown:
        asked.markdown.write_text(replaced(asked.markdown, tables))
    if asked.svg:
        asked.svg.write_text(svg(growth(report)))
    return 1 if failed else 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser("python3 dev.py bench", description=__doc__)
    options.add_argument("--size", type=int, default=100_000, help="of the largest tree and table")
    options.add_argument("--runs", type=int, default=9, help="runs of each contender, at most")
    options.add_argument(
        "--only", action="append", choices=SUITES, help="one benchmark; repeatable"
    )
    options.add_argument(
        "--baseline", metavar="PYTHON", help="the Python that has an earlier version"
    )
    options.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures; what is not measured is kept"
    )
    options.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the tables (between its marks)"
    )
    options.add_argument("--svg", type=Path, metavar="FILE", help="draw the growth")
    options.add_argument("--no-mount", action="store_true", help="measure on --work as it is")
    options.add_argument("--work", type=Path, metavar="DIR", help="where to make the trees")
    return options


def measured(asked: argparse.Namespace, work: Path) -> tuple[str, list[Section], bool]:
    """Run the benchmarks asked for; one that fails is reported, and does not stop the others."""
    ground = plain(work, "as asked") if asked.no_mount else find_ground(work)
    say(ground.note)
    found, floor = tools(asked.baseline), build_floor(work)
    bench = Bench(found, floor, ground, asked.size, asked.runs, time.time(), say)
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
    return ground.note, sections, failed


def growth(report: Report) -> list[Panel]:
    """Time, processor seconds and memory against size."""
    panels: list[Panel] = [
        ("Time", "seconds", {}),
        ("Processor", "seconds", {}),
        ("Peak", "MB", {}),
    ]
    for section in report.sections:
        for name in (RUN, FLOOR, FIND):
            if section.name in ("index", "directory") and (one := section.results.get(name)):
                label = f"run, {section.name}" if name == RUN else name
                values = one.seconds.median, one.cpu.median, one.peak / MB
                for (_, _, series), value in zip(panels, values, strict=True):
                    series.setdefault(label, []).append((section.size, value))
    return panels


def say(line: str) -> None:
    """Report how far it is; the results alone go to stdout."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
