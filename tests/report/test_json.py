"""The JSON documents: the words and figures promised, and the schemas."""

from __future__ import annotations

import gc
import io
import json
import os
import subprocess
import sys
import tracemalloc
from typing import Any

import jsonschema
import msgspec
import pytest

from narration_cleanup.apply.result import Result
from narration_cleanup.cli.schema import schema_names, schema_text
from narration_cleanup.core.errors import CleanupError
from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.model import Problem, Target
from narration_cleanup.plan import CachePlan
from narration_cleanup.plan.actions import (
    Action,
    Outcome,
    Reason,
)
from narration_cleanup.plan.types import CacheTotals
from narration_cleanup.report import documents
from narration_cleanup.report.documents import run_types, write, write_run
from narration_cleanup.report.stats import CacheStats, Stats
from tests.report.results import (
    HOSTILE,
    NOW,
    add_every_kind,
    cache_plan,
    collect_stats,
    request_plan,
    result_of,
)

Document = dict[str, Any]


def checked(kind: type[msgspec.Struct], text: str) -> Document:
    """The document in ``text``, which has the members and types that ``kind`` has."""
    document: Document = json.loads(text)
    msgspec.convert(document, kind)
    return document


def run_document(
    result: Result, stats: Stats | None = None, trigger: str | None = None
) -> Document:
    stream = io.StringIO()
    write_run(result, stats, stream, trigger=trigger)
    assert stream.getvalue().isascii()
    return checked(run_types.Run, stream.getvalue())


def stats_document(stats: Stats) -> Document:
    stream = io.StringIO()
    write(documents.stats_document(stats), stream)
    assert stream.getvalue().count("\n") == 1
    return checked(run_types.Stats, stream.getvalue())


def test_a_dry_run_has_only_planned_outcomes_and_nothing_done() -> None:
    result = result_of(cache_plan(), request_plan())
    document = run_document(result, collect_stats(result))
    assert document["success"] is True
    assert (document["outcome"], document["dry_run"]) == ("success", True)
    assert document["started_at"] == "2026-11-23T12:00:00+00:00"
    assert document["duration_seconds"] == 0.41
    cache = document["cache"]
    assert (cache["planned_count"], cache["planned_bytes"]) == (33, 33_000)
    assert (cache["removed_count"], cache["freed_bytes"], cache["freed_mb"]) == (0, 0, 0)
    assert (cache["kept_count"], cache["by_reason"]) == (27, {"expired": 33})
    requests = document["requests"]
    assert (requests["planned_count"], requests["cancelled_count"]) == (7, 0)
    assert requests["by_status"] == {"queued": 4, "generating": 3}
    assert len(document["actions"]) == 40
    assert {action["outcome"] for action in document["actions"]} == {"planned"}
    assert document["stats"]["requests"]["abandoned"] == 7


def test_a_run_tells_what_happened_to_each_action() -> None:
    cache, requests = cache_plan(), request_plan()
    add_every_kind(cache, requests)
    result = result_of(cache, requests, dry_run=False)
    assert result.cache is not None
    result.cache.outcomes.set(1, Outcome.FAILED, "Permission denied")
    result.cache.removed_by_reason[Reason.EXPIRED] -= 1
    document = run_document(result, collect_stats(result), trigger="timer")
    assert document["trigger"] == "timer"
    assert (document["success"], document["outcome"], document["exit_code"]) == (
        False,
        "partial",
        3,
    )
    assert document["cache"]["removed_count"] == 37
    assert document["cache"]["failed_count"] == 1
    assert document["cache"]["kept_count"] == 60 - 32 - 3
    assert document["requests"]["cancelled_count"] == 7
    assert document["requests"]["deleted_by_status"] == {"completed": 1}
    by_kind = {action["kind"]: action for action in document["actions"]}
    assert sorted(by_kind) == [
        "cancel_request",
        "delete_request",
        "drop_entry",
        "remove_entry",
        "remove_file",
    ]
    failed = [action for action in document["actions"] if action["outcome"] == "failed"]
    assert [action["note"] for action in failed] == ["Permission denied"]
    evicted = [action for action in document["actions"] if action["reason"] == "evicted"]
    assert evicted[0]["sidecars"] == ["sub/k1.json"]
    assert [problem["code"] for problem in document["problems"]] == ["outside", "odd"]
    assert [problem["severity"] for problem in document["problems"]] == ["problem", "warning"]


def test_a_half_left_out_is_null() -> None:
    document = run_document(result_of(cache_plan(3, 1), None))
    assert document["requests"] is None
    assert document["cache"]["kept_count"] == 2
    assert document["stats"] is None
    only_requests = result_of(None, request_plan())
    document = run_document(only_requests, collect_stats(only_requests))
    assert (document["cache"], document["stats"]["cache"]) == (None, None)


def test_a_refusal_is_a_whole_document_too() -> None:
    result = Result(NOW, False, True, True, NOW)
    result.stopped = ExitCode.REFUSED
    result.stop_message = "the clock jumped"
    document = run_document(result)
    assert (document["outcome"], document["exit_code"]) == ("refused", 4)
    assert (document["success"], document["actions"]) == (False, [])


