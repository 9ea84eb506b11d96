"""Started as root beside what belongs to another user."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import time
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest

import narration_cleanup
from narration_cleanup.core.files import make_folder
from narration_cleanup.report.history import FILE_NAME
from tests import forked
from tests.samples import EntrySpec, make_cache, make_requests, tree_digest
from tests.security.conftest import OTHER, SERVICE, call, give, plant_journal, swapping

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
    plant_journal(state / FILE_NAME, victim)
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


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
def test_a_database_in_a_folder_of_others_is_refused(open_path: Path, mode: int) -> None:
    """Who can write there can put a journal beside it, which names a file for SQLite to delete."""
    victim, database = open_path / "victim", open_path / "shared" / "requests.db"
    victim.write_text("precious")
    make_requests(database)
    os.chown(database.parent, 0, OTHER)
    database.parent.chmod(mode)
    os.chown(plant_journal(database, victim), OTHER, OTHER)
    before = tree_digest(open_path)
    done = call("run", "--requests-db", database, state=open_path / "state")
    assert done.returncode == 78, done.stdout + done.stderr
    assert ("chmod" in done.stderr) is not bool(mode & stat.S_ISVTX), "never advised for /tmp"
    assert tree_digest(open_path) == before


def test_nor_does_the_service_open_the_journal_of_a_stranger(open_path: Path) -> None:
    """He owns the folder above, or everybody can write there: the service's files are as dear."""
    victim, database = open_path / "victim", open_path / "shared" / "requests.db"
    victim.write_text("precious")
    make_requests(database)
    give(SERVICE, database.parent, victim)
    os.chown(open_path, SERVICE, SERVICE)
    database.parent.chmod(0o777)
    journal = plant_journal(database, victim)
    os.chown(journal, OTHER, OTHER)
    before = tree_digest(database.parent)
    places = ("--requests-db", database)
    done = call("run", *places, user=SERVICE, state=open_path / "state")
    assert done.returncode == 78, done.stdout + done.stderr
    assert "every user can write to" in done.stderr
    allowed = (*places, "--allow-other-user")
    done = call("run", *allowed, user=SERVICE, state=open_path / "state")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"this is a file of user {OTHER}" in done.stdout + done.stderr
    assert tree_digest(database.parent) == before
    assert victim.read_text() == "precious"
    # In a folder of one group, whoever belongs to it may have opened the database first.
    journal.unlink()
    database.with_name("requests.db-journal").touch()
    os.chown(journal, OTHER, SERVICE)
    database.parent.chmod(0o775)
    done = call("dry-run", *places, user=SERVICE, state=open_path / "state")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("mode", [0o777, 0o1777])
@pytest.mark.parametrize("above", [False, True])
def test_a_database_that_every_user_can_exchange_is_not_changed(
    open_path: Path, mode: int, above: bool
) -> None:
    """Between the look at what lies beside it and SQLite's own, a stranger can put a journal there.

    In a folder above, the sticky bit keeps others' folders where they are.
    """
    database = open_path / "shared" / "data" / "requests.db"
    make_requests(database)
    give(SERVICE, open_path / "shared")
    folder = database.parent.parent if above else database.parent
    folder.chmod(mode)
    before = tree_digest(open_path)
    done = call("run", "--requests-db", database, user=SERVICE, state=open_path / "state")
    if above and mode == 0o1777:
        assert done.returncode == 0, done.stdout + done.stderr
        return
    assert done.returncode == 78, done.stdout + done.stderr
    advice = "move the database" if mode & stat.S_ISVTX else f"chmod o-w {folder}"
    assert advice in done.stderr
    assert tree_digest(open_path) == before
    places = ("--requests-db", database)
    found = call("check", *places, user=SERVICE, state=open_path / "state").stdout
    assert "failed   requests.folder: every user can write to" in found
    assert f"-> {advice}" in found
    done = call("run", *places, "--allow-other-user", user=SERVICE, state=open_path / "state")
    assert done.returncode == 0, done.stdout + done.stderr


def test_requests_that_are_refused_leave_the_cache_to_be_cleaned(open_path: Path) -> None:
    """A database that everybody can exchange, and one of another user; and what helps."""
    database, state = open_path / "data" / "requests.db", open_path / "state"
    make_requests(database)
    state.mkdir()
    cache = _cache(open_path / "cache", SERVICE)
    give(SERVICE, database.parent, state)
    places = ("--cache-dir", cache, "--requests-db", database)
    for owner, mode, remedy in (
        (SERVICE, 0o777, f"chmod o-w {database.parent}"),
        (OTHER, 0o755, f"run as {OTHER} ("),
        (0, 0o755, f"chown --reference={database.parent} {database}"),
    ):
        make_cache(cache, entries=[OLD])
        give(SERVICE, cache)
        os.chown(database, owner, owner)
        database.parent.chmod(mode)
        before = tree_digest(database.parent)
        done = call("run", *places, user=SERVICE, state=state)
        assert done.returncode == 3, done.stdout + done.stderr
        assert remedy in done.stdout + done.stderr
        assert "[other_user]" in done.stdout + done.stderr
        assert list(cache.glob("*.mp3")) == []
        assert tree_digest(database.parent) == before
        found = call("check", *places, user=SERVICE, state=state).stdout
        assert remedy in found
        assert "--run-as" not in found
        done = call("run", *places, "--allow-other-user", user=SERVICE, state=state)
        assert "other_user" not in done.stdout + done.stderr


