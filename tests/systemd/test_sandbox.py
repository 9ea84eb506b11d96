"""The sandbox, from inside: the run's own job is possible, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.container import Container
from tests.systemd.service import CACHE, CONFIG, DATABASE, Service

pytestmark = pytest.mark.systemd

JOB = {
    "stage and replace in the cache",
    "write the database",
    "write the state",
    "write a temporary file",
}


# Open to everybody, so that only the sandbox can be what refuses.
OPEN = ["/etc/open", "/usr/open", "/opt/open", "/srv/open", "/var/lib/open", "/run/open"]
OPEN += ["/home/open", "/var/lib/narration-other"]
PROBE = ["/opt/probe.py", CACHE, "/var/lib/narration-cleanup", DATABASE, *OPEN]


@pytest.fixture
def probe(machine: Container, service: Service) -> Iterator[None]:
    """The unit as it is installed, but for its `ExecStart=`, which is the probe."""
    machine.run("mkdir", "-m", "0777", *OPEN)
    machine.copy(Path(__file__).with_name("probe.py"), "/opt/probe.py")
    machine.run("narration-cleanup", "systemd", "install")
    command = f"/opt/narration-cleanup/bin/python {' '.join(PROBE)}"
    machine.drop_in("narration-cleanup.service", f"[Service]\nExecStart=\nExecStart={command}\n")
    yield
    machine.run("rm", "-r", *OPEN)


def result(machine: Container, cursor: str) -> dict[str, str]:
    said = machine.wait_for(cursor, "PROBED {")[-1]
    found: dict[str, str] = json.loads(said.partition("PROBED ")[2])
    return found


def test_the_sandbox_allows_the_job_and_nothing_else(machine: Container, probe: None) -> None:
    cursor = machine.journal_cursor()
    machine.run("systemctl", "start", "narration-cleanup.service")
    inside = result(machine, cursor)
    assert {name for name, came in inside.items() if came == "done"} == JOB
    assert inside["execute a file of the cache"] == "EACCES"
    assert inside["open an internet socket"] == "EAFNOSUPPORT"
    assert inside["write /srv/open"] == "EROFS"


def test_a_database_elsewhere_opens_the_network_and_nothing_else(
    machine: Container, probe: None
) -> None:
    machine.write(CONFIG, f'cache.dir = "{CACHE}"\nrequests.db = "postgresql://me@db.example/x"\n')
    machine.run("narration-cleanup", "systemd", "install")
    cursor = machine.journal_cursor()
    machine.run("systemctl", "start", "narration-cleanup.service")
    inside = result(machine, cursor)
    sockets = {name for name in inside if name.endswith(" socket")}
    assert len(sockets) == 3
    allowed = {name for name, came in inside.items() if came == "done"}
    assert allowed == (JOB | sockets) - {"write the database"}


def test_without_the_sandbox_all_of_it_is_possible(machine: Container, probe: None) -> None:
    """The test above stands on this: it is the unit that refuses, and not the user's rights."""
    cursor = machine.journal_cursor()
    machine.run(
        *("systemd-run", "--quiet", "--description=test", "--wait", "--property=User=narration"),
        *("--property=StateDirectory=narration-cleanup", "/usr/bin/python3", *PROBE),
    )
    outside = result(machine, cursor)
    assert {name for name, came in outside.items() if came != "done"} == {
        "see the processes of others"  # /proc/1/fd and the like: a user's rights alone
    } - {name for name, came in outside.items() if came == "done"}
