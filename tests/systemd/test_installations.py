"""Installations that are not the plain one: another manager, several caches, odd places."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.samples import EntrySpec, make_cache, make_requests
from tests.systemd.container import Container
from tests.systemd.service import CACHE, CONFIG, DATABASE, Service

pytestmark = pytest.mark.systemd


def make_narration(machine: Container, home: str, owner: str) -> None:
    """A cache with one expired and one young entry, and a database, in `home`."""
    now = datetime.now(UTC)
    ages = [EntrySpec(timedelta(days=9)), EntrySpec(timedelta(days=1))]
    cache = machine.path(f"{home}/cache")
    make_cache(cache, now=now, entries=ages, working_directory=cache)
    make_requests(machine.path(f"{home}/requests.db"), now=now, wal=True)
    machine.run("chown", "-R", f"{owner}:", home)


def audio(machine: Container, home: str) -> int:
    return len(list(machine.path(f"{home}/cache").glob("*.mp3")))


def configuration(home: str) -> str:
    return f'cache.dir = "{home}/cache"\nrequests.db = "{home}/requests.db"\n'


@pytest.fixture
def own_manager(machine: Container) -> Iterator[tuple[str, ...]]:
    """A user `tess` without root whose own systemd runs; how to run a command as she would."""
    machine.run("useradd", "--create-home", "tess")
    uid = machine.run("id", "--user", "tess").stdout.strip()
    machine.run("loginctl", "enable-linger", "tess")
    machine.run("systemctl", "start", f"user@{uid}.service")
    yield ("env", f"XDG_RUNTIME_DIR=/run/user/{uid}", "HOME=/home/tess")
    machine.run("loginctl", "disable-linger", "tess")
    machine.run("systemctl", "stop", f"user@{uid}.service")
    machine.run("userdel", "--remove", "tess", check=False)


def test_a_user_without_root_in_their_own_manager(
    machine: Container, own_manager: tuple[str, ...]
) -> None:
    home = "/home/tess/narration"
    make_narration(machine, home, "tess")
    machine.write("/home/tess/.config/narration-cleanup/config.toml", configuration(home))
    machine.run("chown", "-R", "tess:", "/home/tess/.config")

    def as_tess(*command: str) -> str:
        return machine.run(*own_manager, *command, user="tess").stdout

    as_tess("narration-cleanup", "systemd", "install", "--user")
    as_tess("systemctl", "--user", "start", "narration-cleanup.service")

    assert audio(machine, home) == 1
    status = json.loads(as_tess("narration-cleanup", "systemd", "status", "--user", "--json"))
    assert (status["active"], status["last_result"], status["last_exit"]) == (True, "success", 0)
    assert status["next_run"] is not None
    runs = json.loads(as_tess("narration-cleanup", "history", "--json"))["runs"]
    assert [run["outcome"] for run in runs] == ["success"]
    unit = "/home/tess/.config/systemd/user/narration-cleanup.service"
    assert machine.path(unit).exists()
    as_tess("narration-cleanup", "systemd", "uninstall", "--user")
    assert not machine.path(unit).exists()


@pytest.mark.parametrize(
    "home",
    ["/srv/voices", "/home/nar ration:100% x/voices", '/var/lib/odd "$HOME" back\\slash;#'],
    ids=["srv", "in a home", "quotes"],
)
def test_one_of_several_caches_in_any_place(
    machine: Container, service: Service, home: str
) -> None:
    machine.run("mkdir", "--parents", home)
    make_narration(machine, home, "narration")
    config = "".join(
        f"{key} = {json.dumps(place)}\n"
        for key, place in (("cache.dir", f"{home}/cache"), ("requests.db", f"{home}/requests.db"))
    )
    machine.write(
        "/etc/narration-cleanup/odd.toml",
        f'{config}cleanup.interval_hours = 5\nmetrics.textfile = "{service_metrics(home)}"\n',
    )
    machine.run("narration-cleanup", "systemd", "install", "--instance", "odd")

    machine.run("systemctl", "start", "narration-cleanup@odd.service")

    assert audio(machine, home) == 1
    assert service.audio() == service.expired | service.kept  # the other cache is another's
    assert machine.path("/var/lib/narration-cleanup/odd").is_dir()
    said = machine.run("narration-cleanup", "systemd", "status", "--instance", "odd", "--json")
    status = json.loads(said.stdout)
    assert (status["last_result"], status["last_exit"]) == ("success", 0)
    in_five_hours = datetime.now(UTC) + timedelta(hours=5, minutes=31)
    assert datetime.now(UTC) < datetime.fromisoformat(status["next_run"]) < in_five_hours
    machine.run("narration-cleanup", "systemd", "uninstall", "--instance", "odd")
    machine.run("rm", "-rf", home)


def service_metrics(home: str) -> str:
    return f"/var/lib/metrics-{len(home)}/narration.prom"


def test_a_cache_that_is_a_link_elsewhere(machine: Container, service: Service) -> None:
    machine.run("mv", CACHE, "/srv/real-cache")
    machine.run("ln", "-s", "/srv/real-cache", CACHE)
    machine.run("narration-cleanup", "systemd", "install")
    machine.run("systemctl", "start", "narration-cleanup.service", check=False)
    left = {path.name for path in machine.path("/srv/real-cache").glob("*.mp3")}
    machine.run("rm", "-rf", "/srv/real-cache")
    assert left == service.kept


def test_an_index_of_another_group_keeps_it(machine: Container, service: Service) -> None:
    """A service that runs with a `Group=` of its own leaves such files."""
    index = machine.path(f"{CACHE}/cache_index.json")
    machine.run("chgrp", "-R", "audio", CACHE)
    group = index.stat().st_gid
    machine.run("narration-cleanup", "systemd", "install")
    machine.run("systemctl", "start", "narration-cleanup.service")
    assert service.audio() == service.indexed() == service.kept
    assert index.stat().st_gid == group != 0
    assert index.stat().st_uid == index.parent.stat().st_uid


def test_a_program_in_somebodys_home(machine: Container, service: Service) -> None:
    """As pipx has it: a closed home, and in it a virtual environment and a link to its program.
    Of that home, the environment alone is seen by the unit."""
    place, link = "/home/dev/.local/share/venv", "/home/dev/.local/bin/narration-cleanup"
    machine.run("python3", "-m", "venv", "--without-pip", place)
    machine.run(
        *("python3", "-m", "pip", "--python", f"{place}/bin/python", "install", "--quiet"),
        *("--no-index", "--find-links=/opt/wheels", "narration-cleanup"),
    )
    machine.run("mkdir", "/home/dev/.local/bin")
    machine.run("ln", "-s", f"{place}/bin/narration-cleanup", link)
    machine.run("chmod", "0700", "/home/dev")
    machine.run(link, "systemd", "install")
    unit = machine.path("/etc/systemd/system/narration-cleanup.service").read_text()
    assert f"ExecStart={place}/bin/narration-cleanup run" in unit
    assert f"BindReadOnlyPaths={place}\n" in unit
    machine.run("systemctl", "start", "narration-cleanup.service")
    assert service.audio() == service.kept
    machine.run("rm", "-rf", "/home/dev")


def test_a_database_server_is_reached_for_from_the_sandbox(
    machine: Container, service: Service
) -> None:
    """Nobody listens there: that it is told is the driver at work, and the network with it."""
    place = "postgresql://narration@127.0.0.1:1/requests?connect_timeout=1"
    machine.write(CONFIG, f'cache.dir = "{CACHE}"\nrequests.db = "{place}"\n')
    machine.run("narration-cleanup", "systemd", "install")
    cursor = machine.journal_cursor()
    machine.run("systemctl", "start", "narration-cleanup.service", check=False)
    lines = machine.wait_for(cursor, "Failed with result")
    assert any(line.startswith("ERROR - Requests: ") and "127.0.0.1" in line for line in lines)
    assert service.audio() == service.kept


def test_the_shipped_units_do_the_job_where_a_package_puts_everything(
    machine: Container, service: Service
) -> None:
    """Copied as they are, for the paths that they are made for."""
    shipped = Path(__file__).resolve().parents[2] / "systemd"
    for path in shipped.iterdir():
        machine.copy(path, f"/etc/systemd/system/{path.name}")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "narration-cleanup.service")
    assert service.audio() == service.kept
    make_narration(machine, "/var/lib/narration/two", "narration")
    machine.write("/etc/narration-cleanup/two.toml", configuration("/var/lib/narration/two"))
    machine.run("systemctl", "start", "narration-cleanup@two.service")
    assert audio(machine, "/var/lib/narration/two") == 1
    machine.run("sh", "-c", "rm /etc/systemd/system/narration-cleanup*")
    assert DATABASE.startswith("/var/lib/narration/")
