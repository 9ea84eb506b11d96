"""The metrics page: what it says, and that a collector reads it whole or not at all."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.files import replace_file
from narration_cleanup.report.metrics import (
    PREFIX,
    metrics_text,
    name_of,
    write_metrics,
)
from narration_cleanup.report.run_record import Counters, record_of
from tests.results import A_PROBLEM, A_WARNING, NOW, make_result

INTERVAL = 6 * 3_600.0
OLD = f"# HELP {PREFIX}cache_entries Entries in the cache.\n"
FROM_THE_START = metrics_text(None, Counters(), interval_seconds=INTERVAL)


def samples(page: str) -> dict[str, float]:
    """Every sample by name and labels, read by a parser that is not ours."""
    return {
        sample.name.removeprefix(PREFIX)
        + "".join(f"{{{label}={value}}}" for label, value in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_a_page_tells_what_a_run_did_and_how_things_stand() -> None:
    result = make_result(removed=3, failed=1, cancelled=2, problems=(A_PROBLEM, A_WARNING))
    counters = Counters(
        runs={"success": 7, "partial": 1}, removed_bytes=123_456, last_success_at=NOW - INTERVAL
    )
    found = samples(
        metrics_text(
            record_of(result), counters, interval_seconds=INTERVAL, limit_bytes=524_288_000
        )
    )
    assert found["last_run_timestamp_seconds"] == NOW + 1.5
    assert found["last_success_timestamp_seconds"] == NOW - INTERVAL
    assert found["last_run_duration_seconds"] == 1.5
    assert found["last_run_success"] == 0
    assert found["last_run_removed_files{reason=expired}"] == 3
    assert found["last_run_removed_files{reason=orphan}"] == 0
    assert found["last_run_freed_bytes"] == 3_000
    assert found["last_run_cancelled_requests{status=queued}"] == 2
    assert found["last_run_cancelled_requests{status=generating}"] == 0
    assert found["last_run_errors"] == 2  # one action failed, one problem; a warning is none
    assert found["cache_entries"] == 7
    assert found["cache_size_bytes"] == 7_000
    assert found["cache_limit_bytes"] == 524_288_000
    assert found["requests{status=queued}"] == 3
    assert found["requests{status=cancelled}"] == 2
    assert found["requests{status=other}"] == 4
    assert found["requests_abandoned"] == 0
    assert found["last_run_skipped"] == 0
    assert found["runs_total{outcome=success}"] == 7
    assert found["runs_total{outcome=killed}"] == 0
    assert found["removed_bytes_total"] == 123_456
    assert found["interval_seconds"] == INTERVAL


def test_every_series_exists_from_the_start() -> None:
    """The same names and labels on the first page as after any run: no series comes or goes."""
    ended = [make_result(), make_result(stopped=ExitCode.REFUSED), make_result(removed=0)]
    pages = [FROM_THE_START] + [
        metrics_text(record_of(result), Counters(), interval_seconds=INTERVAL, limit_bytes=1)
        for result in ended
    ]
    names = [set(samples(page)) for page in pages]
    assert all(each == names[0] for each in names)
    assert len(names[0]) == len(FROM_THE_START.splitlines()) - 2 * 17


def test_what_could_not_be_looked_at_is_not_a_number() -> None:
    refused = record_of(make_result(stopped=ExitCode.REFUSED))
    found = samples(metrics_text(refused, Counters(), interval_seconds=INTERVAL, limit_bytes=None))
    assert math.isnan(found["cache_entries"])
    assert math.isnan(found["cache_limit_bytes"])
    assert math.isnan(found["requests{status=queued}"])
    assert found["last_run_removed_files{reason=expired}"] == 0


def test_what_a_history_that_cannot_be_read_would_know_is_not_a_number() -> None:
    found = samples(metrics_text(None, None, interval_seconds=INTERVAL))
    known = samples(FROM_THE_START).keys()
    assert found.keys() == {name for name in known if "_total" not in name}
    for name, value in found.items():
        assert math.isnan(value) is (name != "interval_seconds"), name


def test_of_a_run_without_a_history_the_page_has_no_counters() -> None:
    good, failed = make_result(), make_result(stopped=ExitCode.FAILED)
    for result, last_success in ((good, NOW + 1.5), (failed, math.nan)):
        page = metrics_text(record_of(result), None, interval_seconds=1.0, limit_bytes=1)
        found = samples(page)
        assert found["last_run_timestamp_seconds"] == NOW + 1.5
        assert found["last_success_timestamp_seconds"] == pytest.approx(last_success, nan_ok=True)
        assert not any("_total" in name for name in found)


def test_the_page_is_replaced_whole_and_others_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "page.prom"
    file.write_text(OLD)
    file.chmod(0o600)
    before = file.stat().st_ino
    old = os.umask(0o077)
    try:
        with file.open() as reader:
            write_metrics(file, "new\n")
            assert reader.read() == OLD
    finally:
        os.umask(old)
    assert file.read_text() == "new\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert file.stat().st_ino != before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "content", [b"SQLite format 3\0", b"{\n", b"ID3", b"# HELP node_load1 x\n"]
)
def test_what_is_no_page_of_ours_is_never_replaced(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "requests.db"
    file.write_bytes(content)
    with pytest.raises(FileExistsError, match="stays"):
        write_metrics(file, "new\n")
    assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [file]


def _a_pipe(place: Path) -> None:
    os.mkfifo(place)


def _a_link_to_null(place: Path) -> None:
    place.symlink_to("/dev/null")


@pytest.mark.parametrize("make", [_a_pipe, _a_link_to_null, Path.mkdir])
def test_what_is_no_regular_file_is_neither_waited_for_nor_replaced(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """Whoever names /dev/null to have no page must not lose it."""
    file = tmp_path / "page.prom"
    make(file)
    before = file.lstat()
    with pytest.raises(OSError, match="no regular file"):
        write_metrics(file, "new\n")
    with pytest.raises(OSError, match="no regular file"):
        replace_file(file, "new\n", 0o644)
    after = file.lstat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_killed_run_left_half_written_is_in_nobodys_way(tmp_path: Path) -> None:
    """In a container every run has the same process id."""
    file = tmp_path / "page.prom"
    (tmp_path / f".page.prom.{os.getpid()}.tmp").write_text("half")
    write_metrics(file, "new\n")
    assert file.read_text() == "new\n"
    assert list(tmp_path.iterdir()) == [file]


def test_a_page_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "page.prom"
    file.write_text(OLD)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_metrics(file, "new\n")
    assert file.read_text() == OLD
    assert list(tmp_path.iterdir()) == [file]


def test_the_folder_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_metrics(tmp_path / "no-such-folder" / "page.prom", "new\n")
    assert list(tmp_path.iterdir()) == []


def test_the_pages_of_several_caches_can_be_collected_together(tmp_path: Path) -> None:
    """Each series is labelled with what the file's name says after its @."""
    record = record_of(make_result())
    series = []
    for file in ("a@voices.prom", 'a@odd" \\name.prom', "a.prom"):
        name = name_of(tmp_path / file)
        page = metrics_text(record, Counters(), interval_seconds=1.0, limit_bytes=1, name=name)
        write_metrics(tmp_path / file, page)
        found = samples(page)
        series += list(found)
    assert len(series) == len(set(series))
    assert "cache_entries{cache=voices}" in series
    assert 'runs_total{cache=odd" \\name}{outcome=success}' in series


def test_no_name_from_outside_gets_into_the_page() -> None:
    """Foreign statuses are counted as `other`: labels are a small, fixed set."""
    result = make_result()
    assert result.requests is not None
    result.requests.plan.totals.by_status['evil"} 1\n# '] = 3
    page = metrics_text(record_of(result), Counters(), interval_seconds=1.0, limit_bytes=1)
    assert "evil" not in page
    assert samples(page)["requests{status=other}"] == 7
