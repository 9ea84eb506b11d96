"""The cache: the right folder, in reach, its index sound, and the files as the index states."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from narration_cleanup.check.examine_cache import parts_of_a_job, unused_index
from narration_cleanup.check.finding import Finding, failed, passed, warning
from narration_cleanup.check.remedies import findings_of
from narration_cleanup.core.errors import CleanupError
from narration_cleanup.core.model import DAY, NoProgress
from narration_cleanup.core.text import printable
from narration_cleanup.core.timestamps import AUTO
from narration_cleanup.core.users import (
    can_read_in,
    can_write_in,
    current_user,
    described,
    is_read_only,
    may_be_replaced,
    user_name,
)
from narration_cleanup.core.zones import LOCAL, IndexTimes, is_utc, zone_text
from narration_cleanup.plan import CachePlan
from narration_cleanup.plan.actions import Reason
from narration_cleanup.report.format import count, entries
from narration_cleanup.run.access import fixed, lock_out_of_reach, own_folder_out_of_reach
from narration_cleanup.run.stores import (
    Targets,
    cache_policy,
    index_form,
    open_cache,
    request_policy,
)
from narration_cleanup.run.survey import survey_and_plan
from narration_cleanup.settings import CacheSettings, Settings
from narration_cleanup.stores.cache import CacheStore
from narration_cleanup.stores.cache.local.index_file import left_by_root
from narration_cleanup.stores.cache.members import OWN_FORM

QUIET_AFTER = 2 * DAY
"""A service in use writes an entry more often than this; a shorter TTL counts instead."""
SHOWN = 3
LITTLE = 1_000_000
"""Bytes free on a disk below which neither an index nor a history can be relied on."""
FEW_INODES = 100
_UNJUDGED = ("outside_cache", "dir_in_index", "malformed_entry")
"""Of an entry whose file is not known."""

_WHICH = "set cache.dir (--cache-dir, NARRATION_CACHE_DIR) to the folder the service writes to"


def check_cache(settings: Settings, now: float, times: IndexTimes) -> Iterator[Finding]:
    """Everything about the cache; stops early where there is nothing to check.

    ``times`` has found out the zone of the index afterwards.
    """
    place = settings.cache.dir
    if place is None:
        yield passed("cache.directory", "no cache is configured: none is cleaned")
        return
    local = settings.cache.path
    if local is not None:
        yield from _check_folder(local)
    try:
        store = open_cache(settings.cache, times)
    except CleanupError as error:
        yield failed("cache.directory", str(error), _WHICH)
        return
    assert store is not None
    try:
        yield from _check_store(store, local, settings, now, times)
    finally:
        store.close()


def _check_folder(folder: Path) -> Iterator[Finding]:
    """Owner, permissions, writable; the store's own refusal reports what is not there."""
    try:
        status = folder.stat()
    except OSError:
        return
    if not stat.S_ISDIR(status.st_mode):
        return
    if (why := little_space(folder)) is not None:
        message = f"{why[0]}; a run still removes what is expired, which makes room"
        yield failed("cache.space", message, why[1])
    about = f"{folder} ({described(status)})"
    if not can_read_in(folder):
        yield failed(
            "cache.permissions",
            f"{current_user()} may not look into {about}",
            f"{_as_owner(status)}give {current_user()} the right to read and enter it",
        )
    elif is_read_only(folder):
        yield failed(
            "cache.permissions",
            f"{folder} is on a file system that is read-only",
            "mount it writable",
        )
    elif not can_write_in(folder):
        yield failed(
            "cache.permissions",
            f"{current_user()} may not remove files from {about}",
            f"{_as_owner(status)}give {current_user()} the right to write there",
        )
    elif status.st_mode & stat.S_ISVTX and os.geteuid() not in (0, status.st_uid):
        yield failed(
            "cache.permissions",
            f"{about} has the sticky bit: only a file's owner may remove it",
            f"run as {user_name(status.st_uid)}",
        )
    else:
        yield passed("cache.permissions", f"{current_user()} may read and write {about}")


def little_space(place: Path) -> tuple[str, str] | None:
    """What is wrong with the room on the disk of ``place``, and the remedy; else ``None``."""
    found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize
    if free < LITTLE:
        return f"the disk of {place} is full: {free:,} bytes are free", "free disk space"
    if found.f_files and found.f_favail < FEW_INODES:
        message = f"the file system of {place} has {found.f_favail:,} inodes free"
        return message, "remove files that are not needed, or enlarge the file system"
    return None


def _as_owner(status: os.stat_result) -> str:
    """The first part of what to do, unless this is the owner already."""
    is_other = status.st_uid not in (0, os.geteuid())
    return f"run as {user_name(status.st_uid)}, or " if is_other else ""


