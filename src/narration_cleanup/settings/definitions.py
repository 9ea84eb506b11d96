"""The settings themselves: the one table that parsing, `config show`, `config init`, the
documentation and `--help` are made from.

Each field says its kind, its default and its help in one line. A field's dotted name is its TOML
name (`cache.ttl_days`), and in capitals its variable (`NARRATION_CACHE_TTL_DAYS`). Times are in
the unit that the name ends in.
"""

# ruff: noqa: RUF009 - the calls in the class bodies are dataclasses.field() underneath

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from narration_cleanup.core.timestamps import AUTO
from narration_cleanup.settings import parsers
from narration_cleanup.settings.parsers import DeleteLimit, Parser, text_of
from narration_cleanup.settings.setting import computed, none_or, setting
from narration_cleanup.settings.sources import state_dir

AgeFrom = Literal["mtime", "atime"]
TimeFormat = Literal["auto", "iso", "unix", "unix_ms", "unix_us", "unix_ns"]
PingStyle = Literal["auto", "healthchecks", "uptime-kuma", "cronitor", "template"]
AlertsOn = Literal["attention", "failure", "partial", "always"]

# A thousand years, and a million terabytes: beyond any use, and inside what a date and a
# double can count exactly.
_DAYS = 365_000.0
_HOURS = _DAYS * 24
_MB = 1e12

