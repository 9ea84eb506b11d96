"""An installation of 0.1.0 is upgraded: its history, the files that a killed run had staged, its
units and its configuration work on, and its JSON documents have all that a program parsed.

The files in ``from_0_1_0`` are what version 0.1.0 itself left in /srv/narration (interpreter and
boot aside): it removed one entry and cancelled two requests at 06:00, found a torn index at 09:00,
and was killed at 12:00, with three expired files staged.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests import forked

LEFT = Path(__file__).parent / "from_0_1_0"
WAS = "/srv/narration"
AT = "2026-11-25T14:00:00+00:00"
DOCUMENTS: dict[str, dict[str, Any]] = json.loads((LEFT / "documents.json").read_text())
STAGED = {"old-b.mp3", "old-c.mp3", "old-d.mp3"}


class Upgraded:
    """What 0.1.0 left, in ``root``; commands are those of the program as it is now."""

    def __init__(self, root: Path) -> None:
        self.root, self.cache = root, root / "cache"
        self.own = self.cache / ".narration-cleanup"
        for folder in (self.own, root / "state", root / "bin"):
            folder.mkdir(parents=True, mode=0o700)
        for name, file in json.loads((LEFT / "cache.json").read_text()).items():
            path = self.cache / name
            path.write_text(self.here(file["text"]))
            os.utime(path, (file["mtime"], file["mtime"]))
        (root / "config.toml").write_text(self.text("config.toml"))
        for name, place in (("history.sql", "state/history.db"), ("requests.sql", "requests.db")):
            with closing(sqlite3.connect(root / place)) as connection:
                connection.executescript(self.text(name))
        with closing(sqlite3.connect(root / "requests.db")) as connection, connection:
            row = "('r5', 'queued', '2026-11-25T11:00:00', NULL, NULL, NULL)"
            connection.execute(f"INSERT INTO requests VALUES {row}")

    def here(self, value: Any) -> Any:
        return json.loads(json.dumps(value).replace(WAS, str(self.root)))

    def text(self, name: str) -> str:
        return str(self.here((LEFT / name).read_text()))

    def __call__(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "NARRATION_CLEANUP_CONFIG": str(self.root / "config.toml")}
        path = f"{self.root / 'bin'}{os.pathsep}{os.environ['PATH']}"
        given = {**environ, "PATH": path, **variables}
        return forked.run(AT, *words, module="tests.run_at", env=given)

    def document(self, *words: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self(*words, "--json").stdout)
        return document

    def index(self) -> set[str]:
        return set(json.loads((self.cache / "cache_index.json").read_text()))

    def audio(self) -> set[str]:
        return {path.name for path in self.cache.glob("*.mp3")}


@pytest.fixture
def upgraded(tmp_path: Path) -> Upgraded:
    return Upgraded(tmp_path / "narration")


def test_the_configuration_is_taken_as_it_is(upgraded: Upgraded) -> None:
    done = upgraded("config", "validate")
    assert (done.returncode, done.stderr) == (0, "")
    now, then = upgraded.document("config", "show")["settings"], DOCUMENTS["config"]["settings"]
    changed = {
        name: now[name]["value"]
        for name, was in then.items()
        if now[name]["value"] != upgraded.here(was["value"])
    }
    defaults = {
        "alerts.on": "attention",
        "cleanup.timezone": "auto",
        "cache.remove_dangling": False,
    }
    assert changed == defaults  # named in the changelog


def test_staged_files_are_put_back_before_anything_else(upgraded: Upgraded) -> None:
    made_anew = upgraded.cache / "old-c.mp3"
    made_anew.write_text("by the service, after the kill")
    done = upgraded("run", "--ttl-days", "365")
    assert done.returncode == 0, done.stderr
    assert upgraded.audio() == STAGED | {"young.mp3", "exact.mp3"}
    assert made_anew.read_text() == "by the service, after the kill"
    assert not STAGED & set(os.listdir(upgraded.own))
    assert upgraded.index() == {"young", "exact", "old-b", "old-c", "old-d"}


def test_the_next_run_does_what_the_killed_one_had_begun(upgraded: Upgraded) -> None:
    found = {each["check"]: each for each in upgraded.document("check")["checks"]}
    assert found["cache.set_aside"]["message"].startswith("a killed run has left 3 files")
    done = upgraded.document("run")
    assert (done["outcome"], done["cache"]["removed_count"]) == ("success", 3)
    assert upgraded.audio() == {"young.mp3", "exact.mp3"}
    assert upgraded.index() == {"young", "exact"}
    assert not STAGED & set(os.listdir(upgraded.own))


def test_the_history_goes_on(upgraded: Upgraded) -> None:
    before = upgraded.document("history")["runs"]
    assert [run["outcome"] for run in before] == ["killed", "partial", "success"]
    then = DOCUMENTS["history"]["runs"]
    assert [{name: run[name] for name in then[0]} for run in before] == upgraded.here(then)
    assert upgraded("history", "show", "2").returncode == 0
    assert upgraded("run").returncode == 0
    runs = upgraded.document("history")["runs"]
    assert [run["outcome"] for run in runs] == ["success", "killed", "partial", "success"]
    page = upgraded("stats", "--prometheus").stdout
    for outcome, count in {"success": 2, "partial": 1, "killed": 1}.items():
        assert re.search(rf'_runs_total\{{.*outcome="{outcome}".*\}} {count}$', page, re.MULTILINE)


def test_the_commands_of_its_units_are_understood(upgraded: Upgraded) -> None:
    """Those that are installed go on until `systemd install` is called again."""
    (upgraded.root / "bin" / "journalctl").write_text("#!/bin/sh\n")
    (upgraded.root / "bin" / "journalctl").chmod(0o755)
    ended = {"MONITOR_SERVICE_RESULT": "success", "MONITOR_EXIT_CODE": "exited"}
    ended |= {"MONITOR_EXIT_STATUS": "0", "MONITOR_UNIT": "narration-cleanup.service"}
    commands = []
    for unit in re.split(r"(?=^# /etc/systemd)", upgraded.text("units.txt"), flags=re.MULTILINE):
        variables = dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE))
        for command in re.findall(
            r"^ExecStart=/usr/bin/narration-cleanup (.*)$", unit, re.MULTILINE
        ):
            words = shlex.split(command.replace("%i", "narration-cleanup"))
            done = upgraded(*words, **variables, **(ended if words[0] == "notify" else {}))
            assert done.returncode == 0, done.stderr
            commands.append(words[0])
    assert commands == ["run", "notify"]


COUNTED_BY_NAME = re.compile(r"by_\w+|\w+_by_\w+|requests_after")
"""Objects whose members are the names that occurred: voice styles, reasons, statuses."""


def missing(then: object, now: object, where: str) -> Iterator[str]:
    """What a program that parsed ``then`` misses in ``now``, or finds of another type."""
    if isinstance(then, dict):
        if not isinstance(now, dict):
            yield f"{where} is no object"
        elif not COUNTED_BY_NAME.fullmatch(where.rpartition(".")[2]):
            for name, value in then.items():
                if name in now:
                    yield from missing(value, now[name], f"{where}.{name}")
                else:
                    yield f"{where}.{name}"
    elif isinstance(then, list):
        if isinstance(now, list):
            for item in then:
                yield from missing(item, like(item, now), f"{where}[]")
        else:
            yield f"{where} is no list"
    elif then is not None and now is not None:
        numbers = isinstance(then, int | float) and isinstance(now, int | float)
        if type(then) is not type(now) and not (numbers and not isinstance(now, bool)):
            yield f"{where} is {type(now).__name__}"


def like(item: object, items: list[Any]) -> object:
    """The item of the same name or kind; the first where they have neither."""
    for name in ("check", "kind", "id"):
        if isinstance(item, dict) and name in item:
            same = (each for each in items if isinstance(each, dict) and each[name] == item[name])
            return next(same, None)
    return items[0] if items else item


def test_its_documents_have_all_that_a_program_parsed(upgraded: Upgraded) -> None:
    now = {
        name: upgraded.document(*words)
        for name, words in {
            "check": ["check"],
            "config": ["config", "show"],
            "dry-run": ["dry-run"],
            "run": ["run"],
            "stats": ["stats"],
            "history": ["history"],
        }.items()
    }
    assert list(missing(DOCUMENTS, now, "")) == []


def test_a_member_that_is_gone_or_changed_is_missed() -> None:
    then = {"a": 1, "b": {"c": "text"}, "checks": [{"check": "x"}], "by_reason": {"old": 1}}
    now = {"b": {"c": 1}, "checks": [{"check": "y"}], "by_reason": {}}
    found = [".a", ".b.c is int", ".checks[] is no object"]
    assert list(missing(then, now, "")) == found