def _check_store(
    store: CacheStore, local: Path | None, settings: Settings, now: float, times: IndexTimes
) -> Iterator[Finding]:
    policies = cache_policy(settings.cache), request_policy(settings.requests)
    plans = survey_and_plan(Targets(store, None), policies, now, NoProgress(), explain=True)
    yield from findings_of(plans.problems, "cache")
    if plans.cache is None:
        return
    yield from findings_of(plans.cache.problems, "cache")
    if local is not None and (why := own_folder_out_of_reach(local)):
        remedy = "let this user use the folder; what is no folder, remove"
        yield failed("cache.own_folder", f"{why}: a run removes nothing", remedy)
    if local is not None and store.has_index:
        index = local / (settings.cache.index or "")
        yield from _check_index_owner(index)
        if why := lock_out_of_reach(index.with_name(f"{index.name}.lock")):
            remedy = (
                f"make it a file that {current_user()} may read and no program holds for long; "
                "or, if the service has no use for it, take it away"
            )
            yield failed("cache.index_lock", f"{why}: a run removes nothing", remedy)
        if why := fixed(index):
            what, _, remedy = why.rpartition(": ")
            yield failed("cache.index_fixed", f"{what}: a run removes nothing", remedy)
    if local is not None and not store.has_index:
        yield from _check_unused_index(local)
    if store.has_index:
        yield from _index_form(settings.cache)
        yield _zone(times, now)
    yield _written_lately(plans.cache, settings.cache, now)
    yield _size(plans.cache, settings.cache)
    yield from _agreement(plans.cache, store, local)


def _check_index_owner(index: Path) -> Iterator[Finding]:
    """A run replaces the index by a new file, which must have the owner and group of the old."""
    try:
        status, folder = index.stat(), index.parent.stat()
    except OSError:
        return
    owner = user_name(status.st_uid)
    if may_be_replaced(status, folder):
        yield passed("cache.index_owner", f"the index belongs to {owner}")
        return
    group = f"group {status.st_gid}"
    yield failed(
        "cache.index_owner",
        f"the index belongs to {owner}, {group}, and this is {current_user()}, who may not make "
        "another such "
        "file: a run removes nothing",
        f"give it back: chown --reference={index.parent} {index}"
        if left_by_root(index, status)
        else f"run as {owner}, in {group}",
    )


def _check_unused_index(folder: Path) -> Iterator[Finding]:
    """Without its index, a program would still list what is removed."""
    found = unused_index(folder)
    if found is not None:
        index, known = found
        name = printable(index.relative_to(folder))
        message = f"{name} lists the audio of this folder, and cache.index is none"
        remedy = f'set cache.index = "{name}"'
        if known is None:
            remedy = "the program would miss what is removed: do not clean this folder without it"
        elif known.settings or index.parent != folder:
            there = [] if index.parent == folder else ["cache.dir"]
            more = ", ".join([*there, *sorted(known.settings)])
            remedy = (
                f'set cache.index = "{printable(index.name)}" and {more}: narration-cleanup config '
                f"init --from {printable(index.parent)} proposes them"
            )
        yield warning("cache.unused_index", message, remedy)
    if (why := parts_of_a_job(folder)) is not None:
        remedy = "set cache.dir to a cache: this tool is not for the results of a job"
        yield warning("cache.one_job", why, remedy)


def _index_form(settings: CacheSettings) -> Iterator[Finding]:
    """By which names the entries of another program's index are read."""
    form = index_form(settings)
    if form != OWN_FORM:
        names = ", ".join(
            f"{role} = {name or 'none'}"
            for role, name in form._asdict().items()
            if role != "member" and name != role
        )
        where = "" if form.member is None else f"in the member {form.member}"
        message = "; ".join(filter(None, (where, names)))
        yield passed("cache.index_form", f"the entries are read by these settings: {message}")


def _zone(times: IndexTimes, now: float) -> Finding:
    """The zone that the entries' naive times are read in, and how it is known."""
    message = f"times without a zone are read in {zone_text(times.zone, now)}"
    if times.setting != AUTO:
        how = " (cleanup.timezone)"
    elif times.proof is not None:
        how = f", as {times.proof.files} audio files prove"
    elif is_utc(LOCAL, now):
        how = ", which is local time"
    else:
        how = ", the later reading; no file proves which"
    return passed("cache.times", message + how)


