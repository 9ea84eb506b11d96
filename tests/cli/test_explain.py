"""`explain` from outside: each kind of item, named in each way, and what earlier runs did."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from narration_cleanup.core.model import Target
from narration_cleanup.core.users import current_user
from narration_cleanup.plan.actions import Reason
from narration_cleanup.plan.explain import Explanation
from narration_cleanup.report.explain_text import Explained, show_explained
from narration_cleanup.report.history.store import open_history
from narration_cleanup.settings import sources
from tests.golden.program import MOMENT, Ended, run_program
from tests.golden.service import DAY, MINUTE, Service
from tests.samples import tree_digest

HOUR = timedelta(hours=1)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path / "service")


def asked(service: Service, name: str, *more: str, after: timedelta = timedelta(0)) -> Any:
    """The document about a name that is known."""
    ended = service.call("explain", "--json", *more, name, after=after)
    assert (ended.code, ended.err) == (0, "")
    document = json.loads(ended.out)
    assert document["name"] == name
    return document


def item(service: Service, name: str, *more: str) -> Any:
    """The one item of that name."""
    (found,) = asked(service, name, *more)["items"]
    return found


def lines(ended: Ended) -> dict[str, str]:
    return {line[:15].strip(): line[15:] for line in ended.out.splitlines()}


def planned(service: Service) -> dict[str | int, dict[str, Any]]:
    document = json.loads(service.call("dry-run", "--json").out)
    return {each.get("key", each.get("id", each.get("file"))): each for each in document["actions"]}


def test_it_says_of_each_item_what_a_dry_run_has_planned(service: Service) -> None:
    actions = planned(service)
    assert len(actions) == 9
    decisions = {
        "remove_entry": "remove",
        "remove_file": "remove",
        "cancel_request": "cancel",
    }
    for name, action in actions.items():
        found = item(service, str(name))
        assert found["id"] == name
        assert found["decision"] == decisions[action["kind"]]
        assert (found["reason"], found["detail"]) == (action["reason"], action["detail"])
        assert found["due_at"] <= "2026-11-23T12:00:00+00:00"
    for entry in service.entries:
        if entry.key not in actions:
            assert item(service, entry.key)["decision"] == "keep"


def test_a_file_is_known_by_each_spelling_of_its_path(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = service.entries[4]
    monkeypatch.chdir(service.cache.parent)
    (service.root / "link").symlink_to(service.cache)
    for spelling in (
        entry.key,
        entry.name,
        f"./{entry.name}",
        f"narration/{entry.name}",
        f"narration/../narration/{entry.name}",
        str(service.cache / entry.name),
        str(service.root / "link" / entry.name),
        f"cache/narration/{entry.name}",
        f"cache\\narration\\{entry.name}",
        entry.name.upper().replace(".MP3", ".mp3"),
    ):
        found = item(service, spelling)
        assert (found["id"], found["file"], found["type"]) == (entry.key, entry.name, "entry")
    service.set("cache", 'dir_in_index = ["/app/audio"]\n')
    assert item(service, f"/app/audio/{entry.name}")["id"] == entry.key
    for other in (f"/app/other/{entry.name}", f"elsewhere/{entry.name}", f"../{entry.name}"):
        assert service.call("explain", other).code == 1


def test_an_entry_that_is_kept(service: Service) -> None:
    entry = service.entries[4]
    found = asked(service, entry.key)
    (one,) = found["items"]
    assert one["detail"] == "3.0 days old, limit 7"
    assert (one["decision"], one["reason"], one["rule"]) == ("keep", "expired", "cache.ttl_days")
    assert one["due_at"] == "2026-11-27T12:00:00+00:00"
    assert one["size_bytes"] == 52_429
    times = {each["name"]: each for each in one["times"]}
    assert times["created_at"] == {
        "name": "created_at",
        "source": "index",
        "written": "2026-11-20T12:00:00",
        "read_at": "2026-11-20T12:00:00+00:00",
        "zone": "auto",  # local time is UTC here, so there is nothing to find out
        "known_by": "open",
    }
    assert times["mtime"]["read_at"] == "2026-11-20T12:00:00+00:00"
    assert times["ctime"]["source"] == "file"
    shown = lines(service.call("explain", entry.key))
    assert shown["decision"] == "keep: 3.0 days old, limit 7"
    assert shown["due"] == "after 2026-11-27 12:00 UTC: the next run removes it (expired)"
    assert shown["rule"] == "cache.ttl_days"
    assert found["history"] == []


def test_all_times_that_are_shown_are_local(service: Service) -> None:
    entry = service.entries[4]
    service.environ["TZ"] = "Asia/Tokyo"
    shown = lines(service.call("explain", entry.key))
    assert shown["due"].startswith("after 2026-11-27 21:00 JST")
    assert shown["created_at"].startswith("2026-11-20 21:00:00 JST: 2026-11-20T12:00:00 in the")
    assert shown["ctime"].endswith("JST")


@pytest.mark.parametrize(
    ("setting", "known_by", "zone", "created"),
    [
        ("Europe/Berlin", "setting", "Europe/Berlin", "2026-11-20T11:00:00+00:00"),
        ("auto", "proof", "-05:00", "2026-11-20T18:00:00+00:00"),
    ],
)
def test_in_which_zone_a_time_was_read_and_how_that_is_known(
    service: Service, setting: str, known_by: str, zone: str, created: str
) -> None:
    service.set("cleanup", f'timezone = "{setting}"\n')
    hours_behind = 5 if setting == "auto" else -1  # of UTC is the service's zone
    for entry in service.entries:
        at = entry.created_at.timestamp() + hours_behind * 3_600
        if (path := service.cache / entry.name).exists():
            os.utime(path, (at, at))
    times = {each["name"]: each for each in item(service, service.entries[4].key)["times"]}
    how = times["created_at"]
    assert (how["known_by"], how["zone"]) == (known_by, zone)
    # Before the oldest audio that proves an offset, an hour is added: see the zones.
    assert how["read_at"] in (created, "2026-11-20T17:00:00+00:00")


def test_an_open_time_is_due_when_a_run_removes_it(service: Service) -> None:
    service.environ["TZ"] = "Asia/Tokyo"
    for number, entry in enumerate(service.entries):  # a copy, whose mtimes prove no zone
        service.change_index(number, created_at="2026-11-23T19:00:00")
        if (path := service.cache / entry.name).exists():
            os.utime(path, (0, 0))
    key = service.entries[4].key
    one = item(service, key)
    assert one["times"][0]["read_at"] == "2026-11-23T10:00:00+00:00"
    assert one["due_at"] == "2026-11-30T19:00:00+00:00"
    for after, decision in ((0, "keep"), (1, "remove")):
        at = timedelta(days=7, hours=7, seconds=after)
        (then,) = asked(service, key, after=at)["items"]
        assert then["decision"] == decision


def test_a_time_with_its_own_offset(service: Service) -> None:
    service.change_index(4, created_at="2026-11-20T14:00:00+02:00")
    times = item(service, service.entries[4].key)["times"]
    assert (times[0]["known_by"], times[0]["zone"]) == ("offset", None)
    assert times[0]["read_at"] == "2026-11-20T12:00:00+00:00"


def test_a_pattern_and_the_ttl_of_a_voice(service: Service) -> None:
    service.change_index(0, variant_id="intro-7")
    service.change_index(1, voice_style="growl")
    service.set("cache", 'keep = ["intro-*"]\nttl_days_by_voice_style = { growl = 30 }\n')
    kept = item(service, service.entries[0].key)
    assert (kept["decision"], kept["rule"], kept["due_at"]) == ("keep", "cache.keep", None)
    assert kept["detail"] == "kept by intro-*, though 30.0 days old, limit 7"
    longer = item(service, service.entries[1].key)
    assert (longer["decision"], longer["rule"]) == ("keep", "cache.ttl_days_by_voice_style")
    assert longer["due_at"] == "2026-12-15T12:00:00+00:00"


def test_an_entry_without_a_file_and_one_that_cannot_be_judged(service: Service) -> None:
    missing = item(service, service.entries[6].key)
    assert missing["notes"] == ["its file is missing: the entry is kept until it expires"]
    assert missing["size_bytes"] == 500  # as the index states it
    service.change_index(4, file_path="/srv/elsewhere/old.mp3")
    service.change_index(5, created_at="the day before")
    service.change_index(1, file_path=7)
    outside, unread, malformed = (item(service, service.entries[n].key) for n in (4, 5, 1))
    assert outside["detail"].startswith("its file_path '/srv/elsewhere/old.mp3' is no audio file")
    assert item(service, "/srv/elsewhere/old.mp3") == outside
    assert "'the day before' is no time" in unread["detail"]
    assert "its file_path is missing or not text" in malformed["detail"]
    for one in (outside, unread, malformed):
        assert (one["decision"], one["due_at"], one["rule"]) == ("keep", None, None)
    # While one member's file is not known, it may be any.
    orphan = item(service, "orphan.mp3")
    assert (orphan["decision"], orphan["type"]) == ("keep", "file")
    assert "a member whose file is not known" in orphan["detail"]


def test_entries_that_share_a_file_are_all_shown(service: Service) -> None:
    service.change_index(0, file_path=f"cache/narration/{service.entries[4].name}")
    for name in (service.entries[0].key, service.entries[4].key, service.entries[4].name):
        found = asked(service, name)["items"]
        assert {each["id"] for each in found} == {service.entries[n].key for n in (0, 4)}
        assert {each["due_at"] for each in found} == {"2026-11-27T12:00:00+00:00"}
        assert {each["decision"] for each in found} == {"keep"}


def test_files_without_an_entry(service: Service) -> None:
    service.audio("arrived.mp3", 100, timedelta(minutes=20))
    service.audio("half.mp3.part", 100, HOUR)
    (service.cache / "notes.txt").write_text("mine")
    (service.cache / "way.mp3").symlink_to("notes.txt")
    expected = {
        "orphan.mp3": ("remove", "orphan", "2026-11-20T12:00:00+00:00", "cache.remove_orphans"),
        "young-orphan.wav": ("keep", "orphan", "2026-11-29T12:00:00+00:00", "cache.remove_orphans"),
        "arrived.mp3": ("keep", "orphan", "2026-11-30T11:40:00+00:00", "cache.remove_orphans"),
        "half.mp3.part": ("keep", "partial", "2026-11-24T11:00:00+00:00", "cache.partial_hours"),
        "notes.txt": ("keep", None, None, None),
        "way.mp3": ("keep", None, None, None),
        "cache_index.json": ("keep", None, None, None),
    }
    for name, values in expected.items():
        found = item(service, str(service.cache / name))
        members = ("decision", "reason", "due_at", "rule")
        assert tuple(found[each] for each in members) == values, name
        assert found["type"] == "file"
    assert "its entry may be yet to come" in item(service, "arrived.mp3")["detail"]
    assert "no rule is about it" in item(service, "notes.txt")["detail"]


def test_a_cache_without_an_index(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    (service.cache / "cache_index.json").unlink()
    (service.cache / "b").mkdir()
    for name, age in (
        ("b/0123456789ab.mp3", 3 * DAY),
        ("b/0123456789ab.json", 3 * DAY),
        ("b/fedcba987654.json", 8 * DAY),
        ("b/x.mp3.tmp", 2 * DAY),
    ):
        service.audio(name, 100, age)
    service.set("cache", 'index = "none"\nremove_sidecars = true\n')
    monkeypatch.chdir(service.cache / "b")
    for spelling in (
        "b/0123456789ab.mp3",
        "0123456789ab.mp3",
        f"{service.cache}/b/0123456789ab.mp3",
    ):
        found = item(service, spelling)
        assert (found["id"], found["due_at"]) == (
            *("b/0123456789ab.mp3", "2026-11-27T12:00:00+00:00"),
        )
        assert found["notes"] == ["its sidecars are removed with it: b/0123456789ab.json"]
        assert {each["name"] for each in found["times"]} == {"mtime", "ctime"}
    sidecar, audio = asked(service, "b/0123456789ab.json")["items"]
    assert sidecar["detail"] == "a sidecar: it is removed with its audio, b/0123456789ab.mp3"
    assert audio["id"] == "b/0123456789ab.mp3"
    service.audio("b/0123456789ab.ogg", 100, 4 * DAY)
    sidecar, *audio = asked(service, "b/0123456789ab.json")["items"]
    assert sidecar["detail"] == (
        "a sidecar: it is removed with its audio, b/0123456789ab.mp3 and b/0123456789ab.ogg"
    )
    assert [each["id"] for each in audio] == ["b/0123456789ab.mp3", "b/0123456789ab.ogg"]
    lone = item(service, "b/fedcba987654.json")
    assert (lone["decision"], lone["rule"]) == ("remove", "cache.remove_sidecars")
    assert item(service, "b/x.mp3.tmp")["reason"] == "partial"
    assert service.call("explain", "b/none.mp3").code == 1
    service.set("cache", 'age_from = "atime"\n')
    times = item(service, "b/0123456789ab.mp3")["times"]
    assert [each["name"] for each in times] == ["mtime", "ctime", "atime"]


def test_requests(service: Service) -> None:
    service.sql("UPDATE requests SET status = 'lost' WHERE status = 'failed'")
    service.sql("UPDATE requests SET created_at = 'soon' WHERE created_at LIKE '2026-11-23T11:55%'")
    rows = _rows(service)
    waiting = [item(service, name) for name, status, _ in rows if status == "queued"]
    assert {each["decision"] for each in waiting} == {"cancel", "keep"}
    unread = next(each for each in waiting if each["decision"] == "keep")
    assert "cannot be read as a time (soon)" in unread["detail"]
    assert unread["times"][0]["written"] == "soon"
    assert unread["times"][0]["read_at"] is None
    cancelled = next(each for each in waiting if each["decision"] == "cancel")
    assert cancelled["rule"] == "requests.abandoned_timeout_hours"
    assert cancelled["due_at"] == "2026-11-23T03:00:00+00:00"
    (lost,) = (item(service, name) for name, status, _ in rows if status == "lost")
    assert (lost["decision"], lost["status"], lost["due_at"]) == ("keep", "lost", None)
    assert "no setting names its status" in lost["detail"]
    ended = item(service, min((at, name) for name, status, at in rows if status == "completed")[1])
    assert ended["detail"].startswith("completed, and requests.delete_finished_after_days is 0")
    service.set("requests", "delete_finished_after_days = 30\n")
    deleted = item(service, ended["id"])
    assert (deleted["decision"], deleted["reason"]) == ("delete", "finished")
    service.set("requests", 'filter = { variant_id = "mine" }\n')
    assert item(service, ended["id"])["detail"] == "requests.filter leaves it out"


def _rows(service: Service) -> list[tuple[str, str, str]]:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(service.database)) as connection:
        statement = "SELECT request_id, status, created_at FROM requests"
        return connection.execute(statement).fetchall()


def test_ids_that_are_numbers_and_uuids_of_16_bytes(service: Service) -> None:
    service.sql("ALTER TABLE requests RENAME TO others")
    service.sql("CREATE TABLE requests (request_id, status, created_at)")
    for identity in ("42", "'42'", "X'00112233445566778899aabbccddeeff'"):
        service.sql(f"INSERT INTO requests VALUES ({identity}, 'queued', '2026-11-23T11:30:00')")
    found = asked(service, "42")["items"]
    assert [each["id"] for each in found] == [42, "42"]
    for name in (
        "00112233-4455-6677-8899-aabbccddeeff",
        "X'00112233445566778899aabbccddeeff'",
    ):
        assert item(service, name)["id"] == "X'00112233445566778899aabbccddeeff'"
    assert service.call("explain", "4").code == 1


def test_ids_that_no_statement_can_name_are_found_as_they_are_reported(service: Service) -> None:
    service.sql("ALTER TABLE requests RENAME TO others")
    service.sql("CREATE TABLE requests (request_id, status, created_at)")
    for identity in ("X'00ff'", "1.5", "NULL"):
        service.sql(f"INSERT INTO requests VALUES ({identity}, 'queued', '2026-11-23T09:00:00')")
    document = json.loads(service.call("dry-run", "--json").out)
    named = [each["subject"] for each in document["problems"] if each["code"] == "unreadable_id"]
    assert named == ["X'00ff'", "1.5", "NULL"]
    for name in named:
        found = item(service, name)
        assert (found["id"], found["decision"], found["due_at"]) == (name, "keep", None)
        assert "an id that is neither text nor a whole number" in found["detail"]


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("hours", [1, 30])
def test_a_request_is_due_when_a_run_cancels_it_whatever_its_open_zone(
    service: Service, zone: str, hours: int
) -> None:
    service.environ["TZ"] = zone
    service.set("requests", f"abandoned_timeout_hours = {hours}\n")
    times = [f"2026-11-23T{hour:02}:00:00" for hour in (8, 11, 12, 20, 23)]
    for number, created_at in enumerate(times):
        service.sql(
            "INSERT INTO requests (request_id, variant_id, voice_style, status, created_at)"
            f" VALUES ('open-{number}', 'v', 's', 'queued', '{created_at}')"
        )
    os.utime(service.database, (0, 0))  # nothing that proves the zone
    for number in range(len(times)):
        name = f"open-{number}"
        one = item(service, name)
        if one["decision"] == "keep":
            due = datetime.fromisoformat(one["due_at"]) - MOMENT
            for after, decision in ((0, "keep"), (1, "cancel")):
                (then,) = asked(service, name, after=due + timedelta(seconds=after))["items"]
                assert then["decision"] == decision


def test_what_is_gone_is_explained_from_the_history(service: Service) -> None:
    actions = planned(service)
    assert service.call("run").code == 0
    for name, action in actions.items():
        for spelling in {str(name), action.get("file", str(name))}:
            document = asked(service, spelling, after=2 * MINUTE)
            (run,) = document["history"]
            assert (run["run"], run["run_started_at"]) == (1, "2026-11-23T12:00:00+00:00")
            assert (run["kind"], run["name"]) == (action["kind"], name)
            assert (run["reason"], run["detail"]) == (action["reason"], action["detail"])
            assert run["outcome"] == "done"
            assert run["note"] in (None, "its file was already gone")
            assert bool(document["items"]) is (action["kind"] == "cancel_request")
    path = str(service.cache / service.entries[0].name)
    shown = lines(service.call("explain", path, after=2 * MINUTE))
    assert shown["now"] == "there is nothing of that name now"
    assert shown["run 1"].startswith(
        f"2026-11-23 12:00 UTC: removed {service.entries[0].key} (file"
    )
    assert shown["run 1"].endswith("expired, 30.0 days old, limit 7")
    show = service.call("history", "show", "1", after=2 * MINUTE).out
    assert f"item               {service.entries[0].key}: expired, 30.0 days old, limit 7" in show
    document = json.loads(service.call("history", "show", "1", "--json", after=2 * MINUTE).out)
    assert [each["name"] for each in document["runs"][0]["items"]] == list(actions)
    (run,) = json.loads(service.call("history", "--json", after=2 * MINUTE).out)["runs"]
    assert "items" not in run


def test_no_items_are_kept_where_none_are_wanted(service: Service) -> None:
    service.config.write_text(service.config.read_text() + "[history]\nkeep_items = 0\n")
    assert service.call("run").code == 0
    ended = service.call("explain", service.entries[0].key, after=MINUTE)
    assert ended.code == 1
    assert "history.keep_items is 0, so no run's items are kept [no_such_item]" in ended.err
    document = json.loads(service.call("history", "show", "1", "--json", after=MINUTE).out)
    assert document["runs"][0]["items"] == []


def test_the_history_of_runs_by_hand_is_named_where_the_units_have_another(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The printed command, without what makes it another user's, finds what they did."""
    units = service.root / "units"
    by_hand = service.root / "home/.local/state/narration-cleanup"
    monkeypatch.setattr(sources, "SYSTEM_STATE", units)
    service.config.write_text(re.sub(r"(?m)^state_dir = .*\n", "", service.config.read_text()))
    cancelled = next(str(name) for name, each in planned(service).items() if "id" in each)
    assert service.call("run").code == 0
    assert service.call("explain", cancelled).err == ""
    units.mkdir()
    assert service.call("explain", service.entries[4].key).err == ""
    for name, code in ((service.entries[0].key, 1), (cancelled, 0)):
        ended = service.call("explain", name)
        assert ended.code == code
        command = ended.err.splitlines()[0].partition("asked by: ")[2]
        as_user, _, words = command.partition(f" NARRATION_CLEANUP_STATE_DIR={by_hand} ")
        assert as_user in (f"sudo -u {current_user()}", "sudo NARRATION_CLEANUP_USER=root")
        assert words.endswith(shlex.join(["-c", str(service.config), "explain", name]))
        environ = {**service.environ, "NARRATION_CLEANUP_STATE_DIR": str(by_hand)}
        given = ["-c", str(service.config), "explain", name]
        answer = run_program(given, service.root, environ)
        assert (answer.code, answer.err, "run 1" in lines(answer)) == (0, "", True)


