"""With a wrong configuration, whoever reads a JSON document finds out why, and so does a reader."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import jsonschema
import pytest
from typer.testing import CliRunner

from narration_cleanup.cli.app import app
from narration_cleanup.cli.schema import schema_text
from tests import forked
from tests.samples import EntrySpec, make_cache

ROOT = Path(__file__).resolve().parents[2]
UNKNOWN = "unknown setting cache.dri, did you mean cache.dir?"
WRONG = 'variable NARRATION_CACHE_TTL_DAYS is "soon", expected a number of days'

COMMANDS = [
    ("run --json", "run", 78),
    ("dry-run --json", "run", 78),
    ("stats --json", "stats", 78),
    ("history --json", "history", 78),
    ("history show 1 --json", "history", 78),
    ("config show --json", "config", 78),
    ("check --json", "check", 1),  # it goes on, and looks at the rest
]


def call(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return forked.run(*arguments, cwd=folder, env={**os.environ, **variables})


def valid(text: str, name: str) -> None:
    """One document, and no more than that, in the form that its schema gives it."""
    schema = json.loads(schema_text(name))
    kind = jsonschema.Draft202012Validator
    kind.check_schema(schema)
    kind(schema, format_checker=kind.FORMAT_CHECKER).validate(json.loads(text))


@pytest.mark.parametrize(
    ("command", "schema", "code"), [each for each in COMMANDS if each[1] != "history"]
)
def test_every_document_says_what_is_wrong(
    command: str, schema: str, code: int, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[cache]\ndri = "/x"\n')
    state = str(tmp_path / "state")
    named = {"NARRATION_CLEANUP_CONFIG": str(file), "NARRATION_CLEANUP_STATE_DIR": state}
    done = call(tmp_path, *command.split(), **named, NARRATION_CACHE_TTL_DAYS="soon")
    assert done.returncode == code
    valid(done.stdout, schema)
    messages = json.dumps(json.loads(done.stdout), ensure_ascii=False).replace('\\"', '"')
    assert UNKNOWN in messages
    assert WRONG in messages
    if code == 78:
        assert UNKNOWN in done.stderr
        assert WRONG in done.stderr


def test_the_history_is_shown_in_spite_of_faults_that_it_does_not_need(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[cache]\ndri = "/srv"\n')
    state = str(tmp_path / "state")
    named = {"NARRATION_CLEANUP_CONFIG": str(file), "NARRATION_CLEANUP_STATE_DIR": state}
    done = call(tmp_path, "history", "--json", **named, NARRATION_CACHE_TTL_DAYS="soon")
    assert done.returncode == 0
    valid(done.stdout, "history")
    assert UNKNOWN in done.stderr
    assert WRONG in done.stderr


@pytest.mark.parametrize(
    ("command", "code", "is_said"),
    [("run", 0, True), ("dry-run", 0, False), ("stats", 0, False), ("check", 0, True)],
)
def test_a_user_for_whom_no_state_can_be_kept(
    command: str, code: int, is_said: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody in the user database, and without a home: no folder for the history follows."""

    def nobody(_number: int) -> NoReturn:
        raise KeyError

    cache = make_cache(tmp_path / "cache", entries=[EntrySpec(age=timedelta(days=400))])
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", nobody)
    done = CliRunner().invoke(app, [command, "--json", "--cache-dir", str(cache.directory)])
    assert done.exit_code == code
    assert ("no $STATE_DIRECTORY and no home directory" in done.stdout) is is_said
    assert "/dev/null" not in done.stdout


def test_what_the_history_cannot_show_is_in_its_document(tmp_path: Path) -> None:
    state = tmp_path / "state"
    named = {"NARRATION_CLEANUP_STATE_DIR": str(state)}
    missing = call(tmp_path, "history", "show", "7", "--json", **named)
    assert missing.returncode == 1
    valid(missing.stdout, "history")
    assert [each["code"] for each in json.loads(missing.stdout)["problems"]] == ["no_such_run"]
    state.mkdir()
    (state / "history.db").write_bytes(b"damaged" * 1000)
    damaged = call(tmp_path, "history", "--json", **named)
    assert damaged.returncode == 1
    valid(damaged.stdout, "history")
    assert [each["code"] for each in json.loads(damaged.stdout)["problems"]] == [
        "history_unreadable"
    ]


def test_a_valid_configuration_has_no_problems(tmp_path: Path) -> None:
    done = call(tmp_path, "config", "show", "--json", NARRATION_ALERTS_URLS="json://canary@h")
    assert done.returncode == 0
    valid(done.stdout, "config")
    document = json.loads(done.stdout)
    assert document["problems"] == []
    assert document["settings"]["alerts.urls"]["value"] == ["***"]
    assert "canary" not in done.stdout
