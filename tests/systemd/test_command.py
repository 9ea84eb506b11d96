"""The command, where it installs nothing: what it prints, and what it refuses."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from narration_cleanup.cli import systemd as command
from narration_cleanup.cli.systemd import systemd_app
from narration_cleanup.core.errors import CleanupError, ConfigError
from narration_cleanup.systemd import discover as facts_room
from narration_cleanup.systemd import install as install_room
from narration_cleanup.systemd import status
from narration_cleanup.systemd.install import check_user, remove, write_handed, write_units
from narration_cleanup.systemd.installation import Installation
from narration_cleanup.systemd.units import render

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a database, configured for the caller; nothing in the system's own folders."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "requests.db").touch()
    file = tmp_path / "config.toml"
    file.write_text(f'cache.dir = "{tmp_path}/cache"\nrequests.db = "{tmp_path}/requests.db"\n')
    monkeypatch.setenv("NARRATION_CLEANUP_CONFIG", str(file))
    monkeypatch.setattr(facts_room, "CREDENTIALS", tmp_path / "credentials")
    monkeypatch.setattr(status, "SYSTEM_UNITS", tmp_path / "units")
    return tmp_path


def run(*arguments: str) -> str:
    done = CliRunner().invoke(systemd_app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_print_shows_every_unit_and_writes_none(place: Path) -> None:
    before = sorted(path.name for path in place.rglob("*"))
    shown = run("install", "--print")
    headings = [line for line in shown.splitlines() if line.startswith(f"# {place}/units/")]
    assert headings == [
        f"# {place}/units/narration-cleanup.service",
        f"# {place}/units/narration-cleanup.timer",
        f"# {place}/units/narration-cleanup-notify@narration-cleanup.service",
    ]
    assert f"User={ME}\n" in shown
    assert f"BindPaths={place}\n" in shown
    assert sorted(path.name for path in place.rglob("*")) == before


def test_the_interval_has_one_source(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "OnCalendar=*-*-* 00/6:00:00\n" in run("install", "--print")
    with (place / "config.toml").open("a") as file:
        file.write("cleanup.interval_hours = 4\n")
    assert "OnCalendar=*-*-* 00/4:00:00\n" in run("install", "--print")
    monkeypatch.setenv("NARRATION_CLEANUP_INTERVAL_HOURS", "3")
    assert "OnCalendar=*-*-* 00/3:00:00\n" in run("install", "--print")
    shown = run("install", "--print", "--interval-hours", "7")
    assert "OnUnitActiveSec=7h\n" in shown
    assert "OnCalendar" not in shown
    # What judges a run as late must know the same interval.
    assert "Environment=NARRATION_CLEANUP_INTERVAL_HOURS=7\n" in shown


def test_cron_is_a_line_that_is_quiet(place: Path) -> None:
    comment, line = run("install", "--print", "cron").splitlines()
    assert comment.startswith("# ")
    assert line.startswith("17 */6 * * * ")
    assert line.endswith(" run --quiet")
    assert f"NARRATION_CLEANUP_CONFIG={place}/config.toml " in line


def test_cron_is_without_credentials_and_says_so(place: Path) -> None:
    (place / "credentials").mkdir()
    (place / "credentials/alerts.ping_url").write_text("https://x.example/canary")
    shown = run("install", "--print", "cron")
    assert "canary" not in shown
    assert "WARNING - alerts.ping_url in" in shown
    assert "put them into the configuration file" in shown


def test_cron_says_when_it_cannot_say_the_interval() -> None:
    comment, line = run("install", "--print", "cron", "--interval-hours", "5").splitlines()
    assert line.startswith("17 */4 * * * ")
    assert "every 5 hours, as nearly as cron can say it" in comment


def test_a_percent_sign_does_not_end_the_cron_line(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "100% x").mkdir()
    monkeypatch.setenv("NARRATION_CACHE_DIR", str(place / "100% x"))
    line = run("install", "--print", "cron").splitlines()[1]
    times, command_line = line[: len("17 */6 * * *")], line[len("17 */6 * * *") :]
    assert times == "17 */6 * * *"
    assert "%" not in command_line.replace("\\%", "")
    # What cron hands to the shell, with the program replaced by one that shows the variable.
    handed = command_line.replace("\\%", "%").partition(" NARRATION_CLEANUP_CONFIG")[0]
    shown = subprocess.run(
        ["/bin/sh", "-c", f"{handed} printenv NARRATION_CACHE_DIR"], capture_output=True, text=True
    )
    assert shown.stdout == f"{place}/100% x\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["install", "cron"], "install --print cron"),
        (
            ["install", "--print", "units", "--user", "--run-as", "x"],
            "--run-as is for system units",
        ),
        (["install", "--print", "crontab"], "crontab"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(systemd_app, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert message in done.output


def test_nothing_to_look_after_is_said(place: Path) -> None:
    (place / "config.toml").write_text("")
    with pytest.raises(ConfigError, match="Nothing configured"):
        run("install", "--print")


def test_a_path_that_no_unit_can_hold_is_said(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARRATION_CACHE_DIR", f"{place}/a\nExecStart=/bin/sh")
    with pytest.raises(ConfigError, match=r"a unit file cannot hold .*\\nExecStart"):
        run("install", "--print")
    with pytest.raises(ConfigError, match=r"a crontab cannot hold .*\\nExecStart"):
        run("install", "--print", "cron")


def test_a_unit_that_is_no_longer_wanted_goes_when_installing_again(place: Path) -> None:
    folder = place / "units"
    installation = Installation(program=("x",), user=ME, header=facts_room.HEADER)
    waited_for = replace(installation, notify_start=True, notify_success=True)
    write_units(waited_for, render(waited_for), folder)
    other = folder / "narration-cleanup-notify-start@other.service"
    other.write_text("somebody else's")
    assert len(list(folder.iterdir())) == 6
    write_units(installation, render(installation), folder)
    assert {path.name for path in folder.iterdir()} == {*render(installation), other.name}


def test_a_unit_is_on_the_disk_before_it_takes_the_place_of_another(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = place / "units"
    installation = Installation(program=("x",), user=ME, header=facts_room.HEADER)
    write_units(installation, render(installation), folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CleanupError, match="No space left"):
        write_units(installation, dict.fromkeys(render(installation), "new"), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_without_systemd_nothing_is_written(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "_RUNNING", place / "not there")
    for arguments in (["install"], ["uninstall"]):
        with pytest.raises(CleanupError, match="there is no systemd on this machine"):
            run(*arguments)
    assert not (place / "units").exists()
    done = CliRunner().invoke(systemd_app, ["status"])
    assert done.exit_code == 1
    assert "narration-cleanup systemd install" in done.output
    assert CliRunner().invoke(systemd_app, ["status", "--json"]).output == (
        '{\n  "schema_version": 1,\n  "installed": false\n}\n'
    )


def test_uninstall_says_what_is_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "is_running", lambda: True)
    monkeypatch.setattr(command, "remove", lambda *_: [place / "units" / "a.timer"])
    removed, kept = run("uninstall").splitlines()
    assert removed == f"Removed {place}/units/a.timer"
    assert kept == "Kept the configuration and the state folder with the history (config show)"


def test_a_missing_cache_is_said_before_anything_is_written(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "is_running", lambda: True)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    shutil.rmtree(place / "cache")
    with pytest.raises(ConfigError, match=r"cache\.dir .* is not a directory"):
        run("install")
    (place / "cache").mkdir()
    with pytest.raises(ConfigError, match="there is no such user here"):
        run("install", "--run-as", "nobody-of-this-name")
    assert not (place / "units").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")
def test_no_units_are_made_of_another_users_configuration(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "is_running", lambda: True)
    os.chown(place / "config.toml", 4711, 4711)
    with pytest.raises(ConfigError, match=r"belongs to uid 4711.*root reads its settings from no"):
        run("install")
    assert not (place / "units").exists()


def test_system_units_need_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "is_running", lambda: True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CleanupError, match="need root"):
        run("install")


def test_what_is_handed_over_is_for_root_alone_and_goes_with_the_units(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = place / "notify"
    monkeypatch.setattr(install_room, "handed_folder", lambda instance: folder)
    installation = Installation(
        program=("nc",), user=ME, handed=((folder / "alerts.urls", "json://one.example"),)
    )
    write_handed(installation)
    assert (folder / "alerts.urls").read_text() == "json://one.example"
    assert {path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())} == {0o700, 0o600}
    other = replace(installation, handed=((folder / "alerts.ping_url", "https://x.example"),))
    write_handed(other)
    assert [path.name for path in folder.iterdir()] == ["alerts.ping_url"]
    assert remove(other, place / "units") == []  # the units are gone; the secrets must be too
    assert not folder.exists()


def test_a_configuration_that_the_runs_could_not_read_is_said(place: Path) -> None:
    (other,) = [each for each in pwd.getpwall() if each.pw_name == "nobody"]
    if os.getuid() == other.pw_uid:
        pytest.skip("this is nobody")
    (place / "config.toml").chmod(0o600)
    installation = Installation(program=("nc",), user="nobody", config=place / "config.toml")
    with pytest.raises(ConfigError, match=r"cannot be read by nobody.* sudo chmod 0640 /"):
        check_user(installation)
    check_user(replace(installation, config=Path("/etc/passwd")))


def test_an_instance_without_a_configuration_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^--instance missing: there is no file /etc/"):
        run("install", "--instance", "missing")
