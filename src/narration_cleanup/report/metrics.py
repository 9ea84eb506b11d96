"""Metrics in the Prometheus text format, version 0.0.4: a page for node_exporter's textfile.

Written out here, since a client library's start-up would be paid at every run, and its registry
is made for processes that stay. Every series exists from the first page on, so that a rule never
has to ask whether one is missing because nothing happened. What could not be looked at is NaN.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from narration_cleanup.core.files import first_bytes, replace_file
from narration_cleanup.core.model import OTHER_STATUS, RequestStatus
from narration_cleanup.core.own_files import check_own_file
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
_LONGEST = 1 << 20
"""Bytes: some hundred times as many as a page has."""

Value = int | float | bool | None
Samples = Value | tuple[str, Mapping[str, Value]]
"""One value, or a label's name with a value for each of the label's values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValues:
    """What the page is told from. Bytes and seconds; ``None`` where it is not known.

    ``last`` is the last run that looked at anything, so never one that found the lock held; both it
    and ``counters`` are ``None`` where the history cannot be read.
    ``name`` tells the pages of several caches on one machine apart (see ``name_of``).
    """

    last: RunRecord | None
    counters: Counters | None
    interval_seconds: float
    limit_bytes: int | None = None
    cache: CacheState | None = None
    requests_by_status: Mapping[str, int] | None = None
    name: str | None = None
    earlier: Mapping[str, float] = field(default_factory=dict)


def metrics_text(values: MetricValues) -> str:
    """The whole page."""
    return "".join(
        line
        for name, kind, about, samples in _metrics(values)
        for line in _lines(PREFIX + name, kind, about, samples, values.name)
    )


def name_of(file: Path | None) -> str | None:
    """``voices`` of ``narration-cleanup@voices.prom``: then every series is labelled with it.

    A collector that finds the same series in two files takes neither, nor anything else.
    """
    name = "" if file is None else file.stem.partition("@")[2]
    return name or None


def metric_values(
    record: RunRecord,
    counters: Counters,
    *,
    interval_seconds: float,
    limit_bytes: int | None,
    name: str | None = None,
    earlier: Mapping[str, float] = MappingProxyType({}),
) -> MetricValues:
    """The facts right after a run: how things stand is what the run saw at its end.

    ``earlier`` is the page before this one, which knows the last success if the history was lost.
    """
    return MetricValues(
        last=record,
        counters=counters,
        interval_seconds=interval_seconds,
        limit_bytes=limit_bytes,
        cache=record.cache_state,
        requests_by_status=record.requests_by_status,
        name=name,
        earlier=earlier,
    )


def carried_on(earlier: Mapping[str, float], record: RunRecord, name: str | None) -> Counters:
    """Counters where no history can be kept: those of the page before, and this run."""
    runs = {
        outcome: int(earlier.get(PREFIX + _series("runs_total", name, ("outcome", outcome)), 0))
        + (outcome == record.outcome)
        for outcome in ENDINGS
    }
    removed = earlier.get(PREFIX + _series("removed_bytes_total", name), 0)
    return Counters(runs=runs, removed_bytes=int(removed) + record.freed_bytes)


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


def read_samples(file: Path) -> dict[str, float]:
    """The samples of an earlier page, by name with labels; empty where there is none to read."""
    samples: dict[str, float] = {}
    with suppress(OSError, UnicodeDecodeError):
        for line in first_bytes(file, _LONGEST).decode().splitlines():
            name, _, value = line.rpartition(" ")
            if name.startswith(PREFIX):
                with suppress(ValueError):
                    number = float(value)
                    if math.isfinite(number):
                        samples[name] = number
    return samples


_Metric = tuple[str, str, str, Samples]
"""Name, kind, what it is, and how it stands."""


def _metrics(values: MetricValues) -> Iterator[_Metric]:
    readable = values.last is not None or values.counters is not None
    for name, kind, about, samples in _last_run(values):
        yield name, kind, about, samples if readable else _unknown(samples)
    yield from _state(values)
    yield (
        "interval_seconds",
        "gauge",
        "How often a run is scheduled (cleanup.interval_hours).",
        values.interval_seconds,
    )
    counters = values.counters
    yield (
        "runs_total",
        "counter",
        "Runs that have ended, by outcome.",
        (
            "outcome",
            dict.fromkeys(ENDINGS) if counters is None else filled(ENDINGS, counters.runs),
        ),
    )
    yield (
        "removed_bytes_total",
        "counter",
        "Bytes that the disk got back over all runs.",
        None if counters is None else counters.removed_bytes,
    )


def _unknown(samples: Samples) -> Samples:
    return (samples[0], dict.fromkeys(samples[1])) if isinstance(samples, tuple) else None


def _last_run(values: MetricValues) -> Iterator[_Metric]:
    last = values.last or RunRecord()
    yield "last_run_timestamp_seconds", "gauge", "When the last run ended.", last.finished_at or 0
    yield (
        "last_success_timestamp_seconds",
        "gauge",
        "When the last successful run ended; 0 before the first.",
        _last_success(values),
    )
    yield (
        "last_run_duration_seconds",
        "gauge",
        "How long the last run took.",
        last.duration or 0,
    )
    yield (
        "last_run_success",
        "gauge",
        "Whether the last run did all that it should: 1 or 0.",
        last.success,
    )
    yield (
        "last_run_removed_files",
        "gauge",
        "What the last run removed from the cache, by reason.",
        ("reason", filled(REASON_NAMES, last.removed_by_reason)),
    )
    yield (
        "last_run_freed_bytes",
        "gauge",
        "Bytes that the disk got back in the last run.",
        last.freed_bytes,
    )
    yield (
        "last_run_cancelled_requests",
        "gauge",
        "Abandoned requests that the last run cancelled, by the status they had.",
        ("status", filled(ACTIVE_NAMES, last.cancelled_by_status)),
    )
    yield (
        "last_run_errors",
        "gauge",
        "Actions that failed, and problems met, in the last run.",
        last.error_count if values.last else 0,
    )


def _state(values: MetricValues) -> Iterator[_Metric]:
    cache = values.cache
    yield (
        "cache_entries",
        "gauge",
        "Entries in the cache.",
        None if cache is None else cache.entry_count,
    )
    yield (
        "cache_size_bytes",
        "gauge",
        "Size of the cache as its entries state it.",
        None if cache is None else cache.size_bytes,
    )
    yield (
        "cache_limit_bytes",
        "gauge",
        "The cache's configured limit (cache.max_size_mb).",
        values.limit_bytes,
    )
    yield (
        "requests",
        "gauge",
        "Generation requests, by status.",
        ("status", _requests(values.requests_by_status)),
    )


def _requests(by_status: Mapping[str, int] | None) -> Mapping[str, Value]:
    if by_status is None:
        return dict.fromkeys((*STATUS_NAMES, OTHER_STATUS))
    known = {status.value: by_status.get(status.value, 0) for status in RequestStatus}
    return known | {OTHER_STATUS: sum(by_status.values()) - sum(known.values())}


def _last_success(values: MetricValues) -> float:
    """From the history; where that was lost, from the page before this one."""
    if values.last is not None and values.last.success and values.last.finished_at is not None:
        return values.last.finished_at
    before = PREFIX + _series("last_success_timestamp_seconds", values.name)
    from_history = None if values.counters is None else values.counters.last_success_at
    return from_history or values.earlier.get(before, 0.0)


def _lines(name: str, kind: str, about: str, samples: Samples, cache: str | None) -> Iterator[str]:
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
