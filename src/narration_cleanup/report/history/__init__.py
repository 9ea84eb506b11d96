"""The run history: what every run did, kept in SQLite in the state directory.

Nothing here may stop a clean-up: a fault is a warning, and the run continues without history.
"""

from narration_cleanup.report.history.process import (
    SCHEDULED_BY,
    ClockMark,
    ProcessMark,
    is_alive,
    read_clocks,
    this_process,
    trigger_of,
)
from narration_cleanup.report.history.store import (
    FILE_NAME,
    History,
    Start,
    open_history,
    read_history,
)

__all__ = [
    "FILE_NAME",
    "SCHEDULED_BY",
    "ClockMark",
    "History",
    "ProcessMark",
    "Start",
    "is_alive",
    "open_history",
    "read_clocks",
    "read_history",
    "this_process",
    "trigger_of",
]