def test_a_database_in_the_folder_of_a_group_is_cleaned_and_check_warns(open_path: Path) -> None:
    database = open_path / "data" / "requests.db"
    make_requests(database)
    give(SERVICE, database.parent)
    os.chown(database.parent, SERVICE, OTHER)
    database.parent.chmod(0o2775)
    places = ("--requests-db", database)
    done = call("run", *places, user=SERVICE, state=open_path / "state")
    assert done.returncode == 0, done.stdout + done.stderr
    found = call("check", *places, user=SERVICE, state=open_path / "state").stdout
    assert f"warning  requests.folder: group {OTHER} can write to" in found


def test_a_cache_below_a_folder_where_it_can_be_exchanged_is_refused(open_path: Path) -> None:
    (open_path / "shared").mkdir()
    cache = _cache(open_path / "shared" / "cache", 0)
    (open_path / "shared").chmod(0o777)
    before = tree_digest(open_path)
    done = call("run", "--cache-dir", cache, state=open_path / "state")
    assert done.returncode == 78, done.stdout + done.stderr
    assert tree_digest(open_path) == before


@pytest.mark.parametrize("wrong", ["", "[cache]\nttl_days = 'x'\n"], ids=["whole", "broken"])
def test_a_configuration_of_another_user_makes_root_write_and_send_nothing(
    open_path: Path, wrong: str
) -> None:
    """Nor where the run is refused for it: history, metrics page and alerts are settings too."""
    roots, config = open_path / "roots", open_path / "config.toml"
    roots.mkdir()
    config.write_text(
        f'{wrong}[cleanup]\nstate_dir = "{roots / "state"}"\n[metrics]\n'
        f'textfile = "{roots / "x.prom"}"\n[alerts]\nping_url = "http://127.0.0.1:9/x"\n'
    )
    os.chown(config, SERVICE, SERVICE)
    own = {"STATE_DIRECTORY": str(open_path / "own"), "PATH": os.environ["PATH"]}
    done = forked.run("-c", config, "run", env=own, cwd=Path("/"), user=0)
    assert done.returncode == 78, done.stdout + done.stderr
    assert "ping" not in done.stdout + done.stderr
    assert list(roots.iterdir()) == []
    assert (open_path / "own" / FILE_NAME).exists()


def test_a_configuration_of_one_user_makes_root_nobody_else(open_path: Path) -> None:
    cache, config = _cache(open_path / "cache", OTHER), open_path / "config.toml"
    places = f'[cache]\ndir = "{cache}"\n[cleanup]\nuser = '
    config.write_text(f'{places}"{OTHER}"\n')
    os.chown(config, SERVICE, SERVICE)
    before = tree_digest(cache)
    done = call("-c", config, "run", state=open_path / "state")
    assert done.returncode == 78, done.stdout + done.stderr
    assert f"it belongs to uid {SERVICE}" in done.stderr
    assert tree_digest(cache) == before
    for owner in (0, OTHER):  # root's, and that user's own
        os.chown(config, owner, owner)
        done = call("-c", config, "run", state=open_path / "state")
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_folder_is_swapped_for_a_link_meanwhile(open_path: Path) -> None:
    """A directory without an index: what is below the link would look as expired as the rest."""
    audio, home = open_path / "others", open_path / "service"
    audio.mkdir()
    (audio / "song.mp3").write_bytes(b"x" * 100)
    os.utime(audio / "song.mp3", (0, 1e9))
    (home / "cache").mkdir(parents=True)
    (home / "link").symlink_to(audio)
    give(SERVICE, home)
    config = open_path / "config.toml"
    config.write_text(f'[cache]\ndir = "{home / "cache"}"\nindex = "none"\n')
    with swapping(home / "cache", home / "link"):
        for _ in range(3):
            done = call("-c", config, "run", state=open_path / "state")
            assert done.returncode == 78, done.stdout + done.stderr
    assert (audio / "song.mp3").exists()


@pytest.mark.parametrize("command", [("config", "init", "--force"), ("demo",)])
def test_nothing_is_written_through_the_link_of_another(
    open_path: Path, command: tuple[str, ...]
) -> None:
    victim = open_path / "victim"
    if command == ("demo",):
        victim.mkdir()
    else:
        victim.write_text("precious")
    shared = open_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "place").symlink_to(victim)
    os.chown(shared / "place", SERVICE, SERVICE, follow_symlinks=False)
    before = tree_digest(open_path)
    done = call(*command, shared / "place", state=open_path / "state")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "is not trusted" in done.stderr
    assert tree_digest(open_path) == before


