"""The JSON documents that other programs read, each as one type.

The document, its JSON Schema (``schema NAME``) and its page (docs/json.md) are made from the type.
Members are written in this order. A member that may be missing has ``UNSET`` as its default;
every other member is always there, and null where there is nothing. A name that ends in ``_at``
is a time in ISO 8601 with an offset, one in ``_bytes`` a size in bytes, one in ``_mb`` a size in
MB of 1048576 bytes, and one in ``_seconds``, ``_hours`` or ``_days`` a duration.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from msgspec import UNSET, Meta, Struct, UnsetType

from narration_cleanup.apply.result import RunOutcome
from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.model import Severity, Target
from narration_cleanup.plan.actions import Kind, Outcome, Reason

_TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?[+-]\d\d:\d\d$"

Count = Annotated[int, Meta(ge=0)]
Amount = Annotated[float, Meta(ge=0)]
Name = Annotated[str, Meta(min_length=1)]
Time = Annotated[str, Meta(pattern=_TIME, extra_json_schema={"format": "date-time"})]
Counts = dict[str, Count]
Version = Annotated[Literal[1], Meta(description="The version of this document's form.")]
Program = Annotated[str, Meta(description="The version of narration-cleanup that wrote this.")]


def about(text: str) -> Meta:
    """What a member means, for schema and page."""
    return Meta(description=text)


def one_of(*values: str | None) -> Meta:
    """The values that a member may have."""
    return Meta(extra_json_schema={"enum": list(values)})


def reasons_for(kind: Kind) -> Meta:
    """The reasons for which this is done."""
    return one_of(*(reason.value for reason in Reason if reason.kind is kind))


Overwritten = Annotated[
    Count, about("Requests that the service completed after an earlier run had cancelled them.")
]


class Part(Struct, forbid_unknown_fields=True):
    """An object with exactly these members."""


class Problem(Part):
    """Something that needs the operator."""

    half: Annotated[Target, about("Which target it belongs to; program is neither.")]
    code: Annotated[Name, about("A stable name of the kind of problem.")]
    severity: Annotated[
        Severity, about("A problem makes a run partly done; a warning is only reported.")
    ]
    subject: Annotated[str | None, about("The key, file or id it is about, raw.")]
    message: Annotated[str, about("What, where, and what to do.")]


Problems = Annotated[
    list[Problem],
    about("In the order of the work; of one kind at most 100 whole, one more counts the rest."),
]


class LastRun(Part):
    """The latest run that the history knows of."""

    id: Annotated[Count, about("Its number in the history.")]
    started_at: Annotated[Time, about("When it began.")]
    finished_at: Annotated[Time | None, about("When it ended; null while it works, or was killed.")]
    outcome: Annotated[Name, about("What became of it, in the words of the history.")]
    exit_code: Annotated[int | None, about("Its exit code; null as above.")]
    removed_count: Annotated[Count, about("What it removed from the cache.")]
    freed_bytes: Annotated[Count, about("The bytes that this freed.")]
    cancelled_count: Annotated[Count, about("The requests it cancelled.")]


class VoiceStats(Part):
    """One voice style."""

    entry_count: Annotated[Count, about("Its entries.")]
    size_bytes: Annotated[Count, about("Their size, as the cache states it.")]


class CacheStats(Part):
    """The cache as surveyed."""

    entry_count: Annotated[Count, about("Entries in the cache.")]
    total_size_mb: Annotated[Amount, about("total_size_bytes in MB, to two decimals.")]
    max_size_mb: Annotated[
        Amount | None, about("The limit on the size, in MB; null where there is none.")
    ]
    ttl_days: Annotated[Amount, about("The age past which an entry is expired.")]
    total_size_bytes: Annotated[Count, about("The size of the files of all entries.")]
    expired_count: Annotated[Count, about("Entries past their TTL that no rule keeps.")]
    expired_size_bytes: Annotated[Count, about("Their size, as the cache states it.")]
    dangling_count: Annotated[Count, about("Entries that have no file.")]
    orphan_count: Annotated[Count, about("Audio files that no entry names.")]
    orphan_size_bytes: Annotated[Count, about("The size of these.")]
    oldest_created_at: Annotated[
        Time | None, about("When the oldest entry was made; null where there is none.")
    ]
    newest_created_at: Annotated[
        Time | None, about("When the newest entry was made; null where there is none.")
    ]
    age_bins: Annotated[
        list[Count],
        Meta(min_length=11, max_length=11),
        about("Entries by age in tenths of the TTL; the last number is past the TTL."),
    ]
    by_voice_style: Annotated[
        dict[str, VoiceStats], about("Entries and bytes of each voice style.")
    ]


class RequestStats(Part):
    """The request table as surveyed."""

    total: Annotated[Count, about("All rows.")]
    by_status: Annotated[Counts, about("Rows by status, in the service's words.")]
    active: Annotated[Count, about("Requests that are being generated.")]
    queued: Annotated[Count, about("Requests that wait.")]
    abandoned: Annotated[Count, about("Of both, those past their time.")]
    abandoned_by_status: Annotated[Counts, about("The abandoned ones by status.")]


class Stats(Part):
    """The state of cache and queue."""

    schema_version: Version
    version: Program
    generated_at: Annotated[Time, about("The one moment that everything here is seen from.")]
    running: Annotated[
        bool,
        about(
            "The automatic clean-up is alive: a run is in progress, a schedule was found, or "
            "the last two runs came in time by themselves."
        ),
    ]
    in_progress: Annotated[bool, about("A run is at work now.")]
    cleanup_interval_hours: Annotated[Amount, about("How often a run is meant to happen.")]
    abandoned_timeout_hours: Annotated[
        Amount, about("The age past which an active request is abandoned.")
    ]
    cache: Annotated[
        CacheStats | None,
        about("Null where it is not configured, or could not be read: a problem says why."),
    ]
    requests: Annotated[RequestStats | None, about("Null as for the cache.")]
    last_run: Annotated[LastRun | None, about("Null where none is recorded.")]
    next_run_at: Annotated[
        Time | None, about("When the next run is due; null where that is not known.")
    ]
    problems: Problems


_Key = Annotated[str, about("The entry's key, raw.")]
_File = Annotated[str, about("The audio file's name in the cache, raw.")]
_Size = Annotated[Count, about("The size that the cache states.")]
_WHY = about("Why it is removed or changed.")
_Detail = Annotated[str, about("The figures behind the reason, for a reader.")]
_Outcome = Annotated[Outcome, about("What became of it; skipped: planned, then found changed.")]
_Note = Annotated[
    str | UnsetType, about("Why it was skipped or failed; only where there is something to say.")
]
_Created = Annotated[
    Time | None,
    about("When it was made, by the cache or the table; null where that cannot be read."),
]
_Age = Annotated[float | None, about("How old that is; null as created_at.")]
_Voice = Annotated[str, about("Its voice style; empty where the cache keeps none.")]
_Variant = Annotated[str, about("Its variant; empty as voice_style.")]
_Id = Annotated[str | int, about("The request's id as the database has it.")]
_STATUS = about("The status it was planned on.")


class RemoveEntry(Part, kw_only=True, tag_field="kind", tag="remove_entry"):
    """An entry is removed, with its file and sidecars."""

    key: _Key
    file: _File
    voice_style: _Voice
    variant_id: _Variant
    created_at: _Created
    age_seconds: _Age
    size_bytes: _Size
    sidecars: Annotated[
        list[str] | UnsetType, about("Files removed with the audio; only where there are any.")
    ] = UNSET
    reason: Annotated[str, reasons_for(Kind.REMOVE_ENTRY), _WHY]
    detail: _Detail
    outcome: _Outcome
    note: _Note = UNSET


class RemoveFile(Part, kw_only=True, tag_field="kind", tag="remove_file"):
    """A file that belongs to no entry is removed."""

    file: _File
    size_bytes: _Size
    created_at: Annotated[Time, about("The time that its age is counted from: mostly its mtime.")]
    age_seconds: Annotated[float, about("How old that is.")]
    reason: Annotated[str, reasons_for(Kind.REMOVE_FILE), _WHY]
    detail: _Detail
    outcome: _Outcome
    note: _Note = UNSET


class DropEntry(Part, kw_only=True, tag_field="kind", tag="drop_entry"):
    """An entry whose file is gone leaves the index."""

    key: _Key
    file: _File
    voice_style: _Voice
    variant_id: _Variant
    created_at: _Created
    age_seconds: _Age
    reason: Annotated[str, reasons_for(Kind.DROP_ENTRY), _WHY]
    detail: _Detail
    outcome: _Outcome
    note: _Note = UNSET


class CancelRequest(Part, kw_only=True, tag_field="kind", tag="cancel_request"):
    """A request is set to cancelled."""

    id: _Id
    status: Annotated[str, one_of("queued", "generating"), _STATUS]
    created_at: _Created
    age_seconds: Annotated[
        float, about("How long it has waited, been generated, or been without a heartbeat.")
    ]
    reason: Annotated[str, reasons_for(Kind.CANCEL_REQUEST), _WHY]
    detail: _Detail
    outcome: _Outcome
    note: _Note = UNSET


class DeleteRequest(Part, kw_only=True, tag_field="kind", tag="delete_request"):
    """A finished row is deleted."""

    id: _Id
    status: Annotated[str, one_of("completed", "failed", "cancelled"), _STATUS]
    created_at: _Created
    age_seconds: Annotated[float, about("How long ago it was finished.")]
    reason: Annotated[str, reasons_for(Kind.DELETE_REQUEST), _WHY]
    detail: _Detail
    outcome: _Outcome
    note: _Note = UNSET


Action = RemoveEntry | RemoveFile | DropEntry | CancelRequest | DeleteRequest


class ByReason(TypedDict, total=False):
    """A number for each reason that occurs, in the order of the work."""

    expired: Count
    evicted: Count
    empty: Count
    orphan: Count
    partial: Count
    dangling: Count


class CacheRun(Part):
    """The cache's part of a run."""

    planned_count: Annotated[Count, about("Actions planned: entries and files.")]
    planned_bytes: Annotated[
        Count, about("What they are expected to free, as the cache states it.")
    ]
    removed_count: Annotated[Count, about("Actions done; 0 in a dry run.")]
    freed_bytes: Annotated[
        Count,
        about("The bytes really freed; 0 for a file with other hard links and in a dry run."),
    ]
    freed_mb: Annotated[Amount, about("freed_bytes in MB, to two decimals.")]
    kept_count: Annotated[Count, about("Entries that are kept; in a dry run, that would be.")]
    skipped_count: Annotated[Count, about("Planned, then found changed.")]
    failed_count: Annotated[Count, about("Tried, and not done.")]
    by_reason: Annotated[ByReason, about("Planned actions by reason.")]
    removed_by_reason: Annotated[ByReason, about("Done actions by reason.")]
    freed_by_reason: Annotated[ByReason, about("Freed bytes by reason.")]
    orphan_count: Annotated[
        Count, about("Audio files that no entry names, as surveyed; younger ones are left alone.")
    ]


