"""How this tool is started for each benchmark: by variables, with a state folder of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks import trees
from benchmarks.measure import Command
from benchmarks.tables import DATABASE
from benchmarks.trees import CACHE

TOOL = "narration-cleanup"
START = (sys.executable, "-m", "narration_cleanup")
STATE = Path("state")


def on_cache(root: Path, *arguments: str, **settings: str) -> Command:
    """A command on the cache under `root`; `settings` are variables without `NARRATION_CACHE_`."""
    named = {f"NARRATION_CACHE_{name.upper()}": value for name, value in settings.items()}
    return started(root, arguments, {"NARRATION_CACHE_DIR": str(root / CACHE), **named})


def on_requests(root: Path, *arguments: str) -> Command:
    """A command on the request table under `root`."""
    return started(root, arguments, {"NARRATION_REQUESTS_DB": str(root / DATABASE)})


def started(root: Path, arguments: tuple[str, ...], settings: Mapping[str, str]) -> Command:
    """The tool with these arguments and variables, and its state beside what it works on."""
    state = root / STATE
    state.mkdir(mode=0o700, exist_ok=True)
    return Command((*START, *arguments), {**settings, "NARRATION_CLEANUP_STATE_DIR": str(state)})


def begin_history(root: Path, now: float) -> None:
    """Let there be an earlier run beside the tree: in use, only one run is the first."""
    earlier = root / "earlier"
    trees.make_tree(earlier, 10, now, index=True)
    command = on_cache(root, "run", dir=str(earlier / CACHE))
    subprocess.run(
        command.argv,
        env={**os.environ, **command.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def run_with_everything(root: Path) -> Command:
    """`run` on a cache with an index: staging, orphans and history on."""
    return on_cache(root, "run")


def run_without_orphans(root: Path) -> Command:
    """`run` on a cache with an index, without looking for files that no entry names."""
    return on_cache(root, "run", remove_orphans="false", remove_dangling="false")


def run_without_index(root: Path) -> Command:
    """`run` on a directory that has no index."""
    return on_cache(root, "run", index="none")


def dry_run(root: Path) -> Command:
    """`dry-run` on a cache with an index."""
    return on_cache(root, "dry-run", "--json")


def stats(root: Path) -> Command:
    """`stats --json` on a cache with an index."""
    return on_cache(root, "stats", "--json")


def run_requests(root: Path) -> Command:
    """`run` on a request table."""
    return on_requests(root, "run")
