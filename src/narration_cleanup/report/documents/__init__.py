"""The JSON documents of the commands: made from what was found, and written.

A long document is written as a stream: its actions or runs one by one, however many there are.
Everything outside ASCII is escaped by JSON itself, so keys and ids are whole and can do no harm
on a screen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from json import JSONEncoder
from typing import TYPE_CHECKING, Literal, TextIO, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from narration_cleanup import __version__
from narration_cleanup.apply.result import CacheResult, RequestResult, Result
from narration_cleanup.core import model
from narration_cleanup.core.errors import ConfigError
from narration_cleanup.core.model import RequestStatus, Target
from narration_cleanup.plan.actions import Kind, Outcome, Reason
from narration_cleanup.report import stats as found
from narration_cleanup.report.documents import run_types
from narration_cleanup.report.format import iso, megabytes
from narration_cleanup.report.run_record import RunItem, RunRecord
from narration_cleanup.report.streams import until_closed
from narration_cleanup.report.summary import EVERYTHING, Selection, kept_entries

if TYPE_CHECKING:
    from narration_cleanup.plan.explain import Explanation
    from narration_cleanup.report.documents import setup_types
    from narration_cleanup.report.explain_text import Explained

SCHEMA_VERSION: Literal[1] = 1
"""Raised when a member changes its meaning or is removed; new members may come without."""

PartT = TypeVar("PartT", bound=run_types.Part)


def write(document: run_types.Part, stream: TextIO, *, indent: int | None = None) -> None:
    """Write a document: as one line, or indented."""
    with until_closed(stream):
        stream.write(encode(document, indent) + "\n")


def write_run(
    result: Result,
    stats: found.Stats | None,
    stream: TextIO,
    *,
    trigger: str | None = None,
    selection: Selection = EVERYTHING,
) -> None:
    """Write the document of ``run`` or ``dry-run``, one action of ``selection`` a line.

    ``stats`` is the state after the run (``None`` where it is not known, as after a refusal);
    ``trigger`` is what began it, where that is known (``timer``, ``hand``).
    """
    shown = selection.of(result)
    shown_count = UNSET if selection == EVERYTHING else shown.action_count
    head = encode(_run_head(result, trigger, shown_count))
    tail = {
        "problems": problem_items(result.all_problems()),
        "stats": None if stats is None else stats_document(stats),
    }
    with until_closed(stream):
        stream.write(f'{head[:-1]}, "actions": [')
        _write_each(_actions(shown), stream)
        stream.write(f"],\n {encode(tail)[1:]}\n")


def write_history(
    records: Sequence[RunRecord],
    stream: TextIO,
    problems: Sequence[model.Problem] = (),
    items: Sequence[RunItem] | None = None,
) -> None:
    """Write the document of ``history``, newest run first, one run a line.

    ``problems`` are why the runs could not be read; ``items`` are those of the one run shown.
    """
    with until_closed(stream):
        stream.write(f'{{"schema_version": {SCHEMA_VERSION}, "runs": [')
        _write_each((_recorded_run(record, items) for record in records), stream)
        stream.write(f'], "problems": {encode(problem_items(problems))}}}\n')


def stats_document(stats: found.Stats) -> run_types.Stats:
    """The document of ``stats``, also found in every ``run`` document."""
    return like(
        run_types.Stats,
        stats,
        schema_version=SCHEMA_VERSION,
        version=__version__,
        generated_at=iso(stats.generated_at),
        cleanup_interval_hours=whole(stats.cleanup_interval_hours),
        abandoned_timeout_hours=whole(stats.abandoned_timeout_hours),
        cache=None if stats.cache is None else _cache_stats(stats.cache),
        requests=None
        if stats.requests is None
        else like(
            run_types.RequestStats,
            stats.requests,
            active=stats.requests.by_status.get(RequestStatus.GENERATING, 0),
            queued=stats.requests.by_status.get(RequestStatus.QUEUED, 0),
            abandoned=stats.requests.abandoned_count,
        ),
        last_run=None if stats.last_run is None else like(run_types.LastRun, stats.last_run),
        next_run_at=_iso(stats.next_run_at),
        problems=problem_items(stats.problems),
    )


def explained_document(explained: Explained) -> setup_types.Explain:
    """The document of ``explain``."""
    from narration_cleanup.report.documents import setup_types

    return like(
        setup_types.Explain,
        explained,
        schema_version=SCHEMA_VERSION,
        version=__version__,
        name=explained.asked,
        items=list(map(_explained_item, explained.items)),
        history=list(map(_recorded_item, explained.history)),
        problems=problem_items(explained.problems),
    )


def problem_items(problems: Iterable[model.Problem]) -> list[run_types.Problem]:
    """Problems, as every document has them."""
    return [like(run_types.Problem, problem, half=problem.target) for problem in problems]


def configuration_problems(error: ConfigError) -> list[model.Problem]:
    """A wrong configuration for a program: each fault as a problem."""
    return [model.Problem(Target.PROGRAM, "bad_configuration", fault) for fault in error.faults]


def like(kind: type[PartT], source: object, **own: object) -> PartT:
    """A part whose members have the values that ``source`` has under their names.

    Members whose name ends in ``_at`` are instants there; ``own`` has the values of the others.
    """
    values = dict(own)
    for name in kind.__struct_fields__:
        if name not in own:
            value = getattr(source, name)
            values[name] = _iso(value) if name.endswith("_at") else value
    make: Callable[..., PartT] = kind
    return make(**values)


def _run_head(
    result: Result, trigger: str | None, shown_count: int | UnsetType
) -> run_types.RunHead:
    duration = None
    if result.finished_at is not None:
        duration = round(result.finished_at - result.started_at, 3)
    return like(
        run_types.RunHead,
        result,
        schema_version=SCHEMA_VERSION,
        version=__version__,
        success=int(result.exit_code) == 0,
        trigger=trigger,
        shown_count=shown_count,
        duration_seconds=duration,
        cache=None if result.cache is None else _cache(result.cache, dry_run=result.dry_run),
        requests=None if result.requests is None else _requests(result.requests),
    )


def _cache(cache: CacheResult, *, dry_run: bool) -> run_types.CacheRun:
    plan = cache.plan
    return like(
        run_types.CacheRun,
        cache,
        planned_count=len(plan.actions),
        planned_bytes=plan.planned_bytes,
        freed_mb=megabytes(cache.freed_bytes),
        kept_count=kept_entries(cache, dry_run=dry_run),
        skipped_count=cache.outcomes.count(Outcome.SKIPPED),
        failed_count=cache.outcomes.count(Outcome.FAILED),
        by_reason=plan.by_reason,
        orphan_count=plan.totals.orphan_count,
    )


def _requests(requests: RequestResult) -> run_types.RequestsRun:
    plan = requests.plan
    return like(
        run_types.RequestsRun,
        requests,
        planned_count=plan.totals.abandoned_count,
        skipped_count=requests.outcomes.count(Outcome.SKIPPED),
        failed_count=requests.outcomes.count(Outcome.FAILED),
        by_status=plan.totals.abandoned_by_status,
        overwritten_count=requests.overwritten,
        planned_delete_count=plan.by_reason.get(Reason.FINISHED, 0),
    )


_ITEMS: dict[Kind, type[run_types.Action]] = {
    Kind.REMOVE_ENTRY: run_types.RemoveEntry,
    Kind.REMOVE_FILE: run_types.RemoveFile,
    Kind.DROP_ENTRY: run_types.DropEntry,
    Kind.CANCEL_REQUEST: run_types.CancelRequest,
    Kind.DELETE_REQUEST: run_types.DeleteRequest,
}


def _actions(result: Result) -> Iterator[run_types.Action]:
    for target in result.targets:
        for action, outcome, note in target.outcomes:
            own: dict[str, object] = {"outcome": outcome}
            own["note"] = UNSET if note is None else note
            own["age_seconds"] = None
            if action.kind.is_of_entry:
                own["key"] = action.id
            if action.kind is Kind.REMOVE_ENTRY:
                own["sidecars"] = list(action.sidecars) or UNSET
            if not action.kind.is_of_cache:
                own["age_seconds"] = round(action.age_seconds, 3)
            elif action.created_at is not None:
                own["age_seconds"] = round(result.started_at - action.created_at, 3)
            yield like(_ITEMS[action.kind], action, **own)


def _cache_stats(cache: found.CacheStats) -> run_types.CacheStats:
    totals = cache.totals
    return like(
        run_types.CacheStats,
        totals,
        total_size_mb=megabytes(totals.total_size_bytes),
        max_size_mb=None if cache.max_size_mb is None else whole(cache.max_size_mb),
        ttl_days=whole(cache.ttl_days),
        by_voice_style={
            name: like(run_types.VoiceStats, voice) for name, voice in totals.by_voice_style.items()
        },
    )


def _explained_item(item: Explanation) -> setup_types.ExplainedItem:
    from narration_cleanup.report.documents import setup_types
    from narration_cleanup.report.explain_text import decision_of

    is_request = item.target is Target.REQUESTS
    return like(
        setup_types.ExplainedItem,
        item,
        type="request" if is_request else "entry" if item.is_entry else "file",
        status=item.status if is_request else None,
        decision=decision_of(item),
        notes=list(item.notes),
        times=[
            like(setup_types.ExplainedTime, each, read_at=_iso(each.instant)) for each in item.times
        ],
    )


def _recorded_item(item: RunItem) -> setup_types.RecordedItem:
    from narration_cleanup.report.documents import setup_types

    return like(setup_types.RecordedItem, item, run_started_at=iso(item.at))


def _recorded_run(
    record: RunRecord, items: Sequence[RunItem] | None = None
) -> setup_types.RecordedRun:
    from narration_cleanup.report.documents import setup_types

    state = record.cache_state
    return like(
        setup_types.RecordedRun,
        record,
        duration_seconds=None if record.duration is None else round(record.duration, 3),
        problems=problem_items(record.problems),
        cache_after=None if state is None else like(setup_types.CacheAfter, state),
        requests_after=record.requests_by_status,
        items=UNSET if items is None else list(map(_recorded_item, items)),
    )


def _write_each(items: Iterable[run_types.Part], stream: TextIO) -> None:
    separator = "\n "
    for item in items:
        stream.write(separator + encode(item))
        separator = ",\n "


def encode(document: object, indent: int | None = None) -> str:
    """A document, or a part of one, as JSON in ASCII."""
    return JSONEncoder(indent=indent).encode(msgspec.to_builtins(document))


def _iso(instant: float | None) -> str | None:
    return None if instant is None else iso(instant)


def whole(value: float) -> int | float:
    """Whole numbers without ``.0``, as they are written in settings."""
    return int(value) if value == int(value) else value
