"""The run history: what every run did, kept in SQLite in the state directory.

Nothing here may stop a clean-up: a fault is a warning, and the run continues without history.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from narration_cleanup.report.history.process import FILE_NAME as FILE_NAME
from narration_cleanup.report.history.process import SCHEDULED_BY as SCHEDULED_BY
from narration_cleanup.report.history.process import ClockMark as ClockMark
from narration_cleanup.report.history.process import ProcessMark as ProcessMark
from narration_cleanup.report.history.process import Start as Start
from narration_cleanup.report.history.process import is_alive as is_alive
from narration_cleanup.report.history.process import read_clocks as read_clocks
from narration_cleanup.report.history.process import this_process as this_process
from narration_cleanup.report.history.process import trigger_of as trigger_of
from narration_cleanup.report.run_record import ANYWHERE, Places

if TYPE_CHECKING:
    from narration_cleanup.report.history.store import History


def read_history(
    state_dir: Path, *, warn: Callable[[str], None], places: Places = ANYWHERE
) -> History | None:
    """Open the history of ``state_dir`` to read; nothing is written, made or moved.

    ``None`` where there is none yet (then without a warning) or where it cannot be read.
    """
    file = state_dir / FILE_NAME
    try:
        if not file.exists() or file.stat().st_size == 0:  # made, and then the disk was full
            return None
    except OSError as error:
        warn(f"the history {file} cannot be read: {error.strerror}")
        return None
    from narration_cleanup.report.history.store import open_read_only

    return open_read_only(file, warn=warn, places=places)
