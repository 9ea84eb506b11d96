"""The run history: what is kept, what is forgotten, and that nothing in it stops a clean-up."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from narration_cleanup.apply.result import Outcomes, Result
from narration_cleanup.core import query_limit, signals
from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.model import Problem, Target
from narration_cleanup.plan.actions import Action, Outcome, Reason
from narration_cleanup.report.history import FILE_NAME, ClockMark, ProcessMark, read_history
from narration_cleanup.report.history.store import History, open_history
from narration_cleanup.report.run_record import Counters, Places, items_of, record_of
from tests.results import A_PROBLEM, NOW, make_result
from tests.samples import tree_digest

HOUR = 3_600.0
GONE = ProcessMark(2**22 + 1, 1, "another boot")


class Told(list[str]):
    """What the history warned about."""

    def __call__(self, text: str) -> None:
        self.append(text)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def history(tmp_path: Path, told: Told) -> Iterator[History]:
    opened = open_history(tmp_path / "state", warn=told, at=NOW)
    assert opened is not None
    yield opened
    opened.close()


def run_once(history: History, at: float, *, cancelled: int = 0, failed: bool = False) -> int:
    run_id = history.begin(at, trigger="timer", version="1.2.3")
    assert run_id is not None
    stopped = ExitCode.FAILED if failed else None
    result = make_result(started_at=at, removed=1, cancelled=cancelled, stopped=stopped)
    history.finish(run_id, record_of(result))
    return run_id


def run_with_items(history: History, at: float, result: Result, *, keep: int = 100) -> int:
    run_id = history.begin(at, trigger="timer", version="1.2.3")
    assert run_id is not None
    history.finish(run_id, record_of(result), items_of(result, keep))
    history.prune(keep_days=10**6, keep_runs=100, keep_items=keep, now=at)
    return run_id


def counters_of(history: History) -> Counters:
    counters = history.counters()
    assert counters is not None
    return counters


def test_a_run_is_kept_whole(history: History, told: Told) -> None:
    run_id = history.begin(NOW, trigger="timer", version="1.2.3")
    record = record_of(make_result(removed=3, cancelled=2, problems=(A_PROBLEM,)), limit_bytes=99)
    kept = history.finish(run_id, record)
    assert (kept.id, kept.trigger, kept.version) == (run_id, "timer", "1.2.3")
    assert history.run(kept.id) == kept
    assert history.runs() == [kept]
    assert history.last_run() == kept
    assert kept.problems == [A_PROBLEM]
    assert kept.cache_state == record.cache_state
    assert told == []


def test_a_run_is_seen_from_its_start(history: History) -> None:
    run_id = history.begin(NOW, trigger="hand", version="1")
    running = history.running()
    assert running is not None
    assert (running.id, running.outcome, running.finished_at) == (run_id, "running", None)
    assert history.last_run() is None


def test_a_killed_run_is_seen_at_once_and_settled_by_the_next(history: History) -> None:
    killed = history.begin(NOW, trigger="timer", version="1", process=GONE)
    assert killed is not None
    assert history.running() is None
    seen = history.run(killed)
    assert seen is not None
    assert seen.outcome == "killed"
    assert "killed" in seen.message
    assert counters_of(history).runs == {"killed": 1}
    run_once(history, NOW + HOUR)
    assert [run.outcome for run in history.runs()] == ["success", "killed"]
    assert counters_of(history).runs == {"killed": 1, "success": 1}


def test_a_really_killed_process_is_seen(tmp_path: Path, told: Told) -> None:
    """A process begins a run and is killed: no later process with its pid can pass for it."""
    program = (
        "import sys; from pathlib import Path; from narration_cleanup.report.history.store import "
        "open_history\n"
        "history = open_history(Path(sys.argv[1]), warn=print, at=0)\n"
        "history.begin(0, trigger='hand', version='1'); print('begun', flush=True); input()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    with child:
        assert child.stdout.readline() == "begun\n"
        history = read_history(tmp_path, warn=told)
        assert history is not None
        running = history.running()
        assert running is not None
        child.kill()
        child.wait()
        assert history.running() is None
        assert [run.outcome for run in history.runs()] == ["killed"]


def test_twenty_runs_of_which_three_fail_and_one_is_killed(history: History) -> None:
    for number in range(20):
        at = NOW + number * 6 * HOUR
        if number == 11:
            history.begin(at, trigger="timer", version="1", process=GONE)
        else:
            run_once(history, at, failed=number in (3, 7, 18))
    outcomes = [run.outcome for run in history.runs()]
    expected = ["success"] * 20
    expected[11] = "killed"
    for number in (3, 7, 18):
        expected[number] = "failed"
    assert outcomes == expected[::-1]
    counters = counters_of(history)
    assert counters.runs == {"success": 16, "failed": 3, "killed": 1}
    assert counters.removed_bytes == 16_000
    assert counters.last_success_at == NOW + 19 * 6 * HOUR + 1.5


def test_a_failure_keeps_the_time_of_the_last_success(history: History) -> None:
    run_once(history, NOW)
    run_once(history, NOW + HOUR, failed=True)
    counters = counters_of(history)
    assert counters.last_success_at == NOW + 1.5


def test_a_busy_run_is_kept_but_is_nobodys_last_run(history: History) -> None:
    first = run_once(history, NOW)
    busy = history.begin(NOW + 1, trigger="hand", version="1")
    history.finish(busy, record_of(make_result(started_at=NOW + 1, stopped=ExitCode.BUSY)))
    last = history.last_run()
    assert last is not None
    assert last.id == first
    assert [run.outcome for run in history.runs()] == ["busy", "success"]


def test_runs_are_chosen_by_number_and_time(history: History) -> None:
    ids = [run_once(history, NOW + number * HOUR) for number in range(5)]
    assert [run.id for run in history.runs(limit=2)] == [ids[4], ids[3]]
    assert [run.id for run in history.runs(since=NOW + 3 * HOUR)] == [ids[4], ids[3]]
    assert history.run(999) is None


def test_pruning_forgets_by_age_and_number_and_counters_stay(history: History) -> None:
    ids = [run_once(history, NOW + number * 24 * HOUR) for number in range(10)]
    now = NOW + 9 * 24 * HOUR
    before = history.counters()
    assert history.prune(keep_days=5, keep_runs=100, keep_items=9, now=now) == 4
    assert [run.id for run in history.runs()] == ids[:3:-1]
    assert history.prune(keep_days=5, keep_runs=2, keep_items=9, now=now) == 4
    assert [run.id for run in history.runs()] == ids[:7:-1]
    assert history.counters() == before


def test_pruning_never_forgets_a_run_at_work(history: History) -> None:
    history.begin(NOW, trigger="hand", version="1")
    assert history.prune(keep_days=1, keep_runs=1, keep_items=9, now=NOW + 100 * 24 * HOUR) == 0
    assert history.running() is not None


def test_cancelled_requests_are_remembered_until_counted(history: History) -> None:
    history.remember_cancelled("requests.db", ["a", 7, "7"], NOW)
    assert set(map(repr, history.recently_cancelled("requests.db"))) == {"'a'", "7", "'7'"}
    assert history.recently_cancelled("elsewhere.db") == []
    history.forget_cancelled("requests.db", [7])
    assert set(history.recently_cancelled("requests.db")) == {"a", "7"}


def test_the_memory_of_cancelled_requests_is_bounded(history: History) -> None:
    history.remember_cancelled("db", ["old"], NOW)
    history.remember_cancelled("db", [f"id-{number}" for number in range(10_500)], NOW + 1)
    kept = history.recently_cancelled("db")
    assert len(kept) == 10_000
    assert "old" not in kept
    history.remember_cancelled("db", ["new"], NOW + 8 * 24 * HOUR)
    assert history.recently_cancelled("db") == ["new"]


def test_clock_marks_are_kept_newest_first(history: History) -> None:
    marks = [ClockMark("boot", 100.0 + n, NOW + n, refused=n == 1) for n in range(3)]
    for mark in marks:
        history.mark_clock(mark)
    assert history.clock_marks() == marks[::-1]
    for number in range(300):
        history.mark_clock(ClockMark(None, float(number), NOW))
    assert len(history.clock_marks()) == 200


def test_a_damaged_history_is_moved_aside_and_said(tmp_path: Path, told: Told) -> None:
    file = tmp_path / FILE_NAME
    file.write_bytes(b"this is no database, and long enough to be taken for one" * 100)
    history = open_history(tmp_path, warn=told, at=NOW)
    assert history is not None
    run_once(history, NOW)
    assert len(history.runs()) == 1
    (aside,) = tmp_path.glob("history.db.damaged-*")
    assert aside.name == "history.db.damaged-20261123T120000Z"
    assert aside.read_bytes().startswith(b"this is no database")
    assert len(told) == 1
    assert str(aside) in told[0]


def test_damage_met_in_the_middle_is_moved_aside_too(history: History, told: Told) -> None:
    """Pages overwritten after the opening: the run that ends then is still recorded."""
    for number in range(200):
        run_once(history, NOW + number)
    run_id = history.begin(NOW + 300, trigger="timer", version="9")
    history.close()
    data = bytearray(history.file.read_bytes())
    data[4096 : len(data) - 100] = os.urandom(len(data) - 4196)
    history.file.write_bytes(data)
    again = open_history(history.file.parent, warn=told, at=NOW + 301)
    assert again is not None
    kept = again.finish(run_id, record_of(make_result(started_at=NOW + 300)))
    assert again.run(kept.id) == kept
    again.close()
    assert len(told) == 1
    assert "damaged" in told[0]


@pytest.mark.parametrize("statement", ["DROP TABLE runs", "ALTER TABLE runs RENAME story TO tale"])
def test_a_history_without_its_tables_is_damaged(
    history: History, told: Told, statement: str
) -> None:
    history.close()
    with closing(sqlite3.connect(history.file)) as connection:
        connection.execute(statement)
    again = open_history(history.file.parent, warn=told, at=NOW)
    assert again is not None
    run_once(again, NOW)
    assert len(again.runs()) == 1
    again.close()
    assert len(told) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE cancelled SET id = substr(id, 1, length(id) - 1)",
        "UPDATE cancelled SET id = 7 WHERE id = '\"one\"'",
        "UPDATE OR IGNORE sums SET name = x'00ff'",
        "UPDATE sums SET value = 'many'",
        "UPDATE runs SET pid = 'x', outcome = NULL",
        "UPDATE clock SET wall = 'x'",
    ],
)
def test_one_odd_value_stops_no_run(history: History, told: Told, statement: str) -> None:
    """A bit may flip in a file that can be read as a whole."""
    run_once(history, NOW)
    history.remember_cancelled("db", ["one", "two"], NOW)
    history.mark_clock(ClockMark("boot", 1.0, NOW))
    with closing(sqlite3.connect(history.file)) as connection:
        assert connection.execute(statement).rowcount
        connection.commit()
    run_id = history.begin(NOW + 1, trigger="timer", version="1")
    history.recently_cancelled("db")
    history.clock_marks()
    history.counters()
    kept = history.finish(run_id, record_of(make_result(started_at=NOW + 1)))
    assert kept.outcome == "success"
    assert len(told) <= 1
    run_once(history, NOW + 2)
    assert history.runs()[0].started_at == NOW + 2


def test_names_that_are_no_utf_8_are_kept_as_escapes(history: History, told: Told) -> None:
    name = os.fsdecode(b"\xff.mp3")
    problem = Problem(Target.CACHE, "not_removed", f"not removed: {name}", name)
    run_id = history.begin(NOW, trigger="timer", version="1")
    kept = history.finish(run_id, record_of(make_result(problems=(problem,))))
    assert [found.subject for found in kept.problems] == ["\\udcff.mp3"]
    history.remember_cancelled(name, [name, "plain"], NOW)
    assert history.recently_cancelled(name) == ["plain"]
    assert history.run(kept.id) == kept
    assert told == []


def test_a_story_that_cannot_be_read_is_told_from_the_columns(history: History) -> None:
    run_id = run_once(history, NOW)
    with closing(sqlite3.connect(history.file)) as connection:
        connection.execute("UPDATE runs SET story = '{'")
        connection.commit()
    found = history.run(run_id)
    assert found is not None
    assert (found.outcome, found.trigger) == ("success", "timer")


def test_what_became_of_each_item_is_kept_with_its_run(history: History, told: Told) -> None:
    first = run_with_items(history, NOW, make_result(started_at=NOW, removed=2, failed=1))
    second = run_with_items(
        history, NOW + HOUR, make_result(started_at=NOW + HOUR, removed=1, cancelled=0)
    )
    kept = [(item.kind, item.name, item.file, item.outcome) for item in history.items_of(first)]
    assert kept == [
        ("remove_entry", "key-0", "key-0.mp3", "done"),
        ("remove_entry", "key-1", "key-1.mp3", "done"),
        ("remove_entry", "key-2", "key-2.mp3", "failed"),
        ("cancel_request", "id-0", None, "done"),
        ("cancel_request", "id-1", None, "done"),
    ]
    for name in ("key-0", "key-0.mp3"):
        found = history.items_named([name])
        assert [(item.run, item.at) for item in found] == [(second, NOW + HOUR), (first, NOW)]
        assert {(item.reason, item.detail) for item in found} == {("expired", "8 days old")}
    assert [item.run for item in history.items_named(["id-1", "nothing"])] == [first]
    assert history.items_named(["key"]) == []
    assert told == []


def test_only_the_newest_items_are_kept(history: History) -> None:
    first = run_with_items(history, NOW, make_result(removed=5, cancelled=0), keep=4)
    assert [item.name for item in history.items_of(first)] == ["key-1", "key-2", "key-3", "key-4"]
    second = run_with_items(history, NOW + HOUR, make_result(removed=1, cancelled=2), keep=4)
    assert [item.name for item in history.items_of(first)] == ["key-4"]
    assert [item.name for item in history.items_of(second)] == ["key-0", "id-0", "id-1"]
    last = run_with_items(history, NOW + 2 * HOUR, make_result(removed=5), keep=0)
    assert [history.items_of(run) for run in (first, second, last)] == [[], [], []]
    assert [run.removed_count for run in history.runs()] == [5, 1, 5]


def test_items_are_forgotten_with_their_run(history: History) -> None:
    first = run_with_items(history, NOW, make_result())
    second = run_with_items(history, NOW + HOUR, make_result())
    history.prune(keep_days=365, keep_runs=1, keep_items=100, now=NOW + HOUR)
    assert history.run(first) is None
    assert history.items_of(first) == []
    assert {item.run for item in history.items_named(["key-0"])} == {second}


def test_what_was_planned_and_not_tried_is_no_item(history: History) -> None:
    result = make_result(removed=2, cancelled=0)
    assert result.cache is not None
    result.cache.outcomes.set(1, Outcome.PLANNED)
    assert [item.name for item in items_of(result, 9)] == ["key-0"]


def test_a_name_of_any_length_takes_little_room(history: History, told: Told) -> None:
    name = "n" * 70_000 + "\udcff"
    result = make_result(removed=0, cancelled=0)
    assert result.cache is not None
    action = Action(Reason.EXPIRED, name, "old", file="\udcff.mp3", size_bytes=1)
    result.cache.plan.add(action)
    result.cache.outcomes = Outcomes(result.cache.plan.actions)
    result.cache.outcomes.set(0, Outcome.SKIPPED, "its file has changed")
    run_id = run_with_items(history, NOW, result)
    for asked in (name, "\udcff.mp3"):
        (item,) = history.items_named([asked])
        assert (item.run, len(item.name), item.file) == (run_id, 1_000, "\\udcff.mp3")
        assert (item.outcome, item.note) == ("skipped", "its file has changed")
    assert told == []


def test_items_of_another_cache_in_the_same_folder_are_not_found(
    tmp_path: Path, told: Told
) -> None:
    for places in (ONE, TWO):
        opened = open_history(tmp_path, warn=told, at=NOW, places=places)
        assert opened is not None
        run_with_items(opened, NOW, make_result())
        opened.close()
    looked = read_history(tmp_path, warn=told, places=TWO)
    assert looked is not None
    assert [item.run for item in looked.items_named(["key-0"])] == [2]
    looked.close()
    assert told == []


def test_a_damaged_item_is_no_end_of_the_history(history: History, told: Told) -> None:
    run_with_items(history, NOW, make_result())
    with closing(sqlite3.connect(history.file)) as connection:
        connection.execute("UPDATE items SET size_bytes = 'many' WHERE name = 'key-0'")
        connection.commit()
    looked = read_history(history.file.parent, warn=told)
    assert looked is not None
    assert looked.items_named(["key-0"]) == []
    assert len(told) == 1
    looked.close()


def test_a_newer_history_is_left_alone(history: History, told: Told) -> None:
    history.close()
    with closing(sqlite3.connect(history.file)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = tree_digest(history.file.parent)
    assert open_history(history.file.parent, warn=told, at=NOW) is None
    assert "newer version" in told[0]
    assert tree_digest(history.file.parent) == before


def test_a_state_directory_that_cannot_be_made_is_a_warning(tmp_path: Path, told: Told) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert open_history(tmp_path / "file" / "state", warn=told, at=NOW) is None
    assert len(told) == 1
    assert "\n" not in told[0]


def test_a_full_history_is_a_warning_and_the_run_goes_on(history: History, told: Told) -> None:
    assert history.db
    (pages,) = history.db.execute("PRAGMA page_count").fetchone()
    history.db.execute(f"PRAGMA max_page_count = {pages}")
    record = record_of(make_result(problems=(A_PROBLEM,) * 20))
    for number in range(100):
        run_id = history.begin(NOW + number, trigger="timer", version="1")
        assert history.finish(run_id, record).outcome == record.outcome
    assert len(told) == 1
    assert "full" in told[0]


def test_a_run_is_recorded_long_after_the_signal_that_stopped_it(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To survey a large cache takes longer than a query may go on after a signal."""
    monkeypatch.setattr(query_limit, "_STEPS", 1)
    monkeypatch.setattr(signals, "GRACE", 1.0)
    history = open_history(tmp_path / "state", warn=told, at=NOW)
    assert history is not None
    signals.hear(signal.SIGTERM)
    monkeypatch.setattr(signals._Heard, "at", signals._Heard.at - 60)
    run_once(history, NOW)
    signals.forget()
    assert history.last_run() is not None
    assert told == []
    history.close()


