"""What is said of removed entries that the service has written back, without their audio."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.golden.program import Ended
from tests.golden.service import MINUTE, Service, failing


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """A run has removed 3 expired entries, of which one had no audio, and the service's next save
    brought them back. A fourth one has expired since, and two that stay have lost their audio."""
    service = Service(tmp_path / "service")
    index = service.cache / "cache_index.json"
    before = index.read_bytes()
    assert service.call("run").code == 0
    index.write_bytes(before)
    return service


def text(ended: Ended) -> str:
    return re.sub(" +", " ", ended.out)


def test_their_sizes_are_not_promised(service: Service) -> None:
    stats = text(service.call("stats", after=2 * MINUTE))
    assert "8 entries, 0.07 MB, 4 expired (3 without audio); 8 requests" in stats
    assert " expired 4 (3 without audio), <0.01 MB\n dangling 5\n" in stats
    assert "success, 7 removed (1 without audio), 0.01 MB freed" in stats
    cache = json.loads(service.call("stats", "--json", after=2 * MINUTE).out)["cache"]
    dry_run = json.loads(service.call("dry-run", "--json", after=2 * MINUTE).out)["cache"]
    assert (cache["expired_count"], dry_run["planned_bytes"]) == (4, 900)
    assert cache["expired_size_bytes"] > 900, "as the index states it"
    shown = text(service.call("dry-run", after=2 * MINUTE))
    assert "Cache Would remove 4 (3 without audio) of 8 entries, 0.9 KB\n" in shown


def test_a_run_counts_them_apart(service: Service) -> None:
    ended = service.call("run", after=2 * MINUTE)
    removed, apart = ended.err.splitlines()[3:5]
    assert removed == "INFO - Removed 4 expired cache entries, freed 0.00 MB"
    assert apart.startswith("INFO - 3 of the removed entries had no audio file: the service had")
    shown = text(service.call("history", "show", "2", after=3 * MINUTE))
    assert "\nremoved 4 (3 without audio), <0.01 MB freed\n" in shown
    (lost,) = re.findall(f"^item {service.entries[2].key}.*", shown, re.MULTILINE)
    assert lost.endswith(": expired, 9.0 days old, limit 7, its file is gone"), "said once"


def test_those_that_are_left_in_the_index_are_not_counted_and_the_reason_is_said_once(
    service: Service,
) -> None:
    broken = failing("", OSError(28, "No space left on device"))
    ended = service.call("run", "-v", after=2 * MINUTE, hook=broken)
    failed = [line for line in ended.err.splitlines() if line.startswith("ERROR - Failed: ")]
    assert len(failed) == 3
    for line in failed:
        assert line.endswith(", its file is gone (its entry follows in a later run)")
    assert "had no audio file" not in ended.err
    shown = text(service.call("history", "show", "2", after=3 * MINUTE))
    assert shown.count("its file is gone; its entry follows in a later run\n") == 3
