"""Whether a failed run is reported to somebody."""

from __future__ import annotations

from collections.abc import Iterator

from narration_cleanup.check.finding import Finding, failed, passed, warning
from narration_cleanup.core.users import can_read_in
from narration_cleanup.report.format import count
from narration_cleanup.settings import Settings
from narration_cleanup.systemd.discover import CREDENTIALS


def check_alerts(settings: Settings) -> Iterator[Finding]:
    """Whether the addresses can be sent to; none of them is sent to, and none is shown."""
    alerts = settings.alerts
    if not alerts.has_target:
        if not can_read_in(CREDENTIALS) and CREDENTIALS.exists():
            message = f"the unit's addresses may be in {CREDENTIALS}, which only root reads"
            yield passed("alerts", f"{message}: run check as root to look at them")
            return
        remedy = "set alerts.urls or alerts.ping_url; then: narration-cleanup notify --test"
        yield warning("alerts", "no alert target is configured: a failure is not reported", remedy)
        return
    from narration_cleanup.report.notify import unknown_urls
    from narration_cleanup.report.notify.ping import is_stateless

    wrong = unknown_urls(alerts.urls)
    for text in wrong:
        remedy = "correct it (Apprise's own documentation lists the forms), or install what is said"
        yield failed("alerts.urls", text, remedy)
    if alerts.urls and not wrong:
        known = count(len(alerts.urls), "address is", "addresses are")
        message = f"{known} known to Apprise; sent to on {alerts.on}"
        yield passed("alerts.urls", f"{message} (narration-cleanup notify --test tries them)")
    if alerts.ping_url is not None and is_stateless(alerts.ping_url, alerts.ping_style):
        message = "the address has no {state}: a start and a failure are sent as a success is"
        yield warning("alerts.ping_url", message, "add {state} to the address")
    elif alerts.ping_url is not None:
        yield passed("alerts.ping_url", "is set, and is an http or https address")
