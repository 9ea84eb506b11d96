"""A copy of a process that has imported the tool does what a process of its own does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked


@pytest.mark.parametrize("arguments", [["--version"], ["rum"], ["config", "show"], ["stats"]])
def test_it_ends_and_says_what_a_start_does(arguments: list[str], tmp_path: Path) -> None:
    environment = {**os.environ, "NARRATION_CACHE_TTL_DAYS": "3", "TZ": "Asia/Kathmandu"}
    command = [sys.executable, "-m", "narration_cleanup", *arguments]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    copy = forked.run(*arguments, env=environment, cwd=tmp_path)
    assert (copy.returncode, copy.stdout, copy.stderr) == (
        done.returncode,
        done.stdout,
        done.stderr,
    )
    together = forked.run(*arguments, env=environment, cwd=tmp_path, together=True)
    assert together.stdout == done.stdout + done.stderr


def test_what_one_copy_was_given_is_gone_with_it() -> None:
    given = {**os.environ, "NARRATION_CACHE_TTL_DAYS": "3"}
    first = forked.run("config", "show", env=given)
    second = forked.run("config", "show", env=os.environ)
    assert "\nttl_days = 3 " in first.stdout
    assert "\nttl_days = 7 " in second.stdout
