"""What a dry run lists where it is asked for a part: the plan stays whole, and that is said."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from typer.testing import CliRunner

from narration_cleanup.cli.app import app
from narration_cleanup.cli.run import _command_of
from narration_cleanup.report.documents import write_run
from narration_cleanup.report.run_text import show_run
from narration_cleanup.report.summary import Selection
from tests.report.test_human import everything


def listed(selection: Selection) -> list[str]:
    """The keys, files and ids of what is shown, in that order."""
    document = written(selection)
    found = document["actions"]
    assert document["shown_count"] == len(found)
    return [str(each.get("key", each.get("file", each.get("id")))) for each in found]


def written(selection: Selection) -> dict[str, Any]:
    stream = io.StringIO()
    write_run(everything(dry_run=True), None, stream, selection=selection)
    found: dict[str, Any] = json.loads(stream.getvalue())
    return found


def shown(selection: Selection, *, terminal: bool = False) -> str:
    stream = io.StringIO()
    show_run(
        everything(dry_run=True), None, stream, terminal=terminal, width=120, selection=selection
    )
    return stream.getvalue()


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        (Selection(reason="evicted"), ["k1"]),
        (Selection(reason="orphan"), ["o.mp3"]),
        (Selection(voice_style="noir"), ["k1", "k3"]),
        (Selection(voice_style="noir", reason="dangling"), ["k3"]),
        (Selection(voice_style="nobody"), []),
        (Selection(sort="size", limit=3), ["p.part", "o.mp3", "k1"]),
        (Selection(limit=0), []),
    ],
)
def test_what_is_asked_for_is_listed(selection: Selection, names: list[str]) -> None:
    assert listed(selection) == names


def test_the_oldest_first() -> None:
    ages = [each["age_seconds"] for each in written(Selection(sort="age", limit=20))["actions"]]
    assert len(ages) == 20
    assert ages == sorted(ages, reverse=True, key=lambda age: float(str(age)))
    assert max(ages, key=lambda age: float(str(age))) == ages[0]


def test_the_figures_are_those_of_the_whole_plan() -> None:
    whole, part = written(Selection()), written(Selection(reason="orphan"))
    assert "shown_count" not in whole
    assert [part[name] for name in ("cache", "requests", "outcome", "exit_code")] == [
        whole[name] for name in ("cache", "requests", "outcome", "exit_code")
    ]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_reader_is_told_that_the_rest_is_planned_too(terminal: bool) -> None:
    text = shown(Selection(sort="size", limit=12), terminal=terminal)
    assert "Showing 12 of 46 planned actions; a run does them all" in text
    assert "Would remove 36 (1 without audio) of 60 entries and 2 files" in text
    assert len(re.findall(r"^ *(remove|drop|cancel|delete) ", text, re.MULTILINE)) in (12, 0)
    assert "-v shows all" not in text
    assert "Showing" not in shown(Selection(), terminal=terminal)
    assert "noir/v2: its file is gone" in shown(Selection(reason="dangling"), terminal=terminal)


def test_the_command_that_does_it_lists_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "dry-run --ttl-days 3 --sort size --limit=20 --reason expired --voice-style noir -v"
    monkeypatch.setattr("sys.argv", ["narration-cleanup", *words.split()])
    assert _command_of(everything(dry_run=True)) == "narration-cleanup run --ttl-days 3"


@pytest.mark.parametrize(("option", "value"), [("--reason", "old"), ("--sort", "name")])
def test_what_there_is_none_of_is_named(option: str, value: str) -> None:
    done = CliRunner().invoke(app, ["dry-run", option, value])
    assert done.exit_code == 2
    assert f"{value} is none of " in done.stderr


def test_requests_that_are_left_out_by_a_voice_style_are_said_to_be() -> None:
    hidden = "not listed: --voice-style is about the cache alone"
    assert hidden in shown(Selection(voice_style="noir"))
    assert hidden not in shown(Selection(reason="evicted"))