def test_a_history_locked_by_another_is_waited_for(history: History, told: Told) -> None:
    other = sqlite3.connect(history.file, isolation_level=None, check_same_thread=False)
    with closing(other):
        other.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(0.2, other.execute, ["COMMIT"])
        timer.start()
        assert history.begin(NOW, trigger="hand", version="1") is not None
        timer.join()
    assert told == []


def test_looking_leaves_no_trace(history: History, told: Told) -> None:
    run_once(history, NOW)
    history.begin(NOW + 1, trigger="timer", version="1", process=GONE)
    history.close()
    before = tree_digest(history.file.parent)
    looked = read_history(history.file.parent, warn=told)
    assert looked is not None
    assert [run.outcome for run in looked.runs()] == ["killed", "success"]
    assert counters_of(looked).runs == {"killed": 1, "success": 1}
    looked.close()
    assert tree_digest(history.file.parent) == before


def test_looking_where_there_is_no_history_makes_none(tmp_path: Path, told: Told) -> None:
    assert read_history(tmp_path / "nowhere", warn=told) is None
    assert told == []
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_a_history_of_nothing(tmp_path: Path, told: Told) -> None:
    """What a full disk leaves of the first try to make one; with room, the next run fills it."""
    (tmp_path / FILE_NAME).touch()
    assert read_history(tmp_path, warn=told) is None
    history = open_history(tmp_path, warn=told, at=NOW)
    assert history is not None
    run_once(history, NOW)
    assert len(history.runs()) == 1
    history.close()
    assert told == []


