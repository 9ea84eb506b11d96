"""A hostile cache and index, other readers of it, and secrets: nothing of these does any harm."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from narration_cleanup.cli.app import app
from tests.samples import EntrySpec, make_cache, write_index
from tests.security.conftest import OTHER, SERVICE, call, give, unwaited

OLD, YOUNG = EntrySpec(age=timedelta(days=400)), EntrySpec(age=timedelta(days=0))
_HOLD = """
import fcntl, os, sys
user = int(sys.argv[1])
os.setgroups([]), os.setresgid(user, user, user), os.setresuid(user, user, user)
held = []
for place in sys.argv[2:]:
    try:
        held.append(os.open(place, os.O_RDONLY))
        fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pass
print(flush=True)
sys.stdin.read()
"""


def test_a_reader_of_the_cache_cannot_hold_the_lock(open_path: Path) -> None:
    """He may lock whatever he can open: the folder, the index, and the tool's own folder."""
    sample = make_cache(open_path / "cache", entries=[OLD])
    give(SERVICE, open_path / "cache")
    call("dry-run", "--cache-dir", sample.directory, user=SERVICE, state=open_path / "state")
    own = sample.directory / ".narration-cleanup"
    places = [sample.directory, sample.index, own, own / "run.lock", *sample.directory.iterdir()]
    command = [sys.executable, "-c", _HOLD, str(OTHER), *map(str, places)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        done = call("run", "--cache-dir", sample.directory, user=SERVICE, state=open_path / "state")
        assert done.returncode == 0, done.stdout + done.stderr
        assert list(sample.directory.glob("*.mp3")) == []
        holder.communicate()


@pytest.mark.parametrize("place", ["audio", "index", "index.lock", "own folder"])
@pytest.mark.parametrize("kind", ["link", "pipe", "socket", "directory"])
def test_what_is_no_file_in_the_cache_is_neither_followed_nor_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, kind: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    sample = make_cache(tmp_path / "cache", entries=[OLD, YOUNG])
    precious = sample.index.read_text()  # as an index that was followed to could be used
    (outside / "precious").write_text(precious)
    name = {
        "audio": sample.entries[0].name,
        "index": sample.index.name,
        "index.lock": f"{sample.index.name}.lock",
        "own folder": ".narration-cleanup",
    }[place]
    target = sample.directory / name
    target.unlink(missing_ok=True)
    if kind == "link":
        target.symlink_to(outside / "precious" if place != "own folder" else outside)
    elif kind == "pipe":
        os.mkfifo(target)
    elif kind == "directory":
        target.mkdir(mode=0o700)
    else:
        monkeypatch.chdir(target.parent)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(name)
    os.utime(target, (1e9, 1e9), follow_symlinks=False)
    before = target.lstat()
    monkeypatch.setenv("NARRATION_CLEANUP_STATE_DIR", str(tmp_path / "state"))
    with unwaited(target) if kind == "pipe" else nullcontext():
        done, checked = (
            CliRunner().invoke(app, [command, "--cache-dir", str(sample.directory)])
            for command in ("run", "check")
        )
    assert isinstance(done.exception, SystemExit | None), done.exception
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert (outside / "precious").read_text() == precious
    assert (sample.directory / sample.entries[1].name).is_file()
    usable = (place, kind) == ("own folder", "directory")
    assert (done.exit_code == 0) is usable
    if place in ("index.lock", "own folder") and not usable:
        word = {"link": "symbolic link"}.get(kind, kind)
        for said in (done.output, checked.output):
            assert f"is a {word}" in " ".join(said.split())
            assert re.search("remove it|take it away", " ".join(said.split()))
        assert checked.exit_code == 1
    assert os.path.lexists(sample.directory / sample.entries[0].name) is not usable
    if not usable:
        assert target.lstat().st_ino == before.st_ino


def test_a_look_follows_no_link_in_the_place_of_the_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = make_cache(tmp_path / "cache", entries=[OLD, YOUNG])
    (tmp_path / "outside" / "second").mkdir(parents=True)
    (tmp_path / "outside" / "second" / "precious.mp3").touch()
    (sample.directory / ".narration-cleanup").symlink_to(tmp_path / "outside")
    monkeypatch.setenv("NARRATION_CLEANUP_STATE_DIR", str(tmp_path / "state"))
    done = CliRunner().invoke(app, ["dry-run", "--json", "--cache-dir", str(sample.directory)])
    assert [each["code"] for each in json.loads(done.stdout)["problems"]] == ["not_writable"]


@pytest.mark.parametrize(
    "path", ["../outside/precious.mp3", "/OUT/precious.mp3", "a/../../outside/precious.mp3"]
)
def test_an_index_that_names_what_is_not_its_own_removes_nothing_of_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.mp3").write_text("precious")
    sample = make_cache(tmp_path / "cache", entries=[OLD])
    index = json.loads(sample.index.read_text())
    (fields,) = index.values()
    write_index(sample.index, {"k": {**fields, "file_path": path.replace("/OUT", str(outside))}})
    monkeypatch.setenv("NARRATION_CLEANUP_STATE_DIR", str(tmp_path / "state"))
    done = CliRunner().invoke(app, ["run", "--cache-dir", str(sample.directory)])
    assert "[outside_cache]" in done.output
    assert (outside / "precious.mp3").read_text() == "precious"


ESCAPES = "\x1b]0;title\x07\x1b[31m\u202e\n"


@pytest.mark.parametrize(
    "command",
    [
        ("dry-run", "-v"),
        ("dry-run", "--json"),
        ("run", "-v"),
        ("run", "--log-format", "json"),
        ("stats",),
        ("stats", "--json"),
        ("stats", "--prometheus"),
        ("check",),
    ],
    ids=" ".join,
)
def test_names_and_texts_of_the_index_reach_no_terminal_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    spec = EntrySpec(age=timedelta(days=400), voice_style=ESCAPES, variant_id=ESCAPES)
    sample = make_cache(tmp_path / "cache", entries=[spec])
    index = json.loads(sample.index.read_text())
    (fields,) = index.values()
    orphan = f"orphan{ESCAPES.strip()}.mp3"
    (sample.directory / orphan).write_bytes(b"x")
    os.utime(sample.directory / orphan, (1e9, 1e9))
    more = {**fields, "file_path": f"gone{ESCAPES}.mp3"}
    write_index(sample.index, {ESCAPES: fields, f"{ESCAPES}2": more, f"{ESCAPES}3": {ESCAPES: 1}})
    monkeypatch.setenv("NARRATION_CLEANUP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("NARRATION_CACHE_DIR", str(sample.directory))
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, SystemExit | None)
    assert done.stdout + done.stderr
    assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout + done.stderr)


