"""The functions for programs: ``narration_cleanup.plan``, ``run``, ``stats``, ``explain`` and
``load_settings``.

They do in the caller's process what the commands do in one of their own: no signal handler is
set, no process is forked, no user is changed, nothing is printed.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, TypeAlias

from narration_cleanup.apply.result import Result
from narration_cleanup.core.deadline import Stopwatch
from narration_cleanup.core.errors import (
    BusyError,
    CleanupError,
    ConfigError,
    RefusedError,
    internal_error,
)
from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.model import NoProgress
from narration_cleanup.core.signals import Stop
from narration_cleanup.report.documents import (
    encode,
    explained_document,
    stats_document,
    write_run,
)
from narration_cleanup.report.log import Log
from narration_cleanup.report.stats import Stats
from narration_cleanup.run import recorder
from narration_cleanup.run import run as pipeline
from narration_cleanup.run.access import refuse_other_users
from narration_cleanup.run.collect_stats import stats_now, with_last_run, with_recent_runs
from narration_cleanup.run.explain import explain as explanation
from narration_cleanup.settings import Settings, load_from_tables, require_target
from narration_cleanup.settings import load_settings as load

__all__ = [
    "BusyError",
    "CleanupError",
    "ConfigError",
    "RefusedError",
    "Settings",
    "explain",
    "load_settings",
    "plan",
    "run",
    "stats",
]

Json: TypeAlias = str | int | float | bool | list["Json"] | dict[str, "Json"] | None
Document = dict[str, Json]
"""A JSON document as `docs/json.md` describes it, member by member."""
Given = Settings | Mapping[str, object] | None
"""Settings: as loaded; as tables, such as ``{"cache": {"dir": "/srv/cache"}}``; or those that the
command line would find."""


class Event(Protocol):
    """What asks a run to stop, such as a ``threading.Event``."""

    def is_set(self) -> bool: ...


def load_settings(config_file: str | Path | None = None) -> Settings:
    """The settings that the command line has: of a file, and of this process's environment.

    Raises ``ConfigError``.
    """
    file = None if config_file is None else Path(config_file)
    return load(flags={}, config_file=file, environ=os.environ)


def plan(settings: Given = None) -> Document:
    """What a run would do, item by item (`dry-run --json`). Changes nothing.

    Raises ``ConfigError`` where the settings, or what they point to, are wrong.
    """
    result = Result(time.time(), dry_run=True)
    found = _checked(settings, result)
    left = pipeline.dry_run(found, result, NoProgress(), explain=False)
    result.finished_at = time.time()
    return _document(result, left, None)


def run(settings: Given = None, *, stop: Event | None = None) -> Document:
    """Remove expired audio and cancel abandoned requests; what was done (`run --json`).

    Recorded, measured and reported as any run. A run that is done in part, or whose ``stop`` was
    set meanwhile, reports it in its document (``success``, ``exit_code``). Raises ``ConfigError``,
    ``RefusedError`` (it would not be safe) or ``BusyError`` (another run is at work): nothing was
    touched then.
    """
    result, watch, log = Result(time.time(), dry_run=False), Stopwatch(), Log(muted=True)
    found = _checked(settings, result)
    recording = recorder.start(found, result, os.environ)
    try:
        left = pipeline.run(found, result, _StopOnEvent(stop), NoProgress(), log, recording)
    except CleanupError as error:
        result.stop(error.exit_code, str(error))
        raise
    except Exception as error:
        result.stop(ExitCode.FAILED, internal_error(error))
        raise
    finally:
        result.finished_at = result.started_at + watch.seconds
        record = recorder.finish(recording, result)
        recorder.notify(recording, record, list(log.last), log.warning)
    return _document(result, with_last_run(left, record, recording.starts), recording.trigger)


def stats(settings: Given = None) -> Document:
    """How cache and queue are (`stats --json`). Changes nothing; raises ``ConfigError``."""
    now = time.time()
    found = _loaded(settings)
    refuse_other_users(found, writes=False)
    collected, _ = stats_now(found, now, NoProgress())
    seen = stats_document(with_recent_runs(collected, found)[0])
    document: Document = json.loads(encode(seen))
    return document


def explain(settings: Given, name: str) -> Document:
    """Why the entry, file or request of that name is kept or removed, when, and what runs did with
    it (`explain --json`). Changes nothing; raises ``ConfigError``.

    Nothing has the name, and nothing had it, where ``items`` and ``history`` are empty.
    """
    if not isinstance(name, str):
        raise ConfigError(f"name: expected a text, not {type(name).__name__}")
    now = time.time()
    found = _checked(settings, Result(now, dry_run=True))
    explained = explanation(found, name, now, NoProgress())
    document: Document = json.loads(encode(explained_document(explained)))
    return document


class _StopOnEvent(Stop):
    """Asked by the host's event instead of by a signal."""

    said = "Stopped as asked"

    def __init__(self, event: Event | None) -> None:
        super().__init__()
        self._event = event

    @property
    def asked(self) -> bool:
        """Whether to stop at the next boundary."""
        if self._event is not None and self._event.is_set():
            self.exit_code = ExitCode.TERMINATED
        return super().asked


def _loaded(settings: object) -> Settings:
    if settings is None:
        settings = load_settings()
    elif not isinstance(settings, Settings):
        if not isinstance(settings, Mapping):
            kind = type(settings).__name__
            raise ConfigError(f"settings: expected a mapping of tables or Settings, not {kind}")
        settings = load_from_tables(settings, os.environ)
    require_target(settings)
    return settings


def _checked(settings: Given, result: Result) -> Settings:
    """The settings, fit for a run of this process's own user."""
    found = _loaded(settings)
    refuse_other_users(found, writes=not result.dry_run)
    result.cache_configured = found.cache.dir is not None
    result.requests_configured = found.requests.db is not None
    return found


def _document(result: Result, stats: Stats | None, trigger: str | None) -> Document:
    written = io.StringIO()
    write_run(result, stats, written, trigger=trigger)
    document: Document = json.loads(written.getvalue())
    return document
