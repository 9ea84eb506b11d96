"""The programs that are compared: this tool, the floor built here, and the peers found here."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Command
from benchmarks.trees import CACHE, DROPS, INDEX

HERE = Path(__file__).parent
TTL_DAYS = 7


@dataclass(frozen=True)
class Programs:
    """What there is to run; `None` where something is not installed or could not be built."""

    launcher: Sequence[str]
    ahead: Sequence[str]
    floor: Path | None
    absent: tuple[str, ...]


def find_programs(folder: Path, *, ahead: bool = False) -> Programs:
    """Build the floor and the launcher in `folder`, and look for the peers.

    With `ahead` what is measured runs before everything else (round-robin real-time scheduling):
    for a machine that others are at work on.
    """
    first = ("chrt", "--rr", "1") if ahead else ()
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    wanted = ("find", "systemd-tmpfiles", "tmpreaper", fd_name(), "sqlite3")
    absent = tuple(name for name in wanted if shutil.which(name) is None)
    if compiler is None:
        launcher = (*first, sys.executable, "-S", "-E", str(HERE / "timed.py"))
        return Programs(launcher, first, None, (*absent, "a C compiler (for the floor)"))
    for name in ("floor", "timed"):
        source, built = HERE / f"{name}.c", folder / name
        subprocess.run([compiler, "-O2", "-o", str(built), str(source)], check=True)
    return Programs((*first, str(folder / "timed")), first, folder / "floor", absent)


def floor(program: Path, root: Path) -> Command:
    """The C floor, on the list that was written beside the tree."""
    return Command((str(program), str(root / INDEX), str(root / CACHE), str(root / DROPS)))


def rewriting(root: Path) -> Command:
    """The baseline that rewrites the index whole for each removal."""
    ttl = str(TTL_DAYS * 86_400)
    script = str(HERE / "rewrite.py")
    return Command((sys.executable, script, str(root / CACHE), str(root / INDEX), ttl))


def find_delete(root: Path) -> Command:
    """`find … -delete`."""
    return Command(("find", str(root / CACHE), *f"-type f -mtime +{TTL_DAYS} -delete".split()))


def systemd_tmpfiles(root: Path) -> Command:
    """`systemd-tmpfiles --clean`, by the modification time alone."""
    rules = root / "tmpfiles.conf"
    rules.write_text(f"e {root / CACHE} - - - m:{TTL_DAYS}d\n")
    return Command(("systemd-tmpfiles", "--clean", str(rules)))


def tmpreaper(root: Path) -> Command:
    """`tmpreaper`, without its limit of 55 seconds."""
    return Command(("tmpreaper", "--mtime", "--runtime=0", f"{TTL_DAYS}d", str(root / CACHE)))


def fd_name() -> str:
    """`fd` has another name on Debian."""
    return "fdfind" if shutil.which("fdfind") else "fd"


def fd_remove(root: Path) -> Command:
    """`fd`, which looks in parallel and hands the names to `rm` in batches."""
    wanted = ("--unrestricted", "--type", "f", "--changed-before", f"{TTL_DAYS}d", ".")
    return Command((fd_name(), *wanted, str(root / CACHE), "--exec-batch", "rm", "-f"))


def pip_cache_info(_: Path) -> Command:
    """`pip cache info`: another Python tool that reports the state of a cache.

    An environment may be without a pip: then it is that of the Python which the environment is of.
    """
    base = str(Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}"))
    python = sys.executable if importlib.util.find_spec("pip") else base
    return Command((python, "-m", "pip", "cache", "info"))


def bare_python(_: Path) -> Command:
    """Python itself, doing nothing."""
    return Command((sys.executable, "-c", "pass"))


def nothing(_: Path) -> Command:
    """Two seconds of nothing: what a writer feels without anything beside it."""
    return Command(("sleep", "2"))


def one_update(database: Path, cutoff: str, ended: str, root: Path) -> Command:
    """The `sqlite3` shell, with the one statement that an administrator would type."""
    statement = (
        f"UPDATE requests SET status = 'cancelled', completed_at = '{ended}'"
        f" WHERE status IN ('queued', 'generating') AND created_at < '{cutoff}'"
    )
    return Command(("sqlite3", "-cmd", ".timeout 60000", str(root / database), statement))
