"""The JSON documents of ``run``, ``dry-run`` and ``stats``, held to the schemas in ``schemas/``.

A document is written as a stream: its actions one by one, however many there are. Everything
outside ASCII is escaped by JSON itself, so keys and ids are whole and can do no harm on a screen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from json import JSONEncoder
from typing import TextIO, TypeVar

from narration_cleanup import __version__
from narration_cleanup.apply.result import CacheResult, RequestResult, Result
from narration_cleanup.core.errors import ConfigError
from narration_cleanup.core.model import Problem, RequestStatus, Target
from narration_cleanup.plan.actions import (
    Action,
    CancelRequest,
    DeleteRequest,
    DropEntry,
    Outcome,
    RemoveEntry,
    RemoveFile,
)
from narration_cleanup.plan.totals import RequestTotals
from narration_cleanup.report.format import iso, megabytes
from narration_cleanup.report.record import RunRecord
from narration_cleanup.report.sentences import kept_entries
from narration_cleanup.report.stats import CacheStats, Stats
from narration_cleanup.report.streams import until_closed

SCHEMA_VERSION = 1
"""Raised when a member changes its meaning or goes; new members may come without."""

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]

StrT = TypeVar("StrT", bound=str)

_encode = JSONEncoder().encode


def schema_names() -> list[str]:
    """The documents that have a schema."""
    from importlib import resources

    files = (resources.files("narration_cleanup") / "schemas").iterdir()
    suffix = ".schema.json"
    return sorted(file.name.removesuffix(suffix) for file in files if file.name.endswith(suffix))


def schema_text(name: str) -> str:
    """The JSON Schema (draft 2020-12) of a document: ``run``, ``stats`` and the like.

    Raises ``LookupError`` with the known names where there is none of that name.
    """
    from importlib import resources

    known = schema_names()
    if name not in known:
        raise LookupError(f"no schema {name!r}: there are {', '.join(known)}")
    folder = resources.files("narration_cleanup") / "schemas"
    return (folder / f"{name}.schema.json").read_text(encoding="utf-8")


def write_stats(stats: Stats, stream: TextIO) -> None:
    """Write the document of ``stats`` as one line."""
    with until_closed(stream):
        stream.write(_encode(stats_document(stats)))
        stream.write("\n")


def write_run(
    result: Result, stats: Stats | None, stream: TextIO, *, trigger: str | None = None
) -> None:
    """Write the document of ``run`` or ``dry-run``, one action a line; none is held back.

    ``stats`` is how things stand after the run (``None`` where they are not known, as after a
    refusal); ``trigger`` is what began it, where that is known (``timer``, ``hand``).
    """
    with until_closed(stream):
        head = _encode(_run_head(result, trigger))
        stream.write(head[:-1])
        stream.write(', "actions": [')
        separator = "\n "
        for target in (result.cache, result.requests):
            if target is not None:
                separator = _write_actions(target.outcomes, stream, separator)
        tail: dict[str, Json] = {
            "problems": problem_documents(result.all_problems()),
            "stats": None if stats is None else stats_document(stats),
        }
        stream.write("],\n ")
        stream.write(_encode(tail)[1:])
        stream.write("\n")


def stats_document(stats: Stats) -> dict[str, Json]:
    """The document of ``stats``, also found in every ``run`` document."""
    return {
        "schema_version": SCHEMA_VERSION,
        "version": __version__,
        "generated_at": iso(stats.generated_at),
        "running": stats.running,
        "in_progress": stats.in_progress,
        "cleanup_interval_hours": _number(stats.cleanup_interval_hours),
        "abandoned_timeout_hours": _number(stats.abandoned_timeout_hours),
        "cache": None if stats.cache is None else _cache_stats(stats.cache),
        "requests": None if stats.requests is None else _request_stats(stats.requests),
        "last_run": None if stats.last_run is None else _last_run(stats.last_run),
        "next_run_at": _iso(stats.next_run_at),
        "problems": problem_documents(stats.problems),
    }


def problem_documents(problems: Iterable[Problem]) -> list[Json]:
    """Problems, as they stand in every document."""
    return [
        {
            "half": problem.target.value,
            "code": problem.code,
            "severity": problem.severity.value,
            "subject": problem.subject,
            "message": problem.message,
        }
        for problem in problems
    ]


def configuration_problems(error: ConfigError) -> list[Problem]:
    """What a program is told where the configuration is wrong: each fault as a problem."""
    return [Problem(Target.PROGRAM, "bad_configuration", fault) for fault in error.faults]


def _run_head(result: Result, trigger: str | None) -> dict[str, Json]:
    duration = None
    if result.finished_at is not None:
        duration = round(result.finished_at - result.started_at, 3)
    return {
        "schema_version": SCHEMA_VERSION,
        "version": __version__,
        "success": int(result.exit_code) == 0,
        "outcome": result.outcome.value,
        "exit_code": int(result.exit_code),
        "message": result.message,
        "dry_run": result.dry_run,
        "trigger": trigger,
        "started_at": iso(result.started_at),
        "finished_at": _iso(result.finished_at),
        "duration_seconds": duration,
        "cache": None if result.cache is None else _cache(result.cache, dry_run=result.dry_run),
        "requests": None if result.requests is None else _requests(result.requests),
    }


def _cache(cache: CacheResult, *, dry_run: bool) -> dict[str, Json]:
    plan = cache.plan
    return {
        "planned_count": len(plan.actions),
        "planned_bytes": plan.planned_bytes,
        "removed_count": cache.removed_count,
        "freed_bytes": cache.freed_bytes,
        "freed_mb": megabytes(cache.freed_bytes),
        "kept_count": kept_entries(cache, dry_run=dry_run),
        "skipped_count": cache.outcomes.count(Outcome.SKIPPED),
        "failed_count": cache.outcomes.count(Outcome.FAILED),
        "by_reason": _counts(plan.by_reason),
        "removed_by_reason": _counts(cache.removed_by_reason),
        "freed_by_reason": _counts(cache.freed_by_reason),
        "orphan_count": plan.totals.orphan_count,
    }


def _requests(requests: RequestResult) -> dict[str, Json]:
    cancels: Counter[str] = Counter()
    deletes: Counter[str] = Counter()
    for action in requests.plan.actions:
        (cancels if isinstance(action, CancelRequest) else deletes)[action.status] += 1
    return {
        "planned_count": cancels.total(),
        "cancelled_count": requests.cancelled_count,
        "skipped_count": requests.outcomes.count(Outcome.SKIPPED),
        "failed_count": requests.outcomes.count(Outcome.FAILED),
        "by_status": _counts(cancels),
        "cancelled_by_status": _counts(requests.cancelled_by_status),
        "overwritten_count": requests.overwritten,
        "planned_delete_count": deletes.total(),
        "deleted_count": requests.deleted_count,
        "deleted_by_status": _counts(requests.deleted_by_status),
        "freed_pages": requests.freed_pages,
    }


def _write_actions(
    outcomes: Iterable[tuple[Action, Outcome, str | None]], stream: TextIO, separator: str
) -> str:
    for action, outcome, note in outcomes:
        document = _action(action)
        document["outcome"] = outcome.value
        if note is not None:
            document["note"] = note
        stream.write(separator)
        stream.write(_encode(document))
        separator = ",\n "
    return separator


def _action(action: Action) -> dict[str, Json]:
    match action:
        case RemoveEntry(key=key, file=file, size_bytes=size_bytes):
            document: dict[str, Json] = {
                "kind": "remove_entry",
                "key": key,
                "file": file,
                "size_bytes": size_bytes,
            }
            if action.sidecars:
                document["sidecars"] = list(action.sidecars)
        case RemoveFile(file=file, size_bytes=size_bytes):
            document = {"kind": "remove_file", "file": file, "size_bytes": size_bytes}
        case DropEntry(key=key, file=file):
            document = {"kind": "drop_entry", "key": key, "file": file}
        case CancelRequest() | DeleteRequest():
            kind = "cancel_request" if isinstance(action, CancelRequest) else "delete_request"
            document = {
                "kind": kind,
                "id": action.id,
                "status": action.status.value,
                "age_seconds": round(action.age_seconds, 3),
            }
    document["reason"] = action.reason.value
    document["detail"] = action.detail
    return document


def _cache_stats(cache: CacheStats) -> dict[str, Json]:
    totals = cache.totals
    return {
        "entry_count": totals.entry_count,
        "total_size_mb": megabytes(totals.total_size_bytes),
        "max_size_mb": None if cache.max_size_mb is None else _number(cache.max_size_mb),
        "ttl_days": _number(cache.ttl_days),
        "total_size_bytes": totals.total_size_bytes,
        "expired_count": totals.expired_count,
        "expired_size_bytes": totals.expired_size_bytes,
        "dangling_count": totals.dangling_count,
        "orphan_count": totals.orphan_count,
        "orphan_size_bytes": totals.orphan_size_bytes,
        "oldest_created_at": _iso(totals.oldest_created_at),
        "newest_created_at": _iso(totals.newest_created_at),
        "age_bins": list(totals.age_bins),
        "by_voice_style": {
            name: {"entry_count": voice.entry_count, "size_bytes": voice.size_bytes}
            for name, voice in totals.by_voice_style.items()
        },
    }


def _request_stats(requests: RequestTotals) -> dict[str, Json]:
    return {
        "total": requests.total,
        "by_status": _counts(requests.by_status),
        "active": requests.by_status.get(RequestStatus.GENERATING, 0),
        "queued": requests.by_status.get(RequestStatus.QUEUED, 0),
        "abandoned": requests.abandoned_count,
        "abandoned_by_status": _counts(requests.abandoned_by_status),
    }


def _last_run(run: RunRecord) -> dict[str, Json]:
    return {
        "id": run.id,
        "started_at": iso(run.started_at),
        "finished_at": _iso(run.finished_at),
        "outcome": run.outcome,
        "exit_code": run.exit_code,
        "removed_count": run.removed_count,
        "freed_bytes": run.freed_bytes,
        "cancelled_count": run.cancelled_count,
    }


def _counts(counts: Mapping[StrT, int]) -> dict[str, Json]:
    return {str(name): number for name, number in counts.items()}


def _iso(instant: float | None) -> str | None:
    return None if instant is None else iso(instant)


def _number(value: float) -> int | float:
    """Whole numbers without ``.0``, as they are written in settings."""
    return int(value) if value == int(value) else value
