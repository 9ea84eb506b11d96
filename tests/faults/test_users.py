"""Another user than the database's owner, root included, is refused before connecting."""

from __future__ import annotations

import json
import os
import pwd
from contextlib import ExitStack
from pathlib import Path

import pytest

from narration_cleanup.stores.cache.local.directory import OWN_FOLDER
from tests.faults.file_systems import CannotMountError, exfat
from tests.faults.server import ToolServer
from tests.faults.trial import arguments_for, environment_for
from tests.faults.truth import Truth, make_truth
from tests.samples import tree_digest

pytestmark = pytest.mark.usefixtures("as_root")

NOBODY = pwd.getpwnam("nobody").pw_uid


def _give(folder: Path, user: int) -> None:
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, user, user)


def _sample(folder: Path, owner: int, *, wal: bool = True) -> Truth:
    folder.chmod(0o755)
    for parent in folder.parents:
        if parent.stat().st_uid == 0 and len(parent.parts) > 2:
            parent.chmod(parent.stat().st_mode | 0o055)
    truth = make_truth(folder / "sample", wal=wal)
    _give(folder / "sample", owner)
    return truth


def test_root_is_refused_and_told_whom_to_be(server: ToolServer, tmp_path: Path) -> None:
    truth = _sample(tmp_path, NOBODY)
    before = tree_digest(truth.root)
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    run = server.run(arguments_for(truth), tmp_path, environment)
    assert run.code == 78, run.said
    assert "nobody" in run.said
    assert tree_digest(truth.root) == before


def test_root_is_told_how_to_mount_what_everybody_may_write_to(
    server: ToolServer, tmp_path: Path
) -> None:
    """On a file system whose modes are those of the mount, chmod would change nothing."""
    with ExitStack() as stack:
        try:
            place = exfat(stack, tmp_path, lambda root: None, "umask=0")
        except CannotMountError as error:
            pytest.skip(str(error))
        truth = make_truth(place / "sample", wal=True)
        environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
        run = server.run(arguments_for(truth), tmp_path, environment)
    assert run.code == 78, run.said
    assert "mount its file system with umask=022" in run.said
    assert "chmod" not in run.said


def test_another_user_is_refused_on_roots_database(server: ToolServer, tmp_path: Path) -> None:
    truth = _sample(tmp_path, 0)
    (tmp_path / "output").touch()
    before = tree_digest(truth.root)
    run = server.run(arguments_for(truth), tmp_path, environment_for(truth), user=NOBODY)
    assert run.code == 78, run.said
    assert "root" in run.said
    assert tree_digest(truth.root) == before


def test_the_owner_is_welcome(server: ToolServer, tmp_path: Path) -> None:
    truth = _sample(tmp_path, NOBODY)
    run = server.run(arguments_for(truth), tmp_path, environment_for(truth), user=NOBODY)
    assert (run.code, truth.losses(), truth.unfinished()) == (0, [], []), run.said
    assert {path.stat().st_uid for path in truth.root.rglob("*")} == {NOBODY}


@pytest.mark.parametrize("wal", [False, True])
def test_root_becomes_the_owner_and_nothing_is_left_that_he_cannot_write(
    server: ToolServer, tmp_path: Path, wal: bool
) -> None:
    truth = _sample(tmp_path, NOBODY, wal=wal)
    arguments = [*arguments_for(truth), "--run-as", "nobody"]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    run = server.run(arguments, tmp_path, environment)
    assert (run.code, truth.losses(), truth.unfinished()) == (0, [], []), run.said
    owners = {path.name: path.stat().st_uid for path in truth.root.rglob("*")}
    assert set(owners.values()) == {NOBODY}, owners


def _dry_run(server: ToolServer, truth: Truth, folder: Path, user: int) -> list[dict[str, str]]:
    """What a dry run as ``user`` has to say; it touches nothing, and does not fail for it."""
    before = tree_digest(truth.root)
    arguments = ["dry-run", *arguments_for(truth)[1:]]
    run = server.run(arguments, folder, environment_for(truth), user=user)
    assert run.code == 0, run.said
    assert tree_digest(truth.root) == before
    problems: list[dict[str, str]] = json.loads(run.output)["problems"]
    return problems


def test_a_dry_run_foresees_that_the_cache_cannot_be_written(
    server: ToolServer, tmp_path: Path
) -> None:
    truth = _sample(tmp_path, NOBODY)
    assert _dry_run(server, truth, tmp_path, NOBODY) == []
    os.chown(truth.cache.directory, 0, 0)
    (warning,) = _dry_run(server, truth, tmp_path, NOBODY)
    assert (warning["half"], warning["code"]) == ("cache", "not_writable")
    assert warning["severity"] == "warning"
    assert warning["message"] == (
        f"nobody may not write to {truth.cache.directory} (owner root, mode 0755): a run as this "
        "user could remove nothing"
    )


def _files(folder: Path) -> dict[str, str]:
    """All that lies in the folder, less the tool's own folder."""
    own = (".", OWN_FOLDER)
    return {name: what for name, what in tree_digest(folder).items() if name not in own}


