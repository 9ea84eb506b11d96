"""The container image, built by buildah on a Debian tree, and run as a container runs it.

Its program is process 1 of a process namespace, in the image's tree, as a user without a name.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.machine import lent_pip, require
from tests.samples import EntrySpec, make_cache, read_index
from tests.systemd.container import base_tree

pytestmark = pytest.mark.packaging

UID, GROUP = 12_345, 0  # as platforms have it that choose the number of the user
_ENTER = (
    'tree=$1 && shift && mount --bind "$tree" "$tree" && mount -t proc proc "$tree/proc" && '
    'while [ "$1" != -- ]; do mkdir -p "$tree$2" && mount --bind "$1" "$tree$2" && shift 2; done '
    f'&& shift && exec chroot --userspec={UID}:{GROUP} --groups= "$tree" "$@"'
)


def buildah(*words: str, check: bool = True) -> str:
    done = subprocess.run(
        ["buildah", "--storage-driver", "vfs", *words], capture_output=True, text=True
    )
    if check and done.returncode != 0:
        raise AssertionError(f"buildah {words[0]} exited {done.returncode}\n{done.stderr}")
    return done.stdout.strip()


@dataclass
class Image:
    """An image that is laid out: its tree, and what it says about itself."""

    tree: Path
    config: dict[str, Any]
    volumes: dict[Path, str] = field(default_factory=dict)

    def command(self, *arguments: str, volumes: dict[Path, str]) -> list[str]:
        """What runs the image's command, or another with these arguments, as process 1."""
        words = [*self.config["Entrypoint"], *(arguments or self.config["Cmd"])]
        mounts = [word for pair in volumes.items() for word in map(str, pair)]
        return [
            *("unshare", "--mount", "--pid", "--net", "--fork", "--kill-child"),
            *("sh", "-c", _ENTER, "sh", str(self.tree), *mounts, "--"),
            *("env", "-i", *self.config["Env"], *words),
        ]


@pytest.fixture(scope="module")
def image(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    require()
    if shutil.which("buildah") is None:
        pytest.skip("buildah is not installed")
    folder = tmp_path_factory.mktemp("image")
    variables, lent = lent_pip()
    pip_conf = folder / "pip.conf"
    options = [f"{name[4:].lower()} = {value}" for name, value in variables.items()
               if name.startswith("PIP_")]  # fmt: skip
    pip_conf.write_text("\n".join(["[global]", *options, ""]))
    archive = folder / "base.tar"
    tree = base_tree("bookworm", ("python3", "python3-pip"))
    subprocess.run(["tar", "-C", tree, "-cf", archive, "--exclude=./dev/*", "."], check=True)
    base = buildah("from", "scratch")
    made = [base]
    try:
        buildah("add", base, str(archive), "/")
        buildah("commit", base, "localhost/narration-cleanup-base")
        buildah(
            *("build", "--isolation", "chroot", "--tag", "localhost/narration-cleanup"),
            *("--build-arg", "BASE=localhost/narration-cleanup-base", "--pull-never"),
            *("--volume", f"{pip_conf}:/etc/pip.conf:ro"),
            *(word for path in lent for word in ("--volume", f"{path}:{path}:ro")),
            *("--file", str(checkout / "deploy" / "Containerfile"), str(checkout)),
        )
        built = buildah("from", "--pull-never", "localhost/narration-cleanup")
        made.append(built)
        config = json.loads(buildah("inspect", built))["OCIv1"]["config"]
        yield Image(Path(buildah("mount", built)), config)
    finally:
        buildah("rm", *made, check=False)
        for name in ("narration-cleanup", "narration-cleanup-base"):
            buildah("rmi", "--force", f"localhost/{name}", check=False)
        archive.unlink()


@pytest.fixture
def volumes(tmp_path: Path) -> dict[Path, str]:
    """A cache and a database of that user's, and a volume for the state as fsGroup makes it."""
    specs = [EntrySpec(timedelta(days=age)) for age in (1, 30)]
    sample = make_cache(tmp_path / "cache" / "narration", now=datetime.now(UTC), entries=specs)
    data, state = tmp_path / "data", tmp_path / "state"
    data.mkdir()
    state.mkdir()
    with closing(sqlite3.connect(data / "requests.db")) as database, database:
        database.execute(
            "CREATE TABLE requests (request_id TEXT PRIMARY KEY, status TEXT, created_at TEXT, "
            "completed_at TEXT)"
        )
        database.execute("INSERT INTO requests VALUES ('a', 'queued', '2020-01-01T00:00:00', NULL)")
    for path in (sample.directory, *sample.directory.iterdir(), data, *data.iterdir()):
        os.chown(path, UID, GROUP)
    os.chown(state, 0, GROUP)
    state.chmod(0o2775)
    return {sample.directory: "/app/cache/narration", data: "/app/data", state: "/state"}


def test_it_cleans_a_mounted_cache_stops_for_sigterm_and_has_its_exit_codes(
    image: Image, volumes: dict[Path, str]
) -> None:
    image.config["Env"] += [
        "NARRATION_CACHE_DIR=/app/cache/narration",
        "NARRATION_REQUESTS_DB=/app/data/requests.db",
    ]
    cache, data, state = volumes
    before = set(read_index(cache / "cache_index.json"))

    dry = subprocess.run(
        image.command("dry-run", "--json", volumes=volumes), capture_output=True, text=True
    )
    assert dry.returncode == 0, dry.stderr
    assert len(json.loads(dry.stdout)["actions"]) == 2
    few = subprocess.run(image.command("run", "--max-delete", "0", volumes=volumes))
    assert few.returncode == 4
    assert set(read_index(cache / "cache_index.json")) == before

    with closing(sqlite3.connect(data / "requests.db")) as service:
        service.execute("BEGIN IMMEDIATE")  # so that the run waits in its middle
        run = subprocess.Popen(image.command(volumes=volumes), stderr=subprocess.PIPE, text=True)
        assert run.stderr is not None
        seen = []
        for line in run.stderr:
            seen.append(json.loads(line)["message"])
            if "abandoned requests" in line.lower():
                break
        busy = subprocess.run(image.command(volumes=volumes), capture_output=True, text=True)
        assert busy.returncode == 75, busy.stderr
        program = (Path(f"/proc/{run.pid}/task/{run.pid}/children")).read_text().split()
        os.kill(int(program[0]), signal.SIGTERM)
        assert run.wait(60) == 143, seen
        run.stderr.close()
    assert len(read_index(cache / "cache_index.json")) == 1

    done = subprocess.run(image.command(volumes=volumes), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(data / "requests.db")) as database:
        assert database.execute("SELECT status FROM requests").fetchall() == [("cancelled",)]
    assert (state / "narration-cleanup" / "history.db").stat().st_uid == UID

    history = subprocess.run(
        image.command("history", "--json", volumes=volumes), capture_output=True, text=True
    )
    assert [run["outcome"] for run in json.loads(history.stdout)["runs"]][:1] == ["success"]
