"""The JSON documents of ``history``, ``check``, ``config`` and ``systemd``: see ``run_types``."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from narration_cleanup.apply.result import RunOutcome
from narration_cleanup.report.documents.run_types import (
    Amount,
    Count,
    Counts,
    Name,
    Overwritten,
    Part,
    Problem,
    Problems,
    Program,
    Time,
    Version,
    about,
    one_of,
)


class CacheAfter(Part):
    """The state of the cache at the end of a run."""

    entry_count: Annotated[Count, about("Entries in the cache.")]
    size_bytes: Annotated[Count, about("Their size, as the cache states it.")]
    limit_bytes: Annotated[Count | None, about("The limit on the size; null where there is none.")]


class RecordedItem(Part):
    """What a run did with one item, as the history keeps it."""

    run: Annotated[int, Meta(ge=1), about("The run's number in the history.")]
    run_started_at: Annotated[Time, about("When that run began.")]
    kind: Annotated[str, about("What was to be done, in the words of a run's actions.")]
    name: Annotated[
        str, about("The entry's key, the file's name or the request's id; at most 1000 characters.")
    ]
    file: Annotated[str | None, about("The audio of an entry; null for a file and a request.")]
    size_bytes: Annotated[Count, about("What its removal was expected to free.")]
    reason: Annotated[str, about("Why it was to be done.")]
    detail: Annotated[str, about("The figures behind the reason, for a reader.")]
    outcome: Annotated[str, about("done, skipped or failed.")]
    note: Annotated[str | None, about("Why it was skipped or failed; null where that is not said.")]


class RecordedRun(Part):
    """One run, as it was recorded."""

    id: Annotated[int, Meta(ge=1), about("The run's number in the history; never used again.")]
    outcome: Annotated[
        str,
        one_of(*RunOutcome, "killed", "running"),
        about("How it ended; killed is one that never said, running one at work now."),
    ]
    exit_code: Annotated[
        int | None, about("What the process ended with; null where it never said.")
    ]
    message: Annotated[str, about("One line for a reader.")]
    trigger: Annotated[
        str,
        one_of("timer", "systemd", "cron", "hand"),
        about("What began it; systemd is a unit that no timer started."),
    ]
    version: Annotated[str, about("The version of narration-cleanup that ran.")]
    started_at: Annotated[Time, about("When it began.")]
    finished_at: Annotated[Time | None, about("When it ended; null for a run at work, or killed.")]
    duration_seconds: Annotated[Amount | None, about("How long it took; null as finished_at.")]
    planned_count: Annotated[Count, about("Actions that were planned.")]
    removed_count: Annotated[Count, about("Entries and files that were removed from the cache.")]
    freed_bytes: Annotated[Count, about("Bytes that the disk got back.")]
    removed_by_reason: Annotated[Counts, about("The same removals by reason.")]
    freed_by_reason: Annotated[Counts, about("The same bytes by reason.")]
    cancelled_count: Annotated[Count, about("Abandoned requests that were cancelled.")]
    cancelled_by_status: Annotated[Counts, about("Those by the status they had.")]
    deleted_count: Annotated[Count, about("Finished rows that were deleted.")]
    deleted_by_status: Annotated[Counts, about("Those by the status they had.")]
    overwritten_count: Overwritten
    skipped_count: Annotated[Count, about("Actions that were planned, then found changed.")]
    failed_count: Annotated[Count, about("Actions that failed.")]
    problem_count: Annotated[Count, about("Problems met.")]
    warning_count: Annotated[Count, about("Warnings: reported, and no fault of the run.")]
    problems: Annotated[
        list[Problem],
        Meta(max_length=20),
        about("The first of them, problems before warnings; at most 20."),
    ]
    cache_after: Annotated[
        CacheAfter | None, about("The cache at the end; null where it was not surveyed.")
    ]
    requests_after: Annotated[
        Counts | None,
        about("The requests at the end, by status; null where they were not surveyed."),
    ]
    items: Annotated[
        list[RecordedItem] | UnsetType,
        about(
            "What became of its items, as far as history.keep_items keeps them; only in history "
            "show."
        ),
    ] = UNSET


class History(Part):
    """What the runs did, newest first."""

    schema_version: Version
    runs: Annotated[list[RecordedRun], about("The newest run first.")]
    problems: Annotated[Problems, about("Why the runs could not be read; empty where they were.")]


_Status = Literal["passed", "warning", "failed"]


class CheckItem(Part):
    """One thing that was checked."""

    check: Annotated[
        str, Meta(pattern=r"^[a-z_]+(\.[a-z_]+)?$"), about("The stable name of what was checked.")
    ]
    status: Annotated[_Status, about("A warning may be meant so.")]
    message: Annotated[Name, about("What was found.")]
    remedy: Annotated[str, about("What to do; empty where it passed.")]
    details: Annotated[list[str], about("A few things to look at, raw.")]


class CheckCounts(Part):
    """A number for each status."""

    passed: Count
    warning: Count
    failed: Count


class Check(Part):
    """What is right, what may be wrong, and what is, with what to do."""

    schema_version: Version
    version: Program
    generated_at: Annotated[Time, about("The moment that ages are counted to.")]
    outcome: Annotated[_Status, about("The worst of all checks.")]
    counts: Annotated[CheckCounts, about("How many ended in which way.")]
    checks: Annotated[list[CheckItem], about("In the order in which they are best put right.")]


_ANY = Meta(extra_json_schema={"type": ["string", "number", "boolean", "array", "object", "null"]})


class Setting(Part):
    """One setting as the program uses it."""

    value: Annotated[
        object, _ANY, about("Its value; null where it is absent, three stars for a secret.")
    ]
    origin: Annotated[
        str,
        about(
            "Where the value came from: flag, variable, credential or file, with its name; or "
            "default."
        ),
    ]
    variable: Annotated[str, about("The variable that sets it.")]


class Config(Part):
    """Every setting, and where it came from."""

    schema_version: Version
    config_file: Annotated[str | None, about("The file that was read; null where there is none.")]
    settings: Annotated[
        dict[str, Setting],
        about("By dotted name, as cache.ttl_days; none where the configuration is wrong."),
    ]
    warnings: Annotated[list[str], about("What may be a mistake, as an unknown variable.")]
    problems: Annotated[
        Problems, about("What is wrong with the configuration; empty where it is valid.")
    ]


class Systemd(Part, kw_only=True):
    """The schedule, as systemd knows it."""

    schema_version: Version
    installed: Annotated[bool, about("systemd runs here, and knows a timer of narration-cleanup.")]
    timer: Annotated[
        Name | UnsetType,
        about("The timer's unit; this and all below are only there where one is installed."),
    ] = UNSET
    service: Annotated[Name | UnsetType, about("The unit that it starts.")] = UNSET
    enabled: Annotated[
        bool | UnsetType, about("It is started with the machine (or the user's manager).")
    ] = UNSET
    active: Annotated[
        bool | UnsetType, about("It waits for its time now; else it starts nothing.")
    ] = UNSET
    running: Annotated[bool | UnsetType, about("A run that the unit started is at work now.")] = (
        UNSET
    )
    next_run: Annotated[
        Time | UnsetType | None,
        about("When it starts the next run; null while one is at work, or it is not known."),
    ] = UNSET
    last_run: Annotated[
        Time | UnsetType | None, about("When the last one began; null where there was none.")
    ] = UNSET
    last_result: Annotated[
        str | UnsetType | None,
        about(
            "systemd's word for how that ended: success, exit-code, timeout and so on; null while "
            "it is at work, and where none has ended since the last boot."
        ),
    ] = UNSET
    last_exit: Annotated[
        Count | UnsetType | None,
        about("Its exit code, or the signal that ended it; null as last_result."),
    ] = UNSET


class ExplainedTime(Part):
    """One time of an item, and how it was read."""

    name: Annotated[Name, about("What it is: created_at, last_accessed, mtime, ctime and so on.")]
    source: Annotated[
        str, one_of("index", "file", "object", "table"), about("Where it was read from.")
    ]
    written: Annotated[
        str | None, about("Its text there; null for the times of files and objects.")
    ]
    read_at: Annotated[Time | None, about("The moment it was read as; null where it is no time.")]
    zone: Annotated[
        str | None,
        about(
            "The zone in which a text without an offset was read: a name or an offset, local, or "
            "auto: UTC or local time, the later reading that is not in the future."
        ),
    ]
    known_by: Annotated[
        str | None,
        one_of("offset", "setting", "proof", "open", None),
        about("How the zone is known; open: it is not. offset: the text has its own."),
    ]


class ExplainedItem(Part):
    """An entry, a file that no entry names, or a request; and what a run would do with it."""

    target: Annotated[str, one_of("cache", "requests"), about("Where it is.")]
    type: Annotated[str, one_of("entry", "file", "request"), about("What it is.")]
    id: Annotated[str | int | None, about("The key, the file's name or the request's id, raw.")]
    file: Annotated[str | None, about("The file's name in the cache, raw; null for a request.")]
    status: Annotated[str | None, about("Of a request, in the service's words; else null.")]
    voice_style: Annotated[str, about("Its voice style; empty where the cache keeps none.")]
    variant_id: Annotated[str, about("Its variant; empty as voice_style.")]
    size_bytes: Annotated[
        Count | None, about("The size of its file; null where there is none, and for a request.")
    ]
    decision: Annotated[
        str,
        one_of("keep", "remove", "drop", "cancel", "delete"),
        about("What a run would do with it now."),
    ]
    reason: Annotated[
        str | None, about("Why a run removes or changes it, now or later; null where none will.")
    ]
    detail: Annotated[str, about("The figures behind the decision, for a reader.")]
    due_at: Annotated[
        Time | None,
        about("A run after this moment removes or changes it; null where none will, or not known."),
    ]
    rule: Annotated[str | None, about("The setting that decides; null where none does.")]
    notes: Annotated[list[str], about("What else decides on it, for a reader.")]
    times: Annotated[list[ExplainedTime], about("The times it has, and how they were read.")]


class Explain(Part):
    """Why what has a name is kept or removed, and what earlier runs did with it."""

    schema_version: Version
    version: Program
    generated_at: Annotated[Time, about("The one moment that everything here is seen from.")]
    name: Annotated[str, about("The key, file or id that was asked about, raw.")]
    items: Annotated[
        list[ExplainedItem],
        about("What has that name now, with the entries that share its file; empty for none."),
    ]
    history: Annotated[
        list[RecordedItem],
        about(
            "What runs did with it, the newest 20 first, of those that history.keep_items keeps."
        ),
    ]
    next_run_at: Annotated[
        Time | None, about("When the next run is due; null where that is not known.")
    ]
    problems: Problems