def test_a_request_that_no_recorded_run_cancelled(service: Service) -> None:
    cancelled = next(name for name, status, _ in _rows(service) if status == "cancelled")
    (note,) = item(service, cancelled)["notes"]
    assert note.startswith("no recorded run cancelled it: the history in ")
    service.config.write_text(re.sub(r"(?m)^state_dir = .*\n", "", service.config.read_text()))
    service.environ["HOME"] = os.devnull
    (note,) = item(service, cancelled)["notes"]
    assert note.startswith("no recorded run cancelled it: no history is kept: there is no /var/")


@pytest.mark.parametrize(("hours", "is_named"), [(1, True), (48, False)])
def test_the_next_run_is_named_where_the_item_is_due_by_then(hours: int, is_named: bool) -> None:
    one = Explanation(
        target=Target.CACHE, id="k", file="a.mp3", reason=Reason.EXPIRED, due_at=hours * 3_600.0
    )
    shown = io.StringIO()
    show_explained(Explained("k", 0.0, [one], next_run_at=6 * 3_600.0), shown)
    assert ("; a run is due at" in shown.getvalue()) is is_named


def test_a_name_that_nothing_has(service: Service) -> None:
    before = tree_digest(service.root / "cache"), service.database.read_bytes()
    ended = service.call("explain", "no\x1b[31m such\nname")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "ERROR - nothing has the key, file or id 'no\\x1b[31m such\\nname', and the history in "
        f"{service.root}/state has no items of earlier runs [no_such_item]\n"
    )
    ended = service.call("explain", "--json", "nothing")
    document = json.loads(ended.out)
    assert (ended.code, document["items"], document["history"]) == (1, [], [])
    assert [each["code"] for each in document["problems"]] == ["no_such_item"]
    assert (tree_digest(service.root / "cache"), service.database.read_bytes()) == before