def test_looking_at_a_damaged_history_only_says_so(tmp_path: Path, told: Told) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"x" * 5000)
    before = tree_digest(tmp_path)
    assert read_history(tmp_path, warn=told) is None
    assert len(told) == 1
    assert tree_digest(tmp_path) == before


VERSION_1 = """
CREATE TABLE runs (
  id INTEGER PRIMARY KEY AUTOINCREMENT, started_at REAL NOT NULL, finished_at REAL, outcome TEXT,
  exit_code INTEGER, trigger TEXT NOT NULL, version TEXT NOT NULL,
  removed_count INTEGER NOT NULL DEFAULT 0, freed_bytes INTEGER NOT NULL DEFAULT 0,
  cancelled_count INTEGER NOT NULL DEFAULT 0, problem_count INTEGER NOT NULL DEFAULT 0,
  pid INTEGER NOT NULL, pid_started INTEGER, boot_id TEXT, story TEXT
);
CREATE TABLE counters (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE cancelled (
  place TEXT NOT NULL, id TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (place, id)
) WITHOUT ROWID;
CREATE TABLE clock (
  id INTEGER PRIMARY KEY, boot_id TEXT, since_boot REAL NOT NULL, wall REAL NOT NULL,
  refused INTEGER NOT NULL
);
INSERT INTO runs (started_at, finished_at, outcome, trigger, version, pid)
  VALUES (1000.0, 1001.0, 'success', 'timer', '0.1.1', 0);
INSERT INTO counters VALUES ('runs:success', 5), ('removed_bytes', 77), ('last_success_at', 1001.0);
PRAGMA user_version = 1;
"""
ONE, TWO = Places("/cache/one", "/db"), Places("/cache/two", "/db")