def test_stats_have_the_promised_members_and_figures() -> None:
    result = result_of(cache_plan(), request_plan())
    document = stats_document(collect_stats(result))
    assert document["generated_at"] == "2026-11-23T12:00:00+00:00"
    assert (document["cleanup_interval_hours"], document["abandoned_timeout_hours"]) == (6, 1)
    cache = document["cache"]
    assert (cache["entry_count"], cache["total_size_bytes"]) == (60, 60_000)
    assert (cache["max_size_mb"], cache["ttl_days"]) == (500, 7)
    assert (cache["expired_count"], cache["expired_size_bytes"]) == (33, 33_000)
    assert cache["by_voice_style"]["eerie_narrator"] == {"entry_count": 12, "size_bytes": 12_000}
    assert cache["age_bins"] == [0, 0, 0, 0, 0, 0, 0, 0, 10, 17, 33]
    requests = document["requests"]
    assert (requests["total"], requests["active"], requests["queued"]) == (158, 5, 8)
    assert requests["abandoned_by_status"] == {"queued": 4, "generating": 3}
    assert document["last_run"]["outcome"] == "success"
    assert document["next_run_at"] == "2026-11-23T15:00:00+00:00"


@pytest.mark.parametrize(
    ("size_bytes", "megabytes"), [(131_596_288, 125.5), (1_041_660, 0.99), (0, 0), (1, 0)]
)
def test_megabytes_are_rounded_to_two_decimals(size_bytes: int, megabytes: float) -> None:
    totals = CacheTotals(7.0, total_size_bytes=size_bytes)
    document = stats_document(Stats(NOW, 6, 1, CacheStats(totals, 7.5, None)))
    assert document["cache"]["total_size_mb"] == megabytes
    assert (document["cache"]["ttl_days"], document["cache"]["max_size_mb"]) == (7.5, None)
    assert (document["requests"], document["last_run"], document["running"]) == (None, None, False)


def test_times_outside_the_calendar_do_not_end_the_report() -> None:
    totals = CacheTotals(7.0, oldest_created_at=-1e15, newest_created_at=1e15)
    document = stats_document(Stats(NOW, 6, 1, CacheStats(totals, 7)))
    assert document["cache"]["oldest_created_at"].startswith("0001-01-01T")
    assert document["cache"]["newest_created_at"].startswith("9999-12-31T")


def test_hostile_names_are_whole_and_harmless() -> None:
    plan = cache_plan(2, 1)
    plan.problems.add(Problem(Target.CACHE, "odd_key", "left alone", HOSTILE))
    plan.totals.by_voice_style[HOSTILE] = plan.totals.by_voice_style["demonic_growl"]
    result = result_of(plan, None)
    document = run_document(result, collect_stats(result))
    assert document["problems"][0]["subject"] == HOSTILE
    assert HOSTILE in document["stats"]["cache"]["by_voice_style"]


class Discarding(io.StringIO):
    """Counts what is written, and keeps nothing."""

    lines = 0

    def write(self, text: str) -> int:
        self.lines += text.count("\n")
        return len(text)


def test_many_actions_are_streamed() -> None:
    plan = CachePlan(CacheTotals(7.0, entry_count=5_000))
    for number in range(5_000):
        name = f"{number:064x}"
        action = Action(Reason.EXPIRED, name, "9 days old, limit 7", f"{name}.mp3", 1000)
        plan.add(action)
    result = result_of(plan, None)
    stream = Discarding()
    gc.collect()
    tracemalloc.start()
    write_run(result, None, stream)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stream.lines == 5_002
    assert peak < 500_000


def test_a_reader_that_goes_away_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    result = result_of(cache_plan(2000, 1990), None)
    with os.fdopen(write_end, "w") as stream:
        write_run(result, None, stream)


def test_a_report_that_cannot_be_written_is_an_error() -> None:
    with pytest.raises(CleanupError, match="No space left"), open("/dev/full", "w") as stream:
        write(documents.stats_document(Stats(NOW, 6, 1)), stream)


@pytest.mark.parametrize("name", schema_names())
def test_a_schema_is_valid_and_allows_no_other_members(name: str) -> None:
    schema = json.loads(schema_text(name))
    jsonschema.Draft202012Validator.check_schema(schema)
    objects = [schema, *schema["$defs"].values()]
    strict = [each["title"] for each in objects if each.get("additionalProperties") is False]
    assert set(strict) | {"ByReason"} >= {each["title"] for each in objects if "properties" in each}
    assert "UnsetType" not in schema_text(name)


def test_what_is_always_there_is_required_and_what_may_be_missing_is_not() -> None:
    kinds = json.loads(schema_text("run"))["$defs"]
    missing = {
        (name, member)
        for name, kind in kinds.items()
        for member in set(kind.get("properties", ())) - set(kind.get("required", ()))
        if name != "ByReason"
    }
    notes = {(name, "note") for name in kinds if "kind" in kinds[name].get("properties", ())}
    assert len(notes) == 5
    assert missing == {("RemoveEntry", "sidecars")} | notes


def test_an_unknown_schema_is_reported_with_the_known_ones() -> None:
    with pytest.raises(LookupError, match="run, stats"):
        schema_text("../stats")


def test_the_command_prints_a_schema_and_knows_what_there_is() -> None:
    command = [sys.executable, "-m", "narration_cleanup", "schema"]
    done = subprocess.run([*command, "stats"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, schema_text("stats"))
    done = subprocess.run([*command, "nonsense"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "run, stats" in " ".join(done.stderr.replace("│", " ").split())