@pytest.mark.parametrize(
    "command",
    [
        ("config", "show"),
        ("config", "show", "--json"),
        ("config", "validate"),
        ("check",),
        ("check", "--json"),
        pytest.param(("run",), marks=pytest.mark.waits),
        ("dry-run", "--json"),
        ("stats",),
        ("systemd", "install", "--print", "--run-as", "root"),
        ("systemd", "install", "--print", "cron"),
    ],
    ids=" ".join,
)
def test_no_command_shows_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f'[cache]\ndir = "{tmp_path}"\nindex = "none"\n'
        '[requests]\ndb = "postgresql://me:canary@127.0.0.1:1/x?connect_timeout=1"\n'
        '[alerts]\nurls = ["json://u:canary@127.0.0.1:1/canary"]\n'
        'ping_url = "http://127.0.0.1:1/canary"\n'
        f'[cleanup]\nstate_dir = "{tmp_path / "state"}"\n'
    )
    config.chmod(0o600)
    monkeypatch.setattr("narration_cleanup.stores.requests.postgres.session.RETRY_FOR", 0.0)
    done = CliRunner().invoke(app, ["-c", str(config), *command])
    said = f"{done.stdout}{done.stderr}{done.exception!s}"
    assert said.strip()
    assert "canary" not in said


@pytest.mark.parametrize("scheme", ["mysql://", "PostgreSQL://", "postgresql:/"])
def test_nor_one_of_an_address_of_another_kind(scheme: str) -> None:
    told = CliRunner().invoke(app, ["config", "init", "--requests-db", f"{scheme}u:precious@h/db"])
    assert "is no database file" in str(told.exception)
    assert "precious" not in str(told.exception)
