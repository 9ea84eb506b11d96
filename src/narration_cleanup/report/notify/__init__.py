"""Tell somebody how a run ended: a ping to a dead man's switch, and messages through Apprise.

Nothing here may fail a run, or hold it up for longer than its limit; and no address is ever shown,
since whoever knows it can send to it: they are spoken of as ``alerts.ping_url`` and
``alerts.urls``.
"""

from narration_cleanup.report.notify.message import message_of as message_of
from narration_cleanup.report.notify.message import summary_lines as summary_lines
from narration_cleanup.report.notify.message import trial_message as trial_message
from narration_cleanup.report.notify.message import wanted as wanted
from narration_cleanup.report.notify.message import without_secrets as without_secrets
from narration_cleanup.report.notify.ping import ping_end as ping_end
from narration_cleanup.report.notify.ping import ping_start as ping_start
from narration_cleanup.report.notify.send import send as send
from narration_cleanup.report.notify.send import unknown_urls as unknown_urls
from narration_cleanup.report.notify.unit_end import UnitEnd as UnitEnd
from narration_cleanup.report.notify.unit_end import record_of_unit as record_of_unit
from narration_cleanup.report.notify.unit_end import records_with as records_with
from narration_cleanup.report.notify.unit_end import unit_end as unit_end
