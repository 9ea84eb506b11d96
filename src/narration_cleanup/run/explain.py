"""Why what has a name is kept or removed, and what earlier runs did with it. Changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from narration_cleanup.apply.result import Result
from narration_cleanup.core.errors import ConfigError
from narration_cleanup.core.model import (
    CacheSurvey,
    Problem,
    Progress,
    RequestStatus,
    RequestSurvey,
    Severity,
    Target,
)
from narration_cleanup.core.text import printable
from narration_cleanup.plan.explain import Explanation, explain_cache, explain_requests
from narration_cleanup.report.documents import configuration_problems
from narration_cleanup.report.explain_text import Explained
from narration_cleanup.report.format import count
from narration_cleanup.report.history import read_history
from narration_cleanup.report.run_record import RunItem
from narration_cleanup.run.collect_stats import places_of
from narration_cleanup.run.run import dry_run
from narration_cleanup.run.stores import cache_policy, request_policy
from narration_cleanup.run.survey import CacheLookup, RequestLookup
from narration_cleanup.settings import RequestSettings, Settings
from narration_cleanup.settings.sources import NO_HISTORY, NO_STATE_DIR

NO_SUCH_ITEM = "no_such_item"
_UNREADABLE = "history_unreadable"
_OF_OTHERS = "keep_matches_nothing"


def explain(settings: Settings, name: str, now: float, progress: Progress) -> Explained:
    """Why what ``name`` is the key, the file or the id of is kept or removed, as of ``now``.

    A dry run is made, so the same is said as by any. Raises ``ConfigError``.
    """
    spellings = [name]
    if settings.cache.dir is not None and "://" not in settings.cache.dir:
        spellings.append(os.path.abspath(name))
    cache: list[CacheLookup] = []
    rows: list[RequestLookup] = []

    def through(survey: CacheSurvey) -> CacheSurvey:
        cache.append(CacheLookup(survey, spellings))
        return cache[-1]

    def rows_through(survey: RequestSurvey, at: float) -> RequestSurvey:
        rows.append(RequestLookup(survey, name, at))
        return rows[-1]

    result = Result(now, dry_run=True)
    next_run_at = misconfigured = None
    names = {*spellings, Path(name).name}
    try:
        stats = dry_run(
            settings, result, progress, explain=True, through=through, rows_through=rows_through
        )
        next_run_at = stats.next_run_at
    except ConfigError as error:  # what is gone may still be known
        misconfigured = error
        result.problems.extend(configuration_problems(error))
    items: list[Explanation] = []
    if result.cache is not None:
        seen = cache[-1]
        policy = cache_policy(settings.cache)
        plan, names = result.cache.plan, {name, *seen.found.names}
        items += explain_cache(seen.found, plan, seen.seen, seen.empty, policy, now)
    if result.requests is not None:
        limits, looked = request_policy(settings.requests), rows[-1]
        found = explain_requests(looked.found, result.requests.plan, limits, looked.now)
        items += [_with_its_setting(each, settings.requests) for each in found]
    about = {str(each) for item in items for each in (item.id, item.file)}
    problems = [
        problem
        for problem in result.all_problems()
        if problem.code != _OF_OTHERS and (problem.subject is None or problem.subject in about)
    ]
    history, kept_items = _history(settings, names, problems)
    if misconfigured is not None and not history:
        raise misconfigured
    kept = _kept(settings, kept_items)
    if not history and all(each.code != _UNREADABLE for each in problems):
        note = f"no recorded run cancelled it: {kept}"
        items = [
            msgspec.structs.replace(each, notes=(*each.notes, note))
            if each.status == RequestStatus.CANCELLED
            else each
            for each in items
        ]
    unsurveyed = [
        target
        for target, configured, looked_at in (
            (Target.CACHE, settings.cache.dir, result.cache),
            (Target.REQUESTS, settings.requests.db, result.requests),
        )
        if configured is not None and looked_at is None
    ]
    if not (items or history or unsurveyed):
        why = f"nothing has the key, file or id '{printable(name)}', and {kept}"
        problems.append(Problem(Target.PROGRAM, NO_SUCH_ITEM, why))
    return Explained(name, now, items, history, problems, next_run_at, unsurveyed)


def _with_its_setting(one: Explanation, settings: RequestSettings) -> Explanation:
    """The timeout that is set: one that is not said is a more general one."""
    rule = one.rule
    if rule == "requests.heartbeat_timeout_minutes" and settings.heartbeat_timeout_minutes is None:
        rule = "requests.generating_timeout_hours"
    own = {
        "requests.queued_timeout_hours": settings.queued_timeout_hours,
        "requests.generating_timeout_hours": settings.generating_timeout_hours,
    }
    if rule in own and own[rule] is None:
        rule = "requests.abandoned_timeout_hours"
    return msgspec.structs.replace(one, rule=rule)


def _kept(settings: Settings, items: int) -> str:
    """What the history says of a name that nothing had as far as it is known."""
    if not settings.history.keep_items:
        return "history.keep_items is 0, so no run's items are kept"
    if settings.cleanup.state_dir == NO_STATE_DIR:
        return NO_HISTORY
    history = f"the history in {printable(settings.cleanup.state_dir)}"
    if not items:
        return f"{history} has no items of earlier runs"
    return f"nothing was called so among the {count(items, 'item')} of earlier runs in {history}"


def _history(
    settings: Settings, names: set[str], problems: list[Problem]
) -> tuple[list[RunItem], int]:
    """What runs did with what has one of these names, and how many items are kept; a warning
    where that cannot be read."""

    def warn(text: str) -> None:
        severity = Severity.WARNING
        problems.append(Problem(Target.PROGRAM, _UNREADABLE, text, severity=severity))

    history = read_history(settings.cleanup.state_dir, warn=warn, places=places_of(settings))
    if history is None:
        return [], 0
    found = history.items_named(sorted(names)), history.count_items()
    history.close()
    return found
