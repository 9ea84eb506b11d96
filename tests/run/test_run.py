"""The job where something fails after its work is done."""

import errno
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from narration_cleanup.apply.apply import apply_cache
from narration_cleanup.apply.result import CacheResult, Result, RunOutcome
from narration_cleanup.cli.app import app
from narration_cleanup.core import model, query_limit, signals
from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.model import DAY, MOST_KEPT, NoProgress, RequestSurvey, Severity, Target
from narration_cleanup.core.signals import Stop
from narration_cleanup.plan import CachePolicy, RequestPolicy
from narration_cleanup.run import run as job
from narration_cleanup.run.stores import attempt
from narration_cleanup.run.survey import CountedSurvey, survey_and_plan_cache
from narration_cleanup.stores.cache import CacheStore, FileTarget, Removal
from narration_cleanup.stores.cache.local import staging
from narration_cleanup.stores.cache.local.directory import Directory
from narration_cleanup.stores.cache.local.indexed import IndexedDirectory
from narration_cleanup.stores.cache.survey import IndexSurvey
from narration_cleanup.stores.requests.mapping import RequestMapping
from narration_cleanup.stores.requests.sqlite.table import SqliteRequests
from tests.opened import open_sample
from tests.run_at import stopped_clock
from tests.samples import (
    SAMPLE_NOW,
    EntrySpec,
    RequestSpec,
    make_cache,
    make_requests,
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

    def overwritten(self, requests: object) -> None: ...


def work_on(result: Result, stop: Stop | None = None) -> job.Work:
    """A run that nobody hears of."""
    return job.Work(result, stop or Stop(), NoProgress(), Silent())


def clean(store: CacheStore, policy: CachePolicy | None = None) -> Result:
    """Clean a cache alone."""
    result = Result(NOW, dry_run=False)
    attempt(
        lambda: job.clean_cache(store, policy or CachePolicy(), work_on(result)),
        Target.CACHE,
        result.problems,
    )
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
    with closing(open_sample(sample)) as store:
        result = clean(store)
        assert result.cache is not None
        assert job.left_in_cache(store, result.cache) is None
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
        closing(open_sample(sample.cache)) as store,
        closing(SqliteRequests(sample.database, RequestMapping(timezone="UTC"))) as requests,
    ):
        result = clean(store)
        attempt(
            lambda: job.clean_requests(requests, RequestPolicy(), work_on(result)),
            Target.REQUESTS,
            result.problems,
        )
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

    monkeypatch.setattr("narration_cleanup.run.run.collect_stats", failing)
    arguments = ["run", "--json", "--cache-dir", str(sample.cache.directory)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    done = CliRunner().invoke(app, arguments, env=environment)
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert document["outcome"] == "failed"
    assert document["cache"]["removed_count"] > 0
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
    with closing(open_sample(sample)) as store:
        plan = survey_and_plan_cache(store, CachePolicy(partial_ttl=DAY), NOW, NoProgress())
        begun = True
        cache = apply_cache(plan, store, Stop(), NoProgress())
        assert job.left_in_cache(store, cache) is not None
    looked_for = [name for name in looked_for if name != sample.index.name]
    assert looked_for == [*(entry.name for entry in sample.entries[:2]), partial.name]


def test_what_the_service_writes_back_during_a_run_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [EntrySpec(age=timedelta(days=days)) for days in (9, 8, 1)]
    sample = make_cache(tmp_path / "cache", entries=entries)
    apply, in_memory = apply_cache, sample.index.read_bytes()

    def saved(*done: object) -> CacheResult:
        result = apply(*done)  # type: ignore[arg-type]
        sample.index.write_bytes(in_memory)
        return result

    monkeypatch.setattr("narration_cleanup.apply.apply.apply_cache", saved)
    with closing(open_sample(sample)) as store:
        result = clean(store)
    (problem,) = result.all_problems()
    assert (problem.code, problem.severity) == ("written_back", Severity.WARNING)
    assert problem.message.startswith("the service wrote 2 removed entries back")
    assert problem.message.endswith("with every save until the service reads it or restarts")
    assert result.cache is not None
    assert (result.cache.removed_count, result.cache.without_file) == (2, 0)


@pytest.mark.waits
def test_work_that_cannot_be_looked_at_again_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [EntrySpec(age=timedelta(days=days)) for days in (9, 1)]
    sample = make_cache(tmp_path / "cache", entries=entries)
    apply = apply_cache

    def torn(*done: object) -> CacheResult:
        result = apply(*done)  # type: ignore[arg-type]
        sample.index.write_bytes(b"\xff\xfe")
        return result

    monkeypatch.setattr("narration_cleanup.apply.apply.apply_cache", torn)
    store = open_sample(sample)
    result = clean(store)
    store.close()
    assert result.outcome is RunOutcome.PARTIAL
    assert [problem.code for problem in result.all_problems()] == ["index_unreadable"]
    assert result.cache is not None
    assert result.cache.removed_count == 1


def test_what_came_during_a_run_and_would_be_evicted_now_is_nothing_left_over(
    tmp_path: Path,
) -> None:
    """A service at work fills the cache again; that something stayed is another matter."""
    entries = [EntrySpec(age=timedelta(days=days), size=1_000) for days in (6, 5, 4, 3)]
    sample = make_cache(tmp_path / "cache", entries=entries)
    policy = CachePolicy(evict_above=2_000, evict_to=2_000)
    with closing(open_sample(sample)) as store:
        plan = survey_and_plan_cache(store, policy, NOW, NoProgress())
        cache = apply_cache(plan, store, Stop(), NoProgress())
        index = read_index(sample.index)
        assert len(index) == 2
        for number, fields in enumerate(list(index.values())):
            name = f"late{number}.mp3"
            (sample.directory / name).write_bytes(b"x" * 1_000)
            index[f"late{number}"] = fields | {"file_path": str(sample.directory / name)}
        write_index(sample.index, index)
        after = survey_and_plan_cache(store, policy, NOW, NoProgress())
        assert len(after.actions) == 2
        job.verify_cache(store, cache, after, NOW)
    assert list(cache.problems) == []


@pytest.mark.parametrize("anew", [True, False])
def test_audio_that_is_made_anew_is_not_still_there(tmp_path: Path, anew: bool) -> None:
    """The service writes back the old entry from its memory, and the audio with it."""
    entries = [EntrySpec(age=timedelta(days=days)) for days in (9, 1)]
    sample = make_cache(tmp_path / "cache", entries=entries)
    before = sample.index.read_bytes()
    started_at = time.time()
    with closing(open_sample(sample)) as store:
        plan = survey_and_plan_cache(store, CachePolicy(), NOW, NoProgress())
        cache = apply_cache(plan, store, Stop(), NoProgress())
        assert cache.removed_count == 1
        file = sample.directory / sample.entries[0].name
        file.write_bytes(b"made anew, or never gone")
        if not anew:
            os.utime(file, (started_at - DAY, started_at - DAY))
        sample.index.write_bytes(before)
        after = survey_and_plan_cache(store, CachePolicy(), NOW, NoProgress())
        assert [action.file for action in after.actions] == ([] if anew else [file.name])
        job.verify_cache(store, cache, after, started_at)
    assert [problem.code for problem in cache.problems] == ([] if anew else ["still_there"])


def test_the_figures_of_a_run_that_was_stopped_are_those_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("narration_cleanup.apply.apply.FILES_AT_A_TIME", 2)
    entries = [EntrySpec(age=timedelta(days=days)) for days in (20, 19, 18, 17, 1)]
    sample = make_cache(tmp_path / "cache", entries=entries)
    result, stop = Result(NOW, dry_run=False), Stop()
    remove = IndexedDirectory.remove

    def stopping(store: IndexedDirectory, files: Sequence[FileTarget]) -> Sequence[Removal]:
        stop.exit_code = ExitCode.INTERRUPTED
        return remove(store, files)

    monkeypatch.setattr(IndexedDirectory, "remove", stopping)
    with closing(open_sample(sample)) as store:
        after = job.clean_cache(store, CachePolicy(), work_on(result, stop))
    assert after is not None
    assert after.totals.entry_count == len(read_index(sample.index)) == 3
    assert result.cache is not None
    assert result.cache.removed_count == 2
    assert list(result.problems) == list(result.cache.problems) == []


def test_a_survey_ends_where_the_process_was_asked_to_end_a_while_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = make_cache(tmp_path / "cache", entries=[EntrySpec(age=timedelta(days=20))])
    monkeypatch.setattr(signals, "GRACE", -1.0)
    result = Result(NOW, dry_run=False)
    with closing(open_sample(sample)) as store:
        signals.hear(signal.SIGTERM)
        try:
            with pytest.raises(TargetError, match="before all of it had been surveyed"):
                job.clean_cache(store, CachePolicy(), work_on(result))
        finally:
            signals.forget()
        assert not result.targets
        assert job.clean_cache(store, CachePolicy(), work_on(result)) is not None
    assert [target.removed_count for target in result.targets] == [1]


_YOUNG = EntrySpec(age=timedelta(days=1))


@pytest.mark.parametrize("part", ["batches", "look", "unmatched"])
def test_each_pass_over_a_cache_ends_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    sample = make_cache(tmp_path / "cache", entries=[_YOUNG, replace(_YOUNG, file=False)])
    monkeypatch.setattr(signals, "GRACE", -1.0)
    with closing(open_sample(sample)) as store, store.survey() as survey:
        assert isinstance(survey, IndexSurvey)
        seen = CountedSurvey(survey, NoProgress())
        if part != "batches":
            list(seen.batches())
        if part == "unmatched":
            assert survey.seen.audio.names
        signals.hear(signal.SIGTERM)
        try:
            with pytest.raises(TargetError, match="before all of it had been surveyed"):
                list(seen.batches()) if part == "batches" else seen.unmatched()
        finally:
            signals.forget()


class PanicError(BaseException):
    """What a library in another language may raise: no ``Exception``."""


@pytest.mark.parametrize("fault", [PanicError("panicked"), ValueError("so many digits")])
@pytest.mark.parametrize("step", ["locked", "recover", "survey", "remove"])
def test_whatever_the_cache_raises_the_requests_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, fault: BaseException
) -> None:
    sample = make_sample(tmp_path)
    before = read_index(sample.cache.index)

    def failing(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(IndexedDirectory, step, failing)
    arguments = ["run", "--json", "--cache-dir", str(sample.cache.directory)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    with stopped_clock():
        done = CliRunner().invoke(
            app, [*arguments, "--requests-db", str(sample.database)], env=environment
        )
    assert done.exit_code == 3, done.output
    document = json.loads(done.stdout)
    assert document["outcome"] == "partial"
    assert document["requests"]["cancelled_count"] > 0
    assert "Traceback" not in done.output
    assert read_index(sample.cache.index) == before
    history = CliRunner().invoke(app, ["history", "--json"], env=environment)
    assert json.loads(history.stdout)["runs"][0]["outcome"] == "partial"


def test_the_cache_is_cleaned_before_the_requests_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = make_sample(tmp_path)
    before = len(read_index(sample.cache.index))
    left: list[int] = []
    survey = SqliteRequests.survey

    def noting(store: SqliteRequests) -> RequestSurvey:
        left.append(len(read_index(sample.cache.index)))
        return survey(store)

    monkeypatch.setattr(SqliteRequests, "survey", noting)
    arguments = ["run", "--cache-dir", str(sample.cache.directory)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    with stopped_clock():
        done = CliRunner().invoke(
            app, [*arguments, "--requests-db", str(sample.database)], env=environment
        )
    assert done.exit_code == 0, done.output
    assert 0 < left[0] < before


def test_what_no_run_can_remove_is_a_problem_once(tmp_path: Path) -> None:
    entries = [EntrySpec(age=timedelta(days=days)) for days in (9, 8, 1)]
    sample = make_cache(tmp_path / "cache", entries=entries)
    link = sample.directory / sample.entries[0].name
    link.unlink()
    link.symlink_to(sample.entries[2].name)
    arguments = ["run", "--json", "--cache-dir", str(sample.directory)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    with stopped_clock():
        first, second = (CliRunner().invoke(app, arguments, env=environment) for _ in range(2))
        other = sample.directory / "other.mp3"
        other.symlink_to(sample.entries[2].name)
        index = read_index(sample.index)
        fields = dict(index[sample.entries[0].key])
        index["other"] = fields | {"file_path": str(other)}
        write_index(sample.index, index)
        third, fourth = (CliRunner().invoke(app, arguments, env=environment) for _ in range(2))
    assert (first.exit_code, second.exit_code) == (3, 0)
    assert (third.exit_code, fourth.exit_code) == (3, 0)
    (known,) = json.loads(second.stdout)["problems"]
    assert (known["code"], known["severity"]) == ("odd_file", "warning")
    problems = json.loads(third.stdout)["problems"]
    assert [each["severity"] for each in problems] == ["warning", "problem"]
    assert link.is_symlink()


def test_a_file_that_cannot_be_put_back_is_a_problem_once(tmp_path: Path) -> None:
    sample = make_cache(tmp_path / "cache", entries=[EntrySpec(age=timedelta(days=1))])
    own = sample.directory / ".narration-cleanup"
    own.mkdir()
    arguments = ["run", "--json", "--cache-dir", str(sample.directory)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    runs = []
    with stopped_clock():
        for name in ("one.mp3", "other.mp3"):
            (sample.directory / name).mkdir()
            (own / name).write_bytes(b"staged")
            runs += [CliRunner().invoke(app, arguments, env=environment) for _ in range(2)]
    assert [run.exit_code for run in runs] == [3, 0, 3, 0]
    problems = json.loads(runs[-1].stdout)["problems"]
    assert [(each["code"], each["subject"]) for each in problems] == [
        ("not_put_back", "one.mp3"),
        ("not_put_back", "other.mp3"),
    ]
    assert sorted(os.listdir(own)) == ["one.mp3", "other.mp3"]


def test_a_read_only_cache_is_reported_each_time_also_where_all_work_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [EntrySpec(age=timedelta(days=days)) for days in (9, 1)]
    sample = make_cache(tmp_path / "cache", entries=entries)
    link = sample.directory / sample.entries[0].name
    link.unlink()
    link.symlink_to(sample.entries[1].name)
    arguments = ["run", "--json", "--cache-dir", str(sample.directory)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    with stopped_clock():
        runs = [CliRunner().invoke(app, arguments, env=environment) for _ in range(2)]
        monkeypatch.setattr(staging, "is_read_only", lambda _: True)
        runs += [CliRunner().invoke(app, arguments, env=environment) for _ in range(2)]
    assert [run.exit_code for run in runs] == [3, 0, 1, 1]
    (problem,) = json.loads(runs[-1].stdout)["problems"]
    assert problem["code"] == "not_writable"
    assert "read-only: nothing was removed" in problem["message"]


def test_a_cause_that_was_gone_in_between_is_a_problem_again(tmp_path: Path) -> None:
    entries = [EntrySpec(age=timedelta(days=days)) for days in (9, 1)]
    sample = make_cache(tmp_path / "cache", entries=entries)
    link = sample.directory / sample.entries[0].name
    arguments = ["run", "--json", "--cache-dir", str(sample.directory)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    index = sample.index.read_bytes()
    codes = []
    with stopped_clock():
        for is_there in (True, True, False, True, True):
            link.unlink(missing_ok=True)
            sample.index.write_bytes(index)
            if is_there:
                link.symlink_to(sample.entries[1].name)
            codes.append(CliRunner().invoke(app, arguments, env=environment).exit_code)
    assert codes == [3, 0, 0, 3, 0]


def test_files_of_which_none_can_be_removed_are_a_problem_each_time(tmp_path: Path) -> None:
    """Then the folder is at fault: it is sticky, and all is another user's, for example."""
    entries = [EntrySpec(age=timedelta(days=days)) for days in (9, 9, 9, 1, 1, 1, 1, 1, 1, 1)]
    sample = make_cache(tmp_path / "cache", entries=entries)
    for entry in sample.entries[:3]:
        (sample.directory / entry.name).unlink()
        (sample.directory / entry.name).symlink_to(sample.entries[3].name)
    arguments = ["run", "--json", "--cache-dir", str(sample.directory)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    with stopped_clock():
        runs = [CliRunner().invoke(app, arguments, env=environment) for _ in range(3)]
        (sample.directory / sample.entries[0].name).unlink()
        (sample.directory / sample.entries[0].name).write_bytes(b"old")
        os.utime(sample.directory / sample.entries[0].name, (0, 0))
        runs += [CliRunner().invoke(app, arguments, env=environment) for _ in range(2)]
    assert [run.exit_code for run in runs] == [3, 3, 3, 3, 0]
    assert len(read_index(sample.index)) == 9


def test_an_item_that_cannot_be_removed_for_another_reason_is_a_problem_again(
    tmp_path: Path,
) -> None:
    entries = [EntrySpec(age=timedelta(days=days)) for days in (9, 8, 1)]
    sample = make_cache(tmp_path / "cache", entries=entries)
    audio = sample.directory / sample.entries[0].name
    audio.unlink()
    audio.symlink_to(sample.entries[2].name)
    arguments = ["run", "--json", "--cache-dir", str(sample.directory)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    with stopped_clock():
        runs = [CliRunner().invoke(app, arguments, env=environment) for _ in range(2)]
        audio.unlink()
        audio.mkdir()
        runs += [CliRunner().invoke(app, arguments, env=environment) for _ in range(2)]
    assert [run.exit_code for run in runs] == [3, 0, 3, 0]
    assert audio.is_dir()
    assert (sample.directory / sample.entries[2].name).is_file()


def test_an_entry_and_a_row_that_no_run_can_clean_are_problems_once(tmp_path: Path) -> None:
    """Each later run cleans what it can, and is a success; a new fault is a problem again."""
    sample = make_sample(tmp_path)
    index = read_index(sample.cache.index)
    fields = next(iter(index.values()))
    index["no-time"] = dict(fields) | {"created_at": "the day before"}
    index["elsewhere"] = dict(fields) | {"file_path": "/srv/elsewhere/old.mp3"}
    write_index(sample.cache.index, index)
    arguments = ["run", "--json", "--cache-dir", str(sample.cache.directory)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    with stopped_clock():
        first, second = (CliRunner().invoke(app, arguments, env=environment) for _ in range(2))
        index = read_index(sample.cache.index)
        index["no-time-either"] = dict(fields) | {"created_at": "yesterday"}
        write_index(sample.cache.index, index)
        third = CliRunner().invoke(app, arguments, env=environment)
    assert (first.exit_code, second.exit_code, third.exit_code) == (3, 0, 3)
    known = {each["code"]: each["severity"] for each in json.loads(second.stdout)["problems"]}
    assert known["unreadable_time"] == known["outside_cache"] == "warning"
    assert {"no-time", "elsewhere", "no-time-either"} <= read_index(sample.cache.index).keys()


def test_a_thousand_items_that_no_run_can_clean_are_problems_once(tmp_path: Path) -> None:
    """They are told by their number, and a new one among them by its name."""
    entries = [EntrySpec(age=timedelta(days=1))] * 1_100 + [EntrySpec(age=timedelta(days=9))]
    sample = make_cache(tmp_path / "cache", entries=entries)
    index = read_index(sample.index)
    fields = next(iter(index.values()))
    odd = {f"odd-{number}": dict(fields) | {"created_at": "once"} for number in range(1_000)}
    write_index(sample.index, index | odd)
    arguments = ["run", "--cache-dir", str(sample.directory), "--log-format", "json"]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}

    def run() -> tuple[int, list[str]]:
        with stopped_clock():
            done = CliRunner().invoke(app, arguments, env=environment)
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        said = [f"{each['level']} {each['message']}" for each in lines if "code" in each]
        return done.exit_code, said

    code, (line,) = run()
    assert code == 3
    assert line.startswith("ERROR ")
    assert "and 999 more for the same reason" in line
    for _ in range(2):
        code, (line,) = run()
        assert code == 0
        assert line.startswith("WARNING Cache: 1,000 items that an earlier run reported")
    index = read_index(sample.index)
    del index["odd-0"]
    write_index(sample.index, index)
    assert run()[0] == 0
    # A new one is written, and then an old one is mended: neither hides the other.
    write_index(sample.index, {"odd-new": odd["odd-0"]} | index)
    code, (error, warning) = run()
    assert code == 3
    assert error.startswith("ERROR ")
    assert "(odd-new)" in error
    assert warning.startswith("WARNING Cache: 999 items")
    assert run()[0] == 0


@pytest.mark.parametrize("kept", [MOST_KEPT, 600])
def test_a_thousand_rows_that_a_trigger_refuses_are_problems_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    """Of more than are kept, those that are only counted are known where all that are kept are."""
    monkeypatch.setattr(model, "MOST_KEPT", kept)
    database = tmp_path / "requests.db"
    rows = [RequestSpec("queued", timedelta(hours=9)) for _ in range(1_000)]
    rows += [RequestSpec("completed", timedelta(hours=9)) for _ in range(1_200)]
    made = make_requests(database, rows=rows)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            f"CREATE TRIGGER t BEFORE UPDATE ON requests WHEN old.request_id <> "
            f"'{made[0].request_id}' BEGIN {ABORT} END"
        )
    arguments = ["run", "--json", "--requests-db", str(database)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    with stopped_clock():
        first, second = (CliRunner().invoke(app, arguments, env=environment) for _ in range(2))
    assert (first.exit_code, second.exit_code) == (3, 0), second.output
    assert json.loads(first.stdout)["requests"]["cancelled_count"] == 1
    assert {each["severity"] for each in json.loads(second.stdout)["problems"]} == {"warning"}
    assert json.loads(second.stdout)["requests"]["failed_count"] == 999
    with closing(sqlite3.connect(database)) as connection, connection:
        row = "-1, 'new', 'v', 's', 'queued', '2026-11-20T00:00:00'"
        names = "rowid, request_id, variant_id, voice_style, status, created_at"
        connection.execute(f"INSERT INTO requests ({names}) VALUES ({row})")
    with stopped_clock():
        third = CliRunner().invoke(app, arguments, env=environment)
    # One row shows nothing of the table; which of those that are only counted are new is not known.
    assert third.exit_code == (3 if kept == MOST_KEPT else 1)


def _requests(tmp_path: Path, *triggers: str) -> Callable[[], tuple[int, dict[str, str]]]:
    """Runs over three abandoned requests and a fresh one, q0 to q3, in a table with triggers: the
    exit code of each, and the codes of its problems with their severities."""
    database = tmp_path / "requests.db"
    ages = [timedelta(hours=9)] * 3 + [timedelta(minutes=1)]
    made = make_requests(database, rows=[RequestSpec("queued", age) for age in ages])
    with closing(sqlite3.connect(database)) as connection:
        for number, row in enumerate(made):
            name = (f"q{number}", row.request_id)
            connection.execute("UPDATE requests SET request_id = ? WHERE request_id = ?", name)
        connection.commit()
        for number, trigger in enumerate(triggers):
            connection.execute(f"CREATE TRIGGER t{number} BEFORE UPDATE ON requests {trigger} END")
    arguments = ["run", "--json", "--requests-db", str(database)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}

    def run() -> tuple[int, dict[str, str]]:
        with stopped_clock():
            done = CliRunner().invoke(app, arguments, env=environment)
        found = json.loads(done.stdout)["problems"]
        return done.exit_code, {each["code"]: each["severity"] for each in found}

    return run


ABORT = "SELECT RAISE(ABORT, 'held by the audit');"
IGNORE = "SELECT RAISE(IGNORE);"


@pytest.mark.parametrize(("what", "code"), [(ABORT, "row_refused"), (IGNORE, "not_changed")])
def test_one_row_that_a_trigger_refuses_is_a_problem_once(
    tmp_path: Path, what: str, code: str
) -> None:
    run = _requests(tmp_path, f"WHEN old.request_id = 'q1' BEGIN {what}")
    assert run() == (3, {code: "problem"})
    assert [run(), run()] == [(0, {code: "warning"})] * 2
    with closing(sqlite3.connect(tmp_path / "requests.db")) as connection:
        status = dict(connection.execute("SELECT request_id, status FROM requests"))
        assert status == {"q0": "cancelled", "q1": "queued", "q2": "cancelled", "q3": "queued"}
        connection.execute("DROP TRIGGER t0")
    assert run() == (0, {})
    with closing(sqlite3.connect(tmp_path / "requests.db")) as connection:
        status = dict(connection.execute("SELECT request_id, status FROM requests"))
    assert status["q1"] == "cancelled"


@pytest.mark.parametrize(("what", "code"), [(ABORT, "row_refused"), (IGNORE, "not_changed")])
def test_a_table_in_which_no_row_can_be_changed_is_a_problem_each_time(
    tmp_path: Path, what: str, code: str
) -> None:
    run = _requests(tmp_path, f"BEGIN {what}")
    exits = {"row_refused": 1, "not_changed": 3}
    assert [run() for _ in range(3)] == [(exits[code], {code: "problem"})] * 3


def test_one_row_alone_that_is_refused_makes_one_run_partial(tmp_path: Path) -> None:
    run = _requests(tmp_path, f"WHEN old.request_id = 'q1' BEGIN {ABORT}")
    with closing(sqlite3.connect(tmp_path / "requests.db")) as connection, connection:
        connection.execute("DELETE FROM requests WHERE request_id IN ('q0', 'q2')")
    assert [run(), run()] == [(3, {"row_refused": "problem"}), (0, {"row_refused": "warning"})]


def test_rows_behind_one_that_takes_too_long_are_not_taken_for_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They could be cancelled: no later run is a success as long as they are not tried."""
    monkeypatch.setattr(query_limit, "SECONDS", 0.2)
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c"
    run = _requests(
        tmp_path,
        f"WHEN old.request_id = 'q1' BEGIN {ABORT}",
        f"WHEN old.request_id = 'q2' BEGIN SELECT count(*) FROM ({endless});",
    )
    with closing(sqlite3.connect(tmp_path / "requests.db")) as connection, connection:
        old = "(SELECT created_at FROM requests WHERE request_id = 'q2')"
        connection.execute(f"UPDATE requests SET created_at = {old} WHERE request_id = 'q3'")
        more = [(f"done {number}",) for number in range(9)]
        names = "request_id, variant_id, voice_style, status, created_at"
        add = f"INSERT INTO requests ({names}) VALUES (?, 'v', 's', 'completed', {old})"
        connection.executemany(add, more)
    too_long = {"query_too_costly": "problem"}
    assert run() == (3, {"row_refused": "problem"} | too_long)
    assert [run(), run()] == [(1, {"row_refused": "warning"} | too_long)] * 2
    with closing(sqlite3.connect(tmp_path / "requests.db")) as connection:
        status = dict(connection.execute("SELECT request_id, status FROM requests LIMIT 4"))
        assert status == {"q0": "cancelled", "q1": "queued", "q2": "queued", "q3": "queued"}
        connection.execute("DROP TRIGGER t1")
    assert run() == (0, {"row_refused": "warning"})


def test_of_items_reported_before_the_log_has_the_number_alone(tmp_path: Path) -> None:
    run = _requests(tmp_path, f"WHEN old.request_id IN ('q1', 'q2') BEGIN {ABORT}")
    run()
    arguments = ["run", "--requests-db", str(tmp_path / "requests.db")]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    with stopped_clock():
        plain, verbose = (
            CliRunner().invoke(app, [*arguments, *more], env=environment).output.splitlines()
            for more in ((), ("-v",))
        )
    about = [line for line in plain if "[row_refused]" in line]
    assert len(about) == 1
    assert "2 items that an earlier run reported" in about[0]
    assert not [line for line in plain if "ERROR" in line]
    assert len([line for line in verbose if "held by the audit" in line]) == 2
    metrics = {"NARRATION_METRICS_TEXTFILE": str(tmp_path / "page.prom")}
    with stopped_clock():
        CliRunner().invoke(app, arguments, env=environment | metrics)
    page = (tmp_path / "page.prom").read_text()
    assert "narration_cleanup_last_run_success 1\n" in page
    assert "narration_cleanup_last_run_errors 0\n" in page


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for chattr")
def test_a_file_that_chattr_has_fixed_is_a_problem_once(tmp_path: Path) -> None:
    sample = make_cache(
        tmp_path / "cache", entries=[EntrySpec(age=timedelta(days=days)) for days in (9, 8, 1)]
    )
    fixed = sample.directory / sample.entries[0].name
    if subprocess.run(["chattr", "+i", fixed], capture_output=True).returncode:
        pytest.skip("this file system has no such flag")
    arguments = ["run", "--json", "--cache-dir", str(sample.directory)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    try:
        with stopped_clock():
            first, second = (CliRunner().invoke(app, arguments, env=environment) for _ in range(2))
    finally:
        subprocess.run(["chattr", "-i", fixed], check=True)
    assert (first.exit_code, second.exit_code) == (3, 0)
    (problem,) = json.loads(first.stdout)["problems"]
    assert problem["code"] == "odd_file"
    assert "chattr -i" in problem["message"]
    assert json.loads(first.stdout)["cache"]["removed_count"] == 1
    assert fixed.exists()
    assert sample.entries[0].key in read_index(sample.index)
