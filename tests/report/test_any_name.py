"""Whatever names and ids hold: no line is broken, forged or too wide, and JSON keeps them whole."""

from __future__ import annotations

import io
import json
import re

from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from narration_cleanup.apply.result import Result
from narration_cleanup.core.model import Problem, Target
from narration_cleanup.plan import CachePlan
from narration_cleanup.plan.actions import (
    Reason,
)
from narration_cleanup.plan.types import CacheTotals, VoiceTotals
from narration_cleanup.report.documents import write_run
from narration_cleanup.report.log import Log
from narration_cleanup.report.run_text import show_run
from narration_cleanup.report.stats_text import show_stats
from tests.report.results import HOSTILE, collect_stats, removal_of_file, request_plan, result_of

NAMES = st.text(st.characters(), min_size=1, max_size=80)
ENCODABLE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)
"""A plan keeps its actions as UTF-8."""
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def result_with(file: str, name: str) -> Result:
    """A dry run with ``file`` as what goes, and ``name`` wherever else a name can stand."""
    totals = CacheTotals(7.0, entry_count=3, by_voice_style={name: VoiceTotals(3, 10)})
    plan = CachePlan(totals)
    plan.add(removal_of_file(file, 10, Reason.ORPHAN, "no entry names it"))
    plan.held.append((name, f"kept by {name}"))
    plan.problems.add(Problem(Target.CACHE, "odd", f"odd: {name}", name))
    requests = request_plan()
    requests.totals.by_status[name] = 1
    return result_of(plan, requests)


@given(ENCODABLE, NAMES, st.sampled_from([40, 57, 80, 120]))
@example("e\u0301" * 40, HOSTILE, 40)
@example("漢字" * 20, "漢字" * 40, 40)
@example("漢字" * 20, "漢字" * 40, 80)
def test_terminals(file: str, name: str, width: int) -> None:
    stream = io.StringIO()
    result = result_with(file, name)
    show_run(result, None, stream, terminal=True, width=width, verbose=True)
    show_stats(collect_stats(result), stream, terminal=True, width=width, verbose=True)
    for line in ANSI.sub("", stream.getvalue()).split("\n"):
        assert line.isprintable()
        assert cell_len(line) <= width


@given(ENCODABLE, NAMES)
@example(HOSTILE.replace("\ud800", ""), HOSTILE)
def test_pipes_and_logs(file: str, name: str) -> None:
    stream = io.StringIO()
    result = result_with(file, name)
    show_run(result, None, stream, terminal=False, verbose=True)
    show_stats(collect_stats(result), stream, terminal=False)
    Log(stream).finished(result)
    Log(stream).warning(name)
    assert all(line.isprintable() for line in stream.getvalue().split("\n"))


@given(ENCODABLE, NAMES)
@example("file", HOSTILE)
def test_json(file: str, name: str) -> None:
    stream = io.StringIO()
    result = result_with(file, name)
    write_run(result, collect_stats(result), stream)
    assert stream.getvalue().isascii()
    document = json.loads(stream.getvalue())
    assert document["actions"][0]["file"] == file
    assert document["problems"][0]["subject"] == name
    assert name in document["stats"]["cache"]["by_voice_style"]
