"""What the command line says of a call that makes no sense."""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from typer import Context
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from narration_cleanup.cli.app import app
from narration_cleanup.settings import SETTINGS
from tests import forked


def tool(*arguments: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    own = {"HOME": str(home), "NARRATION_CLEANUP_CONFIG": os.devnull}
    return forked.run(*arguments, env={**os.environ, **own, **variables})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rum"], "No such command 'rum'. Did you mean 'run'?"),
        (["run", "--ttl", "3"], "No such option: --ttl (Possible options: --ttl-days)"),
        (["run", "--log-format", "xml"], "'xml' is not one of 'text', 'json'"),
        (["history", "show"], "Missing argument 'ID'"),
        (["schema", "nothing"], "there are check, config, explain, history, run, stats"),
        (["notify"], "give either --unit NAME or --test"),
    ],
)
def test_a_usage_error_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    done = tool(*arguments, home=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("ERROR - ")
    assert said in line
    assert line.endswith(" --help shows what there is [usage]")


def test_the_configuration_file_behind_the_command_is_told_where_to_stand(tmp_path: Path) -> None:
    done = tool("run", "-c", "c.toml", home=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "ERROR - No such option: -c; put it before the command: narration-cleanup -c ... [usage]\n"
    )


@pytest.mark.parametrize(
    "command",
    [["run"], ["dry-run"], ["stats"], ["check"], ["config", "validate"], ["systemd", "install"]],
    ids=" ".join,
)
def test_what_to_set_is_told_by_names_that_the_command_has(
    command: list[str], tmp_path: Path
) -> None:
    done = tool(*command, home=tmp_path, COLUMNS="300")
    assert done.returncode in (1, 78)
    (line,) = (
        each for each in (done.stderr + done.stdout).splitlines() if "Nothing configured" in each
    )
    flags = set(re.findall(r"--[a-z-]+", line))
    options = set(re.findall(r"--[a-z-]+", tool(*command, "--help", home=tmp_path).stdout))
    assert flags <= options
    assert ("--cache-dir" in flags) == (command[0] in ("run", "dry-run", "stats"))
    if command != ["check"]:  # its remedy says so, in the next line
        assert "set cache.dir (" in line
        assert "NARRATION_REQUESTS_DB)" in line


@pytest.mark.parametrize("rich", ["0", "1"])
@pytest.mark.parametrize("arguments", [[], ["config"]])
def test_a_group_alone_shows_its_help_and_no_error(
    arguments: list[str], rich: str, tmp_path: Path
) -> None:
    done = tool(*arguments, home=tmp_path, TYPER_USE_RICH=rich)
    assert done.returncode == 2
    assert "Usage: " in done.stdout + done.stderr
    assert "ERROR" not in done.stdout + done.stderr


@pytest.mark.parametrize("columns", ["80", "60"])
@pytest.mark.parametrize("command", ["run", "dry-run", "stats"])
def test_the_help_shows_every_variable_whole(command: str, columns: str, tmp_path: Path) -> None:
    done = tool(command, "--help", home=tmp_path, COLUMNS=columns)
    assert done.returncode == 0
    assert "…" not in done.stdout
    assert "bool" not in done.stdout.lower()  # a flag takes no value
    said = "".join(done.stdout.replace("│", " ").split())
    assert "Default:1.Variable:NARRATION_REQUESTS_ABANDONED_TIMEOUT_HOURS" in said
    assert max(map(len, done.stdout.splitlines())) <= int(columns)
    if columns == "80":
        assert "NARRATION_REQUESTS_ABANDONED_TIMEOUT_HOURS" in done.stdout
        assert "╭─ Rules " in done.stdout


@cache
def options_of(command: str) -> set[str]:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    found = group.get_command(Context(group), command)
    assert found is not None
    return {name for parameter in found.params for name in parameter.opts if name[:2] == "--"}


def test_a_dry_run_takes_what_a_run_takes() -> None:
    """Each writes its options down for itself, since Typer reads them from the function."""
    assert options_of("run") - options_of("dry-run") == {"--ignore-clock"}
    of_the_list = {"--voice-style", "--reason", "--sort", "--limit"}
    assert options_of("dry-run") - options_of("run") == of_the_list


WITHOUT_A_WRONG_VALUE = {
    "requests.db",
    "requests.allow_other_user",
    "cache.enforce_max_size",
    "cleanup.user",
}


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        (command, entry.flag)
        for command in ("run", "dry-run", "stats")
        for entry in SETTINGS
        if entry.flag in options_of(command) and not entry.kind.is_path
        if entry.name not in WITHOUT_A_WRONG_VALUE
    ],
)
def test_each_flag_is_that_of_its_setting(command: str, flag: str) -> None:
    done = CliRunner().invoke(app, [command, "--json", flag, "canary"])
    assert f'flag {flag} is \\"canary\\"' in done.stdout
