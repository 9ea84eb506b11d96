"""From settings to stores and policies: what a command works on, and by which rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from narration_cleanup.core.errors import ConfigError, TargetError, to_target_error
from narration_cleanup.core.locks import refuse_lock_in, run_lock_in
from narration_cleanup.core.model import DAY, HOUR, MB, Problem, Problems, Target
from narration_cleanup.core.text import printable
from narration_cleanup.core.zones import IndexTimes
from narration_cleanup.plan import CachePolicy, RequestPolicy
from narration_cleanup.run.access import OtherUserError, refuse_database
from narration_cleanup.settings import CacheSettings, RequestSettings, Settings
from narration_cleanup.stores.cache import CacheStore
from narration_cleanup.stores.cache.members import IndexForm

if TYPE_CHECKING:
    from narration_cleanup.stores.requests import RequestStore
    from narration_cleanup.stores.requests.mapping import RequestMapping

T = TypeVar("T")


class Targets(msgspec.Struct, frozen=True):
    """The stores that are configured."""

    cache: CacheStore | None
    requests: RequestStore | None

    @contextmanager
    def locked(self, state_dir: Path, problems: Problems) -> Iterator[Targets]:
        """Hold the run lock of every target; those that have one, and why the others have none.

        Raises ``BusyError`` where another run has one. A cache that cannot be locked in any way is
        refused (``ConfigError``). Requests can do without: every row is guarded by what it was
        planned on, so two runs do no harm.
        """
        cache, requests = self.cache, self.requests
        with ExitStack() as stack:
            if cache is not None:
                cache = attempt(
                    lambda: _lock_cache(self.cache, state_dir, stack), Target.CACHE, problems
                )
            elif requests is not None:
                with suppress(OSError):
                    stack.enter_context(run_lock_in(state_dir, requests.location))
            if requests is not None:
                requests = attempt(
                    lambda: _lock_requests(self.requests, stack), Target.REQUESTS, problems
                )
            yield Targets(cache, requests)


def _lock_cache(cache: CacheStore | None, state_dir: Path, stack: ExitStack) -> CacheStore | None:
    if cache is not None and not cache.has_lock:
        with suppress(OSError):
            stack.enter_context(run_lock_in(state_dir, cache.location))
    elif cache is not None:
        try:
            stack.enter_context(cache.locked())
        except TargetError as fault:  # network file systems cannot lock a directory
            _lock_in(state_dir, cache, fault, stack)
        else:
            refuse_lock_in(state_dir, cache.location)
    return cache


def _lock_requests(requests: RequestStore | None, stack: ExitStack) -> RequestStore | None:
    if requests is not None:
        stack.enter_context(requests.locked())
    return requests


def _lock_in(state_dir: Path, cache: CacheStore, fault: TargetError, stack: ExitStack) -> None:
    try:
        stack.enter_context(run_lock_in(state_dir, cache.location))
    except OSError as error:
        raise ConfigError(
            f"{fault}; and no lock can be had in cleanup.state_dir {printable(state_dir)} instead: "
            f"{error.strerror}. Two runs at once would damage the index: name a state_dir that "
            "can be written"
        ) from None


@contextmanager
def open_targets(
    settings: Settings, now: float, problems: Problems, *, writes: bool = False
) -> Iterator[Targets]:
    """Open what is configured, and close it again; ``now``: the instant that ages are of.

    A target that cannot be opened, or requests that are refused to this user (``writes``: they are
    to be changed), is left out, and ``problems`` has the reason. Raises
    ``ConfigError`` where a location is not what it should be, before anything is touched.
    """
    with ExitStack() as stack:
        times = IndexTimes(settings.cleanup.timezone, now)

        def requests_of_this_user() -> RequestStore | None:
            try:
                refuse_database(settings, writes=writes)
            except OtherUserError as error:
                raise TargetError("other_user", str(error)) from None
            return open_requests(settings, now, times)

        requests = attempt(requests_of_this_user, Target.REQUESTS, problems)
        if requests is not None:
            stack.callback(requests.close)
        cache = attempt(lambda: open_cache(settings.cache, times), Target.CACHE, problems)
        if cache is not None:
            stack.callback(cache.close)
        yield Targets(cache, requests)


def open_cache(settings: CacheSettings, times: IndexTimes) -> CacheStore | None:
    """The cache's store; ``None`` where none is configured."""
    if settings.dir is None:
        return None
    if settings.dir.startswith("s3://"):
        return _open_bucket(settings.dir, settings, times)
    if settings.index is None:
        from narration_cleanup.stores.cache.local.unindexed import AudioTree

        return AudioTree(
            Path(settings.dir),
            audio_suffixes=settings.audio_suffixes,
            by_atime=settings.age_from == "atime",
            remove_empty_dirs=settings.remove_empty_dirs,
            remove_sidecars=settings.remove_sidecars,
        )
    from narration_cleanup.stores.cache.local.indexed import IndexedDirectory

    return IndexedDirectory(
        Path(settings.dir),
        index_name=settings.index,
        audio_suffixes=settings.audio_suffixes,
        times=times,
        dir_in_index=settings.dir_in_index,
        form=index_form(settings),
    )


