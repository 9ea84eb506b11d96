"""What a run says of its work where a store fails in the middle of it."""

import errno
import os
import signal
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from narration_cleanup.apply import apply
from narration_cleanup.apply.apply import apply_cache, apply_requests
from narration_cleanup.apply.result import CacheResult
from narration_cleanup.core import signals
from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.model import NoProgress, Ref, RequestStatus
from narration_cleanup.core.signals import Stop, stop_on_signals
from narration_cleanup.plan import (
    CachePlan,
    CachePolicy,
    RequestPlan,
    RequestPolicy,
    plan_cache,
    plan_requests,
)
from narration_cleanup.plan.actions import (
    Action,
    Actions,
    Outcome,
    Reason,
)
from narration_cleanup.plan.types import CacheTotals, RequestTotals
from narration_cleanup.stores.cache import CommitReport, FileTarget, Removal, StoppedError
from narration_cleanup.stores.cache.local.indexed import IndexedDirectory
from narration_cleanup.stores.cache.local.own_folder import Folders, StagingDir
from narration_cleanup.stores.cache.local.unindexed import AudioTree
from narration_cleanup.stores.requests.mapping import RequestMapping
from narration_cleanup.stores.requests.sqlite.table import SqliteRequests
from tests.opened import closed_later, open_sample
from tests.samples import (
    SAMPLE_NOW,
    CacheSample,
    EntrySpec,
    RequestSpec,
    make_cache,
    make_requests,
    read_index,
    read_requests,
)

NOW = SAMPLE_NOW.timestamp()


@pytest.fixture
def sample(tmp_path: Path) -> CacheSample:
    entries = [EntrySpec(age=timedelta(days=days), size=100 + days) for days in (20, 9, 8, 6, 1)]
    return make_cache(tmp_path / "cache" / "narration", entries=entries)


@pytest.fixture
def store(sample: CacheSample) -> Iterator[IndexedDirectory]:
    opened = open_sample(sample)
    yield opened
    opened.close()


def plan(store: IndexedDirectory) -> CachePlan:
    with store.survey() as survey:
        return plan_cache(survey, CachePolicy(), NOW)


def outcomes(result: CacheResult) -> list[str]:
    return [outcome.value for _, outcome, _ in result.outcomes]


@pytest.mark.parametrize(
    "fault", [OSError(errno.EIO, os.strerror(errno.EIO), "x"), TargetError("lost", "it is lost")]
)
def test_what_went_before_a_store_failed_leaves_the_index(
    sample: CacheSample,
    store: IndexedDirectory,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
) -> None:
    monkeypatch.setattr(apply, "FILES_AT_A_TIME", 1)
    remove = IndexedDirectory.remove

    def failing(store: IndexedDirectory, files: Sequence[FileTarget]) -> Sequence[Removal]:
        if files[0].name == sample.entries[1].name:
            raise fault
        return remove(store, files)

    monkeypatch.setattr(IndexedDirectory, "remove", failing)
    result = apply_cache(plan(store), store, Stop(), NoProgress())
    assert outcomes(result) == ["done", "failed", "failed"]
    assert len(result.problems) == 1
    left = [entry.key for entry in sample.entries[1:]]
    assert list(read_index(sample.index)) == left


def test_what_a_store_removed_before_it_stopped_is_done_and_the_rest_has_one_message(
    sample: CacheSample, store: IndexedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = IndexedDirectory.remove

    def stopping(store: IndexedDirectory, files: Sequence[FileTarget]) -> Sequence[Removal]:
        rest = [Removal(Outcome.FAILED, note="it is lost")] * (len(files) - 1)
        raise StoppedError(TargetError("lost", "it is lost"), [*remove(store, files[:1]), *rest])

    monkeypatch.setattr(IndexedDirectory, "remove", stopping)
    result = apply_cache(plan(store), store, Stop(), NoProgress())
    assert outcomes(result) == ["done", "failed", "failed"]
    assert [(each.code, each.subject) for each in result.problems] == [("lost", None)]
    assert result.freed_bytes == sample.entries[0].size
    assert list(read_index(sample.index)) == [entry.key for entry in sample.entries[1:]]


class Remote(AudioTree):
    """Where each file takes ``each`` seconds, by a clock that nothing else moves."""

    each = 0.0
    clock = 0.0

    def remove(self, files: Sequence[FileTarget]) -> Sequence[Removal]:
        self.clock += self.each * len(files)
        return [Removal(Outcome.DONE)] * len(files)


@pytest.mark.parametrize(("each", "most"), [(0.008, 1_024), (0.000_5, 2_000), (0.000_05, 8_192)])
def test_a_stop_is_heard_soon_wherever_the_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, each: float, most: int
) -> None:
    actions = Actions()
    for number in range(30_000):
        name = f"{number}.mp3"
        actions.append(Action(Reason.PARTIAL, name, "", name, 1))
    store = Remote(tmp_path, audio_suffixes=(".mp3",))
    store.each = each
    monkeypatch.setattr("narration_cleanup.core.deadline._monotonic", lambda: store.clock)
    batches: list[int] = []

    class Counting(NoProgress):
        def advance(self, count: int = 1) -> None:
            batches.append(count)

    planned = CachePlan(CacheTotals(ttl=0.0), actions=actions)
    result = apply_cache(planned, store, Stop(), Counting())
    store.close()
    assert result.outcomes.count(Outcome.DONE) == sum(batches) == 30_000
    assert max(batches) == most
    assert max(batches) * each < 10


