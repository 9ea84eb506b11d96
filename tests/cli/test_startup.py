"""What a start pays for: the modules that a command imports."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.samples import make_sample

CODE = """
import sys
sys.argv = ["narration-cleanup", *sys.argv[1:]]
from narration_cleanup.cli.app import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def imported_by(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=False
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("command", ["stats", "dry-run", "run"])
def test_a_command_imports_only_what_it_needs(command: str, tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    places = ["--cache-dir", str(sample.cache.directory)]
    imported = imported_by(command, "--json", *places)

    assert f"narration_cleanup.cli.{'stats' if command == 'stats' else 'run'}" in imported
    unneeded = {"rich", "prometheus_client", "apprise", "psycopg", "obstore", "asyncio"}
    others = {"demo", "systemd", "config", "history", "schema", "notify", "check"}
    assert not imported & unneeded
    assert not imported & {f"narration_cleanup.cli.{name}" for name in others}


@pytest.mark.parametrize("command", ["stats", "dry-run"])
def test_on_an_empty_cache_a_look_imports_few_of_our_own_modules(
    command: str, tmp_path: Path
) -> None:
    (tmp_path / "cache_index.json").write_text("{}")
    imported = imported_by(command, "--json", "--cache-dir", str(tmp_path))
    own = {name for name in imported if name.split(".")[0] == "narration_cleanup"}
    assert "narration_cleanup.stores.cache.local.indexed" in own
    assert len(own) <= 70


@pytest.mark.parametrize("command", ["stats", "run"])
def test_neither_defaults_nor_texts_are_converted(command: str, tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    (configuration := tmp_path / "config.toml").touch()
    places = ["--cache-dir", str(sample.cache.directory), f"--requests-db={sample.database}"]
    options = ["--json", "--ttl-days", "8", *places]
    assert "pydantic" not in imported_by("-c", str(configuration), command, *options)


@pytest.mark.parametrize(
    "words",
    [
        ["config", "show"],
        ["config", "validate"],
        ["systemd", "status"],
        ["history", "show", "last"],
        ["explain", "narration.mp3"],
        ["schema", "run"],
        ["check"],
        ["--help"],
    ],
    ids=" ".join,
)
def test_no_other_command_converts_what_needs_no_check(words: list[str]) -> None:
    assert "pydantic" not in imported_by(*words)


def test_what_is_no_text_is_converted_and_checked(tmp_path: Path) -> None:
    places = ["--cache-dir", str(tmp_path)]
    assert "pydantic" in imported_by("run", "--log-format", "json", *places)


def test_an_unknown_command_is_told_which_was_meant() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "narration_cleanup", "stat"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Did you mean 'stats'?" in done.stderr
