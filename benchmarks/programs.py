"""What is compared: this tool, an earlier version of it, the floor built here, and peers."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import trees
from benchmarks.measure import BenchmarkError, Command
from benchmarks.tables import DATABASE
from benchmarks.trees import CACHE, DROPS, INDEX, TTL_DAYS

HERE = Path(__file__).parent
Start = Callable[[Path], Command]
"""The command on what lies under a folder."""


@dataclass(frozen=True)
class Tool:
    """One version of this tool, and the Python that has it; ``name`` is what tables call it."""

    name: str
    python: str

    def start(self, *arguments: str, of: str = "", at: Path = Path(), **settings: str) -> Start:
        """The tool with these arguments, the option ``of`` for what lies ``at`` below the root, and
        its state beside that; ``settings`` are variables without ``NARRATION_``."""

        def command(root: Path) -> Command:
            state = root / f"state {self.name}"
            state.mkdir(mode=0o700, exist_ok=True)
            variables = {f"NARRATION_{name.upper()}": value for name, value in settings.items()}
            where = (of, str(root / at)) if of else ()
            argv = (self.python, "-m", "narration_cleanup", *arguments, *where)
            return Command(argv, {**variables, "NARRATION_CLEANUP_STATE_DIR": str(state)})

        return command

    def on_index(self, *arguments: str, **settings: str) -> Start:
        """A command on the cache under the root, which has an index; everything is on."""
        return self.start(*arguments, of="--cache-dir", at=CACHE, **settings)

    def on_folder(self, *arguments: str) -> Start:
        """The same where there is no index."""
        return self.on_index(*arguments, cache_index="none")

    def on_requests(self, *arguments: str) -> Start:
        """A command on the request table under the root."""
        return self.start(*arguments, of="--requests-db", at=DATABASE)


def tools(baseline: str | None) -> list[Tool]:
    """This tool as it is, and the earlier version that the Python ``baseline`` has."""
    found = [Tool("run", sys.executable)]
    if baseline:
        asked = [baseline, "-m", "narration_cleanup", "--version"]
        version = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
        found.append(Tool(f"run {version[-1]}", baseline))
    return found


def begin_history(root: Path, now: float, tools: Sequence[Tool]) -> None:
    """Let each tool have run before: nobody's every run is the first."""
    for tool in tools:
        earlier = root / f"earlier {tool.name}"
        trees.make_tree(earlier, 10, now)
        command = tool.start("run", of="--cache-dir", at=earlier / CACHE)(root)
        environment = {**os.environ, **command.environment}
        subprocess.run(command.argv, env=environment, capture_output=True, check=False)


def build_floor(folder: Path) -> Path | None:
    """The C floor, built in ``folder``; ``None`` where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    built = folder / "floor"
    subprocess.run([compiler, "-O2", "-o", str(built), str(HERE / "floor.c")], check=True)
    return built


def floor(program: Path, root: Path) -> Command:
    """The C floor, on the list that was written beside the tree."""
    return Command((str(program), str(root / INDEX), str(root / CACHE), str(root / DROPS)))


def rewriting(root: Path) -> Command:
    """The baseline that rewrites the index whole for each removal."""
    ttl = str(TTL_DAYS * 86_400)
    return Command(
        (sys.executable, str(HERE / "rewrite.py"), str(root / CACHE), str(root / INDEX), ttl)
    )


def find(root: Path, action: Sequence[str] = ()) -> Command:
    """`find` for what is older; with ``-delete`` as ``action`` it removes that."""
    return Command(("find", str(root / CACHE), *f"-type f -mtime +{TTL_DAYS}".split(), *action))


def systemd_tmpfiles(root: Path) -> Command:
    """`systemd-tmpfiles --clean`, by the modification time alone."""
    rules = root / "tmpfiles.conf"
    rules.write_text(f"e {root / CACHE} - - - m:{TTL_DAYS}d\n")
    return Command(("systemd-tmpfiles", "--clean", str(rules)))


def pip_cache_info() -> Command:
    """`pip cache info`: another Python tool that reports on a cache.

    An environment may be without a pip: then it is that of the Python which the environment is of.
    """
    base = str(Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}"))
    for python in (sys.executable, base):
        command = Command((python, "-m", "pip", "cache", "info"))
        if subprocess.run(command.argv, capture_output=True, check=False).returncode == 0:
            return command
    raise BenchmarkError("there is no pip to compare with")


def nothing(seconds: float) -> Command:
    """Nothing, for some time: what a writer waits without anything beside it."""
    return Command(("sleep", f"{seconds:.3f}"))


def one_update(root: Path, cutoff: str, ended: str) -> Command:
    """The `sqlite3` shell, with the one statement that an administrator would type."""
    statement = (
        f"UPDATE requests SET status = 'cancelled', completed_at = '{ended}'"
        f" WHERE status IN ('queued', 'generating') AND created_at < '{cutoff}'"
    )
    return Command(("sqlite3", "-cmd", ".timeout 60000", str(root / DATABASE), statement))
