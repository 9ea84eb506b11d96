"""What the sandboxed run may not do itself is done by the unit that its end starts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.container import Container
from tests.systemd.service import CACHE, CONFIG, Service

pytestmark = pytest.mark.systemd

RUN = "narration-cleanup.service"
NOTIFY = "narration-cleanup-notify@narration-cleanup.service"
SUCCESS = "narration-cleanup-notify-success@narration-cleanup.service"
PORT = 8099
CREDENTIALS = "/etc/narration-cleanup/credentials"
PING = "/ping/canary-6f1c"


@pytest.fixture
def receiver(machine: Container, service: Service) -> Iterator[None]:
    """Somebody who listens; the addresses are credentials of root's."""
    machine.copy(Path(__file__).with_name("receiver.py"), "/opt/receiver.py")
    cursor = machine.journal_cursor()
    machine.run(
        *("systemd-run", "--quiet", "--description=test", "--unit=receiver"),
        *("/usr/bin/python3", "/opt/receiver.py", str(PORT)),
    )
    machine.wait_for(cursor, "LISTENING")
    machine.write(f"{CREDENTIALS}/alerts.ping_url", f"http://127.0.0.1:{PORT}{PING}\n")
    machine.write(f"{CREDENTIALS}/alerts.urls", f"json://127.0.0.1:{PORT}/message\n")
    machine.run("chmod", "-R", "go=", CREDENTIALS)
    yield
    machine.run("systemctl", "stop", "receiver", check=False)


def received(lines: list[str]) -> dict[str, str]:
    """What was sent, by path."""
    said = [line.partition(" ")[2] for line in lines if line.startswith("RECEIVED ")]
    return dict(json.loads(each) for each in said)


def test_a_failing_run_is_told_of_with_unit_result_and_last_lines(
    machine: Container, service: Service, receiver: None
) -> None:
    with machine.path(CONFIG).open("a") as config:
        config.write('alerts.on = "partial"\n')
    machine.run("narration-cleanup", "systemd", "install")
    (machine.path(CACHE) / "cache_index.json").write_text('{"torn')
    cursor = machine.journal_cursor()

    assert machine.run("systemctl", "start", RUN, check=False).returncode != 0

    lines = machine.wait_for(cursor, f"Finished {NOTIFY}")
    sent = received(lines)
    assert set(sent) == {f"{PING}/start", f"{PING}/fail", "/message"}
    message = json.loads(sent["/message"])
    assert message["type"] == "warning"
    assert message["title"] == f"{RUN} on narration: partial"
    assert "(exit code 3)" in message["message"]
    assert "the index of" in message["message"]
    assert "ERROR - " in message["message"]
    assert "the index of" in sent[f"{PING}/fail"]


def test_a_run_that_is_well_pings_and_sends_no_message(
    machine: Container, service: Service, receiver: None
) -> None:
    machine.run("narration-cleanup", "systemd", "install")
    cursor = machine.journal_cursor()
    machine.run("systemctl", "start", RUN)
    sent = received(machine.wait_for(cursor, f"Finished {SUCCESS}"))
    assert set(sent) == {f"{PING}/start", PING}, sent
    assert "Cleanup tasks completed successfully" in sent[PING]


def test_a_failure_and_its_end_are_told_of_once_each(
    machine: Container, service: Service, receiver: None
) -> None:
    """The notify unit reads from the history what the runs before came to."""
    machine.run("narration-cleanup", "systemd", "install")
    index = machine.path(CACHE) / "cache_index.json"
    whole = index.read_bytes()
    titles = []
    for content in (b'{"torn', b'{"torn', whole, whole):
        index.write_bytes(content)
        cursor = machine.journal_cursor()
        machine.run("systemctl", "start", RUN, check=content == whole)
        ended = f"Finished {SUCCESS if content == whole else NOTIFY}"
        sent = received(machine.wait_for(cursor, ended))
        titles.append(json.loads(sent["/message"])["title"] if "/message" in sent else None)
    begins = f"{RUN} on narration: needs attention (partial)"
    assert titles == [begins, None, f"{RUN} on narration: is well again (success)", None]


