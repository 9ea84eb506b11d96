"""The benchmarks themselves: which contenders run on what, at which sizes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks import programs, tables, trees
from benchmarks.filesystem import Ground, Template, discard, flush, fresh, template
from benchmarks.measure import BenchmarkError, Command, Sample, Summary, alternate, timed
from benchmarks.programs import Start, Tool
from benchmarks.report import (
    FIND,
    FLOOR,
    JOURNAL_MODES,
    NOTHING,
    ONE_UPDATE,
    PIP,
    REWRITING,
    RUN,
    JournalMode,
    Section,
)
from benchmarks.trees import FORMS, PLAIN, Tree

SIZES = (60, 1_000, 10_000, 20_000, 100_000, 1_000_000)
REWRITE_SIZE = 5_000
SERVICE_LIMIT = 20_000
"""What the service's own limit of 500 MB holds: from there on the less common is measured."""
PEERS_AT = 100_000
"""Where `systemd-tmpfiles` is measured too; a million takes its time."""
CLEAN = f"{RUN}, clean cache"
HOUR = 3_600.0
DONE = (0, 3)
"""Exit codes of a run that did its work; 3 where it reports entries that it does not understand."""
Check = Callable[[Path], None]
Contenders = dict[str, tuple[Start, Check]]
"""For each name what to start on a fresh copy, and how to see that it did the work."""


@dataclass(frozen=True)
class Bench:
    """What one call measures with; ``now`` is when the trees are made (Unix seconds)."""

    tools: Sequence[Tool]
    floor: Path | None
    ground: Ground
    size: int
    runs: int
    now: float
    say: Callable[[str], None]

    def section(self, name: str, title: str, size: int, against: str | None) -> Section:
        """A section without results."""
        processors = sorted(os.sched_getaffinity(0))
        measured_at = datetime.fromtimestamp(self.now, UTC).isoformat(timespec="seconds")
        return Section(name, title, size, {}, against, processors, measured_at)

    def runs_at(self, size: int) -> int:
        """How often each contender runs: a million takes its time."""
        return min(self.runs, 3 if size > 100_000 else 5 if size > 20_000 else self.runs)

    def sizes(self, least: int = 0) -> list[int]:
        """The sizes from the ``least`` up to the one that is asked for, and that one always."""
        return [*(size for size in SIZES if least <= size < self.size), self.size]


def on_index(bench: Bench) -> list[Section]:
    """Caches with an index, everything on, against the floor; and commands that only look."""
    return on_trees(bench, "index", "Cache with an index, 10 % expired", FLOOR)


def on_folder(bench: Bench) -> list[Section]:
    """Directories without an index, against `find`; and commands that only look."""
    return on_trees(bench, "directory", "Directory without an index, 10 % expired", FIND)


def on_trees(bench: Bench, kind: str, title: str, against: str) -> list[Section]:
    """Clean-ups of all sizes in one alternation, and looks at the largest tree."""
    trials = {}
    with ExitStack() as stack:
        for size in bench.sizes():
            made = tree_template(bench, size, None if kind == "index" else {})
            source, tree = stack.enter_context(made)
            for name, (command, check) in cleaners(bench, kind, tree).items():
                run = partial(on_fresh, bench, source, name, command, check)
                trials[size, name] = bench.runs_at(size), run
        results = alternate(trials)
        root = stack.enter_context(fresh(source))
        trees.warm(root)
        looks = {
            name: (bench.runs_at(size), partial(said, bench, name, partial(timed, command)))
            for name, command in lookers(bench, kind, root).items()
        }
        looking = bench.section(f"{kind}-looking", f"{title}: commands that only look", size, None)
        looking.results.update(alternate(looks))
    return [*by_size(bench, kind, title, against, results), looking]


def by_size(
    bench: Bench, name: str, title: str, against: str, results: Mapping[tuple[int, str], Summary]
) -> list[Section]:
    """A section for each size, with its results."""
    sizes = dict.fromkeys(size for size, _ in results)
    sections = {size: bench.section(name, title, size, against) for size in sizes}
    for (size, contender), summary in results.items():
        sections[size].results[contender] = summary
    return list(sections.values())


