"""Broken set-ups: `check` names the fault and the remedy in each, and changes nothing."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest

from narration_cleanup.check import Finding, Status, run_checks, schedule, worst
from narration_cleanup.core.errors import CleanupError, ConfigError
from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.files import not_found
from narration_cleanup.core.model import ACTIVE
from narration_cleanup.core.users import current_group
from narration_cleanup.report.history.store import open_history
from narration_cleanup.report.run_record import record_of
from narration_cleanup.run.access import lock_out_of_reach
from narration_cleanup.run.run_as import import_all
from narration_cleanup.settings import load_partial, load_settings
from narration_cleanup.systemd.discover import with_credentials
from narration_cleanup.systemd.status import Schedule
from tests.results import NOW, make_result
from tests.samples import SAMPLE_NOW, EntrySpec, Sample, make_cache, make_sample, tree_digest

HOUR = 3_600.0
NOBODY = 65534
_import_all = cache(import_all)


@dataclass
class Place:
    """A set-up on a sample, and what `check` finds in it."""

    sample: Sample
    root: Path
    environ: dict[str, str] = field(default_factory=dict)

    def findings(self) -> list[Finding]:
        environ = {
            "HOME": str(self.root),
            "NARRATION_CACHE_DIR": str(self.sample.cache.directory),
            "NARRATION_REQUESTS_DB": str(self.sample.database),
            "NARRATION_CLEANUP_STATE_DIR": str(self.root / "state"),
        } | self.environ
        before = tree_digest(self.root)
        try:
            settings = load_settings(flags={}, config_file=None, environ=environ)
            faults: tuple[str, ...] = ()
        except ConfigError as error:
            settings, _, _ = load_partial(flags={}, config_file=None, environ=environ)
            faults = error.faults
        found = list(run_checks(settings, faults, NOW))
        assert tree_digest(self.root) == before
        return found

    def one(self, check: str) -> Finding:
        (found,) = [finding for finding in self.findings() if finding.check == check]
        return found

    def database(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.sample.database)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def ran(self, *hours_ago: float, failed: bool = False) -> None:
        """Runs in the history."""
        history = open_history(self.root / "state", warn=pytest.fail, at=NOW)
        assert history is not None
        for hours in hours_ago:
            at = NOW - hours * HOUR
            run_id = history.begin(at, trigger="timer", version="1")
            stopped = ExitCode.FAILED if failed else None
            history.finish(run_id, record_of(make_result(started_at=at, stopped=stopped)))
        history.close()


@pytest.fixture(autouse=True)
def no_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine's own systemd and cron say, is not of the test."""
    monkeypatch.setattr("narration_cleanup.systemd.status.find_schedule", lambda _: None)
    tables = ["/etc/crontab"]
    monkeypatch.setattr("narration_cleanup.systemd.status.cron_tables", lambda _: tables)