def test_a_history_of_version_1_is_read_as_it_is_and_carried_on_by_the_next_run(
    tmp_path: Path, told: Told
) -> None:
    file = tmp_path / "history.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(VERSION_1)
    before = file.read_bytes()
    looked = read_history(tmp_path, warn=told, places=ONE)
    assert looked is not None
    assert [run.outcome for run in looked.runs()] == ["success"]
    assert looked.items_named(["key-0"]) == looked.items_of(1) == []
    assert counters_of(looked) == Counters(
        runs={"success": 5}, removed_bytes=77, last_success_at=1001.0
    )
    looked.close()
    assert file.read_bytes() == before

    opened = open_history(tmp_path, warn=told, at=NOW, places=ONE)
    assert opened is not None
    run_with_items(opened, NOW, make_result(started_at=NOW))
    assert [item.run for item in opened.items_named(["key-0"])] == [2]
    assert counters_of(opened).runs == {"success": 6}
    assert [run.started_at for run in opened.before()] == [NOW]
    assert [run.started_at for run in opened.runs()] == [NOW, 1000.0]
    opened.close()
    other = read_history(tmp_path, warn=told, places=TWO)
    assert other is not None
    assert (other.last_run(), other.before(), counters_of(other)) == (None, [], Counters())
    other.close()
    assert told == []


def test_each_place_has_its_own_runs_and_sums(tmp_path: Path, told: Told) -> None:
    for number, places in enumerate((ONE, TWO, ONE)):
        opened = open_history(tmp_path, warn=told, at=NOW, places=places)
        assert opened is not None
        run_once(opened, NOW + number)
        opened.close()
    for places, times in ((ONE, [2, 0]), (TWO, [1]), (Places(None, "/db"), [2, 1, 0])):
        looked = read_history(tmp_path, warn=told, places=places)
        assert looked is not None
        last = looked.last_run()
        assert last is not None
        assert last.started_at == NOW + times[0]
        assert counters_of(looked).runs == {"success": len(times)}
        assert [run.id for run in looked.runs()] == [3, 2, 1]
        looked.close()
    assert told == []