def test_the_items_that_were_looked_through_are_counted(service: Service) -> None:
    service.call("run")
    ended = service.call("explain", "nothing", after=2 * MINUTE)
    history = f"the history in {service.root}/state"
    assert f"nothing was called so among the 9 items of earlier runs in {history} [" in ended.err


def test_what_is_gone_is_known_where_the_index_is_missing(service: Service) -> None:
    actions = planned(service)
    service.call("run")
    (service.cache / "cache_index.json").unlink()
    for name in map(str, actions):
        ended = service.call("explain", "--json", name, after=2 * MINUTE)
        document = json.loads(ended.out)
        assert (ended.code, len(document["history"])) == (3, 1)
        assert [each["code"] for each in document["problems"]] == ["bad_configuration"]
        assert service.call("explain", name, after=2 * MINUTE).code == 3
    ended = service.call("explain", "nothing", after=2 * MINUTE)
    assert (ended.code, "has no cache_index.json" in ended.err) == (78, True)


def test_a_file_in_a_subfolder_of_a_cache_with_an_index(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    (service.cache / "sub").mkdir()
    service.audio("sub/z.mp3", 100, 30 * DAY)
    monkeypatch.chdir(service.cache / "sub")
    for name in ("sub/z.mp3", "z.mp3", str(service.cache / "sub" / "z.mp3")):
        found = item(service, name)
        assert (found["file"], found["decision"], found["size_bytes"]) == ("sub/z.mp3", "keep", 100)
        assert "in a subfolder" in found["detail"]
    for name in ("sub/none.mp3", "sub/z.mp3/x", "sub/../../narration/sub/z.mp3", "sub\0"):
        assert service.call("explain", name).code == 1


def test_a_half_that_cannot_be_looked_at(service: Service) -> None:
    service.tear_index()
    (row, *_) = _rows(service)
    ended = service.call("explain", "--json", row[0])
    document = json.loads(ended.out)
    assert ended.code == 3
    assert [each["type"] for each in document["items"]] == ["request"]
    assert [each["code"] for each in document["problems"]] == ["index_unreadable"]
    ended = service.call("explain", service.entries[0].key)
    assert ended.code == 1
    assert "no look at the cache was possible: the index" in ended.err


def test_hostile_names_are_shown_escaped_and_kept_raw_in_the_document(service: Service) -> None:
    service.audio("\x1b[31mred\n.mp3", 100, 10 * DAY)
    service.change_index(4, voice_style="\x1b]0;title\x07", variant_id="\u202e")
    service.audio(os.fsdecode(b"caf\xe9.mp3"), 100, DAY)
    shown = service.call("explain", "\x1b[31mred\n.mp3").out
    shown += service.call("explain", service.entries[4].key).out
    shown += service.call("explain", os.fsdecode(b"caf\xe9.mp3")).out
    assert "\\x1b[31mred\\n.mp3" in shown
    assert "\\udce9" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert item(service, "\x1b[31mred\n.mp3")["file"] == "\x1b[31mred\n.mp3"
    assert service.call("run").code == 0
    (gone,) = asked(service, "\x1b[31mred\n.mp3", after=2 * MINUTE)["history"]
    assert gone["name"] == "\x1b[31mred\n.mp3"
    shown = service.call("explain", "\x1b[31mred\n.mp3", after=2 * MINUTE).out
    shown += service.call("history", "show", "1", after=2 * MINUTE).out
    assert "\x1b" not in shown


def test_nothing_is_opened_for_writing(service: Service) -> None:
    assert service.call("run").code == 0
    before = tree_digest(service.root / "cache"), tree_digest(service.root / "state")
    rows = _rows(service)
    written: list[object] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            outputs = str(path).endswith(("out.txt", "err.txt")) or path == os.devnull
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and not outputs:
                written.append((path, mode, flags))
        if event == "sqlite3.connect" and "mode=ro" not in str(arguments[0]):
            written.append(arguments)
        if event in ("os.rename", "os.remove", "os.mkdir", "os.truncate", "os.utime", "os.link"):
            written.append((event, arguments))

    for name in (service.entries[0].key, service.entries[4].key, "orphan.mp3", rows[0][0], "no"):
        service.call("explain", name, after=2 * MINUTE, hook=hook)
    assert written == []
    assert (tree_digest(service.root / "cache"), tree_digest(service.root / "state")) == before
    assert _rows(service) == rows


def test_what_would_stop_a_run_is_said(service: Service) -> None:
    document = asked(service, service.entries[0].key, "--max-delete", "1")
    assert document["items"][0]["decision"] == "remove"
    assert [each["code"] for each in document["problems"]] == ["max_delete"]


def test_problems_of_other_items_are_left_out(service: Service) -> None:
    service.change_index(3, created_at="the day before")
    assert asked(service, service.entries[4].key)["problems"] == []
    (problem,) = asked(service, service.entries[3].key)["problems"]
    assert problem["code"] == "unreadable_time"


def test_a_history_that_cannot_be_read_is_a_warning(service: Service) -> None:
    service.call("run")
    (service.root / "state" / "history.db").write_bytes(b"no database" * 200)
    document = asked(service, service.entries[4].key, after=MINUTE)
    assert {each["code"] for each in document["problems"]} == {"history_unreadable"}


def test_the_history_of_another_cache_is_not_meant(service: Service, tmp_path: Path) -> None:
    assert service.call("run").code == 0
    other = Service(tmp_path / "other")
    text = other.config.read_text()
    other.config.write_text(text.replace(str(other.root / "state"), str(service.root / "state")))
    (found,) = asked(other, other.entries[0].key, after=2 * MINUTE)["items"]
    assert found["decision"] == "remove"
    assert asked(other, other.entries[0].key, after=2 * MINUTE)["history"] == []
    history = open_history(service.root / "state", warn=pytest.fail, at=0)
    assert history is not None
    assert len(history.items_named([service.entries[0].key])) == 1
    history.close()
