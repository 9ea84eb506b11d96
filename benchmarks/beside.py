"""Requests beside a writer: how long a clean-up takes, and how long the service waits for it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

from benchmarks import product, programs, tables
from benchmarks.arena import Bench
from benchmarks.filesystem import Template, discard, fresh, template
from benchmarks.measure import BenchmarkError, Contender, Sample, alternate, timed
from benchmarks.product import TOOL
from benchmarks.report import Section
from benchmarks.tables import JournalMode, Table

RUN = f"{TOOL} run"
ONE_UPDATE = "one UPDATE (sqlite3)"
ALONE = "nothing (sleep 2)"
HOUR = 3_600.0
TITLES: dict[JournalMode, str] = {
    "wal": "Requests beside a writer, 1 % abandoned, WAL",
    "delete": "Requests beside a writer, 1 % abandoned, rollback journal",
}


def requests_section(bench: Bench, mode: JournalMode) -> Section:
    """A request table beside a process that writes all the while, and what that process felt."""
    bench.say(f"making a table of {bench.size:,} requests ({mode})")
    room = bench.size * tables.ROW_BYTES * 2
    name = f"requests-{mode}"
    with template(bench.ground, name, size=room, files=10) as (source, root):
        table = tables.make_table(root, bench.size, bench.now, mode)
        product.begin_history(root, bench.now)
    waits: dict[str, float] = {}
    try:
        run_one = beside_writer(bench, source, waits)
        results = alternate(cancellers(bench, table), run_one, bench.runs)
    finally:
        discard(source)
    figures = {wait_beside(name): wait for name, wait in waits.items()}
    return Section(name, TITLES[mode], bench.size, results, ONE_UPDATE, figures)


def wait_beside(contender: str) -> str:
    """What the figure is called that says how long the writer waited at worst."""
    return f"the writer's worst wait beside {contender}, s"


def cancellers(bench: Bench, table: Table) -> list[Contender]:
    """This tool, the one statement that an administrator would type, and nothing at all."""
    cutoff = datetime.fromtimestamp(bench.now - HOUR).isoformat()
    ended = datetime.fromtimestamp(bench.now).isoformat()
    update = partial(programs.one_update, tables.DATABASE, cutoff, ended)
    check = partial(tables.check_cancelled, table=table)
    found = [
        Contender(RUN, product.run_requests, check),
        Contender(ALONE, programs.nothing, lambda _: None),
    ]
    if "sqlite3" not in bench.programs.absent:
        found.append(Contender(ONE_UPDATE, update, check))
    return found


def beside_writer(
    bench: Bench, source: Template, waits: dict[str, float]
) -> Callable[[Contender], Sample]:
    """Runs one contender on a fresh copy beside a writer, and keeps its worst wait in `waits`."""

    def run_one(one: Contender) -> Sample:
        with fresh(source) as root:
            tables.warm(root)
            with writing(root, bench.programs.ahead) as measured:
                sample = timed(bench.programs.launcher, one.command(root))
            one.check(root)
        waits[one.name] = max(waits.get(one.name, 0.0), measured["worst"])
        bench.say(f"  {one.name}: {sample.seconds:.3f} s, wait {measured['worst'] * 1000:.0f} ms")
        return sample

    return run_one


@contextmanager
def writing(root: Path, ahead: Sequence[str]) -> Iterator[dict[str, float]]:
    """The service's writer at work meanwhile; it reports its waits at the end."""
    measured: dict[str, float] = {}
    argv = (*ahead, sys.executable, "-m", "benchmarks.writer", str(root / tables.DATABASE))
    folder = Path(__file__).parent.parent
    with subprocess.Popen(
        argv, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        if writer.stdout is None or writer.stdout.readline() != "ready\n":
            raise BenchmarkError("the writer beside the clean-up did not start")
        try:
            yield measured
        finally:
            output, _ = writer.communicate()
        measured.update(json.loads(output))