class RequestsRun(Part):
    """The requests' part of a run."""

    planned_count: Annotated[Count, about("Cancellations planned.")]
    cancelled_count: Annotated[Count, about("Requests cancelled; 0 in a dry run.")]
    skipped_count: Annotated[Count, about("Planned, then found changed.")]
    failed_count: Annotated[Count, about("Tried, and not done.")]
    by_status: Annotated[Counts, about("Planned cancellations by status.")]
    cancelled_by_status: Annotated[Counts, about("Cancelled requests by the status they had.")]
    overwritten_count: Overwritten
    planned_delete_count: Annotated[Count, about("Deletions of finished rows planned.")]
    deleted_count: Annotated[Count, about("Finished rows deleted; 0 in a dry run.")]
    deleted_by_status: Annotated[Counts, about("Deleted rows by the status they had.")]
    freed_pages: Annotated[Count, about("Database pages that became free for reuse.")]


class RunHead(Part, kw_only=True):
    """A run as a whole: what precedes its actions."""

    schema_version: Version
    version: Program
    success: Annotated[bool, about("Everything was done: the exit code is 0.")]
    outcome: Annotated[RunOutcome, about("What became of the whole.")]
    exit_code: Annotated[ExitCode, about("The exit code of the process.")]
    message: Annotated[str, about("One line for a reader.")]
    dry_run: Annotated[bool, about("Nothing was changed: every outcome is planned.")]
    trigger: Annotated[str | None, about("What began it, where that is known.")]
    started_at: Annotated[Time, about("The one moment that everything here is judged by.")]
    finished_at: Annotated[Time | None, about("When it ended.")]
    duration_seconds: Annotated[Amount | None, about("How long it took.")]
    cache: Annotated[
        CacheRun | None,
        about("Null where it is not configured, or could not be surveyed: a problem says why."),
    ]
    requests: Annotated[RequestsRun | None, about("Null as for the cache.")]
    shown_count: Annotated[
        Count | UnsetType,
        about("How many actions are listed; only where dry-run was asked for some of them."),
    ] = UNSET


class Run(RunHead, kw_only=True):
    """What one run did, or what it would do."""

    actions: Annotated[list[Action], about("Every planned action, in the order of the work.")]
    problems: Problems
    stats: Annotated[Stats | None, about("The state after the run; null where that is not known.")]