def cleaners(bench: Bench, kind: str, tree: Tree) -> Contenders:
    """What cleans a tree."""
    form = PLAIN if kind == "index" else None
    check = partial(trees.check_cleaned, tree=tree, form=form)
    found: Contenders = {}
    for tool in bench.tools:
        start = tool.on_index if kind == "index" else tool.on_folder
        found[tool.name] = start("run"), check
    if kind == "directory":
        found[FIND] = partial(programs.find, action=("-delete",)), check
        if shutil.which("systemd-tmpfiles") and tree.files == PEERS_AT:
            found["systemd-tmpfiles"] = programs.systemd_tmpfiles, check
    elif bench.floor is not None:
        found[FLOOR] = partial(programs.floor, bench.floor), check
    return found


def lookers(bench: Bench, kind: str, root: Path) -> dict[str, Command]:
    """What only looks at a tree."""
    found = {}
    for tool in bench.tools:
        start = tool.on_index if kind == "index" else tool.on_folder
        for words in ("dry-run", "stats"):
            found[tool.name.replace("run", words, 1)] = start(words, "--json")(root)
    if kind == "directory":
        found["find -mtime +7"] = programs.find(root)
    return found


def in_forms(bench: Bench) -> list[Section]:
    """The forms of an index, against the indented one."""
    title = "Forms of an index, 10 % expired"
    trials = {}
    with ExitStack() as stack:
        for size in bench.sizes(SERVICE_LIMIT):
            forms = {name: bench.ground.folder / f"{size} {name}" for name in FORMS}
            source, tree = stack.enter_context(tree_template(bench, size, forms))
            for name, path in forms.items():
                stack.callback(path.unlink)
                run = partial(
                    on_fresh,
                    bench,
                    source,
                    name,
                    bench.tools[0].on_index("run"),
                    partial(trees.check_cleaned, tree=tree, form=name),
                    index=path,
                )
                trials[size, name] = bench.runs_at(size), run
        return by_size(bench, "forms", title, PLAIN, alternate(trials))


def mismatched(bench: Bench) -> list[Section]:
    """Caches whose index and files do not match, against ones where they do."""
    title = "Cache with an index, 10 % expired, 1 % of entries and of files without the other"
    trials = {}
    with ExitStack() as stack:
        for size in bench.sizes(SERVICE_LIMIT):
            for words in (RUN, CLEAN):
                made = tree_template(bench, size, mismatched=words == RUN)
                source, tree = stack.enter_context(made)
                check = partial(trees.check_cleaned, tree=tree, form=PLAIN)
                for tool in bench.tools:
                    name = tool.name.replace(RUN, words, 1)
                    # An earlier version may drop entries without a file where nothing is set.
                    start = tool.on_index("run", cache_remove_dangling="false")
                    run = partial(on_fresh, bench, source, name, start, check)
                    trials[size, name] = bench.runs_at(size), run
        return by_size(bench, "mismatched", title, CLEAN, alternate(trials))


def against_rewriting(bench: Bench) -> list[Section]:
    """A small cache, against the way of the live service's own clean-up."""
    size = min(bench.size, REWRITE_SIZE)
    section = bench.section("rewrite", "Against the service's own way", size, REWRITING)
    with tree_template(bench, size) as (source, tree):
        check = partial(trees.check_cleaned, tree=tree, form=PLAIN)
        found: Contenders = {REWRITING: (programs.rewriting, check)}
        for tool in bench.tools:
            found[tool.name] = tool.on_index("run"), check
        trials = {
            name: (min(bench.runs, 3), partial(on_fresh, bench, source, name, command, check))
            for name, (command, check) in found.items()
        }
        section.results.update(alternate(trials))
    return [section]


def starting(bench: Bench) -> list[Section]:
    """Commands on a small cache, as people type them, against a command of the same kind."""
    section = bench.section("startup", "Start-up", SIZES[0], PIP)
    with tree_template(bench, SIZES[0]) as (source, _), fresh(source) as root:
        commands = {
            PIP: programs.pip_cache_info(),
            "python -c pass": Command((sys.executable, "-c", "pass")),
        }
        for tool in bench.tools:
            for words in (("stats", "--json"), ("dry-run", "--json")):
                name = " ".join(words) + tool.name.removeprefix("run")
                commands[name] = tool.on_index(*words)(root)
            commands["--help" + tool.name.removeprefix("run")] = tool.start("--help")(root)
        trials = {
            name: (max(2 * bench.runs, 3), partial(timed, command))
            for name, command in commands.items()
        }
        section.results.update(alternate(trials))
    return [section]


def beside_writer(bench: Bench) -> list[Section]:
    """Request tables in both journal modes beside a process that writes all the while."""
    return [
        requests(bench, mode, size) for mode in JOURNAL_MODES for size in bench.sizes(SERVICE_LIMIT)
    ]


