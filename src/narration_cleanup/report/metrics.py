"""Metrics in the Prometheus text format, version 0.0.4: a page for node_exporter's textfile.

Written out here, since a client library's start-up would be paid at every run, and its registry
is made for long-running processes. Every series exists from the first page on, so that a rule never
has to ask whether one is missing because nothing happened. What could not be looked at is NaN;
the counters alone are left out where the history cannot be used.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from narration_cleanup.core.files import check_own_file, first_bytes, replace_file
from narration_cleanup.core.model import OTHER_STATUS
from narration_cleanup.core.text import printable
from narration_cleanup.report.run_record import (
    ACTIVE_NAMES,
    ENDINGS,
    REASON_NAMES,
    STATUS_NAMES,
    Counters,
    RunRecord,
    filled,
)

PREFIX = "narration_cleanup_"
_BEGINS = f"# HELP {PREFIX}".encode()

Value = int | float | bool | None
Samples = Value | tuple[str, Mapping[str, Value]]
"""One value, or a label's name with a value for each of the label's values."""
_ABOUT = {
    "last_run_timestamp_seconds": "When the last run ended.",
    "last_success_timestamp_seconds": "When the last successful run ended; 0 before the first.",
    "last_run_duration_seconds": "How long the last run took.",
    "last_run_success": "Whether the last run did all that it should: 1 or 0.",
    "last_run_removed_files": "What the last run removed from the cache, by reason.",
    "last_run_freed_bytes": "Bytes that the disk got back in the last run.",
    "last_run_cancelled_requests": (
        "Abandoned requests that the last run cancelled, by the status they had."
    ),
    "last_run_skipped": (
        "What the last run had planned and then left, since it had changed or could not go."
    ),
    "last_run_errors": "Actions that failed, and problems met, in the last run.",
    "cache_entries": "Entries in the cache.",
    "cache_size_bytes": "Size of the cache as its entries state it.",
    "cache_limit_bytes": "The cache's configured limit (cache.max_size_mb).",
    "requests": "Generation requests, by status.",
    "requests_abandoned": "Generation requests that are abandoned and not cancelled.",
    "interval_seconds": "How often a run is scheduled (cleanup.interval_hours).",
    "runs_total": "Runs that have ended, by outcome.",
    "removed_bytes_total": "Bytes that the disk got back over all runs.",
}
"""The metrics, in the order of the page. A counter's name ends in ``_total``."""


def metrics_text(
    last: RunRecord | None,
    counters: Counters | None,
    *,
    interval_seconds: float,
    limit_bytes: int | None = None,
    state: RunRecord | None = None,
    name: str | None = None,
) -> str:
    """The whole page.

    ``last`` is the last run that did a survey, so never one that found the lock held; its state of
    the cache and the requests is the present one, unless ``state`` has a newer. ``counters`` is
    ``None`` where the history cannot be used, and then ``last`` is one at most that has just ended.
    ``name`` distinguishes the pages of several caches on one machine (see ``name_of``).
    """
    run = last or RunRecord()
    now = state or run
    last_success = None if counters is None else counters.last_success_at or 0.0
    values: dict[str, Samples] = {
        "last_run_timestamp_seconds": run.finished_at or 0,
        "last_success_timestamp_seconds": run.finished_at if run.success else last_success,
        "last_run_duration_seconds": run.duration or 0,
        "last_run_success": run.success,
        "last_run_removed_files": ("reason", filled(REASON_NAMES, run.removed_by_reason)),
        "last_run_freed_bytes": run.freed_bytes,
        "last_run_cancelled_requests": ("status", filled(ACTIVE_NAMES, run.cancelled_by_status)),
        "last_run_skipped": run.skipped_count,
        "last_run_errors": run.error_count,
    }
    if last is None and counters is None:
        values = {each: _unknown(samples) for each, samples in values.items()}
    cache = now.cache_state
    values["cache_entries"] = None if cache is None else cache.entry_count
    values["cache_size_bytes"] = None if cache is None else cache.size_bytes
    values["cache_limit_bytes"] = limit_bytes
    values["requests"] = "status", _requests(now.requests_by_status)
    values["requests_abandoned"] = now.abandoned_left
    values["interval_seconds"] = interval_seconds
    if counters is not None:
        values["runs_total"] = "outcome", filled(ENDINGS, counters.runs)
        values["removed_bytes_total"] = counters.removed_bytes
    return "".join(line for each in values for line in _lines(each, values[each], name))


def name_of(file: Path | None) -> str | None:
    """``voices`` of ``narration-cleanup@voices.prom``: then every series is labelled with it.

    A collector that finds the same series in two files takes neither, nor anything else.
    """
    name = "" if file is None else file.stem.partition("@")[2]
    return name or None


def write_metrics(file: Path, text: str) -> None:
    """Replace the page: a reader sees the old one or the new one. Raises ``OSError``.

    Its mode is 0644, since node_exporter runs as another user. The folder is not made: a collector
    would not be looking at it.
    """
    check_own_file(file)
    with suppress(FileNotFoundError):
        if not is_page(file):  # a slip in the settings must not cost the requests or the index
            why = "what is there is no page of metrics, and stays; name another file"
            raise FileExistsError(errno.EEXIST, why)
    replace_file(file, text, 0o644)


def is_page(file: Path) -> bool:
    """Whether ``file`` may be replaced: it is a page of ours, or empty. Raises ``OSError``."""
    return first_bytes(file, len(_BEGINS)) in (b"", _BEGINS)


def _unknown(samples: Samples) -> Samples:
    return (samples[0], dict.fromkeys(samples[1])) if isinstance(samples, tuple) else None


def _requests(by_status: Mapping[str, int] | None) -> Mapping[str, Value]:
    if by_status is None:
        return dict.fromkeys((*STATUS_NAMES, OTHER_STATUS))
    known = {status: by_status.get(status, 0) for status in STATUS_NAMES}
    return known | {OTHER_STATUS: sum(by_status.values()) - sum(known.values())}


def _lines(metric: str, samples: Samples, cache: str | None) -> Iterator[str]:
    name, kind = PREFIX + metric, "counter" if metric.endswith("_total") else "gauge"
    yield f"# HELP {name} {_ABOUT[metric]}\n# TYPE {name} {kind}\n"
    if isinstance(samples, tuple):
        label, values = samples
        for value, number in values.items():
            yield f"{_series(name, cache, (label, value))} {_number(number)}\n"
    else:
        yield f"{_series(name, cache)} {_number(samples)}\n"


def _series(name: str, cache: str | None, *labels: tuple[str, str]) -> str:
    """A series by its name and labels: ``name{cache="voices",reason="expired"}``."""
    if cache is not None:
        labels = (("cache", cache), *labels)
    inside = ",".join(f'{label}="{_quoted(value)}"' for label, value in labels)
    return f"{name}{{{inside}}}" if inside else name


def _quoted(value: str) -> str:
    """A label's value as the format escapes it; what is not UTF-8 becomes a question mark, and
    control characters, for which the format has no form, are written out."""
    value = value.encode("utf-8", "replace").decode()
    value = "\n".join(printable(part, most=len(value)) for part in value.split("\n"))
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: Value) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "NaN"
    return repr(float(value)) if isinstance(value, float) else str(int(value))
