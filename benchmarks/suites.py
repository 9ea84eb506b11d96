"""The benchmarks themselves: which contenders run on what, and what each section says."""

from dataclasses import replace
from functools import partial

from benchmarks import product, programs, startup, trees
from benchmarks.arena import Bench, Commands, contenders, on_tree, tree_template
from benchmarks.filesystem import fresh
from benchmarks.measure import Contender, Sample, alternate, summarise, timed
from benchmarks.product import TOOL
from benchmarks.progress import progress_share
from benchmarks.report import Section

REWRITE_SIZE = 5_000
SMALL_CACHE = 60
MOST_GROWTH_RUNS = 3
LEAST_STARTUP_RUNS = 11
RUN = f"{TOOL} run"
FLOOR = "C floor"
PROGRESS = "share of a run that goes into its progress on a terminal"
REWRITING = "index rewritten for each removal"


def index_section(bench: Bench) -> Section:
    """A cache with an index, everything on and with orphans off, against the floor."""
    commands: Commands = {
        RUN: product.run_with_everything,
        f"{RUN}, orphans off": product.run_without_orphans,
    }
    if bench.programs.floor is not None:
        commands = {**commands, FLOOR: partial(programs.floor, bench.programs.floor)}
    with tree_template(bench, bench.size, index=True) as (source, tree):
        those = contenders(commands, partial(trees.check_cleaned, tree=tree))
        results = alternate(those, on_tree(bench, source), bench.runs)
    return Section("index", "Cache with an index, 10 % expired", bench.size, results, FLOOR)


def rewrite_section(bench: Bench) -> Section:
    """A smaller cache, against the way of the live service's own clean-up."""
    size = min(bench.size, REWRITE_SIZE)
    commands: Commands = {RUN: product.run_with_everything, REWRITING: programs.rewriting}
    with tree_template(bench, size, index=True) as (source, tree):
        those = contenders(commands, partial(trees.check_cleaned, tree=tree))
        results = alternate(those, on_tree(bench, source), bench.runs)
    return Section("rewrite", "Against the service's own way", size, results, RUN)


def directory_section(bench: Bench) -> Section:
    """A directory without an index, against the tools that everybody has."""
    commands: Commands = {
        RUN: product.run_without_index,
        "find": programs.find_delete,
        "systemd-tmpfiles": programs.systemd_tmpfiles,
        "tmpreaper": programs.tmpreaper,
        programs.fd_name(): programs.fd_remove,
    }
    present = {n: start for n, start in commands.items() if n not in bench.programs.absent}
    with tree_template(bench, bench.size, index=False) as (source, tree):
        those = contenders(present, partial(trees.check_files, tree=tree))
        results = alternate(those, on_tree(bench, source), bench.runs)
    return Section("directory", "Directory without an index", bench.size, results, "find")


def looking_section(bench: Bench) -> Section:
    """The commands that only look, on a cache with an index: their peak memory matters most."""
    commands: Commands = {
        f"{TOOL} dry-run --json": product.dry_run,
        f"{TOOL} stats --json": product.stats,
    }
    with (
        tree_template(bench, bench.size, index=True) as (source, _),
        fresh(source) as root,
    ):
        trees.warm(root)
        results = {
            name: summarise([timed(bench.programs.launcher, command(root))])
            for name, command in commands.items()
        }
        figures = {PROGRESS: progress_share(product.run_with_everything(root))}
    return Section("looking", "Commands that only look", bench.size, results, figures=figures)


def startup_section(bench: Bench) -> Section:
    """`stats --json` on a small cache, against a command of the same kind; and what is imported."""
    commands: Commands = {
        f"{TOOL} stats --json": product.stats,
        "pip cache info": programs.pip_cache_info,
        "python -c pass": programs.bare_python,
    }
    with (
        tree_template(bench, SMALL_CACHE, index=True) as (source, _),
        fresh(source) as root,
    ):

        def run_one(one: Contender) -> Sample:
            return timed(bench.programs.launcher, one.command(root))

        results = alternate(contenders(commands), run_one, max(bench.runs, LEAST_STARTUP_RUNS))
        figures = startup.import_seconds(product.stats(root))
    return Section("startup", "Start-up", SMALL_CACHE, results, "pip cache info", figures)


def growth_sections(bench: Bench) -> list[Section]:
    """The same clean-ups at every power of ten below the size asked for."""
    found = []
    for size in (10**power for power in range(3, 10)):
        if size < bench.size:
            smaller = replace(bench, size=size, runs=min(bench.runs, MOST_GROWTH_RUNS))
            found += [
                replace(index_section(smaller), name=f"growth-index-{size}"),
                replace(directory_section(smaller), name=f"growth-directory-{size}"),
            ]
    return found
