"""`config show`, `config validate` and `config init`, as typed."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from narration_cleanup.cli.config import config_app
from narration_cleanup.core.errors import CleanupError, ConfigError
from narration_cleanup.settings import SETTINGS, load_settings
from narration_cleanup.settings.show import init_text, option_help

app = typer.Typer()
app.add_typer(config_app)


@app.callback()
def root(context: typer.Context, config: Path | None = None) -> None:
    """As the command line hands the configuration file down."""
    context.obj = config


@pytest.fixture(autouse=True)
def nothing_in_etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine happens to have in /etc is not part of the test."""
    monkeypatch.setattr("narration_cleanup.settings.sources.SYSTEM_FILE", tmp_path / "none.toml")


def run(*arguments: str | Path) -> tuple[str, str]:
    """What a command that ends well says on stdout and on stderr."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None:
        raise done.exception
    return done.stdout, done.stderr


def test_show_gives_every_value_with_its_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[cache]\nttl_days = 3")
    monkeypatch.setenv("NARRATION_REQUESTS_DB", "postgresql://u:c4n4ry@h/d")
    monkeypatch.setenv("NARRATION_CACHE_TTL", "1")
    out, err = run("--config", file, "config", "show")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == f"# Configuration file: {file}"
    assert f"ttl_days = 3 # file {file}" in lines
    assert 'db = "postgresql://u:***@h/d" # variable NARRATION_REQUESTS_DB' in lines
    assert "max_size_mb = 500 # default" in lines
    assert len([line for line in lines if " = " in line]) == len(SETTINGS)
    assert err.startswith("WARNING - variable NARRATION_CACHE_TTL is not a setting, did you mean")
    assert "c4n4ry" not in out + err


def test_show_as_json_is_one_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARRATION_CACHE_TTL_DAYS", "2.5")
    monkeypatch.setenv("NARRATION_CACHE_TTL", "1")
    monkeypatch.setenv("NARRATION_CLEANUP_STATE_DIR", str(tmp_path))
    out, err = run("config", "show", "--json")
    document = json.loads(out)
    assert err == ""
    assert (document["schema_version"], document["config_file"]) == (1, None)
    assert list(document["settings"]) == [setting.name for setting in SETTINGS]
    assert document["settings"]["cache.ttl_days"] == {
        "value": 2.5,
        "origin": "variable NARRATION_CACHE_TTL_DAYS",
        "variable": "NARRATION_CACHE_TTL_DAYS",
    }
    assert document["settings"]["cleanup.state_dir"]["value"] == str(tmp_path)
    assert document["settings"]["cache.dir"]["value"] is None
    assert document["settings"]["requests.statuses.queued"]["value"] == ["queued"]
    assert len(document["warnings"]) == 1


def test_validate_says_what_is_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARRATION_REQUESTS_DB", "postgresql://u:c4n4ry@h/d")
    out, _ = run("config", "validate")
    assert out == (
        "The configuration is valid: file none, cache not configured, "
        "requests postgresql://u:***@h/d\n"
    )


def test_validate_fails_with_one_line_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARRATION_CACHE_TTL_DAYS", "0")
    monkeypatch.setenv("NARRATION_ALERTS_ON", "no")
    with pytest.raises(ConfigError) as caught:
        run("config", "validate")
    assert len(caught.value.faults) == 2


def test_validate_fails_when_neither_half_is_configured() -> None:
    with pytest.raises(ConfigError, match="Nothing configured"):
        run("config", "validate")


def test_init_prints_the_template() -> None:
    assert run("config", "init") == (init_text(), "")


def test_init_writes_a_file_and_never_over_another(tmp_path: Path) -> None:
    file = tmp_path / "new" / "config.toml"
    out, _ = run("config", "init", file)
    assert out.startswith(f"Wrote {file}: ")
    assert file.read_text() == init_text()
    load_settings(flags={}, config_file=file, environ={"HOME": "/h"})

    file.write_text("mine")
    with pytest.raises(CleanupError, match="exists already: add --force") as caught:
        run("config", "init", file)
    assert caught.value.exit_code == 1
    assert file.read_text() == "mine"


def test_init_overwrites_when_told_and_keeps_mode_and_link(tmp_path: Path) -> None:
    file, link = tmp_path / "config.toml", tmp_path / "link.toml"
    file.write_text("mine")
    file.chmod(0o640)
    link.symlink_to(file)
    run("config", "init", link, "--force")
    assert link.is_symlink()
    assert file.read_text() == init_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml", "link.toml"]


def test_init_replaces_nothing_that_is_no_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(CleanupError, match=r"cannot write .*/pipe: .* no regular file"):
        run("config", "init", pipe, "--force")
    assert pipe.is_fifo()


def test_init_says_why_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CleanupError, match=r"cannot write .*: Not a directory"):
        run("config", "init", tmp_path / "file" / "config.toml")
    with pytest.raises(CleanupError, match=r"cannot write .*: (Is a directory|.* no regular file)"):
        run("config", "init", tmp_path, "--force")


@pytest.mark.parametrize("existing", [False, True])
def test_init_on_a_full_disk_leaves_what_was_there(tmp_path: Path, existing: bool) -> None:
    """The limit of a file's size stands for the disk; a file of no bytes would be in the way."""
    file = tmp_path / "config.toml"
    if existing:
        file.write_text("# mine\n")
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); "
        "from narration_cleanup.cli.app import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "config", "init", "--force", str(file)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == (["config.toml"] if existing else [])
    assert not existing or file.read_text() == "# mine\n"


def test_show_into_a_closed_pipe_is_no_failure() -> None:
    program = (
        "import os, sys; reading, writing = os.pipe(); os.close(reading); os.dup2(writing, 1); "
        "from narration_cleanup.cli.app import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "config", "show"], stderr=subprocess.PIPE, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_options_help_names_variable_and_default() -> None:
    assert option_help("cache.ttl_days") == (
        "Audio older than this many days is expired. Default: 7. Variable: NARRATION_CACHE_TTL_DAYS"
    )
    assert option_help("cache.dir").endswith(" Default: none. Variable: NARRATION_CACHE_DIR")
    assert " Default: off. " in option_help("cache.enforce_max_size")
