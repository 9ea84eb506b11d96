"""The same schedule as a line for cron, where there is no systemd."""

from __future__ import annotations

import shlex

from narration_cleanup.core.text import printable
from narration_cleanup.settings.sources import FILE_VARIABLE
from narration_cleanup.systemd.installation import Installation
from narration_cleanup.systemd.interval import cron_times_of, span


def cron_text(installation: Installation) -> str:
    """A crontab line with a comment above it. Quiet, so that cron sends a mail only for trouble.

    Raises ValueError for a path that would break the line.
    """
    times, even = cron_times_of(installation.interval_hours)
    words = [shlex.quote(word) for word in (*installation.program, "run", "--quiet")]
    pairs = [*installation.environment]
    if installation.config is not None:
        pairs.append((FILE_VARIABLE, str(installation.config)))
    given = [f"{name}={shlex.quote(value)}" for name, value in pairs]
    for value in (*installation.program, *(value for _, value in pairs)):
        if not value.isprintable():
            raise ValueError(f"a crontab cannot hold {printable(value)}: it has control characters")
    # In a crontab, a bare percent sign ends the command.
    command = " ".join([*given, *words]).replace("%", "\\%")
    every = f"every {span(installation.interval_hours)}"
    if not even:
        every += ", as nearly as cron can say it without being late"
    return (
        "# For the crontab of the user that owns the database (crontab -e): "
        f"{every}\n{times} {command}\n"
    )
