"""Proposes a configuration for a real folder and table (`config init --from`). Changes nothing."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from narration_cleanup.check.examine_cache import examine_cache
from narration_cleanup.check.examine_requests import examine_requests
from narration_cleanup.core.errors import ConfigError
from narration_cleanup.core.model import NoProgress, Target
from narration_cleanup.core.text import printable
from narration_cleanup.core.users import user_name
from narration_cleanup.core.zones import LOCAL, UTC, IndexTimes, is_utc, zone_text
from narration_cleanup.report.format import count
from narration_cleanup.report.summary import removed_items
from narration_cleanup.run.access import missing_rights, refuse_two_owners
from narration_cleanup.run.stores import (
    Targets,
    cache_policy,
    open_cache,
    open_requests,
    request_policy,
)
from narration_cleanup.run.survey import Plans, survey_and_plan
from narration_cleanup.settings import Settings, load_from_tables
from narration_cleanup.settings.show import settings_text
from narration_cleanup.systemd.discover import owner_of_places


@dataclass(slots=True)
class Proposal:
    """Settings by dotted name, and what is known and what is assumed: a sentence each."""

    settings: dict[str, object] = field(default_factory=dict)
    sure: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)

    def add(self, settings: Mapping[str, object], sure: list[str], unsure: list[str]) -> None:
        """Add what one of the places has shown."""
        self.settings.update(settings)
        self.sure += sure
        self.unsure += unsure


def propose(directory: str | None, database: str | None, now: float) -> Proposal:
    """Examine a folder and a request database, and try what that gives without changing anything.

    Raises ``ConfigError`` with the reason where a place is no cache or no request table, or where
    what was found cannot be worked on.
    """
    proposal = Proposal()
    if directory is not None:
        proposal.add(*examine_cache(directory))
    if database is not None:
        proposal.add(*examine_requests(database))
    settings = _loaded(proposal.settings)
    if os.geteuid() == 0:
        settings = _as_owner(proposal, settings)
    times = IndexTimes(settings.cleanup.timezone, now)
    plans = _tried(settings, times, now)
    problems = [*plans.problems]
    if plans.cache is not None:
        problems += plans.cache.problems
        removed = removed_items(
            plans.cache.by_reason, plans.cache.totals.entry_count, plans.cache.without_file
        )
        proposal.sure.append(
            f"a run now would remove {removed} (older than {settings.cache.ttl_days:g} days)"
        )
        if settings.cache.index is not None:
            _zone(proposal, times, now)
    if plans.requests is not None:
        problems += plans.requests.problems
        abandoned = count(len(plans.requests.actions), "request", "requests")
        proposal.sure.append(f"a run now would cancel {abandoned}")
    for target, wanted, plan in (
        (Target.CACHE, directory, plans.cache),
        (Target.REQUESTS, database, plans.requests),
    ):
        if wanted is not None and plan is None:
            raise ConfigError(*(each.message for each in problems if each.target is target))
    for problem in (*problems, *missing_rights(settings)):
        if problem.code == "zone_differs":  # said above, and with what proves it
            continue
        subject = "" if problem.subject is None else f" ({printable(problem.subject)})"
        proposal.unsure.append(f"{problem.message}{subject}")
    return proposal


def _loaded(proposed: Mapping[str, object]) -> Settings:
    """The proposal as a program reads it from its file, without this process's variables."""
    return load_from_tables(tomllib.loads(settings_text(proposed)), {"HOME": "/"})


def _as_owner(proposal: Proposal, settings: Settings) -> Settings:
    """The settings with the user that owns the places, which root has to become."""
    with suppress(ConfigError):  # of two users, or of none
        user = owner_of_places(settings)
        refuse_two_owners(settings)
        if user != user_name(0):
            proposal.settings["cleanup.user"] = user
            proposal.sure.append(f"a run that root starts becomes {user}, whose files these are")
    return _loaded(proposal.settings)


def _tried(settings: Settings, times: IndexTimes, now: float) -> Plans:
    policies = cache_policy(settings.cache), request_policy(settings.requests)
    with ExitStack() as opened:
        cache = open_cache(settings.cache, times)
        if cache is not None:
            opened.callback(cache.close)
        requests = open_requests(settings, now, times)
        if requests is not None:
            opened.callback(requests.close)
        return survey_and_plan(Targets(cache, requests), policies, now, NoProgress())


def _zone(proposal: Proposal, times: IndexTimes, now: float) -> None:
    message = f"times without a zone are read in {zone_text(times.zone, now)}"
    if times.proof is not None:
        proved = f"{message}, as {times.proof.files} audio files prove"
        if times.proof.zone == UTC and not is_utc(LOCAL, now):
            proposal.settings["cleanup.timezone"] = UTC
        elif times.proof.zone not in (LOCAL, UTC):
            proved += " now"
            name = 'set cleanup.timezone to it, such as "Europe/Berlin"'
            why = "an offset changes with daylight saving"
            proposal.unsure.append(f"the name of the service's zone: {name}: {why}")
        proposal.sure.append(proved)
    elif is_utc(LOCAL, now):
        proposal.sure.append(f"{message}, which is local time")
    else:
        proposal.unsure.append(
            f"{message}; no file proves the zone. If it is known, set cleanup.timezone"
        )
