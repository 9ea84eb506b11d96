"""The cache directory swapped for a symlink, again and again: what the symlink leads to is safe."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.figures import Figures
from tests.faults.injection import Fault, calls_of, run_traced
from tests.faults.server import ToolServer, crashed
from tests.faults.trial import environment_for
from tests.faults.truth import Truth, make_truth
from tests.samples import tree_digest

_SWAPPER = """
import os, select, sys
place, away, trap = sys.argv[1:]
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    os.rename(place, away)
    os.symlink(trap, place)
    os.unlink(place)
    os.rename(away, place)
    select.select([sys.stdin], [], [], 0.0005)
"""


def _swapped(server: ToolServer, root: Path, runs: int, *, parent: bool) -> tuple[Truth, set[int]]:
    """Runs beside a loop that swaps the cache directory, or its parent, for a trap."""
    truth = make_truth(root / "sample", wal=False, expired=20, live=20)
    place = truth.cache.directory.parent if parent else truth.cache.directory
    trap = root / "trap"
    victims = trap / "narration" if parent else trap
    victims.mkdir(parents=True)
    for entry in truth.cache.entries:
        (victims / entry.name).write_bytes(b"not to be touched")
        os.utime(victims / entry.name, (0, 0))
    before = tree_digest(trap)
    arguments = ["run", "--json", "--cache-dir", str(truth.cache.directory)]
    codes = set()
    with subprocess.Popen(
        [sys.executable, "-c", _SWAPPER, place, root / "away", trap],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as swapper:
        assert swapper.stdin
        assert swapper.stdout
        swapper.stdout.readline()
        for _ in range(runs):
            run = server.run(arguments, root, environment_for(truth))
            codes.add(run.code)
            assert tree_digest(trap) == before
        swapper.stdin.close()
        assert swapper.wait() == 0
    last = server.run(arguments, root, environment_for(truth))
    assert last.code == 0, last.said
    assert tree_digest(trap) == before
    return truth, codes


def _left(truth: Truth) -> list[str]:
    return [left for left in truth.unfinished() if not left.startswith("row")]


@pytest.mark.parametrize("parent", [False, True], ids=["directory", "parent"])
def test_a_few_swaps(server: ToolServer, tmp_path: Path, parent: bool) -> None:
    truth, _ = _swapped(server, tmp_path, 15, parent=parent)
    assert (truth.losses(), _left(truth)) == ([], [])


def test_a_link_that_is_none_any_more_when_it_is_read(server: ToolServer, tmp_path: Path) -> None:
    """Swapped between two looks at it: what the loop of swaps meets once in some hundred runs."""
    truth = make_truth(tmp_path / "real", wal=False)
    (tmp_path / "link").symlink_to(truth.root)
    cache, database = tmp_path / "link/cache/narration", tmp_path / "link/db/requests.db"
    arguments = ["run", "--json", "--cache-dir", str(cache), "--requests-db", str(database)]
    dry = ["dry-run", *arguments[1:]]
    assert run_traced(server, dry, tmp_path, environment_for(truth)) == 0
    calls = [call for call in calls_of(tmp_path / "trace") if "readlink" in call.name]
    followed = [call for call in calls if "/link" in call.arguments]
    assert followed
    for call in followed:
        options = Fault(call, "error=EINVAL").options
        code = run_traced(server, dry, tmp_path, environment_for(truth), options)
        said = (tmp_path / "output").read_text() + (tmp_path / "errors").read_text()
        assert code in (0, 3, 78), said
        assert not crashed(said), said
    run = server.run(arguments, tmp_path, environment_for(truth))
    assert (run.code, truth.losses(), truth.unfinished()) == (0, [], []), run.said


@pytest.mark.faults
@pytest.mark.parametrize("parent", [False, True], ids=["directory", "parent"])
def test_many_swaps(
    server: ToolServer,
    tmp_path: Path,
    parent: bool,
    figures: Figures,
    tries: Callable[[int, int], int],
) -> None:
    runs = tries(60, 300)
    truth, codes = _swapped(server, tmp_path, runs, parent=parent)
    losses = truth.losses()
    what = "its parent" if parent else "the cache directory"
    figures.record(
        20,
        f"run beside a loop that swaps {what} for a symlink to a folder with the same names",
        runs,
        len(losses),
        f"exit codes {', '.join(map(str, sorted(codes)))}",
    )
    assert (losses, _left(truth)) == ([], [])
