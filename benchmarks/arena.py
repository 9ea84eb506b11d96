"""What every benchmark needs: what to run, where, how often, and fresh trees to run it on."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import product, trees
from benchmarks.filesystem import Ground, Template, discard, fresh, template
from benchmarks.measure import Command, Contender, Sample, timed
from benchmarks.programs import Programs
from benchmarks.trees import Tree

Commands = Mapping[str, Callable[[Path], Command]]
"""For each contender's name, what to start on a fresh copy."""


@dataclass(frozen=True)
class Bench:
    """What one call measures with; `now` is when the trees are made (Unix seconds)."""

    programs: Programs
    ground: Ground
    size: int
    runs: int
    now: float
    say: Callable[[str], None]


def contenders(
    commands: Commands, check: Callable[[Path], None] = lambda _: None
) -> list[Contender]:
    """Contenders that are all held to the same check afterwards."""
    return [Contender(name, command, check) for name, command in commands.items()]


@contextmanager
def tree_template(bench: Bench, files: int, *, index: bool) -> Iterator[tuple[Template, Tree]]:
    """A tree of `files` files to make fresh copies of; gone afterwards."""
    bench.say(f"making a tree of {files:,} files {'with an' if index else 'without an'} index")
    name, room = f"tree-{files}", trees.room_for(files)
    with template(bench.ground, name, size=room, files=files) as (source, root):
        tree = trees.make_tree(root, files, bench.now, index=index)
        product.begin_history(root, bench.now)
    try:
        yield source, tree
    finally:
        discard(source)


def on_tree(bench: Bench, source: Template) -> Callable[[Contender], Sample]:
    """Runs one contender on a fresh, warm copy of a tree."""

    def run_one(one: Contender) -> Sample:
        with fresh(source) as root:
            trees.warm(root)
            sample = timed(bench.programs.launcher, one.command(root))
            one.check(root)
        bench.say(f"  {one.name}: {sample.seconds:.3f} s, {sample.peak / 1e6:.0f} MB")
        return sample

    return run_one