@pytest.fixture
def place() -> Iterator[Place]:
    """A folder that other users may enter: pytest's own may be closed to them."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        yield Place(make_sample(root), root)


def is_failed(finding: Finding, message: str, remedy: str) -> None:
    assert finding.status is Status.FAILED
    assert message in finding.message
    assert remedy in finding.remedy


def is_warning(finding: Finding, message: str, remedy: str) -> None:
    assert finding.status is Status.WARNING
    assert message in finding.message
    assert remedy in finding.remedy


def test_a_sound_set_up_passes(place: Place) -> None:
    place.ran(6, 0.1)
    place.environ["NARRATION_ALERTS_PING_URL"] = "http://127.0.0.1:9/x"
    findings = place.findings()
    assert [finding for finding in findings if finding.status is not Status.PASSED] == []
    assert worst(findings) is Status.PASSED
    times = next(finding for finding in findings if finding.check == "requests.times")
    assert "7 requests are abandoned" in times.message
    assert len(times.details) == 3
    assert "created_at '2026-11-" in times.details[0]
    assert " ago" in times.details[0]
    active = [each for each in place.sample.requests if each.status in ACTIVE]
    newest = sorted(active, key=lambda row: row.created_at)[:-4:-1]
    assert [each.partition(" ")[0] for each in times.details] == [row.request_id for row in newest]
    assert "in the newest active rows" in times.message


def test_wrong_directory(place: Place) -> None:
    place.environ["NARRATION_CACHE_DIR"] = str(place.root / "elsewhere")
    is_failed(place.one("cache.directory"), "elsewhere does not exist", "NARRATION_CACHE_DIR")


def test_a_directory_without_an_index(place: Place) -> None:
    place.sample.cache.index.unlink()
    is_failed(place.one("cache.directory"), "cache_index.json", "cache.dir")


@pytest.mark.waits
def test_an_index_that_is_torn(place: Place) -> None:
    place.sample.cache.index.write_text('{"a": {')
    is_failed(place.one("cache.index_unreadable"), "the index", "restore it from a backup")


def test_a_folder_that_nobody_writes_to_any_more(place: Place) -> None:
    old = [EntrySpec(timedelta(days=6)), EntrySpec(timedelta(days=5))]
    directory = place.root / "old"
    make_cache(directory, entries=old)
    place.environ["NARRATION_CACHE_DIR"] = str(directory)
    is_warning(place.one("cache.newest_entry"), "5.0 days old", "cache.dir")


def test_a_service_whose_times_are_of_another_zone(place: Place) -> None:
    ahead = [EntrySpec(timedelta(hours=-2))]
    make_cache(place.root / "ahead", entries=ahead)
    place.environ["NARRATION_CACHE_DIR"] = str(place.root / "ahead")
    is_failed(place.one("cache.created_in_future"), "lies in the future", "cleanup.timezone")


def test_an_entry_that_leaves_the_cache(place: Place) -> None:
    index = json.loads(place.sample.cache.index.read_text())
    key = next(iter(index))
    index[key]["file_path"] = "/etc/passwd"
    place.sample.cache.index.write_text(json.dumps(index, indent=2))
    finding = place.one("cache.outside_cache")
    is_failed(finding, "/etc/passwd", "set cache.dir_in_index")
    assert finding.details == (key,)
    for fields in index.values():
        fields["file_path"] = "/etc/passwd"
    many = {**index, **{f"{key}-{number}": fields for number in range(200)}}
    place.sample.cache.index.write_text(json.dumps(many))
    assert place.one("cache.outside_cache").message.startswith(f"{len(many)} times: ")
    newest = place.one("cache.newest_entry")
    is_warning(newest, f"none of {len(many)} entries can be judged", "the other checks")
    assert not [each for each in place.findings() if each.check == "cache.agreement"]


def test_index_and_files_that_disagree(place: Place) -> None:
    cache = place.sample.cache
    missing, empty, longer = (cache.directory / entry.name for entry in cache.entries[-3:])
    missing.unlink()
    empty.write_bytes(b"")
    with longer.open("ab") as file:
        file.write(b"more")
    (cache.directory / f"{'f' * 64}.mp3").write_bytes(b"no entry")
    is_warning(place.one("cache.dangling"), "1 entry has no audio file", "remove_dangling")
    assert place.one("cache.dangling").message == "1 entry has no audio file: kept"
    for entry in cache.older_than(timedelta(days=7))[:2]:
        (cache.directory / entry.name).unlink()
    both = "3 entries have no audio file: 1 kept; 2 expired, which the next run drops"
    is_warning(place.one("cache.dangling"), both, "remove_dangling")
    place.environ["NARRATION_CACHE_REMOVE_DANGLING"] = "true"
    all_go = "2 expired, which the next run drops; 1 which the next run drops (cache.remove_"
    is_warning(place.one("cache.dangling"), f"3 entries have no audio file: {all_go}", "in memory")
    is_warning(place.one("cache.orphans"), "1 audio file has no entry", "remove_orphans")
    is_warning(place.one("cache.empty_audio"), "1 audio file is empty", "remove_empty_audio")
    sizes = place.one("cache.sizes")
    is_warning(sizes, "1 file has another size", "")
    assert sizes.details[0].startswith(longer.name)


def test_a_link_where_audio_should_be(place: Place) -> None:
    cache = place.sample.cache
    audio, other = (cache.directory / entry.name for entry in cache.entries[-2:])
    audio.unlink()
    audio.symlink_to(other.name)
    finding = place.one("cache.odd_file")
    is_warning(finding, "1 entry names what is no regular file", "take it away by hand")
    assert finding.details == (audio.name,)
    assert not [each for each in place.findings() if each.check == "cache.agreement"]


def test_a_cache_over_its_limit(place: Place) -> None:
    place.environ["NARRATION_CACHE_MAX_SIZE_MB"] = "0.01"
    is_warning(place.one("cache.size"), "MB of 0.01 MB", "enforce_max_size")


def test_no_database(place: Place) -> None:
    place.sample.database.unlink()
    is_failed(place.one("requests.database_missing"), "does not exist", "requests.db")


def test_a_missing_table(place: Place) -> None:
    place.database("ALTER TABLE requests RENAME TO generation_requests")
    is_failed(place.one("requests.no_such_table"), "generation_requests", "requests.table")


def test_a_missing_column(place: Place) -> None:
    place.database("ALTER TABLE requests RENAME COLUMN created_at TO queued_at")
    is_failed(place.one("requests.no_such_column"), "no column created_at", "requests.columns")


def test_a_status_that_nobody_knows(place: Place) -> None:
    place.database("UPDATE requests SET status = 'paused' WHERE status = 'failed'")
    is_warning(place.one("requests.unknown_status"), "2 rows", "requests.statuses")


def test_a_database_that_is_none(place: Place) -> None:
    place.sample.database.write_bytes(b"no database" * 1000)
    findings = [each for each in place.findings() if each.check.startswith("requests.")]
    (finding,) = findings
    assert finding.status is Status.FAILED
    assert "requests.db" in finding.message
    assert finding.remedy


def test_a_state_folder_that_cannot_be_made(place: Place) -> None:
    (place.root / "file").write_text("")
    place.environ["NARRATION_CLEANUP_STATE_DIR"] = str(place.root / "file" / "state")
    is_failed(place.one("state.directory"), "is not a directory", "NARRATION_CLEANUP_STATE_DIR")


def test_a_disk_that_is_full(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    full = SimpleNamespace(f_bavail=1, f_frsize=4_096, f_files=0, f_favail=0, f_flag=0)
    monkeypatch.setattr(os, "statvfs", lambda place: full)
    is_failed(place.one("state.directory"), "is full", "free disk space")
    is_failed(place.one("cache.space"), "is full: 4,096 bytes are free", "free disk space")


def test_a_file_system_without_inodes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    full = SimpleNamespace(f_bavail=10**6, f_frsize=4_096, f_files=10**6, f_favail=3, f_flag=0)
    monkeypatch.setattr(os, "statvfs", lambda place: full)
    is_failed(place.one("cache.space"), "has 3 inodes free", "remove files")


def test_no_alert_target_is_a_warning(place: Place) -> None:
    is_warning(place.one("alerts"), "no alert target is configured", "notify --test")


def test_a_ping_that_cannot_tell_a_failure(place: Place) -> None:
    place.environ["NARRATION_ALERTS_PING_URL"] = "http://127.0.0.1:9/x?said={message}"
    is_warning(place.one("alerts.ping_url"), "a failure are sent as a success is", "{state}")
    place.environ["NARRATION_ALERTS_PING_URL"] += "&{state}"
    assert place.one("alerts.ping_url").status is Status.PASSED


def test_each_of_many_problems_is_counted(place: Place) -> None:
    index = place.root / "cache" / "narration" / "cache_index.json"
    members = json.loads(index.read_text())
    odd = {"file_path": "x.mp3", "created_at": "once"}
    live = {**next(iter(members.values())), "created_at": "2026-11-23T11:00:00"}
    members |= {f"live-{n}": live for n in range(600)} | {f"odd-{n}": odd for n in range(500)}
    index.write_text(json.dumps(members))
    assert place.one("cache.unreadable_time").message.startswith("500 times: ")


def test_a_secret_that_every_user_can_read(place: Place) -> None:
    file = place.root / "config.toml"
    file.write_text('[alerts]\nping_url = "http://127.0.0.1:9/canary"\n')
    place.environ["NARRATION_CLEANUP_CONFIG"] = str(file)
    file.chmod(0o644)
    finding = place.one("settings.secrets")
    is_warning(finding, "holds alerts.ping_url, and every user can read it", "chmod 0640")
    assert "canary" not in finding.message
    file.chmod(0o640)
    assert "settings.secrets" not in {each.check for each in place.findings()}


def test_a_configuration_that_may_not_be_read_is_the_one_fault(
    place: Place, as_nobody: Callable[[], None]
) -> None:
    """Of the rest nothing is known: not that nothing is configured, nor that there is no alert."""
    with tempfile.NamedTemporaryFile() as file:  # root's alone, as config init makes it
        place.environ = {
            "NARRATION_CLEANUP_CONFIG": file.name,
            "NARRATION_CACHE_DIR": "",
            "NARRATION_REQUESTS_DB": "",
        }
        as_nobody()
        (finding,) = place.findings()
        os.seteuid(0)
    is_failed(finding, f"{file.name}: Permission denied", "run this as the runs' user")
    assert (
        f"sudo chgrp {current_group()} {file.name} && sudo chmod 0640 {file.name}" in finding.remedy
    )
    assert "chgrp" not in finding.message


def test_a_file_that_root_left_is_given_back_and_no_run_as_root_is_advised(
    place: Place, as_nobody: Callable[[], None]
) -> None:
    folder, database = place.sample.cache.directory, place.sample.database
    for mine in (place.root, folder.parent, folder):
        os.chown(mine, NOBODY, -1)
    as_nobody()
    index = folder / "cache_index.json"
    is_failed(place.one("cache.index_owner"), "belongs to root", f"chown --reference={folder}")
    assert f"{index}" in place.one("cache.index_owner").remedy
    given_back = f"root left it there; give it back: chown --reference={database.parent} {database}"
    is_failed(place.one("requests.owner"), "belongs to root", given_back)
    for finding in place.findings():
        assert "run as root" not in finding.message + finding.remedy


def test_a_damaged_history(place: Place) -> None:
    (place.root / "state").mkdir()
    (place.root / "state" / "history.db").write_bytes(b"damaged" * 1000)
    is_failed(place.one("runs.history"), "history.db cannot be read", "moves a damaged history")


def test_a_timer_that_is_stale(place: Place) -> None:
    place.ran(13)
    is_failed(place.one("runs.last_success"), "13.0 h ago; a run is due every 6.0 h", "(schedule)")


def test_runs_that_fail(place: Place) -> None:
    place.ran(12.5, 6, failed=True)
    is_failed(
        place.one("runs.last_success"),
        "no run on this cache and database has succeeded",
        "narration-cleanup history",
    )
    is_warning(place.one("runs.last"), "failed: It stopped", "history show 2")


def test_a_run_that_failed_for_two_faults_is_told_in_one_line() -> None:
    result = make_result(started_at=NOW)
    result.stop(ExitCode.BAD_CONFIGURATION, "one fault\nanother fault")
    finding = schedule._last(record_of(result), NOW)
    assert finding.message.endswith("refused: one fault; another fault")


def test_nothing_that_starts_runs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("narration_cleanup.systemd.status.cron_tables", lambda _: [])
    is_warning(place.one("schedule"), "nothing is known to start runs", "systemd install")


def test_a_systemd_that_cannot_be_asked(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_bus(_: object) -> None:
        raise CleanupError("systemctl show: Failed to connect to bus")

    monkeypatch.setattr("narration_cleanup.systemd.status.find_schedule", without_bus)
    assert place.one("schedule").message == "cron starts runs"
    monkeypatch.setattr("narration_cleanup.systemd.status.cron_tables", lambda _: [])
    is_warning(place.one("schedule"), "systemd could not be asked (systemctl show", "as root")


def test_credentials_do_not_reach_the_runs_of_cron(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = place.root / "credentials"
    folder.mkdir()
    (folder / "alerts.ping_url").write_text("http://127.0.0.1:9/canary")
    monkeypatch.setattr("narration_cleanup.systemd.discover.CREDENTIALS", folder)
    place.environ = with_credentials({}, None)
    finding = place.one("schedule.credentials")
    is_failed(finding, "alerts.ping_url in", "the configuration file (chgrp")
    assert "canary" not in finding.message
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))  # the line of cron may set it
    assert "schedule.credentials" not in {each.check for each in place.findings()}


@pytest.mark.parametrize(
    ("enabled", "active", "next_run", "status", "message", "remedy"),
    [
        (True, False, None, Status.FAILED, "not active", "systemctl enable --now"),
        (False, False, None, Status.WARNING, "narration-cleanup.timer is not enabled", "install"),
        (False, True, NOW + 60, Status.WARNING, "after a reboot", "systemctl enable"),
        (True, True, None, Status.FAILED, "no next run", "systemctl list-timers"),
        (True, True, NOW + 60, Status.PASSED, "is active, next at 2026-11-23 12:01 UTC", ""),
    ],
)
def test_a_timer(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    enabled: bool,
    active: bool,
    next_run: float | None,
    status: Status,
    message: str,
    remedy: str,
) -> None:
    found = Schedule(
        timer="narration-cleanup.timer",
        service="narration-cleanup.service",
        enabled=enabled,
        active=active,
        running=False,
        next_run=None if next_run is None else datetime.fromtimestamp(next_run, UTC),
        last_run=None,
        last_result=None,
        last_exit=None,
    )
    monkeypatch.setattr("narration_cleanup.systemd.status.find_schedule", lambda _: found)
    other = place.one("schedule")
    if not active:  # as the timer of the Debian package, where cron starts the runs
        assert (other.status, other.message) == (Status.PASSED, "cron starts runs")
    monkeypatch.setattr("narration_cleanup.systemd.status.cron_tables", lambda _: [])
    finding = place.one("schedule")
    assert finding.status is status
    assert message in finding.message
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("differences", "last_exit", "checks"),
    [
        ([], 0, {"schedule.units": "passed"}),
        (["the unit has no access to /x"], 0, {"schedule.units": "failed"}),
        ([], 226, {"schedule.units": "passed", "schedule.result": "failed"}),
        ([], 3, {"schedule.units": "passed"}),
    ],
)
def test_units_that_are_not_as_the_settings_or_could_not_start(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    differences: list[str],
    last_exit: int,
    checks: dict[str, str],
) -> None:
    found = Schedule(
        timer="narration-cleanup@voices.timer",
        service="narration-cleanup@voices.service",
        enabled=True,
        active=True,
        running=False,
        next_run=datetime.fromtimestamp(NOW + 60, UTC),
        last_run=None,
        last_result="exit-code" if last_exit else "success",
        last_exit=last_exit,
        instance="voices",
    )
    monkeypatch.setattr("narration_cleanup.systemd.status.find_schedule", lambda _: found)
    monkeypatch.setattr(
        "narration_cleanup.systemd.compare.unit_differences", lambda *_, user_known: differences
    )
    of_units = [each for each in place.findings() if each.check.startswith("schedule.")]
    assert {each.check: each.status.value for each in of_units} == checks
    for each in of_units:
        if each.status is Status.FAILED:
            assert "systemd install --instance voices" in each.remedy
    if last_exit == 226:
        assert any("exit 226/NAMESPACE" in each.message for each in of_units)


def test_a_folder_that_a_unit_does_not_show_is_not_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not_found(Path("/var/lib/narration")) == "does not exist"
    monkeypatch.setenv("NARRATION_NOTIFIED_BY", "unit")
    assert not_found(Path("/srv/narration")) == "does not exist"
    assert "is not visible in this unit" in not_found(Path("/var/lib/narration"))
    assert "systemd install" in not_found(Path("/home/x"))


def test_a_lock_that_no_run_could_take(place: Place, as_nobody: Callable[[], None]) -> None:
    lock = place.root / "cache" / "narration" / "cache_index.json.lock"
    assert lock.parent.is_dir()
    lock.symlink_to("nowhere")
    is_failed(place.one("cache.index_lock"), "is a symbolic link", "make it a file")
    lock.unlink()
    lock.touch(0o600)
    assert not [finding for finding in place.findings() if finding.check == "cache.index_lock"]
    as_nobody()
    why = lock_out_of_reach(lock)
    assert why is not None
    assert why.startswith(f"nobody may not read {lock} (owner root, mode 0600")


def test_a_metrics_folder_that_is_not_there(place: Place) -> None:
    place.environ["NARRATION_METRICS_TEXTFILE"] = str(place.root / "none" / "narration.prom")
    is_failed(place.one("metrics.textfile"), "none does not exist", "make it")


def test_a_metrics_file_that_no_collector_reads(place: Place) -> None:
    file = place.root / "narration.txt"
    place.environ["NARRATION_METRICS_TEXTFILE"] = str(file)
    is_warning(place.one("metrics.textfile"), "only *.prom", "narration.prom")
    hidden = place.root / "narration.prom"
    hidden.write_text("")
    hidden.chmod(0o600)
    place.environ["NARRATION_METRICS_TEXTFILE"] = str(hidden)
    is_warning(place.one("metrics.textfile"), "cannot be read by node_exporter", "chmod 0644")
    hidden.unlink()
    os.mkfifo(hidden)
    is_failed(place.one("metrics.textfile"), "no regular file", "name another file")


def test_an_alert_address_that_is_none(place: Place) -> None:
    place.environ["NARRATION_ALERTS_URLS"] = "json://127.0.0.1/ok nonsense-canary"
    finding = place.one("alerts.urls")
    is_failed(finding, "alerts.urls number 2", "correct it")
    assert "canary" not in str(place.findings())


def test_wrong_settings_and_the_rest_is_looked_at_all_the_same(place: Place) -> None:
    place.environ["NARRATION_CACHE_TTL_DAYS"] = "soon"
    place.environ["NARRATION_CLEANUP_INTERVALL_HOURS"] = "6"
    findings = place.findings()
    is_failed(findings[0], 'NARRATION_CACHE_TTL_DAYS is "soon"', "config validate")
    is_warning(findings[1], "NARRATION_CLEANUP_INTERVAL_HOURS", "correct the name")
    assert any(each.check == "cache.newest_entry" for each in findings)
    assert worst(findings) is Status.FAILED


def test_nothing_to_look_after(place: Place) -> None:
    place.environ |= {"NARRATION_CACHE_DIR": "", "NARRATION_REQUESTS_DB": ""}
    is_failed(place.findings()[0], "Nothing configured", "cache.dir")


@pytest.fixture
def as_nobody(place: Place) -> Iterator[Callable[[], None]]:
    """Gives a function after which the test acts as another user than the files' owner."""
    if os.geteuid() != 0:
        pytest.skip("only root can act as another user")

    def act() -> None:
        _import_all()  # the modules may lie where that user cannot read
        os.seteuid(NOBODY)

    yield act
    os.seteuid(0)