_DAYS_ABOVE_0 = parsers.number("a number of days above 0 (fractions allowed)", above=0, most=_DAYS)
_DAYS_OR_OFF = parsers.number("a number of days, 0 for off", least=0, most=_DAYS)
_HOURS_ABOVE_0 = parsers.number(
    "a number of hours above 0 (fractions allowed)", above=0, most=_HOURS
)
_HOURS_OR_OFF = parsers.number("a number of hours, 0 for off", least=0, most=_HOURS)
_MINUTES_ABOVE_0 = parsers.number("a number of minutes above 0", above=0, most=_HOURS * 60)
_MB_ABOVE_0 = parsers.number("a number of megabytes above 0", above=0, most=_MB)
_MB_OR_OFF = parsers.number("a number of megabytes, 0 for off", least=0, most=_MB)
_PERCENT = parsers.number("a percentage above 0, at most 100", above=0, most=100)
_AT_LEAST_1 = parsers.whole("a whole number, 1 or more", least=1, most=10**9)
_COLUMN = Parser("the name of a column", text_of)
_FIELD = Parser('the name of a field, or "@key"', text_of)
_STATUSES = parsers.status_values("a list of status words or whole numbers")
_AT_LEAST_ONE_STATUS = parsers.status_values(
    "a list of at least one status word or whole number", least=1
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSettings:
    """What another program's index calls the fields of an entry; "@key" is the entry's own key."""

    file_path: str = setting(_FIELD, "file_path", help="The audio file.")
    created_at: str = setting(
        _FIELD, "created_at", help="When it was generated: a text, Unix time, or YYYYMMDDhhmmss."
    )
    last_accessed: str | None = none_or(_FIELD, "last_accessed", help="When it was last used.")
    file_size: str | None = none_or(
        _FIELD, "file_size", help='Its size in bytes; with "none" that of the file counts.'
    )
    variant_id: str | None = none_or(_FIELD, "variant_id", help="What was narrated; see keep.")
    voice_style: str | None = none_or(_FIELD, "voice_style", help="The voice.")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """The audio cache: where it is, and what may stay in it."""

    dir: str | None = none_or(
        parsers.location("a path or s3://bucket/prefix", "s3"),
        help="The cache: a directory, or s3://bucket/prefix.",
        flag="--cache-dir",
    )
    ttl_days: float = setting(
        _DAYS_ABOVE_0, 7.0, help="Audio older than this many days is expired.", flag="--ttl-days"
    )
    max_size_mb: float = setting(
        _MB_ABOVE_0,
        500.0,
        help="The cache's size limit in MB (1 MB = 1048576 bytes); see enforce_max_size.",
    )
    index: str | None = none_or(
        parsers.PLAIN_NAME,
        "cache_index.json",
        help='The index file in the cache; "none" for a cache that has no index.',
    )
    index_member: str | None = none_or(
        Parser("the name of a member of the index", text_of),
        help='The member of the index that holds the entries, such as "entries"; see also fields.',
    )
    dir_in_index: tuple[str, ...] = setting(
        parsers.names('a list of folders, such as "/app/cache/narration"'),
        (),
        help="Other names of the cache directory in the index: a container's or a share's path.",
    )
    age_from: AgeFrom = setting(
        parsers.choice("mtime", "atime"),
        "mtime",
        help="Without an index: the file time that counts as its age, mtime or atime.",
    )
    audio_suffixes: tuple[str, ...] = setting(
        parsers.names(
            'a list of suffixes with their dot, such as ".mp3", ".wav"', parsers.suffix_of
        ),
        (".mp3", ".wav", ".ogg", ".opus", ".m4a", ".flac"),
        help="What audio files end in; other files are never removed as audio.",
    )
    remove_empty_dirs: bool = setting(
        parsers.SWITCH, False, help="Without an index: remove folders that a run emptied."
    )
    enforce_max_size: bool = setting(
        parsers.SWITCH,
        False,
        help="Evict the least recently used audio when the cache is over max_size_mb.",
        flag="--enforce-max-size",
    )
    evict_to_percent: float = setting(
        _PERCENT, 90.0, help="Eviction continues down to this percentage of max_size_mb."
    )
    min_free_mb: float = setting(
        _MB_OR_OFF,
        0.0,
        help="Evict until this many MB are free on the cache's disk; 0 is off.",
        flag="--min-free-mb",
    )
    remove_orphans: bool = setting(
        parsers.SWITCH, True, help="Remove audio without an index entry, once older than the TTL."
    )
    remove_dangling: bool = setting(
        parsers.SWITCH,
        False,
        help="Drop index entries whose audio file is missing at once, not only when they expire.",
    )
    partial_hours: float = setting(
        _HOURS_OR_OFF,
        24.0,
        help="Remove half-written files (*.part, *.tmp) older than this many hours; 0 is off.",
    )
    remove_empty_audio: bool = setting(
        parsers.SWITCH, True, help="Remove audio of zero bytes, once an hour old."
    )
    remove_sidecars: bool = setting(
        parsers.SWITCH,
        False,
        help="Without an index: remove the text of audio that is gone, once older than the TTL.",
    )
    ttl_days_by_voice_style: Mapping[str, float] = setting(
        parsers.by_name(
            "a table of days above 0 by voice style, such as eerie_narrator = 30", _DAYS_ABOVE_0
        ),
        MappingProxyType({}),
        help="Another TTL for some voices, for example { eerie_narrator = 30 }.",
    )
    keep: tuple[str, ...] = setting(
        parsers.names('a list of patterns, such as "intro-*"'),
        (),
        help="Patterns (* and ?) over key, variant, voice style and orphan: what matches stays.",
    )
    fields: FieldSettings = field(default_factory=FieldSettings)

    @property
    def path(self) -> Path | None:
        """The folder; ``None`` where there is none, or where it is a bucket."""
        return parsers.local_path(self.dir)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSettings:
    """The request table's columns; "none" where the table has no such column."""

    id: str = setting(_COLUMN, "request_id", help="The request's id.")
    status: str = setting(_COLUMN, "status", help="The request's status.")
    created_at: str = setting(_COLUMN, "created_at", help="When it was queued.")
    started_at: str | None = none_or(_COLUMN, "started_at", help="When its generation began.")
    completed_at: str | None = none_or(
        _COLUMN, "completed_at", help="When it ended; set when a request is cancelled."
    )
    heartbeat_at: str | None = none_or(_COLUMN, help="When its worker last showed a sign of life.")
    scheduled_at: str | None = none_or(
        _COLUMN, help="The time that it is meant for: it counts from then, not from created_at."
    )
    updated_at: str | None = none_or(
        _COLUMN, help="When the row was last changed; set when a request is cancelled."
    )
    error: str | None = none_or(_COLUMN, "error", help="Its error text; see error_text.")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSettings:
    """The request table's status values: text or whole numbers, several for each meaning."""

    queued: tuple[str | int, ...] = setting(_STATUSES, ("queued",), help="Waiting.")
    generating: tuple[str | int, ...] = setting(_STATUSES, ("generating",), help="Being generated.")
    completed: tuple[str | int, ...] = setting(_STATUSES, ("completed",), help="Done.")
    failed: tuple[str | int, ...] = setting(_STATUSES, ("failed",), help="Given up.")
    cancelled: tuple[str | int, ...] = setting(
        _AT_LEAST_ONE_STATUS, ("cancelled",), help="Cancelled; the first is what is written."
    )
    ignored: tuple[str | int, ...] = setting(
        _STATUSES, (), help="Other states of the service: left alone, without a warning."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSettings:
    """The request database: where it is, how its table is laid out, what counts as abandoned."""

    db: str | None = none_or(
        parsers.location("a path or postgresql://…", "postgresql", "postgres"),
        help="SQLite file or postgresql://user@host/name; others see a password in an option.",
        flag="--requests-db",
    )
    allow_other_user: bool = setting(
        parsers.SWITCH,
        False,
        help="Work on a request database that belongs to another user; not for root.",
        flag="--allow-other-user",
    )
    abandoned_timeout_hours: float = setting(
        _HOURS_ABOVE_0,
        1.0,
        help="A request queued or generating this many hours after it was created is abandoned.",
        flag="--abandoned-timeout-hours",
    )
    queued_timeout_hours: float | None = none_or(
        _HOURS_ABOVE_0, help="The same for queued requests alone."
    )
    generating_timeout_hours: float | None = none_or(
        _HOURS_ABOVE_0,
        help="The same for generating requests alone, counted from their start where it is known.",
    )
    heartbeat_timeout_minutes: float | None = none_or(
        _MINUTES_ABOVE_0,
        help="With a heartbeat column: a generating request silent for this long is abandoned.",
    )
    table: str = setting(
        Parser("the name of a table", text_of), "requests", help="The table of requests."
    )
    filter: Mapping[str, tuple[str | int | float | None, ...]] = setting(
        parsers.by_name(
            'a table of a value or a list of values by column, such as { queue = "tts" }',
            parsers.COLUMN_VALUES,
            several=True,
        ),
        MappingProxyType({}),
        help='In a shared table, the rows that are meant, such as { queue = "tts" }.',
    )
    time_format: TimeFormat = setting(
        parsers.choice("auto", "iso", "unix", "unix_ms", "unix_us", "unix_ns"),
        "auto",
        help="How times are written: auto, iso, or unix time in s, ms (unix_ms), us or ns.",
    )
    timezone: str | None = none_or(
        parsers.TIME_ZONE,
        help="The same as cleanup.timezone for the table, if it has another zone.",
    )
    error_text: str | None = none_or(
        Parser("a text", text_of), help="What to write into a cancelled request's error column."
    )
    delete_finished_after_days: float = setting(
        _DAYS_OR_OFF,
        0.0,
        help="Delete completed, failed and cancelled requests older than this; 0 is off.",
    )
    columns: ColumnSettings = field(default_factory=ColumnSettings)
    statuses: StatusSettings = field(default_factory=StatusSettings)

    @property
    def path(self) -> Path | None:
        """The file; ``None`` where there is none, or where it is on a server."""
        return parsers.local_path(self.db)


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupSettings:
    """How and when the tool itself runs."""

    interval_hours: float = setting(
        _HOURS_ABOVE_0, 6.0, help="How often a run is scheduled; what is late is judged by it."
    )
    timezone: str = setting(
        parsers.TIME_ZONE,
        AUTO,
        help="Zone of times written without one. auto: proved by the files, else the later of "
        "local and UTC.",
    )
    state_dir: Path = computed(
        parsers.PATH,
        state_dir,
        help="The history's folder. auto: $STATE_DIRECTORY, /var/lib/narration-cleanup of units, "
        "or the user's.",
    )
    user: str | None = none_or(
        Parser("the name or number of a user", text_of),
        help="Started as root, become this user first; also the user of the installed units.",
        flag="--run-as",
    )
    max_delete: DeleteLimit | None = none_or(
        parsers.DELETE_LIMIT,
        help='Refuse a run that would remove more than this: a number, or a share like "10%".',
        flag="--max-delete",
    )
    max_cancel: DeleteLimit | None = none_or(
        parsers.DELETE_LIMIT,
        help="Leave the requests if a run would cancel more: a number, or a share of the active.",
        flag="--max-cancel",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySettings:
    """How much of past runs is kept, and for how long."""

    keep_days: float = setting(_DAYS_ABOVE_0, 365.0, help="Forget runs older than this.")
    keep_runs: int = setting(_AT_LEAST_1, 10_000, help="Keep at most this many runs.")
    keep_items: int = setting(
        parsers.whole("a whole number, 0 or more", least=0, most=10**6),
        10_000,
        help="Keep what became of this many items of all runs, the newest, for explain; 0 for "
        "none.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """Metrics for Prometheus."""

    textfile: Path | None = none_or(
        parsers.PATH, help="A file for node_exporter's textfile collector (*.prom)."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertsSettings:
    """Who hears about a run."""

    on: AlertsOn = setting(
        parsers.choice("attention", "failure", "partial", "always"),
        "attention",
        help="When to send: attention (begins, weekly, well again), failure, partial or always.",
    )
    urls: tuple[str, ...] = setting(
        parsers.names("a list of Apprise URLs", split=str.split),
        (),
        help="Apprise URLs to notify. Secret: better kept in a credential than in this file.",
        secret=True,
    )
    ping_url: str | None = none_or(
        parsers.URL,
        help="A dead man's switch that is pinged at start and end. Secret, as above.",
        secret=True,
    )
    ping_style: PingStyle = setting(
        parsers.choice("auto", "healthchecks", "uptime-kuma", "cronitor", "template"),
        "auto",
        help="How ping_url takes a state; template: the address has {state} and {message}.",
    )

    @property
    def has_target(self) -> bool:
        """Whether anything is sent to."""
        return bool(self.urls) or self.ping_url is not None
