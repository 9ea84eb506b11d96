"""The history as it is shown: a line for each run, a plot on a terminal, and the JSON document."""

from __future__ import annotations

import io
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.model import Problem, Target
from narration_cleanup.report.documents import write_history
from narration_cleanup.report.documents.setup_types import History
from narration_cleanup.report.history_text import plotted, show_history, show_run_record
from narration_cleanup.report.run_record import KILLED, RunRecord, record_of
from tests.results import NOW, make_result

HOUR = 3_600.0
HOSTILE = Problem(Target.CACHE, "code", "red \x1b[31m\nand \u202e", "key\x07")


def make_records() -> list[RunRecord]:
    """Newest first: a partial run, a killed one, a refused one, a good one."""
    results = [
        make_result(removed=8, cancelled=2),
        make_result(started_at=NOW + HOUR, stopped=ExitCode.REFUSED, message="too many"),
        make_result(started_at=NOW + 2 * HOUR),
        make_result(started_at=NOW + 3 * HOUR, removed=1, problems=(HOSTILE,)),
    ]
    records = [record_of(result, limit_bytes=50_000) for result in results]
    killed = RunRecord(outcome=KILLED, started_at=NOW + 2 * HOUR, message="It never said")
    records[2] = killed
    return [
        msgspec.structs.replace(record, id=number, trigger="timer", version="1.0")
        for number, record in enumerate(records, 1)
    ][::-1]


def shown(records: list[RunRecord], *, width: int | None = None) -> str:
    stream = io.StringIO()
    show_history(records, stream, terminal=width is not None, width=width)
    return stream.getvalue()


def test_a_pipe_gets_one_line_for_each_run() -> None:
    assert shown(make_records()) == (
        "id  began                 outcome  by      took  removed   freed  cancelled  problems\n"
        " 4  2026-11-23 15:00 UTC  partial  timer  1.5 s        1  1.0 KB          2         1\n"
        " 3  2026-11-23 14:00 UTC  killed   timer      -        -       -          -         -\n"
        " 2  2026-11-23 13:00 UTC  refused  timer  1.5 s        0    0 KB          0         0\n"
        " 1  2026-11-23 12:00 UTC  success  timer  1.5 s        8  7.8 KB          2         0\n"
    )


@pytest.mark.parametrize("width", [120, 80, 50])
def test_a_terminal_gets_a_table_and_a_plot_that_fit(width: int) -> None:
    text = shown(make_records(), width=width)
    plain = [strip_ansi(line) for line in text.splitlines()]
    assert max(map(len, plain)) <= width
    assert "…" not in text
    assert any("2026-11-23 14:00 UTC" in line and "killed" in line for line in plain)
    assert any("█" in line for line in plain)
    assert "freed" in text


@pytest.mark.parametrize("width", [120, 64, 63, 60, 52, 51, 40, 38])
def test_the_time_axis_is_whole_in_one_line_or_in_two(width: int) -> None:
    plain = [strip_ansi(line) for line in shown(make_records(), width=width).splitlines()]
    assert max(len(line) for line in plain[-2:]) <= width
    axis = "2026-11-23 12:00 UTC to 2026-11-23 15:00 UTC, 3 runs"
    assert " ".join(" ".join(plain[-2:]).split()).endswith(axis)


def test_one_run_needs_no_plot() -> None:
    assert "█" not in shown(make_records()[-1:], width=80)


def test_a_run_is_shown_whole_and_nothing_in_it_can_harm_the_screen() -> None:
    stream = io.StringIO()
    show_run_record(make_records()[0], stream)
    lines = stream.getvalue().splitlines()
    assert "outcome            partial, exit code 3" in lines
    assert "removed            1, 1.0 KB freed" in lines
    assert "  expired          1, 1.0 KB freed" in lines
    assert "cache after        9 entries, 8.8 KB of 48.8 KB" in lines
    assert "problem            cache: red \\x1b[31m\\nand \\u202e (key\\x07) [code]" in lines
    assert "\x1b" not in stream.getvalue()


def test_the_document_has_the_newest_run_first() -> None:
    stream = io.StringIO()
    write_history(make_records(), stream)
    document = json.loads(stream.getvalue())
    msgspec.convert(document, History)
    assert document["schema_version"] == 1
    assert [run["id"] for run in document["runs"]] == [4, 3, 2, 1]
    newest, killed, refused, oldest = document["runs"]
    assert newest["problems"][0]["subject"] == "key\x07"
    assert (killed["outcome"], killed["finished_at"], killed["exit_code"]) == ("killed", None, None)
    assert refused["cache_after"] is None
    assert oldest["freed_bytes"] == 8_000
    assert oldest["started_at"] == "2026-11-23T12:00:00+00:00"


def test_no_runs_are_a_document_too() -> None:
    stream = io.StringIO()
    write_history([], stream)
    assert json.loads(stream.getvalue()) == {"schema_version": 1, "runs": [], "problems": []}


def test_a_plot_of_a_few_values() -> None:
    assert plotted([0, 1, 2, 4], 80, " ▄█") == " ▄▄█"
    assert plotted([0, 1, 2, 4], 2, " ▄█") == "▄█"
    assert plotted([0, 0], 80, " ▄█") == "  "


@given(st.lists(st.floats(0, 1e15), min_size=1, max_size=200), st.integers(1, 60))
def test_a_plot_never_hides_what_is_there(values: list[float], width: int) -> None:
    """As wide as asked at most, and a column is empty only where all its values are nothing."""
    line = plotted(values, width, " ▁▂▃▄▅▆▇█")
    assert len(line) == min(len(values), width)
    if max(values) > 0:
        assert "█" in line
    if len(values) <= width:
        assert [cell != " " for cell in line] == [value > 0 for value in values]


def strip_ansi(text: str) -> str:
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", text)
