"""What the benchmark makes of its figures: all aims of a made-up report, and what one run costs."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import suites, tables, trees
from benchmarks.measure import BenchmarkError, Command, Sample, Spread, Summary, summarise, timed
from benchmarks.programs import Start, Tool
from benchmarks.report import (
    FIND,
    FLOOR,
    NOTHING,
    ONE_UPDATE,
    PIP,
    REWRITING,
    Report,
    Section,
    aims_of,
    section_table,
)
from tests.test_benchmarks import DATE, bench

Figures = tuple[float, float, float, float]
"""Of one contender: time (s), processor seconds, the worst wait (ms), the peak (MB)."""


def section(name: str, size: int, results: Mapping[str, Figures]) -> Section:
    found = {}
    for contender, (seconds, cpu, wait, peak) in results.items():
        time, processor, worst = (
            Spread(one, one / 2, one * 2) for one in (seconds, cpu, wait / 1000)
        )
        found[contender] = Summary(time, processor, worst, 0.0, int(peak * 1e6), 1)
    return Section(name, name, size, found, None, [0], DATE)


SECTIONS = [
    section("directory", 60, {"run": (1.0, 0.9, 0, 20)}),
    section("directory", 20_000, {"run": (1.7, 1.6, 0, 21)}),
    section("directory", 1_000_000, {"run": (20.0, 18.0, 0, 50), FIND: (10.0, 6.0, 0, 5)}),
    section("index", 1_000, {"run": (1.1, 1.0, 0, 22)}),
    section("index", 100_000, {"run": (4.4, 4.0, 0, 23)}),
    section("index", 1_000_000, {"run": (44.0, 32.0, 0, 60), FLOOR: (16.0, 4.0, 0, 4)}),
    section("index-looking", 1_000_000, {"stats": (5.0, 4.0, 0, 70)}),
    section("rewrite", 5_000, {"run": (0.25, 0.2, 0, 24), REWRITING: (30.0, 29.0, 0, 20)}),
    section("forms", 100_000, {"indented": (2.0, 1.9, 0, 30), "in one line": (3.2, 3.0, 0, 33)}),
    section(
        "forms", 1_000_000, {"indented": (20.0, 19.0, 0, 40), "in one line": (28.0, 3.0, 0, 41)}
    ),
    section(
        "requests-wal",
        1_000_000,
        {"run": (1.4, 1.2, 66, 35), NOTHING: (1.4, 0.0, 35, 9), ONE_UPDATE: (0.5, 0.3, 355, 9)},
    ),
    section(
        "requests-delete",
        1_000_000,
        {"run": (2.1, 1.3, 12, 36), NOTHING: (2.1, 0.0, 17, 9), ONE_UPDATE: (0.5, 0.3, 531, 9)},
    ),
    section(
        "startup",
        60,
        {PIP: (0.5, 0.4, 0, 42), "stats --json": (0.3, 0.2, 0, 27), "--help": (0.6, 0.5, 0, 34)},
    ),
]
MILLION = "`run`, index in one line, up to 1,000,000"
REQUESTS = "`run`, 1,000,000 requests, 1 % abandoned, beside a writer"
LONGER = "worst wait at most 10 ms longer than beside nothing"
NO_INDEX = "`run`, no index, 1,000,000 files, 10 % expired"
INDEX = "`run`, index, 1,000,000 files, 10 % expired"
GROWTH = "ten times the entries, at most 11 × the time"
MEMORY = "at most 64 MiB and 300 bytes an item removed"
AIMS = [
    (NO_INDEX, "at most 1.8 × the time of find -delete", 2.0, 1.8, False),
    (NO_INDEX, "at most 2.0 × the processor seconds of find -delete", 3.0, 2.0, False),
    (INDEX, "at most 3.0 × the time of C floor", 2.75, 3.0, True),
    (INDEX, "at most 4.0 × the processor seconds of C floor", 8.0, 4.0, False),
    ("`run`, index, 100,000", "at most 5 × the time of `run` on 1,000", 4.0, 5.0, True),
    ("`run`, index, up to 1,000,000", GROWTH, 10.0, 11.0, True),
    ("`run`, no index, 20,000", "at most 2 × the time of `run` on 60", 1.7, 2.0, True),
    (
        "`run`, index, 5,000 entries",
        "at least 100 × faster than rewriting it for each removal",
        120.0,
        100,
        True,
    ),
    (
        f"{MILLION}, worst at 100,000",
        "at most 1.5 × the time of the indented form",
        1.6,
        1.5,
        False,
    ),
    (f"{MILLION}, worst at 100,000", "no more memory (5 %)", 1.1, 1.05, False),
    (MILLION, GROWTH, 8.75, 11.0, True),
    (f"{REQUESTS} (WAL)", LONGER, 31.0, 10.0, False),
    (f"{REQUESTS} (WAL)", "at most 3 × one UPDATE", 2.8, 3.0, True),
    (f"{REQUESTS} (rollback journal)", LONGER, -5.0, 10.0, True),
    (f"{REQUESTS} (rollback journal)", "at most 4 × one UPDATE", 4.2, 4.0, False),
    (
        "`stats --json --cache-dir …` on a small cache",
        "at most 0.9 × `pip cache info`",
        0.6,
        0.9,
        True,
    ),
    (
        "peak memory of commands that remove, the worst: `run`, index, 1,000,000",
        f"{MEMORY} (97 MB)",
        60.0,
        97.109,
        True,
    ),
    (
        "peak memory of commands that only look, the worst: `stats`, index-looking, 1,000,000",
        f"{MEMORY} (67 MB)",
        70.0,
        67.109,
        False,
    ),
]


def test_each_aim_says_what_was_measured_and_whether_it_was_reached() -> None:
    found = [
        (aim.what, aim.aim, round(aim.measured or 0, 3), round(aim.limit, 3), aim.reached)
        for aim in aims_of(Report("", "", "", SECTIONS))
    ]
    assert found == AIMS


def test_a_table_has_the_median_and_the_spread() -> None:
    row = next(line for line in section_table(SECTIONS[0]) if line.startswith("| run"))
    assert row.startswith("| run | 1.000 (0.500 – 2.000) | 0.900 (0.450 – 1.800) |")


def test_of_some_runs_the_median_and_the_largest_peak_count() -> None:
    samples = [
        Sample(seconds, seconds * 2, written, peak, seconds / 10)
        for seconds, written, peak in ((3.0, 30, 7), (1.0, 10, 9), (2.0, 20, 8))
    ]
    wait = Spread(0.2, 0.1, 0.3)
    expected = Summary(Spread(2.0, 1.0, 3.0), Spread(4.0, 2.0, 6.0), wait, 20, 9, 3)
    assert summarise(samples) == expected


def test_what_a_command_costs_is_what_the_system_says_of_it(tmp_path: Path) -> None:
    """It allocates 60 MB, works in the system, and writes down what it has used of both itself."""
    program = """if True:
        import os, resource, sys
        held = b"x" * 60_000_000
        for _ in range(100_000):
            os.stat("/")
        used = resource.getrusage(resource.RUSAGE_SELF)
        open(sys.argv[1], "w").write(f"{used.ru_utime} {used.ru_stime} {used.ru_maxrss}")
    """
    report = tmp_path / "used"
    sample = timed(Command((sys.executable, "-c", program, str(report))))
    user, system, peak = map(float, report.read_text().split())
    assert sample.cpu >= user + system > user > 0
    assert sample.seconds > 0
    assert sample.peak >= peak * 1024 >= 60_000_000
    assert sample.peak < 2 * 1024 * peak


def test_the_writer_tells_its_worst_wait(tmp_path: Path) -> None:
    tables.make_table(tmp_path, 100, time.time(), "wal")
    command = [sys.executable, "-m", "benchmarks.writer", str(tmp_path / tables.DATABASE)]
    with subprocess.Popen(
        command,
        cwd=Path(suites.__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        with closing(sqlite3.connect(tmp_path / tables.DATABASE)) as database:
            rows = "SELECT count(*) FROM requests"
            (before,) = database.execute(rows).fetchone()
            while database.execute(rows).fetchone()[0] < before + 5:
                pass
        output, _ = writer.communicate()
    said = json.loads(output)
    assert said["writes"] > 1
    assert said["worst"] > said["median"] > 0


class Ending(Tool):
    """A tool that does all of its work, and ends with 3: partly done."""

    def on_requests(self, *arguments: str) -> Start:
        def command(root: Path) -> Command:
            code = (
                "import sqlite3, sys; it = sqlite3.connect(sys.argv[1], timeout=60); "
                "it.execute(\"UPDATE requests SET status = 'cancelled' "
                "WHERE status IN ('queued', 'generating') AND variant_id LIKE 'variant-%'\"); "
                "it.commit(); sys.exit(3)"
            )
            return Command((sys.executable, "-c", code, str(root / tables.DATABASE)))

        return command


def test_requests_that_were_changed_in_part_are_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="ended with 3"):
        suites.requests(bench(tmp_path, Ending("run", sys.executable)), "wal", 300)


def test_a_copy_is_warm_before_it_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warmed: list[Path] = []
    monkeypatch.setattr(trees, "warm", warmed.append)
    measured = bench(tmp_path, Tool("run", sys.executable))
    with suites.tree_template(measured, 20) as (source, _):

        def started(root: Path) -> Command:
            assert warmed == [root]
            return Command((sys.executable, "-c", "pass"))

        suites.on_fresh(measured, source, "run", started, lambda root: None)
    assert len(warmed) == 1
