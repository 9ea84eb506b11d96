"""Many problems with one reason: one line with their number, and all where that is asked for."""

from __future__ import annotations

import io
import json

import msgspec
import pytest

from narration_cleanup.apply.result import Result
from narration_cleanup.core.model import MOST_OF_A_KIND, Problem, Severity, Target
from narration_cleanup.report.documents import problem_items
from narration_cleanup.report.log import Log, LogFormat
from narration_cleanup.report.run_text import show_run
from narration_cleanup.report.summary import MOST_ALIKE, gathered
from tests.report.results import NOW

REASON = "not removed: Read-only file system"
OTHER = Problem(Target.CACHE, "not_removed", "not removed: Input/output error", "key-x")


def failed(number: int) -> Problem:
    return Problem(Target.CACHE, "not_removed", REASON, f"key-{number}")


def result_with(*problems: Problem) -> Result:
    result = Result(NOW, True, True, False, NOW)
    result.problems.extend(problems)
    return result


@pytest.mark.parametrize("number", [MOST_ALIKE + 1, MOST_OF_A_KIND, MOST_OF_A_KIND + 1, 2_500])
def test_one_stands_for_all_with_its_reason(number: int) -> None:
    found = gathered(result_with(*map(failed, range(number))).all_problems())
    assert found == [(failed(0), number - 1)]


def test_a_few_are_each_told() -> None:
    few = [failed(number) for number in range(MOST_ALIKE)]
    assert gathered(few) == [(problem, 0) for problem in few]


def test_another_reason_half_or_weight_is_told_apart() -> None:
    many = [failed(number) for number in range(10)]
    warning = Problem(Target.CACHE, "not_removed", REASON, severity=Severity.WARNING)
    elsewhere = Problem(Target.REQUESTS, "not_removed", REASON)
    found = gathered([*many, OTHER, warning, elsewhere, failed(10)])
    assert found == [(failed(0), 10), (OTHER, 0), (warning, 0), (elsewhere, 0)]


def test_what_may_have_another_reason_is_not_counted_with_the_first() -> None:
    problems = result_with(*map(failed, range(MOST_OF_A_KIND)), OTHER).all_problems()
    assert [(problem.message, more) for problem, more in gathered(problems)] == [
        (REASON, MOST_OF_A_KIND - 1),
        ("and 1 more of the same kind", 0),
    ]


def test_of_one_code_ten_reasons_are_each_shown_and_the_others_counted() -> None:
    many = [failed(number) for number in range(4)]
    many += [
        Problem(Target.CACHE, "not_removed", f"reason {number}", f"key-{number}")
        for number in range(300)
    ]
    found = gathered(result_with(*many, Problem(Target.CACHE, "late", "another")).all_problems())
    assert found[0] == (failed(0), 3)
    assert [problem.message for problem, _ in found[1:10]] == [f"reason {n}" for n in range(9)]
    assert found[10][0].code == "late"
    assert [problem.message for problem, _ in found[11:]] == ["and 291 more of the same kind"]


def test_the_log_has_one_line_and_all_where_it_is_verbose() -> None:
    result = result_with(*map(failed, range(2_500)), Problem(Target.CACHE, "odd", "an odd thing"))
    stream = io.StringIO()
    Log(stream).finished(result)
    assert stream.getvalue().splitlines()[:-1] == [
        f"ERROR - Cache: {REASON} (key-0), and 2,499 more for the same reason [not_removed]",
        "ERROR - Cache: an odd thing [odd]",
    ]
    stream = io.StringIO()
    Log(stream, form=LogFormat.JSON).finished(result)
    first, second, _ = map(json.loads, stream.getvalue().splitlines())
    assert (first["subject"], first["more"], "more" in second) == ("key-0", 2_499, False)
    stream = io.StringIO()
    Log(stream, verbose=True).finished(result)
    assert len(stream.getvalue().splitlines()) == MOST_OF_A_KIND + 3


@pytest.mark.parametrize("terminal", [True, False])
def test_a_reader_is_told_the_number_once(terminal: bool) -> None:
    result = result_with(*map(failed, range(2_500)))
    for verbose, lines in ((False, 1), (True, MOST_OF_A_KIND)):
        stream = io.StringIO()
        show_run(result, None, stream, terminal=terminal, width=200, verbose=verbose)
        text = stream.getvalue()
        assert text.count(REASON) == lines
        assert "2,500 problems" in text
        assert ("and 2,499 more for the same reason" in text) is not verbose


def test_json_has_as_many_as_it_always_had() -> None:
    documents = problem_items(result_with(*map(failed, range(2_500))).all_problems())
    assert len(documents) == MOST_OF_A_KIND + 1
    assert msgspec.to_builtins(documents[-1]) == {
        "half": "cache",
        "code": "not_removed",
        "severity": "problem",
        "subject": None,
        "message": "and 2400 more for the same reason",
    }
