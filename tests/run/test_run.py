"""The job where something fails after its work is done."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from narration_cleanup.apply.result import Result, RunOutcome
from narration_cleanup.apply.signals import Stop
from narration_cleanup.cli.app import app
from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.model import Target
from narration_cleanup.core.progress import NoProgress
from narration_cleanup.core.units import DAY
from narration_cleanup.plan import CachePolicy, RequestPolicy
from narration_cleanup.run import run as job
from narration_cleanup.run.stores import Targets
from narration_cleanup.run.survey import survey_and_plan
from narration_cleanup.stores.cache.local.directory import Directory
from narration_cleanup.stores.cache.local.indexed import IndexedDirectory
from narration_cleanup.stores.requests.mapping import RequestMapping
from narration_cleanup.stores.requests.sqlite.table import SqliteRequests
from tests.opened import open_sample
from tests.samples import (
    SAMPLE_NOW,
    CacheSample,
    EntrySpec,
    make_cache,
    make_sample,
    read_index,
    write_index,
)

NOW = SAMPLE_NOW.timestamp()


class Silent:
    """A log that nobody reads."""

    def cache_started(self) -> None: ...

    def cache_done(self, cache: object) -> None: ...

    def requests_started(self) -> None: ...

    def requests_done(self, requests: object) -> None: ...


@contextmanager
def halves_of(sample: CacheSample) -> Iterator[Targets]:
    """A cache alone."""
    store = open_sample(sample)
    with closing(store):
        yield Targets(store, None)


def run(targets: Targets) -> Result:
    """Look, plan, and do it."""
    result = Result(NOW, dry_run=False)
    plans = survey_and_plan(targets, (CachePolicy(), RequestPolicy()), NOW, NoProgress())
    job.run(targets, plans, result, Stop(), NoProgress(), Silent())
    return result


@pytest.mark.parametrize(
    "fault", [OSError(errno.EIO, os.strerror(errno.EIO), "x"), TargetError("lost", "it is lost")]
)
def test_a_fault_of_the_short_look_leads_to_the_long_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    entries = [EntrySpec(age=timedelta(days=days)) for days in (9, 1)]
    sample = make_cache(tmp_path / "cache", entries=entries)

    def failing(*_: object) -> bool:
        raise fault

    monkeypatch.setattr(IndexedDirectory, "unchanged_since", failing)
    with halves_of(sample) as targets:
        result = run(targets)
        assert job.left_in_cache(targets, result) is None
    assert result.outcome is RunOutcome.SUCCESS


@pytest.mark.parametrize("step", ["survey", "recover", "cancel"])
def test_an_error_that_nobody_foresaw_in_the_requests_leaves_the_cache_to_be_cleaned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    sample = make_sample(tmp_path)

    def failing(*_: object) -> None:
        raise ValueError("so many digits")

    monkeypatch.setattr(SqliteRequests, step, failing)
    with (
        halves_of(sample.cache) as targets,
        closing(SqliteRequests(sample.database, RequestMapping(timezone="UTC"))) as requests,
    ):
        result = Result(NOW, dry_run=False)
        both = job.recover(replace(targets, requests=requests), result)
        plans = survey_and_plan(both, (CachePolicy(), RequestPolicy()), NOW, NoProgress())
        job.run(both, plans, result, Stop(), NoProgress(), Silent())
    assert result.outcome is RunOutcome.PARTIAL
    assert result.cache is not None
    assert result.cache.removed_count == len(result.cache.plan.actions) > 0
    problems = result.problems if result.requests is None else result.requests.problems
    (problem,) = problems
    assert (problem.code, problem.target) == ("internal_error", Target.REQUESTS)
    assert "ValueError: so many digits (tests.run.test_run, line " in problem.message


def test_an_error_that_stops_all_is_in_the_document_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = make_sample(tmp_path)

    def failing(*_: object, **__: object) -> None:
        raise ValueError("so many digits")

    monkeypatch.setattr("narration_cleanup.cli.run.survey_and_plan", failing)
    arguments = ["run", "--json", "--cache-dir", str(sample.cache.directory)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    done = CliRunner().invoke(app, arguments, env=environment)
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert (document["outcome"], document["cache"]) == ("failed", None)
    assert "so many digits" in document["message"]
    assert "Traceback" not in done.output


def test_each_removed_file_is_looked_for_again_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of entries as the index follows, the others when all is done."""
    entries = [EntrySpec(age=timedelta(days=days)) for days in (9, 8, 1)]
    sample = make_cache(tmp_path / "cache", entries=entries)
    partial = sample.directory / "upload.part"
    partial.write_bytes(b"half of it")
    os.utime(partial, (NOW - 2 * DAY, NOW - 2 * DAY))
    looked_for: list[str] = []
    status = Directory.status

    def noting(directory: Directory, name: str) -> os.stat_result | None:
        if begun:
            looked_for.append(name)
        return status(directory, name)

    monkeypatch.setattr(Directory, "status", noting)
    begun = False
    with halves_of(sample) as targets:
        result = Result(NOW, dry_run=False)
        policies = CachePolicy(partial_ttl=DAY), RequestPolicy()
        plans = survey_and_plan(targets, policies, NOW, NoProgress())
        begun = True
        job.run(targets, plans, result, Stop(), NoProgress(), Silent())
        assert job.left_in_cache(targets, result) is not None
    looked_for = [name for name in looked_for if name != sample.index.name]
    assert looked_for == [*(entry.name for entry in sample.entries[:2]), partial.name]