def test_a_run_that_could_not_even_start_is_told_of(
    machine: Container, service: Service, receiver: None
) -> None:
    machine.run("narration-cleanup", "systemd", "install")
    machine.run("mv", CACHE, f"{CACHE}.away")
    machine.run("rm", "-rf", "/var/lib/narration")
    cursor = machine.journal_cursor()
    assert machine.run("systemctl", "start", RUN, check=False).returncode != 0
    sent = received(machine.wait_for(cursor, f"Finished {NOTIFY}"))
    assert "226" in json.loads(sent["/message"])["message"]


def test_a_trial_of_the_alert_as_it_is_documented(
    machine: Container, service: Service, receiver: None
) -> None:
    """It fails before anything is touched; the next run reports that all is well."""
    document = (Path(__file__).parents[2] / "docs/monitoring.md").read_text()
    block = next(each for each in document.split("```") if "trial.conf" in each)
    commands = [line.replace("sudo ", "") for line in block.splitlines() if "sudo" in line]
    machine.run("narration-cleanup", "systemd", "install")
    before = sorted(machine.path(CACHE).iterdir())
    titles = []
    for part, ended in ((commands[:3], NOTIFY), (commands[3:], SUCCESS)):
        cursor = machine.journal_cursor()
        for command in part:
            machine.run("sh", "-c", command, check=ended == SUCCESS)
        sent = received(machine.wait_for(cursor, f"Finished {ended}"))
        titles.append(json.loads(sent["/message"])["title"])
        if ended == NOTIFY:
            assert sorted(machine.path(CACHE).iterdir()) == before
    assert titles[0].startswith(f"{RUN} on narration: needs attention (")
    assert titles[1] == f"{RUN} on narration: is well again (success)"


def test_addresses_are_in_no_unit_and_no_journal(
    machine: Container, service: Service, receiver: None
) -> None:
    shown = machine.run("narration-cleanup", "systemd", "install").stdout
    cursor = machine.journal_cursor()
    machine.run("systemctl", "stop", "receiver")  # what cannot be sent is said, without its place
    machine.run("systemctl", "start", RUN)
    lines = machine.wait_for(cursor, f"Failed to start {SUCCESS}")
    assert any("alerts.ping_url" in line for line in lines)
    units = "".join(
        path.read_text() for path in machine.path("/etc/systemd/system").glob("narration-*")
    )
    assert "LoadCredential=alerts.ping_url:" in units
    for text in (shown, units, "\n".join(lines)):
        assert "canary" not in text


def test_the_notify_unit_sees_neither_cache_nor_database(
    machine: Container, service: Service, receiver: None
) -> None:
    machine.run("narration-cleanup", "systemd", "install")
    looks = "import json, os, sys; print('SEEN', json.dumps(sorted(os.listdir(sys.argv[1]))))"
    machine.write("/opt/looks.py", looks)
    machine.drop_in(
        NOTIFY,
        "[Service]\nExecStart=\n"
        "ExecStart=/opt/narration-cleanup/bin/python /opt/looks.py /var\n"
        "ExecStart=/opt/narration-cleanup/bin/python /opt/looks.py /var/log\n"
        "ExecStart=/opt/narration-cleanup/bin/python /opt/looks.py /var/lib\n",
    )
    cursor = machine.journal_cursor()
    machine.run("systemctl", "start", NOTIFY)
    lines = machine.wait_for(cursor, f"Finished {NOTIFY}")
    seen = [json.loads(line.partition(" ")[2]) for line in lines if line.startswith("SEEN ")]
    assert len(seen) == 3
    assert seen[2] == ["narration-cleanup"]  # the history
    assert seen[1] in ([], ["journal"])