def test_a_database_of_another_user(place: Place, as_nobody: Callable[[], None]) -> None:
    as_nobody()
    is_failed(place.one("requests.owner"), "belongs to root", "run as")


def test_a_database_that_may_not_be_written(place: Place, as_nobody: Callable[[], None]) -> None:
    place.sample.database.chmod(0o444)
    os.chown(place.sample.database, NOBODY, -1)
    os.chown(place.sample.database.parent, NOBODY, -1)
    as_nobody()
    finding = place.one("requests.permissions")
    is_failed(finding, f"may not write to {place.sample.database}", "correct the rights")


def test_a_cache_that_may_not_be_written(place: Place, as_nobody: Callable[[], None]) -> None:
    as_nobody()
    found = place.one("cache.permissions")
    is_failed(found, "may not remove files", "give nobody the right to write there")
    assert "run as" not in found.remedy
    is_failed(place.one("cache.index_owner"), "the index belongs to root", "run as root")
    is_failed(place.one("state.directory"), "may not write in", "set cleanup.state_dir")


def test_a_state_folder_that_may_not_be_looked_for(
    place: Place, as_nobody: Callable[[], None]
) -> None:
    (place.root / "private").mkdir(0o700)
    place.environ["NARRATION_CLEANUP_STATE_DIR"] = str(place.root / "private" / "a" / "state")
    as_nobody()
    is_failed(place.one("state.directory"), "may not write in", "set cleanup.state_dir")


