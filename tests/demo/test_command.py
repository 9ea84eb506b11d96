"""The demo as a newcomer sees it, and what it leaves alone."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import typer

import narration_cleanup
from narration_cleanup.cli.app import app
from narration_cleanup.cli.demo import demo_command
from narration_cleanup.cli.options import this_program
from narration_cleanup.core.errors import CleanupError
from tests import forked
from tests.samples import make_sample, read_index, read_requests, tree_digest

SOURCE = str(Path(narration_cleanup.__file__).parents[1])
"""Absolute, since what the demo suggests is tried from another folder."""
COMMAND = (sys.executable, "-m", "narration_cleanup", "demo")


def demo(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": SOURCE, **variables}
    return forked.run("demo", *arguments, env=environment, together=True)


def test_the_demo_shows_all_three_commands_and_leaves_a_clean_sandbox(tmp_path: Path) -> None:
    place = tmp_path / "demo"
    done = demo(place)
    assert done.returncode == 0, done.stdout
    assert not re.search("[\x1b╭━]", done.stdout)
    told = [
        "25 narrations in five voices",
        " -c narration-cleanup.toml dry-run",
        "Would remove 10 of 25 entries and 1 file without an entry",
        "20.5 days old, limit 7",
        "Would cancel 3 of 28 requests",
        " -c narration-cleanup.toml run",
        "INFO - Removed 10 expired cache entries, freed ",
        "INFO - Cancelled 3 abandoned requests",
        "INFO - Cleanup tasks completed successfully",
        " -c narration-cleanup.toml stats",
        "expired   0, 0 MB",
        f"\n  cd {place}",
        "-c narration-cleanup.toml stats --json",
    ]
    positions = [done.stdout.index(part) for part in told]
    assert positions == sorted(positions)
    index = read_index(place / "cache" / "narration" / "cache_index.json")
    audio = {path.stem for path in (place / "cache" / "narration").glob("*.wav")}
    assert len(index) == 15
    assert len(audio & set(index)) == 14
    assert len(audio - set(index)) == 1  # the orphan, in its first hour
    statuses = [row[4] for row in read_requests(place / "requests.db").values()]
    assert (statuses.count("cancelled"), statuses.count("queued")) == (4, 2)


def test_without_a_temporary_folder_it_asks_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container with a root that is read-only."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(CleanupError, match="name one: narration-cleanup demo DIR"):
        demo_command(typer.Context(typer.main.get_command(app)))


def test_a_configured_service_is_not_touched_by_the_demo(tmp_path: Path) -> None:
    sample = make_sample(tmp_path / "service")
    before = tree_digest(sample.root)
    done = demo(
        tmp_path / "demo",
        NARRATION_CACHE_DIR=str(sample.cache.directory),
        NARRATION_REQUESTS_DB=str(sample.database),
        NARRATION_CLEANUP_STATE_DIR=str(sample.root / "state"),
        NARRATION_CACHE_TTL_DAYS="0.001",
    )
    assert done.returncode == 0, done.stdout
    assert "Would remove 10 of 25 entries" in done.stdout
    assert tree_digest(sample.root) == before
    commands = [line for line in done.stdout.splitlines() if line.endswith("stats --json")]
    for variable in ("NARRATION_CACHE_DIR", "NARRATION_REQUESTS_DB"):
        assert f"-u {variable} " in commands[0]


def test_what_the_demo_suggests_can_be_typed(tmp_path: Path) -> None:
    done = demo(tmp_path / "my demo", NARRATION_CACHE_TTL_DAYS="0.001")
    lines = [line.strip() for line in done.stdout.splitlines()]
    cd = next(line for line in lines if line.startswith("cd "))
    suggested = [
        line for line in lines if " -c narration-cleanup.toml " in line and "$" not in line
    ]
    assert len(suggested) >= 4
    told = []
    for line in suggested:
        shell = f"export PYTHONPATH='{SOURCE}'; {cd} && {line}"
        tried = subprocess.run(["sh", "-c", shell], capture_output=True, text=True)
        assert tried.returncode == 0, (line, tried.stderr)
        told.append(tried.stdout)
    assert "15 entries in the cache" in told[1]


def test_what_is_printed_names_this_program_as_the_caller_can_start_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name only where the path has this very one, and no other installation's."""
    ours, other = tmp_path / "our s", tmp_path / "other"
    for folder in (ours, other):
        folder.mkdir()
        (folder / "narration-cleanup").touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(ours / "narration-cleanup")])
    for path, name in (
        (ours, "narration-cleanup"),
        (tmp_path, f"'{ours}/narration-cleanup'"),
        (other, f"'{ours}/narration-cleanup'"),
    ):
        monkeypatch.setenv("PATH", str(path))
        assert this_program() == name
    monkeypatch.setattr(sys, "argv", ["/usr/lib/narration_cleanup/__main__.py"])
    assert this_program() == "narration-cleanup"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert this_program() == f"{sys.executable} -m narration_cleanup"


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    done = demo(tmp_path)
    assert done.returncode == 4
    assert done.stdout.count("\n") == 1
    assert "is not an empty folder" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_without_a_folder_it_makes_one_of_its_own(tmp_path: Path) -> None:
    done = demo(TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout
    (made,) = tmp_path.iterdir()
    assert made.name.startswith("narration-demo-")
    assert (made / "narration-cleanup.toml").is_file()


@pytest.mark.parametrize("width", [40, 80])
def test_on_a_terminal_it_is_drawn(tmp_path: Path, width: int) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(width)}
    command = [*COMMAND, str(tmp_path / "demo")]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while piece := _read_some(ours):
            shown += piece
    os.close(ours)
    assert process.returncode == 0
    text = shown.decode()
    assert "\x1b[" in text
    assert "╭" in text
    assert "INFO - " not in text


def _read_some(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # what Linux says when the other side is closed
        return b""