def test_an_index_that_cannot_be_followed_up_is_told_of_every_entry(
    sample: CacheSample, store: IndexedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: IndexedDirectory, entries: Iterable[tuple[Ref, str]]) -> CommitReport:
        raise OSError(errno.EIO, os.strerror(errno.EIO), "x")

    planned = plan(store)
    monkeypatch.setattr(IndexedDirectory, "remove_entries", failing)
    result = apply_cache(planned, store, Stop(), NoProgress())
    assert outcomes(result) == ["done"] * 3
    assert result.entries_left == 3
    assert [problem.code for problem in result.problems] == ["index_not_replaced"]
    assert result.freed_bytes == 120 + 109 + 108


def test_files_that_fail_for_one_reason_have_one_message_and_are_its_subjects(
    sample: CacheSample, store: IndexedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: StagingDir, name: str, folders: Folders) -> str:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), name)

    monkeypatch.setattr(StagingDir, "take", failing)
    result = apply_cache(plan(store), store, Stop(), NoProgress())
    (message,) = {problem.message for problem in result.problems}
    assert message.startswith("not removed: Read-only file system; ")
    expired = sample.entries[:3]
    assert [problem.subject for problem in result.problems] == [each.key for each in expired]
    notes = [note for _, _, note in result.outcomes]
    assert notes == [f"{each.name}: Read-only file system" for each in expired]
    assert set(read_index(sample.index)) == {each.key for each in sample.entries}


def test_rows_that_a_stop_leaves_in_the_middle_of_a_batch_have_not_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that the database refused has: the others were not tried, or were given up."""
    monkeypatch.setattr(signals, "GRACE", 0.0)
    database = tmp_path / "requests.db"
    make_requests(database, rows=[RequestSpec("queued", age=timedelta(days=9))] * 4)
    before = read_requests(database)
    first = min(before)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(
            f"CREATE TRIGGER t BEFORE UPDATE ON requests WHEN new.request_id = '{first}' BEGIN"
            " SELECT RAISE(ABORT, 'no'); END"
        )
        connection.execute(
            f"CREATE TRIGGER u BEFORE UPDATE ON requests WHEN new.request_id <> '{first}' BEGIN"
            " SELECT count(*) FROM (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
            " SELECT x FROM c); END"
        )
    requests = SqliteRequests(database, RequestMapping())
    closed_later(requests)
    planned = plan_requests(requests.survey(), RequestPolicy(), NOW)
    with stop_on_signals() as (stop, _):
        change = requests.cancel

        def cancel(batch: Sequence[Action], at: float) -> Sequence[Outcome]:
            signal.raise_signal(signal.SIGTERM)
            return change(batch, at)

        monkeypatch.setattr(requests, "cancel", cancel)
        result = apply_requests(planned, requests, NOW, stop, NoProgress())
    found = {str(action.id): (outcome, note) for action, outcome, note in result.outcomes}
    assert found.pop(first) == (Outcome.FAILED, None)
    assert set(found.values()) == {(Outcome.SKIPPED, "the run was stopped before it")}
    assert len(found) == 3
    assert [problem.code for problem in result.problems] == ["stopped", "row_refused"]
    requests.close()
    assert read_requests(database) == before


def test_deleted_rows_are_told_of_although_the_figures_after_them_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "requests.db"
    rows = make_requests(database, rows=[RequestSpec("completed", age=timedelta(days=40))])
    requests = SqliteRequests(database, RequestMapping())
    closed_later(requests)
    (page,) = requests.survey().finished(NOW)
    actions = Actions()
    actions.append(
        Action(
            Reason.FINISHED,
            page[0].id,
            "",
            status=RequestStatus.COMPLETED,
            age_seconds=1.0,
            guard=page[0].guard,
            place=page[0].place,
        )
    )

    def busy(_: SqliteRequests) -> int | None:
        raise TargetError("database_locked", "another process kept the database locked")

    monkeypatch.setattr(SqliteRequests, "free_pages", busy)
    planned = RequestPlan(RequestTotals(), actions=actions)
    result = apply_requests(planned, requests, NOW, Stop(), NoProgress())
    requests.close()
    assert list(result.problems) == []
    assert result.deleted_count == len(rows) == 1
    assert read_requests(database) == {}