@pytest.mark.parametrize("home", ["/nonexistent", "/dev/null", "/"])
def test_a_user_without_a_home_keeps_no_history_until_the_units_are_installed(
    place: Place, as_nobody: Callable[[], None], home: str
) -> None:
    place.environ |= {"NARRATION_CLEANUP_STATE_DIR": "auto", "HOME": home}
    as_nobody()
    found = place.one("state.directory")
    is_warning(found, "runs work, but no history is kept", "systemd install makes /var/lib/")
    assert "set cleanup.state_dir" in found.remedy
    assert ".local" not in found.message + found.remedy
    assert all(
        each.check != "runs.last" for each in place.findings()
    )  # a run would not be recorded


def test_an_index_that_may_not_be_read(place: Place, as_nobody: Callable[[], None]) -> None:
    place.sample.cache.directory.chmod(0o777)
    place.sample.cache.index.chmod(0o600)
    environ = dict(place.environ)
    as_nobody()
    settings = load_settings(
        flags={},
        config_file=None,
        environ=environ
        | {"NARRATION_CACHE_DIR": str(place.sample.cache.directory), "HOME": str(place.root)},
    )
    findings = [each for each in run_checks(settings, (), NOW) if each.status is Status.FAILED]
    assert any("Permission denied" in each.message for each in findings)
    assert all(each.remedy for each in findings)


def test_a_folder_where_only_owners_may_remove(place: Place, as_nobody: Callable[[], None]) -> None:
    place.sample.cache.directory.chmod(0o1777)
    as_nobody()
    is_failed(place.one("cache.permissions"), "sticky bit", "run as root")


def test_the_sample_is_seen_from_the_moment_that_the_tests_count_from() -> None:
    assert SAMPLE_NOW.timestamp() == NOW
