"""What is refused before anything is touched, and what must not stop a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.server import ToolServer
from tests.faults.trial import arguments_for, environment_for
from tests.faults.truth import make_truth
from tests.samples import tree_digest

CANARY = "c4n4ry-pa55word"


@pytest.mark.parametrize("allowed", ["3", "5%", "0"])
def test_more_than_was_allowed_is_refused(server: ToolServer, tmp_path: Path, allowed: str) -> None:
    truth = make_truth(tmp_path / "root", wal=False)
    before = tree_digest(truth.cache.directory), tree_digest(truth.database.parent)
    arguments = [*arguments_for(truth), "--max-delete", allowed]
    run = server.run(arguments, tmp_path, environment_for(truth))
    assert run.code == 4, run.said
    left = tree_digest(truth.cache.directory), tree_digest(truth.database.parent)
    assert _but_the_lock(left[0]) == _but_the_lock(before[0])
    assert left[1] == before[1]
    assert json.loads(run.output)["outcome"] == "refused"


def _but_the_lock(tree: dict[str, str]) -> dict[str, str]:
    return {
        name: line
        for name, line in tree.items()
        if name != "." and not name.startswith(".narration-cleanup")
    }


def test_as_much_as_was_allowed_is_done(server: ToolServer, tmp_path: Path) -> None:
    truth = make_truth(tmp_path / "root", wal=False)
    arguments = [*arguments_for(truth), "--max-delete", "50"]
    run = server.run(arguments, tmp_path, environment_for(truth))
    assert (run.code, truth.losses(), truth.unfinished()) == (0, [], []), run.said


@pytest.mark.parametrize("place", ["/", "/home", "a folder of songs", "a home", "nowhere", "file"])
def test_what_is_not_a_cache_is_refused(server: ToolServer, tmp_path: Path, place: str) -> None:
    songs = tmp_path / "songs"
    songs.mkdir()
    (songs / "song.mp3").write_bytes(b"not to be touched")
    (tmp_path / "file").write_bytes(b"{}")
    where = {
        "a folder of songs": songs,
        "a home": songs,
        "nowhere": tmp_path / "nowhere",
        "file": tmp_path / "file",
    }.get(place, Path(place))
    before = tree_digest(songs)
    environment = {
        "NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state"),
        "HOME": str(songs if place == "a home" else tmp_path),
    }
    run = server.run(["run", "--json", "--cache-dir", str(where)], tmp_path, environment)
    assert run.code == 78, run.said
    assert str(where) in run.said
    assert tree_digest(songs) == before


def test_a_state_folder_that_cannot_be_written_is_a_warning(
    server: ToolServer, tmp_path: Path
) -> None:
    truth = make_truth(tmp_path / "root", wal=False)
    (tmp_path / "state").write_bytes(b"a file where a folder is expected")
    environment = {**environment_for(truth), "NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    run = server.run(arguments_for(truth), tmp_path, environment)
    assert (run.code, truth.losses(), truth.unfinished()) == (0, [], []), run.said
    assert "state" in run.said


@pytest.mark.waits
def test_metrics_and_a_ping_that_cannot_be_are_warnings(server: ToolServer, tmp_path: Path) -> None:
    truth = make_truth(tmp_path / "root", wal=False)
    page = tmp_path / "nowhere" / "narration.prom"
    environment = {
        **environment_for(truth),
        "NARRATION_METRICS_TEXTFILE": str(page),
        "NARRATION_ALERTS_PING_URL": f"http://127.0.0.1:1/{CANARY}",
        "NARRATION_ALERTS_ON": "always",
    }
    run = server.run(arguments_for(truth), tmp_path, environment)
    assert (run.code, truth.losses(), truth.unfinished()) == (0, [], []), run.said
    assert str(page) in run.errors
    assert "ping" in run.errors
    assert CANARY not in run.said


@pytest.mark.faults
def test_a_secret_in_a_url_appears_nowhere(server: ToolServer, tmp_path: Path) -> None:
    truth = make_truth(tmp_path / "root", wal=False)
    url = f"postgresql://narrator:{CANARY}@127.0.0.1:1/narration"
    cache = str(truth.cache.directory)
    commands = [
        ["run", "--json", "--cache-dir", cache],
        ["run", "-v", "--cache-dir", cache],
        ["dry-run", "--cache-dir", cache],
        ["stats", "--json", "--cache-dir", cache],
        ["config", "show"],
        ["config", "validate"],
    ]
    environment = {**environment_for(truth), "NARRATION_REQUESTS_DB": url}
    for command in commands:
        run = server.run(command, tmp_path, environment)
        assert CANARY not in run.said, command
    kept = [path for path in (truth.root / "state").rglob("*") if path.is_file()]
    assert not [path for path in kept if CANARY.encode() in path.read_bytes()]
    assert (truth.root / "state").is_dir()