def requests(bench: Bench, mode: JournalMode, size: int) -> Section:
    """This tool, nothing at all for as long, and one statement, beside a writer."""
    title = f"Requests beside a writer, 1 % abandoned, {JOURNAL_MODES[mode]}"
    bench.say(f"making a table of {size:,} requests ({mode})")
    cutoff = datetime.fromtimestamp(bench.now - HOUR).isoformat()
    ended = datetime.fromtimestamp(bench.now).isoformat()
    room = size * tables.ROW_BYTES * 2
    section = bench.section(f"requests-{mode}", title, size, ONE_UPDATE)
    with template(bench.ground, f"requests-{mode}", size=room, files=50) as (source, root):
        table = tables.make_table(root, size, bench.now, mode)
        programs.begin_history(root, bench.now, bench.tools)
    check = partial(tables.check_cancelled, table=table)
    latest = {tool.name: 0.0 for tool in bench.tools}
    found: Contenders = {tool.name: (tool.on_requests("run"), check) for tool in bench.tools}
    found[NOTHING] = lambda _: programs.nothing(latest[RUN]), lambda _: None
    found[ONE_UPDATE] = partial(programs.one_update, cutoff=cutoff, ended=ended), check

    def run_one(name: str, command: Start, check: Check) -> Sample:
        with fresh(source) as root:
            tables.warm(root)
            with writing(root) as writer:
                sample = timed(command(root))
            check(root)
        latest[name] = sample.seconds
        return Sample(sample.seconds, sample.cpu, sample.written, sample.peak, writer["worst"])

    try:
        trials = {
            name: (
                min(bench.runs, 7) if size > PEERS_AT else bench.runs,
                partial(said, bench, name, partial(run_one, name, *one)),
            )
            for name, one in found.items()
        }
        section.results.update(alternate(trials))
    finally:
        discard(source)
    return section


@contextmanager
def writing(root: Path) -> Iterator[dict[str, float]]:
    """The service's writer at work meanwhile; what it reports of its waits is there afterwards."""
    report: dict[str, float] = {}
    argv = (sys.executable, "-m", "benchmarks.writer", str(root / tables.DATABASE))
    with subprocess.Popen(
        argv,
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        if writer.stdout is None or writer.stdout.readline() != "ready\n":
            raise BenchmarkError("the writer did not start")
        try:
            yield report
        finally:
            output, _ = writer.communicate()
        report.update(json.loads(output))


@contextmanager
def tree_template(
    bench: Bench, files: int, forms: Mapping[str, Path] | None = None, *, mismatched: bool = False
) -> Iterator[tuple[Template, Tree]]:
    """A tree as `trees.make_tree` makes it, to make fresh copies of; gone afterwards."""
    kind = "directory" if forms == {} else "mismatched" if mismatched else "index"
    bench.say(f"making a tree of {files:,} files ({kind})")
    room = files * (2 * trees.ENTRY_BYTES + 20)
    name = f"{kind}-{files}"
    with template(bench.ground, name, size=room, files=files + 100) as (source, root):
        tree = trees.make_tree(root, files, bench.now, forms, mismatched=mismatched)
        programs.begin_history(root, bench.now, bench.tools)
    try:
        yield source, tree
    finally:
        discard(source)


def on_fresh(
    bench: Bench,
    source: Template,
    name: str,
    command: Start,
    check: Check,
    index: Path | None = None,
) -> Sample:
    """Run one contender on a fresh, warm copy of a tree, with ``index`` as its index."""
    with fresh(source) as root:
        if index is not None:
            shutil.copyfile(index, root / trees.INDEX)
            flush(root / trees.INDEX)
        trees.warm(root)
        sample = said(bench, name, partial(timed, command(root), DONE))
        check(root)
    return sample


def said(bench: Bench, name: str, run_one: Callable[[], Sample]) -> Sample:
    """Run, and say what it cost."""
    one = run_one()
    wait = "" if one.wait is None else f", wait {one.wait * 1000:.0f} ms"
    peak = one.peak / 1e6
    bench.say(f"  {name}: {one.seconds:.3f} s, processor {one.cpu:.3f} s, {peak:.0f} MB{wait}")
    return one


SUITES: dict[str, Callable[[Bench], list[Section]]] = {
    "startup": starting,
    "rewrite": against_rewriting,
    "index": on_index,
    "directory": on_folder,
    "mismatched": mismatched,
    "forms": in_forms,
    "requests": beside_writer,
}
