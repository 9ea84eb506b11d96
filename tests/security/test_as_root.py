"""Started as root beside what belongs to another user."""

from __future__ import annotations

import os
import shutil
import struct
from datetime import timedelta
from pathlib import Path

import narration_cleanup
from narration_cleanup.report.history import FILE_NAME
from tests.samples import EntrySpec, make_cache, make_requests, tree_digest
from tests.security.conftest import OTHER, SERVICE, call, give

OLD = EntrySpec(age=timedelta(days=400))


def _cache(folder: Path, owner: int) -> Path:
    folder.mkdir()
    make_cache(folder, entries=[OLD])
    give(owner, folder)
    return folder


def test_a_refused_run_opens_nothing_for_writing(open_path: Path) -> None:
    """A journal beside the history would have had SQLite delete the file that it names."""
    state, database = open_path / "state", open_path / "service" / "requests.db"
    make_requests(database)
    call("run", "-q", "--requests-db", database, state=state)
    victim = open_path / "victim"
    victim.write_text("precious")
    history = state / FILE_NAME
    page = struct.unpack(">H", history.read_bytes()[16:18])[0]
    magic, name = bytes.fromhex("d9d505f920a163d7"), os.fsencode(victim)
    journal = magic + struct.pack(">5I", 0, 1, history.stat().st_size // page, 512, page)
    journal = journal.ljust(512, b"\0") + struct.pack(">I", 0x40000000 // page + 1) + name
    journal += struct.pack(">2I", len(name), sum(name)) + magic
    (state / f"{FILE_NAME}-journal").write_bytes(journal)
    give(SERVICE, state, database.parent)
    before = tree_digest(open_path)
    done = call("run", "--requests-db", database, state=state)
    assert done.returncode == 78, done.stdout + done.stderr
    assert f"--run-as {SERVICE}" in done.stderr
    assert f"sudo -u '#{SERVICE}' narration-cleanup" in done.stderr
    assert tree_digest(open_path) == before
    # Nor is it opened where the run itself goes on.
    own = _cache(open_path / "roots", 0)
    done = call("run", "--cache-dir", own, state=state)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no history is kept" in done.stdout + done.stderr
    assert victim.read_text() == "precious"


def test_allow_other_user_is_not_for_root(open_path: Path) -> None:
    database = open_path / "service" / "requests.db"
    make_requests(database)
    give(SERVICE, database.parent)
    arguments = ("--requests-db", database, "--allow-other-user")
    for command in ("run", "dry-run", "stats"):
        done = call(command, *arguments, state=open_path / "state")
        assert done.returncode == 78, done.stdout + done.stderr
    assert not (open_path / "state").exists()


def test_a_cache_of_another_user_is_refused(open_path: Path) -> None:
    cache = _cache(open_path / "cache", SERVICE)
    before = tree_digest(open_path)
    done = call("run", "--cache-dir", cache, state=open_path / "state")
    assert done.returncode == 78, done.stdout + done.stderr
    assert tree_digest(open_path) == before
    dry = call("dry-run", "--cache-dir", cache, "--json", state=open_path / "state")
    assert dry.returncode == 0, dry.stdout + dry.stderr
    assert '"other_user"' in dry.stdout


def test_a_link_in_the_place_of_the_cache_is_not_followed(open_path: Path) -> None:
    audio = open_path / "others"
    audio.mkdir()
    (audio / "song.mp3").write_bytes(b"x" * 100)
    os.utime(audio / "song.mp3", (0, 1e9))
    give(0, audio)
    home = open_path / "service"
    home.mkdir()
    (home / "cache").symlink_to(audio)
    give(SERVICE, home)
    config = open_path / "config.toml"
    config.write_text(f'[cache]\ndir = "{home / "cache"}"\nindex = "none"\n')
    done = call("-c", config, "run", state=open_path / "state")
    assert done.returncode == 78, done.stdout + done.stderr
    assert (audio / "song.mp3").exists()


def test_cache_and_database_of_two_users_are_refused(open_path: Path) -> None:
    cache = _cache(open_path / "cache", SERVICE)
    database = open_path / "other" / "requests.db"
    make_requests(database)
    give(OTHER, database.parent)
    places = ("--cache-dir", cache, "--requests-db", database)
    before = tree_digest(open_path)
    for more in ((), ("--run-as", str(SERVICE))):
        done = call("run", *places, *more, state=open_path / "state")
        assert done.returncode == 78, done.stdout + done.stderr
        assert "two users" in done.stderr
    assert tree_digest(open_path) == before


def test_run_as_becomes_the_user_first(open_path: Path) -> None:
    """Also where configuration and program lie in a folder that only root can enter."""
    cache, state = _cache(open_path / "cache", SERVICE), open_path / "state"
    database = open_path / "service" / "requests.db"
    make_requests(database)
    state.mkdir()
    give(SERVICE, state, database.parent)
    private = open_path / "private"
    private.mkdir(mode=0o700)
    shutil.copytree(
        Path(narration_cleanup.__file__).parent,
        private / "narration_cleanup",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    config = private / "config.toml"
    places = f'[cache]\ndir = "{cache}"\n[requests]\ndb = "{database}"\n'
    config.write_text(f'{places}[cleanup]\nuser = "{SERVICE}"\n')
    done = call("-c", config, "run", state=state, package=private)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(cache.glob("*.mp3")) == []
    made = [path for place in (cache, state, database.parent) for path in place.rglob("*")]
    assert (state / FILE_NAME) in made
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(SERVICE, SERVICE)}


def test_only_root_can_become_another_user(open_path: Path) -> None:
    cache = _cache(open_path / "cache", SERVICE)
    before = tree_digest(cache)
    done = call(
        "run", "--cache-dir", cache, "--run-as", str(OTHER), user=SERVICE, state=open_path / "state"
    )
    assert done.returncode == 78, done.stdout + done.stderr
    assert "only root" in done.stderr
    done = call("run", "--cache-dir", cache, "--run-as", "no-such-user", state=open_path / "state")
    assert done.returncode == 78, done.stdout + done.stderr
    assert "no such user" in done.stderr
    assert tree_digest(cache) == before


def test_the_owner_of_a_database_is_not_asked_through_a_link(open_path: Path) -> None:
    """The link is another user's: he says today which database it is, and tomorrow another."""
    database = open_path / "service" / "requests.db"
    make_requests(database)
    give(SERVICE, database.parent)
    link = open_path / "link.db"
    link.symlink_to(database)
    for owner, code in ((OTHER, 78), (0, 0), (SERVICE, 0)):
        os.chown(link, owner, owner, follow_symlinks=False)
        done = call("dry-run", "--requests-db", link, user=SERVICE, state=open_path / "state")
        assert done.returncode == code, done.stdout + done.stderr
