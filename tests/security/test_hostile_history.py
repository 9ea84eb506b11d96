"""A history that a hostile user wrote: bounded, its schema not trusted, its texts escaped."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from narration_cleanup.cli.app import app
from narration_cleanup.core import query_limit
from narration_cleanup.core.errors import CleanupError
from narration_cleanup.report.history import FILE_NAME, read_history
from narration_cleanup.report.history.database import connect, connect_read_only
from narration_cleanup.report.history.store import open_history
from tests.samples import make_cache, read_index, write_index

ESCAPES = "\x1b]0;title\x07\x1b[31m\u202e"
_LONG = """
DROP TABLE runs;
CREATE VIEW runs AS
  WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 20000000)
SELECT count(*) AS id, 1.0 AS started_at, 2.0 AS finished_at, 'success' AS outcome, 0 AS exit_code,
  '' AS trigger, '' AS version, 1 AS pid, 1 AS pid_started, '' AS boot_id, NULL AS story,
  NULL AS cache, NULL AS requests FROM r;
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with the history of one run."""
    history = open_history(tmp_path / "state", warn=pytest.fail, at=0.0)
    assert history is not None
    history.begin(1.7e9, trigger="timer", version="1")
    history.close()
    return tmp_path / "state"


def _change(state: Path, change: Callable[[sqlite3.Connection], object]) -> None:
    with closing(sqlite3.connect(state / FILE_NAME)) as connection, connection:
        change(connection)


def test_a_schema_that_takes_long_is_given_up(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_limit, "SECONDS", 0.2)
    _change(state, lambda history: history.executescript(_LONG))
    warnings = list[str]()
    for history in (
        read_history(state, warn=warnings.append),
        open_history(state, warn=warnings.append, at=0.0),
    ):
        assert history is not None
        assert history.runs() == []
        history.close()
    assert [("takes too long" in text, "move it aside" in text) for text in warnings] == [
        (True, True)
    ] * 2
    assert [path.name for path in state.iterdir()] == [FILE_NAME]


def test_a_value_of_any_length_is_not_read(state: Path) -> None:
    _change(state, lambda history: history.execute("UPDATE runs SET story = zeroblob(60000000)"))
    warnings = list[str]()
    history = read_history(state, warn=warnings.append)
    assert history is not None
    assert history.runs() == []
    assert len(warnings) == 1


@pytest.mark.parametrize("value", [10**15, "x" * 100, None, b"odd", b"\xff" * 3_000_000])
def test_items_that_are_none_are_not_known(
    state: Path, monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    cache = make_cache(state.parent / "cache").directory
    (cache / "x.mp3").symlink_to("nowhere")
    monkeypatch.setenv("NARRATION_CLEANUP_STATE_DIR", str(state))
    known = (os.path.realpath(cache), value)
    _change(state, lambda history: history.execute("DROP TABLE known"))
    _change(state, lambda history: history.execute("CREATE TABLE known (place, items)"))
    _change(state, lambda history: history.execute("INSERT INTO known VALUES (?, ?)", known))
    index = read_index(cache / "cache_index.json")
    odd = {**next(iter(index.values())), "created_at": "once"}
    write_index(cache / "cache_index.json", {**index, "odd": odd})
    done = CliRunner().invoke(app, ["run", "--cache-dir", str(cache)])
    assert (done.exit_code, "ERROR - Cache: its created_at" in done.output) == (3, True)
    assert not re.search("internal error|out_of_memory", done.output)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE runs SET outcome = 'failed', started_at = 'soon', story = x'00'",
        "UPDATE runs SET outcome = 'failed', started_at = 'soon', story = NULL",
        "UPDATE runs SET pid = 'x'",
        "UPDATE runs SET outcome = 'failed', exit_code = 'x', version = x'ff'",
        "UPDATE runs SET outcome = 'failed', started_at = 9e999, finished_at = -9e999",
        "INSERT INTO sums VALUES ('', 'last_success_at', 'soon')",
        "INSERT INTO sums VALUES ('', 'last_success_at', 9e999), ('', 'removed_bytes', 9e999)",
    ],
)
def test_values_of_another_type_end_no_command(
    state: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    cache = make_cache(state.parent / "cache").directory
    monkeypatch.setenv("NARRATION_CLEANUP_STATE_DIR", str(state))
    monkeypatch.setenv("NARRATION_CACHE_DIR", str(cache))
    earlier = (
        "SELECT 1.6e9, finished_at, outcome, exit_code, trigger, version, pid, story FROM runs"
    )
    columns = earlier.replace("1.6e9", "started_at")[7:-10]
    _change(state, lambda history: history.execute(f"INSERT INTO runs ({columns}) {earlier}"))
    _change(state, lambda history: history.execute(change))
    commands = ("history", "history --json", "history show 2", "stats", "stats --prometheus")
    for command in (*commands, "stats --json", "check", "run", "history"):
        done = CliRunner().invoke(app, command.split())
        assert isinstance(done.exception, SystemExit | CleanupError | None), command
        assert "internal error" not in done.output, command


def test_the_schema_is_not_trusted(state: Path) -> None:
    for opened in (connect, connect_read_only):
        with closing(opened(state / FILE_NAME, query_limit.QueryLimit())) as connection:
            assert connection.execute("PRAGMA trusted_schema").fetchone() == (0,)
            with pytest.raises(sqlite3.OperationalError, match="too many attached"):
                connection.execute("ATTACH ':memory:' AS other")


@pytest.mark.parametrize(
    "command",
    [
        ("history",),
        ("history", "--json"),
        ("history", "show", "1"),
        ("stats",),
        ("stats", "--json"),
        ("stats", "--prometheus"),
        ("check",),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("in_story", [True, False])
def test_no_text_of_it_reaches_the_terminal_as_it_is(
    state: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], in_story: bool
) -> None:
    texts = dict.fromkeys(("message", "trigger", "version"), ESCAPES)
    counts = ("removed_by_reason", "freed_by_reason", "cancelled_by_status", "requests_by_status")
    problem = dict.fromkeys(("code", "message", "subject"), ESCAPES)
    story = {
        **texts,
        **{name: {ESCAPES: 1} for name in counts},
        "id": 1,
        "outcome": "failed",
        "started_at": 1.7e9,
        "finished_at": 1e300,
        "problems": [{"target": "cache", "severity": "problem", **problem}],
    }
    _change(
        state,
        lambda history: history.execute(
            "UPDATE runs SET story = ?1, outcome = ?2, trigger = ?2, version = ?2",
            (json.dumps(story) if in_story else None, ESCAPES),
        ),
    )
    _change(
        state,
        lambda history: history.execute(
            "INSERT INTO sums VALUES ('', ?, 1e308)", ("runs:" + ESCAPES,)
        ),
    )
    (state.parent / "cache").mkdir()
    make_cache(state.parent / "cache")
    monkeypatch.setenv("NARRATION_CLEANUP_STATE_DIR", str(state))
    monkeypatch.setenv("NARRATION_CACHE_DIR", str(state.parent / "cache"))
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, SystemExit | None)
    assert done.stdout
    assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout + done.stderr)