def test_work_that_cannot_be_looked_at_again_is_no_success(tmp_path: Path) -> None:
    entries = [EntrySpec(age=timedelta(days=days)) for days in (9, 1)]
    sample = make_cache(tmp_path / "cache", entries=entries)
    store = open_sample(sample)
    targets, result = Targets(store, None), Result(NOW, dry_run=False)
    policies = CachePolicy(), RequestPolicy()
    plans = survey_and_plan(targets, policies, NOW, NoProgress())
    job.run(targets, plans, result, Stop(), NoProgress(), Silent())
    sample.index.write_bytes(b"\xff\xfe")
    job.look_again(result, survey_and_plan(targets, policies, NOW, NoProgress()))
    store.close()
    assert result.outcome is RunOutcome.PARTIAL
    assert [problem.code for problem in result.all_problems()] == ["index_unreadable"]
    assert result.cache is not None
    assert result.cache.removed_count == 1


def test_a_half_that_could_not_be_looked_at_is_not_waited_for_twice(tmp_path: Path) -> None:
    sample = make_cache(tmp_path / "cache", entries=[EntrySpec(age=timedelta(days=1))])
    with halves_of(sample) as targets:
        assert job.reached(targets, run(targets)) == targets
        sample.index.write_bytes(b"{")
        torn = run(targets)
        assert torn.outcome is RunOutcome.FAILED
        assert job.reached(targets, torn) == Targets(None, None)


def test_what_came_during_a_run_and_would_be_evicted_now_is_nothing_left_over(
    tmp_path: Path,
) -> None:
    """A service at work fills the cache again; that something stayed is another matter."""
    entries = [EntrySpec(age=timedelta(days=days), size=1_000) for days in (6, 5, 4, 3)]
    sample = make_cache(tmp_path / "cache", entries=entries)
    policies = CachePolicy(evict_above=2_000, evict_to=2_000), RequestPolicy()
    result = Result(NOW, dry_run=False)
    with halves_of(sample) as targets:
        plans = survey_and_plan(targets, policies, NOW, NoProgress())
        job.run(targets, plans, result, Stop(), NoProgress(), Silent())
        index = read_index(sample.index)
        assert len(index) == 2
        for number, fields in enumerate(list(index.values())):
            name = f"late{number}.mp3"
            (sample.directory / name).write_bytes(b"x" * 1_000)
            index[f"late{number}"] = fields | {"file_path": str(sample.directory / name)}
        write_index(sample.index, index)
        after = survey_and_plan(targets, policies, NOW, NoProgress())
        assert after.cache is not None
        assert len(after.cache.actions) == 2
        job.look_again(result, after)
    assert result.outcome is RunOutcome.SUCCESS
    assert result.all_problems() == []