def _open_bucket(url: str, settings: CacheSettings, times: IndexTimes) -> CacheStore:
    try:
        from narration_cleanup.stores.cache.s3 import IndexedBucket, PlainBucket
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "obstore":
            raise
        raise ConfigError(
            "cache.dir is a bucket, and the library for it is not installed: "
            "pip install 'narration-cleanup[s3]'"
        ) from None
    if settings.index is None:
        if settings.age_from == "atime":
            raise ConfigError("cache.age_from: a bucket keeps no times of use; say mtime")
        return PlainBucket(
            url, audio_suffixes=settings.audio_suffixes, remove_sidecars=settings.remove_sidecars
        )
    return IndexedBucket(
        url,
        index_name=settings.index,
        audio_suffixes=settings.audio_suffixes,
        times=times,
        dir_in_index=settings.dir_in_index,
        form=index_form(settings),
    )


def index_form(settings: CacheSettings) -> IndexForm:
    """How the index is laid out, as the settings have it."""
    return IndexForm(**asdict(settings.fields), member=settings.index_member)


def open_requests(settings: Settings, now: float, index: IndexTimes) -> RequestStore | None:
    """The request table's store; ``None`` where none is configured."""
    requests = settings.requests
    if requests.db is None:
        return None
    from narration_cleanup.stores.requests import open_requests as open_store

    mapping = request_mapping(requests, requests.timezone or settings.cleanup.timezone)
    deletes = requests.delete_finished_after_days > 0
    return open_store(requests.db, mapping, now=now, index=index, deletes=deletes)


def request_mapping(settings: RequestSettings, zone: str) -> RequestMapping:
    """How the request table is laid out, as the settings have it."""
    from narration_cleanup.stores.requests.mapping import Columns, RequestMapping, Statuses

    return RequestMapping(
        table=settings.table,
        columns=Columns(**asdict(settings.columns)),
        statuses=Statuses(**asdict(settings.statuses)),
        filter=settings.filter,
        time_format=settings.time_format,
        timezone=zone,
        error_text=settings.error_text,
    )


def cache_policy(settings: CacheSettings) -> CachePolicy:
    """The rules for the cache."""
    has_index = settings.index is not None
    limit = int(settings.max_size_mb * MB)
    return CachePolicy(
        ttl=settings.ttl_days * DAY,
        ttl_by_voice_style={
            voice: days * DAY for voice, days in settings.ttl_days_by_voice_style.items()
        },
        keep=settings.keep,
        evict_above=limit if settings.enforce_max_size else None,
        evict_to=int(limit * settings.evict_to_percent / 100),
        min_free=int(settings.min_free_mb * MB) or None,
        orphan_ttl=settings.ttl_days * DAY if has_index and settings.remove_orphans else None,
        partial_ttl=settings.partial_hours * HOUR or None,
        sidecar_ttl=settings.ttl_days * DAY if settings.remove_sidecars and not has_index else None,
        remove_dangling=settings.remove_dangling,
        remove_empty=settings.remove_empty_audio,
    )


def request_policy(settings: RequestSettings) -> RequestPolicy:
    """The rules for the requests; a timeout that is not said is the general one."""
    general = settings.abandoned_timeout_hours

    def hours(own: float | None) -> float:
        return (general if own is None else own) * HOUR

    minutes = settings.heartbeat_timeout_minutes
    has_heartbeat = settings.columns.heartbeat_at is not None
    generating = hours(settings.generating_timeout_hours)
    return RequestPolicy(
        queued_timeout=hours(settings.queued_timeout_hours),
        generating_timeout=generating,
        from_start=settings.generating_timeout_hours is not None,
        heartbeat_timeout=(generating if minutes is None else minutes * 60)
        if has_heartbeat
        else None,
        delete_finished_after=settings.delete_finished_after_days * DAY or None,
    )


def attempt(work: Callable[[], T], target: Target, problems: Problems) -> T | None:
    """What ``work`` returns; ``None`` where it fails, and a problem reports why.

    Any failure of one target, foreseen or not, leaves the other to be worked on; a panic of a
    library in another language too, which is no ``Exception``. What stops both is raised.
    """
    try:
        return work()
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        fault = to_target_error(error, "unreadable")
        problems.add(Problem(target, fault.code, str(fault)))
    return None