def test_a_folder_that_is_made_for_a_user_is_no_other(open_path: Path) -> None:
    home, victim = open_path / "service", open_path / "victim"
    home.mkdir()
    victim.mkdir()
    (home / "link").symlink_to(victim)
    give(SERVICE, home)
    with swapping(home / "folder", home / "link"):
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            with suppress(OSError):
                make_folder(home / "folder", (SERVICE, SERVICE))
    assert victim.stat().st_uid == 0


def test_no_folder_is_made_behind_a_link_of_a_user(open_path: Path) -> None:
    home, victim = open_path / "service", open_path / "victim"
    home.mkdir()
    victim.mkdir()
    (home / "upper").symlink_to(victim)
    give(SERVICE, home)
    with pytest.raises(NotADirectoryError):
        make_folder(home / "upper" / "folder", (SERVICE, SERVICE))
    assert not list(victim.iterdir())
    (open_path / "mine").symlink_to(home / "upper")  # nor where root's own link leads to it
    with pytest.raises(NotADirectoryError):
        make_folder(open_path / "mine" / "folder", (SERVICE, SERVICE))
    assert not list(victim.iterdir())
    (open_path / "mine").unlink()
    (open_path / "mine").symlink_to("victim")  # root's own link leads on
    make_folder(open_path / "mine" / "folder", (SERVICE, SERVICE))
    assert (victim / "folder").stat().st_uid == SERVICE
    (open_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        make_folder(open_path / "loop" / "folder")


@pytest.mark.parametrize("ending", ["-journal", "-wal", "-shm"])
def test_a_second_name_of_roots_file_is_not_given_away(open_path: Path, ending: str) -> None:
    """SQLite, as root, gives what lies beside a database to its owner, a reader's too."""
    state, victim = open_path / "state", open_path / "victim"
    database = open_path / "service" / "requests.db"
    make_requests(database)
    call("run", "-q", "--requests-db", database, state=state)
    for file in (state / FILE_NAME, database):
        if ending != "-journal":
            _leave_in_wal_mode(file)
    give(SERVICE, state, database.parent)
    victim.write_bytes(b"precious" * 5_000)
    for file in (state / FILE_NAME, database):
        file.with_name(file.name + ending).unlink(missing_ok=True)
        file.with_name(file.name + ending).hardlink_to(victim)
    done = call("history", state=state)
    assert "remove it" in done.stderr, done.stdout + done.stderr
    done = call("config", "init", "--requests-db", database, state=state)
    assert "this is a file of root" in done.stderr, done.stdout + done.stderr
    assert (victim.stat().st_uid, victim.read_bytes()) == (0, b"precious" * 5_000)


def _leave_in_wal_mode(file: Path) -> None:
    """As a process leaves it that is killed: its last change is in the ``-wal`` alone."""
    wal = file.with_name(f"{file.name}-wal")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE more (id)")
        connection.commit()
        kept = file.read_bytes(), wal.read_bytes()
    file.write_bytes(kept[0])
    wal.write_bytes(kept[1])


def test_root_notifies_nobody_whom_another_user_names(open_path: Path) -> None:
    config = open_path / "config.toml"
    alerts = '[alerts]\nping_url = "http://127.0.0.1:9/x"\nurls = ["json://127.0.0.1:9"]\n'
    config.write_text(alerts)
    trial, unit = ("--test",), ("--unit", "narration-cleanup.service")
    for owner, code in ((SERVICE, 78), (0, 1)):
        os.chown(config, owner, owner)
        for how in (trial, unit):
            done = call("-c", config, "notify", *how, state=open_path / "state")
            assert done.returncode == code, done.stdout + done.stderr
            assert ("root reads its settings from no such file" in done.stderr) is (code == 78)


def test_a_proposal_names_the_user_that_a_run_of_root_becomes(open_path: Path) -> None:
    cache = _cache(open_path / "service", SERVICE)
    make_cache(cache, entries=[OLD, EntrySpec(age=timedelta(hours=1))])
    database = cache / "requests.db"
    make_requests(database)
    give(SERVICE, cache)
    file, state = open_path / "proposed.toml", open_path / "state"
    places = ("--from", cache, "--requests-db", database)
    call("config", "init", *places, file, state=state)
    assert f'user = "{SERVICE}"' in file.read_text()
    done = call("-c", file, "dry-run", state=state)
    assert done.returncode == 0, done.stdout + done.stderr
    give(OTHER, database)
    done = call("config", "init", "--force", *places, file, state=state)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "user =" not in file.read_text()
    assert "set cleanup.user" in done.stdout
    give(0, cache, database)
    call("config", "init", "--force", *places, file, state=state)
    assert "user =" not in file.read_text()
