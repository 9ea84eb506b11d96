"""Tell somebody how a run ended: a ping to a dead man's switch, and messages through Apprise.

Nothing here may fail a run, or hold it up for longer than its limit; and no address is ever shown,
since whoever knows it can send to it: they are spoken of as ``alerts.ping_url`` and
``alerts.urls``.
"""

from narration_cleanup.report.notify.message import (
    Message,
    message_of,
    summary_lines,
    trial_message,
    wanted,
)
from narration_cleanup.report.notify.ping import PING_SECONDS, START_SECONDS, ping_end, ping_start
from narration_cleanup.report.notify.send import SEND_SECONDS, send, unknown_urls
from narration_cleanup.report.notify.unit_end import UnitEnd, record_of_unit, records_with, unit_end

__all__ = [
    "PING_SECONDS",
    "SEND_SECONDS",
    "START_SECONDS",
    "Message",
    "UnitEnd",
    "message_of",
    "ping_end",
    "ping_start",
    "record_of_unit",
    "records_with",
    "send",
    "summary_lines",
    "trial_message",
    "unit_end",
    "unknown_urls",
    "wanted",
]
