"""Everything that an operator would have to look up: found, judged, and said with what to do.

Nothing is changed, made or sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from narration_cleanup.check.finding import Finding as Finding
from narration_cleanup.check.finding import Status as Status
from narration_cleanup.settings import Settings


def run_checks(settings: Settings, faults: Sequence[str], now: float) -> Iterator[Finding]:
    """All findings, in the order in which they are best put right.

    ``faults`` are those of the settings, which are then those without what is wrong.
    """
    from narration_cleanup.check.alerts import check_alerts
    from narration_cleanup.check.cache import check_cache
    from narration_cleanup.check.environment import check_metrics, check_settings, check_state
    from narration_cleanup.check.requests import check_requests
    from narration_cleanup.check.schedule import check_schedule
    from narration_cleanup.core.zones import IndexTimes

    times = IndexTimes(settings.cleanup.timezone, now)
    yield from check_settings(settings, faults)
    file, targets = settings.config_file, (settings.cache.dir, settings.requests.db)
    if faults and file is None and targets == (None, None):
        return  # the file that could not be read would say what else there is to look at
    yield from check_cache(settings, now, times)
    yield from check_requests(settings, now, times)
    yield from check_state(settings)
    yield from check_metrics(settings)
    yield from check_alerts(settings)
    yield from check_schedule(settings, now)


def worst(findings: Sequence[Finding]) -> Status:
    """What all of them come to."""
    found = {finding.status for finding in findings}
    for status in (Status.FAILED, Status.WARNING):
        if status in found:
            return status
    return Status.PASSED
