"""Output that goes nowhere: closed, full, or cut off. The work is done all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.receiver import receiver
from tests.samples import make_sample, read_index, write_index

PROGRAM = f"{sys.executable} -m tests.run_at 2026-11-23T12:00:00+00:00"
ROOT = Path(__file__).parents[2]


def shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command.replace("TOOL", PROGRAM)], cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("form", ["", "--json"])
def test_closed_streams_stop_no_run(redirection: str, form: str, tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    where = f"--cache-dir {sample.cache.directory} --requests-db {sample.database}"
    done = shell(f"TOOL run {where} {form} {redirection}")
    assert done.returncode == 0, done.stderr
    assert len(read_index(sample.cache.index)) == len(sample.kept)
    assert "internal error" not in done.stderr


def test_a_locale_that_cannot_hold_a_name_stops_the_cache_alone_and_says_what_to_set(
    tmp_path: Path,
) -> None:
    sample = make_sample(tmp_path)
    index = read_index(sample.cache.index)
    odd = {**next(iter(index.values())), "file_path": "\u65e5.mp3"}
    write_index(sample.cache.index, {**index, "odd": odd})
    before = sorted(sample.cache.directory.glob("*.mp3"))
    where = f"--cache-dir {sample.cache.directory} --requests-db {sample.database}"
    done = shell(f"LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 TOOL run {where}")
    assert done.returncode == 3, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if "[locale]" in line)
    assert "set LC_ALL=C.UTF-8" in line
    assert "Cancelled 7 abandoned requests" in done.stderr
    assert sorted(sample.cache.directory.glob("*.mp3")) == before


@pytest.mark.parametrize("command", ["run --json", "dry-run", "dry-run --json", "stats"])
def test_a_full_disk_is_said_in_one_line(command: str, tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    done = shell(f"TOOL {command} --cache-dir {sample.cache.directory} > /dev/full")
    assert done.returncode == 1
    said = "ERROR - the output could not be written: No space left on device [failed]"
    assert done.stderr.splitlines()[-1] == said
    assert len(read_index(sample.cache.index)) == (27 if command.startswith("run") else 60)


@pytest.mark.parametrize("command", ["config init", "config show", "run --help", "--version"])
def test_a_full_disk_is_no_internal_error_of_a_small_command(command: str) -> None:
    done = shell(f"TOOL {command} > /dev/full")
    assert done.returncode == 1
    assert (
        done.stderr == "ERROR - the output could not be written: No space left on device [failed]\n"
    )


@pytest.mark.parametrize("command", ["dry-run", "dry-run --json", "stats", "schema run"])
def test_a_reader_that_has_seen_enough_is_no_error(command: str, tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    where = "" if command == "schema run" else f"--cache-dir {sample.cache.directory}"
    # Only a reader that is gone before the first byte is written makes every write fail.
    done = shell(f"set -o pipefail; TOOL {command} {where} | true")
    assert (done.returncode, done.stderr) == (0, "")


def test_those_who_listen_elsewhere_hear_of_a_run_that_cannot_be_shown(tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    with receiver() as listening:
        variables = f"NARRATION_ALERTS_PING_URL={listening.url('ping')}"
        where = f"--cache-dir {sample.cache.directory}"
        done = shell(f"{variables} TOOL run --json {where} > /dev/full")
    assert done.returncode == 1
    assert listening.paths == ["/ping/start", "/ping"]
