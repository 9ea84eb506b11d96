"""What is known of programs that keep narration audio or a queue of it (`config init --for`).

Each has the settings that differ from the defaults, by dotted name, and the reason in one line.
A place under `/path/to` is one that differs from installation to installation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Program(NamedTuple):
    """One program's layout; `settings` holds values as TOML has them, `first` what to do before."""

    title: str
    why: str
    settings: Mapping[str, object]
    first: str | None = None


def _tree(directory: str, **others: object) -> dict[str, object]:
    """A cache without an index."""
    named = {f"cache.{key}": value for key, value in others.items()}
    return {"cache.dir": directory, "cache.index": "none", **named}


def _queue(db: str, table: str, shared_by: str, **others: object) -> dict[str, object]:
    """A table of jobs that other programs may share: only those of the queue called tts."""
    named = {f"requests.{key.replace('__', '.')}": value for key, value in others.items()}
    return {
        "requests.db": db,
        "requests.table": table,
        "requests.filter": {shared_by: "tts"},
        "requests.columns.id": "id",
        "requests.columns.status": "state",
        "requests.columns.error": "none",
        **named,
    }


PROGRAMS: Mapping[str, Program] = {
    "narration": Program(
        "the narration service",
        "the defaults are its own: cache_index.json, and a table called requests",
        {"cache.dir": "/path/to/cache/narration", "requests.db": "/path/to/requests.db"},
    ),
    "home-assistant": Program(
        "Home Assistant (tts)",
        "names are read once, at its start: a phrase whose audio is gone fails once, so the TTL is "
        "long",
        _tree("/config/tts", ttl_days=90),
    ),
    "open-webui": Program(
        "Open WebUI (audio)",
        "speech and transcriptions; the text of each (.json) is removed with its audio, and texts "
        "whose audio is gone too",
        _tree(
            "/app/backend/data/cache/audio",
            audio_suffixes=[".mp3", ".wav", ".ogg", ".opus", ".m4a", ".flac", ".webm", ".mp4"],
            ttl_days=30,
            remove_sidecars=True,
        ),
    ),
    "ovos": Program(
        "OVOS (Open Voice OS)",
        "its temporary folder; the persistent one is meant to stay. Phonemes (.pho) go with the "
        "audio",
        _tree("/tmp/tts", ttl_days=30),
    ),
    "kokoro-fastapi": Program(
        "Kokoro-FastAPI",
        "temporary downloads, of no use once they are fetched",
        _tree("/app/api/temp_files", ttl_days=1),
    ),
    "alltalk": Program(
        "AllTalk",
        "generated audio lies flat in its outputs folder; what lies in folders below it is the "
        "user's own, and never removed",
        _tree("/path/to/outputs", keep=["*/*"]),
    ),
    "localai": Program(
        "LocalAI", "it removes nothing itself", _tree("/tmp/generated/audio", ttl_days=7)
    ),
    "opentts": Program(
        "OpenTTS", "one file for each text, without a limit", _tree("/path/to/cache", ttl_days=30)
    ),
    "mimic3": Program(
        "Mimic 3", "one file for each text, without a limit", _tree("/path/to/cache", ttl_days=30)
    ),
    "sonos-http-api": Program(
        "node-sonos-http-api",
        "it removes nothing itself",
        _tree("/path/to/node-sonos-http-api/static/tts", ttl_days=30),
    ),
    "tts-ultimate": Program(
        "TTS-Ultimate (Node-RED)",
        "the user's own files (OwnFile_*, Hailing_*) are never removed",
        _tree(
            "/data/sonospollyttsstorage/ttsfiles",
            keep=["OwnFile_*", "*/OwnFile_*", "Hailing_*", "*/Hailing_*"],
            ttl_days=30,
        ),
    ),
    "xtts-api-server": Program(
        "xtts-api-server",
        "its cache.json is an index by the time of generation, begun anew at each start: audio "
        "from before has no entry, and is removed at the same age. Pin files of your own with "
        "cache.keep",
        {
            "cache.dir": "/path/to/xtts-api-server/output",
            "cache.index": "cache.json",
            "cache.fields.file_path": "file_name",
            "cache.fields.created_at": "@key",
            "cache.fields.last_accessed": "none",
            "cache.fields.file_size": "none",
            "cache.fields.variant_id": "none",
            "cache.fields.voice_style": "speaker_name_or_path",
        },
    ),
    "agent-tts": Program(
        "agent-tts",
        "a folder a day; its table has a CHECK without a word for cancelled, so error is written",
        {
            **_tree("/path/to/agent-tts/cache/audio", remove_empty_dirs=True),
            "requests.db": "/path/to/agent-tts/agent-tts.db",
            "requests.table": "tts_queue",
            "requests.time_format": "unix_ms",
            "requests.columns.id": "id",
            "requests.columns.status": "state",
            "requests.columns.created_at": "timestamp",
            "requests.columns.started_at": "none",
            "requests.columns.completed_at": "none",
            "requests.columns.error": "none",
            "requests.statuses.generating": ["playing"],
            "requests.statuses.completed": ["played", "user"],
            "requests.statuses.failed": [],
            "requests.statuses.cancelled": ["error"],
        },
    ),
    "audicle": Program(
        "Audicle",
        "updated_at is a job's heartbeat, and is set when a job is cancelled",
        {
            "requests.db": "/path/to/podcast.db",
            "requests.table": "jobs",
            "requests.columns.id": "id",
            "requests.columns.started_at": "none",
            "requests.columns.completed_at": "updated_at",
            "requests.columns.heartbeat_at": "updated_at",
            "requests.statuses.generating": ["processing"],
            "requests.statuses.completed": ["done"],
        },
    ),
    "litequeue": Program(
        "litequeue (SQLite)",
        "times in nanoseconds; without a state for what is cancelled, so 3 (failed) is written",
        {
            "requests.db": "/path/to/queue.db",
            "requests.table": "Queue",
            "requests.time_format": "unix_ns",
            "requests.columns.id": "message_id",
            "requests.columns.created_at": "in_time",
            "requests.columns.started_at": "lock_time",
            "requests.columns.completed_at": "done_time",
            "requests.columns.error": "none",
            "requests.statuses.queued": [0],
            "requests.statuses.generating": [1],
            "requests.statuses.completed": [2],
            "requests.statuses.failed": [],
            "requests.statuses.cancelled": [3],
        },
    ),
    "river": Program(
        "River (Go)",
        "jobs of one queue; those that are scheduled or to be tried again are left alone",
        _queue(
            "postgresql://user@host/name",
            "river_job",
            "queue",
            columns__started_at="attempted_at",
            columns__completed_at="finalized_at",
            columns__scheduled_at="scheduled_at",
            statuses__queued=["available"],
            statuses__generating=["running"],
            statuses__failed=["discarded"],
            statuses__ignored=["pending", "retryable", "scheduled"],
        ),
    ),
    "oban": Program(
        "Oban (Elixir)",
        "jobs of one queue; those that are scheduled or to be tried again are left alone. Times "
        "are in UTC",
        _queue(
            "postgresql://user@host/name",
            "oban_jobs",
            "queue",
            timezone="UTC",
            columns__created_at="inserted_at",
            columns__started_at="attempted_at",
            columns__completed_at="cancelled_at",
            columns__scheduled_at="scheduled_at",
            statuses__queued=["available"],
            statuses__generating=["executing"],
            statuses__failed=["discarded"],
            statuses__ignored=["suspended", "scheduled", "retryable"],
        ),
    ),
    "pg-boss": Program(
        "pg-boss (Node.js)",
        "jobs of one queue, whose name is in the column name; those to be tried again are left "
        "alone, and so are those that wait for another job (blocked, from 12.19 on)",
        _queue(
            "postgresql://user@host/name",
            "pgboss.job",
            "name",
            filter={"name": "tts", "blocked": False},
            columns__created_at="created_on",
            columns__started_at="started_on",
            columns__completed_at="completed_on",
            columns__scheduled_at="start_after",
            statuses__queued=["created"],
            statuses__generating=["active"],
            statuses__ignored=["retry"],
        ),
        "Before pg-boss 12.19 there is no column blocked: remove it from requests.filter",
    ),
    "procrastinate": Program(
        "procrastinate (Python)",
        "jobs of one queue; its table needs a column for the time of creation, which the library "
        "does not mind",
        _queue(
            "postgresql://user@host/name",
            "procrastinate_jobs",
            "queue_name",
            columns__status="status",
            columns__started_at="none",
            columns__completed_at="none",
            columns__scheduled_at="scheduled_at",
            statuses__queued=["todo"],
            statuses__generating=["doing"],
            statuses__completed=["succeeded"],
            statuses__ignored=["aborting", "aborted"],
        ),
        "Add the column first, as the owner of the table: ALTER TABLE procrastinate_jobs ADD "
        "COLUMN created_at timestamptz DEFAULT now()",
    ),
}
