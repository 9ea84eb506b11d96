"""The request database: in reach, its table and columns there, its times understood."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from heapq import nlargest
from itertools import chain, islice
from pathlib import Path

from narration_cleanup.check.finding import Finding, failed, passed, warning
from narration_cleanup.check.remedies import findings_of
from narration_cleanup.core.errors import CleanupError, ConfigError, TargetError
from narration_cleanup.core.model import GenerationRequest, NoProgress, Target
from narration_cleanup.core.text import printable
from narration_cleanup.core.users import described, is_read_only
from narration_cleanup.core.zones import IndexTimes, form_of, zone_text
from narration_cleanup.report.format import ago, count, iso
from narration_cleanup.run.access import (
    EVERYBODY,
    OtherUserError,
    how_to_close,
    missing_rights,
    refuse_database,
    refuse_other_users,
    shared_folder,
)
from narration_cleanup.run.stores import Targets, cache_policy, open_requests, request_policy
from narration_cleanup.run.survey import survey_and_plan
from narration_cleanup.settings import Settings
from narration_cleanup.stores.requests.store import RequestStore

ROWS_SHOWN = 3


def check_requests(settings: Settings, now: float, index: IndexTimes) -> Iterator[Finding]:
    """Everything about the requests; stops early where there is nothing to check."""
    if settings.requests.db is None:
        yield passed("requests.database", "no database is configured: no request is cancelled")
        return
    try:
        refuse_other_users(settings, writes=False)
        refuse_database(settings, writes=False)
        store = open_requests(settings, now, index)
    except OtherUserError as error:
        yield failed("requests.owner", error.what, error.remedy)
        return
    except ConfigError as error:
        remedy = "correct requests.db, or install the library that is named"
        yield failed("requests.database", str(error), remedy)
        return
    assert store is not None
    for problem in missing_rights(settings):
        if problem.target is Target.REQUESTS:
            remedy = "run as its owner (systemd install does so by itself), or correct the rights"
            if is_read_only(Path(settings.requests.db)):
                remedy = "mount it writable"
            yield failed("requests.permissions", problem.message, remedy)
    if "://" not in settings.requests.db and (shared := shared_folder(Path(settings.requests.db))):
        folder, who = shared
        message = (
            f"{who} can write to {printable(folder)}, and so put another database there, or a "
            "journal that names any file for SQLite to delete"
        )
        refused = who == EVERYBODY and not settings.requests.allow_other_user
        remedy = f"{how_to_close(folder, who)}, if only the service needs to write there"
        yield (failed if refused else warning)("requests.folder", message, remedy)
    try:
        yield from _check_store(store, settings, now)
    finally:
        store.close()


def _check_store(store: RequestStore, settings: Settings, now: float) -> Iterator[Finding]:
    policies = cache_policy(settings.cache), request_policy(settings.requests)
    plans = survey_and_plan(Targets(None, store), policies, now, NoProgress())
    yield from findings_of(plans.problems, "requests")
    if plans.requests is None:
        return
    yield from findings_of(plans.requests.problems, "requests")
    yield passed("requests.database", _about(settings.requests.db or "", store))
    if beyond := store.rights_beyond():
        message = f"the role can do more than a run needs: {', '.join(beyond)}"
        yield warning("requests.role", message, "give it the rights listed in docs/remote.md alone")
    by_status = plans.requests.totals.by_status
    counted = ", ".join(f"{number:,} {printable(name)}" for name, number in by_status.items())
    yield passed("requests.statuses", f"table {settings.requests.table}: {counted or 'no rows'}")
    abandoned = plans.requests.totals.abandoned_count
    rows, which = list[str](), "newest active"
    with suppress(CleanupError):  # a few real rows: that nothing live is misread
        survey = store.survey()
        active = chain.from_iterable(survey.active())
        found = nlargest(ROWS_SHOWN, active, key=lambda row: row.created_at)
        if not found:
            which = "first finished"
            found = list(islice(chain.from_iterable(survey.finished(now)), ROWS_SHOWN))
        rows = [_understood(request, store, now) for request in found]
    number = count(abandoned, "request is", "requests are")
    how = f"; how times are read, in the {which} rows" if rows else ""
    yield passed("requests.times", f"{number} abandoned{how}", rows)


def _about(location: str, store: RequestStore) -> str:
    """Where it is, whose, and how it keeps its journal."""
    if "://" in location:
        return store.location
    path = Path(location)
    from narration_cleanup.stores.requests.sqlite.database import journal_mode

    try:
        mode = journal_mode(path)
        return f"{path} ({described(path.stat())}), journal mode {mode}"
    except (TargetError, OSError):
        return str(path)


def _understood(request: GenerationRequest, store: RequestStore, now: float) -> str:
    """A row's time as it is written, the zone it was read in, and the instant."""
    read = f"{iso(request.created_at)}, {ago(now - request.created_at)}"
    raw = request.guard[1]
    if isinstance(raw, str) and form_of(raw) is not None:
        read += f", read in {zone_text(store.zone_of(raw), now)}"
    return f"{printable(request.id)} {request.status}: created_at {raw!r} is {read}"
