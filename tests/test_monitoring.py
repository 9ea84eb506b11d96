"""The rules and the dashboard that ship: tried with promtool, and on a real Prometheus server.

What is checked without a server: that they speak of metrics that the page has.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypedDict

import pytest

from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.report.metrics import (
    metrics_text,
    write_metrics,
)
from narration_cleanup.report.run_record import Counters, record_of
from tests.results import A_PROBLEM, make_result

MONITORING = Path(__file__).resolve().parent.parent / "monitoring"
RULES = MONITORING / "narration-cleanup.rules.yml"
RULE_TESTS = MONITORING / "narration-cleanup.rules.test.yml"
DASHBOARD = MONITORING / "narration-cleanup.dashboard.json"
INTERVAL = 6 * 3_600.0
EMPTY_PAGE = metrics_text(None, Counters(), interval_seconds=INTERVAL)
NAME = r"narration_cleanup_[a-z_]+"


class Target(TypedDict):
    expr: str


class Panel(TypedDict):
    id: int
    title: str
    description: str
    gridPos: dict[str, int]
    targets: list[Target]


class Answer(TypedDict):
    metric: dict[str, str]
    value: tuple[float, str]


def panels() -> list[Panel]:
    found: list[Panel] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> list[tuple[str, str]]:
    """Every panel's expressions, with the dashboard's variable as Grafana fills it in for all."""
    return [
        (panel["title"], target["expr"].replace("$instance", ".*"))
        for panel in panels()
        for target in panel["targets"]
    ]


def metric_names(text: str) -> set[str]:
    return set(re.findall(rf"^# TYPE ({NAME}) ", text, re.MULTILINE))


def test_rules_and_dashboard_speak_of_metrics_that_exist() -> None:
    known = metric_names(EMPTY_PAGE)
    shown = set(re.findall(NAME, json.dumps(expressions())))
    assert shown <= known
    assert set(re.findall(NAME, RULES.read_text())) <= known
    # Nothing is measured that nobody looks at.
    assert known - shown == set()


def test_the_dashboard_is_in_order() -> None:
    found = panels()
    assert len({panel["id"] for panel in found}) == len(found)
    assert all(panel["title"] and panel["description"] for panel in found)
    cells = [
        (x, y)
        for panel in found
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23


@pytest.fixture
def tools() -> None:
    missing = [name for name in ("promtool", "prometheus") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed (Debian's package prometheus)")


def promtool(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments], cwd=MONITORING, input=text, capture_output=True, text=True
    )


@pytest.mark.prometheus
@pytest.mark.usefixtures("tools")
def test_promtool_has_nothing_to_say_about_the_metrics() -> None:
    for page in (EMPTY_PAGE, page_after(0), page_after(1)):
        done = promtool("check", "metrics", text=page)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    spoiled = EMPTY_PAGE.replace("# HELP narration_cleanup_cache_entries Entries", "# HELP x y")
    assert promtool("check", "metrics", text=spoiled).returncode != 0


@pytest.mark.prometheus
@pytest.mark.usefixtures("tools")
def test_promtool_takes_the_rules_and_their_tests_pass() -> None:
    done = promtool("check", "rules", RULES.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 rules found" in done.stdout
    done = promtool("test", "rules", RULE_TESTS.name)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.prometheus
@pytest.mark.usefixtures("tools")
def test_each_rule_has_a_test_in_which_it_fires() -> None:
    text = RULE_TESTS.read_text()
    for name in re.findall(r"- alert: (\w+)", RULES.read_text()):
        assert re.search(rf"alertname: {name}\n\s+exp_alerts:", text), name


def page_after(number: int) -> str:
    """The page after the first run, then after a second one that failed in part."""
    now = time.time()
    if number == 0:
        record = record_of(make_result(started_at=now - 60))
        counters = Counters(runs={"success": 1}, removed_bytes=3_000, last_success_at=now - 58)
    else:
        result = make_result(started_at=now - 1, failed=1, problems=(A_PROBLEM,))
        record = record_of(result)
        counters = Counters(
            runs={"success": 1, "partial": 1}, removed_bytes=6_000, last_success_at=now - 58
        )
    return metrics_text(record, counters, interval_seconds=INTERVAL, limit_bytes=500 * 2**20)


@contextmanager
def served(file: Path) -> Iterator[tuple[int, threading.Semaphore]]:
    """Serve the page as node_exporter would; the semaphore counts the times it was read."""
    reads = threading.Semaphore(0)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = file.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)
            reads.release()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1], reads
        finally:
            server.shutdown()
            thread.join()


class Prometheus:
    """A real server on loopback that scrapes one address every second."""

    def __init__(self, folder: Path, scraped: int) -> None:
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {
                    "job_name": "narration",
                    "static_configs": [{"targets": [f"127.0.0.1:{scraped}"]}],
                }
            ],
        }
        file = folder / "prometheus.yml"
        file.write_text(json.dumps(config))  # JSON is YAML
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.address}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log = ""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log += line
            if "Server is ready to receive web requests" in line:
                break
        # Read on, so that the server never waits for somebody to read its log.
        self._reader = threading.Thread(target=self.process.stderr.read, daemon=True)
        self._reader.start()
        assert self.process.poll() is None, self.log

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def get(self, path: str, **query: str) -> dict[str, object]:
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            found: dict[str, object] = json.load(answer)
        assert found["status"] == "success"
        return found

    def query(self, expression: str) -> list[Answer]:
        data = self.get("query", query=expression)["data"]
        assert isinstance(data, dict)
        result: list[Answer] = data["result"]
        return result

    def value(self, expression: str) -> float:
        (one,) = self.query(expression)
        return float(one["value"][1])

    def rules(self) -> dict[str, tuple[str, str]]:
        """Health and state of each rule."""
        data = self.get("rules")["data"]
        assert isinstance(data, dict)
        return {
            rule["name"]: (rule["health"], rule["state"])
            for group in data["groups"]
            for rule in group["rules"]
        }


@pytest.mark.prometheus
@pytest.mark.usefixtures("tools")
def test_a_real_prometheus_answers_every_panel(tmp_path: Path) -> None:
    page = tmp_path / "narration-cleanup.prom"
    write_metrics(page, page_after(0))
    with served(page) as (port, reads):
        prometheus = Prometheus(tmp_path, port)
        try:
            for _ in range(3):
                assert reads.acquire(timeout=60)
            write_metrics(page, page_after(1))
            # The one after next has begun after the page was replaced; the one after that, after
            # what it read was stored. The rules look once a second as well.
            for _ in range(6):
                assert reads.acquire(timeout=60)
            for title, expression in expressions():
                answers = prometheus.query(expression)
                assert answers, title
                assert all(float(each["value"][1]) >= 0 for each in answers), title
            prefix = "narration_cleanup_"
            assert prometheus.value(f"{prefix}cache_entries") == 7
            assert prometheus.value(f"{prefix}last_run_errors") == 2
            assert prometheus.value(f'{prefix}last_run_removed_files{{reason="expired"}}') == 3
            assert prometheus.value(f"increase({prefix}removed_bytes_total[1d])") > 0
            metadata = prometheus.get("metadata")["data"]
            assert isinstance(metadata, dict)
            assert metric_names(EMPTY_PAGE) <= set(metadata)
            rules = prometheus.rules()
            assert set(rules) == set(re.findall(r"- alert: (\w+)", RULES.read_text()))
            assert {health for health, _ in rules.values()} == {"ok"}
            assert rules["NarrationCleanupLate"][1] == "inactive"
            assert rules["NarrationCleanupProblems"][1] == "pending"
        finally:
            prometheus.close()


def test_a_refused_run_is_no_gap_in_the_counters() -> None:
    """What could not be looked at is NaN; the counters are numbers all the same."""
    refused = record_of(make_result(stopped=ExitCode.REFUSED))
    page = metrics_text(refused, Counters(runs={"refused": 1}), interval_seconds=1.0, limit_bytes=1)
    assert "narration_cleanup_cache_entries NaN" in page
    assert 'narration_cleanup_runs_total{outcome="refused"} 1\n' in page
