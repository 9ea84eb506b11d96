"""The text of the units: as shipped, and as made for one installation."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narration_cleanup.systemd.installation import Installation
from narration_cleanup.systemd.quote import word
from narration_cleanup.systemd.units import render
from tools.units import packaged

SHIPPED = Path(__file__).resolve().parents[2] / "systemd"
HERE = Installation(
    program=("/opt/tool/bin/narration-cleanup",),
    user="voice",
    data=(Path("/srv/voice/cache"), Path("/srv/voice"), Path("/var/lib/metrics")),
    code=(Path("/opt/tool"), Path("/home/dev/src")),
    config=Path("/etc/narration-cleanup/config.toml"),
)
needs_analyze = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed"
)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)


def score(unit: Path) -> float:
    said = analyze("security", "--offline=true", "--no-pager", str(unit)).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found is not None, said
    return float(found[1])


def lines(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def write(units: dict[str, str], folder: Path) -> list[Path]:
    for name, text in units.items():
        (folder / name).write_text(text)
    return sorted(folder.iterdir())


def test_the_shipped_files_are_what_is_rendered() -> None:
    assert {path.name: path.read_text() for path in SHIPPED.iterdir()} == packaged()


def test_these_units_are_shipped() -> None:
    assert sorted(packaged()) == [
        "narration-cleanup-notify@.service",
        "narration-cleanup.service",
        "narration-cleanup.timer",
        "narration-cleanup@.service",
        "narration-cleanup@.timer",
    ]


@needs_analyze
def test_systemd_has_nothing_to_say_of_the_shipped_units() -> None:
    done = analyze("verify", *map(str, sorted(SHIPPED.iterdir())))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_analyze
@pytest.mark.parametrize(
    "installation",
    [
        replace(HERE, program=("/usr/bin/env",)),
        replace(
            HERE,
            program=("/usr/bin/env",),
            instance="voices",
            notify_success=True,
            notify_start=True,
        ),
        replace(HERE, program=("/usr/bin/env",), network=True, interval_hours=7),
        replace(HERE, program=("/usr/bin/env", "a b%$\"'\\;#"), data=(Path("/srv/a b:c%d\\e"),)),
    ],
    ids=["plain", "instance", "network, 7 h", "odd names"],
)
def test_nor_of_those_made_from_facts(installation: Installation, tmp_path: Path) -> None:
    done = analyze("verify", *map(str, write(render(installation), tmp_path)))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_analyze
def test_systemd_does_object_to_a_misspelt_setting(tmp_path: Path) -> None:
    """The two tests above stand on this: its exit code is 0 also then."""
    units = {name: text.replace("LockPers", "LokPers") for name, text in packaged().items()}
    assert "LokPers" in analyze("verify", *map(str, write(units, tmp_path))).stderr


def test_no_service_can_take_the_machines_memory() -> None:
    services = [text for name, text in packaged().items() if name.endswith(".service")]
    assert all("\nMemoryMax=" in text for text in services)


@needs_analyze
def test_scores_of_the_sandboxes(tmp_path: Path) -> None:
    assert score(SHIPPED / "narration-cleanup.service") <= 0.5
    assert score(SHIPPED / "narration-cleanup@.service") <= 0.5
    assert score(SHIPPED / "narration-cleanup-notify@.service") <= 1.5
    write(render(HERE), tmp_path)
    assert score(tmp_path / "narration-cleanup.service") <= 0.5
    assert score(tmp_path / "narration-cleanup-notify@narration-cleanup.service") <= 1.5


def test_a_folder_within_another_is_bound_with_it() -> None:
    text = render(HERE)["narration-cleanup.service"]
    assert lines(text, "BindPaths") == ["/srv/voice", "/var/lib/metrics"]


def test_a_program_in_a_home_is_bound_back_and_the_rest_of_the_home_is_not() -> None:
    text = render(HERE)["narration-cleanup.service"]
    assert lines(text, "BindReadOnlyPaths") == ["/home/dev/src"]
    assert lines(text, "ProtectHome") == ["tmpfs"]
    elsewhere = replace(HERE, code=(Path("/opt/tool"),))
    text = render(elsewhere)["narration-cleanup.service"]
    assert lines(text, "BindReadOnlyPaths") == []
    assert lines(text, "ProtectHome") == ["yes"]


def test_the_network_is_given_where_the_work_needs_it_and_nothing_else() -> None:
    without = render(HERE)["narration-cleanup.service"].splitlines()
    with_it = render(replace(HERE, network=True))["narration-cleanup.service"].splitlines()
    assert set(without) - set(with_it) == {
        "PrivateNetwork=yes",
        "RestrictAddressFamilies=none",
        "IPAddressDeny=any",
    }
    added = {line for line in set(with_it) - set(without) if not line.startswith("#")}
    assert added == {
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        "Wants=network-online.target",
        "After=network-online.target",
    }


def test_secrets_of_the_alerts_reach_the_notify_unit_alone() -> None:
    installation = replace(
        HERE,
        credentials=(("requests.db", Path("/etc/narration-cleanup/credentials/requests.db")),),
        notify_credentials=(("alerts.urls", Path("/etc/narration-cleanup/credentials/a")),),
    )
    units = render(installation)
    run = lines(units["narration-cleanup.service"], "LoadCredential")
    notify = lines(units["narration-cleanup-notify@narration-cleanup.service"], "LoadCredential")
    assert run == ["requests.db:/etc/narration-cleanup/credentials/requests.db"]
    assert notify == ["alerts.urls:/etc/narration-cleanup/credentials/a"]


def test_the_notify_unit_has_no_sight_of_the_data() -> None:
    text = render(HERE)["narration-cleanup-notify@narration-cleanup.service"]
    assert lines(text, "InaccessiblePaths") == ["-/srv/voice"]
    assert lines(text, "TemporaryFileSystem") == ["/var:ro"]


def test_a_folder_that_holds_the_program_too_cannot_be_hidden_from_it() -> None:
    together = replace(HERE, data=(Path("/opt"), Path("/home/dev"), Path("/srv/voice")))
    text = render(together)["narration-cleanup-notify@narration-cleanup.service"]
    assert lines(text, "InaccessiblePaths") == ["-/srv/voice"]
    assert lines(text, "ProtectHome") == ["tmpfs"]


def test_success_is_told_only_where_somebody_waits_for_it() -> None:
    assert lines(render(HERE)["narration-cleanup.service"], "OnSuccess") == []
    units = render(replace(HERE, notify_success=True))
    told = units["narration-cleanup.service"]
    assert lines(told, "OnFailure") == ["narration-cleanup-notify@%N.service"]
    # Not the same unit: systemd would not tell it how the run has ended.
    assert lines(told, "OnSuccess") == ["narration-cleanup-notify-success@%N.service"]
    assert (
        units["narration-cleanup-notify-success@narration-cleanup.service"]
        == units["narration-cleanup-notify@narration-cleanup.service"]
    )


def test_the_start_is_told_only_to_a_dead_mans_switch() -> None:
    assert lines(render(HERE)["narration-cleanup.service"], "Wants") == []
    units = render(replace(HERE, notify_start=True))
    (wanted,) = lines(units["narration-cleanup.service"], "Wants")
    assert wanted.replace("%N", "narration-cleanup") in units
    text = units["narration-cleanup-notify-start@narration-cleanup.service"]
    (command,) = lines(text, "ExecStart")
    assert command.endswith(" notify --start --unit %i.service")


def test_the_units_that_notify_can_read_a_configuration_of_the_services_group() -> None:
    units = render(replace(HERE, notify_start=True, readers="voice"))
    for name in ("notify", "notify-start"):
        text = units[f"narration-cleanup-{name}@narration-cleanup.service"]
        assert lines(text, "SupplementaryGroups") == ["systemd-journal voice"]


def test_in_the_users_own_manager_there_is_no_other_user_and_no_notify_unit() -> None:
    units = render(replace(HERE, user=None, state=None))
    assert sorted(units) == ["narration-cleanup.service", "narration-cleanup.timer"]
    text = units["narration-cleanup.service"]
    assert not lines(text, "User")
    assert not lines(text, "OnFailure")
    assert lines(text, "ReadWritePaths") == ["/srv/voice /var/lib/metrics"]


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_a_word_is_itself_again_when_systemd_has_read_it(text: str) -> None:
    """Read back by systemd's rules: quotes, backslash escapes, `%%` and (in commands) `$$`."""
    quoted = word(text, command=True)
    inner = quoted[1:-1] if quoted.startswith('"') else quoted
    plain = re.sub(r"\\(.)", r"\1", inner)
    assert plain.replace("%%", "%").replace("$$", "$") == text
    if not quoted.startswith('"'):
        assert not re.search(r"[ \"'\\;#]", text)


@pytest.mark.parametrize("text", ["a\nExecStart=/bin/sh", "a\x00", "a\x7f", "a\udcff"])
def test_a_word_cannot_bring_a_line_of_its_own(text: str) -> None:
    with pytest.raises(ValueError, match="a unit file cannot hold"):
        word(text)
