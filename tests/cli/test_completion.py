"""What completion offers, asked for as the shells' scripts ask; the shells themselves are tried
with the package."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from narration_cleanup.cli.schema import schema_names
from narration_cleanup.report.history import FILE_NAME
from tests import forked
from tests.report.history.test_store import Told, run_once
from tests.results import NOW
from tests.samples import VOICE_STYLES, EntrySpec, make_cache, make_sample


def offered(line: str, config: Path | None = None) -> list[str]:
    """The words that a shell is offered for a line typed so far."""
    named = {} if config is None else {"NARRATION_CLEANUP_CONFIG": str(config)}
    done = forked.run(
        env={
            **os.environ,
            **named,
            "_NARRATION_CLEANUP_COMPLETE": "complete_fish",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            "_TYPER_COMPLETE_ARGS": line,
        },
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line.partition("\t")[0] for line in done.stdout.splitlines() if line]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with a history of three runs."""
    from narration_cleanup.report.history.store import open_history

    history = open_history(tmp_path, warn=Told(), at=NOW)
    assert history is not None
    for hours in (3, 2, 1):
        run_once(history, NOW - hours * 3_600)
    history.close()
    file = tmp_path / "config.toml"
    file.write_text(f'[cleanup]\nstate_dir = "{tmp_path}"\n')
    return file


def test_commands_and_options_are_offered() -> None:
    assert {"run", "dry-run", "stats", "history"} <= set(offered("narration-cleanup "))
    assert offered("narration-cleanup hist") == ["history"]
    assert offered("narration-cleanup run --log-format ") == ["text", "json"]


def test_the_numbers_of_runs_are_offered_newest_first(config: Path) -> None:
    assert offered("narration-cleanup history show ", config) == ["3", "2", "1"]
    assert offered("narration-cleanup history show 2", config) == ["2"]


def test_a_configuration_named_on_the_line_counts(config: Path) -> None:
    assert offered(f"narration-cleanup -c {config} history show ") == ["3", "2", "1"]


def test_the_names_of_schemas_are_offered() -> None:
    assert offered("narration-cleanup schema ") == schema_names()


@pytest.mark.parametrize("damage", ["no history", "no database", "bad settings", "no settings"])
def test_what_goes_wrong_offers_nothing_and_says_nothing(config: Path, damage: str) -> None:
    history = config.with_name(FILE_NAME)
    if damage == "no history":
        history.unlink()
    elif damage == "no database":
        history.write_bytes(b"not a database, and longer than one's header has to be" * 4)
    elif damage == "bad settings":
        config.write_text("[cleanup\n")
    else:
        config.unlink()
    kept = history.read_bytes() if history.exists() else None
    assert offered("narration-cleanup history show ", config) == []
    assert (history.read_bytes() if history.exists() else None) == kept


def test_the_voice_styles_in_the_cache_are_offered(tmp_path: Path) -> None:
    sample = make_sample(tmp_path / "service")
    file = tmp_path / "config.toml"
    file.write_text(f'[cache]\ndir = "{sample.cache.directory}"\n')
    assert offered("narration-cleanup stats --voice-style ", file) == sorted(VOICE_STYLES)
    assert offered("narration-cleanup stats --voice-style eer", file) == ["eerie_narrator"]
    by_flag = f"narration-cleanup stats --cache-dir {sample.cache.directory} --voice-style d"
    assert offered(by_flag) == ["demonic_growl"]


def test_where_there_is_no_cache_no_voice_style_is_offered(tmp_path: Path) -> None:
    assert offered(f"narration-cleanup stats --cache-dir {tmp_path} --voice-style ") == []


def test_a_voice_style_that_a_shell_would_run_is_not_offered(tmp_path: Path) -> None:
    """A shell puts what is offered into the line as it is, and the index is the service's."""
    plain = ["calm-1.5", "x@y:z"]
    bad = ["$(touch owned)", "`id`", "a;b", "a b", "a\nb", "~root", "a'b", "{a,b}", "*", "!1"]
    make_cache(
        tmp_path / "cache",
        entries=[EntrySpec(age=timedelta(days=1), voice_style=name) for name in plain + bad],
    )
    config = tmp_path / "config.toml"
    config.write_text(f'[cache]\ndir = "{tmp_path / "cache"}"\n')
    assert offered("narration-cleanup stats --voice-style ", config) == plain
