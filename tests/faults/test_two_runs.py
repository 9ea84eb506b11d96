"""Many runs at once: one works, the others end with 75 and have written nothing."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from narration_cleanup.stores.cache.local.directory import OWN_FOLDER
from narration_cleanup.stores.cache.local.own_folder import LOCK_NAME
from tests.faults.figures import Figures
from tests.faults.trial import arguments_for, environment_for
from tests.faults.truth import make_truth
from tests.samples import tree_digest

BUSY = 75


def _at_once(root: Path, count: int) -> tuple[list[int], list[str]]:
    """The exit codes of `count` runs started together, and what was lost or left undone."""
    truth = make_truth(root, wal=True, expired=30, live=10)
    command = [sys.executable, "-m", "narration_cleanup", *arguments_for(truth)]
    environment = {**os.environ, **environment_for(truth)}
    running = [
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(count)
    ]
    said = [process.communicate()[0] for process in running]
    codes = [process.returncode for process in running]
    # On a slow machine three of them may find the lock held in a row: the third says so.
    wrong = [
        text
        for text, code in zip(said, codes, strict=True)
        if code not in (0, BUSY) and "[lock_held]" not in text
    ]
    return codes, [*wrong, *truth.losses(), *truth.unfinished()]


@pytest.mark.waits
def test_one_that_finds_another_at_work_has_written_nothing(tmp_path: Path) -> None:
    truth = make_truth(tmp_path / "root", wal=True)
    state = tmp_path / "state"
    environment = {**os.environ, "NARRATION_CLEANUP_STATE_DIR": str(state)}
    command = [sys.executable, "-m", "narration_cleanup", *arguments_for(truth)]
    own = truth.cache.directory / OWN_FOLDER
    own.mkdir(mode=0o700)
    lock = os.open(own / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    before = tree_digest(truth.root)
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    after = tree_digest(truth.root)
    os.close(lock)
    assert done.returncode == BUSY, done.stderr
    assert after == before
    assert json.loads(done.stdout)["outcome"] == "busy"
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, truth.losses(), truth.unfinished()) == (0, [], []), done.stderr


def test_six_at_once(tmp_path: Path) -> None:
    codes, wrong = _at_once(tmp_path, 6)
    assert wrong == []
    assert 0 in codes


@pytest.mark.faults
def test_fifty_at_once(tmp_path: Path, figures: Figures, tries: Callable[[int, int], int]) -> None:
    rounds = tries(1, 4)
    codes: list[int] = []
    wrong: list[str] = []
    for number in range(rounds):
        found = _at_once(tmp_path / str(number), 50)
        codes += found[0]
        wrong += found[1]
    figures.record(
        21,
        "50 runs at once",
        len(codes),
        len(wrong),
        f"{codes.count(0)} exit 0 one after the other, {codes.count(BUSY)} exit 75",
    )
    assert wrong == []
    assert codes.count(0) >= rounds