def _written_lately(plan: CachePlan, settings: CacheSettings, now: float) -> Finding:
    """Whether this is the folder that the service writes to."""
    newest = plan.totals.newest_created_at
    remedy = f"is it in use? If so, {_WHICH}"
    total = plan.totals.entry_count
    if newest is None and total:
        message = f"none of {entries(total)} can be judged"
        return warning("cache.newest_entry", message, "see the other checks of the cache")
    if newest is None:
        return warning("cache.newest_entry", "the cache holds no entries", remedy)
    days = max(0.0, now - newest) / DAY
    age = f"{days:.1f} days" if days >= 2 else f"{days * 24:.1f} h"
    if now - newest > min(QUIET_AFTER, settings.ttl_days * DAY):
        message = f"the newest entry is {age} old: is this the folder that the service writes to?"
        return warning("cache.newest_entry", message, remedy)
    return passed("cache.newest_entry", f"{entries(total)}, the newest {age} old")


def _size(plan: CachePlan, settings: CacheSettings) -> Finding:
    held = plan.stored_bytes / 2**20
    message = f"{held:.1f} MB of {settings.max_size_mb:g} MB (cache.max_size_mb)"
    if held <= settings.max_size_mb or settings.enforce_max_size:
        return passed("cache.size", message)
    remedy = "set cache.enforce_max_size, a shorter cache.ttl_days, or a larger cache.max_size_mb"
    return warning("cache.size", message, remedy)


def _agreement(plan: CachePlan, store: CacheStore, local: Path | None) -> Iterator[Finding]:
    """Where index and files disagree. A run puts most of it right by itself."""
    totals = plan.totals
    if totals.dangling_count:
        dropped = plan.by_reason.get(Reason.DANGLING, 0)
        kept = totals.dangling_count - plan.without_file
        some = (
            (kept, "kept"),
            (totals.missing_count, "expired, which the next run drops"),
            (dropped, "which the next run drops (cache.remove_dangling)"),
        )
        becomes = "; ".join(f"{number:,} {what}" for number, what in some if number)
        if not plan.without_file:
            becomes = "kept"
        missing = count(totals.dangling_count, "entry has", "entries have")
        message = f"{missing} no audio file: {becomes}"
        remedy = (
            "nothing: the service makes such audio anew when it is asked for it, and the entries "
            "expire; cache.remove_dangling drops them at once"
            if kept
            else "nothing: a service that holds its index in memory writes removed entries back at "
            "every save, until it reads them or restarts"
        )
        yield warning("cache.dangling", message, remedy)
    if totals.orphan_count and store.has_index:
        message = f"{count(totals.orphan_count, 'audio file has', 'audio files have')} no entry"
        remedy = "a run removes those older than the TTL, unless cache.remove_orphans is off"
        yield warning("cache.orphans", message, remedy)
    empty, differing, irregular = _sizes(store, local)
    if empty:
        message = f"{count(len(empty), 'audio file is', 'audio files are')} empty: served for ever"
        remedy = "a run removes those an hour old, unless cache.remove_empty_audio is off"
        yield warning("cache.empty_audio", message, remedy, empty[:SHOWN])
    if differing:
        files = count(len(differing), "file has", "files have")
        message = f"{files} another size than the entry says"
        remedy = (
            "harmless to a run, which counts what it frees; if it continues, the service stops "
            "while it writes audio, or two services share the folder"
        )
        yield warning("cache.sizes", message, remedy, differing[:SHOWN])
    if irregular:
        links = count(len(irregular), "entry names", "entries name")
        message = f"{links} what is no regular file: it is not removed when it expires"
        yield warning("cache.odd_file", message, "take it away by hand", irregular[:SHOWN])
    unjudged = [each for each in plan.problems if each.code in _UNJUDGED]
    disagree = totals.dangling_count or totals.orphan_count or empty or differing or irregular
    if not (disagree or unjudged):
        yield passed("cache.agreement", "index and files agree")


def _sizes(store: CacheStore, local: Path | None) -> tuple[list[str], list[str], list[str]]:
    """Empty audio files, files whose size is not that in their entry, and what is no file."""
    found = empty, differing, irregular = list[str](), list[str](), list[str]()
    if local is None:
        return found
    try:
        with store.survey() as survey:
            for batch in survey.batches():
                for entry in batch.entries:
                    try:
                        size = _size_of(local / entry.file) if store.has_index else entry.size_bytes
                    except OSError:
                        continue
                    if size is None:
                        irregular.append(entry.file)
                    elif size == 0:
                        empty.append(entry.file)
                    elif size != entry.size_bytes:
                        differing.append(f"{entry.file}: {size} bytes, entry {entry.size_bytes}")
    except CleanupError:  # rewritten meanwhile: the service is at work, and what was seen counts
        pass
    return found


def _size_of(file: Path) -> int | None:
    """Its size in bytes; ``None`` of what is no regular file. Raises ``OSError``."""
    status = file.lstat()
    return status.st_size if stat.S_ISREG(status.st_mode) else None
