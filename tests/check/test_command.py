"""`check` from outside: exit codes, the document and its schema, and what a reader gets."""

from __future__ import annotations

import io
import json
import os
import subprocess
from pathlib import Path

import pytest

from narration_cleanup.check import Finding, Status
from narration_cleanup.cli.check import show_check
from narration_cleanup.systemd.status import cron_tables
from tests import forked
from tests.samples import Sample, make_sample

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return make_sample(tmp_path)


def check(sample: Sample, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "NARRATION_CACHE_DIR": str(sample.cache.directory),
        "NARRATION_REQUESTS_DB": str(sample.database),
        "NARRATION_CLEANUP_STATE_DIR": str(sample.root / "state"),
    }
    words = "2026-11-23T12:00:00+00:00", "check", *arguments
    return forked.run(*words, module="tests.run_at", env={**os.environ, **settings, **more})


def test_warnings_count_only_where_strict(sample: Sample) -> None:
    """No run is recorded yet: that is a warning."""
    assert check(sample).returncode == 0
    strict = check(sample, "--strict", "--quiet")
    assert strict.returncode == 3
    assert "warning  runs.last: no run is recorded yet\n" in strict.stdout
    assert "passed" not in strict.stdout
    assert "\x1b" not in strict.stdout


def test_a_failure_is_exit_1(sample: Sample) -> None:
    done = check(sample, NARRATION_CACHE_DIR=str(sample.root / "nowhere"))
    assert done.returncode == 1
    assert "failed   cache.directory: " in done.stdout
    assert "         -> set cache.dir" in done.stdout
    assert done.stderr == ""


def test_wrong_settings_are_exit_1_too(sample: Sample) -> None:
    done = check(sample, NARRATION_CACHE_TTL_DAYS="soon")
    assert done.returncode == 1
    assert "failed   settings: variable NARRATION_CACHE_TTL_DAYS" in done.stdout


def test_the_document_counts_the_checks_and_has_no_secret(sample: Sample) -> None:
    done = check(sample, "--json", NARRATION_ALERTS_PING_URL="https://example.com/canary-1")
    document = json.loads(done.stdout)
    assert document["outcome"] == "warning"
    assert document["counts"]["failed"] == 0
    assert sum(document["counts"].values()) == len(document["checks"])
    assert "canary" not in done.stdout + done.stderr


def test_what_is_shown_can_do_no_harm() -> None:
    stream = io.StringIO()
    hostile = Finding("cache.x", Status.FAILED, "a\x1b[2J\nb", "c\u202e", ("d\x07",))
    show_check([hostile], stream)
    text = stream.getvalue()
    assert text.splitlines() == [
        "failed   cache.x: a\\x1b[2J\\nb",
        "         -> c\\u202e",
        "            d\\x07",
        "1 check: 0 passed, 0 warnings, 1 failed",
        "More on each: docs/troubleshooting.md",
    ]


@pytest.mark.parametrize(
    ("line", "starts"),
    [
        ("0 */6 * * * narration-cleanup run -q", True),
        ("0 */6 * * * x NARRATION_CLEANUP_CONFIG={own} '/opt/a b/narration-cleanup' run", True),
        ("@daily narration-cleanup --config={own} run", True),
        ("@daily NARRATION_CLEANUP_CONFIG='{spaced}' narration-cleanup run", True),
        ("@daily sh -c 'narration-cleanup \\\n run'", True),
        ("@daily narration-cleanup -c $HOME/own.toml run", True),
        ("@daily NARRATION_CLEANUP_CONFIG=/etc/other.toml narration-cleanup run", False),
        ("@daily narration-cleanup -c /etc/other.toml run", False),
        ("@daily narration-cleanup stats --json", False),
        ("@daily narration-cleanup dry-run", False),
        ("@daily tar czf /backup/run /var/lib/narration-cleanup/history.db", False),
        (" # @daily narration-cleanup run", False),
    ],
)
def test_a_line_of_cron_counts_where_it_starts_runs_of_this_configuration(
    line: str, starts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    own, spaced = tmp_path / "own.toml", tmp_path / "with % and a space"
    (tmp_path / "table").write_text(line.format(own=own, spaced=spaced).replace("%", "\\%") + "\n")
    found = cron_tables(spaced if "{spaced}" in line else own, [tmp_path / "table"])
    assert found == ([str(tmp_path / "table")] if starts else [])


def test_tables_of_cron_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = tmp_path / "cron.d"
    folder.mkdir()
    (folder / "ours").write_text("# narration-cleanup\n0 */6 * * * x narration-cleanup run -q\n")
    (folder / "other").write_text("0 0 * * * root true\n")
    assert cron_tables(None, [tmp_path / "crontab", folder]) == [str(folder / "ours")]
    spool = tmp_path / "crontabs"
    spool.mkdir()
    (spool / "voice").write_text("@hourly narration-cleanup run\n")
    (spool / "pipe").symlink_to("/dev/zero")
    assert cron_tables(None, [spool]) == [str(spool / "voice")]
    crontab = tmp_path / "crontab"
    crontab.write_text("#!/bin/sh\necho '@daily /opt/narration-cleanup run'\n")
    crontab.chmod(0o755)
    assert cron_tables(None, []) == ["crontab -l"]


def test_a_secret_in_a_crontab_is_not_shown(sample: Sample, tmp_path: Path) -> None:
    url = "postgresql://u:canary-1@h/db"
    crontab = tmp_path / "crontab"
    crontab.write_text(
        f"#!/bin/sh\necho '@daily NARRATION_REQUESTS_DB={url} narration-cleanup run'\n"
    )
    crontab.chmod(0o755)
    done = check(sample, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert "crontab -l" in done.stdout
    assert "canary" not in done.stdout + done.stderr
