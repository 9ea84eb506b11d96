"""The functions for programs: the commands' documents, and no trace in the caller's process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import narration_cleanup
from narration_cleanup.cli.schema import schema_text
from narration_cleanup.plan import CachePlan
from narration_cleanup.run.survey import survey_and_plan_cache
from tests.run_at import stopped_clock
from tests.samples import SAMPLE_NOW, Sample, make_sample, tree_digest
from tests.test_main_job import document


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return make_sample(tmp_path / "service")


@pytest.fixture
def settings(sample: Sample, tmp_path: Path) -> dict[str, dict[str, object]]:
    return {
        "cache": {"dir": str(sample.cache.directory)},
        "requests": {"db": str(sample.database)},
        "cleanup": {"state_dir": str(tmp_path / "state"), "timezone": "UTC"},
    }


@pytest.fixture(autouse=True)
def at_the_samples_moment() -> Any:
    with stopped_clock():
        yield


@pytest.fixture
def no_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise AssertionError("the caller's process was forked")

    monkeypatch.setattr(os, "fork", fork)


def validate(name: str, found: object) -> None:
    import json

    jsonschema.validate(found, json.loads(schema_text(name)))


def test_a_place_may_be_a_path(settings: dict[str, dict[str, object]], sample: Sample) -> None:
    as_text = narration_cleanup.plan(settings)
    settings["cache"]["dir"] = sample.cache.directory
    settings["requests"]["db"] = sample.database
    settings["cleanup"]["state_dir"] = Path(str(settings["cleanup"]["state_dir"]))
    assert narration_cleanup.plan(settings)["actions"] == as_text["actions"] != []


def test_a_database_of_another_user_is_allowed_by_a_setting(
    settings: dict[str, dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 48_611)
    del settings["cache"]
    with pytest.raises(narration_cleanup.ConfigError, match="belongs to"):
        narration_cleanup.plan(settings)
    settings["requests"]["allow_other_user"] = True
    assert narration_cleanup.plan(settings)["actions"] != []


def test_a_wrong_value_is_reported_with_its_setting(
    settings: dict[str, dict[str, object]],
) -> None:
    settings["cache"]["ttl_days"] = "soon"
    settings["requests"]["table"] = 5
    with pytest.raises(narration_cleanup.ConfigError) as raised:
        narration_cleanup.run(settings)
    first, second = str(raised.value).splitlines()
    assert first.startswith('argument: cache.ttl_days is "soon", expected a number of days')
    assert second.startswith("argument: requests.table is 5, expected")


def test_importing_the_package_imports_nothing_of_it() -> None:
    program = "import sys, narration_cleanup; print(*(m for m in sys.modules if 'narration' in m))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["narration_cleanup"], done.stderr


def test_the_documents_are_those_of_the_commands(
    sample: Sample, settings: dict[str, dict[str, object]]
) -> None:
    places = ["--cache-dir", sample.cache.directory, "--requests-db", sample.database]
    state = {
        "NARRATION_CLEANUP_STATE_DIR": str(settings["cleanup"]["state_dir"]),
        "NARRATION_CLEANUP_TIMEZONE": "UTC",
    }
    before = tree_digest(sample.root)

    planned = narration_cleanup.plan(settings)
    shown = document("dry-run", *places, **state)
    for made in (planned, shown):
        for name in ("finished_at", "duration_seconds"):
            made.pop(name)
    assert planned == shown
    assert narration_cleanup.stats(settings) == document("stats", *places, **state)
    assert tree_digest(sample.root) == before

    name = str(planned["actions"][-1]["id"])  # type: ignore[index, call-overload]
    assert narration_cleanup.explain(settings, name) == document("explain", *places, name, **state)
    nothing = narration_cleanup.explain(settings, "nothing")
    assert (nothing["items"], nothing["history"]) == ([], [])
    assert tree_digest(sample.root) == before

    done = narration_cleanup.run(settings)
    validate("run", done)
    assert done["success"] is True
    assert done["cache"]["removed_count"] == 33  # type: ignore[index, call-overload]
    assert done["requests"]["cancelled_count"] == 7  # type: ignore[index, call-overload]
    after = narration_cleanup.stats(settings)
    validate("stats", after)
    assert after["last_run"]["id"] == 1  # type: ignore[index, call-overload]


def test_the_callers_process_is_left_as_it_is(
    settings: dict[str, dict[str, object]], tmp_path: Path, no_fork: None
) -> None:
    """Not even for a tree of so many folders that a command would use a second process."""
    root = tmp_path / "tree"
    for number in range(100):
        (root / f"{number}").mkdir(parents=True)
        (root / f"{number}" / "audio.mp3").write_bytes(b"x")
        os.utime(root / f"{number}" / "audio.mp3", (0, SAMPLE_NOW.timestamp() - 30 * 86_400))
    settings["cache"] = {"dir": str(root), "index": "none"}
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    environment = dict(os.environ)
    assert narration_cleanup.plan(settings)["cache"]["planned_count"] == 100  # type: ignore[index, call-overload]
    assert narration_cleanup.run(settings)["cache"]["removed_count"] == 100  # type: ignore[index, call-overload]
    narration_cleanup.stats(settings)
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert dict(os.environ) == environment
    assert list(root.rglob("*.mp3")) == []


def test_nothing_is_printed(
    settings: dict[str, dict[str, object]], capfd: pytest.CaptureFixture[str]
) -> None:
    narration_cleanup.run(settings)
    narration_cleanup.stats(settings)
    narration_cleanup.explain(settings, "nothing")
    assert capfd.readouterr() == ("", "")


def test_errors_are_raised_and_recorded(
    sample: Sample, settings: dict[str, dict[str, object]]
) -> None:
    settings["cleanup"]["max_delete"] = 1
    before = tree_digest(sample.cache.directory)
    with pytest.raises(narration_cleanup.RefusedError, match=r"cleanup\.max_delete 1 allows"):
        narration_cleanup.run(settings)
    after = tree_digest(sample.cache.directory)
    assert all(after[name] == before[name] for name in before.keys() - {"."})
    last = narration_cleanup.stats(settings)["last_run"]
    assert isinstance(last, dict)
    assert (last["outcome"], last["exit_code"]) == ("refused", 4)
    with pytest.raises(narration_cleanup.ConfigError, match=r"did you mean cache.dir\?"):
        narration_cleanup.plan({"cache": {"dirr": "/x"}})
    for wrong in ({}, {1: 2}, {"cache": {1: 2}}, {"cache": {"dir": "\ud800"}}):
        with pytest.raises(narration_cleanup.ConfigError):
            narration_cleanup.plan(wrong)  # type: ignore[arg-type]


def test_variables_count_only_where_they_are_asked_for(
    settings: dict[str, dict[str, object]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NARRATION_CACHE_TTL_DAYS", "1000")
    assert narration_cleanup.stats(settings)["cache"]["ttl_days"] == 7  # type: ignore[index, call-overload]
    file = tmp_path / "config.toml"
    file.write_text(f'[cache]\ndir = "{settings["cache"]["dir"]}"\n')
    assert narration_cleanup.load_settings(file).cache.ttl_days == 1000


@pytest.mark.parametrize("wrong", ["/srv/cache", ["cache"], 5])
def test_settings_that_are_no_mapping_are_wrong_settings(wrong: Any) -> None:
    for function in (narration_cleanup.plan, narration_cleanup.run, narration_cleanup.stats):
        with pytest.raises(narration_cleanup.ConfigError, match="expected a mapping of tables"):
            function(wrong)


@pytest.mark.parametrize("wrong", [5, None, b"key"])
def test_a_name_that_is_no_text_is_wrong(
    settings: dict[str, dict[str, object]], wrong: Any
) -> None:
    with pytest.raises(narration_cleanup.ConfigError, match="name: expected a text, not"):
        narration_cleanup.explain(settings, wrong)


def test_what_a_stopped_run_did_not_touch_is_not_surveyed_again(
    settings: dict[str, dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    surveyed = []

    def survey(*all_of: Any) -> CachePlan:
        surveyed.append(1)
        return survey_and_plan_cache(*all_of)

    monkeypatch.setattr("narration_cleanup.run.run.survey_and_plan_cache", survey)
    stop = threading.Event()
    stop.set()
    before = narration_cleanup.stats(settings)["cache"]
    done: Any = narration_cleanup.run(settings, stop=stop)
    assert done["stats"]["cache"] == before
    assert surveyed == [1]


def test_an_event_stops_a_run(sample: Sample, settings: dict[str, dict[str, object]]) -> None:
    stop = threading.Event()
    stop.set()
    before = tree_digest(sample.cache.directory)
    done = narration_cleanup.run(settings, stop=stop)
    assert done["exit_code"] == 143
    assert str(done["message"]).startswith("Stopped as asked: what was begun")
    after = tree_digest(sample.cache.directory)
    assert all(after[name] == before[name] for name in before.keys() - {"."})
    assert narration_cleanup.run(settings)["exit_code"] == 0


def test_packages_with_the_names_of_functions_are_packages_still() -> None:
    import narration_cleanup.plan.rules
    import narration_cleanup.run.guards as guards

    assert guards is sys.modules["narration_cleanup.run.guards"]
    assert narration_cleanup.plan.rules is sys.modules["narration_cleanup.plan.rules"]  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        narration_cleanup.nothing  # type: ignore[attr-defined]  # noqa: B018
