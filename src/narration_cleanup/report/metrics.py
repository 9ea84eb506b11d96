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
from dataclasses import dataclass
from pathlib import Path

from narration_cleanup.core.files import check_own_file, first_bytes, replace_file
from narration_cleanup.core.model import OTHER_STATUS
from narration_cleanup.core.text import printable
from narration_cleanup.report.record import (
    ACTIVE_NAMES,
    ENDINGS,
    REASON_NAMES,
    STATUS_NAMES,
    CacheState,
    Counters,
    RunRecord,
    filled,
)

PREFIX = "narration_cleanup_"
_BEGINS = f"# HELP {PREFIX}".encode()

Value = int | float | bool | None
Samples = Value | tuple[str, Mapping[str, Value]]
"""One value, or a label's name with a value for each of the label's values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValues:
    """The values of the page. Bytes and seconds; ``None`` where it is not known.

    ``last`` is the last run that did a survey, so never one that found the lock held.
    ``counters`` is ``None`` where the history cannot be used, and then ``last`` is one at most that
    has just ended.
    ``name`` distinguishes the pages of several caches on one machine (see ``name_of``).
    """

    last: RunRecord | None
    counters: Counters | None
    interval_seconds: float
    limit_bytes: int | None = None
    cache: CacheState | None = None
    requests_by_status: Mapping[str, int] | None = None
    abandoned: int | None = None
    name: str | None = None


def metrics_text(values: MetricValues) -> str:
    """The whole page."""
    return "".join(
        line
        for name, about, samples in _metrics(values)
        for line in _lines(PREFIX + name, about, samples, values.name)
    )


def name_of(file: Path | None) -> str | None:
    """``voices`` of ``narration-cleanup@voices.prom``: then every series is labelled with it.

    A collector that finds the same series in two files takes neither, nor anything else.
    """
    name = "" if file is None else file.stem.partition("@")[2]
    return name or None


def metric_values(
    record: RunRecord,
    counters: Counters | None,
    *,
    interval_seconds: float,
    limit_bytes: int | None,
    name: str | None = None,
) -> MetricValues:
    """The facts right after a run: the state is what the run found at its end."""
    return MetricValues(
        last=record,
        counters=counters,
        interval_seconds=interval_seconds,
        limit_bytes=limit_bytes,
        cache=record.cache_state,
        requests_by_status=record.requests_by_status,
        abandoned=record.abandoned_left,
        name=name,
    )


def write_metrics(file: Path, text: str) -> None:
    """Replace the page: a reader sees the old one or the new one. Raises ``OSError``.

    Its mode is 0644, since node_exporter runs as another user. The folder is not made: a collector
    would not be looking at it.
    """
    check_own_file(file)
    _refuse_another_file(file)
    replace_file(file, text, 0o644)


def _refuse_another_file(file: Path) -> None:
    """Raise ``OSError`` where something else has the page's name: a slip in the settings must not
    cost the requests, the index or anything else."""
    with suppress(FileNotFoundError):
        if not is_page(file):
            why = "what is there is no page of metrics, and stays; name another file"
            raise FileExistsError(errno.EEXIST, why)


def is_page(file: Path) -> bool:
    """Whether ``file`` may be replaced: it is a page of ours, or empty. Raises ``OSError``."""
    return first_bytes(file, len(_BEGINS)) in (b"", _BEGINS)


_Metric = tuple[str, str, Samples]
"""Name, description, and samples. A counter's name ends in ``_total``."""


def _metrics(values: MetricValues) -> list[_Metric]:
    cache = values.cache
    last_run = _last_run(values)
    if values.last is None and values.counters is None:
        last_run = [(name, about, _unknown(samples)) for name, about, samples in last_run]
    return [
        *last_run,
        ("cache_entries", "Entries in the cache.", None if cache is None else cache.entry_count),
        (
            "cache_size_bytes",
            "Size of the cache as its entries state it.",
            None if cache is None else cache.size_bytes,
        ),
        (
            "cache_limit_bytes",
            "The cache's configured limit (cache.max_size_mb).",
            values.limit_bytes,
        ),
        (
            "requests",
            "Generation requests, by status.",
            ("status", _requests(values.requests_by_status)),
        ),
        (
            "requests_abandoned",
            "Generation requests that are abandoned and not cancelled.",
            values.abandoned,
        ),
        (
            "interval_seconds",
            "How often a run is scheduled (cleanup.interval_hours).",
            values.interval_seconds,
        ),
        *([] if values.counters is None else _counters(values.counters)),
    ]


def _counters(counters: Counters) -> list[_Metric]:
    return [
        (
            "runs_total",
            "Runs that have ended, by outcome.",
            ("outcome", filled(ENDINGS, counters.runs)),
        ),
        (
            "removed_bytes_total",
            "Bytes that the disk got back over all runs.",
            counters.removed_bytes,
        ),
    ]


def _last_run(values: MetricValues) -> list[_Metric]:
    last = values.last or RunRecord()
    removed = filled(REASON_NAMES, last.removed_by_reason)
    cancelled = filled(ACTIVE_NAMES, last.cancelled_by_status)
    return [
        ("last_run_timestamp_seconds", "When the last run ended.", last.finished_at or 0),
        (
            "last_success_timestamp_seconds",
            "When the last successful run ended; 0 before the first.",
            _last_success(values),
        ),
        ("last_run_duration_seconds", "How long the last run took.", last.duration or 0),
        (
            "last_run_success",
            "Whether the last run did all that it should: 1 or 0.",
            last.success,
        ),
        (
            "last_run_removed_files",
            "What the last run removed from the cache, by reason.",
            ("reason", removed),
        ),
        (
            "last_run_freed_bytes",
            "Bytes that the disk got back in the last run.",
            last.freed_bytes,
        ),
        (
            "last_run_cancelled_requests",
            "Abandoned requests that the last run cancelled, by the status they had.",
            ("status", cancelled),
        ),
        (
            "last_run_skipped",
            "What the last run had planned and then left, since it had changed or could not go.",
            last.skipped_count,
        ),
        (
            "last_run_errors",
            "Actions that failed, and problems met, in the last run.",
            last.error_count,
        ),
    ]


def _unknown(samples: Samples) -> Samples:
    return (samples[0], dict.fromkeys(samples[1])) if isinstance(samples, tuple) else None


def _requests(by_status: Mapping[str, int] | None) -> Mapping[str, Value]:
    if by_status is None:
        return dict.fromkeys((*STATUS_NAMES, OTHER_STATUS))
    known = {status: by_status.get(status, 0) for status in STATUS_NAMES}
    return known | {OTHER_STATUS: sum(by_status.values()) - sum(known.values())}


def _last_success(values: MetricValues) -> float | None:
    if values.last is not None and values.last.success:
        return values.last.finished_at
    return None if values.counters is None else values.counters.last_success_at or 0.0


def _lines(name: str, about: str, samples: Samples, cache: str | None) -> Iterator[str]:
    kind = "counter" if name.endswith("_total") else "gauge"
    yield f"# HELP {name} {about}\n# TYPE {name} {kind}\n"
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