@pytest.mark.parametrize(("user", "group"), [(0, NOBODY), (NOBODY, 0)])
def test_an_index_that_may_not_be_replaced_keeps_its_files(
    server: ToolServer, tmp_path: Path, user: int, group: int
) -> None:
    """The index could not follow, and the service would serve entries without a file."""
    truth = _sample(tmp_path, NOBODY)
    os.chown(truth.cache.index, user, group)
    (warning,) = _dry_run(server, truth, tmp_path, NOBODY)
    assert (warning["half"], warning["code"]) == ("cache", "not_writable")
    before = _files(truth.cache.directory)
    run = server.run(arguments_for(truth), tmp_path, environment_for(truth), user=NOBODY)
    assert run.code == 3, run.said
    document = json.loads(run.output)
    (problem,) = document["problems"]
    assert (problem["half"], problem["code"]) == ("cache", "index_owner")
    assert f"uid {user}, gid {group}" in problem["message"]
    assert document["requests"]["cancelled_count"] > 0
    assert _files(truth.cache.directory) == before
    # Where nothing would leave the index, nothing is in the way.
    environment = {**environment_for(truth), "NARRATION_CACHE_TTL_DAYS": "9000"}
    environment["NARRATION_CACHE_REMOVE_DANGLING"] = "false"
    run = server.run(arguments_for(truth), tmp_path, environment, user=NOBODY)
    assert (run.code, json.loads(run.output)["problems"]) == (0, []), run.said


def test_what_lies_beside_a_database_that_does_not_use_it_is_no_matter(
    server: ToolServer, tmp_path: Path
) -> None:
    truth = _sample(tmp_path, NOBODY, wal=False)
    for ending in ("-wal", "-shm"):
        truth.database.with_name(f"{truth.database.name}{ending}").touch(0o644)
    assert _dry_run(server, truth, tmp_path, NOBODY) == []


def test_a_dry_run_foresees_what_a_crash_of_another_user_left(
    server: ToolServer, tmp_path: Path
) -> None:
    truth = _sample(tmp_path, NOBODY)
    wal = truth.database.with_name(f"{truth.database.name}-wal")
    wal.touch()
    os.chown(wal, 0, 0)
    wal.chmod(0o644)
    arguments = ["dry-run", *arguments_for(truth)[1:]]
    run = server.run(arguments, tmp_path, environment_for(truth), user=NOBODY)
    warnings = [each for each in json.loads(run.output)["problems"] if "-wal" in each["message"]]
    assert [each["code"] for each in warnings] == ["not_writable"]
    assert json.loads(run.output)["message"].endswith("see the warnings")


@pytest.mark.parametrize("what", ["closed folder", "loop of links", "no file"])
def test_what_a_dry_run_cannot_reach_is_told_once(
    server: ToolServer, tmp_path: Path, what: str
) -> None:
    truth = _sample(tmp_path, NOBODY)
    if what == "closed folder":
        os.chown(truth.database.parent, 0, 0)
        truth.database.parent.chmod(0o700)
    else:
        truth.database.unlink()
        if what == "loop of links":
            truth.database.symlink_to(truth.database.name)
    arguments = ["dry-run", *arguments_for(truth)[1:]]
    run = server.run(arguments, tmp_path, environment_for(truth), user=NOBODY)
    assert run.code == 3, run.said
    (problem,) = json.loads(run.output)["problems"]
    assert (problem["half"], problem["severity"]) == ("requests", "problem")


@pytest.mark.parametrize("wal", [False, True])
@pytest.mark.parametrize("what", ["the file", "its folder"])
def test_a_dry_run_foresees_that_the_database_cannot_be_written(
    server: ToolServer, tmp_path: Path, what: str, wal: bool
) -> None:
    truth = _sample(tmp_path, NOBODY, wal=wal)
    if what == "the file":
        for file in truth.database.parent.glob(f"{truth.database.name}*"):
            file.chmod(0o444)
        place = f"{truth.database} (owner nobody, mode 0444)"
    else:
        os.chown(truth.database.parent, 0, 0)
        place = f"{truth.database.parent} (owner root, mode 0755)"
    (warning,) = _dry_run(server, truth, tmp_path, NOBODY)
    assert (warning["half"], warning["code"]) == ("requests", "not_writable")
    assert warning["message"] == (
        f"nobody may not write to {place}: a run as this user could cancel nothing"
    )


def test_a_configuration_that_may_not_be_read_is_a_wrong_one(
    server: ToolServer, tmp_path: Path
) -> None:
    truth = _sample(tmp_path, NOBODY)
    file = tmp_path / "config.toml"
    file.write_text("")
    file.chmod(0o600)
    before = _files(truth.cache.directory)
    arguments = ["-c", str(file), *arguments_for(truth)]
    run = server.run(arguments, tmp_path, environment_for(truth), user=NOBODY)
    assert run.code == 78, run.said
    assert json.loads(run.output)["message"].startswith(f"file {file}: Permission denied; ")
    assert _files(truth.cache.directory) == before
